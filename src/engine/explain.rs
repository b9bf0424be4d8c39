//! Explains why an action is up to date or not, from the records alone.

use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::error::Result;
use crate::events::ActionKind;
use crate::plan::{Action, ActionIndex, Plan, Recipes};
use crate::store::{Latest, Origin};

use super::decide::{Decided, Decider, Decision, Results};
use super::execute::request::from_remembered;
use super::publish::Publisher;
use super::schedule::{EarlierJobs, Effect, Node, Schedule, Workers};

/// The state of an action by the records.
pub(crate) enum Finding {
    /// Its key is known: the decision about it.
    Decided(Box<Decided>),
    /// It waits for this action, which is not up to date.
    Blocked(String),
}

/// Compares every action with the records, without making anything.
pub(crate) fn findings(
    plan: &Plan,
    decider: &Decider<'_>,
    publisher: &mut Publisher,
) -> Result<Vec<Finding>> {
    let nodes = plan.actions.iter().map(|action| Node {
        kind: action.kind,
        after: &action.after,
        is_selected: true,
        needs_worker: true,
        unchanged: None,
    });
    let mut schedule = Schedule::new(nodes.collect(), EarlierJobs::default());
    let mut decided: Vec<Option<Box<Decided>>> = plan.actions.iter().map(|_| None).collect();
    // Blocked actions need no comparison: their state is sufficient.
    while let Some(effect) = schedule.next(Workers::NONE) {
        let Effect::Check(ready) = effect else {
            continue;
        };
        for index in ready {
            let upstream = schedule.upstream(index);
            let found = decider.decide(index, &upstream, publisher, true)?;
            match &found.decision {
                Decision::Fresh(results) | Decision::Restorable(results) => {
                    schedule.up_to_date(index, results.clone());
                }
                _ => schedule.failed(index),
            }
            decided[index] = Some(Box::new(found));
        }
    }
    let name = |index: ActionIndex| plan.actions[index].id.to_string();
    let findings = decided
        .into_iter()
        .enumerate()
        .map(|(index, decided)| match decided {
            Some(decided) => Finding::Decided(decided),
            None => Finding::Blocked(schedule.blocked_by(index).map_or_else(String::new, name)),
        });
    Ok(findings.collect())
}

/// Returns the known errors, without doing anything: those of sources that cannot be used, and those of actions that
/// failed and whose inputs have not changed since.
pub(crate) fn errors(findings: &[Finding], recipes: &Recipes<'_>) -> Vec<Diagnostic> {
    let mut errors: Vec<Diagnostic> = Vec::new();
    for (index, finding) in findings.iter().enumerate() {
        let description = finding.description();
        if !["failed", "invalid"].contains(&description.state) {
            continue;
        }
        let known = description.diagnostics(index, recipes);
        for diagnostic in known {
            if diagnostic.is_error() && !errors.contains(&diagnostic) {
                errors.push(diagnostic);
            }
        }
    }
    errors
}

/// Everything known about one action.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Explained {
    /// Its identity.
    pub action: String,
    /// What it does.
    pub kind: ActionKind,
    /// The file the author edits.
    pub source: String,
    /// `fresh`, `restorable`, `stale`, `failed`, `invalid` or `blocked`.
    pub state: &'static str,
    /// Why it is not fresh.
    pub reasons: Vec<String>,
    /// The components of its key.
    pub parts: Vec<(String, String)>,
    /// Files that its last run discovered besides its declared inputs; without a digest if they did not exist.
    pub discovered: Vec<(String, Option<Digest>)>,
    /// The paths of its outputs.
    pub outputs: Vec<String>,
    /// Errors and warnings of its known result.
    pub diagnostics: Vec<Diagnostic>,
    /// Where its known result was made; `None` if here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// How long its last run took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// When its last run ended, in milliseconds since 1970.
    pub finished_ms: Option<i64>,
}

