//! Ignore rules: `.gitignore`, `.clmignore` and `.git/info/exclude`, with git's semantics.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The names of ignore files; within one directory, the later one here takes precedence.
pub(super) const RULE_FILES: &[&str] = &[".gitignore", ".clmignore"];

/// The rules below one directory, read on demand.
#[derive(Debug)]
pub(super) struct Rules {
    top: PathBuf,
    by_dir: RefCell<HashMap<PathBuf, Arc<Gitignore>>>,
}

impl Rules {
    /// Creates the rules of `top` and the directories below it.
    pub(super) fn new(top: &Path) -> Self {
        Self {
            top: top.to_path_buf(),
            by_dir: RefCell::default(),
        }
    }

    /// Discards the rules that were read, because an ignore file changed.
    pub(super) fn forget(&self) {
        self.by_dir.borrow_mut().clear();
    }

    /// Returns whether the rules ignore a path below `top`, or one of its parent directories.
    pub(super) fn ignores(&self, path: &Path, is_dir: bool) -> bool {
        let Ok(below) = path.strip_prefix(&self.top) else {
            return false;
        };
        let mut current = self.top.clone();
        let count = below.components().count();
        below.components().enumerate().any(|(index, component)| {
            current.push(component);
            self.ignores_itself(&current, is_dir || index + 1 < count)
        })
    }

    /// Rules in directories nearer to the path take precedence.
    fn ignores_itself(&self, path: &Path, is_dir: bool) -> bool {
        for dir in path.ancestors().skip(1) {
            match self.of_dir(dir).matched(path, is_dir) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None if dir == self.top => return false,
                Match::None => {}
            }
        }
        false
    }

    fn of_dir(&self, dir: &Path) -> Arc<Gitignore> {
        if let Some(known) = self.by_dir.borrow().get(dir) {
            return known.clone();
        }
        let mut builder = GitignoreBuilder::new(dir);
        // A rule that cannot be parsed ignores nothing: this may cause a needless check, but loses no change.
        let mut add = |file: PathBuf| {
            if file.is_file() {
                let _ = builder.add(file);
            }
        };
        if dir == self.top {
            add(dir.join(".git/info/exclude"));
        }
        for name in RULE_FILES {
            add(dir.join(name));
        }
        let rules = Arc::new(builder.build().unwrap_or_else(|_| Gitignore::empty()));
        self.by_dir
            .borrow_mut()
            .insert(dir.to_path_buf(), rules.clone());
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_nest_as_git_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::write(top.join(".gitignore"), "*.log\nbuilt/\n/a/only\n").unwrap();
        std::fs::write(top.join("a/.gitignore"), "!keep.log\n").unwrap();
        std::fs::write(top.join("a/.clmignore"), "secret\n").unwrap();
        let rules = Rules::new(top);
        let ignores = |path: &str, is_dir| rules.ignores(&top.join(path), is_dir);
        assert!(ignores("x.log", false));
        assert!(ignores("a/b/x.log", false));
        assert!(!ignores("a/keep.log", false));
        assert!(ignores("built", true));
        assert!(!ignores("built", false));
        assert!(ignores("built/x.py", false));
        assert!(ignores("a/only", false));
        assert!(ignores("a/b/secret/x", false));
        assert!(!ignores("a/b/x.py", false));
        assert!(!rules.ignores(Path::new("/elsewhere.log"), false));
        std::fs::write(top.join(".gitignore"), "").unwrap();
        assert!(ignores("x.log", false));
        rules.forget();
        assert!(!ignores("x.log", false));
    }
}
