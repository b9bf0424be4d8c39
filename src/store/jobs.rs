//! The job queue: at most one active job for each action key over all processes, leased with a fencing token.
//!
//! `queued -> leased -> done | failed | superseded`; a job whose lease expires or whose owner is gone is queued again.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, params};

use crate::digest::Digest;
use crate::events::ActionKind;

use super::actions::{self, CachedResult};
use super::runs::worker_rows;
use super::{Owner, Result, Store, now_ms};

/// How often a job is attempted when its owners die.
const ATTEMPTS: u32 = 3;
/// The longest lease. A lease that ends later was given before the clock was set back, and would block its job by as
/// much.
const LONGEST_LEASE_MS: i64 = 10 * 60 * 1000;
/// How long ended jobs are kept, in milliseconds.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;
/// How many ended jobs are kept at most.
pub(super) const KEPT_JOBS: i64 = 10_000;

/// If at least one in this many ids of a range is requested, the range is read as a whole; otherwise each id is looked
/// up.
const DENSE: i64 = 4;

/// The id of a job.
pub type JobId = i64;

/// A job to be queued.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// The key of its action.
    pub key: Digest,
    /// The identity of its action.
    pub action: String,
    /// The kind of its action.
    pub kind: ActionKind,
}

/// The right to run a job until a certain time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// The fencing token: a lease with an older token is invalid.
    pub token: i64,
    /// The number of the attempt, starting at 1.
    pub attempt: u32,
}

/// How a lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// The result was recorded.
    Done,
    /// It failed and is not retried.
    Failed,
    /// The result is not needed any more.
    Superseded,
    /// It is to be retried; after the last attempt it has failed.
    Requeue {
        /// What went wrong.
        reason: String,
    },
}

/// Whether the end of a lease was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It was recorded.
    Recorded,
    /// The lease is no longer valid: the result must be discarded.
    Stale,
}

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It waits for a worker.
    Queued,
    /// A process runs it.
    Leased,
    /// Its result is in the cache.
    Done,
    /// It failed and is not retried.
    Failed,
    /// Its result was no longer needed.
    Superseded,
}

impl JobState {
    fn parse(text: &str) -> Self {
        match text {
            "queued" => Self::Queued,
            "leased" => Self::Leased,
            "done" => Self::Done,
            "failed" => Self::Failed,
            _ => Self::Superseded,
        }
    }
}

/// A result that is recorded in the transaction that ends its job.
pub(crate) type Recorded = (String, ActionKind, Digest, CachedResult);

impl Store {
    /// Queues jobs and returns their ids. A key that already has an active job, of any process, returns that job.
    pub fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<JobId>> {
        self.write(move |connection| {
            let mut insert = connection.prepare_cached(
                "INSERT INTO jobs (key, action, kind, state, queued_ms)
                 VALUES (?1, ?2, ?3, 'queued', ?4) ON CONFLICT DO NOTHING",
            )?;
            let mut find = connection
                .prepare_cached("SELECT id FROM jobs WHERE key = ?1 AND ended_ms IS NULL")?;
            let now = now_ms();
            jobs.iter()
                .map(|job| {
                    let key = job.key.to_string();
                    let inserted =
                        insert.execute(params![key, job.action, job.kind.name(), now])?;
                    if inserted == 1 {
                        return Ok(connection.last_insert_rowid());
                    }
                    Ok(find.query_row([key], |row| row.get(0))?)
                })
                .collect()
        })
    }

    /// Leases the first of these jobs, in their order, that is still queued.
    pub fn claim(&self, owner: &Owner, ids: &[JobId], lease_ms: u64) -> Result<Option<Lease>> {
        let (owner, ids) = (owner.clone(), ids.to_vec());
        self.write(move |connection| {
            let mut lease = connection.prepare_cached(
                "UPDATE jobs SET state = 'leased', token = token + 1, attempts = attempts + 1,
                     owner_pid = ?1, owner_started = ?2, owner_host = ?3, lease_until_ms = ?4
                 WHERE id = ?5 AND state = 'queued' RETURNING id, token, attempts",
            )?;
            let until_ms = now_ms() + lease_ms as i64;
            for id in ids {
                let owned = params![owner.pid, owner.started as i64, owner.host, until_ms, id];
                let leased = lease.query_row(owned, |row| {
                    Ok(Lease {
                        job: row.get(0)?,
                        token: row.get(1)?,
                        attempt: row.get(2)?,
                    })
                });
                if let Some(lease) = leased.optional()? {
                    return Ok(Some(lease));
                }
            }
            Ok(None)
        })
    }

