//! The queue of jobs that wait for a worker, in the order in which they start. A large course has tens of thousands.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use crate::events::ActionKind;
use crate::plan::ActionIndex;
use crate::store::JobId;

/// Where a job may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Site {
    /// On this machine or on a farm.
    Anywhere,
    /// On this machine.
    #[default]
    Here,
    /// On a farm: this machine does not have what it needs.
    Farm,
}

/// The time that a job of a kind is expected to take if it has never run, in milliseconds.
fn usual_ms(kind: ActionKind) -> u64 {
    match kind {
        ActionKind::Execute => 1000,
        ActionKind::Html | ActionKind::Drawio => 200,
        ActionKind::Plantuml => 50,
        ActionKind::Deck | ActionKind::Copy => 0,
    }
}

/// The urgency of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Urgency {
    /// Jobs of higher priority go first.
    pub priority: i32,
    /// Among jobs of the same priority, those that are expected to take longer go first, so that none of them is the
    /// last to run, alone. 0 if that is not known.
    pub expected_ms: u64,
    /// Where it may run.
    pub site: Site,
}

/// Higher priority first, then expected longest, then first queued.
type Rank = (Reverse<i32>, Reverse<u64>, JobId);

/// The waiting jobs by number, and their order by kind.
#[derive(Debug, Default)]
pub(super) struct Queue {
    jobs: HashMap<JobId, (ActionKind, Rank)>,
    order: HashMap<ActionKind, BTreeMap<Rank, (ActionIndex, Site)>>,
    /// By kind: the sum of what the jobs are expected to take.
    expected_ms: HashMap<ActionKind, u64>,
}

impl Queue {
    /// Adds a job.
    pub(super) fn insert(
        &mut self,
        job: JobId,
        kind: ActionKind,
        index: ActionIndex,
        urgency: Urgency,
    ) {
        let rank = (Reverse(urgency.priority), Reverse(urgency.expected_ms), job);
        let order = self.order.entry(kind).or_default();
        order.insert(rank, (index, urgency.site));
        self.jobs.insert(job, (kind, rank));
        *self.expected_ms.entry(kind).or_default() += expected(kind, &rank);
    }

    /// Removes a job. Returns its action.
    pub(super) fn remove(&mut self, job: JobId) -> Option<ActionIndex> {
        let (kind, rank) = self.jobs.remove(&job)?;
        *self.expected_ms.entry(kind).or_default() -= expected(kind, &rank);
        let removed = self.order.get_mut(&kind)?.remove(&rank);
        removed.map(|(index, _)| index)
    }

    /// Returns the action of a waiting job.
    pub(super) fn get(&self, job: JobId) -> Option<ActionIndex> {
        let (kind, rank) = self.jobs.get(&job)?;
        self.order.get(kind)?.get(rank).map(|(index, _)| *index)
    }

    /// Returns the urgency of a waiting job, with the time that one of its kind usually takes if its own is not known.
    pub(super) fn urgency(&self, job: JobId) -> Option<Urgency> {
        let (kind, rank) = self.jobs.get(&job)?;
        let (_, site) = self.order.get(kind)?.get(rank)?;
        Some(Urgency {
            priority: rank.0.0,
            expected_ms: expected(*kind, rank),
            site: *site,
        })
    }

    /// Returns how long the waiting jobs of a kind are expected to take, one after the other, in milliseconds.
    pub(super) fn expected_ms(&self, kind: ActionKind) -> u64 {
        self.expected_ms.get(&kind).copied().unwrap_or_default()
    }

    /// Returns whether no job waits.
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Returns all waiting jobs, in no particular order.
    pub(super) fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.jobs.keys().copied()
    }

    /// Returns how many jobs of a kind wait.
    pub(super) fn count(&self, kind: ActionKind) -> usize {
        self.order.get(&kind).map_or(0, BTreeMap::len)
    }

    /// Returns up to `count` jobs of a kind whose site is right, in the order in which they start, without the first `passed`
    /// ones.
    pub(super) fn first(
        &self,
        kind: ActionKind,
        passed: usize,
        count: usize,
        is_right: impl Fn(Site) -> bool,
    ) -> Vec<JobId> {
        let order = self.order.get(&kind).into_iter().flatten();
        let right = order.filter(|(_, (_, site))| is_right(*site));
        let jobs = right.map(|((.., job), _)| *job);
        jobs.skip(passed).take(count).collect()
    }
}

fn expected(kind: ActionKind, rank: &Rank) -> u64 {
    match rank.1.0 {
        0 => usual_ms(kind),
        known => known,
    }
}
