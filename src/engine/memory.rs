//! What an engine knows between runs.

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
use crate::watch::ChangeSet;

use super::checkpoint::{self, Changed, Idle, KnownNames, Resumed};
use super::course::Course;
use super::execute::{Earlier, InFlight};
use super::publish::Publisher;
use super::recalled::Recalled;
use super::restless::Restless;
use super::settled::Settled;
use super::sources::{OutputPaths, Sources};
use super::staging::Staging;

/// What an engine knows between runs.
pub(super) struct Memory {
    pub(super) sources: Sources,
    pub(super) publisher: Publisher,
    /// What every action was last made of.
    pub(super) latest: Recalled<Latest>,
    pub(super) settled: Settled,
    /// What a build of everything has to say, if there is nothing to do.
    pub(super) idle: Option<Idle>,
    pub(super) in_flight: InFlight,
    /// Decks that change sources while they run.
    pub(super) restless: Restless,
    /// What runs did that were interrupted and will go on, by what caused them.
    pub(super) unfinished: HashMap<String, Earlier>,
    /// The output paths that were planned when superfluous outputs were last removed.
    pub(super) cleaned: Option<OutputPaths>,
    /// What [`Store::version_of_others`] said when the records were read; single builds do not ask.
    pub(super) version_of_others: Option<i64>,
    /// What the listener was told last.
    pub(super) told_layout: Option<Arc<Layout>>,
    pub(super) told_inputs: Option<(usize, Digest)>,
    /// What the checkpoint says of directories.
    pub(super) names: KnownNames,
    pub(super) staging: Staging,
}

impl Memory {
    /// Goes on where the build ended that wrote the checkpoint. Returns the kinds of workers that will be needed.
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
        if changed.has_same_names {
            self.sources
                .trust(resumed.scanned, !checkpoint::is_kept(course));
        }
        self.settled = resumed.settled;
        self.doubt(changed.paths.into_iter().collect(), root);
        kinds
    }

    /// Forgets what a change set puts in doubt.
    pub(super) fn apply(&mut self, changes: &ChangeSet, root: &Path) {
        self.idle = None;
        self.sources.apply(changes, root);
        self.unsettle(changes, root);
        if changes.rescan {
            self.cleaned = None;
        }
    }

    /// Looks again at what no watch tells about, by stamps, and forgets what changes there put in doubt.
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
        self.unsettle(&changes, root);
    }

    /// Ends it. Millions of small things take their time: a program that ends does not wait for that.
    pub(super) fn drop_beside(self) {
        let ledger = self.publisher.into_ledger();
        let large = (self.sources, self.latest, self.settled, self.names, ledger);
        std::thread::spawn(move || drop(large));
    }

    fn unsettle(&mut self, changes: &ChangeSet, root: &Path) {
        let is_output = |path: &str| self.publisher.has_outputs_at(path);
        self.settled.apply(changes, root, &is_output);
    }

    /// Forgets what the records tell as well when they are asked: between two edits nobody asks, and after one hardly
    /// anything is asked for.
    pub(super) fn release(&mut self, store: &Store) {
        // What they do not have yet must not be forgotten.
        if store.settle().is_ok() {
            self.publisher.release();
            self.latest.release(|_| false);
        }
        self.sources.snapshot.release();
        self.sources.names.release();
    }

    /// Has all the records in memory: for a run that looks at everything.
    pub(super) fn recall(&mut self, store: &Store) -> Result<()> {
        if !self.latest.is_whole() {
            self.latest.fill(store.latest()?);
        }
        self.publisher.recall()
    }

    /// Reads the records again when another process wrote some since they were last read: it may have made other outputs
    /// in the same places, or some that this course does not have.
    pub(super) fn refresh(&mut self, store: &Store, version: i64) -> Result<()> {
        if self.version_of_others.replace(version) != Some(version) {
            tracing::debug!("another process wrote records");
            self.idle = None;
            self.cleaned = None;
            self.settled.clear();
            self.latest = Recalled::whole(store.latest()?);
            self.publisher.reload()?;
        }
        Ok(())
    }

    /// Adds what actions were made of.
    pub(super) fn learn(&mut self, latest: Vec<(Arc<str>, Latest)>) {
        for (action, latest) in latest {
            self.latest.insert(action, latest);
        }
    }

    /// Puts files in doubt, or directories of some, that are perhaps not as they were.
    pub(super) fn doubt(&mut self, touched: BTreeSet<PathBuf>, root: &Path) {
        if touched.is_empty() {
            return;
        }
        self.idle = None;
        let changes = ChangeSet {
            paths: touched,
            ..ChangeSet::default()
        };
        self.unsettle(&changes, root);
    }
}

/// The kinds of workers that an edit of these sources will need, by what was planned before: they can start while the
/// edit is looked at. Whether it is an edit of code is not known yet, and a kernel that is not needed takes time from those
/// who do something, unless there is a processor to spare.
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
