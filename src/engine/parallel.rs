//! Looking at many files, and making them, with all processors.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many threads look at files; more wait for each other in the kernel.
const THREADS: usize = 8;
/// How many items a thread has at least.
const CHUNK: usize = 64;

/// What `look` gives for every item, in their order.
pub fn map<T: Sync, R: Send>(items: &[T], look: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let size = items.len().div_ceil(threads(items.len())).max(1);
    std::thread::scope(|scope| {
        let running: Vec<_> = items
            .chunks(size)
            .map(|chunk| scope.spawn(|| chunk.iter().map(&look).collect::<Vec<R>>()))
            .collect();
        let ended = running.into_iter().map(|thread| {
            // A panic in there is one of ours.
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        ended.flatten().collect()
    })
}

/// What `work` gives for every item, in their order. For items that take long, and not all equally so: whoever is done
/// with one takes the next.
pub fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = processors().min(items.len());
    if threads < 2 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else {
                return done;
            };
            done.push((index, work(item)));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(some)).collect();
        let mut done = some();
        for thread in others {
            let others = thread.join();
            done.extend(others.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

fn threads(items: usize) -> usize {
    processors().min(items.div_ceil(CHUNK)).max(1)
}

fn processors() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.min(THREADS)
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
        }
    }
}
