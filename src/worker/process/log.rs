//! The output of a tool: forwarded to clm's log, with the last lines kept for error messages.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

use crate::parallel::lock;

/// The number of lines that are kept.
const LINES: usize = 40;
/// The maximum length of a line in bytes; longer ones are cut.
const LINE_BYTES: usize = 2000;

/// The last lines that a process printed. Clones share them.
#[derive(Clone, Debug)]
pub struct Log {
    lines: Arc<Mutex<VecDeque<String>>>,
    /// The number of streams that are being recorded.
    open: Arc<watch::Sender<usize>>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            lines: Arc::default(),
            open: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl Log {
    /// Adds a line.
    pub fn push(&self, what: &str, line: &[u8]) {
        let cut = &line[..line.len().min(LINE_BYTES)];
        let text = String::from_utf8_lossy(cut).trim_end().to_owned();
        if text.is_empty() {
            return;
        }
        tracing::debug!(target: "clm::tool", what, "{text}");
        let mut lines = lock(&self.lines);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(text);
    }

    /// Returns the last lines, at most `count`, joined.
    pub fn last(&self, count: usize) -> String {
        let lines = lock(&self.lines);
        let skipped = lines.len().saturating_sub(count);
        let last: Vec<&str> = lines.iter().skip(skipped).map(String::as_str).collect();
        last.join("\n")
    }

    /// Waits until all streams have been read to the end, but at most for `limit`.
    pub async fn settle(&self, limit: Duration) {
        let mut open = self.open.subscribe();
        // A descendant may keep the pipe open: then only the lines so far are available.
        let _ = tokio::time::timeout(limit, open.wait_for(|open| *open == 0)).await;
    }

    /// Records a stream to its end. The stream counts as open from this call on, before the first poll.
    pub fn record(
        self,
        what: String,
        mut stream: impl AsyncRead + Unpin,
    ) -> impl Future<Output = ()> {
        self.open.send_modify(|open| *open += 1);
        async move {
            let mut chunk = vec![0; 4096];
            let mut line = Vec::new();
            while let Ok(read @ 1..) = stream.read(&mut chunk).await {
                for &byte in &chunk[..read] {
                    if byte == b'\n' {
                        self.push(&what, &line);
                        line.clear();
                    } else if line.len() < LINE_BYTES {
                        line.push(byte);
                    }
                }
            }
            self.push(&what, &line);
            self.open.send_modify(|open| *open = open.saturating_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_lines_are_kept_and_long_ones_cut() {
        let log = Log::default();
        let mut text = String::new();
        for number in 0..100 {
            text.push_str(&format!("line {number}\n"));
        }
        text.push_str(&"x".repeat(100_000));
        let recording = log.clone().record("test".into(), text.as_bytes());
        recording.await;
        let last = log.last(3);
        let lines: Vec<&str> = last.lines().collect();
        assert_eq!(&lines[..2], ["line 98", "line 99"]);
        assert_eq!(lines[2].len(), LINE_BYTES);
        assert_eq!(log.last(1000).lines().count(), LINES);
    }
}
