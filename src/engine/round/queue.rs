//! The jobs of a round that wait for a slot, most urgent first: tens of thousands in a large course.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use crate::events::ActionKind;
use crate::store::JobId;

use super::Queued;

/// Higher priority first, then expected longest, then first come.
type Rank = (Reverse<i32>, Reverse<u64>, JobId);

/// Jobs by their number, and their order for each kind.
#[derive(Default)]
pub(super) struct Queue {
    jobs: HashMap<JobId, (ActionKind, Rank, Queued)>,
    order: HashMap<ActionKind, BTreeSet<Rank>>,
}

impl Queue {
    /// Adds a job, in the order in which the store would give it.
    pub(super) fn insert(&mut self, id: JobId, queued: Queued) {
        let kind = queued.action.kind;
        let rank = (Reverse(queued.priority), Reverse(queued.expected_ms), id);
        self.order.entry(kind).or_default().insert(rank);
        self.jobs.insert(id, (kind, rank, queued));
    }

    /// Takes a job out.
    pub(super) fn remove(&mut self, id: JobId) -> Option<Queued> {
        let (kind, rank, queued) = self.jobs.remove(&id)?;
        if let Some(order) = self.order.get_mut(&kind) {
            order.remove(&rank);
        }
        Some(queued)
    }

    pub(super) fn get(&self, id: JobId) -> Option<&Queued> {
        self.jobs.get(&id).map(|(.., queued)| queued)
    }

    pub(super) fn contains(&self, id: JobId) -> bool {
        self.jobs.contains_key(&id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// All of them, in no particular order.
    pub(super) fn ids(&self) -> impl Iterator<Item = JobId> {
        self.jobs.keys().copied()
    }

    /// How many there are of a kind.
    pub(super) fn count(&self, kind: ActionKind) -> usize {
        self.order.get(&kind).map_or(0, BTreeSet::len)
    }

    /// Some jobs of a kind in order, from a place in it on.
    pub(super) fn most_urgent(&self, kind: ActionKind, from: usize, count: usize) -> Vec<JobId> {
        let order = self.order.get(&kind).into_iter().flatten();
        let ids = order.map(|(.., id)| *id);
        ids.skip(from).take(count).collect()
    }
}
