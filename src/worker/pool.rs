//! The pool of workers: slots for each kind, reuse, replacement, restart with back-off.

mod config;
mod factory;
mod number;
mod shelf;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug_span};

use super::renderers::CurrentRenderers;
use super::{Outcome, Progress, ProgressSink, Request, Work, Worker, WorkerError, plantuml};
use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::events::ActionKind;
pub(crate) use config::PerKind;
pub use config::PoolConfig;
pub(crate) use factory::{Factory, ToolFactory};
use number::Number;
use shelf::Shelf;

/// A worker answers a cancellation within this time, or is killed.
const CANCEL_LIMIT: Duration = Duration::from_millis(900);
/// How long after a worker's own timeout the pool gives up on it: a draw.io window may have to be opened first, and an
/// image may be made twice.
const TIMEOUT_MARGIN: Duration = Duration::from_secs(90);
/// How often a request is moved to another worker because its process ended for another reason, in addition to once for
/// each idle worker whose process may have ended unnoticed.
const MOVES: usize = 5;
/// The number of the first worker of another machine among those of a kind.
const ELSEWHERE: usize = 1000;

/// The state of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// It is ready for its first request.
    Started,
    /// It works on a request.
    Busy,
    /// Its request made progress.
    Progress,
    /// It is idle and ready.
    Idle,
    /// It was ended or killed.
    Stopped,
}

/// A change of a worker's state. Workers that share a process also share its process id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerEvent {
    /// The kind of actions it runs.
    pub kind: ActionKind,
    /// Its number among the workers of its kind.
    pub number: usize,
    /// Its process id, if it has a process.
    pub pid: Option<u32>,
    /// Its new state.
    pub state: WorkerState,
    /// The source that it works on, and the progress.
    pub doing: Option<(RelPath, Progress)>,
}

/// Is called when a worker changes its state.
pub(crate) type WorkerObserver = Arc<dyn Fn(WorkerEvent) + Send + Sync>;

/// The workers of one course. Clones share the same pool.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    shelves: PerKind<Shelf>,
    factory: Box<dyn Factory>,
    config: PoolConfig,
    observer: WorkerObserver,
    sweeper: OnceLock<()>,
}

impl Pool {
    /// Creates a pool that uses the given tools. No process is started before the first request or [`Pool::warm_up`].
    pub fn new(
        renderers: impl Into<CurrentRenderers>,
        config: PoolConfig,
        observer: WorkerObserver,
    ) -> Self {
        let factory = ToolFactory::new(renderers.into(), config.clone());
        Self::with_factory(Box::new(factory), config, observer)
    }

    /// Creates a pool with workers from another factory.
    pub fn with_factory(
        factory: Box<dyn Factory>,
        config: PoolConfig,
        observer: WorkerObserver,
    ) -> Self {
        Self(Arc::new(Inner {
            shelves: config.slots.map(|slots| Shelf::new(*slots)),
            factory,
            config,
            observer,
            sweeper: OnceLock::new(),
        }))
    }

    /// Returns how many requests of a kind run at once; 0 for kinds that need no worker.
    pub fn slots(&self, kind: ActionKind) -> usize {
        self.0.shelves.get(kind).map_or(0, |shelf| shelf.slots)
    }

    /// Runs one request on a worker, which is reused if one is idle. Waits for a slot first.
    ///
    /// After an error no process remains, and the request may be repeated if the error [is
    /// retriable](WorkerError::is_retriable). A cancelled request ends within a second.
    pub async fn run(
        &self,
        request: &Request,
        progress: ProgressSink,
        cancel: CancellationToken,
    ) -> Result<Outcome, WorkerError> {
        let kind = request.work.kind();
        let shelf = self.0.shelf(kind)?;
        self.0.start_sweeping();
        let permit = tokio::select! {
            permit = shelf.permits.acquire() => permit,
            () = cancel.cancelled() => return Ok(Outcome::cancelled()),
        };
        let Ok(_permit) = permit else {
            return Ok(Outcome::cancelled()); // the pool has been shut down
        };
        let mut moves = 0;
        loop {
            if cancel.is_cancelled() {
                return Ok(Outcome::cancelled());
            }
            let mut result = self.0.attempt(request, &progress, &cancel).await;
            let is_suspect = matches!(
                result,
                Err(WorkerError::Crashed { .. } | WorkerError::Ended { .. })
            );
            // The worker of kernels decides itself whether a cell is the cause.
            if is_suspect && kind != ActionKind::Execute && !cancel.is_cancelled() {
                result = self.0.trial(request, &progress, &cancel).await;
            }
            match result {
                Err(_) if cancel.is_cancelled() => return Ok(Outcome::cancelled()),
                Err(WorkerError::Disturbed { what }) if moves < shelf.slots + MOVES => {
                    tracing::debug!(what, id = request.id, "moved to another process");
                    moves += 1;
                }
                Err(WorkerError::TimedOut {
                    seconds,
                    discovered,
                    ..
                }) if matches!(kind, ActionKind::Plantuml | ActionKind::Drawio) => {
                    let mut outcome = Outcome::failed_here(too_slow(request, seconds));
                    outcome.discovered = discovered;
                    return Ok(outcome);
                }
                result => return result,
            }
        }
    }

