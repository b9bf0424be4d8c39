//! Reports actions while they are made, and records their inputs and diagnostics.

use std::sync::Arc;
use std::time::Duration;

use tracing::{Span, debug_span};

use crate::clock::now_ns;
use crate::diagnostic::{Diagnostic, Reported};
use crate::digest::Digest;
use crate::error::Result;
use crate::events::{Event, Status};
use crate::plan::{Action, ActionIndex};
use crate::store::{Latest, Parts};
use crate::worker::WorkerError;

use super::super::decide::{Decided, Results, digest_of};
use super::{Execution, millis};

/// Details of how an action ended.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Whether it failed in an earlier run and nothing changed since.
    pub(super) is_replayed: bool,
    /// The cause, if that is reported elsewhere.
    pub(super) cause: Option<String>,
    /// The number of outputs that were not made, if they were counted.
    pub(super) not_made: Option<u64>,
    /// The machine that made it, if that was not this one.
    pub(super) machine: Option<String>,
}

impl Execution<'_, '_> {
    /// Returns a span for the work on one action. As predecessors it names only actions that were made or restored in
    /// this run.
    pub(super) fn action_span(&self, action: &Action, reasons: &[String], attempt: u32) -> Span {
        // It has no parent, as it lasts longer than the phase in which it begins.
        debug_span!(
            parent: None,
            "action",
            action = &*action.id,
            kind = action.kind.name(),
            source = action.source.as_str(),
            reasons = reasons.join("; "),
            after = self.made_before(action),
            attempt,
            status = tracing::field::Empty,
        )
    }

    /// Returns the identities of the preceding actions that were made or restored in this run, one per line.
    fn made_before(&self, action: &Action) -> String {
        let statuses = &self.round.statuses;
        let is_made = |id: &&str| statuses.get(*id).is_some_and(|status| status.is_made());
        let before = action.after.iter().map(|before| {
            let made = self.schedule.same_as(*before).unwrap_or(*before);
            &*self.round.plan.actions[made].id
        });
        let made: Vec<&str> = before.filter(is_made).collect();
        made.join("\n")
    }

    /// Reports how an action ended.
    pub(super) fn end(&mut self, index: ActionIndex, status: Status, duration: Duration) {
        self.end_as(index, status, duration, Ending::default());
    }

    /// Reports that an action failed.
    pub(super) fn end_failed(&mut self, index: ActionIndex, duration: Duration, why: Ending) {
        let action = &self.round.plan.actions[index];
        // A failure in an interrupted part of this run is not a replay.
        let is_replayed = why.is_replayed
            && self.round.earlier.statuses.get(&*action.id) != Some(&Status::Failed);
        if is_replayed {
            self.replayed.insert(index);
        }
        let why = Ending { is_replayed, ..why };
        self.end_as(index, Status::Failed, duration, why);
    }

    pub(super) fn end_as(
        &mut self,
        index: ActionIndex,
        status: Status,
        duration: Duration,
        why: Ending,
    ) {
        // If work was done on the action, the current span is its span.
        Span::current().record("status", status.name());
        let action = &self.round.plan.actions[index];
        let before = self.round.statuses.get(&*action.id).copied();
        let is_known = status == Status::Failed && before == Some(status) && duration.is_zero();
        if is_known {
            // It was reported when it failed.
            return;
        }
        let not_made = match status {
            Status::Failed => why.not_made.unwrap_or_else(|| self.not_made_without(index)),
            _ => 0,
        };
        let action = &self.round.plan.actions[index];
        self.report_end(action, status, duration, why, not_made);
        let status = match (status, before) {
            (Status::Fresh, Some(before)) if before.is_made() => before,
            (Status::Fresh, None) => self.round.earlier.made(&action.id).unwrap_or(status),
            _ => status,
        };
        self.round.statuses.insert(action.id.to_string(), status);
    }

    pub(super) fn report_end(
        &self,
        action: &Action,
        status: Status,
        duration: Duration,
        why: Ending,
        not_made: u64,
    ) {
        self.round.session.events.emit(Event::ActionFinished {
            action: action.id.to_string(),
            kind: action.kind,
            source: action.source.to_string(),
            status,
            duration_ms: millis(duration),
            replayed: why.is_replayed,
            cause: why.cause,
            not_made,
            machine: why.machine,
        });
    }

    /// Returns the number of outputs that are not made because an action failed, without those that were counted for
    /// another action.
    fn not_made_without(&mut self, failed: ActionIndex) -> u64 {
        let mut count = 0;
        let mut all = vec![failed];
        while let Some(index) = all.pop() {
            let is_asked_for = index == failed || self.schedule.is_selected(index);
            if !is_asked_for || !self.not_made.insert(index) {
                continue;
            }
            let outputs = self.round.plan.actions[index].outputs.iter();
            let destinations = outputs.map(|output| output.destinations.len() as u64);
            count += destinations.sum::<u64>();
            all.extend(self.schedule.consumers(index));
        }
        count
    }

    /// Reports the last failure of a tool on an action. A tool that is missing, or does not start, is reported once, at
    /// the end of the run, with the number of outputs that were not made.
    pub(super) fn tool_failed(
        &mut self,
        index: ActionIndex,
        error: &WorkerError,
        failure: Diagnostic,
        duration: Duration,
    ) {
        let mut why = Ending::default();
        if matches!(
            error,
            WorkerError::Missing { .. } | WorkerError::Start { .. }
        ) {
            self.has_errors.set(true);
            let not_made = self.not_made_without(index);
            let action = &self.round.plan.actions[index];
            why.cause = Some(failure.message.clone());
            why.not_made = Some(not_made);
            self.round
                .missing_tools
                .borrow_mut()
                .add(action, failure, not_made);
        } else {
            self.report(index, &[failure]);
        }
        self.fail_as(index, duration, why);
    }

