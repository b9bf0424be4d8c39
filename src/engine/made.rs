//! The outputs that are in their places now, by target: what a snapshot has.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::course::layout::Selection;
use crate::course::path::is_within;
use crate::course::tree;
use crate::error::Result;
use crate::store::Store;
use crate::worker::Renderers;

use super::course::{Course, Specified};
use super::manifest;
use super::publish::WrittenBack;
use super::sources::Sources;

/// The outputs of a target. Paths are relative to its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MadeTarget {
    /// Its name.
    pub name: String,
    /// Its directory as it is written in output paths: relative to the course root, or absolute.
    pub root: String,
    /// Its directory (absolute).
    pub dir: PathBuf,
    /// Its directory as the specification says (absolute), whatever the output root is.
    pub specified_dir: PathBuf,
    /// The files, with the list of outputs.
    pub files: Vec<String>,
    /// The directories that are made although they are empty.
    pub empty_dirs: Vec<String>,
}

impl Course {
    /// Returns what clm made by the records, as far as it is still there. Pictures that are written back among the
    /// sources are no outputs of a target.
    pub(crate) fn made(&self, specified: &Specified, store: &Store) -> Result<Vec<MadeTarget>> {
        let scope = self.scope();
        let ledger = store.outputs(&mut |path| Arc::from(path))?;
        let files = ledger.iter().filter(|(_, record)| *record.scope == scope);
        let files = files.map(|(path, _)| path.to_string());
        let files = files.filter(|path| exists(&self.place.root.join(path)));
        let empty_dirs = self.empty_dirs(specified)?.into_iter();
        let empty_dirs = empty_dirs.filter(|path| self.place.root.join(path).is_dir());
        let targets = specified.spec.targets.iter().map(|target| MadeTarget {
            name: target.name.clone(),
            root: self.root_of(target),
            dir: self.place.root.join(self.root_of(target)),
            specified_dir: target.path.under(&self.place.root),
            files: Vec::new(),
            empty_dirs: Vec::new(),
        });
        let mut targets: Vec<MadeTarget> = targets.collect();
        for path in files {
            if let Some((target, below)) = innermost(&mut targets, &path) {
                target.files.push(below);
            }
        }
        for path in empty_dirs {
            if let Some((target, below)) = innermost(&mut targets, &path) {
                target.empty_dirs.push(below);
            }
        }
        for target in &mut targets {
            if exists(&target.dir.join(manifest::NAME)) {
                target.files.push(manifest::NAME.to_owned());
            }
            target.files.sort_unstable();
            target.files.dedup();
            target.empty_dirs.sort_unstable();
            target.empty_dirs.dedup();
        }
        Ok(targets)
    }

    /// Returns the directories of sources (absolute): nothing else may be put into them.
    pub(crate) fn source_dirs(&self, specified: &Specified) -> Vec<PathBuf> {
        let root = &self.place.root;
        let roots = tree::scan_roots(&specified.spec).into_iter();
        roots
            .map(|dir| dir.map_or_else(|| root.clone(), |dir| dir.under(root)))
            .collect()
    }

    /// Returns the empty directories of a build of the whole course.
    fn empty_dirs(&self, specified: &Specified) -> Result<Vec<String>> {
        let mut sources = Sources::new(&self.place.root, HashMap::new(), Arc::default());
        let loaded = self.load(
            specified,
            &mut sources,
            &WrittenBack::default(),
            &Selection::default(),
            &Renderers::default(),
        )?;
        Ok(loaded.empty_dirs)
    }
}

/// Returns the target with the longest directory that contains a path, and the path below that directory.
fn innermost<'t>(
    targets: &'t mut [MadeTarget],
    path: &str,
) -> Option<(&'t mut MadeTarget, String)> {
    let containing = targets
        .iter_mut()
        .filter(|target| is_within(path, &target.root));
    let target = containing.max_by_key(|target| target.root.len())?;
    let below = path.get(target.root.len() + 1..)?.to_owned();
    Some((target, below))
}

fn exists(file: &Path) -> bool {
    file.symlink_metadata().is_ok()
}
