//! Marks in the stream of events: a file is written, and once its event arrives, all events before it have arrived.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;

/// A mark that has not arrived after this never will.
const PATIENCE: Duration = Duration::from_secs(5);
/// Marks older than this were left behind by a process that was killed.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// Answers a caller that waits.
pub type Answer = oneshot::Sender<()>;

/// Marks that have been written and have not arrived.
pub struct Marks {
    dir: PathBuf,
    /// Which directory that was when it began to be watched.
    identity: Option<(u64, u64)>,
    written: u64,
    waiting: Vec<(PathBuf, Instant, Answer)>,
}

impl Marks {
    /// Prepares a directory for marks in the state directory; the error says why there can be none.
    pub fn prepare(state_dir: &Path) -> std::io::Result<Self> {
        let dir = state_dir.join("watch");
        crate::private::create_dir_all(&dir)?;
        let dir = dir.canonicalize()?;
        let now = SystemTime::now();
        for entry in std::fs::read_dir(&dir)?.flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            if modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > LEFT_BEHIND)) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(Self {
            identity: identity(&dir),
            dir,
            written: 0,
            waiting: Vec::new(),
        })
    }

    /// The directory, which has to be watched (real path).
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the directory was moved or removed since: no mark in another one would arrive.
    pub fn is_gone(&self) -> bool {
        identity(&self.dir) != self.identity
    }

    /// Writes a mark for a caller, or gives the caller back when it cannot be written.
    pub fn write(&mut self, answer: Answer, now: Instant) -> Result<(), Answer> {
        self.written += 1;
        let name = format!("{}-{}", std::process::id(), self.written);
        let path = self.dir.join(name);
        if crate::private::write(&path, b"").is_err() {
            return Err(answer);
        }
        self.waiting.push((path, now, answer));
        Ok(())
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the caller whose mark arrived.
    pub fn arrived(&mut self, path: &Path) -> Option<Answer> {
        let at = self.waiting.iter().position(|(mark, ..)| mark == path)?;
        let (mark, _, answer) = self.waiting.swap_remove(at);
        let _ = std::fs::remove_file(mark);
        Some(answer)
    }

    /// When the oldest mark is given up.
    pub fn deadline(&self) -> Option<Instant> {
        let oldest = self.waiting.iter().map(|(_, since, _)| *since).min()?;
        Some(oldest + PATIENCE)
    }

    /// Takes all callers, because their marks are lost.
    pub fn give_up(&mut self) -> Vec<Answer> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting
            .into_iter()
            .map(|(mark, _, answer)| {
                let _ = std::fs::remove_file(mark);
                answer
            })
            .collect()
    }
}

/// What tells a directory from another one that takes its place.
pub(super) fn identity(dir: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(dir).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
