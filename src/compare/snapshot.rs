//! Snapshots: copies of everything that a build made. A marker says that a directory is one and what is in it, so that
//! nothing is removed or overwritten that is not clm's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::files::{self, Access};
use crate::parallel;

use super::Target;
use super::tree::{self, Entry, Tree, joined};

/// The name of the marker.
const MARKER: &str = ".clm-snapshot.json";
/// Where a snapshot is made before it replaces the one that is there.
const NEW: &str = ".clm-snapshot-new";
const VERSION: u32 = 1;

/// The content of the marker.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Marker {
    version: u32,
    /// Whether everything is in its place.
    is_complete: bool,
    /// The directories of the targets in the snapshot, by name.
    pub targets: BTreeMap<String, String>,
    /// The digests of the files.
    files: BTreeMap<String, Option<Digest>>,
    /// The empty directories.
    empty_dirs: Vec<String>,
}

impl Marker {
    /// Returns whether a directory has files of the snapshot in it.
    fn has_below(&self, dir: &str) -> bool {
        let inside = format!("{dir}/");
        let mut next = self.files.range(inside.clone()..);
        next.next()
            .is_some_and(|(path, _)| path.starts_with(&inside))
    }
}

/// The size of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// The number of its files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Returns whether a path of a snapshot is no output.
pub(super) fn is_own(path: &str) -> bool {
    path == MARKER || path == NEW || path.starts_with(&format!("{NEW}/"))
}

/// Returns an error if a snapshot cannot be made in a directory (absolute): it must be new, empty, or a snapshot with
/// nothing else in it.
pub(crate) fn check(dir: &Path) -> Result<()> {
    there(dir).map(|_| ())
}

/// Copies all outputs to a directory, and replaces the snapshot that is there.
pub(crate) fn write(dir: &Path, targets: &[Target]) -> Result<Written> {
    let old = there(dir)?;
    let tree = Tree::of_targets(targets)?;
    let make_dir =
        |dir: &Path| std::fs::create_dir_all(dir).map_err(|error| Error::io("create", dir, &error));
    make_dir(dir)?;
    let new = dir.join(NEW);
    remove_all(&new)?;
    make_dir(&new)?;
    let copied = copy(&tree, &new);
    if copied.is_err() {
        let _ = remove_all(&new);
    }
    let (mut marker, bytes) = copied?;
    for target in targets {
        let place = target.prefix.clone();
        marker.targets.insert(target.name.clone(), place);
    }
    // From here on until it is complete it is clm's, and no snapshot that can be compared.
    let mut both = marker.files.clone();
    both.extend(old.keys().map(|path| (path.clone(), None)));
    let unfinished = Marker {
        version: VERSION,
        files: both,
        ..Marker::default()
    };
    write_marker(dir, &unfinished)?;
    remove_entries(dir, &old)?;
    let list = |error: &std::io::Error| Error::io("list", &new, error);
    for item in std::fs::read_dir(&new).map_err(|error| list(&error))? {
        let item = item.map_err(|error| list(&error))?;
        let place = dir.join(item.file_name());
        files::rename_new(&item.path(), &place)
            .map_err(|error| Error::io("write", &place, &error))?;
    }
    remove_all(&new)?;
    write_marker(dir, &marker)?;
    Ok(Written {
        files: marker.files.len(),
        bytes,
    })
}

/// Returns the marker of a directory that is compared, if it is a snapshot.
pub(super) fn marker_to_compare(dir: &Path) -> Result<Option<Marker>> {
    if !dir.is_dir() {
        let problem = match dir.exists() {
            true => "is not a directory",
            false => "does not exist",
        };
        return Err(Error::usage(format!("`{}` {problem}", dir.display()))
            .hint("name a snapshot that `--snapshot` made, or the output root of another build"));
    }
    let marker = marker(dir)?;
    if marker.as_ref().is_some_and(|marker| !marker.is_complete) {
        return Err(Error::usage(format!(
            "the snapshot `{}` is not complete: the build that made it was interrupted",
            dir.display()
        ))
        .hint("make it again with `--snapshot`"));
    }
    Ok(marker)
}

