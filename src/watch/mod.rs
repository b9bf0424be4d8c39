//! Turns file events into change sets.
//!
//! ```text
//! notify (or polling) -> coverage (which directories, symbolic links) -> filter -> settle -> ChangeSet
//! ```
//!
//! Directories are watched and never files, because editors replace files. No change is lost: when changes may have
//! been missed (the queue overflowed, a lock was held too long, the machine slept), a change set with
//! [`ChangeSet::rescan`] is released. Events prove nothing about content: a touched file is reported, and digests
//! decide.

mod clock;
mod cookies;
mod coverage;
mod filter;
mod folder;
mod git;
mod poll;
mod registry;
mod rules;
mod service;
mod settle;
mod source;
mod survey;
mod temporary;
mod tracker;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::config::Place;
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::error::{Error, Result};

pub(crate) use folder::{FolderFilter, is_rule_file, rule_files_above};
pub(crate) use git::GitDir;
use registry::Current;
pub(crate) use registry::{OutputWatch, Touched};
pub(crate) use temporary::is_temporary;

pub(crate) use settle::HoldId;
pub use settle::{ChangeSet, Settle, Tuning};

/// The capacity of the channel of change sets. When it is full, further ones are merged, so none is lost.
pub const CAPACITY: usize = 16;

/// Returns the digest of the bytes that clm itself last wrote to a file; `None` for a file that is not clm's. It is
/// called when a batch is released, and must know of a file before that file is written.
pub(crate) type OwnOutput = Arc<dyn Fn(&Path) -> Option<Digest> + Send + Sync>;

/// Receives diagnostics for the user, such as that files are polled from now on.
pub(crate) type Report = Arc<dyn Fn(Diagnostic) + Send + Sync>;

/// The paths that the last plan read. Relative paths are relative to the course root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Directories (or single files) in which every file may be a source: the scan roots of the specification, and the
    /// course's own templates. No ignore rule applies here, because the build ignores no files.
    pub scanned: Vec<PathBuf>,
    /// A folder without `course.xml`; here ignore rules apply to what is not in `files`.
    pub also: Vec<PathBuf>,
    /// Every path that the plan read or looked for, existing or not. They trigger wherever they are.
    pub files: BTreeSet<PathBuf>,
    /// Directories of outputs: nothing in them triggers, except `files`.
    pub output_dirs: Vec<PathBuf>,
}

/// The options of a watch.
#[derive(Clone)]
pub struct WatchOptions {
    /// The course root. Paths in change sets begin with it as it is spelled here.
    pub root: PathBuf,
    /// The specification, inside the root or elsewhere.
    pub spec: PathBuf,
    /// The directory of the store; nothing in it triggers.
    pub state_dir: PathBuf,
    /// The inputs until the first plan sets others.
    pub inputs: Inputs,
    /// Times and limits.
    pub tuning: Tuning,
    /// Polls instead of waiting for events, for file systems without events.
    pub poll: bool,
    /// Recognizes clm's own outputs.
    pub own_output: OwnOutput,
    /// Receives the diagnostics.
    pub report: Report,
}

impl WatchOptions {
    /// Creates options that watch `slides/`, the specification and the settings.
    pub fn new(place: &Place) -> Self {
        Self {
            root: place.root.clone(),
            spec: place.spec.clone(),
            state_dir: place.state_dir(),
            inputs: match place.is_folder() {
                true => Inputs {
                    also: vec![place.root.clone()],
                    ..Inputs::default()
                },
                false => Inputs {
                    scanned: vec![place.root.join("slides")],
                    ..Inputs::default()
                },
            },
            tuning: Tuning::default(),
            poll: false,
            own_output: Arc::new(|_| None),
            report: Arc::new(|_| {}),
        }
    }
}

/// A running watch with its own thread, which sleeps until something happens. Dropping it ends the watch.
pub struct Watcher {
    commands: mpsc::UnboundedSender<Command>,
    next_hold: AtomicU64,
    state: Arc<State>,
    registry: Current,
}

/// The state that the thread publishes.
#[derive(Default)]
struct State {
    is_polling: AtomicBool,
    wake_ups: AtomicU64,
}

