//! Publishes the outputs of actions with known or new results, many actions at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::error::Result;
use crate::events::Status;
use crate::plan::{Action, ActionIndex};

use super::super::decide::{Decided, Results, digest_of};
use super::super::publish::{Content, Failure, Output, Prepared};
use super::{Execution, Queued};

/// The number of actions that are restored before they are reported.
const GROUP: usize = 256;

/// An action with a known result whose outputs are missing or differ.
pub(super) struct Restorable {
    pub(super) index: ActionIndex,
    pub(super) decided: Decided,
    pub(super) results: Results,
    pub(super) replayed: Vec<Diagnostic>,
}

/// The outcome of publishing the outputs of an action.
#[derive(Debug, PartialEq)]
pub(super) enum Published {
    /// All are in their places.
    Done,
    /// The content of one does not have its digest: a damaged blob, or a source that changed.
    Damaged,
    /// Some cannot be put in their places.
    Failed(Vec<Diagnostic>),
}

/// An action with the content of each of its outputs, in their order.
pub(super) struct ToPublish<'c> {
    pub(super) index: ActionIndex,
    pub(super) contents: Vec<(Digest, &'c Content)>,
}

impl Execution<'_, '_> {
    /// Restores the collected restorable actions. Those with damaged results are added to `damaged`, to be made again.
    /// A run that is cancelled restores no more of them.
    pub(super) fn restore(&mut self, damaged: &mut Vec<Queued>) -> Result<()> {
        let mut all = std::mem::take(&mut self.restorable).into_iter().peekable();
        while all.peek().is_some() {
            if self.stop_if_cancelled() {
                all.for_each(|other| self.schedule.superseded(other.index));
                break;
            }
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
        let keys = group.iter().map(|restorable| restorable.decided.key);
        self.round.session.store.note_used_later(keys.collect());
        let published = self.publish(&to_publish)?;
        let took = started.elapsed();
        for (restorable, published) in group.into_iter().zip(published) {
            let index = restorable.index;
            // This span has no duration: the work was done for all actions together, and is measured by the phase
            // around it.
            let span = self.action_span(&plan.actions[index], &[], 0);
            let _inside = span.enter();
            let decided = restorable.decided;
            match published {
                Published::Done => {
                    if !self.asks.was_asked_for(index) {
                        self.ended.restored += 1;
                        self.ended.saved_ms +=
                            decided.made.as_ref().map_or(0, |made| made.duration_ms);
                    }
                    self.report_and_keep(index, restorable.replayed, &restorable.results);
                    self.note_latest(index, &decided, &decided.discovered, None)?;
                    self.end(index, Status::Restored, took);
                    self.schedule.up_to_date(index, restorable.results);
                }
                Published::Failed(reasons) => {
                    self.report(index, &restorable.replayed);
                    self.unplaced(index, &reasons, restorable.results, took);
                }
                Published::Damaged => {
                    span.record("status", "damaged");
                    let reasons = vec!["its cached result is damaged".to_owned()];
                    damaged.push(self.to_be_queued(index, decided, reasons)?);
                }
            }
        }
        Ok(())
    }

    /// Reports an action that has its results, but not all of its outputs in their places. Actions that need only the
    /// results can still be made.
    pub(super) fn unplaced(
        &mut self,
        index: ActionIndex,
        reasons: &[Diagnostic],
        results: Results,
        took: Duration,
    ) {
        self.report(index, reasons);
        self.end(index, Status::Failed, took);
        self.schedule.unplaced(index, results);
        self.stop_if_fail_fast();
    }

    /// Publishes the results of one action from the blob store.
    pub(super) fn publish_blobs(
        &mut self,
        index: ActionIndex,
        results: &Results,
    ) -> Result<Published> {
        let contents = blobs(&self.round.plan.actions[index], results);
        let mut published = self.publish(&[ToPublish { index, contents }])?;
        Ok(published.pop().unwrap_or(Published::Damaged))
    }

    /// Publishes the outputs of actions. Returns an outcome for each of them.
    #[tracing::instrument(level = "debug", name = "publish", skip_all)]
    pub(super) fn publish(&mut self, all: &[ToPublish<'_>]) -> Result<Vec<Published>> {
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
        let mut published = Vec::with_capacity(all.len());
        let mut failures: HashMap<Arc<str>, Vec<Diagnostic>> = HashMap::new();
        let mut fail = |failure: Failure| {
            let reasons = failures.entry(failure.action).or_default();
            reasons.push(failure.diagnostic);
        };
        for ToPublish { index, contents } in all {
            let action = &plan.actions[*index];
            // All of them are consumed, even if one is missing: what follows belongs to the next action.
            let outputs: Vec<_> = prepared.by_ref().take(contents.len()).collect();
            let outputs: Option<Vec<_>> = outputs.into_iter().collect();
            let is_whole = outputs.is_some() && contents.len() == action.outputs.len();
            published.push(match is_whole {
                true => Published::Done,
                false => Published::Damaged,
            });
            for place in outputs.into_iter().flatten().flatten() {
                match place {
                    Prepared::Staged(output) => staged.push(output),
                    // A refused place is reported with the action.
                    Prepared::Unchanged(..) | Prepared::Refused => {}
                    Prepared::Failed(failure) => fail(failure),
                }
            }
        }
        self.round
            .publisher
            .place(staged)?
            .into_iter()
            .for_each(fail);
        for (ToPublish { index, .. }, published) in all.iter().zip(&mut published) {
            let action = &plan.actions[*index];
            if *published == Published::Done
                && let Some(mut reasons) = failures.remove(&action.id)
            {
                for reason in &mut reasons {
                    reason.file.get_or_insert_with(|| action.source.to_string());
                }
                *published = Published::Failed(reasons);
            }
        }
        Ok(published)
    }
}

/// Returns the results of an action as blobs, up to the first one that is missing.
fn blobs(action: &Action, results: &Results) -> Vec<(Digest, &'static Content)> {
    let outputs = action.outputs.iter();
    outputs
        .map_while(|output| digest_of(results, &output.name))
        .map(|digest| (digest, &Content::Blob))
        .collect()
}
