//! The HTTP/1.1 server of the preview.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{ALLOW, HOST, HeaderValue, SET_COOKIE, USER_AGENT};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::events::IndexClass;

use super::answer::{self, Answer, Body, Policy};
use super::files::Opened;
use super::guard::{self, Verdict};
use super::inject::{Tag, inject};
use super::listen::Listener;
use super::stream::{self, Topic};
use super::visits::{Place, Visits, Wrong};
use super::{Access, Preview, address, files, peer};

/// The time limit for the head of a request, which includes the pause before it.
const HEAD: Duration = Duration::from_secs(10);

/// Serves a preview to browsers until `cancel` fires. Without a token, `listener` must be bound to a loopback address.
pub async fn serve(
    preview: Arc<Preview>,
    listener: Listener,
    access: Access,
    cancel: CancellationToken,
) -> Result<()> {
    let internal = |error: std::io::Error| Error::system("serve the preview", &error);
    let local = listener.local_addr().map_err(internal)?;
    let pages = listener.pages.local_addr().map_err(internal)?;
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
        course: local.port(),
        pages: pages.port(),
        visits: Visits::default(),
        wrong: Wrong::default(),
    });
    loop {
        let (accepted, side) = tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            accepted = listener.course.accept() => (accepted, Side::Course),
            accepted = listener.pages.accept() => (accepted, Side::Pages),
        };
        match accepted {
            Ok((stream, from)) => {
                let place = server.visits.enter(from.ip());
                let server = Arc::clone(&server);
                tokio::spawn(server.converse(stream, from, side, place));
            }
            Err(error) => {
                // The connection was aborted, or too many files are open: the next one may succeed.
                tracing::warn!(%error, "a browser could not connect to the preview");
                server.visits.make_room();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// The port of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// The port of the course's page and state.
    Course,
    /// The port of the pages of decks.
    Pages,
}

fn is_usable(token: &str) -> bool {
    token.len() >= 16 && token.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

struct Server {
    preview: Arc<Preview>,
    access: Access,
    cancel: CancellationToken,
    /// The number of the course's port.
    course: u16,
    /// The number of the pages' port.
    pages: u16,
    visits: Visits,
    wrong: Wrong,
}

impl Server {
    /// Answers the requests of a connection.
    async fn converse(
        self: Arc<Self>,
        stream: TcpStream,
        from: SocketAddr,
        side: Side,
        place: Place,
    ) {
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let is_local = matches!(self.access, Access::Loopback);
        if is_local {
            let stranger = tokio::task::spawn_blocking(move || peer::is_stranger(local, from));
            if stranger.await.unwrap_or(true) {
                if self.wrong.note(from.ip(), Instant::now()).to_log.is_some() {
                    self.preview
                        .log("Another user of this machine was refused the preview");
                }
                return;
            }
        }
        // Small messages must be sent at once.
        let _ = stream.set_nodelay(true);
        let cancel = self.cancel.clone();
        let place = Arc::new(place);
        let granted = Arc::clone(&place);
        let service = service_fn(move |request: Request<Incoming>| {
            let server = Arc::clone(&self);
            let place = Arc::clone(&granted);
            // The bodies of requests are ignored.
            let (request, _) = request.into_parts();
            async move {
                let visitor = Visitor { local, from, side };
                Ok::<_, Infallible>(server.answer(&request, visitor, &place).await)
            }
        });
        let mut connection = hyper::server::conn::http1::Builder::new();
        connection
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(64 * 1024);
        let connection = connection.serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            () = cancel.cancelled() => {}
            () = place.ended() => tracing::debug!("a connection to the preview made way for another"),
            result = connection => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection to the preview ended");
                }
            }
        }
    }

    async fn answer(&self, request: &Parts, visitor: Visitor, place: &Place) -> Answer {
        let verdict = guard::judge(request, visitor.local, self.course, &self.access);
        if matches!(verdict, Verdict::Pass | Verdict::Admit { .. }) {
            place.grant();
        }
        let answer = match verdict {
            Verdict::Pass => self.show(request, visitor.side).await,
            Verdict::Admit { cookie } => admit(request, &cookie),
            Verdict::Wrong(refusal) => {
                self.punish(visitor.from).await;
                answer::text(refusal.status, &refusal.text)
            }
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

    /// Delays the answer to a wrong token, and logs it.
    async fn punish(&self, from: SocketAddr) {
        let penalty = self.wrong.note(from.ip(), Instant::now());
        if let Some(count) = penalty.to_log {
            let ip = from.ip().to_canonical();
            let times = if count == 1 {
                "once"
            } else {
                "again and again"
            };
            self.preview.log(&format!(
                "A wrong token for the preview came from `{ip}` ({times})"
            ));
        }
        tokio::time::sleep(penalty.delay).await;
    }

    async fn show(&self, request: &Parts, side: Side) -> Answer {
        let path = request.uri.path();
        let query = request.uri.query().unwrap_or_default();
        if side == Side::Pages {
            let is_of_a_page = address::query_value(query, "page").is_some();
            match path {
                "/" => return self.to_side(request, Side::Course).unwrap_or_else(nowhere),
                "/events" if is_of_a_page => {}
                _ if path == "/events" || path.starts_with("/api/") => return nowhere(),
                _ => {}
            }
        }
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
            _ if path.starts_with(address::OUTPUTS) => self.output(request, path, side).await,
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

    /// Redirects to the same address at the other port.
    fn to_side(&self, request: &Parts, side: Side) -> Option<Answer> {
        let host = request.headers.get(HOST)?.to_str().ok()?;
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => name,
            _ => host,
        };
        let port = match side {
            Side::Course => self.course,
            Side::Pages => self.pages,
        };
        let path = request.uri.path_and_query()?;
        answer::redirect(&format!("http://{name}:{port}{path}"))
    }

    async fn output(&self, request: &Parts, path: &str, side: Side) -> Answer {
        let (catalog, change) = {
            let model = self.preview.model();
            (model.catalog.clone(), model.change)
        };
        let epoch = self.preview.epoch;
        let Some(catalog) = catalog else {
            // The course is still being read, so an output may soon exist at this address.
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
                    "This file is planned, but it has not been made so far.",
                ),
            };
        };
        let content_type = files::content_type(path);
        let of_page = match side {
            Side::Pages => Policy::Course,
            // The page's scripts must not run at the origin of the course's state.
            Side::Course if content_type.starts_with("text/html") && is_visit(request) => {
                return self.to_side(request, Side::Pages).unwrap_or_else(nowhere);
            }
            Side::Course => Policy::Inert,
        };
        if class == IndexClass::Html {
            return page(request, opened, content_type, of_page, change, epoch).await;
        }
        let policy = match content_type {
            "text/html; charset=utf-8" => of_page,
            "image/svg+xml" | "application/xml; charset=utf-8" => Policy::Drawing,
            _ => Policy::Plain,
        };
        file(request, opened, content_type, policy)
    }
}

