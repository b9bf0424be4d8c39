//! Writing: one connection, with which a caller writes itself when nobody else does; what comes meanwhile is committed in
//! groups by a thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use rusqlite::Connection;

use super::turn::Turn;
use super::{Result, StoreError, lock};

/// How many waiting writes are committed together.
const GROUP: usize = 256;

/// Tells whoever waits for a write whether it was committed.
pub type Reply = Box<dyn FnOnce(std::result::Result<(), String>) + Send>;
/// A write, given the open transaction or the reason why there is none.
pub type Write = Box<dyn FnOnce(std::result::Result<&Connection, String>) -> Reply + Send>;

/// The connection for writing.
pub struct Writer {
    connection: Mutex<Connection>,
    turn: Turn,
    /// How many writes were given to the thread and have no reply yet.
    pub waiting: AtomicUsize,
}

impl Writer {
    /// Writes with a connection.
    pub fn new(connection: Connection, turn: Turn) -> Result<Self> {
        connection.busy_timeout(Duration::ZERO)?;
        Ok(Self {
            connection: Mutex::new(connection),
            turn,
            waiting: AtomicUsize::new(0),
        })
    }

    /// The connection, when nobody writes and nobody waits. What was given to the thread earlier goes first.
    pub fn alone(&self) -> Option<MutexGuard<'_, Connection>> {
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

    /// Takes what is waiting, commits it as one transaction, and only then answers; until nobody can send any more.
    pub fn serve(&self, receiver: &Receiver<Write>) {
        while let Ok(first) = receiver.recv() {
            let (replies, committed) = self.commit_group(first, receiver);
            let count = replies.len();
            for reply in replies {
                reply(committed.clone());
            }
            // Not before all have their replies: those that have theirs already would write one by one.
            self.waiting.fetch_sub(count, Ordering::SeqCst);
        }
    }

    /// Commits a write and those that wait behind it. Gives their replies, and what to tell them.
    fn commit_group(
        &self,
        first: Write,
        receiver: &Receiver<Write>,
    ) -> (Vec<Reply>, std::result::Result<(), String>) {
        let connection = lock(&self.connection);
        let transaction = match self.turn.begin(&connection) {
            Ok(transaction) => transaction,
            Err(error) => return (vec![first(Err(error.to_string()))], Ok(())),
        };
        let mut replies = vec![first(Ok(&transaction))];
        // A transaction that SQLite gave up takes no more writes; the commit below says why.
        while replies.len() < GROUP && !transaction.is_autocommit() {
            match receiver.try_recv() {
                Ok(write) => replies.push(write(Ok(&transaction))),
                Err(_) => break,
            }
        }
        let committed = transaction.commit().map_err(|error| error.to_string());
        (replies, committed)
    }

    /// Runs a write as a transaction of its own.
    pub fn in_transaction<T>(
        &self,
        connection: &Connection,
        write: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        let failed = |error: rusqlite::Error| StoreError::Writer(error.to_string());
        let transaction = self.turn.begin(connection).map_err(failed)?;
        // It is rolled back when it is dropped.
        let value = write(&transaction)?;
        transaction.commit().map_err(failed)?;
        Ok(value)
    }
}

/// Runs a write as a part of a transaction: if it fails, the others stay.
pub fn in_savepoint<T>(
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
    // SQLite gives up the whole transaction when the disk is full: then the savepoint is gone, and what the write
    // met says more than that.
    result.and_then(|value| Ok(ended.map(|()| value)?))
}