    /// Extends a lease; returns false if it is no longer valid.
    pub fn renew(&self, lease: &Lease, lease_ms: u64) -> Result<bool> {
        let lease = lease.clone();
        self.write(move |connection| {
            let changed = connection
                .prepare_cached(
                    "UPDATE jobs SET lease_until_ms = ?3 WHERE id = ?1 AND token = ?2 AND state = 'leased'",
                )?
                .execute(params![lease.job, lease.token, now_ms() + lease_ms as i64])?;
            Ok(changed == 1)
        })
    }

    /// Ends a lease and records the result, in one transaction; a stale token changes nothing.
    pub fn finish(&self, lease: &Lease, end: JobEnd, result: Option<Recorded>) -> Result<Finish> {
        let lease = lease.clone();
        self.write(move |connection| {
            let (state, reason) = match &end {
                JobEnd::Done => ("done", ""),
                JobEnd::Failed => ("failed", ""),
                JobEnd::Superseded => ("superseded", ""),
                JobEnd::Requeue { reason } if lease.attempt < ATTEMPTS => {
                    ("queued", reason.as_str())
                }
                JobEnd::Requeue { reason } => ("failed", reason.as_str()),
            };
            let now = now_ms();
            let ended = (state != "queued").then_some(now);
            let changed = connection
                .prepare_cached(
                    "UPDATE jobs SET state = ?3, ended_ms = ?4, lease_until_ms = NULL,
                         story = story || iif(?5 = '', '', 'attempt ' || attempts || ': ' || ?5 || char(10))
                     WHERE id = ?1 AND token = ?2 AND state = 'leased'",
                )?
                .execute(params![lease.job, lease.token, state, ended, reason])?;
            if changed == 0 {
                return Ok(Finish::Stale);
            }
            if let Some((action, kind, key, result)) = &result {
                actions::record(connection, action, *kind, key, result)?;
            }
            Ok(Finish::Recorded)
        })
    }

    /// Cancels queued jobs whose results are not needed any more. Another process that waits for one queues it again.
    pub fn abandon(&self, ids: Vec<JobId>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        self.write(move |connection| {
            let mut statement = connection.prepare_cached(
                "UPDATE jobs SET state = 'superseded', ended_ms = ?2 WHERE id = ?1 AND state = 'queued'",
            )?;
            for id in ids {
                statement.execute(params![id, now_ms()])?;
            }
            Ok(())
        })
    }

    /// Returns the states of jobs; a job that was pruned counts as superseded.
    pub fn states(&self, ids: &[JobId]) -> Result<Vec<(JobId, JobState)>> {
        let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else {
            return Ok(Vec::new());
        };
        // The jobs of one run have ids close together: then reading the range is faster than looking up each one.
        let is_dense = (last - first) / DENSE <= ids.len() as i64;
        self.read(|connection| {
            let found = match is_dense {
                true => states_between(connection, *first, *last)?,
                false => states_of(connection, ids)?,
            };
            let state_of = |id: &JobId| {
                (
                    *id,
                    found.get(id).map_or(JobState::Superseded, |state| *state),
                )
            };
            Ok(ids.iter().map(state_of).collect())
        })
    }

    /// Returns how many jobs wait and how many run, in all processes. A job whose owner has ended, or whose lease has
    /// expired, counts as waiting.
    pub fn queue_length(&self) -> Result<(u64, u64)> {
        let (queued, leased) = self.read(|connection| {
            let queued: i64 = connection
                .prepare_cached(
                    "SELECT count(*) FROM jobs WHERE ended_ms IS NULL AND state = 'queued'",
                )?
                .query_row([], |row| row.get(0))?;
            Ok((queued.cast_unsigned(), leased(connection)?))
        })?;
        let now = now_ms();
        let is_run = |(_, owner, until): &&(Lease, Owner, i64)| !owner.is_gone() && *until >= now;
        let running = leased.iter().filter(is_run).count();
        Ok((queued + (leased.len() - running) as u64, running as u64))
    }

    /// Returns the notes about the failed attempts of a job.
    pub fn story(&self, id: JobId) -> Result<String> {
        self.read(|connection| {
            Ok(connection
                .query_row("SELECT story FROM jobs WHERE id = ?1", [id], |row| {
                    row.get(0)
                })
                .optional()?
                .unwrap_or_default())
        })
    }

    /// Queues jobs again whose lease expired or whose owner is gone; after the last attempt they fail. Also forgets
    /// workers of processes that are gone. Returns how many jobs were queued again or ended.
    pub fn recover(&self) -> Result<usize> {
        let lost = self.lost(now_ms(), Owner::is_gone)?;
        let owners: HashSet<Owner> = self
            .read(worker_rows)?
            .into_iter()
            .map(|worker| worker.owner)
            .collect();
        let gone: Vec<Owner> = owners.into_iter().filter(Owner::is_gone).collect();
        if !gone.is_empty() {
            self.write(move |connection| {
                for owner in &gone {
                    super::runs::forget_workers(connection, owner)?;
                }
                Ok(())
            })?;
        }
        self.take_back(lost)
    }

