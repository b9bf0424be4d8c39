//! HTTP responses: bodies, headers, and the policies that browsers enforce.

use std::convert::Infallible;
use std::fs::File;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName,
    HeaderValue, IF_NONE_MATCH, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Response, StatusCode};
use tokio::sync::mpsc;

/// How many bytes of a file are read at once.
const PIECE: usize = 64 * 1024;
/// How many pieces are buffered for a slow reader.
const PIECES: usize = 4;

/// The answer to a request.
pub(super) type Answer = Response<Body>;

/// The body of an answer.
pub(super) enum Body {
    /// Bytes; `None` once they are taken.
    Full(Option<Bytes>),
    /// Pieces that another task sends, and the total length if it is known.
    Stream(mpsc::Receiver<Bytes>, Option<u64>),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(receiver, _) => receiver
                .poll_recv(context)
                .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(_, Some(size)) => SizeHint::with_exact(*size),
            Self::Stream(_, None) => SizeHint::default(),
        }
    }
}

/// The origin of a page's content, which decides what the page may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// The preview's own pages, styles and scripts. They may load only from the preview, and have no inline scripts and
    /// no embedding sites.
    Own,
    /// A page of a course, with scripts and libraries from the web, as students will get it.
    ///
    /// All such pages share one origin, so that relative files and the storage of libraries work as they will for
    /// students. The page of the course and its state have another origin, which scripts here can neither read nor
    /// embed. Scripts cannot install service workers, and can connect to no other server of this machine (only `https:`
    /// besides their own origin).
    Course,
    /// A page of a course at the origin of the preview itself, where none of its scripts may run.
    Inert,
    /// A drawing: if it is opened directly, scripts in it must not run.
    Drawing,
    /// Anything else.
    Plain,
}

const OWN: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'";
const COURSE: &str = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob: https:; \
    worker-src blob:; object-src 'none'; base-uri 'self'; form-action 'none'; frame-ancestors 'self'";
const INERT: &str = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob: https:; \
    worker-src blob:; object-src 'none'; base-uri 'self'; form-action 'none'; frame-ancestors 'self'; sandbox";
const DRAWING: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; sandbox";

/// Returns an answer with a body and the headers of a policy.
pub(super) fn answer(
    status: StatusCode,
    content_type: &'static str,
    policy: Policy,
    body: Body,
) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_TYPE, content_type);
    set(CACHE_CONTROL, "no-cache");
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    // Other sites must not embed any file as an image or a script.
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    match policy {
        Policy::Own => {
            set(CONTENT_SECURITY_POLICY, OWN);
            set(REFERRER_POLICY, "no-referrer");
            set(
                HeaderName::from_static("cross-origin-opener-policy"),
                "same-origin",
            );
        }
        Policy::Course | Policy::Inert => {
            let is_inert = policy == Policy::Inert;
            set(
                CONTENT_SECURITY_POLICY,
                if is_inert { INERT } else { COURSE },
            );
            // Embedded video players require a referrer. They learn only the address of the preview.
            set(REFERRER_POLICY, "strict-origin-when-cross-origin");
        }
        Policy::Drawing => {
            set(CONTENT_SECURITY_POLICY, DRAWING);
            set(REFERRER_POLICY, "no-referrer");
        }
        Policy::Plain => {
            set(REFERRER_POLICY, "no-referrer");
        }
    }
    answer
}

/// Returns an answer with bytes.
pub(super) fn bytes(
    status: StatusCode,
    content_type: &'static str,
    policy: Policy,
    bytes: impl Into<Bytes>,
) -> Answer {
    answer(status, content_type, policy, Body::Full(Some(bytes.into())))
}

/// Returns an answer with plain text.
pub(super) fn text(status: StatusCode, text: &str) -> Answer {
    let line = format!("{text}\n");
    bytes(status, "text/plain; charset=utf-8", Policy::Own, line)
}

/// Returns a page for an address without content. The texts are escaped.
pub(super) fn message(status: StatusCode, title: &str, text: &str) -> Answer {
    let page = include_str!("page/message.html")
        .replace("{title}", &escape(title))
        .replace("{text}", &escape(text));
    bytes(status, "text/html; charset=utf-8", Policy::Own, page)
}

/// Returns the answer that the browser's version is up to date, or `None` if the content must be sent.
pub(super) fn unchanged(request: &HeaderMap, version: &str, policy: Policy) -> Option<Answer> {
    let etag = format!("\"{version}\"");
    let is_known = request
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|known| known.trim().trim_start_matches("W/"))
        .any(|known| known == etag || known == "*");
    is_known.then(|| {
        let unchanged = bytes(StatusCode::NOT_MODIFIED, "text/plain", policy, Bytes::new());
        let mut unchanged = with_version(unchanged, version);
        unchanged.headers_mut().remove(CONTENT_TYPE);
        unchanged
    })
}

/// Returns a redirection, or `None` if the address is not a valid header.
pub(super) fn redirect(address: &str) -> Option<Answer> {
    let location = HeaderValue::from_str(address).ok()?;
    let mut answer = text(StatusCode::TEMPORARY_REDIRECT, "It is elsewhere.");
    let headers = answer.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(answer)
}

/// Sets the version of the content.
pub(super) fn with_version(mut answer: Answer, version: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{version}\"")) {
        answer.headers_mut().insert(ETAG, value);
    }
    answer
}

/// Removes the body, but keeps its length, as the answer to `HEAD` requires.
pub(super) fn without_body(answer: Answer) -> Answer {
    let (mut parts, body) = answer.into_parts();
    if let Some(size) = hyper::body::Body::size_hint(&body).exact() {
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(size));
    }
    Response::from_parts(parts, Body::Full(None))
}

/// Returns the content of a file as a body. A thread reads it piece by piece, since the disk may be slow. If the file
/// becomes shorter meanwhile, the connection is broken off.
pub(super) fn file(mut file: File, size: u64) -> Body {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut left = size;
        while left > 0 {
            let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
            match file.read(&mut piece) {
                Ok(count) if count > 0 => {
                    piece.truncate(count);
                    left -= count as u64;
                    if sender.blocking_send(Bytes::from(piece)).is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    });
    Body::Stream(receiver, Some(size))
}

/// Escapes text for HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_texts() {
        assert_eq!(
            escape("<a href=\"x\" o='y'>&"),
            "&lt;a href=&quot;x&quot; o=&#39;y&#39;&gt;&amp;"
        );
    }

    #[test]
    fn versions_are_compared_as_browsers_send_them() {
        for (sent, is_known) in [
            ("\"1-2\"", true),
            ("W/\"1-2\"", true),
            ("\"x\", \"1-2\"", true),
            ("*", true),
            ("\"1-2", false),
            ("1-2", false),
            ("\"1-3\"", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_str(sent).unwrap());
            assert_eq!(
                unchanged(&headers, "1-2", Policy::Own).is_some(),
                is_known,
                "{sent}"
            );
        }
        assert!(unchanged(&HeaderMap::new(), "1-2", Policy::Own).is_none());
    }
}
