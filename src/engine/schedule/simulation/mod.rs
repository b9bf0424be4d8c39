//! A simulation of a course of 2,000 topics on a build farm: how much quicker more workers make it, and from when on they
//! gain nothing.
//!
//! The schedule is the real one, and the durations were recorded (`contrib/bench/durations.py`). The time, the store, the
//! farm and the way to it are simulated:
//!
//! - A round trip is what an action takes longer on the farm than it runs there. Half of it passes before a worker can begin,
//!   half after its end. No worker is busy meanwhile.
//! - Every worker makes actions of all kinds, one at a time, in the order in which they arrive.
//! - What the farm says of an action is known here half a round trip later, and decides whether there is room for more, as in
//!   `src/farm/load.rs`.
//! - Planning, comparing, sending and writing take this machine no time.
//!
//! `cargo test --lib simulation -- --nocapture` prints what comes of it. The farms that differ from the usual one have a small
//! course, unless `CLM_SIMULATION_TOPICS` is the number of its topics.

mod farm;

use std::collections::HashMap;

use proptest::prelude::*;

use super::ActionIndex;
use super::ActionKind::{self, Drawio, Execute, Html, Plantuml};
use farm::{FARM, Idle, Run, Setup, simulate};

const RECORDED: &str = include_str!("durations.csv");
/// The kinds of the columns of the recording, after the first one, which names the topic.
const COLUMNS: [ActionKind; 7] = [Execute, Html, Html, Html, Html, Plantuml, Drawio];
const TOPICS: usize = 2000;
const WORKERS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// What a worker makes. Several actions can have the same job.
#[derive(Debug)]
struct Job {
    kind: ActionKind,
    ms: u64,
    /// The jobs whose results it needs.
    after: Vec<usize>,
}

#[derive(Debug, Default)]
struct Course {
    jobs: Vec<Job>,
    /// The job of every action, and the actions that it waits for.
    actions: Vec<(usize, Vec<ActionIndex>)>,
    /// How much longer the first job of a kind takes a worker, which starts a renderer.
    starts: HashMap<ActionKind, u64>,
}

impl Course {
    /// Returns a course of the recorded topics, again and again.
    fn recorded(topics: usize) -> Self {
        let rows = RECORDED.lines().filter(|line| !line.starts_with('#'));
        let mut rows = rows.skip(1).map(|row| -> Vec<u64> {
            let columns = row.split(',').skip(1);
            columns.map(|ms| ms.parse().unwrap()).collect()
        });
        let starts = COLUMNS.into_iter().zip(rows.next().unwrap()).collect();
        let mut course = Self {
            starts,
            ..Self::default()
        };
        let rows: Vec<Vec<u64>> = rows.collect();
        for row in rows.iter().cycle().take(topics) {
            // The decks of both languages have the same code, which is executed once.
            let execute = course.add(Execute, row[0], &[]);
            course.actions.push(course.actions[execute].clone());
            // Pages without results, and those with them.
            course.add(Html, row[1], &[]);
            course.add(Html, row[2], &[]);
            course.add(Html, row[3], &[execute]);
            course.add(Html, row[4], &[execute + 1]);
            course.add(Plantuml, row[5], &[]);
            course.add(Drawio, row[6], &[]);
        }
        course
    }

    /// Adds an action with a job of its own.
    fn add(&mut self, kind: ActionKind, ms: u64, after: &[ActionIndex]) -> ActionIndex {
        let before = after.iter().map(|action| self.actions[*action].0);
        let job = Job {
            kind,
            ms,
            after: before.collect(),
        };
        self.actions.push((self.jobs.len(), after.to_vec()));
        self.jobs.push(job);
        self.actions.len() - 1
    }

    /// Returns how long the longest chain of jobs takes that wait for each other.
    fn critical_path(&self, took: impl Fn(usize) -> u64) -> u64 {
        let mut ends: Vec<u64> = Vec::new();
        for (number, job) in self.jobs.iter().enumerate() {
            let before = job.after.iter().map(|before| ends[*before]).max();
            ends.push(before.unwrap_or(0) + took(number));
        }
        ends.into_iter().max().unwrap_or(0)
    }
}

impl Run {
    /// Checks what holds for every course. It is not quicker than its critical path, the number of workers and the number of
    /// actions that the farm is given allow. And on a farm alone, something of these three becomes less at any time (Graham),
    /// except while it is not known here what the farm could take: all workers are busy, or as many actions are on their way
    /// as there may be, or all that can be made is being made.
    fn check(&self, setup: &Setup) {
        let makers = (setup.workers + setup.here) as u64;
        let jobs = (setup.jobs + setup.here) as u64;
        assert!(self.ms >= self.path && self.ms * makers >= self.work);
        assert!(self.ms * jobs >= self.sent);
        assert_eq!(self.spent.iter().sum::<u64>(), self.ms);
        if setup.here == 0 {
            assert!(self.spent[Idle::No as usize] * makers <= self.work);
            assert!(self.spent[Idle::Jobs as usize] * jobs <= self.sent);
            assert!(self.spent[Idle::Path as usize] <= self.path);
        }
    }

    /// Returns a time that it could not be quicker than.
    fn least(&self, setup: &Setup) -> f64 {
        let share = |whole: u64, of: usize| whole as f64 / (of + setup.here) as f64;
        let by_workers = share(self.work, setup.workers);
        let by_jobs = share(self.sent, setup.jobs);
        by_workers.max(by_jobs).max(self.path as f64)
    }

    /// Returns whether a run with twice the workers is quicker by a twentieth.
    fn gains(&self, doubled: &Self) -> bool {
        doubled.ms * 100 < self.ms * 95
    }
}

