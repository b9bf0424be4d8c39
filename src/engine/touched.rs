//! Finds outputs that other programs touched while a watch relied on them. They are reported by the output watch, so that
//! not every build has to stat all outputs.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Stamp;
use crate::error::Result;
use crate::files::UNFINISHED;
use crate::watch::{OutputWatch, Touched};

use super::EngineState;
use super::sources::OutputPaths;

/// The outputs of a course, watched for changes by other programs.
#[derive(Default)]
pub(super) struct TouchedOutputs {
    /// `None` if there are no events: then every build has to compare all outputs.
    watch: Option<OutputWatch>,
    /// The output paths whose directories are watched.
    covered: Option<OutputPaths>,
    /// The inodes of the output roots at that time: no event reports that a directory above them was replaced.
    roots: Vec<(PathBuf, Option<(u64, u64)>)>,
}

impl TouchedOutputs {
    /// Returns outputs that are reported by `watch`.
    pub(super) fn new(watch: Option<OutputWatch>) -> Self {
        Self {
            watch,
            ..Self::default()
        }
    }

    /// Watches the outputs that are not watched yet, and compares these with the ledger, since no event reported
    /// earlier changes.
    pub(super) fn cover(&mut self, state: &mut EngineState, root: &Path) -> Result<()> {
        self.invalidate_touched(state, root)?;
        let Some(outputs) = state.cleaned.clone() else {
            return Ok(());
        };
        let is_same = |known: &Arc<_>| Arc::ptr_eq(known, &outputs);
        if self.covered.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        let Some(watch) = &mut self.watch else {
            return Ok(());
        };
        let dirs = state.publisher.dirs_of(&outputs);
        let Some(new) = watch.cover(&dirs) else {
            watch.forget_all();
            *self = Self::default();
            return Ok(());
        };
        self.covered = Some(outputs);
        self.roots = state.publisher.output_roots().map(with_inode).collect();
        if !new.is_empty() {
            let touched = state.publisher.touched_in(&new)?;
            state.invalidate(touched, root);
        }
        Ok(())
    }

    /// Invalidates all outputs that other programs touched before the last sync of the watch. Returns false if it is not
    /// known which outputs there are.
    pub(super) fn verify(&mut self, state: &mut EngineState, root: &Path) -> Result<bool> {
        self.cover(state, root)?;
        let is_same = |root: &(PathBuf, _)| with_inode(&root.0) == *root;
        if self.watch.is_some() && self.covered.is_some() && self.roots.iter().all(is_same) {
            return Ok(true);
        }
        self.forget();
        let Some(outputs) = state.cleaned.clone() else {
            return Ok(false);
        };
        let dirs = state.publisher.dirs_of(&outputs);
        let touched = state.publisher.touched_in(&dirs)?;
        state.invalidate(touched, root);
        Ok(true)
    }

    /// Invalidates the outputs that have been reported as touched so far.
    pub(super) fn invalidate_touched(
        &mut self,
        state: &mut EngineState,
        root: &Path,
    ) -> Result<()> {
        match self.watch.as_ref().map(OutputWatch::take) {
            None => Ok(()),
            Some(Touched::Paths(paths)) => self.invalidate(state, root, paths),
            Some(Touched::Anything) => {
                self.forget();
                Ok(())
            }
        }
    }

    /// Stops watching, so that all outputs are compared when they are next covered.
    pub(super) fn forget(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.forget_all();
        }
        self.covered = None;
    }

    fn invalidate(
        &mut self,
        state: &mut EngineState,
        root: &Path,
        paths: HashSet<PathBuf>,
    ) -> Result<()> {
        let mut touched = BTreeSet::new();
        // Names of files that clm is just writing, such as manifests, are no outputs.
        let is_unfinished = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(UNFINISHED))
        };
        for path in paths.into_iter().filter(|path| !is_unfinished(path)) {
            if let Some(watch) = &self.watch
                && (watch.covers(&path) || path.is_dir())
            {
                // The path is another directory now, or one that is not watched yet.
                watch.forget(&path);
                self.covered = None;
            }
            if !state.publisher.is_as_recorded(&path)? {
                touched.insert(path);
            }
        }
        state.invalidate(touched, root);
        Ok(())
    }
}

/// Returns a directory with its device and inode.
fn with_inode(dir: &PathBuf) -> (PathBuf, Option<(u64, u64)>) {
    let stamp = std::fs::metadata(dir)
        .ok()
        .map(|metadata| Stamp::of(&metadata));
    (dir.clone(), stamp.map(|stamp| (stamp.device, stamp.inode)))
}
