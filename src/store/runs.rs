//! Records of runs and workers, for commands that report what happened.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Row, params};
use serde::Serialize;

use crate::events::{ActionKind, CacheUse, Counts};

use super::{Owner, Result, Store, from_json, jobs, now_ms, place, to_json};

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It is in progress.
    Running,
    /// It ended.
    Ended,
    /// Its process ended before the run did.
    Interrupted,
}

/// The record of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Its id.
    pub id: i64,
    /// What caused it.
    pub trigger: String,
    /// Its state.
    pub state: RunState,
    /// The start, in milliseconds since 1970.
    pub started_ms: i64,
    /// The counts of its actions; `None` until it has ended.
    pub counts: Option<Counts>,
    /// Its duration, in milliseconds; `None` until it has ended.
    pub duration_ms: Option<u64>,
    /// The first output it made, and why.
    pub reason: Option<String>,
    /// How it used the caches; `None` if it did not.
    pub cache: Option<CacheUse>,
}

/// The state of a worker of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerNote {
    /// The kind of actions it runs.
    pub kind: ActionKind,
    /// Its number among the workers of its kind in this process.
    pub number: usize,
    /// Its process id.
    pub pid: u32,
    /// `started`, `busy` or `idle`.
    pub state: &'static str,
    /// Its current work; `None` if it is idle.
    pub doing: Option<Doing>,
}

/// The current work of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doing {
    /// The file the author edits.
    pub source: String,
    /// The step, such as `cell 3`; empty when there is only one.
    pub label: String,
    /// Steps done.
    pub done: u64,
    /// The number of steps; 0 if unknown.
    pub total: u64,
}

/// A worker of a living process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRecord {
    /// Its process id.
    pub pid: u32,
    /// The clm process it belongs to.
    pub owner: Owner,
    /// The kind of actions it runs.
    pub kind: String,
    /// `started`, `busy` or `idle`.
    pub state: String,
    /// Its current work; `None` if it is idle.
    pub doing: Option<Doing>,
    /// When it began that work or became idle, in milliseconds since 1970.
    pub since_ms: i64,
}

impl Store {
    /// Records that a run of this process begins, and returns its id.
    pub fn begin_run(&self, trigger: &str) -> Result<i64> {
        let trigger = trigger.to_owned();
        let owner = Owner::current();
        self.write(move |connection| {
            connection.execute(
                "INSERT INTO runs (trigger, started_ms, owner_pid, owner_started, owner_host)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    trigger,
                    now_ms(),
                    owner.pid,
                    owner.started as i64,
                    owner.host
                ],
            )?;
            Ok(connection.last_insert_rowid())
        })
    }

    /// Records the outcome of a run and the first output that it made with its reason, and prunes old runs and jobs.
    pub fn finish_run(
        &self,
        run: i64,
        counts: &Counts,
        duration_ms: u64,
        reason: Option<String>,
    ) -> Result<()> {
        let counts = to_json(counts)?;
        self.write(move |connection| {
            connection.execute(
                "UPDATE runs SET ended_ms = ?2, counts = ?3, duration_ms = ?4, reason = ?5 WHERE id = ?1",
                params![run, now_ms(), counts, duration_ms as i64, reason],
            )?;
            prune(connection)?;
            jobs::prune(connection, now_ms(), jobs::KEPT_JOBS)
        })
    }

    /// Records how a run used the caches.
    pub fn note_cache_use(&self, run: i64, cache: &CacheUse) -> Result<()> {
        let cache = to_json(cache)?;
        self.write(move |connection| {
            let update = "UPDATE runs SET cache = ?2 WHERE id = ?1";
            connection.execute(update, params![run, cache])?;
            Ok(())
        })
    }

    /// Returns the most recent runs, newest first.
    pub fn recent_runs(&self, limit: u32) -> Result<Vec<RunRecord>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, trigger, started_ms, counts, duration_ms, reason, ended_ms,
                     owner_pid, owner_started, owner_host, cache
                 FROM runs ORDER BY id DESC LIMIT ?1",
            )?;
            let mut rows = statement.query([limit])?;
            let mut runs = Vec::new();
            // A process does one run at a time: if it began a later one, this one was interrupted.
            let mut later: HashSet<Owner> = HashSet::new();
            while let Some(row) = rows.next()? {
                let counts: Option<String> = row.get(3)?;
                let cache: Option<String> = row.get(10)?;
                let owner = match row.get::<_, Option<u32>>(7)? {
                    Some(pid) => Some(Owner {
                        pid,
                        started: row.get::<_, i64>(8)? as u64,
                        host: row.get(9)?,
                    }),
                    None => None,
                };
                let has_ended = row.get::<_, Option<i64>>(6)?.is_some();
                let goes_on = |owner: &Owner| !owner.is_gone() && !later.contains(owner);
                let state = match has_ended {
                    true => RunState::Ended,
                    false if owner.as_ref().is_some_and(goes_on) => RunState::Running,
                    false => RunState::Interrupted,
                };
                later.extend(owner);
                runs.push(RunRecord {
                    id: row.get(0)?,
                    trigger: row.get(1)?,
                    state,
                    started_ms: row.get(2)?,
                    counts: counts.map(|counts| from_json(&counts)).transpose()?,
                    duration_ms: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
                    reason: row.get(5)?,
                    cache: cache.map(|cache| from_json(&cache)).transpose()?,
                });
            }
            Ok(runs)
        })
    }

    /// Records the state of a worker of this process, without waiting.
    pub fn note_worker(&self, note: WorkerNote) {
        let owner = Owner::current();
        self.write_later(move |connection| {
            let doing = note.doing.as_ref();
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO workers (owner_pid, owner_started, owner_host, kind, number, pid, state,
                         source, label, done, total, since_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                )?
                .execute(params![
                    owner.pid,
                    owner.started as i64,
                    owner.host,
                    note.kind.name(),
                    note.number as i64,
                    note.pid,
                    note.state,
                    doing.map(|doing| &doing.source),
                    doing.map_or("", |doing| &doing.label),
                    doing.map_or(0, |doing| doing.done) as i64,
                    doing.map_or(0, |doing| doing.total) as i64,
                    now_ms()
                ])?;
            Ok(())
        });
    }

    /// Removes the record of a worker of this process that has ended, without waiting.
    pub fn forget_worker(&self, kind: ActionKind, number: usize) {
        let owner = Owner::current();
        self.write_later(move |connection| {
            connection
                .prepare_cached(
                    "DELETE FROM workers WHERE owner_pid = ?1 AND owner_started = ?2 AND owner_host = ?3
                         AND kind = ?4 AND number = ?5",
                )?
                .execute(params![
                    owner.pid,
                    owner.started as i64,
                    owner.host,
                    kind.name(),
                    number as i64
                ])?;
            Ok(())
        });
    }

    /// Returns the living workers of all living processes.
    pub fn workers(&self) -> Result<Vec<WorkerRecord>> {
        let now = now_ms();
        let workers = self.read(worker_rows)?;
        Ok(workers
            .into_iter()
            .filter(|worker| worker.is_alive(now))
            .collect())
    }
}

