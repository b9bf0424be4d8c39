//! Parallel work on several threads: a function over many items, two functions side by side, and locks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::debug_span;

/// How many threads access files; more would only wait for each other in the kernel.
const THREADS: usize = 8;
/// How many items a thread takes at once if they take hardly any time.
const CHUNK: usize = 64;
/// How many items a thread takes at once if they are computed.
const COMPUTED: usize = 4;
/// The name of the span around the work of another thread.
pub(crate) const BESIDE: &str = "beside";

/// Calls `look` for every item and returns the results in order. For many items that take hardly any time each.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], look: impl Fn(&T) -> R + Sync) -> Vec<R> {
    in_chunks(items, CHUNK, processors().min(THREADS), look)
}

/// Calls `work` for every item and returns the results in order. For items that take long, with large differences.
pub(crate) fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    in_chunks(items, 1, processors().min(THREADS), work)
}

/// Calls `work` for every item and returns the results in order. For items that need a processor and hardly any file
/// access.
pub(crate) fn compute<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    in_chunks(items, COMPUTED, processors(), work)
}

/// Locks a mutex even if a thread panicked while it had the lock. The data is consistent in this case, too, since
/// related changes are made in one step or in a transaction.
pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `other` on another thread and `here` on this one, and returns both results. Panics are passed on.
pub(crate) fn join<A: Send, B>(
    other: impl FnOnce() -> A + Send,
    here: impl FnOnce() -> B,
) -> (A, B) {
    // The parent of a span is the current span of the thread that creates it, so it is created here.
    let span = debug_span!(BESIDE);
    std::thread::scope(|scope| {
        let other = scope.spawn(move || span.in_scope(other));
        let here = here();
        // A panic in the other thread is passed on to the caller.
        let other = other.join();
        let other = other.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (other, here)
    })
}

/// Distributes chunks of items over threads. A thread that has finished a chunk takes the next one.
fn in_chunks<T: Sync, R: Send>(
    items: &[T],
    size: usize,
    most: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let threads = most.min(items.len().div_ceil(size));
    if threads < 2 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            let start = next.fetch_add(size, Ordering::Relaxed);
            let Some(rest) = items.get(start..).filter(|rest| !rest.is_empty()) else {
                return done;
            };
            let chunk = &rest[..size.min(rest.len())];
            done.push((start, chunk.iter().map(&work).collect::<Vec<R>>()));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(some)).collect();
        let mut done = some();
        for thread in others {
            // A panic in the other thread is passed on to the caller.
            let others = thread.join();
            done.extend(others.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(start, _)| *start);
    done.into_iter().flat_map(|(_, results)| results).collect()
}

/// Returns how many processors this process may use.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_looked_at_and_keeps_its_place() {
        for count in [0, 1, 63, 64, 65, 1000] {
            let items: Vec<usize> = (0..count).collect();
            let doubled = map(&items, |item| item * 2);
            assert!(
                doubled
                    .iter()
                    .enumerate()
                    .all(|(index, item)| *item == index * 2)
            );
            assert_eq!(doubled.len(), count);
            assert_eq!(each(&items, |item| item * 2), doubled);
            assert_eq!(compute(&items, |item| item * 2), doubled);
            assert_eq!(join(|| items.len(), || doubled.len()), (count, count));
        }
    }
}
