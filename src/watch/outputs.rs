//! Records which outputs were touched by other programs. It wakes no thread: code that relies on outputs asks which
//! were touched.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::parallel::lock;

use super::marks::identity;

/// With more touched paths than this, everything counts as touched.
const MOST: usize = 4096;
/// After this time, the event of a cookie is regarded as lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// What happened in the watched directories since the last call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// These files and directories may have changed.
    Paths(HashSet<PathBuf>),
    /// Everything may have changed.
    Anything,
}

/// Watches directories of outputs, not recursively.
pub(crate) struct OutputWatch {
    watcher: RecommendedWatcher,
    dirs: HashSet<PathBuf>,
    told: Arc<(Mutex<Told>, Condvar)>,
    /// The directory of cookies: when the event of one arrives, all earlier events have arrived.
    marks: PathBuf,
    /// The identity of that directory when its watch began.
    identity: Option<(u64, u64)>,
    written: u64,
}

#[derive(Default)]
struct Told {
    paths: HashSet<PathBuf>,
    are_lost: bool,
    /// The last cookie whose event arrived.
    mark: u64,
}

impl OutputWatch {
    /// Creates a watch without directories, with a directory for cookies in the state directory. Returns `None` if the
    /// system reports no events.
    pub(crate) fn start(state_dir: &Path) -> Option<Self> {
        let marks = state_dir.join("outputs");
        crate::private::create_dir_all(&marks).ok()?;
        let marks = marks.canonicalize().ok()?;
        let told = Arc::new((Mutex::new(Told::default()), Condvar::new()));
        let (note, of_mark) = (Arc::clone(&told), marks.clone());
        let tell = move |event: notify::Result<notify::Event>| {
            let (told, arrived) = &*note;
            if lock(told).note(event, &of_mark) {
                arrived.notify_all();
            }
        };
        let config = notify::Config::default().with_follow_symlinks(false);
        let mut watcher = RecommendedWatcher::new(tell, config).ok()?;
        watcher.watch(&marks, RecursiveMode::NonRecursive).ok()?;
        Some(Self {
            watcher,
            dirs: HashSet::new(),
            told,
            identity: identity(&marks),
            marks,
            written: 0,
        })
    }

    /// Watches exactly these directories and returns those that were not watched before; `None` if the system's limit
    /// of watched directories is reached. Directories that do not exist are skipped: the watch of the parent reports
    /// when they are created.
    pub(crate) fn cover(&mut self, wanted: &HashSet<PathBuf>) -> Option<HashSet<PathBuf>> {
        let gone: Vec<PathBuf> = self.dirs.difference(wanted).cloned().collect();
        for dir in gone {
            self.forget(&dir);
        }
        let mut new = HashSet::new();
        for dir in wanted.difference(&self.dirs) {
            match self.watcher.watch(dir, RecursiveMode::NonRecursive) {
                Ok(()) => drop(new.insert(dir.clone())),
                Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => {
                    return None;
                }
                Err(_) => {}
            }
        }
        self.dirs.extend(new.iter().cloned());
        Some(new)
    }

    /// Returns whether a directory is watched.
    pub(crate) fn covers(&self, dir: &Path) -> bool {
        self.dirs.contains(dir)
    }

    /// Stops watching a directory and those below it: it was replaced or removed.
    pub(crate) fn forget(&mut self, dir: &Path) {
        let below: Vec<PathBuf> = self
            .dirs
            .extract_if(|known| known.starts_with(dir))
            .collect();
        for dir in below {
            // Errors are ignored: a directory that no longer exists is not watched any more.
            let _ = self.watcher.unwatch(&dir);
        }
    }

    /// Returns what was reported since the last call.
    pub(crate) fn take(&self) -> Touched {
        lock(&self.told.0).take()
    }