    /// Reports a request that another machine works on, as long as the returned value exists.
    pub(crate) fn show_elsewhere(&self, request: &Request, label: &str) -> Shown {
        let event = WorkerEvent {
            kind: request.work.kind(),
            number: ELSEWHERE + usize::try_from(request.id).unwrap_or_default(),
            pid: None,
            state: WorkerState::Busy,
            doing: Some((
                request.source.clone(),
                Progress {
                    label: label.to_owned(),
                    ..Progress::default()
                },
            )),
        };
        (self.0.observer)(event.clone());
        Shown {
            observer: Arc::clone(&self.0.observer),
            event,
        }
    }

    /// Makes up to `count` workers ready for the next requests: starts missing ones in the background, and lets them
    /// prepare. Must be called on a tokio runtime.
    pub fn warm_up(&self, kind: ActionKind, count: usize) {
        let Ok(shelf) = self.0.shelf(kind) else {
            return;
        };
        self.0.start_sweeping();
        for _ in 0..shelf.begin_warming(count) {
            let inner = Arc::clone(&self.0);
            tokio::spawn(async move {
                match inner.start(kind, false).await {
                    Ok(mut lent) => {
                        lent.worker().prepare();
                        lent.put_back();
                    }
                    // The first request will fail with the same error and report it.
                    Err(error) => tracing::debug!(%error, "warming up failed"),
                }
                if let Ok(shelf) = inner.shelf(kind) {
                    shelf.end_warming();
                }
            });
        }
    }

    /// Ends all idle workers; requests that wait for a slot are cancelled, and no new ones are accepted.
    ///
    /// Running requests should have been cancelled and awaited before.
    pub async fn shutdown(&self) {
        for (_, shelf) in self.0.shelves.iter() {
            shelf.permits.close();
        }
        self.end_idle().await;
    }

    /// Ends all idle workers: new ones use the renderers as they are then.
    pub(crate) async fn end_idle(&self) {
        let mut endings = JoinSet::new();
        for (kind, shelf) in self.0.shelves.iter() {
            for (worker, number) in shelf.take_all() {
                self.0
                    .notify(kind, number.value(), worker.pid(), WorkerState::Stopped);
                endings.spawn(worker.shutdown());
            }
        }
        // Workers that do not end in time are dropped here, which kills them.
        let _ = tokio::time::timeout(Duration::from_secs(2), endings.join_all()).await;
    }
}

/// A request that is reported as one of another machine.
pub(crate) struct Shown {
    observer: WorkerObserver,
    event: WorkerEvent,
}

impl Drop for Shown {
    fn drop(&mut self) {
        (self.observer)(WorkerEvent {
            state: WorkerState::Stopped,
            doing: None,
            ..self.event.clone()
        });
    }
}

impl Inner {
    fn shelf(&self, kind: ActionKind) -> Result<&Shelf, WorkerError> {
        self.shelves.get(kind).ok_or_else(|| {
            WorkerError::Bug(format!(
                "there are no workers for `{}` actions",
                kind.name()
            ))
        })
    }

    fn notify(&self, kind: ActionKind, number: usize, pid: Option<u32>, state: WorkerState) {
        (self.observer)(WorkerEvent {
            kind,
            number,
            pid,
            state,
            doing: None,
        });
    }

    /// Reports that a worker begins a request; the returned sink reports its progress.
    fn tell_work(&self, request: &Request, lent: &Lent, progress: &ProgressSink) -> ProgressSink {
        let event = WorkerEvent {
            kind: lent.kind,
            number: lent.number,
            pid: lent.pid,
            state: WorkerState::Busy,
            doing: Some((request.source.clone(), Progress::default())),
        };
        (self.observer)(event.clone());
        let (observer, progress) = (Arc::clone(&self.observer), Arc::clone(progress));
        let source = request.source.clone();
        Arc::new(move |step: Progress| {
            observer(WorkerEvent {
                state: WorkerState::Progress,
                doing: Some((source.clone(), step.clone())),
                ..event.clone()
            });
            progress(step);
        })
    }

