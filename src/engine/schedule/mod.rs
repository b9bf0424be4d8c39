//! The scheduler of a round: selects the next actions to work on.
//!
//! It is pure: it uses neither the store nor workers, files or the time. The caller asks for the next effect
//! ([`Schedule::next`]), carries it out, and reports the outcome with one of the other methods.

mod queue;

use std::collections::{HashMap, VecDeque};

use crate::events::ActionKind;
use crate::plan::ActionIndex;
use crate::store::JobId;

use super::decide::Results;
use queue::Queue;
pub(super) use queue::{Site, Urgency};

/// The maximum number of jobs in one request for a lease: the store leases the first one that no other process has.
const LEASED_AMONG: usize = 16;

/// The state of an action. [`Schedule::set`] is the only function that changes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ActionState {
    /// It is not selected. Final.
    Unselected,
    /// An action before it has not ended.
    Waiting,
    /// All actions before it have results: it can be compared with the records.
    Ready,
    /// It is being compared with the records, restored, or made in this process.
    Checking,
    /// It is stale, and the shared cache is asked for its result.
    Asked,
    /// It is stale, and its job waits for a worker.
    Queued(JobId),
    /// A worker makes it.
    Running(JobId),
    /// Its results are known and its outputs are in their places. Final.
    UpToDate(Results),
    /// As `UpToDate`, but it was not compared with the records: neither it nor an action before it has changed since an
    /// earlier round found it up to date. Final.
    Unchanged(Results),
    /// Its results are known, but some of its outputs are not in their places. Final.
    Unplaced(Results),
    /// It has no results. Final.
    Failed,
    /// An action before it has no results. Final.
    Blocked,
    /// Its sources changed, or those of an action before it, or the run was cancelled. Final in this round.
    Superseded,
}

impl ActionState {
    /// Returns its results; `None` while it has none.
    pub(super) fn results(&self) -> Option<&Results> {
        match self {
            Self::UpToDate(results) | Self::Unchanged(results) | Self::Unplaced(results) => {
                Some(results)
            }
            _ => None,
        }
    }

    /// Returns whether it does not change any more in this round.
    pub(super) fn is_final(&self) -> bool {
        !matches!(
            self,
            Self::Waiting
                | Self::Ready
                | Self::Checking
                | Self::Asked
                | Self::Queued(_)
                | Self::Running(_)
        )
    }
}

/// The properties of an action that the scheduler uses.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    /// Its kind.
    pub kind: ActionKind,
    /// The actions whose results it needs. All of them have lower indices.
    pub after: &'a [ActionIndex],
    /// Whether it is selected. Then all actions before it are, too.
    pub is_selected: bool,
    /// Whether a worker makes it, so that it needs a job. Others are made in this process, or not at all.
    pub needs_worker: bool,
    /// Its results, if it was up to date before and nothing about the action itself has changed.
    pub unchanged: Option<Results>,
}

/// Where a job runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// On a worker of this machine.
    #[default]
    Here,
    /// On a build farm.
    Farm,
}

/// The workers that are there.
#[derive(Clone, Copy)]
pub(super) struct Workers<'a> {
    /// The maximum number of jobs of a kind that run here at once.
    pub here: &'a dyn Fn(ActionKind) -> usize,
    /// The farm, while it can be used.
    pub farm: Option<FarmNow>,
}

impl Workers<'_> {
    /// No workers: nothing is leased.
    pub(super) const NONE: Self = Self {
        here: &|_| 0,
        farm: None,
    };
}

/// What matters of a farm at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FarmNow {
    /// Whether it takes one more job.
    pub has_room: bool,
    /// Whether jobs that it could run are run here as well.
    pub shares: bool,
    /// How much longer a job takes there than here, in milliseconds.
    pub round_trip_ms: u64,
}