    /// Returns what happened before this call: waits until all of it has been reported.
    pub(crate) fn take_all(&mut self) -> Touched {
        if identity(&self.marks) != self.identity {
            // The state directory was moved or removed: events of cookies in its replacement would not arrive.
            return Touched::Anything;
        }
        self.written += 1;
        let mark = self.written;
        let path = self.marks.join(mark.to_string());
        let is_written = crate::private::write(&path, b"").is_ok();
        let (told, arrived) = &*self.told;
        let waited = arrived.wait_timeout_while(lock(told), PATIENCE, |told| told.mark < mark);
        let (mut told, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let has_arrived = is_written && told.mark >= mark;
        let touched = told.take();
        drop(told);
        let _ = std::fs::remove_file(&path);
        match has_arrived {
            true => touched,
            false => Touched::Anything,
        }
    }
}

impl Told {
    /// Records an event; returns true if it was the event of a cookie.
    fn note(&mut self, event: notify::Result<notify::Event>, marks: &Path) -> bool {
        let event = match event {
            Ok(event) if !event.need_rescan() => event,
            _ => {
                self.are_lost = true;
                return false;
            }
        };
        let is_written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        if matches!(event.kind, EventKind::Access(_)) && event.kind != is_written {
            return false;
        }
        let mut is_mark = false;
        for path in event.paths {
            if path.parent() == Some(marks) {
                let number = path
                    .file_name()
                    .and_then(|name| name.to_str()?.parse().ok());
                self.mark = self.mark.max(number.unwrap_or(0));
                is_mark = true;
            } else if self.paths.len() < MOST {
                self.paths.insert(path);
            } else {
                self.are_lost = true;
            }
        }
        is_mark
    }

    fn take(&mut self) -> Touched {
        let paths = std::mem::take(&mut self.paths);
        match std::mem::take(&mut self.are_lost) {
            true => Touched::Anything,
            false => Touched::Paths(paths),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(touched: Touched) -> HashSet<PathBuf> {
        match touched {
            Touched::Paths(paths) => paths,
            Touched::Anything => panic!("anything"),
        }
    }

    #[test]
    fn what_was_touched_is_known_at_once() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().canonicalize().unwrap();
        let (outputs, inner) = (dir.join("output"), dir.join("output/inner"));
        std::fs::create_dir_all(&inner).unwrap();
        let (a, b) = (outputs.join("a"), inner.join("b"));
        std::fs::write(&a, "a").unwrap();
        std::fs::write(&b, "b").unwrap();
        let mut watch = OutputWatch::start(&dir.join("state")).unwrap();
        let wanted = HashSet::from([outputs.clone(), inner.clone(), dir.join("output/none")]);
        let new = watch.cover(&wanted).unwrap();
        assert_eq!(new, HashSet::from([outputs.clone(), inner.clone()]));
        assert!(paths(watch.take_all()).is_empty());

        // Reading does not touch a file.
        std::fs::read(&a).unwrap();
        assert!(paths(watch.take_all()).is_empty());
        for round in 0..100 {
            std::fs::write(&a, round.to_string()).unwrap();
            assert_eq!(paths(watch.take_all()), HashSet::from([a.clone()]));
        }
        std::fs::remove_file(&b).unwrap();
        assert_eq!(paths(watch.take_all()), HashSet::from([b.clone()]));

        // A directory is removed, and another one created.
        std::fs::remove_dir(&inner).unwrap();
        assert!(paths(watch.take_all()).contains(&inner));
        watch.forget(&inner);
        assert!(!watch.covers(&inner) && watch.covers(&outputs));
        std::fs::create_dir(&inner).unwrap();
        assert!(paths(watch.take_all()).contains(&inner));
        assert_eq!(watch.cover(&wanted).unwrap(), HashSet::from([inner]));

        for number in 0..MOST + 1 {
            std::fs::write(outputs.join(number.to_string()), "").unwrap();
        }
        assert_eq!(watch.take_all(), Touched::Anything);
        assert!(paths(watch.take_all()).is_empty());
    }
}
