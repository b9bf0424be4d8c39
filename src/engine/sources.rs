//! The sources of a course as they were last seen, and what was derived from them. A single build starts without any of
//! it; a watch keeps all of it in memory and reads only what changed.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::course::layout::Layout;
use crate::course::tree::{self, Content, Listing, Tree};
use crate::course::{Localized, Names, RelPath};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::files;
use crate::plan::{Bases, Files as _, Memo};
use crate::store::FileRecord;
use crate::watch::ChangeSet;

use super::checkpoint;
use super::course::Course;
use super::scan::{Scanned, Skip};
use super::snapshot::Snapshot;

/// The state of the sources.
pub(crate) struct Sources {
    /// Their bytes and digests.
    pub snapshot: Snapshot,
    /// Plans of sources that did not change.
    pub memo: Memo,
    /// Output paths.
    pub names: Arc<Names>,
    /// The last layout of the whole course.
    pub laid_out: Option<LaidOut>,
    /// Titles of decks.
    pub titles: Titles,
    scanned: Option<Scanned>,
    /// What may have changed since the files were listed.
    changed: Vec<RelPath>,
    must_scan: bool,
    /// The version of the listing that is stored for later processes.
    kept: Option<u64>,
}

/// Titles of decks, and what else the content of sources says, by the digests of their files: each content is parsed
/// once.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Titles(RefCell<HashMap<RelPath, (Digest, Known)>>);

/// What is known of a source.
#[derive(Clone, Serialize, Deserialize)]
enum Known {
    /// The title of a deck in a course.
    Title(Option<Localized>),
    /// The content of a file in a folder.
    Content(Content),
}

/// The files of a snapshot, with known titles.
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
        let known = self.known(path, |bytes| tree::title_of(bytes).map(Known::Title))?;
        Some(known.map(|known| match known {
            Known::Title(title) => title,
            Known::Content(_) => None,
        }))
    }

    fn content(&self, path: &RelPath) -> Option<Content> {
        let content = |bytes: &[u8]| Ok(Known::Content(tree::content_of(path, bytes)));
        match self.known(path, content)? {
            Ok(Known::Content(content)) => Some(content),
            _ => None,
        }
    }

    fn failure(&self, path: &RelPath) -> Option<Diagnostic> {
        self.snapshot.failure(path)
    }
}

impl Titled<'_> {
    /// Returns what is known of a source, by reading it if it is not known yet; `None` if it cannot be read.
    fn known(
        &self,
        path: &RelPath,
        parse: impl FnOnce(&[u8]) -> Result<Known, tree::NotText>,
    ) -> Option<Result<Known, tree::NotText>> {
        if let Some((digest, known)) = self.titles.0.borrow().get(path)
            && self.snapshot.digest(path) == Some(*digest)
        {
            return Some(Ok(known.clone()));
        }
        let Some(source) = self.snapshot.read(path) else {
            if self.snapshot.failure(path).is_none() {
                // It was listed, and does not exist any more.
                self.snapshot.mark_torn();
            }
            return None;
        };
        let known = parse(&source.bytes);
        if let Ok(known) = &known {
            let known = (source.digest, known.clone());
            self.titles.0.borrow_mut().insert(path.clone(), known);
        }
        Some(known)
    }
}

impl Titles {
    /// Removes decks that do not exist any more.
    pub(crate) fn keep(&self, listing: &Listing) {
        let mut titles = self.0.borrow_mut();
        titles.retain(|path, _| listing.files.contains(path));
    }
}

/// The output paths of a whole course.
pub(crate) type OutputPaths = Arc<HashSet<Arc<str>>>;

/// A layout and its inputs.
pub(crate) struct LaidOut {
    /// The specification and settings.
    pub specification: Digest,
    /// The sources.
    pub tree: Arc<Tree>,
    /// The version of the list of files, and the files in it that clm rendered.
    pub listed: (u64, Vec<String>),
    /// The layout.
    pub layout: Arc<Layout>,
    /// Its digests, by source.
    pub bases: Bases,
    /// The diagnostics of the layout.
    pub diagnostics: Vec<Diagnostic>,
    /// Every output path.
    pub destinations: OutputPaths,
    /// The same with paths that only follow from the content of decks, and these paths.
    pub with_texts: Option<(Vec<Arc<str>>, OutputPaths)>,
}

impl LaidOut {
    /// Returns every output path, with `texts`: those that only follow from the content of decks. Returns the same set
    /// as before if `texts` are the same.
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
    /// Returns the state before any source was read, with the records of earlier runs.
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

    /// Invalidates what a change set concerns. Paths outside of the course root are ignored.
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

    /// Takes over a listing that is known to be up to date. `is_kept` is whether it is also the last one that is stored
    /// for later processes.
    pub(crate) fn trust(&mut self, scanned: Scanned, is_kept: bool) {
        self.kept = is_kept.then_some(scanned.version);
        self.scanned = Some(scanned);
    }

    /// Stores the list of files and directories for later processes, if it is complete.
    pub(crate) fn keep_list(&mut self, course: &Course) {
        if let Some(scanned) = &self.scanned
            && scanned.unread.is_empty()
            && self.kept != Some(scanned.version)
            && checkpoint::keep(course, scanned.listing())
        {
            self.kept = Some(scanned.version);
        }
    }

    /// Returns whether something that could not be read when the course was last loaded can be read now.
    pub(crate) fn is_readable_again(&self, root: &Path) -> bool {
        let dirs = self.scanned.iter().flat_map(|scanned| &scanned.unread);
        let mut dirs = dirs.filter_map(|error| error.file.as_ref());
        let files = self.snapshot.failures();
        let can_open = |path: &RelPath| files::open(&path.under(root)).is_ok();
        dirs.any(|dir| std::fs::read_dir(root.join(dir)).is_ok())
            || files.iter().any(|(path, _)| can_open(path))
    }

    /// Returns whether something could not be read when the course was last loaded.
    pub(crate) fn is_unread(&self) -> bool {
        let scanned = self.scanned.as_ref();
        scanned.is_some_and(|scanned| !scanned.unread.is_empty())
            || !self.snapshot.failures().is_empty()
    }

    /// Returns the files and directories as they were last listed.
    pub(crate) fn listed(&self) -> Option<&Scanned> {
        self.scanned.as_ref()
    }

    /// Returns the files and directories below `roots`, with diagnostics and the version of that list. `last` returns
    /// the list of an earlier process: its entries are used for directories that cannot be read.
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
