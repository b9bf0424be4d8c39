//! Which outputs somebody else touched while a resident engine relied on them: it does not look at each of them again at
//! every build, but is told by the system.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Stamp;
use crate::error::Result;
use crate::watch::outputs::{OutputWatch, Touched};

use super::Memory;
use super::sources::OutputPaths;

/// Guards the outputs of a course.
#[derive(Default)]
pub(super) struct Guard {
    watch: Option<OutputWatch>,
    /// The output paths whose directories are watched.
    covered: Option<OutputPaths>,
    /// The inodes of the output roots then: nobody tells of a directory above them that goes elsewhere.
    roots: Vec<(PathBuf, Option<(u64, u64)>)>,
    /// Whether nothing is told: then all outputs must be looked at.
    is_blind: bool,
}

impl Guard {
    /// One that watches nothing, where the system does not tell of everything.
    pub(super) fn blind() -> Self {
        Self {
            is_blind: true,
            ..Self::default()
        }
    }

    /// Watches the outputs from now on, as far as they are not watched yet, and looks at those that are new: what was done
    /// to them before was not told.
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

    /// Puts outputs in doubt that somebody touched until now. False when it is not known which outputs there are.
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

    /// Puts outputs in doubt of which is known by now that somebody touched them.
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

    /// All outputs are looked at when they are next covered.
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
                // Whatever is there now is another directory, or one that is not watched yet.
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

/// A directory with the device and the inode that it is.
fn with_inode(dir: &PathBuf) -> (PathBuf, Option<(u64, u64)>) {
    let stamp = std::fs::metadata(dir)
        .ok()
        .map(|metadata| Stamp::of(&metadata));
    (dir.clone(), stamp.map(|stamp| (stamp.device, stamp.inode)))
}
