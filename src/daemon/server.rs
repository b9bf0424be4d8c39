//! The server on the socket: serves only this user, with one task for each client.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::digest::Digest;
use crate::engine::BuildOptions;
use crate::engine::driver::Ask;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::memory;
use crate::watch::{Hold, Watcher};

use super::gate::Gate;
use super::hub::Hub;
use super::protocol::{Answer, DaemonStatus, Line, MAX_LINE, PROTOCOL, Request};

/// The pause after a client cannot be accepted.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a client gets no more events.
const NOT_READ: &str = "messages of the daemon were not read in time";

/// What is needed to serve clients. Clones share the same state.
#[derive(Clone)]
pub(super) struct Server {
    /// The identity of the course and tools with which a client's build must agree.
    pub course: Arc<std::sync::Mutex<Digest>>,
    /// Sends requests to the engine.
    pub gate: Gate,
    /// Distributes events.
    pub hub: Hub,
    /// The watch, for holds.
    pub watcher: Arc<Watcher>,
    /// Ends the daemon.
    pub cancel: CancellationToken,
    /// The constant part of the status.
    pub about: Arc<DaemonStatus>,
    /// When the daemon started.
    pub started: std::time::Instant,
    /// Incremented whenever a client connects.
    pub visits: Arc<AtomicU64>,
}

/// Listens on a socket that only this user may connect to.
pub(super) fn listen(path: &Path) -> Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    let io = |error: std::io::Error| Error::io("listen on", path, &error);
    let listener = UnixListener::bind(path).map_err(io)?;
    // The directory already excludes other users.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
    Ok(listener)
}

impl Server {
    /// Serves clients until the daemon ends.
    pub(super) async fn serve(self, listener: UnixListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.cancel.cancelled() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Without a pause, a lack of file descriptors would make this a busy loop.
                    tracing::warn!(%error, "a client cannot be answered");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let user = nix::unistd::Uid::effective().as_raw();
            if !stream.peer_cred().is_ok_and(|peer| peer.uid() == user) {
                continue;
            }
            self.visits.fetch_add(1, Ordering::Relaxed);
            let server = self.clone();
            tokio::spawn(async move {
                let cancel = server.cancel.clone();
                let mut client = Client::new(server, stream);
                tokio::select! {
                    result = client.talk() => {
                        if let Err(error) = result {
                            tracing::debug!(%error, "a client went");
                        }
                    }
                    () = cancel.cancelled() => client.finish().await,
                }
            });
        }
    }
}

struct Client {
    server: Server,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    hold: Option<Hold>,
}

