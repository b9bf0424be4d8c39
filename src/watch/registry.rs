//! The directories that the system watches for this process: those of sources, whose events go to the thread of the
//! watch, and those of outputs, of which only the touched paths are recorded. Code that relies on outputs asks which
//! were touched; their events wake no thread.
//!
//! Both share one stream of events, so that one cookie (`cookies`) proves that all earlier events of both have arrived.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::parallel::lock;

/// With more touched outputs than this, everything counts as touched.
const MOST: usize = 4096;

/// What happened to outputs since the last call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// These files and directories may have changed.
    Paths(HashSet<PathBuf>),
    /// Everything may have changed.
    Anything,
}

/// Who watches a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Watchers {
    pub(super) sources: bool,
    pub(super) outputs: bool,
}

/// The watched directories. It is separate from [`Registry`], since the thread of notify must never wait for a caller
/// that registers a directory: that caller waits for the thread.
#[derive(Default)]
pub(super) struct Watched {
    dirs: HashMap<PathBuf, Watchers>,
    touched: HashSet<PathBuf>,
    are_lost: bool,
}

impl Watched {
    /// Returns who watches a path: a directory itself, or something in it.
    pub(super) fn watchers_of(&self, path: &Path) -> Watchers {
        let of = |dir: &Path| self.dirs.get(dir).copied().unwrap_or_default();
        let (itself, above) = (of(path), path.parent().map(of).unwrap_or_default());
        Watchers {
            sources: itself.sources || above.sources,
            outputs: itself.outputs || above.outputs,
        }
    }

    /// Records that an output may have changed.
    pub(super) fn touch(&mut self, path: PathBuf) {
        match self.touched.len() < MOST {
            true => drop(self.touched.insert(path)),
            false => self.are_lost = true,
        }
    }

    /// Records that events were lost.
    pub(super) fn lose(&mut self) {
        self.are_lost = true;
    }
}

/// Registers directories at the system, not recursively.
pub(super) struct Registry {
    watcher: Mutex<RecommendedWatcher>,
    watched: Arc<Mutex<Watched>>,
}

impl Registry {
    /// Returns a registry without directories. `watched` is what the handler of the watcher's events uses.
    pub(super) fn new(watcher: RecommendedWatcher, watched: Arc<Mutex<Watched>>) -> Self {
        Self {
            watcher: Mutex::new(watcher),
            watched,
        }
    }

    /// Watches a directory of sources.
    pub(super) fn watch_sources(&self, dir: &Path) -> notify::Result<()> {
        self.watch(dir, |watchers| watchers.sources = true)
    }

    /// Stops watching a directory of sources. If outputs are watched in it as well, it counts as touched, because the
    /// path may be another directory now.
    pub(super) fn unwatch_sources(&self, dir: &Path) {
        let mut watched = lock(&self.watched);
        if watched.dirs.remove(dir).unwrap_or_default().outputs {
            watched.touch(dir.to_path_buf());
        }
        // Unlocked first, since the thread of notify may wait for it.
        drop(watched);
        // Errors are ignored: a directory that no longer exists is not watched any more.
        let _ = lock(&self.watcher).unwatch(dir);
    }

    fn watch(&self, dir: &Path, add: impl Fn(&mut Watchers)) -> notify::Result<()> {
        // Before the first event can come.
        add(lock(&self.watched)
            .dirs
            .entry(dir.to_path_buf())
            .or_default());
        let result = lock(&self.watcher).watch(dir, RecursiveMode::NonRecursive);
        if result.is_err() {
            lock(&self.watched).dirs.remove(dir);
        }
        result
    }

    fn outputs(&self) -> HashSet<PathBuf> {
        let watched = lock(&self.watched);
        let dirs = watched.dirs.iter();
        dirs.filter(|(_, watchers)| watchers.outputs)
            .map(|(dir, _)| dir.clone())
            .collect()
    }

    fn cover(&self, wanted: &HashSet<PathBuf>) -> Option<HashSet<PathBuf>> {
        let known = self.outputs();
        for dir in known.difference(wanted) {
            self.unwatch_outputs(dir);
        }
        let mut new = HashSet::new();
        for dir in wanted.difference(&known) {
            match self.watch(dir, |watchers| watchers.outputs = true) {
                Ok(()) => drop(new.insert(dir.clone())),
                Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => {
                    return None;
                }
                Err(_) => {}
            }
        }
        Some(new)
    }

