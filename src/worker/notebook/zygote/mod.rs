//! Zygotes: processes that have loaded `ipykernel` and modules that decks import, and quickly fork a kernel.
//!
//! For each kernelspec of Python there is one zygote with only `ipykernel`, and at most one more that has imported what
//! recent decks import. The latter is replaced by a new process when other imports would save more time: a process that
//! forks kernels does no further imports. A deck gets a forked kernel only if it cannot distinguish it from a kernel of
//! its own ([`Needs`]). If anything fails, kernels are started by their command.

mod imports;
mod learning;
mod process;
mod record;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::launch::Launcher;
use crate::parallel::lock;
use crate::worker::renderers::KernelSpec;
pub(super) use imports::Needs;
use imports::Trust;
use learning::Learning;
use process::Unusable;
pub(super) use process::Zygote;
use record::Record;

/// After this many failures, the zygotes of a kernelspec are not used any more.
const FAILURES: u32 = 3;
/// How often a zygote is started again without an import that is not possible in it.
const ATTEMPTS: usize = 8;

/// The zygotes that the workers of a pool share; they exist as long as there is a worker.
#[derive(Clone, Debug, Default)]
pub struct SharedZygotes(Arc<Mutex<Weak<Zygotes>>>);

impl SharedZygotes {
    /// Returns the zygotes of the other workers, or new ones.
    pub(super) fn get(&self, runtime_dir: &Path, record: Option<&Path>) -> Arc<Zygotes> {
        let mut shared = lock(&self.0);
        if let Some(zygotes) = shared.upgrade() {
            return zygotes;
        }
        let zygotes = Arc::new(Zygotes {
            runtime_dir: runtime_dir.to_owned(),
            record: record.map(|path| Arc::new(Record::new(path.to_owned()))),
            environments: Mutex::default(),
        });
        *shared = Arc::downgrade(&zygotes);
        zygotes
    }
}

/// The zygotes of all kernelspecs.
#[derive(Debug)]
pub(super) struct Zygotes {
    runtime_dir: PathBuf,
    record: Option<Arc<Record>>,
    environments: Mutex<HashMap<String, Arc<Environment>>>,
}

/// The zygotes of one kernelspec.
#[derive(Debug)]
struct Environment {
    name: String,
    spec: KernelSpec,
    runtime_dir: PathBuf,
    record: Option<Arc<Record>>,
    /// The zygote without imports of decks. Locked while it starts, so that decks that run at the same time wait for
    /// one process.
    base: tokio::sync::Mutex<Option<Arc<Zygote>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    learned: Option<Arc<Zygote>>,
    learning: Learning,
    building: Option<Building>,
}

/// A zygote that is being started.
#[derive(Debug)]
struct Building {
    process: JoinHandle<()>,
    /// Closed when it is ready.
    done: watch::Receiver<()>,
}

impl Zygotes {
    /// Returns the fastest way to start a kernel that a deck cannot distinguish from one of its own.
    pub(super) async fn launcher(&self, name: &str, spec: &KernelSpec, needs: &Needs) -> Launcher {
        let environment = self.environment(name, spec);
        if needs.trust == Trust::Nothing {
            return Launcher::Command;
        }
        let learned = environment.state().learned.clone();
        if let Some(zygote) = learned
            && zygote.is_alive()
            && zygote.suits(needs)
        {
            return Launcher::Zygote(zygote);
        }
        match environment.base().await {
            Some(zygote) if zygote.suits(needs) => Launcher::Zygote(zygote),
            _ => Launcher::Command,
        }
    }

    /// Records the imports of an executed deck.
    pub(super) fn note(&self, name: &str, spec: &KernelSpec, needs: &Needs) {
        if needs.trust == Trust::Imports {
            let environment = self.environment(name, spec);
            environment.learn_of(|learning| learning.note(needs.imports.clone()));
        }
    }

    /// Returns the expected needs of a deck of this course, for the first kernel: all imports that earlier processes
    /// recorded.
    pub(super) fn expected(&self, name: &str, spec: &KernelSpec) -> Needs {
        let environment = self.environment(name, spec);
        let imports = environment.state().learning.all();
        Needs {
            imports,
            ..Needs::default()
        }
    }

    /// Starts a zygote with the imports of recent decks, if that is worthwhile. Returns when it is ready.
    pub(super) async fn learn(&self, name: &str, spec: &KernelSpec) {
        if let Some(mut done) = self.environment(name, spec).start_building(false) {
            // The sender is dropped when it is ready.
            let _ = done.changed().await;
        }
    }

    /// Does the same while decks wait for kernels, which requires a larger benefit. Returns at once.
    pub(super) fn learn_while_busy(&self, name: &str, spec: &KernelSpec) {
        self.environment(name, spec).start_building(true);
    }

    /// Stops using a zygote whose kernel failed.
    pub(super) async fn distrust(
        &self,
        name: &str,
        spec: &KernelSpec,
        zygote: &Arc<Zygote>,
        reason: &str,
    ) {
        tracing::info!(
            kernel = name,
            reason,
            "a forked kernel could not be used; it is started anew"
        );
        let environment = self.environment(name, spec);
        let mut base = environment.base.lock().await;
        let is_same = |other: &Option<Arc<Zygote>>| {
            other
                .as_ref()
                .is_some_and(|other| Arc::ptr_eq(other, zygote))
        };
        if is_same(&base) {
            *base = None;
        }
        let mut state = environment.state();
        if !zygote.is_outdated() {
            state.failures += 1;
        }
        if is_same(&state.learned) {
            state.learned = None;
            state.learning.forget_costs();
        }
    }