/// What the caller has to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Report these actions, which ended as unchanged, blocked or superseded, without having been compared with the
    /// records.
    Report(Vec<ActionIndex>),
    /// Compare these with the records. Then report each as up to date, failed or superseded, or queue it.
    Check(Vec<ActionIndex>),
    /// Lease the first of these jobs that no other process has, and report [`Schedule::started`] or
    /// [`Schedule::not_leased`]. It runs at that place.
    Lease(Place, ActionKind, Vec<JobId>),
    /// Cancel these jobs, which an earlier round started, and take back those that it queued: no action of this round
    /// needs them.
    Abandon {
        /// Jobs in flight.
        running: Vec<JobId>,
        /// Jobs that are queued in the store only.
        queued: Vec<JobId>,
    },
    /// As [`Effect::Check`], for an action that this process makes itself.
    Make(ActionIndex),
}

/// The outcome of queueing a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enqueued {
    /// It waits for a worker.
    Waits,
    /// It has been running since an earlier round, and continues.
    Runs,
    /// This action has the same job (as for the same diagram under two names): the second action is compared with the
    /// records again when the first one has ended.
    SameAs(ActionIndex),
}

/// Jobs of an earlier round that was interrupted.
#[derive(Debug, Default)]
pub(super) struct EarlierJobs {
    /// Jobs that run, and where.
    pub running: HashMap<JobId, Place>,
    /// Jobs that were queued, and have not started.
    pub queued: Vec<JobId>,
    /// Whether every action of the course is planned, so that jobs that none of them needs are superseded.
    pub is_complete: bool,
}

/// The actions of one round.
#[derive(Debug)]
pub(super) struct Schedule<'a> {
    nodes: Vec<Node<'a>>,
    states: Vec<ActionState>,
    /// By action: the actions that wait for it.
    consumers: Vec<Vec<ActionIndex>>,
    /// By action: how many of the actions before it have not ended.
    missing: Vec<usize>,
    /// Actions that share the job of another one.
    same_as: HashMap<ActionIndex, ActionIndex>,
    ready: Vec<ActionIndex>,
    /// Ready as well, to be made in this process when the workers are busy.
    local: VecDeque<ActionIndex>,
    /// Actions that ended without being compared with the records, and are not reported yet.
    unreported: Vec<ActionIndex>,
    queue: Queue,
    /// The number of actions in the state [`ActionState::Asked`].
    asked: usize,
    /// The actions whose jobs are in flight, and where these run.
    running: HashMap<JobId, (ActionIndex, Place)>,
    /// How many jobs of a kind run here.
    running_here: HashMap<ActionKind, usize>,
    /// By place and kind: how many jobs at the front of the queue other processes have.
    passed: HashMap<(Place, ActionKind), usize>,
    earlier: EarlierJobs,
    is_stopping: bool,
}

impl<'a> Schedule<'a> {
    /// Returns a schedule. Each action comes after those that it waits for.
    pub(super) fn new(nodes: Vec<Node<'a>>, earlier: EarlierJobs) -> Self {
        let mut consumers = vec![Vec::new(); nodes.len()];
        for (index, node) in nodes.iter().enumerate() {
            for before in node.after {
                consumers[*before].push(index);
            }
        }
        let mut schedule = Self {
            states: vec![ActionState::Waiting; nodes.len()],
            missing: vec![0; nodes.len()],
            consumers,
            same_as: HashMap::new(),
            ready: Vec::new(),
            local: VecDeque::new(),
            unreported: Vec::new(),
            queue: Queue::default(),
            asked: 0,
            running: HashMap::new(),
            running_here: HashMap::new(),
            passed: HashMap::new(),
            earlier,
            is_stopping: false,
            nodes,
        };
        for (index, node) in schedule.nodes.iter().enumerate() {
            if !node.is_selected {
                schedule.states[index] = ActionState::Unselected;
            }
            let after = node.after.iter();
            let selected = after.filter(|before| schedule.nodes[**before].is_selected);
            schedule.missing[index] = selected.count();
        }
        for index in 0..schedule.nodes.len() {
            if schedule.is_selected(index) && schedule.missing[index] == 0 {
                schedule.free_if_waiting(index);
            }
        }
        schedule
    }

    /// Returns the state of an action.
    pub(super) fn state(&self, index: ActionIndex) -> &ActionState {
        &self.states[index]
    }

    /// Returns the results of the actions that an action waits for, in their order, without those that have none.
    pub(super) fn upstream(&self, index: ActionIndex) -> Vec<&Results> {
        let after = self.nodes[index].after.iter();
        after
            .filter_map(|before| self.states[*before].results())
            .collect()
    }

