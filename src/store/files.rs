//! Sources as they were last seen: stamps that save hashing, and a number that grows with every change.

use std::collections::HashMap;

use rusqlite::params;

use crate::digest::{Digest, Stamp};

use super::{Result, Store, digest};

/// A source as it was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// What the file system said of it.
    pub stamp: Stamp,
    /// The digest of its bytes.
    pub digest: Digest,
    /// When that was, in nanoseconds since 1970.
    pub recorded_ns: i64,
}

impl Store {
    /// All sources by their path below the course root.
    pub fn files(&self) -> Result<HashMap<String, FileRecord>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT path, size, mtime_ns, inode, digest, recorded_ns FROM files",
            )?;
            let mut rows = statement.query([])?;
            let mut files = HashMap::new();
            while let Some(row) = rows.next()? {
                let record = FileRecord {
                    stamp: Stamp {
                        size: row.get::<_, i64>(1)? as u64,
                        mtime_ns: row.get(2)?,
                        inode: row.get::<_, i64>(3)? as u64,
                    },
                    digest: digest(row.get_ref(4)?.as_str().unwrap_or_default())?,
                    recorded_ns: row.get(5)?,
                };
                files.insert(row.get(0)?, record);
            }
            Ok(files)
        })
    }

    /// Records sources; a changed digest raises the change number.
    pub fn record_files(&self, files: Vec<(String, FileRecord)>) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        self.write(move |connection| {
            // Once and not for each file: it looks at all of them.
            let change: i64 = connection
                .prepare_cached("SELECT coalesce(max(change), 0) + 1 FROM files")?
                .query_row([], |row| row.get(0))?;
            let mut statement = connection.prepare_cached(
                "INSERT INTO files (path, size, mtime_ns, inode, digest, recorded_ns, change)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (path) DO UPDATE SET size = ?2, mtime_ns = ?3, inode = ?4, recorded_ns = ?6,
                     change = iif(digest = ?5, change, excluded.change), digest = ?5",
            )?;
            for (path, record) in files {
                statement.execute(params![
                    path,
                    record.stamp.size as i64,
                    record.stamp.mtime_ns,
                    record.stamp.inode as i64,
                    record.digest.to_string(),
                    record.recorded_ns,
                    change
                ])?;
            }
            Ok(())
        })
    }

    /// Forgets sources that are gone.
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
