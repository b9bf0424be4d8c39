//! Directories for work in progress: one for each process in the state directory, removed when its owner is gone.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::{Dir, Error, Result};
use crate::owner::Owner;

/// The directory of this process; removed on drop.
pub(crate) struct Staging(PathBuf);

impl Staging {
    /// Creates the directory and removes those that killed processes left behind.
    pub(crate) fn create(state_dir: &Path) -> Result<Self> {
        let all = state_dir.join("staging");
        sweep(&all);
        let own = all.join(Owner::current().dir_name());
        crate::private::create_dir_all(&own)
            .map_err(|error| Error::io_in(Dir::State, "create", &own, &error))?;
        Ok(Self(own))
    }

    /// Returns the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Creates an empty directory for the outputs of one job.
    pub(super) fn job_dir(&self, number: u64) -> Result<PathBuf> {
        let dir = self.0.join(format!("job-{number}"));
        crate::private::create_dir_all(&dir)
            .map_err(|error| Error::io_in(Dir::State, "create", &dir, &error))?;
        Ok(dir)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The age at which a directory is removed if its owner cannot be checked.
const UNKNOWN: Duration = Duration::from_secs(7 * 86_400);

/// Removes directories of processes that have ended. Those of another machine or process namespace are removed when
/// they were not modified for a week.
pub(super) fn sweep(all: &Path) {
    let Ok(entries) = std::fs::read_dir(all) else {
        return;
    };
    let now = SystemTime::now();
    for entry in entries.flatten() {
        let is_unused = || {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified
                .ok()
                .and_then(|modified| now.duration_since(modified).ok());
            age.is_some_and(|age| age > UNKNOWN)
        };
        let name = entry.file_name();
        let is_gone = Owner::is_gone_by_name(&name.to_string_lossy());
        if is_gone.unwrap_or_else(is_unused) {
            // Another process may remove it at the same time.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_dead_processes_go_and_those_of_living_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let me = Owner::current();
        let make = |owner: &Owner| {
            let made = dir.path().join("staging").join(owner.dir_name());
            std::fs::create_dir_all(made.join("job-1")).unwrap();
            made
        };
        // An earlier process with the same number.
        let dead = make(&Owner {
            started: me.started.wrapping_add(1),
            ..me.clone()
        });
        let mut child = std::process::Command::new("true").spawn().unwrap();
        // A process of another namespace, with the number of one that has ended here.
        let elsewhere = make(&Owner {
            pid: child.id(),
            host: "a container".to_owned(),
            ..me.clone()
        });
        child.wait().unwrap();
        let old = dir.path().join("staging/4711");
        std::fs::create_dir_all(&old).unwrap();
        let long_ago = SystemTime::now() - UNKNOWN - Duration::from_secs(60);
        std::fs::File::open(&old)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        let staging = Staging::create(dir.path()).unwrap();
        assert!(!dead.exists());
        assert!(!old.exists());
        assert!(elsewhere.exists());
        let own = staging.path().to_path_buf();
        assert!(own.is_dir());
        sweep(&dir.path().join("staging"));
        assert!(own.is_dir());
        drop(staging);
        assert!(!own.exists());
    }
}
