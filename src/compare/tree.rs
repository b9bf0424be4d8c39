//! The files and empty directories of a build, by the paths that they have in a snapshot.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::files;
use crate::parallel;

use super::Target;
use super::normal::Pictures;
use super::snapshot::{self, Marker};

/// Everything of a build.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub entries: BTreeMap<String, Entry>,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A regular file (absolute).
    File(PathBuf),
    /// A directory without anything in it.
    EmptyDir,
    /// A symbolic link, which is not followed.
    Link(PathBuf),
    /// Something else, such as a named pipe.
    Other(&'static str),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(_) => write!(f, "a file"),
            Self::EmptyDir => write!(f, "an empty directory"),
            Self::Link(to) => write!(f, "a symbolic link to `{}`", to.display()),
            Self::Other(reason) => write!(f, "{reason}"),
        }
    }
}

/// The extensions of pictures that pages may embed.
const PICTURES: [&str; 5] = ["png", "svg", "jpg", "jpeg", "gif"];

impl Tree {
    /// Returns the outputs of this build.
    pub(super) fn of_targets(targets: &[Target]) -> Result<Self> {
        let mut entries = BTreeMap::new();
        for target in targets {
            for file in &target.files {
                if let Some(entry) = entry(&target.dir.join(file))? {
                    entries.insert(joined(&target.prefix, file), entry);
                }
            }
        }
        for target in targets {
            for dir in &target.empty_dirs {
                let path = joined(&target.prefix, dir);
                entries.entry(path).or_insert(Entry::EmptyDir);
            }
        }
        // They are made in any case, but a directory with something in it needs no entry of its own.
        let all: Vec<String> = entries.keys().cloned().collect();
        for path in all {
            let inside = format!("{path}/");
            let next = entries.range(inside.clone()..).next();
            if next.is_some_and(|(path, _)| path.starts_with(&inside)) {
                entries.remove(&path);
            }
        }
        Ok(Self { entries })
    }

    /// Returns what is in a snapshot, or in the output root of another build. Outputs of a target that lies elsewhere
    /// there get the path that they have in a snapshot of this build.
    pub(super) fn of_dir(dir: &Path, targets: &[Target]) -> Result<Self> {
        let marker = snapshot::marker_to_compare(dir)?;
        let mut found = BTreeMap::new();
        walk(dir, "", &mut found)?;
        found.retain(|path, _| !snapshot::is_own(path));
        if let Some(marker) = &marker {
            snapshot::check_whole(dir, marker, &found)?;
        }
        let places: Vec<(String, &str)> = targets
            .iter()
            .map(|target| (place_of(target, marker.as_ref(), &found), &*target.prefix))
            .collect();
        let here = |path: String| {
            let containing = places
                .iter()
                .filter_map(|(place, prefix)| Some((place, prefix, below(&path, place)?)));
            match containing.max_by_key(|(place, ..)| place.len()) {
                Some((_, prefix, below)) => joined(prefix, below),
                None => path,
            }
        };
        let entries = found.into_iter().map(|(path, entry)| (here(path), entry));
        Ok(Self {
            entries: entries.collect(),
        })
    }

    /// Returns the pictures of the build.
    pub(super) fn pictures(&self) -> Pictures {
        let files: Vec<(&str, &PathBuf)> = self
            .entries
            .iter()
            .filter_map(|(path, entry)| match entry {
                Entry::File(file) => Some((path.rsplit('/').next()?, file)),
                _ => None,
            })
            .filter(|(name, _)| {
                let extension = name.rsplit_once('.').map(|(_, extension)| extension);
                extension.is_some_and(|extension| PICTURES.contains(&extension))
            })
            .collect();
        let digests = parallel::each(&files, |(_, file)| Digest::of_file(file).ok());
        let names = files.iter().map(|(name, _)| (*name).to_owned());
        let known = digests.into_iter().zip(names);
        Pictures(
            known
                .filter_map(|(digest, name)| Some((digest?, name)))
                .collect(),
        )
    }
}

/// Returns a path in a directory; the empty path is the root itself.
pub(super) fn joined(dir: &str, path: &str) -> String {
    match (dir, path) {
        ("", path) => path.to_owned(),
        (dir, "") => dir.to_owned(),
        (dir, path) => format!("{dir}/{path}"),
    }
}

/// Returns the rest of a path below a directory, if it lies there.
fn below<'p>(path: &'p str, dir: &str) -> Option<&'p str> {
    match dir {
        "" => Some(path),
        _ => path.strip_prefix(dir)?.strip_prefix('/'),
    }
}

