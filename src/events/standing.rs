//! What holds now, computed from all events: which actions run, how the last run ended, and which diagnostics are
//! valid. Terminals, editors, the preview and status requests all use it.
//!
//! A run reports an action only if something about it may have changed, so the diagnostics of the others stay valid.
//! Those of an action are valid until it ends without reporting them again, or is not planned any more; those of the
//! course, until it was planned again without them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Reported};

use super::{ActionKind, Contents, Counts, Event, Status};

/// The state after all events so far.
#[derive(Default)]
pub(crate) struct Standing {
    run: Option<RunStanding>,
    /// The outcome of the last run that ended, with its duration in milliseconds.
    last_run: Option<(Counts, u64)>,
    running: Vec<Running>,
    problems: Problems,
    /// Actions that ended in the current run.
    finished: HashSet<String>,
    /// Whether the course was planned since the last run ended.
    is_planned: bool,
}

/// A running action with its progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// Its identity.
    pub action: String,
    /// What it does.
    pub kind: ActionKind,
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// Steps done.
    pub done: u64,
    /// Steps in all; 0 if unknown.
    pub total: u64,
    /// The current step.
    pub label: String,
}

/// The state of the current run, or of the last one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunStanding {
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
}

impl Standing {
    /// Applies an event that happened at a time in milliseconds since 1970. Returns whether diagnostics became valid or
    /// invalid.
    pub(crate) fn apply(&mut self, event: &Event, now_ms: u64) -> bool {
        match event {
            Event::RunStarted {
                run,
                trigger,
                actions,
            } => {
                self.finished.clear();
                self.problems.begin();
                self.run = Some(RunStanding {
                    run: *run,
                    trigger: trigger.clone(),
                    actions: *actions,
                    finished: 0,
                    since_ms: now_ms,
                    ended: None,
                });
                false
            }
            Event::Planned { contents, .. } => {
                self.is_planned = true;
                self.problems.planned(contents)
            }
            Event::ActionStarted { action, kind, .. } => {
                self.running.retain(|running| running.action != *action);
                self.running.push(Running {
                    action: action.clone(),
                    kind: *kind,
                    since_ms: now_ms,
                    done: 0,
                    total: 0,
                    label: String::new(),
                });
                false
            }
            Event::Progress {
                action,
                done,
                total,
                label,
                ..
            } => {
                let mut running = self.running.iter_mut();
                if let Some(running) = running.find(|running| running.action == *action) {
                    (running.done, running.total) = (*done, *total);
                    running.label.clone_from(label);
                }
                false
            }
            Event::Output { .. } | Event::CacheUsed(_) => false,
            Event::Diagnostic(reported) => self.problems.add(reported),
            Event::ActionFinished {
                action,
                status,
                cause,
                ..
            } => {
                self.running.retain(|running| running.action != *action);
                let is_first = self.finished.insert(action.clone());
                if let Some(run) = self.run.as_mut().filter(|_| is_first) {
                    run.finished += 1;
                }
                match status {
                    // If a newer action replaced it, nothing new is known of it.
                    Status::Superseded => false,
                    // It was not tried.
                    Status::Failed if cause.is_some() => {
                        self.problems.retire(Some(action), |old| !old.is_error())
                    }
                    _ => self.problems.retire(Some(action), |_| false),
                }
            }
            Event::RunFinished {
                run,
                counts,
                duration_ms,
                interrupted,
            } => self.end(*run, (*counts, *duration_ms), *interrupted, now_ms),
        }
    }

    fn end(&mut self, run: i64, ended: (Counts, u64), interrupted: bool, now_ms: u64) -> bool {
        // A run that was refused before it began has no start.
        let state = self.run.get_or_insert_with(|| RunStanding {
            run,
            trigger: String::new(),
            actions: 0,
            finished: 0,
            since_ms: now_ms.saturating_sub(ended.1),
            ended: None,
        });
        state.run = run;
        state.ended = Some(ended);
        self.last_run = Some(ended);
        // It is large after a run that reported the whole course.
        self.finished = HashSet::new();
        let is_planned = std::mem::take(&mut self.is_planned);
        if interrupted {
            // Its running actions go on in the next run, which plans again.
            return false;
        }
        self.running.clear();
        is_planned && self.problems.retire(None, |_| false)
    }

    /// Returns the current run, or the last one.
    pub(crate) fn run(&self) -> Option<&RunStanding> {
        self.run.as_ref()
    }

