//! The jobs of a round: claims and starts them, and handles the answers of workers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::{Instrument as _, Span, debug_span};

use crate::clock::{now_ms, now_ns};
use crate::course::RelPath;
use crate::diagnostic::{Diagnostic, Severity};
use crate::digest::Digest;
use crate::error::{BUG_HINT, Result, hint_in_text};
use crate::events::{ActionKind, Status};
use crate::plan::{Action, ActionIndex, ExecuteWork, Make, Recipe, Stored};
use crate::store::{CachedResult, Finish, JobEnd, JobId, JobState, Lease, Origin, ResultStatus};
use crate::worker::request::OutcomeStatus;
use crate::worker::{Outcome, WorkerError};

use super::super::decide::{Decision, results_of};
use super::super::schedule::Place;
use super::elsewhere;
use super::report::Ending;
use super::request;
use super::restore::Published;
use super::{ATTEMPTS, ActionState, Execution, LEASE_MS, Queued, Running, millis, waiting};

/// The maximum number of jobs of a kind that are polled for completion by other processes.
const LOOKED_AT: usize = 64;

impl Execution<'_, '_> {
    /// Starts kernels in advance while a deck runs, but only if they will be used.
    pub(super) fn set_kernels_ahead(&self) {
        let session = self.round.session;
        let slots = session.pool.slots(ActionKind::Execute);
        let is_needed = self.schedule.queued(ActionKind::Execute) > slots;
        session.kernels_ahead.store(is_needed, Ordering::Relaxed);
    }

    /// Leases the first of these jobs that no other process has, and starts it.
    pub(super) fn lease(&mut self, place: Place, kind: ActionKind, jobs: &[JobId]) -> Result<()> {
        let store = self.round.session.store;
        let lease = || store.claim(&self.owner, jobs, LEASE_MS);
        match debug_span!("claim").in_scope(lease)? {
            Some(lease) => self.start(lease, place),
            None => {
                self.schedule.not_leased(place, kind, jobs.len());
                Ok(())
            }
        }
    }

    #[tracing::instrument(level = "debug", name = "start", skip_all)]
    fn start(&mut self, lease: Lease, place: Place) -> Result<()> {
        let id = lease.job;
        self.schedule.started(id, place);
        let Some(mut queued) = self.queued.remove(&id) else {
            return Ok(());
        };
        queued.waiting = Span::none();
        let session = self.round.session;
        let action = &Arc::clone(&queued.action);
        // Another process may have made it between the decision and the claim.
        if lease.attempt <= 1
            && !matches!(&queued.decided.decision, Decision::Restorable(_))
            && !self.is_forced(action)
        {
            let known = session.store.cached(&queued.decided.key)?;
            if !known.is_empty() {
                let decided = self.redecide(queued.index)?;
                if !matches!(decided, Decision::Stale(_)) {
                    session.store.finish(&lease, JobEnd::Done, None)?;
                    self.schedule.check_again(queued.index);
                    return Ok(());
                }
            }
        }
        self.round.in_flight.requests += 1;
        let number = self.round.in_flight.requests;
        let out = session.staging.job_dir(number)?;
        let recipe = self.round.recipes.recipe(queued.index);
        let upstream = self.schedule.upstream(queued.index);
        let request = match &recipe {
            None => None,
            Some(recipe) => request::request(
                number,
                recipe,
                &upstream,
                session.course.place.root.clone(),
                out.clone(),
                &session.course.settings.diagrams,
                session.store,
            )?,
        };
        let Some((request, recipe)) = request.zip(recipe) else {
            // The source changed, or the result of the execution was damaged after the decision: the next round finds
            // that.
            session.store.finish(&lease, JobEnd::Superseded, None)?;
            self.ended.again = true;
            self.supersede(queued.index, Duration::ZERO);
            return Ok(());
        };
        let span = self.action_span(action, &queued.reasons, lease.attempt);
        self.started(action, queued.reasons.clone());
        if action.kind == ActionKind::Execute {
            self.round.restless.begin(id, action, now_ns());
        }
        let pool = Arc::clone(&session.pool);
        let cancel = session.cancel.child_token();
        let token = cancel.clone();
        let progress = request::progress_sink(&session.events, action);
        let task = match place {
            Place::Here => None,
            Place::Farm => self.task(&queued, &request),
        };
        let stored = match self.is_forced(action) {
            true => None,
            false => self.results_of_author(&recipe)?,
        };
        let work = async move {
            let result = match (stored, task) {
                (Some(stored), _) => request::take_stored(&stored, &request.out),
                (None, None) => pool.run(&request, progress, token).await,
                (None, Some(task)) => elsewhere::run(task, &pool, progress, token).await,
            };
            (id, result)
        };
        self.round
            .in_flight
            .workers
            .spawn(work.instrument(span.clone()));
        self.round.in_flight.running.insert(
            id,
            Running {
                queued,
                recipe,
                lease,
                place,
                started: Instant::now(),
                started_ns: now_ns(),
                out,
                cancel,
                span,
            },
        );
        Ok(())
    }

