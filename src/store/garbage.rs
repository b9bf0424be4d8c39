//! Garbage collection: removes results that were not used for a long time, results beyond the size limit, and results
//! without references.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::digest::Digest;
use crate::events::ActionKind;

use super::{Result, Store, StoreError, from_json, lock, now_ms};

/// Results younger than this (in milliseconds) are kept even without references: the process that stored them may not
/// have recorded them yet. If recording takes longer, the result is made again.
pub(super) const YOUNG_MS: i64 = 2 * 60 * 1000;
/// A recorded run made or used within this time (in milliseconds) is kept: another process may be about to restore it.
const RECENT_MS: i64 = 10 * 60 * 1000;
/// The number of most recent versions of every planned action that are kept, whatever their size, so that undoing an
/// edit is instant.
const VERSIONS: usize = 4;
/// The minimum time in milliseconds before an unplanned action is forgotten: another specification may plan it again.
const UNPLANNED_MS: i64 = 24 * 60 * 60 * 1000;
/// The number of runs after which a collection is due.
const RUNS: i64 = 20;
/// The time in milliseconds after which a collection is due, if there were any runs.
const PAUSE_MS: i64 = 60 * 60 * 1000;
/// How many databases that were set aside are kept.
const KEPT_DAMAGED: usize = 3;

/// The limits of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The maximum size of all results, in bytes.
    pub max_size: u64,
    /// How long an unused result is kept, in milliseconds.
    pub max_age_ms: i64,
}

/// The outcome of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Bytes freed.
    pub freed: u64,
    /// The number of recorded runs that were removed.
    pub runs: u64,
}

/// A recorded run.
pub(super) struct Run {
    id: i64,
    used_ms: i64,
    is_protected: bool,
    /// Whether it belongs to a current plan.
    pub is_current: bool,
    /// The digests of its outputs.
    pub digests: Vec<String>,
}

impl Store {
    /// Records that actions are planned now, and forgets those not planned for a long time, so that their results can
    /// be collected.
    pub fn note_planned(&self, actions: Vec<Arc<str>>, limits: &Limits) -> Result<()> {
        let max_age_ms = limits.max_age_ms.max(UNPLANNED_MS);
        self.write(move |connection| {
            let now = now_ms();
            let mut statement =
                connection.prepare_cached("UPDATE latest SET planned_ms = ?2 WHERE action = ?1")?;
            for action in actions {
                statement.execute(params![&*action, now])?;
            }
            // Records of earlier versions lack the time when they were planned.
            let unknown = "UPDATE latest SET planned_ms = ?1 WHERE planned_ms = 0";
            connection.execute(unknown, [now])?;
            let gone = "DELETE FROM latest WHERE planned_ms < ?1";
            connection.execute(gone, [now - max_age_ms])?;
            Ok(())
        })
    }

    /// Records, without waiting, that results are used now.
    pub fn note_used_later(&self, keys: Vec<Digest>) {
        self.write_later(move |connection| {
            let mut statement = connection.prepare_cached(
                "UPDATE actions SET used_ms = ?2 WHERE key = ?1 AND used_ms < ?3",
            )?;
            let now = now_ms();
            for key in keys {
                statement.execute(params![key.to_string(), now, now - RECENT_MS / 10])?;
            }
            Ok(())
        });
    }

    /// Returns whether a collection is due, by the number of runs or the time since the last one.
    pub fn is_collection_due(&self) -> Result<bool> {
        self.read(|connection| {
            let last: Option<(i64, i64)> = connection
                .prepare_cached("SELECT run, ended_ms FROM collections WHERE id = 1")?
                .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let (run, ended_ms) = last.unwrap_or_default();
            let newest = newest_run(connection)?;
            // The absolute difference, so that a clock that was set back does not postpone it for ever.
            let has_paused = (now_ms() - ended_ms).abs() > PAUSE_MS;
            Ok(newest >= run + RUNS || has_paused && newest > run)
        })
    }

    /// Removes what exceeds the limits: recorded runs that were not used for a long time, the least recently used runs
    /// until the results fit, results without references, and records of results that no longer exist.
    ///
    /// The results of planned actions, their last versions, and anything used recently are kept. Safe while other
    /// processes build: a result that is removed although it is needed is made again.
    pub fn collect(&self, limits: &Limits) -> Result<Collected> {
        self.collect_at(limits, now_ms())
    }