    /// Returns whether a run has begun and not ended.
    pub(crate) fn is_in_run(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.ended.is_none())
    }

    /// Returns the outcome of the last run that ended, with its duration in milliseconds.
    pub(crate) fn last_run(&self) -> Option<(Counts, u64)> {
        self.last_run
    }

    /// Returns the running actions, in the order in which they began.
    pub(crate) fn running(&self) -> &[Running] {
        &self.running
    }

    /// Returns the valid diagnostics, in the order in which they were first reported, each with the actions that
    /// reported it.
    pub(crate) fn problems(
        &self,
    ) -> impl Iterator<Item = (&Diagnostic, impl Iterator<Item = &str> + Clone)> {
        self.problems.all.values().map(|problem| {
            let actions = problem.reporters.iter().flatten();
            (&problem.diagnostic, actions.map(|action| &**action))
        })
    }

    /// Returns the valid diagnostics, in the order in which they were first reported.
    pub(crate) fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.problems
            .all
            .values()
            .map(|problem| &problem.diagnostic)
    }

    /// Returns the valid errors, in the order in which they were first reported.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics()
            .filter(|diagnostic| diagnostic.is_error())
    }
}

/// An action, or `None` for the course.
type Reporter = Option<Arc<str>>;

/// Valid diagnostics. They are numbered in the order in which they were first reported.
#[derive(Default)]
struct Problems {
    all: BTreeMap<u64, Problem>,
    numbers: HashMap<Diagnostic, u64>,
    next: u64,
    /// For every reporter the diagnostics that are valid because of it.
    of_reporter: HashMap<Reporter, BTreeSet<u64>>,
    /// The same for what was reported in the current run, and since the reporting action last ended.
    in_run: HashMap<Reporter, BTreeSet<u64>>,
}

struct Problem {
    diagnostic: Diagnostic,
    reporters: BTreeSet<Reporter>,
}

impl Problems {
    fn begin(&mut self) {
        self.in_run.clear();
    }

    /// Adds a diagnostic. Returns whether it was not valid before.
    fn add(&mut self, reported: &Reported) -> bool {
        let Reported { action, diagnostic } = reported;
        let known = self.numbers.get(diagnostic).copied();
        let number = known.unwrap_or_else(|| {
            self.next += 1;
            self.numbers.insert(diagnostic.clone(), self.next);
            self.next
        });
        let problem = self.all.entry(number).or_insert_with(|| Problem {
            diagnostic: diagnostic.clone(),
            reporters: BTreeSet::new(),
        });
        problem.reporters.insert(action.clone());
        for table in [&mut self.of_reporter, &mut self.in_run] {
            table.entry(action.clone()).or_default().insert(number);
        }
        known.is_none()
    }

    /// Invalidates the diagnostics of a reporter that it did not report in this run, except those that `stays` selects.
    /// Returns whether any became invalid.
    fn retire(&mut self, reporter: Option<&str>, stays: impl Fn(&Diagnostic) -> bool) -> bool {
        let reporter = reporter.map(Arc::from);
        let again = self.in_run.remove(&reporter).unwrap_or_default();
        let Some(old) = self.of_reporter.remove(&reporter) else {
            return false;
        };
        let (stay, gone): (BTreeSet<u64>, BTreeSet<u64>) = old.into_iter().partition(|number| {
            let problem = self.all.get(number);
            again.contains(number) || problem.is_some_and(|problem| stays(&problem.diagnostic))
        });
        if !stay.is_empty() {
            self.of_reporter.insert(reporter.clone(), stay);
        }
        let before = self.all.len();
        for number in gone {
            let Some(problem) = self.all.get_mut(&number) else {
                continue;
            };
            problem.reporters.remove(&reporter);
            if problem.reporters.is_empty() {
                self.numbers.remove(&problem.diagnostic);
                self.all.remove(&number);
            }
        }
        self.all.len() != before
    }

    /// Invalidates the diagnostics of actions that are not planned any more. Returns whether there were any.
    fn planned(&mut self, contents: &Contents) -> bool {
        let reporters = self.of_reporter.keys().flatten();
        let reporters: Vec<Arc<str>> = reporters.cloned().collect();
        let Some(planned) = contents.planned().filter(|_| !reporters.is_empty()) else {
            return false;
        };
        let actions = planned.actions();
        let gone = reporters
            .iter()
            .filter(|action| !actions.contains(&***action));
        let mut is_changed = false;
        for action in gone {
            self.in_run.remove(&Some(Arc::clone(action)));
            is_changed |= self.retire(Some(action), |_| false);
        }
        is_changed
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Index, PlannedCourse};
    use super::*;

