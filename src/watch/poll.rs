//! Looking again and again: for network file systems, which tell no events of other machines, and when the system's
//! limits of watches are reached.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::Stamp;

use super::coverage::{Refused, Register};
use super::source::Raw;

/// How long a stamp that proves nothing is doubted: the resolution of the coarsest file systems.
const DOUBT_NS: i64 = 2_000_000_000;

/// The watched directories as they were last time.
#[derive(Debug, Default)]
pub struct Poller {
    dirs: BTreeMap<PathBuf, Listing>,
}

#[derive(Debug, Default)]
struct Listing {
    entries: BTreeMap<OsString, Entry>,
    seen_ns: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// Of the name itself.
    own: Stamp,
    /// Of what a symbolic link leads to.
    target: Option<Stamp>,
    is_dir: bool,
    /// When it was first seen like this, by the wall clock.
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

    /// Whether two entries differ in what they say of a file.
    fn differs(&self, other: &Self) -> bool {
        if self.is_dir && other.is_dir {
            // What is in it is looked at by itself.
            return !self.own.is_same_inode(&other.own);
        }
        (self.own, self.target, self.is_dir) != (other.own, other.target, other.is_dir)
    }

    /// Whether the file could have been written after it was looked at and still look the same.
    fn is_doubtful(&self, looked_ns: i64) -> bool {
        let stamp = self.target.unwrap_or(self.own);
        // A file from the future, by a clock that is wrong, must not be told of for ever.
        let is_recent = looked_ns < self.since_ns.saturating_add(DOUBT_NS);
        !self.is_dir && is_recent && !stamp.is_reliable_at(looked_ns)
    }
}

impl Poller {
    /// Looks at everything and tells what differs. `now_ns` is the wall clock, in nanoseconds since 1970.
    ///
    /// A file whose stamp is too young to prove anything is told of once more: it may have been written in the same
    /// instant in which it was looked at.
    pub fn look(&mut self, now_ns: i64) -> Vec<Raw> {
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
        let listing = read(dir, wall_clock_ns()).ok_or(Refused::Directory)?;
        self.dirs.insert(dir.to_path_buf(), listing);
        Ok(())
    }

    fn unwatch(&mut self, dir: &Path) {
        self.dirs.remove(dir);
    }

    /// What has its name at the next look is another directory, even with the number of the old one.
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

/// The wall clock in nanoseconds since 1970.
pub fn wall_clock_ns() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
        })
}

fn read(dir: &Path, now_ns: i64) -> Option<Listing> {
    let mut entries = BTreeMap::new();
    for entry in std::fs::read_dir(dir).ok()?.flatten() {
        // A file that goes meanwhile is as good as gone.
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

/// How long to wait between looks: short after a change, longer the longer nothing happens, and never so short that
/// looking takes more than a tenth of the time.
#[derive(Debug)]
pub struct Pace(Duration);

/// The shortest wait between looks.
pub const SHORTEST: Duration = Duration::from_millis(500);
/// The longest wait, unless looking itself takes long.
pub const LONGEST: Duration = Duration::from_secs(2);

impl Default for Pace {
    fn default() -> Self {
        Self(SHORTEST)
    }
}

impl Pace {
    /// The wait until the next look after one that took `took` and found something or nothing.
    pub fn next(&mut self, took: Duration, found: bool) -> Duration {
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
        let now = wall_clock_ns();
        // Everything was written just before it was looked at.
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
        let now = wall_clock_ns();
        let told: Vec<usize> = (1..8)
            .map(|step| poller.look(now + step * 1_000_000_000).len())
            .collect();
        assert_eq!(told, [1, 0, 0, 0, 0, 0, 0]);
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
