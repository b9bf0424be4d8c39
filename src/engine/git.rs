//! The commit of the sources, and how a change of it is detected without running git.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::digest::Stamp;
use crate::files;
use crate::watch::GitDir;

/// The state of the sources in git.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The commit; `None` outside of a repository.
    pub commit: Option<String>,
    /// Whether the working tree differs from it.
    pub dirty: Option<bool>,
}

/// Files of a repository that change with its state, with their stamps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GitStamps(Vec<(PathBuf, Option<Stamp>)>);

impl State {
    /// Runs git to find the state.
    pub(super) fn of(dir: &Path) -> Self {
        let git = |args: &[&str]| {
            let output = command(dir)
                .args(args)
                .stderr(Stdio::null())
                .output()
                .ok()
                .filter(|output| output.status.success())?;
            String::from_utf8(output.stdout).ok()
        };
        let commit = git(&["rev-parse", "HEAD"]).map(|text| text.trim().to_owned());
        // Without locks: a write to the index would look like a change.
        let status = || git(&["--no-optional-locks", "status", "--porcelain"]);
        let dirty = commit.as_ref().and_then(|_| status());
        Self {
            commit,
            dirty: dirty.map(|text| !text.trim().is_empty()),
        }
    }
}

/// Returns the command that runs git in a directory. Nothing can be read from it, and nothing is asked.
pub(super) fn command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(dir)
        // In a hook these name the repository of the hook.
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null());
    command
}

impl GitStamps {
    /// Returns the marks of the repository that contains a directory, as they are now. Outside of a repository they are
    /// the places where one could be.
    pub(super) fn of(dir: &Path) -> Self {
        let Some(found) = GitDir::find(dir) else {
            // A repository may be created later.
            let stamps = dir.ancestors().map(|dir| stamp(dir.join(".git")));
            return Self(stamps.collect());
        };
        let own = found.path();
        let common = text_of(&own.join("commondir")).map(|path| own.join(path));
        let common = common.unwrap_or_else(|| own.to_path_buf());
        let mut paths = vec![
            own.join("HEAD"),
            own.join("index"),
            common.join("packed-refs"),
            common.join("reftable/tables.list"),
            own.join("reftable/tables.list"),
        ];
        let head = text_of(&own.join("HEAD")).unwrap_or_default();
        if let Some(branch) = head.strip_prefix("ref:") {
            paths.push(common.join(branch.trim()));
            paths.push(own.join(branch.trim()));
        }
        Self(paths.into_iter().map(stamp).collect())
    }

    /// Returns whether they are unchanged.
    pub(super) fn are_as_they_were(&self) -> bool {
        self.0.iter().all(|(path, stamp)| stamp_of(path) == *stamp)
    }
}

fn stamp(path: PathBuf) -> (PathBuf, Option<Stamp>) {
    let stamp = stamp_of(&path);
    (path, stamp)
}

fn stamp_of(path: &Path) -> Option<Stamp> {
    Some(Stamp::of(&std::fs::metadata(path).ok()?))
}

fn text_of(file: &Path) -> Option<String> {
    Some(files::read_to_string(file).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(dir: &Path, args: &[&str]) {
        let status = Command::new("git")
            .arg("-C")
            .arg(dir)
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{args:?}");
    }

    #[test]
    fn every_change_of_the_commit_is_seen_without_git() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        let course = top.join("course");
        std::fs::create_dir_all(&course).unwrap();
        let outside = GitStamps::of(&course);
        assert!(outside.are_as_they_were());
        assert_eq!(State::of(&course).commit, None);
        git(&top, &["init", "-q", "-b", "main"]);
        assert!(!outside.are_as_they_were(), "it is in a repository now");
        std::fs::write(course.join("a"), "1").unwrap();
        git(&top, &["add", "."]);
        git(&top, &["commit", "-q", "-m", "first"]);
        let mut last = (GitStamps::of(&course), State::of(&course));
        assert_eq!(last.1.dirty, Some(false));
        let steps: [&[&str]; 6] = [
            &["commit", "-q", "--allow-empty", "-m", "second"],
            &["checkout", "-q", "-b", "other", "HEAD~1"],
            &["pack-refs", "--all"],
            &["reset", "-q", "--soft", "main"],
            &["checkout", "-q", "--detach", "HEAD~1"],
            &["update-ref", "HEAD", "main"],
        ];
        for step in steps {
            assert!(last.0.are_as_they_were(), "{step:?}");
            git(&top, step);
            assert!(!last.0.are_as_they_were(), "{step:?}");
            last = (GitStamps::of(&course), State::of(&course));
            assert!(last.1.commit.is_some(), "{step:?}");
        }
        // A linked working tree has its own HEAD, and the branches of the first one.
        git(&top, &["worktree", "add", "-q", "../second", "-b", "third"]);
        let second = dir.path().join("second");
        let stamps = GitStamps::of(&second);
        assert!(stamps.are_as_they_were());
        git(&second, &["commit", "-q", "--allow-empty", "-m", "third"]);
        assert!(!stamps.are_as_they_were());
        // Running git changes no mark.
        std::fs::write(second.join("course/a"), "2").unwrap();
        let stamps = GitStamps::of(&second);
        assert_eq!(State::of(&second).dirty, Some(true));
        assert!(stamps.are_as_they_were());
    }
}
