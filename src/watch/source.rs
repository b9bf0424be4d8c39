//! Where events come from: the system, through notify, or looking again and again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::events::Diagnostic;

use super::coverage::{Refused, Register};
use super::poll::Poller;

/// Events that wait to be handled; when there are more, everything is compared instead.
const QUEUE: usize = 8192;

/// Something that happened to a real path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// A file was written.
    Content(PathBuf),
    /// The times or permissions of a file or directory changed.
    Attributes(PathBuf),
    /// A file or directory was created, or renamed to this.
    Appeared(PathBuf),
    /// A file or directory was removed, or renamed to something else.
    Vanished(PathBuf),
    /// Events were lost.
    Lost,
}

/// The end at which events arrive.
pub struct Arrivals {
    /// What arrived.
    pub queue: mpsc::Receiver<Raw>,
    lost: Arc<AtomicBool>,
    /// Keeps the queue open where nobody sends.
    _open: Option<mpsc::Sender<Raw>>,
}

impl Arrivals {
    /// Whether there was more than the queue could hold since this was asked last.
    pub fn were_lost(&self) -> bool {
        self.lost.swap(false, Ordering::AcqRel)
    }
}

/// Watches directories.
pub enum Source {
    /// The system tells.
    System(RecommendedWatcher),
    /// We look.
    Poll(Poller),
}

impl Source {
    /// Begins to listen to the system; events arrive until the source is dropped. The error says why there will be
    /// no events and what can be done.
    pub fn system() -> Result<(Self, Arrivals), Diagnostic> {
        let (sender, queue) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicBool::new(false));
        let flag = lost.clone();
        // This runs on notify's own thread, on which we also wait in `watch`: it must never block.
        let tell = move |event: notify::Result<notify::Event>| {
            for raw in translate(event) {
                if let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(raw) {
                    flag.store(true, Ordering::Release);
                }
            }
        };
        // Symbolic links are resolved by us.
        let config = notify::Config::default().with_follow_symlinks(false);
        match RecommendedWatcher::new(tell, config) {
            Ok(watcher) => {
                let _open = None;
                Ok((Self::System(watcher), Arrivals { queue, lost, _open }))
            }
            Err(error) => Err(no_events(&error)),
        }
    }

    /// Looks again and again.
    pub fn poll() -> (Self, Arrivals) {
        let (sender, queue) = mpsc::channel(1);
        let arrivals = Arrivals {
            queue,
            lost: Arc::default(),
            _open: Some(sender),
        };
        (Self::Poll(Poller::default()), arrivals)
    }
}

impl Register for Source {
    fn watch(&mut self, dir: &Path) -> Result<(), Refused> {
        match self {
            Self::Poll(poller) => poller.watch(dir),
            Self::System(watcher) => {
                watcher
                    .watch(dir, RecursiveMode::NonRecursive)
                    .map_err(|error| match error.kind {
                        notify::ErrorKind::MaxFilesWatch => Refused::Limit,
                        _ => Refused::Directory,
                    })
            }
        }
    }

    fn unwatch(&mut self, dir: &Path) {
        match self {
            Self::Poll(poller) => poller.unwatch(dir),
            // A directory that is gone is watched no more: that is as good.
            Self::System(watcher) => drop(watcher.unwatch(dir)),
        }
    }

    fn found_missing(&mut self, dir: &Path) {
        match self {
            Self::Poll(poller) => poller.found_missing(dir),
            Self::System(_) => self.unwatch(dir),
        }
    }
}

/// The directories that can be watched are used up.
pub fn too_many_directories() -> Diagnostic {
    exhausted("max_user_watches", "watched directories", 524_288)
}

fn no_events(error: &notify::Error) -> Diagnostic {
    let code = match &error.kind {
        notify::ErrorKind::Io(error) => error.raw_os_error(),
        notify::ErrorKind::MaxFilesWatch => return too_many_directories(),
        _ => None,
    };
    if code == Some(libc::EMFILE) {
        return exhausted("max_user_instances", "programs that watch files", 512);
    }
    Diagnostic::warning(format!(
        "the system tells of no file events ({error}); files are looked at again and again instead"
    ))
}

fn exhausted(name: &str, of_what: &str, good: u64) -> Diagnostic {
    let limit = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}"));
    let limit = limit
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .unwrap_or_default();
    Diagnostic::warning(format!(
        "the system's limit of {of_what} is reached (fs.inotify.{name} = {limit}); files are looked at again and again instead"
    ))
    .hint(format!(
        "run `sudo sysctl fs.inotify.{name}={}`, and start clm again",
        good.max(limit.saturating_mul(2))
    ))
}

fn translate(event: notify::Result<notify::Event>) -> Vec<Raw> {
    let event = match event {
        Ok(event) if event.need_rescan() => return vec![Raw::Lost],
        Ok(event) => event,
        // Whatever it could not tell us is lost.
        Err(_) => return vec![Raw::Lost],
    };
    let make: fn(PathBuf) -> Raw = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Raw::Content,
        // `Both` repeats what `From` and `To` have said.
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => {
            return Vec::new();
        }
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Raw::Appeared,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
            Raw::Vanished
        }
        EventKind::Modify(ModifyKind::Metadata(_)) => Raw::Attributes,
        // Systems that do not tell the old name from the new one.
        EventKind::Modify(ModifyKind::Name(_)) => |path| {
            if path.symlink_metadata().is_ok() {
                Raw::Appeared(path)
            } else {
                Raw::Vanished(path)
            }
        },
        EventKind::Modify(_) | EventKind::Any | EventKind::Other => Raw::Content,
    };
    event.paths.into_iter().map(make).collect()
}
