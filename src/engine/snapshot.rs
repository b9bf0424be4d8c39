//! The sources as they are on disk now: which files exist, their bytes and digests.

mod failures;

use std::collections::{HashMap, HashSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::now_ns;
use crate::config::Bounds;
use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::digest::{Digest, Stamp};
use crate::parallel::{self, lock};
use crate::plan::{Files, Source};
use crate::store::{Check, FileRecord};
use crate::worker::observed::{Places, is_elsewhere};

use super::directory::Directory;
use failures::{Failures, is_failure};

/// The maximum size of contents in memory, in bytes; others are read again when they are needed.
const HELD: usize = 4 << 20;

/// Sources as a planning round sees them: a whole plan is made of the same bytes, or it is known to be torn. A watch
/// keeps it in memory from one round to the next, without what changed in between.
pub(crate) struct Snapshot {
    root: PathBuf,
    /// Resolves names of things that are not files of the course.
    places: Places,
    bounds: Bounds,
    seen: Mutex<Seen>,
}

/// What all planning threads have seen together.
#[derive(Default)]
struct Seen {
    /// Every file that was ever read or looked for.
    files: HashMap<RelPath, State>,
    /// Records of earlier runs about files that have not been read since.
    records: HashMap<RelPath, FileRecord>,
    contents: HashMap<RelPath, Source>,
    /// The total size of `contents`, in bytes.
    held: usize,
    /// Whether a file changed between two reads, so that a plan of both is inconsistent.
    is_torn: bool,
    failures: Failures,
    changed_records: Vec<(String, FileRecord)>,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug)]
enum State {
    Forgotten,
    Absent,
    There(FileRecord),
}

impl State {
    fn of(record: Option<FileRecord>) -> Self {
        record.map_or(Self::Absent, Self::There)
    }

    /// Returns the record, or that the file does not exist; `None` if nothing is known.
    fn record(self) -> Option<Option<FileRecord>> {
        match self {
            Self::Forgotten => None,
            Self::Absent => Some(None),
            Self::There(record) => Some(Some(record)),
        }
    }
}

impl Snapshot {
    /// Returns a snapshot of the files below `root`. `records` contains the files as earlier runs recorded them.
    pub(crate) fn new(root: &Path, records: HashMap<String, FileRecord>) -> Self {
        Self {
            root: root.to_path_buf(),
            places: Places::of_course(root),
            bounds: Bounds::of(root),
            seen: Mutex::new(Seen {
                records: records
                    .into_iter()
                    .filter_map(|(path, record)| Some((RelPath::new(&path).ok()?, record)))
                    .collect(),
                ..Seen::default()
            }),
        }
    }

    /// Sets how names are resolved that are not files of the course.
    pub(crate) fn set_places(&mut self, places: Places) {
        self.places = places;
    }