    /// Returns the results that the author's file has of an execution that is not known yet, if they are trusted.
    fn results_of_author(&self, recipe: &Recipe) -> Result<Option<Stored>> {
        let Make::Execute(ExecuteWork {
            stored: Some(stored),
            ..
        }) = &recipe.make
        else {
            return Ok(None);
        };
        let latest = self.round.decider.latest(&recipe.id)?;
        Ok(latest.is_none().then(|| Arc::clone(stored)))
    }

    pub(super) fn is_forced(&self, action: &Action) -> bool {
        self.round.session.may_force && self.round.decider.forces(action)
    }

    fn redecide(&mut self, index: ActionIndex) -> Result<Decision> {
        let upstream = self.schedule.upstream(index);
        let decided = self
            .round
            .decider
            .decide(index, &upstream, self.round.publisher, false)?;
        Ok(decided.decision)
    }

    /// Handles a worker's answer.
    pub(super) fn finish(&mut self, id: JobId, answer: Result<Outcome, WorkerError>) -> Result<()> {
        let Some(running) = self.round.in_flight.running.remove(&id) else {
            return Ok(());
        };
        let span = running.span.clone();
        let _inside = span.enter();
        let ended = match answer {
            Ok(outcome) => match outcome.status {
                OutcomeStatus::Ok => self.succeeded(&running, outcome),
                OutcomeStatus::Failed => self.failed(&running, outcome),
                OutcomeStatus::Cancelled => self.cancelled(&running),
            },
            Err(error) if self.round.session.cancel.is_cancelled() => {
                tracing::debug!(%error, "cancelled");
                self.cancelled(&running)
            }
            Err(error) => self.broke(&running, &error),
        };
        // Its files were copied to the store.
        let _ = std::fs::remove_dir_all(&running.out);
        match ended? {
            Some(reason) => {
                self.schedule.requeued(id, running.queued.urgency);
                self.queued.insert(id, queued_again(running.queued, reason));
            }
            None => {
                let state = self.schedule.state(running.queued.index);
                if matches!(state, ActionState::Failed | ActionState::Superseded) {
                    self.stop_if_fail_fast();
                }
            }
        }
        Ok(())
    }