    /// Returns the first action without results that an action waits for, directly or through others.
    pub(super) fn blocked_by(&self, index: ActionIndex) -> Option<ActionIndex> {
        let mut after = self.nodes[index].after.iter();
        let before = *after.find(|before| self.states[**before].results().is_none())?;
        match self.states[before] {
            ActionState::Blocked => self.blocked_by(before),
            _ => Some(before),
        }
    }

    /// Returns the actions that wait for an action.
    pub(super) fn consumers(&self, index: ActionIndex) -> &[ActionIndex] {
        &self.consumers[index]
    }

    /// Returns whether an action is selected.
    pub(super) fn is_selected(&self, index: ActionIndex) -> bool {
        self.nodes[index].is_selected
    }

    /// Returns the action whose job an action shares.
    pub(super) fn same_as(&self, index: ActionIndex) -> Option<ActionIndex> {
        self.same_as.get(&index).copied()
    }

    /// Returns how many jobs of a kind wait for a worker.
    pub(super) fn queued(&self, kind: ActionKind) -> usize {
        self.queue.count(kind)
    }

    /// Returns the first waiting jobs of every kind: up to `count` of each.
    pub(super) fn first_queued(&self, count: usize) -> Vec<JobId> {
        let kinds = ActionKind::OF_WORKERS.into_iter();
        kinds
            .flat_map(|kind| self.queue.first(kind, 0, count, |_| true))
            .collect()
    }

    /// Returns whether nothing is running and nothing will start.
    pub(super) fn is_finished(&self) -> bool {
        let is_idle = self.ready.is_empty() && self.local.is_empty() && self.unreported.is_empty();
        is_idle
            && self.asked == 0
            && self.running.is_empty()
            && (self.queue.is_empty() || self.is_stopping)
    }

    /// Returns whether no more work starts.
    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Returns what has to be done next, the most urgent first; `None` while the caller can only wait.
    pub(super) fn next(&mut self, workers: Workers<'_>) -> Option<Effect> {
        if !self.unreported.is_empty() {
            return Some(Effect::Report(std::mem::take(&mut self.unreported)));
        }
        if !self.ready.is_empty() {
            let ready = std::mem::take(&mut self.ready);
            for index in &ready {
                self.set(*index, ActionState::Checking);
            }
            return Some(Effect::Check(ready));
        }
        if !self.is_stopping
            && let Some(lease) = self
                .next_here(&workers)
                .or_else(|| self.next_farm(&workers))
        {
            return Some(lease);
        }
        if let Some(abandoned) = self.abandon() {
            return Some(abandoned);
        }
        self.next_local().map(Effect::Make)
    }

    /// Returns jobs for a free worker of this machine.
    fn next_here(&self, workers: &Workers<'_>) -> Option<Effect> {
        let may_run = |site: Site| match workers.farm {
            Some(farm) => site == Site::Here || site == Site::Anywhere && farm.shares,
            None => true,
        };
        ActionKind::OF_WORKERS.into_iter().find_map(|kind| {
            let running = self.running_here.get(&kind).copied().unwrap_or(0);
            if running >= (workers.here)(kind) {
                return None;
            }
            self.lease(Place::Here, kind, may_run)
        })
    }

    /// Returns jobs for the farm: the one that is expected to take longest, of a kind whose workers here would not come to it
    /// sooner than the farm.
    fn next_farm(&self, workers: &Workers<'_>) -> Option<Effect> {
        let farm = workers.farm.filter(|farm| farm.has_room)?;
        let kinds = ActionKind::OF_WORKERS.into_iter();
        let candidates = kinds.filter_map(|kind| {
            let here = if farm.shares { (workers.here)(kind) } else { 0 };
            let may_run = |site: Site| match site {
                Site::Here => false,
                Site::Farm => true,
                Site::Anywhere => {
                    let waits_ms = self.queue.expected_ms(kind).checked_div(here as u64);
                    waits_ms.is_none_or(|waits_ms| waits_ms > farm.round_trip_ms)
                }
            };
            let lease = self.lease(Place::Farm, kind, may_run)?;
            let Effect::Lease(.., jobs) = &lease else {
                return None;
            };
            let urgency = jobs.first().and_then(|job| self.queue.urgency(*job))?;
            Some((urgency.priority, urgency.expected_ms, lease))
        });
        // The first one of equal ones.
        let best = candidates.reduce(|best, other| match (best.0, best.1) < (other.0, other.1) {
            true => other,
            false => best,
        });
        best.map(|(.., lease)| lease)
    }