    /// Returns what a collection would remove now.
    pub fn collectable(&self, limits: &Limits) -> Result<Collected> {
        self.collectable_at(limits, now_ms())
    }

    /// Returns what a collection would remove at a given time.
    pub(super) fn collectable_at(&self, limits: &Limits, now: i64) -> Result<Collected> {
        let removed: HashSet<i64> = self.runs_beyond(limits, now)?.into_iter().collect();
        let (used, old) = self.read(|connection| {
            let used = used(connection, &removed)?;
            Ok((used, old_blobs(connection, now - YOUNG_MS)?))
        })?;
        let unused = old.iter().filter(|(digest, _)| !used.contains(digest));
        let mut freed = unused.map(|(_, size)| size).sum();
        for file in self.unused_files(&used)? {
            freed += size_if_old(&file, now - YOUNG_MS).unwrap_or_default();
        }
        for file in self.superfluous_databases()? {
            freed += size_if_old(&file, i64::MAX).unwrap_or_default();
        }
        Ok(Collected {
            freed,
            runs: removed.len() as u64,
        })
    }

    /// Returns the ids of the recorded runs that a collection removes.
    fn runs_beyond(&self, limits: &Limits, now: i64) -> Result<Vec<i64>> {
        let sizes = self.sizes()?;
        let (runs, outputs) = self.read(|connection| {
            Ok((read_runs(connection, now)?, digests_of_outputs(connection)?))
        })?;
        Ok(beyond(&runs, &outputs, &sizes, limits, now))
    }

    /// Collects as of a given time.
    pub(super) fn collect_at(&self, limits: &Limits, now: i64) -> Result<Collected> {
        self.write(forget_old_records)?;
        let removed = self.runs_beyond(limits, now)?;
        let count = removed.len() as u64;
        let (mut freed, used) = self.write(move |connection| {
            let mut delete =
                connection.prepare("DELETE FROM actions WHERE id = ?1 AND used_ms <= ?2")?;
            for id in removed {
                // A run that was used since the query is kept.
                delete.execute([id, now - RECENT_MS])?;
            }
            let used = used(connection, &HashSet::new())?;
            let mut freed = 0;
            let old = old_blobs(connection, now - YOUNG_MS)?;
            let mut delete = connection.prepare("DELETE FROM blobs WHERE digest = ?1")?;
            for (digest, size) in old {
                if !used.contains(&digest) {
                    delete.execute([&digest])?;
                    freed += size;
                }
            }
            connection.execute(
                "INSERT OR REPLACE INTO collections (id, run, ended_ms) VALUES (1, ?1, ?2)",
                [newest_run(connection)?, now],
            )?;
            Ok((freed, used))
        })?;
        for file in self.unused_files(&used)? {
            // A result that is stored again meanwhile is young.
            freed += remove_old(&file, now - YOUNG_MS)?;
        }
        freed += self.remove_damaged_databases()?;
        self.shrink()?;
        Ok(Collected { freed, runs: count })
    }

    /// Removes all results and records of runs, and returns the bytes freed. The records of outputs are kept: otherwise
    /// clm would treat its own outputs as foreign files.
    pub fn clean(&self) -> Result<u64> {
        let freed = self.sizes()?.values().sum();
        self.write(|connection| {
            connection.execute_batch(
                "DELETE FROM discovered; DELETE FROM actions; DELETE FROM latest; DELETE FROM blobs;
                 DELETE FROM collections;",
            )?;
            Ok(())
        })?;
        for file in self.blob_files()? {
            remove_old(&file, i64::MAX)?;
        }
        self.remove_damaged_databases()?;
        self.shrink()?;
        Ok(freed)
    }

    /// Returns the size of every result.
    pub(super) fn sizes(&self) -> Result<HashMap<String, u64>> {
        let mut sizes: HashMap<String, u64> =
            self.read(|connection| Ok(old_blobs(connection, i64::MAX)?.into_iter().collect()))?;
        for file in self.blob_files()? {
            let digest = spelled(&file).filter(|digest| digest.parse::<Digest>().is_ok());
            if let (Some(digest), Ok(metadata)) = (digest, std::fs::metadata(&file)) {
                sizes.insert(digest, metadata.len());
            }
        }
        Ok(sizes)
    }

