//! Warnings that are still valid although the last run did not report them: a watch does not process sources that are
//! known to be up to date, so a run repeats only some of the warnings.

use std::collections::HashSet;

use crate::events::{Diagnostic, Event, Severity, Status};

/// The valid warnings and notes, in the order in which they were first reported.
#[derive(Default)]
pub(super) struct StandingWarnings {
    standing: Vec<Diagnostic>,
    /// Those of the current run.
    seen: Vec<Diagnostic>,
    /// Sources that were processed in the current run.
    touched: HashSet<String>,
    /// Sources of actions. Warnings about other files, such as the specification, are reported in every run.
    sources: HashSet<String>,
    is_news: bool,
}

impl StandingWarnings {
    /// Records an event.
    pub(super) fn add(&mut self, event: &Event) {
        match event {
            Event::ActionStarted { source, .. } => self.touch(source),
            // A failed action may be one of an earlier run, reported again without the warnings of the source's other
            // outputs.
            Event::ActionFinished { source, status, .. }
                if !matches!(status, Status::Superseded | Status::Failed) =>
            {
                self.touch(source);
            }
            Event::Diagnostic(diagnostic)
                if diagnostic.severity != Severity::Error && !self.seen.contains(diagnostic) =>
            {
                self.seen.push(diagnostic.clone());
            }
            Event::RunFinished {
                interrupted: false, ..
            } => self.end(),
            _ => {}
        }
    }

    /// Returns the warnings that are valid after the last finished run.
    pub(super) fn all(&self) -> &[Diagnostic] {
        &self.standing
    }

    /// Returns whether the last finished run changed them.
    pub(super) fn is_news(&self) -> bool {
        self.is_news
    }

    fn touch(&mut self, source: &str) {
        self.sources.insert(source.to_owned());
        self.touched.insert(source.to_owned());
    }

    fn end(&mut self) {
        let before = self.standing.clone();
        let (sources, touched) = (&self.sources, std::mem::take(&mut self.touched));
        self.standing.retain(|warning| {
            let file = warning.file.as_deref();
            file.is_some_and(|file| sources.contains(file) && !touched.contains(file))
        });
        for warning in std::mem::take(&mut self.seen) {
            if !self.standing.contains(&warning) {
                self.standing.push(warning);
            }
        }
        self.is_news = self.standing != before;
    }
}
