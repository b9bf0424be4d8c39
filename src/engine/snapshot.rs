//! The sources as they are on disk now: which files there are, their bytes and digests.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::course::RelPath;
use crate::course::tree::Listing;
use crate::digest::{Digest, Stamp};
use crate::events::Diagnostic;
use crate::plan::Source;
use crate::store::FileRecord;

/// Sources read once for a planning round, so that a whole plan sees the same bytes.
pub struct Snapshot {
    root: PathBuf,
    records: HashMap<String, FileRecord>,
    seen: RefCell<HashMap<RelPath, Option<FileRecord>>>,
    contents: RefCell<HashMap<RelPath, Source>>,
    changed_records: RefCell<Vec<(String, FileRecord)>>,
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
        }
    }

    /// The bytes of a file and their digest; none when it cannot be read or lies outside the course.
    pub fn read(&self, path: &RelPath) -> Option<Source> {
        if let Some(source) = self.contents.borrow().get(path) {
            return Some(source.clone());
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

    /// The digest of a file, without reading it when its stamp proves that it is the one of the last run.
    pub fn digest(&self, path: &RelPath) -> Option<Digest> {
        if let Some(known) = self.seen.borrow().get(path) {
            return known.map(|record| record.digest);
        }
        let found = self.look(path);
        if found.is_none() {
            self.seen.borrow_mut().insert(path.clone(), None);
        }
        found
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
            self.seen.borrow_mut().insert(path.clone(), Some(*record));
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
        self.seen.borrow_mut().insert(path.clone(), Some(record));
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
        Digest::of_file(&file).is_ok_and(|now| now == digest)
    }

    /// The digest of a file found while an action ran, or none when it does not exist. The error says that the
    /// file changed after `since_ns`, so that nobody knows what the action read.
    pub fn discovered(&self, path: &RelPath, since_ns: i64) -> Result<Option<Digest>, Changed> {
        let digest = self.digest(path);
        let modified = std::fs::metadata(path.under(&self.root))
            .ok()
            .map(|metadata| Stamp::of(&metadata).mtime_ns);
        match modified {
            Some(modified) if modified >= since_ns => Err(Changed),
            _ if !self.is_unchanged(path, digest) => Err(Changed),
            _ => Ok(digest),
        }
    }

    /// Records that differ from those of earlier runs, to be stored.
    pub fn take_changed_records(&self) -> Vec<(String, FileRecord)> {
        self.changed_records.take()
    }
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

/// Lists all files and directories below `roots` (none: the course root itself).
///
/// `skip` names directories and files that are not sources: the store, the outputs. Symbolic links are followed
/// as long as they stay inside the course.
pub fn scan(
    root: &Path,
    roots: &[Option<RelPath>],
    skip: &dyn Fn(&Path) -> bool,
) -> (Listing, Vec<Diagnostic>) {
    let mut scan = Scan {
        root,
        skip,
        files: BTreeSet::new(),
        dirs: BTreeSet::new(),
        diagnostics: Vec::new(),
    };
    for start in roots {
        let dir = start
            .as_ref()
            .map_or_else(|| root.to_path_buf(), |start| start.under(root));
        if let Some(start) = start {
            if dir.is_file() {
                scan.files.insert(start.clone());
            }
            if scan.dirs.contains(start) || !dir.is_dir() {
                continue;
            }
            scan.dirs.insert(start.clone());
        }
        scan.directory(&dir, &mut Vec::new());
    }
    let listing = Listing {
        files: scan.files,
        dirs: scan.dirs,
    };
    (listing, scan.diagnostics)
}

struct Scan<'a> {
    root: &'a Path,
    skip: &'a dyn Fn(&Path) -> bool,
    files: BTreeSet<RelPath>,
    dirs: BTreeSet<RelPath>,
    diagnostics: Vec<Diagnostic>,
}

impl Scan<'_> {
    fn directory(&mut self, dir: &Path, links: &mut Vec<PathBuf>) {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => {
                let shown = dir
                    .strip_prefix(self.root)
                    .unwrap_or(dir)
                    .display()
                    .to_string();
                self.diagnostics.push(
                    Diagnostic::error(format!("the directory cannot be read: {error}"))
                        .at(shown, None),
                );
                return;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if (self.skip)(&path) {
                continue;
            }
            let Some(relative) = RelPath::below(self.root, &path) else {
                self.diagnostics.push(
                    Diagnostic::warning("the file name is not UTF-8; the file is ignored")
                        .at(path.display().to_string(), None)
                        .hint("rename it"),
                );
                continue;
            };
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_symlink() {
                self.link(&path, relative, links);
            } else if kind.is_dir() {
                if self.dirs.insert(relative) {
                    self.directory(&path, links);
                }
            } else if kind.is_file() {
                self.files.insert(relative);
            }
        }
    }

    fn link(&mut self, path: &Path, relative: RelPath, links: &mut Vec<PathBuf>) {
        let Ok(real) = path.canonicalize() else {
            self.diagnostics.push(
                Diagnostic::warning("the symbolic link leads nowhere; it is ignored")
                    .at(relative.as_str(), None),
            );
            return;
        };
        if !real.starts_with(self.root) {
            self.diagnostics.push(
                Diagnostic::error("the symbolic link leads out of the course")
                    .at(relative.as_str(), None)
                    .hint("copy the file into the course: other files are never read"),
            );
            return;
        }
        if !real.is_dir() {
            self.files.insert(relative);
        } else if links.contains(&real) || path.starts_with(&real) {
            self.diagnostics.push(
                Diagnostic::warning(
                    "the symbolic link leads back to a directory that holds it; it is ignored",
                )
                .at(relative.as_str(), None),
            );
        } else if self.dirs.insert(relative) {
            links.push(real);
            self.directory(path, links);
            links.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_out_of_the_course_and_loops_are_reported() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("course");
        std::fs::create_dir_all(root.join("slides/m")).unwrap();
        std::fs::write(root.join("slides/m/a.py"), "1").unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), root.join("slides/m/out.txt"))
            .unwrap();
        std::os::unix::fs::symlink(&root, root.join("slides/loop")).unwrap();
        std::os::unix::fs::symlink("a.py", root.join("slides/m/b.py")).unwrap();
        let roots = [Some(RelPath::new("slides").unwrap())];
        let (listing, diagnostics) = scan(&root, &roots, &|_| false);
        let files: Vec<&str> = listing.files.iter().map(RelPath::as_str).collect();
        assert_eq!(files, ["slides/m/a.py", "slides/m/b.py"]);
        let messages: Vec<&str> = diagnostics.iter().map(|d| d.message.as_str()).collect();
        assert!(
            messages.iter().any(|m| m.contains("out of the course")),
            "{messages:?}"
        );
        assert!(
            messages.iter().any(|m| m.contains("leads back")),
            "{messages:?}"
        );
    }

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
