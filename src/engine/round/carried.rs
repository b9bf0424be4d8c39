//! Work that outlives a round: when something changes, the round ends and the next one takes over what still counts.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use crate::error::{Error, Result};
use crate::events::{Event, Status};
use crate::plan::ActionIndex;
use crate::store::{JobEnd, JobId};
use crate::worker::request::OutcomeStatus;
use crate::worker::{Outcome, WorkerError};

use super::super::decide::Results;
use super::super::snapshot::now_ns;
use super::{Answer, LEASE_MS, Progressing, Running, State, millis};

/// Jobs that run, and jobs that were queued, when a round ended.
#[derive(Default)]
pub struct Carried {
    /// Everything that workers were asked.
    pub(super) workers: JoinSet<Answer>,
    /// What of that is still wanted, or may be.
    pub(super) running: HashMap<JobId, Running>,
    /// Cancelled, not yet answered.
    dying: HashMap<JobId, Running>,
    /// Queued by the last round; some may be wanted no more.
    queued: Vec<JobId>,
    /// How many requests were made.
    pub(super) requests: u64,
}

impl Carried {
    /// Ends everything.
    pub async fn shutdown(&mut self) {
        self.workers.shutdown().await;
        self.running.clear();
        self.dying.clear();
    }
}

impl Progressing<'_, '_> {
    /// The results of an action about which nothing changed since it was up to date.
    pub(super) fn untouched(&self, index: ActionIndex) -> Option<Results> {
        let action = &self.round.plan.actions[index];
        let is_untouched =
            |before: &ActionIndex| matches!(self.states[*before], State::Untouched(_));
        if !action.after.iter().all(is_untouched) {
            return None;
        }
        self.round.settled.results(action).cloned()
    }

    /// Cancels work of earlier rounds that this one turned out not to want, and takes back its queued jobs.
    pub(super) fn drop_orphans(&mut self) -> Result<()> {
        let queued = std::mem::take(&mut self.round.carried.queued);
        if self.orphans.is_empty() && queued.is_empty() {
            return Ok(());
        }
        if !self.round.session.is_whole {
            // Nobody knows yet: the next whole round will.
            self.round.carried.queued = queued;
            return Ok(());
        }
        for (id, running) in std::mem::take(&mut self.orphans) {
            tracing::debug!(action = %running.queued.action.id, "superseded");
            running.cancel.cancel();
            self.superseded_event(&running);
            self.round.carried.dying.insert(id, running);
        }
        let abandoned: Vec<JobId> = queued
            .into_iter()
            .filter(|id| !self.queued.contains(*id) && !self.running.contains_key(id))
            .collect();
        Ok(self.round.session.store.abandon(abandoned)?)
    }

    fn superseded_event(&self, running: &Running) {
        running.span.record("status", Status::Superseded.name());
        let action = &running.queued.action;
        self.round.session.events.emit(Event::ActionFinished {
            action: action.id.to_string(),
            kind: action.kind,
            source: action.source.to_string(),
            status: Status::Superseded,
            duration_ms: millis(running.started.elapsed()),
            replayed: false,
            cause: None,
            not_made: 0,
        });
    }

    /// Takes an answer of a worker, whatever became of the job meanwhile.
    pub(super) fn take(&mut self, answer: Result<Answer, JoinError>) -> Result<()> {
        let (id, result) = answer.map_err(|error| {
            Error::bug(format!("the task that waits for a worker failed: {error}"))
        })?;
        self.round.restless.end(id, now_ns());
        if let Some(dying) = self.round.carried.dying.remove(&id) {
            let _ = std::fs::remove_dir_all(&dying.out);
            let store = self.round.session.store;
            store.finish(&dying.lease, JobEnd::Superseded, None)?;
            return Ok(());
        }
        if let Some(orphan) = self.orphans.remove(&id) {
            return self.keep_for_later(&orphan, result);
        }
        self.finish(id, result)
    }

    /// Records the result of a job that this round did not ask for: whoever asks next finds it in the cache.
    fn keep_for_later(
        &mut self,
        orphan: &Running,
        answer: Result<Outcome, WorkerError>,
    ) -> Result<()> {
        let store = self.round.session.store;
        let action = Arc::clone(&orphan.queued.action);
        match answer {
            Ok(outcome) if outcome.status != OutcomeStatus::Cancelled => {
                match self.discovered(&action, orphan, &outcome) {
                    Some(discovered) => {
                        let outputs = self.stored(orphan, &outcome)?;
                        self.remember(orphan, &outcome, &discovered, outputs)?;
                    }
                    None => {
                        store.finish(&orphan.lease, JobEnd::Superseded, None)?;
                    }
                }
            }
            _ => {
                store.finish(&orphan.lease, JobEnd::Superseded, None)?;
            }
        }
        let _ = std::fs::remove_dir_all(&orphan.out);
        Ok(())
    }

    /// Holds the leases of everything that runs.
    pub(super) fn renew(&self) -> Result<()> {
        let all = self.running.values().chain(self.orphans.values());
        for running in all.chain(self.round.carried.dying.values()) {
            self.round.session.store.renew(&running.lease, LEASE_MS)?;
        }
        Ok(())
    }

    /// Nothing new is begun, and what runs is cancelled.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        for orphan in self.orphans.values() {
            orphan.cancel.cancel();
        }
    }

    /// Leaves to the next round what is not done.
    pub(super) fn leave(&mut self) {
        let carried = &mut *self.round.carried;
        carried.queued.extend(self.queued.ids());
        carried.running.extend(self.orphans.drain());
        carried.running.extend(self.running.drain());
    }

    /// Remembers what is up to date now; gives how many actions were not even looked at.
    pub(super) fn settle_states(&mut self) -> u64 {
        let plan = self.round.plan;
        let mut untouched = 0;
        for (index, state) in self.states.iter_mut().enumerate() {
            let action = &plan.actions[index];
            match state {
                // What was made in this run is counted as that.
                State::Untouched(_) if self.round.statuses.contains_key(&*action.id) => {}
                State::Untouched(_) => match self.round.earlier.made(&action.id) {
                    Some(status) => {
                        self.round.statuses.insert(action.id.to_string(), status);
                    }
                    None => untouched += 1,
                },
                State::Done(results) => {
                    let found = self.found.remove(&index).unwrap_or_default();
                    let results = std::mem::take(results);
                    self.round.settled.settle(action, results, found);
                }
                // An action that was not asked for may be up to date all the same; one that began and did not end is not.
                State::Without if !self.round.wanted[index] => {}
                State::Without | State::Unplaced(_) | State::Waiting | State::Working => {
                    self.round.settled.unsettle(&action.id);
                }
            }
        }
        self.round.settled.keep(&plan.actions);
        untouched
    }
}