/// Simulates a course with every number of workers, and checks all runs.
fn runs(course: &Course, setup: Setup, workers: &[usize]) -> Vec<(Setup, Run)> {
    let setups = workers.iter().map(|workers| Setup {
        workers: *workers,
        ..setup
    });
    let runs: Vec<_> = std::thread::scope(|scope| {
        let begin = |setup| (setup, scope.spawn(move || simulate(course, setup)));
        let all: Vec<_> = setups.map(begin).collect();
        let end = |(setup, run): (_, std::thread::ScopedJoinHandle<'_, Run>)| {
            (setup, run.join().unwrap())
        };
        all.into_iter().map(end).collect()
    });
    runs.iter().for_each(|(setup, run)| run.check(setup));
    runs
}

/// Prints a table.
#[allow(clippy::print_stdout)]
fn report(title: &str, course: &Course, runs: &[(Setup, Run)]) {
    let seconds = |ms: u64| ms as f64 / 1000.0;
    let (_, one) = &runs[0];
    println!(
        "\n{title}: {} jobs, {:.0} s, critical path {:.2} s",
        course.jobs.len(),
        seconds(one.work),
        seconds(one.path),
    );
    println!("| workers | s | speed-up | efficiency | idle | times the least |");
    println!("|---:|---:|---:|---:|---:|---:|");
    for (setup, run) in runs {
        let speed_up = one.ms as f64 / run.ms as f64;
        let makers = (setup.workers + setup.here) as f64;
        println!(
            "| {} | {:.1} | {speed_up:.1} | {:.0} % | {:.1} % | {:.3} |",
            setup.workers,
            seconds(run.ms),
            100.0 * one.work as f64 / (run.ms as f64 * makers),
            100.0 * (1.0 - run.work as f64 / (run.ms as f64 * makers)),
            run.ms as f64 / run.least(setup),
        );
    }
    let mut pairs = runs.windows(2);
    match pairs.find(|pair| !pair[0].1.gains(&pair[1].1)) {
        Some(pair) => println!("twice {} workers gain less than 5 %", pair[0].0.workers),
        None => println!("twice as many workers always gain 5 % or more"),
    }
}

#[test]
fn a_large_course_is_made_as_quickly_as_the_workers_allow() {
    let course = Course::recorded(TOPICS);
    let runs = runs(&course, FARM, &WORKERS);
    report("2000 topics", &course, &runs);
    for (setup, run) in &runs {
        assert!((run.ms as f64) < 1.05 * run.least(setup), "{setup:?}");
    }
    // Up to this number, every doubling of the workers gains nearly half of the time.
    for pair in runs.windows(2) {
        assert!(pair[1].1.ms * 100 < pair[0].1.ms * 55, "{:?}", pair[1].0);
    }
}

#[test]
fn farms_of_other_kinds_are_used_as_well_as_they_can_be() {
    let topics = std::env::var("CLM_SIMULATION_TOPICS").ok();
    let topics: Option<usize> = topics.map(|topics| topics.parse().unwrap());
    let course = Course::recorded(topics.unwrap_or(50));
    let longest = course.jobs.iter().map(|job| job.ms).max().unwrap();
    let longest = longest + course.starts.values().max().unwrap();
    let mut workers = WORKERS.to_vec();
    if topics.is_some() {
        workers.extend([512, 1024, 2048]);
    }
    for (title, setup) in [
        ("as usual", FARM),
        (
            "at most 64 actions there at once",
            Setup { jobs: 64, ..FARM },
        ),
        (
            "at most 4096 actions there at once",
            Setup { jobs: 4096, ..FARM },
        ),
        (
            "a round trip of 10 ms",
            Setup {
                round_trip: 10,
                ..FARM
            },
        ),
        (
            "a round trip of 300 ms",
            Setup {
                round_trip: 300,
                ..FARM
            },
        ),
        (
            "renderers start",
            Setup {
                is_cold: true,
                ..FARM
            },
        ),
        ("two jobs at once here", Setup { here: 2, ..FARM }),
        (
            "the durations are known",
            Setup {
                is_known: true,
                ..FARM
            },
        ),
    ] {
        let runs = runs(&course, setup, &workers);
        report(title, &course, &runs);
        for (before, after) in runs.iter().zip(&runs[1..]) {
            // More workers are hardly ever slower. Only where each has to start renderers it can be all four of them.
            let slower = longest * if setup.is_cold { 4 } else { 1 } + setup.round_trip;
            assert!(after.1.ms <= before.1.ms + slower, "{title}: {:?}", after.0);
        }
    }
}

prop_compose! {
    /// Generates courses in which every action waits for up to two others.
    fn courses()(jobs in prop::collection::vec(
        (prop::sample::select(ActionKind::OF_WORKERS.to_vec()), 0..3000_u64, any::<[prop::sample::Index; 2]>(), 0..3_usize),
        1..60,
    )) -> Course {
        let mut course = Course {
            starts: ActionKind::OF_WORKERS.map(|kind| (kind, 500)).into(),
            ..Course::default()
        };
        for (number, (kind, ms, after, count)) in jobs.into_iter().enumerate() {
            let count = if number == 0 { 0 } else { count };
            let mut after: Vec<_> = after.iter().take(count).map(|after| after.index(number.max(1))).collect();
            after.sort_unstable();
            after.dedup();
            course.add(kind, ms, &after);
        }
        course
    }
}

prop_compose! {
    fn setups()(
        workers in 1..20_usize, jobs in 1..40_usize, trip in 0..200_u64, here in 0..3_usize,
        is_cold in any::<bool>(), is_known in any::<bool>(),
    ) -> Setup {
        Setup { workers, jobs, round_trip: 2 * trip, here, is_cold, is_known }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_course_ends_within_its_bounds(course in courses(), setup in setups()) {
        simulate(&course, setup).check(&setup);
    }
}
