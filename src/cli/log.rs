//! The log of a background daemon: of limited size, with a few older ones beside it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Dir, Error, Result};
use crate::private;

/// The size at which a log is rotated, in bytes.
const LIMIT: u64 = 1 << 20;
/// How many older logs are kept, as `NAME.1` (the most recent) and so on.
const KEPT: u32 = 3;

/// A log file that is rotated when it has reached a certain size.
pub(super) struct RotatingLog {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
}

impl RotatingLog {
    /// Opens the log at `path` for appending.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = private::append(path)
            .map_err(|error| Error::io_in(Dir::State, "write", path, &error))?;
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        Ok(Self {
            path: path.to_path_buf(),
            file,
            size,
            limit: LIMIT,
        })
    }

    fn put_aside(&mut self) -> std::io::Result<()> {
        let older = |number: u32| PathBuf::from(format!("{}.{number}", self.path.display()));
        for number in (1..KEPT).rev() {
            let _ = std::fs::rename(older(number), older(number + 1));
        }
        std::fs::rename(&self.path, older(1))?;
        self.file = private::append(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

impl Write for RotatingLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.size > 0 && self.size + bytes.len() as u64 > self.limit {
            self.put_aside()?;
        }
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_logs_are_put_aside_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.log");
        let mut log = RotatingLog::open(&path).unwrap();
        log.limit = 10;
        for number in 0..6 {
            writeln!(log, "line {number}").unwrap();
        }
        drop(log);
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("daemon.log"), "line 5\n");
        assert_eq!(read("daemon.log.1"), "line 4\n");
        assert_eq!(read("daemon.log.3"), "line 2\n");
        assert!(!dir.path().join("daemon.log.4").exists());
        let mut log = RotatingLog::open(&path).unwrap();
        writeln!(log, "more").unwrap();
        assert_eq!(read("daemon.log"), "line 5\nmore\n");
    }
}
