//! The address of a shared cache.

use std::fmt;
use std::path::PathBuf;

use ureq::http::Uri;

/// Where a shared cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `http://` or `https://`, without a slash at the end.
    Http(String),
    /// A directory.
    Dir(PathBuf),
    /// `grpc://` or `grpcs://`.
    #[cfg(feature = "farm")]
    Farm(FarmAddress),
}

/// A server of the Remote Execution API.
#[cfg(feature = "farm")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FarmAddress {
    /// Its host and its port, or `unix:` with the path of a socket.
    pub authority: String,
    /// Whether the connection is encrypted.
    pub is_secure: bool,
    /// The instance to use; many servers have only one, without a name.
    pub instance: String,
}

#[cfg(feature = "farm")]
impl FarmAddress {
    /// Returns the address for connections.
    pub(super) fn uri(&self) -> String {
        if self.authority.starts_with("unix:") {
            return self.authority.clone();
        }
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }
}

impl Address {
    /// Parses an address. It must not contain credentials, since addresses are shown and stored in files.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("file://") {
            return match path.starts_with('/') {
                true => Ok(Self::Dir(PathBuf::from(path))),
                false => Err(format!(
                    "`{text}` names no absolute directory: write `file:///directory`"
                )),
            };
        }
        let wrong = || {
            "it is no address of a cache: write `https://host/path`, `http://host/path`, `grpcs://host/instance` or \
             `file:///directory`"
                .to_owned()
        };
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let scheme = uri.scheme_str().unwrap_or_default();
        if !matches!(scheme, "http" | "https" | "grpc" | "grpcs")
            || uri.host().is_none_or(str::is_empty)
        {
            return Err(wrong());
        }
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(
                "it contains a user or a password: put them into CLM_CACHE_USER and CLM_CACHE_PASSWORD, or a token into \
                 CLM_CACHE_TOKEN, which appear in no file"
                    .to_owned(),
            );
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("it must not have a `?` or a `#`: names are added to its end".to_owned());
        }
        if scheme.starts_with("grpc") {
            return Self::farm(&uri);
        }
        Ok(Self::Http(text.trim_end_matches('/').to_owned()))
    }
}

impl Address {
    #[cfg(feature = "farm")]
    fn farm(uri: &Uri) -> Result<Self, String> {
        Ok(Self::Farm(FarmAddress {
            authority: uri.authority().map(ToString::to_string).unwrap_or_default(),
            is_secure: uri.scheme_str() == Some("grpcs"),
            instance: uri.path().trim_matches('/').to_owned(),
        }))
    }

    #[cfg(not(feature = "farm"))]
    fn farm(_: &Uri) -> Result<Self, String> {
        Err("this clm was built without the feature `farm`, which `grpc://` needs".to_owned())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(address) => f.write_str(address),
            Self::Dir(dir) => write!(f, "file://{}", dir.display()),
            #[cfg(feature = "farm")]
            Self::Farm(farm) => farm.fmt(f),
        }
    }
}

#[cfg(feature = "farm")]
impl fmt::Display for FarmAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "grpcs" } else { "grpc" };
        write!(f, "{scheme}://{}", self.authority)?;
        match self.instance.as_str() {
            "" => Ok(()),
            instance => write!(f, "/{instance}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_hold_no_secrets() {
        let http = |text: &str| Ok(Address::Http(text.to_owned()));
        assert_eq!(
            Address::parse("https://host:8443/a/b/"),
            http("https://host:8443/a/b")
        );
        assert_eq!(
            Address::parse(" http://127.0.0.1:80 "),
            http("http://127.0.0.1:80")
        );
        assert_eq!(Address::parse("http://[::1]:80"), http("http://[::1]:80"));
        assert_eq!(
            Address::parse("file:///a/b"),
            Ok(Address::Dir("/a/b".into()))
        );
        for wrong in [
            "",
            "host",
            "ftp://host",
            "http://",
            "https:///x",
            "file://a",
            "http://h/?a=1",
            "http://h/q#x",
            "http://a b/",
        ] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
        let secret = Address::parse("https://me:hidden@host/").unwrap_err();
        assert!(!secret.contains("hidden"), "{secret}");
    }

    #[cfg(feature = "farm")]
    #[test]
    fn addresses_of_farms_name_an_instance() {
        let farm = |text: &str| match Address::parse(text) {
            Ok(Address::Farm(farm)) => farm,
            other => panic!("{text}: {other:?}"),
        };
        let plain = farm("grpc://host:8980");
        assert_eq!(
            (plain.uri(), plain.instance),
            ("http://host:8980".into(), String::new())
        );
        let named = farm("grpcs://host/a/b/");
        assert_eq!(
            (named.uri(), &*named.instance),
            ("https://host".into(), "a/b")
        );
        for text in ["grpc://host:8980", "grpcs://host/a/b"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        for wrong in ["grpc://", "grpc:///x", "grpcs://u:p@h", "grpc://h?x"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }
}
