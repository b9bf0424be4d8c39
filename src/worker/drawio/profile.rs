//! The browser's profile: a directory for each browser, which is removed after its end, however it ended.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The prefix of the names of profiles.
const PREFIX: &str = "browser-";
/// Locked while the clm process of the browser lives.
const LOCK: &str = "lock";
/// Younger profiles are not removed: their owner may not have locked them yet.
const SETTLED: Duration = Duration::from_secs(60);

/// A profile. Dropping it removes the directory.
pub(super) struct Profile {
    dir: tempfile::TempDir,
    _lock: File,
}

impl Profile {
    /// Creates a profile, and removes those of killed processes.
    pub(super) fn new(runtime_dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(runtime_dir)?;
        sweep(runtime_dir, SETTLED);
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(runtime_dir)?;
        let lock = File::create(dir.path().join(LOCK))?;
        lock.lock()?;
        Ok(Self { dir, _lock: lock })
    }

    /// Returns the browser's data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Writes a file beside the browser's data.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.dir.path().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Returns the directory of the whole profile.
    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes profiles that no process holds any more. Those that cannot be removed now are removed another time.
fn sweep(runtime_dir: &Path, settled: Duration) {
    let Ok(entries) = fs::read_dir(runtime_dir) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_profile = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let is_settled = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|made| {
                SystemTime::now()
                    .duration_since(made)
                    .is_ok_and(|age| age >= settled)
            });
        if is_profile && is_settled && is_free(&path.join(LOCK)) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Returns whether no living process holds the lock.
fn is_free(lock: &Path) -> bool {
    match File::open(lock) {
        Ok(file) => file.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_swept_when_nobody_holds_them() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = dir.path().join("run");
        let held = Profile::new(&runtime).unwrap();
        let left = runtime.join("browser-left");
        fs::create_dir_all(left.join("data/Default")).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        let half = runtime.join("browser-half");
        fs::create_dir_all(&half).unwrap();
        let other = runtime.join("plantuml");
        fs::create_dir_all(&other).unwrap();

        sweep(&runtime, Duration::from_secs(3600));
        assert!(left.exists() && half.exists(), "too young");
        sweep(&runtime, Duration::ZERO);
        assert!(!left.exists() && !half.exists());
        assert!(held.path().exists() && other.exists());

        let path = held.path().to_path_buf();
        drop(held);
        assert!(!path.exists());
    }
}
