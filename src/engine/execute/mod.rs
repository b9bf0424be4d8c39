//! One round of a run: carries out the effects of the scheduler with the store, the workers and the files, until
//! nothing is stale, and reports how each action ended.

mod ask;
mod earlier;
mod elsewhere;
mod in_flight;
mod install;
mod local;
mod missing_tools;
mod report;
pub(super) mod request;
mod restore;
mod worker;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{Span, debug_span};

use crate::clock::now_ns;
use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::events::{ActionKind, Event, Events, Status};
use crate::plan::{Action, ActionIndex, Plan, Recipe, Recipes};
use crate::store::{JobId, Latest, Lease, NewJob, Owner, Parts, Store};
use crate::worker::pool::Pool;
use crate::worker::{Outcome, Renderers, WorkerError};

use super::decide::{Decided, Decider, Decision};
use super::publish::Publisher;
use super::restless::Restless;
use super::schedule::{ActionState, EarlierJobs, Effect, Enqueued, Node, Place, Schedule, Urgency};
use super::shared::Shared;
use super::snapshot::Snapshot;
use super::staging::Staging;
use super::up_to_date::{Found, UpToDateActions};

use ask::Asks;
pub(super) use earlier::Earlier;
pub(super) use elsewhere::FarmUse;
pub(super) use in_flight::InFlight;
use local::Made;
pub(super) use missing_tools::MissingTools;
use report::Ending;
use restore::Restorable;

/// The duration of a lease that is not renewed.
const LEASE_MS: u64 = 30_000;
/// How often leases are renewed.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// How often jobs that other processes run are polled.
const LOOK_EVERY: Duration = Duration::from_millis(40);
/// The number of actions whose inputs are recorded together.
const UNRECORDED: usize = 256;
/// The same of actions whose results were known: more, since each needs the plan of its source once more.
const UNRECORDED_KNOWN: usize = 2048;
/// The maximum number of attempts at an action whose tool fails.
pub(super) const ATTEMPTS: u32 = 3;

/// Everything that a round uses.
pub(super) struct Round<'a> {
    /// The planned actions.
    pub plan: &'a Plan,
    /// How they are made.
    pub recipes: &'a Recipes<'a>,
    /// Whether each action is selected; the others are not compared.
    pub selected: &'a [bool],
    /// What all rounds of the run share.
    pub session: &'a Session<'a>,
    /// The sources as this round sees them.
    pub snapshot: &'a Snapshot,
    /// Compares actions with the records.
    pub decider: Decider<'a>,
    /// Writes outputs.
    pub publisher: &'a mut Publisher,
    /// How actions of earlier rounds of this run ended.
    pub statuses: &'a mut HashMap<String, Status>,
    /// How actions ended in interrupted parts of this run.
    pub earlier: &'a Earlier,
    /// Tools that are missing.
    pub missing_tools: &'a RefCell<MissingTools>,
    /// Actions that are known to be up to date, and are not compared.
    pub up_to_date: &'a mut UpToDateActions,
    /// Jobs in flight, started by an earlier round or this one.
    pub in_flight: &'a mut InFlight,
    /// Decks that change sources while they run.
    pub restless: &'a mut Restless,
}

/// What all rounds of a run share.
pub(super) struct Session<'a> {
    /// The records.
    pub store: &'a Store,
    /// The workers.
    pub pool: Arc<Pool>,
    /// Whether kernels are started in advance.
    pub kernels_ahead: Arc<AtomicBool>,
    /// The renderers, if missing ones are to be installed, and the names of those that were installed in this run.
    pub to_install: Option<(Arc<Renderers>, BTreeSet<String>)>,
    /// The cache that machines share.
    pub shared: Option<&'a Shared>,
    /// The farm.
    pub farm: Option<FarmUse>,
    /// The sink of events.
    pub events: Events,
    /// Fires when the user wants to stop.
    pub cancel: CancellationToken,
    /// Directories for work in progress.
    pub staging: &'a Staging,
    /// The course.
    pub course: &'a super::course::Course,
    /// Whether the run stops at the first failure.
    pub fail_fast: bool,
    /// Whether `--force` still applies: only in the first round of a run.
    pub may_force: bool,
    /// Whether actions that are set aside and will be tried again in this run are not reported yet.
    pub postpones: bool,
    /// Fires when something changed: the round ends, and the next one takes over its running jobs.
    pub interrupt: CancellationToken,
    /// What the author is working on: actions that read these sources go first.
    pub focus: &'a HashSet<RelPath>,
    /// Whether known diagnostics of actions that are not compared are reported again.
    pub reports_everything: bool,
    /// Whether actions that are not compared are reported themselves.
    pub reports_unchanged: bool,
    /// Whether the plan has every action of the course and all are selected, so that a job that none of them needs is
    /// superseded.
    pub is_whole: bool,
}

