//! Decides which requests are answered.
//!
//! The preview changes nothing, so only its content must be protected. Other sites in the same browser must not read
//! it, neither directly (from another origin) nor by a host name of theirs that resolves to this machine (DNS
//! rebinding). In a network, only users with the token may read it.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{COOKIE, HOST, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::{Access, address};

/// The reason for the refusal of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// A sentence for users.
    pub text: String,
}

/// The decision about a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered.
    Pass,
    /// Its address contains the token: the browser gets it as a cookie, and repeats the request without it.
    Admit {
        /// The `Set-Cookie` header.
        cookie: String,
    },
    /// It is refused.
    Refuse(Refusal),
    /// It is refused because its token is wrong.
    Wrong(Refusal),
}

/// Decides about a request to the address `local`. `port` is the port of the course's page, which identifies the
/// preview.
pub fn judge(request: &Parts, local: SocketAddr, port: u16, access: &Access) -> Verdict {
    match check(request, local, port, access) {
        Ok(verdict) => verdict,
        Err((status, text)) => {
            let refusal = Refusal {
                status,
                text: text.to_owned(),
            };
            match text {
                WRONG_TOKEN => Verdict::Wrong(refusal),
                _ => Verdict::Refuse(refusal),
            }
        }
    }
}

type Refused = (StatusCode, &'static str);

const WRONG_TOKEN: &str =
    "This token is not that of the preview. Use the complete address that `clm status` shows.";

fn check(
    request: &Parts,
    local: SocketAddr,
    port: u16,
    access: &Access,
) -> Result<Verdict, Refused> {
    if !is_our_host(request, local) {
        return Err((
            StatusCode::FORBIDDEN,
            "This is not the address of the preview. Open it as `clm watch` shows it: by `localhost` or by number, and with the same port (a tunnel must keep both ports: this one, and that of the pages).",
        ));
    }
    if is_of_another_site(&request.headers) {
        return Err((
            StatusCode::FORBIDDEN,
            "Other sites may link to the preview, but not read it.",
        ));
    }
    if request.headers.contains_key("service-worker") {
        return Err((
            StatusCode::FORBIDDEN,
            "Pages may not install service workers in the preview.",
        ));
    }
    let verdict = match access {
        Access::Loopback => Verdict::Pass,
        Access::Network { token } => authenticate(request, port, token)?,
    };
    if request.method != Method::GET && request.method != Method::HEAD {
        return Err((
            StatusCode::METHOD_NOT_ALLOWED,
            "The preview only shows things: GET and HEAD are all it knows.",
        ));
    }
    Ok(verdict)
}

/// Returns whether the request's host is an address of this machine, and not a name that another site has chosen for
/// it.
fn is_our_host(request: &Parts, local: SocketAddr) -> bool {
    let mut hosts = request.headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let is_same = request
        .uri
        .authority()
        .is_none_or(|authority| authority.as_str().eq_ignore_ascii_case(host));
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        _ => (host, Some(80)),
    };
    let ip = local.ip().to_canonical();
    let own = match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let is_name = ["localhost", "127.0.0.1", "[::1]", &own]
        .iter()
        .any(|own| name.eq_ignore_ascii_case(own));
    is_same && is_name && port == Some(local.port())
}

/// Returns whether the request comes from a page of another site and does not follow a link. Browsers set these
/// headers, and scripts cannot change them.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_ours =
        value("sec-fetch-site").is_none_or(|site| ["same-origin", "none"].contains(&site));
    let is_link =
        value("sec-fetch-mode") == Some("navigate") && value("sec-fetch-dest") == Some("document");
    !is_ours && !is_link
}

fn authenticate(request: &Parts, port: u16, token: &str) -> Result<Verdict, Refused> {
    // Cookies are shared between the ports of a machine, so each preview has a cookie of its own.
    let name = format!("clm_preview_{port}");
    let query = request.uri.query().unwrap_or_default();
    let given = address::query_value(query, "token");
    if given.as_deref().is_some_and(|given| is_equal(given, token)) {
        let cookie = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict");
        return Ok(Verdict::Admit { cookie });
    }
    let cookies: Vec<&str> = request
        .headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .filter(|(given_name, _)| *given_name == name)
        .map(|(_, given)| given)
        .collect();
    if cookies.iter().any(|given| is_equal(given, token)) {
        return Ok(Verdict::Pass);
    }
    if given.is_some() || !cookies.is_empty() {
        return Err((StatusCode::UNAUTHORIZED, WRONG_TOKEN));
    }
    Err((
        StatusCode::UNAUTHORIZED,
        "The preview is open only with its token. Use the complete address that `clm status` shows.",
    ))
}

