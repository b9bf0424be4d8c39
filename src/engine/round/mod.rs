//! One planning round: decides about every action, runs what is stale, publishes, and says how it went.

mod carried;
mod earlier;
mod lacking;
mod local;
mod queue;
mod restore;
mod running;
mod tell;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{Span, debug_span};

use crate::course::RelPath;
use crate::error::{Error, Result};
use crate::events::{ActionKind, Diagnostic, Events, Status};
use crate::plan::{Action, ActionIndex, Plan, Recipe, Recipes};
use crate::store::{JobId, Latest, Lease, NewJob, Owner, Parts, Store};
use crate::worker::pool::Pool;
use crate::worker::{Outcome, WorkerError};

use super::decide::{Decided, Decider, Decision, Results};
use super::jobs;
use super::publish::Publisher;
use super::restless::Restless;
use super::settled::{Found, Settled};
use super::snapshot::{Snapshot, now_ns};
use super::staging::Staging;

pub use carried::Carried;
pub use earlier::Earlier;
pub use lacking::Lacking;
use local::Made;
use queue::Queue;
use restore::Restorable;
use tell::Failing;

/// How long a lease holds without being renewed.
const LEASE_MS: u64 = 30_000;
/// How often leases are renewed.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// How often jobs that another process runs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(40);
/// How much of what actions were made of is held until it is recorded.
const UNRECORDED: usize = 256;
/// How often an action is tried when its tool fails.
const ATTEMPTS: u32 = 3;

/// Everything a round works with.
pub struct Round<'a> {
    /// What should exist.
    pub plan: &'a Plan,
    /// How its actions are made.
    pub recipes: &'a Recipes<'a>,
    /// Which actions are asked for; the others are left alone.
    pub wanted: &'a [bool],
    /// The course as a whole.
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
    pub lacking: &'a RefCell<Lacking>,
    /// What was told in this run.
    pub told: &'a RefCell<HashSet<Diagnostic>>,
    /// Actions that are known to be up to date, and are not looked at.
    pub settled: &'a mut Settled,
    /// Work of an earlier round that goes on.
    pub carried: &'a mut Carried,
    /// Decks that change sources while they run.
    pub restless: &'a mut Restless,
}

/// What stays the same over the rounds of a run.
pub struct Session<'a> {
    /// The records.
    pub store: &'a Store,
    /// The workers.
    pub pool: Arc<Pool>,
    /// Whether kernels are started ahead of need.
    pub kernels_ahead: Arc<AtomicBool>,
    /// Where events go.
    pub events: Events,
    /// Fires when the person wants to stop.
    pub cancel: CancellationToken,
    /// Directories for work in progress.
    pub staging: &'a Staging,
    /// The course.
    pub course: &'a super::course::Course,
    /// Stop at the first failure.
    pub fail_fast: bool,
    /// Whether actions may still be forced: only in the first round of a run.
    pub may_force: bool,
    /// Whether actions that are set aside and will be tried again in this run are not reported yet.
    pub postpones: bool,
    /// Fires when something changed, so that the round is to end and leave its running work to the next one.
    pub interrupt: CancellationToken,
    /// What the author is working on: it goes first.
    pub focus: &'a HashSet<RelPath>,
    /// Whether what is known about actions that are not looked at is said again.
    pub says_everything: bool,
    /// Whether the plan has every action of the course and all are asked for: then work for none of them is superseded.
    pub is_whole: bool,
}

enum State {
    /// Waits for other actions.
    Waiting,
    /// Runs or waits for a slot.
    Working,
    /// Its results are known.
    Done(Results),
    /// Its results are known, but some of its outputs are not in their places.
    Unplaced(Results),
    /// It is as it was in the round before, with these results.
    Untouched(Results),
    /// It has none, or is not wanted.
    Without,
}

struct Queued {
    index: ActionIndex,
    action: Arc<Action>,
    decided: Decided,
    reasons: Vec<String>,
    priority: i32,
    expected_ms: u64,
    /// From when it is ready until it starts.
    waiting: Span,
}