/// A stale action whose job waits for a worker.
struct Queued {
    index: ActionIndex,
    action: Arc<Action>,
    decided: Decided,
    reasons: Vec<String>,
    urgency: Urgency,
    /// The key under which it was looked for last in the shared cache.
    shared_key: Digest,
    /// Measures the time from when it is ready until it starts.
    waiting: Span,
}

struct Running {
    queued: Queued,
    /// The recipe with which it was started.
    recipe: Arc<Recipe>,
    lease: Lease,
    place: Place,
    started: Instant,
    started_ns: i64,
    out: std::path::PathBuf,
    cancel: CancellationToken,
    /// Measures the time from its start until its outputs are published.
    span: Span,
}

type Answer = (JobId, Result<Outcome, WorkerError>);

/// The outcome of a round.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Whether inputs changed meanwhile, so that another round is needed.
    pub again: bool,
    /// Whether an error was reported.
    pub has_errors: bool,
    /// Whether the round was interrupted before everything was done.
    pub interrupted: bool,
    /// The names of missing renderers that stale actions need. The next round makes these actions.
    pub to_install: BTreeSet<String>,
    /// The number of actions that were not compared because nothing about them changed.
    pub untouched: u64,
    /// The inputs that actions were made of.
    pub latest: Vec<(Arc<str>, Latest)>,
    /// The first action that was made, and why.
    pub reason: Option<String>,
    /// How many results of the cache of the course were put in place.
    pub restored: u64,
    /// How long it took to make them, in milliseconds.
    pub saved_ms: u64,
}

/// The state of a running round.
struct Execution<'r, 'a> {
    round: &'r mut Round<'a>,
    schedule: Schedule<'a>,
    /// Jobs that wait for a worker, with what is needed to start them.
    queued: HashMap<JobId, Queued>,
    /// Actions that failed in an earlier run, and whose failure is reported again.
    replayed: HashSet<ActionIndex>,
    /// Actions whose outputs were counted as not made.
    not_made: HashSet<ActionIndex>,
    /// Actions that this process made and that are not yet published.
    made: Vec<Made>,
    /// Actions whose results are known, and whose outputs are not yet in their places.
    restorable: Vec<Restorable>,
    /// What the shared cache is asked for.
    asks: Asks,
    owner: Owner,
    latest: Vec<(Arc<str>, Latest)>,
    /// The part of `latest` that is not recorded yet, with the components of keys, which are large.
    unrecorded: Vec<(String, Latest, Parts)>,
    /// The same of actions whose results were known, without the components of their keys.
    without_parts: Vec<(ActionIndex, Latest)>,
    /// Diagnostics and discovered inputs of actions that have any.
    found: HashMap<ActionIndex, Found>,
    has_errors: Cell<bool>,
    ended: Ended,
    reason: Option<String>,
}

impl<'a> Round<'a> {
    /// Runs the round until nothing remains to be done.
    pub(super) async fn run(&mut self) -> Result<Ended> {
        let mut execution = Execution {
            schedule: self.schedule(),
            queued: HashMap::new(),
            replayed: HashSet::new(),
            not_made: HashSet::new(),
            made: Vec::new(),
            asks: Asks::new(),
            restorable: Vec::new(),
            owner: Owner::current(),
            latest: Vec::new(),
            unrecorded: Vec::new(),
            without_parts: Vec::new(),
            found: HashMap::new(),
            has_errors: Cell::new(false),
            ended: Ended::default(),
            reason: None,
            round: self,
        };
        let result = execution.work().await;
        if result.is_err() {
            let session = execution.round.session;
            let in_flight = &mut execution.round.in_flight;
            in_flight.shutdown(session.store, &session.events).await;
            execution.round.restless.end_all(now_ns());
        }
        let untouched = execution.record_states();
        execution.add_parts();
        let Execution {
            schedule,
            latest,
            unrecorded,
            has_errors,
            ended,
            reason,
            ..
        } = execution;
        self.in_flight.queued = schedule.into_earlier_jobs().queued;
        let _span = debug_span!("commit").entered();
        self.session.store.set_latest(unrecorded)?;
        self.session
            .store
            .record_files(self.snapshot.take_changed_records())?;
        result.map(|()| Ended {
            has_errors: has_errors.get(),
            untouched,
            latest,
            reason,
            ..ended
        })
    }

