//! The state of the preview, computed from the index of the course and all events.
//!
//! Changes are numbered, and every item has the number of its last change. So a reader that knows some number can get
//! everything that has changed since, however slow it is, and the server stores nothing for it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::course::RelPath;
use crate::events::{ActionKind, Event, Index, Running, Standing, Status};

use super::catalog::Catalog;

/// The state of a preview.
#[derive(Default)]
pub(super) struct Model {
    /// The number of the last change.
    pub change: u64,
    /// The course; `None` before the first planning.
    pub catalog: Option<Arc<Catalog>>,
    /// The change that set the course.
    pub catalog_change: u64,
    /// The outputs of the catalog, in its order.
    pub outputs: Vec<OutputState>,
    /// All actions of the catalog, and all others from events, in no particular order.
    pub actions: Vec<ActionState>,
    /// For every output, the position of its action.
    pub action_of: Vec<Option<usize>>,
    /// What holds after all events.
    pub standing: Standing,
    /// The last change of the valid diagnostics.
    pub problems_change: u64,
    /// The last change of the run.
    pub run_change: u64,
    by_id: HashMap<String, usize>,
    /// For every source, the positions of its actions.
    by_source: HashMap<String, Vec<usize>>,
}

/// The state of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutputState {
    /// When it was made.
    pub made: Made,
    /// The last change of its file; 0 if there was no event about it.
    pub file_change: u64,
    /// The last change of its state.
    pub change: u64,
}

/// When an output was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// Not checked yet.
    Unknown,
    /// The output does not exist.
    Missing,
    /// At this time, in milliseconds since 1970.
    At(u64),
}

/// The state of an action.
#[derive(Clone, Debug)]
pub(super) struct ActionState {
    /// Its identity.
    pub id: String,
    /// What it does; `None` before its first event.
    pub kind: Option<ActionKind>,
    /// The file the author edits.
    pub source: String,
    /// How it last ended; `None` if it has not ended yet.
    pub ended: Option<Status>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Its last change.
    pub change: u64,
}

impl Model {
    fn set_index(&mut self, index: Arc<Index>) {
        let is_same = self
            .catalog
            .as_ref()
            .is_some_and(|c| Arc::ptr_eq(&c.index, &index) || *c.index == *index);
        if is_same {
            return;
        }
        let catalog = Arc::new(Catalog::new(index));
        let outputs = catalog.index.outputs.iter().map(|output| {
            let known = self.catalog.as_ref().and_then(|c| c.by_path(&output.path));
            known.map_or(
                OutputState {
                    made: Made::Unknown,
                    file_change: 0,
                    change: self.change,
                },
                |known| self.outputs[known],
            )
        });
        self.outputs = outputs.collect();
        let known: HashSet<&str> = catalog.sources.iter().map(RelPath::as_str).collect();
        let outputs = catalog.index.outputs.iter();
        let made_by: HashSet<&str> = outputs.filter_map(|o| o.action.as_deref()).collect();
        let kept: Vec<ActionState> = std::mem::take(&mut self.actions)
            .into_iter()
            .filter(|action| match action.kind {
                // Executions have no outputs of their own, so it is unknown whether a failed one is still planned. The
                // pages that wait for it have failed, too.
                Some(ActionKind::Execute) => {
                    known.contains(action.source.as_str()) && action.ended != Some(Status::Failed)
                }
                _ => made_by.contains(action.id.as_str()),
            })
            .collect();
        self.by_id.clear();
        self.by_source.clear();
        for action in kept {
            self.add(action);
        }
        self.action_of.clear();
        for output in &catalog.index.outputs {
            let action = output
                .action
                .as_ref()
                .map(|id| self.action(id, None, output.source.as_str()));
            self.action_of.push(action);
        }
        self.catalog = Some(catalog);
        self.catalog_change = self.change;
    }

