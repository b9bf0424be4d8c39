//! Notes what others do to outputs. Nobody is woken by it: whoever wants to rely on outputs asks what was touched.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::parallel::lock;

use super::marks::identity;

/// More than this need not be told one by one.
const MOST: usize = 4096;
/// A mark whose event has not arrived after this never will arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// What happened below the watched directories since this was asked last.
#[derive(Debug, PartialEq, Eq)]
pub enum Touched {
    /// Something may have happened to these files and directories.
    Paths(HashSet<PathBuf>),
    /// Something may have happened to anything.
    Anything,
}

/// Watches directories of outputs, each by itself.
pub struct OutputWatch {
    watcher: RecommendedWatcher,
    dirs: HashSet<PathBuf>,
    told: Arc<(Mutex<Told>, Condvar)>,
    /// Where marks are written: when the event of one arrives, all events before it have arrived.
    marks: PathBuf,
    /// Which directory that was when it began to be watched.
    identity: Option<(u64, u64)>,
    written: u64,
}

#[derive(Default)]
struct Told {
    paths: HashSet<PathBuf>,
    are_lost: bool,
    /// The last mark that arrived.
    mark: u64,
}

impl OutputWatch {
    /// A watch of nothing yet, with a place for marks in the state directory. None where the system tells of no events.
    pub fn start(state_dir: &Path) -> Option<Self> {
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

    /// Watches these directories and no others. Gives those that were not watched before; none at all when the system
    /// watches no more directories. One that is not there is told of when it comes, by the one that holds it.
    pub fn cover(&mut self, wanted: &HashSet<PathBuf>) -> Option<HashSet<PathBuf>> {
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

    /// Whether a directory is watched.
    pub fn covers(&self, dir: &Path) -> bool {
        self.dirs.contains(dir)
    }

    /// Watches a directory no more, nor those below it: it is another one now, or gone.
    pub fn forget(&mut self, dir: &Path) {
        let below: Vec<PathBuf> = self
            .dirs
            .extract_if(|known| known.starts_with(dir))
            .collect();
        for dir in below {
            // One that is gone is watched no more: that is as good.
            let _ = self.watcher.unwatch(&dir);
        }
    }

    /// What has been told since this was asked last.
    pub fn take(&self) -> Touched {
        lock(&self.told.0).take()
    }

    /// What happened before this was called: waits until all of that has been told.
    pub fn take_all(&mut self) -> Touched {
        if identity(&self.marks) != self.identity {
            // The state directory was moved or removed: no mark in another one would arrive.
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
    /// Notes an event; true when it was that of a mark.
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

        // Nobody is told of by reading.
        std::fs::read(&a).unwrap();
        assert!(paths(watch.take_all()).is_empty());
        for round in 0..100 {
            std::fs::write(&a, round.to_string()).unwrap();
            assert_eq!(paths(watch.take_all()), HashSet::from([a.clone()]));
        }
        std::fs::remove_file(&b).unwrap();
        assert_eq!(paths(watch.take_all()), HashSet::from([b.clone()]));

        // A directory that goes, and one that comes.
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
