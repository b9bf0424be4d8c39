//! `.clm-manifest.json` in every target: lists what a build of the whole course wrote, for programs that publish it.
//!
//! The format is that of CLM: its release commands read the file, and its builds treat a directory with one as their
//! own.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::course::layout::{OutputClass, Placed};
use crate::course::spec::Spec;
use crate::course::{Format, Lang};
use crate::digest::{self, Digest, Stamp};
use crate::error::{Dir, Error, Result};
use crate::files::{self, Access};
use crate::store::{self, Store};

use super::course::Course;
use super::git;
use super::publish::{MANIFEST, Publisher};
use super::state_file::StateFile;

/// The name of the file.
pub(super) const NAME: &str = MANIFEST;
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Manifest<'a> {
    version: u32,
    spec: &'a str,
    target: &'a str,
    source_commit: Option<String>,
    source_dirty: Option<bool>,
    built_at: String,
    partial: bool,
    failed_topics: Vec<&'a str>,
    files: Vec<File<'a>>,
    /// Those of the files that clm found in place and did not write: for these the list does not prove that they are
    /// outputs. Not part of the format of CLM, which ignores it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    adopted: Vec<&'a str>,
}

#[derive(Serialize)]
struct File<'a> {
    path: &'a str,
    section_id: Option<&'a str>,
    topic_id: Option<&'a str>,
    kind: Option<&'static str>,
    format: &'static str,
    language: Lang,
    content_hash: String,
}

/// The outputs of one target.
pub(super) struct Target<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its directory as it is written in output paths.
    pub root: &'a str,
}

/// The inputs of manifests.
pub(super) struct Manifests<'a> {
    /// The specification.
    pub spec: &'a Spec,
    /// Its file name.
    pub spec_name: &'a str,
    /// The targets, in the order of the layout.
    pub targets: Vec<Target<'a>>,
    /// All outputs.
    pub placed: Vec<Placed<'a>>,
    /// Topics with outputs that could not be made: they are omitted.
    pub failed: BTreeSet<&'a str>,
}

impl Manifests<'_> {
    /// Writes the manifests of all targets that have outputs.
    pub(super) fn write(
        &self,
        course: &Course,
        publisher: &Publisher,
        store: &Store,
    ) -> Result<()> {
        let known = store.checksums()?;
        let mut checksums = Checksums {
            known: &known,
            used: HashSet::new(),
            new: HashMap::new(),
        };
        let root = &course.place.root;
        // Read before git is run, so that later changes are noticed.
        let stamps = git::GitStamps::of(root);
        let state = git::State::of(root);
        let noted = Lists::read(course);
        let built_at = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, false);
        for (index, target) in self.targets.iter().enumerate() {
            let mut files = Vec::new();
            for placed in self
                .placed
                .iter()
                .filter(|p| p.destination.target() == index)
            {
                files.extend(self.file(placed, publisher, &mut checksums)?);
            }
            if files.is_empty() {
                continue;
            }
            files.sort_by_key(|file| file.path);
            let mut adopted = Vec::new();
            for placed in self
                .placed
                .iter()
                .filter(|p| p.destination.target() == index)
            {
                if publisher.is_adopted(placed.destination.output())? {
                    adopted.push(placed.destination.path());
                }
            }
            let manifest = Manifest {
                version: VERSION,
                spec: self.spec_name,
                target: target.name,
                source_commit: state.commit.clone(),
                source_dirty: state.dirty,
                built_at: built_at.clone(),
                partial: !self.failed.is_empty(),
                failed_topics: self.failed.iter().copied().collect(),
                files,
                adopted,
            };
            let dir = publisher.file(target.root);
            if !noted.has(target.root, &dir) {
                publisher.make_way_for_manifest(&dir)?;
            }
            replace(&dir, &manifest)?;
        }
        let Checksums { used, new, .. } = checksums;
        let gone = known.keys().filter(|digest| !used.contains(digest));
        let new = new.into_iter();
        let new = new.filter_map(|(digest, sha256)| Some((digest, sha256?)));
        store.change_checksums(new.collect(), gone.copied().collect())?;
        note_git(course, &(stamps, state));
        let roots: Vec<String> = self.targets.iter().map(|t| t.root.to_owned()).collect();
        note_known(course, publisher, &roots);
        Ok(())
    }

    fn file<'p>(
        &self,
        placed: &Placed<'p>,
        publisher: &Publisher,
        checksums: &mut Checksums<'_>,
    ) -> Result<Option<File<'p>>>
    where
        Self: 'p,
    {
        let topic = placed.topic.as_ref();
        if topic.is_some_and(|(_, id)| self.failed.contains(&**id)) {
            return Ok(None);
        }
        let path = placed.destination.path();
        let destination = placed.destination.output();
        let Some(digest) = publisher.digest_of(destination)? else {
            return Ok(None);
        };
        // It was changed by another program and does not have the recorded content.
        let Some(sha256) = checksums.of(digest, || publisher.file(destination)) else {
            return Ok(None);
        };
        let (kind, format) = match placed.class {
            OutputClass::Deck(Format::Html, kind) => (Some(kind.name()), "html"),
            OutputClass::Deck(Format::Notebook, kind) => (Some(kind.name()), "notebook"),
            OutputClass::Deck(Format::Code, kind) => (Some(kind.name()), "code"),
            OutputClass::Image => (None, "image"),
            OutputClass::Data => (None, "data"),
            OutputClass::DirGroup => (None, "dir-group"),
        };
        Ok(Some(File {
            path,
            section_id: topic.and_then(|(section, _)| self.spec.sections[*section].id.as_deref()),
            topic_id: topic.map(|(_, id)| &**id),
            kind,
            format,
            language: placed.lang,
            content_hash: format!("sha256:{sha256}"),
        }))
    }
}

