//! Jobs that outlive a round: when something changes, the round ends and the next one takes over those that are still
//! needed.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use crate::clock::now_ns;
use crate::error::{Error, Result};
use crate::events::{Event, Events, Status};
use crate::store::{JobEnd, JobId, Store};
use crate::worker::request::OutcomeStatus;
use crate::worker::{Outcome, WorkerError};

use super::{ActionState, Answer, Execution, LEASE_MS, Running, millis};

/// Jobs in flight. They outlive a round: when something changes, the round ends, and the next one takes them over.
#[derive(Default)]
pub(crate) struct InFlight {
    /// The tasks that wait for the answers of workers.
    pub(super) workers: JoinSet<Answer>,
    /// Jobs that run and are needed, or may be.
    pub(super) running: HashMap<JobId, Running>,
    /// Jobs that were cancelled, without an answer yet.
    cancelled: HashMap<JobId, Running>,
    /// Jobs that the last round queued and that have not started.
    pub(super) queued: Vec<JobId>,
    /// The number of requests so far.
    pub(super) requests: u64,
}

impl InFlight {
    /// Ends all jobs and their leases: otherwise no process, not even this one, could run them until the leases expire.
    pub(crate) async fn shutdown(&mut self, store: &Store, events: &Events) {
        self.workers.shutdown().await;
        for running in self.running.drain().map(|(_, running)| running) {
            running.report_superseded(events);
            running.end_lease(store);
        }
        for cancelled in self.cancelled.drain().map(|(_, cancelled)| cancelled) {
            cancelled.end_lease(store);
        }
    }
}

impl Running {
    /// Ends the lease without a result. Errors are ignored: the store may be what failed, and the lease expires.
    fn end_lease(&self, store: &Store) {
        let _ = store.finish(&self.lease, JobEnd::Superseded, None);
    }

    fn report_superseded(&self, events: &Events) {
        self.span.record("status", Status::Superseded.name());
        let action = &self.queued.action;
        events.emit(Event::ActionFinished {
            action: action.id.to_string(),
            kind: action.kind,
            source: action.source.to_string(),
            status: Status::Superseded,
            duration_ms: millis(self.started.elapsed()),
            replayed: false,
            cause: None,
            not_made: 0,
            machine: None,
        });
    }
}

impl Execution<'_, '_> {
    /// Cancels running jobs of earlier rounds that this one does not need, and takes back queued ones.
    pub(super) fn abandon(&mut self, running: Vec<JobId>, queued: Vec<JobId>) -> Result<()> {
        for job in running {
            if let Some(running) = self.round.in_flight.running.remove(&job) {
                tracing::debug!(action = %running.queued.action.id, "superseded");
                running.cancel.cancel();
                running.report_superseded(&self.round.session.events);
                self.round.in_flight.cancelled.insert(job, running);
            }
        }
        Ok(self.round.session.store.abandon(queued)?)
    }

    /// Handles the answer of a worker, also for jobs that were cancelled or are not needed any more.
    pub(super) fn take(&mut self, answer: Result<Answer, JoinError>) -> Result<()> {
        let (id, result) = answer.map_err(|error| {
            Error::bug(format!("the task that waits for a worker failed: {error}"))
        })?;
        self.round.restless.end(id, now_ns());
        if let Some(cancelled) = self.round.in_flight.cancelled.remove(&id) {
            let _ = std::fs::remove_dir_all(&cancelled.out);
            let store = self.round.session.store;
            store.finish(&cancelled.lease, JobEnd::Superseded, None)?;
            return Ok(());
        }
        if self.schedule.earlier_ended(id)
            && let Some(running) = self.round.in_flight.running.remove(&id)
        {
            return self.keep_for_later(&running, result);
        }
        self.finish(id, result)
    }

    /// Records the result of a job that this round does not need, so that a later build finds it in the cache.
    fn keep_for_later(
        &mut self,
        running: &Running,
        answer: Result<Outcome, WorkerError>,
    ) -> Result<()> {
        let store = self.round.session.store;
        let action = Arc::clone(&running.queued.action);
        match answer {
            Ok(outcome) if outcome.status != OutcomeStatus::Cancelled => {
                match self.discovered(&action, running, &outcome) {
                    Some(discovered) => {
                        let outputs = self.stored(running, &outcome)?;
                        self.remember(running, &outcome, &discovered, outputs)?;
                    }
                    None => {
                        store.finish(&running.lease, JobEnd::Superseded, None)?;
                    }
                }
            }
            _ => {
                store.finish(&running.lease, JobEnd::Superseded, None)?;
            }
        }
        let _ = std::fs::remove_dir_all(&running.out);
        Ok(())
    }

    /// Renews the leases of all jobs in flight.
    pub(super) fn renew(&self) -> Result<()> {
        let in_flight = &self.round.in_flight;
        for running in in_flight
            .running
            .values()
            .chain(in_flight.cancelled.values())
        {
            self.round.session.store.renew(&running.lease, LEASE_MS)?;
        }
        Ok(())
    }

    /// Starts no more work, and cancels jobs that no action of this round has needed. The other jobs are cancelled by
    /// the session's token.
    pub(super) fn stop(&mut self) {
        self.schedule.stop();
        self.supersede_asked();
        for (job, running) in &self.round.in_flight.running {
            if self.schedule.runs(*job).is_none() {
                running.cancel.cancel();
            }
        }
    }

    /// Records which actions are up to date now. Returns how many actions were not compared.
    pub(super) fn record_states(&mut self) -> u64 {
        let plan = self.round.plan;
        let mut untouched = 0;
        for (index, action) in plan.actions.iter().enumerate() {
            match self.schedule.state(index) {
                // It was made in this run and is counted with that status.
                ActionState::Unchanged(_) if self.round.statuses.contains_key(&*action.id) => {}
                ActionState::Unchanged(_) => match self.round.earlier.made(&action.id) {
                    Some(status) => {
                        self.round.statuses.insert(action.id.to_string(), status);
                    }
                    None => untouched += 1,
                },
                ActionState::UpToDate(results) => {
                    let found = self.found.remove(&index).unwrap_or_default();
                    self.round.up_to_date.insert(action, results.clone(), found);
                }
                // An unselected action may still be up to date; one that started and did not end is not.
                ActionState::Unselected => {}
                _ => self.round.up_to_date.remove(&action.id),
            }
        }
        self.round.up_to_date.retain_planned(&plan.actions);
        untouched
    }
}