    fn unwatch_outputs(&self, dir: &Path) {
        let mut watched = lock(&self.watched);
        let Some(watchers) = watched.dirs.get_mut(dir) else {
            return;
        };
        watchers.outputs = false;
        if watchers.sources {
            return;
        }
        watched.dirs.remove(dir);
        drop(watched);
        let _ = lock(&self.watcher).unwatch(dir);
    }

    /// Stops watching outputs, and drops what was recorded about them.
    fn forget_outputs(&self) {
        self.cover(&HashSet::new());
        self.take();
    }

    fn take(&self) -> Touched {
        let mut watched = lock(&self.watched);
        let touched = std::mem::take(&mut watched.touched);
        match std::mem::take(&mut watched.are_lost) {
            true => Touched::Anything,
            false => Touched::Paths(touched),
        }
    }
}

/// The registry that a watch uses now; `None` while there are no events.
pub(super) type Current = Arc<Mutex<Option<Arc<Registry>>>>;

/// Watches directories of outputs. After [`Watcher::sync`](super::Watcher::sync) everything is recorded that happened
/// before it.
pub(crate) struct OutputWatch {
    current: Current,
    /// The registry that was used last.
    used: Option<Arc<Registry>>,
}

impl OutputWatch {
    /// Returns a watch without directories.
    pub(super) fn new(current: Current) -> Self {
        Self {
            current,
            used: None,
        }
    }

    /// Watches exactly these directories and returns those that were not watched before; `None` if there are no events,
    /// or if the system's limit of watched directories is reached. Directories that do not exist are skipped: the watch
    /// of the parent reports when they are created.
    pub(crate) fn cover(&mut self, wanted: &HashSet<PathBuf>) -> Option<HashSet<PathBuf>> {
        let current = lock(&self.current).clone()?;
        let is_used = |used: &Arc<Registry>| Arc::ptr_eq(used, &current);
        if !self.used.as_ref().is_some_and(is_used) {
            // What an earlier watch of outputs covered is new to this one.
            current.forget_outputs();
        }
        self.used.insert(current).cover(wanted)
    }

    /// Returns whether a directory is watched.
    pub(crate) fn covers(&self, dir: &Path) -> bool {
        self.used.as_ref().is_some_and(|registry| {
            let watched = lock(&registry.watched);
            watched
                .dirs
                .get(dir)
                .is_some_and(|watchers| watchers.outputs)
        })
    }

    /// Stops watching a directory and those below it: it was replaced or removed.
    pub(crate) fn forget(&self, dir: &Path) {
        let Some(registry) = &self.used else { return };
        let outputs = registry.outputs();
        for below in outputs.iter().filter(|known| known.starts_with(dir)) {
            registry.unwatch_outputs(below);
        }
    }

    /// Stops watching all directories.
    pub(crate) fn forget_all(&mut self) {
        if let Some(registry) = self.used.take() {
            registry.forget_outputs();
        }
    }

