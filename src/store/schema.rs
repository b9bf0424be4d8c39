//! The tables and their versions, opening the database, and handling a damaged one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::diagnostic::Diagnostic;
use crate::digest::{Digest, Stamp};
use crate::files;
use crate::private;

use super::{Result, StoreError};

/// The version of the tables below.
pub(super) const VERSION: i64 = 11;

/// Added by version 2.
const CHECKSUMS: &str = "
CREATE TABLE checksums (digest TEXT PRIMARY KEY, sha256 TEXT NOT NULL) WITHOUT ROWID;
";

/// Added by version 3.
const REASONS: &str = "
ALTER TABLE runs ADD COLUMN reason TEXT;
";

/// Added by version 4: the waiting jobs in the order in which they are claimed.
const WAITING: &str = "
CREATE INDEX jobs_waiting ON jobs (priority DESC, expected_ms DESC, id) WHERE state = 'queued';
";

/// Changed by version 5: a claim updates neither the index of the keys nor one of leases. The few leased jobs are found
/// among the active ones.
const FEWER_INDICES: &str = "
DROP INDEX jobs_active;
DROP INDEX jobs_leased;
CREATE UNIQUE INDEX jobs_active ON jobs (key) WHERE ended_ms IS NULL;
";

/// Added by version 6: complete stamps. Existing rows have no change time, so their stamps prove nothing.
const STAMPS: &str = "
ALTER TABLE files ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE files ADD COLUMN device INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outputs ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outputs ADD COLUMN device INTEGER NOT NULL DEFAULT 0;
";

/// Added by version 7: the bytes that an output may still have until its new ones are in place, and whether clm found
/// its bytes in place and did not write them.
const PROVENANCE: &str = "
ALTER TABLE outputs ADD COLUMN before TEXT;
ALTER TABLE outputs ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0;
";

/// Added by version 8: when an action was last planned, the last collection, and the owners of workers.
const BOUNDS: &str = "
ALTER TABLE latest ADD COLUMN planned_ms INTEGER NOT NULL DEFAULT 0;
CREATE TABLE collections (id INTEGER PRIMARY KEY, run INTEGER NOT NULL, ended_ms INTEGER NOT NULL);
DELETE FROM workers;
ALTER TABLE workers ADD COLUMN owner_started INTEGER NOT NULL DEFAULT 0;
ALTER TABLE workers ADD COLUMN owner_host TEXT NOT NULL DEFAULT '';
";

/// Added by version 9: the owner of a run, and what every worker does. Only workers of living processes are recorded,
/// so nothing is lost with the old table.
const OWNERS: &str = "
ALTER TABLE runs ADD COLUMN owner_pid INTEGER;
ALTER TABLE runs ADD COLUMN owner_started INTEGER;
ALTER TABLE runs ADD COLUMN owner_host TEXT;
DROP TABLE workers;
CREATE TABLE workers (
    owner_pid INTEGER NOT NULL, owner_started INTEGER NOT NULL, owner_host TEXT NOT NULL, kind TEXT NOT NULL,
    number INTEGER NOT NULL, pid INTEGER NOT NULL, state TEXT NOT NULL, source TEXT, label TEXT NOT NULL,
    done INTEGER NOT NULL, total INTEGER NOT NULL, since_ms INTEGER NOT NULL,
    PRIMARY KEY (owner_pid, owner_started, owner_host, kind, number)
) WITHOUT ROWID;
";

/// Removed by version 10: the process that queues jobs decides on the order in which they start.
const NO_ORDER: &str = "
DROP INDEX jobs_waiting;
ALTER TABLE jobs DROP COLUMN priority;
ALTER TABLE jobs DROP COLUMN expected_ms;
";

/// Added by version 11: where a result was made, if elsewhere, how a run used the caches, and what the renderers of this
/// store's results were, for machines without renderers.
const ORIGINS: &str = "
ALTER TABLE actions ADD COLUMN origin TEXT;
ALTER TABLE runs ADD COLUMN cache TEXT;
CREATE TABLE identities (renderer TEXT PRIMARY KEY, fingerprint TEXT NOT NULL) WITHOUT ROWID;
";

