//! Who makes the outputs: long-lived tool processes, their supervision, and the protocol they speak.

pub mod drawio;
pub mod notebook;
pub mod observed;
pub mod plantuml;
pub mod pool;
pub mod process;
pub mod protocol;
pub mod renderers;
pub mod request;
pub mod template;

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::course::RelPath;

pub use renderers::Renderers;
pub use request::{Outcome, Request, Work};

/// How far a request has got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Steps done.
    pub done: u64,
    /// Steps in all.
    pub total: u64,
    /// What is being worked on, such as `cell 3`.
    pub label: String,
}

/// Told about progress while a request runs.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// Why a worker gave no answer. Content that cannot be rendered is an [`Outcome`], not an error.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A tool is not there. Final.
    #[error("{what} is not installed")]
    Missing {
        /// The tool, such as `PlantUML`.
        what: String,
        /// The command that installs it.
        hint: String,
    },
    /// The process could not be started. Retried.
    #[error("{what} could not be started: {reason}")]
    Start {
        /// The tool.
        what: String,
        /// What the system or the tool said.
        reason: String,
    },
    /// The process ended while it worked, killed from outside as far as is known. Retried on a new one.
    #[error("{what} ended unexpectedly: {reason}")]
    Crashed {
        /// The tool.
        what: String,
        /// Exit status and the last lines it printed.
        reason: String,
    },
    /// The process ended by its own doing while it worked, such as for want of memory: the content may be the cause. Retried
    /// on a process of its own, by the pool already, which blames the content when that one ends as well.
    #[error("{what} ended unexpectedly: {reason}")]
    Ended {
        /// The tool.
        what: String,
        /// Exit status and the last lines it printed.
        reason: String,
        /// What it had read or looked for until then.
        discovered: Vec<RelPath>,
    },
    /// No answer in time; the process was killed. For a diagram this is a failure of its content; else it is retried on a
    /// new process.
    #[error("{what} did not answer within {seconds} s")]
    TimedOut {
        /// The tool.
        what: String,
        /// The limit.
        seconds: u64,
        /// What it had read or looked for until then.
        discovered: Vec<RelPath>,
    },
    /// The answer is not of the protocol. Retried on a new process.
    #[error("{what} gave an answer that clm does not understand: {reason}")]
    Garbage {
        /// The tool.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The process had ended before it worked on the request, or was killed because of another request. Retried, by the
    /// pool already: it is not this request's fault.
    #[error("{what} ended while it was busy with another source")]
    Disturbed {
        /// The tool.
        what: String,
    },
    /// Files could not be written or read on our side. Final.
    #[error("{0}")]
    Io(String),
    /// clm asked for something that makes no sense. Final.
    #[error("{0}")]
    Bug(String),
}

impl WorkerError {
    /// Whether another attempt on a new process may help.
    pub fn is_retriable(&self) -> bool {
        !matches!(self, Self::Missing { .. } | Self::Io(_) | Self::Bug(_))
    }
}

/// One renderer that stays warm between requests.
///
/// A worker is used by one request at a time. When `run` returns an error the pool drops the worker, which
/// kills its whole process tree, and makes a new one for the next attempt.
#[async_trait]
pub trait Worker: Send {
    /// Does the work of one request. Produced files are in `request.out` when this returns.
    ///
    /// When `cancel` fires, returns [`Outcome::cancelled`] (or an error) within a second.
    async fn run(
        &mut self,
        request: &Request,
        progress: ProgressSink,
        cancel: CancellationToken,
    ) -> Result<Outcome, WorkerError>;

    /// The process behind it, for people and for tests that kill it.
    fn pid(&self) -> Option<u32>;

    /// Resident memory of the process in bytes, when known: above its ceiling a worker is replaced.
    fn memory(&self) -> Option<u64> {
        None
    }

    /// Gets ready for the next request while there is nothing to do; must return at once.
    fn prepare(&mut self) {}

    /// Ends the process in an orderly way.
    async fn shutdown(self: Box<Self>) {}
}