/// Returns an output that is not a page.
fn file(request: &Parts, opened: Opened, content_type: &'static str, policy: Policy) -> Answer {
    if let Some(unchanged) = answer::unchanged(&request.headers, &opened.version, policy) {
        return unchanged;
    }
    let body = match request.method {
        Method::HEAD => Body::Stream(tokio::sync::mpsc::channel(1).1, Some(opened.size)),
        _ => answer::file(opened.file, opened.size),
    };
    let answer = answer::answer(StatusCode::OK, content_type, policy, body);
    answer::with_version(answer, &opened.version)
}

/// Returns a page, with an inserted element.
async fn page(
    request: &Parts,
    opened: Opened,
    content_type: &'static str,
    policy: Policy,
    change: u64,
    epoch: u64,
) -> Answer {
    let tag = Tag {
        version: Some(&opened.version),
        change,
        epoch,
    };
    // The inserted element differs between servers, so it is part of the version.
    let version = format!("{}-{epoch:x}", opened.version);
    if let Some(unchanged) = answer::unchanged(&request.headers, &version, policy) {
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
            let answer = answer::bytes(StatusCode::OK, content_type, policy, page);
            answer::with_version(answer, &version)
        }
        _ => answer::message(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Not readable",
            "The file of this page cannot be read.",
        ),
    }
}

/// The two ends of a connection.
#[derive(Clone, Copy)]
struct Visitor {
    local: SocketAddr,
    from: SocketAddr,
    side: Side,
}

/// Returns whether the browser opens the address as a page or in a frame. Old browsers do not send this information.
fn is_visit(request: &Parts) -> bool {
    let value = |name: &str| {
        request
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    match value("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => value(USER_AGENT.as_str()).is_some_and(|agent| agent.contains("Mozilla")),
    }
}

/// Sets the token as a cookie, with a page that redirects itself. After an HTTP redirection that began on another site,
/// such as a link in a mail, the browser would not send the cookie.
fn admit(request: &Parts, cookie: &str) -> Answer {
    let path = same_site(request.uri.path());
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

/// Returns a path that no browser takes for another site. Browsers read `//host`, `/\host` and `/<tab>/host` as
/// addresses of `host`, so everything but plain path characters must be encoded.
fn same_site(path: &str) -> &str {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~%/!$&'()*+,;=:@".contains(&byte);
    match path.starts_with('/') && !path.starts_with("//") && path.bytes().all(is_plain) {
        true => path,
        false => "/",
    }
}

/// Returns a page for a deck that is not built yet, which reloads itself when it is.
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
        "Nothing that clm makes has this address. It may have been renamed with its source.",
    )
}

/// Returns a file of the preview itself.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admission_never_leads_to_another_site() {
        for path in [
            "/",
            "/out/t/a%20b.html",
            "/out/%22%3E",
            "/%5chost",
            "/%09/host",
            "/a//b",
        ] {
            assert_eq!(same_site(path), path);
        }
        for path in [
            "//host",
            "/\\host",
            "\\\\host",
            "///host",
            "/\t/host",
            "/\n//host",
            "/\r\\host",
            "http://host",
            "",
            "host",
            "/ /host",
            "/\u{a0}/host",
        ] {
            assert_eq!(same_site(path), "/", "{path:?}");
        }
    }
}