    fn schedule(&mut self) -> Schedule<'a> {
        let actions = self.plan.actions.iter().zip(self.selected);
        let nodes = actions.map(|(action, is_selected)| Node {
            after: &action.after,
            is_selected: *is_selected,
            needs_worker: action.needs_worker(),
            kind: action.kind,
            unchanged: is_selected
                .then(|| self.up_to_date.results(action).cloned())
                .flatten(),
        });
        let earlier = EarlierJobs {
            running: self
                .in_flight
                .running
                .iter()
                .map(|(job, running)| (*job, running.place))
                .collect(),
            queued: std::mem::take(&mut self.in_flight.queued),
            is_complete: self.session.is_whole,
        };
        Schedule::new(nodes.collect(), earlier)
    }
}

impl Session<'_> {
    /// Reports a warning that concerns no action.
    fn warn(&self, warning: Diagnostic) {
        self.events.emit(Event::Diagnostic(warning.into()));
    }
}

impl Execution<'_, '_> {
    async fn work(&mut self) -> Result<()> {
        let cancel = self.round.session.cancel.clone();
        let interrupt = self.round.session.interrupt.clone();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut renewed = Instant::now();
        loop {
            // Also before the first action, and between actions that this process makes without waiting.
            self.stop_if_cancelled();
            self.set_kernels_ahead();
            let session = self.round.session;
            let here = |kind| session.pool.slots(kind);
            let next = self.schedule.next(session.workers(&here));
            if !matches!(next, Some(Effect::Check(_) | Effect::Lease(..))) {
                self.record_some();
            }
            let is_interrupted = interrupt.is_cancelled() && !self.schedule.is_stopping();
            match next {
                Some(Effect::Report(ended)) => self.report_unchecked(&ended),
                Some(Effect::Check(ready)) => self.check(ready)?,
                Some(Effect::Lease(place, kind, jobs)) => self.lease(place, kind, &jobs)?,
                Some(Effect::Abandon { running, queued }) => self.abandon(running, queued)?,
                Some(Effect::Make(_)) | None if is_interrupted => {
                    self.ended.interrupted = true;
                    return Ok(());
                }
                Some(Effect::Make(index)) => {
                    self.make_some(index)?;
                    while let Some(answer) = self.round.in_flight.workers.try_join_next() {
                        self.take(answer)?;
                    }
                    self.schedule.look_again();
                    tokio::task::yield_now().await;
                }
                None if self.schedule.is_finished() => break,
                None => {
                    let (waits_since, limit) = self.waiting_for_shared();
                    tokio::select! {
                        Some(answer) = self.round.in_flight.workers.join_next() => self.take(answer)?,
                        Some(answer) = self.asks.next() => self.take_answer(answer)?,
                        () = cancel.cancelled(), if !self.schedule.is_stopping() => self.stop(),
                        () = interrupt.cancelled(), if !self.schedule.is_stopping() => {}
                        () = tokio::time::sleep(limit), if waits_since.is_some() => {}
                        _ = look.tick() => {
                            if renewed.elapsed() >= RENEW_EVERY {
                                renewed = Instant::now();
                                self.renew()?;
                                self.round.session.store.recover()?;
                            }
                            self.look_at_others()?;
                            self.schedule.look_again();
                        }
                    }
                    self.note_waiting(waits_since)?;
                }
            }
        }
        if cancel.is_cancelled() && !self.round.session.fail_fast {
            return Err(Error::interrupted());
        }
        Ok(())
    }