const TABLES: &str = "
CREATE TABLE files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    digest TEXT NOT NULL, recorded_ns INTEGER NOT NULL, change INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE actions (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, action TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL,
    outputs TEXT NOT NULL, diagnostics TEXT NOT NULL, duration_ms INTEGER NOT NULL, used_ms INTEGER NOT NULL
);
CREATE INDEX actions_by_key ON actions (key);
CREATE INDEX actions_by_action ON actions (action, used_ms);
CREATE TABLE discovered (
    result INTEGER NOT NULL REFERENCES actions (id) ON DELETE CASCADE, path TEXT NOT NULL, digest TEXT,
    PRIMARY KEY (result, path)
) WITHOUT ROWID;
CREATE TABLE latest (
    action TEXT PRIMARY KEY, key TEXT NOT NULL, parts TEXT NOT NULL, discovered TEXT NOT NULL,
    finished_ms INTEGER NOT NULL, duration_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE blobs (digest TEXT PRIMARY KEY, bytes BLOB NOT NULL, stored_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE outputs (
    path TEXT NOT NULL, scope TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL, recorded_ns INTEGER NOT NULL, action TEXT NOT NULL, PRIMARY KEY (path)
) WITHOUT ROWID;
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, action TEXT NOT NULL, kind TEXT NOT NULL,
    state TEXT NOT NULL, priority INTEGER NOT NULL, expected_ms INTEGER NOT NULL, token INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, owner_pid INTEGER, owner_started INTEGER, owner_host TEXT,
    lease_until_ms INTEGER, story TEXT NOT NULL DEFAULT '', queued_ms INTEGER NOT NULL, ended_ms INTEGER
);
CREATE UNIQUE INDEX jobs_active ON jobs (key) WHERE state IN ('queued', 'leased');
CREATE INDEX jobs_leased ON jobs (lease_until_ms) WHERE state = 'leased';
CREATE INDEX jobs_ended ON jobs (ended_ms) WHERE ended_ms IS NOT NULL;
CREATE TABLE workers (
    pid INTEGER NOT NULL, owner_pid INTEGER NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,
    heartbeat_ms INTEGER NOT NULL, PRIMARY KEY (pid, owner_pid)
) WITHOUT ROWID;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, trigger TEXT NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER,
    counts TEXT, duration_ms INTEGER
);
";

/// Opens the connections for writing and reading; a corrupt database is set aside and recreated.
pub(super) fn open(
    path: &Path,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<(Connection, Connection)> {
    // One process at a time: switching a new database to WAL and setting a damaged one aside must not run concurrently.
    let lock = path.with_extension("lock");
    let io = |error: std::io::Error| StoreError::io("lock", &lock, error);
    let file = files::open_or_create(&lock).map_err(io)?;
    file.lock().map_err(io)?;
    let mark = DamageMark::of(path);
    let (reason, may_be_sound) = match mark.found() {
        Some(found) => (
            "an earlier run met the damage".to_owned(),
            found == Found::Reading,
        ),
        None => match connect(path) {
            Err(StoreError::Sqlite(error)) if is_corrupt(&error) => {
                (error.to_string(), is_failed_reading(&error))
            }
            Err(error) if error.is_damage() => (error.to_string(), false),
            result => return result,
        },
    };
    if may_be_sound && is_sound(path) {
        mark.remove();
        return connect(path);
    }
    // A database that cannot be read is not proved damaged: a disk error may be temporary.
    read_through(path)?;
    let aside = set_aside(path)?;
    mark.remove();
    diagnostics.push(
        Diagnostic::warning(format!(
            "the database was damaged ({reason}); it is kept as `{}` and made anew",
            aside.display()
        ))
        .hint("sources and outputs are safe; results are made again as they are needed"),
    );
    connect(path)
}

/// How damage was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A record cannot be parsed: only a new database helps.
    Record,
    /// SQLite found the file malformed. It reports the same after a disk error, which may be temporary.
    Reading,
}