    fn lease(
        &self,
        place: Place,
        kind: ActionKind,
        may_run: impl Fn(Site) -> bool,
    ) -> Option<Effect> {
        let passed = self.passed.get(&(place, kind)).copied().unwrap_or(0);
        let jobs = self.queue.first(kind, passed, LEASED_AMONG, may_run);
        (!jobs.is_empty()).then_some(Effect::Lease(place, kind, jobs))
    }

    /// Returns the next action that this process makes itself, as [`Effect::Make`]: for many of them in a row.
    pub(super) fn next_local(&mut self) -> Option<ActionIndex> {
        let index = self.local.pop_front()?;
        self.set(index, ActionState::Checking);
        Some(index)
    }

    fn abandon(&mut self) -> Option<Effect> {
        if !self.earlier.is_complete
            || self.earlier.running.is_empty() && self.earlier.queued.is_empty()
        {
            return None;
        }
        let running = std::mem::take(&mut self.earlier.running);
        let mut queued = std::mem::take(&mut self.earlier.queued);
        queued.retain(|job| self.queue.get(*job).is_none() && !self.running.contains_key(job));
        Some(Effect::Abandon {
            running: running.into_keys().collect(),
            queued,
        })
    }

    /// Records that an action has results, and that its outputs are in their places.
    pub(super) fn up_to_date(&mut self, index: ActionIndex, results: Results) {
        self.set(index, ActionState::UpToDate(results));
    }

    /// Records that an action has results, but not all of its outputs are in their places. Actions that need only the
    /// results can be made.
    pub(super) fn unplaced(&mut self, index: ActionIndex, results: Results) {
        self.set(index, ActionState::Unplaced(results));
    }

    /// Records that an action has no results.
    pub(super) fn failed(&mut self, index: ActionIndex) {
        self.set(index, ActionState::Failed);
    }

    /// Leaves an action to the next round or to a later run.
    pub(super) fn superseded(&mut self, index: ActionIndex) {
        self.set(index, ActionState::Superseded);
    }

    /// Records that the shared cache is asked for the result of an action that is stale.
    pub(super) fn asked(&mut self, index: ActionIndex) {
        self.set(index, ActionState::Asked);
    }

    /// Returns how many jobs run.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Queues an action that is stale and whose job is in the store.
    pub(super) fn enqueue(&mut self, index: ActionIndex, job: JobId, urgency: Urgency) -> Enqueued {
        if let Some(place) = self.earlier.running.remove(&job) {
            self.set_running(index, job, place);
            return Enqueued::Runs;
        }
        let first = self.running.get(&job).map(|(index, _)| *index);
        if let Some(first) = first.or_else(|| self.queue.get(job)) {
            self.consumers[first].push(index);
            self.missing[index] += 1;
            self.same_as.insert(index, first);
            self.set(index, ActionState::Waiting);
            return Enqueued::SameAs(first);
        }
        let kind = self.nodes[index].kind;
        self.queue.insert(job, kind, index, urgency);
        self.set(index, ActionState::Queued(job));
        Enqueued::Waits
    }

    /// Records that a job was leased, and where it runs. Returns its action; `None` if the job does not wait.
    pub(super) fn started(&mut self, job: JobId, place: Place) -> Option<ActionIndex> {
        let index = self.queue.remove(job)?;
        self.set_running(index, job, place);
        Some(index)
    }

    /// Records that other processes have the jobs that were to be leased: the jobs after them are next, until
    /// [`Schedule::look_again`].
    pub(super) fn not_leased(&mut self, place: Place, kind: ActionKind, jobs: usize) {
        *self.passed.entry((place, kind)).or_default() += jobs;
    }

    /// Makes jobs of other processes candidates again: they may be free after some time.
    pub(super) fn look_again(&mut self) {
        self.passed.clear();
    }

