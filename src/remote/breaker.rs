//! Decides after failures whether a shared cache is used any more: a cache that does not work must not slow a build down.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::parallel::lock;

use super::transport::Failure;

/// The number of failures in a row after which the cache is not used for some time.
const FAILURES: u32 = 3;
/// How long it is not used the first time; each further time in a row twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A problem with a shared cache that the user should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It does not work, for this reason.
    Broken(String),
    /// It kept a build waiting for so long.
    Slow(Duration),
    /// It refuses these credentials, or their absence, with this status.
    Refused(u16),
    /// Results cannot be written, for this reason.
    Unwritable(String),
    /// So many results could not be sent in time.
    Unsent(usize),
}

/// What is known about the state of a shared cache.
pub(crate) struct Breaker(Mutex<State>);

struct State {
    /// Failures since the last success.
    failures: u32,
    closed_at: Option<Instant>,
    pause: Duration,
    /// Failures to write since the last success.
    write_failures: u32,
    /// When writing was given up after such failures.
    unwritable_since: Option<Instant>,
    writes: bool,
    is_refused: bool,
    trouble: Option<Trouble>,
    /// Whether a problem was reported since it last worked.
    has_told: bool,
}

impl Breaker {
    pub(crate) fn new(writes: bool) -> Self {
        Self(Mutex::new(State {
            failures: 0,
            closed_at: None,
            pause: FIRST_PAUSE,
            write_failures: 0,
            unwritable_since: None,
            writes,
            is_refused: false,
            trouble: None,
            has_told: false,
        }))
    }

    pub(crate) fn is_readable(&self) -> bool {
        let state = lock(&self.0);
        !state.is_refused && state.closed_at.is_none_or(|at| at.elapsed() >= state.pause)
    }

    pub(crate) fn is_writable(&self) -> bool {
        let is_given_up = |since: Instant| since.elapsed() < LONGEST_PAUSE;
        self.is_readable() && {
            let state = lock(&self.0);
            state.writes && !state.unwritable_since.is_some_and(is_given_up)
        }
    }

    pub(crate) fn take_trouble(&self) -> Option<Trouble> {
        let mut state = lock(&self.0);
        let trouble = state.trouble.take()?;
        (!std::mem::replace(&mut state.has_told, true)).then_some(trouble)
    }

    pub(crate) fn succeeded(&self) {
        let mut state = lock(&self.0);
        state.failures = 0;
        // A success of a request from before the failures says nothing.
        let is_over = |at: Instant| at.elapsed() >= state.pause;
        if state.closed_at.is_some_and(is_over) {
            state.closed_at = None;
            state.pause = FIRST_PAUSE;
            state.has_told = false;
        }
    }

    /// Records that something was written.
    pub(crate) fn wrote(&self) {
        let mut state = lock(&self.0);
        state.write_failures = 0;
        state.unwritable_since = None;
    }

    /// Records that not everything could be sent in time.
    pub(crate) fn left_unsent(&self, results: usize) {
        self.report(Trouble::Unsent(results));
    }

    /// Records a failure of reading.
    pub(crate) fn failed(&self, failure: Failure) {
        tracing::debug!(?failure, "the remote cache");
        match failure {
            Failure::Status(status @ (401 | 403 | 407)) => {
                lock(&self.0).is_refused = true;
                self.report(Trouble::Refused(status));
            }
            failure => self.count(Trouble::Broken(failure.to_string())),
        }
    }

    /// Records a failure of writing.
    pub(crate) fn failed_to_write(&self, failure: Failure) {
        tracing::debug!(?failure, "the remote cache");
        match failure {
            // This file is too large for the server; others may not be.
            Failure::Status(413) => {}
            Failure::Status(status @ (401 | 403 | 405 | 407 | 409 | 501 | 507)) => {
                lock(&self.0).writes = false;
                self.report(Trouble::Unwritable(format!(
                    "it answers with the status {status}"
                )));
            }
            Failure::Full(reason) => {
                lock(&self.0).writes = false;
                self.report(Trouble::Unwritable(reason));
            }
            failure => {
                let mut state = lock(&self.0);
                state.write_failures += 1;
                let is_enough = state.write_failures >= FAILURES;
                if is_enough {
                    state.unwritable_since = Some(Instant::now());
                }
                drop(state);
                if is_enough {
                    self.report(Trouble::Unwritable(failure.to_string()));
                }
            }
        }
    }

    /// Stops the use for some time.
    pub(crate) fn open(&self, trouble: Trouble) {
        {
            let mut state = lock(&self.0);
            if state.closed_at.is_some_and(|at| at.elapsed() < state.pause) {
                return;
            }
            if state.closed_at.is_some() {
                state.pause = LONGEST_PAUSE.min(state.pause * 2);
            }
            state.closed_at = Some(Instant::now());
            state.failures = 0;
        }
        self.report(trouble);
    }

    fn count(&self, trouble: Trouble) {
        let is_enough = {
            let mut state = lock(&self.0);
            state.failures += 1;
            // When it is tried again after a pause, one failure is enough.
            state.failures >= FAILURES || state.closed_at.is_some()
        };
        if is_enough {
            self.open(trouble);
        }
    }

    fn report(&self, trouble: Trouble) {
        lock(&self.0).trouble.get_or_insert(trouble);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> Failure {
        Failure::Unreachable("refused".to_owned())
    }

    #[test]
    fn three_failures_in_a_row_stop_the_use_and_are_reported_once() {
        let breaker = Breaker::new(true);
        breaker.failed(broken());
        breaker.failed(broken());
        breaker.succeeded();
        breaker.failed(broken());
        breaker.failed(broken());
        assert!(breaker.is_readable());
        assert_eq!(breaker.take_trouble(), None);
        breaker.failed(broken());
        assert!(!breaker.is_readable() && !breaker.is_writable());
        assert!(matches!(breaker.take_trouble(), Some(Trouble::Broken(_))));
        breaker.failed(broken());
        assert_eq!(breaker.take_trouble(), None);
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_still_read() {
        let breaker = Breaker::new(true);
        breaker.failed_to_write(Failure::Status(413));
        assert!(breaker.is_writable());
        breaker.failed_to_write(Failure::Status(403));
        assert!(breaker.is_readable() && !breaker.is_writable());
        // Reading meanwhile does not hide that writing fails.
        let other = Breaker::new(true);
        for _ in 0..3 {
            other.failed_to_write(Failure::TimedOut);
            other.succeeded();
        }
        assert!(other.is_readable() && !other.is_writable());
        assert!(matches!(
            breaker.take_trouble(),
            Some(Trouble::Unwritable(_))
        ));
    }

    #[test]
    fn refused_credentials_stop_the_use_at_once() {
        let breaker = Breaker::new(true);
        breaker.failed(Failure::Status(401));
        assert!(!breaker.is_readable());
        assert_eq!(breaker.take_trouble(), Some(Trouble::Refused(401)));
    }
}
