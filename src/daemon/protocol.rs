//! What clients and the daemon say to each other: JSON objects, one a line.
//!
//! A client says [`Request`]s; the daemon answers each with [`Answer`]s, and with [`Event`]s in between where that is
//! asked for. An answer has a field `answer`, an event a field `event`.

use serde::{Deserialize, Serialize};

use crate::course::RelPath;
use crate::digest::Digest;
use crate::engine::BuildOptions;
use crate::events::{Counts, Diagnostic, Event};

/// Raised whenever an older client would misunderstand.
pub const PROTOCOL: u32 = 1;
/// The longest line, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// What a client asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// Introduces the client; answered with [`Answer::Hello`]. Any other version of clm works alone.
    Hello {
        /// The version of clm.
        version: String,
        /// The version of this protocol.
        protocol: u32,
    },
    /// Makes outputs fresh; answered with the events of that run and [`Answer::Built`].
    Build {
        /// [`Course::identity_with`](crate::engine::course::Course::identity_with): what the client means by this course,
        /// and its tools.
        course: Digest,
        /// What to make.
        options: Box<BuildOptions>,
    },
    /// Answered with [`Answer::Status`].
    Status,
    /// Answered with all events from now on.
    Subscribe,
    /// Tells what the author is working on; answered with [`Answer::Ok`].
    Focus {
        /// The source.
        path: RelPath,
    },
    /// Keeps changes back until [`Request::Release`], or until the client goes.
    Hold,
    /// Ends the hold.
    Release,
    /// Answered with [`Answer::Ok`] when every change made before has been taken note of.
    Sync,
    /// Ends the daemon; answered with [`Answer::Ok`].
    Shutdown,
}

/// What the daemon answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// Who answers.
    Hello {
        /// The version of clm.
        version: String,
        /// The version of the protocol.
        protocol: u32,
        /// The process.
        pid: u32,
    },
    /// It is done.
    Ok,
    /// A build is over.
    Built {
        /// How the actions ended.
        counts: Counts,
        /// Whether anything was reported as an error.
        has_errors: bool,
        /// How long it took, in milliseconds.
        duration_ms: u64,
    },
    /// A build came to nothing.
    Failed {
        /// The exit code that goes with it.
        exit_code: u8,
        /// Why.
        diagnostics: Vec<Diagnostic>,
    },
    /// How the daemon is.
    Status(Box<DaemonStatus>),
    /// The daemon will not do that.
    Refused {
        /// Why not.
        reason: String,
    },
}

/// A line from the daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// An answer.
    Answer(Answer),
    /// Something happened.
    Event(Event),
}

/// How a daemon is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Its process.
    pub pid: u32,
    /// The version of clm.
    pub version: String,
    /// How long it has run, in seconds.
    pub uptime_s: u64,
    /// The specification.
    pub spec: String,
    /// The address of the preview.
    pub preview: Option<String>,
    /// Whether files are polled, for want of events.
    pub is_polling: bool,
    /// Actions that run now.
    pub running: Vec<String>,
    /// How the last run that ended went.
    pub last_run: Option<(Counts, u64)>,
    /// What is wrong now.
    pub errors: Vec<Diagnostic>,
}
