//! Snapshots of outputs, and what differs between the outputs of two builds.

mod manifest;
mod normal;
mod notebooks;
mod pages;
mod place;
mod snapshot;
mod texts;
mod tree;

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::files;
use crate::parallel;

use normal::Pictures;
pub(crate) use place::refuse_place;
pub(crate) use snapshot::{check, write};
use texts::Found;
pub(crate) use texts::first_difference;
use tree::{Entry, Tree};

/// The outputs of a target, with paths relative to its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its name.
    pub name: String,
    /// Its directory in a snapshot; empty for the snapshot itself.
    pub prefix: String,
    /// Its directory in the output root of another build, which may be made with other options: one of these.
    pub others: Vec<String>,
    /// Its directory (absolute).
    pub dir: PathBuf,
    /// Its files.
    pub files: Vec<String>,
    /// Its empty directories.
    pub empty_dirs: Vec<String>,
}

/// What differs between two builds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Paths that only the new build has.
    pub added: Vec<String>,
    /// Paths that only the old build has.
    pub removed: Vec<String>,
    /// Outputs that both have, and that are not the same.
    pub changed: Vec<Change>,
    /// The number of outputs with the same bytes.
    pub same: usize,
    /// The number of outputs that differ only in what does not matter.
    pub similar: usize,
}

/// An output that is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Its path.
    pub path: String,
    /// The first difference.
    pub first: Found,
}

impl Comparison {
    /// Returns whether anything differs.
    pub(crate) fn differs(&self) -> bool {
        !(self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty())
    }
}

/// Larger files (in bytes) are not read into memory: whether they are the same is all that is said about them.
const READ: u64 = 64 << 20;

/// The result of comparing two entries with the same path.
enum Verdict {
    Same,
    Similar,
    Changed(Found),
}

/// Returns an error if a directory (absolute) cannot be compared.
pub(crate) fn check_other(dir: &Path) -> Result<()> {
    Tree::of_dir(dir, &[]).map(|_| ())
}

/// Compares the outputs of this build with a snapshot, or with a directory that has the outputs of another build.
pub(crate) fn with(dir: &Path, targets: &[Target]) -> Result<Comparison> {
    let (old, new) = (Tree::of_dir(dir, targets)?, Tree::of_targets(targets)?);
    let mut result = Comparison::default();
    let only = |one: &Tree, other: &Tree| -> Vec<String> {
        let paths = one.entries.keys();
        let only = paths.filter(|path| !other.entries.contains_key(*path));
        only.cloned().collect()
    };
    result.added = only(&new, &old);
    result.removed = only(&old, &new);
    let pictures = (old.pictures(), new.pictures());
    let both: Vec<(&String, &Entry, &Entry)> = new
        .entries
        .iter()
        .filter_map(|(path, entry)| Some((path, old.entries.get(path)?, entry)))
        .collect();
    let is_in_both = |path: &str| old.entries.contains_key(path) && new.entries.contains_key(path);
    let verdicts = parallel::each(&both, |(path, before, after)| {
        entries(
            path,
            (before, after),
            (&pictures.0, &pictures.1),
            &is_in_both,
        )
    });
    for ((path, _, _), verdict) in both.into_iter().zip(verdicts) {
        match verdict? {
            Verdict::Same => result.same += 1,
            Verdict::Similar => result.similar += 1,
            Verdict::Changed(first) => result.changed.push(Change {
                path: path.clone(),
                first,
            }),
        }
    }
    Ok(result)
}

fn entries(
    path: &str,
    (before, after): (&Entry, &Entry),
    pictures: (&Pictures, &Pictures),
    is_in_both: &dyn Fn(&str) -> bool,
) -> Result<Verdict> {
    let (Entry::File(one), Entry::File(other)) = (before, after) else {
        return Ok(match before == after {
            true => Verdict::Same,
            false => Verdict::Changed(Found::between(
                "what it is",
                Some(before.to_string()),
                Some(after.to_string()),
            )),
        });
    };
    let size = |file: &PathBuf| file.metadata().map(|found| found.len());
    let sizes = (
        size(one).map_err(|error| Error::io("look at", one, &error))?,
        size(other).map_err(|error| Error::io("look at", other, &error))?,
    );
    if sizes.0.max(sizes.1) > READ {
        let digest =
            |file: &PathBuf| Digest::of_file(file).map_err(|error| Error::io("read", file, &error));
        return Ok(match sizes.0 == sizes.1 && digest(one)? == digest(other)? {
            true => Verdict::Same,
            false => Verdict::Changed(texts::of_sizes(sizes.0, sizes.1)),
        });
    }
    let read = |file: &PathBuf| files::read(file).map_err(|error| Error::io("read", file, &error));
    let bytes = (read(one)?, read(other)?);
    if bytes.0 == bytes.1 {
        return Ok(Verdict::Same);
    }
    let (Ok(old), Ok(new)) = (str::from_utf8(&bytes.0), str::from_utf8(&bytes.1)) else {
        return Ok(Verdict::Changed(texts::of_sizes(sizes.0, sizes.1)));
    };
    let found = contents(path, (old, new), pictures, is_in_both);
    Ok(found.map_or(Verdict::Similar, Verdict::Changed))
}

/// Returns the first difference of two texts that are not the same, by the kind of file that the path says.
fn contents(
    path: &str,
    (before, after): (&str, &str),
    pictures: (&Pictures, &Pictures),
    is_in_both: &dyn Fn(&str) -> bool,
) -> Option<Found> {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let are_pages = pages::is_page(before) && pages::is_page(after);
    match (name, extension) {
        (manifest::NAME, _) => manifest::first_difference(before, after, &|listed| {
            is_in_both(&tree::joined(dir, listed))
        }),
        (_, "html") if are_pages => pages::first_difference((before, after), pictures),
        (_, "ipynb") => notebooks::first_difference((before, after), pictures),
        _ => Some(texts::first_difference(before, after)),
    }
}

/// Returns what differs between two texts that are not the same; for tests.
pub fn difference(path: &str, before: &str, after: &str) -> Option<String> {
    let none = Pictures::default();
    let found = contents(path, (before, after), (&none, &none), &|_| true);
    found.map(|found| format!("{found:?}"))
}
