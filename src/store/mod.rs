//! The persistent records of a course. The only module that uses SQLite and the blob files.
//!
//! Any number of processes may share one store. Every process has one writer thread, which commits pending writes in
//! groups, and one connection for reading. The module has no notion of courses, plans or workers.

mod actions;
pub(crate) mod archive;
mod blobs;
mod checksums;
mod files;
mod garbage;
mod identities;
mod jobs;
mod outputs;
mod place;
mod runs;
mod schema;
mod turn;
mod usage;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use crate::clock::now_ms;
use crate::diagnostic::Diagnostic;
use crate::error::{Dir, Error, MEMORY_HINT, io_hint};
use crate::parallel::lock;
use crate::private;

use writer::{Write, Writer, in_savepoint};

pub use crate::owner::Owner;
pub(crate) use actions::{CachedResult, Latest, Origin, Parts, ResultStatus};
pub(crate) use files::{Check, FileRecord};
pub(crate) use garbage::Limits;
pub(crate) use identities::recorded_identities;
pub use jobs::{Finish, JobEnd, JobId, JobState, Lease, NewJob};
pub(crate) use outputs::{OutputRecord, Written};
pub(crate) use place::{database_inode, network_file_system};
pub(crate) use runs::{Doing, RunRecord, RunState, WorkerNote, WorkerRecord, record_idle_run};
pub(crate) use usage::{KindUsage, Usage};