/// SHA-256 by content, computed once for each.
struct Checksums<'a> {
    known: &'a HashMap<Digest, String>,
    used: HashSet<Digest>,
    /// `None` if the file did not have the content.
    new: HashMap<Digest, Option<String>>,
}

impl Checksums<'_> {
    /// Returns the SHA-256 of a content, which is that of a file; `None` if the file does not have it.
    fn of(&mut self, digest: Digest, file: impl FnOnce() -> PathBuf) -> Option<&str> {
        if let Some(sha256) = self.known.get(&digest) {
            self.used.insert(digest);
            return Some(sha256);
        }
        match self.new.entry(digest) {
            Entry::Occupied(found) => found.into_mut().as_deref(),
            Entry::Vacant(new) => {
                let sha256 = digest::sha256_of_content(&file(), digest).ok().flatten();
                new.insert(sha256).as_deref()
            }
        }
    }
}

/// Stamps of manifests when clm wrote or read them, so that one of another program is noticed.
#[derive(Default)]
struct Lists(HashMap<String, Option<Stamp>>);

impl Lists {
    /// Reads the stamps, if they were noted with this database: another one has no records of the listed files.
    fn read(course: &Course) -> Self {
        let read = || {
            let noted = StateFile::of(course, "manifests").read().ok()?;
            let (database, lists): (u64, _) = postcard::from_bytes(&noted.first).ok()?;
            let now = store::database_inode(&course.place.state_dir())?;
            (database == now).then_some(Self(lists))
        };
        read().unwrap_or_default()
    }

    fn has(&self, root: &str, dir: &Path) -> bool {
        let stamp = self.0.get(root).copied().flatten();
        stamp.is_some() && stamp == stamp_in(dir)
    }
}

fn stamp_in(dir: &Path) -> Option<Stamp> {
    let metadata = std::fs::symlink_metadata(dir.join(NAME)).ok()?;
    Some(Stamp::of(&metadata))
}

/// Returns the targets with a manifest that this ledger does not know: of an earlier ledger, or of the Python tool.
pub(super) fn unknown<'t>(
    course: &Course,
    publisher: &Publisher,
    target_roots: &'t [String],
) -> Vec<&'t String> {
    let noted = Lists::read(course);
    let is_unknown = |root: &&String| {
        let dir = publisher.file(root);
        stamp_in(&dir).is_some() && !noted.has(root, &dir)
    };
    target_roots.iter().filter(is_unknown).collect()
}

