//! What is made in this process: notebooks, scripts, texts and copies, a few at a time.

use std::time::{Duration, Instant};

use tracing::{Span, debug_span};

use crate::digest::Digest;
use crate::error::Result;
use crate::events::{ActionKind, Status};
use crate::plan::{self, ActionIndex, Make};
use crate::store::{CachedResult, ResultStatus};

use super::super::decide::Decided;
use super::super::jobs;
use super::super::publish::Content;
use super::restore::ToPublish;
use super::{Progressing, State, millis, upstream};

/// How many actions are done in this process before workers are given their due, and for how long at most.
const SLICE: usize = 64;
const LONGEST: Duration = Duration::from_millis(15);

/// Something that was made and waits to be written.
pub(super) struct Made {
    index: ActionIndex,
    decided: Decided,
    started: Instant,
    took: Duration,
    name: String,
    digest: Digest,
    span: Span,
}

impl Progressing<'_, '_> {
    /// Makes some of what is made in this process; false when there is none.
    pub(super) fn make_some_here(&mut self) -> Result<bool> {
        if self.local.is_empty() {
            return Ok(false);
        }
        let _span = debug_span!("make here").entered();
        let started = Instant::now();
        let mut done = 0;
        while done < SLICE
            && started.elapsed() < LONGEST
            && let Some(index) = self.local.pop_front()
        {
            done += 1;
            if self.stopping {
                self.states[index] = State::Without;
            } else if let Some(queued) = self.decide(index)? {
                debug_assert!(false, "`{}` needs a worker", queued.action.id);
            }
        }
        self.place_made()?;
        Ok(true)
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
        let started = Instant::now();
        let span = self.action_span(action, &reasons, 1);
        let inside = span.enter();
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
                let upstream = upstream(&self.states, action);
                let images = jobs::data_urls(&work.images, &upstream, root, session.store)?;
                let Some(images) = images else {
                    return self.changed(index, started);
                };
                let text = plan::written(work, images);
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
        let name = action.outputs.first().map(|output| output.name.clone());
        drop(inside);
        let made = Made {
            index,
            decided,
            started,
            took: started.elapsed(),
            name: name.unwrap_or_default(),
            digest,
            span,
        };
        let contents = action.outputs.iter().map(|_| (digest, content.clone()));
        let contents = contents.collect();
        self.made.push((made, ToPublish { index, contents }));
        Ok(())
    }

    /// Publishes what was made.
    fn place_made(&mut self) -> Result<()> {
        let made = std::mem::take(&mut self.made);
        let (made, to_publish): (Vec<Made>, Vec<ToPublish>) = made.into_iter().unzip();
        let are_done = self.publish(&to_publish)?;
        for (made, is_done) in made.into_iter().zip(are_done) {
            let _inside = made.span.enter();
            if !is_done {
                self.changed(made.index, made.started)?;
                continue;
            }
            let plan = self.round.plan;
            let action = &plan.actions[made.index];
            if action.kind == ActionKind::Deck {
                let result = CachedResult {
                    discovered: Vec::new(),
                    status: ResultStatus::Ok,
                    outputs: vec![(made.name.clone(), made.digest, 0)],
                    diagnostics: Vec::new(),
                    duration_ms: millis(made.took),
                };
                let store = self.round.session.store;
                store.record_result_later(&action.id, action.kind, &made.decided.key, &result);
            }
            self.note_latest(made.index, &made.decided, &[], Some(made.took));
            self.end(made.index, Status::Built, made.took);
            self.complete(made.index, Some([(made.name, made.digest)].into()));
        }
        Ok(())
    }

    /// A source changed after it was hashed: the next round sees the new one.
    fn changed(&mut self, index: ActionIndex, started: Instant) -> Result<()> {
        self.ended.again = true;
        self.end(index, Status::Superseded, started.elapsed());
        self.complete(index, None);
        Ok(())
    }
}
