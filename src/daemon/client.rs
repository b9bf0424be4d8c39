//! The client side of the connection to a daemon.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::digest::Digest;
use crate::engine::BuildOptions;
use crate::error::{Error, Result};
use crate::events::{Counts, Event};

use super::lock::{DaemonInfo, running};
use super::protocol::{Answer, DaemonStatus, Line, PROTOCOL, Request};

/// How long the daemon may take to answer a short request.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a daemon of the same version.
pub struct Client {
    info: DaemonInfo,
    stream: BufReader<UnixStream>,
}

/// Why a running daemon cannot be used.
#[derive(Debug)]
pub struct Unusable(pub String);

/// The outcome of a build by the daemon.
#[derive(Debug)]
pub enum ClientBuilt {
    /// It was completed.
    Done {
        /// The counts of actions by outcome.
        counts: Counts,
        /// Whether any error was reported.
        has_errors: bool,
    },
    /// It failed: the exit code and the reasons.
    Failed(u8, Vec<crate::diagnostic::Diagnostic>),
    /// The daemon refused it: the reason.
    Refused(String),
}

impl Client {
    /// Connects to the daemon of a course; returns `None` if none runs.
    pub fn connect(state_dir: &Path) -> Result<Option<Self>, Unusable> {
        let Some(info) = running(state_dir) else {
            return Ok(None);
        };
        let unusable =
            |reason: String| Unusable(format!("process {} watches here, but {reason}", info.pid));
        let stream = UnixStream::connect(&info.socket)
            .map_err(|error| unusable(format!("it cannot be reached: {error}")))?;
        let mut client = Self {
            info: info.clone(),
            stream: BufReader::new(stream),
        };
        let version = env!("CARGO_PKG_VERSION");
        let hello = Request::Hello {
            version: version.to_owned(),
            protocol: PROTOCOL,
        };
        let answer = client
            .ask(&hello)
            .map_err(|error| unusable(error.message().replacen("the daemon", "it", 1)))?;
        match answer {
            Answer::Hello {
                version: other,
                protocol,
                ..
            } if other == version && protocol == PROTOCOL => Ok(Some(client)),
            Answer::Hello { version: other, .. } => Err(unusable(format!(
                "it is clm {other}, and this is clm {version}"
            ))),
            _ => Err(unusable(
                "it gives an answer that clm does not understand".to_owned(),
            )),
        }
    }

    /// Returns what the daemon publishes about itself.
    pub fn info(&self) -> &DaemonInfo {
        &self.info
    }

    /// Brings outputs up to date; `told` is called for each event.
    pub fn build(
        &mut self,
        course: Digest,
        options: &BuildOptions,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<ClientBuilt> {
        self.send(&Request::Build {
            course,
            options: Box::new(options.clone()),
        })?;
        // A run may take long, so there is no timeout: the connection breaks if the daemon dies.
        self.patience(None)?;
        loop {
            match self.hear()? {
                Line::Event(event) => on_event(event),
                Line::Answer(Answer::Built {
                    counts, has_errors, ..
                }) => return Ok(ClientBuilt::Done { counts, has_errors }),
                Line::Answer(Answer::Failed {
                    exit_code,
                    diagnostics,
                }) => return Ok(ClientBuilt::Failed(exit_code, diagnostics)),
                Line::Answer(Answer::Refused { reason }) => {
                    return Ok(ClientBuilt::Refused(reason));
                }
                Line::Answer(_) => return Err(strange("another answer was expected")),
            }
        }
    }

    /// Returns the daemon's status.
    pub fn status(&mut self) -> Result<DaemonStatus> {
        match self.ask(&Request::Status)? {
            Answer::Status(status) => Ok(*status),
            _ => Err(strange("another answer was expected")),
        }
    }

    /// Receives all events from now on, until `told` returns false or the daemon ends.
    pub fn subscribe(&mut self, on_event: &mut dyn FnMut(Event) -> bool) -> Result<()> {
        self.ask(&Request::Subscribe)?;
        self.patience(None)?;
        while let Ok(line) = self.hear() {
            let Line::Event(event) = line else { break };
            if !on_event(event) {
                break;
            }
        }
        Ok(())
    }

    /// Sends a request that is answered at once, and returns the answer.
    pub fn ask(&mut self, request: &Request) -> Result<Answer> {
        self.patience(Some(PATIENCE))?;
        self.send(request)?;
        match self.hear()? {
            Line::Answer(answer) => Ok(answer),
            Line::Event(_) => Err(strange("an event came before the answer")),
        }
    }

    fn patience(&self, patience: Option<Duration>) -> Result<()> {
        self.stream
            .get_ref()
            .set_read_timeout(patience)
            .map_err(|error| gone(&error))
    }

    fn send(&mut self, request: &Request) -> Result<()> {
        let mut line = serde_json::to_string(request).map_err(|error| {
            Error::bug(format!("cannot write a request to the daemon: {error}"))
        })?;
        line.push('\n');
        let stream = self.stream.get_mut();
        stream
            .write_all(line.as_bytes())
            .map_err(|error| gone(&error))
    }

    fn hear(&mut self) -> Result<Line> {
        let mut line = String::new();
        let read = self
            .stream
            .read_line(&mut line)
            .map_err(|error| gone(&error))?;
        if read == 0 {
            return Err(Error::internal("the daemon has ended"));
        }
        serde_json::from_str(&line).map_err(|error| strange(&error.to_string()))
    }
}

fn gone(error: &std::io::Error) -> Error {
    let reason = match error.kind() {
        // The system's message for a timeout would not help the user.
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            format!("the daemon does not answer within {} s", PATIENCE.as_secs())
        }
        _ => format!("the daemon cannot be reached: {error}"),
    };
    Error::internal(reason).hint("`clm daemon stop` ends it; `--no-daemon` works without it")
}

fn strange(reason: &str) -> Error {
    Error::internal(format!(
        "the daemon gives an answer that clm does not understand: {reason}"
    ))
    .hint("`clm daemon stop` ends it; `--no-daemon` works without it")
}
