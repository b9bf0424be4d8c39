//! What is made in this process: notebooks, scripts, texts and copies, a few at a time.

use std::time::{Duration, Instant};

use tracing::debug_span;

use crate::digest::Digest;
use crate::error::Result;
use crate::events::{ActionKind, Status};
use crate::plan::{self, ActionIndex, DeckWork, Make};
use crate::store::{CachedResult, ResultStatus};

use super::super::decide::Decided;
use super::super::jobs;
use super::super::parallel;
use super::super::publish::Content;
use super::restore::ToPublish;
use super::{Progressing, State, millis, upstream};

/// How many actions are done in this process before workers are given their due, and for how long at most.
const SLICE: usize = 64;
const LONGEST: Duration = Duration::from_millis(15);
/// How many bytes of images are held for them before they are made.
const LARGEST: usize = 16 * 1024 * 1024;

/// Something that is to be made: everything for it was found.
pub(super) struct Making {
    index: ActionIndex,
    decided: Decided,
    started: Instant,
    /// How long it took to find everything.
    took: Duration,
    content: ToWrite,
}

enum ToWrite {
    /// A notebook or script, with the data URLs of its images.
    Deck(DeckWork, plan::DataUrls),
    /// What there is already.
    Known(Digest, Content),
}

/// Something that was made and waits to be published.
struct Made {
    digest: Digest,
    content: Content,
    took: Duration,
}

impl Making {
    fn size(&self) -> usize {
        match &self.content {
            ToWrite::Deck(_, images) => images.values().map(String::len).sum(),
            ToWrite::Known(..) => 0,
        }
    }

    fn make(&self) -> Made {
        let started = Instant::now();
        let (digest, content) = match &self.content {
            ToWrite::Deck(work, images) => {
                let text = plan::written(work, images.clone());
                (Digest::of(&text), Content::Bytes(text.into_bytes()))
            }
            ToWrite::Known(digest, content) => (*digest, content.clone()),
        };
        Made {
            digest,
            content,
            took: self.took + started.elapsed(),
        }
    }
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
            && self.making.iter().map(Making::size).sum::<usize>() < LARGEST
            && let Some(index) = self.local.pop_front()
        {
            done += 1;
            if self.stopping {
                self.states[index] = State::Without;
            } else if let Some(queued) = self.decide(index)? {
                debug_assert!(false, "`{}` needs a worker", queued.action.id);
            }
        }
        self.publish_made()?;
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
        let _inside = span.enter();
        self.started(action, reasons);
        let recipe = match action.kind {
            ActionKind::Copy => None,
            _ => match self.round.recipes.recipe(index) {
                Some(recipe) => Some(recipe),
                None => return self.changed(index, started),
            },
        };
        let content = match recipe.as_ref().map(|recipe| &recipe.make) {
            Some(Make::Deck(work)) => {
                let upstream = upstream(&self.states, action);
                let images = jobs::data_urls(&work.images, &upstream, root, session.store)?;
                let Some(images) = images else {
                    return self.changed(index, started);
                };
                ToWrite::Deck(work.clone(), images)
            }
            Some(Make::Text(made)) => {
                let bytes = made.as_bytes();
                ToWrite::Known(Digest::of(bytes), Content::Bytes(bytes.to_vec()))
            }
            _ => {
                let source = action.source.under(root);
                let digest = action.inputs.first().map(|(_, digest)| *digest);
                let digest = digest.unwrap_or_else(|| Digest::of(b""));
                ToWrite::Known(digest, Content::File(source))
            }
        };
        // What follows is done for many together: it would overlap.
        span.record("status", Status::Built.name());
        self.making.push(Making {
            index,
            decided,
            started,
            took: started.elapsed(),
            content,
        });
        Ok(())
    }

    /// Makes what is to be made, with all processors, and publishes it.
    fn publish_made(&mut self) -> Result<()> {
        let plan = self.round.plan;
        let all = std::mem::take(&mut self.making);
        let made = parallel::each(&all, Making::make);
        let mut known = Vec::with_capacity(all.len());
        let mut to_publish = Vec::with_capacity(all.len());
        for (making, made) in all.iter().zip(made) {
            known.push((made.digest, made.took));
            let outputs = plan.actions[making.index].outputs.iter();
            to_publish.push(ToPublish {
                index: making.index,
                contents: outputs
                    .map(|_| (made.digest, made.content.clone()))
                    .collect(),
            });
        }
        let are_done = self.publish(&to_publish)?;
        for ((making, (digest, took)), is_done) in all.into_iter().zip(known).zip(are_done) {
            let index = making.index;
            if !is_done {
                self.changed(index, making.started)?;
                continue;
            }
            let action = &plan.actions[index];
            let name = action.outputs.first().map(|output| output.name.clone());
            let name = name.unwrap_or_default();
            if action.kind == ActionKind::Deck {
                let result = CachedResult {
                    discovered: Vec::new(),
                    status: ResultStatus::Ok,
                    outputs: vec![(name.clone(), digest, 0)],
                    diagnostics: Vec::new(),
                    duration_ms: millis(took),
                };
                let store = self.round.session.store;
                store.record_result_later(&action.id, action.kind, &making.decided.key, &result);
            }
            self.note_latest(index, &making.decided, &[], Some(took));
            self.end(index, Status::Built, took);
            self.complete(index, Some([(name, digest)].into()));
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
