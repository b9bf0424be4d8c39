//! The sources of a course as they were last seen, and what was concluded from them. A single build starts with
//! nothing; a resident process keeps all of it and looks again only at what changed.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::course::RelPath;
use crate::course::layout::Layout;
use crate::course::tree::{Listing, Tree};
use crate::digest::Digest;
use crate::events::Diagnostic;
use crate::plan::{Bases, Memo, Names};
use crate::store::FileRecord;
use crate::watch::ChangeSet;

use super::scan::{Scanned, Skip};
use super::snapshot::Snapshot;

/// What is known of the sources.
pub struct Sources {
    /// Their bytes and digests.
    pub snapshot: Snapshot,
    /// Plans of what did not change.
    pub memo: Memo,
    /// Output paths.
    pub names: Names,
    /// Where everything goes, as it was last laid out.
    pub laid_out: Option<LaidOut>,
    scanned: Option<Scanned>,
    /// What may have changed since the files were listed.
    changed: Vec<RelPath>,
    must_scan: bool,
}

/// A layout and what it was made of.
pub struct LaidOut {
    /// The specification and settings.
    pub specification: Digest,
    /// The sources.
    pub tree: Arc<Tree>,
    /// The version of the list of files, and those that we rendered.
    pub listed: (u64, Vec<String>),
    /// What was concluded.
    pub layout: Arc<Layout>,
    /// What it says of every source.
    pub bases: Bases,
    /// What was found on the way.
    pub diagnostics: Vec<Diagnostic>,
    /// Every output path.
    pub destinations: Arc<HashSet<Arc<str>>>,
}

impl Sources {
    /// Nothing is known but the records of earlier runs.
    pub fn new(root: &Path, records: HashMap<String, FileRecord>) -> Self {
        Self {
            snapshot: Snapshot::new(root, records),
            memo: Memo::default(),
            names: Names::default(),
            laid_out: None,
            scanned: None,
            changed: Vec::new(),
            must_scan: false,
        }
    }

    /// Forgets what a change set puts in doubt. Paths outside the course root are nobody's concern here.
    pub fn apply(&mut self, changes: &ChangeSet, root: &Path) {
        if changes.rescan {
            self.snapshot.recheck();
            self.must_scan = true;
        }
        let paths: Vec<RelPath> = changes
            .paths
            .iter()
            .filter_map(|path| RelPath::below(root, path))
            .collect();
        self.snapshot.forget(&paths);
        self.changed.extend(paths);
    }

    /// The files and directories as they were last listed.
    pub fn listed(&self) -> Option<&Scanned> {
        self.scanned.as_ref()
    }

    /// The files and directories below `roots`, with what is wrong with them, and the version of that list.
    #[tracing::instrument(level = "debug", name = "scan", skip_all)]
    pub fn list(
        &mut self,
        root: &Path,
        roots: Vec<Option<RelPath>>,
        skip: &Skip<'_>,
    ) -> (&Listing, &[Diagnostic], u64) {
        let changed = std::mem::take(&mut self.changed);
        let must_scan = std::mem::take(&mut self.must_scan);
        let scanned = match self.scanned.take() {
            None => Scanned::new(root, roots, skip),
            Some(mut scanned) => {
                if must_scan {
                    scanned.refresh(root, roots, skip);
                } else {
                    scanned.update(root, roots, skip, &changed);
                }
                scanned
            }
        };
        let scanned = self.scanned.insert(scanned);
        (scanned.listing(), &scanned.diagnostics, scanned.version)
    }
}
