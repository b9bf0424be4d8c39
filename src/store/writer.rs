//! Writing: a caller writes itself if the connection is free and no writes wait; otherwise a thread commits the waiting
//! writes in groups.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use rusqlite::Connection;

use super::turn::Turn;
use super::{Result, StoreError, lock};

/// How many waiting writes are committed together.
const GROUP: usize = 256;

/// Reports to the caller of a write whether it was committed.
pub(super) type Reply = Box<dyn FnOnce(Result<()>) + Send>;
/// A write; called with the open transaction, or with the reason why there is none.
pub(super) type Write = Box<dyn FnOnce(Result<&Connection, Arc<rusqlite::Error>>) -> Reply + Send>;
/// Why writes were not committed; `None` if SQLite rolled the transaction back because of one of them.
type NotCommitted = Option<Arc<rusqlite::Error>>;

/// The connection for writing.
pub(super) struct Writer {
    connection: Mutex<Connection>,
    turn: Turn,
    /// The number of writes that were sent to the thread and have no reply yet.
    pub waiting: AtomicUsize,
}

impl Writer {
    /// Creates a writer for a connection.
    pub(super) fn new(connection: Connection, turn: Turn) -> Result<Self> {
        connection.busy_timeout(Duration::ZERO)?;
        Ok(Self {
            connection: Mutex::new(connection),
            turn,
            waiting: AtomicUsize::new(0),
        })
    }

    /// Returns the connection if it is free and no writes wait. Writes sent to the thread earlier must be committed
    /// first.
    pub(super) fn alone(&self) -> Option<MutexGuard<'_, Connection>> {
        let is_quiet = || self.waiting.load(Ordering::SeqCst) == 0;
        if !is_quiet() {
            return None;
        }
        let connection = match self.connection.try_lock() {
            Ok(connection) => connection,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        is_quiet().then_some(connection)
    }

    /// Commits waiting writes as one transaction at a time and replies after each commit, until all senders are
    /// dropped.
    pub(super) fn serve(&self, receiver: &Receiver<Write>) {
        while let Ok(first) = receiver.recv() {
            let (replies, committed) = self.commit_group(first, receiver);
            let count = replies.len();
            for reply in replies {
                reply(
                    committed
                        .clone()
                        .map_err(|cause| cause.map_or(StoreError::RolledBack, StoreError::Write)),
                );
            }
            // After all replies: callers with an early reply would otherwise write their next changes one by one.
            self.waiting.fetch_sub(count, Ordering::SeqCst);
        }
    }

    /// Commits a write and those that wait behind it. Returns their replies, and the result to pass to them.
    fn commit_group(
        &self,
        first: Write,
        receiver: &Receiver<Write>,
    ) -> (Vec<Reply>, Result<(), NotCommitted>) {
        let connection = lock(&self.connection);
        let transaction = match self.turn.begin(&connection) {
            Ok(transaction) => transaction,
            Err(error) => return (vec![first(Err(Arc::new(error)))], Ok(())),
        };
        let mut replies = vec![first(Ok(&transaction))];
        // A transaction that SQLite has rolled back takes no more writes.
        while replies.len() < GROUP && !transaction.is_autocommit() {
            match receiver.try_recv() {
                Ok(write) => replies.push(write(Ok(&transaction))),
                Err(_) => break,
            }
        }
        if transaction.is_autocommit() {
            return (replies, Err(None));
        }
        let committed = transaction.commit();
        (replies, committed.map_err(|error| Some(Arc::new(error))))
    }

    /// Runs a write as a transaction of its own.
    pub(super) fn in_transaction<T>(
        &self,
        connection: &Connection,
        write: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        let failed = |error: rusqlite::Error| StoreError::Write(Arc::new(error));
        let transaction = self.turn.begin(connection).map_err(failed)?;
        // Dropping it rolls it back.
        let value = write(&transaction)?;
        transaction.commit().map_err(failed)?;
        Ok(value)
    }
}

/// Runs a write within a transaction: if it fails, the other writes are kept.
pub(super) fn in_savepoint<T>(
    connection: &Connection,
    write: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    let run = |sql| connection.prepare_cached(sql)?.execute([]).map(|_| ());
    run("SAVEPOINT one")?;
    let result = write(connection);
    let ended = match &result {
        Ok(_) => run("RELEASE one"),
        Err(_) => run("ROLLBACK TO one").and_then(|()| run("RELEASE one")),
    };
    // SQLite rolls back the whole transaction when the disk is full: then the savepoint is gone, and the error of the
    // write is more useful than the error of the savepoint.
    result.and_then(|value| Ok(ended.map(|()| value)?))
}
