//! Reading lines of bounded length from a process.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Reads lines; cancel-safe, no input is lost.
pub struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    limit: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Creates a reader of lines of at most `limit` bytes.
    pub fn new(reader: R, limit: usize) -> Self {
        Self {
            reader: BufReader::with_capacity(64 * 1024, reader),
            line: Vec::new(),
            limit,
        }
    }

    /// Returns the next line without its end; `None` at the end of the stream. An incomplete last line is dropped,
    /// since the process was killed while writing it. A line beyond the limit is an error.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = end.unwrap_or(chunk.len());
            if self.line.len() + part > self.limit {
                return Err(io::Error::other(format!(
                    "a line of more than {} bytes",
                    self.limit
                )));
            }
            self.line.extend_from_slice(&chunk[..part]);
            self.reader.consume(part + usize::from(end.is_some()));
            if end.is_some() {
                return Ok(Some(std::mem::take(&mut self.line)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_have_a_limit_and_an_end() {
        let mut lines = Lines::new(&b"ab\n\ncd\nunfinished"[..], 10);
        assert_eq!(lines.next().await.unwrap().unwrap(), b"ab");
        assert_eq!(lines.next().await.unwrap().unwrap(), b"");
        assert_eq!(lines.next().await.unwrap().unwrap(), b"cd");
        assert!(lines.next().await.unwrap().is_none());

        let long = vec![b'x'; 100_000];
        assert!(Lines::new(&long[..], 70_000).next().await.is_err());
    }
}
