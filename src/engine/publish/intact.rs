//! Checks whether outputs are still as they were written, or other programs touched them.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::course::path::name_of;
use crate::digest::{Digest, Stamp};
use crate::error::Result;
use crate::files;
use crate::parallel;
use crate::store::OutputRecord;

use super::Publisher;

/// Files in the source tree that clm wrote, by path below the course root.
#[derive(Debug, Default)]
pub(crate) struct WrittenBack {
    /// Those that have the bytes that were written.
    pub unchanged: HashSet<String>,
    /// Those that could not be compared: it is unknown whether they are sources or outputs.
    pub unreadable: Vec<(String, io::Error)>,
}

impl Publisher {
    /// Returns the directories of outputs, absolute.
    pub(crate) fn output_roots(&self) -> impl Iterator<Item = &PathBuf> {
        self.allowed.iter().skip(1)
    }

    /// Returns the directories of outputs up to their output roots.
    pub(crate) fn dirs_of(&self, outputs: &HashSet<Arc<str>>) -> HashSet<PathBuf> {
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

    /// Returns whether a path for which an event was reported is an output as in the ledger, or a file that clm did not
    /// write.
    pub(crate) fn is_as_recorded(&mut self, file: &Path) -> Result<bool> {
        let path = name_of(&self.root, file);
        match self.digest_of(&path)? {
            Some(digest) => self.is_fresh(&path.into(), digest),
            None => Ok(file.is_file()),
        }
    }

    /// Returns the outputs directly in these directories that are not as they were written.
    pub(crate) fn touched_in(&mut self, dirs: &HashSet<PathBuf>) -> Result<BTreeSet<PathBuf>> {
        self.load_all()?;
        let outputs: Vec<_> = self.outputs().collect();
        let touched = parallel::map(&outputs, |(path, record)| {
            let file = self.file(path);
            let is_there = file.parent().is_some_and(|dir| dirs.contains(dir));
            (is_there && self.is_intact(path, record) != Some(true)).then_some(file)
        });
        Ok(touched.into_iter().flatten().collect())
    }

    /// Returns the files in the source tree that clm wrote: rendered diagrams, which are not sources as long as they
    /// are unchanged.
    #[tracing::instrument(level = "debug", name = "stat", skip_all)]
    pub(crate) fn written_back(&self) -> WrittenBack {
        let written: Vec<&Arc<str>> = self.among_sources.iter().collect();
        let states = parallel::map(&written, |path| {
            let record = self.ledger.known().get(&***path);
            record.map_or(Ok(None), |record| self.compare(path, record))
        });
        let mut found = WrittenBack::default();
        for (path, state) in written.into_iter().zip(states) {
            match state {
                Ok(Some(true)) => {
                    found.unchanged.insert(path.to_string());
                }
                Ok(_) => {}
                Err(error) => found.unreadable.push((path.to_string(), error)),
            }
        }
        found
    }

    /// Returns whether an output has the bytes that were written; `None` if it does not exist or cannot be read.
    fn is_intact(&self, path: &str, record: &OutputRecord) -> Option<bool> {
        self.compare(path, record).ok().flatten()
    }

    /// Returns whether an output has the bytes that were written; `None` if it does not exist.
    fn compare(&self, path: &str, record: &OutputRecord) -> io::Result<Option<bool>> {
        debug_assert!(record.scope == self.scope || self.sources.contain(path));
        let file = self.file(path);
        let unless_gone = |error: io::Error| match files::is_gone(&error) {
            true => Ok(None),
            false => Err(error),
        };
        let stamp = match std::fs::metadata(&file) {
            Ok(metadata) => Stamp::of(&metadata),
            Err(error) => return unless_gone(error),
        };
        if record.file.is_proved_by(&stamp) {
            return Ok(Some(true));
        }
        match Digest::of_file(&file) {
            Ok(digest) => Ok(Some(digest == record.file.digest)),
            // Something else is in its place, such as a directory or a pipe.
            Err(error) if error.raw_os_error().is_none() => Ok(Some(false)),
            Err(error) => unless_gone(error),
        }
    }
}
