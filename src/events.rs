//! The one way in which a run speaks to terminals, JSON readers, sockets and tests.

use std::fmt;
use std::sync::{Arc, Mutex, mpsc};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::parallel::lock;

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// The output was made, but probably not as meant.
    Warning,
    /// The output was not made.
    Error,
}

/// Something the author should know, with the place it is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file it is about, relative to the course root where it lies inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in that file, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column in that line, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// Number of the cell in the deck, counted from 1 over all cells of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<u32>,
    /// One sentence without a full stop.
    pub message: String,
    /// Longer text such as a traceback, possibly with ANSI colours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What the author can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Diagnostics in formats that know no names: as one text of JSON, since fields that are absent need theirs. Nothing for
/// none. For `#[serde(with = ..)]`.
pub mod as_json {
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Diagnostic;

    /// Writes them.
    pub fn serialize<S: Serializer>(
        diagnostics: &impl AsRef<[Diagnostic]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match diagnostics.as_ref() {
            [] => serializer.serialize_str(""),
            some => {
                let text = serde_json::to_string(some).map_err(S::Error::custom)?;
                serializer.serialize_str(&text)
            }
        }
    }

    /// Reads them.
    pub fn deserialize<'de, D: Deserializer<'de>, T: From<Vec<Diagnostic>>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let found = match <&str>::deserialize(deserializer)? {
            "" => Vec::new(),
            text => serde_json::from_str(text).map_err(D::Error::custom)?,
        };
        Ok(found.into())
    }
}

impl Diagnostic {
    /// A diagnostic that is not about a file yet.
    pub fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            file: None,
            line: None,
            column: None,
            cell: None,
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    /// An error.
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message)
    }

    /// A warning.
    pub fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message)
    }

    /// Adds the file and line.
    #[must_use]
    pub fn at(mut self, file: impl Into<String>, line: Option<u32>) -> Self {
        self.file = Some(file.into());
        self.line = line;
        self
    }

    /// Adds the column.
    #[must_use]
    pub fn column(mut self, column: u32) -> Self {
        self.column = Some(column);
        self
    }

    /// Adds the cell number.
    #[must_use]
    pub fn cell(mut self, cell: u32) -> Self {
        self.cell = Some(cell);
        self
    }

    /// Adds longer text.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds what can be done.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// `file:line:column: severity: message`, as editors parse it; the hint on a line of its own.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            for number in [self.line, self.column].into_iter().flatten() {
                write!(f, "{number}:")?;
            }
            write!(f, " ")?;
        }
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: {}", self.message)?;
        if let Some(cell) = self.cell {
            write!(f, " (cell {cell})")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

/// What kind of work an action is; also the kind of worker that does it.
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
    /// The name used in JSON, tables and messages.
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

    /// The kinds whose results workers make.
    pub const OF_WORKERS: [Self; 4] = [Self::Execute, Self::Plantuml, Self::Drawio, Self::Html];
    /// The kinds that this process makes. They are not stored, as making them again costs no more.
    pub const LOCAL: [Self; 2] = [Self::Deck, Self::Copy];
}

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// A worker made it.
    Built,
    /// It was written without a worker: a notebook, a script or a copy.
    Written,
    /// Its result came from the cache.
    Restored,
    /// Nothing was to be done.
    Fresh,
    /// It ran, or its remembered failure was repeated, without a result.
    Failed,
    /// Something newer took its place.
    Superseded,
}

impl Status {
    /// Whether its outputs were put in place.
    pub fn is_made(self) -> bool {
        matches!(self, Self::Built | Self::Written | Self::Restored)
    }

    /// The name used in JSON, tables and messages.
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

/// What is known about a whole run: the last JSON line and the summary line.
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
    /// Actions that something newer replaced.
    pub superseded: u64,
}

impl Counts {
    /// One more action ended.
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

    /// How many actions have outputs that this run put in place.
    pub fn made(&self) -> u64 {
        self.built + self.written + self.restored
    }
}

/// One thing that happened in a run. Names of events and fields are read by editors and CI: they are stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run begins.
    RunStarted {
        /// Number of the run in the store.
        run: i64,
        /// What caused it: `build`, `watch`.
        trigger: String,
        /// How many actions the plan has.
        actions: u64,
    },
    /// What the course consists of may have changed: it was planned anew.
    Planned {
        /// How many outputs it has.
        outputs: u64,
    },
    /// An action is neither fresh nor restorable, and its work begins.
    ActionStarted {
        /// Identity of the action, stable over runs.
        action: String,
        /// What it does.
        kind: ActionKind,
        /// The file the author edits.
        source: String,
        /// Why it is stale.
        reasons: Vec<String>,
    },
    /// A running action got further.
    Progress {
        /// Identity of the action.
        action: String,
        /// What it does.
        kind: ActionKind,
        /// Steps done.
        done: u64,
        /// Steps in all.
        total: u64,
        /// What is being worked on, such as `cell 3`.
        label: String,
    },
    /// An output was written, restored or removed.
    Output {
        /// Path relative to the course root (or absolute where it lies outside).
        path: String,
        /// Digest of its bytes; none when it was removed.
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
        /// How it ended.
        status: Status,
        /// Time it took, in milliseconds.
        duration_ms: u64,
        /// Whether it failed in an earlier run and was not tried again, because nothing changed since.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        replayed: bool,
        /// Why it failed, where that is reported elsewhere: the identity of an action before it that failed, or a tool
        /// that is missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
        /// How many outputs were not made because it failed, its own and those of actions that need it.
        #[serde(default, skip_serializing_if = "is_zero")]
        not_made: u64,
    },
    /// Something to tell the author.
    Diagnostic(Diagnostic),
    /// The run is over.
    RunFinished {
        /// Number of the run in the store.
        run: i64,
        /// How the actions ended.
        #[serde(flatten)]
        counts: Counts,
        /// Time the run took, in milliseconds.
        duration_ms: u64,
        /// Whether it ended early because something changed: the next one goes on with its work.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        interrupted: bool,
    },
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Where events go. Cheap to clone; events sent after the reader has gone are dropped.
#[derive(Clone, Debug)]
pub struct Events {
    reader: mpsc::Sender<Event>,
    /// What was sent and is held back, until that is released.
    held: Option<Arc<Mutex<Option<Vec<Event>>>>>,
}

impl Events {
    /// A sender and the receiver that reads what is sent.
    pub fn channel() -> (Self, mpsc::Receiver<Event>) {
        let (reader, receiver) = mpsc::channel();
        (Self { reader, held: None }, receiver)
    }

    /// Another sender to the same reader, who sees nothing of what it and its clones send before it is released.
    #[must_use]
    pub fn held_back(&self) -> Self {
        Self {
            reader: self.reader.clone(),
            held: Some(Arc::new(Mutex::new(Some(Vec::new())))),
        }
    }

    /// Sends what was held back, and holds back no more.
    pub fn release(&self) {
        let Some(held) = &self.held else { return };
        // While it is locked nothing overtakes what is sent here.
        let mut held = lock(held);
        for event in held.take().into_iter().flatten() {
            self.send(event);
        }
    }

    /// Sends an event.
    pub fn emit(&self, event: Event) {
        if let Some(held) = &self.held {
            let mut held = lock(held);
            if let Some(held) = held.as_mut() {
                held.push(event);
                return;
            }
        }
        self.send(event);
    }

    fn send(&self, event: Event) {
        // A reader that has gone (a closed terminal) must not stop the work.
        let _ = self.reader.send(event);
    }
}
