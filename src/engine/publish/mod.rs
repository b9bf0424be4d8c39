//! Outputs: written completely or not at all, only if their bytes differ, and recorded in the ledger.
//!
//! Bytes in the place of an output that are not known to be clm's are never destroyed: see [`aside`].

mod aside;
mod dirs;
mod intact;
mod listed;
mod place;
mod remove;
mod stage;
mod there;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::clock::now_ns;
use crate::course::Names;
use crate::course::path::is_within;
use crate::diagnostic::Diagnostic;
use crate::digest::{Digest, Stamp};
use crate::error::Result;
use crate::events::Events;
use crate::parallel::{self, lock};
use crate::store::{Check, FileRecord, OutputRecord, Store, Written};

use super::partial_map::PartialMap;
use super::sources::OutputPaths;

use aside::Aside;
use listed::Lists;

pub(super) use intact::WrittenBack;
pub(super) use listed::NAME as MANIFEST;
pub(super) use place::Failure;
pub(super) use stage::{Content, Output, Prepared, Staged};

/// The directories and the scope of a publisher.
pub(crate) struct Place<'a> {
    /// The course root.
    pub root: &'a Path,
    /// Directories outside of the course root that outputs may be in.
    pub output_roots: &'a [PathBuf],
    /// Whether it is a folder without `course.xml`: its sources are everywhere.
    pub is_folder: bool,
    /// The name of the specification and output directory: outputs of another scope are never removed.
    pub scope: String,
    /// A directory of this process in the state directory.
    pub staging: PathBuf,
    /// The state directory.
    pub state_dir: PathBuf,
}

/// The outputs of one course on disk.
pub(crate) struct Publisher {
    root: PathBuf,
    /// Directories that outputs may be in: the course root and the output roots.
    allowed: Vec<PathBuf>,
    checked_dirs: HashSet<PathBuf>,
    staging: PathBuf,
    staged: u64,
    store: Store,
    scope: Arc<str>,
    /// Records of files among the sources are always in memory.
    ledger: PartialMap<OutputRecord>,
    names: Arc<Names>,
    /// The number of outputs compared since the ledger is not completely in memory.
    asked: usize,
    sources: SourceDirs,
    /// The paths in the ledger that are among the sources.
    among_sources: HashSet<Arc<str>>,
    own: OwnFiles,
    events: Events,
    /// The place for files of others that are in the places of outputs.
    aside: Aside,
    /// Whether such files stay, so that these outputs are not made.
    keeps_foreign: bool,
    /// Every output path of the course as it is planned now, if that is known.
    wanted: Option<OutputPaths>,
    /// The manifests in the output tree.
    lists: Lists,
}

/// Files in the source tree that clm wrote, with their digests: a watch uses them to recognize changes by the author.
#[derive(Clone, Default)]
pub(crate) struct OwnFiles(Arc<Mutex<Own>>);

#[derive(Default)]
struct Own {
    root: PathBuf,
    /// By path below the root.
    digests: HashMap<Arc<str>, Digest>,
}

impl OwnFiles {
    fn lies_in(&self, root: &Path) {
        lock(&self.0).root = root.to_path_buf();
    }

    fn insert(&self, path: Arc<str>, digest: Digest) {
        lock(&self.0).digests.insert(path, digest);
    }

    /// Returns the digest of what clm last wrote there.
    pub(crate) fn digest(&self, file: &Path) -> Option<Digest> {
        let own = lock(&self.0);
        let path = file.strip_prefix(&own.root).ok()?.to_str()?;
        own.digests.get(path).copied()
    }
}

/// The directory of a course's sources.
const SLIDES: &str = "slides/";

/// Where the sources are: files there are outputs only if clm wrote them.
#[derive(Clone, Debug)]
enum SourceDirs {
    /// In the directory of sources of a course.
    Slides,
    /// Everywhere in a folder but in these directories of outputs, relative to the root.
    AllBut(Vec<String>),
}

impl SourceDirs {
    fn of(root: &Path, output_roots: &[PathBuf], is_folder: bool) -> Self {
        let below = output_roots
            .iter()
            .filter_map(|dir| dir.strip_prefix(root).ok());
        let below = below.filter_map(Path::to_str).map(str::to_owned);
        match is_folder {
            true => Self::AllBut(below.collect()),
            false => Self::Slides,
        }
    }

    fn contain(&self, path: &str) -> bool {
        match self {
            Self::Slides => path.starts_with(SLIDES),
            Self::AllBut(dirs) => {
                !path.starts_with('/') && !dirs.iter().any(|dir| is_within(path, dir))
            }
        }
    }
}

/// For so many records, reading all of them is faster than reading them one by one.
const MANY: usize = 512;

