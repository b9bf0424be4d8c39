//! The seal of a course at rest: what a later process has to look at to know that there is nothing to do.
//!
//! A file in the state directory with everything that a build of the whole course was made of, and all that it made, by
//! stamp: directories, files that were read or looked for, outputs. If all of it is as it was, nothing has to be read,
//! planned or decided. A seal is never proof of more than that: as soon as one thing differs, everything is looked at.

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::course::RelPath;
use crate::digest::{Digest, Stamp};
use crate::events::{Diagnostic, Events};
use crate::store::{self, FileRecord};
use crate::worker::Renderers;

use super::load::{Course, Specified, fingerprints};
use super::publish::Publisher;
use super::rest::AtRest;
use super::scan::{Scanned, Skip, is_temporary_name};
use super::snapshot::{Snapshot, now_ns};
use super::{manifest, parallel};

/// The version of the format.
const VERSION: u32 = 1;
/// How many bytes of the file are the digest of the others.
const CHECKSUM: usize = 32;

/// Where the seal of a course is, and what it must be made of.
pub struct Seal<'a> {
    course: &'a Course,
    basis: Digest,
    skip: Box<Skip<'static>>,
}

/// What a seal is made of.
pub(super) struct Parts<'a> {
    pub(super) rest: &'a AtRest,
    pub(super) listed: &'a Scanned,
    pub(super) snapshot: &'a Snapshot,
    pub(super) publisher: &'a Publisher,
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    /// Specification, settings, tools, and this very program.
    basis: [u8; 32],
    /// The inode of the database that the ledger is in.
    database: u64,
    fresh: u64,
    /// The diagnostics as JSON.
    said: &'a str,
    #[serde(borrow)]
    dirs: Vec<Dir<'a>>,
}

/// A directory of sources or outputs.
#[derive(Serialize, Deserialize)]
struct Dir<'a> {
    /// Relative to the course root, or absolute.
    path: &'a str,
    #[serde(borrow)]
    names: Names<'a>,
    #[serde(borrow)]
    files: Vec<File<'a>>,
}

/// Whether it matters what else is in a directory.
#[derive(Serialize, Deserialize)]
enum Names<'a> {
    /// It does not.
    Any,
    /// Nor that, but the directory must be there.
    Exists,
    /// It must not be there.
    Absent,
    /// The names must have this digest; they have it while the directory was not changed after a time, in nanoseconds
    /// since 1970.
    Listed(&'a [u8], i64),
}

#[derive(Serialize, Deserialize)]
struct File<'a> {
    name: &'a str,
    /// Size, modification time in nanoseconds since 1970, inode; none when it must not be there.
    stamp: Option<(u64, i64, u64)>,
    /// The digest where the stamp alone proves nothing.
    #[serde(borrow)]
    digest: Option<&'a [u8]>,
}

impl<'a> Seal<'a> {
    /// The seal of a course with these tools.
    pub fn new(course: &'a Course, specified: &Specified, renderers: &Renderers) -> Self {
        let tools = fingerprints(renderers);
        let kernels: BTreeMap<_, _> = tools.kernels.iter().collect();
        let program = std::env::current_exe()
            .and_then(std::fs::metadata)
            .map(|metadata| Stamp::of(&metadata))
            .ok();
        let basis = format!(
            "{:?}",
            (
                (VERSION, env!("CARGO_PKG_VERSION"), program),
                (course.identity(), course.scope(), specified.digest),
                (&tools.html, kernels, &tools.plantuml, &tools.drawio),
            )
        );
        Self {
            course,
            basis: Digest::of(basis),
            skip: course.skip(&specified.spec),
        }
    }

    fn file(&self) -> PathBuf {
        let name = format!("seal-{}", Digest::of(self.course.scope()).short());
        self.course.place.state_dir().join(name)
    }

    /// Whether everything is as it was when the seal was made: then it was told that a build has nothing to do.
    #[tracing::instrument(level = "debug", name = "seal", skip_all)]
    pub fn holds(&self, trigger: &str, events: &Events) -> bool {
        self.tell(trigger, events).is_some()
    }

