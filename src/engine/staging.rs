//! Directories for work in progress: one for each process in the state directory, removed when its owner is gone.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// This process's directory; removed on drop.
pub struct Staging(PathBuf);

impl Staging {
    /// Creates the directory and removes those that killed processes left behind.
    pub fn create(state_dir: &Path) -> Result<Self> {
        let all = state_dir.join("staging");
        sweep(&all);
        let own = all.join(std::process::id().to_string());
        std::fs::create_dir_all(&own).map_err(|error| {
            Error::io("create", &own, &error)
                .hint("choose a writable state directory with the variable CLM_STATE_DIR")
        })?;
        Ok(Self(own))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A new empty directory for the outputs of one job.
    pub fn job_dir(&self, number: u64) -> Result<PathBuf> {
        let dir = self.0.join(format!("job-{number}"));
        std::fs::create_dir_all(&dir).map_err(|error| Error::io("create", &dir, &error))?;
        Ok(dir)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Removes directories that are named after processes which are gone.
pub fn sweep(all: &Path) {
    let Ok(entries) = std::fs::read_dir(all) else {
        return;
    };
    for entry in entries.flatten() {
        let owner = entry.file_name().to_string_lossy().parse::<i32>();
        if owner.is_ok_and(|pid| !is_alive(pid)) {
            // Whoever else cleans up at the same time is welcome.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn is_alive(pid: i32) -> bool {
    use nix::errno::Errno;
    use nix::sys::signal::kill;
    use nix::unistd::Pid;
    pid > 0 && !matches!(kill(Pid::from_raw(pid), None), Err(Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_dead_processes_go_and_those_of_living_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = dir.path().join(format!("staging/{}", child.id()));
        child.wait().unwrap();
        let parent = dir
            .path()
            .join(format!("staging/{}", std::os::unix::process::parent_id()));
        std::fs::create_dir_all(dead.join("job-1")).unwrap();
        std::fs::create_dir_all(&parent).unwrap();
        let staging = Staging::create(dir.path()).unwrap();
        assert!(!dead.exists());
        assert!(parent.exists());
        let own = staging.path().to_path_buf();
        assert!(own.is_dir());
        drop(staging);
        assert!(!own.exists());
    }
}
