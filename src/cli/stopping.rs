//! Ctrl-C and SIGTERM while a command works that reports even if it is stopped.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::parallel::lock;

use super::session;

/// Like the one of a main thread: templates and specifications are read recursively.
const STACK: usize = 8 << 20;

/// Whether a command was asked to stop, and whether its work stops by itself then.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop {
    token: CancellationToken,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    is_asked: bool,
    is_heeded: bool,
}

enum News<T> {
    Done(std::thread::Result<T>),
    Asked,
}

impl Stop {
    /// Returns a token that is cancelled when the command is asked to stop. From now on the command waits until the work
    /// has ended by itself.
    pub(super) fn heed(&self) -> Result<CancellationToken> {
        let mut state = lock(&self.state);
        if state.is_asked {
            return Err(Error::interrupted());
        }
        state.is_heeded = true;
        Ok(self.token.clone())
    }

    /// Declares that the work that stops by itself has ended.
    pub(super) fn ignore(&self) {
        lock(&self.state).is_heeded = false;
    }

    /// Returns whether the work stops by itself.
    fn ask(&self) -> bool {
        let mut state = lock(&self.state);
        state.is_asked = true;
        self.token.cancel();
        state.is_heeded
    }

    /// Does the work on another thread. Returns `None` if the command was asked to stop while the work could not: then
    /// it is left alone, and ends with the process.
    pub(super) fn guard<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>> {
        let (sender, receiver) = mpsc::channel();
        let listener = sender.clone();
        let failed = |error: std::io::Error| Error::system("start a thread", &error);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        std::thread::Builder::new()
            .spawn(move || {
                if runtime.block_on(session::stop_signal()).is_ok() {
                    // Fails if the work is done.
                    let _ = listener.send(News::Asked);
                }
            })
            .map_err(failed)?;
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || {
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                let _ = sender.send(News::Done(done));
            })
            .map_err(failed)?;
        loop {
            match receiver.recv() {
                Ok(News::Done(Ok(result))) => return Ok(Some(result)),
                // The panic hook has already reported it.
                Ok(News::Done(Err(_))) => return Err(Error::bug("the build ended by a panic")),
                Ok(News::Asked) if self.ask() => {}
                Ok(News::Asked) => return Ok(None),
                Err(_) => return Err(Error::bug("the thread that builds ended without a result")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_stops_by_itself_is_waited_for() {
        let stop = Stop::default();
        assert!(!stop.ask());
        assert!(stop.heed().is_err(), "it was asked before");
        let stop = Stop::default();
        let token = stop.heed().unwrap();
        assert!(stop.ask() && token.is_cancelled());
        stop.ignore();
        assert!(!stop.ask());
        assert_eq!(Stop::default().guard(|| 7).unwrap(), Some(7));
        let failed = Stop::default().guard(|| -> u8 { panic!("on purpose") });
        assert_eq!(failed.unwrap_err().exit_code(), 3);
    }
}
