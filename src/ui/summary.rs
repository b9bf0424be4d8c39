//! The summary of a run as a JSON file.

use serde::Serialize;

use crate::diagnostic::{Diagnostic, Reported};
use crate::events::{CacheUse, Counts, Event, Status};

/// The content of the file that `--summary` writes.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// The outcomes of the actions.
    #[serde(flatten)]
    counts: Counts,
    /// How long the run took, in milliseconds; `None` if it did not end.
    duration_ms: Option<u64>,
    /// What the caches were used for.
    cache: CacheUse,
    /// Actions that workers made.
    built_actions: Vec<String>,
    /// Actions that failed.
    failed_actions: Vec<String>,
    /// Outputs that were written.
    written_outputs: Vec<String>,
    /// Outputs that were removed.
    removed_outputs: Vec<String>,
    /// Diagnostics of the run.
    diagnostics: Vec<Diagnostic>,
}

impl Summary {
    /// Records an event.
    pub(crate) fn add(&mut self, event: &Event) {
        match event {
            Event::ActionFinished {
                action,
                status: Status::Built,
                ..
            } => {
                self.built_actions.push(action.clone());
            }
            Event::ActionFinished {
                action,
                status: Status::Failed,
                ..
            } => {
                self.failed_actions.push(action.clone());
            }
            Event::Output {
                path,
                digest: Some(_),
            } => self.written_outputs.push(path.clone()),
            Event::Output { path, digest: None } => self.removed_outputs.push(path.clone()),
            Event::Diagnostic(Reported { diagnostic, .. }) => {
                if !self.diagnostics.contains(diagnostic) {
                    self.diagnostics.push(diagnostic.clone());
                }
            }
            Event::CacheUsed(cache) => self.cache = *cache,
            Event::RunFinished {
                counts,
                duration_ms,
                ..
            } => {
                self.counts = *counts;
                self.duration_ms = Some(*duration_ms);
            }
            _ => {}
        }
    }

    /// Returns the text of the file.
    pub(crate) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