    /// Applies an event that happened at a time in milliseconds since 1970.
    pub(super) fn apply(&mut self, event: &Event, now_ms: u64) {
        self.change += 1;
        if let Event::RunFinished { .. } = event {
            self.touch_running();
        }
        if self.standing.apply(event, now_ms) {
            self.problems_change = self.change;
        }
        match event {
            Event::Planned { contents, .. } => {
                if let Some(planned) = contents.planned() {
                    self.set_index(planned.index());
                }
            }
            Event::RunStarted { .. } | Event::RunFinished { .. } => self.run_change = self.change,
            Event::ActionStarted {
                action,
                kind,
                source,
                ..
            } => {
                self.action(action, Some(*kind), source);
            }
            Event::Progress { action, .. } => {
                if let Some(position) = self.by_id.get(action) {
                    self.actions[*position].change = self.change;
                }
            }
            Event::Output { path, digest } => {
                let position = self.catalog.as_ref().and_then(|c| c.by_path(path));
                if let Some(position) = position {
                    let made = digest.map_or(Made::Missing, |_| Made::At(now_ms));
                    self.outputs[position] = OutputState {
                        made,
                        file_change: self.change,
                        change: self.change,
                    };
                }
            }
            Event::ActionFinished {
                action,
                kind,
                source,
                status,
                duration_ms,
                ..
            } => {
                self.run_change = self.change;
                let position = self.action(action, Some(*kind), source);
                // If a newer action replaced it, its state is the one before.
                if *status != Status::Superseded {
                    let state = &mut self.actions[position];
                    state.ended = Some(*status);
                    state.duration_ms = *duration_ms;
                }
            }
            Event::Diagnostic(_) | Event::CacheUsed(_) => {}
        }
    }

    /// Returns the progress of an action, if it is running.
    pub(super) fn running(&self, action: &ActionState) -> Option<&Running> {
        let mut running = self.standing.running().iter();
        running.find(|running| running.action == action.id)
    }

    /// Returns the positions of outputs whose files have not been checked.
    pub(super) fn unseen(&self) -> Vec<usize> {
        let outputs = self.outputs.iter().enumerate();
        outputs
            .filter(|(_, output)| output.made == Made::Unknown)
            .map(|(position, _)| position)
            .collect()
    }

    /// Sets when outputs of a catalog were made. Events since then are newer and take precedence.
    pub(super) fn seen(&mut self, catalog: &Arc<Catalog>, found: &[(usize, Made)]) {
        if !self
            .catalog
            .as_ref()
            .is_some_and(|c| Arc::ptr_eq(c, catalog))
        {
            return;
        }
        self.change += 1;
        for (position, made) in found {
            let output = &mut self.outputs[*position];
            if output.made == Made::Unknown {
                output.made = *made;
                output.change = self.change;
            }
        }
    }

    /// Returns the actions of a source.
    pub(super) fn actions_of(&self, source: &str) -> impl Iterator<Item = &ActionState> {
        let positions = self.by_source.get(source).map_or(&[][..], Vec::as_slice);
        positions.iter().map(|position| &self.actions[*position])
    }

    /// Marks the running actions as changed, since none runs after a run.
    fn touch_running(&mut self) {
        for running in self.standing.running() {
            if let Some(position) = self.by_id.get(&running.action) {
                self.actions[*position].change = self.change;
            }
        }
    }

    /// Returns the position of an action, which is added if it is new, and marks it as changed.
    fn action(&mut self, id: &str, kind: Option<ActionKind>, source: &str) -> usize {
        if let Some(position) = self.by_id.get(id).copied() {
            let action = &mut self.actions[position];
            action.kind = kind.or(action.kind);
            action.change = self.change;
            return position;
        }
        self.add(ActionState {
            id: id.to_owned(),
            kind,
            source: source.to_owned(),
            ended: None,
            duration_ms: 0,
            change: self.change,
        })
    }

    fn add(&mut self, action: ActionState) -> usize {
        let position = self.actions.len();
        self.by_id.insert(action.id.clone(), position);
        let of_source = self.by_source.entry(action.source.clone()).or_default();
        of_source.push(position);
        self.actions.push(action);
        position
    }
}
