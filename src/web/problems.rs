//! Which diagnostics still hold: one stays until what it is about was done again without it.

use std::collections::HashSet;

use crate::course::Lang;
use crate::events::{Diagnostic, Severity};

/// Diagnostics that were not taken back.
#[derive(Default)]
pub struct Problems {
    entries: Vec<Entry>,
}

struct Entry {
    diagnostic: Diagnostic,
    /// The change with which it was last said.
    said: u64,
    /// The language of the action that failed with it, where one of a language did.
    lang: Option<Lang>,
    /// Whether an action of its source failed after it was said: it then goes with that failure.
    is_of_failure: bool,
}

/// What is known at the end of a run.
pub struct RunEnd<'a> {
    /// The change with which the run, or the planning before it, began.
    pub began: u64,
    /// Whether the course was planned in this run: what planning has to say was said again.
    pub was_planned: bool,
    /// Sources that have actions, and whether one of them has failed.
    pub has_failed: &'a dyn Fn(&str) -> Option<bool>,
    /// Sources of which an action was reported in this run.
    pub touched: &'a HashSet<String>,
}

impl Problems {
    /// Everything that holds, in the order in which it was first said.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.entries.iter().map(|entry| &entry.diagnostic)
    }

    /// Adds what was said with a change; tells whether it is new.
    pub fn say(&mut self, diagnostic: &Diagnostic, change: u64) -> bool {
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

    /// An action of a source and a language failed. What was said since a change was said of it.
    pub fn failed(&mut self, source: &str, lang: Option<Lang>, since: u64) {
        for entry in &mut self.entries {
            if entry.is_error() && entry.is_about(source) {
                entry.is_of_failure = true;
                if entry.said > since {
                    entry.lang = entry.lang.or(lang);
                }
            }
        }
    }

    /// Everything that holds about a source, as somebody who looks at a page needs it: errors before the rest, those of
    /// the page's own language before those of the other.
    pub fn of_page(&self, source: &str, lang: Lang) -> Vec<Diagnostic> {
        let entries = self.entries.iter();
        let mut found: Vec<&Entry> = entries.filter(|entry| entry.is_about(source)).collect();
        found.sort_by_key(|entry| {
            let is_other = entry.lang.is_some_and(|of| of != lang);
            (!entry.is_error(), is_other)
        });
        found.iter().map(|entry| entry.diagnostic.clone()).collect()
    }

    /// Everything of a source that has failed did so after a change: of its failures only what was said since holds.
    pub fn failed_anew(&mut self, source: &str, since: u64) {
        self.keep(|entry| !(entry.is_of_failure && entry.is_about(source)) || entry.said >= since);
    }

    /// No action of a source is failed any more; tells whether something was taken back.
    pub fn is_fixed(&mut self, source: &str) -> bool {
        self.keep(|entry| !(entry.is_of_failure && entry.is_about(source)))
    }

    /// A run is over; tells whether something was taken back.
    pub fn end_run(&mut self, end: &RunEnd<'_>) -> bool {
        self.keep(|entry| {
            if entry.said >= end.began {
                return true;
            }
            let file = entry.diagnostic.file.as_deref();
            match file.and_then(|file| (end.has_failed)(file)) {
                // It is about the specification, a directory, a file that others include, or a source without actions.
                None => !end.was_planned,
                Some(has_failed) if entry.is_of_failure => has_failed,
                // An error without a failure comes from planning.
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
