//! What is told of actions while they are made, and what is kept of it.

use std::sync::Arc;
use std::time::Duration;

use tracing::{Span, debug_span};

use crate::digest::Digest;
use crate::error::Result;
use crate::events::{Diagnostic, Event, Severity, Status};
use crate::plan::{Action, ActionIndex};
use crate::store::Latest;

use super::super::decide::Decided;
use super::super::snapshot::now_ns;
use super::{Progressing, millis, upstream};

impl Progressing<'_, '_> {
    /// Measures the work on one action. Only what was made or restored in this run is named as what it had to wait for.
    pub(super) fn action_span(&self, action: &Action, reasons: &[String], attempt: u32) -> Span {
        // It lasts longer than the phase that it begins in.
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

    /// Identities of the actions before this one that were made or restored in this run, one a line.
    fn made_before(&self, action: &Action) -> String {
        let statuses = &self.round.statuses;
        let is_made =
            |id: &&str| matches!(statuses.get(*id), Some(Status::Built | Status::Restored));
        let before = action.after.iter().map(|before| {
            let made = self.same_as.get(before).unwrap_or(before);
            &*self.round.plan.actions[*made].id
        });
        let made: Vec<&str> = before.filter(is_made).collect();
        made.join("\n")
    }

    /// Tells how an action ended.
    pub(super) fn end(&mut self, index: ActionIndex, status: Status, duration: Duration) {
        // Where work was done on it, that is the current span.
        Span::current().record("status", status.name());
        let action = &self.round.plan.actions[index];
        let before = self.round.statuses.get(&*action.id);
        let is_known = status == Status::Failed && before == Some(&status) && duration.is_zero();
        if is_known {
            // It was said when it failed.
            return;
        }
        self.round.session.events.emit(Event::ActionFinished {
            action: action.id.to_string(),
            kind: action.kind,
            source: action.source.to_string(),
            status,
            duration_ms: millis(duration),
        });
        let is_kept =
            status == Status::Fresh && matches!(before, Some(Status::Built | Status::Restored));
        if !is_kept {
            self.round.statuses.insert(action.id.to_string(), status);
        }
    }

    /// Tells that work on an action begins.
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

    /// Tells what there is to say about an action, and keeps it, to be said again.
    pub(super) fn say(&mut self, index: ActionIndex, diagnostics: Vec<Diagnostic>) {
        self.warn(&diagnostics);
        if !diagnostics.is_empty() {
            self.found.entry(index).or_default().said = diagnostics;
        }
    }

    /// Tells the author something; what several outputs of a deck have to say is told once.
    pub(super) fn warn(&self, diagnostics: &[Diagnostic]) {
        for diagnostic in diagnostics {
            if diagnostic.severity == Severity::Error {
                self.has_errors.set(true);
            }
            if !self.round.told.borrow_mut().insert(diagnostic.clone()) {
                continue;
            }
            self.round
                .session
                .events
                .emit(Event::Diagnostic(diagnostic.clone()));
        }
    }

    /// Keeps what the action was last made of, for `explain` and for reasons; nothing to write when it is the same.
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
            None => known.map_or(0, |latest| latest.duration_ms),
        };
        let parts = self
            .round
            .decider
            .parts(index, &upstream(&self.states, action));
        let latest = Latest {
            key: decided.key,
            discovered: discovered.to_vec(),
            finished_ms: now_ns() / 1_000_000,
            duration_ms,
        };
        self.latest.push((Arc::clone(&action.id), latest.clone()));
        self.unrecorded.push((action.id.to_string(), latest, parts));
        Ok(())
    }
}