    struct Actions(&'static [&'static str]);

    impl PlannedCourse for Actions {
        fn index(&self) -> Arc<Index> {
            Arc::default()
        }

        fn actions(&self) -> HashSet<&str> {
            self.0.iter().copied().collect()
        }
    }

    impl Standing {
        fn begin(&mut self) {
            let trigger = "watch".to_owned();
            self.apply(
                &Event::RunStarted {
                    run: 1,
                    trigger,
                    actions: 2,
                },
                1,
            );
        }

        fn planned(&mut self, actions: &'static [&'static str]) -> bool {
            let contents = Contents::new(Actions(actions));
            self.apply(
                &Event::Planned {
                    outputs: 1,
                    contents,
                },
                1,
            )
        }

        fn report(&mut self, action: Option<&str>, diagnostic: Diagnostic) -> bool {
            let action = action.map(Arc::from);
            self.apply(&Event::Diagnostic(Reported { action, diagnostic }), 1)
        }

        fn finish(&mut self, action: &str, status: Status, cause: Option<&str>) -> bool {
            self.apply(
                &Event::ActionFinished {
                    action: action.to_owned(),
                    kind: ActionKind::Execute,
                    source: "a.py".to_owned(),
                    status,
                    duration_ms: 1,
                    replayed: false,
                    cause: cause.map(str::to_owned),
                    not_made: 0,
                    machine: None,
                },
                1,
            )
        }

        fn finish_run(&mut self, interrupted: bool) -> bool {
            self.apply(
                &Event::RunFinished {
                    run: 1,
                    counts: Counts::default(),
                    duration_ms: 5,
                    interrupted,
                },
                9,
            )
        }

        fn messages(&self) -> Vec<&str> {
            self.diagnostics().map(|found| &*found.message).collect()
        }
    }

    fn warning(message: &str) -> Diagnostic {
        Diagnostic::warning(message)
    }

    #[test]
    fn what_two_actions_report_is_valid_until_both_end_without_it() {
        let mut standing = Standing::default();
        standing.begin();
        assert!(standing.report(Some("de"), warning("odd")));
        assert!(!standing.report(Some("en"), warning("odd")));
        standing.finish("de", Status::Built, None);
        standing.finish("en", Status::Built, None);
        standing.finish_run(false);
        assert_eq!(standing.messages(), ["odd"]);

        standing.begin();
        assert!(!standing.finish("de", Status::Built, None));
        assert!(!standing.finish_run(false));
        assert_eq!(standing.messages(), ["odd"]);
        let (_, actions) = standing.problems().next().unwrap();
        assert_eq!(actions.collect::<Vec<_>>(), ["en"]);

        standing.begin();
        assert!(standing.finish("en", Status::Built, None));
        assert!(standing.messages().is_empty());
    }

    #[test]
    fn an_action_that_was_not_tried_or_was_replaced_proves_nothing() {
        let mut standing = Standing::default();
        standing.begin();
        standing.report(Some("page"), warning("odd"));
        standing.report(Some("page"), Diagnostic::error("wrong"));
        standing.finish("page", Status::Failed, None);
        standing.finish_run(false);

        standing.begin();
        standing.finish("page", Status::Superseded, None);
        assert_eq!(standing.messages(), ["odd", "wrong"]);
        standing.finish("page", Status::Failed, Some("execution"));
        assert_eq!(standing.messages(), ["odd"]);
    }

    #[test]
    fn diagnostics_of_the_course_are_valid_until_it_is_planned_without_them() {
        let mut standing = Standing::default();
        standing.planned(&[]);
        standing.begin();
        standing.report(None, Diagnostic::error("no such topic"));
        standing.finish_run(false);
        // Nothing changed, and nothing was planned.
        standing.begin();
        assert!(!standing.finish_run(false));
        // The run ended before all was reported again.
        standing.planned(&[]);
        standing.begin();
        assert!(!standing.finish_run(true));
        assert_eq!(standing.messages(), ["no such topic"]);
        standing.planned(&[]);
        standing.begin();
        assert!(standing.finish_run(false));
        assert!(standing.messages().is_empty());
    }

    #[test]
    fn diagnostics_of_actions_that_are_not_planned_any_more_go() {
        let mut standing = Standing::default();
        standing.planned(&["one", "two"]);
        standing.begin();
        standing.report(Some("one"), warning("first"));
        standing.report(Some("two"), warning("second"));
        assert!(standing.planned(&["two", "three"]));
        assert_eq!(standing.messages(), ["second"]);
        // A plan of another process proves nothing.
        let contents = Contents::default();
        assert!(!standing.apply(
            &Event::Planned {
                outputs: 1,
                contents
            },
            1
        ));
    }

    #[test]
    fn running_actions_go_on_over_an_interruption() {
        let mut standing = Standing::default();
        standing.begin();
        let start = |action: &str| Event::ActionStarted {
            action: action.to_owned(),
            kind: ActionKind::Execute,
            source: "a.py".to_owned(),
            reasons: Vec::new(),
        };
        standing.apply(&start("one"), 3);
        standing.apply(&start("two"), 4);
        standing.apply(&start("two"), 5);
        standing.finish_run(true);
        assert!(!standing.is_in_run());
        standing.begin();
        let running = standing.running().iter();
        let running: Vec<_> = running.map(|r| (&*r.action, r.since_ms)).collect();
        assert_eq!(running, [("one", 3), ("two", 5)]);
        standing.finish("one", Status::Built, None);
        standing.finish("one", Status::Fresh, None);
        assert_eq!(standing.run().map(|run| run.finished), Some(1));
        standing.finish_run(false);
        assert!(standing.running().is_empty());
        assert_eq!(standing.last_run(), Some((Counts::default(), 5)));
    }
}
