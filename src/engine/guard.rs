//! Finds outputs that other programs touched while a watch relied on them. They are reported by the output
//! watch, so that not every build has to stat all outputs.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Stamp;
use crate::error::Result;
use crate::watch::outputs::{OutputWatch, Touched};

use super::Memory;
use super::sources::OutputPaths;

/// The output watch of a course, with what it covers.
#[derive(Default)]
pub(super) struct Guard {
    watch: Option<OutputWatch>,
    /// The output paths whose directories are watched.
    covered: Option<OutputPaths>,
    /// The inodes of the output roots at that time: no event reports that a directory above them was replaced.
    roots: Vec<(PathBuf, Option<(u64, u64)>)>,
    /// Whether there are no events: then every build has to compare all outputs.
    is_blind: bool,
}

impl Guard {
    /// Returns a guard that watches nothing, for systems that do not report all changes.
    pub(super) fn blind() -> Self {
        Self {
            is_blind: true,
            ..Self::default()
        }
    }

    /// Watches the outputs that are not watched yet, and compares these with the ledger, since no event reported
    /// earlier changes.
    pub(super) fn cover(
        &mut self,
        memory: &mut Memory,
        root: &Path,
        state_dir: &Path,
    ) -> Result<()> {
        self.doubt_touched(memory, root)?;
        let Some(outputs) = memory.cleaned.clone() else {
            return Ok(());
        };
        let is_same = |known: &Arc<_>| Arc::ptr_eq(known, &outputs);
        if self.is_blind || self.covered.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        if self.watch.is_none() {
            self.watch = OutputWatch::start(state_dir);
        }
        let dirs = memory.publisher.dirs_of(&outputs);
        let Some(new) = self.watch.as_mut().and_then(|watch| watch.cover(&dirs)) else {
            *self = Self::blind();
            return Ok(());
        };
        self.covered = Some(outputs);
        self.roots = memory.publisher.output_roots().map(with_inode).collect();
        if !new.is_empty() {
            let touched = memory.publisher.touched_in(&new)?;
            memory.doubt(touched, root);
        }
        Ok(())
    }

    /// Invalidates outputs that other programs touched until now. Returns false if it is not known which outputs there
    /// are.
    pub(super) fn is_sure(
        &mut self,
        memory: &mut Memory,
        root: &Path,
        state_dir: &Path,
    ) -> Result<bool> {
        self.cover(memory, root, state_dir)?;
        let are_same = |watch: &mut OutputWatch| {
            let touched = watch.take_all();
            let is_same = |root: &(PathBuf, _)| with_inode(&root.0) == *root;
            self.roots.iter().all(is_same).then_some(touched)
        };
        let covering = self.watch.as_mut().filter(|_| self.covered.is_some());
        if let Some(Touched::Paths(paths)) = covering.and_then(are_same) {
            self.doubt(memory, root, paths)?;
            return Ok(true);
        }
        self.look_anew();
        let Some(outputs) = memory.cleaned.clone() else {
            return Ok(false);
        };
        let dirs = memory.publisher.dirs_of(&outputs);
        let touched = memory.publisher.touched_in(&dirs)?;
        memory.doubt(touched, root);
        Ok(true)
    }

    /// Invalidates the outputs that have been reported as touched so far.
    pub(super) fn doubt_touched(&mut self, memory: &mut Memory, root: &Path) -> Result<()> {
        match self.watch.as_ref().map(OutputWatch::take) {
            None => Ok(()),
            Some(Touched::Paths(paths)) => self.doubt(memory, root, paths),
            Some(Touched::Anything) => {
                self.look_anew();
                Ok(())
            }
        }
    }

    /// Drops the watch, so that all outputs are compared when they are next covered.
    fn look_anew(&mut self) {
        self.watch = None;
        self.covered = None;
    }

    fn doubt(&mut self, memory: &mut Memory, root: &Path, paths: HashSet<PathBuf>) -> Result<()> {
        let mut touched = BTreeSet::new();
        for path in paths {
            if let Some(watch) = &mut self.watch
                && (watch.covers(&path) || path.is_dir())
            {
                // The path is another directory now, or one that is not watched yet.
                watch.forget(&path);
                self.covered = None;
            }
            if !memory.publisher.is_as_recorded(&path)? {
                touched.insert(path);
            }
        }
        memory.doubt(touched, root);
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