/// Removes the manifests of targets that are gone, if clm wrote them and they are unchanged: their outputs are removed,
/// too.
pub(super) fn remove_stale(course: &Course, publisher: &Publisher, target_roots: &[String]) {
    let noted = Lists::read(course);
    for root in noted.0.keys().filter(|root| !target_roots.contains(root)) {
        let dir = publisher.file(root);
        if noted.has(root, &dir) && std::fs::remove_file(dir.join(NAME)).is_ok() {
            publisher.remove_empty_dirs(&dir.join(NAME));
        }
    }
}

/// Notes that the ledger contains what the manifests list.
pub(super) fn note_known(course: &Course, publisher: &Publisher, target_roots: &[String]) {
    let Some(database) = store::database_inode(&course.place.state_dir()) else {
        return;
    };
    let stamp = |root: &String| (root.clone(), stamp_in(&publisher.file(root)));
    let lists: HashMap<String, Option<Stamp>> = target_roots.iter().map(stamp).collect();
    if let Ok(bytes) = postcard::to_allocvec(&(database, lists)) {
        let _ = StateFile::of(course, "manifests").write(&bytes, &[]);
    }
}

/// The state of git that manifests contain, and the marks that detect a change of it.
type Noted = (git::GitStamps, git::State);

fn note_git(course: &Course, noted: &Noted) {
    if let Ok(bytes) = postcard::to_allocvec(noted) {
        let _ = StateFile::of(course, "manifests-git").write(&bytes, &[]);
    }
}

/// Returns whether manifests name another commit than that of the sources. Git is only run if its files changed or if
/// `asked` is set: the working tree may differ from the commit without a trace in these files.
fn is_other_commit(course: &Course, asked: bool) -> bool {
    let root = &course.place.root;
    let noted = StateFile::of(course, "manifests-git").read().ok();
    let Some((stamps, state)) =
        noted.and_then(|noted| postcard::from_bytes::<Noted>(&noted.first).ok())
    else {
        return true;
    };
    if !asked && stamps.are_as_they_were() {
        return false;
    }
    let stamps = git::GitStamps::of(root);
    if git::State::of(root) != state {
        return true;
    }
    note_git(course, &(stamps, state));
    false
}

/// Returns whether manifests are out of date: outputs changed since, by a watch or by a build of a part of the course,
/// or the sources are of another commit.
pub(super) fn is_due(course: &Course) -> bool {
    course.settings.output.manifest && (due_mark(course).exists() || is_other_commit(course, false))
}

/// The same, for a run that found changes or had to compare the sources: git is always run.
pub(super) fn is_due_after_run(course: &Course) -> bool {
    course.settings.output.manifest && (due_mark(course).exists() || is_other_commit(course, true))
}

/// Notes that outputs changed, so that manifests are out of date.
pub(super) fn set_due(course: &Course) -> Result<()> {
    let stamp = due_mark(course);
    if !course.settings.output.manifest || stamp.exists() {
        return Ok(());
    }
    crate::private::write(&stamp, b"")
        .map_err(|error| Error::io_in(Dir::State, "write", &stamp, &error))
}

/// Notes that manifests are up to date.
pub(super) fn set_done(course: &Course) -> Result<()> {
    let stamp = due_mark(course);
    match std::fs::remove_file(&stamp) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io_in(Dir::State, "remove", &stamp, &error))
        }
        _ => Ok(()),
    }
}

fn due_mark(course: &Course) -> PathBuf {
    StateFile::of(course, "manifests-due").path().clone()
}

fn replace(dir: &Path, manifest: &Manifest<'_>) -> Result<()> {
    let file = dir.join(NAME);
    let io = |error: std::io::Error| Error::io_in(Dir::Output, "write", &file, &error);
    // It is readable for the same users as the outputs beside it.
    let replaced = files::replace(&file, Access::Shared, |file| {
        // It is large for a course with a hundred thousand outputs.
        let mut writer = BufWriter::new(file);
        serde_json::to_writer_pretty(&mut writer, manifest)?;
        writer.write_all(b"\n")?;
        writer.flush()
    });
    replaced.map_err(io)
}
