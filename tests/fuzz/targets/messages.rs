//! Messages of processes, of kernels, of clients and of browsers.

use std::net::SocketAddr;
use std::path::Path;

use clm::testing::daemon::protocol::{Line, Request};
use clm::testing::events::Event;
use clm::testing::web::guard::Verdict;
use clm::testing::web::{Access, address, guard, inject};
use clm::testing::worker::notebook::replay;
use clm::testing::worker::protocol::{FromWorker, Lines, ToWorker};
use clm::testing::worker::request::{CodeCell, Executed};
use serde_json::Value;

use super::text;

pub fn worker(bytes: &[u8]) {
    const LIMIT: usize = 2048;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut lines = Lines::new(bytes, LIMIT);
    while let Ok(Some(line)) = runtime.block_on(lines.next()) {
        assert!(line.len() <= LIMIT);
        let _ = serde_json::from_slice::<ToWorker>(&line);
        let Ok(message) = serde_json::from_slice::<FromWorker>(&line) else {
            continue;
        };
        if let Some(Ok(outcome)) = message
            .result
            .map(|result| result.into_outcome(Path::new("/nonexistent/out")))
        {
            // No worker can name a file outside of its directory.
            let outputs = format!("{outcome:?}");
            assert!(!outputs.contains(".."), "{outputs}");
        }
    }
}

pub fn socket(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Request>(bytes);
    let _ = serde_json::from_slice::<Line>(bytes);
    if let Ok(event) = serde_json::from_slice::<Event>(bytes) {
        let again = serde_json::to_string(&event).unwrap();
        serde_json::from_str::<Event>(&again).unwrap();
    }
}

/// A request line and headers; what is let through has an address of ours.
pub fn http(bytes: &[u8]) {
    let text = text(bytes);
    let mut lines = text.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let method = first.next().unwrap_or_default();
    let mut request = hyper::Request::builder()
        .method(method)
        .uri(first.next().unwrap_or_default());
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        request = request.header(name, value.trim());
    }
    let Ok(request) = request.body(()) else {
        return;
    };
    let (request, ()) = request.into_parts();
    let local: SocketAddr = "127.0.0.1:8000".parse().unwrap();
    let token = "0123456789abcdef";
    let access = Access::Network {
        token: token.into(),
    };
    let query = request.uri.query().unwrap_or_default();
    let cookies = request.headers.get_all("cookie").iter();
    let is_named = query.contains('%')
        || query.contains(token)
        || cookies
            .filter_map(|cookie| cookie.to_str().ok())
            .any(|cookie| cookie.contains(token));
    if !matches!(
        guard::judge(&request, local, 8000, &access),
        Verdict::Refuse(_) | Verdict::Wrong(_)
    ) {
        assert!(is_named, "admitted without the token: {text}");
    }
    if !matches!(
        guard::judge(&request, local, 8000, &Access::Loopback),
        Verdict::Refuse(_)
    ) {
        assert!(["GET", "HEAD"].contains(&method), "{text}");
    }
    if let Some((target, path)) = address::parse(request.uri.path()) {
        for segment in path.split('/') {
            assert!(!["", ".", ".."].contains(&segment), "{target} {path}");
        }
        assert_eq!(
            address::parse(&address::address(&target, &path)),
            Some((target, path))
        );
    }
}

/// The program of the preview is put into a page, whose bytes stay.
pub fn page(bytes: &[u8]) {
    let element = "<script src=\"/x\"></script>";
    let injected = inject::inject(bytes, element);
    assert_eq!(injected.len(), bytes.len() + element.len());
}

/// What a kernel publishes, one message in a line.
pub fn kernel(bytes: &[u8]) {
    let cell = |number: u32, source: &str| CodeCell {
        source: source.to_owned(),
        cell: number,
        line: Some(number * 10),
        jumps: Box::default(),
        may_fail: false,
    };
    let cells = [cell(1, "a\nb\nc"), cell(2, "d")];
    let lines = bytes.split(|byte| *byte == b'\n');
    let messages: Vec<Value> = lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let (executed, diagnostics) = replay(&cells, &messages);
    assert_eq!(executed.cells.len(), cells.len());
    for diagnostic in diagnostics {
        let line = diagnostic.line;
        assert!(
            line.is_some_and(|line| [10, 11, 12, 20].contains(&line)),
            "{diagnostic}"
        );
        assert!(!diagnostic.message.is_empty() && diagnostic.hint.is_some());
    }
    let json = serde_json::to_string(&executed).unwrap();
    assert_eq!(serde_json::from_str::<Executed>(&json).unwrap(), executed);
}
