//! Taking part through clm's store.

use std::path::Path;
use std::time::{Duration, Instant};

use clm::testing::digest::Digest;
use clm::testing::events::ActionKind;
use clm::testing::store::{Finish, JobEnd, JobId, JobState, Lease, NewJob, Owner, Store};

use crate::contest::Participant;

const LEASE_MS: u64 = 60_000;
/// How often a build looks what others did meanwhile.
const LOOK: Duration = Duration::from_millis(40);
/// At how many of its jobs; those behind them are looked at when these are done.
const LOOKED_AT: usize = 64;

/// A thread with the store of its process, the jobs that it wants, and the one that it took last.
pub struct Stored {
    store: Store,
    owner: Owner,
    wanted: Vec<JobId>,
    lease: Option<Lease>,
    looked: Instant,
}

fn job(key: &str) -> NewJob {
    NewJob {
        key: Digest::of(key),
        action: key.to_owned(),
        kind: ActionKind::Plantuml,
    }
}

/// The jobs that wait at the start. Whoever wants them queues them again, and gets the same ones.
fn first_jobs(waiting: usize) -> Vec<NewJob> {
    (0..waiting)
        .map(|number| job(&number.to_string()))
        .collect()
}

/// Makes the store with some jobs.
pub fn prepare(dir: &Path, waiting: usize) {
    let store = Store::open(dir).unwrap().0;
    store.enqueue(first_jobs(waiting)).unwrap();
    std::fs::write(dir.join("waiting"), waiting.to_string()).unwrap();
}

impl Stored {
    /// Opens the store for the threads of a process. All want all jobs, as builds of one course do; of a short queue
    /// every participant wants its share, and then what it added itself.
    pub fn open(dir: &Path, threads: usize, share: Option<(usize, usize)>) -> Vec<Self> {
        let waiting = std::fs::read_to_string(dir.join("waiting")).unwrap();
        let store = Store::open(dir).unwrap().0;
        let ids = store.enqueue(first_jobs(waiting.parse().unwrap())).unwrap();
        (0..threads)
            .map(|thread| {
                let is_ours = |at: usize| {
                    share.is_none_or(|(number, processes)| {
                        at % (processes * threads) == number * threads + thread
                    })
                };
                Self {
                    store: store.clone(),
                    owner: Owner::current(),
                    wanted: (0..ids.len())
                        .filter(|at| is_ours(*at))
                        .map(|at| ids[at])
                        .collect(),
                    lease: None,
                    looked: Instant::now(),
                }
            })
            .collect()
    }

    /// Forgets jobs that others took.
    fn look_at_others(&mut self) -> Result<(), String> {
        if self.looked.elapsed() >= LOOK {
            let front = &self.wanted[..LOOKED_AT.min(self.wanted.len())];
            let states = self
                .store
                .states(front)
                .map_err(|error| error.to_string())?;
            let over: Vec<JobId> = states
                .into_iter()
                .filter(|(_, state)| *state != JobState::Queued)
                .map(|(id, _)| id)
                .collect();
            self.wanted.retain(|id| !over.contains(id));
            self.looked = Instant::now();
        }
        Ok(())
    }
}

impl Participant for Stored {
    fn claim(&mut self) -> Result<Option<i64>, String> {
        self.look_at_others()?;
        let lease = self
            .store
            .claim(&self.owner, &self.wanted, LEASE_MS)
            .map_err(|error| error.to_string())?;
        self.lease = lease.clone();
        Ok(lease.map(|lease| {
            self.wanted.retain(|id| *id != lease.job);
            lease.job
        }))
    }

    fn finish(&mut self) -> Result<(), String> {
        let lease = self.lease.take().ok_or("nothing was taken")?;
        match self.store.finish(&lease, JobEnd::Done, None) {
            Ok(Finish::Recorded) => Ok(()),
            Ok(Finish::Stale) => Err("somebody else had the job".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn add(&mut self, key: &str) -> Result<(), String> {
        let ids = self
            .store
            .enqueue(vec![job(key)])
            .map_err(|error| error.to_string())?;
        self.wanted.extend(ids);
        Ok(())
    }
}
