//! Records of files with their stamps, so that unchanged files need not be read; the records of sources have a number
//! that increases with every change.

use std::collections::HashMap;

use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Stamp};

use super::{Result, Store, digest};

/// A file as of its last reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its stamp before it was read.
    pub stamp: Stamp,
    /// The digest of its bytes.
    pub digest: Digest,
    /// A time before the stamp was taken, in nanoseconds since 1970. A later time would be unsafe: reading may take
    /// longer than a stamp needs to become reliable, and the file may change meanwhile without changing its stamp.
    pub recorded_ns: i64,
}

/// The result of comparing a file with its record.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The stamp proves that it has the recorded bytes.
    Same,
    /// It was read and has the recorded bytes: the record with the current stamp.
    Restamped(FileRecord),
    /// It has other bytes or cannot be read.
    Changed,
}

impl Check {
    /// Returns the current record of the file, if it still has the bytes of `before`.
    pub fn record(self, before: FileRecord) -> Option<FileRecord> {
        match self {
            Self::Same => Some(before),
            Self::Restamped(record) => Some(record),
            Self::Changed => None,
        }
    }
}

impl FileRecord {
    /// Returns whether a file with the stamp `found` certainly has the recorded bytes.
    pub fn is_proved_by(&self, found: &Stamp) -> bool {
        self.stamp.proves(self.recorded_ns, found)
    }

    /// Returns whether its stamp is old enough to prove anything.
    pub fn is_reliable(&self) -> bool {
        self.stamp.is_reliable_at(self.recorded_ns)
    }

    /// Compares a file that has the stamp `found`, taken after `looked_ns`, with this record. `read` returns the digest
    /// of its bytes, and is called only if the stamp proves nothing.
    pub fn check(
        &self,
        looked_ns: i64,
        found: Stamp,
        read: impl FnOnce() -> Option<Digest>,
    ) -> Check {
        if self.is_proved_by(&found) {
            return Check::Same;
        }
        match read() == Some(self.digest) {
            true => Check::Restamped(Self {
                stamp: found,
                digest: self.digest,
                recorded_ns: looked_ns,
            }),
            false => Check::Changed,
        }
    }
}

/// Reads a stamp from five columns of a row, starting at `first`.
pub(super) fn stamp(row: &Row<'_>, first: usize) -> Result<Stamp, rusqlite::Error> {
    Ok(Stamp {
        size: row.get::<_, i64>(first)?.cast_unsigned(),
        mtime_ns: row.get(first + 1)?,
        ctime_ns: row.get(first + 2)?,
        inode: row.get::<_, i64>(first + 3)?.cast_unsigned(),
        device: row.get::<_, i64>(first + 4)?.cast_unsigned(),
    })
}

impl Store {
    /// Returns the records of all sources by their path relative to the course root.
    pub fn files(&self) -> Result<HashMap<String, FileRecord>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT size, mtime_ns, ctime_ns, inode, device, path, digest, recorded_ns FROM files",
            )?;
            let mut rows = statement.query([])?;
            let mut files = HashMap::new();
            while let Some(row) = rows.next()? {
                let record = FileRecord {
                    stamp: stamp(row, 0)?,
                    digest: digest(row.get_ref(6)?.as_str().unwrap_or_default())?,
                    recorded_ns: row.get(7)?,
                };
                files.insert(row.get(5)?, record);
            }
            Ok(files)
        })
    }

    /// Records sources; a changed digest increases the change number.
    pub fn record_files(&self, files: Vec<(String, FileRecord)>) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        self.write(move |connection| {
            // Once, not for each file: the query scans the whole table.
            let change: i64 = connection
                .prepare_cached("SELECT coalesce(max(change), 0) + 1 FROM files")?
                .query_row([], |row| row.get(0))?;
            let mut statement = connection.prepare_cached(
                "INSERT INTO files (path, digest, recorded_ns, change, size, mtime_ns, ctime_ns, inode, device)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT (path) DO UPDATE SET size = ?5, mtime_ns = ?6, ctime_ns = ?7, inode = ?8, device = ?9,
                     recorded_ns = ?3, change = iif(digest = ?2, change, excluded.change), digest = ?2",
            )?;
            for (path, record) in files {
                let stamp = record.stamp;
                statement.execute(params![
                    path,
                    record.digest.to_string(),
                    record.recorded_ns,
                    change,
                    stamp.size as i64,
                    stamp.mtime_ns,
                    stamp.ctime_ns,
                    stamp.inode as i64,
                    stamp.device as i64
                ])?;
            }
            Ok(())
        })
    }

    /// Removes the records of deleted sources.
    pub fn forget_files(&self, paths: Vec<String>) -> Result<()> {
        self.write(move |connection| {
            let mut statement = connection.prepare_cached("DELETE FROM files WHERE path = ?1")?;
            for path in paths {
                statement.execute([path])?;
            }
            Ok(())
        })
    }
}
