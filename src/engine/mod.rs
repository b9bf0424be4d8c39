//! The only place that sees plan, store and worker together: what is stale is made, everything is published.

pub mod decide;
pub mod explain;
pub mod index;
mod jobs;
pub mod load;
mod manifest;
mod publish;
mod round;
mod snapshot;
mod staging;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::course::RelPath;
use crate::course::layout::Selection;
use crate::error::{Error, Result};
use crate::events::{ActionKind, Counts, Diagnostic, Event, Events, Severity, Status};
use crate::plan::{Action, Plan};
use crate::store::Store;
use crate::worker::Renderers;
use crate::worker::pool::{Pool, PoolConfig, WorkerState};

use decide::{Decider, Decision, Force};
use load::{Course, Loaded};
use publish::Publisher;
use round::{Round, Session};
use snapshot::Snapshot;
use staging::Staging;

/// How often a run plans again because sources changed while it ran.
const ROUNDS: usize = 5;

/// What a build is asked to do.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// Which outputs.
    pub selection: Selection,
    /// Only outputs that depend on these sources; empty for all.
    pub only: Vec<RelPath>,
    /// Which cached results are not to be used.
    pub force: Force,
    /// Without execution: notebooks, scripts, diagrams and copies only.
    pub fast: bool,
    /// Stop at the first failure.
    pub fail_fast: bool,
    /// What caused the run, as the records keep it.
    pub trigger: String,
}

/// How a build went.
#[derive(Clone, Copy, Debug)]
pub struct Built {
    /// How the actions ended.
    pub counts: Counts,
    /// Whether anything was reported as an error.
    pub has_errors: bool,
    /// How long it took.
    pub duration: Duration,
}

/// An action that is not up to date, for `--check` and `--dry-run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Its identity.
    pub action: String,
    /// What it does.
    pub kind: ActionKind,
    /// The file the author edits.
    pub source: RelPath,
    /// Why.
    pub reasons: Vec<String>,
}

/// A course as it is on disk, and the plan for it.
struct Look {
    snapshot: Snapshot,
    publisher: Publisher,
    loaded: Loaded,
}

/// One course with its records and tools.
pub struct Engine {
    course: Course,
    store: Store,
    renderers: Arc<Renderers>,
    pool: PoolConfig,
    events: Events,
    cancel: CancellationToken,
}