    /// Returns what was recorded since the last call.
    pub(crate) fn take(&self) -> Touched {
        let current = lock(&self.current).clone();
        match (&self.used, current) {
            (None, _) => Touched::Paths(HashSet::new()),
            (Some(used), Some(current)) if Arc::ptr_eq(used, &current) => used.take(),
            // Events were lost, and all watches were created again.
            (Some(_), _) => Touched::Anything,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{WatchOptions, Watcher};
    use super::*;
    use crate::config::Place;

    fn paths(touched: Touched) -> HashSet<PathBuf> {
        match touched {
            Touched::Paths(paths) => paths,
            Touched::Anything => panic!("anything"),
        }
    }

    struct Lab {
        _temporary: tempfile::TempDir,
        dir: PathBuf,
        watcher: Watcher,
        _changes: tokio::sync::mpsc::Receiver<super::super::ChangeSet>,
    }

    impl Lab {
        fn new() -> Self {
            let temporary = tempfile::tempdir().unwrap();
            let dir = temporary.path().canonicalize().unwrap();
            std::fs::create_dir_all(dir.join("output/inner")).unwrap();
            std::fs::create_dir_all(dir.join("slides")).unwrap();
            std::fs::write(dir.join("course.xml"), "<course/>").unwrap();
            let place = Place::find(None, None, &dir).unwrap();
            let (watcher, changes) = Watcher::start(WatchOptions::new(&place)).unwrap();
            Self {
                _temporary: temporary,
                dir,
                watcher,
                _changes: changes,
            }
        }

        /// Returns what was touched before this call.
        async fn touched(&self, outputs: &OutputWatch) -> Touched {
            self.watcher.sync().await.unwrap();
            outputs.take()
        }
    }

    #[tokio::test]
    async fn what_was_touched_is_known_after_a_sync() {
        let lab = Lab::new();
        let (outputs, inner) = (lab.dir.join("output"), lab.dir.join("output/inner"));
        let (a, b) = (outputs.join("a"), inner.join("b"));
        std::fs::write(&a, "a").unwrap();
        std::fs::write(&b, "b").unwrap();
        let mut watch = lab.watcher.outputs();
        let wanted = HashSet::from([outputs.clone(), inner.clone(), outputs.join("none")]);
        let new = watch.cover(&wanted).unwrap();
        assert_eq!(new, HashSet::from([outputs.clone(), inner.clone()]));
        assert!(paths(lab.touched(&watch).await).is_empty());

        // Reading does not touch a file.
        std::fs::read(&a).unwrap();
        assert!(paths(lab.touched(&watch).await).is_empty());
        for round in 0..100 {
            std::fs::write(&a, round.to_string()).unwrap();
            assert_eq!(paths(lab.touched(&watch).await), HashSet::from([a.clone()]));
        }
        std::fs::remove_file(&b).unwrap();
        assert_eq!(paths(lab.touched(&watch).await), HashSet::from([b.clone()]));

        // A directory is removed, and another one created.
        std::fs::remove_dir(&inner).unwrap();
        assert!(paths(lab.touched(&watch).await).contains(&inner));
        watch.forget(&inner);
        assert!(!watch.covers(&inner) && watch.covers(&outputs));
        std::fs::create_dir(&inner).unwrap();
        assert!(paths(lab.touched(&watch).await).contains(&inner));
        assert_eq!(watch.cover(&wanted).unwrap(), HashSet::from([inner]));

        for number in 0..MOST + 1 {
            std::fs::write(outputs.join(number.to_string()), "").unwrap();
        }
        assert_eq!(lab.touched(&watch).await, Touched::Anything);
        assert!(paths(lab.touched(&watch).await).is_empty());
    }

    #[tokio::test]
    async fn a_directory_of_sources_and_outputs_is_watched_for_both() {
        let mut lab = Lab::new();
        let slides = lab.dir.join("slides");
        let mut watch = lab.watcher.outputs();
        let wanted = HashSet::from([slides.clone()]);
        watch.cover(&wanted).unwrap();
        let file = slides.join("x.png");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(
            paths(lab.touched(&watch).await),
            HashSet::from([file.clone()])
        );
        assert!(lab._changes.recv().await.unwrap().paths.contains(&file));

        // The sources stay watched.
        watch.cover(&HashSet::new()).unwrap();
        std::fs::write(&file, "y").unwrap();
        assert!(paths(lab.touched(&watch).await).is_empty());
        assert!(lab._changes.recv().await.unwrap().paths.contains(&file));

        // The directory is replaced.
        watch.cover(&wanted).unwrap();
        std::fs::remove_dir_all(&slides).unwrap();
        assert!(paths(lab.touched(&watch).await).contains(&slides));
        assert!(!watch.covers(&slides));
        std::fs::create_dir(&slides).unwrap();
        lab.watcher.sync().await.unwrap();
        assert_eq!(watch.cover(&wanted).unwrap(), wanted);
        std::fs::write(&file, "z").unwrap();
        assert!(paths(lab.touched(&watch).await).contains(&file));
    }

    #[tokio::test]
    async fn without_a_cookie_everything_may_be_touched() {
        let lab = Lab::new();
        let outputs = lab.dir.join("output");
        let mut watch = lab.watcher.outputs();
        watch.cover(&HashSet::from([outputs.clone()])).unwrap();
        assert!(paths(lab.touched(&watch).await).is_empty());
        std::fs::remove_dir_all(lab.dir.join(".clm")).unwrap();
        // The directory of cookies is made again.
        assert_eq!(lab.touched(&watch).await, Touched::Anything);
        watch.cover(&HashSet::from([outputs.clone()])).unwrap();
        std::fs::write(outputs.join("a"), "a").unwrap();
        assert_eq!(
            paths(lab.touched(&watch).await),
            HashSet::from([outputs.join("a")])
        );
    }
}
