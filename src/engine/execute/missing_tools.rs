//! Tools that are missing or do not start: each is reported once, with the number of outputs that were not made.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Diagnostic;
use crate::plan::Action;

/// The actions that were not made because of missing tools.
#[derive(Debug, Default)]
pub(crate) struct MissingTools(BTreeMap<Tool, BTreeMap<String, Missed>>);

/// The diagnostic about a tool: its message and its hint.
type Tool = (String, Option<String>);

/// An action that needs the tool.
#[derive(Debug)]
struct Missed {
    source: String,
    outputs: u64,
}

impl MissingTools {
    /// Adds an action that failed with the diagnostic `said`. `outputs` is the number of outputs that were not made.
    pub(super) fn add(&mut self, action: &Action, failure: Diagnostic, outputs: u64) {
        let missed = Missed {
            source: action.source.to_string(),
            outputs,
        };
        let tool = self.0.entry((failure.message, failure.hint)).or_default();
        tool.insert(action.id.to_string(), missed);
    }

    /// Removes all tools, and returns one error for each.
    pub(crate) fn take(&mut self) -> Vec<Diagnostic> {
        let all = std::mem::take(&mut self.0).into_iter();
        all.map(|((message, hint), missed)| {
            let sources: BTreeSet<&str> = missed.values().map(|m| m.source.as_str()).collect();
            let outputs: u64 = missed.values().map(|missed| missed.outputs).sum();
            let outputs = match outputs {
                1 => "1 output".to_owned(),
                count => format!("{count} outputs"),
            };
            let mut failure = match (sources.first(), sources.len()) {
                (Some(source), 1) => {
                    Diagnostic::error(format!("{message}: {outputs} not made")).at(*source, None)
                }
                (_, count) => {
                    Diagnostic::error(format!("{message}: {outputs} of {count} sources not made"))
                }
            };
            failure.hint = hint;
            failure
        })
        .collect()
    }
}
