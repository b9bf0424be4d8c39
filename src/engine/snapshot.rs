//! The sources as they are on disk now: which files there are, their bytes and digests.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::course::RelPath;
use crate::digest::{Digest, Stamp};
use crate::plan::{Files, Source};
use crate::store::FileRecord;

/// Sources read once for a planning round, so that a whole plan sees the same bytes. A resident process keeps it from one
/// round to the next, without what changed in between.
pub struct Snapshot {
    root: PathBuf,
    records: HashMap<String, FileRecord>,
    seen: RefCell<HashMap<RelPath, Option<FileRecord>>>,
    contents: RefCell<HashMap<RelPath, Source>>,
    changed_records: RefCell<Vec<(String, FileRecord)>>,
    /// Every file that was ever looked at or looked for.
    known: RefCell<HashSet<RelPath>>,
}

impl Snapshot {
    /// A snapshot of the files below `root`; `records` are what earlier runs found.
    pub fn new(root: &Path, records: HashMap<String, FileRecord>) -> Self {
        Self {
            root: root.to_path_buf(),
            records,
            seen: RefCell::default(),
            contents: RefCell::default(),
            changed_records: RefCell::default(),
            known: RefCell::default(),
        }
    }

    /// Forgets what was seen of these files, and of what is below them if they are directories: they were written, or
    /// made, or removed.
    pub fn forget(&mut self, paths: &[RelPath]) {
        let mut dirs: HashSet<&RelPath> = HashSet::new();
        for path in paths {
            let known = self.seen.get_mut().remove(path);
            self.records.remove(path.as_str());
            self.contents.get_mut().remove(path);
            if !matches!(known, Some(Some(_))) {
                dirs.insert(path);
            }
        }
        if dirs.is_empty() {
            return;
        }
        let is_below = |path: &RelPath| {
            let mut above = path.parent();
            while let Some(dir) = above {
                if dirs.contains(&dir) {
                    return true;
                }
                above = dir.parent();
            }
            false
        };
        self.seen.get_mut().retain(|path, _| !is_below(path));
        self.contents.get_mut().retain(|path, _| !is_below(path));
        self.records
            .retain(|path, _| RelPath::new(path).is_ok_and(|path| !is_below(&path)));
    }

    /// Takes over what is known of files that were just looked at (none: they do not exist).
    pub fn trust(&self, files: Vec<(RelPath, Option<FileRecord>)>) {
        for (path, record) in files {
            self.saw(&path, record);
        }
    }

    /// Forgets bytes, not digests: they are wanted together while planning, and hardly ever later.
    pub fn forget_contents(&self) {
        self.contents.take();
    }

    /// Trusts nothing any more but stamps.
    pub fn recheck(&mut self) {
        let seen = std::mem::take(self.seen.get_mut());
        self.records.extend(
            seen.into_iter()
                .filter_map(|(path, record)| Some((path.as_str().to_owned(), record?))),
        );
    }

    /// Every file that was ever looked at or looked for.
    pub fn paths(&self) -> Vec<RelPath> {
        self.known.borrow().iter().cloned().collect()
    }

    /// What is known of every file that was looked at or looked for.
    pub fn seen(&self) -> Vec<(RelPath, Option<FileRecord>)> {
        let seen = self.seen.borrow();
        seen.iter()
            .map(|(path, record)| (path.clone(), *record))
            .collect()
    }

    /// How many these are; they only become more.
    pub fn known(&self) -> usize {
        self.known.borrow().len()
    }

    fn saw(&self, path: &RelPath, record: Option<FileRecord>) {
        let is_new = self
            .seen
            .borrow_mut()
            .insert(path.clone(), record)
            .is_none();
        if is_new {
            self.known.borrow_mut().insert(path.clone());
        }
    }

    fn known_content(&self, path: &RelPath) -> Option<Source> {
        let source = self.contents.borrow().get(path)?.clone();
        (self.digest(path) == Some(source.digest)).then_some(source)
    }

    fn look(&self, path: &RelPath) -> Option<Digest> {
        let file = path.under(&self.root);
        let metadata = std::fs::metadata(&file).ok()?;
        if !metadata.is_file() {
            return None;
        }
        let stamp = Stamp::of(&metadata);
        if let Some(record) = self.records.get(path.as_str())
            && record.stamp == stamp
            && stamp.is_reliable_at(record.recorded_ns)
        {
            self.saw(path, Some(*record));
            return Some(record.digest);
        }
        let digest = Digest::of_file(&file).ok()?;
        self.remember(path, stamp, digest);
        Some(digest)
    }

    fn remember(&self, path: &RelPath, stamp: Stamp, digest: Digest) {
        let record = FileRecord {
            stamp,
            digest,
            recorded_ns: now_ns(),
        };
        self.saw(path, Some(record));
        self.changed_records
            .borrow_mut()
            .push((path.as_str().to_owned(), record));
    }