    fn succeeded(&mut self, running: &Running, outcome: Outcome) -> Result<Option<String>> {
        let plan = self.round.plan;
        let index = running.queued.index;
        let action = &plan.actions[index];
        let Some(discovered) = self.discovered(action, running, &outcome) else {
            return self.superseded(running);
        };
        let outputs = self.stored(running, &outcome)?;
        let results = outputs.iter();
        let results = results.map(|(name, digest, _)| (name.as_str(), *digest));
        let results = results_of(action, results);
        let missing = action
            .outputs
            .iter()
            .find(|output| !results.iter().any(|(name, _)| **name == *output.name));
        if let Some(missing) = missing {
            let error = WorkerError::NoOutput {
                what: action.kind.name().to_owned(),
                output: missing.name.to_string(),
            };
            return self.broke(running, &error);
        }
        let finished = self.remember(running, &outcome, &discovered, outputs)?;
        if finished == Finish::Stale {
            // Another process was given the job meanwhile; its result counts.
            self.schedule.check_again(index);
            return Ok(None);
        }
        let took = elsewhere::took(&outcome);
        let machine = outcome.elsewhere.map(|elsewhere| elsewhere.machine);
        let diagnostics = self.as_now(running, outcome.diagnostics);
        self.report_and_keep(index, diagnostics, &results);
        let published = self.publish_blobs(index, &results)?;
        if published == Published::Damaged {
            return self.superseded(running);
        }
        let took = took.unwrap_or_else(|| running.started.elapsed());
        self.note_ended(running, &discovered, took)?;
        if let Published::Failed(reasons) = published {
            self.unplaced(index, &reasons, results, took);
            return Ok(None);
        }
        let ending = Ending {
            machine,
            ..Ending::default()
        };
        self.end_as(index, Status::Built, took, ending);
        self.schedule.up_to_date(index, results);
        Ok(None)
    }

    /// Converts a worker's diagnostics to the lines of the deck as it is now: its prose may have changed since the job
    /// began.
    fn as_now(&self, running: &Running, diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
        self.remembered(
            running.queued.index,
            request::to_remembered(&running.recipe, diagnostics),
        )
    }

    /// Stores the files that a worker made. Returns their names, digests and sizes.
    #[tracing::instrument(level = "debug", name = "store", skip_all)]
    pub(super) fn stored(
        &self,
        running: &Running,
        outcome: &Outcome,
    ) -> Result<Vec<(String, Digest, u64)>> {
        let store = self.round.session.store;
        let mut outputs = Vec::new();
        for name in &outcome.outputs {
            let (digest, size) = store.put_file(&running.out.join(name))?;
            outputs.push((name.clone(), digest, size));
        }
        Ok(outputs)
    }

    /// Records the result of a job together with the end of the job.
    #[tracing::instrument(level = "debug", name = "commit", skip_all)]
    pub(super) fn remember(
        &self,
        running: &Running,
        outcome: &Outcome,
        discovered: &[(String, Option<Digest>)],
        outputs: Vec<(String, Digest, u64)>,
    ) -> Result<Finish> {
        let action = &running.queued.action;
        let (status, end) = match outcome.status {
            OutcomeStatus::Ok => (ResultStatus::Ok, JobEnd::Done),
            _ => (ResultStatus::Failed, JobEnd::Failed),
        };
        let result = CachedResult {
            discovered: discovered.to_vec(),
            status,
            outputs,
            diagnostics: request::to_remembered(&running.recipe, outcome.diagnostics.clone()),
            duration_ms: millis(
                elsewhere::took(outcome).unwrap_or_else(|| running.started.elapsed()),
            ),
            origin: outcome.elsewhere.as_ref().map(|elsewhere| Origin {
                machine: elsewhere.machine.clone(),
                made_ms: now_ms(),
                run: None,
            }),
        };
        let key = running.queued.decided.key;
        let may_share = !outcome.is_of_machine && self.may_share(action, &key, &result)?;
        let to_share = may_share.then(|| result.clone());
        let recorded = (action.id.to_string(), action.kind, key, result);
        let store = self.round.session.store;
        let finished = store.finish(&running.lease, end, Some(recorded))?;
        if let Some((result, shared)) = to_share.zip(self.round.session.shared)
            && finished != Finish::Stale
        {
            shared.send(running.queued.shared_key, action.kind, &result);
        }
        Ok(finished)
    }

