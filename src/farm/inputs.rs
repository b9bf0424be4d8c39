//! The files of the course that an action is given: the declared ones, those that it was found to read before, and what an
//! attempt looked for and did not find.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::config::Bounds;
use crate::course::RelPath;
use crate::digest::Digest;
use crate::worker::Work;
use crate::worker::observed::Places;

use super::order::Made;
use super::tree::{Blob, InputFile};
use super::{NotMade, Task};

/// The largest input root, in bytes.
const LARGEST: usize = 512 << 20;

/// The files of an action.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    files: BTreeMap<RelPath, InputFile>,
}

impl Inputs {
    /// Returns the files of the first attempt.
    pub(super) async fn of(task: &Task) -> Result<Self, NotMade> {
        let mut inputs = Self::default();
        let mut files: Vec<RelPath> = match &task.request.work {
            Work::Execute(work) => work
                .files
                .iter()
                .map(|(source, _)| source.clone())
                .collect(),
            _ => Vec::new(),
        };
        for path in &task.known {
            // If there are too many, an attempt shows which ones are needed.
            files.extend(task.places.files_of(path).unwrap_or_default());
        }
        inputs.read(task, files).await?;
        Ok(inputs)
    }

    /// Returns the files by path.
    pub(super) fn files(&self) -> &BTreeMap<RelPath, InputFile> {
        &self.files
    }

    /// Returns what the worker saw otherwise than it is here.
    pub(super) fn differing(&self, task: &Task, made: &Made) -> Vec<RelPath> {
        let places = &task.places;
        let differs = |path: &RelPath, seen: Option<Digest>| {
            // Without the kernel, its identity stands for its files.
            !places.is_absent(path) && places.digest(path) != seen
        };
        let seen = made.discovered.iter();
        let differing = seen.filter(|(path, seen)| differs(path, *seen));
        differing.map(|(path, _)| path.clone()).collect()
    }

    /// Adds what an attempt did not have.
    ///
    /// # Errors
    ///
    /// Why it cannot be added.
    pub(super) async fn add(
        &mut self,
        task: &Task,
        differing: Vec<RelPath>,
    ) -> Result<(), NotMade> {
        let before = self.files.len();
        let mut files = Vec::new();
        for path in &differing {
            let found = task.places.files_of(path);
            files.extend(found.ok_or_else(|| NotMade(format!("`{path}` has too many files")))?);
        }
        self.read(task, files).await?;
        match self.files.len() > before {
            true => Ok(()),
            // The worker has other files than this machine, so the result is one for the worker only.
            false => Err(NotMade(match differing.first() {
                Some(path) => format!("`{path}` is not the same on the worker and here"),
                None => "nothing is missing".to_owned(),
            })),
        }
    }

    async fn read(&mut self, task: &Task, mut paths: Vec<RelPath>) -> Result<(), NotMade> {
        paths.retain(|path| !self.files.contains_key(path));
        if paths.is_empty() {
            return Ok(());
        }
        let places = Arc::clone(&task.places);
        let root = task.request.root.clone();
        let reading = tokio::task::spawn_blocking(move || read_all(&root, &places, paths));
        let files = reading
            .await
            .map_err(|error| NotMade(error.to_string()))??;
        self.files.extend(files);
        let size: usize = self.files.values().map(|file| file.blob.bytes.len()).sum();
        match size <= LARGEST {
            true => Ok(()),
            false => Err(NotMade("its files are too large to be sent".to_owned())),
        }
    }
}

/// Reads files. One that is not there, not readable or outside the course is an error: made here, it is reported properly.
fn read_all(
    root: &Path,
    places: &Places,
    paths: Vec<RelPath>,
) -> Result<Vec<(RelPath, InputFile)>, NotMade> {
    let bounds = Bounds::of(root);
    let read = |path: RelPath| {
        let real = places.real(&path);
        let unusable = |reason: &dyn std::fmt::Display| NotMade(format!("`{path}`: {reason}"));
        let real = real.canonicalize().map_err(|error| unusable(&error))?;
        if !bounds.hold(&real) {
            return Err(unusable(&"it leads out of the root directory"));
        }
        let metadata = real.metadata().map_err(|error| unusable(&error))?;
        let bytes = std::fs::read(&real).map_err(|error| unusable(&error))?;
        let file = InputFile {
            blob: Blob::new(bytes),
            is_executable: metadata.permissions().mode() & 0o111 != 0,
        };
        Ok((path, file))
    };
    paths.into_iter().map(read).collect()
}
