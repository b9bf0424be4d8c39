//! The checkpoint of a course that is up to date: a later process starts from it.
//!
//! A file in the state directory with two sections. The first contains the stamps of everything that a build of the
//! whole course used or made: directories, files that were read or looked for, outputs. A process compares these with
//! the disk to find what changed. Mostly nothing did, and then nothing has to be read, planned or checked. Otherwise
//! the second section (module `resume`) contains the remaining state of the engine, so that only the changes are
//! planned and checked.

mod idle;
mod listing;
mod names;
mod resume;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::clock::now_ns;
use crate::course::RelPath;
use crate::course::path::is_within;
use crate::diagnostic::{Reported, as_json};
use crate::digest::{Digest, Stamp};
use crate::events::Events;
use crate::parallel;
use crate::store::{self, FileRecord};
use crate::worker::Renderers;
use crate::worker::observed::{Places, is_elsewhere};

use super::course::{Course, Specified};
use super::directory::Directory;
use super::load::fingerprints;
use super::manifest;
use super::publish::Publisher;
use super::scan::{Scanned, Skip};
use super::snapshot::Snapshot;
use super::state_file::{Sections, StateFile};

pub(super) use idle::Idle;
pub(super) use listing::{forget, is_kept, keep, last};
pub(super) use names::KnownNames;
use names::{Found, Planned, is_unchanged};
pub(super) use resume::{Resumed, to_bytes};

/// The version of the format.
const VERSION: u32 = 7;

/// Locates the checkpoint of a course, and contains the digests that it must have.
pub(crate) struct Checkpoint<'a> {
    course: &'a Course,
    basis: Digest,
    specification: Digest,
    places: Places,
    skip: Skip<'static>,
}

/// The inputs of a checkpoint.
pub(super) struct Parts<'a> {
    pub(super) idle: &'a Idle,
    pub(super) listed: &'a Scanned,
    pub(super) snapshot: &'a Snapshot,
    pub(super) publisher: &'a Publisher,
    pub(super) names: &'a KnownNames,
}

/// The result of comparing a course with its checkpoint.
pub(crate) enum Comparison {
    /// Nothing changed, and a run that had nothing to do was reported.
    UpToDate,
    /// Something changed.
    Changed(Changed),
    /// There is no checkpoint, or it was written by another program, with other settings or with other tools.
    Unknown,
}

/// What changed since a checkpoint was written, and what did not.
pub(crate) struct Changed {
    /// Files of any kind that changed (absolute).
    pub(super) paths: Vec<PathBuf>,
    /// Files that were read and are unchanged; without a record if they were looked for and still do not exist.
    pub(super) sources: Vec<(RelPath, Option<FileRecord>)>,
    /// Whether the sources are the same files and directories.
    pub(super) has_same_names: bool,
    /// The checkpoint, whose second section has not been read.
    pub(super) sections: Sections,
    /// The names in directories, as far as these need not be read again.
    pub(super) names: KnownNames,
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    /// The digest of settings, tools, and this program.
    basis: Digest,
    specification: Digest,
    /// The inode of the database that contains the ledger.
    database: u64,
    fresh: u64,
    #[serde(with = "as_json")]
    reported: Cow<'a, [Reported]>,
    /// Whether there is a second section.
    has_state: bool,
    #[serde(borrow)]
    dirs: Vec<Dir<'a>>,
}

/// A directory of sources or outputs.
#[derive(Serialize, Deserialize)]
struct Dir<'a> {
    /// Relative to the course root, or absolute.
    path: &'a str,
    names: Names,
    #[serde(borrow)]
    sources: Vec<Source<'a>>,
    #[serde(borrow)]
    outputs: Vec<Output<'a>>,
}

/// Which names a directory must contain.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
enum Names {
    /// Any: they do not matter.
    #[default]
    Any,
    /// Any, but the directory must exist.
    Exists,
    /// None: the directory must not exist.
    Absent,
    /// Names with this digest. The directory need not be read while it has this stamp, which is `None` if it is not
    /// reliable.
    Listed(Digest, Option<Stamp>),
}

