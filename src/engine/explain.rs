//! Why something is up to date or not, from the records alone.

use crate::digest::Digest;
use crate::error::Result;
use crate::events::{ActionKind, Diagnostic, Severity};
use crate::plan::{Action, Plan, Recipes};
use crate::store::Latest;

use super::decide::{Decided, Decider, Decision, Results};
use super::execute::request::from_remembered;
use super::publish::Publisher;

/// How an action stands.
pub enum State {
    /// Its key is known, and what follows from it.
    Decided(Box<Decided>),
    /// It waits for an action that is not up to date: the name of that one.
    Blocked(String),
}

/// Decides about every action without doing anything.
pub fn states(plan: &Plan, decider: &Decider<'_>, publisher: &mut Publisher) -> Result<Vec<State>> {
    let mut states: Vec<State> = Vec::with_capacity(plan.actions.len());
    for (index, action) in plan.actions.iter().enumerate() {
        let mut upstream: Vec<&Results> = Vec::new();
        let mut blocked = None;
        for before in &action.after {
            match &states[*before] {
                State::Decided(decided) => match &decided.decision {
                    Decision::Fresh(results) | Decision::Restorable(results) => {
                        upstream.push(results);
                    }
                    _ => blocked = Some(plan.actions[*before].id.to_string()),
                },
                State::Blocked(on) => blocked = Some(on.clone()),
            }
        }
        let state = match blocked {
            Some(on) => State::Blocked(on),
            None => State::Decided(Box::new(decider.decide(index, &upstream, publisher, true)?)),
        };
        states.push(state);
    }
    Ok(states)
}

/// The errors that are known of, without doing anything: those of sources that cannot be used, and those of actions that
/// failed and of which nothing has changed since.
pub fn errors(plan: &Plan, states: &[State], recipes: &Recipes<'_>) -> Vec<Diagnostic> {
    let mut errors: Vec<Diagnostic> = Vec::new();
    for (index, state) in states.iter().enumerate().take(plan.actions.len()) {
        let State::Decided(decided) = state else {
            continue;
        };
        let known = match &decided.decision {
            Decision::Remembered(result) => {
                from_remembered(recipes, index, result.diagnostics.clone())
            }
            Decision::Invalid(diagnostics) => diagnostics.clone(),
            _ => continue,
        };
        for diagnostic in known {
            if diagnostic.severity == Severity::Error && !errors.contains(&diagnostic) {
                errors.push(diagnostic);
            }
        }
    }
    errors
}

/// Everything known about one action.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Explained {
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
    /// Files that its last run found besides its declared inputs; none for those that did not exist.
    pub discovered: Vec<(String, Option<Digest>)>,
    /// Where its outputs go.
    pub outputs: Vec<String>,
    /// Errors and warnings of its known result.
    pub diagnostics: Vec<Diagnostic>,
    /// How long its last run took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// When its last run ended, in milliseconds since 1970.
    pub finished_ms: Option<i64>,
}

/// What is known about the actions that read a file or write it.
pub fn about(
    path: &str,
    plan: &Plan,
    states: &[State],
    decider: &Decider<'_>,
    recipes: &Recipes<'_>,
) -> Result<Vec<Explained>> {
    let mut all = Vec::new();
    for ((index, action), state) in plan.actions.iter().enumerate().zip(states) {
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
        let upstream = upstream(action, states);
        let (state, reasons, diagnostics) = describe(state);
        all.push(Explained {
            action: action.id.to_string(),
            kind: action.kind,
            source: action.source.to_string(),
            state,
            reasons,
            parts: decider.parts(index, &upstream),
            duration_ms: latest.as_deref().map(|latest| latest.duration_ms),
            finished_ms: latest.as_deref().map(|latest| latest.finished_ms),
            discovered: latest.map_or_else(Vec::new, |latest| latest.into_owned().discovered),
            outputs,
            diagnostics: from_remembered(recipes, index, diagnostics),
        });
    }
    Ok(all)
}

/// The results of the actions that one waits for, as far as they are known.
fn upstream<'s>(action: &Action, states: &'s [State]) -> Vec<&'s Results> {
    let decided = action
        .after
        .iter()
        .filter_map(|before| match &states[*before] {
            State::Decided(decided) => Some(&decided.decision),
            State::Blocked(_) => None,
        });
    decided
        .filter_map(|decision| match decision {
            Decision::Fresh(results) | Decision::Restorable(results) => Some(results),
            _ => None,
        })
        .collect()
}

type Description = (&'static str, Vec<String>, Vec<Diagnostic>);

fn describe(state: &State) -> Description {
    match state {
        State::Blocked(on) => ("blocked", vec![format!("`{on}` comes first")], Vec::new()),
        State::Decided(decided) => match &decided.decision {
            Decision::Fresh(_) => ("fresh", Vec::new(), decided.replayed.clone()),
            Decision::Restorable(_) => (
                "restorable",
                vec!["an output is missing or was changed; the cache has it".to_owned()],
                decided.replayed.clone(),
            ),
            Decision::Stale(reasons) => ("stale", reasons.clone(), Vec::new()),
            Decision::Remembered(result) => (
                "failed",
                vec!["it failed, and nothing has changed since".to_owned()],
                result.diagnostics.clone(),
            ),
            Decision::Invalid(diagnostics) => ("invalid", Vec::new(), diagnostics.clone()),
        },
    }
}