enum Command {
    SetInputs(Inputs),
    Hold(HoldId),
    Release(HoldId),
    Rescan,
    Sync(oneshot::Sender<()>),
    Stop,
}

/// Holds change sets back until it is dropped, at most for [`Tuning::max_hold`].
pub struct Hold {
    id: HoldId,
    commands: mpsc::UnboundedSender<Command>,
}

impl Hold {
    /// Ends the hold, as dropping it does.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        // A watch that has ended holds nothing back.
        let _ = self.commands.send(Command::Release(self.id));
    }
}

impl Watcher {
    /// Starts to watch. Every change after this returns is reported; the caller reads the state before it.
    ///
    /// If the system reports no events or its limits are reached, files are polled, and a diagnostic says so. Change
    /// sets are sent as long as the receiver exists.
    ///
    /// Errors: the course root does not exist, or no thread can be started.
    pub fn start(options: WatchOptions) -> Result<(Self, mpsc::Receiver<ChangeSet>)> {
        let state = Arc::new(State::default());
        let (commands, receiver) = mpsc::unbounded_channel();
        let registry = Current::default();
        let change_sets = service::start(options, receiver, state.clone(), registry.clone())?;
        let watcher = Self {
            commands,
            registry,
            next_hold: AtomicU64::new(tracker::GIT_HOLD + 1),
            state,
        };
        Ok((watcher, change_sets))
    }

    /// Sets the paths that a plan read. Those that were not watched before are reported as changed, since they may have
    /// changed in the meantime.
    pub fn set_inputs(&self, inputs: Inputs) {
        self.send(Command::SetInputs(inputs));
    }

    /// Returns a watch of outputs, without directories.
    pub(crate) fn outputs(&self) -> OutputWatch {
        OutputWatch::new(Arc::clone(&self.registry))
    }

    /// Holds change sets back until the hold is released or dropped, for a client that is writing many files.
    pub fn hold(&self) -> Hold {
        let id = self.next_hold.fetch_add(1, Ordering::Relaxed);
        self.send(Command::Hold(id));
        Hold {
            id,
            commands: self.commands.clone(),
        }
    }

    /// Requests a change set with [`ChangeSet::rescan`].
    pub fn rescan(&self) {
        self.send(Command::Rescan);
    }

    /// Waits until every change made before this call has been sent to the receiver, without waiting for the quiet
    /// period and in spite of holds. Another task has to read the receiver meanwhile: when [`CAPACITY`] change sets
    /// wait in it, this waits as well. A task that reads the receiver itself calls [`Watcher::catch_up`].
    ///
    /// Errors: the watch has ended.
    pub async fn sync(&self) -> Result<()> {
        let (done, wait) = oneshot::channel();
        self.send(Command::Sync(done));
        wait.await
            .map_err(|_| Error::internal("the watch has ended"))
    }

    /// Like [`Watcher::sync`], but reads the receiver meanwhile: returns everything that happened before this call and
    /// was not read yet, as one change set. It may be empty.
    ///
    /// Errors: the watch has ended.
    pub async fn catch_up(&self, receiver: &mut mpsc::Receiver<ChangeSet>) -> Result<ChangeSet> {
        let mut all = ChangeSet::default();
        let mut sync = std::pin::pin!(self.sync());
        loop {
            tokio::select! {
                Some(set) = receiver.recv() => all.merge(set, usize::MAX),
                result = &mut sync => {
                    result?;
                    break;
                }
            }
        }
        while let Ok(set) = receiver.try_recv() {
            all.merge(set, usize::MAX);
        }
        Ok(all)
    }

    /// Returns whether files are polled because there are no events.
    pub fn is_polling(&self) -> bool {
        self.state.is_polling.load(Ordering::Relaxed)
    }

    /// Returns how often the thread has woken up: while nothing happens, it sleeps.
    pub fn wake_ups(&self) -> u64 {
        self.state.wake_ups.load(Ordering::Relaxed)
    }

    fn send(&self, command: Command) {
        // A watch that has ended takes no commands; its receiver reports the end.
        let _ = self.commands.send(command);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.send(Command::Stop);
    }
}
