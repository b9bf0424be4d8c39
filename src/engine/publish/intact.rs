//! Whether outputs are still as they were written, or somebody else touched them.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::course::path::name_of;
use crate::digest::Stamp;
use crate::error::Result;
use crate::parallel;
use crate::store::OutputRecord;

use super::{Publisher, SOURCES};

impl Publisher {
    /// Directories of outputs, absolute.
    pub fn output_roots(&self) -> impl Iterator<Item = &PathBuf> {
        self.allowed.iter().skip(1)
    }

    /// The directories of outputs up to their output roots.
    pub fn dirs_of(&self, outputs: &HashSet<Arc<str>>) -> HashSet<PathBuf> {
        let mut dirs = HashSet::new();
        for output in outputs {
            let file = self.file(output);
            for dir in file.ancestors().skip(1) {
                if !self.output_roots().any(|root| dir.starts_with(root)) || dirs.contains(dir) {
                    break;
                }
                dirs.insert(dir.to_path_buf());
            }
        }
        dirs
    }

    /// Whether a path that something happened to is an output as the ledger says, or a file that is none of ours.
    pub fn is_as_recorded(&mut self, file: &Path) -> Result<bool> {
        let path = name_of(&self.root, file);
        match self.digest_of(&path)? {
            Some(digest) => self.is_fresh(&path.into(), digest),
            None => Ok(file.is_file()),
        }
    }

    /// The outputs directly in these directories that are not as they were written.
    pub fn touched_in(&mut self, dirs: &HashSet<PathBuf>) -> Result<BTreeSet<PathBuf>> {
        self.recall()?;
        let outputs: Vec<_> = self.outputs().collect();
        let touched = parallel::map(&outputs, |(path, record)| {
            let file = self.file(path);
            let is_there = file.parent().is_some_and(|dir| dirs.contains(dir));
            (is_there && self.is_intact(path, record) != Some(true)).then_some(file)
        });
        Ok(touched.into_iter().flatten().collect())
    }

    /// Paths in the source tree that we wrote and nobody changed since: rendered diagrams, which are no sources.
    #[tracing::instrument(level = "debug", name = "stat", skip_all)]
    pub fn written_back(&self) -> HashSet<String> {
        let written: Vec<&Arc<str>> = self.among_sources.iter().collect();
        let ours = parallel::map(&written, |path| {
            let record = self.ledger.known().get(&***path)?;
            (self.is_intact(path, record) == Some(true)).then(|| path.to_string())
        });
        ours.into_iter().flatten().collect()
    }

    /// Whether an output has the bytes that were written; none when it is not there.
    fn is_intact(&self, path: &str, record: &OutputRecord) -> Option<bool> {
        debug_assert!(record.scope == self.scope || path.starts_with(SOURCES));
        let file = self.file(path);
        let stamp = Stamp::of(&std::fs::metadata(&file).ok()?);
        Some(record.file.is_proved_by(&stamp) || record.file.digest.is_of_file(&file))
    }
}
