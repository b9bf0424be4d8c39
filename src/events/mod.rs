//! The events of a run: the only way in which it reports to terminals, JSON readers, sockets and tests.

mod contents;
mod standing;

use std::sync::mpsc;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Reported;
use crate::digest::Digest;
pub use contents::{
    Contents, Index, IndexClass, IndexFolder, IndexOutput, IndexSection, IndexTarget, PlannedCourse,
};
pub(crate) use standing::{RunStanding, Running, Standing};

/// The kind of work of an action, which is also the kind of its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionKind {
    /// A notebook or code output of a deck, written in this process.
    Deck,
    /// Running the code cells of a deck in one language.
    Execute,
    /// Rendering HTML pages of a deck in one language.
    Html,
    /// Rendering a PlantUML diagram.
    Plantuml,
    /// Rendering a draw.io diagram.
    Drawio,
    /// Copying a file.
    Copy,
}

impl ActionKind {
    /// Returns the name used in JSON, tables and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deck => "deck",
            Self::Execute => "execute",
            Self::Html => "html",
            Self::Plantuml => "plantuml",
            Self::Drawio => "drawio",
            Self::Copy => "copy",
        }
    }

    /// Returns the kind with a name; `None` if this version does not know it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut all = Self::OF_WORKERS.iter().chain(&Self::LOCAL);
        all.find(|kind| kind.name() == name).copied()
    }

    /// The kinds that workers make.
    pub const OF_WORKERS: [Self; 4] = [Self::Execute, Self::Plantuml, Self::Drawio, Self::Html];
    /// The kinds that are made in this process. Their results are not stored, since making them again costs no more.
    pub const LOCAL: [Self; 2] = [Self::Deck, Self::Copy];
}

/// The outcome of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// A worker made it.
    Built,
    /// It was written without a worker: a notebook, a script or a copy.
    Written,
    /// Its result came from the cache.
    Restored,
    /// It was up to date.
    Fresh,
    /// It failed, or its failure in an earlier run was reported again.
    Failed,
    /// It was replaced by a newer action.
    Superseded,
}

impl Status {
    /// Returns whether its outputs were put in place.
    pub fn is_made(self) -> bool {
        matches!(self, Self::Built | Self::Written | Self::Restored)
    }

    /// Returns the name used in JSON, tables and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Written => "written",
            Self::Restored => "restored",
            Self::Fresh => "fresh",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }
}

/// The counts of a whole run, as in the last JSON line and the summary line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Actions that a worker made.
    pub built: u64,
    /// Actions that were written without a worker: notebooks, scripts and copies.
    pub written: u64,
    /// Actions restored from the cache.
    pub restored: u64,
    /// Actions that were up to date.
    pub fresh: u64,
    /// Outputs removed because their source is gone.
    pub removed: u64,
    /// Actions that failed, or whose input failed.
    pub failed: u64,
    /// Actions that were replaced by newer ones.
    pub superseded: u64,
}

impl Counts {
    /// Counts an action that ended.
    pub fn add(&mut self, status: Status) {
        let count = match status {
            Status::Built => &mut self.built,
            Status::Written => &mut self.written,
            Status::Restored => &mut self.restored,
            Status::Fresh => &mut self.fresh,
            Status::Failed => &mut self.failed,
            Status::Superseded => &mut self.superseded,
        };
        *count += 1;
    }

    /// Returns how many actions had their outputs put in place by this run.
    pub fn made(&self) -> u64 {
        self.built + self.written + self.restored
    }
}

/// Where the results of a run came from, and what that saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheUse {
    /// Results of the cache of the course whose outputs were restored.
    pub local: u64,
    /// Results that came from the shared cache.
    pub remote: u64,
    /// Results that the shared cache was asked for and did not have.
    pub missed: u64,
    /// Bytes that came from the shared cache.
    pub received_bytes: u64,
    /// Results that were sent to the shared cache.
    pub sent: u64,
    /// Bytes that were sent to the shared cache.
    pub sent_bytes: u64,
    /// How long it took to make the results that were not made again, in milliseconds.
    pub saved_ms: u64,
}

/// An event of a run. The names of events and fields are stable, since editors and CI read them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run begins.
    RunStarted {
        /// Number of the run in the store.
        run: i64,
        /// Its cause: `build`, `watch`.
        trigger: String,
        /// How many actions the plan has.
        actions: u64,
    },
    /// A watch planned the whole course. All diagnostics of the course follow before the run ends.
    Planned {
        /// How many files the outputs are.
        outputs: u64,
        /// What was planned; only in the process that planned it.
        #[serde(skip)]
        contents: Contents,
    },
    /// The work on an action begins, since it is neither fresh nor restorable.
    ActionStarted {
        /// Identity of the action, stable across runs.
        action: String,
        /// What it does.
        kind: ActionKind,
        /// The file the author edits.
        source: String,
        /// Why it is stale.
        reasons: Vec<String>,
    },
    /// A running action made progress.
    Progress {
        /// Identity of the action.
        action: String,
        /// What it does.
        kind: ActionKind,
        /// Steps done.
        done: u64,
        /// Steps in all.
        total: u64,
        /// The current step, such as `cell 3`.
        label: String,
    },
    /// An output was written, restored or removed.
    Output {
        /// Path relative to the course root (or absolute where it lies outside).
        path: String,
        /// Digest of its bytes; `None` if it was removed.
        digest: Option<Digest>,
    },
    /// An action ended.
    ActionFinished {
        /// Identity of the action.
        action: String,
        /// What it does.
        kind: ActionKind,
        /// The file the author edits.
        source: String,
        /// The outcome.
        status: Status,
        /// Time it took, in milliseconds.
        duration_ms: u64,
        /// Whether it failed in an earlier run and was not tried again, because nothing has changed since.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        replayed: bool,
        /// The cause of the failure if that is reported elsewhere: the identity of a failed action that it needs, or a
        /// missing tool.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
        /// How many outputs were not made because of the failure: its own, and those of actions that need it.
        #[serde(default, skip_serializing_if = "is_zero")]
        not_made: u64,
        /// The machine that made it just now, if that was not this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        machine: Option<String>,
    },
    /// A message for the author. Those of an action precede its `ActionFinished`; actions with the same message all
    /// report it.
    Diagnostic(Reported),
    /// Results came from a cache, or were sent to one, in the run that ends next.
    CacheUsed(CacheUse),
    /// The run has ended.
    RunFinished {
        /// Number of the run in the store.
        run: i64,
        /// The outcomes of the actions.
        #[serde(flatten)]
        counts: Counts,
        /// Time the run took, in milliseconds.
        duration_ms: u64,
        /// Whether it ended early because something changed; the next run continues its work.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        interrupted: bool,
    },
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A sender of events. It is cheap to clone; events sent after the receiver is dropped are discarded.
#[derive(Clone, Debug)]
pub(crate) struct Events(mpsc::Sender<Event>);

impl Events {
    /// Creates a sender and its receiver.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel();
        (Self(sender), receiver)
    }

    /// Sends an event.
    pub(crate) fn emit(&self, event: Event) {
        // A receiver that was dropped (a closed terminal) must not stop the work.
        let _ = self.0.send(event);
    }
}
