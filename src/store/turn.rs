//! Waiting for the database in turns, when many processes want to write.
//!
//! SQLite lets a process that finds the database busy sleep and try again, longer each time: the unlucky one waits for
//! seconds while others write a thousand times. Here those who wait note in a file since when they do, and the one who
//! has waited longest tries again and again while the others sleep. Nothing but fairness hangs on it: what is right is
//! up to SQLite's own locks. Whoever finds the database free knows nothing of the file.

use std::fs::File;
use std::io::Result as IoResult;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

/// How long the first one sleeps before it tries again: shorter than a turn should be.
const TRY_AGAIN: Duration = Duration::from_micros(50);
/// How much longer each further one sleeps, about the length of a turn, and how long at most.
const STEP: Duration = Duration::from_micros(300);
const LONGEST: Duration = Duration::from_millis(10);
/// Whoever waits longer than this is waited for no more: it may have been stopped, or have died.
const FORGOTTEN_NS: u64 = 1_000_000_000;
/// When a database is given up that others keep busy.
const GIVE_UP: Duration = Duration::from_secs(30);

/// Places in the file. A process has the place of its number; two that share one may overtake each other.
const PLACES: usize = 1024;
const PLACE: usize = size_of::<u64>();

/// The queue in front of a database.
pub struct Turn {
    path: PathBuf,
}

impl Turn {
    /// The queue for a database.
    pub fn of(database: &Path) -> Self {
        Self {
            path: database.with_extension("turn"),
        }
    }

    /// Begins a transaction that writes; the connection itself must not wait for a busy database.
    pub fn begin<'a>(&self, connection: &'a Connection) -> rusqlite::Result<Transaction<'a>> {
        let begin = || Transaction::new_unchecked(connection, TransactionBehavior::Immediate);
        match begin() {
            Err(error) if is_busy(&error) => {}
            result => return result,
        }
        let started = Instant::now();
        // Where there can be no file, everybody tries again now and then.
        let waiting = Waiting::since_now(&self.path).ok();
        loop {
            let ahead = waiting.as_ref().map_or(3, Waiting::ahead);
            if ahead == 0 || waiting.is_none() {
                match begin() {
                    Err(error) if is_busy(&error) && started.elapsed() < GIVE_UP => {}
                    result => return result,
                }
            }
            std::thread::sleep((TRY_AGAIN + STEP * ahead).min(LONGEST));
        }
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
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        let since = now_ns();
        note(&file, since)?;
        Ok(Self { file, since })
    }

    /// How many have waited longer than we have.
    fn ahead(&self) -> u32 {
        let mut notes = [0; PLACES * PLACE];
        let length = read(&self.file, &mut notes).unwrap_or(0);
        let oldest = now_ns().saturating_sub(FORGOTTEN_NS);
        let (places, _) = notes[..length].as_chunks::<PLACE>();
        let since = places.iter().map(|place| u64::from_le_bytes(*place));
        since
            .filter(|since| (oldest..self.since).contains(since))
            .count() as u32
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = note(&self.file, 0);
    }
}

fn now_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(unix)]
fn note(file: &File, since: u64) -> IoResult<()> {
    use std::os::unix::fs::FileExt;
    let place = std::process::id() as usize % PLACES * PLACE;
    file.write_all_at(&since.to_le_bytes(), place as u64)
}

#[cfg(unix)]
fn read(file: &File, notes: &mut [u8]) -> IoResult<usize> {
    use std::os::unix::fs::FileExt;
    file.read_at(notes, 0)
}

#[cfg(not(unix))]
fn note(_: &File, _: u64) -> IoResult<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(not(unix))]
fn read(_: &File, _: &mut [u8]) -> IoResult<usize> {
    Err(std::io::ErrorKind::Unsupported.into())
}
