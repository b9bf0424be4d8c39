//! A resident engine: it plans again when something changed, and builds on request.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::course::{Lang, RelPath};
use crate::diagnostic::Diagnostic;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{ActionKind, Counts, Event};
use crate::memory;
use crate::watch::ChangeSet;
use crate::worker::pool::Pool;

use super::course::Specified;
use super::decide::Force;
use super::guard::Guard;
use super::run::{Rest, Run};
use super::unseen::{self, Unseen};
use super::{BuildOptions, Built, Engine, Memory, manifest};

/// The idle time before memory is released: longer than the time between two saves.
const BEFORE_TRIM: Duration = Duration::from_secs(2);
/// The idle time before a deck that was set aside is tried again.
const BEFORE_RETRY: Duration = Duration::from_secs(10);

/// The first and the longest delay before reading again what could not be read.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// The trigger of the runs that keep everything up to date.
pub(crate) const WATCH_TRIGGER: &str = "watch";

/// A request to a resident engine.
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

/// The reason why a resident engine stopped serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// There are no senders of requests any more, or the engine was cancelled.
    Done,
    /// Settings changed: an engine with the new ones should replace it. If they are invalid, this one continues.
    Reload,
    /// The records were moved or removed: an engine with new ones should replace it.
    Moved,
}

/// An engine with its state, its workers, and pending requests.
pub(crate) struct Resident<'e> {
    engine: &'e Engine,
    pool: Arc<Pool>,
    memory: Option<Memory>,
    guard: Guard,
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

impl<'e> Resident<'e> {
    /// Returns a resident engine that keeps the outputs up to date that `options` select. Nothing is read or started
    /// yet. `polls` is whether files are polled, because the system does not report all changes.
    pub(crate) fn new(engine: &'e Engine, options: BuildOptions, polls: bool) -> Self {
        Self {
            engine,
            pool: Arc::new(engine.start_pool()),
            memory: None,
            guard: if polls {
                Guard::blind()
            } else {
                Guard::default()
            },
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
            is_warm: false,
            is_trim: false,
            unread: None,
        }
    }

    /// Builds what is stale, then waits for requests and serves them, until there is a reason to stop.
    pub(crate) async fn serve(&mut self, asks: &mut mpsc::UnboundedReceiver<Ask>) -> Left {
        loop {
            while let Ok(ask) = asks.try_recv() {
                self.note(ask);
            }
            if self.engine.cancel.is_cancelled() {
                return Left::Done;
            }
            if !self.due.builds.is_empty() {
                self.look_at_sources(true);
            }
            let must_reload = self.changes_settings();
            let is_due =
                self.due.run || !self.due.changes.is_empty() || !self.due.builds.is_empty();
            if !is_due {
                self.warm_up();
                self.guard_outputs();
                let is_trim = self.is_trim;
                let memory = self.memory.as_ref();
                let next_look = memory.and_then(|_| self.unseen.next_look());
                let next_unread = memory.and(self.unread).map(|(moment, _)| moment);
                let ask = tokio::select! {
                    ask = asks.recv() => ask,
                    () = tokio::time::sleep(BEFORE_TRIM), if !is_trim => {
                        self.is_trim = true;
                        self.write_manifests();
                        if let Some(memory) = &mut self.memory {
                            if let Some(collection) = self.engine.due_collection(memory) {
                                // In the background: its result is not needed.
                                drop(tokio::task::spawn_blocking(|| collection.run()));
                            }
                            memory.release(&self.engine.store);
                        }
                        self.engine.store.release_memory();
                        memory::release();
                        continue;
                    }
                    () = sleep_until(next_look) => {
                        self.look_at_sources(false);
                        continue;
                    }
                    () = sleep_until(next_unread) => {
                        self.look_at_unread();
                        continue;
                    }
                    () = sleep_until(self.next_trial) => {
                        self.try_restless();
                        continue;
                    }
                    () = self.engine.cancel.cancelled() => None,
                };
                let Some(ask) = ask else {
                    return Left::Done;
                };
                self.note(ask);
                continue;
            }
            self.take_changes();
            if must_reload {
                return Left::Reload;
            }
            if !self.engine.has_records() {
                return Left::Moved;
            }
            self.work(asks).await;
        }
    }