    /// Returns whether a new result may be sent to other machines: not if an input changed since the work began, and not
    /// if the same work gave another result before.
    fn may_share(&self, action: &Action, key: &Digest, result: &CachedResult) -> Result<bool> {
        if self.round.session.shared.is_none() || !self.are_inputs_unchanged(action) {
            return Ok(false);
        }
        let known = self.round.session.store.cached(key)?;
        // A failure after which it succeeds was one of that moment.
        let contradicts = |known: &CachedResult| {
            known.discovered == result.discovered
                && !(known.status == ResultStatus::Failed && result.status == ResultStatus::Ok)
                && (known.status != result.status || known.outputs != result.outputs)
        };
        Ok(!known.iter().any(contradicts))
    }

    fn failed(&mut self, running: &Running, mut outcome: Outcome) -> Result<Option<String>> {
        let plan = self.round.plan;
        let index = running.queued.index;
        let action = &plan.actions[index];
        outcome.diagnostics = request::with_hints(action.kind, outcome.diagnostics);
        let Some(discovered) = self.discovered(action, running, &outcome) else {
            return self.superseded(running);
        };
        self.remember(running, &outcome, &discovered, Vec::new())?;
        self.report(index, &self.as_now(running, outcome.diagnostics));
        let took = running.started.elapsed();
        self.note_ended(running, &discovered, took)?;
        self.fail(index, took);
        Ok(None)
    }

    /// Records what a job that ended was made of, and whether that has changed since.
    fn note_ended(
        &mut self,
        running: &Running,
        discovered: &[(String, Option<Digest>)],
        took: Duration,
    ) -> Result<()> {
        let queued = &running.queued;
        self.note_latest(queued.index, &queued.decided, discovered, Some(took))?;
        self.check_inputs(&queued.action);
        Ok(())
    }

    /// Handles a failure of the worker itself, not of the content: tries again on a new one, or gives up. It is never
    /// remembered.
    fn broke(&mut self, running: &Running, error: &WorkerError) -> Result<Option<String>> {
        let plan = self.round.plan;
        let store = self.round.session.store;
        let index = running.queued.index;
        let action = &plan.actions[index];
        if error.is_retriable() && running.lease.attempt < ATTEMPTS {
            let reason = error.to_string();
            running.span.record("status", "retried");
            tracing::warn!(action = %action.id, attempt = running.lease.attempt, %error, "trying again");
            store.finish(
                &running.lease,
                JobEnd::Requeue {
                    reason: reason.clone(),
                },
                None,
            )?;
            return Ok(Some(reason));
        }
        store.finish(&running.lease, JobEnd::Failed, None)?;
        let diagnostics = failure(action, error);
        self.tool_failed(index, error, diagnostics, running.started.elapsed());
        Ok(None)
    }

    fn cancelled(&mut self, running: &Running) -> Result<Option<String>> {
        let store = self.round.session.store;
        store.finish(&running.lease, JobEnd::Superseded, None)?;
        self.supersede(running.queued.index, running.started.elapsed());
        Ok(None)
    }

    /// Discards a result because an input changed while the job ran: the action is planned again.
    fn superseded(&mut self, running: &Running) -> Result<Option<String>> {
        self.ended.again = true;
        self.cancelled(running)
    }

    /// Returns the digests of files that were read besides the declared inputs; `None` if an input changed while the
    /// job ran.
    pub(super) fn discovered(
        &mut self,
        action: &Action,
        running: &Running,
        outcome: &Outcome,
    ) -> Option<Vec<(String, Option<Digest>)>> {
        let snapshot = self.round.snapshot;
        for path in request::files_read_by_worker(&running.recipe) {
            // The content that the key was made of counts, which an earlier round may have seen.
            let expected = action.inputs.iter().find(|(input, _)| input == path);
            let expected = expected.map(|(_, digest)| *digest);
            if !snapshot.was_at_rest(path, expected, running.started_ns) {
                self.round.restless.disturb(&action.id, path);
                return None;
            }
        }
        let mut paths: Vec<&RelPath> = outcome
            .discovered
            .iter()
            .filter(|path| !action.reads(path))
            .collect();
        paths.sort();
        paths.dedup();
        paths
            .into_iter()
            .map(|path| {
                // Files of a kernel that is not installed here are as the machine that made the result has them.
                let seen = outcome.elsewhere.as_ref();
                let seen = seen.and_then(|elsewhere| elsewhere.seen.get(path));
                if let Some(seen) = seen.filter(|_| snapshot.places().is_absent(path)) {
                    return Some((path.to_string(), *seen));
                }
                let Ok(digest) = snapshot.discovered(path, running.started_ns) else {
                    self.round.restless.disturb(&action.id, path);
                    return None;
                };
                Some((path.to_string(), digest))
            })
            .collect()
    }

