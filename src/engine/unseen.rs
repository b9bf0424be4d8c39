//! Changes of sources that no event of a watched directory reports: through another hard link of a file, through a bind
//! mount of a single file, or by mounting something over a directory.
//!
//! A watch compares the stamps of all sources before a requested build, and periodically while there is a
//! source that can change in such a way.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock::now_ns;
use crate::config::Place;
use crate::digest::{Digest, Stamp};
use crate::mounts::{self, Mount};
use crate::watch::ChangeSet;

use super::publish::OwnFiles;
use super::sources::Sources;

/// The minimum interval of an idle engine.
const PACE: Duration = Duration::from_secs(2);
/// A comparison takes at most 1/50 of the time.
const SHARE: u32 = 50;

/// The state of sources that change without an event.
#[derive(Default)]
pub(super) struct Unseen {
    /// The mount points below the course root; `None` before the first comparison.
    mounts: Option<Vec<PathBuf>>,
    /// The stamps of directories of sources in these mounts.
    dirs: HashMap<PathBuf, Stamp>,
    /// The digests of settings files.
    settings: HashMap<PathBuf, Option<Digest>>,
    /// The digest of the specification as it was last reported.
    specification: Option<Digest>,
    next: Option<Instant>,
    is_known: bool,
}

/// The course to compare.
pub(super) struct Course<'a> {
    /// Its place.
    pub place: &'a Place,
    /// Its settings files.
    pub settings: Vec<PathBuf>,
    /// The digest of the specification that is in use.
    pub specification: Option<Digest>,
    /// What is known of its sources.
    pub sources: &'a Sources,
    /// The files that clm wrote itself.
    pub own: &'a OwnFiles,
}

impl Unseen {
    /// Returns when an idle engine should compare again; `None` while all sources change only with events. It compares
    /// once after every run.
    pub(super) fn next_look(&self) -> Option<Instant> {
        match self.is_known {
            true => self.next,
            false => Some(Instant::now()),
        }
    }

    /// Makes the next comparison due at once, since the sources may be others.
    pub(super) fn renew(&mut self) {
        self.is_known = false;
    }

    /// Compares all sources. Returns what changed: everything if a build was requested, otherwise only what no event
    /// reports.
    pub(super) fn look(&mut self, course: &Course<'_>, is_asked: bool) -> ChangeSet {
        let began = Instant::now();
        let root = &course.place.root;
        let mounts = mounts_below(root);
        let are_others = (self.mounts.as_ref()).is_some_and(|before| *before != mounts);
        let is_mounted = |file: &Path| mounts.iter().any(|mount| file.starts_with(mount));
        let (changed, has_links) = course.sources.snapshot.look_again();
        let changed = changed.into_iter();
        let mut paths: BTreeSet<PathBuf> = changed
            .map(|(path, has_links)| (path.under(root), has_links))
            .filter(|(file, has_links)| is_asked || *has_links || is_mounted(file))
            .map(|(file, _)| file)
            .filter(|file| !(course.own.digest(file)).is_some_and(|own| own.is_of_file(file)))
            .collect();
        let mut is_pending = has_links || !mounts.is_empty();
        for file in &course.settings {
            let found = Digest::of_file(file).ok();
            let before = self.settings.insert(file.clone(), found);
            if before.is_some_and(|before| before != found) {
                paths.insert(file.clone());
            }
            is_pending |= is_linked(file);
        }
        let spec = &course.place.spec;
        is_pending |= is_linked(spec);
        // An unusable specification is reported once; the earlier one remains in use.
        let found = Digest::of_file(spec).ok();
        if course.specification.is_some() && found != course.specification {
            if found != self.specification && (is_asked || is_linked(spec) || is_mounted(spec)) {
                paths.insert(spec.clone());
            }
            self.specification = found;
        }
        paths.extend(self.changed_dirs(course.sources, root, &mounts));
        self.mounts = Some(mounts);
        let pace = PACE.max(began.elapsed() * SHARE);
        self.next = is_pending.then(|| Instant::now() + pace);
        self.is_known = true;
        ChangeSet {
            paths,
            rescan: are_others,
        }
    }

    /// Returns the directories of sources in mounts whose entries may have changed.
    fn changed_dirs(&mut self, sources: &Sources, root: &Path, mounts: &[PathBuf]) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        let Some(listed) = sources.listed().filter(|_| !mounts.is_empty()) else {
            self.dirs.clear();
            return changed;
        };
        let mut dirs = HashMap::new();
        for dir in &listed.listing().dirs {
            let dir = dir.under(root);
            if !mounts.iter().any(|mount| dir.starts_with(mount)) {
                continue;
            }
            let looked_ns = now_ns();
            let found = std::fs::metadata(&dir).map_or(Stamp::NONE, |found| Stamp::of(&found));
            let before = self.dirs.get(&dir);
            if before.is_some_and(|before| *before != found) {
                changed.push(dir.clone());
            }
            // A directory that changed just now may change again within the same stamp.
            let is_reliable = found.is_reliable_at(looked_ns);
            dirs.insert(dir, if is_reliable { found } else { Stamp::NONE });
        }
        self.dirs = dirs;
        changed
    }
}

/// Returns whether a file has more than one hard link.
pub(super) fn has_links(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    metadata.is_file() && metadata.nlink() > 1
}

fn is_linked(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|metadata| has_links(&metadata))
}

/// Returns the mount points below a directory; none on systems that do not list them.
fn mounts_below(root: &Path) -> Vec<PathBuf> {
    let real = root.canonicalize();
    let real = real.as_deref().unwrap_or(root);
    let below = below(mounts::all(), real).into_iter();
    below.map(|mount| root.join(mount)).collect()
}

/// Returns the mount points below a directory, relative to it.
fn below(mounts: Vec<Mount>, root: &Path) -> Vec<PathBuf> {
    let points = mounts.into_iter();
    points
        .filter_map(|mount| Some(mount.point.strip_prefix(root).ok()?.to_path_buf()))
        .filter(|point| *point != Path::new(""))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_the_course_are_found_by_their_names() {
        let table = b"\
            22 1 8:1 / / rw - ext4 /dev/vda rw\n\
            30 22 8:1 /a /home/me/my\\040course/slides/m rw shared:3 - ext4 /dev/vda rw\n\
            31 22 8:1 /b /home/me/my\\040course rw - ext4 /dev/vda rw\n\
            32 22 8:1 /b /home/me/my\\040courses/slides rw - ext4 /dev/vda rw\n";
        assert_eq!(
            below(mounts::parse(table), Path::new("/home/me/my course")),
            [Path::new("slides/m")]
        );
    }
}
