//! Actions that this process makes without workers, a few at a time: notebooks, scripts, texts and copies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::debug_span;

use crate::digest::Digest;
use crate::error::Result;
use crate::events::{ActionKind, Status};
use crate::plan::{self, ActionIndex, Make};
use crate::store::{CachedResult, ResultStatus};

use super::super::decide::Decided;
use super::super::publish::Content;
use super::request;
use super::restore::{Published, ToPublish};
use super::{Execution, millis};

/// The maximum number of actions that are made here before answers of workers are handled, and the maximum duration.
const SLICE: usize = 64;
const LONGEST: Duration = Duration::from_millis(15);
/// The maximum size of contents in memory before they are published, in bytes.
const LARGEST: usize = 16 * 1024 * 1024;

/// An action that was made and is not yet published.
pub(super) struct Made {
    index: ActionIndex,
    decided: Decided,
    started: Instant,
    took: Duration,
    digest: Digest,
    content: Content,
}

impl Made {
    fn size(&self) -> usize {
        match &self.content {
            Content::Bytes(bytes) => bytes.len(),
            Content::Blob | Content::File(_) => 0,
        }
    }
}

impl Execution<'_, '_> {
    /// Makes an action in this process, and some others after it.
    pub(super) fn make_some(&mut self, first: ActionIndex) -> Result<()> {
        let _span = debug_span!("make here").entered();
        let started = Instant::now();
        let (mut done, mut next) = (0, Some(first));
        while let Some(index) = next {
            done += 1;
            if let Some(queued) = self.decide(index)? {
                debug_assert!(false, "`{}` needs a worker", queued.action.id);
            }
            let has_time = done < SLICE && started.elapsed() < LONGEST;
            let has_room = self.made.iter().map(Made::size).sum::<usize>() < LARGEST;
            next = (has_time && has_room)
                .then(|| self.schedule.next_local())
                .flatten();
        }
        self.publish_made()
    }

    /// Makes a notebook, a script or a copy in this process.
    pub(super) fn make_here(
        &mut self,
        index: ActionIndex,
        decided: Decided,
        reasons: Vec<String>,
    ) -> Result<()> {
        let plan = self.round.plan;
        let action = &plan.actions[index];
        let session = self.round.session;
        let root = &session.course.place.root;
        let span = self.action_span(action, &reasons, 1);
        let _inside = span.enter();
        let started = Instant::now();
        self.started(action, reasons);
        let recipe = match action.kind {
            ActionKind::Copy => None,
            _ => match self.round.recipes.recipe(index) {
                Some(recipe) => Some(recipe),
                None => return self.changed(index, started),
            },
        };
        let (digest, content) = match recipe.as_ref().map(|recipe| &recipe.make) {
            Some(Make::Deck(work)) => {
                let upstream = self.schedule.upstream(index);
                let images = request::data_urls(&work.images, &upstream, root, session.store)?;
                let Some(images) = images else {
                    return self.changed(index, started);
                };
                let text = plan::written(work, images);
                (Digest::of(&text), Content::Bytes(text.into_bytes()))
            }
            Some(Make::Notebook(work)) => {
                let upstream = self.schedule.upstream(index);
                let Some(notebook) = request::executed_notebook(work, &upstream, session.store)?
                else {
                    return self.changed(index, started);
                };
                let text = notebook.to_ipynb();
                (Digest::of(&text), Content::Bytes(text.into_bytes()))
            }
            Some(Make::Text(made)) => {
                let bytes = made.as_bytes();
                (Digest::of(bytes), Content::Bytes(bytes.to_vec()))
            }
            _ => {
                let source = action.source.under(root);
                let digest = action.inputs.first().map(|(_, digest)| *digest);
                let digest = digest.unwrap_or_else(|| Digest::of(b""));
                (digest, Content::File(source))
            }
        };
        // The span must end here: publishing is done for many actions together, so that their spans would overlap.
        span.record("status", Status::Written.name());
        self.made.push(Made {
            index,
            decided,
            started,
            took: started.elapsed(),
            digest,
            content,
        });
        Ok(())
    }

    /// Publishes the actions that were made.
    fn publish_made(&mut self) -> Result<()> {
        let plan = self.round.plan;
        let all = std::mem::take(&mut self.made);
        // Every such action has one output.
        let to_publish = all.iter().map(|made| ToPublish {
            index: made.index,
            contents: vec![(made.digest, &made.content)],
        });
        let published = self.publish(&to_publish.collect::<Vec<_>>())?;
        for (made, published) in all.into_iter().zip(published) {
            let (digest, took) = (made.digest, made.took);
            let index = made.index;
            if published == Published::Damaged {
                self.changed(index, made.started)?;
                continue;
            }
            let action = &plan.actions[index];
            let name = action
                .outputs
                .first()
                .map(|output| Arc::clone(&output.name));
            let name = name.unwrap_or_default();
            if action.kind == ActionKind::Deck {
                let result = CachedResult {
                    discovered: Vec::new(),
                    status: ResultStatus::Ok,
                    outputs: vec![(name.to_string(), digest, 0)],
                    diagnostics: Vec::new(),
                    duration_ms: millis(took),
                    origin: None,
                };
                let store = self.round.session.store;
                store.record_result_later(&action.id, action.kind, &made.decided.key, &result);
            }
            self.note_latest(index, &made.decided, &[], Some(took))?;
            let results = [(name, digest)].into();
            if let Published::Failed(reasons) = published {
                self.unplaced(index, &reasons, results, took);
                continue;
            }
            self.report_and_keep(index, Vec::new(), &results);
            self.end(index, Status::Written, took);
            self.schedule.up_to_date(index, results);
        }
        Ok(())
    }

    /// Leaves an action to the next round, because a source changed after it was hashed.
    fn changed(&mut self, index: ActionIndex, started: Instant) -> Result<()> {
        self.ended.again = true;
        self.supersede(index, started.elapsed());
        Ok(())
    }
}
