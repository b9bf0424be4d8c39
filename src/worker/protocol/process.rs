//! A running worker program: its hello, and the routing of its messages to the requests in progress.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot};

use super::lines::Lines;
use super::{FromWorker, Hello, PROTOCOL, ProgressMessage, ResultMessage, ToWorker};
use crate::course::RelPath;
use crate::parallel::lock;
use crate::worker::WorkerError;
use crate::worker::process::{ChildTree, Log};

/// The longest line accepted from a worker, in bytes: results name files, they do not contain them.
const LINE_LIMIT: usize = 16 << 20;

/// Limits for the start of a worker program.
#[derive(Clone, Debug)]
pub struct StartLimits {
    /// The maximum time until its hello.
    pub hello: Duration,
}

impl Default for StartLimits {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(30),
        }
    }
}

/// A worker program that has sent its hello. Dropping it kills its process tree.
///
/// Several requests may be in progress at once, up to the capacity in its hello.
#[derive(Debug)]
pub struct ProtocolProcess {
    tree: ChildTree,
    hello: Hello,
    to_worker: mpsc::UnboundedSender<Vec<u8>>,
    routes: Arc<Routes>,
}

/// A message about one request.
#[derive(Debug)]
pub(super) enum Answer {
    Progress(ProgressMessage),
    Discovered(Vec<RelPath>),
    Result(ResultMessage),
}

/// The receivers of messages, and the reason why there are no more.
#[derive(Debug, Default)]
struct Routes(Mutex<RouteState>);

#[derive(Debug, Default)]
struct RouteState {
    requests: HashMap<u64, mpsc::UnboundedSender<Answer>>,
    end: Option<End>,
}

/// Why a process sends no more messages.
#[derive(Clone, Debug)]
enum End {
    /// It closed its output, usually by ending.
    Closed,
    /// It violated the protocol.
    Garbage(String),
    /// clm killed it because of this request.
    KilledFor(u64),
}

impl Routes {
    fn lock(&self) -> MutexGuard<'_, RouteState> {
        lock(&self.0)
    }

    /// Ends all requests; the first reason is kept.
    fn end(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        state.requests.clear();
    }

    fn deliver(&self, id: u64, answer: Answer) {
        let mut state = self.lock();
        let is_last = matches!(answer, Answer::Result(_));
        match state.requests.get(&id) {
            // The request may have been dropped.
            Some(route) => drop(route.send(answer)),
            None => tracing::debug!(id, "an answer that no request waits for"),
        }
        if is_last {
            state.requests.remove(&id);
        }
    }
}

impl ProtocolProcess {
    /// Starts a worker program and waits for its hello, which must be of the given kind.
    pub async fn start(
        what: &str,
        kind: &str,
        mut command: Command,
        limits: &StartLimits,
    ) -> Result<Self, WorkerError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut tree = ChildTree::spawn(what, command).await?;
        let pipes = tree.take_stdin().zip(tree.take_stdout());
        let (stdin, stdout) = pipes.ok_or_else(|| WorkerError::Start {
            what: what.to_owned(),
            reason: "its pipes are not there".to_owned(),
        })?;

        let routes = Arc::new(Routes::default());
        let (hello_sender, hello) = oneshot::channel();
        let reading = Reading {
            what: what.to_owned(),
            log: tree.log().clone(),
            routes: Arc::clone(&routes),
            hello: Some(hello_sender),
        };
        tokio::spawn(reading.run(stdout));
        let (to_worker, lines) = mpsc::unbounded_channel();
        tokio::spawn(write_lines(lines, stdin));

        let hello = match tokio::time::timeout(limits.hello, hello).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(_)) => return Err(start_failure(&tree, &routes).await),
            Err(_) => {
                return Err(WorkerError::Start {
                    what: what.to_owned(),
                    reason: with_lines(
                        &format!("no hello within {} s", limits.hello.as_secs_f32()),
                        tree.log(),
                    ),
                });
            }
        };
        check_hello(what, kind, &hello)?;
        tracing::debug!(what, pid = tree.pid(), ?hello, "ready");
        Ok(Self {
            tree,
            hello,
            to_worker,
            routes,
        })
    }

    /// Returns the hello.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Returns the process with its descendants.
    pub fn tree(&self) -> &ChildTree {
        &self.tree
    }

    /// Returns whether it accepts another request.
    pub fn is_usable(&self) -> bool {
        !self.tree.has_exited() && self.routes.lock().end.is_none()
    }

    /// Kills the process because of one request; other requests report that they were not the cause.
    pub(super) fn kill_for(&self, id: u64) {
        self.routes.end(End::KilledFor(id));
        self.tree.kill_tree();
    }

    /// Closes the input of the process so that it ends, and kills it if it does not.
    pub async fn end(self) {
        let Self {
            tree, to_worker, ..
        } = self;
        drop(to_worker);
        tree.end_within(Duration::from_millis(800)).await;
    }

    /// Registers a request and returns the receiver of its messages, which is closed when the process ends.
    pub(super) fn converse(&self, id: u64) -> mpsc::UnboundedReceiver<Answer> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.routes.lock();
        if state.end.is_none() {
            state.requests.insert(id, sender);
        }
        receiver
    }

    /// Sends a message without waiting until the worker has read it.
    pub(super) fn send(&self, message: &ToWorker) -> Result<(), WorkerError> {
        let mut line = serde_json::to_vec(message)
            .map_err(|error| WorkerError::Io(format!("a request cannot be written: {error}")))?;
        line.push(b'\n');
        // If the writer has ended, so has the process, and the receiver of the request reports the reason.
        let _ = self.to_worker.send(line);
        Ok(())
    }

    /// Returns why a request ended without a result; `discovered` lists the files found until then. Kills the rest of
    /// the process.
    pub(super) async fn failure(&self, id: u64, discovered: Vec<RelPath>) -> WorkerError {
        let what = self.tree.what().to_owned();
        let end = self.routes.lock().end.clone();
        match end {
            Some(End::Garbage(reason)) => {
                self.tree.kill_tree();
                WorkerError::Garbage { what, reason }
            }
            Some(End::KilledFor(other)) if other != id => WorkerError::Disturbed { what },
            _ => ended(&self.tree, discovered).await,
        }
    }
}