impl Publisher {
    /// Returns a publisher with the ledger of earlier runs.
    pub(crate) fn new(
        place: Place<'_>,
        store: Store,
        own: OwnFiles,
        events: Events,
        names: Arc<Names>,
    ) -> Result<Self> {
        own.lies_in(place.root);
        let mut publisher = Self {
            root: place.root.to_path_buf(),
            allowed: std::iter::once(place.root.to_path_buf())
                .chain(place.output_roots.iter().cloned())
                .collect(),
            checked_dirs: HashSet::new(),
            staging: place.staging,
            staged: 0,
            store,
            scope: place.scope.into(),
            ledger: PartialMap::complete(HashMap::new()),
            names,
            asked: 0,
            sources: SourceDirs::of(place.root, place.output_roots, place.is_folder),
            among_sources: HashSet::new(),
            own,
            events,
            aside: Aside::new(place.root, &place.state_dir),
            keeps_foreign: false,
            wanted: None,
            lists: Lists::default(),
        };
        publisher.reload()?;
        Ok(publisher)
    }

    /// Reads the ledger as it is in the records now.
    pub(crate) fn reload(&mut self) -> Result<()> {
        let ledger = self.store.outputs(&mut |path| self.names.of(path))?;
        self.among_sources.clear();
        for (path, record) in &ledger {
            if self.sources.contain(path) {
                self.own.insert(Arc::clone(path), record.file.digest);
                self.among_sources.insert(Arc::clone(path));
            }
        }
        self.ledger = PartialMap::complete(ledger);
        Ok(())
    }

    /// Begins a run. `keeps_foreign` is whether files of others stay in the places of outputs.
    pub(crate) fn begin_run(&mut self, keeps_foreign: bool) {
        self.keeps_foreign = keeps_foreign;
        self.wanted = None;
        // Directories that could not be used may be usable now.
        self.checked_dirs.clear();
    }

    /// Sets the output paths of the course as it is planned now.
    pub(crate) fn plan(&mut self, wanted: &OutputPaths) {
        self.wanted = Some(Arc::clone(wanted));
    }

    /// Returns a warning about files that were moved aside since the last call, if there are any.
    pub(crate) fn take_replaced(&mut self) -> Option<Diagnostic> {
        self.aside.take_warning()
    }

    /// Returns the ledger: outputs with their records, of all scopes.
    pub(crate) fn into_ledger(self) -> PartialMap<OutputRecord> {
        self.ledger
    }

    /// Drops what can be read from the records again. Everything that was written must be in the records.
    pub(crate) fn release(&mut self) {
        let sources = &self.sources;
        self.ledger.release(|path| sources.contain(path));
        self.asked = 0;
    }

    /// Loads the whole ledger into memory: for callers that need all of it.
    pub(crate) fn load_all(&mut self) -> Result<()> {
        if !self.ledger.is_complete() {
            let all = self.store.outputs(&mut |path| self.names.of(path))?;
            self.ledger.fill(all);
        }
        Ok(())
    }

