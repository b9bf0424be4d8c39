//! The sources of a course as they were last seen, and what was concluded from them. A single build starts with
//! nothing; a resident process keeps all of it and looks again only at what changed.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::course::layout::Layout;
use crate::course::tree::{self, Listing, Tree};
use crate::course::{Localized, Names, RelPath};
use crate::digest::Digest;
use crate::events::Diagnostic;
use crate::files;
use crate::plan::{Bases, Files as _, Memo};
use crate::store::FileRecord;
use crate::watch::ChangeSet;

use super::checkpoint;
use super::course::Course;
use super::scan::{Scanned, Skip};
use super::snapshot::Snapshot;

/// What is known of the sources.
pub(crate) struct Sources {
    /// Their bytes and digests.
    pub snapshot: Snapshot,
    /// Plans of what did not change.
    pub memo: Memo,
    /// Output paths.
    pub names: Arc<Names>,
    /// Where everything goes, as it was last laid out.
    pub laid_out: Option<LaidOut>,
    /// Titles of decks.
    pub titles: Titles,
    scanned: Option<Scanned>,
    /// What may have changed since the files were listed.
    changed: Vec<RelPath>,
    must_scan: bool,
    /// The version of the list that later processes know, too.
    kept: Option<u64>,
}

/// Titles of decks, by the digests that their files had: found out once for every content.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Titles(RefCell<HashMap<RelPath, (Digest, Option<Localized>)>>);

/// Files as a snapshot sees them, with the titles that are known.
pub(crate) struct Titled<'a> {
    /// The files.
    pub snapshot: &'a Snapshot,
    /// The titles.
    pub titles: &'a Titles,
}

impl tree::Texts for Titled<'_> {
    fn read(&self, path: &RelPath) -> Option<Arc<[u8]>> {
        self.snapshot.read(path).map(|source| source.bytes)
    }

    fn why_unreadable(&self, path: &RelPath) -> Option<std::io::Error> {
        self.snapshot.why_unreadable(path)
    }

    fn title(&self, path: &RelPath) -> Option<tree::Titled> {
        if let Some((digest, title)) = self.titles.0.borrow().get(path)
            && self.snapshot.digest(path) == Some(*digest)
        {
            return Some(Ok(title.clone()));
        }
        let Some(source) = self.snapshot.read(path) else {
            if self.snapshot.failure(path).is_none() {
                // It was listed, and is gone.
                self.snapshot.mark_torn();
            }
            return None;
        };
        let title = tree::title_of(&source.bytes);
        if let Ok(title) = &title {
            let known = (source.digest, title.clone());
            self.titles.0.borrow_mut().insert(path.clone(), known);
        }
        Some(title)
    }

    fn failure(&self, path: &RelPath) -> Option<Diagnostic> {
        self.snapshot.failure(path)
    }
}

impl Titles {
    /// Forgets decks that are gone.
    pub(crate) fn keep(&self, listing: &Listing) {
        let mut titles = self.0.borrow_mut();
        titles.retain(|path, _| listing.files.contains(path));
    }
}

/// Output paths of a whole course.
pub(crate) type OutputPaths = Arc<HashSet<Arc<str>>>;

/// A layout and what it was made of.
pub(crate) struct LaidOut {
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
    pub destinations: OutputPaths,
    /// The same with the paths that only the decks' contents tell of, and these.
    pub with_texts: Option<(Vec<Arc<str>>, OutputPaths)>,
}

impl LaidOut {
    /// Every output path, with those that only the decks' contents tell of. The same as before, if these are.
    pub(crate) fn destinations_with(&mut self, texts: Vec<Arc<str>>) -> OutputPaths {
        if texts.is_empty() {
            return Arc::clone(&self.destinations);
        }
        if let Some((known, all)) = &self.with_texts
            && *known == texts
        {
            return Arc::clone(all);
        }
        let all = self.destinations.iter().chain(&texts).cloned().collect();
        let all = Arc::new(all);
        self.with_texts = Some((texts, Arc::clone(&all)));
        all
    }
}

impl Sources {
    /// Nothing is known but the records of earlier runs.
    pub(crate) fn new(
        root: &Path,
        records: HashMap<String, FileRecord>,
        names: Arc<Names>,
    ) -> Self {
        Self {
            snapshot: Snapshot::new(root, records),
            memo: Memo::default(),
            names,
            laid_out: None,
            titles: Titles::default(),
            scanned: None,
            changed: Vec::new(),
            must_scan: false,
            kept: None,
        }
    }

    /// Forgets what a change set puts in doubt. Paths outside the course root are nobody's concern here.
    pub(crate) fn apply(&mut self, changes: &ChangeSet, root: &Path) {
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

    /// Takes over a list of files and directories that is known to be right. `is_kept` tells whether it is also the last
    /// one that later processes know.
    pub(crate) fn trust(&mut self, scanned: Scanned, is_kept: bool) {
        self.kept = is_kept.then_some(scanned.version);
        self.scanned = Some(scanned);
    }

    /// Has later processes know the list of files and directories, if it is a whole one.
    pub(crate) fn keep_list(&mut self, course: &Course) {
        if let Some(scanned) = &self.scanned
            && scanned.unread.is_empty()
            && self.kept != Some(scanned.version)
            && checkpoint::keep(course, scanned.listing())
        {
            self.kept = Some(scanned.version);
        }
    }

    /// Whether something that could not be read when the course was last looked at can be read now.
    pub(crate) fn is_readable_again(&self, root: &Path) -> bool {
        let dirs = self.scanned.iter().flat_map(|scanned| &scanned.unread);
        let mut dirs = dirs.filter_map(|error| error.file.as_ref());
        let files = self.snapshot.failures();
        let can_open = |path: &RelPath| files::open(&path.under(root)).is_ok();
        dirs.any(|dir| std::fs::read_dir(root.join(dir)).is_ok())
            || files.iter().any(|(path, _)| can_open(path))
    }

    /// Whether something could not be read when the course was last looked at.
    pub(crate) fn is_unread(&self) -> bool {
        let scanned = self.scanned.as_ref();
        scanned.is_some_and(|scanned| !scanned.unread.is_empty())
            || !self.snapshot.failures().is_empty()
    }

    /// The files and directories as they were last listed.
    pub(crate) fn listed(&self) -> Option<&Scanned> {
        self.scanned.as_ref()
    }

    /// The files and directories below `roots`, with what is wrong with them, and the version of that list. `last` tells
    /// those that an earlier process listed: what they have of directories that cannot be read is taken from them.
    #[tracing::instrument(level = "debug", name = "scan", skip_all)]
    pub(crate) fn list(
        &mut self,
        root: &Path,
        roots: Vec<Option<RelPath>>,
        skip: &Skip<'_>,
        last: &dyn Fn() -> Option<Listing>,
    ) -> &Scanned {
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
        if !scanned.listing().unread.is_empty()
            && let Some(last) = last()
        {
            scanned.fill(&last);
        }
        self.snapshot.begin(scanned.unread.clone());
        scanned
    }
}
