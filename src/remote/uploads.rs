//! Sends results in the background, beside the work of a build.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::digest::Digest;
use crate::parallel::lock;

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

    /// Waits until everything is sent, at most for `limit` and only while results can be written. The rest is dropped.
    pub(crate) fn finish(&self, limit: Duration) {
        let began = Instant::now();
        let mut state = lock(&self.0.state);
        while state.active > 0 || !state.waiting.is_empty() && state.threads > 0 {
            let Some(rest) = limit.checked_sub(began.elapsed()) else {
                break;
            };
            if !self.0.remote.is_writable() {
                break;
            }
            let pause = rest.min(Duration::from_millis(50));
            let waited = self.0.changed.wait_timeout(state, pause);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let unsent = state.active + state.waiting.len();
        state.waiting.clear();
        drop(state);
        if unsent > 0 {
            self.0.remote.left_unsent(unsent);
        }
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
            // A panic has been reported; who waits for the end must not wait for ever.
            let sent = catch_unwind(AssertUnwindSafe(|| self.send(upload)));
            let sent = sent.ok().flatten();
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
            // What is of no use is replaced: an entry whose files are gone or damaged, and a failure of which another
            // execution shows that it need not be.
            let is_better = known.has_failed && !entry.has_failed;
            if !is_better && (!is_same || self.is_whole(&known, &entry)?) {
                return None;
            }
        }
        self.remote.put(&key, &mut entry, &self.read)
    }

    /// Returns whether an entry has the files of a result, and the cache these files; `None` if that cannot be found out.
    fn is_whole(&self, known: &Entry, result: &Entry) -> Option<bool> {
        for wanted in &result.files {
            let file = known.files.iter().find(|file| file.name == wanted.name);
            let Some(file) = file else {
                return Some(known.has_failed);
            };
            if !self.remote.has(&file.content())? {
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
