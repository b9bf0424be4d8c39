//! The queue of jobs that wait for a worker, in the order in which they start. A large course has tens of thousands.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use crate::events::ActionKind;
use crate::plan::ActionIndex;
use crate::store::JobId;

/// The urgency of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Urgency {
    /// Jobs of higher priority go first.
    pub priority: i32,
    /// Among jobs of the same priority, those that are expected to take longer go first, so that none of them is the
    /// last to run, alone.
    pub expected_ms: u64,
}

/// Higher priority first, then expected longest, then first queued.
type Rank = (Reverse<i32>, Reverse<u64>, JobId);

/// The waiting jobs by number, and their order by kind.
#[derive(Debug, Default)]
pub(super) struct Queue {
    jobs: HashMap<JobId, (ActionKind, Rank)>,
    order: HashMap<ActionKind, BTreeMap<Rank, ActionIndex>>,
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
        self.order.entry(kind).or_default().insert(rank, index);
        self.jobs.insert(job, (kind, rank));
    }

    /// Removes a job. Returns its action.
    pub(super) fn remove(&mut self, job: JobId) -> Option<ActionIndex> {
        let (kind, rank) = self.jobs.remove(&job)?;
        self.order.get_mut(&kind)?.remove(&rank)
    }

    /// Returns the action of a waiting job.
    pub(super) fn get(&self, job: JobId) -> Option<ActionIndex> {
        let (kind, rank) = self.jobs.get(&job)?;
        self.order.get(kind)?.get(rank).copied()
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

    /// Returns up to `count` jobs of a kind in the order in which they start, without the first `passed` ones.
    pub(super) fn first(&self, kind: ActionKind, passed: usize, count: usize) -> Vec<JobId> {
        let order = self.order.get(&kind).into_iter().flatten();
        let jobs = order.map(|((.., job), _)| *job);
        jobs.skip(passed).take(count).collect()
    }
}
