//! The messages between clients and the daemon: JSON objects, one per line.
//!
//! A client sends [`Request`]s. The daemon replies to each with an [`Answer`], preceded by [`Event`]s where the request
//! asks for them. An answer has a field `answer`, an event a field `event`.

use serde::{Deserialize, Serialize};

use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::engine::BuildOptions;
use crate::events::{Counts, Event};

use super::lock::Reason;

/// Incremented whenever an older client would misunderstand.
pub(crate) const PROTOCOL: u32 = 1;
/// The longest line, in bytes.
pub(crate) const MAX_LINE: usize = 1 << 20;

/// A request of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// Introduces the client; answered with [`Answer::Hello`]. Clients of any other version of clm work without the
    /// daemon.
    Hello {
        /// The version of clm.
        version: String,
        /// The version of this protocol.
        protocol: u32,
    },
    /// Brings outputs up to date; answered with the events of that run and [`Answer::Built`].
    Build {
        /// `Course::identity_with`: identifies the course as the client reads it, and its tools.
        course: Digest,
        /// What to make.
        options: Box<BuildOptions>,
    },
    /// Answered with [`Answer::Status`].
    Status,
    /// Answered with all events from now on.
    Subscribe,
    /// Names the source the author is working on; answered with [`Answer::Ok`].
    Focus {
        /// The source.
        path: RelPath,
    },
    /// Holds changes back until [`Request::Release`] or until the client disconnects.
    Hold,
    /// Ends the hold.
    Release,
    /// Answered with [`Answer::Ok`] when the engine has been sent every change made before.
    Sync,
    /// Ends the daemon; answered with [`Answer::Ok`].
    Shutdown,
}

/// An answer of the daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// Introduces the daemon.
    Hello {
        /// The version of clm.
        version: String,
        /// The version of the protocol.
        protocol: u32,
        /// The process id of the daemon.
        pid: u32,
    },
    /// The request was carried out.
    Ok,
    /// A build ended.
    Built {
        /// The counts of actions by outcome.
        counts: Counts,
        /// Whether any error was reported.
        has_errors: bool,
        /// How long it took, in milliseconds.
        duration_ms: u64,
    },
    /// A build failed.
    Failed {
        /// The exit code for this failure.
        exit_code: u8,
        /// The reasons.
        diagnostics: Vec<Diagnostic>,
    },
    /// The status of the daemon.
    Status(Box<DaemonStatus>),
    /// The daemon refuses the request.
    Refused {
        /// The reason.
        reason: String,
    },
}

/// A line from the daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// An answer.
    Answer(Answer),
    /// An event.
    Event(Event),
}

/// The status of a daemon.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Its process id.
    pub pid: u32,
    /// The version of clm.
    pub version: String,
    /// Its uptime, in seconds.
    pub uptime_s: u64,
    /// The path of the specification.
    pub spec: String,
    /// The URL of the preview.
    pub preview: Option<String>,
    /// Why it was started, if not by a user: then it makes only what is requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// After how many seconds without a request or a change it ends, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_exit_s: Option<u64>,
    /// The memory of it and its workers, in bytes, where the system says that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Whether files are polled because there are no events.
    pub is_polling: bool,
    /// The running actions.
    pub running: Vec<String>,
    /// The outcome of the last completed run, and its duration in milliseconds.
    pub last_run: Option<(Counts, u64)>,
    /// The current errors.
    pub errors: Vec<Diagnostic>,
}
