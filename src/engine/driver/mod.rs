//! The loop around an engine: a single build is one pass of it, a watch repeats it whenever something changed or a
//! client asks.

mod idle;

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::course::RelPath;
use crate::course::layout::Selection;
use crate::course::tree::{self, DiagramKind};
use crate::diagnostic::Diagnostic;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{ActionKind, Counts, Event};
use crate::watch::{ChangeSet, OutputWatch};
use crate::worker::pool::Pool;

use super::checkpoint::{Changed, Checkpoint};
use super::course::Specified;
use super::decide::Force;
use super::run::{Remaining, Run};
use super::touched::TouchedOutputs;
use super::unseen::Unseen;
use super::{BuildOptions, Built, Engine, EngineState};

use idle::Woken;

/// The first delay before reading again what could not be read.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The idle time before a deck that was set aside is tried again.
const BEFORE_RETRY: Duration = Duration::from_secs(10);

/// How long a watch that ends goes on sending results to the shared cache.
const WHILE_ENDING: Duration = Duration::from_secs(2);

/// The trigger of the runs that keep everything up to date.
pub(crate) const WATCH_TRIGGER: &str = "watch";

/// A request to a watch.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Files changed.
    Changed(ChangeSet),
    /// Build with these options, and send the outcome.
    Build(Box<BuildOptions>, oneshot::Sender<Result<Built>>),
    /// Compare everything again, and try again what failed.
    Rebuild,
    /// Whether to execute nothing from now on.
    Fast(bool),
    /// What the author is working on, from an editor.
    Focus(RelPath),
}

/// The reason why a watch stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// There are no senders of requests any more, or the engine was cancelled.
    Done,
    /// Settings changed: an engine with the new ones should replace it. If they are invalid, this one continues.
    Reload,
    /// The records were moved or removed: an engine with new ones should replace it.
    Moved,
}

/// An engine with its state, its workers, and pending requests.
pub(crate) struct Driver<'e> {
    engine: &'e Engine,
    pool: Arc<Pool>,
    state: Option<EngineState>,
    outputs: TouchedOutputs,
    unseen: Unseen,
    /// The last specification without errors.
    specified: Option<Arc<Specified>>,
    /// Whether it may have changed since.
    respecify: bool,
    /// The errors of the specification as it is now.
    broken: Vec<Diagnostic>,
    options: BuildOptions,
    due: Due,
    /// When decks that were set aside are tried again.
    next_trial: Option<Instant>,
    /// Whether this is a single build.
    is_only_run: bool,
    /// Whether only what clients ask for is built.
    is_on_request: bool,
    /// Whether a run has ended.
    has_run: bool,
    is_warm: bool,
    /// Whether memory that only runs need was released.
    is_trim: bool,
    /// When to read again what could not be read, and the delay that was used for that.
    unread: Option<(Instant, Duration)>,
}

#[derive(Default)]
struct Due {
    changes: ChangeSet,
    builds: VecDeque<(Box<BuildOptions>, oneshot::Sender<Result<Built>>)>,
    /// Whether the watched outputs are to be built.
    run: bool,
    /// Whether even actions that are known to be up to date are to be compared.
    everything: bool,
    /// Whether decks that were set aside are to be executed.
    forgives: bool,
}

impl Due {
    fn is_any(&self) -> bool {
        self.run || !self.changes.is_empty() || !self.builds.is_empty()
    }
}

impl<'e> Driver<'e> {
    /// Returns a watch that keeps the outputs up to date that `options` select. Nothing is read or started yet.
    /// `outputs` reports touched outputs; `None` if the system does not report all changes.
    pub(crate) fn new(
        engine: &'e Engine,
        options: BuildOptions,
        outputs: Option<OutputWatch>,
    ) -> Self {
        Self {
            engine,
            pool: Arc::new(engine.start_pool()),
            state: None,
            outputs: TouchedOutputs::new(outputs),
            unseen: Unseen::default(),
            specified: None,
            respecify: true,
            broken: Vec::new(),
            options,
            due: Due {
                run: true,
                ..Due::default()
            },
            next_trial: None,
            is_only_run: false,
            is_on_request: false,
            has_run: false,
            is_warm: false,
            is_trim: false,
            unread: None,
        }
    }

    /// Makes it build only what clients ask for. Changes are noted, so that it knows at once what is stale.
    pub(crate) fn only_on_request(mut self) -> Self {
        self.is_on_request = true;
        self
    }

    /// Returns a driver for a single build.
    pub(super) fn of_build(
        engine: &'e Engine,
        specified: Arc<Specified>,
        options: BuildOptions,
    ) -> Self {
        Self {
            specified: Some(specified),
            respecify: false,
            is_only_run: true,
            ..Self::new(engine, options, None)
        }
    }

