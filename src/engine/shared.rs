//! The use of the cache that machines share: what is known of it over all runs, and the counts of one run.

use std::sync::Mutex;
use std::time::Duration;

use crate::clock::now_ms;
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::events::{ActionKind, CacheUse};
use crate::parallel::lock;
use crate::remote::{Entry, Remote, SharedFile, Trouble, Upload, Uploads};
use crate::store::{CachedResult, Origin, ResultStatus, Store};

/// The largest number of sources for which the shared cache is not asked, since the author edits them now.
const FOCUS: usize = 3;

/// The shared cache as an engine uses it.
pub(crate) struct Shared {
    remote: Remote,
    uploads: Uploads,
    run: Mutex<OfRun>,
}

/// What belongs to one run.
#[derive(Clone, Copy, Debug, Default)]
struct OfRun {
    cache: CacheUse,
    /// How long nothing ran while the cache was asked, less the time that its results saved.
    waited: Duration,
    /// What was sent before the run.
    sent: (u64, u64),
}

impl Shared {
    /// Returns the use of a cache for the results of a store.
    pub(crate) fn new(remote: Remote, store: Store) -> Self {
        let read = move |digest: &Digest| store.read_blob(digest).ok().flatten();
        Self {
            uploads: Uploads::new(remote.clone(), read),
            remote,
            run: Mutex::default(),
        }
    }

    /// Returns the cache.
    pub(super) fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Begins the counts of a run.
    pub(super) fn begin_run(&self) {
        let sent = self.uploads.counts();
        *lock(&self.run) = OfRun {
            sent: (sent.results, sent.bytes),
            ..OfRun::default()
        };
    }

    /// Returns whether the cache is asked for results, while the author works on so many sources. What an author edits at
    /// this moment was made nowhere else.
    pub(super) fn is_asked_for(&self, is_focus: bool, sources: usize) -> bool {
        self.remote.is_readable() && !(is_focus && sources <= FOCUS)
    }

    /// Records that the cache had a result, and what that saves.
    pub(super) fn had(&self, bytes: u64, saved_ms: u64) {
        let mut run = lock(&self.run);
        run.cache.remote += 1;
        run.cache.received_bytes += bytes;
        run.cache.saved_ms += saved_ms;
        run.waited = run.waited.saturating_sub(Duration::from_millis(saved_ms));
    }

    /// Records that the cache did not have a result.
    pub(super) fn had_not(&self) {
        lock(&self.run).cache.missed += 1;
    }

    /// Records that nothing ran for some time while the cache was asked.
    pub(super) fn waited(&self, time: Duration) {
        let mut run = lock(&self.run);
        run.waited += time;
        if run.waited >= self.remote.options().max_wait {
            drop(run);
            self.remote.give_up();
        }
    }

    /// Returns how long a run that took so long may wait until its results are sent: a tenth of that, or what is left of the
    /// longest wait.
    pub(super) fn time_to_send(&self, took: Duration) -> Duration {
        self.remaining().max(took / 10)
    }

    /// Returns how long a run may still wait.
    pub(super) fn remaining(&self) -> Duration {
        let waited = lock(&self.run).waited;
        self.remote.options().max_wait.saturating_sub(waited)
    }

    /// Sends a result that was made here, in the background. `key` is the one under which it was looked for last.
    pub(super) fn send(&self, key: Digest, kind: ActionKind, result: &CachedResult) {
        if self.remote.is_writable() {
            let entry = self.entry(kind, result);
            self.uploads.add(Upload { key, entry });
        }
    }

    fn entry(&self, kind: ActionKind, result: &CachedResult) -> Entry {
        let files = result.outputs.iter();
        let files = files.map(|(name, digest, size)| SharedFile::new(name.clone(), *digest, *size));
        let mut discovered = result.discovered.clone();
        discovered.sort();
        let options = self.remote.options();
        Entry {
            kind,
            has_failed: result.status == ResultStatus::Failed,
            files: files.collect(),
            discovered,
            diagnostics: result.diagnostics.clone(),
            duration_ms: result.duration_ms,
            machine: options.machine.clone(),
            made_ms: now_ms(),
            run: options.run.clone(),
        }
    }

    /// Waits until everything is sent, see [`Uploads::finish`].
    pub(super) async fn finish(&self, limit: Duration) {
        let uploads = self.uploads.clone();
        // It only blocks, and does not panic.
        let _ = tokio::task::spawn_blocking(move || uploads.finish(limit)).await;
    }

    /// Returns the counts of the run.
    pub(super) fn of_run(&self) -> CacheUse {
        let sent = self.uploads.counts();
        let run = *lock(&self.run);
        CacheUse {
            sent: sent.results - run.sent.0,
            sent_bytes: sent.bytes - run.sent.1,
            ..run.cache
        }
    }

    /// Returns a warning about the cache that was not reported yet.
    pub(super) fn take_warning(&self) -> Option<Diagnostic> {
        let shown = self.remote.shown();
        let (message, hint) = match self.remote.take_trouble()? {
            Trouble::Broken(reason) => (
                format!("the shared cache `{shown}` cannot be used: {reason}"),
                "the build goes on without it; `--cache-mode off` does not try it",
            ),
            Trouble::Slow(wait) => (
                format!("the shared cache `{shown}` kept the build waiting for {wait:?} in vain"),
                "the build goes on without it; `max_wait` of `[cache]` in `clm.toml` or the variable CLM_CACHE_MAX_WAIT \
                 sets the limit",
            ),
            Trouble::Refused(status) => (
                format!("the shared cache `{shown}` refuses access (status {status})"),
                "check CLM_CACHE_TOKEN, or CLM_CACHE_USER and CLM_CACHE_PASSWORD; the build goes on without it",
            ),
            Trouble::Unsent(count) => (
                format!(
                    "{count} results were not sent to the shared cache `{shown}`: it is too slow"
                ),
                "other machines make them again; a larger `max_wait` of `[cache]` in `clm.toml` gives it more time",
            ),
            Trouble::Unwritable(reason) => (
                format!("results cannot be added to the shared cache `{shown}`: {reason}"),
                "it is read only from now on; `--cache-mode read` does not try to add any",
            ),
        };
        Some(Diagnostic::warning(message).hint(hint))
    }
}

/// Returns a result of the shared cache as the records have it.
pub(super) fn recorded(entry: Entry) -> CachedResult {
    let files = entry.files.into_iter();
    CachedResult {
        discovered: entry.discovered,
        status: match entry.has_failed {
            true => ResultStatus::Failed,
            false => ResultStatus::Ok,
        },
        outputs: files
            .map(|file| (file.name, file.digest, file.size))
            .collect(),
        diagnostics: entry.diagnostics,
        duration_ms: entry.duration_ms,
        origin: Some(Origin {
            machine: entry.machine,
            made_ms: entry.made_ms,
            run: entry.run,
        }),
    }
}