    /// Returns the leases that are invalid at the time `now`.
    pub(super) fn lost(&self, now: i64, is_gone: impl Fn(&Owner) -> bool) -> Result<Vec<Lost>> {
        let leased: Vec<(Lease, Owner, i64)> = self.read(leased)?;
        let lost = leased.into_iter().filter_map(|(lease, owner, until)| {
            let reason = if is_gone(&owner) {
                format!("process {} ended", owner.pid)
            } else if until < now {
                format!("process {} gave no sign of life", owner.pid)
            } else if until > now + LONGEST_LEASE_MS {
                "the clock was set back".to_owned()
            } else {
                return None;
            };
            Some(Lost {
                lease,
                until,
                reason,
            })
        });
        Ok(lost.collect())
    }

    /// Queues lost jobs again, or ends them after the last attempt. Returns how many there were.
    pub(super) fn take_back(&self, lost: Vec<Lost>) -> Result<usize> {
        if lost.is_empty() {
            return Ok(0);
        }
        self.write(move |connection| {
            let mut statement = connection.prepare_cached(
                "UPDATE jobs SET token = token + 1, lease_until_ms = NULL,
                     state = iif(attempts < ?3, 'queued', 'failed'),
                     ended_ms = iif(attempts < ?3, NULL, ?4),
                     story = story || 'attempt ' || attempts || ': ' || ?5 || char(10)
                 WHERE id = ?1 AND token = ?2 AND state = 'leased' AND lease_until_ms = ?6",
            )?;
            let now = now_ms();
            let mut count = 0;
            for lost in &lost {
                // A lease that was renewed since the query is not lost.
                count += statement.execute(params![
                    lost.lease.job,
                    lost.lease.token,
                    ATTEMPTS,
                    now,
                    lost.reason,
                    lost.until
                ])?;
            }
            Ok(count)
        })
    }
}

/// A lease that is not valid any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lost {
    lease: Lease,
    until: i64,
    reason: String,
}

fn states_between(
    connection: &Connection,
    first: JobId,
    last: JobId,
) -> Result<HashMap<JobId, JobState>> {
    let mut statement =
        connection.prepare_cached("SELECT id, state FROM jobs WHERE id BETWEEN ?1 AND ?2")?;
    let rows = statement.query_map([first, last], id_and_state)?;
    Ok(rows.collect::<Result<_, rusqlite::Error>>()?)
}

fn states_of(connection: &Connection, ids: &[JobId]) -> Result<HashMap<JobId, JobState>> {
    // In one transaction: beginning one for each look-up takes longer than the look-up.
    let transaction = connection.unchecked_transaction()?;
    let mut statement = transaction.prepare_cached("SELECT id, state FROM jobs WHERE id = ?1")?;
    let mut found = HashMap::with_capacity(ids.len());
    for id in ids {
        found.extend(statement.query_row([id], id_and_state).optional()?);
    }
    Ok(found)
}

fn id_and_state(row: &rusqlite::Row<'_>) -> rusqlite::Result<(JobId, JobState)> {
    let state = row
        .get_ref(1)?
        .as_str()
        .map_or(JobState::Superseded, JobState::parse);
    Ok((row.get(0)?, state))
}

/// Returns all leased jobs: the lease, its owner and its end.
fn leased(connection: &Connection) -> Result<Vec<(Lease, Owner, i64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, token, attempts, owner_pid, owner_started, owner_host, lease_until_ms
         FROM jobs WHERE ended_ms IS NULL AND state = 'leased'",
    )?;
    let rows = statement.query_map([], |row| {
        let lease = Lease {
            job: row.get(0)?,
            token: row.get(1)?,
            attempt: row.get(2)?,
        };
        let owner = Owner {
            pid: row.get(3)?,
            started: row.get::<_, i64>(4)? as u64,
            host: row.get(5)?,
        };
        Ok((lease, owner, row.get(6)?))
    })?;
    Ok(rows.collect::<Result<_, rusqlite::Error>>()?)
}

/// Removes ended jobs that are old or exceed the limit, and those that have waited for a week: a process that still
/// needs the result queues a new one.
pub(super) fn prune(connection: &Connection, now: i64, kept: i64) -> Result<()> {
    connection.execute(
        "DELETE FROM jobs WHERE ended_ms < ?1 OR id IN (
             SELECT id FROM jobs WHERE ended_ms IS NOT NULL
             ORDER BY ended_ms DESC, id DESC LIMIT -1 OFFSET ?2)",
        [now - KEPT_MS, kept],
    )?;
    connection.execute(
        "DELETE FROM jobs WHERE state = 'queued' AND queued_ms < ?1",
        [now - 7 * KEPT_MS],
    )?;
    Ok(())
}
