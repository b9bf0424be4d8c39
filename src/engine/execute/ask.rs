//! Asks the shared cache for the results of stale actions, many at once and beside the work. What it has is added to the
//! records; then the action is compared with these again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use crate::digest::Digest;
use crate::error::Result;
use crate::plan::ActionIndex;
use crate::remote::{Entry, Remote, next_key};
use crate::store::Store;

use super::super::shared;
use super::{Execution, Queued};

/// The number of requests at once.
const AT_ONCE: usize = 24;
/// How many entries are read for one action, whose results differ in the contents of discovered files.
const DEPTH: u32 = 8;

/// The actions of a round for which the shared cache is asked.
pub(super) struct Asks {
    tasks: JoinSet<(ActionIndex, Answer)>,
    waiting: HashMap<ActionIndex, Asked>,
    /// The actions that were asked for; each only once in a round.
    done: HashSet<ActionIndex>,
    slots: Arc<Semaphore>,
}

/// An action for which the shared cache is asked.
struct Asked {
    queued: Queued,
    /// The key of the entry that was read last.
    key: Digest,
    depth: u32,
}

/// An answer.
pub(super) enum Answer {
    /// There is no entry, or none that can be used.
    Missed,
    /// There is an entry, which depends on files that have to be compared.
    Found(Box<Entry>),
    /// The result is in the records now.
    Recorded {
        /// How many bytes came.
        bytes: u64,
        /// How long it took to make it, in milliseconds.
        saved_ms: u64,
    },
}

impl Asks {
    pub(super) fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            waiting: HashMap::new(),
            done: HashSet::new(),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Returns whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns whether the result of an action was asked for.
    pub(super) fn was_asked_for(&self, index: ActionIndex) -> bool {
        self.done.contains(&index)
    }

    /// Waits for an answer; `None` if there is none to wait for.
    pub(super) async fn next(&mut self) -> Option<Result<(ActionIndex, Answer), JoinError>> {
        self.tasks.join_next().await
    }

    fn spawn(&mut self, index: ActionIndex, ask: impl FnOnce() -> Answer + Send + 'static) {
        let slots = Arc::clone(&self.slots);
        self.tasks.spawn(async move {
            let _slot = slots.acquire_owned().await;
            let answer = tokio::task::spawn_blocking(ask).await;
            // A panic there has been reported.
            (index, answer.unwrap_or(Answer::Missed))
        });
    }
}

impl Execution<'_, '_> {
    /// Begins to ask for the results of stale actions. Returns those that are not asked for.
    pub(super) fn ask(&mut self, stale: Vec<Queued>) -> Vec<Queued> {
        let session = self.round.session;
        let Some(shared) = session.shared else {
            return stale;
        };
        let mut others = Vec::new();
        for queued in stale {
            let index = queued.index;
            let is_focus = queued.urgency.priority > 0;
            if self.is_forced(&queued.action)
                || !shared.is_asked_for(is_focus, session.focus.len())
                || !self.asks.done.insert(index)
            {
                others.push(queued);
                continue;
            }
            let key = queued.decided.key;
            let asked = Asked {
                queued,
                key,
                depth: 0,
            };
            self.look_up(index, asked);
        }
        others
    }

    /// Reads the entry with the key of an action.
    fn look_up(&mut self, index: ActionIndex, asked: Asked) {
        let Some(shared) = self.round.session.shared else {
            return;
        };
        let remote = shared.remote().clone();
        let fetch = self.fetching(remote.clone(), &asked);
        let key = asked.key;
        self.asks.spawn(index, move || match remote.find(&key) {
            None => Answer::Missed,
            Some(entry) if entry.discovered.is_empty() => fetch(entry),
            Some(entry) => Answer::Found(Box::new(entry)),
        });
        if asked.depth == 0 {
            self.schedule.asked(index);
        }
        self.asks.waiting.insert(index, asked);
    }