    /// Ends the workers.
    pub(crate) async fn end(mut self) {
        if let Some(memory) = &mut self.memory {
            let Engine { store, events, .. } = self.engine;
            memory.in_flight.shutdown(store, events).await;
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
        if let Some(memory) = &mut self.memory {
            memory.apply(&changes, root);
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
        if build.is_none() && !self.due.run {
            return;
        }
        let mut options = match &build {
            Some((options, _)) => (**options).clone(),
            None => {
                self.due.run = false;
                BuildOptions {
                    looks_at_everything: std::mem::take(&mut self.due.everything),
                    ..self.options.clone()
                }
            }
        };
        if build.is_some() {
            options.focus = options.only.iter().cloned().collect();
        }
        let (specified, mut memory) = match self.prepare() {
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
            memory.restless.forgive_all();
        }
        let also = self.broken.clone();
        self.doubt_outputs(&mut memory, &mut options, build.is_some());
        let interrupt = CancellationToken::new();
        let (engine, pool) = (self.engine, Arc::clone(&self.pool));
        let run = Run {
            engine,
            pool: &pool,
            specified: &specified,
            also: &also,
            options: &options,
            interrupt: interrupt.clone(),
            cancel: engine.cancel.child_token(),
            is_only_run: false,
        };
        let result = {
            let mut running = std::pin::pin!(run.run(&mut memory));
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
        let is_unread = memory.sources.is_unread();
        self.unread = is_unread.then(|| (Instant::now() + delay, delay));
        self.next_trial = (!memory.restless.is_empty()).then(|| Instant::now() + BEFORE_RETRY);
        self.memory = Some(memory);
        self.conclude(result, build, &options);
    }

    /// Handles the result of a run: records the remaining work, and answers the client that requested the build.
    fn conclude(
        &mut self,
        result: Result<(Built, Rest)>,
        build: Option<(Box<BuildOptions>, oneshot::Sender<Result<Built>>)>,
        options: &BuildOptions,
    ) {
        match result {
            Ok((_, Rest::Interrupted)) => match build {
                Some((_, answer)) if answer.is_closed() => {
                    if let Some(memory) = &mut self.memory {
                        memory.unfinished.remove(&options.trigger);
                    }
                    // The watch continues with the changes that interrupted this build, or with its jobs that the
                    // watch needs, too.
                    self.due.run = true;
                }
                Some(build) => self.due.builds.push_back(build),
                None => {
                    self.due.run = true;
                    self.due.everything |= options.looks_at_everything;
                }
            },
            Ok((built, rest)) => {
                if rest == Rest::Unsteady {
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
                self.memory = None;
                self.due.run = true;
            }
            Err(error) => {
                if error.is_internal() {
                    // The cause, such as a full disk, may be temporary: the next change tries again, from what is on
                    // disk.
                    self.memory = None;
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

    /// Returns the specification as it is now, or the last one without errors, and the state of the engine.
    fn prepare(&mut self) -> Result<(Arc<Specified>, Memory)> {
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
        let specified = self.specified.clone();
        let specified = specified.ok_or_else(|| Error::bug("there is no specification"))?;
        // Another program may have removed the directory for work in progress.
        let known = self.memory.take();
        let known = known.filter(|memory| memory.staging.path().is_dir());
        // Read before the records: what is written meanwhile is read by the next run.
        let version = self.engine.store.version_of_others()?;
        let memory = match known {
            Some(mut memory) => {
                let dirs = self.engine.course.output_dirs(&specified.spec);
                memory.publisher.allow(&dirs);
                memory.refresh(&self.engine.store, version)?;
                memory
            }
            None => {
                let mut memory = self.engine.remember(&specified)?;
                memory.version_of_others = Some(version);
                memory
            }
        };
        Ok((specified, memory))
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

    /// Writes manifests that are out of date, while the engine is idle.
    fn write_manifests(&mut self) {
        let is_whole = self.options.is_ordinary() && self.broken.is_empty();
        let (Some(specified), Some(memory)) = (&self.specified, &mut self.memory) else {
            return;
        };
        if !is_whole || !manifest::is_due(&self.engine.course) {
            return;
        }
        let options = BuildOptions {
            writes_manifests: true,
            ..self.options.clone()
        };
        let run = Run {
            engine: self.engine,
            pool: &self.pool,
            specified,
            also: &[],
            options: &options,
            interrupt: CancellationToken::new(),
            cancel: self.engine.cancel.child_token(),
            is_only_run: false,
        };
        if let Err(error) = run.list_outputs(memory) {
            tracing::warn!(%error, "manifests are not written");
        }
    }

    /// Watches the outputs for changes by other programs.
    fn guard_outputs(&mut self) {
        let Some(memory) = &mut self.memory else {
            return;
        };
        let place = &self.engine.course.place;
        let covered = self.guard.cover(memory, &place.root, &place.state_dir());
        if let Err(error) = covered {
            self.guard = Guard::default();
            tracing::warn!(%error, "outputs are not guarded");
        }
    }

    /// Compares outputs that other programs touched. A requested build must be able to rely on all of them.
    fn doubt_outputs(&mut self, memory: &mut Memory, options: &mut BuildOptions, is_asked: bool) {
        let place = &self.engine.course.place;
        let guard = &mut self.guard;
        let is_sure = match is_asked {
            true => guard.is_sure(memory, &place.root, &place.state_dir()),
            false => guard.doubt_touched(memory, &place.root).map(|()| true),
        };
        // If the records cannot be used, the run compares everything, and reports the reason.
        options.looks_at_everything |= !is_sure.unwrap_or(false);
    }

    /// Allows another execution of a deck that was set aside, while the engine is idle.
    fn try_restless(&mut self) {
        self.next_trial = None;
        if let Some(memory) = &mut self.memory {
            let root = &self.engine.course.place.root;
            let is_there = |source: &RelPath| source.under(root).exists();
            memory.restless.forget(&is_there);
            self.due.run = memory.restless.try_one_again();
        }
    }

    /// Finds changes that no event reports.
    fn look_at_sources(&mut self, is_asked: bool) {
        let Some(memory) = &self.memory else { return };
        let course = &self.engine.course;
        let looked = unseen::Course {
            place: &course.place,
            settings: course.settings_files(),
            specification: self.specified.as_ref().map(|specified| specified.digest),
            sources: &memory.sources,
            own: &self.engine.own_files,
        };
        let changes = self.unseen.look(&looked, is_asked);
        if !changes.is_empty() {
            tracing::debug!(?changes, "no event reported");
            self.note(Ask::Changed(changes));
        }
    }

    /// Builds again when something can be read that could not be: no event reports that a disk error has passed.
    fn look_at_unread(&mut self) {
        let (Some(memory), Some((_, delay))) = (&self.memory, self.unread) else {
            return;
        };
        // A disk that keeps failing is read less and less often.
        let delay = (2 * delay).min(LAST_RETRY);
        self.unread = Some((Instant::now() + delay, delay));
        if memory
            .sources
            .is_readable_again(&self.engine.course.place.root)
        {
            self.note(Ask::Changed(ChangeSet {
                rescan: true,
                ..ChangeSet::default()
            }));
        }
    }

    /// Starts workers for the next change, while the engine is idle.
    fn warm_up(&mut self) {
        if std::mem::replace(&mut self.is_warm, true) {
            return;
        }
        for kind in [ActionKind::Execute, ActionKind::Html] {
            if !self.options.fast {
                self.pool.warm_up(kind, Lang::ALL.len());
            }
        }
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// Returns when the client that requested a build has disconnected; never, if no client requested it.
async fn gone(build: Option<&mut (Box<BuildOptions>, oneshot::Sender<Result<Built>>)>) {
    match build {
        Some((_, answer)) => answer.closed().await,
        None => std::future::pending().await,
    }
}
