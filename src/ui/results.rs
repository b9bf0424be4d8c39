//! Everything that a command reported, for the files that are written at its end.

use std::collections::{HashMap, HashSet};

use crate::diagnostic::Reported;
use crate::engine::Checked;
use crate::error::Error;
use crate::events::{ActionKind, CacheUse, Counts, Event, Status};

/// What a build was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To make what is stale.
    #[default]
    Build,
    /// To compare (`--check`).
    Check,
    /// To tell what it would make (`--dry-run`).
    DryRun,
    /// To run known actions again (`--verify`).
    Verify,
}

impl Mode {
    /// Returns the name used in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Check => "check",
            Self::DryRun => "dry-run",
            Self::Verify => "verify",
        }
    }
}

/// An action that ended.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) action: String,
    pub(super) kind: ActionKind,
    pub(super) source: String,
    pub(super) status: Status,
    pub(super) duration_ms: u64,
    pub(super) cause: Option<String>,
    /// Why it was started; empty if it was not.
    pub(super) reasons: Vec<String>,
}

/// What was reported so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    is_wanted: bool,
    /// What was asked for.
    pub(super) mode: Mode,
    /// The file name of the specification, if it was found.
    pub(crate) course: Option<String>,
    pub(super) exit_code: u8,
    pub(super) counts: Counts,
    pub(super) duration_ms: Option<u64>,
    /// What the caches were used for.
    pub(super) cache: CacheUse,
    /// In the order of their first end, each with its last outcome.
    pub(super) actions: Vec<Done>,
    places: HashMap<String, usize>,
    reasons: HashMap<String, Vec<String>>,
    pub(super) written: Vec<String>,
    pub(super) removed: Vec<String>,
    pub(super) diagnostics: Vec<Reported>,
    known: HashSet<Reported>,
    pub(super) checked: Option<Checked>,
}

impl Results {
    /// Creates the results of a command. Nothing is recorded unless they are wanted.
    pub(crate) fn new(mode: Mode, is_wanted: bool) -> Self {
        Self {
            mode,
            is_wanted,
            ..Self::default()
        }
    }

    /// Records an event.
    pub(crate) fn add(&mut self, event: &Event) {
        if !self.is_wanted {
            return;
        }
        match event {
            Event::ActionStarted {
                action, reasons, ..
            } => {
                self.reasons.insert(action.clone(), reasons.clone());
            }
            Event::ActionFinished {
                action,
                kind,
                source,
                status,
                duration_ms,
                cause,
                ..
            } => {
                let reasons = self.reasons.remove(action).unwrap_or_default();
                self.ended(Done {
                    action: action.clone(),
                    kind: *kind,
                    source: source.clone(),
                    status: *status,
                    duration_ms: *duration_ms,
                    cause: cause.clone(),
                    reasons,
                });
            }
            Event::Output {
                path,
                digest: Some(_),
            } => self.written.push(path.clone()),
            Event::Output { path, digest: None } => self.removed.push(path.clone()),
            Event::Diagnostic(reported) => {
                if self.known.insert(reported.clone()) {
                    self.diagnostics.push(reported.clone());
                }
            }
            Event::CacheUsed(cache) => self.cache = *cache,
            Event::RunFinished {
                counts,
                duration_ms,
                ..
            } => {
                self.counts = *counts;
                self.duration_ms = Some(*duration_ms);
            }
            _ => {}
        }
    }

    fn ended(&mut self, done: Done) {
        // Replaced by the counts of the whole run, if it ends.
        self.counts.add(done.status);
        match self.places.get(&done.action) {
            Some(place) => self.actions[*place] = done,
            None => {
                self.places.insert(done.action.clone(), self.actions.len());
                self.actions.push(done);
            }
        }
    }

    /// Records an error that ended the command.
    pub(crate) fn fail(&mut self, error: &Error) {
        for diagnostic in &error.diagnostics {
            self.add(&Event::Diagnostic(diagnostic.clone().into()));
        }
    }

    /// Records what `--check` or `--dry-run` found.
    pub(crate) fn check(&mut self, checked: &Checked) {
        self.checked = Some(checked.clone());
    }

    /// Records how the command ended.
    pub(crate) fn end(&mut self, exit_code: u8) {
        self.exit_code = exit_code;
    }

    /// Returns the outcome in one word.
    pub(super) fn outcome(&self) -> &'static str {
        match self.exit_code {
            0 => "success",
            1 => "failure",
            2 => "invalid",
            4 => "stale",
            130 => "interrupted",
            _ => "error",
        }
    }

    /// Returns the actions with an outcome.
    pub(super) fn with(&self, status: Status) -> impl Iterator<Item = &Done> {
        let actions = self.actions.iter();
        actions.filter(move |done| done.status == status)
    }

    /// Returns the diagnostics of an action; `None` for those about the course or the run.
    pub(super) fn of_action<'a>(
        &'a self,
        action: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Reported> {
        let all = self.diagnostics.iter();
        all.filter(move |reported| reported.action.as_deref() == action)
    }

    /// Returns whether an action with this identity failed.
    pub(super) fn has_failed(&self, action: &str) -> bool {
        let place = self.places.get(action);
        place.is_some_and(|place| self.actions[*place].status == Status::Failed)
    }
}