/// A file that was read, or looked for.
#[derive(Serialize, Deserialize)]
struct Source<'a> {
    name: &'a str,
    /// `None` if it must not exist.
    record: Option<FileRecord>,
}

#[derive(Serialize, Deserialize)]
struct Output<'a> {
    name: &'a str,
    stamp: Stamp,
    /// The digest, if the stamp alone proves nothing.
    digest: Option<Digest>,
}

impl<'a> Checkpoint<'a> {
    /// Returns the checkpoint of a course with these tools.
    pub(crate) fn new(course: &'a Course, specified: &Specified, renderers: &Renderers) -> Self {
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
                (course.identity(), course.scope()),
                (&tools.html, kernels, &tools.plantuml, &tools.drawio),
            )
        );
        Self {
            course,
            basis: Digest::of(basis),
            specification: specified.digest,
            places: Places::new(&course.place.root, &renderers.kernels),
            skip: course.skip(&specified.spec),
        }
    }

    fn file(&self) -> StateFile {
        StateFile::of(self.course, "checkpoint")
    }

    /// Compares the course with the checkpoint. If nothing changed, reports a run that had nothing to do.
    pub(crate) fn compare(&self, trigger: &str, events: &Events) -> Comparison {
        let started = Instant::now();
        let Some(compared) = self.look() else {
            return Comparison::Unknown;
        };
        let is_reported = compared.is_up_to_date
            && (self.report(&compared.idle, started, trigger, events)).is_ok();
        match compared.changed {
            _ if is_reported => Comparison::UpToDate,
            Some(changed) => Comparison::Changed(changed),
            None => Comparison::Unknown,
        }
    }

    /// Returns what changed, for a build of a part of the course.
    pub(crate) fn changed(&self) -> Option<Changed> {
        self.look()?.changed
    }

    /// Returns the checkpoint, if it has a second section that can be used.
    fn with_state(&self) -> Option<Sections> {
        let sections = self.file().read().ok()?;
        self.body(&sections.first)?.has_state.then_some(sections)
    }

    /// Parses the first section. Returns `None` if it is not of this program, these settings and these tools.
    fn body<'b>(&self, first: &'b [u8]) -> Option<Body<'b>> {
        let body: Body<'_> = postcard::from_bytes(first).ok()?;
        let database = store::database_inode(&self.course.place.state_dir())?;
        (body.basis == self.basis && body.database == database).then_some(body)
    }

    #[tracing::instrument(level = "debug", name = "compare", skip_all)]
    fn look(&self) -> Option<Compared> {
        let mut sections = self.file().read().ok()?;
        let first = std::mem::take(&mut sections.first);
        let body = self.body(&first)?;
        let now = parallel::map(&body.dirs, |dir| self.now(dir));
        let has_same_names =
            body.specification == self.specification && now.iter().all(|dir| dir.has_names);
        let is_up_to_date = has_same_names
            && !manifest::is_due(self.course)
            && now.iter().all(|dir| dir.changed.is_empty());
        let (mut paths, mut sources) = (Vec::new(), Vec::new());
        for dir in now {
            paths.extend(dir.changed);
            sources.extend(dir.sources);
        }
        let names = body.dirs.iter().filter_map(|dir| match dir.names {
            Names::Listed(digest, until @ Some(_)) => Some((dir.path.to_owned(), (digest, until))),
            _ => None,
        });
        let changed = || Changed {
            paths,
            sources,
            has_same_names,
            sections,
            names: names.collect(),
        };
        Some(Compared {
            is_up_to_date,
            changed: body.has_state.then(changed),
            idle: Idle {
                fresh: body.fresh,
                reported: body.reported.into_owned(),
                ..Idle::default()
            },
        })
    }

    fn report(
        &self,
        idle: &Idle,
        started: Instant,
        trigger: &str,
        events: &Events,
    ) -> store::Result<()> {
        let state_dir = self.course.place.state_dir();
        let duration = started.elapsed();
        let run = store::record_idle_run(&state_dir, trigger, &idle.counts(), duration)?;
        idle.report(events, run, trigger, duration);
        Ok(())
    }

    /// Writes the checkpoint. `state` returns its second section, if there is one. Returns `None` if the course cannot
    /// have a checkpoint, or if it cannot be written.
    pub(super) fn write(
        &self,
        parts: &Parts<'_>,
        state: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Option<()> {
        let listed = parts.listed;
        // A file with two names has two stamps, and a link may have another target later.
        if listed.has_links || !listed.diagnostics.is_empty() {
            return None;
        }
        let database = store::database_inode(&self.course.place.state_dir())?;
        let (entries, state) = parallel::join(|| self.entries(parts), state);
        let entries = entries?;
        let body = Body {
            basis: self.basis,
            specification: self.specification,
            database,
            fresh: parts.idle.fresh,
            reported: Cow::Borrowed(&parts.idle.reported),
            has_state: state.is_some(),
            dirs: entries.iter().map(|(path, dir)| dir.as_dir(path)).collect(),
        };
        let body = postcard::to_allocvec(&body).ok()?;
        self.file().write(&body, &state.unwrap_or_default())
    }

    fn entries(&self, parts: &Parts<'_>) -> Option<BTreeMap<String, OwnedDir>> {
        let mut dirs: BTreeMap<String, OwnedDir> = BTreeMap::new();
        let root = &self.course.place.root;
        let listing = parts.listed.listing();
        let roots = parts.listed.roots.iter();
        let roots = roots.map(|start| start.as_ref().map_or("", RelPath::as_str));
        let roots: Vec<&str> = roots.collect();
        let planned = Planned::of(listing, parts.publisher);
        // In directories that clm made for its files, everything else belongs to the author. Only directories below the
        // scanned roots can contain sources.
        let may_have_sources =
            |dir: &&str| (roots.iter()).any(|root| root.is_empty() || is_within(dir, root));
        let mut listed: HashSet<&str> = listing.dirs.iter().map(RelPath::as_str).collect();
        listed.extend(&roots);
        listed.extend(planned.made().filter(may_have_sources));
        let listed: Vec<&str> = listed.into_iter().collect();
        let names = parallel::map(&listed, |path| {
            let dir = root.join(path);
            if let Some((digest, until)) = parts.names.get(*path).copied()
                && is_unchanged(&dir, until)
            {
                return Some(Names::Listed(digest, until));
            }
            match Found::at(&dir, &self.skip) {
                Some(found) if planned.is_same(path, &found) => {
                    Some(Names::Listed(found.digest(), found.until))
                }
                None if !dir.exists() && !planned.knows(path) => Some(Names::Absent),
                // An entry was added or removed since the course was planned.
                _ => None,
            }
        });
        for (path, names) in listed.into_iter().zip(names) {
            dirs.entry(path.to_owned()).or_default().names = names?;
        }
        for (path, record) in parts.snapshot.all() {
            let (dir, name) = split(path.as_str());
            let sources = &mut dirs.entry(dir.to_owned()).or_default().sources;
            sources.insert(name.to_owned(), record);
        }
        let mut add = |path: &str, record: FileRecord| {
            let (dir, name) = split(path);
            let digest = (!record.is_reliable()).then_some(record.digest);
            let outputs = &mut dirs.entry(dir.to_owned()).or_default().outputs;
            outputs.insert(name.to_owned(), (record.stamp, digest));
        };
        for (path, record) in parts.publisher.outputs() {
            add(path, record.file);
        }
        for target in &parts.idle.target_roots {
            let path = format!("{target}/{}", manifest::NAME);
            let recorded_ns = now_ns();
            // A target without outputs has no manifest.
            if let Ok(metadata) = std::fs::metadata(root.join(&path)) {
                let digest = Digest::of_file(&root.join(&path)).ok()?;
                let record = FileRecord {
                    stamp: Stamp::of(&metadata),
                    digest,
                    recorded_ns,
                };
                add(&path, record);
            }
        }
        for dir in &parts.idle.empty_dirs {
            dirs.entry(dir.clone()).or_default().names = Names::Exists;
        }
        Some(dirs)
    }

    fn now(&self, dir: &Dir<'_>) -> Now {
        let path = self.course.place.root.join(dir.path);
        let has_names = match dir.names {
            Names::Any => true,
            Names::Exists => path.is_dir(),
            Names::Absent => !path.exists(),
            Names::Listed(names, until) => {
                let is_same = |found: Found| found.digest() == names;
                is_unchanged(&path, until) || Found::at(&path, &self.skip).is_some_and(is_same)
            }
        };
        let files = Directory::at(path, dir.sources.len() + dir.outputs.len());
        let (mut changed, mut sources) = (Vec::new(), Vec::new());
        for source in &dir.sources {
            let file = files.path().join(source.name);
            let Some(relative) = RelPath::below(&self.course.place.root, &file) else {
                changed.push(file);
                continue;
            };
            let record = match is_elsewhere(&relative) {
                true => source.now_elsewhere(&relative, &self.places),
                false => source.now(&files),
            };
            match record {
                Some(record) => sources.push((relative, record)),
                None => changed.push(file),
            }
        }
        for output in &dir.outputs {
            if !output.is_as_it_was(&files) {
                changed.push(files.path().join(output.name));
            }
        }
        Now {
            has_names,
            changed,
            sources,
        }
    }
}

