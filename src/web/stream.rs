//! What happens, as server-sent events.
//!
//! A reader is told states and not events: what has changed since it was last told, at the moment when it can take it.
//! So nothing is kept for a reader but the one message it is being sent, a slow one skips what is out of date, and one
//! that comes again is told what it missed. The engine never waits for a reader.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Preview;
use super::answer::Body;

/// Between two messages to one reader: many changes at once become one message.
const PACE: Duration = Duration::from_millis(60);
/// After this time without news a comment keeps the connection, and shows readers that have gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// When a browser tries again after the connection was lost, in milliseconds.
const RETRY: u64 = 500;

/// What a reader wants to know.
pub enum Topic {
    /// The whole course; since a change of this server, if the reader knows it.
    Course(Option<u64>),
    /// The page at an address, and assets that changed after some change.
    Page(String, u64),
}

/// A stream for a reader, until it goes or `cancel` fires.
pub fn open(preview: Arc<Preview>, topic: Topic, cancel: CancellationToken) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = sender.closed() => {}
            () = tell(&preview, topic, &sender) => {}
        }
    });
    Body::Stream(receiver, None)
}

async fn tell(preview: &Arc<Preview>, mut topic: Topic, sender: &mpsc::Sender<Bytes>) {
    let mut changes = preview.changes();
    let mut last = String::new();
    if send(sender, format!("retry: {RETRY}\n\n")).await.is_none() {
        return;
    }
    loop {
        // Whatever changes from here on wakes us again.
        changes.borrow_and_update();
        // Only when there is room is the message made: it is then not older than it must be.
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

/// Waits for a change; none when there will be no more or nobody listens.
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

/// A message; JSON has no line breaks outside its strings, and they are escaped in these.
fn message(id: &str, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("id: {id}\ndata: {data}\n\n")
}
