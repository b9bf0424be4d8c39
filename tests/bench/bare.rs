//! The same transactions on SQLite alone: one connection, prepared statements, SQLite's own waiting for its lock.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use clm::testing::digest::Digest;
use clm::testing::store::Owner;

use crate::contest::Participant;

const TABLES: &str = "
PRAGMA journal_mode = WAL;
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, action TEXT NOT NULL, kind TEXT NOT NULL,
    state TEXT NOT NULL, priority INTEGER NOT NULL, expected_ms INTEGER NOT NULL, token INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, owner_pid INTEGER, owner_started INTEGER, owner_host TEXT,
    lease_until_ms INTEGER, story TEXT NOT NULL DEFAULT '', queued_ms INTEGER NOT NULL, ended_ms INTEGER
);
CREATE UNIQUE INDEX active ON jobs (key) WHERE ended_ms IS NULL;
CREATE INDEX ended ON jobs (ended_ms) WHERE ended_ms IS NOT NULL;
CREATE INDEX waiting ON jobs (priority DESC, expected_ms DESC, id) WHERE state = 'queued';
";

/// A connection, and the job that was taken last.
pub struct Bare {
    connection: Connection,
    owner: Owner,
    job: i64,
}

/// Makes the database with some jobs.
pub fn prepare(dir: &Path, waiting: usize) {
    let one = Bare::new(dir);
    one.connection.execute_batch(TABLES).unwrap();
    one.connection.execute_batch("BEGIN").unwrap();
    for number in 0..waiting {
        one.insert(&format!("{number}"), number as i64 % 50)
            .unwrap();
    }
    one.connection.execute_batch("COMMIT").unwrap();
}

impl Bare {
    /// Opens the database.
    pub fn open(dir: &Path) -> Self {
        Self::new(dir)
    }

    fn new(dir: &Path) -> Self {
        let connection = Connection::open(dir.join("bare.db")).unwrap();
        connection.busy_timeout(Duration::from_secs(30)).unwrap();
        connection
            .pragma_update(None, "synchronous", "NORMAL")
            .unwrap();
        Self {
            connection,
            owner: Owner::current(),
            job: 0,
        }
    }

    fn insert(&self, key: &str, expected: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO jobs (key, action, kind, state, priority, expected_ms, queued_ms)
                 VALUES (?1, ?2, 'plantuml', 'queued', 0, ?3, 1800000000000)",
            )?
            .execute(params![Digest::of(key).to_string(), key, expected])
            .map(|_| ())
    }
}

impl Participant for Bare {
    fn claim(&mut self) -> Result<Option<i64>, String> {
        let claimed = self
            .connection
            .prepare_cached(
                "UPDATE jobs SET state = 'leased', token = token + 1, attempts = attempts + 1, owner_pid = ?1,
                     owner_started = ?2, owner_host = ?3, lease_until_ms = 1800000060000
                 WHERE id = (SELECT id FROM jobs WHERE state = 'queued'
                     ORDER BY priority DESC, expected_ms DESC, id LIMIT 1)
                 RETURNING id",
            )
            .and_then(|mut statement| {
                statement
                    .query_row(
                        params![self.owner.pid, self.owner.started as i64, self.owner.host],
                        |row| row.get(0),
                    )
                    .optional()
            })
            .map_err(|error| error.to_string())?;
        self.job = claimed.unwrap_or(0);
        Ok(claimed)
    }

    fn finish(&mut self) -> Result<(), String> {
        self.connection
            .prepare_cached(
                "UPDATE jobs SET state = 'done', ended_ms = ?2, lease_until_ms = NULL, story = story || ''
                 WHERE id = ?1 AND state = 'leased'",
            )
            .and_then(|mut statement| statement.execute([self.job, 1_800_000_000_000]))
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    fn add(&mut self, key: &str) -> Result<(), String> {
        self.insert(key, 25).map_err(|error| error.to_string())
    }
}