    /// Runs one attempt on one worker.
    async fn attempt(
        self: &Arc<Self>,
        request: &Request,
        progress: &ProgressSink,
        cancel: &CancellationToken,
    ) -> Result<Outcome, WorkerError> {
        let kind = request.work.kind();
        let mut lent = tokio::select! {
            lent = self.borrow(kind) => lent?,
            () = cancel.cancelled() => return Ok(Outcome::cancelled()),
        };
        let outcome = self
            .attempt_on(&mut lent, request, progress, cancel)
            .await?;
        if let Some(outcome) = outcome {
            lent.put_back();
            return Ok(outcome);
        }
        Ok(Outcome::cancelled())
    }

    /// Runs a request whose process ended again, on a process used for nothing else, to find out whether the request
    /// was the cause. If that process ends as well, the outcome is a failure of the content.
    async fn trial(
        self: &Arc<Self>,
        request: &Request,
        progress: &ProgressSink,
        cancel: &CancellationToken,
    ) -> Result<Outcome, WorkerError> {
        let kind = request.work.kind();
        let shelf = self.shelf(kind)?;
        let run = async {
            // One at a time: otherwise two requests that need much memory could fail each other.
            let _turn = shelf.trial.lock().await;
            let mut lent = self.start(kind, true).await?;
            let outcome = self
                .attempt_on(&mut lent, request, progress, cancel)
                .await?;
            lent.end();
            Ok(outcome.unwrap_or_else(Outcome::cancelled))
        };
        let result = tokio::select! {
            result = run => result,
            () = cancelled_for(cancel, CANCEL_LIMIT) => Ok(Outcome::cancelled()),
        };
        match result {
            Err(WorkerError::Ended {
                what,
                reason,
                discovered,
            }) => {
                let mut outcome = Outcome::failed_here(blame(request, &what, &reason));
                outcome.discovered = discovered;
                Ok(outcome)
            }
            result => result,
        }
    }

    /// Runs one attempt on this worker; returns `None` if it was cancelled and the worker did not stop.
    async fn attempt_on(
        &self,
        lent: &mut Lent,
        request: &Request,
        progress: &ProgressSink,
        cancel: &CancellationToken,
    ) -> Result<Option<Outcome>, WorkerError> {
        let kind = request.work.kind();
        let progress = self.tell_work(request, lent, progress);
        let timeout = self.config.timeouts.get(kind).copied().flatten();
        let span = debug_span!("work", kind = kind.name(), worker = lent.number);
        let work = lent.worker().run(request, progress, cancel.clone());
        tokio::select! {
            outcome = work.instrument(span) => outcome.map(Some),
            () = cancelled_for(cancel, CANCEL_LIMIT) => Ok(None),
            error = passed(kind, timeout) => Err(error),
        }
    }

    /// Returns an idle worker, or one that is being started ahead, or else a new one.
    async fn borrow(self: &Arc<Self>, kind: ActionKind) -> Result<Lent, WorkerError> {
        if let Some(lent) = self.borrow_idle(kind) {
            return Ok(lent);
        }
        let shelf = self.shelf(kind)?;
        if shelf.awaits_warming() {
            shelf.warmed.notified().await;
            if let Some(lent) = self.borrow_idle(kind) {
                return Ok(lent);
            }
        }
        self.start(kind, false).await
    }

    /// Returns an idle worker.
    fn borrow_idle(self: &Arc<Self>, kind: ActionKind) -> Option<Lent> {
        let shelf = self.shelves.get(kind)?;
        let (worker, number) = shelf.take()?;
        Some(Lent::new(self, kind, worker, number))
    }

    /// Starts a worker, after a pause if the last starts failed; with a process of its own if `alone`.
    async fn start(self: &Arc<Self>, kind: ActionKind, alone: bool) -> Result<Lent, WorkerError> {
        let shelf = self.shelf(kind)?;
        tokio::time::sleep(shelf.pause_before_start()).await;
        let number = shelf.numbers.take();
        let span = debug_span!("start worker", kind = kind.name(), worker = number.value());
        let made = match alone {
            true => self.factory.make_alone(kind).instrument(span).await,
            false => self.factory.make(kind).instrument(span).await,
        };
        shelf.record_start(made.as_ref().err());
        let lent = Lent::new(self, kind, made?, number);
        self.notify(kind, lent.number, lent.pid, WorkerState::Started);
        Ok(lent)
    }

