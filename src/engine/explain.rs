//! Why something is up to date or not, from the records alone.

use crate::digest::Digest;
use crate::error::Result;
use crate::events::{ActionKind, Diagnostic};
use crate::plan::Plan;

use super::decide::{Decided, Decider, Decision, Results};
use super::jobs::from_remembered;
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
    for action in &plan.actions {
        let mut upstream: Vec<&Results> = Vec::new();
        let mut blocked = None;
        for before in &action.after {
            match &states[*before] {
                State::Decided(decided) => match &decided.decision {
                    Decision::Fresh(results) | Decision::Restorable(results) => {
                        upstream.push(results);
                    }
                    _ => blocked = Some(plan.actions[*before].id.clone()),
                },
                State::Blocked(on) => blocked = Some(on.clone()),
            }
        }
        let state = match blocked {
            Some(on) => State::Blocked(on),
            None => State::Decided(Box::new(
                decider.decide(action, &upstream, publisher, true)?,
            )),
        };
        states.push(state);
    }
    Ok(states)
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
pub fn about(path: &str, plan: &Plan, states: &[State], decider: &Decider<'_>) -> Vec<Explained> {
    plan.actions
        .iter()
        .zip(states)
        .filter_map(|(action, state)| {
            let latest = decider.latest(&action.id);
            let outputs: Vec<String> = action
                .outputs
                .iter()
                .flat_map(|output| output.destinations.iter().cloned())
                .collect();
            let is_discovered =
                latest.is_some_and(|latest| latest.discovered.iter().any(|(file, _)| file == path));
            let is_input = action.source.as_str() == path
                || action
                    .inputs
                    .iter()
                    .any(|(input, _)| input.as_str() == path);
            if !is_discovered && !is_input && !outputs.iter().any(|output| output == path) {
                return None;
            }
            let (state, reasons, parts, diagnostics) = describe(state);
            Some(Explained {
                action: action.id.clone(),
                kind: action.kind,
                source: action.source.to_string(),
                state,
                reasons,
                parts: if parts.is_empty() {
                    action.parts.parts().to_vec()
                } else {
                    parts
                },
                discovered: latest.map_or_else(Vec::new, |latest| latest.discovered.clone()),
                outputs,
                diagnostics: from_remembered(action, diagnostics),
                duration_ms: latest.map(|latest| latest.duration_ms),
                finished_ms: latest.map(|latest| latest.finished_ms),
            })
        })
        .collect()
}

type Description = (
    &'static str,
    Vec<String>,
    Vec<(String, String)>,
    Vec<Diagnostic>,
);

fn describe(state: &State) -> Description {
    match state {
        State::Blocked(on) => (
            "blocked",
            vec![format!("`{on}` comes first")],
            Vec::new(),
            Vec::new(),
        ),
        State::Decided(decided) => {
            let parts = decided.parts.parts().to_vec();
            match &decided.decision {
                Decision::Fresh(_) => ("fresh", Vec::new(), parts, decided.replayed.clone()),
                Decision::Restorable(_) => (
                    "restorable",
                    vec!["an output is missing or was changed; the cache has it".to_owned()],
                    parts,
                    decided.replayed.clone(),
                ),
                Decision::Stale(reasons) => ("stale", reasons.clone(), parts, Vec::new()),
                Decision::Remembered(result) => (
                    "failed",
                    vec!["it failed, and nothing has changed since".to_owned()],
                    parts,
                    result.diagnostics.clone(),
                ),
                Decision::Invalid(diagnostics) => {
                    ("invalid", Vec::new(), parts, diagnostics.clone())
                }
            }
        }
    }
}
