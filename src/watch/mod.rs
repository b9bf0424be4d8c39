//! From file events to settled change sets.
//!
//! ```text
//! notify (or polling) -> coverage (which directories, symbolic links) -> filter -> settle -> ChangeSet
//! ```
//!
//! Directories are watched and never files, because editors replace files. Nothing is ever lost: whatever could have
//! been missed (a queue that ran over, a lock that was held too long, a machine that slept) becomes a change set with
//! [`ChangeSet::rescan`]. Events prove nothing about content: a touched file is reported, and digests decide.

mod clock;
mod coverage;
mod filter;
mod git;
mod marks;
pub mod outputs;
mod poll;
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
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::events::Diagnostic;

pub use git::GitDir;
pub use temporary::is_temporary;

pub use settle::{ChangeSet, HoldId, Settle, Tuning};

/// Change sets that wait for their reader. When there are more, they are merged: none is lost.
pub const CAPACITY: usize = 16;

/// Gives the digest with which clm itself wrote a file last, or none for a file that is not its own. It is asked when
/// a batch has settled, and must know of a file before that is written.
pub type OwnOutput = Arc<dyn Fn(&Path) -> Option<Digest> + Send + Sync>;

/// Takes what people should know, such as that files are polled from now on.
pub type Tell = Arc<dyn Fn(Diagnostic) + Send + Sync>;

/// What the last plan looked at. Relative paths are taken below the course root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Directories (or single files) in which every file may be a source: the scan roots of the specification, and
    /// the course's own templates. No ignore rule counts here, because the build knows none.
    pub scanned: Vec<PathBuf>,
    /// Directories that are watched besides; here ignore rules count for what is not in `files`.
    pub also: Vec<PathBuf>,
    /// Every path that the plan read or asked for, existing or not. They trigger wherever they lie.
    pub files: BTreeSet<PathBuf>,
    /// Directories of outputs: nothing in them triggers, except `files`.
    pub output_dirs: Vec<PathBuf>,
}

/// How to watch.
#[derive(Clone)]
pub struct WatchOptions {
    /// The course root. Paths in change sets begin with it as it is written here.
    pub root: PathBuf,
    /// The specification, inside the root or elsewhere.
    pub spec: PathBuf,
    /// The directory of the store; nothing in it triggers.
    pub state_dir: PathBuf,
    /// What is watched until the first plan says more.
    pub inputs: Inputs,
    /// Times and limits.
    pub tuning: Tuning,
    /// Look at the files again and again instead of waiting for events: for file systems without events.
    pub poll: bool,
    /// Which files are clm's own.
    pub own_output: OwnOutput,
    /// Where diagnostics go.
    pub tell: Tell,
}

impl WatchOptions {
    /// Watches `slides/`, the specification and the settings.
    pub fn new(place: &Place) -> Self {
        Self {
            root: place.root.clone(),
            spec: place.spec.clone(),
            state_dir: place.state_dir(),
            inputs: Inputs {
                scanned: vec![place.root.join("slides")],
                ..Inputs::default()
            },
            tuning: Tuning::default(),
            poll: false,
            own_output: Arc::new(|_| None),
            tell: Arc::new(|_| {}),
        }
    }
}

/// A running watch, on a thread of its own that sleeps until something happens. It ends when this is dropped.
pub struct Watcher {
    commands: mpsc::UnboundedSender<Command>,
    next_hold: AtomicU64,
    state: Arc<State>,
}

/// What the thread shows of itself.
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

/// Keeps change sets back until it is dropped, or for [`Tuning::max_hold`].
pub struct Hold {
    id: HoldId,
    commands: mpsc::UnboundedSender<Command>,
}

impl Hold {
    /// Lets go, which dropping does as well.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        // A watch that has ended holds nothing back.
        let _ = self.commands.send(Command::Release(self.id));
    }
}

impl Watcher {
    /// Begins to watch. Every change after this returns is reported; what was before is for the caller to read.
    ///
    /// Where the system tells no events, or its limits are reached, files are polled, and a diagnostic says so.
    /// Change sets come as long as the receiver exists.
    ///
    /// Errors: the course root does not exist, or no thread can be started.
    pub fn start(options: WatchOptions) -> Result<(Self, mpsc::Receiver<ChangeSet>)> {
        let state = Arc::new(State::default());
        let (commands, receiver) = mpsc::unbounded_channel();
        let change_sets = service::start(options, receiver, state.clone())?;
        let watcher = Self {
            commands,
            next_hold: AtomicU64::new(tracker::GIT_HOLD + 1),
            state,
        };
        Ok((watcher, change_sets))
    }

    /// Tells what a plan looked at. What it looked at where nothing was watched before is reported as changed, since
    /// it may have changed in the meantime.
    pub fn set_inputs(&self, inputs: Inputs) {
        self.send(Command::SetInputs(inputs));
    }

    /// Keeps change sets back until the hold is released or dropped: for a client that is writing many files.
    pub fn hold(&self) -> Hold {
        let id = self.next_hold.fetch_add(1, Ordering::Relaxed);
        self.send(Command::Hold(id));
        Hold {
            id,
            commands: self.commands.clone(),
        }
    }

    /// Asks for a change set with [`ChangeSet::rescan`].
    pub fn rescan(&self) {
        self.send(Command::Rescan);
    }

    /// Waits until every change made before this call has been handed to the receiver, without waiting for files to
    /// settle and in spite of holds. Somebody has to read the receiver meanwhile: when [`CAPACITY`] change sets wait
    /// in it, this waits as well. Who reads it himself calls [`Watcher::catch_up`].
    ///
    /// Errors: the watch has ended.
    pub async fn sync(&self) -> Result<()> {
        let (done, wait) = oneshot::channel();
        self.send(Command::Sync(done));
        wait.await
            .map_err(|_| Error::internal("the watch has ended"))
    }

    /// Waits like [`Watcher::sync`] and reads meanwhile: everything that happened before this call and was not read
    /// yet, in one change set. It may be empty.
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

    /// Whether files are looked at again and again, because there are no events.
    pub fn is_polling(&self) -> bool {
        self.state.is_polling.load(Ordering::Relaxed)
    }

    /// How often the thread has woken up: while nothing happens, it sleeps.
    pub fn wake_ups(&self) -> u64 {
        self.state.wake_ups.load(Ordering::Relaxed)
    }

    fn send(&self, command: Command) {
        // A watch that has ended takes no commands: its receiver tells.
        let _ = self.commands.send(command);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.send(Command::Stop);
    }
}
