//! The settle machine: single events become change sets once the files have come to rest.
//!
//! It is pure: it owns no clock and no channel. Times are durations since any fixed origin, and the caller asks for the
//! [`Settle::deadline`] and calls [`Settle::tick`] then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// A settled batch: what may have changed since the change set before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// Files and directories that were written, created, renamed or removed. Whether their content differs is for
    /// digests to decide: a touched file is named here as well. A directory stands for what was in it before: files
    /// that went with it are named only when the last plan read them. What is in it now is named.
    pub paths: BTreeSet<PathBuf>,
    /// Changes may be missing from `paths`: everything has to be compared with the records.
    pub rescan: bool,
}

impl ChangeSet {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.rescan
    }

    /// Takes in a later one. More than `max_paths` paths become a rescan.
    pub fn merge(&mut self, later: Self, max_paths: usize) {
        self.rescan |= later.rescan;
        self.paths.extend(later.paths);
        if self.paths.len() > max_paths {
            self.paths.clear();
            self.rescan = true;
        }
    }
}

/// How long to wait, and how much to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// A batch is released when nothing happened for this long.
    pub quiet: Duration,
    /// A batch is released this long after its first event even though events go on.
    pub cap: Duration,
    /// A hold counts for this long at most: a crashed git leaves its lock behind, and a client may forget to let go.
    pub max_hold: Duration,
    /// A batch of more paths becomes a rescan, which bounds memory.
    pub max_paths: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(30),
            cap: Duration::from_millis(500),
            max_hold: Duration::from_secs(30),
            max_paths: 4096,
        }
    }
}

/// Who holds the batch back. Each holder counts for itself.
pub type HoldId = u64;

/// The batch that is being collected.
///
/// Times never run backwards: an earlier one than the last is taken as the last.
#[derive(Debug)]
pub struct Settle {
    tuning: Tuning,
    batch: ChangeSet,
    /// When the first event of the batch came.
    began: Duration,
    /// When its cap began to count: at its first event, or when the last hold ended.
    first: Duration,
    /// When the last event came, or the last hold ended.
    last: Duration,
    /// When each hold began.
    holds: BTreeMap<HoldId, Duration>,
    now: Duration,
}

impl Settle {
    /// A machine without a batch.
    pub fn new(tuning: Tuning) -> Self {
        Self {
            tuning,
            batch: ChangeSet::default(),
            began: Duration::ZERO,
            first: Duration::ZERO,
            last: Duration::ZERO,
            holds: BTreeMap::new(),
            now: Duration::ZERO,
        }
    }

    /// Something happened to a path.
    pub fn event(&mut self, path: PathBuf, now: Duration) {
        self.advance(now);
        self.stir();
        self.batch.paths.insert(path);
        self.batch
            .merge(ChangeSet::default(), self.tuning.max_paths);
    }

    /// Events may have been lost.
    pub fn rescan(&mut self, now: Duration) {
        self.advance(now);
        self.stir();
        self.batch.rescan = true;
    }

    /// Holds the batch back from now on, as git's lock does while git writes many files.
    pub fn hold(&mut self, id: HoldId, now: Duration) {
        self.advance(now);
        self.holds.entry(id).or_insert(self.now);
    }

    /// Ends a hold; one that ran out, or never was, is none. The quiet period and the cap begin anew.
    pub fn release(&mut self, id: HoldId, now: Duration) {
        self.advance(now);
        if self.holds.remove(&id).is_some() && !self.batch.is_empty() {
            self.first = self.now;
            self.last = self.now;
        }
    }

    /// Whether someone holds the batch back.
    pub fn is_held(&self) -> bool {
        !self.holds.is_empty()
    }

    /// When [`Settle::tick`] will release something if nothing else happens; none when there is nothing to release.
    pub fn deadline(&self) -> Option<Duration> {
        if self.batch.is_empty() {
            return None;
        }
        let settled = (self.last + self.tuning.quiet).min(self.first + self.tuning.cap);
        let let_go = self
            .holds
            .values()
            .max()
            .map(|began| *began + self.tuning.max_hold);
        let due = let_go.map_or(settled, |let_go| settled.max(let_go));
        Some(due.min(self.limit()))
    }

    /// Releases the batch if it is due.
    pub fn tick(&mut self, now: Duration) -> Option<ChangeSet> {
        self.advance(now);
        let is_due = self.deadline().is_some_and(|deadline| deadline <= self.now);
        // Many holds in turn can keep a batch for longer than one may.
        self.batch.rescan |= is_due && self.is_held();
        is_due.then(|| std::mem::take(&mut self.batch))
    }

    /// Releases the batch at once, held or not, for someone who must know all that happened up to now.
    pub fn flush(&mut self, now: Duration) -> Option<ChangeSet> {
        self.advance(now);
        let batch = std::mem::take(&mut self.batch);
        (!batch.is_empty()).then_some(batch)
    }

    /// When the batch is released in spite of all holds.
    fn limit(&self) -> Duration {
        self.began + self.tuning.max_hold + self.tuning.cap
    }

    /// Takes the time and ends the holds that ran out. What such a hold kept back may be the half of something, so
    /// it is released as a rescan.
    fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
        let (now, limit) = (self.now, self.tuning.max_hold);
        let before = self.holds.len();
        self.holds.retain(|_, began| *began + limit > now);
        if self.holds.len() < before && !self.batch.is_empty() {
            self.batch.rescan = true;
        }
    }

    fn stir(&mut self) {
        if self.batch.is_empty() {
            self.began = self.now;
            self.first = self.now;
        }
        self.last = self.now;
    }
}

#[cfg(test)]
mod tests;