    /// Ends workers that have been idle for a long time, as long as the pool exists.
    fn start_sweeping(self: &Arc<Self>) {
        let ttl = self.config.idle_ttl;
        self.sweeper.get_or_init(|| {
            let pool: Weak<Self> = Arc::downgrade(self);
            let pause = (ttl / 4).clamp(Duration::from_millis(20), Duration::from_secs(15));
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(pause).await;
                    let Some(pool) = pool.upgrade() else { return };
                    for (kind, shelf) in pool.shelves.iter() {
                        for (worker, number) in shelf.take_older_than(ttl) {
                            pool.notify(kind, number.value(), worker.pid(), WorkerState::Stopped);
                            tokio::spawn(worker.shutdown());
                        }
                    }
                }
            });
        });
    }
}

/// A worker in use. If it is dropped without being put back, it is killed, since its state is unknown.
struct Lent {
    pool: Arc<Inner>,
    kind: ActionKind,
    pid: Option<u32>,
    worker: Option<(Box<dyn Worker>, Number)>,
    number: usize,
}

impl Lent {
    fn new(pool: &Arc<Inner>, kind: ActionKind, worker: Box<dyn Worker>, number: Number) -> Self {
        Self {
            pool: Arc::clone(pool),
            kind,
            pid: worker.pid(),
            number: number.value(),
            worker: Some((worker, number)),
        }
    }

    fn worker(&mut self) -> &mut dyn Worker {
        let worker = self.worker.as_mut();
        let (worker, _) =
            worker.expect("a lent worker is there until it is put back, which consumes the loan");
        worker.as_mut()
    }

    /// Returns the worker to the idle ones, unless it uses too much memory or the pool is closed.
    fn put_back(mut self) {
        let Some((worker, number)) = self.worker.take() else {
            return;
        };
        let too_big = worker.memory() > Some(self.pool.config.memory_ceiling);
        let shelf = self.pool.shelves.get(self.kind);
        match shelf {
            Some(shelf) if !too_big && !shelf.permits.is_closed() => {
                // A kernel worker may have replaced its process.
                let pid = worker.pid();
                shelf.put(worker, number);
                self.pool
                    .notify(self.kind, self.number, pid, WorkerState::Idle);
            }
            _ => {
                self.pool
                    .notify(self.kind, self.number, self.pid, WorkerState::Stopped);
                tokio::spawn(worker.shutdown());
            }
        }
    }
}

impl Lent {
    /// Ends the worker after it has finished its work.
    fn end(mut self) {
        if let Some((worker, _)) = self.worker.take() {
            self.pool
                .notify(self.kind, self.number, self.pid, WorkerState::Stopped);
            tokio::spawn(worker.shutdown());
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.worker.take().is_some() {
            self.pool
                .notify(self.kind, self.number, self.pid, WorkerState::Stopped);
        }
    }
}

/// Returns the diagnostic for a request that ended two processes, the second one with no other work.
fn blame(request: &Request, what: &str, reason: &str) -> Diagnostic {
    let source = &request.source;
    if let Work::Plantuml(_) = &request.work {
        return plantuml::blame(reason).at(source.as_str(), None);
    }
    Diagnostic::error(format!("{what} ends whenever it works on this file"))
        .detail(reason)
        .hint("leave out parts of it to find the one that is the cause")
        .at(source.as_str(), None)
}

/// Returns the diagnostic for a diagram that exceeded its time limit. It is not retried, because it would take as long
/// again.
fn too_slow(request: &Request, seconds: u64) -> Diagnostic {
    Diagnostic::error(format!("the diagram was not drawn within {seconds} s"))
        .hint("simplify or split it, or raise `timeout` in the section `[diagrams]` of `clm.toml`; `--force` tries it again")
        .at(request.source.as_str(), None)
}

/// Waits until a request was cancelled and `limit` has passed since.
async fn cancelled_for(cancel: &CancellationToken, limit: Duration) {
    cancel.cancelled().await;
    tokio::time::sleep(limit).await;
}

/// Waits until a worker has exceeded its timeout by a large margin, if it has one: then the worker itself hangs.
async fn passed(kind: ActionKind, timeout: Option<Duration>) -> WorkerError {
    let Some(timeout) = timeout else {
        return std::future::pending().await;
    };
    let limit = timeout.saturating_mul(2).saturating_add(TIMEOUT_MARGIN);
    tokio::time::sleep(limit).await;
    WorkerError::Crashed {
        what: format!("the {} worker", kind.name()),
        reason: format!(
            "it gave no sign of life for {} s, and was ended",
            limit.as_secs()
        ),
    }
}
