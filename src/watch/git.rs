//! Git's lock: while it exists, git is writing files, and what it wrote so far is the half of something.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::files;

/// Where git keeps its index and the lock of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitDir(PathBuf);

impl GitDir {
    /// Finds the repository that a directory lies in: `.git` in it or above it, or where a file `.git` points to (in
    /// worktrees and submodules).
    pub fn find(root: &Path) -> Option<Self> {
        let found = root
            .ancestors()
            .map(|dir| dir.join(".git"))
            .find(|path| path.exists())?;
        let dir = if found.is_file() {
            let text = files::read_to_string(&found).ok()?;
            let target = text.strip_prefix("gitdir:")?.trim();
            found.parent()?.join(target)
        } else {
            found
        };
        Some(Self(dir.canonicalize().ok()?))
    }

    /// The directory to be watched (real path).
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether a real path is the lock.
    pub fn is_lock(&self, real: &Path) -> bool {
        real.parent() == Some(&self.0) && real.ends_with("index.lock")
    }

    /// Whether git is writing now. A lock older than `max_age` was left behind by a git that crashed.
    pub fn is_locked(&self, max_age: Duration) -> bool {
        let Ok(metadata) = self.0.join("index.lock").symlink_metadata() else {
            return false;
        };
        let age = metadata
            .modified()
            .ok()
            .and_then(|modified| modified.elapsed().ok());
        age.is_none_or(|age| age < max_age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_found_upward_and_through_files() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("main/.git/worktrees/w")).unwrap();
        std::fs::create_dir_all(top.join("main/course")).unwrap();
        std::fs::create_dir_all(top.join("w/course")).unwrap();
        std::fs::write(top.join("w/.git"), "gitdir: ../main/.git/worktrees/w\n").unwrap();
        let found = GitDir::find(&top.join("main/course")).unwrap();
        assert_eq!(found.path(), top.join("main/.git"));
        let found = GitDir::find(&top.join("w/course")).unwrap();
        assert_eq!(found.path(), top.join("main/.git/worktrees/w"));
        let lock = found.path().join("index.lock");
        assert!(found.is_lock(&lock));
        assert!(!found.is_lock(&top.join("main/.git/index.lock")));
        assert!(!found.is_locked(Duration::from_secs(30)));
        let file = std::fs::File::create(&lock).unwrap();
        assert!(found.is_locked(Duration::from_secs(30)));
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(40))
            .unwrap();
        assert!(!found.is_locked(Duration::from_secs(30)));
    }
}
