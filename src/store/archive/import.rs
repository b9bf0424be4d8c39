//! Merges an archive into a store that other processes may use meanwhile.

use std::collections::HashSet;
use std::path::Path;
use std::time::SystemTime;

use rusqlite::{Connection, params};

use crate::digest::Digest;
use crate::files;
use crate::store::actions::{self, CachedResult, KEPT, ResultStatus};
use crate::store::{Result as StoreResult, Store, StoreError, blobs, from_json, now_ms, to_json};

use super::ArchiveError;
use super::record::{Identity, Record, StoredLatest, StoredResult};
use super::unpack::Staged;

/// How many records are committed together: other processes wait for that long at most, and blobs that are not yet
/// recorded are not collected meanwhile.
const BATCH: usize = 200;

/// What was imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The number of results that were added.
    pub added: u64,
    /// The number of results that the store had already.
    pub known: u64,
}

/// Records to be committed together.
#[derive(Default)]
struct Batch {
    identities: Vec<Identity>,
    results: Vec<StoredResult>,
    latest: Vec<StoredLatest>,
}

/// A small blob, which is stored in the database.
type Small = (Digest, Vec<u8>);

impl Store {
    /// Adds the results of an archive to those of this store. What the store knows already stays: it is newer, or the
    /// same. Only fingerprints of renderers are replaced.
    pub fn import(&self, staged: &Staged) -> Result<Imported, ArchiveError> {
        let mut imported = Imported::default();
        // Results of the latest runs come last, since the newest ones of an action are kept.
        for is_latest in [false, true] {
            let mut batch = Batch::default();
            staged.for_each(|record| {
                match record {
                    Record::Result(result) => {
                        if staged.latest.contains(&result.key) == is_latest {
                            batch.results.push(result);
                        }
                    }
                    Record::Latest(latest) if is_latest => batch.latest.push(latest),
                    Record::Identity(identity) if is_latest => batch.identities.push(identity),
                    Record::Latest(_) | Record::Identity(_) => {}
                }
                if batch.len() >= BATCH {
                    self.commit(staged, std::mem::take(&mut batch), is_latest, &mut imported)?;
                }
                Ok(())
            })?;
            self.commit(staged, batch, is_latest, &mut imported)?;
        }
        Ok(imported)
    }

    fn commit(
        &self,
        staged: &Staged,
        batch: Batch,
        is_latest: bool,
        imported: &mut Imported,
    ) -> StoreResult<()> {
        if batch.len() == 0 {
            return Ok(());
        }
        let mut small = Vec::new();
        let mut seen = HashSet::new();
        for (digest, size) in batch.results.iter().flat_map(StoredResult::blobs) {
            if seen.insert(digest) {
                small.extend(self.take_blob(staged, &digest, size)?);
            }
        }
        let blobs = self.0.blobs.clone();
        let found = self.write(move |connection| {
            let merge = Merge {
                connection,
                blobs: &blobs,
                now: now_ms(),
                is_latest,
            };
            merge.all(&batch, &small)
        })?;
        imported.added += found.added;
        imported.known += found.known;
        Ok(())
    }

    /// Moves a large blob from the archive into the store, unless it is there; returns a small one.
    fn take_blob(&self, staged: &Staged, digest: &Digest, size: u64) -> StoreResult<Option<Small>> {
        let from = staged.blob(digest);
        if size <= blobs::SMALL {
            let bytes = files::read(&from).map_err(|error| StoreError::io("read", &from, error))?;
            return Ok(Some((*digest, bytes)));
        }
        if self.keep_file(digest)? {
            return Ok(None);
        }
        let to = blobs::file_of(&self.0.blobs, digest);
        let dir = to.parent().unwrap_or(&to);
        crate::private::create_dir_all(dir)
            .map_err(|error| StoreError::io("create", dir, error))?;
        let moved = files::open(&from)
            // A blob that is not recorded yet is kept while it is young.
            .and_then(|file| file.set_modified(SystemTime::now()))
            .and_then(|()| std::fs::rename(&from, &to));
        match moved {
            Ok(()) => Ok(None),
            // It was moved for another record, and was removed from the store meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("write", &to, error)),
        }
    }
}

impl Batch {
    fn len(&self) -> usize {
        self.identities.len() + self.results.len() + self.latest.len()
    }
}

