//! Collects the failures of a run, in one line per source file, since all outputs of a deck fail together.

use std::collections::BTreeMap;

use crate::events::{Event, Status};

/// The failures by their source.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<String, Failure>);

#[derive(Debug, Default)]
struct Failure {
    outputs: u64,
    /// Whether something failed in this run, and not only in an earlier one.
    is_new: bool,
}

impl Failures {
    /// Records an event. A failure with another cause is not counted separately, since it is reported with its cause.
    pub(super) fn add(&mut self, event: &Event) {
        match event {
            Event::RunStarted { .. } => self.0.clear(),
            Event::ActionFinished {
                source,
                status: Status::Failed,
                replayed,
                cause: None,
                not_made,
                ..
            } => {
                let failure = self.0.entry(source.clone()).or_default();
                failure.outputs += not_made;
                failure.is_new |= !replayed;
            }
            _ => {}
        }
    }

    /// Returns the lines about all failures, for the end of a run, and forgets the failures.
    pub(super) fn take(&mut self) -> Vec<String> {
        let all = std::mem::take(&mut self.0).into_iter();
        all.map(|(source, failure)| {
            let outputs = match failure.outputs {
                0 => String::new(),
                1 => " (1 output not made)".to_owned(),
                count => format!(" ({count} outputs not made)"),
            };
            match failure.is_new {
                true => format!("  failed {source}{outputs}"),
                false => format!("still failing: {source}{outputs}"),
            }
        })
        .collect()
    }
}
