//! The server: HTTP/1.1 on one address.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::digest::Digest;
use crate::engine::index::IndexClass;
use crate::error::{Error, Result};

use super::answer::{self, Answer, Body, Policy};
use super::guard::{self, Verdict};
use super::inject::{Tag, inject};
use super::stream::{self, Topic};
use super::{Access, Preview, address, files, peer};

/// The longest time for the head of a request, and for the pause before the next one.
const HEAD: Duration = Duration::from_secs(30);
/// How many connections there may be; a browser holds at most six.
const CONNECTIONS: usize = 256;
/// How many ports after one that is taken are tried, to name a free one.
const NEXT_PORTS: u16 = 50;

/// Takes an address. Must be called within a tokio runtime. A port that is taken is an error whose hint names a free one.
pub fn bind(addr: SocketAddr) -> Result<TcpListener> {
    let listener = std::net::TcpListener::bind(addr).map_err(|error| refused(addr, &error))?;
    listener
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(listener))
        .map_err(|error| refused(addr, &error))
}

fn refused(addr: SocketAddr, error: &std::io::Error) -> Error {
    let any = SocketAddr::new(addr.ip(), 0);
    match error.kind() {
        ErrorKind::AddrInUse => {
            let mut next = (1..=NEXT_PORTS)
                .filter_map(|more| addr.port().checked_add(more))
                .map(|port| SocketAddr::new(addr.ip(), port))
                .filter(|next| std::net::TcpListener::bind(next).is_ok());
            let hint = match next.next() {
                Some(free) => {
                    format!("`--serve {free}` is free; `--serve {any}` takes any free port")
                }
                None => format!("`--serve {any}` takes any free port"),
            };
            let message = format!("another program already listens on `{addr}`");
            Error::usage(message).hint(hint)
        }
        ErrorKind::PermissionDenied => {
            let message = format!("this user may not listen on `{addr}`");
            Error::usage(message).hint(format!("`--serve {any}` takes any free port"))
        }
        ErrorKind::AddrNotAvailable => {
            Error::usage(format!("this machine has no address `{}`", addr.ip()))
                .hint("use `127.0.0.1` for this machine alone, or one of its own addresses")
        }
        _ => Error::usage(format!("cannot listen on `{addr}`: {error}")),
    }
}

