//! One run: rounds of planning and building until everything that is selected is up to date.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::course::RelPath;
use crate::course::layout::Selection;
use crate::diagnostic::Diagnostic;
use crate::error::Result;
use crate::events::{CacheUse, Event, Status};
use crate::plan::Action;
use crate::watch::ChangeSet;
use crate::worker::pool::Pool;

use super::checkpoint::Idle;
use super::course::Specified;
use super::decide::{Decider, Force};
use super::execute::{Earlier, FarmUse, MissingTools, Round, Session};
use super::load::Loaded;
use super::publish::Publisher;
use super::restless;
use super::selection::{Basis, Choice, count};
use super::staging::Staging;
use super::{BuildOptions, Built, Engine, EngineState, manifest, unignored};

/// The maximum number of rounds, each of which plans again because sources changed during the one before. No deck is
/// executed so often.
const ROUNDS: usize = 4 * restless::EXECUTIONS;

/// A run that is about to begin.
pub(super) struct Run<'a> {
    /// The course and its tools.
    pub engine: &'a Engine,
    /// The workers.
    pub pool: Arc<Pool>,
    /// The specification.
    pub specified: &'a Arc<Specified>,
    /// Additional diagnostics to report.
    pub also: Vec<Diagnostic>,
    /// The options of the build.
    pub options: &'a BuildOptions,
    /// Fires when the run is to end early; the next run takes over its work.
    pub interrupt: CancellationToken,
    /// Fires when the run is to stop.
    pub cancel: CancellationToken,
    /// Whether decks that are set aside are tried again in this same run. A watch tries them later.
    pub is_only_run: bool,
    /// Whether actions that are not compared are reported as well: the first run of a watch reports the whole course.
    pub reports_unchanged: bool,
}

/// The work that remains after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remaining {
    /// Nothing.
    Nothing,
    /// The run was interrupted.
    Interrupted,
    /// Sources changed again and again while they were built.
    Unsteady,
}

struct Totals {
    statuses: HashMap<String, Status>,
    /// The results of interrupted parts of this run.
    earlier: Earlier,
    missing_tools: RefCell<MissingTools>,
    /// What the cache of the course was used for.
    cache: CacheUse,
    /// The renderers that were installed, each once in a run.
    installed: BTreeSet<String>,
    removed: u64,
    untouched: u64,
    has_errors: bool,
    /// Whether `RunStarted` was emitted.
    has_begun: bool,
    /// The first action that was made, and why.
    reason: Option<String>,
    remaining: Remaining,
    /// Whether this round tries a deck again that was set aside.
    tries: bool,
    /// The part of the actions that was chosen in the first round.
    choice: Choice,
}

impl Totals {
    /// Returns the results for the run that continues this one. `took` is the duration of all parts so far.
    fn into_earlier(self, took: Duration) -> Earlier {
        let before = self.earlier.statuses.into_iter();
        let before = before.filter(|(_, status)| *status != Status::Superseded);
        let made = self.statuses.into_iter();
        let made = made.filter(|(_, status)| *status != Status::Fresh);
        Earlier {
            statuses: before.chain(made).collect(),
            removed: self.removed,
            took,
            parts: self.earlier.parts + 1,
            reason: self.reason,
        }
    }
}

/// Returns the error of a run that gives up because sources change again and again.
fn unsteady() -> Diagnostic {
    Diagnostic::error("sources changed again and again while they were built: some outputs do not show their last state")
        .hint("look for a program or a notebook that writes to sources, and build again when it has ended")
}