    /// Returns what fetches the files of an entry of an action, and adds the result to the records.
    fn fetching(
        &self,
        remote: Remote,
        asked: &Asked,
    ) -> impl FnOnce(Entry) -> Answer + Send + 'static {
        let store = self.round.session.store.clone();
        let action = Arc::clone(&asked.queued.action);
        let key = asked.queued.decided.key;
        move |entry| {
            let has = |name: &str| entry.files.iter().any(|file| file.name == name);
            let is_whole =
                entry.has_failed || action.outputs.iter().all(|output| has(&output.name));
            if entry.kind != action.kind || !is_whole {
                return Answer::Missed;
            }
            match record(&remote, &store, &action.id, &key, entry) {
                Some((bytes, saved_ms)) => Answer::Recorded { bytes, saved_ms },
                None => Answer::Missed,
            }
        }
    }

    /// Handles an answer, and those that came at the same time.
    pub(super) fn take_answer(
        &mut self,
        first: Result<(ActionIndex, Answer), JoinError>,
    ) -> Result<()> {
        let mut missed = Vec::new();
        let mut next = Some(first);
        while let Some(answer) = next {
            if let Ok((index, answer)) = answer {
                missed.extend(self.answered(index, answer));
            }
            next = self.asks.tasks.try_join_next();
        }
        self.warn_of_shared();
        self.enqueue(missed)
    }

    /// Handles the answer about an action. Returns the action if it has to be made.
    fn answered(&mut self, index: ActionIndex, answer: Answer) -> Option<Queued> {
        let mut asked = self.asks.waiting.remove(&index)?;
        let shared = self.round.session.shared?;
        match answer {
            Answer::Recorded { bytes, saved_ms } => {
                shared.had(bytes, saved_ms);
                self.schedule.check_again(index);
                None
            }
            Answer::Found(entry) => {
                let decider = &self.round.decider;
                if decider.changed_discovery(&entry.discovered).is_none() {
                    let fetch = self.fetching(shared.remote().clone(), &asked);
                    self.asks.spawn(index, move || fetch(*entry));
                    self.asks.waiting.insert(index, asked);
                    return None;
                }
                asked.key = next_key(&asked.key, &decider.as_now(&entry.discovered));
                asked.depth += 1;
                if asked.depth < DEPTH {
                    self.look_up(index, asked);
                    return None;
                }
                Some(asked.missed(shared))
            }
            Answer::Missed => Some(asked.missed(shared)),
        }
    }

    /// Stops asking: what was asked for is made.
    fn stop_asking(&mut self) -> Result<()> {
        self.asks.tasks.detach_all();
        let waiting = std::mem::take(&mut self.asks.waiting).into_values();
        let mut missed: Vec<Queued> = waiting.map(|asked| asked.queued).collect();
        missed.sort_by_key(|queued| queued.index);
        self.warn_of_shared();
        self.enqueue(missed)
    }

    /// Stops asking, since the run stops.
    pub(super) fn supersede_asked(&mut self) {
        self.asks.tasks.detach_all();
        for index in std::mem::take(&mut self.asks.waiting).into_keys() {
            self.supersede(index, Duration::ZERO);
        }
    }

    /// Records how long nothing ran while the shared cache was asked. If that was too long, it is not asked any more.
    pub(super) fn note_waiting(&mut self, began: Option<Instant>) -> Result<()> {
        let Some((began, shared)) = began.zip(self.round.session.shared) else {
            return Ok(());
        };
        shared.waited(began.elapsed());
        if !self.asks.is_empty() && !shared.remote().is_readable() {
            return self.stop_asking();
        }
        Ok(())
    }

    /// Returns the present if nothing runs while the shared cache is asked, and how long that may go on.
    pub(super) fn waiting_for_shared(&self) -> (Option<Instant>, Duration) {
        let shared = self.round.session.shared;
        let waits = !self.asks.is_empty() && self.schedule.running() == 0;
        match shared.filter(|_| waits) {
            Some(shared) => (Some(Instant::now()), shared.remaining()),
            None => (None, Duration::MAX),
        }
    }

    fn warn_of_shared(&self) {
        if let Some(warning) = self
            .round
            .session
            .shared
            .and_then(|shared| shared.take_warning())
        {
            self.round.session.warn(warning);
        }
    }
}

impl Asked {
    fn missed(self, shared: &shared::Shared) -> Queued {
        shared.had_not();
        Queued {
            shared_key: self.key,
            ..self.queued
        }
    }
}

/// Fetches the files of an entry into the store, and records the result of an action. Returns how many bytes came, and how
/// long it took to make the result; `None` if that failed.
fn record(
    remote: &Remote,
    store: &Store,
    action: &str,
    key: &Digest,
    entry: Entry,
) -> Option<(u64, u64)> {
    let has = |digest: &Digest| store.has(digest).unwrap_or(false);
    let bytes = remote.fetch(&entry, has, |bytes| store.put(bytes).ok())?;
    let (kind, saved_ms) = (entry.kind, entry.duration_ms);
    let result = shared::recorded(entry);
    store.record_result(action, kind, key, &result).ok()?;
    Some((bytes, saved_ms))
}
