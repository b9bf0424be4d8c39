//! What is known about a course: the fold of its index and of everything that happened.
//!
//! Every change gets a number, and everything remembers the number of its last change: a reader that knows some number
//! is told what has changed since, however slow it is, and nothing is kept for it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::course::{Lang, RelPath};
use crate::engine::index::Index;
use crate::events::{ActionKind, Counts, Event, Status};

use super::catalog::Catalog;
use super::problems::{Problems, RunEnd};

/// The state of a preview.
#[derive(Default)]
pub struct Model {
    /// The number of the last change.
    pub change: u64,
    /// The course; none until it was planned once.
    pub catalog: Option<Arc<Catalog>>,
    /// The change that brought the course.
    pub catalog_change: u64,
    /// The outputs of the catalog, in its order.
    pub outputs: Vec<OutputState>,
    /// Every action of the catalog, and every other that was heard of, in no particular order.
    pub actions: Vec<ActionState>,
    /// For every output the position of its action.
    pub action_of: Vec<Option<usize>>,
    /// What went wrong and is not fixed.
    pub problems: Problems,
    /// The last change of the problems.
    pub problems_change: u64,
    /// The last run; none before the first.
    pub run: Option<RunState>,
    /// The last change of the run.
    pub run_change: u64,
    by_id: HashMap<String, usize>,
    /// For every source the positions of its actions.
    by_source: HashMap<String, Vec<usize>>,
    /// The change of the last planning, if no run has ended since.
    planned: Option<u64>,
    /// The change with which an action ended last: what it said came after.
    last_finish: u64,
    touched: HashSet<String>,
    finished: HashSet<String>,
}

/// An output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputState {
    /// When it was made.
    pub made: Made,
    /// The last change of its file; 0 when none was heard of.
    pub file_change: u64,
    /// The last change of what is known about it.
    pub change: u64,
}

/// When an output was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// Nobody has looked yet.
    Unknown,
    /// It is not there.
    Missing,
    /// At this time, in milliseconds since 1970.
    At(u64),
}

/// An action.
#[derive(Clone, Debug)]
pub struct ActionState {
    /// Its identity.
    pub id: String,
    /// What it does; none until it was heard of.
    pub kind: Option<ActionKind>,
    /// The file the author edits.
    pub source: String,
    /// How it ended last; none when it did not yet.
    pub ended: Option<Status>,
    /// The change with which it ended last.
    pub ended_change: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What it is doing.
    pub running: Option<Running>,
    /// Its last change.
    pub change: u64,
}

/// What a running action is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// Steps done.
    pub done: u64,
    /// Steps in all; 0 when not known.
    pub total: u64,
    /// The step.
    pub label: String,
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    /// Its number.
    pub run: i64,
    /// What caused it.
    pub trigger: String,
    /// How many actions it has.
    pub actions: u64,
    /// How many of them have ended.
    pub finished: u64,
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// How it ended; none while it runs.
    pub ended: Option<(Counts, u64)>,
    /// The change with which it began.
    pub began: u64,
}

impl Model {
    /// The course was planned.
    pub fn set_index(&mut self, index: Arc<Index>) {
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
                // Executions have no outputs of their own. Whether one that failed is still planned is not known; the
                // pages that wait for it are failed, too.
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

    /// Something happened, at a time in milliseconds since 1970.
    pub fn apply(&mut self, event: &Event, now_ms: u64) {
        self.change += 1;
        match event {
            // The index itself comes beside the events.
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

    /// The positions and paths of outputs whose files nobody has looked at.
    pub fn unseen(&self) -> Vec<usize> {
        let outputs = self.outputs.iter().enumerate();
        outputs
            .filter(|(_, output)| output.made == Made::Unknown)
            .map(|(position, _)| position)
            .collect()
    }

    /// Somebody has looked at the files of outputs of a catalog. What was heard of since is newer.
    pub fn seen(&mut self, catalog: &Arc<Catalog>, found: &[(usize, Made)]) {
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

    /// The actions of a source.
    pub fn actions_of(&self, source: &str) -> impl Iterator<Item = &ActionState> {
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
        // What something newer replaced is as it was before.
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
            // All that has failed did so in this run, and what is wrong was said again: older errors are fixed.
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

    /// Whether one of a source's actions has failed and was not done again; none when it has no actions.
    fn has_failed(&self, source: &str) -> Option<bool> {
        self.by_source.get(source)?;
        let mut actions = self.actions_of(source);
        Some(actions.any(|action| action.ended == Some(Status::Failed)))
    }

    /// Nothing runs between runs.
    fn stop_all(&mut self) {
        for action in &mut self.actions {
            if action.running.take().is_some() {
                action.change = self.change;
            }
        }
    }

    /// The position of an action, which changes now.
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

/// The language of an action, which its identity ends with or names before the group of pages.
fn lang_of(action: &str) -> Option<Lang> {
    let mut words = action.rsplit(' ').take(2);
    words.find_map(Lang::parse)
}
