//! The daemon: runs watch, engine and server together, for as long as they are used.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::diagnostic::{Diagnostic, Severity};
use crate::engine::driver::{Ask, Driver, Ending};
use crate::engine::{BuildOptions, Engine, OwnFiles};
use crate::error::Result;
use crate::events::{Event, Events};
use crate::parallel::lock;
use crate::watch::{Tuning, WatchOptions, Watcher};

use super::gate::{self, Gate};
use super::hub::Hub;
use super::lock::{DaemonLock, Reason};
use super::protocol::DaemonStatus;
use super::server::{self, Server};

/// Creates an engine with the current settings.
pub(crate) type MakeEngine = Box<dyn Fn(Events, CancellationToken) -> Result<Engine>>;

/// A daemon that is ready to run.
pub(crate) struct Daemon {
    /// The lock that makes it the daemon.
    pub lock: DaemonLock,
    /// Creates its engine, and a new one when settings change.
    pub make: MakeEngine,
    /// The outputs that it keeps up to date.
    pub options: BuildOptions,
    /// Times and limits of the watch.
    pub tuning: Tuning,
    /// Whether files are polled.
    pub poll: bool,
    /// The URL of the preview.
    pub preview: Option<String>,
    /// Where events are sent.
    pub events: Events,
    /// Distributes the events.
    pub hub: Hub,
    /// Cancelled when the daemon is to end.
    pub cancel: CancellationToken,
    /// Ends the daemon after this time without a change or a client.
    pub idle_exit: Option<Duration>,
    /// Why it was started, if not by a user: then it builds only what is requested.
    pub reason: Option<Reason>,
    /// Requests from the keyboard.
    pub keys: mpsc::UnboundedReceiver<Ask>,
}

/// What replaces an engine that stops.
enum Next {
    /// The daemon ends.
    End,
    /// An engine with other settings.
    Engine(Box<Engine>),
    /// The same engine settings with recreated records.
    Reopen,
}

impl Daemon {
    /// Runs until it is cancelled.
    pub(crate) async fn run(mut self) -> Result<()> {
        let own_files = OwnFiles::default();
        let mut engine = self.engine(&own_files)?;
        let (watcher, changes) = Watcher::start(self.watch_options(&engine, &own_files))?;
        let watcher = Arc::new(watcher);
        let (asks, mut asked) = mpsc::unbounded_channel();
        let (gate, passages) = gate::gate();
        let forwarded = asks.clone();
        let for_gate = Arc::clone(&watcher);
        tokio::spawn(async move {
            gate::forward(&for_gate, changes, passages, forwarded).await;
        });
        let identity = Arc::new(Mutex::new(engine.identity()));
        let visits = Arc::new(AtomicU64::new(0));
        self.serve(&engine, &watcher, gate, &identity, &visits)?;
        self.listen_to_keys(asks);
        self.end_when_idle(&visits);
        loop {
            let watched = Arc::clone(&watcher);
            engine = engine.with_inputs_to(Arc::new(move |inputs| watched.set_inputs(inputs)));
            engine = match self.stay(&engine, &mut asked, &own_files, &watcher).await {
                Next::End => return Ok(()),
                Next::Engine(next) => *next,
                Next::Reopen => {
                    // The old records are closed before new ones are created in their place.
                    drop(engine);
                    self.reopen(&own_files)?
                }
            };
            *lock(&identity) = engine.identity();
        }
    }

    /// Creates an engine with new records, after the state directory was moved or removed.
    fn reopen(&self, own_files: &OwnFiles) -> Result<Engine> {
        self.lock.renew()?;
        let engine = self.engine(own_files)?;
        let moved = "the directory of the records was moved or removed: it is made again";
        let note = Diagnostic::new(Severity::Note, moved);
        self.events.emit(Event::Diagnostic(note.into()));
        Ok(engine)
    }