/// Shows a preview to browsers until `cancel` fires. Without a token, the address must be of this machine alone.
pub async fn serve(
    preview: Arc<Preview>,
    listener: TcpListener,
    access: Access,
    cancel: CancellationToken,
) -> Result<()> {
    let internal =
        |error: std::io::Error| Error::internal(format!("cannot serve the preview: {error}"));
    let local = listener.local_addr().map_err(internal)?;
    match &access {
        Access::Loopback if !local.ip().is_loopback() => {
            return Err(Error::usage(format!(
                "`{local}` can be reached from the network: a preview there needs a token"
            )));
        }
        Access::Network { token } if !is_usable(token) => {
            return Err(Error::usage(
                "the token of the preview must consist of letters and digits, at least 16",
            ));
        }
        _ => {}
    }
    let server = Arc::new(Server {
        preview,
        access,
        cancel: cancel.clone(),
    });
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            next = next => next,
        };
        match accepted {
            Ok((stream, from)) => {
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    server.converse(stream, from).await;
                    drop(place);
                });
            }
            Err(error) => {
                // A connection that was given up meanwhile, or too many open files: the next may work.
                tracing::warn!(%error, "a browser could not connect to the preview");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn is_usable(token: &str) -> bool {
    token.len() >= 16 && token.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

struct Server {
    preview: Arc<Preview>,
    access: Access,
    cancel: CancellationToken,
}

impl Server {
    /// Answers the requests of a connection.
    async fn converse(self: Arc<Self>, stream: TcpStream, from: SocketAddr) {
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let is_local = matches!(self.access, Access::Loopback);
        if is_local {
            let stranger = tokio::task::spawn_blocking(move || peer::is_stranger(local, from));
            if stranger.await.unwrap_or(true) {
                tracing::warn!("another user of this machine tried to look at the preview");
                return;
            }
        }
        // Small messages must not wait for more.
        let _ = stream.set_nodelay(true);
        let cancel = self.cancel.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let server = Arc::clone(&self);
            // Requests have no bodies that we would read.
            let (request, _) = request.into_parts();
            async move { Ok::<_, Infallible>(server.answer(&request, local).await) }
        });
        let mut connection = hyper::server::conn::http1::Builder::new();
        connection
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(64 * 1024);
        let connection = connection.serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            () = cancel.cancelled() => {}
            result = connection => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection to the preview ended");
                }
            }
        }
    }

    async fn answer(&self, request: &Parts, local: SocketAddr) -> Answer {
        let answer = match guard::judge(request, local, &self.access) {
            Verdict::Pass => self.show(request).await,
            Verdict::Admit { cookie } => admit(request, &cookie),
            Verdict::Refuse(refusal) => {
                let mut answer = answer::text(refusal.status, &refusal.text);
                if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
                    let allowed = HeaderValue::from_static("GET, HEAD");
                    answer.headers_mut().insert(ALLOW, allowed);
                }
                answer
            }
        };
        if request.method == Method::HEAD {
            return answer::without_body(answer);
        }
        answer
    }

    async fn show(&self, request: &Parts) -> Answer {
        let path = request.uri.path();
        let query = request.uri.query().unwrap_or_default();
        match path {
            "/" => asset("index.html", &request.headers),
            "/favicon.ico" => asset("icon.svg", &request.headers),
            "/api/state" => {
                let state = self.preview.state(None).await;
                let text = serde_json::to_vec(&state).unwrap_or_default();
                let json = "application/json; charset=utf-8";
                answer::bytes(StatusCode::OK, json, Policy::Own, text)
            }
            "/events" => self.events(request, query),
            _ if path.starts_with(address::OUTPUTS) => self.output(request, path).await,
            _ => match path.strip_prefix("/assets/") {
                Some(name) => asset(name, &request.headers),
                None => nowhere(),
            },
        }
    }

    fn events(&self, request: &Parts, query: &str) -> Answer {
        let number = |text: &str| text.parse::<u64>().ok();
        let topic = match address::query_value(query, "page") {
            Some(page) => {
                let since = address::query_value(query, "since");
                Topic::Page(page, since.as_deref().and_then(number).unwrap_or(0))
            }
            None => {
                let last = request.headers.get("last-event-id");
                let known = last
                    .and_then(|last| last.to_str().ok())
                    .and_then(|last| last.split_once('-'))
                    .filter(|(epoch, _)| number(epoch) == Some(self.preview.epoch))
                    .and_then(|(_, change)| number(change));
                Topic::Course(known)
            }
        };
        let body = match request.method {
            Method::HEAD => Body::Full(None),
            _ => stream::open(Arc::clone(&self.preview), topic, self.cancel.clone()),
        };
        answer::answer(StatusCode::OK, "text/event-stream", Policy::Own, body)
    }

    async fn output(&self, request: &Parts, path: &str) -> Answer {
        let (catalog, change) = {
            let model = self.preview.model();
            (model.catalog.clone(), model.change)
        };
        let epoch = self.preview.epoch;
        let Some(catalog) = catalog else {
            // The course is being read: the address may well lead somewhere in a moment.
            return match address::parse(path) {
                Some((_, below)) => waiting(&below, change, epoch),
                None => nowhere(),
            };
        };
        let Some(position) = catalog.by_address(path) else {
            return nowhere();
        };
        let class = catalog.index.outputs[position].class;
        let Some(opened) = self.preview.open(Arc::clone(&catalog), path).await else {
            return match class {
                IndexClass::Html => waiting(catalog.below(position), change, epoch),
                _ => answer::message(
                    StatusCode::NOT_FOUND,
                    "Not built yet",
                    "The course will have this file, but it has not been made so far.",
                ),
            };
        };
        let content_type = files::content_type(path);
        if class != IndexClass::Html {
            let policy = match content_type {
                "text/html; charset=utf-8" => Policy::Course,
                "image/svg+xml" | "application/xml; charset=utf-8" => Policy::Drawing,
                _ => Policy::Plain,
            };
            if let Some(unchanged) = answer::unchanged(&request.headers, &opened.version, policy) {
                return unchanged;
            }
            let body = match request.method {
                Method::HEAD => Body::Stream(tokio::sync::mpsc::channel(1).1, Some(opened.size)),
                _ => answer::file(opened.file, opened.size),
            };
            let answer = answer::answer(StatusCode::OK, content_type, policy, body);
            return answer::with_version(answer, &opened.version);
        }
        let tag = Tag {
            version: Some(&opened.version),
            change,
            epoch,
        };
        // Another server puts something else into the page.
        let version = format!("{}-{epoch:x}", opened.version);
        if let Some(unchanged) = answer::unchanged(&request.headers, &version, Policy::Course) {
            return unchanged;
        }
        let element = tag.html();
        let page = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            let read = std::io::Read::read_to_end(&mut &opened.file, &mut bytes);
            read.map(|_| inject(&bytes, &element))
        });
        match page.await {
            Ok(Ok(page)) => {
                let answer = answer::bytes(StatusCode::OK, content_type, Policy::Course, page);
                answer::with_version(answer, &version)
            }
            _ => answer::message(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Not readable",
                "The file of this page cannot be read.",
            ),
        }
    }
}