/// Returns an error if a snapshot, whose entries were found, is not what it was when it was made: differences from it
/// would say nothing about outputs.
pub(super) fn check_whole(
    dir: &Path,
    marker: &Marker,
    found: &BTreeMap<String, Entry>,
) -> Result<()> {
    let damaged = |problem: String| {
        Err(
            Error::usage(format!("the snapshot `{}` {problem}", dir.display()))
                .hint("make it again with `--snapshot`, from the commit that it was made of"),
        )
    };
    let is_lost = |path: &&String| !found.contains_key(*path);
    if let Some(path) = marker.files.keys().find(is_lost) {
        return damaged(format!("has lost its file `{path}`"));
    }
    if let Some(path) = marker.empty_dirs.iter().find(is_lost) {
        return damaged(format!("has lost its directory `{path}`"));
    }
    match first_foreign(found, marker) {
        Some((path, problem)) => damaged(format!("is damaged: `{path}` {problem}")),
        None => Ok(()),
    }
}

fn marker(dir: &Path) -> Result<Option<Marker>> {
    let file = dir.join(MARKER);
    let bytes = match files::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if files::is_gone(&error) => return Ok(None),
        Err(error) => return Err(Error::io("read", &file, &error)),
    };
    let damaged = |problem: &str| {
        Error::usage(format!("`{}` {problem}", file.display()))
            .hint("choose another directory, or remove this one yourself")
    };
    let marker: Marker =
        serde_json::from_slice(&bytes).map_err(|_| damaged("is not the marker of a snapshot"))?;
    if marker.version != VERSION {
        return Err(damaged("was written by another version of clm"));
    }
    Ok(Some(marker))
}

fn write_marker(dir: &Path, marker: &Marker) -> Result<()> {
    let file = dir.join(MARKER);
    let mut text = serde_json::to_vec_pretty(marker)
        .map_err(|error| Error::bug(format!("the marker of a snapshot: {error}")))?;
    text.push(b'\n');
    let write = |target: &mut std::fs::File| std::io::Write::write_all(target, &text);
    files::replace(&file, Access::Shared, write).map_err(|error| Error::io("write", &file, &error))
}

/// Returns what is in the place of a new snapshot, all of which is clm's.
fn there(dir: &Path) -> Result<BTreeMap<String, Entry>> {
    let mut found = BTreeMap::new();
    match dir.symlink_metadata() {
        Err(error) if files::is_gone(&error) => return Ok(found),
        Err(error) => return Err(Error::io("look at", dir, &error)),
        Ok(_) if !dir.is_dir() => {
            return Err(
                Error::usage(format!("`{}` is not a directory", dir.display()))
                    .hint("name a new directory"),
            );
        }
        Ok(_) => {}
    }
    let marker = marker(dir)?;
    tree::walk(dir, "", &mut found)?;
    found.retain(|path, _| !is_own(path));
    let refuse = |problem: String| {
        Err(Error::usage(problem)
            .hint("name a new or empty directory, or remove what is not clm's yourself"))
    };
    let Some(marker) = marker else {
        let has_git = dir.join(".git").symlink_metadata().is_ok();
        return match found.is_empty() && !has_git {
            true => Ok(found),
            false => refuse(format!(
                "`{}` is neither empty nor a snapshot of clm",
                dir.display()
            )),
        };
    };
    let problem = first_foreign(&found, &marker)
        .map(|(path, problem)| format!("`{}` {problem}", dir.join(path).display()));
    match problem {
        Some(problem) => refuse(problem),
        None => Ok(found),
    }
}

/// Returns the first entry of a snapshot that is not clm's, and why.
fn first_foreign<'f>(
    found: &'f BTreeMap<String, Entry>,
    marker: &Marker,
) -> Option<(&'f str, &'static str)> {
    let entries: Vec<(&String, &Entry)> = found.iter().collect();
    let problems = parallel::each(&entries, |(path, entry)| foreign(path, entry, marker));
    let mut all = entries.iter().zip(problems);
    all.find_map(|((path, _), problem)| Some((path.as_str(), problem?)))
}