    /// Builds what is stale, then waits for requests and serves them, until there is a reason to stop.
    pub(crate) async fn serve(&mut self, asks: &mut mpsc::UnboundedReceiver<Ask>) -> Ending {
        if self.is_on_request && self.state.is_none() {
            // Ready for the first request. An error is reported by the build that it concerns.
            self.state = self.prepare().ok().map(|(_, state)| state);
        }
        loop {
            while let Ok(ask) = asks.try_recv() {
                self.note(ask);
            }
            if self.engine.cancel.is_cancelled() {
                return Ending::Done;
            }
            if !self.due.builds.is_empty() {
                self.look_at_sources(true);
            }
            let must_reload = self.changes_settings();
            if !self.due.is_any() {
                match self.wait(asks).await {
                    Woken::Ask(ask) => drop(self.note(ask)),
                    Woken::End => return Ending::Done,
                    Woken::Other => {}
                }
                continue;
            }
            self.take_changes();
            if must_reload {
                return Ending::Reload;
            }
            if !self.engine.has_records() {
                return Ending::Moved;
            }
            self.work(asks).await;
        }
    }

    /// Does the work of a single build. `changed` is what changed since the checkpoint, if that is known.
    pub(super) async fn build(&mut self, changed: Option<Changed>) -> Result<Built> {
        let specified = self.known_specification()?;
        let mut state = self.open(&specified, changed)?;
        let options = self.options.clone();
        let run = self.run(&specified, &options, CancellationToken::new());
        let result = run.run(&mut state).await;
        let collection = self.engine.due_collection(&state);
        if let Some(collection) = collection.filter(|_| result.is_ok()) {
            collection.run();
        }
        self.state = Some(state);
        result.map(|(built, _)| built)
    }

    /// Ends the workers. Writes the checkpoint if everything is up to date, unless `writes_checkpoint` is false.
    pub(crate) async fn end(mut self, writes_checkpoint: bool) {
        let is_idle = self
            .state
            .as_ref()
            .is_some_and(|state| state.idle.is_some());
        if writes_checkpoint && is_idle && !self.is_only_run {
            // They may be due, if a watch ends soon after a run. A course with manifests that are due is not up to date.
            self.write_manifests();
        }
        if let Some(mut state) = self.state.take() {
            if let Some(specified) = self.specified.as_deref().filter(|_| writes_checkpoint) {
                self.engine.write_checkpoint(specified, &mut state);
            }
            let Engine { store, events, .. } = self.engine;
            state.in_flight.shutdown(store, events).await;
            state.drop_detached();
        }
        if let Some(shared) = self.engine.shared.as_ref().filter(|_| !self.is_only_run) {
            shared.finish(WHILE_ENDING).await;
        }
        self.engine.end_pool(&self.pool).await;
    }

    /// Records a request. Returns true if the current run should be interrupted for it.
    fn note(&mut self, ask: Ask) -> bool {
        match ask {
            Ask::Changed(changes) => {
                self.due.changes.paths.extend(changes.paths);
                self.due.changes.rescan |= changes.rescan;
                true
            }
            Ask::Build(options, answer) => {
                self.due.forgives |= !matches!(options.force, Force::Nothing);
                self.due.builds.push_back((options, answer));
                true
            }
            Ask::Rebuild => {
                self.due.changes.rescan = true;
                self.due.run = true;
                self.due.everything = true;
                self.due.forgives = true;
                true
            }
            Ask::Fast(fast) => {
                self.options.fast = fast;
                self.due.run = true;
                true
            }
            Ask::Focus(path) => {
                self.options.focus = HashSet::from([path]);
                false
            }
        }
    }

    fn changes_settings(&self) -> bool {
        let files = self.engine.course.settings_files();
        files
            .iter()
            .any(|file| self.due.changes.paths.contains(file))
    }

    /// Applies the recorded changes: invalidates what they concern.
    fn take_changes(&mut self) {
        let changes = std::mem::take(&mut self.due.changes);
        if changes.is_empty() {
            return;
        }
        self.due.run = true;
        let root = &self.engine.course.place.root;
        if let Some(state) = &mut self.state {
            state.apply(&changes, root);
        }
        if changes.rescan || changes.paths.contains(&self.engine.course.place.spec) {
            self.respecify = true;
        }
        let named: HashSet<RelPath> = changes
            .paths
            .iter()
            .filter_map(|path| RelPath::below(root, path))
            .collect();
        if !named.is_empty() {
            self.options.focus = named;
        }
    }

