//! A small course that is watched.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use clm::testing::config::Place;
use clm::testing::events::Diagnostic;
use clm::testing::watch::{ChangeSet, Inputs, WatchOptions, Watcher};
use tokio::sync::mpsc;

/// Longer than any machine needs; a story that waits for this has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// What [`Watched::rest`] gives when nothing happened.
pub const NOTHING: [&str; 0] = [];
/// Held for writing by the story that makes the system's queues small.
pub static STARTS: RwLock<()> = RwLock::new(());

/// A course in a temporary directory, with what is told of it.
pub struct Watched {
    pub watcher: Watcher,
    pub receiver: mpsc::Receiver<ChangeSet>,
    pub inputs: Inputs,
    pub told: Arc<Mutex<Vec<Diagnostic>>>,
    pub dir: tempfile::TempDir,
}

/// A course with a topic, and an output directory that nobody watches.
pub fn watched() -> Watched {
    watched_with(|_| {})
}

/// The same with other options; `change` may also write more files before the watch begins.
pub fn watched_with(change: impl FnOnce(&mut WatchOptions)) -> Watched {
    let _starts = STARTS
        .read()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    start(change)
}

/// Starts without regard to [`STARTS`].
pub fn start(change: impl FnOnce(&mut WatchOptions)) -> Watched {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("course.xml", "<course/>");
    write("slides/m/topic_1_a/slides_a.py", "1");
    write("slides/m/topic_1_a/data.csv", "1");
    write("slides/m/topic_2_b/slides_b.py", "1");
    let place = Place {
        spec: root.join("course.xml"),
        root: root.clone(),
    };
    let mut options = WatchOptions::new(&place);
    options.state_dir = root.join(".clm");
    options.inputs.output_dirs = vec![root.join("output")];
    let told: Arc<Mutex<Vec<Diagnostic>>> = Arc::default();
    let teller = told.clone();
    options.report = Arc::new(move |diagnostic| teller.lock().unwrap().push(diagnostic));
    change(&mut options);
    let inputs = options.inputs.clone();
    let (watcher, receiver) = Watcher::start(options).unwrap();
    Watched {
        watcher,
        receiver,
        inputs,
        told,
        dir,
    }
}

/// Runs a future, but not for ever.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, future).await })
        .expect("it happens in time")
}

impl Watched {
    pub fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub fn mkdir(&self, path: &str) {
        std::fs::create_dir_all(self.path(path)).unwrap();
    }

    /// Writes in place, with the directories.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.path(path)).unwrap();
    }

    /// The paths of a change set as a person would write them.
    pub fn names(&self, set: &ChangeSet) -> Vec<String> {
        let root = self.root();
        set.paths.iter().map(|path| shown(&root, path)).collect()
    }

    /// Waits for a change set.
    pub fn next(&mut self) -> ChangeSet {
        block_on(self.receiver.recv()).expect("the watch goes on")
    }

    /// How many change sets wait.
    pub fn waiting(&self) -> usize {
        self.receiver.len()
    }

    /// Waits until all of these have been told; gives everything that was told.
    pub fn until(&mut self, expected: &[&str]) -> BTreeSet<String> {
        let began = Instant::now();
        let mut told = BTreeSet::new();
        while !expected.iter().all(|path| told.contains(*path)) {
            assert!(began.elapsed() < PATIENCE, "only {told:?}");
            let set = self.next();
            assert!(!set.rescan, "nothing was lost");
            told.extend(self.names(&set));
        }
        told
    }

    /// Everything that happened and was not told yet.
    pub fn rest(&mut self) -> Vec<String> {
        let set = block_on(self.watcher.catch_up(&mut self.receiver)).unwrap();
        assert!(!set.rescan, "nothing was lost");
        self.names(&set)
    }

    /// The same as change sets.
    pub fn rest_sets(&mut self) -> Vec<ChangeSet> {
        let mut sets = Vec::new();
        block_on(async {
            let mut sync = std::pin::pin!(self.watcher.sync());
            loop {
                tokio::select! {
                    Some(set) = self.receiver.recv() => sets.push(set),
                    result = &mut sync => return result.unwrap(),
                }
            }
        });
        sets.extend(std::iter::from_fn(|| self.receiver.try_recv().ok()));
        sets
    }
}

fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}