    /// Ends all zygotes, and waits until they have ended.
    pub(super) async fn end(self) {
        let environments = self
            .environments
            .lock()
            .map(|mut all| std::mem::take(&mut *all));
        for environment in environments.unwrap_or_default().into_values() {
            let (building, learned) = {
                let mut state = environment.state();
                (state.building.take(), state.learned.take())
            };
            if let Some(building) = building {
                building.process.abort();
                let _ = building.process.await;
            }
            let base = environment.base.lock().await.take();
            for zygote in [base, learned]
                .into_iter()
                .flatten()
                .filter_map(Arc::into_inner)
            {
                zygote.end().await;
            }
        }
    }

    fn environment(&self, name: &str, spec: &KernelSpec) -> Arc<Environment> {
        let mut all = lock(&self.environments);
        let new = || Environment {
            name: name.to_owned(),
            spec: spec.clone(),
            runtime_dir: self.runtime_dir.clone(),
            record: self.record.clone(),
            base: tokio::sync::Mutex::default(),
            state: Mutex::new(State {
                learning: self
                    .record
                    .as_ref()
                    .and_then(|record| record.read(name, &spec.fingerprint))
                    .unwrap_or_default(),
                ..State::default()
            }),
        };
        Arc::clone(
            all.entry(name.to_owned())
                .or_insert_with(|| Arc::new(new())),
        )
    }
}

impl Drop for Zygotes {
    fn drop(&mut self) {
        let all = self
            .environments
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for environment in all.values() {
            if let Some(building) = environment.state().building.take() {
                building.process.abort();
            }
        }
    }
}

impl Environment {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Changes the record of imports, and saves it for later processes.
    fn learn_of(&self, change: impl FnOnce(&mut Learning)) {
        let mut state = self.state();
        let before = state.learning.clone();
        change(&mut state.learning);
        if let Some(record) = &self.record
            && state.learning != before
        {
            let (record, learning) = (Arc::clone(record), state.learning.clone());
            let (name, fingerprint) = (self.name.clone(), self.spec.fingerprint.clone());
            tokio::task::spawn_blocking(move || record.write(&name, &fingerprint, learning));
        }
    }

    /// Returns the zygote without imports of decks, which is started if needed.
    async fn base(&self) -> Option<Arc<Zygote>> {
        let mut base = self.base.lock().await;
        if let Some(zygote) = base.as_ref().filter(|zygote| zygote.is_alive()) {
            return Some(Arc::clone(zygote));
        }
        if self.state().failures >= FAILURES {
            return None;
        }
        let started =
            Zygote::start(&self.name, &self.spec, &self.runtime_dir, &BTreeSet::new()).await;
        *base = match started {
            Ok(zygote) => Some(Arc::new(zygote)),
            Err(Unusable::Killed(reason)) => {
                tracing::info!(kernel = self.name, reason, "a zygote was killed");
                self.state().failures += 1;
                None
            }
            Err(Unusable::Zygote(reason) | Unusable::Import { reason, .. }) => {
                // The next one would fail for the same reason.
                self.state().failures = FAILURES;
                tracing::info!(
                    kernel = self.name,
                    reason,
                    "kernels are not forked, but started by their command"
                );
                None
            }
        };
        base.clone()
    }

    /// Starts a zygote with the imports of recent decks in the background, if that is worthwhile. Returns a channel
    /// that is closed when the zygote being started is ready.
    fn start_building(self: &Arc<Self>, is_busy: bool) -> Option<watch::Receiver<()>> {
        let mut state = self.state();
        if let Some(building) = &state.building
            && !building.process.is_finished()
        {
            return Some(building.done.clone());
        }
        if state.failures >= FAILURES {
            return None;
        }
        let learned = state.learned.as_ref().filter(|zygote| zygote.is_alive());
        let current = learned.map(|zygote| zygote.imports().keys().cloned().collect());
        let wanted = state
            .learning
            .better_than(&current.unwrap_or_default(), is_busy)?;
        let (sender, done) = watch::channel(());
        let environment = Arc::clone(self);
        let process = tokio::spawn(async move {
            environment.build(wanted).await;
            drop(sender);
        });
        state.building = Some(Building {
            process,
            done: done.clone(),
        });
        Some(done)
    }

    /// Replaces the zygote that has imports of decks.
    async fn build(self: Arc<Self>, mut wanted: BTreeSet<String>) {
        for _ in 0..ATTEMPTS {
            if wanted.is_empty() {
                return;
            }
            match Zygote::start(&self.name, &self.spec, &self.runtime_dir, &wanted).await {
                Ok(zygote) => {
                    self.learn_of(|learning| learning.imported(&wanted, zygote.imports()));
                    // The previous one lives as long as it has kernels.
                    self.state().learned = Some(Arc::new(zygote));
                    return;
                }
                Err(Unusable::Import { unit, reason }) => {
                    tracing::debug!(unit, reason, "kernels import it themselves");
                    wanted.remove(&unit);
                    self.learn_of(|learning| learning.reject(unit));
                }
                Err(Unusable::Killed(reason)) => {
                    tracing::info!(kernel = self.name, reason, "a zygote was killed");
                    return;
                }
                Err(Unusable::Zygote(reason)) => {
                    tracing::info!(kernel = self.name, reason, "no imports are made ahead");
                    self.state().failures = FAILURES;
                    return;
                }
            }
        }
    }
}
