//! Merges changes and requests into one sequence, in the order in which they happened.

use tokio::sync::{mpsc, oneshot};

use crate::engine::driver::Ask;
use crate::error::{Error, Result};
use crate::watch::{ChangeSet, Watcher};

/// Sends requests to the engine, each after all earlier changes.
#[derive(Clone)]
pub(super) struct Gate(mpsc::UnboundedSender<Passage>);

type Passage = (Option<Ask>, oneshot::Sender<()>);

/// The receiving end of a [`Gate`].
pub(super) struct Passages(mpsc::UnboundedReceiver<Passage>);

/// Creates a gate and its receiving end.
pub(super) fn gate() -> (Gate, Passages) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Gate(sender), Passages(receiver))
}

impl Gate {
    /// Waits until the engine has been sent every change made before this call, and then `ask`.
    pub(super) async fn pass(&self, ask: Option<Ask>) -> Result<()> {
        let (done, wait) = oneshot::channel();
        let ended = || Error::internal("the daemon is about to end");
        self.0.send((ask, done)).map_err(|_| ended())?;
        wait.await.map_err(|_| ended())
    }
}

/// Forwards changes and requests until the watch or the engine ends.
pub(super) async fn forward(
    watcher: &Watcher,
    mut changes: mpsc::Receiver<ChangeSet>,
    mut passages: Passages,
    asks: mpsc::UnboundedSender<Ask>,
) {
    loop {
        let ask = tokio::select! {
            biased;
            change = changes.recv() => change.map(Ask::Changed),
            passage = passages.0.recv() => {
                let Some((ask, done)) = passage else { return };
                let Ok(before) = watcher.catch_up(&mut changes).await else { return };
                let before = (!before.is_empty()).then_some(Ask::Changed(before));
                if before.into_iter().chain(ask).any(|ask| asks.send(ask).is_err()) {
                    return;
                }
                // The client may have disconnected.
                let _ = done.send(());
                continue;
            }
        };
        let Some(ask) = ask else { return };
        if asks.send(ask).is_err() {
            return;
        }
    }
}
