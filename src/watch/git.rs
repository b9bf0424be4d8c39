//! Git's index lock: while it exists, git is writing files, and the files written so far are an incomplete state.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::files;

/// The directory in which git keeps its index and the index lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GitDir(PathBuf);

impl GitDir {
    /// Finds the repository that contains a directory: `.git` in it or a parent, or the directory that a file `.git`
    /// refers to (in worktrees and submodules).
    pub(crate) fn find(root: &Path) -> Option<Self> {
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

    /// Returns the directory to be watched (real path).
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns whether a real path is the lock.
    pub(crate) fn is_lock(&self, real: &Path) -> bool {
        real.parent() == Some(&self.0) && real.ends_with("index.lock")
    }

    /// Returns whether git is writing now. A lock older than `max_age` is ignored: it remained after a crash of git.
    pub(crate) fn is_locked(&self, max_age: Duration) -> bool {
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