/// The state of a course compared with its checkpoint.
struct Compared {
    /// Whether nothing changed.
    is_up_to_date: bool,
    idle: Idle,
    changed: Option<Changed>,
}

/// The state of a directory compared with its checkpoint.
struct Now {
    has_names: bool,
    changed: Vec<PathBuf>,
    sources: Vec<(RelPath, Option<FileRecord>)>,
}

impl Source<'_> {
    /// Returns its record, or that it still does not exist; `None` if it changed.
    fn now(&self, dir: &Directory) -> Option<Option<FileRecord>> {
        let looked_ns = now_ns();
        let found = dir.stamp(self.name);
        let Some(record) = self.record else {
            return found.is_none().then_some(None);
        };
        let (found, _) = found.filter(|(_, is_file)| *is_file)?;
        // A file with another stamp counts as changed: the build reads it and records the new stamp.
        let read = || {
            (found == record.stamp)
                .then(|| Digest::of_file(&dir.path().join(self.name)).ok())
                .flatten()
        };
        record
            .check(looked_ns, found, read)
            .record(record)
            .map(Some)
    }

    /// The same for something that is not a file of the course.
    fn now_elsewhere(&self, path: &RelPath, places: &Places) -> Option<Option<FileRecord>> {
        let looked_ns = now_ns();
        let look = places.look(path);
        let Some(record) = self.record else {
            return look.is_none().then_some(None);
        };
        // The stamp of a directory also depends on entries that do not matter.
        let read = || places.digest(path);
        record
            .check(looked_ns, look?.stamp, read)
            .record(record)
            .map(Some)
    }
}

impl Output<'_> {
    fn is_as_it_was(&self, dir: &Directory) -> bool {
        let is_proved = |digest: Digest| digest.is_of_file(&dir.path().join(self.name));
        dir.stamp(self.name) == Some((self.stamp, true)) && self.digest.is_none_or(is_proved)
    }
}

#[derive(Default)]
struct OwnedDir {
    names: Names,
    sources: BTreeMap<String, Option<FileRecord>>,
    outputs: BTreeMap<String, (Stamp, Option<Digest>)>,
}

impl OwnedDir {
    fn as_dir<'a>(&'a self, path: &'a str) -> Dir<'a> {
        let sources = self.sources.iter().map(|(name, record)| Source {
            name,
            record: *record,
        });
        let outputs = self.outputs.iter().map(|(name, (stamp, digest))| Output {
            name,
            stamp: *stamp,
            digest: *digest,
        });
        Dir {
            path,
            names: self.names,
            sources: sources.collect(),
            outputs: outputs.collect(),
        }
    }
}

/// Splits a path into its directory (relative to the course root, or absolute) and its name.
fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        None => ("", path),
        Some(("", name)) => ("/", name),
        Some(split) => split,
    }
}
