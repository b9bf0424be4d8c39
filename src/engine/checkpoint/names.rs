//! Names in directories of sources: finds entries that were added or removed since a course was planned, or since its
//! checkpoint was written.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::Path;

use crate::clock::now_ns;
use crate::course::tree::Listing;
use crate::digest::{Digest, Stamp};

use super::super::publish::Publisher;
use super::super::scan::{Skip, is_temporary_name};
use super::split;

/// Directories (relative to the course root), each with a digest of its names and the stamp that proves them.
pub(crate) type KnownNames = HashMap<String, (Digest, Option<Stamp>)>;

/// The entries of a directory of sources.
pub(super) struct Found {
    /// Every name, whether it is a directory, and whether it is a symbolic link.
    names: Vec<(OsString, bool, bool)>,
    /// The stamp of the directory; `None` if it changed just now, so that another change might not alter the stamp.
    pub(super) until: Option<Stamp>,
}

impl Found {
    /// Returns the entries of a directory now, without those that `skip` selects. Returns `None` if it cannot be read.
    pub(super) fn at(dir: &Path, skip: &Skip<'_>) -> Option<Self> {
        let looked_ns = now_ns();
        let stamp = Stamp::of(&std::fs::metadata(dir).ok()?);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir).ok()? {
            let entry = entry.ok()?;
            let kind = entry.file_type().ok()?;
            let name = entry.file_name();
            if !skip.skips(&entry.path()) && (kind.is_dir() || !is_temporary_name(&name)) {
                names.push((name, kind.is_dir(), kind.is_symlink()));
            }
        }
        names.sort_unstable();
        let is_reliable = stamp.is_reliable_at(looked_ns);
        Some(Self {
            names,
            until: is_reliable.then_some(stamp),
        })
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of(format!("{:?}", self.names))
    }
}

/// The entries of directories of sources when the course was planned, and the files that clm itself wrote there.
pub(super) struct Planned<'a> {
    /// By directory: names, and whether they are directories.
    children: HashMap<&'a str, HashMap<&'a str, bool>>,
    ours: HashSet<&'a str>,
    /// Directories that contain files of clm.
    made: HashSet<&'a str>,
}

impl<'a> Planned<'a> {
    pub(super) fn of(listing: &'a Listing, publisher: &'a Publisher) -> Self {
        let mut planned = Self {
            children: HashMap::new(),
            ours: publisher.among_sources().collect(),
            made: HashSet::new(),
        };
        let files = listing.files.iter().map(|file| (file.as_str(), false));
        let dirs = listing.dirs.iter().map(|dir| (dir.as_str(), true));
        for (path, is_dir) in files.chain(dirs) {
            let (dir, name) = split(path);
            planned
                .children
                .entry(dir)
                .or_default()
                .insert(name, is_dir);
        }
        for file in &planned.ours {
            let mut dir = split(file).0;
            while planned.made.insert(dir) {
                dir = split(dir).0;
            }
        }
        planned
    }

    /// Returns the directories that contain files of clm, and those above them.
    pub(super) fn made(&self) -> impl Iterator<Item = &'a str> {
        self.made.iter().copied()
    }

    /// Returns whether a directory existed when the course was planned.
    pub(super) fn knows(&self, dir: &str) -> bool {
        let (parent, name) = split(dir);
        let children = self.children.get(parent);
        children.is_some_and(|children| children.get(name) == Some(&true))
    }

    /// Returns whether a directory has the same entries as when the course was planned, apart from those of clm.
    pub(super) fn is_same(&self, dir: &str, found: &Found) -> bool {
        let none = HashMap::new();
        let children = self.children.get(dir).unwrap_or(&none);
        let mut known = 0;
        for (name, is_dir, is_link) in &found.names {
            let Some(name) = name.to_str().filter(|_| !is_link) else {
                return false;
            };
            if children.get(name) == Some(is_dir) {
                known += 1;
                continue;
            }
            let path = match dir {
                "" => name.to_owned(),
                dir => format!("{dir}/{name}"),
            };
            let is_ours = match is_dir {
                true => self.made.contains(&*path),
                false => self.ours.contains(&*path),
            };
            if !is_ours {
                return false;
            }
        }
        known == children.len()
    }
}

/// Returns whether a directory still has this reliable stamp, so that it contains the same names.
pub(super) fn is_unchanged(dir: &Path, until: Option<Stamp>) -> bool {
    let Some(until) = until else { return false };
    std::fs::metadata(dir).is_ok_and(|metadata| Stamp::of(&metadata) == until)
}
