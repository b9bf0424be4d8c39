//! Polling: for network file systems, which report no events from other machines, and for when the system's limit of
//! watches is reached.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::Stamp;

use super::coverage::{Refused, Register};
use super::source::Raw;

/// For how long a file with a stamp too young to prove anything is checked again: the resolution of the coarsest file
/// systems.
const DOUBT_NS: i64 = 2_000_000_000;

/// The watched directories as of the last scan.
#[derive(Debug, Default)]
pub(super) struct Poller {
    dirs: BTreeMap<PathBuf, Listing>,
}

#[derive(Debug, Default)]
struct Listing {
    entries: BTreeMap<OsString, Entry>,
    seen_ns: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// The stamp of the name itself.
    own: Stamp,
    /// The stamp of the target of a symbolic link.
    target: Option<Stamp>,
    is_dir: bool,
    /// When this state was first seen, by the wall clock.
    since_ns: i64,
}

impl Entry {
    fn of(metadata: &Metadata, target: Option<Stamp>, now_ns: i64) -> Self {
        Self {
            own: Stamp::of(metadata),
            target,
            is_dir: metadata.is_dir(),
            since_ns: now_ns,
        }
    }

    /// Returns whether two entries show that a file changed.
    fn differs(&self, other: &Self) -> bool {
        if self.is_dir && other.is_dir {
            // Its contents are compared separately.
            return !self.own.is_same_inode(&other.own);
        }
        (self.own, self.target, self.is_dir) != (other.own, other.target, other.is_dir)
    }

    /// Returns whether the file could have been written after it was read and still have this stamp.
    fn is_doubtful(&self, looked_ns: i64) -> bool {
        let stamp = self.target.unwrap_or(self.own);
        // A file whose time is in the future must not be reported for ever.
        let is_recent = looked_ns < self.since_ns.saturating_add(DOUBT_NS);
        !self.is_dir && is_recent && !stamp.is_reliable_at(looked_ns)
    }
}

impl Poller {
    /// Scans all directories and returns the differences. `now_ns` is the wall clock time, in nanoseconds since 1970.
    ///
    /// A file whose stamp is too young to prove anything is reported once more: it may have been written in the same
    /// instant in which it was scanned.
    pub(super) fn look(&mut self, now_ns: i64) -> Vec<Raw> {
        let mut raw = Vec::new();
        for (dir, before) in &mut self.dirs {
            let Some(mut now) = read(dir, now_ns) else {
                raw.push(Raw::Vanished(dir.clone()));
                continue;
            };
            for name in before.entries.keys() {
                if !now.entries.contains_key(name) {
                    raw.push(Raw::Vanished(dir.join(name)));
                }
            }
            for (name, entry) in &mut now.entries {
                match before.entries.get(name) {
                    None => raw.push(Raw::Appeared(dir.join(name))),
                    Some(old) if entry.differs(old) => {
                        let is_another =
                            old.is_dir || entry.is_dir || !old.own.is_same_inode(&entry.own);
                        if is_another {
                            raw.push(Raw::Vanished(dir.join(name)));
                            raw.push(Raw::Appeared(dir.join(name)));
                        } else {
                            raw.push(Raw::Content(dir.join(name)));
                        }
                    }
                    Some(old) => {
                        entry.since_ns = old.since_ns;
                        if old.is_doubtful(before.seen_ns) {
                            raw.push(Raw::Content(dir.join(name)));
                        }
                    }
                }
            }
            *before = now;
        }
        raw
    }
}

impl Register for Poller {
    fn watch(&mut self, dir: &Path) -> Result<(), Refused> {
        let listing = read(dir, crate::clock::now_ns()).ok_or(Refused::Directory)?;
        self.dirs.insert(dir.to_path_buf(), listing);
        Ok(())
    }

    fn unwatch(&mut self, dir: &Path) {
        self.dirs.remove(dir);
    }

    /// Invalidates the directory's inode as well: the next scan will find another directory under this name, possibly
    /// with the same inode number.
    fn found_missing(&mut self, dir: &Path) {
        self.dirs.remove(dir);
        if let (Some(parent), Some(name)) = (dir.parent(), dir.file_name())
            && let Some(listing) = self.dirs.get_mut(parent)
            && let Some(entry) = listing.entries.get_mut(name)
        {
            entry.own.inode = u64::MAX;
        }
    }
}