/// Returns the error for a process that ended while it worked.
pub(in crate::worker) async fn ended(tree: &ChildTree, discovered: Vec<RelPath>) -> WorkerError {
    let exit = tree.end_within(Duration::from_secs(1)).await;
    match tree.crashed().await {
        // The machine lacks memory for any JVM, so this request is not the cause.
        WorkerError::Crashed { what, reason }
            if exit.is_own_doing() && !reason.contains("insufficient memory") =>
        {
            WorkerError::Ended {
                what,
                reason,
                discovered,
            }
        }
        error => error,
    }
}

/// Returns the error for a process that ended or violated the protocol before its hello.
async fn start_failure(tree: &ChildTree, routes: &Routes) -> WorkerError {
    let what = tree.what().to_owned();
    let end = routes.lock().end.clone();
    if let Some(End::Garbage(reason)) = end {
        return WorkerError::Garbage { what, reason };
    }
    match tree.crashed().await {
        WorkerError::Crashed { what, reason } => WorkerError::Start { what, reason },
        other => other,
    }
}

fn check_hello(what: &str, kind: &str, hello: &Hello) -> Result<(), WorkerError> {
    let reason = if hello.protocol != PROTOCOL {
        format!(
            "it speaks version {} of the protocol, not {PROTOCOL}",
            hello.protocol
        )
    } else if hello.kind != kind {
        format!("it is a worker for `{}`, not for `{kind}`", hello.kind)
    } else {
        return Ok(());
    };
    Err(WorkerError::Garbage {
        what: what.to_owned(),
        reason,
    })
}

/// Returns a reason followed by the last lines that were printed.
fn with_lines(reason: &str, log: &Log) -> String {
    let lines = log.last(12);
    if lines.is_empty() {
        return reason.to_owned();
    }
    format!("{reason}\n{lines}")
}

/// Writes lines until all senders are dropped or the process stops reading. Then closes the pipe.
async fn write_lines(mut lines: mpsc::UnboundedReceiver<Vec<u8>>, mut stdin: ChildStdin) {
    while let Some(line) = lines.recv().await {
        let written = async {
            stdin.write_all(&line).await?;
            stdin.flush().await
        };
        if let Err(error) = written.await {
            tracing::debug!(%error, "a worker reads no more");
            return;
        }
    }
}

/// The reader of a process's output.
struct Reading {
    what: String,
    log: Log,
    routes: Arc<Routes>,
    hello: Option<oneshot::Sender<Hello>>,
}

impl Reading {
    async fn run(mut self, stdout: ChildStdout) {
        let end = self.read(stdout).await;
        self.routes.end(end);
    }

    async fn read(&mut self, stdout: ChildStdout) -> End {
        let mut lines = Lines::new(stdout, LINE_LIMIT);
        loop {
            let line = match lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => return End::Closed,
                Err(error) => return End::Garbage(error.to_string()),
            };
            if line.first() != Some(&b'{') {
                self.log.push(&self.what, &line);
                continue;
            }
            let accepted = serde_json::from_slice(&line)
                .map_err(|error| error.to_string())
                .and_then(|message| self.accept(message));
            if let Err(reason) = accepted {
                return End::Garbage(format!("{reason}: `{}`", beginning(&line)));
            }
        }
    }

    /// Handles one message; `Err` says why it is invalid.
    fn accept(&mut self, message: FromWorker) -> Result<(), String> {
        match message {
            FromWorker {
                hello: Some(hello), ..
            } => {
                let waiting = self.hello.take().ok_or("a second hello")?;
                // The caller that started the process may have given up.
                let _ = waiting.send(hello);
            }
            _ if self.hello.is_some() => return Err("a message before the hello".to_owned()),
            FromWorker {
                id: Some(id),
                result: Some(result),
                ..
            } => self.routes.deliver(id, Answer::Result(result)),
            FromWorker {
                id: Some(id),
                progress: Some(progress),
                ..
            } => self.routes.deliver(id, Answer::Progress(progress)),
            FromWorker {
                id: Some(id),
                discovered,
                ..
            } if !discovered.is_empty() => self.routes.deliver(id, Answer::Discovered(discovered)),
            _ => return Err("neither hello, progress, discoveries nor result".to_owned()),
        }
        Ok(())
    }
}

/// Returns the first characters of a line, for messages.
fn beginning(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(400)]);
    let cut: String = text.chars().take(80).collect();
    if cut.len() < line.len() {
        return format!("{cut}...");
    }
    cut
}
