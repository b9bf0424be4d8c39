//! A shared cache behind HTTP: `GET`, `HEAD` and `PUT` of `/ac/..` and `/cas/..`, as caches of build tools offer it.

use std::io::Read as _;
use std::time::Duration;

use ureq::config::RedirectAuthHeaders;
use ureq::http::Response;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, RequestBuilder};

use super::super::Credentials;
use super::{Failure, Name, Transport, time_to_send, within};

/// Connections that are kept open.
const CONNECTIONS: usize = 32;
/// The most memory that is reserved because the server says that so many bytes come.
const RESERVED: u64 = 16 << 20;

/// A cache behind HTTP.
pub(super) struct Http {
    base: String,
    agent: Agent,
    credentials: Credentials,
    wait: Duration,
}

impl Http {
    pub(super) fn new(base: String, credentials: Credentials, wait: Duration) -> Self {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // Another host must not get them.
            .max_redirects(if credentials.has_own_headers() { 0 } else { 3 })
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .user_agent(concat!("clm/", env!("CARGO_PKG_VERSION")))
            .max_idle_connections(CONNECTIONS)
            .max_idle_connections_per_host(CONNECTIONS)
            .timeout_resolve(Some(wait))
            .timeout_connect(Some(wait))
            .timeout_recv_response(Some(wait))
            .timeout_per_read(Some(wait))
            .timeout_per_write(Some(wait))
            .build();
        Self {
            base,
            agent: config.into(),
            credentials,
            wait,
        }
    }

    fn url(&self, name: &Name) -> String {
        format!("{}/{}", self.base, name.path())
    }

    /// Adds what all requests have.
    fn prepared<B>(&self, request: RequestBuilder<B>, wait: Duration) -> RequestBuilder<B> {
        let request = request.config().timeout_global(Some(wait)).build();
        let headers = self.credentials.headers().iter();
        headers.fold(request, |request, (name, value)| {
            request.header(name, value)
        })
    }
}

impl Transport for Http {
    fn get(&self, name: &Name, limit: u64, wait: Duration) -> Result<Option<Vec<u8>>, Failure> {
        let request = self.prepared(self.agent.get(self.url(name)), wait);
        let mut response = request.call().map_err(failure)?;
        if !is_there(&response)? {
            return Ok(None);
        }
        let length = response.body().content_length().unwrap_or_default();
        let mut bytes = Vec::with_capacity(length.min(limit).min(RESERVED) as usize);
        // One byte more shows that it is too long.
        let mut body = response.body_mut().as_reader().take(limit + 1);
        body.read_to_end(&mut bytes)
            .map_err(|error| failure(error.into()))?;
        within(limit, bytes).map(Some)
    }

    fn has(&self, name: &Name, wait: Duration) -> Result<bool, Failure> {
        let request = self.prepared(self.agent.head(self.url(name)), wait);
        match request.call().map_err(failure)?.status().as_u16() {
            // Some caches do not know `HEAD`.
            405 | 501 => Ok(false),
            200 | 204 => Ok(true),
            404 | 410 => Ok(false),
            status => Err(Failure::Status(status)),
        }
    }

    fn put(&self, name: &Name, bytes: &[u8]) -> Result<(), Failure> {
        let wait = time_to_send(self.wait, bytes);
        let request = self.prepared(self.agent.put(self.url(name)), wait);
        let request = request.content_type("application/octet-stream");
        match request.send(bytes).map_err(failure)?.status().as_u16() {
            200..=299 => Ok(()),
            status => Err(Failure::Status(status)),
        }
    }
}

/// Returns whether the answer has the bytes that were asked for.
fn is_there(response: &Response<Body>) -> Result<bool, Failure> {
    match response.status().as_u16() {
        200 => Ok(true),
        404 | 410 => Ok(false),
        status => Err(Failure::Status(status)),
    }
}

/// Converts an error. Its text never contains a header, and so no secret.
fn failure(error: ureq::Error) -> Failure {
    match error {
        ureq::Error::StatusCode(status) => Failure::Status(status),
        ureq::Error::Timeout(_) => Failure::TimedOut,
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => Failure::TimedOut,
        ureq::Error::BodyExceedsLimit(_) => {
            Failure::Wrong("a file is larger than its entry says".to_owned())
        }
        ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed => {
            Failure::Wrong("it redirects again and again".to_owned())
        }
        ureq::Error::Protocol(error) => Failure::Wrong(format!("its answer is not HTTP: {error}")),
        ureq::Error::HostNotFound => Failure::Unreachable("its host is not known".to_owned()),
        error => Failure::Unreachable(error.to_string()),
    }
}
