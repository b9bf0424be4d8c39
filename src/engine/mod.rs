//! Builds a course: plans it, compares the plan with the records, makes what is stale and publishes all outputs. The
//! only module that uses plan, store and worker together.

pub(crate) mod affected;
pub(crate) mod bounds;
mod cache_key;
mod check;
pub(crate) mod checkpoint;
pub(crate) mod course;
pub(crate) mod decide;
mod directory;
pub(crate) mod driver;
mod execute;
pub(crate) mod explain;
mod git;
mod index;
pub(crate) mod load;
pub(crate) mod made;
mod manifest;
mod partial_map;
mod publish;
pub(crate) mod range;
mod restless;
mod run;
mod scan;
mod schedule;
mod selection;
mod shard;
pub(crate) mod shared;
mod snapshot;
pub(crate) mod sources;
pub(crate) mod staging;
mod state;
mod state_file;
mod touched;
mod unignored;
mod unseen;
mod up_to_date;
pub(crate) mod verify;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::course::layout::Selection;
use crate::course::{Names, RelPath};
use crate::diagnostic::{Diagnostic, Reported};
use crate::digest::Digest;
use crate::error::Result;
use crate::events::{ActionKind, Contents, Counts, Event, Events};
use crate::farm::Farm;
use crate::parallel;
use crate::remote::Remote;
use crate::store::{Doing, Store, WorkerNote, database_inode};
use crate::watch::Inputs;
use crate::worker::Renderers;
use crate::worker::observed::Places;
use crate::worker::pool::{Pool, PoolConfig, WorkerState};
use crate::worker::renderers::CurrentRenderers;

use affected::Affected;
pub(crate) use cache_key::CacheKey;
pub(crate) use check::Checked;
#[cfg(test)]
pub(crate) use check::Stale;
use checkpoint::{Changed, Checkpoint, KnownNames, Parts, Resumed};
use course::{Course, Specified};
use decide::Force;
use driver::Driver;
use execute::InFlight;
use index::{LazyIndex, WholePlan};
use load::Loaded;
use partial_map::PartialMap;
pub(crate) use publish::OwnFiles;
use publish::Publisher;
use restless::Restless;
pub(crate) use shard::Shard;
use shared::Shared;
use sources::Sources;
use staging::Staging;
use state::EngineState;
use up_to_date::UpToDateActions;

/// The options of one build.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildOptions {
    /// The selected outputs.
    pub selection: Selection,
    /// Only outputs that depend on these sources; empty for all.
    pub only: Vec<RelPath>,
    /// Which cached results are not to be used.
    pub force: Force,
    /// Whether pages are not built and nothing is executed: only notebooks, scripts, diagrams and copies are made.
    pub fast: bool,
    /// Whether the build stops at the first failure.
    pub fail_fast: bool,
    /// What caused the run, as stored in the records.
    pub trigger: String,
    /// What the author is working on: actions that read these sources go first.
    pub focus: HashSet<RelPath>,
    /// Whether actions that are known to be up to date are compared with the records again.
    pub compares_everything: bool,
    /// Whether known diagnostics of actions that are not compared are reported again.
    pub reports_everything: bool,
    /// Whether a manifest is written for every target.
    pub writes_manifests: bool,
    /// Whether files that clm did not make stay where outputs belong, so that these outputs are errors. Otherwise they
    /// are moved aside.
    pub keeps_foreign: bool,
    /// Which part of the actions that must run is made here; `None` for all of them.
    pub(crate) shard: Option<Shard>,
    /// Only outputs that these touched files concern; `None` for all.
    pub(crate) affected: Option<Affected>,
}

/// The outcome of a build.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Built {
    /// The number of actions by how they ended.
    pub counts: Counts,
    /// Whether an error was reported.
    pub has_errors: bool,
    /// The duration of the build.
    pub duration: Duration,
}

/// One course with its records and tools.
pub(crate) struct Engine {
    course: Course,
    store: Store,
    renderers: CurrentRenderers,
    /// Installs missing renderers, if that is wanted.
    installer: Option<Installer>,
    pool: PoolConfig,
    events: Events,
    cancel: CancellationToken,
    on_inputs: Option<OnInputs>,
    own_files: OwnFiles,
    /// The inode of the database when it was opened.
    records: Option<u64>,
    /// Whether the directory of results was seen beside the database.
    had_results: AtomicBool,
    /// The cache that machines share.
    shared: Option<Shared>,
    /// The farm.
    farm: Option<Farm>,
}

/// Installs renderers, given by their names (see [`Renderers::installed`]). Returns all renderers afterwards.
pub(crate) type Installer = Box<dyn Fn(&BTreeSet<String>) -> Result<Renderers> + Send + Sync>;

/// Receives what the plan was made of, when that may have changed: changes of other files do not matter.
pub(crate) type OnInputs = Arc<dyn Fn(Inputs) + Send + Sync>;

