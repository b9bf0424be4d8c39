//! Runs and workers, for people who ask what happened.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Row, params};

use crate::events::{ActionKind, Counts};

use super::{Owner, Result, Store, from_json, jobs, now_ms, place, to_json};

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Its number.
    pub id: i64,
    /// What caused it.
    pub trigger: String,
    /// When it began, in milliseconds since 1970.
    pub started_ms: i64,
    /// How it went; none while it runs, or when it was killed.
    pub counts: Option<Counts>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// The first thing that it made, and why.
    pub reason: Option<String>,
}

/// A worker process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRecord {
    /// Its process.
    pub pid: u32,
    /// The clm process it belongs to.
    pub owner_pid: u32,
    /// The same with its machine and start.
    pub owner: Owner,
    /// What it does.
    pub kind: String,
    /// `started`, `busy` or `idle`.
    pub state: String,
}

impl Store {
    /// Records that a run begins; gives its number.
    pub fn begin_run(&self, trigger: &str) -> Result<i64> {
        let trigger = trigger.to_owned();
        self.write(move |connection| {
            connection.execute(
                "INSERT INTO runs (trigger, started_ms) VALUES (?1, ?2)",
                params![trigger, now_ms()],
            )?;
            Ok(connection.last_insert_rowid())
        })
    }

    /// Records how a run went, and the first thing that it made with its reason; old runs and jobs are forgotten.
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

    /// The last runs, newest first.
    pub fn recent_runs(&self, limit: u32) -> Result<Vec<RunRecord>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, trigger, started_ms, counts, duration_ms, reason
                 FROM runs ORDER BY id DESC LIMIT ?1",
            )?;
            let mut rows = statement.query([limit])?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next()? {
                let counts: Option<String> = row.get(3)?;
                runs.push(RunRecord {
                    id: row.get(0)?,
                    trigger: row.get(1)?,
                    started_ms: row.get(2)?,
                    counts: counts.map(|counts| from_json(&counts)).transpose()?,
                    duration_ms: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
                    reason: row.get(5)?,
                });
            }
            Ok(runs)
        })
    }

    /// Records what a worker of this process does; `stopped` forgets it.
    pub fn note_worker(&self, kind: ActionKind, pid: u32, state: &str) -> Result<()> {
        let (kind, state) = (kind.name(), state.to_owned());
        let owner = Owner::current();
        self.write(move |connection| {
            if state == "stopped" {
                connection.execute(
                    "DELETE FROM workers WHERE pid = ?1 AND owner_pid = ?2",
                    [pid, owner.pid],
                )?;
            } else {
                connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO workers
                             (pid, owner_pid, owner_started, owner_host, kind, state, heartbeat_ms)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    )?
                    .execute(params![
                        pid,
                        owner.pid,
                        owner.started.cast_signed(),
                        owner.host,
                        kind,
                        state,
                        now_ms()
                    ])?;
            }
            Ok(())
        })
    }

    /// The workers of all processes.
    pub fn workers(&self) -> Result<Vec<WorkerRecord>> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT pid, kind, state, owner_pid, owner_started, owner_host FROM workers ORDER BY pid")?;
            let rows = statement.query_map([], |row| {
                let owner = read_owner(row, 3)?;
                Ok(WorkerRecord {
                    pid: row.get(0)?,
                    owner_pid: owner.pid,
                    owner,
                    kind: row.get(1)?,
                    state: row.get(2)?,
                })
            })?;
            Ok(rows.collect::<Result<_, rusqlite::Error>>()?)
        })
    }
}

/// How many records of runs are kept.
const KEPT_RUNS: i64 = 1000;

/// Removes records of runs but for the last ones.
pub(super) fn prune(connection: &Connection) -> Result<()> {
    connection.execute(
        "DELETE FROM runs WHERE id <= (SELECT max(id) FROM runs) - ?1",
        [KEPT_RUNS],
    )?;
    Ok(())
}

/// Reads an owner from three columns of a row, from `first` on.
pub(super) fn read_owner(row: &Row<'_>, first: usize) -> Result<Owner, rusqlite::Error> {
    Ok(Owner {
        pid: row.get(first)?,
        started: row.get::<_, i64>(first + 1)?.cast_unsigned(),
        host: row.get(first + 2)?,
    })
}

/// Forgets the workers of a process that is gone.
pub(super) fn forget_workers(connection: &Connection, owner: &Owner) -> Result<()> {
    connection.execute(
        "DELETE FROM workers WHERE owner_pid = ?1 AND owner_started = ?2 AND owner_host = ?3",
        params![owner.pid, owner.started.cast_signed(), owner.host],
    )?;
    Ok(())
}

/// Records a run that had nothing to do, in the database of a state directory that no store has open. Gives its number.
pub fn record_idle_run(
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
    // The last one that closes would wait for the disk; the next real run moves the log into the database anyway.
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
