//! What a watch does while nothing is due: it prepares for the next change, finds what no event reports, and gives memory
//! back.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::course::RelPath;
use crate::events::ActionKind;
use crate::memory;
use crate::watch::ChangeSet;

use super::super::{BuildOptions, manifest, unseen};
use super::{Ask, Driver};

/// The idle time before memory is released: longer than the time between two saves.
const BEFORE_TRIM: Duration = Duration::from_secs(2);

/// The longest delay before reading again what could not be read.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Why a watch is not idle any more.
pub(super) enum Woken {
    /// A request has come.
    Ask(Ask),
    /// Something may be due now.
    Other,
    /// The watch is to end.
    End,
}

impl Driver<'_> {
    /// Waits until something may be due.
    pub(super) async fn wait(&mut self, asks: &mut mpsc::UnboundedReceiver<Ask>) -> Woken {
        self.warm_up();
        self.watch_outputs();
        let is_trim = self.is_trim;
        let state = self.state.as_ref();
        let next_look = state.and_then(|_| self.unseen.next_look());
        let next_unread = state.and(self.unread).map(|(moment, _)| moment);
        tokio::select! {
            ask = asks.recv() => return ask.map_or(Woken::End, Woken::Ask),
            () = self.engine.cancel.cancelled() => return Woken::End,
            () = tokio::time::sleep(BEFORE_TRIM), if !is_trim => self.trim(),
            () = sleep_until(next_look) => self.look_at_sources(false),
            () = sleep_until(next_unread) => self.look_at_unread(),
            () = sleep_until(self.next_trial) => self.try_restless(),
        }
        Woken::Other
    }

    /// Does what can wait until nobody is waiting, and gives back the memory that only runs need.
    fn trim(&mut self) {
        self.is_trim = true;
        self.write_manifests();
        if let Some(state) = &mut self.state {
            if let Some(collection) = self.engine.due_collection(state) {
                // In the background: its result is not needed.
                drop(tokio::task::spawn_blocking(|| collection.run()));
            }
            state.release(&self.engine.store);
        }
        self.engine.store.release_memory();
        memory::release();
    }

    /// Writes manifests that are out of date, while the engine is idle.
    pub(super) fn write_manifests(&mut self) {
        let is_whole = self.options.is_ordinary() && self.broken.is_empty();
        if !is_whole || !manifest::is_due(&self.engine.course) {
            return;
        }
        let (Some(specified), Some(mut state)) = (self.specified.clone(), self.state.take()) else {
            return;
        };
        let options = BuildOptions {
            writes_manifests: true,
            ..self.options.clone()
        };
        let run = self.run(&specified, &options, CancellationToken::new());
        if let Err(error) = run.list_outputs(&mut state) {
            tracing::warn!(%error, "manifests are not written");
        }
        self.state = Some(state);
    }

    /// Watches the outputs for changes by other programs.
    fn watch_outputs(&mut self) {
        let Some(state) = &mut self.state else {
            return;
        };
        let covered = self.outputs.cover(state, &self.engine.course.place.root);
        if let Err(error) = covered {
            self.outputs.forget();
            tracing::warn!(%error, "outputs are not watched");
        }
    }

    /// Allows another execution of a deck that was set aside, while the engine is idle.
    fn try_restless(&mut self) {
        self.next_trial = None;
        if let Some(state) = &mut self.state {
            let root = &self.engine.course.place.root;
            let is_there = |source: &RelPath| source.under(root).exists();
            state.restless.forget(&is_there);
            self.due.run = state.restless.try_one_again();
        }
    }

    /// Finds changes that no event reports.
    pub(super) fn look_at_sources(&mut self, is_asked: bool) {
        let Some(state) = &self.state else { return };
        let course = &self.engine.course;
        let looked = unseen::Course {
            place: &course.place,
            settings: course.settings_files(),
            specification: self.specified.as_ref().map(|specified| specified.digest),
            sources: &state.sources,
            own: &self.engine.own_files,
        };
        let changes = self.unseen.look(&looked, is_asked);
        if !changes.is_empty() {
            tracing::debug!(?changes, "no event reported");
            self.note(Ask::Changed(changes));
        }
    }

    /// Builds again when something can be read that could not be: no event reports that a disk error has passed.
    fn look_at_unread(&mut self) {
        let (Some(state), Some((_, delay))) = (&self.state, self.unread) else {
            return;
        };
        // A disk that keeps failing is read less and less often.
        let delay = (2 * delay).min(LAST_RETRY);
        self.unread = Some((Instant::now() + delay, delay));
        if state
            .sources
            .is_readable_again(&self.engine.course.place.root)
        {
            self.note(Ask::Changed(ChangeSet {
                rescan: true,
                ..ChangeSet::default()
            }));
        }
    }

    /// Starts workers for the next change, while the engine is idle.
    fn warm_up(&mut self) {
        if std::mem::replace(&mut self.is_warm, true) {
            return;
        }
        // A deck is executed once for each language.
        let languages = self.specified.as_ref();
        let languages = languages.map_or(1, |specified| specified.spec.languages().len());
        for kind in [ActionKind::Execute, ActionKind::Html] {
            if !self.options.fast {
                self.pool.warm_up(kind, languages);
            }
        }
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
