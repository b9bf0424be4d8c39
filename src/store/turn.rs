//! Waiting for the database in turns, when many processes want to write.
//!
//! SQLite lets a process that finds the database busy sleep and try again, longer each time: the unlucky one waits for
//! seconds while others write a thousand times. Here those who wait note in a file since when they do, and the one who
//! has waited longest tries again and again while the others sleep. Whoever had to wait then has the database for a turn
//! of some transactions, says so in the file, and steps back behind those who wait when it is over: a database that changes
//! hands for every transaction is slow, since nothing of it can be kept in memory. Nothing but fairness hangs on all
//! this: what is right is up to SQLite's own locks. Whoever finds the database free knows nothing of the file.

use std::fs::{File, OpenOptions};
use std::io::Result as IoResult;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::lock;

/// How long the first one sleeps before it tries again, when nobody has a turn.
const TRY_AGAIN: Duration = Duration::from_micros(50);
/// How long the others sleep at most.
const LONGEST: Duration = Duration::from_millis(10);
/// Whoever waits longer than this is waited for no more: it may have been stopped, or have died.
const FORGOTTEN_NS: u64 = 1_000_000_000;
/// When a database is given up that others keep busy.
const GIVE_UP: Duration = Duration::from_secs(30);

/// Places in the file. A process has the place of its number; two that share one may overtake each other.
const PLACES: usize = 1024;
const PLACE: usize = size_of::<u64>();
/// Behind all places stands when the turn ends.
const TURN_END: usize = PLACES;

/// How long a process that had to wait may go on before it steps back: all who wait have had a turn after `ROUND`, or, when
/// they are too many for that, after the shortest turns that are worth the change.
const ROUND: Duration = Duration::from_millis(48);
const SHORTEST: Duration = Duration::from_micros(800);
const LONGEST_TURN: Duration = Duration::from_millis(4);

/// The queue in front of a database.
pub struct Turn {
    path: PathBuf,
    /// Until when it is ours, if we had to wait for it.
    ours: Mutex<Option<Instant>>,
}

impl Turn {
    /// The queue for a database.
    pub fn of(database: &Path) -> Self {
        Self {
            path: database.with_extension("turn"),
            ours: Mutex::new(None),
        }
    }

    /// Begins a transaction that writes; the connection itself must not wait for a busy database.
    pub fn begin<'a>(&self, connection: &'a Connection) -> rusqlite::Result<Transaction<'a>> {
        let begin = || Transaction::new_unchecked(connection, TransactionBehavior::Immediate);
        if !self.steps_back() {
            match begin() {
                Err(error) if is_busy(&error) => {}
                result => return result,
            }
        }
        let started = Instant::now();
        // Where there can be no file, everybody tries again now and then.
        let waiting = Waiting::since_now(&self.path).ok();
        loop {
            let (is_first, pause) = waiting.as_ref().map_or((true, SHORTEST), Waiting::pause);
            if is_first {
                match begin() {
                    Err(error) if is_busy(&error) && started.elapsed() < GIVE_UP => {}
                    result => {
                        let turn = waiting.as_ref().map_or(SHORTEST, Waiting::begin_turn);
                        *lock(&self.ours) = Some(Instant::now() + turn);
                        return result;
                    }
                }
            }
            std::thread::sleep(pause);
        }
    }

    /// Whether our turn is over, and others wait.
    fn steps_back(&self) -> bool {
        let mut ours = lock(&self.ours);
        if ours.is_none_or(|until| Instant::now() < until) {
            return false;
        }
        *ours = None;
        File::open(&self.path).is_ok_and(|file| Notes::of(&file).waiting_before(now_ns()) > 0)
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// Our note in the file, until it is dropped.
struct Waiting {
    file: File,
    since: u64,
}

impl Waiting {
    fn since_now(path: &Path) -> IoResult<Self> {
        let file = crate::files::create(path, OpenOptions::new().read(true))?;
        let since = now_ns();
        note(&file, own_place(), since)?;
        Ok(Self { file, since })
    }

    /// Whether nobody has waited longer than we have, and how long to sleep before we look again: the one whose turn it is
    /// is left alone.
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

    /// Says when our turn ends that begins now, and how long that is.
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

/// What everybody noted: times, in nanoseconds since 1970.
struct Notes {
    bytes: [u8; (PLACES + 1) * PLACE],
    now: u64,
}

impl Notes {
    fn of(file: &File) -> Self {
        let mut bytes = [0; (PLACES + 1) * PLACE];
        // What is not there counts as zero: nobody.
        let _ = read(file, &mut bytes);
        let now = now_ns();
        Self { bytes, now }
    }

    /// How many noted an earlier time, and are not forgotten.
    fn waiting_before(&self, time: u64) -> u32 {
        let oldest = self.now.saturating_sub(FORGOTTEN_NS);
        let (places, _) = self.bytes[..TURN_END * PLACE].as_chunks::<PLACE>();
        let since = places.iter().map(|place| u64::from_le_bytes(*place));
        since.filter(|since| (oldest..time).contains(since)).count() as u32
    }

    /// How long the turn still lasts of the one who began the last one.
    fn left_of_turn(&self) -> Duration {
        let end = self.bytes[TURN_END * PLACE..]
            .first_chunk()
            .map_or(0, |end| u64::from_le_bytes(*end));
        let left = Duration::from_nanos(end.saturating_sub(self.now));
        // A longer one is none: the clock was set.
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

fn now_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
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