impl WorkerRecord {
    /// Returns whether it may be alive. Processes of another machine cannot be checked, but their workers report their
    /// state from time to time.
    fn is_alive(&self, now_ms: i64) -> bool {
        if self.owner.is_gone() {
            return false;
        }
        match self.owner.is_here() {
            true => is_there(self.pid),
            false => now_ms - self.since_ms < SILENT_MS,
        }
    }
}

/// How long a worker on another machine may report nothing before it is regarded as dead.
const SILENT_MS: i64 = 15 * 60 * 1000;

/// Returns whether a process with this id exists on this machine.
fn is_there(pid: u32) -> bool {
    use nix::errno::Errno;
    let pid = i32::try_from(pid).map(nix::unistd::Pid::from_raw);
    pid.is_ok_and(|pid| nix::sys::signal::kill(pid, None) != Err(Errno::ESRCH))
}

/// Returns all recorded workers.
pub(super) fn worker_rows(connection: &Connection) -> Result<Vec<WorkerRecord>> {
    let mut statement = connection.prepare_cached(
        "SELECT pid, owner_pid, owner_started, owner_host, kind, state, source, label, done, total, since_ms
         FROM workers ORDER BY owner_pid, kind, number",
    )?;
    let rows = statement.query_map([], |row| {
        let source: Option<String> = row.get(6)?;
        let doing = match source {
            Some(source) => Some(Doing {
                source,
                label: row.get(7)?,
                done: row.get::<_, i64>(8)?.cast_unsigned(),
                total: row.get::<_, i64>(9)?.cast_unsigned(),
            }),
            None => None,
        };
        Ok(WorkerRecord {
            pid: row.get(0)?,
            owner: read_owner(row, 1)?,
            kind: row.get(4)?,
            state: row.get(5)?,
            doing,
            since_ms: row.get(10)?,
        })
    })?;
    Ok(rows.collect::<Result<_, rusqlite::Error>>()?)
}

/// How many records of runs are kept.
const KEPT_RUNS: i64 = 200;

/// Removes all but the most recent records of runs.
pub(super) fn prune(connection: &Connection) -> Result<()> {
    connection.execute(
        "DELETE FROM runs WHERE id <= (SELECT max(id) FROM runs) - ?1",
        [KEPT_RUNS],
    )?;
    Ok(())
}

/// Reads an owner from three columns of a row, starting at `first`.
pub(super) fn read_owner(row: &Row<'_>, first: usize) -> Result<Owner, rusqlite::Error> {
    Ok(Owner {
        pid: row.get(first)?,
        started: row.get::<_, i64>(first + 1)?.cast_unsigned(),
        host: row.get(first + 2)?,
    })
}

/// Removes the workers of a process that is gone.
pub(super) fn forget_workers(connection: &Connection, owner: &Owner) -> Result<()> {
    connection.execute(
        "DELETE FROM workers WHERE owner_pid = ?1 AND owner_started = ?2 AND owner_host = ?3",
        params![owner.pid, owner.started.cast_signed(), owner.host],
    )?;
    Ok(())
}

/// Records a run that had nothing to do, in the database of a state directory that no store of this process has open.
/// Returns its id.
pub(crate) fn record_idle_run(
    dir: &Path,
    trigger: &str,
    counts: &Counts,
    duration: Duration,
) -> Result<i64> {
    let database = place::place_of_database(dir, &mut Vec::new())?;
    let connection = Connection::open_with_flags(
        database,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::from_secs(30))?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // Closing the last connection would run a checkpoint, which waits for the disk; the next real run does that anyway.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let ended_ms = now_ms();
    let duration_ms = duration.as_millis() as i64;
    connection.execute(
        "INSERT INTO runs (trigger, started_ms, ended_ms, counts, duration_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![trigger, ended_ms - duration_ms, ended_ms, to_json(counts)?, duration_ms],
    )?;
    let run = connection.last_insert_rowid();
    if run % KEPT_RUNS == 0 {
        prune(&connection)?;
    }
    Ok(run)
}