    /// Reports that work on an action begins.
    pub(super) fn started(&mut self, action: &Action, reasons: Vec<String>) {
        self.reason
            .get_or_insert_with(|| format!("{}: {}", action.id, reasons.join("; ")));
        self.round.session.events.emit(Event::ActionStarted {
            action: action.id.to_string(),
            kind: action.kind,
            source: action.source.to_string(),
            reasons,
        });
    }

    /// Reports diagnostics of an action with these results, and stores them, to be reported again.
    pub(super) fn report_and_keep(
        &mut self,
        index: ActionIndex,
        mut diagnostics: Vec<Diagnostic>,
        results: &Results,
    ) {
        diagnostics.extend(self.refused(index, results));
        self.report(index, &diagnostics);
        if !diagnostics.is_empty() {
            self.found.entry(index).or_default().diagnostics = diagnostics;
        }
    }

    /// Returns warnings about places of an action's outputs in the source tree where files of the author are.
    fn refused(&self, index: ActionIndex, results: &Results) -> Vec<Diagnostic> {
        let action = &self.round.plan.actions[index];
        let publisher = &self.round.publisher;
        let places = action.outputs.iter().flat_map(|output| {
            let digest = digest_of(results, &output.name);
            let is_refused = move |place: &&Arc<str>| {
                digest.is_some_and(|digest| publisher.is_refused(place, digest))
            };
            output.destinations.iter().filter(is_refused)
        });
        let is_folder = self.round.session.course.place.is_folder();
        let hint = match is_folder {
            true => "remove that file, or set `beside = false` under `[folder]` in `clm.toml`",
            false => {
                "remove that file, or set `write_back = false` under `[diagrams]` in `clm.toml`"
            }
        };
        places
            .map(|place| {
                let why = match publisher.has_written(place) {
                    true => "was changed since clm wrote it",
                    false => "was not made by clm",
                };
                Diagnostic::warning(format!(
                    "`{place}` {why} and is not replaced; the outputs show what clm made"
                ))
                .at(action.source.as_str(), None)
                .hint(hint)
            })
            .collect()
    }

    /// Reports diagnostics of an action to the author.
    pub(super) fn report(&self, index: ActionIndex, diagnostics: &[Diagnostic]) {
        for diagnostic in diagnostics {
            if diagnostic.is_error() {
                self.has_errors.set(true);
            }
            let action = &self.round.plan.actions[index];
            self.round.session.events.emit(Event::Diagnostic(Reported {
                action: Some(Arc::clone(&action.id)),
                diagnostic: diagnostic.clone(),
            }));
        }
    }

    /// Records what the action was last made of, for `explain` and for reasons. Nothing is written if it is unchanged.
    pub(super) fn note_latest(
        &mut self,
        index: ActionIndex,
        decided: &Decided,
        discovered: &[(String, Option<Digest>)],
        took: Option<Duration>,
    ) -> Result<()> {
        let plan = self.round.plan;
        let action = &plan.actions[index];
        if !discovered.is_empty() {
            let names = discovered.iter().map(|(path, _)| path.clone());
            self.found.entry(index).or_default().discovered = names.collect();
        }
        let known = self.round.decider.latest(&action.id)?;
        let is_known = |latest: &Latest| latest.key == decided.key;
        if took.is_none() && known.as_deref().is_some_and(is_known) {
            return Ok(());
        }
        let duration_ms = match took {
            Some(took) => millis(took),
            None => {
                let made = decided.made.as_ref().map(|made| made.duration_ms);
                made.or(known.map(|latest| latest.duration_ms))
                    .unwrap_or_default()
            }
        };
        let latest = Latest {
            key: decided.key,
            discovered: discovered.to_vec(),
            finished_ms: now_ns() / 1_000_000,
            duration_ms,
        };
        self.latest.push((Arc::clone(&action.id), latest.clone()));
        match took {
            // Its files may change at any time from now on.
            Some(_) => {
                let unrecorded = self.with_parts(index, latest);
                self.unrecorded.push(unrecorded);
            }
            None => self.without_parts.push((index, latest)),
        }
        Ok(())
    }

    /// Adds the components of keys to what is not recorded yet. Actions of one source follow each other, since their recipes
    /// are made together: answers of the shared cache come in any order.
    pub(super) fn add_parts(&mut self) {
        let mut without = std::mem::take(&mut self.without_parts);
        without.sort_by_key(|(index, _)| *index);
        let actions: Vec<ActionIndex> = without.iter().map(|(index, _)| *index).collect();
        let upstream = |index| self.schedule.upstream(index);
        let parts = self.round.decider.parts_of_each(&actions, upstream);
        let plan = self.round.plan;
        let all = without.into_iter().zip(parts);
        self.unrecorded.extend(
            all.map(|((index, latest), parts)| (plan.actions[index].id.to_string(), latest, parts)),
        );
    }

    fn with_parts(&self, index: ActionIndex, latest: Latest) -> (String, Latest, Parts) {
        let upstream = self.schedule.upstream(index);
        let parts = self.round.decider.parts(index, &upstream);
        (self.round.plan.actions[index].id.to_string(), latest, parts)
    }
}
