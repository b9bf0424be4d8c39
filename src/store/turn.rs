//! A fair queue for the write lock of the database, used when many processes want to write.
//!
//! SQLite makes a process that finds the database busy sleep and retry with growing pauses: an unlucky process waits
//! for seconds while others write a thousand times. Here each waiting process notes in a file when its wait began; the
//! one that has waited longest retries often while the others sleep. A process that had to wait then owns the database
//! for a turn of several transactions, notes the end of the turn in the file, and afterwards queues behind those that
//! wait: changing the writer for every transaction would be slow, since the page cache is lost each time. The file
//! affects only fairness; correctness rests on SQLite's own locks. A process that finds the database free does not use
//! the file.

use std::fs::{File, OpenOptions};
use std::io::Result as IoResult;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::clock;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::lock;

/// The first retry pause of the process at the head of the queue, while there is no turn.
const TRY_AGAIN: Duration = Duration::from_micros(50);
/// The longest pause of the other processes.
const LONGEST: Duration = Duration::from_millis(10);
/// A process that has waited longer than this is ignored: it may have been stopped or have died.
const FORGOTTEN_NS: u64 = 1_000_000_000;
/// How long a process waits for a busy database before it gives up.
const GIVE_UP: Duration = Duration::from_secs(30);

/// The number of places in the file. A process uses the place of its process id modulo this; two that share one may
/// overtake each other.
const PLACES: usize = 1024;
const PLACE: usize = size_of::<u64>();
/// The entry after all places: when the current turn ends.
const TURN_END: usize = PLACES;

/// The length of a turn is `ROUND` divided by the number of waiting processes, but at least `SHORTEST`, the shortest
/// turn that is worth changing the writer, and at most `LONGEST_TURN`.
const ROUND: Duration = Duration::from_millis(48);
const SHORTEST: Duration = Duration::from_micros(800);
const LONGEST_TURN: Duration = Duration::from_millis(4);

/// The queue for the write lock of a database.
pub(super) struct Turn {
    path: PathBuf,
    /// The end of our turn, if we had to wait for it.
    ours: Mutex<Option<Instant>>,
}

impl Turn {
    /// Returns the queue for a database.
    pub(super) fn of(database: &Path) -> Self {
        Self {
            path: database.with_extension("turn"),
            ours: Mutex::new(None),
        }
    }

    /// Begins a write transaction, waiting in the queue if need be. The connection must have no busy timeout of its
    /// own.
    pub(super) fn begin<'a>(
        &self,
        connection: &'a Connection,
    ) -> rusqlite::Result<Transaction<'a>> {
        let begin = || Transaction::new_unchecked(connection, TransactionBehavior::Immediate);
        if !self.steps_back() {
            match begin() {
                Err(error) if is_busy(&error) => {}
                result => return result,
            }
        }
        let started = Instant::now();
        // If the file cannot be created, every process just retries at intervals.
        let waiting = Waiting::since_now(&self.path).ok();
        loop {
            let (is_first, pause) = waiting.as_ref().map_or((true, SHORTEST), Waiting::pause);
            if is_first {
                match begin() {
                    Err(error) if is_busy(&error) && started.elapsed() < GIVE_UP => {}
                    Err(error) => return Err(error),
                    Ok(transaction) => {
                        let turn = waiting.as_ref().map_or(SHORTEST, Waiting::begin_turn);
                        *lock(&self.ours) = Some(Instant::now() + turn);
                        return Ok(transaction);
                    }
                }
            }
            std::thread::sleep(pause);
        }
    }

    /// Returns whether our turn is over and other processes wait.
    fn steps_back(&self) -> bool {
        let mut ours = lock(&self.ours);
        if ours.is_none_or(|until| Instant::now() < until) {
            return false;
        }
        *ours = None;
        File::open(&self.path).is_ok_and(|file| Notes::of(&file).waiting_before(now()) > 0)
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// Our entry in the file; cleared on drop.
struct Waiting {
    file: File,
    since: u64,
}

impl Waiting {
    fn since_now(path: &Path) -> IoResult<Self> {
        let file = crate::files::create(path, OpenOptions::new().read(true))?;
        let since = now();
        note(&file, own_place(), since)?;
        Ok(Self { file, since })
    }

    /// Returns whether we may try now (no process has waited longer and no turn is running), and how long to sleep
    /// before the next check.
    fn pause(&self) -> (bool, Duration) {
        let notes = Notes::of(&self.file);
        let ahead = notes.waiting_before(self.since);
        let left = notes.left_of_turn();
        let pause = match ahead {
            0 => left.max(TRY_AGAIN),
            _ => (left + SHORTEST * ahead).min(LONGEST),
        };
        (ahead == 0 && left.is_zero(), pause)
    }

    /// Notes that our turn begins now, and returns its length.
    fn begin_turn(&self) -> Duration {
        let notes = Notes::of(&self.file);
        let others = notes.waiting_before(u64::MAX).max(1);
        let turn = (ROUND / others).clamp(SHORTEST, LONGEST_TURN);
        let _ = note(&self.file, TURN_END, notes.now + turn.as_nanos() as u64);
        turn
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = note(&self.file, own_place(), 0);
    }
}

/// The entries of all processes: times in nanoseconds since 1970.
struct Notes {
    bytes: [u8; (PLACES + 1) * PLACE],
    now: u64,
}

impl Notes {
    fn of(file: &File) -> Self {
        let mut bytes = [0; (PLACES + 1) * PLACE];
        // Missing bytes stay zero: no process.
        let _ = read(file, &mut bytes);
        let now = now();
        Self { bytes, now }
    }

    /// Returns how many processes noted an earlier time and have not been waiting too long.
    fn waiting_before(&self, time: u64) -> u32 {
        let oldest = self.now.saturating_sub(FORGOTTEN_NS);
        let (places, _) = self.bytes[..TURN_END * PLACE].as_chunks::<PLACE>();
        let since = places.iter().map(|place| u64::from_le_bytes(*place));
        since.filter(|since| (oldest..time).contains(since)).count() as u32
    }

    /// Returns the remaining time of the current turn.
    fn left_of_turn(&self) -> Duration {
        let end = self.bytes[TURN_END * PLACE..]
            .first_chunk()
            .map_or(0, |end| u64::from_le_bytes(*end));
        let left = Duration::from_nanos(end.saturating_sub(self.now));
        // A longer one is ignored: the clock was set.
        if left > LONGEST_TURN {
            Duration::ZERO
        } else {
            left
        }
    }
}

fn own_place() -> usize {
    std::process::id() as usize % PLACES
}

fn now() -> u64 {
    clock::now_ns().unsigned_abs()
}

#[cfg(unix)]
fn note(file: &File, place: usize, time: u64) -> IoResult<()> {
    use std::os::unix::fs::FileExt;
    file.write_all_at(&time.to_le_bytes(), (place * PLACE) as u64)
}

#[cfg(unix)]
fn read(file: &File, notes: &mut [u8]) -> IoResult<usize> {
    use std::os::unix::fs::FileExt;
    file.read_at(notes, 0)
}

#[cfg(not(unix))]
fn note(_: &File, _: usize, _: u64) -> IoResult<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(not(unix))]
fn read(_: &File, _: &mut [u8]) -> IoResult<usize> {
    Err(std::io::ErrorKind::Unsupported.into())
}