impl Engine {
    /// An engine; no process is started before something needs it.
    pub fn new(
        course: Course,
        store: Store,
        renderers: Arc<Renderers>,
        pool: PoolConfig,
        events: Events,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            course,
            store,
            renderers,
            pool,
            events,
            cancel,
        }
    }

    /// Makes everything that is asked for and not up to date.
    pub async fn build(&self, options: &BuildOptions) -> Result<Built> {
        let started = Instant::now();
        let specified = self.course.specification()?;
        let staging = Staging::create(&self.course.place.state_dir())?;
        let pool = Arc::new(self.start_pool());
        let run = self.store.begin_run(&options.trigger)?;
        self.store.recover()?;
        let mut statuses = HashMap::new();
        let mut removed = 0;
        let mut has_errors = false;
        let mut result = Ok(());
        for round in 0..ROUNDS {
            let Look {
                snapshot,
                mut publisher,
                loaded,
            } = self.look(&specified, &staging, &options.selection)?;
            let decider = Decider::new(&self.store, &snapshot, options.force.clone())?;
            let wanted = wanted(&loaded.plan, options, &decider)?;
            if round == 0 {
                let actions = wanted.iter().filter(|wanted| **wanted).count() as u64;
                self.events.emit(Event::RunStarted {
                    run,
                    trigger: options.trigger.clone(),
                    actions,
                });
            }
            has_errors = self.report(&loaded.diagnostics);
            let session = Session {
                store: &self.store,
                pool: Arc::clone(&pool),
                kernels_ahead: Arc::clone(&self.pool.kernels_ahead),
                events: self.events.clone(),
                cancel: self.cancel.clone(),
                staging: &staging,
                course: &self.course,
                fail_fast: options.fail_fast,
                may_force: round == 0,
            };
            let ended = Round {
                plan: &loaded.plan,
                wanted: &wanted,
                session: &session,
                snapshot: &snapshot,
                decider,
                publisher: &mut publisher,
                statuses: &mut statuses,
            }
            .run()
            .await;
            match ended {
                Ok(ended) if ended.again && round + 1 < ROUNDS => continue,
                Ok(ended) => {
                    has_errors |= ended.has_errors;
                    removed = self.clean_up(&mut publisher, &loaded, options)?;
                    self.write_manifests(&specified, &publisher, &loaded, options, &statuses)?;
                }
                Err(error) => result = Err(error),
            }
            break;
        }
        pool.shutdown().await;
        // Sockets and profiles of this process's workers; nobody else uses them.
        let _ = std::fs::remove_dir_all(&self.pool.runtime_dir);
        let counts = count(&statuses, removed);
        let duration = started.elapsed();
        let duration_ms = duration.as_millis() as u64;
        self.store.finish_run(run, &counts, duration_ms)?;
        result?;
        self.events.emit(Event::RunFinished {
            run,
            counts,
            duration_ms,
        });
        Ok(Built {
            counts,
            has_errors: has_errors || counts.failed > 0,
            duration,
        })
    }

    /// What a build would have to do; nothing is written or started.
    pub fn stale(&self, options: &BuildOptions) -> Result<Vec<Stale>> {
        let specified = self.course.specification()?;
        let staging = Staging::create(&self.course.place.state_dir())?;
        let Look {
            snapshot,
            mut publisher,
            loaded,
        } = self.look(&specified, &staging, &options.selection)?;
        self.report(&loaded.diagnostics);
        let decider = Decider::new(&self.store, &snapshot, options.force.clone())?;
        let wanted = wanted(&loaded.plan, options, &decider)?;
        let states = explain::states(&loaded.plan, &decider, &mut publisher)?;
        let mut stale = Vec::new();
        for (index, state) in states
            .iter()
            .enumerate()
            .filter(|(index, _)| wanted[*index])
        {
            let action = &loaded.plan.actions[index];
            let reasons = match state {
                explain::State::Blocked(on) => vec![format!("`{on}` is stale")],
                explain::State::Decided(decided) => match &decided.decision {
                    Decision::Fresh(_) => continue,
                    Decision::Restorable(_) => {
                        vec!["an output is missing or was changed; the cache has it".to_owned()]
                    }
                    Decision::Stale(reasons) => reasons.clone(),
                    Decision::Remembered(_) => {
                        vec!["it failed, and nothing has changed since".to_owned()]
                    }
                    Decision::Invalid(_) => vec!["its source has an error".to_owned()],
                },
            };
            stale.push(Stale {
                action: action.id.clone(),
                kind: action.kind,
                source: action.source.clone(),
                reasons,
            });
        }
        self.store.record_files(snapshot.take_changed_records())?;
        Ok(stale)
    }

    /// Why the outputs of a source, or an output, are up to date or not.
    pub fn explain(&self, path: &std::path::Path) -> Result<Vec<explain::Explained>> {
        let specified = self.course.specification()?;
        let staging = Staging::create(&self.course.place.state_dir())?;
        let Look {
            snapshot,
            mut publisher,
            loaded,
        } = self.look(&specified, &staging, &Selection::default())?;
        let decider = Decider::new(&self.store, &snapshot, Force::Nothing)?;
        let states = explain::states(&loaded.plan, &decider, &mut publisher)?;
        let name = match RelPath::below(&self.course.place.root, path) {
            Some(relative) => relative.to_string(),
            None => path.display().to_string(),
        };
        Ok(explain::about(&name, &loaded.plan, &states, &decider))
    }

    /// Writes what the targets contain, after a build of the whole course that changed something.
    fn write_manifests(
        &self,
        specified: &load::Specified,
        publisher: &Publisher,
        loaded: &Loaded,
        options: &BuildOptions,
        statuses: &HashMap<String, Status>,
    ) -> Result<()> {
        let is_whole = options.only.is_empty()
            && !options.fast
            && options.selection == Selection::default()
            && self.course.settings.output.manifest;
        if !is_whole || loaded.is_incomplete || self.cancel.is_cancelled() {
            return Ok(());
        }
        let is_there = |root: &String| publisher.file(root).join(manifest::NAME).exists();
        let is_changed = statuses.values().any(|status| *status != Status::Fresh);
        if !is_changed && loaded.targets.iter().all(|(_, root)| is_there(root)) {
            return Ok(());
        }
        let failed: HashSet<&RelPath> = loaded
            .plan
            .actions
            .iter()
            .filter(|action| statuses.get(&action.id) == Some(&Status::Failed))
            .map(|action| &action.source)
            .collect();
        let failed = loaded
            .placed
            .iter()
            .filter(|placed| failed.contains(&placed.source))
            .filter_map(|placed| Some(placed.topic.as_ref()?.1.as_str()))
            .collect();
        let spec_name = self.course.place.spec_name();
        manifest::Manifests {
            spec: &specified.spec,
            spec_name: spec_name.rsplit('/').next().unwrap_or(&spec_name),
            course_root: &self.course.place.root,
            targets: loaded
                .targets
                .iter()
                .map(|(name, root)| manifest::Target { name, root })
                .collect(),
            placed: &loaded.placed,
            failed,
        }
        .write(publisher, &self.store)
    }

    fn start_pool(&self) -> Pool {
        if let Some(all) = self.pool.runtime_dir.parent() {
            staging::sweep(all);
        }
        let store = self.store.clone();
        Pool::new(
            Arc::clone(&self.renderers),
            self.pool.clone(),
            Arc::new(move |event| {
                let Some(pid) = event.pid else { return };
                let state = match event.state {
                    WorkerState::Started => "started",
                    WorkerState::Busy => "busy",
                    WorkerState::Idle => "idle",
                    WorkerState::Stopped => "stopped",
                };
                if let Err(error) = store.note_worker(event.kind, pid, state) {
                    tracing::debug!(%error, "the worker is not in the records");
                }
            }),
        )
    }

    /// Looks at the course as it is on disk now.
    fn look(
        &self,
        specified: &load::Specified,
        staging: &Staging,
        selection: &Selection,
    ) -> Result<Look> {
        let publisher = Publisher::new(
            &self.course.place.root,
            &self.course.output_dirs(&specified.spec),
            self.course.scope(),
            staging.path().to_path_buf(),
            self.store.clone(),
            self.events.clone(),
        )?;
        let snapshot = Snapshot::new(&self.course.place.root, self.store.files()?);
        let loaded = self.course.load(
            specified,
            &snapshot,
            &publisher.written_back(),
            selection,
            &self.renderers,
        )?;
        Ok(Look {
            snapshot,
            publisher,
            loaded,
        })
    }

    fn report(&self, diagnostics: &[Diagnostic]) -> bool {
        for diagnostic in diagnostics {
            self.events.emit(Event::Diagnostic(diagnostic.clone()));
        }
        diagnostics
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Creates empty directories and removes outputs whose source is gone.
    fn clean_up(
        &self,
        publisher: &mut Publisher,
        loaded: &Loaded,
        options: &BuildOptions,
    ) -> Result<u64> {
        if self.cancel.is_cancelled() || !options.only.is_empty() {
            return Ok(0);
        }
        for dir in &loaded.empty_dirs {
            publisher.publish_dir(dir)?;
        }
        if loaded.is_incomplete {
            // A source that could not be read still owns its outputs.
            return Ok(0);
        }
        let (removed, warnings) =
            publisher.remove_others(&round::wanted_destinations(&loaded.all_destinations))?;
        self.report(&warnings);
        Ok(removed)
    }
}

