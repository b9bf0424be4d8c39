//! Giving space back: results that nothing refers to any more.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rusqlite::Connection;

use super::{Result, Store, StoreError, from_json, lock, now_ms};

/// Results younger than this (in milliseconds) stay: whoever put them may not have recorded their use yet.
pub(super) const YOUNG_MS: i64 = 24 * 60 * 60 * 1000;
/// How long the cache remembers actions that are no longer planned, in milliseconds.
const UNPLANNED_MS: i64 = 30 * YOUNG_MS;

impl Store {
    /// Forgets what actions were made of that are no longer planned. Their cached results stay for a while.
    pub fn forget_actions(&self, actions: Vec<String>) -> Result<()> {
        if actions.is_empty() {
            return Ok(());
        }
        self.write(move |connection| {
            let mut statement =
                connection.prepare_cached("DELETE FROM latest WHERE action = ?1")?;
            for action in actions {
                statement.execute([action])?;
            }
            Ok(())
        })
    }

    /// Removes cached runs of actions that have not been planned for a month, results that neither a cached run nor
    /// an output refers to, and what crashes left behind. Safe while other processes build. Gives the bytes freed.
    pub fn collect_garbage(&self) -> Result<u64> {
        self.collect_garbage_before(now_ms() - YOUNG_MS)
    }

    pub(super) fn collect_garbage_before(&self, young_ms: i64) -> Result<u64> {
        let (mut freed, used) = self.write(move |connection| {
            connection.execute(
                "DELETE FROM actions
                 WHERE used_ms < ?1 AND action NOT IN (SELECT action FROM latest)",
                [now_ms() - UNPLANNED_MS],
            )?;
            let used = used(connection)?;
            let mut old = connection
                .prepare("SELECT digest, length(bytes) FROM blobs WHERE stored_ms < ?1")?;
            let mut delete = connection.prepare("DELETE FROM blobs WHERE digest = ?1")?;
            let mut rows = old.query([young_ms])?;
            let (mut freed, mut unused) = (0, Vec::new());
            while let Some(row) = rows.next()? {
                let digest: String = row.get(0)?;
                if !used.contains(&digest) {
                    freed += row.get::<_, i64>(1)?.cast_unsigned();
                    unused.push(digest);
                }
            }
            for digest in unused {
                delete.execute([digest])?;
            }
            Ok((freed, used))
        })?;
        for dir in entries(&self.0.blobs)? {
            for file in entries(&dir)? {
                // A result that is put again meanwhile is young.
                if !spelled(&file).is_some_and(|digest| used.contains(&digest)) {
                    freed += remove_old(&file, young_ms)?;
                }
            }
        }
        self.shrink()?;
        Ok(freed)
    }

    /// Returns unused pages of the database to the file system.
    fn shrink(&self) -> Result<()> {
        let connection = lock(&self.0.reader);
        let run = |sql: &str| -> Result<()> {
            // Each row is a step of the work.
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            Ok(())
        };
        run("PRAGMA query_only = OFF")?;
        let shrunk =
            run("PRAGMA incremental_vacuum").and_then(|()| run("PRAGMA wal_checkpoint(TRUNCATE)"));
        run("PRAGMA query_only = ON")?;
        shrunk
    }
}

/// The digests that cached runs and outputs refer to.
fn used(connection: &Connection) -> Result<HashSet<String>> {
    let mut used = HashSet::new();
    let mut runs = connection.prepare("SELECT outputs FROM actions")?;
    let mut rows = runs.query([])?;
    while let Some(row) = rows.next()? {
        let outputs: Vec<(String, String, u64)> =
            from_json(row.get_ref(0)?.as_str().unwrap_or_default())?;
        used.extend(outputs.into_iter().map(|(_, digest, _)| digest));
    }
    let mut outputs = connection.prepare("SELECT digest FROM outputs")?;
    for digest in outputs.query_map([], |row| row.get(0))? {
        used.insert(digest?);
    }
    Ok(used)
}

/// The digest that a blob file's path spells; something else for what a crash left half-written.
fn spelled(file: &Path) -> Option<String> {
    let first = file.parent()?.file_name()?.to_str()?;
    Some(format!("{first}{}", file.file_name()?.to_str()?))
}

/// Removes a file that is old. Gives its size.
fn remove_old(file: &Path, young_ms: i64) -> Result<u64> {
    let Some((size, modified_ms)) = size_and_time(file) else {
        return Ok(0); // another process was quicker
    };
    if modified_ms >= young_ms {
        return Ok(0);
    }
    match std::fs::remove_file(file) {
        Ok(()) => Ok(size),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(StoreError::io("remove", file, error)),
    }
}

fn size_and_time(file: &Path) -> Option<(u64, i64)> {
    let metadata = std::fs::metadata(file).ok()?;
    let age = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((metadata.len(), i64::try_from(age.as_millis()).ok()?))
}

/// What is in a directory, if it is one and there.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let io = |error| StoreError::io("read", dir, error);
    match std::fs::read_dir(dir) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()).map_err(io))
            .collect(),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(io(error)),
    }
}