/// Compares secrets by their digests: the time of this comparison says nothing about where they differ.
fn is_equal(one: &str, other: &str) -> bool {
    blake3::hash(one.as_bytes()) == blake3::hash(other.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut builder = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    fn status(request: &Parts, local: &str, access: &Access) -> u16 {
        let local: SocketAddr = local.parse().unwrap();
        match judge(request, local, local.port(), access) {
            Verdict::Pass => 200,
            Verdict::Admit { .. } => 201,
            Verdict::Refuse(refusal) => refusal.status.as_u16(),
            Verdict::Wrong(refusal) => refusal.status.as_u16() + 1000,
        }
    }

    #[test]
    fn hosts() {
        for (host, local, expected) in [
            ("localhost:8000", "127.0.0.1:8000", 200),
            ("LocalHost:8000", "127.0.0.1:8000", 200),
            ("127.0.0.1:8000", "127.0.0.1:8000", 200),
            ("[::1]:8000", "[::1]:8000", 200),
            ("127.0.0.1", "127.0.0.1:80", 200),
            ("[::1]", "[::1]:80", 200),
            ("192.168.1.5:8000", "192.168.1.5:8000", 200),
            ("192.168.1.5:8000", "[::ffff:192.168.1.5]:8000", 200),
            ("192.168.1.6:8000", "192.168.1.5:8000", 403),
            ("localhost", "127.0.0.1:8000", 403),
            ("localhost:8001", "127.0.0.1:8000", 403),
            ("localhost.:8000", "127.0.0.1:8000", 403),
            ("localhost.evil.example:8000", "127.0.0.1:8000", 403),
            ("evil.example:8000", "127.0.0.1:8000", 403),
            ("user@localhost:8000", "127.0.0.1:8000", 403),
            ("", "127.0.0.1:80", 403),
        ] {
            let request = request("GET", "/", &[("host", host)]);
            assert_eq!(
                status(&request, local, &Access::Loopback),
                expected,
                "{host}"
            );
        }
        let local = "127.0.0.1:8000";
        for (uri, headers) in [
            ("/", &[][..]),
            (
                "/",
                &[("host", "localhost:8000"), ("host", "evil.example")][..],
            ),
            ("http://evil.example/", &[("host", "localhost:8000")][..]),
        ] {
            let request = request("GET", uri, headers);
            assert_eq!(
                status(&request, local, &Access::Loopback),
                403,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn sites_and_methods() {
        let host = ("host", "localhost:8000");
        let local = "127.0.0.1:8000";
        let site = |site| ("sec-fetch-site", site);
        let link = [
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        let frame = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
        for (headers, expected) in [
            (vec![host, site("same-origin")], 200),
            (vec![host, site("none")], 200),
            (vec![host, site("cross-site")], 403),
            (vec![host, site("same-site")], 403),
            (vec![host, site("cross-site"), link[0], link[1]], 200),
            (vec![host, site("cross-site"), frame[0], frame[1]], 403),
            (vec![host, ("service-worker", "script")], 403),
        ] {
            let request = request("GET", "/", &headers);
            assert_eq!(
                status(&request, local, &Access::Loopback),
                expected,
                "{headers:?}"
            );
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"] {
            let request = request(method, "/", &[host]);
            assert_eq!(status(&request, local, &Access::Loopback), 405, "{method}");
        }
        assert_eq!(
            status(&request("HEAD", "/", &[host]), local, &Access::Loopback),
            200
        );
    }

    #[test]
    fn tokens() {
        let host = ("host", "192.168.1.5:8000");
        let local = "192.168.1.5:8000";
        let access = Access::Network {
            token: "secret".to_owned(),
        };
        let cookie = |text| ("cookie", text);
        for (uri, headers, expected) in [
            ("/", vec![host], 401),
            ("/?token=wrong", vec![host], 1401),
            ("/?token=", vec![host], 1401),
            ("/?token=secret", vec![host], 201),
            ("/?token=secret", vec![("host", "evil.example:8000")], 403),
            ("/", vec![host, cookie("a=b; clm_preview_8000=secret")], 200),
            ("/", vec![host, cookie("clm_preview_8000=secre")], 1401),
            ("/", vec![host, cookie("clm_preview_8001=secret")], 401),
        ] {
            let request = request("GET", uri, &headers);
            assert_eq!(
                status(&request, local, &access),
                expected,
                "{uri} {headers:?}"
            );
        }
        let request = request("GET", "/?token=secret", &[host]);
        let Verdict::Admit { cookie } = judge(&request, local.parse().unwrap(), 8000, &access)
        else {
            panic!("not admitted");
        };
        assert_eq!(
            cookie,
            "clm_preview_8000=secret; Path=/; HttpOnly; SameSite=Strict"
        );
    }
}
