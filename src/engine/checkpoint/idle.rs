//! The report of a build that has nothing to do.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::diagnostic::{Diagnostic, Reported};
use crate::events::{Counts, Event, Events};

use super::super::load::Loaded;
use super::super::up_to_date::UpToDateActions;

/// A course of which everything is up to date.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Idle {
    /// The number of actions.
    pub fresh: u64,
    /// The diagnostics of the course and of the actions, each with the first action that reports it.
    pub reported: Vec<Reported>,
    /// Directories that exist although they are empty.
    pub empty_dirs: Vec<String>,
    /// The directory of each target: relative to the course root, or absolute.
    pub target_roots: Vec<String>,
}

impl Idle {
    /// Returns the course as it was loaded, if all of its actions are up to date.
    pub(in super::super) fn of<'l>(
        loaded: &'l Loaded,
        up_to_date: &'l UpToDateActions,
    ) -> Option<Self> {
        let mut seen = HashSet::new();
        let mut reported = Vec::new();
        let mut add = |action: Option<&Arc<str>>, diagnostic: &'l Diagnostic| {
            if seen.insert(diagnostic) {
                reported.push(Reported {
                    action: action.cloned(),
                    diagnostic: diagnostic.clone(),
                });
            }
        };
        for diagnostic in &loaded.diagnostics {
            add(None, diagnostic);
        }
        for action in &loaded.plan.actions {
            up_to_date.results(action)?;
            for diagnostic in action.warnings.iter().chain(up_to_date.diagnostics(action)) {
                add(Some(&action.id), diagnostic);
            }
        }
        Some(Self {
            fresh: loaded.plan.actions.len() as u64,
            reported,
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
        for reported in &self.reported {
            events.emit(Event::Diagnostic(reported.clone()));
        }
        events.emit(Event::RunFinished {
            run,
            counts: self.counts(),
            duration_ms: duration.as_millis() as u64,
            interrupted: false,
        });
    }
}
