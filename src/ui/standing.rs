//! Warnings that hold until what they are about is looked at again: a watch does not look at what it knows to be up to
//! date, and so is not told of it with every run.

use std::collections::HashSet;

use crate::events::{Diagnostic, Event, Severity, Status};

/// The warnings and notes that hold, in the order in which they were said first.
#[derive(Default)]
pub struct StandingWarnings {
    standing: Vec<Diagnostic>,
    /// Of the run that goes on.
    seen: Vec<Diagnostic>,
    /// Sources that were looked at in the run that goes on.
    touched: HashSet<String>,
    /// Sources of actions. What is said of other files, such as the specification, is said with every run.
    sources: HashSet<String>,
    is_news: bool,
}

impl StandingWarnings {
    /// Takes note of an event.
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::ActionStarted { source, .. } => self.touch(source),
            // What failed before is reported with every run, and the warnings of its other outputs are not.
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

    /// What holds after the last run that ended.
    pub fn all(&self) -> &[Diagnostic] {
        &self.standing
    }

    /// Whether the last run that ended changed what holds.
    pub fn is_news(&self) -> bool {
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
