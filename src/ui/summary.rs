//! The results of a command as a JSON file.

use std::collections::HashSet;

use serde::Serialize;

use crate::diagnostic::Diagnostic;
use crate::events::{CacheUse, Counts, Status};

use super::results::Results;

/// The content of the file that `--summary` writes.
#[derive(Serialize)]
struct Summary<'a> {
    /// How the command ended: `success`, `failure`, `invalid`, `error`, `stale` or `interrupted`.
    outcome: &'a str,
    exit_code: u8,
    /// What was asked for: `build`, `check`, `dry-run` or `verify`.
    mode: &'a str,
    /// The outcomes of the actions.
    #[serde(flatten)]
    counts: Counts,
    /// How long the run took, in milliseconds; `None` if it did not end.
    duration_ms: Option<u64>,
    /// What the caches were used for.
    cache: CacheUse,
    /// Actions that workers made.
    built_actions: Vec<&'a str>,
    /// Actions that failed.
    failed_actions: Vec<&'a str>,
    /// Actions that are not up to date, as a check found.
    stale_actions: Vec<&'a str>,
    /// Outputs that were written.
    written_outputs: &'a [String],
    /// Outputs that were removed.
    removed_outputs: &'a [String],
    /// Diagnostics of the run.
    diagnostics: Vec<&'a Diagnostic>,
}

/// Returns the text of the file.
pub(super) fn json(results: &Results) -> String {
    let with = |status| {
        let actions = results.with(status);
        actions.map(|done| done.action.as_str()).collect()
    };
    let stale = results.checked.iter().flat_map(|checked| &checked.stale);
    // Several actions may report the same.
    let mut known = HashSet::new();
    let diagnostics = results
        .diagnostics
        .iter()
        .map(|reported| &reported.diagnostic);
    let summary = Summary {
        outcome: results.outcome(),
        exit_code: results.exit_code,
        mode: results.mode.name(),
        counts: results.counts,
        duration_ms: results.duration_ms,
        cache: results.cache,
        built_actions: with(Status::Built),
        failed_actions: with(Status::Failed),
        stale_actions: stale.map(|stale| stale.action.as_str()).collect(),
        written_outputs: &results.written,
        removed_outputs: &results.removed,
        diagnostics: diagnostics.filter(|found| known.insert(*found)).collect(),
    };
    let mut text = serde_json::to_string_pretty(&summary).unwrap_or_default();
    text.push('\n');
    text
}