    /// Records the inputs of actions, if there are many.
    fn record_some(&mut self) {
        if self.unrecorded.len() >= UNRECORDED || self.without_parts.len() >= UNRECORDED_KNOWN {
            self.add_parts();
            let unrecorded = std::mem::take(&mut self.unrecorded);
            self.round.session.store.set_latest_later(unrecorded);
        }
    }

    /// Compares actions with the records, restores the restorable ones, and queues those that need a worker.
    fn check(&mut self, ready: Vec<ActionIndex>) -> Result<()> {
        let _span = debug_span!("decide").entered();
        let mut stale = Vec::new();
        for index in ready {
            if self.stop_if_cancelled() {
                self.schedule.superseded(index);
            } else if let Some(queued) = self.decide(index)? {
                stale.push(queued);
            }
        }
        self.restore(&mut stale)?;
        let stale = self.ask(stale);
        self.enqueue(stale)
    }

    fn enqueue(&mut self, stale: Vec<Queued>) -> Result<()> {
        let stale = self.without_missing(stale);
        if stale.is_empty() {
            return Ok(());
        }
        let jobs = stale.iter().map(|queued| NewJob {
            key: queued.decided.key,
            action: queued.action.id.to_string(),
            kind: queued.action.kind,
        });
        let jobs = jobs.collect();
        let enqueue = || self.round.session.store.enqueue(jobs);
        let jobs = debug_span!("enqueue").in_scope(enqueue)?;
        for (job, mut queued) in jobs.into_iter().zip(stale) {
            match self.schedule.enqueue(queued.index, job, queued.urgency) {
                Enqueued::Runs => {
                    // The change did not concern this job: it continues.
                    if let Some(running) = self.round.in_flight.running.get_mut(&job) {
                        running.queued = queued;
                    }
                }
                Enqueued::Waits => {
                    queued.waiting = waiting(&queued.action);
                    self.queued.insert(job, queued);
                }
                Enqueued::SameAs(_) => {}
            }
        }
        Ok(())
    }

    fn to_be_queued(
        &self,
        index: ActionIndex,
        decided: Decided,
        reasons: Vec<String>,
    ) -> Result<Queued> {
        let action = &self.round.plan.actions[index];
        let latest = self.round.decider.latest(&action.id)?;
        Ok(Queued {
            index,
            action: Arc::clone(action),
            shared_key: decided.key,
            decided,
            reasons,
            urgency: Urgency {
                priority: self.priority(action),
                expected_ms: latest.map_or(0, |latest| latest.duration_ms),
                site: self.site(index),
            },
            waiting: Span::none(),
        })
    }

    /// Returns the priority of an action: sources that the author is working on go first.
    fn priority(&self, action: &Action) -> i32 {
        let focus = self.round.session.focus;
        let is_focus = focus.contains(&action.source)
            || action.inputs.iter().any(|(input, _)| focus.contains(input));
        i32::from(is_focus)
    }

    /// Reports actions that ended without having been compared with the records.
    fn report_unchecked(&mut self, ended: &[ActionIndex]) {
        for index in ended {
            let action = &self.round.plan.actions[*index];
            match self.schedule.state(*index) {
                ActionState::Unchanged(_) if self.round.session.reports_everything => {
                    self.report(*index, &action.warnings);
                    self.report(*index, self.round.up_to_date.diagnostics(action));
                    if self.round.session.reports_unchanged {
                        self.report_end(
                            action,
                            Status::Fresh,
                            Duration::ZERO,
                            Ending::default(),
                            0,
                        );
                    }
                }
                // An action that it waits for is made again by the next round.
                ActionState::Superseded => self.end(*index, Status::Superseded, Duration::ZERO),
                ActionState::Blocked => self.report_blocked(*index),
                _ => {}
            }
        }
    }

    /// Reports an action that waits for one that failed and was reported.
    fn report_blocked(&mut self, index: ActionIndex) {
        let plan = self.round.plan;
        let has_failed = |before: &&ActionIndex| {
            let state = self.schedule.state(**before);
            !matches!(state, ActionState::UpToDate(_) | ActionState::Unchanged(_))
        };
        let mut failed = plan.actions[index].after.iter().filter(has_failed);
        let why = Ending {
            is_replayed: failed.clone().all(|before| self.replayed.contains(before)),
            cause: failed
                .next()
                .map(|before| plan.actions[*before].id.to_string()),
            ..Ending::default()
        };
        self.end_failed(index, Duration::ZERO, why);
    }