struct Running {
    queued: Queued,
    /// What it was started with.
    recipe: Arc<Recipe>,
    lease: Lease,
    started: Instant,
    started_ns: i64,
    out: std::path::PathBuf,
    cancel: CancellationToken,
    /// From when it starts until its outputs are published.
    span: Span,
}

type Answer = (JobId, Result<Outcome, WorkerError>);

/// What a round leaves to do.
#[derive(Debug, Default)]
pub struct Ended {
    /// Inputs changed while it ran: plan again.
    pub again: bool,
    /// Something was reported as an error.
    pub has_errors: bool,
    /// It was interrupted before everything was done.
    pub interrupted: bool,
    /// Actions that were not looked at because nothing about them changed.
    pub untouched: u64,
    /// What actions were made of.
    pub latest: Vec<(Arc<str>, Latest)>,
    /// The first thing that was made, and why.
    pub reason: Option<String>,
}

struct Progressing<'r, 'a> {
    round: &'r mut Round<'a>,
    states: Vec<State>,
    consumers: Vec<Vec<ActionIndex>>,
    /// Actions whose result is that of another one of this round, which is made instead.
    same_as: HashMap<ActionIndex, ActionIndex>,
    /// Actions whose failure is that of an earlier run.
    replayed: HashSet<ActionIndex>,
    /// Actions whose outputs were counted as not made.
    not_made: HashSet<ActionIndex>,
    ready: VecDeque<ActionIndex>,
    /// Ready as well, to be made in this process when the workers have got theirs.
    local: VecDeque<ActionIndex>,
    /// What was made in this process and is not yet written.
    made: Vec<Made>,
    /// What is known and not yet in its place.
    restorable: Vec<Restorable>,
    queued: Queue,
    running: HashMap<JobId, Running>,
    /// Running since an earlier round, not yet wanted by this one.
    orphans: HashMap<JobId, Running>,
    owner: Owner,
    latest: Vec<(Arc<str>, Latest)>,
    /// What of it is not in the records yet, with the components of keys: these are large.
    unrecorded: Vec<(String, Latest, Parts)>,
    /// What was said about actions, and what they were found to read: for those with anything of that.
    found: HashMap<ActionIndex, Found>,
    has_errors: Cell<bool>,
    ended: Ended,
    reason: Option<String>,
    stopping: bool,
}

impl<'a> Round<'a> {
    /// Does everything there is to do.
    pub async fn run(&mut self) -> Result<Ended> {
        let count = self.plan.actions.len();
        let mut consumers = vec![Vec::new(); count];
        for (index, action) in self.plan.actions.iter().enumerate() {
            for before in &action.after {
                consumers[*before].push(index);
            }
        }
        let mut progressing = Progressing {
            states: (0..count).map(|_| State::Waiting).collect(),
            consumers,
            same_as: HashMap::new(),
            replayed: HashSet::new(),
            not_made: HashSet::new(),
            ready: (0..count)
                .filter(|index| self.plan.actions[*index].after.is_empty())
                .collect(),
            local: VecDeque::new(),
            made: Vec::new(),
            restorable: Vec::new(),
            queued: Queue::default(),
            running: HashMap::new(),
            orphans: std::mem::take(&mut self.carried.running),
            owner: Owner::current(),
            latest: Vec::new(),
            unrecorded: Vec::new(),
            found: HashMap::new(),
            has_errors: Cell::new(false),
            ended: Ended::default(),
            reason: None,
            stopping: false,
            round: self,
        };
        let result = progressing.work().await;
        if result.is_err() {
            progressing.round.carried.workers.shutdown().await;
            progressing.round.restless.end_all(now_ns());
        }
        progressing.leave();
        let unrecorded = std::mem::take(&mut progressing.unrecorded);
        let ended = Ended {
            has_errors: progressing.has_errors.get(),
            untouched: progressing.settle_states(),
            latest: std::mem::take(&mut progressing.latest),
            reason: progressing.reason.take(),
            ..progressing.ended
        };
        let _span = debug_span!("commit").entered();
        self.session.store.set_latest(unrecorded)?;
        self.session
            .store
            .record_files(self.snapshot.take_changed_records())?;
        result.map(|()| ended)
    }
}