impl BuildOptions {
    /// Returns whether the whole course is selected and results of earlier runs may be used.
    pub fn is_ordinary(&self) -> bool {
        self.only.is_empty()
            && self.selection == Selection::default()
            && matches!(self.force, Force::Nothing)
            && !self.fast
            && self.shard.is_none()
            && self.affected.is_none()
    }
}

impl Engine {
    /// Returns an engine. No process is started before it is needed.
    pub(crate) fn new(
        course: Course,
        store: Store,
        renderers: Arc<Renderers>,
        pool: PoolConfig,
        events: Events,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            records: database_inode(&course.place.state_dir()),
            had_results: AtomicBool::new(false),
            course,
            store,
            renderers: renderers.into(),
            installer: None,
            pool,
            events,
            cancel,
            on_inputs: None,
            own_files: OwnFiles::default(),
            shared: None,
            farm: None,
        }
    }

    /// Sets the cache that machines share.
    #[must_use]
    pub(crate) fn with_remote(mut self, remote: Remote) -> Self {
        self.shared = Some(Shared::new(remote, self.store.clone()));
        self
    }

    /// Sets the farm that makes actions as well.
    #[must_use]
    pub(crate) fn with_farm(mut self, farm: Farm) -> Self {
        self.farm = Some(farm);
        self
    }

    /// Sets what receives the inputs of every planning. Then every planning of the whole course is reported as well.
    #[must_use]
    pub(crate) fn with_inputs_to(mut self, on_inputs: OnInputs) -> Self {
        self.on_inputs = Some(on_inputs);
        self
    }

    /// Sets `own_files`, which records the files in the source tree that this engine writes.
    #[must_use]
    pub(crate) fn with_own_files(mut self, own_files: OwnFiles) -> Self {
        self.own_files = own_files;
        self
    }

    /// Sets what installs the renderers that stale actions need and that are missing.
    #[must_use]
    pub(crate) fn with_installer(mut self, installer: Installer) -> Self {
        self.installer = Some(installer);
        self
    }

    /// Returns the course.
    pub(crate) fn course(&self) -> &Course {
        &self.course
    }

    /// Returns the digest of what builds of this engine mean: see [`Course::identity_with`].
    pub(crate) fn identity(&self) -> Digest {
        self.course.identity_with(&self.renderers.get())
    }

    /// Reports that the whole course was planned, if this is a watch.
    fn report_plan(&self, specified: &Arc<Specified>, loaded: &Loaded, state: &mut EngineState) {
        if self.on_inputs.is_none() {
            return;
        }
        let layout = &loaded.layout;
        let known = state.index.take();
        // Places of programs follow from the content of decks.
        let is_same = |known: &(Arc<_>, _)| Arc::ptr_eq(&known.0, layout);
        let known = known.filter(|known| is_same(known) && loaded.plan.placed.is_empty());
        let index = known.map_or_else(LazyIndex::default, |(_, index)| index);
        state.index = Some((Arc::clone(layout), Arc::clone(&index)));
        let contents = WholePlan::new(specified, loaded, index);
        self.events.emit(Event::Planned {
            outputs: loaded.all_destinations.len() as u64,
            contents: Contents::new(contents),
        });
        self.pass_inputs(specified, state);
    }

    /// Passes the inputs of the plan on, if they changed since this was last called.
    fn pass_inputs(&self, specified: &Specified, state: &mut EngineState) {
        let Some(on_inputs) = &self.on_inputs else {
            return;
        };
        let known = state.sources.snapshot.known();
        if state.passed_inputs == Some((known, specified.digest)) {
            return;
        }
        state.passed_inputs = Some((known, specified.digest));
        let snapshot = &state.sources.snapshot;
        on_inputs(self.course.inputs(specified, snapshot));
    }

    /// Makes everything that is selected and not up to date. `changed` is the difference between the course and its
    /// checkpoint, if they were compared just now: then only that difference is planned and compared.
    pub(crate) async fn build(
        &self,
        specified: Arc<Specified>,
        options: BuildOptions,
        changed: Option<Changed>,
    ) -> Result<Built> {
        let mut driver = Driver::of_build(self, specified, options);
        let built = driver.build(changed).await;
        driver.end(built.is_ok()).await;
        built
    }

    /// Writes the checkpoint, if everything is up to date.
    fn write_checkpoint(&self, specified: &Specified, state: &mut EngineState) {
        let Some(idle) = &state.idle else { return };
        if let Err(error) = state.publisher.load_all() {
            tracing::warn!(%error, "there is no checkpoint");
            return;
        }
        state.publisher.confirm();
        let written = state.sources.listed().and_then(|listed| {
            let parts = Parts {
                idle,
                listed,
                snapshot: &state.sources.snapshot,
                publisher: &state.publisher,
                names: &state.names,
            };
            let state = || checkpoint::to_bytes(&state.sources, &state.up_to_date);
            Checkpoint::new(&self.course, specified, &self.renderers.get()).write(&parts, state)
        });
        if written.is_some() {
            checkpoint::forget(&self.course);
        }
        tracing::debug!(is_written = written.is_some(), "up to date");
    }

    fn start_pool(&self) -> Pool {
        self.start_pool_with(self.pool.clone())
    }

    /// Starts workers that record nothing about the course.
    fn start_pool_without_records(&self) -> Pool {
        self.start_pool_with(PoolConfig {
            imports_file: None,
            ..self.pool.clone()
        })
    }

    fn start_pool_with(&self, config: PoolConfig) -> Pool {
        if let Some(all) = self.pool.runtime_dir.parent() {
            staging::sweep(all);
        }
        let store = self.store.clone();
        Pool::new(
            self.renderers.clone(),
            config,
            Arc::new(move |event| {
                // The worker that runs kernels is a part of this process.
                let pid = event.pid.unwrap_or_else(std::process::id);
                let state = match event.state {
                    WorkerState::Started => "started",
                    WorkerState::Busy | WorkerState::Progress => "busy",
                    WorkerState::Idle => "idle",
                    WorkerState::Stopped => {
                        store.forget_worker(event.kind, event.number);
                        return;
                    }
                };
                store.note_worker(WorkerNote {
                    kind: event.kind,
                    number: event.number,
                    pid,
                    state,
                    doing: event.doing.map(|(source, step)| Doing {
                        source: source.to_string(),
                        label: step.label,
                        done: step.done,
                        total: step.total,
                    }),
                });
            }),
        )
    }

    async fn end_pool(&self, pool: &Pool) {
        pool.shutdown().await;
        // The sockets and profiles of this process's workers; no other process uses them.
        let _ = std::fs::remove_dir_all(&self.pool.runtime_dir);
    }

    /// Loads the records of earlier runs, and what the last build saved when it wrote its checkpoint. Also returns the
    /// kinds of workers that will be needed.
    fn resume(
        &self,
        specified: &Specified,
        mut changed: Changed,
    ) -> Result<(EngineState, BTreeSet<ActionKind>)> {
        let names = Arc::default();
        let (resumed, state) = parallel::join(
            || Resumed::read(&mut changed.sections, &names),
            || self.remember_with(specified, Arc::clone(&names)),
        );
        let mut state = state?;
        let kinds = resumed.map(|resumed| state.resume(&self.course, changed, resumed));
        Ok((state, kinds.unwrap_or_default()))
    }

    /// Loads the records of earlier runs, before any source is read.
    fn remember(&self, specified: &Specified) -> Result<EngineState> {
        self.remember_with(specified, Arc::default())
    }

    #[tracing::instrument(level = "debug", name = "remember", skip_all)]
    fn remember_with(&self, specified: &Specified, names: Arc<Names>) -> Result<EngineState> {
        let staging = Staging::create(&self.course.place.state_dir())?;
        let mut sources = Sources::new(&self.course.place.root, self.store.files()?, names);
        sources.snapshot.set_places(self.places());
        let publisher = Publisher::new(
            publish::Place {
                root: &self.course.place.root,
                output_roots: &self.course.output_dirs(&specified.spec),
                is_folder: self.course.place.is_folder(),
                scope: self.course.scope(),
                staging: staging.path().to_path_buf(),
                state_dir: self.course.place.state_dir(),
            },
            self.store.clone(),
            self.own_files.clone(),
            self.events.clone(),
            Arc::clone(&sources.names),
        )?;
        Ok(EngineState {
            sources,
            publisher,
            latest: PartialMap::complete(self.store.latest()?),
            up_to_date: UpToDateActions::default(),
            idle: None,
            in_flight: InFlight::default(),
            restless: Restless::default(),
            unfinished: HashMap::new(),
            cleaned: None,
            version_of_others: None,
            index: None,
            passed_inputs: None,
            names: KnownNames::new(),
            staging,
        })
    }

    fn places(&self) -> Places {
        Places::new(&self.course.place.root, &self.renderers.get().kernels)
    }

    /// Loads and plans the course as it is on disk now, as far as it may have changed since it was last loaded.
    fn look(
        &self,
        specified: &Specified,
        state: &mut EngineState,
        selection: &Selection,
    ) -> Result<Loaded> {
        self.course.load(
            specified,
            &mut state.sources,
            &state.publisher.written_back(),
            selection,
            &self.renderers.get(),
        )
    }

    /// Returns whether the records are still the ones that were opened. Another program may have moved or removed them.
    pub(crate) fn has_records(&self) -> bool {
        let state_dir = self.course.place.state_dir();
        // The directory of results is created with the first result.
        let has_results = state_dir.join("blobs").is_dir();
        let had_results = self.had_results.fetch_or(has_results, Ordering::Relaxed);
        (has_results || !had_results) && database_inode(&state_dir) == self.records
    }

    /// Reports diagnostics of an action, or of the course. Returns whether one of them is an error.
    fn report(&self, action: Option<&Arc<str>>, diagnostics: &[Diagnostic]) -> bool {
        for diagnostic in diagnostics {
            self.events.emit(Event::Diagnostic(Reported {
                action: action.cloned(),
                diagnostic: diagnostic.clone(),
            }));
        }
        diagnostics.iter().any(Diagnostic::is_error)
    }
}