    /// Does one run, and records requests meanwhile.
    async fn work(&mut self, asks: &mut mpsc::UnboundedReceiver<Ask>) {
        // Drops requests of clients that have disconnected.
        self.due.builds.retain(|(_, answer)| !answer.is_closed());
        let mut build = self.due.builds.pop_front();
        self.due.run &= !self.is_on_request;
        if build.is_none() && !self.due.run {
            return;
        }
        let mut options = match &build {
            Some((options, _)) => (**options).clone(),
            None => {
                self.due.run = false;
                BuildOptions {
                    compares_everything: std::mem::take(&mut self.due.everything),
                    ..self.options.clone()
                }
            }
        };
        if build.is_some() {
            options.focus = options.only.iter().cloned().collect();
        }
        let (specified, mut state) = match self.prepare() {
            Ok(ready) => ready,
            Err(error) => {
                self.report(&error);
                if let Some((_, answer)) = build {
                    let _ = answer.send(Err(error));
                }
                return;
            }
        };
        if std::mem::take(&mut self.due.forgives) {
            state.restless.forgive_all();
        }
        self.check_outputs(&mut state, &mut options, build.is_some());
        let interrupt = CancellationToken::new();
        let run = self.run(&specified, &options, interrupt.clone());
        let result = {
            let mut running = std::pin::pin!(run.run(&mut state));
            loop {
                tokio::select! {
                    result = &mut running => break result,
                    () = gone(build.as_mut()), if !interrupt.is_cancelled() => interrupt.cancel(),
                    Some(ask) = asks.recv() => {
                        if self.note(ask) {
                            interrupt.cancel();
                        }
                    }
                }
            }
        };
        self.is_warm = false;
        self.is_trim = false;
        self.unseen.renew();
        let delay = self.unread.map_or(FIRST_RETRY, |(_, delay)| delay);
        let is_unread = state.sources.is_unread();
        self.unread = is_unread.then(|| (Instant::now() + delay, delay));
        self.next_trial = (!state.restless.is_empty()).then(|| Instant::now() + BEFORE_RETRY);
        self.state = Some(state);
        self.conclude(result, build, &options);
    }

    /// Handles the result of a run: records the remaining work, and answers the client that requested the build.
    fn conclude(
        &mut self,
        result: Result<(Built, Remaining)>,
        build: Option<(Box<BuildOptions>, oneshot::Sender<Result<Built>>)>,
        options: &BuildOptions,
    ) {
        self.has_run |= matches!(result, Ok((_, Remaining::Nothing)));
        match result {
            Ok((_, Remaining::Interrupted)) => match build {
                Some((_, answer)) if answer.is_closed() => {
                    if let Some(state) = &mut self.state {
                        state.unfinished.remove(&options.trigger);
                    }
                    // The watch continues with the changes that interrupted this build, or with its jobs that the
                    // watch needs, too.
                    self.due.run = true;
                }
                Some(build) => self.due.builds.push_back(build),
                None => {
                    self.due.run = true;
                    self.due.everything |= options.compares_everything;
                }
            },
            Ok((built, rest)) => {
                if rest == Remaining::Unsteady {
                    self.due.changes.rescan = true;
                }
                if let Some((_, answer)) = build {
                    // The run that was interrupted for it continues.
                    self.due.run = true;
                    let _ = answer.send(Ok(built));
                }
            }
            Err(error) if error.kind == ErrorKind::Interrupted => {
                if let Some((_, answer)) = build {
                    let _ = answer.send(Err(error));
                }
            }
            // The records were removed while they were used: the run is repeated with new ones.
            Err(error) if error.is_internal() && !self.engine.has_records() => {
                tracing::debug!(%error, "the records are gone");
                self.state = None;
                self.due.run = true;
            }
            Err(error) => {
                if error.is_internal() {
                    // The cause, such as a full disk, may be temporary: the next change tries again, from what is on
                    // disk.
                    self.state = None;
                }
                match build {
                    Some((_, answer)) => {
                        self.due.run = true;
                        let _ = answer.send(Err(error));
                    }
                    None => self.report(&error),
                }
            }
        }
    }