    fn recorded(&self, destination: &str) -> Result<Option<Cow<'_, OutputRecord>>> {
        Ok(self.ledger.get(destination, || {
            // Records of files among the sources are all in memory.
            match self.sources.contain(destination) {
                true => Ok(None),
                false => self.store.output(destination),
            }
        })?)
    }

    /// Sets the output roots, when the specification changed.
    pub(crate) fn allow(&mut self, output_roots: &[PathBuf]) {
        if let SourceDirs::AllBut(_) = self.sources {
            self.sources = SourceDirs::of(&self.root, output_roots, true);
        }
        self.allowed.truncate(1);
        self.allowed.extend(output_roots.iter().cloned());
        self.checked_dirs.clear();
    }

    /// Returns the file of an output path (relative to the course root, or absolute).
    pub(crate) fn file(&self, destination: &str) -> PathBuf {
        self.root.join(destination)
    }

    /// Returns whether a path may be an output, or a directory with outputs in it.
    pub(crate) fn has_outputs_at(&self, path: &str) -> bool {
        let file = self.file(path);
        self.output_roots()
            .any(|root| file.starts_with(root) || root.starts_with(&file))
            || self.among_sources.iter().any(|file| is_within(file, path))
    }

    /// Returns every output of this scope with its record, as far as they are in memory: all of them after
    /// [`Self::load_all`].
    pub(crate) fn outputs(&self) -> impl Iterator<Item = (&Arc<str>, &OutputRecord)> {
        let known = self.ledger.known();
        let all = known.iter();
        all.filter(|(_, record)| record.scope == self.scope)
    }

    /// Compares outputs again that were written so shortly before they were recorded that their stamps prove nothing,
    /// so that the next run can rely on their stamps.
    pub(crate) fn confirm(&mut self) {
        let unproved: Vec<(Arc<str>, OutputRecord)> = self
            .outputs()
            .filter(|(_, record)| !record.file.is_reliable())
            .map(|(path, record)| (Arc::clone(path), record.clone()))
            .collect();
        let confirmed = parallel::map(&unproved, |(path, record)| {
            let file = self.file(path);
            let recorded_ns = now_ns();
            let stamp = Stamp::of(&std::fs::symlink_metadata(&file).ok()?);
            let confirmed = FileRecord {
                stamp,
                recorded_ns,
                ..record.file
            };
            let is_ours = confirmed.is_reliable() && confirmed.digest.is_of_file(&file);
            is_ours.then(|| OutputRecord {
                file: confirmed,
                ..record.clone()
            })
        });
        let outputs: Vec<_> = unproved
            .into_iter()
            .zip(confirmed)
            .filter_map(|((path, _), record)| Some((path, record?)))
            .collect();
        self.restamp(outputs);
    }

    /// Returns the digest that the ledger contains for an output.
    pub(crate) fn digest_of(&self, destination: &str) -> Result<Option<Digest>> {
        let record = self.recorded(destination)?;
        Ok(record.map(|record| record.file.digest))
    }

    /// Returns whether an output is on disk with these bytes, and recorded in this scope. Reads the file only if its
    /// stamp differs from that of the ledger.
    pub(crate) fn is_fresh(&mut self, destination: &Arc<str>, digest: Digest) -> Result<bool> {
        if !self.ledger.is_complete() {
            self.asked += 1;
            if self.asked > MANY {
                self.load_all()?;
            }
        }
        let Some(record) = self.recorded(destination)? else {
            return Ok(false);
        };
        if record.file.digest != digest || record.scope != self.scope {
            return Ok(false);
        }
        let file = self.file(destination);
        let looked_ns = now_ns();
        let Ok(metadata) = std::fs::symlink_metadata(&file) else {
            return Ok(false);
        };
        if !metadata.is_file() {
            return Ok(false);
        }
        let read = || Digest::of_file(&file).ok();
        match record.file.check(looked_ns, Stamp::of(&metadata), read) {
            Check::Same => Ok(true),
            Check::Restamped(file) => {
                let record = OutputRecord {
                    file,
                    ..record.into_owned()
                };
                self.restamp(vec![(Arc::clone(destination), record)]);
                Ok(true)
            }
            Check::Changed => Ok(false),
        }
    }

    /// Returns whether a file of the author is in the place of these bytes: one in the source tree that clm did not
    /// write. Only in `img-generated` directories of a course clm may replace such files, and files that it wrote and
    /// that were changed since; in a folder, it replaces neither.
    pub(crate) fn is_refused(&self, destination: &str, digest: Digest) -> bool {
        if !self.is_of_author(destination) {
            return false;
        }
        let there = self.look(destination);
        there.is_ok_and(|there| there.is_foreign() && !there.has(digest))
    }

    /// Returns whether a path is one where files that clm did not write are the author's.
    fn is_of_author(&self, destination: &str) -> bool {
        self.sources.contain(destination)
            && match self.sources {
                SourceDirs::Slides => {
                    !destination.contains("/img-generated/")
                        && !self.among_sources.contains(destination)
                }
                SourceDirs::AllBut(_) => true,
            }
    }

    /// Returns whether clm wrote a file at this path of the source tree, whatever it contains now.
    pub(crate) fn has_written(&self, destination: &str) -> bool {
        self.among_sources.contains(destination)
            && matches!(self.recorded(destination), Ok(Some(record)) if !record.is_adopted)
    }

    #[tracing::instrument(level = "debug", name = "record", skip_all)]
    fn record(&mut self, outputs: Vec<Written>) -> Result<()> {
        self.keep_all(&outputs);
        Ok(self.store.record_outputs(outputs)?)
    }

    /// Records new stamps of outputs. The write is not awaited, since without it the files are only read again.
    fn restamp(&mut self, outputs: Vec<(Arc<str>, OutputRecord)>) {
        if outputs.is_empty() {
            return;
        }
        for (destination, record) in &outputs {
            self.keep(destination, record);
        }
        self.store.restamp_outputs_later(outputs);
    }

    /// Takes records over into the ledger in memory.
    fn keep_all(&mut self, outputs: &[Written]) {
        for (destination, record, _) in outputs {
            self.keep(destination, record);
        }
    }

    fn keep(&mut self, destination: &Arc<str>, record: &OutputRecord) {
        if self.sources.contain(destination) {
            self.own.insert(Arc::clone(destination), record.file.digest);
            self.among_sources.insert(Arc::clone(destination));
        }
        self.ledger.insert(Arc::clone(destination), record.clone());
    }

    /// Returns the paths in the source tree that clm wrote, including files that were changed since.
    pub(crate) fn among_sources(&self) -> impl Iterator<Item = &str> {
        self.among_sources.iter().map(|path| &**path)
    }
}

#[cfg(test)]
mod tests;