/// Which actions are asked for.
fn wanted(plan: &Plan, options: &BuildOptions, decider: &Decider<'_>) -> Result<Vec<bool>> {
    let reads = |action: &Action, path: &RelPath| {
        let discovered = decider.latest(&action.id).is_some_and(|latest| {
            latest
                .discovered
                .iter()
                .any(|(found, _)| found == path.as_str())
        });
        action.reads(path) || discovered
    };
    let is_kind = |action: &Action| {
        !(options.fast && matches!(action.kind, ActionKind::Execute | ActionKind::Html))
    };
    let mut wanted: Vec<bool> = plan
        .actions
        .iter()
        .map(|action| {
            let is_asked_for =
                options.only.is_empty() || options.only.iter().any(|path| reads(action, path));
            is_kind(action) && is_asked_for
        })
        .collect();
    for path in &options.only {
        if !plan.actions.iter().any(|action| reads(action, path)) {
            return Err(Error::usage(format!("no output depends on `{path}`")).hint(
                "`--only` takes sources of the course: decks, diagrams, data files, images",
            ));
        }
    }
    // What an action waits for must be there, and what waits for it must follow.
    for (index, action) in plan.actions.iter().enumerate().rev() {
        if wanted[index] {
            for before in &action.after {
                wanted[*before] = true;
            }
        }
    }
    for (index, action) in plan.actions.iter().enumerate() {
        if action.after.iter().any(|before| wanted[*before]) && is_kind(action) {
            wanted[index] = true;
        }
    }
    Ok(wanted)
}

fn count(statuses: &HashMap<String, Status>, removed: u64) -> Counts {
    let mut counts = Counts {
        removed,
        ..Counts::default()
    };
    for status in statuses.values() {
        match status {
            Status::Built => counts.built += 1,
            Status::Restored => counts.restored += 1,
            Status::Fresh => counts.fresh += 1,
            Status::Failed => counts.failed += 1,
            Status::Superseded => counts.superseded += 1,
        }
    }
    counts
}
