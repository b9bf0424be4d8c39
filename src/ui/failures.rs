//! What failed in a run, a line for each file that the author edits: all outputs of a deck fail together.

use std::collections::BTreeMap;

use crate::events::{Event, Status};

/// Failures by their source.
#[derive(Debug, Default)]
pub struct Failures(BTreeMap<String, Failure>);

#[derive(Debug, Default)]
struct Failure {
    outputs: u64,
    /// Whether something failed now, and not only in an earlier run.
    is_new: bool,
}

impl Failures {
    /// Takes note of an event. What failed because of something else goes with that.
    pub fn add(&mut self, event: &Event) {
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

    /// The lines to end a run with.
    pub fn take(&mut self) -> Vec<String> {
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
