//! Work by several threads: the same for many items, two things side by side, and what they share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::debug_span;

/// How many threads look at files; more wait for each other in the kernel.
const THREADS: usize = 8;
/// How many items that take no time a thread takes at once.
const CHUNK: usize = 64;
/// The same for items that are computed.
const COMPUTED: usize = 4;
/// The span of what another thread does.
pub const BESIDE: &str = "beside";

/// What `look` gives for every item, in their order. For many items that take hardly any time each.
pub fn map<T: Sync, R: Send>(items: &[T], look: impl Fn(&T) -> R + Sync) -> Vec<R> {
    in_chunks(items, CHUNK, processors().min(THREADS), look)
}

/// The same for items that take long, and not all equally so.
pub fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    in_chunks(items, 1, processors().min(THREADS), work)
}

/// The same for items that need a processor, and hardly any file.
pub fn compute<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    in_chunks(items, COMPUTED, processors(), work)
}

/// What threads share. It is whole although one panicked that had it: what must change together changes in one step,
/// or in a transaction.
pub fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Both results: the first one's thread is another.
pub fn beside<A: Send, B>(other: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
    // A span is a part of the one that is entered in its thread: a new thread has none.
    let span = debug_span!(BESIDE);
    std::thread::scope(|scope| {
        let other = scope.spawn(move || span.in_scope(other));
        let here = here();
        // A panic in there is one of ours.
        let other = other.join();
        let other = other.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (other, here)
    })
}

/// Whoever is done with a chunk takes the next.
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
            // A panic in there is one of ours.
            let others = thread.join();
            done.extend(others.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(start, _)| *start);
    done.into_iter().flat_map(|(_, results)| results).collect()
}

/// How many processors there are for this process.
pub fn processors() -> usize {
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
            assert_eq!(beside(|| items.len(), || doubled.len()), (count, count));
        }
    }
}