    /// Whether a file still has the content that this snapshot saw (`None`: still does not exist).
    pub fn is_unchanged(&self, path: &RelPath, digest: Option<Digest>) -> bool {
        let file = path.under(&self.root);
        let Ok(metadata) = std::fs::metadata(&file) else {
            return digest.is_none();
        };
        let Some(digest) = digest else { return false };
        let stamp = Stamp::of(&metadata);
        if let Some(Some(record)) = self.seen.borrow().get(path)
            && record.stamp == stamp
            && record.digest == digest
            && stamp.is_reliable_at(record.recorded_ns)
        {
            return true;
        }
        digest.is_of_file(&file)
    }

    /// Whether a file has this content (`None`: does not exist), and was not written, replaced or renamed since a time:
    /// then whoever read it since has read this.
    pub fn was_at_rest(&self, path: &RelPath, digest: Option<Digest>, since_ns: i64) -> bool {
        let file = path.under(&self.root);
        match (std::fs::metadata(&file), digest) {
            (Ok(metadata), Some(digest)) => {
                !changed_since(&metadata, since_ns) && digest.is_of_file(&file)
            }
            (Err(_), None) => true,
            _ => false,
        }
    }

    /// The digest of a file found while an action ran, or none when it does not exist. The error says that the
    /// file changed after `since_ns`, so that nobody knows what the action read.
    pub fn discovered(&self, path: &RelPath, since_ns: i64) -> Result<Option<Digest>, Changed> {
        let digest = self.digest(path);
        match std::fs::metadata(path.under(&self.root)) {
            Ok(metadata) if changed_since(&metadata, since_ns) => Err(Changed),
            _ if !self.is_unchanged(path, digest) => Err(Changed),
            _ => Ok(digest),
        }
    }

    /// Records that differ from those of earlier runs, to be stored.
    pub fn take_changed_records(&self) -> Vec<(String, FileRecord)> {
        self.changed_records.take()
    }
}

impl Files for Snapshot {
    fn read(&self, path: &RelPath) -> Option<Source> {
        if let Some(source) = self.known_content(path) {
            return Some(source);
        }
        let file = path.under(&self.root);
        let stamp = Stamp::of(&std::fs::metadata(&file).ok()?);
        let bytes: Arc<[u8]> = std::fs::read(&file).ok()?.into();
        let digest = Digest::of(&bytes);
        self.remember(path, stamp, digest);
        let source = Source { bytes, digest };
        self.contents
            .borrow_mut()
            .insert(path.clone(), source.clone());
        Some(source)
    }

    /// Its stamp may prove that it is the one of the last run.
    fn digest(&self, path: &RelPath) -> Option<Digest> {
        if let Some(known) = self.seen.borrow().get(path) {
            return known.map(|record| record.digest);
        }
        let found = self.look(path);
        if found.is_none() {
            self.saw(path, None);
        }
        found
    }
}

/// File systems take the time from a clock that ticks in steps: a file may seem to be older than it is by this much.
const TICK_NS: i64 = 20_000_000;

/// Whether a file may have changed in any way since a time: also by a rename, which keeps the modification time.
fn changed_since(metadata: &std::fs::Metadata, since_ns: i64) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let changed = metadata
        .ctime()
        .saturating_mul(1_000_000_000)
        .saturating_add(metadata.ctime_nsec());
    changed >= since_ns - TICK_NS
}

/// A file changed while it was being used.
#[derive(Debug, PartialEq, Eq)]
pub struct Changed;

/// The wall clock in nanoseconds since 1970, the unit of stamps.
pub fn now_ns() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_saves_reading_only_while_its_stamp_is_reliable() {
        let dir = tempfile::tempdir().unwrap();
        let path = RelPath::new("a.txt").unwrap();
        std::fs::write(dir.path().join("a.txt"), "one").unwrap();
        let stamp = Stamp::of(&std::fs::metadata(dir.path().join("a.txt")).unwrap());
        let wrong = Digest::of("wrong");
        let record = |recorded_ns| FileRecord {
            stamp,
            digest: wrong,
            recorded_ns,
        };
        let trusted = Snapshot::new(
            dir.path(),
            HashMap::from([("a.txt".to_owned(), record(stamp.mtime_ns + 10_000_000_000))]),
        );
        assert_eq!(trusted.digest(&path), Some(wrong));
        let racy = Snapshot::new(
            dir.path(),
            HashMap::from([("a.txt".to_owned(), record(stamp.mtime_ns + 1))]),
        );
        assert_eq!(racy.digest(&path), Some(Digest::of("one")));
        assert_eq!(racy.take_changed_records().len(), 1);
        assert!(racy.is_unchanged(&path, Some(Digest::of("one"))));
        std::fs::write(dir.path().join("a.txt"), "two").unwrap();
        assert!(!racy.is_unchanged(&path, Some(Digest::of("one"))));
    }
}
