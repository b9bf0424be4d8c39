//! The idle workers of one kind, and the record of failed starts.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};

use super::number::{Number, Numbers};
use crate::parallel::lock;
use crate::worker::{Worker, WorkerError};

/// Pauses before a start, by the number of consecutive failed starts.
const PAUSES_MS: [u64; 5] = [0, 0, 100, 500, 2000];

/// The idle workers of one kind.
pub(super) struct Shelf {
    /// How many requests of the kind run at once.
    pub(super) slots: usize,
    /// One permit for each slot.
    pub(super) permits: Semaphore,
    /// The numbers of the living workers.
    pub(super) numbers: Arc<Numbers>,
    /// Held by a request that is run again on a process of its own, so that only one does so at a time.
    pub(super) trial: tokio::sync::Mutex<()>,
    /// Wakes a request that waits for a worker that was started ahead.
    pub(super) warmed: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The most recently used last: it is used next, so that the others can expire.
    idle: Vec<Idle>,
    /// The number of workers that are being started ahead of requests.
    warming: usize,
    /// The number of requests that wait for one of these.
    awaited: usize,
    failed_starts: usize,
    last_failure: Option<Instant>,
}

struct Idle {
    worker: Box<dyn Worker>,
    number: Number,
    since: Instant,
}

impl Shelf {
    /// Creates an empty shelf with at least one slot.
    pub(super) fn new(slots: usize) -> Self {
        let slots = slots.max(1);
        Self {
            slots,
            permits: Semaphore::new(slots),
            numbers: Arc::default(),
            trial: tokio::sync::Mutex::default(),
            warmed: Notify::new(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn put(&self, worker: Box<dyn Worker>, number: Number) {
        self.state().idle.push(Idle {
            worker,
            number,
            since: Instant::now(),
        });
    }

    pub(super) fn take(&self) -> Option<(Box<dyn Worker>, Number)> {
        let idle = self.state().idle.pop()?;
        Some((idle.worker, idle.number))
    }

    /// Lets up to `count` idle workers prepare, in the order in which they will be used. Returns how many more are to
    /// be started.
    pub(super) fn begin_warming(&self, count: usize) -> usize {
        let count = count.min(self.slots);
        let mut state = self.state();
        for idle in state.idle.iter_mut().rev().take(count) {
            idle.worker.prepare();
        }
        let busy = self.slots - self.permits.available_permits().min(self.slots);
        let missing = count.saturating_sub(state.idle.len() + busy + state.warming);
        state.warming += missing;
        missing
    }

    /// Records that a worker that was started ahead is idle now or could not be started.
    pub(super) fn end_warming(&self) {
        let mut state = self.state();
        state.warming -= 1;
        if state.awaited > 0 {
            state.awaited -= 1;
            self.warmed.notify_one();
        }
    }

    /// Returns whether a worker is being started that no request waits for yet; if so, the caller is to wait for it.
    pub(super) fn awaits_warming(&self) -> bool {
        let mut state = self.state();
        let is_free = state.awaited < state.warming;
        state.awaited += usize::from(is_free);
        is_free
    }

    pub(super) fn take_all(&self) -> Vec<(Box<dyn Worker>, Number)> {
        self.take_older_than(Duration::ZERO)
    }

    pub(super) fn take_older_than(&self, age: Duration) -> Vec<(Box<dyn Worker>, Number)> {
        let mut state = self.state();
        state
            .idle
            .extract_if(.., |idle| idle.since.elapsed() >= age)
            .map(|idle| (idle.worker, idle.number))
            .collect()
    }

    /// Returns how long to wait before the next start.
    pub(super) fn pause_before_start(&self) -> Duration {
        let state = self.state();
        let pause = Duration::from_millis(PAUSES_MS[state.failed_starts.min(PAUSES_MS.len() - 1)]);
        let since = state.last_failure.map_or(pause, |last| last.elapsed());
        pause.saturating_sub(since)
    }

    /// Records the result of a start. A missing tool causes no pause, since it is not tried again.
    pub(super) fn record_start(&self, error: Option<&WorkerError>) {
        let mut state = self.state();
        match error {
            None => state.failed_starts = 0,
            Some(WorkerError::Missing { .. }) => {}
            Some(_) => {
                state.failed_starts += 1;
                state.last_failure = Some(Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_failed_starts() {
        let shelf = Shelf::new(0);
        assert_eq!(shelf.slots, 1);
        assert_eq!(shelf.pause_before_start(), Duration::ZERO);
        let failure = WorkerError::Io(String::new());
        shelf.record_start(Some(&failure));
        assert_eq!(shelf.pause_before_start(), Duration::ZERO);
        shelf.record_start(Some(&failure));
        let pause = shelf.pause_before_start();
        assert!(pause > Duration::from_millis(50) && pause <= Duration::from_millis(100));
        for _ in 0..10 {
            shelf.record_start(Some(&failure));
        }
        assert!(shelf.pause_before_start() > Duration::from_millis(1900));
        shelf.record_start(None);
        assert_eq!(shelf.pause_before_start(), Duration::ZERO);
    }
}