    /// Runs an engine until it has to be replaced, and returns the replacement.
    async fn stay(
        &self,
        engine: &Engine,
        asked: &mut mpsc::UnboundedReceiver<Ask>,
        own_files: &OwnFiles,
        watcher: &Watcher,
    ) -> Next {
        // A poller does not look at outputs.
        let outputs = (!self.poll).then(|| watcher.outputs());
        let mut driver = Driver::new(engine, self.options.clone(), outputs);
        if self.reason.is_some() {
            driver = driver.only_on_request();
        }
        let next = loop {
            match driver.serve(asked).await {
                Ending::Done => break Next::End,
                Ending::Moved => break Next::Reopen,
                Ending::Reload => match self.engine(own_files) {
                    Ok(next) => break Next::Engine(Box::new(next)),
                    // The old settings remain in force until the new ones are valid.
                    Err(error) => {
                        for diagnostic in error.diagnostics {
                            self.events.emit(Event::Diagnostic(diagnostic.into()));
                        }
                    }
                },
            }
        };
        driver.end(matches!(next, Next::End)).await;
        next
    }

    fn engine(&self, own_files: &OwnFiles) -> Result<Engine> {
        let engine = (self.make)(self.events.clone(), self.cancel.clone())?;
        Ok(engine.with_own_files(own_files.clone()))
    }

    fn watch_options(&self, engine: &Engine, own_files: &OwnFiles) -> WatchOptions {
        let own_files = own_files.clone();
        let events = self.events.clone();
        let mut options = WatchOptions::new(&engine.course().place);
        options
            .inputs
            .files
            .extend(engine.course().settings_files());
        options.tuning = self.tuning;
        options.poll = self.poll;
        options.own_output = Arc::new(move |path| own_files.digest(path));
        options.report =
            Arc::new(move |diagnostic| events.emit(Event::Diagnostic(diagnostic.into())));
        options
    }

    fn serve(
        &self,
        engine: &Engine,
        watcher: &Arc<Watcher>,
        gate: Gate,
        identity: &Arc<Mutex<crate::digest::Digest>>,
        visits: &Arc<AtomicU64>,
    ) -> Result<()> {
        let listener = server::listen(self.lock.socket())?;
        let about = DaemonStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            spec: engine.course().place.spec.display().to_string(),
            preview: self.preview.clone(),
            reason: self.reason,
            idle_exit_s: self.idle_exit.map(|limit| limit.as_secs()),
            ..DaemonStatus::default()
        };
        let server = Server {
            course: Arc::clone(identity),
            gate,
            hub: self.hub.clone(),
            watcher: Arc::clone(watcher),
            cancel: self.cancel.clone(),
            about: Arc::new(about),
            started: Instant::now(),
            visits: Arc::clone(visits),
        };
        tokio::spawn(server.serve(listener));
        self.lock.announce(self.preview.clone())
    }

    fn listen_to_keys(&mut self, asks: mpsc::UnboundedSender<Ask>) {
        let (_, closed) = mpsc::unbounded_channel();
        let mut keys = std::mem::replace(&mut self.keys, closed);
        tokio::spawn(async move {
            while let Some(ask) = keys.recv().await {
                if asks.send(ask).is_err() {
                    return;
                }
            }
        });
    }

    /// Ends the daemon when it has not been used for a long time.
    fn end_when_idle(&self, visits: &Arc<AtomicU64>) {
        let Some(limit) = self.idle_exit else { return };
        let (visits, cancel, hub) = (Arc::clone(visits), self.cancel.clone(), self.hub.clone());
        let mut events = hub.subscribe(None);
        tokio::spawn(async move {
            loop {
                let before = visits.load(Ordering::Relaxed);
                match tokio::time::timeout(limit, events.recv()).await {
                    Ok(Some(_)) => {}
                    Ok(None) => events = hub.subscribe(None),
                    Err(_) if visits.load(Ordering::Relaxed) == before => {
                        cancel.cancel();
                        return;
                    }
                    Err(_) => {}
                }
            }
        });
    }
}

/// Returns the path to which a background daemon writes what a terminal would show.
pub(crate) fn log_file(state_dir: &std::path::Path) -> PathBuf {
    state_dir.join("daemon.log")
}