    /// Returns a run with these options.
    fn run<'r>(
        &self,
        specified: &'r Arc<Specified>,
        options: &'r BuildOptions,
        interrupt: CancellationToken,
    ) -> Run<'r>
    where
        'e: 'r,
    {
        Run {
            engine: self.engine,
            pool: Arc::clone(&self.pool),
            specified,
            also: self.broken.clone(),
            options,
            interrupt,
            cancel: self.engine.cancel.child_token(),
            is_only_run: self.is_only_run,
            reports_unchanged: !self.is_only_run && !self.has_run,
        }
    }

    /// Returns the specification as it is now, or the last one without errors, and the state of the engine.
    fn prepare(&mut self) -> Result<(Arc<Specified>, EngineState)> {
        if self.respecify {
            match self.engine.course.specification() {
                Ok(specified) => {
                    self.specified = Some(Arc::new(specified));
                    self.respecify = false;
                    self.broken.clear();
                }
                Err(error) if self.specified.is_none() => return Err(error),
                Err(error) => self.broken = error.diagnostics,
            }
        }
        let specified = self.known_specification()?;
        // Another program may have removed the directory for work in progress.
        let known = self.state.take();
        let known = known.filter(|state| state.staging.path().is_dir());
        // Read before the records: what is written meanwhile is read by the next run.
        let version = self.engine.store.version_of_others()?;
        let state = match known {
            Some(mut state) => {
                let dirs = self.engine.course.output_dirs(&specified.spec);
                state.publisher.allow(&dirs);
                state.refresh(&self.engine.store, version)?;
                state
            }
            None => {
                let Engine {
                    course, renderers, ..
                } = self.engine;
                // Plans of a part have nothing in common with those of the whole.
                let is_whole = self.options.selection == Selection::default();
                let checkpoint = Checkpoint::new(course, &specified, &renderers.get());
                let changed = is_whole.then(|| checkpoint.changed()).flatten();
                let mut state = self.open(&specified, changed)?;
                state.version_of_others = Some(version);
                state
            }
        };
        Ok((specified, state))
    }

    fn known_specification(&self) -> Result<Arc<Specified>> {
        let specified = self.specified.clone();
        specified.ok_or_else(|| Error::bug("there is no specification"))
    }

    /// Loads the state of earlier runs, and starts workers that `changed` will probably need.
    fn open(&self, specified: &Specified, changed: Option<Changed>) -> Result<EngineState> {
        let Some(changed) = changed else {
            return self.engine.remember(specified);
        };
        let warm_up = |kind| self.pool.warm_up(kind, 1);
        if self.options.only.is_empty() {
            let root = &self.engine.course.place.root;
            renderers_of(&changed, root).for_each(warm_up);
        }
        let (state, kinds) = self.engine.resume(specified, changed)?;
        kinds.into_iter().for_each(warm_up);
        Ok(state)
    }

    /// Reports an error as a run that made nothing.
    fn report(&self, error: &Error) {
        let Engine { store, events, .. } = self.engine;
        let trigger = self.options.trigger.clone();
        // The error may be that the store does not work.
        let run = store.begin_run(&trigger).unwrap_or_default();
        let actions = 0;
        events.emit(Event::RunStarted {
            run,
            trigger,
            actions,
        });
        self.engine.report(None, &error.diagnostics);
        let counts = Counts::default();
        let _ = store.finish_run(
            run,
            &counts,
            0,
            error.diagnostics.first().map(ToString::to_string),
        );
        events.emit(Event::RunFinished {
            run,
            counts,
            duration_ms: 0,
            interrupted: false,
        });
    }

    /// Invalidates outputs that other programs touched. A requested build must be able to rely on all of them.
    fn check_outputs(
        &mut self,
        state: &mut EngineState,
        options: &mut BuildOptions,
        is_asked: bool,
    ) {
        let root = &self.engine.course.place.root;
        let is_known = match is_asked {
            true => self.outputs.verify(state, root),
            false => self.outputs.invalidate_touched(state, root).map(|()| true),
        };
        // If the records cannot be used, the run compares everything, and reports the reason.
        options.compares_everything |= !is_known.unwrap_or(false);
    }
}

/// Returns when the client that requested a build has disconnected; never, if no client requested it.
async fn gone(build: Option<&mut (Box<BuildOptions>, oneshot::Sender<Result<Built>>)>) {
    match build {
        Some((_, answer)) => answer.closed().await,
        None => std::future::pending().await,
    }
}

/// Returns the kinds of workers that changed diagrams will need. They follow from the file names, before anything is
/// planned.
fn renderers_of<'c>(changed: &'c Changed, root: &'c Path) -> impl Iterator<Item = ActionKind> + 'c {
    let there = changed.paths.iter().filter(|path| path.is_file());
    let sources = there.filter_map(|path| RelPath::below(root, path));
    sources.filter_map(|path| match tree::diagram_kind(&path)? {
        DiagramKind::Plantuml => Some(ActionKind::Plantuml),
        DiagramKind::Drawio => Some(ActionKind::Drawio),
    })
}