impl Run<'_> {
    /// Makes everything that is selected and not up to date.
    #[tracing::instrument(level = "debug", skip_all, fields(trigger = self.options.trigger))]
    pub(super) async fn run(&self, state: &mut EngineState) -> Result<(Built, Remaining)> {
        let started = Instant::now();
        let store = &self.engine.store;
        let run = store.begin_run(&self.options.trigger)?;
        state.look_elsewhere(&self.engine.course.place.root);
        if let Some(idle) = self.known_idle(state) {
            let (counts, duration) = (idle.counts(), started.elapsed());
            store.finish_run(run, &counts, duration.as_millis() as u64, None)?;
            idle.report(&self.engine.events, run, &self.options.trigger, duration);
            let built = Built {
                counts,
                has_errors: false,
                duration,
            };
            return Ok((built, Remaining::Nothing));
        }
        state.idle = None;
        store.recover()?;
        let earlier = state.unfinished.remove(&self.options.trigger);
        let earlier = earlier.unwrap_or_default();
        state
            .publisher
            .begin_run(self.options.keeps_foreign || self.engine.course.place.is_folder());
        if let Some(shared) = &self.engine.shared {
            shared.begin_run();
        }
        let mut totals = Totals {
            statuses: HashMap::new(),
            missing_tools: RefCell::default(),
            cache: CacheUse::default(),
            installed: BTreeSet::new(),
            removed: earlier.removed,
            untouched: 0,
            has_errors: false,
            has_begun: false,
            reason: earlier.reason.clone(),
            earlier,
            remaining: Remaining::Nothing,
            tries: false,
            choice: Choice::default(),
        };
        let result = self.rounds(run, state, &mut totals).await;
        if let Some(farm) = &self.engine.farm {
            self.engine.report(None, &farm.take_warnings());
        }
        if let Some(warning) = state.publisher.take_replaced() {
            self.engine.report(None, &[warning]);
        }
        let cache = self.end_sharing(totals.cache, started.elapsed()).await;
        let mut counts = count(&totals.statuses, totals.removed);
        counts.fresh += totals.untouched;
        let duration = totals.earlier.took + started.elapsed();
        let duration_ms = duration.as_millis() as u64;
        store.finish_run(run, &counts, duration_ms, totals.reason.clone())?;
        if cache != CacheUse::default() {
            store.note_cache_use(run, &cache)?;
        }
        let is_interrupted = totals.remaining == Remaining::Interrupted;
        if !is_interrupted {
            let missing = totals.missing_tools.borrow_mut().take();
            totals.has_errors |= self.engine.report(None, &missing);
        }
        let is_over = result.is_ok() || !self.cancel.is_cancelled();
        // A run that failed before `RunStarted` emits no `RunFinished` either.
        if totals.has_begun && is_over {
            if cache != CacheUse::default() {
                self.engine.events.emit(Event::CacheUsed(cache));
            }
            self.engine.events.emit(Event::RunFinished {
                run,
                counts,
                duration_ms,
                interrupted: is_interrupted,
            });
        }
        let built = Built {
            counts,
            has_errors: totals.has_errors || counts.failed > 0,
            duration,
        };
        let remaining = totals.remaining;
        if is_interrupted {
            let earlier = totals.into_earlier(duration);
            state
                .unfinished
                .insert(self.options.trigger.clone(), earlier);
        }
        result.map(|()| (built, remaining))
    }

    /// Waits until a single build has sent its results, and adds the use of the shared cache to that of the course's own. A
    /// watch sends them in the background.
    async fn end_sharing(&self, cache: CacheUse, took: Duration) -> CacheUse {
        let Some(shared) = &self.engine.shared else {
            return cache;
        };
        if self.is_only_run {
            tokio::select! {
                () = shared.finish(shared.time_to_send(took)) => {}
                () = self.cancel.cancelled() => {}
            }
        }
        if let Some(warning) = shared.take_warning() {
            self.engine.report(None, &[warning]);
        }
        let of_run = shared.of_run();
        CacheUse {
            local: cache.local,
            saved_ms: cache.saved_ms + of_run.saved_ms,
            ..of_run
        }
    }

    /// Returns the report of this run, if it is known that there is nothing to do.
    fn known_idle<'m>(&self, state: &'m EngineState) -> Option<&'m Idle> {
        let must_work = self.options.compares_everything
            || state.unfinished.contains_key(&self.options.trigger)
            || self.options.writes_manifests && manifest::is_due(&self.engine.course);
        let is_known = self.options.is_ordinary() && !must_work;
        state.idle.as_ref().filter(|_| is_known)
    }

    /// Runs rounds until no source changes meanwhile.
    async fn rounds(&self, run: i64, state: &mut EngineState, totals: &mut Totals) -> Result<()> {
        for number in 0..ROUNDS {
            if !self.round(number, run, state, totals).await? {
                return Ok(());
            }
            // The changed paths are not known here, only that something changed.
            let everything = ChangeSet {
                rescan: true,
                ..ChangeSet::default()
            };
            if number + 1 < ROUNDS {
                state.apply(&everything, &self.engine.course.place.root);
            }
        }
        totals.remaining = Remaining::Unsteady;
        totals.has_errors |= self.engine.report(None, &[unsteady()]);
        Ok(())
    }

    /// Runs one round. Returns true if sources changed meanwhile, so that another round is due.
    #[tracing::instrument(level = "debug", skip_all, fields(number))]
    async fn round(
        &self,
        number: usize,
        run: i64,
        state: &mut EngineState,
        totals: &mut Totals,
    ) -> Result<bool> {
        let engine = self.engine;
        self.invalidate(number, state)?;
        let loaded = engine.look(self.specified, state, &self.options.selection)?;
        if !loaded.is_torn {
            state.sources.keep_list(&engine.course);
        }
        if self.is_whole() {
            engine.report_plan(self.specified, &loaded, state);
        }
        state.publisher.plan(&loaded.all_destinations);
        let settings = &engine.course.settings;
        let recipes = loaded.recipes(self.specified, settings, &state.sources);
        let decider = Decider::new(
            &engine.store,
            &state.sources.snapshot,
            &state.latest,
            self.options.force.clone(),
            &recipes,
        );
        let basis = Basis {
            course: &engine.course,
            specified: self.specified,
            options: self.options,
            loaded: &loaded,
            recipes: &recipes,
            decider: &decider,
            sources: &state.sources,
            up_to_date: &state.up_to_date,
            findings: None,
        };
        let selected = totals.choice.select(&basis, &mut state.publisher)?;
        if number == 0 {
            let actions = selected.iter().filter(|is_selected| **is_selected).count() as u64;
            totals.has_begun = true;
            engine.events.emit(Event::RunStarted {
                run,
                trigger: self.options.trigger.clone(),
                actions,
            });
            engine.report(None, &totals.choice.notes());
        }
        totals.has_errors =
            engine.report(None, &self.also) | engine.report(None, &loaded.diagnostics);
        let session = Session {
            may_force: number == 0,
            postpones: self.is_only_run && number + 1 < ROUNDS,
            // In the last round nothing is left to a next one.
            to_install: engine
                .installer
                .as_ref()
                .filter(|_| number + 1 < ROUNDS)
                .map(|_| (engine.renderers.get(), totals.installed.clone())),
            ..self.session(&state.staging)
        };
        let ended = Round {
            plan: &loaded.plan,
            recipes: &recipes,
            selected: &selected,
            session: &session,
            snapshot: &state.sources.snapshot,
            decider,
            publisher: &mut state.publisher,
            statuses: &mut totals.statuses,
            earlier: &totals.earlier,
            missing_tools: &totals.missing_tools,
            up_to_date: &mut state.up_to_date,
            in_flight: &mut state.in_flight,
            restless: &mut state.restless,
        }
        .run()
        .await?;
        let again = ended.again || loaded.is_torn;
        totals.has_errors |= ended.has_errors;
        totals.cache.local += ended.restored;
        totals.cache.saved_ms += ended.saved_ms;
        totals.untouched = ended.untouched;
        totals.reason = totals.reason.take().or(ended.reason);
        state.learn(ended.latest);
        // Inputs that were discovered while actions were made.
        engine.pass_inputs(self.specified, state);
        if ended.interrupted {
            totals.remaining = Remaining::Interrupted;
            return Ok(false);
        }
        if !ended.to_install.is_empty() {
            self.install(&ended.to_install, state).await?;
            totals.installed.extend(ended.to_install);
            return Ok(true);
        }
        if number + 1 < ROUNDS && (again || self.tries_again(state, totals)) {
            return Ok(true);
        }
        totals.removed += self.clean_up(state, &loaded, totals)?;
        if let Err(error) = self.write_manifests(&mut state.publisher, &loaded, totals) {
            if error.stops_all() {
                return Err(error);
            }
            totals.has_errors |= engine.report(None, &error.diagnostics);
        }
        if self.is_only_run && !again && totals.statuses.values().any(|status| status.is_made()) {
            let spec = &self.specified.spec;
            let note = unignored::note(&engine.course, spec, &loaded.all_destinations);
            engine.report(None, note.as_slice());
        }
        if self.options.is_ordinary() && !again && !totals.has_errors {
            state.idle = Idle::of(&loaded, &state.up_to_date);
        }
        Ok(again)
    }

    /// Installs renderers that stale actions need, and uses them from now on.
    async fn install(&self, names: &BTreeSet<String>, state: &mut EngineState) -> Result<()> {
        let engine = self.engine;
        let Some(installer) = &engine.installer else {
            return Ok(());
        };
        engine
            .renderers
            .replace(tokio::task::block_in_place(|| installer(names))?);
        state.sources.snapshot.set_places(engine.places());
        // Those that are idle know only the renderers from before.
        self.pool.end_idle().await;
        Ok(())
    }

    /// Lets the actions be compared that this round must not take for up to date.
    fn invalidate(&self, number: usize, state: &mut EngineState) -> Result<()> {
        let up_to_date = &mut state.up_to_date;
        match &self.options.force {
            // Actions that are known to be up to date are made again, too.
            Force::Everything if number == 0 => up_to_date.clear(),
            Force::Sources(sources) if number == 0 => up_to_date.invalidate_readers(sources),
            Force::Executions if number == 0 => up_to_date.invalidate_executions(),
            _ => {}
        }
        if self.options.compares_everything {
            up_to_date.clear();
        }
        up_to_date.invalidate_readers(&self.options.only);
        if up_to_date.is_empty() {
            // All actions will be compared with the records.
            state.load_all(&self.engine.store)?;
        }
        Ok(())
    }

    /// Returns whether another round is due because a deck that was set aside is tried again, or was in this round.
    fn tries_again(&self, state: &mut EngineState, totals: &mut Totals) -> bool {
        if !self.is_only_run {
            return false;
        }
        let tries = state.restless.try_one_again();
        // What the last try changed has to be planned, too.
        std::mem::replace(&mut totals.tries, tries) || tries
    }

    /// Returns what all rounds of this run share.
    fn session<'s>(&'s self, staging: &'s Staging) -> Session<'s> {
        let engine = self.engine;
        Session {
            store: &engine.store,
            pool: Arc::clone(&self.pool),
            to_install: None,
            shared: engine.shared.as_ref(),
            farm: engine.farm.clone().map(|farm| FarmUse {
                farm,
                renderers: engine.renderers.get(),
            }),
            kernels_ahead: Arc::clone(&engine.pool.kernels_ahead),
            events: engine.events.clone(),
            cancel: self.cancel.clone(),
            staging,
            course: &engine.course,
            fail_fast: self.options.fail_fast,
            may_force: false,
            postpones: false,
            interrupt: self.interrupt.clone(),
            focus: &self.options.focus,
            reports_everything: self.options.reports_everything || self.reports_unchanged,
            reports_unchanged: self.reports_unchanged,
            is_whole: self.is_whole(),
        }
    }

    /// Returns whether the plan has every action of the course, and all of them may be selected.
    fn is_whole(&self) -> bool {
        let options = self.options;
        options.only.is_empty()
            && options.shard.is_none()
            && options.affected.is_none()
            && options.selection == Selection::default()
    }

    /// Creates empty directories and removes outputs whose source is gone.
    #[tracing::instrument(level = "debug", name = "clean up", skip_all)]
    fn clean_up(
        &self,
        state: &mut EngineState,
        loaded: &Loaded,
        totals: &mut Totals,
    ) -> Result<u64> {
        let is_part = !self.options.only.is_empty() || self.options.shard.is_some();
        if self.cancel.is_cancelled() || is_part {
            return Ok(0);
        }
        let known = state.cleaned.as_ref();
        if known.is_some_and(|known| Arc::ptr_eq(known, &loaded.all_destinations)) {
            return Ok(0);
        }
        let publisher = &mut state.publisher;
        for dir in &loaded.empty_dirs {
            if let Err(error) = publisher.publish_dir(dir) {
                totals.has_errors |= self.engine.report(None, &error.diagnostics);
            }
        }
        if loaded.is_incomplete {
            // A source that could not be read still owns its outputs.
            return Ok(0);
        }
        let course = &self.engine.course;
        let spec_name = course.place.spec_name();
        let spec_name = spec_name.rsplit('/').next().unwrap_or(&spec_name);
        let lists = manifest::unknown(course, publisher, &loaded.target_roots);
        for root in &lists {
            publisher.take_over(root, spec_name)?;
        }
        let (removed, warnings) = publisher.remove_others(&loaded.all_destinations)?;
        totals.has_errors |= self.engine.report(None, &warnings);
        if self.is_whole() {
            manifest::remove_stale(course, publisher, &loaded.target_roots);
        }
        if !lists.is_empty() {
            manifest::note_known(course, publisher, &loaded.target_roots);
        }
        if !warnings.iter().any(Diagnostic::is_error) {
            state.cleaned = Some(Arc::clone(&loaded.all_destinations));
        }
        Ok(removed)
    }

    /// Writes the manifests of the targets, after a build of the whole course that changed something.
    #[tracing::instrument(level = "debug", name = "manifests", skip_all)]
    fn write_manifests(
        &self,
        publisher: &mut Publisher,
        loaded: &Loaded,
        totals: &Totals,
    ) -> Result<()> {
        let course = &self.engine.course;
        let statuses = &totals.statuses;
        let is_changed = statuses.values().any(|status| *status != Status::Fresh);
        if is_changed || totals.removed > 0 {
            manifest::set_due(course)?;
        }
        let is_whole = self.options.writes_manifests && self.is_whole() && !self.options.fast;
        if !is_whole || loaded.is_incomplete || self.cancel.is_cancelled() {
            return Ok(());
        }
        let is_there = |root: &String| publisher.file(root).join(manifest::NAME).exists();
        let is_due =
            !loaded.target_roots.iter().all(is_there) || manifest::is_due_after_run(course);
        if !is_due || !course.settings.output.manifest {
            return Ok(());
        }
        let has_failed = |action: &Arc<Action>| statuses.get(&*action.id) == Some(&Status::Failed);
        self.list(publisher, loaded, &has_failed)
    }

    /// Writes the manifests of the targets without a build: for a watch that was idle for some time.
    pub(super) fn list_outputs(&self, state: &mut EngineState) -> Result<()> {
        let selection = &self.options.selection;
        let loaded = self.engine.look(self.specified, state, selection)?;
        if loaded.is_incomplete || loaded.is_torn {
            return Ok(());
        }
        let EngineState {
            publisher,
            up_to_date,
            ..
        } = state;
        self.list(publisher, &loaded, &|action| {
            up_to_date.results(action).is_none()
        })
    }

    fn list(
        &self,
        publisher: &mut Publisher,
        loaded: &Loaded,
        has_failed: &dyn Fn(&Arc<Action>) -> bool,
    ) -> Result<()> {
        let course = &self.engine.course;
        publisher.load_all()?;
        let failed: HashSet<&RelPath> = loaded
            .plan
            .actions
            .iter()
            .filter(|action| has_failed(action))
            .map(|action| &action.source)
            .collect();
        let failed = loaded
            .placed()
            .filter(|placed| failed.contains(&placed.source))
            .filter_map(|placed| Some(placed.topic?.1))
            .collect();
        let spec_name = course.place.spec_name();
        let targets = loaded.targets();
        manifest::Manifests {
            spec: &self.specified.spec,
            spec_name: spec_name.rsplit('/').next().unwrap_or(&spec_name),
            targets: targets
                .iter()
                .map(|(name, root)| manifest::Target { name, root })
                .collect(),
            placed: loaded.placed().collect(),
            failed,
        }
        .write(course, publisher, &self.engine.store)?;
        manifest::set_done(course)
    }
}
