//! Cookies in the stream of events: a file is created, and once its event arrives, all earlier events have arrived.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;

/// After this time, the event of a cookie is regarded as lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// Cookie files older than this remained after a process was killed.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// Wakes up a waiting caller.
pub(super) type Answer = oneshot::Sender<()>;

/// Cookies whose events have not arrived yet.
pub(super) struct Cookies {
    dir: PathBuf,
    /// The identity of the directory when its watch began.
    identity: Option<(u64, u64)>,
    written: u64,
    waiting: Vec<(PathBuf, Instant, Answer)>,
}

impl Cookies {
    /// Prepares the directory for cookies in the state directory. Fails if it cannot be written.
    pub(super) fn prepare(state_dir: &Path) -> std::io::Result<Self> {
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

    /// Returns the directory, which has to be watched (real path).
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns whether the directory was moved or removed: events of cookies in its replacement would not arrive.
    pub(super) fn is_gone(&self) -> bool {
        identity(&self.dir) != self.identity
    }

    /// Writes a cookie for a caller; returns the caller if that fails.
    pub(super) fn write(&mut self, answer: Answer, now: Instant) -> Result<(), Answer> {
        self.written += 1;
        let name = format!("{}-{}", std::process::id(), self.written);
        let path = self.dir.join(name);
        if crate::private::write(&path, b"").is_err() {
            return Err(answer);
        }
        self.waiting.push((path, now, answer));
        Ok(())
    }

    /// Returns whether no caller is waiting.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Removes and returns the caller whose cookie arrived.
    pub(super) fn arrived(&mut self, path: &Path) -> Option<Answer> {
        let at = self
            .waiting
            .iter()
            .position(|(cookie, ..)| cookie == path)?;
        let (cookie, _, answer) = self.waiting.swap_remove(at);
        let _ = std::fs::remove_file(cookie);
        Some(answer)
    }

    /// Returns when the oldest cookie is regarded as lost.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let oldest = self.waiting.iter().map(|(_, since, _)| *since).min()?;
        Some(oldest + PATIENCE)
    }

    /// Removes and returns all callers, because their cookies are lost.
    pub(super) fn give_up(&mut self) -> Vec<Answer> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting
            .into_iter()
            .map(|(cookie, _, answer)| {
                let _ = std::fs::remove_file(cookie);
                answer
            })
            .collect()
    }
}

/// Returns device and inode, which distinguish a directory from a replacement at the same path.
pub(super) fn identity(dir: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(dir).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