    fn blob_files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for dir in entries(&self.0.blobs)? {
            files.extend(entries(&dir)?);
        }
        Ok(files)
    }

    /// Returns the files of results that are not used.
    fn unused_files(&self, used: &HashSet<String>) -> Result<Vec<PathBuf>> {
        let is_used = |file: &PathBuf| spelled(file).is_some_and(|digest| used.contains(&digest));
        let mut files = self.blob_files()?;
        files.retain(|file| !is_used(file));
        Ok(files)
    }

    /// Removes all but the last databases that were set aside, and returns the bytes freed.
    fn remove_damaged_databases(&self) -> Result<u64> {
        let mut freed = 0;
        for file in self.superfluous_databases()? {
            freed += remove_old(&file, i64::MAX)?;
        }
        Ok(freed)
    }

    /// Returns the files of all databases that were set aside, but for the last ones.
    fn superfluous_databases(&self) -> Result<Vec<PathBuf>> {
        let Some(dir) = self.0.database.parent() else {
            return Ok(Vec::new());
        };
        let number_of = |file: &Path| -> Option<u64> {
            let name = file.file_name()?.to_str()?;
            let rest = name.strip_prefix("clm.db.corrupt-")?;
            rest.trim_end_matches("-wal")
                .trim_end_matches("-shm")
                .parse()
                .ok()
        };
        let files: Vec<(u64, PathBuf)> = entries(dir)?
            .into_iter()
            .filter_map(|file| Some((number_of(&file)?, file)))
            .collect();
        let mut numbers: Vec<u64> = files.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let kept = numbers.len().saturating_sub(KEPT_DAMAGED);
        let gone: HashSet<u64> = numbers.into_iter().take(kept).collect();
        let superfluous = files
            .into_iter()
            .filter(|(number, _)| gone.contains(number));
        Ok(superfluous.map(|(_, file)| file).collect())
    }

    /// Returns unused pages of the database to the file system.
    fn shrink(&self) -> Result<()> {
        let connection = lock(&self.0.reader);
        let run = |sql: &str| -> Result<()> {
            // Each row is one step of the vacuum.
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

/// Removes old runs, and workers of processes that are gone.
fn forget_old_records(connection: &Connection) -> Result<()> {
    super::runs::prune(connection)?;
    let mut workers =
        connection.prepare("SELECT DISTINCT owner_pid, owner_started, owner_host FROM workers")?;
    let owners = workers.query_map([], |row| super::runs::read_owner(row, 0))?;
    for owner in owners.collect::<Result<Vec<_>, rusqlite::Error>>()? {
        if owner.is_gone() {
            super::runs::forget_workers(connection, &owner)?;
        }
    }
    Ok(())
}

fn newest_run(connection: &Connection) -> Result<i64> {
    let newest = "SELECT coalesce(max(id), 0) FROM runs";
    Ok(connection.query_row(newest, [], |row| row.get(0))?)
}

/// Returns whether results of this kind of action are stored. A kind that this version does not know may be.
pub(super) fn is_stored(kind: &str) -> bool {
    !ActionKind::LOCAL.iter().any(|local| local.name() == kind)
}

/// Returns every recorded run, the least recently used first.
pub(super) fn read_runs(connection: &Connection, now: i64) -> Result<Vec<Run>> {
    let mut planned = HashSet::new();
    let mut current = HashSet::new();
    let mut latest = connection.prepare("SELECT action, key FROM latest")?;
    let mut rows = latest.query([])?;
    while let Some(row) = rows.next()? {
        planned.insert(row.get::<_, String>(0)?);
        current.insert(row.get::<_, String>(1)?);
    }
    let mut statement = connection
        .prepare("SELECT id, action, key, used_ms, outputs, kind FROM actions ORDER BY id DESC")?;
    let mut rows = statement.query([])?;
    let mut versions: HashMap<String, usize> = HashMap::new();
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        let action: String = row.get(1)?;
        let is_current = current.contains(row.get_ref(2)?.as_str().unwrap_or_default());
        let used_ms: i64 = row.get(3)?;
        let outputs: Vec<(String, String, u64)> =
            match is_stored(row.get_ref(5)?.as_str().unwrap_or_default()) {
                true => from_json(row.get_ref(4)?.as_str().unwrap_or_default())?,
                false => Vec::new(),
            };
        let is_planned = planned.contains(&action);
        let version = versions.entry(action).or_default();
        *version += 1;
        runs.push(Run {
            id: row.get(0)?,
            used_ms,
            is_protected: is_current
                || is_planned && *version <= VERSIONS
                || used_ms > now - RECENT_MS,
            is_current,
            digests: outputs.into_iter().map(|(_, digest, _)| digest).collect(),
        });
    }
    runs.sort_by_key(|run| (run.used_ms, run.id));
    Ok(runs)
}

/// Returns the ids of the runs to be removed because of their age or the total size.
fn beyond(
    runs: &[Run],
    outputs: &HashSet<String>,
    sizes: &HashMap<String, u64>,
    limits: &Limits,
    now: i64,
) -> Vec<i64> {
    let mut users: HashMap<&String, usize> = HashMap::new();
    for digest in runs.iter().flat_map(|run| &run.digests).chain(outputs) {
        *users.entry(digest).or_default() += 1;
    }
    let size_of = |digest: &String| sizes.get(digest).copied().unwrap_or_default();
    let mut total: u64 = users.keys().map(|digest| size_of(digest)).sum();
    let mut removed = Vec::new();
    for run in runs.iter().filter(|run| !run.is_protected) {
        let is_old = run.used_ms < now - limits.max_age_ms;
        if !is_old && total <= limits.max_size {
            continue;
        }
        removed.push(run.id);
        for digest in &run.digests {
            if let Some(count) = users.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    total = total.saturating_sub(size_of(digest));
                }
            }
        }
    }
    removed
}

