//! Sends results in the background, beside the work of a build.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::digest::Digest;
use crate::parallel::lock;

use super::entry::Name;
use super::{Entry, Remote};

/// The number of results that are sent at once.
const THREADS: usize = 4;

/// A result that is to be sent.
#[derive(Debug)]
pub(crate) struct Upload {
    /// The key under which it was looked for last.
    pub key: Digest,
    /// The result, whose files are in the local store.
    pub entry: Entry,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UploadCounts {
    /// The number of results that were sent.
    pub results: u64,
    /// The number of bytes that were sent.
    pub bytes: u64,
}

/// Returns the bytes of a file of the local store.
type Read = Box<dyn Fn(&Digest) -> Option<Vec<u8>> + Send + Sync>;

/// Sends results to a shared cache. Clones share one queue.
#[derive(Clone)]
pub(crate) struct Uploads(Arc<Shared>);

struct Shared {
    remote: Remote,
    read: Read,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Upload>,
    /// The number of results that are being sent.
    active: usize,
    threads: usize,
    counts: UploadCounts,
    /// The number of results that were dealt with.
    done: u64,
}

impl Uploads {
    /// Returns an empty queue. `read` returns the bytes of a file of the local store.
    pub(crate) fn new(
        remote: Remote,
        read: impl Fn(&Digest) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            remote,
            read: Box::new(read),
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// Adds a result, and returns at once.
    pub(crate) fn add(&self, upload: Upload) {
        let mut state = lock(&self.0.state);
        state.waiting.push_back(upload);
        if state.threads < THREADS && state.active + state.waiting.len() > state.threads {
            let shared = Arc::clone(&self.0);
            let thread = std::thread::Builder::new().name("clm-upload".to_owned());
            // Without any thread the result is not sent: only other machines miss it.
            if thread.spawn(move || shared.serve()).is_ok() {
                state.threads += 1;
            }
        }
        self.0.changed.notify_all();
    }

    /// Returns what was sent so far.
    pub(crate) fn counts(&self) -> UploadCounts {
        lock(&self.0.state).counts
    }

    /// Waits until everything is sent, for as long as that makes progress and at most `limit`. The rest is dropped.
    pub(crate) fn finish(&self, limit: Option<Duration>) {
        let stall = self.0.remote.options().max_wait;
        let began = Instant::now();
        let mut state = lock(&self.0.state);
        let mut moved = (state.done, Instant::now());
        while state.active > 0 || !state.waiting.is_empty() && state.threads > 0 {
            if state.done > moved.0 {
                moved = (state.done, Instant::now());
            }
            let is_over = limit.is_some_and(|limit| began.elapsed() >= limit);
            // A large file may take longer; its request has a limit of its own.
            let is_stalled = moved.1.elapsed() >= stall && !self.0.remote.is_writable();
            if is_over || is_stalled {
                break;
            }
            let pause = Duration::from_millis(50);
            let waited = self.0.changed.wait_timeout(state, pause);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.waiting.clear();
    }
}

impl Shared {
    fn serve(&self) {
        let mut state = lock(&self.state);
        loop {
            let Some(upload) = state.waiting.pop_front() else {
                let idle = self.changed.wait_timeout(state, Duration::from_secs(5));
                let (found, waited) = idle.unwrap_or_else(PoisonError::into_inner);
                state = found;
                if waited.timed_out() && state.waiting.is_empty() {
                    state.threads -= 1;
                    return;
                }
                continue;
            };
            state.active += 1;
            drop(state);
            let sent = self.send(upload);
            state = lock(&self.state);
            state.active -= 1;
            state.done += 1;
            if let Some(bytes) = sent {
                state.counts.results += 1;
                state.counts.bytes += bytes;
            }
            self.changed.notify_all();
        }
    }

    /// Sends one result. Returns the number of bytes; `None` if it is there already, or cannot be sent.
    fn send(&self, upload: Upload) -> Option<u64> {
        let Upload { key, mut entry } = upload;
        if !self.remote.is_writable() {
            return None;
        }
        if let Some(known) = self.remote.find(&key) {
            let is_same = same(&known.discovered, &entry.discovered);
            // The first result of a key stays, also if another execution gave another one: all machines get the same.
            // What is of no use is replaced: an entry whose files the server has dropped.
            if !is_same || self.has_files(&known)? {
                return None;
            }
        }
        self.remote.put(&key, &mut entry, &self.read)
    }

    /// Returns whether the cache has all files of an entry; `None` if that cannot be found out.
    fn has_files(&self, entry: &Entry) -> Option<bool> {
        for file in &entry.files {
            if !self.remote.has(&Name::Content(file.sha.clone()))? {
                return Some(false);
            }
        }
        Some(true)
    }
}

/// Returns whether two results were found to read the same.
fn same(one: &[(String, Option<Digest>)], other: &[(String, Option<Digest>)]) -> bool {
    let sorted = |found: &[(String, Option<Digest>)]| {
        let mut found = found.to_vec();
        found.sort();
        found.dedup();
        found
    };
    sorted(one) == sorted(other)
}