    fn tell(&self, trigger: &str, events: &Events) -> Option<()> {
        let started = Instant::now();
        let bytes = std::fs::read(self.file()).ok()?;
        let (checksum, body) = bytes.split_at_checked(CHECKSUM)?;
        if Digest::of(body).as_bytes() != checksum {
            return None;
        }
        let body: Body<'_> = postcard::from_bytes(body).ok()?;
        let state_dir = self.course.place.state_dir();
        if body.basis != *self.basis.as_bytes()
            || store::database_inode(&state_dir)? != body.database
            || manifest::is_due(self.course)
            || !parallel::all(&body.dirs, |dir| self.is_as_it_was(dir))
        {
            return None;
        }
        let rest = AtRest {
            fresh: body.fresh,
            said: serde_json::from_str::<Vec<Diagnostic>>(body.said).ok()?,
            ..AtRest::default()
        };
        let duration = started.elapsed();
        let run = store::record_idle_run(&state_dir, trigger, &rest.counts(), duration).ok()?;
        rest.tell(events, run, trigger, duration);
        Some(())
    }

    /// Writes the seal; none when the course cannot be sealed.
    pub(super) fn write(&self, parts: &Parts<'_>) -> Option<()> {
        // A file with two names has two stamps, and a link may lead elsewhere tomorrow.
        if parts.listed.has_links || !parts.listed.diagnostics.is_empty() {
            return None;
        }
        let database = store::database_inode(&self.course.place.state_dir())?;
        let said = serde_json::to_string(&parts.rest.said).ok()?;
        let entries = self.entries(parts)?;
        let body = Body {
            basis: *self.basis.as_bytes(),
            database,
            fresh: parts.rest.fresh,
            said: &said,
            dirs: entries.iter().map(|(path, dir)| dir.as_dir(path)).collect(),
        };
        let body = postcard::to_allocvec(&body).ok()?;
        let file = self.file();
        let mut staged = tempfile::Builder::new()
            .prefix(".seal-")
            .tempfile_in(file.parent()?)
            .ok()?;
        staged.write_all(Digest::of(&body).as_bytes()).ok()?;
        staged.write_all(&body).ok()?;
        staged.persist(file).ok()?;
        Some(())
    }

    fn entries(&self, parts: &Parts<'_>) -> Option<BTreeMap<String, OwnedDir>> {
        let mut dirs: BTreeMap<String, OwnedDir> = BTreeMap::new();
        let root = &self.course.place.root;
        let listing = parts.listed.listing();
        let roots = parts.listed.roots.iter();
        let mut listed: HashSet<String> = listing.dirs.iter().map(ToString::to_string).collect();
        listed
            .extend(roots.map(|start| start.as_ref().map_or_else(String::new, RelPath::to_string)));
        for path in listed {
            let names = match self.names(&root.join(&path)) {
                Some((digest, time)) => OwnedNames::Listed(digest, time),
                None if root.join(&path).exists() => return None,
                None => OwnedNames::Absent,
            };
            dirs.entry(path).or_default().names = names;
        }
        for (path, record) in parts.snapshot.seen() {
            add(&mut dirs, path.as_str(), record);
        }
        for (path, record) in parts.publisher.outputs() {
            let record = FileRecord {
                stamp: record.stamp,
                digest: record.digest,
                recorded_ns: record.recorded_ns,
            };
            add(&mut dirs, path, Some(record));
        }
        for dir in &parts.rest.empty_dirs {
            dirs.entry(dir.clone()).or_default().names = OwnedNames::Exists;
        }
        for target in &parts.rest.target_roots {
            let path = format!("{target}/{}", manifest::NAME);
            let recorded_ns = now_ns();
            // A target without outputs has none.
            if let Ok(metadata) = std::fs::metadata(root.join(&path)) {
                let record = FileRecord {
                    stamp: Stamp::of(&metadata),
                    digest: Digest::of_file(&root.join(&path)).ok()?,
                    recorded_ns,
                };
                add(&mut dirs, &path, Some(record));
            }
        }
        Some(dirs)
    }