/// Returns what is known about the actions that read a file or write it.
pub(crate) fn about(
    path: &str,
    plan: &Plan,
    findings: &[Finding],
    decider: &Decider<'_>,
    recipes: &Recipes<'_>,
) -> Result<Vec<Explained>> {
    let mut all = Vec::new();
    for ((index, action), finding) in plan.actions.iter().enumerate().zip(findings) {
        let latest = decider.latest(&action.id)?;
        let outputs: Vec<String> = action
            .outputs
            .iter()
            .flat_map(|output| output.destinations.iter().map(ToString::to_string))
            .collect();
        let reads = |latest: &Latest| latest.discovered.iter().any(|(file, _)| file == path);
        let is_discovered = latest.as_deref().is_some_and(reads);
        let is_input = action.source.as_str() == path
            || action
                .inputs
                .iter()
                .any(|(input, _)| input.as_str() == path);
        if !is_discovered && !is_input && !outputs.iter().any(|output| output == path) {
            continue;
        }
        let upstream = upstream(action, findings);
        let description = finding.description();
        all.push(Explained {
            action: action.id.to_string(),
            kind: action.kind,
            source: action.source.to_string(),
            state: description.state,
            parts: decider.parts(index, &upstream),
            origin: finding.origin().cloned(),
            duration_ms: latest.as_deref().map(|latest| latest.duration_ms),
            finished_ms: latest.as_deref().map(|latest| latest.finished_ms),
            discovered: latest.map_or_else(Vec::new, |latest| latest.into_owned().discovered),
            outputs,
            diagnostics: description.diagnostics(index, recipes),
            reasons: description.reasons,
        });
    }
    Ok(all)
}

/// Returns the results of the actions that an action waits for, as far as they are known.
pub(super) fn upstream<'s>(action: &Action, findings: &'s [Finding]) -> Vec<&'s Results> {
    let before = action.after.iter().map(|before| &findings[*before]);
    before
        .filter_map(|finding| match finding {
            Finding::Decided(decided) => match &decided.decision {
                Decision::Fresh(results) | Decision::Restorable(results) => Some(results),
                _ => None,
            },
            Finding::Blocked(_) => None,
        })
        .collect()
}

/// A finding in the form in which it is shown.
pub(crate) struct Description<'f> {
    /// `fresh`, `restorable`, `stale`, `failed`, `invalid` or `blocked`.
    pub state: &'static str,
    /// Why the action is not fresh.
    pub reasons: Vec<String>,
    /// Diagnostics of its known result, as stored.
    remembered: &'f [Diagnostic],
    /// Diagnostics of planning.
    planned: &'f [Diagnostic],
}

impl Description<'_> {
    /// Returns errors and warnings, with lines of the source as it is now.
    pub(crate) fn diagnostics(&self, index: ActionIndex, recipes: &Recipes<'_>) -> Vec<Diagnostic> {
        let mut diagnostics = from_remembered(recipes, index, self.remembered.to_vec());
        diagnostics.extend(self.planned.iter().cloned());
        diagnostics
    }
}

impl Finding {
    /// Returns where the known result was made; `None` if here.
    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Decided(decided) => decided.made.as_ref()?.origin.as_ref(),
            Self::Blocked(_) => None,
        }
    }

    /// Returns the state, the reasons and the diagnostics of the action.
    pub(crate) fn description(&self) -> Description<'_> {
        let because = |reason: &str| vec![reason.to_owned()];
        let none: &[Diagnostic] = &[];
        let (state, reasons, remembered, planned) = match self {
            Self::Blocked(on) => ("blocked", vec![format!("`{on}` comes first")], none, none),
            Self::Decided(decided) => match &decided.decision {
                Decision::Fresh(_) => ("fresh", Vec::new(), &*decided.replayed, none),
                Decision::Restorable(_) => (
                    "restorable",
                    because("an output is missing or was changed; the cache has it"),
                    &*decided.replayed,
                    none,
                ),
                Decision::Stale(reasons) => ("stale", reasons.clone(), &*decided.replayed, none),
                Decision::Remembered(result) => (
                    "failed",
                    because("it failed, and nothing has changed since"),
                    &*result.diagnostics,
                    none,
                ),
                Decision::Invalid(errors) => (
                    "invalid",
                    because("its source has an error"),
                    none,
                    &**errors,
                ),
            },
        };
        Description {
            state,
            reasons,
            remembered,
            planned,
        }
    }
}