fn read(dir: &Path, now_ns: i64) -> Option<Listing> {
    let mut entries = BTreeMap::new();
    for entry in std::fs::read_dir(dir).ok()?.flatten() {
        // A file that is removed meanwhile counts as missing.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let target = metadata
            .is_symlink()
            .then(|| std::fs::metadata(entry.path()).ok())
            .flatten()
            .map(|metadata| Stamp::of(&metadata));
        entries.insert(entry.file_name(), Entry::of(&metadata, target, now_ns));
    }
    Some(Listing {
        entries,
        seen_ns: now_ns,
    })
}

/// The pause between scans: short after a change, longer the longer nothing happens, and never so short that scanning
/// takes more than a tenth of the time.
#[derive(Debug)]
pub(super) struct Pace(Duration);

/// The shortest pause between scans.
pub(super) const SHORTEST: Duration = Duration::from_millis(500);
/// The longest pause, unless a scan itself takes long.
pub(super) const LONGEST: Duration = Duration::from_secs(2);

impl Default for Pace {
    fn default() -> Self {
        Self(SHORTEST)
    }
}

impl Pace {
    /// Returns the pause after a scan that took `took` and found a change or none.
    pub(super) fn next(&mut self, took: Duration, found: bool) -> Duration {
        self.0 = if found {
            SHORTEST
        } else {
            (self.0 + self.0 / 8).min(LONGEST)
        };
        self.0.max(took * 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: i64 = 10_000_000_000;

    #[test]
    fn differences_are_told_and_young_stamps_are_doubted() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        std::fs::create_dir(top.join("sub")).unwrap();
        std::fs::write(top.join("a"), "1").unwrap();
        std::fs::write(top.join("b"), "1").unwrap();
        std::fs::write(top.join("target"), "1").unwrap();
        std::os::unix::fs::symlink("target", top.join("link")).unwrap();
        let mut poller = Poller::default();
        poller.watch(top).unwrap();
        assert_eq!(poller.watch(&top.join("none")), Err(Refused::Directory));
        let now = crate::clock::now_ns();
        // Everything was written just before the scan.
        let doubted = |name: &str| Raw::Content(top.join(name));
        let four: Vec<Raw> = ["a", "b", "link", "target"].map(doubted).into();
        assert_eq!(poller.look(now + LATER), four);
        assert_eq!(poller.look(now + LATER + 1), []);

        std::fs::write(top.join("a"), "22").unwrap();
        std::fs::remove_file(top.join("b")).unwrap();
        std::fs::write(top.join("target"), "22").unwrap();
        std::fs::write(top.join("c.new"), "1").unwrap();
        std::fs::rename(top.join("c.new"), top.join("c")).unwrap();
        std::fs::write(top.join("sub/inside"), "1").unwrap();
        assert_eq!(
            poller.look(now + 2 * LATER),
            [
                Raw::Vanished(top.join("b")),
                Raw::Content(top.join("a")),
                Raw::Appeared(top.join("c")),
                Raw::Content(top.join("link")),
                Raw::Content(top.join("target")),
            ]
        );
        assert_eq!(poller.look(now + 3 * LATER), []);
        std::fs::remove_dir_all(top).unwrap();
        assert_eq!(
            poller.look(now + 4 * LATER),
            [Raw::Vanished(top.to_path_buf())]
        );
        poller.unwatch(top);
        assert_eq!(poller.look(now + 5 * LATER), []);
    }

    #[test]
    fn a_file_from_the_future_is_not_told_of_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join("a")).unwrap();
        let future = std::time::SystemTime::now() + Duration::from_secs(86_400);
        file.set_modified(future).unwrap();
        let mut poller = Poller::default();
        poller.watch(dir.path()).unwrap();
        let now = crate::clock::now_ns();
        let reported: Vec<usize> = (1..8)
            .map(|step| poller.look(now + step * 1_000_000_000).len())
            .collect();
        assert_eq!(reported, [1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn the_pace_slackens_and_quickens() {
        let mut pace = Pace::default();
        let quick = Duration::from_millis(1);
        assert!(pace.next(quick, false) > SHORTEST);
        for _ in 0..40 {
            pace.next(quick, false);
        }
        assert_eq!(pace.next(quick, false), LONGEST);
        assert_eq!(pace.next(quick, true), SHORTEST);
        assert_eq!(
            pace.next(Duration::from_secs(1), true),
            Duration::from_secs(10)
        );
    }
}