impl Progressing<'_, '_> {
    async fn work(&mut self) -> Result<()> {
        let cancel = self.round.session.cancel.clone();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut renewed = Instant::now();
        let interrupt = self.round.session.interrupt.clone();
        if cancel.is_cancelled() {
            // It came before there was a round, or in the one before.
            self.stop();
        }
        loop {
            self.settle()?;
            self.start_jobs()?;
            if self.unrecorded.len() >= UNRECORDED {
                let unrecorded = std::mem::take(&mut self.unrecorded);
                self.round.session.store.set_latest_later(unrecorded);
            }
            if !self.ready.is_empty() {
                continue;
            }
            self.drop_orphans()?;
            if interrupt.is_cancelled() && !self.stopping {
                self.ended.interrupted = true;
                return Ok(());
            }
            if self.make_some_here()? {
                while let Some(answer) = self.round.carried.workers.try_join_next() {
                    self.take(answer)?;
                }
                tokio::task::yield_now().await;
                continue;
            }
            if self.running.is_empty() && (self.queued.is_empty() || self.stopping) {
                break;
            }
            tokio::select! {
                Some(answer) = self.round.carried.workers.join_next() => self.take(answer)?,
                () = cancel.cancelled(), if !self.stopping => self.stop(),
                () = interrupt.cancelled(), if !self.stopping => {}
                _ = look.tick() => {
                    if renewed.elapsed() >= RENEW_EVERY {
                        renewed = Instant::now();
                        self.renew()?;
                        self.round.session.store.recover()?;
                    }
                    self.look_at_others()?;
                }
            }
        }
        if cancel.is_cancelled() && !self.round.session.fail_fast {
            return Err(Error::interrupted());
        }
        Ok(())
    }

    /// Decides about everything that waits for nothing any more.
    fn settle(&mut self) -> Result<()> {
        if self.ready.is_empty() {
            return Ok(());
        }
        let _span = debug_span!("decide").entered();
        let mut new_jobs = Vec::new();
        while let Some(index) = self.ready.pop_front() {
            if self.stopping {
                self.states[index] = State::Without;
                continue;
            }
            if !self.round.wanted[index] {
                self.complete(index, None);
                continue;
            }
            if let Some(results) = self.untouched(index) {
                self.states[index] = State::Untouched(results);
                if self.round.session.says_everything {
                    let action = &self.round.plan.actions[index];
                    self.warn(&action.warnings);
                    self.warn(self.round.settled.said(action));
                }
                self.free_consumers(index);
                continue;
            }
            self.states[index] = State::Working;
            if !self.round.plan.actions[index].needs_worker() {
                self.local.push_back(index);
                continue;
            }
            if let Some(queued) = self.decide(index)? {
                new_jobs.push(queued);
            }
        }
        self.restore(&mut new_jobs)?;
        if new_jobs.is_empty() {
            return Ok(());
        }
        let plan = self.round.plan;
        let jobs = new_jobs
            .iter()
            .map(|queued| {
                let action = &plan.actions[queued.index];
                NewJob {
                    key: queued.decided.key,
                    action: action.id.to_string(),
                    kind: action.kind,
                    priority: queued.priority,
                    expected_ms: queued.expected_ms,
                }
            })
            .collect();
        let enqueue = || self.round.session.store.enqueue(jobs);
        let ids = debug_span!("enqueue").in_scope(enqueue)?;
        for (id, mut queued) in ids.into_iter().zip(new_jobs) {
            if let Some(mut running) = self.orphans.remove(&id) {
                // The change did not concern it: it goes on.
                running.queued = queued;
                self.running.insert(id, running);
                continue;
            }
            // Two actions with one key (the same diagram under two names): the second waits for the first.
            match self.queued.contains(id) || self.running.contains_key(&id) {
                true => self.waiting_for(id, queued),
                false => {
                    queued.waiting = waiting(&queued.action);
                    self.queued.insert(id, queued);
                }
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
            decided,
            reasons,
            priority: self.priority(action),
            expected_ms: latest.map_or(0, |latest| latest.duration_ms),
            waiting: Span::none(),
        })
    }

    /// How urgent an action is.
    fn priority(&self, action: &Action) -> i32 {
        let focus = self.round.session.focus;
        let is_focus = focus.contains(&action.source)
            || action.inputs.iter().any(|(input, _)| focus.contains(input));
        i32::from(is_focus)
    }