    /// Decides about one action, and handles it immediately if it needs no worker.
    fn decide(&mut self, index: ActionIndex) -> Result<Option<Queued>> {
        let action = &self.round.plan.actions[index];
        let upstream = self.schedule.upstream(index);
        self.report(index, &action.warnings);
        let decided = self.round.decider.decide(
            index,
            &upstream,
            self.round.publisher,
            self.round.session.may_force,
        )?;
        let replayed = self.remembered(index, decided.replayed.clone());
        match &decided.decision {
            Decision::Fresh(results) => {
                let results = results.clone();
                self.report_and_keep(index, replayed, &results);
                self.note_latest(index, &decided, &decided.discovered, None)?;
                self.end(index, Status::Fresh, Duration::ZERO);
                self.schedule.up_to_date(index, results);
            }
            Decision::Restorable(results) => {
                let results = results.clone();
                self.restorable.push(Restorable {
                    index,
                    decided,
                    results,
                    replayed,
                });
            }
            Decision::Remembered(result) => {
                self.report(index, &self.remembered(index, result.diagnostics.clone()));
                // If another action of this run with the same key failed just now, it is not a replay.
                let is_replayed = self.schedule.same_as(index).is_none();
                let why = Ending {
                    is_replayed,
                    ..Ending::default()
                };
                self.fail_as(index, Duration::ZERO, why);
            }
            Decision::Invalid(diagnostics) => {
                self.report(index, diagnostics);
                self.fail(index, Duration::ZERO);
            }
            Decision::Stale(reasons) if action.needs_worker() => {
                if self.set_aside(index) {
                    return Ok(None);
                }
                let reasons = reasons.clone();
                return Ok(Some(self.to_be_queued(index, decided, reasons)?));
            }
            Decision::Stale(reasons) => {
                let reasons = reasons.clone();
                self.make_here(index, decided, reasons)?;
            }
        }
        Ok(None)
    }

    /// Fails an action that must not be executed, because sources change whenever it is. Returns whether it is such an
    /// action.
    fn set_aside(&mut self, index: ActionIndex) -> bool {
        let action = &self.round.plan.actions[index];
        if action.kind != ActionKind::Execute {
            return false;
        }
        let places = self.round.snapshot.places();
        let changed_ns = |file: &RelPath| places.changed_ns(file);
        let Some(objection) = self.round.restless.objection(action, &changed_ns) else {
            return false;
        };
        if self.round.session.postpones && objection.may_try {
            self.supersede(index, Duration::ZERO);
            return true;
        }
        self.report(index, &[objection.diagnostic]);
        let why = Ending {
            is_replayed: objection.is_replayed,
            ..Ending::default()
        };
        self.fail_as(index, Duration::ZERO, why);
        true
    }

    /// Converts diagnostics of a known result to the lines of the source as it is now.
    fn remembered(&self, index: ActionIndex, diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
        request::from_remembered(self.round.recipes, index, diagnostics)
    }

    /// Leaves an action to the next round.
    fn supersede(&mut self, index: ActionIndex, duration: Duration) {
        self.end(index, Status::Superseded, duration);
        self.schedule.superseded(index);
    }

    fn fail(&mut self, index: ActionIndex, duration: Duration) {
        self.fail_as(index, duration, Ending::default());
    }

    fn fail_as(&mut self, index: ActionIndex, duration: Duration, why: Ending) {
        self.end_failed(index, duration, why);
        self.schedule.failed(index);
        self.stop_if_fail_fast();
    }

    /// Starts no more work if the run was cancelled, and returns whether none is started.
    pub(super) fn stop_if_cancelled(&mut self) -> bool {
        if self.round.session.cancel.is_cancelled() && !self.schedule.is_stopping() {
            self.stop();
        }
        self.schedule.is_stopping()
    }

    fn stop_if_fail_fast(&mut self) {
        if self.round.session.fail_fast {
            self.round.session.cancel.cancel();
            self.stop();
        }
    }
}

/// Returns a span that measures how long an action waits for its start.
fn waiting(action: &Action) -> Span {
    debug_span!(parent: None, "queue", action = &*action.id, kind = action.kind.name())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