/// Returns whether SQLite found the file malformed.
pub(super) fn is_failed_reading(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt)
}

/// Returns whether every page of a database can be read and passes SQLite's check.
fn is_sound(path: &Path) -> bool {
    let check = |connection: Connection| {
        connection.pragma_query_value(None, "quick_check", |row| row.get::<_, String>(0))
    };
    Connection::open(path)
        .and_then(check)
        .is_ok_and(|answer| answer == "ok")
}

/// Reads a database and its log to the end. Returns errors of reading; a missing file is no error.
fn read_through(path: &Path) -> Result<()> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    for file in [path, Path::new(&log)] {
        match Digest::of_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io("read", file, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A file beside the database which records that a process found damage in it.
pub(super) struct DamageMark {
    path: PathBuf,
    /// The inode of the damaged database file: a database created later is sound.
    inode: u64,
}

impl DamageMark {
    /// Returns the mark for the database that is now at a path.
    pub(super) fn of(database: &Path) -> Self {
        Self {
            path: database.with_extension("damaged"),
            inode: std::fs::metadata(database).map_or(0, |metadata| Stamp::of(&metadata).inode),
        }
    }

    /// Records the damage.
    pub(super) fn set(&self, found: Found) {
        let sign = match found {
            Found::Record => "",
            Found::Reading => " reading",
        };
        // If this fails, the next run finds the damage itself.
        let _ = private::write(&self.path, format!("{}{sign}", self.inode).as_bytes());
    }

    /// Returns the damage recorded for this database.
    fn found(&self) -> Option<Found> {
        let text = files::read_to_string(&self.path).ok()?;
        let (inode, found) = match text.strip_suffix(" reading") {
            Some(inode) => (inode, Found::Reading),
            None => (text.as_str(), Found::Record),
        };
        (inode == self.inode.to_string()).then_some(found)
    }

    fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The page cache of a connection, in KiB: records are small and most are read only once.
const CACHE_KB: i64 = 1000;

fn connect(path: &Path) -> Result<(Connection, Connection)> {
    // Created first because SQLite gives its log and shared memory the permissions of the database. If this fails,
    // SQLite reports why.
    let _ = private::append(path);
    let writer = Connection::open(path)?;
    writer.busy_timeout(Duration::from_secs(30))?;
    let version: i64 = writer.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > VERSION {
        return Err(StoreError::Newer {
            path: path.to_path_buf(),
            found: version,
            known: VERSION,
        });
    }
    writer.pragma_update(None, "cache_size", -CACHE_KB)?;
    writer.pragma_update(None, "foreign_keys", true)?;
    writer.pragma_update(None, "synchronous", "NORMAL")?;
    if version < VERSION {
        migrate(&writer)?;
    }
    check_shape(&writer)?;
    let reader = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    reader.busy_timeout(Duration::from_secs(30))?;
    reader.pragma_update(None, "cache_size", -CACHE_KB)?;
    reader.pragma_update(None, "query_only", true)?;
    // Finds damage now and not in the middle of a build: reads a row of every table.
    for table in [
        "actions",
        "discovered",
        "blobs",
        "jobs",
        "workers",
        "runs",
        "checksums",
        "collections",
        "identities",
    ] {
        reader.query_row(
            &format!("SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT 1)"),
            [],
            |_| Ok(()),
        )?;
    }
    // The tables that every build reads anyway are scanned completely (page by page, without decoding the rows).
    for table in ["files", "latest", "outputs"] {
        reader.query_row(&format!("SELECT count(*) FROM {table}"), [], |_| Ok(()))?;
    }
    for connection in [&writer, &reader] {
        connection.set_prepared_statement_cache_capacity(64);
        // Without this, statements with `LIMIT ?` and some others are compiled again for every value.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    }
    Ok((writer, reader))
}

fn migrate(connection: &Connection) -> Result<()> {
    // Works only before there is any table: lets the database return the space of removed results.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    // Another process may have migrated it first.
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version < 1 {
        connection.execute_batch(TABLES)?;
    }
    if version < 2 {
        connection.execute_batch(CHECKSUMS)?;
    }
    if version < 3 {
        connection.execute_batch(REASONS)?;
    }
    if version < 4 {
        connection.execute_batch(WAITING)?;
    }
    if version < 5 {
        connection.execute_batch(FEWER_INDICES)?;
    }
    if version < 6 {
        connection.execute_batch(STAMPS)?;
    }
    if version < 7 {
        connection.execute_batch(PROVENANCE)?;
    }
    if version < 8 {
        connection.execute_batch(BOUNDS)?;
    }
    if version < 9 {
        connection.execute_batch(OWNERS)?;
    }
    if version < 10 {
        connection.execute_batch(NO_ORDER)?;
    }
    if version < 11 {
        connection.execute_batch(ORIGINS)?;
        connection.pragma_update(None, "user_version", VERSION)?;
    }
    connection.execute_batch("COMMIT")?;
    Ok(())
}

/// Returns the columns of every table, and the SQL that created everything else.
fn shape(connection: &Connection) -> Result<BTreeSet<String>> {
    let mut shape = BTreeSet::new();
    for query in [
        "SELECT t.name || '.' || c.name || ' ' || upper(c.type) || ' ' || c.\"notnull\" || ' ' || c.pk
         FROM sqlite_master t, pragma_table_info(t.name) c
         WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
        "SELECT type || ' ' || name || ' ' || sql FROM sqlite_master WHERE type != 'table' AND sql IS NOT NULL",
    ] {
        let mut statement = connection.prepare(query)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        for row in rows {
            shape.insert(row?);
        }
    }
    Ok(shape)
}

/// Checks that the tables are those of this version: otherwise a build would fail halfway.
fn check_shape(connection: &Connection) -> Result<()> {
    static EXPECTED: OnceLock<Option<BTreeSet<String>>> = OnceLock::new();
    let expected = EXPECTED.get_or_init(|| {
        let fresh = Connection::open_in_memory().ok()?;
        migrate(&fresh).ok()?;
        shape(&fresh).ok()
    });
    let found = shape(connection)?;
    let Some(expected) = expected.as_ref().filter(|expected| **expected != found) else {
        return Ok(());
    };
    let mut differing = expected.symmetric_difference(&found);
    let first = differing.next().map_or("", String::as_str);
    Err(StoreError::Damaged(format!(
        "the tables are not as they should be, such as `{}`",
        first.split(' ').next().unwrap_or_default()
    )))
}

/// Returns whether an error means that the file is not a sound database of clm. This includes missing tables or
/// columns, and existing tables in a database whose version says that it is empty.
pub(super) fn is_corrupt(error: &rusqlite::Error) -> bool {
    use rusqlite::{Error, ErrorCode as Code, ffi};
    match error {
        Error::InvalidColumnType(..)
        | Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::SqlInputError { .. } => true,
        Error::SqliteFailure(cause, _) => {
            // The statements are constants, so one that cannot be prepared does not fit the tables.
            let is_misfit = cause.extended_code == ffi::SQLITE_ERROR;
            let codes = [
                Code::DatabaseCorrupt,
                Code::NotADatabase,
                Code::TypeMismatch,
            ];
            is_misfit || codes.contains(&cause.code)
        }
        _ => false,
    }
}

/// Renames the database and its companions to `clm.db.corrupt-N`.
fn set_aside(path: &Path) -> Result<PathBuf> {
    let name = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    let number = (1..)
        .find(|number| !name(&format!(".corrupt-{number}")).exists())
        .unwrap_or(1);
    let aside = name(&format!(".corrupt-{number}"));
    std::fs::rename(path, &aside).map_err(|error| StoreError::io("set aside", path, error))?;
    for companion in ["-wal", "-shm"] {
        // They belong to the damaged database and must not be applied to the new one.
        let _ = std::fs::rename(
            name(companion),
            name(&format!(".corrupt-{number}{companion}")),
        );
    }
    Ok(aside)
}
