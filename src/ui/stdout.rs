//! Standard output for data: errors are recorded, so that lost data is reported.

use std::io::{Error, ErrorKind, Result, Write};
use std::sync::OnceLock;

/// The first error, if any.
static LOST: OnceLock<(ErrorKind, String)> = OnceLock::new();

/// Standard output that records its first error. A closed pipe is not an error, since the reader needs no more.
pub(super) struct Stdout;

/// Returns the first error of standard output in this process.
pub(super) fn lost() -> Option<Error> {
    let (kind, text) = LOST.get()?;
    Some(Error::new(*kind, text.clone()))
}

fn noted<T>(result: Result<T>) -> Result<T> {
    if let Err(error) = &result
        && !matches!(
            error.kind(),
            ErrorKind::BrokenPipe | ErrorKind::Interrupted | ErrorKind::WouldBlock
        )
    {
        let _ = LOST.set((error.kind(), error.to_string()));
    }
    result
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        noted(std::io::stdout().write(bytes))
    }

    fn flush(&mut self) -> Result<()> {
        noted(std::io::stdout().flush())
    }
}
