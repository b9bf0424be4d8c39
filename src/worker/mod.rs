//! Workers: long-lived tool processes that make the outputs, their supervision, and the protocol between them and clm.

pub(crate) mod drawio;
pub(crate) mod notebook;
pub(crate) mod observed;
pub(crate) mod plantuml;
pub(crate) mod pool;
pub(crate) mod process;
pub(crate) mod protocol;
pub(crate) mod renderers;
pub(crate) mod request;
pub mod template;

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::course::RelPath;

pub use renderers::Renderers;
pub use request::{Outcome, Request, Work};

/// The progress of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of completed steps.
    pub done: u64,
    /// The number of all steps.
    pub total: u64,
    /// The current step, such as `cell 3`.
    pub label: String,
}

/// Is called with the progress of a running request.
pub(crate) type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// Why a worker gave no result. Content that cannot be rendered is an [`Outcome`], not an error.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A tool is not installed. Not retried.
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
        /// The message of the system or the tool.
        reason: String,
    },
    /// The process ended while it worked, probably killed from outside. Retried on a new process.
    #[error("{what} ended unexpectedly: {reason}")]
    Crashed {
        /// The tool.
        what: String,
        /// Exit status and the last lines it printed.
        reason: String,
    },
    /// The process ended by its own doing while it worked, for example for lack of memory: the content may be the
    /// cause. The pool itself retries this with a process used for nothing else, and reports the content as the cause
    /// if that one ends as well.
    #[error("{what} ended unexpectedly: {reason}")]
    Ended {
        /// The tool.
        what: String,
        /// Exit status and the last lines it printed.
        reason: String,
        /// The files it had read or looked for until then.
        discovered: Vec<RelPath>,
    },
    /// There was no result in time; the process was killed. For a diagram this is an error in its content; otherwise it
    /// is retried on a new process.
    #[error("{what} did not answer within {seconds} s")]
    TimedOut {
        /// The tool.
        what: String,
        /// The limit.
        seconds: u64,
        /// The files it had read or looked for until then.
        discovered: Vec<RelPath>,
    },
    /// The answer violates the protocol. Retried on a new process.
    #[error("{what} gave an answer that clm does not understand: {reason}")]
    Garbage {
        /// The tool.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The answer lacks an output of the request. Retried on a new process.
    #[error("{what} did not make `{output}`")]
    NoOutput {
        /// The tool.
        what: String,
        /// The name of the output.
        output: String,
    },
    /// The process had ended before it worked on the request, or was killed because of another request. The pool itself
    /// retries this, since the request is not the cause.
    #[error("{what} ended while it was busy with another source")]
    Disturbed {
        /// The tool.
        what: String,
    },
    /// clm could not read or write files. Not retried.
    #[error("{0}")]
    Io(String),
    /// A request is invalid because of a bug in clm. Not retried.
    #[error("{0}")]
    Bug(String),
}

impl WorkerError {
    /// Returns whether another attempt on a new process may succeed.
    pub fn is_retriable(&self) -> bool {
        !matches!(self, Self::Missing { .. } | Self::Io(_) | Self::Bug(_))
    }
}

/// A renderer that keeps running between requests.
///
/// A worker is used by one request at a time. When `run` returns an error, the pool drops the worker, which kills its
/// whole process tree, and creates a new one for the next attempt.
#[async_trait]
pub trait Worker: Send {
    /// Does the work of one request. When this returns, the produced files are in `request.out`.
    ///
    /// When `cancel` fires, returns [`Outcome::cancelled`] (or an error) within a second.
    async fn run(
        &mut self,
        request: &Request,
        progress: ProgressSink,
        cancel: CancellationToken,
    ) -> Result<Outcome, WorkerError>;

    /// Returns the id of its process, which is shown to the user and used by tests that kill it.
    fn pid(&self) -> Option<u32>;

    /// Returns the resident memory of the process in bytes, if known: a worker that exceeds its limit is replaced.
    fn memory(&self) -> Option<u64> {
        None
    }

    /// Prepares for the next request while the worker is idle; must return at once.
    fn prepare(&mut self) {}

    /// Ends the process properly.
    async fn shutdown(self: Box<Self>) {}
}
