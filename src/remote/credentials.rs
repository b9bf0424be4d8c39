//! The secrets for a shared cache: headers of requests.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::header::AUTHORIZATION;
use ureq::http::{HeaderMap, HeaderName, HeaderValue};

/// The secrets for a shared cache. They are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Credentials(HeaderMap);

/// Why secrets cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// A value has characters that no header may have.
    #[error("a secret for the shared cache has characters that cannot be sent")]
    Characters,
    /// A line is no header.
    #[error("line {0} is no header: write `Name: value`")]
    NoHeader(usize),
}

impl Credentials {
    /// Returns a bearer token.
    ///
    /// # Errors
    ///
    /// [`Unusable::Characters`]
    pub(crate) fn token(token: &str) -> Result<Self, Unusable> {
        Self::authorization(&format!("Bearer {token}"))
    }

    /// Returns a user and a password.
    ///
    /// # Errors
    ///
    /// [`Unusable::Characters`]
    pub(crate) fn basic(user: &str, password: &str) -> Result<Self, Unusable> {
        // The encoding would hide a line end, which is a mistake here as well.
        if user.chars().chain(password.chars()).any(char::is_control) {
            return Err(Unusable::Characters);
        }
        let pair = STANDARD.encode(format!("{user}:{password}"));
        Self::authorization(&format!("Basic {pair}"))
    }

    fn authorization(value: &str) -> Result<Self, Unusable> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, secret(value)?);
        Ok(Self(headers))
    }

    /// Adds headers, one in a line.
    ///
    /// # Errors
    ///
    /// Which line is none.
    pub(crate) fn with_headers(mut self, text: &str) -> Result<Self, Unusable> {
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            let no_header = Unusable::NoHeader(number);
            let (name, value) = line.split_once(':').ok_or_else(|| no_header.clone())?;
            let name: HeaderName = name.trim().parse().map_err(|_| no_header)?;
            self.0.insert(name, secret(value.trim())?);
        }
        Ok(self)
    }

    /// Returns the headers.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.0
    }

    /// Returns whether there are others than the standard one, which no client sends to another host.
    pub(super) fn has_own_headers(&self) -> bool {
        self.0.keys().any(|name| name != AUTHORIZATION)
    }
}

fn secret(value: &str) -> Result<HeaderValue, Unusable> {
    let mut value = HeaderValue::from_str(value).map_err(|_| Unusable::Characters)?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_headers_and_are_not_shown() {
        let basic = Credentials::basic("a", "hidden").unwrap();
        assert_eq!(basic.headers()["authorization"], "Basic YTpoaWRkZW4=");
        assert!(!basic.has_own_headers());
        let token = Credentials::token("hidden").unwrap();
        let both = token
            .with_headers("\nX-Key: hidden 2\n  other:x:y  \n")
            .unwrap();
        assert_eq!(both.headers()["authorization"], "Bearer hidden");
        assert_eq!(both.headers()["x-key"], "hidden 2");
        assert_eq!(both.headers()["other"], "x:y");
        assert!(both.has_own_headers());
        assert!(!format!("{both:?} {:?}", both.headers()).contains("hidden"));
    }

    #[test]
    fn what_cannot_be_sent_is_an_error() {
        for wrong in ["a\nb", "a\0", "\u{7f}"] {
            assert_eq!(
                Credentials::token(wrong),
                Err(Unusable::Characters),
                "{wrong:?}"
            );
            assert_eq!(
                Credentials::basic("a", wrong),
                Err(Unusable::Characters),
                "{wrong:?}"
            );
        }
        let headers = |text: &str| Credentials::default().with_headers(text);
        for (wrong, line) in [("a", 1), ("a: b\n: c", 2), ("a b: c", 1), ("\n\nä: b", 3)] {
            assert_eq!(headers(wrong), Err(Unusable::NoHeader(line)), "{wrong:?}");
        }
    }
}
