//! The settle machine: combines events into change sets that are released when no more files change.
//!
//! It is pure: it owns no clock and no channel. Times are durations since any fixed origin; the caller asks for the
//! [`Settle::deadline`] and calls [`Settle::tick`] then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// A released batch: what may have changed since the previous change set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// Files and directories that were written, created, renamed or removed, including touched files: digests decide
    /// whether the content differs. A directory stands for its previous contents: files removed with it are listed only
    /// if the last plan read them. Its current contents are listed.
    pub paths: BTreeSet<PathBuf>,
    /// Changes may be missing from `paths`: everything has to be compared with the records.
    pub rescan: bool,
}

impl ChangeSet {
    /// Returns whether it contains no changes.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.rescan
    }

    /// Merges a later change set into this one. More than `max_paths` paths become a rescan.
    pub fn merge(&mut self, later: Self, max_paths: usize) {
        self.rescan |= later.rescan;
        self.paths.extend(later.paths);
        if self.paths.len() > max_paths {
            self.paths.clear();
            self.rescan = true;
        }
    }
}

/// Times and limits of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// A batch is released after this time without events.
    pub quiet: Duration,
    /// A batch is released at the latest this long after its first event, even if events continue.
    pub cap: Duration,
    /// The maximum duration of a hold: a crashed git does not remove its lock, and a client may fail to release its
    /// hold.
    pub max_hold: Duration,
    /// A batch with more paths becomes a rescan, which bounds memory.
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

/// Identifies a hold; holds are independent.
pub(crate) type HoldId = u64;

/// The settle machine with the batch being collected.
///
/// Times never go backwards: a time before the last one is replaced by the last one.
#[derive(Debug)]
pub struct Settle {
    tuning: Tuning,
    batch: ChangeSet,
    /// The time of the first event of the batch.
    began: Duration,
    /// The start of the cap: the first event, or the end of the last hold.
    first: Duration,
    /// The time of the last event or of the end of the last hold.
    last: Duration,
    /// The start of each hold.
    holds: BTreeMap<HoldId, Duration>,
    now: Duration,
}

impl Settle {
    /// Creates a machine without a batch.
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

    /// Adds a change of a path.
    pub fn event(&mut self, path: PathBuf, now: Duration) {
        self.advance(now);
        self.stir();
        self.batch.paths.insert(path);
        self.batch
            .merge(ChangeSet::default(), self.tuning.max_paths);
    }

    /// Notes that events may have been lost.
    pub(crate) fn rescan(&mut self, now: Duration) {
        self.advance(now);
        self.stir();
        self.batch.rescan = true;
    }

    /// Holds the batch back from now on, for example while git's lock exists.
    pub(crate) fn hold(&mut self, id: HoldId, now: Duration) {
        self.advance(now);
        self.holds.entry(id).or_insert(self.now);
    }

    /// Ends a hold and restarts the quiet period and the cap. Does nothing if there is no such hold or it has expired.
    pub(crate) fn release(&mut self, id: HoldId, now: Duration) {
        self.advance(now);
        if self.holds.remove(&id).is_some() && !self.batch.is_empty() {
            self.first = self.now;
            self.last = self.now;
        }
    }

    /// Returns whether the batch is held back.
    pub(crate) fn is_held(&self) -> bool {
        !self.holds.is_empty()
    }

    /// Returns when [`Settle::tick`] will release something if nothing else happens; `None` if there is nothing to
    /// release.
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
        // Consecutive holds can hold a batch for longer than a single one may.
        self.batch.rescan |= is_due && self.is_held();
        is_due.then(|| std::mem::take(&mut self.batch))
    }

    /// Releases the batch at once, held or not, for a caller that needs all changes up to now.
    pub(crate) fn flush(&mut self, now: Duration) -> Option<ChangeSet> {
        self.advance(now);
        let batch = std::mem::take(&mut self.batch);
        (!batch.is_empty()).then_some(batch)
    }

    /// Returns when the batch is released in spite of all holds.
    fn limit(&self) -> Duration {
        self.began + self.tuning.max_hold + self.tuning.cap
    }

    /// Advances the time and ends expired holds. What such a hold held back may be incomplete, so it is released as a
    /// rescan.
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