/// An error of a store operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("the database of clm cannot be used: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file system failed.
    #[error("cannot {what} `{path}`: {source}")]
    Io {
        /// The operation that failed.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The database was written by a newer clm.
    #[error("`{path}` was written by a newer clm (its format is {found}, this one knows {known})")]
    Newer {
        /// The path of the database.
        path: PathBuf,
        /// Its format version.
        found: i64,
        /// The newest format version that this program supports.
        known: i64,
    },
    /// A write was not committed. The cause is shared by all writes of a transaction.
    #[error("the database of clm cannot be written: {0}")]
    Write(#[source] Arc<rusqlite::Error>),
    /// A write was not committed, since another one of the same transaction failed.
    #[error("the database of clm cannot be written: another write failed")]
    RolledBack,
    /// The writer thread cannot be started.
    #[error("the database of clm cannot be written: {0}")]
    Thread(#[source] std::io::Error),
    /// The writer thread has ended.
    #[error("the database of clm cannot be written: its writer has ended")]
    WriterEnded,
    /// A record cannot be parsed.
    #[error("a record in the database of clm is damaged: {0}")]
    Damaged(String),
}

/// The result of store operations.
pub(crate) type Result<T, E = StoreError> = std::result::Result<T, E>;

impl StoreError {
    fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            what,
            path: path.to_path_buf(),
            source,
        }
    }

    fn sqlite(&self) -> Option<&rusqlite::Error> {
        match self {
            Self::Sqlite(error) => Some(error),
            Self::Write(error) => Some(error),
            _ => None,
        }
    }

    /// Returns advice for the user, depending on the cause.
    fn hint(&self) -> Option<String> {
        use rusqlite::ErrorCode as Code;
        let code = self.sqlite().and_then(rusqlite::Error::sqlite_error_code);
        let hint = match (self, code) {
            (Self::Io { what, source, .. }, _) => return io_hint(Dir::State, what, source),
            (Self::Thread(error), _) => return io_hint(Dir::State, "start a thread", error),
            (Self::Newer { .. }, _) => {
                "update clm, or remove the database: outputs and sources are not touched by that"
            }
            _ if self.is_damage() => {
                "run the command again: it makes a new database; outputs and sources are not touched by that"
            }
            (_, Some(Code::DiskFull)) => {
                "free some space there and run the command again: finished work stays in the cache"
            }
            (_, Some(Code::CannotOpen)) => {
                "make the directory of the records writable for you, or choose another one with the variable \
                 CLM_STATE_DIR; if it is, too many files are open (`ulimit -n`)"
            }
            (_, Some(Code::ReadOnly | Code::PermissionDenied)) => {
                "make the directory of the records writable for you, or choose another one with the variable CLM_STATE_DIR"
            }
            (_, Some(Code::DatabaseBusy | Code::DatabaseLocked)) => {
                "another program writes to the database: `clm status` shows who; run the command again when it is done"
            }
            (_, Some(Code::SystemIoFailure)) => {
                "the disk or the network gave an error: check them, or choose another directory with the variable CLM_STATE_DIR"
            }
            (_, Some(Code::OutOfMemory)) => MEMORY_HINT,
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// Returns whether the database is damaged. It is then set aside and recreated when the store is next opened.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_)) || self.sqlite().is_some_and(schema::is_corrupt)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let hint = error.hint();
        let result = Self::records(error.to_string());
        match hint {
            Some(hint) => result.hint(hint),
            None => result,
        }
    }
}

/// A handle to the records of one course. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    blobs: PathBuf,
    database: PathBuf,
    /// Records damage for the next opening, together with the database file in which it was found.
    damage: schema::DamageMark,
    reader: Mutex<Connection>,
    writer: Arc<Writer>,
    sender: Mutex<Option<Sender<Write>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(lock(&self.sender).take());
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

impl Store {
    /// Opens (or creates) the store in a directory.
    ///
    /// The diagnostics report a database that was set aside because it was corrupt, or one that is stored elsewhere
    /// because the directory is on a network file system.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Diagnostic>)> {
        prepare_dir(dir)?;
        let mut diagnostics = Vec::new();
        let database = place::place_of_database(dir, &mut diagnostics)?;
        let (writer, reader) = schema::open(&database, &mut diagnostics)?;
        let damage = schema::DamageMark::of(&database);
        let writer = Arc::new(Writer::new(writer, turn::Turn::of(&database))?);
        let waiting = Arc::clone(&writer);
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("clm-store".to_owned())
            .spawn(move || waiting.serve(&receiver))
            .map_err(StoreError::Thread)?;
        let store = Self(Arc::new(Inner {
            blobs: dir.join("blobs"),
            database,
            damage,
            reader: Mutex::new(reader),
            writer,
            sender: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
        }));
        Ok((store, diagnostics))
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.noting_damage(read(&lock(&self.0.reader)))
    }

    /// Records damage found by this run, so that the next run starts with a new database.
    fn noting_damage<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && error.is_damage()
        {
            self.0.damage.set(match error {
                StoreError::Damaged(_) => schema::Found::Record,
                StoreError::Sqlite(error) if !schema::is_failed_reading(error) => {
                    schema::Found::Record
                }
                _ => schema::Found::Reading,
            });
        }
        result
    }

    /// Runs a write and waits until it is committed: on this thread when no other thread writes, else on the writer
    /// thread.
    fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if let Some(connection) = self.0.writer.alone() {
            return self.noting_damage(self.0.writer.in_transaction(&connection, write));
        }
        let (sender, receiver): (SyncSender<Result<T>>, Receiver<Result<T>>) = sync_channel(1);
        let job: Write = Box::new(move |connection| {
            let result = connection
                .map_err(StoreError::Write)
                .and_then(|connection| in_savepoint(connection, write));
            Box::new(move |committed| {
                let result = result.and_then(|value| committed.map(|()| value));
                // The caller may have gone away; the write is still committed.
                let _ = sender.send(result);
            })
        });
        self.send(job).ok_or(StoreError::WriterEnded)?;
        let result = receiver.recv().map_err(|_| StoreError::WriterEnded)?;
        self.noting_damage(result)
    }

    /// Runs a write on the writer thread, after the writes before it, without waiting for it. Only for data that can be
    /// computed again: a failure is logged, and reported by the next write that a caller waits for.
    fn write_later(&self, write: impl FnOnce(&Connection) -> Result<()> + Send + 'static) {
        let job: Write = Box::new(move |connection| {
            let result = connection
                .map_err(StoreError::Write)
                .and_then(|connection| in_savepoint(connection, write));
            Box::new(move |committed| {
                if let Err(error) = result.and(committed) {
                    tracing::warn!(%error, "something is not in the records");
                }
            })
        });
        // If the writer thread is gone, the next caller that waits for a write gets the error.
        self.send(job);
    }

    /// Waits until all earlier writes are committed.
    pub fn flush(&self) -> Result<()> {
        self.write(|_| Ok(()))
    }

    /// Returns a number that changes when another process writes records. Writes of this process do not change it,
    /// since the number belongs to the only connection with which this process writes.
    pub fn version_of_others(&self) -> Result<i64> {
        self.write(|connection| {
            Ok(connection.query_row("PRAGMA data_version", [], |row| row.get(0))?)
        })
    }

    /// Frees cached pages of the database.
    pub fn release_memory(&self) {
        let shrink = |connection: &Connection| connection.execute_batch("PRAGMA shrink_memory");
        // Affects only memory use, so errors are ignored.
        let _ = shrink(&lock(&self.0.reader));
        if let Some(connection) = self.0.writer.alone() {
            let _ = shrink(&connection);
        }
    }

    /// Sends a write to the writer thread; returns `None` if the thread is gone.
    fn send(&self, job: Write) -> Option<()> {
        let sender = lock(&self.0.sender);
        self.0.writer.waiting.fetch_add(1, Ordering::SeqCst);
        let sent = sender.as_ref()?.send(job);
        sent.ok()
    }
}

/// Creates the state directory: ignored by git, skipped by backups and not readable by other users.
fn prepare_dir(dir: &Path) -> Result<()> {
    private::state_dir(dir).map_err(|error| StoreError::io("create", dir, error))?;
    if dir.join("CACHEDIR.TAG").exists() && dir.join(".gitignore").exists() {
        return Ok(());
    }
    let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# Records and results of clm; safe to delete.\n";
    for (name, text) in [(".gitignore", "*\n"), ("CACHEDIR.TAG", tag)] {
        let path = dir.join(name);
        private::write(&path, text.as_bytes())
            .map_err(|error| StoreError::io("write", &path, error))?;
    }
    Ok(())
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn digest(text: &str) -> Result<crate::digest::Digest> {
    text.parse()
        .map_err(|_| StoreError::Damaged(format!("`{text}` is not a digest")))
}

#[cfg(test)]
mod tests;
