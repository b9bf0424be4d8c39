//! The state of the preview, computed from the index of the course and all events.
//!
//! Changes are numbered, and every item has the number of its last change. So a reader that knows some number can get
//! everything that has changed since, however slow it is, and the server stores nothing for it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::course::{Lang, RelPath};
use crate::engine::index::Index;
use crate::events::{ActionKind, Counts, Event, Status};

use super::catalog::Catalog;
use super::problems::{Problems, RunEnd};

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
    /// Diagnostics that are still valid.
    pub problems: Problems,
    /// The last change of the problems.
    pub problems_change: u64,
    /// The last run; `None` before the first.
    pub run: Option<RunState>,
    /// The last change of the run.
    pub run_change: u64,
    by_id: HashMap<String, usize>,
    /// For every source, the positions of its actions.
    by_source: HashMap<String, Vec<usize>>,
    /// The change of the last planning, if no run has ended since.
    planned: Option<u64>,
    /// The change with which an action last ended: its diagnostics came after the end of the action before.
    last_finish: u64,
    touched: HashSet<String>,
    finished: HashSet<String>,
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
    /// The change with which it last ended.
    pub ended_change: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Its progress while it is running.
    pub running: Option<Running>,
    /// Its last change.
    pub change: u64,
}

/// The progress of a running action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// Steps done.
    pub done: u64,
    /// Steps in all; 0 if unknown.
    pub total: u64,
    /// The current step.
    pub label: String,
}

/// The state of a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RunState {
    /// Its number.
    pub run: i64,
    /// Its cause.
    pub trigger: String,
    /// How many actions it has.
    pub actions: u64,
    /// How many of them have ended.
    pub finished: u64,
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// The counts and the duration in milliseconds; `None` while it runs.
    pub ended: Option<(Counts, u64)>,
    /// The change with which it began.
    pub began: u64,
}

impl Model {
    /// Sets the course after it was planned.
    pub(super) fn set_index(&mut self, index: Arc<Index>) {
        self.change += 1;
        self.planned.get_or_insert(self.change);
        let is_same = self
            .catalog
            .as_ref()
            .is_some_and(|catalog| *catalog.index == *index);
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
        match event {
            // The index is set separately.
            Event::Planned { .. } => {}
            Event::RunStarted {
                run,
                trigger,
                actions,
            } => self.begin_run(*run, trigger, *actions, now_ms),
            Event::ActionStarted {
                action,
                kind,
                source,
                ..
            } => {
                self.touched.insert(source.clone());
                let position = self.action(action, Some(*kind), source);
                self.actions[position].running = Some(Running {
                    since_ms: now_ms,
                    done: 0,
                    total: 0,
                    label: String::new(),
                });
            }
            Event::Progress {
                action,
                done,
                total,
                label,
                ..
            } => {
                let Some(position) = self.by_id.get(action).copied() else {
                    return;
                };
                let state = &mut self.actions[position];
                state.change = self.change;
                if let Some(running) = &mut state.running {
                    (running.done, running.total) = (*done, *total);
                    running.label.clone_from(label);
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
            } => self.finish(action, *kind, source, *status, *duration_ms),
            Event::Diagnostic(diagnostic) => {
                if self.problems.say(diagnostic, self.change) {
                    self.problems_change = self.change;
                }
            }
            Event::RunFinished {
                run,
                counts,
                duration_ms,
                ..
            } => self.end_run(*run, *counts, *duration_ms, now_ms),
        }
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

    fn begin_run(&mut self, run: i64, trigger: &str, actions: u64, now_ms: u64) {
        self.stop_all();
        self.touched.clear();
        self.finished.clear();
        self.run = Some(RunState {
            run,
            trigger: trigger.to_owned(),
            actions,
            finished: 0,
            since_ms: now_ms,
            ended: None,
            began: self.planned.unwrap_or(self.change),
        });
        self.run_change = self.change;
    }

    fn finish(&mut self, id: &str, kind: ActionKind, source: &str, status: Status, duration: u64) {
        self.touched.insert(source.to_owned());
        let position = self.action(id, Some(kind), source);
        let state = &mut self.actions[position];
        state.running = None;
        // If a newer action replaced it, its state is the one before.
        if status != Status::Superseded {
            state.ended = Some(status);
            state.ended_change = self.change;
            state.duration_ms = duration;
        }
        let last_finish = std::mem::replace(&mut self.last_finish, self.change);
        let is_first = self.finished.insert(id.to_owned());
        if let Some(run) = self.run.as_mut().filter(|_| is_first) {
            run.finished += 1;
            self.run_change = self.change;
        }
        if status == Status::Failed {
            self.problems.failed(source, lang_of(id), last_finish);
            self.problems_change = self.change;
            // If all failed actions of the source failed in this run, all their errors were reported again: older ones
            // are fixed.
            let began = self.run.as_ref().map_or(0, |run| run.began);
            let is_all_new = self
                .actions_of(source)
                .all(|action| action.ended != Some(Status::Failed) || action.ended_change >= began);
            if is_all_new {
                self.problems.failed_anew(source, began);
            }
        } else if !self.has_failed(source).unwrap_or(false) && self.problems.is_fixed(source) {
            self.problems_change = self.change;
        }
    }

    fn end_run(&mut self, number: i64, counts: Counts, duration_ms: u64, now_ms: u64) {
        self.stop_all();
        let began = self.run.as_ref().map_or(self.change, |run| run.began);
        let mut problems = std::mem::take(&mut self.problems);
        let is_changed = problems.end_run(&RunEnd {
            began,
            was_planned: self.planned.is_some(),
            has_failed: &|source| self.has_failed(source),
            touched: &self.touched,
        });
        self.problems = problems;
        if is_changed {
            self.problems_change = self.change;
        }
        let run = self.run.get_or_insert_with(|| RunState {
            run: number,
            trigger: String::new(),
            actions: 0,
            finished: 0,
            since_ms: now_ms.saturating_sub(duration_ms),
            ended: None,
            began,
        });
        run.run = number;
        run.ended = Some((counts, duration_ms));
        self.run_change = self.change;
        self.planned = None;
        self.touched.clear();
    }

    /// Returns whether an action of a source has failed and was not made since, or `None` if the source has no actions.
    fn has_failed(&self, source: &str) -> Option<bool> {
        self.by_source.get(source)?;
        let mut actions = self.actions_of(source);
        Some(actions.any(|action| action.ended == Some(Status::Failed)))
    }

    /// Marks all actions as not running, since none runs between two runs.
    fn stop_all(&mut self) {
        for action in &mut self.actions {
            if action.running.take().is_some() {
                action.change = self.change;
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
            ended_change: 0,
            duration_ms: 0,
            running: None,
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

/// Returns the language in the identity of an action. It is the last word, or the one before in the case of pages.
fn lang_of(action: &str) -> Option<Lang> {
    let mut words = action.rsplit(' ').take(2);
    words.find_map(Lang::parse)
}