/// Gives the token as a cookie. The page then goes on by itself: a redirection that began on another site, such as a
/// link in a mail, would not take the cookie along.
fn admit(request: &Parts, cookie: &str) -> Answer {
    let path = request.uri.path();
    // `//host` would lead to another site.
    let path = if path.starts_with("//") { "/" } else { path };
    let page = include_str!("page/admit.html").replace("{address}", &answer::escape(path));
    let html = "text/html; charset=utf-8";
    let mut answer = answer::bytes(StatusCode::OK, html, Policy::Own, page);
    let headers = answer.headers_mut();
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        headers.insert(SET_COOKIE, cookie);
    }
    answer
}

/// The page of a deck that is not built yet; it makes way for the deck by itself.
fn waiting(path: &str, change: u64, epoch: u64) -> Answer {
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = name.strip_suffix(".html").unwrap_or(name);
    let tag = Tag {
        version: None,
        change,
        epoch,
    };
    let page = include_str!("page/waiting.html")
        .replace("{script}", &tag.html())
        .replace("{title}", &answer::escape(name));
    let html = "text/html; charset=utf-8";
    answer::bytes(StatusCode::NOT_FOUND, html, Policy::Own, page)
}

fn nowhere() -> Answer {
    answer::message(
        StatusCode::NOT_FOUND,
        "Nothing here",
        "No output of this course has this address. It may have been renamed with its deck.",
    )
}

/// A file of our own.
fn asset(name: &str, request: &HeaderMap) -> Answer {
    let text = match name {
        "index.html" => include_str!("page/index.html"),
        "ansi.js" => include_str!("page/ansi.js"),
        "app.js" => include_str!("page/app.js"),
        "course.js" => include_str!("page/course.js"),
        "decks.js" => include_str!("page/decks.js"),
        "elements.js" => include_str!("page/elements.js"),
        "head.js" => include_str!("page/head.js"),
        "overlay.css" => include_str!("page/overlay.css"),
        "overlay.js" => include_str!("page/overlay.js"),
        "problems.js" => include_str!("page/problems.js"),
        "state.js" => include_str!("page/state.js"),
        "states.js" => include_str!("page/states.js"),
        "style.css" => include_str!("page/style.css"),
        "icon.svg" => include_str!("page/icon.svg"),
        _ => return nowhere(),
    };
    let version = Digest::of(text).short();
    if let Some(unchanged) = answer::unchanged(request, &version, Policy::Own) {
        return unchanged;
    }
    let answer = answer::bytes(StatusCode::OK, files::content_type(name), Policy::Own, text);
    answer::with_version(answer, &version)
}
