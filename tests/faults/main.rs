//! Faults of the file system, and what is left after them: clm runs on a small course while one of its system calls
//! fails, is cut short, finds the disk full, or is the last one before a kill or a loss of power. Then it runs once more,
//! and everything must be as a clean build makes it.
//!
//! `CLM_FAULT_SECONDS=N` goes on for so long with further seeds, `CLM_FAULT_SEED=N` runs the points of one seed, or begins
//! with it; `CLM_FAULT_KEEP=1` keeps the courses in which something went wrong.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(
    // To trace system calls.
    unsafe_code,
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod course;
mod history;
mod power;
mod sessions;
mod trace;
mod unread;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use course::House;
use history::History;

/// How many points there are unless a time is given.
const POINTS: u64 = 1000;

#[test]
fn what_a_fault_leaves_is_repaired_by_the_next_run() {
    if !trace::is_possible() {
        eprintln!("SKIPPED: system calls cannot be traced here");
        return;
    }
    let campaign = Campaign::default();
    let house = House::new();
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        // Some of the time is spent waiting for a watch.
        for _ in 0..(threads + 1).min(6) {
            scope.spawn(|| campaign.work(&house));
        }
    });
    campaign.report();
}

/// What a variable of the environment says.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// All points of a run of this program.
struct Campaign {
    begun: Instant,
    seed: AtomicU64,
    points: AtomicU64,
    by_fault: Mutex<BTreeMap<String, (u64, Duration)>>,
    wrong: Mutex<Vec<String>>,
}

impl Default for Campaign {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            seed: AtomicU64::new(number("CLM_FAULT_SEED").unwrap_or(1)),
            points: AtomicU64::new(0),
            by_fault: Mutex::default(),
            wrong: Mutex::default(),
        }
    }
}

impl Campaign {
    /// Takes seeds until there are enough points.
    fn work(&self, house: &House) {
        loop {
            let seed = self.seed.fetch_add(1, Ordering::SeqCst);
            let is_enough = match (number("CLM_FAULT_SEED"), number("CLM_FAULT_SECONDS")) {
                (Some(only), None) => seed > only,
                (_, Some(seconds)) => self.begun.elapsed() > Duration::from_secs(seconds),
                (None, None) => self.points.load(Ordering::SeqCst) >= POINTS,
            };
            if is_enough {
                return;
            }
            History::new(seed, house, self).run();
        }
    }

    fn report(&self) {
        let points = self.points.load(Ordering::SeqCst);
        let by_fault = self.by_fault.lock().unwrap();
        for (name, (count, took)) in by_fault.iter() {
            eprintln!(
                "{count:>6} {name}, {} ms each",
                took.as_millis() / u128::from(*count)
            );
        }
        eprintln!("{points} points in {:?}", self.begun.elapsed());
        let wrong = self.wrong.lock().unwrap();
        assert!(
            wrong.is_empty(),
            "{} wrong:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        assert!(points > 0, "no fault was met");
    }
}