    /// Decides about one action and does at once what needs no worker.
    fn decide(&mut self, index: ActionIndex) -> Result<Option<Queued>> {
        let plan = self.round.plan;
        let action = &plan.actions[index];
        let upstream = upstream(&self.states, action);
        if upstream.len() < action.after.len() {
            // What it waits for failed and has said so, or is made anew by the next round.
            let is_superseded = |before: &ActionIndex| {
                let status = self.round.statuses.get(&*plan.actions[*before].id);
                status == Some(&Status::Superseded)
            };
            if action.after.iter().any(is_superseded) {
                self.end(index, Status::Superseded, Duration::ZERO);
            } else {
                let has_failed = |before: &&ActionIndex| {
                    !matches!(self.states[**before], State::Done(_) | State::Untouched(_))
                };
                let mut failed = action.after.iter().filter(has_failed);
                let why = Failing {
                    is_replayed: failed.clone().all(|before| self.replayed.contains(before)),
                    cause: failed
                        .next()
                        .map(|before| plan.actions[*before].id.to_string()),
                    not_made: None,
                };
                self.end_failed(index, Duration::ZERO, why);
            }
            self.complete(index, None);
            return Ok(None);
        }
        self.warn(&action.warnings);
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
                self.say(index, replayed);
                self.note_latest(index, &decided, &decided.discovered, None)?;
                self.end(index, Status::Fresh, Duration::ZERO);
                self.complete(index, Some(results));
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
                self.warn(&self.remembered(index, result.diagnostics.clone()));
                // Another action of this run with the same key may have failed just now.
                let is_replayed = !self.same_as.contains_key(&index);
                let why = Failing {
                    is_replayed,
                    ..Failing::default()
                };
                self.fail_as(index, Duration::ZERO, why);
            }
            Decision::Invalid(diagnostics) => {
                self.warn(diagnostics);
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

    /// Fails an action that is not to be executed, because sources change whenever it is; whether it is such an action.
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
            self.end(index, Status::Superseded, Duration::ZERO);
            self.complete(index, None);
            return true;
        }
        self.warn(&[objection.diagnostic]);
        let why = Failing {
            is_replayed: objection.is_replayed,
            ..Failing::default()
        };
        self.fail_as(index, Duration::ZERO, why);
        true
    }

    /// Diagnostics of a known result, for the source as it is now.
    fn remembered(&self, index: ActionIndex, diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
        jobs::from_remembered(self.round.recipes, index, diagnostics)
    }

    /// Marks an action as over and frees those that wait for it.
    fn complete(&mut self, index: ActionIndex, results: Option<Results>) {
        self.states[index] = results.map_or(State::Without, State::Done);
        self.free_consumers(index);
    }

    fn free_consumers(&mut self, index: ActionIndex) {
        for consumer in self.consumers[index].clone() {
            let is_free = self.round.plan.actions[consumer]
                .after
                .iter()
                .all(|before| !matches!(self.states[*before], State::Waiting | State::Working));
            if is_free && matches!(self.states[consumer], State::Waiting) {
                self.ready.push_back(consumer);
            }
        }
    }

    fn fail(&mut self, index: ActionIndex, duration: Duration) {
        self.fail_as(index, duration, Failing::default());
    }

    fn fail_as(&mut self, index: ActionIndex, duration: Duration, why: Failing) {
        self.end_failed(index, duration, why);
        self.complete(index, None);
        if self.round.session.fail_fast {
            self.round.session.cancel.cancel();
            self.stop();
        }
    }
}

/// Measures how long an action waits for its start.
fn waiting(action: &Action) -> Span {
    debug_span!(parent: None, "queue", action = &*action.id, kind = action.kind.name())
}

/// The results of the actions that one waits for, without those that have none.
fn upstream<'s>(states: &'s [State], action: &Action) -> Vec<&'s Results> {
    let results = action.after.iter().map(|before| match &states[*before] {
        State::Done(results) | State::Unplaced(results) | State::Untouched(results) => {
            Some(results)
        }
        _ => None,
    });
    results.flatten().collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
