//! The state that an engine keeps in memory between runs.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::course::RelPath;
use crate::course::layout::Layout;
use crate::digest::Digest;
use crate::error::Result;
use crate::events::ActionKind;
use crate::parallel;
use crate::plan::{Action, Memo};
use crate::store::{Latest, Store};
use crate::watch::{ChangeSet, is_rule_file};

use super::checkpoint::{self, Changed, Idle, KnownNames, Resumed};
use super::course::Course;
use super::execute::{Earlier, InFlight};
use super::index::LazyIndex;
use super::partial_map::PartialMap;
use super::publish::Publisher;
use super::restless::Restless;
use super::sources::{OutputPaths, Sources};
use super::staging::Staging;
use super::up_to_date::UpToDateActions;

/// The state of an engine between runs.
pub(super) struct EngineState {
    pub(super) sources: Sources,
    pub(super) publisher: Publisher,
    /// The inputs that every action was last made of.
    pub(super) latest: PartialMap<Latest>,
    pub(super) up_to_date: UpToDateActions,
    /// The report of a build of the whole course, if it has nothing to do.
    pub(super) idle: Option<Idle>,
    pub(super) in_flight: InFlight,
    /// Decks that change sources while they run.
    pub(super) restless: Restless,
    /// Results of interrupted runs that will be continued, by trigger.
    pub(super) unfinished: HashMap<String, Earlier>,
    /// The output paths that were planned when superfluous outputs were last removed.
    pub(super) cleaned: Option<OutputPaths>,
    /// The value of [`Store::version_of_others`] when the records were read; single builds do not request it.
    pub(super) version_of_others: Option<i64>,
    /// The index of the course, with the layout that it is of.
    pub(super) index: Option<(Arc<Layout>, LazyIndex)>,
    /// The inputs that were last passed on: their number, and the digest of the specification.
    pub(super) passed_inputs: Option<(usize, Digest)>,
    /// What the checkpoint records about the names in directories.
    pub(super) names: KnownNames,
    pub(super) staging: Staging,
}

impl EngineState {
    /// Takes over the state of the build that wrote the checkpoint. Returns the kinds of workers that will be needed.
    pub(super) fn resume(
        &mut self,
        course: &Course,
        changed: Changed,
        resumed: Resumed,
    ) -> BTreeSet<ActionKind> {
        self.names = changed.names;
        let root = &course.place.root;
        let paths = changed.paths.iter();
        let changed_sources: HashSet<RelPath> = paths
            .filter_map(|path| RelPath::below(root, path))
            .collect();
        let kinds = ahead_of(&resumed.memo, &changed_sources);
        self.sources.memo = resumed.memo;
        self.sources.titles = resumed.titles;
        self.sources.snapshot.trust(changed.sources);
        // Ignore files decide which names of a folder count.
        let has_other_rules =
            course.place.is_folder() && changed.paths.iter().any(|path| is_rule_file(path));
        if changed.has_same_names && !has_other_rules {
            self.sources
                .trust(resumed.scanned, !checkpoint::is_kept(course));
        }
        self.up_to_date = resumed.up_to_date;
        self.invalidate(changed.paths.into_iter().collect(), root);
        kinds
    }

    /// Invalidates everything that a change set concerns.
    pub(super) fn apply(&mut self, changes: &ChangeSet, root: &Path) {
        self.idle = None;
        self.sources.apply(changes, root);
        self.invalidate_actions(changes, root);
        if changes.rescan {
            self.cleaned = None;
        }
    }

    /// Compares the stamps of files that no watch covers, and invalidates what depends on changed ones.
    pub(super) fn look_elsewhere(&mut self, root: &Path) {
        let changed = self.sources.snapshot.changed_elsewhere();
        if changed.is_empty() {
            return;
        }
        let changes = ChangeSet {
            paths: changed.iter().map(|path| path.under(root)).collect(),
            ..ChangeSet::default()
        };
        self.idle = None;
        self.sources.snapshot.forget(&changed);
        self.invalidate_actions(&changes, root);
    }

    /// Drops large tables on a detached thread, so that exit is not delayed.
    pub(super) fn drop_detached(self) {
        let ledger = self.publisher.into_ledger();
        let large = (
            self.sources,
            self.latest,
            self.up_to_date,
            self.names,
            ledger,
        );
        std::thread::spawn(move || drop(large));
    }

    fn invalidate_actions(&mut self, changes: &ChangeSet, root: &Path) {
        let is_output = |path: &str| self.publisher.has_outputs_at(path);
        self.up_to_date.apply(changes, root, &is_output);
    }

    /// Drops what can be read from the records again. It is not needed between two edits, and after an edit only for a
    /// few actions.
    pub(super) fn release(&mut self, store: &Store) {
        // Writes that are not committed yet must not be dropped.
        if store.flush().is_ok() {
            self.publisher.release();
            self.latest.release(|_| false);
        }
        self.sources.snapshot.release();
        self.sources.names.release();
    }

    /// Loads all records into memory: for a run that compares everything.
    pub(super) fn load_all(&mut self, store: &Store) -> Result<()> {
        if !self.latest.is_complete() {
            self.latest.fill(store.latest()?);
        }
        self.publisher.load_all()
    }

    /// Reads the records again if another process wrote some since they were last read: it may have made other outputs
    /// in the same places, or outputs that this course does not have.
    pub(super) fn refresh(&mut self, store: &Store, version: i64) -> Result<()> {
        if self.version_of_others.replace(version) != Some(version) {
            tracing::debug!("another process wrote records");
            self.idle = None;
            self.cleaned = None;
            self.up_to_date.clear();
            self.latest = PartialMap::complete(store.latest()?);
            self.publisher.reload()?;
        }
        Ok(())
    }

    /// Adds the inputs that actions were made of.
    pub(super) fn learn(&mut self, latest: Vec<(Arc<str>, Latest)>) {
        for (action, latest) in latest {
            self.latest.insert(action, latest);
        }
    }

    /// Invalidates everything that depends on files, or on directories of files, that may have changed.
    pub(super) fn invalidate(&mut self, touched: BTreeSet<PathBuf>, root: &Path) {
        if touched.is_empty() {
            return;
        }
        self.idle = None;
        let changes = ChangeSet {
            paths: touched,
            ..ChangeSet::default()
        };
        self.invalidate_actions(&changes, root);
    }
}

/// Returns the kinds of workers that an edit of these sources will need, by the last plan: they can start while the
/// edit is planned. Whether it is an edit of code is not known yet, and a kernel that is not needed would slow down the
/// other work, unless there is a processor to spare.
fn ahead_of(memo: &Memo, changed: &HashSet<RelPath>) -> BTreeSet<ActionKind> {
    let processors = parallel::processors();
    let is_likely = |action: &Action| {
        action.kind != ActionKind::Execute || processors > 2 || !changed.contains(&action.source)
    };
    let concerned = memo.actions().filter(|action| {
        let mut inputs = action.inputs.iter();
        action.needs_worker()
            && inputs.any(|(input, _)| changed.contains(input))
            && is_likely(action)
    });
    concerned.map(|action| action.kind).collect()
}
