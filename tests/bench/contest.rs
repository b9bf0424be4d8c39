//! A contest of processes for the jobs of one queue: how it is held, and how a process takes part.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{bare, stored};

/// The first argument of a process that takes part.
pub const CHILD: &str = "take-part";

/// Which queue is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Queue {
    /// SQLite alone, with the same transactions.
    Bare,
    /// `clm::store`.
    Store,
}

/// What is measured.
pub struct Contest {
    pub queue: Queue,
    pub processes: usize,
    /// Threads of a process; more than one for the store only.
    pub threads: usize,
    /// How many jobs wait at the start. A short queue stays as long as it is, because every finished job adds one.
    pub waiting: usize,
    pub time: Duration,
}

/// Above this many jobs a queue is worked off, and nothing is added.
const SHORT: usize = 1000;

/// A participant's hold on the queue.
pub trait Participant: Send {
    /// Takes a job; `None` when none waits.
    fn claim(&mut self) -> Result<Option<i64>, String>;
    /// Ends the job that was taken last.
    fn finish(&mut self) -> Result<(), String>;
    /// Adds a job, with a key that nobody else uses.
    fn add(&mut self, key: &str) -> Result<(), String>;
}

/// What a participant did.
#[derive(Default, Serialize, Deserialize)]
struct Record {
    jobs: Vec<i64>,
    claims_us: Vec<u32>,
    errors: Vec<String>,
    seconds: f64,
}

impl Contest {
    /// Holds it; gives a line of JSON.
    pub fn hold(&self) -> serde_json::Value {
        let dir = tempfile::tempdir().unwrap();
        match self.queue {
            Queue::Bare => bare::prepare(dir.path(), self.waiting),
            Queue::Store => stored::prepare(dir.path(), self.waiting),
        }
        let mut children: Vec<Child> = (0..self.processes)
            .map(|number| self.start(dir.path(), number))
            .collect();
        let mut outputs: Vec<_> = children
            .iter_mut()
            .map(|child| BufReader::new(child.stdout.take().unwrap()).lines())
            .collect();
        for output in &mut outputs {
            assert_eq!(output.next().unwrap().unwrap(), "ready");
        }
        for child in &mut children {
            child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        }
        let records: Vec<Record> = outputs
            .iter_mut()
            .flat_map(|output| {
                let line = output.next().unwrap().unwrap();
                serde_json::from_str::<Vec<Record>>(&line).unwrap()
            })
            .collect();
        for child in &mut children {
            assert!(child.wait().unwrap().success());
        }
        self.sum_up(&records)
    }

    fn start(&self, dir: &Path, number: usize) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args([
                CHILD,
                if self.queue == Queue::Bare {
                    "bare"
                } else {
                    "store"
                },
            ])
            .arg(dir)
            .args([
                number.to_string(),
                self.processes.to_string(),
                self.threads.to_string(),
                (self.waiting <= SHORT).to_string(),
                self.time.as_secs_f64().to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn sum_up(&self, records: &[Record]) -> serde_json::Value {
        let jobs: usize = records.iter().map(|record| record.jobs.len()).sum();
        let distinct: HashSet<i64> = records
            .iter()
            .flat_map(|record| &record.jobs)
            .copied()
            .collect();
        // A deep queue may be worked off before the time is over: the slowest tells how long it took.
        let seconds = records
            .iter()
            .map(|record| record.seconds)
            .fold(0.0, f64::max);
        let mut claims: Vec<u32> = records
            .iter()
            .flat_map(|record| &record.claims_us)
            .copied()
            .collect();
        claims.sort_unstable();
        let claim_ms = |part: f64| {
            let at = ((claims.len() as f64 * part) as usize).min(claims.len().saturating_sub(1));
            claims.get(at).map_or(0.0, |us| f64::from(*us) / 1000.0)
        };
        let share = |record: &Record| record.jobs.len();
        serde_json::json!({
            "queue": self.queue,
            "processes": self.processes,
            "threads": self.threads,
            "waiting": self.waiting,
            "jobs": jobs,
            "seconds": seconds,
            "jobs_per_s": (jobs as f64 / seconds).round(),
            "claim_ms": { "p50": claim_ms(0.5), "p99": claim_ms(0.99), "max": claim_ms(1.0) },
            "least": records.iter().map(share).min(),
            "most": records.iter().map(share).max(),
            "twice": jobs - distinct.len(),
            "errors": records.iter().map(|record| record.errors.len()).sum::<usize>(),
            "an_error": records.iter().flat_map(|record| &record.errors).next(),
        })
    }
}

/// What a process of a contest does: opens the queue, waits for the start, works until the time is over, tells.
pub fn take_part(words: &[String]) {
    let [queue, dir, number, processes, threads, is_short, seconds] = words else {
        panic!("{words:?}");
    };
    let dir = PathBuf::from(dir);
    let is_short = is_short == "true";
    let share = is_short.then(|| (number.parse().unwrap(), processes.parse().unwrap()));
    let mut participants: Vec<Box<dyn Participant>> = match queue.as_str() {
        "bare" => vec![Box::new(bare::Bare::open(&dir))],
        _ => stored::Stored::open(&dir, threads.parse().unwrap(), share)
            .into_iter()
            .map(|one| Box::new(one) as Box<dyn Participant>)
            .collect(),
    };
    println!("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let time = Duration::from_secs_f64(seconds.parse().unwrap());
    let records: Vec<Record> = std::thread::scope(|scope| {
        let running: Vec<_> = participants
            .iter_mut()
            .enumerate()
            .map(|(thread, one)| {
                let name = format!("{number}-{thread}");
                scope.spawn(move || work(one.as_mut(), &name, is_short, time))
            })
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    println!("{}", serde_json::to_string(&records).unwrap());
}

fn work(one: &mut dyn Participant, name: &str, is_short: bool, time: Duration) -> Record {
    let mut record = Record::default();
    let started = Instant::now();
    while started.elapsed() < time {
        let asked = Instant::now();
        match one.claim() {
            Ok(Some(job)) => {
                record.claims_us.push(asked.elapsed().as_micros() as u32);
                record.jobs.push(job);
                let mut end = one.finish();
                if is_short {
                    let key = format!("{name}-{}", record.jobs.len());
                    end = end.and_then(|()| one.add(&key));
                }
                record.errors.extend(end.err());
            }
            Ok(None) if is_short => std::thread::yield_now(),
            Ok(None) => break,
            Err(error) => record.errors.push(error),
        }
    }
    record.seconds = started.elapsed().as_secs_f64();
    record
}
