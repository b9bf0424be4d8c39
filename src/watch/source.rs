//! Sources of events: the operating system, through notify, or polling.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, Watcher as _};
use tokio::sync::mpsc;

use crate::diagnostic::Diagnostic;
use crate::parallel::lock;

use super::coverage::{Refused, Register};
use super::poll::Poller;
use super::registry::{Registry, Watched};

/// The capacity of the event queue; when it overflows, everything is compared instead.
const QUEUE: usize = 8192;

/// An event for a real path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    /// A file was written.
    Content(PathBuf),
    /// The times or permissions of a file or directory changed.
    Attributes(PathBuf),
    /// A file or directory was created, or renamed to this path.
    Appeared(PathBuf),
    /// A file or directory was removed, or renamed to another path.
    Vanished(PathBuf),
    /// Events were lost.
    Lost,
}

impl Raw {
    fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::Content(path)
            | Self::Attributes(path)
            | Self::Appeared(path)
            | Self::Vanished(path) => Some(path),
            Self::Lost => None,
        }
    }
}

/// The receiving end of the events.
pub(super) struct Arrivals {
    /// The events.
    pub queue: mpsc::Receiver<Raw>,
    lost: Arc<AtomicBool>,
    /// Keeps the queue open if there is no other sender.
    _open: Option<mpsc::Sender<Raw>>,
}

impl Arrivals {
    /// Returns whether the queue has overflowed since the last call.
    pub(super) fn were_lost(&self) -> bool {
        self.lost.swap(false, Ordering::AcqRel)
    }
}

/// Watches directories.
pub(super) enum Source {
    /// The system reports events.
    System(Arc<Registry>),
    /// Directories are polled.
    Poll(Poller),
}

impl Source {
    /// Starts to receive events from the system, until the source is dropped. The error says why there are no events
    /// and what the user can do.
    pub(super) fn system() -> Result<(Self, Arrivals), Diagnostic> {
        let (sender, queue) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicBool::new(false));
        let flag = lost.clone();
        let watched = Arc::new(Mutex::new(Watched::default()));
        let registered = Arc::clone(&watched);
        // This runs on notify's own thread, which `watch` also waits for: it must never block.
        let handle = move |event: notify::Result<notify::Event>| {
            for raw in translate(event) {
                let is_for_sources = match raw.path() {
                    None => {
                        lock(&registered).lose();
                        true
                    }
                    Some(path) => {
                        let mut registered = lock(&registered);
                        let watchers = registered.watchers_of(path);
                        if watchers.outputs {
                            registered.touch(path.clone());
                        }
                        watchers.sources || !watchers.outputs
                    }
                };
                if is_for_sources
                    && let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(raw)
                {
                    flag.store(true, Ordering::Release);
                }
            }
        };
        // `survey` resolves symbolic links.
        let config = notify::Config::default().with_follow_symlinks(false);
        match RecommendedWatcher::new(handle, config) {
            Ok(watcher) => {
                let _open = None;
                let registry = Arc::new(Registry::new(watcher, watched));
                Ok((Self::System(registry), Arrivals { queue, lost, _open }))
            }
            Err(error) => Err(no_events(&error)),
        }
    }

    /// Returns the registry of the system's watches; `None` while directories are polled.
    pub(super) fn registry(&self) -> Option<Arc<Registry>> {
        match self {
            Self::System(registry) => Some(Arc::clone(registry)),
            Self::Poll(_) => None,
        }
    }

    /// Creates a source that polls.
    pub(super) fn poll() -> (Self, Arrivals) {
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
            Self::System(registry) => {
                registry
                    .watch_sources(dir)
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
            Self::System(registry) => registry.unwatch_sources(dir),
        }
    }

    fn found_missing(&mut self, dir: &Path) {
        match self {
            Self::Poll(poller) => poller.found_missing(dir),
            Self::System(_) => self.unwatch(dir),
        }
    }
}

/// Returns the diagnostic for the limit of watched directories.
pub(super) fn too_many_directories() -> Diagnostic {
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
        // Events that notify failed to report are lost.
        Err(_) => return vec![Raw::Lost],
    };
    let make: fn(PathBuf) -> Raw = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Raw::Content,
        // `Both` repeats `From` and `To`.
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => {
            return Vec::new();
        }
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Raw::Appeared,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
            Raw::Vanished
        }
        EventKind::Modify(ModifyKind::Metadata(_)) => Raw::Attributes,
        // For systems that do not distinguish the old name from the new one.
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