/// Returns why something in a snapshot is not clm's, if it is not.
fn foreign(path: &str, entry: &Entry, marker: &Marker) -> Option<&'static str> {
    match entry {
        Entry::File(file) => match marker.files.get(path) {
            None => Some("is not a part of the snapshot"),
            Some(None) => None,
            Some(Some(digest)) if digest.is_of_file(file) => None,
            Some(Some(_)) => Some("was changed since the snapshot was made"),
        },
        // What an interrupted removal left.
        Entry::EmptyDir if !marker.is_complete => None,
        Entry::EmptyDir if marker.empty_dirs.iter().any(|dir| dir == path) => None,
        // Its files were removed.
        Entry::EmptyDir if marker.has_below(path) => None,
        _ => Some("is not a part of the snapshot"),
    }
}

/// Copies the entries of a build to a new directory. Returns the marker, without targets, and the bytes of all files.
fn copy(tree: &Tree, to: &Path) -> Result<(Marker, u64)> {
    let mut files_to_copy: Vec<(&String, &PathBuf)> = Vec::new();
    let mut marker = Marker {
        version: VERSION,
        is_complete: true,
        ..Marker::default()
    };
    for (path, entry) in &tree.entries {
        let place = to.join(path);
        let dir = match entry {
            Entry::EmptyDir => {
                marker.empty_dirs.push(path.clone());
                Some(&*place)
            }
            Entry::File(file) => {
                files_to_copy.push((path, file));
                place.parent()
            }
            // Something else is in the place of an output.
            Entry::Link(_) | Entry::Other(_) => None,
        };
        if let Some(dir) = dir {
            std::fs::create_dir_all(dir).map_err(|error| Error::io("create", dir, &error))?;
        }
    }
    let copied = parallel::each(&files_to_copy, |(path, file)| {
        let place = to.join(path);
        files::copy_with_time(file, &place)
            .and_then(|()| Ok((Digest::of_file(&place)?, place.metadata()?.len())))
            .map_err(|error| Error::io("copy", file, &error))
    });
    let mut bytes = 0;
    for ((path, _), copied) in files_to_copy.into_iter().zip(copied) {
        let (digest, size) = copied?;
        bytes += size;
        marker.files.insert(path.clone(), Some(digest));
    }
    Ok((marker, bytes))
}

/// Removes what was found in a snapshot, with the directories that are empty then.
fn remove_entries(dir: &Path, entries: &BTreeMap<String, Entry>) -> Result<()> {
    for (path, entry) in entries {
        let place = dir.join(path);
        if let Entry::File(_) = entry {
            std::fs::remove_file(&place).map_err(|error| Error::io("remove", &place, &error))?;
        }
    }
    let mut dirs: Vec<String> = entries.keys().flat_map(|path| parents(path)).collect();
    dirs.sort_by_key(|dir| std::cmp::Reverse(dir.len()));
    dirs.dedup();
    for path in dirs {
        // One that is not empty has something new in it, which is not clm's.
        let _ = std::fs::remove_dir(dir.join(path));
    }
    Ok(())
}

/// Returns a path and the directories above it in the snapshot.
fn parents(path: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut dir = String::new();
    for component in path.split('/') {
        dir = joined(&dir, component);
        found.push(dir.clone());
    }
    found
}

