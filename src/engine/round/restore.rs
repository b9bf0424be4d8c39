//! Results that are known already, and what was just made: brought to their places, many at a time.

use std::time::Instant;

use crate::digest::Digest;
use crate::error::Result;
use crate::events::{Diagnostic, Status};
use crate::plan::{Action, ActionIndex};

use super::super::decide::{Decided, Results};
use super::super::publish::{Content, Output, Prepared};
use super::{Progressing, Queued};

/// How many actions are restored before people are told of them.
const GROUP: usize = 256;

/// An action with a known result whose outputs are missing or differ.
pub(super) struct Restorable {
    pub(super) index: ActionIndex,
    pub(super) decided: Decided,
    pub(super) results: Results,
    pub(super) replayed: Vec<Diagnostic>,
}

/// An action with the content of each of its outputs, in their order.
pub(super) struct ToPublish<'c> {
    pub(super) index: ActionIndex,
    pub(super) contents: Vec<(Digest, &'c Content)>,
}

impl Progressing<'_, '_> {
    /// Restores what was found to be restorable. What turns out to be damaged must be made anew.
    pub(super) fn restore(&mut self, damaged: &mut Vec<Queued>) -> Result<()> {
        let mut all = std::mem::take(&mut self.restorable).into_iter().peekable();
        while all.peek().is_some() {
            self.restore_group(all.by_ref().take(GROUP).collect(), damaged)?;
        }
        Ok(())
    }

    fn restore_group(&mut self, group: Vec<Restorable>, damaged: &mut Vec<Queued>) -> Result<()> {
        let started = Instant::now();
        let plan = self.round.plan;
        let mut to_publish = Vec::with_capacity(group.len());
        for restorable in &group {
            let action = &plan.actions[restorable.index];
            to_publish.push(ToPublish {
                index: restorable.index,
                contents: blobs(action, &restorable.results),
            });
        }
        let are_there = self.publish(&to_publish)?;
        let took = started.elapsed();
        for (restorable, is_there) in group.into_iter().zip(are_there) {
            let index = restorable.index;
            // The work was done for all of them together: that is the phase around this.
            let span = self.action_span(&plan.actions[index], &[], 0);
            let _inside = span.enter();
            let decided = restorable.decided;
            if is_there {
                self.say(index, restorable.replayed);
                self.note_latest(index, &decided, &decided.discovered, None)?;
                self.end(index, Status::Restored, took);
                self.complete(index, Some(restorable.results));
            } else {
                span.record("status", "damaged");
                let reasons = vec!["its cached result is damaged".to_owned()];
                damaged.push(self.to_be_queued(index, decided, reasons)?);
            }
        }
        Ok(())
    }

    /// Publishes results of one action from the blob store; false when a blob is damaged.
    pub(super) fn publish_blobs(&mut self, index: ActionIndex, results: &Results) -> Result<bool> {
        let contents = blobs(&self.round.plan.actions[index], results);
        let published = self.publish(&[ToPublish { index, contents }])?;
        Ok(published == [true])
    }

    /// Publishes the outputs of actions. For each whether it was done: it is not when the content of an output is not
    /// what it should be.
    #[tracing::instrument(level = "debug", name = "publish", skip_all)]
    pub(super) fn publish(&mut self, all: &[ToPublish<'_>]) -> Result<Vec<bool>> {
        let plan = self.round.plan;
        let mut outputs = Vec::new();
        for ToPublish { index, contents } in all {
            let action = &plan.actions[*index];
            for (output, (digest, content)) in action.outputs.iter().zip(contents) {
                outputs.push(Output {
                    destinations: &output.destinations,
                    digest: *digest,
                    content,
                    action: action.id.clone(),
                });
            }
        }
        let mut prepared = self.round.publisher.prepare(&outputs)?.into_iter();
        let mut staged = Vec::new();
        let mut are_done = Vec::with_capacity(all.len());
        for ToPublish { index, contents } in all {
            let action = &plan.actions[*index];
            // All of them are taken, even if one is lost: what follows belongs to the next action.
            let outputs: Vec<_> = prepared.by_ref().take(contents.len()).collect();
            let outputs: Option<Vec<_>> = outputs.into_iter().collect();
            are_done.push(outputs.is_some() && contents.len() == action.outputs.len());
            for place in outputs.into_iter().flatten().flatten() {
                match place {
                    Prepared::Staged(output) => staged.push(output),
                    Prepared::Unchanged(..) => {}
                    Prepared::Refused(destination) => self.refused(action, &destination),
                }
            }
        }
        self.round.publisher.place(staged)?;
        Ok(are_done)
    }

    fn refused(&self, action: &Action, destination: &str) {
        self.warn(&[Diagnostic::warning(format!(
            "`{destination}` was not made by clm and is left alone; the outputs show the rendered diagram"
        ))
        .at(action.source.as_str(), None)
        .hint("remove that file, or set `write_back = false` under `[diagrams]` in `clm.toml`")]);
    }
}

/// The results of an action as blobs, up to the first that it does not have.
fn blobs(action: &Action, results: &Results) -> Vec<(Digest, &'static Content)> {
    let digest_of = |name: &str| results.iter().find(|(known, _)| **known == *name);
    let outputs = action.outputs.iter();
    outputs
        .map_while(|output| digest_of(&output.name))
        .map(|(_, digest)| (*digest, &Content::Blob))
        .collect()
}