    /// Queues a running job again.
    pub(super) fn requeued(&mut self, job: JobId, urgency: Urgency) {
        let Some((index, _)) = self.running.get(&job).copied() else {
            return;
        };
        let kind = self.nodes[index].kind;
        self.queue.insert(job, kind, index, urgency);
        self.set(index, ActionState::Queued(job));
    }

    /// Marks an action as ready again, because another process made what it waits or runs for.
    pub(super) fn check_again(&mut self, index: ActionIndex) {
        if let ActionState::Queued(job) = self.states[index] {
            self.queue.remove(job);
        }
        self.set(index, ActionState::Ready);
        self.ready.push(index);
    }

    /// Records that another process ended a job that waits here. Returns its action.
    pub(super) fn ended_elsewhere(&mut self, job: JobId) -> Option<ActionIndex> {
        let index = self.queue.get(job)?;
        self.check_again(index);
        Some(index)
    }

    /// Returns the action whose job is running.
    pub(super) fn runs(&self, job: JobId) -> Option<ActionIndex> {
        self.running.get(&job).map(|(index, _)| *index)
    }

    /// Removes a job of an earlier round that ended and that no action of this round has needed so far. Returns false
    /// if there is no such job.
    pub(super) fn earlier_ended(&mut self, job: JobId) -> bool {
        self.earlier.running.remove(&job).is_some()
    }

    /// Starts no more work from now on.
    pub(super) fn stop(&mut self) {
        self.is_stopping = true;
        self.ready.clear();
        self.local.clear();
    }

    /// Returns the jobs that the next round may take over.
    pub(super) fn into_earlier_jobs(self) -> EarlierJobs {
        let mut earlier = self.earlier;
        let running = self.running.into_iter();
        earlier
            .running
            .extend(running.map(|(job, (_, place))| (job, place)));
        earlier.queued.extend(self.queue.jobs());
        earlier
    }

    fn set_running(&mut self, index: ActionIndex, job: JobId, place: Place) {
        self.set(index, ActionState::Running(job));
        self.running.insert(job, (index, place));
        if place == Place::Here {
            let kind = self.nodes[index].kind;
            *self.running_here.entry(kind).or_default() += 1;
        }
    }

    /// Changes the state of an action, and updates all counts and queues that depend on it.
    fn set(&mut self, index: ActionIndex, state: ActionState) {
        let before = std::mem::replace(&mut self.states[index], state);
        debug_assert!(!before.is_final(), "{before:?} is final");
        let kind = self.nodes[index].kind;
        self.asked -= usize::from(before == ActionState::Asked);
        self.asked += usize::from(self.states[index] == ActionState::Asked);
        if let ActionState::Running(job) = before
            && let Some((_, Place::Here)) = self.running.remove(&job)
        {
            *self.running_here.entry(kind).or_default() -= 1;
        }
        if self.states[index].is_final() {
            let consumers = std::mem::take(&mut self.consumers[index]);
            for consumer in &consumers {
                self.missing[*consumer] -= 1;
                if self.missing[*consumer] == 0 {
                    self.free_if_waiting(*consumer);
                }
            }
            self.consumers[index] = consumers;
        }
    }

    /// Frees an action whose preceding actions have ended: it is ready, or it ends as unchanged, superseded or blocked.
    fn free_if_waiting(&mut self, index: ActionIndex) {
        if self.is_stopping || self.states[index] != ActionState::Waiting {
            return;
        }
        let node = &self.nodes[index];
        let any = |is: fn(&ActionState) -> bool| {
            let mut after = node.after.iter();
            after.any(|before| is(&self.states[*before]))
        };
        let is_changed = any(|state| !matches!(state, ActionState::Unchanged(_)));
        let ended = if let Some(results) = node.unchanged.as_ref().filter(|_| !is_changed) {
            ActionState::Unchanged(results.clone())
        } else if any(|state| *state == ActionState::Superseded) {
            ActionState::Superseded
        } else if any(|state| state.results().is_none()) {
            ActionState::Blocked
        } else {
            match node.needs_worker {
                true => self.ready.push(index),
                false => self.local.push_back(index),
            }
            return self.set(index, ActionState::Ready);
        };
        self.unreported.push(index);
        self.set(index, ended);
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