    /// A digest of the names in a directory of sources, and until when they are known to be these: the time of its last
    /// change, or 0 when that was just now.
    fn names(&self, dir: &Path) -> Option<(Digest, i64)> {
        let looked_ns = now_ns();
        let stamp = Stamp::of(&std::fs::metadata(dir).ok()?);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir).ok()? {
            let entry = entry.ok()?;
            let kind = entry.file_type().ok()?;
            let name = entry.file_name();
            if !(self.skip)(&entry.path()) && (kind.is_dir() || !is_temporary_name(&name)) {
                names.push((name, kind.is_dir(), kind.is_symlink()));
            }
        }
        names.sort_unstable();
        let is_reliable = stamp.is_reliable_at(looked_ns);
        let until = if is_reliable { stamp.mtime_ns } else { 0 };
        Some((Digest::of(format!("{names:?}")), until))
    }

    fn is_as_it_was(&self, dir: &Dir<'_>) -> bool {
        let path = self.course.place.root.join(dir.path);
        let are_names_right = match &dir.names {
            Names::Any => true,
            Names::Exists => path.is_dir(),
            Names::Absent => !path.exists(),
            Names::Listed(names, until) => {
                let is_unchanged = *until != 0
                    && std::fs::metadata(&path)
                        .is_ok_and(|metadata| Stamp::of(&metadata).mtime_ns == *until);
                is_unchanged
                    || self
                        .names(&path)
                        .is_some_and(|(digest, _)| digest.as_bytes() == *names)
            }
        };
        are_names_right && dir.files.iter().all(|file| file.is_as_it_was(&path))
    }
}

impl File<'_> {
    fn is_as_it_was(&self, dir: &Path) -> bool {
        let path = dir.join(self.name);
        let Ok(metadata) = std::fs::metadata(&path) else {
            return self.stamp.is_none();
        };
        let Some((size, mtime_ns, inode)) = self.stamp else {
            return false;
        };
        let stamp = Stamp {
            size,
            mtime_ns,
            inode,
        };
        metadata.is_file()
            && Stamp::of(&metadata) == stamp
            && self.digest.is_none_or(|digest| {
                Digest::of_file(&path).is_ok_and(|now| now.as_bytes() == digest)
            })
    }
}

#[derive(Default)]
struct OwnedDir {
    names: OwnedNames,
    files: BTreeMap<String, Option<FileRecord>>,
}

#[derive(Default)]
enum OwnedNames {
    #[default]
    Any,
    Exists,
    Absent,
    Listed(Digest, i64),
}

impl OwnedDir {
    fn as_dir<'a>(&'a self, path: &'a str) -> Dir<'a> {
        Dir {
            path,
            names: match &self.names {
                OwnedNames::Any => Names::Any,
                OwnedNames::Exists => Names::Exists,
                OwnedNames::Absent => Names::Absent,
                OwnedNames::Listed(digest, until) => Names::Listed(digest.as_bytes(), *until),
            },
            files: self
                .files
                .iter()
                .map(|(name, record)| File {
                    name,
                    stamp: record
                        .map(|record| record.stamp)
                        .map(|stamp| (stamp.size, stamp.mtime_ns, stamp.inode)),
                    digest: record
                        .as_ref()
                        .filter(|record| !record.stamp.is_reliable_at(record.recorded_ns))
                        .map(|record| &record.digest.as_bytes()[..]),
                })
                .collect(),
        }
    }
}

fn add(dirs: &mut BTreeMap<String, OwnedDir>, path: &str, record: Option<FileRecord>) {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let dir = if path.starts_with('/') && dir.is_empty() {
        "/"
    } else {
        dir
    };
    let files = &mut dirs.entry(dir.to_owned()).or_default().files;
    files.insert(name.to_owned(), record);
}
