//! `.clm-manifest.json` in every target: what a build of the whole course wrote, for whoever publishes it.
//!
//! The format is that of CLM, whose release commands read it and whose builds take a directory with one for their own.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::course::layout::{OutputClass, Placed};
use crate::course::spec::Spec;
use crate::course::{Format, Lang};
use crate::digest::{self, Digest};
use crate::error::{Error, Result};
use crate::store::Store;

use super::course::Course;
use super::kept;
use super::publish::Publisher;

/// The name of the file.
pub const NAME: &str = ".clm-manifest.json";
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
pub struct Target<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its directory as it stands in output paths.
    pub root: &'a str,
}

/// What manifests are made of.
pub struct Manifests<'a> {
    /// The specification.
    pub spec: &'a Spec,
    /// Its file name.
    pub spec_name: &'a str,
    /// The course root.
    pub course_root: &'a Path,
    /// The targets, in the order of the layout.
    pub targets: Vec<Target<'a>>,
    /// All outputs.
    pub placed: Vec<Placed<'a>>,
    /// Topics with outputs that could not be made: they are left out.
    pub failed: BTreeSet<&'a str>,
}

impl Manifests<'_> {
    /// Writes the manifests of all targets that have outputs.
    pub fn write(&self, publisher: &Publisher, store: &Store) -> Result<()> {
        let known = store.checksums()?;
        let mut checksums = Checksums {
            known: &known,
            used: HashSet::new(),
            new: HashMap::new(),
        };
        let (source_commit, source_dirty) = commit(self.course_root);
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
            let manifest = Manifest {
                version: VERSION,
                spec: self.spec_name,
                target: target.name,
                source_commit: source_commit.clone(),
                source_dirty,
                built_at: built_at.clone(),
                partial: !self.failed.is_empty(),
                failed_topics: self.failed.iter().copied().collect(),
                files,
            };
            replace(&publisher.file(target.root), &manifest)?;
        }
        let Checksums { used, new, .. } = checksums;
        let gone = known.keys().filter(|digest| !used.contains(digest));
        store.change_checksums(new.into_iter().collect(), gone.copied().collect())?;
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
        let sha256 = checksums.of(digest, || publisher.file(destination))?;
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

/// SHA-256 of contents: found out once.
struct Checksums<'a> {
    known: &'a HashMap<Digest, String>,
    used: HashSet<Digest>,
    new: HashMap<Digest, String>,
}

impl Checksums<'_> {
    /// The one of a content, which is that of a file.
    fn of(&mut self, digest: Digest, file: impl FnOnce() -> PathBuf) -> Result<&str> {
        if let Some(sha256) = self.known.get(&digest) {
            self.used.insert(digest);
            return Ok(sha256);
        }
        match self.new.entry(digest) {
            Entry::Occupied(found) => Ok(found.into_mut()),
            Entry::Vacant(new) => {
                let file = file();
                let sha256 = digest::sha256_of_file(&file)
                    .map_err(|error| Error::io("read", &file, &error))?;
                Ok(new.insert(sha256))
            }
        }
    }
}

/// Whether outputs changed since manifests were last written, by a watch or by a build of a part of the course.
pub fn is_due(course: &Course) -> bool {
    course.settings.output.manifest && due_mark(course).exists()
}

/// Notes that outputs changed.
pub fn set_due(course: &Course) -> Result<()> {
    let mark = due_mark(course);
    if !course.settings.output.manifest || mark.exists() {
        return Ok(());
    }
    std::fs::write(&mark, "").map_err(|error| Error::io("write", &mark, &error))
}

/// Notes that manifests tell of all outputs.
pub fn set_done(course: &Course) -> Result<()> {
    let mark = due_mark(course);
    match std::fs::remove_file(&mark) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", &mark, &error))
        }
        _ => Ok(()),
    }
}

fn due_mark(course: &Course) -> PathBuf {
    kept::file(course, "manifests-due")
}

/// The commit that the sources are of, and whether they differ from it; none outside of a repository.
fn commit(course_root: &Path) -> (Option<String>, Option<bool>) {
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(course_root)
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let commit = git(&["rev-parse", "HEAD"]).map(|text| text.trim().to_owned());
    let dirty = commit
        .as_ref()
        .and_then(|_| git(&["status", "--porcelain"]));
    (commit, dirty.map(|text| !text.trim().is_empty()))
}

fn replace(dir: &Path, manifest: &Manifest<'_>) -> Result<()> {
    let file = dir.join(NAME);
    let io = |error: std::io::Error| Error::io("write", &file, &error);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".clm-");
    // Others may read it as they may read the outputs beside it: that is up to the author's umask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let staged = builder.tempfile_in(dir).map_err(io)?;
    // It may be as large as a hundred thousand outputs make it.
    let mut writer = BufWriter::new(staged);
    serde_json::to_writer_pretty(&mut writer, manifest).map_err(|error| io(error.into()))?;
    writer.write_all(b"\n").map_err(io)?;
    let staged = writer
        .into_inner()
        .map_err(|error| io(error.into_error()))?;
    staged.persist(&file).map_err(|error| io(error.error))?;
    Ok(())
}
