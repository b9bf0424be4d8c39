//! The worker on top of a [`ProtocolProcess`]: sends the work, forwards progress, and handles timeouts and
//! cancellation.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::process::Answer;
use super::{ProtocolProcess, ToWorker};
use crate::worker::{Outcome, ProgressSink, Request, Worker, WorkerError};

/// Time limits of requests.
#[derive(Clone, Debug)]
pub struct RequestLimits {
    /// The maximum time for a result; `None` means no limit.
    pub timeout: Option<Duration>,
    /// How long a worker may take to stop after a request is cancelled before it is killed.
    pub cancel_grace: Duration,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            timeout: None,
            cancel_grace: Duration::from_millis(450),
        }
    }
}

/// One slot of a worker process. Several workers may share a process, up to its capacity; the last one ends it.
#[derive(Clone, Debug)]
pub struct ProtocolWorker {
    process: Arc<ProtocolProcess>,
    limits: RequestLimits,
}

impl ProtocolWorker {
    /// Creates a worker that uses one slot of the process.
    pub fn new(process: Arc<ProtocolProcess>, limits: RequestLimits) -> Self {
        Self { process, limits }
    }

    /// Returns its process.
    pub fn process(&self) -> &Arc<ProtocolProcess> {
        &self.process
    }
}

#[async_trait]
impl Worker for ProtocolWorker {
    async fn run(
        &mut self,
        request: &Request,
        progress: ProgressSink,
        cancel: CancellationToken,
    ) -> Result<Outcome, WorkerError> {
        let started = Instant::now();
        let message = ToWorker::work(request)?;
        if !self.process.is_usable() {
            return Err(WorkerError::Disturbed { what: self.what() });
        }
        let mut answers = self.process.converse(request.id);
        // From here on, the process works on the request: if this future is dropped, its state is unknown.
        let mut unfinished = KillUnlessFinished {
            process: &self.process,
            id: request.id,
            finished: false,
        };
        self.process.send(&message)?;
        let mut deadline = self.limits.timeout.map(|timeout| started + timeout);
        let mut cancelled = false;
        let mut discovered = Vec::new();
        loop {
            tokio::select! {
                answer = answers.recv() => match answer {
                    Some(Answer::Progress(message)) => progress(message.into()),
                    Some(Answer::Discovered(more)) => discovered.extend(more),
                    Some(Answer::Result(result)) => {
                        let outcome = result.into_outcome(&request.out).map_err(|reason| {
                            WorkerError::Garbage { what: self.what(), reason }
                        })?;
                        unfinished.finished = true;
                        return Ok(if cancelled { Outcome::cancelled() } else { outcome });
                    }
                    None => return Err(self.process.failure(request.id, discovered).await),
                },
                () = cancel.cancelled(), if !cancelled => {
                    cancelled = true;
                    deadline = Some(Instant::now() + self.limits.cancel_grace);
                    self.process.send(&ToWorker::cancel(request.id))?;
                }
                () = until(deadline) => {
                    return Err(WorkerError::TimedOut {
                        what: self.what(),
                        seconds: started.elapsed().as_secs(),
                        discovered,
                    });
                }
            }
        }
    }

    fn pid(&self) -> Option<u32> {
        Some(self.process.tree().pid())
    }

    fn memory(&self) -> Option<u64> {
        self.process.tree().memory()
    }

    async fn shutdown(self: Box<Self>) {
        if let Some(process) = Arc::into_inner(self.process) {
            process.end().await;
        }
    }
}

impl ProtocolWorker {
    fn what(&self) -> String {
        self.process.tree().what().to_owned()
    }
}

/// Waits until a point in time, or for ever if there is none.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Kills the process if a request ends without a result: by timeout, cancellation or a dropped future.
struct KillUnlessFinished<'a> {
    process: &'a ProtocolProcess,
    id: u64,
    finished: bool,
}

impl Drop for KillUnlessFinished<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.process.kill_for(self.id);
        }
    }
}