/// Returns the directory of a target in a directory with the outputs of another build. A snapshot says it; elsewhere it
/// is where outputs of the target are.
fn place_of(target: &Target, marker: Option<&Marker>, found: &BTreeMap<String, Entry>) -> String {
    let known = marker.and_then(|marker| marker.targets.get(&target.name));
    if let Some(place) = known {
        return place.clone();
    }
    let has_outputs = |place: &&str| {
        let mut files = target.files.iter();
        files.any(|file| found.contains_key(&joined(place, file)))
    };
    let others = target.others.iter().map(String::as_str);
    let mut places = std::iter::once(&*target.prefix).chain(others);
    let place = places.find(has_outputs);
    place.unwrap_or(&target.prefix).to_owned()
}

/// Lists a directory. Symbolic links are not followed; repositories are no outputs.
pub(super) fn walk(dir: &Path, name: &str, found: &mut BTreeMap<String, Entry>) -> Result<()> {
    let list = |error: &std::io::Error| Error::io("list", dir, error);
    let mut is_empty = true;
    for item in std::fs::read_dir(dir).map_err(|error| list(&error))? {
        let item = item.map_err(|error| list(&error))?;
        is_empty = false;
        let file_name = item.file_name();
        if file_name == ".git" {
            continue;
        }
        let path = joined(name, &file_name.to_string_lossy());
        let kind = item.file_type().map_err(|error| list(&error))?;
        if kind.is_dir() {
            walk(&item.path(), &path, found)?;
        } else if let Some(entry) = entry(&item.path())? {
            found.insert(path, entry);
        }
    }
    if is_empty && !name.is_empty() {
        found.insert(name.to_owned(), Entry::EmptyDir);
    }
    Ok(())
}

/// Returns what is at a path; `None` if nothing is.
fn entry(path: &Path) -> Result<Option<Entry>> {
    let kind = match path.symlink_metadata() {
        Ok(metadata) => metadata.file_type(),
        Err(error) if files::is_gone(&error) => return Ok(None),
        Err(error) => return Err(Error::io("look at", path, &error)),
    };
    if kind.is_symlink() {
        let to = std::fs::read_link(path);
        let to = to.map_err(|error| Error::io("read", path, &error))?;
        return Ok(Some(Entry::Link(to)));
    }
    Ok(Some(match files::not_a_file(kind) {
        None => Entry::File(path.to_path_buf()),
        Some(reason) => Entry::Other(reason),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(dir: &Path, prefix: &str, files: &[&str], empty_dirs: &[&str]) -> Target {
        let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        Target {
            name: "all".to_owned(),
            prefix: prefix.to_owned(),
            others: vec!["all".to_owned()],
            dir: dir.to_path_buf(),
            files: owned(files),
            empty_dirs: owned(empty_dirs),
        }
    }

    fn paths(tree: &Tree) -> Vec<&str> {
        tree.entries.keys().map(String::as_str).collect()
    }

    fn make(dir: &Path, files: &[&str]) {
        for file in files {
            let file = dir.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "x").unwrap();
        }
    }

    #[test]
    fn outputs_that_are_there_have_their_places() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), &["a/b", "c"]);
        let target = target(
            dir.path(),
            "p",
            &["a/b", "c", "gone"],
            &["a", "d", "d/e", "f"],
        );
        let tree = Tree::of_targets(&[target]).unwrap();
        assert_eq!(paths(&tree), ["p/a/b", "p/c", "p/d/e", "p/f"]);
    }

    #[test]
    fn another_directory_is_read_as_this_build_names_it() {
        let dir = tempfile::tempdir().unwrap();
        make(
            dir.path(),
            &["all/a/b", "all/old", ".git/config", "all/.git/config"],
        );
        std::fs::create_dir_all(dir.path().join("all/empty")).unwrap();
        std::os::unix::fs::symlink("old", dir.path().join("all/link")).unwrap();
        std::os::unix::fs::symlink("..", dir.path().join("all/loop")).unwrap();
        let target = target(Path::new("/nowhere"), "", &["a/b"], &[]);
        let tree = Tree::of_dir(dir.path(), &[target]).unwrap();
        assert_eq!(paths(&tree), ["a/b", "empty", "link", "loop", "old"]);
        assert_eq!(tree.entries["link"], Entry::Link("old".into()));
    }

    #[test]
    fn what_belongs_to_no_target_keeps_its_path() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), &["p/a", "other/b"]);
        let target = target(Path::new("/nowhere"), "p", &["a"], &[]);
        let tree = Tree::of_dir(dir.path(), &[target]).unwrap();
        assert_eq!(paths(&tree), ["other/b", "p/a"]);
    }
}