impl Client {
    fn new(server: Server, stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            server,
            reader: BufReader::new(reader),
            writer,
            hold: None,
        }
    }

    async fn talk(&mut self) -> std::io::Result<()> {
        loop {
            let mut line = String::new();
            let read = (&mut self.reader)
                .take(MAX_LINE as u64)
                .read_line(&mut line)
                .await?;
            if read == 0 {
                return Ok(());
            }
            if !line.ends_with('\n') {
                return self.refuse("the request is too long").await;
            }
            match serde_json::from_str(&line) {
                Ok(request) => self.answer(request).await?,
                Err(error) => {
                    self.refuse(&format!(
                        "the daemon does not understand the request: {error}"
                    ))
                    .await?
                }
            }
        }
    }

    async fn answer(&mut self, request: Request) -> std::io::Result<()> {
        match request {
            Request::Hello { .. } => {
                let about = &self.server.about;
                let hello = Answer::Hello {
                    version: about.version.clone(),
                    protocol: PROTOCOL,
                    pid: about.pid,
                };
                self.send_answer(&hello).await
            }
            Request::Build { course, options } => self.build(course, options).await,
            Request::Status => {
                let status = self.status();
                self.send_answer(&Answer::Status(Box::new(status))).await
            }
            Request::Subscribe => {
                let mut events = self.server.hub.subscribe(None);
                self.send_answer(&Answer::Ok).await?;
                while let Some(event) = events.recv().await {
                    self.send_event(&event).await?;
                }
                self.refuse(NOT_READ).await
            }
            Request::Focus { path } => self.pass(Some(Ask::Focus(path))).await,
            Request::Hold => {
                self.hold = Some(self.server.watcher.hold());
                self.send_answer(&Answer::Ok).await
            }
            Request::Release => {
                self.hold = None;
                self.send_answer(&Answer::Ok).await
            }
            Request::Sync => self.pass(None).await,
            Request::Shutdown => {
                self.send_answer(&Answer::Ok).await?;
                self.server.cancel.cancel();
                Ok(())
            }
        }
    }

    async fn pass(&mut self, ask: Option<Ask>) -> std::io::Result<()> {
        match self.server.gate.pass(ask).await {
            Ok(()) => self.send_answer(&Answer::Ok).await,
            Err(error) => self.refuse(error.message()).await,
        }
    }

    async fn build(
        &mut self,
        course: Digest,
        mut options: Box<BuildOptions>,
    ) -> std::io::Result<()> {
        if !self.watches(course) {
            let reason = "it watches the course with other settings, another output directory, or other tools than are found here now";
            return self.refuse(reason).await;
        }
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        options.trigger = format!("build {number}");
        let mut events = self.server.hub.subscribe(Some(options.trigger.clone()));
        let (sender, mut answer) = oneshot::channel();
        let asked = self.server.gate.pass(Some(Ask::Build(options, sender)));
        if let Err(error) = asked.await {
            return self.refuse(error.message()).await;
        }
        let mut is_over = false;
        let result = loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(event) => {
                        is_over |= ends(&event);
                        self.send_event(&event).await?;
                    }
                    None => return self.refuse(NOT_READ).await,
                },
                result = &mut answer => break result,
                // A client sends nothing of interest while it waits. When it disconnects, this returns and drops the
                // receiver of the answer, from which the engine sees that the result is no longer needed.
                read = self.reader.fill_buf() => match read.map(<[u8]>::len) {
                    Ok(length) if length > 0 => self.reader.consume(length),
                    _ => return Ok(()),
                },
            }
        };
        let answer = match result {
            Ok(Ok(built)) => {
                if !is_over {
                    self.rest(&mut events).await?;
                }
                Answer::Built {
                    counts: built.counts,
                    has_errors: built.has_errors,
                    duration_ms: built.duration.as_millis() as u64,
                }
            }
            Ok(Err(error)) => Answer::Failed {
                exit_code: error.exit_code(),
                diagnostics: error.diagnostics,
            },
            Err(_) => return self.refuse("the daemon is about to end").await,
        };
        self.send_answer(&answer).await
    }

    /// Returns whether the daemon watches the course with this identity.
    fn watches(&self, course: Digest) -> bool {
        let known = self.server.course.lock();
        known.is_ok_and(|known| *known == course)
    }

    /// Sends the remaining events of a run that has ended, up to its last one.
    async fn rest(&mut self, events: &mut mpsc::Receiver<Arc<Event>>) -> std::io::Result<()> {
        let patience = std::time::Duration::from_secs(5);
        while let Ok(Some(event)) = tokio::time::timeout(patience, events.recv()).await {
            self.send_event(&event).await?;
            if ends(&event) {
                break;
            }
        }
        Ok(())
    }

    fn status(&self) -> DaemonStatus {
        let (running, last_run, errors) = self.server.hub.state();
        DaemonStatus {
            memory: memory::of_tree(std::process::id()),
            uptime_s: self.server.started.elapsed().as_secs(),
            is_polling: self.server.watcher.is_polling(),
            running,
            last_run,
            errors,
            ..(*self.server.about).clone()
        }
    }

    async fn send_event(&mut self, event: &Event) -> std::io::Result<()> {
        self.write(serde_json::to_string(event)).await
    }

    async fn send_answer(&mut self, answer: &Answer) -> std::io::Result<()> {
        self.write(serde_json::to_string(&Line::Answer(answer.clone())))
            .await
    }

    async fn refuse(&mut self, reason: &str) -> std::io::Result<()> {
        let reason = reason.to_owned();
        self.send_answer(&Answer::Refused { reason }).await
    }

    async fn write(&mut self, line: serde_json::Result<String>) -> std::io::Result<()> {
        let mut line = line?;
        line.push('\n');
        self.writer.write_all(line.as_bytes()).await
    }

    /// Closes the connection so that the last message reaches the client although the daemon ends.
    async fn finish(&mut self) {
        let _ = self.writer.shutdown().await;
    }
}

/// Returns whether an event is the last one of a build: an interrupted run is followed by another one.
fn ends(event: &Event) -> bool {
    matches!(
        event,
        Event::RunFinished {
            interrupted: false,
            ..
        }
    )
}