/// Returns the digests and sizes of small results that were stored before a time.
fn old_blobs(connection: &Connection, before_ms: i64) -> Result<Vec<(String, u64)>> {
    let mut old =
        connection.prepare("SELECT digest, length(bytes) FROM blobs WHERE stored_ms < ?1")?;
    let rows = old.query_map([before_ms], |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
    })?;
    Ok(rows.collect::<Result<_, rusqlite::Error>>()?)
}

/// Returns the digests that cached runs, but for those with the ids `without`, and outputs refer to.
fn used(connection: &Connection, without: &HashSet<i64>) -> Result<HashSet<String>> {
    let mut used = digests_of_outputs(connection)?;
    let mut runs = connection.prepare("SELECT outputs, id FROM actions")?;
    let mut rows = runs.query([])?;
    while let Some(row) = rows.next()? {
        if without.contains(&row.get(1)?) {
            continue;
        }
        let outputs: Vec<(String, String, u64)> =
            from_json(row.get_ref(0)?.as_str().unwrap_or_default())?;
        used.extend(outputs.into_iter().map(|(_, digest, _)| digest));
    }
    Ok(used)
}

fn digests_of_outputs(connection: &Connection) -> Result<HashSet<String>> {
    let mut outputs = connection.prepare("SELECT digest FROM outputs")?;
    let digests = outputs.query_map([], |row| row.get(0))?;
    Ok(digests.collect::<Result<_, rusqlite::Error>>()?)
}

/// Returns the digest that a blob file's path spells. The temporary file of an interrupted write gives a string that is
/// no digest.
fn spelled(file: &Path) -> Option<String> {
    let first = file.parent()?.file_name()?.to_str()?;
    Some(format!("{first}{}", file.file_name()?.to_str()?))
}

/// Removes a file if it is older than `young_ms`, and returns its size; 0 if it was not removed.
fn remove_old(file: &Path, young_ms: i64) -> Result<u64> {
    let Some(size) = size_if_old(file, young_ms) else {
        return Ok(0);
    };
    match std::fs::remove_file(file) {
        Ok(()) => Ok(size),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(StoreError::io("remove", file, error)),
    }
}

/// Returns the size of a file that is older than `young_ms`; `None` for a younger one, and for one that another process
/// removed.
fn size_if_old(file: &Path, young_ms: i64) -> Option<u64> {
    let metadata = std::fs::metadata(file).ok()?;
    let age = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let modified_ms = i64::try_from(age.as_millis()).ok()?;
    (modified_ms < young_ms).then_some(metadata.len())
}

/// Returns the entries of a directory; none if it does not exist or is not a directory.
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
