//! The report of a build that has nothing to do.

use std::collections::HashSet;
use std::time::Duration;

use crate::events::{Counts, Diagnostic, Event, Events};

use super::super::load::Loaded;
use super::super::settled::Settled;

/// A course of which everything is up to date.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Idle {
    /// The number of actions.
    pub fresh: u64,
    /// The diagnostics of the actions and of the course.
    pub said: Vec<Diagnostic>,
    /// Directories that exist although they are empty.
    pub empty_dirs: Vec<String>,
    /// The directory of each target: relative to the course root, or absolute.
    pub target_roots: Vec<String>,
}

impl Idle {
    /// Returns the course as it was loaded, if all of its actions are up to date.
    pub(in super::super) fn of(loaded: &Loaded, settled: &Settled) -> Option<Self> {
        let mut told = HashSet::new();
        let mut said = Vec::new();
        let mut say = |diagnostics: &[Diagnostic]| {
            for diagnostic in diagnostics {
                if told.insert(diagnostic.clone()) {
                    said.push(diagnostic.clone());
                }
            }
        };
        say(&loaded.diagnostics);
        for action in &loaded.plan.actions {
            settled.results(action)?;
            say(&action.warnings);
            say(settled.said(action));
        }
        Some(Self {
            fresh: loaded.plan.actions.len() as u64,
            said,
            empty_dirs: loaded.empty_dirs.clone(),
            target_roots: loaded.target_roots.clone(),
        })
    }

    /// Returns the counts of a build of it.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            fresh: self.fresh,
            ..Counts::default()
        }
    }

    /// Emits the events of a run that had nothing to do.
    pub(crate) fn report(&self, events: &Events, run: i64, trigger: &str, duration: Duration) {
        events.emit(Event::RunStarted {
            run,
            trigger: trigger.to_owned(),
            actions: self.fresh,
        });
        for diagnostic in &self.said {
            events.emit(Event::Diagnostic(diagnostic.clone()));
        }
        events.emit(Event::RunFinished {
            run,
            counts: self.counts(),
            duration_ms: duration.as_millis() as u64,
            interrupted: false,
        });
    }
}
