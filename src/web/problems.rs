//! Diagnostics that are still valid: each is retained until its subject was processed again without it.

use std::collections::HashSet;

use crate::course::Lang;
use crate::events::{Diagnostic, Severity};

/// The diagnostics that were not withdrawn.
#[derive(Default)]
pub(super) struct Problems {
    entries: Vec<Entry>,
}

struct Entry {
    diagnostic: Diagnostic,
    /// The change with which it was last reported.
    said: u64,
    /// The language of the failed action that reported it, if the action has one.
    lang: Option<Lang>,
    /// Whether an action of its source has failed since it was reported: it is then withdrawn with that failure.
    is_of_failure: bool,
}

/// The state at the end of a run.
pub(super) struct RunEnd<'a> {
    /// The change with which the run, or the planning before it, began.
    pub began: u64,
    /// Whether the course was planned in this run, so that all diagnostics of planning were reported again.
    pub was_planned: bool,
    /// Returns whether an action of a source has failed, or `None` if the source has no actions.
    pub has_failed: &'a dyn Fn(&str) -> Option<bool>,
    /// Sources with an action that was reported in this run.
    pub touched: &'a HashSet<String>,
}

impl Problems {
    /// Returns all diagnostics in the order in which they were first reported.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.entries.iter().map(|entry| &entry.diagnostic)
    }

    /// Adds a diagnostic that was reported with a change; returns whether it is new.
    pub(super) fn say(&mut self, diagnostic: &Diagnostic, change: u64) -> bool {
        let known = self
            .entries
            .iter_mut()
            .find(|entry| entry.diagnostic == *diagnostic);
        if let Some(known) = known {
            known.said = change;
            return false;
        }
        self.entries.push(Entry {
            diagnostic: diagnostic.clone(),
            said: change,
            lang: None,
            is_of_failure: false,
        });
        true
    }

    /// Assigns errors to the failure of an action with this source and language. Errors reported after the change
    /// `since` are those of the action itself.
    pub(super) fn failed(&mut self, source: &str, lang: Option<Lang>, since: u64) {
        for entry in &mut self.entries {
            if entry.is_error() && entry.is_about(source) {
                entry.is_of_failure = true;
                if entry.said > since {
                    entry.lang = entry.lang.or(lang);
                }
            }
        }
    }

    /// Returns the diagnostics of a source in the order for a page: errors first, and among them those of the page's
    /// language before those of the other.
    pub(super) fn of_page(&self, source: &str, lang: Lang) -> Vec<Diagnostic> {
        let entries = self.entries.iter();
        let mut found: Vec<&Entry> = entries.filter(|entry| entry.is_about(source)).collect();
        found.sort_by_key(|entry| {
            let is_other = entry.lang.is_some_and(|of| of != lang);
            (!entry.is_error(), is_other)
        });
        found.iter().map(|entry| entry.diagnostic.clone()).collect()
    }

    /// Withdraws errors of a source's earlier failures that were not reported since a change, after which all its
    /// failed actions have failed.
    pub(super) fn failed_anew(&mut self, source: &str, since: u64) {
        self.keep(|entry| !(entry.is_of_failure && entry.is_about(source)) || entry.said >= since);
    }

    /// Withdraws the errors of a source's failures, since none of its actions is failed any more; returns whether there
    /// were any.
    pub(super) fn is_fixed(&mut self, source: &str) -> bool {
        self.keep(|entry| !(entry.is_of_failure && entry.is_about(source)))
    }

    /// Withdraws diagnostics at the end of a run; returns whether there were any.
    pub(super) fn end_run(&mut self, end: &RunEnd<'_>) -> bool {
        self.keep(|entry| {
            if entry.said >= end.began {
                return true;
            }
            let file = entry.diagnostic.file.as_deref();
            match file.and_then(|file| (end.has_failed)(file)) {
                // It is about the specification, a directory, an included file, or a source without actions.
                None => !end.was_planned,
                Some(has_failed) if entry.is_of_failure => has_failed,
                // An error without a failed action comes from planning.
                Some(_) if entry.is_error() => !end.was_planned,
                Some(_) => file.is_none_or(|file| !end.touched.contains(file)),
            }
        })
    }

    fn keep(&mut self, holds: impl Fn(&Entry) -> bool) -> bool {
        let before = self.entries.len();
        self.entries.retain(holds);
        self.entries.len() != before
    }
}

impl Entry {
    fn is_error(&self) -> bool {
        self.diagnostic.severity == Severity::Error
    }

    fn is_about(&self, source: &str) -> bool {
        self.diagnostic.file.as_deref() == Some(source)
    }
}
