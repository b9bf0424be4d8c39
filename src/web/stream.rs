//! Server-sent events about the state of the preview.
//!
//! A reader receives states, not events: everything that has changed since its last message, at the time when it can
//! receive the next one. So the server stores only one message per reader, a slow reader skips outdated states, and one
//! that reconnects gets what it missed. The engine never waits for a reader.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Preview;
use super::answer::Body;

/// The minimal time between two messages to one reader, so that many changes at once become one message.
const PACE: Duration = Duration::from_millis(60);
/// After this time without a message a comment is sent, which keeps the connection open and detects readers that have
/// gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a browser waits before it reconnects, in milliseconds.
const RETRY: u64 = 500;

/// The subject of a stream.
pub(super) enum Topic {
    /// The whole course, or its changes since a change of this server.
    Course(Option<u64>),
    /// The page at an address, and the assets that changed after a change.
    Page(String, u64),
}

/// Opens a stream, which ends when the reader disconnects or `cancel` fires.
pub(super) fn open(preview: Arc<Preview>, topic: Topic, cancel: CancellationToken) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = sender.closed() => {}
            () = send_changes(&preview, topic, &sender) => {}
        }
    });
    Body::Stream(receiver, None)
}

async fn send_changes(preview: &Arc<Preview>, mut topic: Topic, sender: &mpsc::Sender<Bytes>) {
    let mut changes = preview.changes();
    let mut last = String::new();
    if send(sender, format!("retry: {RETRY}\n\n")).await.is_none() {
        return;
    }
    loop {
        // Every later change wakes this task again.
        changes.borrow_and_update();
        // The message is made only when it can be sent, so that it is not outdated.
        let Ok(room) = sender.reserve().await else {
            return;
        };
        let message = match &mut topic {
            Topic::Course(since) => {
                let state = preview.state(*since).await;
                *since = Some(state.change);
                Some(message(
                    &format!("{}-{}", state.epoch, state.change),
                    &state,
                ))
            }
            Topic::Page(address, since) => {
                let page = preview.page(address, *since).await;
                let text = message("page", &page);
                (text != last).then(|| {
                    last.clone_from(&text);
                    text
                })
            }
        };
        match message {
            Some(message) => room.send(Bytes::from(message)),
            None => drop(room),
        }
        tokio::time::sleep(PACE).await;
        if wait(&mut changes, sender).await.is_none() {
            return;
        }
    }
}

/// Waits for a change. Returns `None` if there will be no more or the reader has gone.
async fn wait(changes: &mut watch::Receiver<u64>, sender: &mpsc::Sender<Bytes>) -> Option<()> {
    loop {
        match tokio::time::timeout(KEEP_ALIVE, changes.changed()).await {
            Ok(changed) => return changed.ok(),
            Err(_) => send(sender, ": still here\n\n".to_owned()).await?,
        }
    }
}

async fn send(sender: &mpsc::Sender<Bytes>, text: String) -> Option<()> {
    sender.send(Bytes::from(text)).await.ok()
}

/// Formats a message. It has one line: JSON without indentation has no line breaks, and those in strings are escaped.
fn message(id: &str, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("id: {id}\ndata: {data}\n\n")
}