/// The changes of one transaction.
struct Merge<'a> {
    connection: &'a Connection,
    blobs: &'a Path,
    now: i64,
    /// Whether the results are those of latest runs.
    is_latest: bool,
}

impl Merge<'_> {
    fn all(&self, batch: &Batch, small: &[Small]) -> StoreResult<Imported> {
        let mut imported = Imported::default();
        for (digest, bytes) in small {
            self.connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO blobs (digest, bytes, stored_ms) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![digest.to_string(), bytes, self.now])?;
        }
        for identity in &batch.identities {
            self.connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO identities (renderer, fingerprint) VALUES (?1, ?2)",
                )?
                .execute([&identity.renderer, &identity.fingerprint])?;
        }
        for result in &batch.results {
            match self.result(result)? {
                Merged::Added => imported.added += 1,
                Merged::Known => imported.known += 1,
                Merged::LeftOut => {}
            }
        }
        for latest in &batch.latest {
            self.latest(latest)?;
        }
        Ok(imported)
    }

    fn result(&self, result: &StoredResult) -> StoreResult<Merged> {
        let digests: Vec<Digest> = result.blobs().map(|(digest, _)| digest).collect();
        // Another process may have removed one since it was stored.
        if !self.has_all(&digests)? {
            return Ok(Merged::LeftOut);
        }
        if self.is_known(result)? {
            return Ok(Merged::Known);
        }
        let versions: i64 = self
            .connection
            .prepare_cached("SELECT count(*) FROM actions WHERE action = ?1")?
            .query_row([&result.action], |row| row.get(0))?;
        if versions >= KEPT {
            if !self.is_latest {
                return Ok(Merged::LeftOut);
            }
            actions::prune(self.connection, &result.action, KEPT - 1)?;
        }
        self.insert(result)?;
        Ok(Merged::Added)
    }

    /// Returns whether the store has a result of the same key and the same inputs. One whose outputs are lost is removed.
    fn is_known(&self, result: &StoredResult) -> StoreResult<bool> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, outputs FROM actions WHERE key = ?1")?;
        let mut rows = statement.query([result.key.to_string()])?;
        let mut lost = Vec::new();
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let mut discovered = actions::discovered(self.connection, id)?;
            discovered.sort();
            if discovered != result.discovered {
                continue;
            }
            let outputs: Vec<(String, Digest, u64)> =
                from_json(row.get_ref(1)?.as_str().unwrap_or_default())?;
            let digests: Vec<Digest> = outputs.into_iter().map(|(_, digest, _)| digest).collect();
            if !result.has_blobs() || self.has_all(&digests)? {
                return Ok(true);
            }
            lost.push(id);
        }
        for id in lost {
            self.connection
                .execute("DELETE FROM actions WHERE id = ?1", [id])?;
        }
        Ok(false)
    }

    fn has_all(&self, digests: &[Digest]) -> StoreResult<bool> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT 1 FROM blobs WHERE digest = ?1")?;
        for digest in digests {
            let is_file = blobs::file_of(self.blobs, digest).is_file();
            if !is_file && !statement.exists([digest.to_string()])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn insert(&self, result: &StoredResult) -> StoreResult<()> {
        let status = match result.failed {
            true => ResultStatus::Failed,
            false => ResultStatus::Ok,
        };
        actions::insert(
            self.connection,
            &result.action,
            result.kind,
            &result.key,
            &CachedResult {
                discovered: Vec::new(),
                status,
                outputs: result.outputs.clone(),
                diagnostics: result.diagnostics.clone(),
                duration_ms: result.duration_ms,
                origin: result.origin.clone(),
            },
            &result.discovered,
        )
    }

    fn latest(&self, latest: &StoredLatest) -> StoreResult<()> {
        // It is not known when the run ended.
        self.connection
            .prepare_cached(
                "INSERT OR IGNORE INTO latest (action, key, parts, discovered, finished_ms, duration_ms, planned_ms)
                 VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6)",
            )?
            .execute(params![
                latest.action,
                latest.key.to_string(),
                to_json(&latest.parts)?,
                to_json(&latest.discovered)?,
                latest.duration_ms.cast_signed(),
                self.now
            ])?;
        Ok(())
    }
}

/// What became of a result.
enum Merged {
    Added,
    Known,
    LeftOut,
}