fn remove_all(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if !files::is_gone(&error) => Err(Error::io("remove", dir, &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        dir: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self { dir }
        }

        fn make(&self, path: &str, text: &str) {
            let file = self.dir.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }

        fn snapshot(&self) -> PathBuf {
            self.dir.path().join("snapshot")
        }

        fn target(&self, files: &[&str], empty_dirs: &[&str]) -> Vec<Target> {
            let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
            vec![Target {
                name: "all".to_owned(),
                prefix: String::new(),
                others: Vec::new(),
                dir: self.dir.path().join("output"),
                files: owned(files),
                empty_dirs: owned(empty_dirs),
            }]
        }

        /// The files and empty directories of the snapshot.
        fn found(&self) -> Vec<String> {
            let mut found = BTreeMap::new();
            tree::walk(&self.snapshot(), "", &mut found).unwrap();
            found.into_keys().collect()
        }
    }

    fn message(result: Result<impl std::fmt::Debug>) -> String {
        result.unwrap_err().message().to_owned()
    }

    #[test]
    fn a_snapshot_replaces_an_older_one_and_nothing_else() {
        let world = World::new();
        world.make("output/a/b", "1");
        world.make("output/c", "2");
        let old = world.target(&["a/b", "c"], &["empty/e"]);
        std::fs::create_dir_all(world.dir.path().join("output/empty/e")).unwrap();
        let written = write(&world.snapshot(), &old).unwrap();
        assert_eq!((written.files, written.bytes), (2, 2));
        assert_eq!(world.found(), [MARKER, "a/b", "c", "empty/e"]);
        // A file where a directory was, and the other way round.
        std::fs::remove_dir_all(world.dir.path().join("output")).unwrap();
        world.make("output/a", "1");
        world.make("output/c/d", "3");
        let new = world.target(&["a", "c/d"], &[]);
        write(&world.snapshot(), &new).unwrap();
        assert_eq!(world.found(), [MARKER, "a", "c/d"]);
        assert!(
            !super::super::with(&world.snapshot(), &new)
                .unwrap()
                .differs()
        );
    }

    #[test]
    fn what_is_not_clms_is_refused_and_stays() {
        let world = World::new();
        world.make("output/a", "1");
        let targets = world.target(&["a"], &[]);
        world.make("snapshot/mine", "x");
        let error = message(write(&world.snapshot(), &targets));
        assert!(error.contains("neither empty nor a snapshot"), "{error}");
        assert_eq!(world.found(), ["mine"]);

        std::fs::remove_file(world.snapshot().join("mine")).unwrap();
        write(&world.snapshot(), &targets).unwrap();
        for (path, problem) in [("mine", "not a part"), ("a", "was changed")] {
            world.make(&format!("snapshot/{path}"), "other");
            let error = message(write(&world.snapshot(), &targets));
            assert!(error.contains(problem), "{error}");
            std::fs::write(world.snapshot().join("a"), "1").unwrap();
            let _ = std::fs::remove_file(world.snapshot().join("mine"));
        }
        std::os::unix::fs::symlink("a", world.snapshot().join("link")).unwrap();
        assert!(message(check(&world.snapshot())).contains("link"));
        std::fs::remove_file(world.snapshot().join("link")).unwrap();
        std::fs::create_dir(world.snapshot().join("dir")).unwrap();
        assert!(message(check(&world.snapshot())).contains("dir"));
        std::fs::remove_dir(world.snapshot().join("dir")).unwrap();
        check(&world.snapshot()).unwrap();
    }

    #[test]
    fn an_interrupted_snapshot_is_no_snapshot_and_can_be_made_again() {
        let world = World::new();
        world.make("output/a", "1");
        let targets = world.target(&["a"], &[]);
        write(&world.snapshot(), &targets).unwrap();
        let marker = Marker {
            version: VERSION,
            files: BTreeMap::from([("a".to_owned(), None), ("old".to_owned(), None)]),
            ..Marker::default()
        };
        write_marker(&world.snapshot(), &marker).unwrap();
        world.make("snapshot/old", "0");
        world.make(&format!("snapshot/{NEW}/half"), "0");
        let error = message(super::super::with(&world.snapshot(), &targets));
        assert!(error.contains("not complete"), "{error}");
        write(&world.snapshot(), &targets).unwrap();
        assert_eq!(world.found(), [MARKER, "a"]);
    }

    #[test]
    fn damaged_markers_are_refused() {
        let world = World::new();
        for (text, problem) in [("{", "not the marker"), ("[]", "not the marker")] {
            world.make(&format!("snapshot/{MARKER}"), text);
            assert!(message(check(&world.snapshot())).contains(problem));
        }
        let newer = Marker {
            version: VERSION + 1,
            ..Marker::default()
        };
        write_marker(&world.snapshot(), &newer).unwrap();
        assert!(message(check(&world.snapshot())).contains("another version"));
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let world = World::new();
        world.make("file", "x");
        let missing = message(super::super::with(&world.dir.path().join("no"), &[]));
        assert!(missing.contains("does not exist"), "{missing}");
        let file = message(super::super::with(&world.dir.path().join("file"), &[]));
        assert!(file.contains("not a directory"), "{file}");
        assert!(message(check(&world.dir.path().join("file"))).contains("not a directory"));
    }
}
