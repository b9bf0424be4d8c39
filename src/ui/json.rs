//! JSON lines for editors, CI and tests.

use std::io::Write;

use crate::events::Event;

use super::Reporter;
use super::guard::guarded;

/// Writes every event as a JSON object on its own line.
pub(super) struct Json<W>(W);

impl<W: Write> Json<W> {
    /// Creates a reporter that writes to `out`.
    pub(super) fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write + Send> Reporter for Json<W> {
    fn event(&mut self, event: &Event) {
        if let Ok(mut line) = serde_json::to_string(event) {
            line.push('\n');
            // If the pipe is closed, the reader needs no more events.
            let _ = self.0.write_all(guarded(&line).as_bytes());
        }
    }

    fn finish(&mut self) {
        let _ = self.0.flush();
    }
}