    /// Checks whether inputs changed after a result was made. The result stays valid for its own inputs, but another
    /// round is needed.
    fn check_inputs(&mut self, action: &Action) {
        if !self.are_inputs_unchanged(action) {
            self.ended.again = true;
        }
    }

    fn are_inputs_unchanged(&self, action: &Action) -> bool {
        let snapshot = self.round.snapshot;
        let is_unchanged =
            |(path, digest): &(RelPath, Digest)| snapshot.is_unchanged(path, Some(*digest));
        action.inputs.iter().all(is_unchanged)
    }

    /// Polls whether other processes finished jobs that this one waits for.
    pub(super) fn look_at_others(&mut self) -> Result<()> {
        // Jobs behind them are polled when these are done.
        let jobs = self.schedule.first_queued(LOOKED_AT);
        if jobs.is_empty() {
            return Ok(());
        }
        for (job, state) in self.round.session.store.states(&jobs)? {
            if !matches!(state, JobState::Queued | JobState::Leased) {
                self.schedule.ended_elsewhere(job);
                self.queued.remove(&job);
            }
        }
        Ok(())
    }
}

fn queued_again(mut queued: Queued, reason: String) -> Queued {
    queued.reasons = vec![format!("its worker failed: {reason}")];
    queued.waiting = waiting(&queued.action);
    queued
}

/// Returns the error about a tool that failed on a source for the last time.
fn failure(action: &Action, error: &WorkerError) -> Diagnostic {
    let diagnostic =
        Diagnostic::new(Severity::Error, error.to_string()).at(action.source.as_str(), None);
    match hint(error) {
        Some(hint) => diagnostic.hint(hint),
        None => diagnostic,
    }
}

/// Returns advice about a tool that failed, by the cause as far as it is known.
fn hint(error: &WorkerError) -> Option<String> {
    let of_system = |text: &str| hint_in_text(text).map(str::to_owned);
    match error {
        WorkerError::Missing { hint, .. } => Some(hint.clone()),
        WorkerError::Io(reason) => of_system(reason),
        WorkerError::Bug(_) => Some(BUG_HINT.to_owned()),
        WorkerError::Crashed { reason, .. } if reason.contains("signal: 9") => Some(format!(
            "something outside of clm killed it, {ATTEMPTS} times: mostly the system does, when memory runs out; close \
             other programs, or build with fewer workers (`-j 1`)"
        )),
        WorkerError::Crashed { reason, .. } | WorkerError::Ended { reason, .. } => {
            of_system(reason).or_else(|| {
                Some(format!(
                    "it was tried {ATTEMPTS} times on new processes; if it goes on, this source may be the cause"
                ))
            })
        }
        WorkerError::TimedOut { .. } => Some(format!(
            "it was tried {ATTEMPTS} times; if it goes on, make the source smaller, or split it"
        )),
        WorkerError::Disturbed { .. } => Some(
            "another source ended its process again and again: correct the other errors, and build again".to_owned(),
        ),
        WorkerError::Start { reason, .. } => {
            of_system(reason).or_else(|| Some("run `clm doctor` to test the renderers".to_owned()))
        }
        WorkerError::Garbage { .. } | WorkerError::NoOutput { .. } => Some(
            "run `clm doctor` to test the renderers; if all work, this is a bug in clm: please report it with this message"
                .to_owned(),
        ),
    }
}