    /// Returns how names are resolved that are not files of the course.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// Compares the stamps of everything outside of the course, which no watch covers. Returns what changed.
    #[tracing::instrument(level = "debug", skip_all)]
    pub(crate) fn changed_elsewhere(&self) -> Vec<RelPath> {
        let seen = self.seen();
        let files = seen.files.iter();
        let known = files.filter(|(path, _)| is_elsewhere(path));
        let known: Vec<(RelPath, State)> =
            known.map(|(path, state)| (path.clone(), *state)).collect();
        drop(seen);
        let is_other = |path: &RelPath, state: State| match (state, self.places.look(path)) {
            (State::Forgotten, _) | (State::Absent, None) => false,
            (State::There(record), Some(look)) => {
                !record.is_proved_by(&look.stamp) && self.places.digest(path) != Some(record.digest)
            }
            _ => true,
        };
        let changed = known
            .into_iter()
            .filter(|(path, state)| is_other(path, *state));
        changed.map(|(path, _)| path).collect()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// Invalidates these files, and everything below them if they are directories: they were written, created or
    /// removed.
    pub(crate) fn forget(&mut self, paths: &[RelPath]) {
        let seen = self.seen.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut dirs: HashSet<&RelPath> = HashSet::new();
        for path in paths {
            let state = seen.files.get_mut(path);
            let known = state.map(|state| std::mem::replace(state, State::Forgotten));
            seen.records.remove(path);
            seen.drop_content(path);
            if !matches!(known, Some(State::There(_))) {
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
        for (path, state) in &mut seen.files {
            if is_below(path) {
                *state = State::Forgotten;
            }
        }
        seen.contents.retain(|path, _| !is_below(path));
        seen.held = seen.contents.values().map(|s| s.bytes.len()).sum();
        seen.records.retain(|path, _| !is_below(path));
    }

    /// Takes over the state of files that were just compared (`None`: they do not exist).
    pub(crate) fn trust(&self, files: Vec<(RelPath, Option<FileRecord>)>) {
        let files = files.into_iter();
        let files = files.map(|(path, record)| (path, State::of(record)));
        self.seen().files.extend(files);
    }

    /// Drops bytes, but not digests: the bytes are needed together while planning, and rarely later.
    pub(crate) fn forget_contents(&self) {
        let mut seen = self.seen();
        seen.contents = HashMap::new();
        seen.held = 0;
    }

    /// Releases memory that only the first read of the sources needed.
    pub(crate) fn release(&self) {
        self.seen().records.shrink_to_fit();
    }

    /// Begins to plan: files that could not be read are tried again. `dirs` are the errors about directories.
    pub(crate) fn begin(&self, dirs: Vec<Diagnostic>) {
        let mut seen = self.seen();
        seen.is_torn = false;
        seen.failures.begin(dirs);
    }

    /// Records that a file exists but could not be read.
    pub(crate) fn note_failure(&self, path: &RelPath, error: &io::Error) {
        self.seen().failures.note(path, error);
    }

    /// Returns the files that exist but could not be read, with the errors, sorted by path.
    pub(crate) fn failures(&self) -> Vec<(RelPath, Diagnostic)> {
        let seen = self.seen();
        let all = seen.failures.all();
        let mut all: Vec<_> = all
            .map(|(path, error)| (path.clone(), error.clone()))
            .collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Marks the plan as torn, because a file that was listed is gone.
    pub(crate) fn mark_torn(&self) {
        self.seen().is_torn = true;
    }

    /// Returns whether a file changed between two reads since the last call.
    pub(crate) fn take_torn(&self) -> bool {
        std::mem::take(&mut self.seen().is_torn)
    }

    /// Marks every file as unknown, so that it is compared with its record by its stamp.
    pub(crate) fn recheck(&mut self) {
        let seen = self.seen.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (path, state) in &mut seen.files {
            if let State::There(record) = std::mem::replace(state, State::Forgotten) {
                seen.records.insert(path.clone(), record);
            }
        }
    }

    /// Returns every file that was ever read or looked for.
    pub(crate) fn paths(&self) -> Vec<RelPath> {
        self.seen().files.keys().cloned().collect()
    }

    /// Returns what is known of every file that was read or looked for.
    pub(crate) fn all(&self) -> Vec<(RelPath, Option<FileRecord>)> {
        let seen = self.seen();
        let files = seen.files.iter();
        files
            .filter_map(|(path, state)| Some((path.clone(), state.record()?)))
            .collect()
    }

    /// Stats every file again. Returns those that changed, each with whether it has more than one hard link, and
    /// whether any file has more than one.
    #[tracing::instrument(level = "debug", skip_all)]
    pub(crate) fn look_again(&self) -> (Vec<(RelPath, bool)>, bool) {
        let mut files = self.all();
        // Paths outside of the course are compared before every run.
        files.retain(|(path, _)| !is_elsewhere(path));
        files.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let groups: Vec<&[(RelPath, Option<FileRecord>)]> = files
            .chunk_by(|(a, _), (b, _)| dir_of(a) == dir_of(b))
            .collect();
        let looked = parallel::map(&groups, |group| {
            let Some((first, _)) = group.first() else {
                return Vec::new();
            };
            let dir = Directory::at(self.root.join(dir_of(first)), group.len());
            let again = |(path, record): &(RelPath, Option<FileRecord>)| {
                let looked_ns = now_ns();
                let found = dir.look(path.file_name()).filter(|found| found.is_file);
                let (Some(record), Some(found)) = (record, &found) else {
                    return (record.is_some() != found.is_some(), false, None);
                };
                let read = || Digest::of_file(&path.under(&self.root)).ok();
                match record.check(looked_ns, found.stamp, read) {
                    Check::Same => (false, found.has_links, None),
                    Check::Restamped(renewed) => (false, found.has_links, Some((*record, renewed))),
                    Check::Changed => (true, found.has_links, None),
                }
            };
            group.iter().map(again).collect()
        });
        let (mut changed, mut has_links) = (Vec::new(), false);
        let mut seen = self.seen();
        for ((path, _), (is_changed, is_linked, renewed)) in
            files.iter().zip(looked.into_iter().flatten())
        {
            has_links |= is_linked;
            if is_changed {
                changed.push((path.clone(), is_linked));
            }
            if let Some((old, new)) = renewed
                && let Some(State::There(record)) = seen.files.get_mut(path)
                && *record == old
            {
                *record = new;
                seen.changed_records.push((path.as_str().to_owned(), new));
            }
        }
        (changed, has_links)
    }

    /// Returns how many files were ever read or looked for; the number only grows.
    pub(crate) fn known(&self) -> usize {
        self.seen().files.len()
    }

    fn look(&self, path: &RelPath) -> Option<Digest> {
        let recorded_ns = now_ns();
        let stamp = self.places.look(path)?.stamp;
        let mut seen = self.seen();
        if let Some(record) = seen.records.remove(path)
            && record.is_proved_by(&stamp)
        {
            seen.files.insert(path.clone(), State::There(record));
            return Some(record.digest);
        }
        drop(seen);
        let digest = self.places.digest(path)?;
        let record = FileRecord {
            stamp,
            digest,
            recorded_ns,
        };
        self.seen().remember(path, record);
        Some(digest)
    }

    /// Stats and hashes a file again that was not found: it may exist and be unreadable, or have been unreadable for a
    /// moment.
    fn look_twice(&self, path: &RelPath) -> io::Result<Option<Digest>> {
        if is_elsewhere(path) {
            return Ok(None);
        }
        let file = path.under(&self.root);
        let recorded_ns = now_ns();
        let stamp = match std::fs::metadata(&file) {
            Ok(found) if found.is_file() => Stamp::of(&found),
            Ok(_) => return Ok(None),
            Err(error) if is_failure(&error) => return Err(error),
            Err(_) => return Ok(None),
        };
        match Digest::of_file(&file) {
            Ok(digest) => {
                let record = FileRecord {
                    stamp,
                    digest,
                    recorded_ns,
                };
                self.seen().remember(path, record);
                Ok(Some(digest))
            }
            Err(error) if is_failure(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }

    fn bytes(&self, path: &RelPath) -> io::Result<(FileRecord, Vec<u8>)> {
        let file = path.under(&self.root);
        let recorded_ns = now_ns();
        let stamp = Stamp::of(&std::fs::metadata(&file)?);
        let mut bytes = Vec::new();
        self.bounds.open(&file)?.read_to_end(&mut bytes)?;
        let record = FileRecord {
            stamp,
            digest: Digest::of(&bytes),
            recorded_ns,
        };
        Ok((record, bytes))
    }

    /// Returns whether a file still has the content that this snapshot saw (`None`: still does not exist).
    pub(crate) fn is_unchanged(&self, path: &RelPath, digest: Option<Digest>) -> bool {
        // A directory is not a file: there is nothing that could be read.
        let Some(look) = self.places.look(path) else {
            return digest.is_none();
        };
        let Some(digest) = digest else { return false };
        let stamp = look.stamp;
        if let Some(State::There(record)) = self.seen().files.get(path)
            && record.digest == digest
            && record.is_proved_by(&stamp)
        {
            return true;
        }
        self.places.digest(path) == Some(digest)
    }

    /// Returns whether a file has this content (`None`: does not exist) and was not written, replaced or renamed since
    /// a time, so that every read since then returned this content.
    pub(crate) fn was_at_rest(
        &self,
        path: &RelPath,
        digest: Option<Digest>,
        since_ns: i64,
    ) -> bool {
        match (self.places.look(path), digest) {
            (Some(look), Some(digest)) => {
                !look.changed_since(since_ns) && self.places.digest(path) == Some(digest)
            }
            (None, None) => true,
            _ => false,
        }
    }

    /// Returns the digest of a file that an action was found to read, or `None` if it does not exist. The error means
    /// that the file changed after `since_ns`, so that it is unknown what the action read.
    pub(crate) fn discovered(
        &self,
        path: &RelPath,
        since_ns: i64,
    ) -> Result<Option<Digest>, Changed> {
        let digest = self.digest(path);
        match self.places.look(path) {
            Some(look) if look.changed_since(since_ns) => Err(Changed),
            _ if !self.is_unchanged(path, digest) => Err(Changed),
            _ => Ok(digest),
        }
    }

    /// Returns the records that differ from those of earlier runs, to be stored.
    pub(crate) fn take_changed_records(&self) -> Vec<(String, FileRecord)> {
        std::mem::take(&mut self.seen().changed_records)
    }
}

/// Returns the directory of a file, as text.
fn dir_of(path: &RelPath) -> &str {
    path.as_str().rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl Seen {
    fn remember(&mut self, path: &RelPath, record: FileRecord) {
        self.records.remove(path);
        let before = self.files.insert(path.clone(), State::There(record));
        self.is_torn |= match before {
            Some(State::There(before)) => before.digest != record.digest,
            Some(State::Absent) => true,
            Some(State::Forgotten) | None => false,
        };
        self.changed_records
            .push((path.as_str().to_owned(), record));
    }

    fn keep_content(&mut self, path: &RelPath, source: &Source) {
        self.drop_content(path);
        if self.held + source.bytes.len() <= HELD {
            self.held += source.bytes.len();
            self.contents.insert(path.clone(), source.clone());
        }
    }

    fn drop_content(&mut self, path: &RelPath) {
        if let Some(source) = self.contents.remove(path) {
            self.held -= source.bytes.len();
        }
    }

    /// Returns the bytes that belong to the known digest.
    fn content(&self, path: &RelPath) -> Option<Source> {
        let source = self.contents.get(path)?;
        let state = self.files.get(path)?;
        let is_known = matches!(state, State::There(record) if record.digest == source.digest);
        is_known.then(|| source.clone())
    }
}

impl Files for Snapshot {
    fn size(&self, path: &RelPath) -> Option<u64> {
        self.digest(path)?;
        let seen = self.seen();
        Some(seen.files.get(path)?.record()??.stamp.size)
    }

    fn read(&self, path: &RelPath) -> Option<Source> {
        if let Some(source) = self.seen().content(path) {
            return Some(source);
        }
        // The error may be temporary.
        let again = |error| match is_failure(&error) {
            true => self.bytes(path),
            false => Err(error),
        };
        let (record, bytes) = match self.bytes(path).or_else(again) {
            Ok(found) => found,
            Err(error) => {
                if is_failure(&error) {
                    self.seen().failures.note(path, &error);
                }
                return None;
            }
        };
        let bytes: Arc<[u8]> = bytes.into();
        let digest = record.digest;
        let mut seen = self.seen();
        // Another thread was faster: a plan uses one content.
        if let Some(source) = seen.content(path) {
            return Some(source);
        }
        seen.remember(path, record);
        let source = Source { bytes, digest };
        seen.keep_content(path, &source);
        Some(source)
    }

    fn why_unreadable(&self, path: &RelPath) -> Option<std::io::Error> {
        let mut byte = [0];
        let opened = self.bounds.open(&path.under(&self.root));
        opened.and_then(|mut file| file.read(&mut byte)).err()
    }

    fn is_inside(&self, path: &RelPath) -> bool {
        self.bounds.leaves(&path.under(&self.root)).is_none()
    }

    /// Returns the digest. The file is not read if its stamp proves that the record of an earlier run is still right.
    fn digest(&self, path: &RelPath) -> Option<Digest> {
        let known = self.seen().files.get(path).copied();
        if let Some(known) = known.and_then(State::record) {
            return known.map(|record| record.digest);
        }
        if let Some(found) = self.look(path) {
            return Some(found);
        }
        match self.look_twice(path) {
            Ok(Some(found)) => return Some(found),
            Ok(None) => {
                self.seen().files.insert(path.clone(), State::Absent);
            }
            Err(error) => self.seen().failures.note(path, &error),
        }
        None
    }

    fn failure(&self, path: &RelPath) -> Option<Diagnostic> {
        self.seen().failures.of(path)
    }
}

/// The error about a file that changed while it was used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changed;

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
            HashMap::from([("a.txt".to_owned(), record(stamp.ctime_ns + 10_000_000_000))]),
        );
        assert_eq!(trusted.digest(&path), Some(wrong));
        let racy = Snapshot::new(
            dir.path(),
            HashMap::from([("a.txt".to_owned(), record(stamp.ctime_ns + 1))]),
        );
        assert_eq!(racy.digest(&path), Some(Digest::of("one")));
        assert_eq!(racy.take_changed_records().len(), 1);
        assert!(racy.is_unchanged(&path, Some(Digest::of("one"))));
        std::fs::write(dir.path().join("a.txt"), "two").unwrap();
        assert!(!racy.is_unchanged(&path, Some(Digest::of("one"))));
    }

    #[test]
    fn a_record_is_as_old_as_its_stamp_however_long_reading_takes() {
        let dir = tempfile::tempdir().unwrap();
        let large = std::fs::File::create(dir.path().join("large.bin")).unwrap();
        large.set_len(128 << 20).unwrap();
        let path = RelPath::new("large.bin").unwrap();
        for reads in [false, true] {
            let snapshot = Snapshot::new(dir.path(), HashMap::new());
            let before = now_ns();
            match reads {
                true => assert!(snapshot.read(&path).is_some()),
                false => assert!(snapshot.digest(&path).is_some()),
            }
            let took = now_ns() - before;
            let (_, record) = snapshot.take_changed_records().remove(0);
            // Otherwise a write in the clock tick of the stamp, before the file was read, would not be noticed.
            assert!(record.recorded_ns - before < took / 2, "of {took} ns");
        }
    }

    #[test]
    fn what_lies_elsewhere_is_no_change_below_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let path = RelPath::new("{python3}/lib/a.py").unwrap();
        assert!(is_elsewhere(&path));
        let snapshot = Snapshot::new(dir.path(), HashMap::new());
        let record = FileRecord {
            stamp: Stamp::NONE,
            digest: Digest::of("a"),
            recorded_ns: 1,
        };
        let there = State::There(record);
        snapshot.seen().files.insert(path, there);
        assert_eq!(snapshot.look_again(), (Vec::new(), false));
    }

    #[test]
    fn a_plan_that_saw_two_contents_of_a_file_is_torn() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.txt");
        let path = RelPath::new("a.txt").unwrap();
        let snapshot = Snapshot::new(dir.path(), HashMap::new());
        assert_eq!(snapshot.digest(&path), None);
        std::fs::write(&file, "one").unwrap();
        assert!(snapshot.read(&path).is_some());
        assert!(snapshot.take_torn(), "it appeared");
        std::fs::write(&file, "two").unwrap();
        assert_eq!(snapshot.read(&path).unwrap().digest, Digest::of("one"));
        assert!(!snapshot.take_torn(), "what is kept is used");
        // Contents that are too large are not stored, but read again.
        std::fs::write(&file, vec![b'1'; HELD + 1]).unwrap();
        let mut snapshot = snapshot;
        snapshot.forget(std::slice::from_ref(&path));
        let first = snapshot.read(&path).unwrap().digest;
        assert_eq!(snapshot.read(&path).unwrap().digest, first);
        assert!(!snapshot.take_torn());
        std::fs::write(&file, vec![b'2'; HELD + 1]).unwrap();
        assert_ne!(snapshot.read(&path).unwrap().digest, first);
        assert!(snapshot.take_torn());
    }
}
