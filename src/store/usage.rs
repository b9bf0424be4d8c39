//! What the store contains: sizes, and whether everything is as it was stored.

use std::collections::{BTreeMap, HashSet};

use super::garbage::{is_stored, read_runs};
use super::{Result, Store, from_json, now_ms};

/// The contents of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// The number of results.
    pub results: u64,
    /// Their total size in bytes.
    pub bytes: u64,
    /// Bytes of results that current plans use.
    pub current_bytes: u64,
    /// The number of recorded runs of actions.
    pub runs: u64,
    /// Bytes of the database with its log; includes the small results.
    pub database_bytes: u64,
}

/// What the store has of one kind of action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct KindUsage {
    /// The number of recorded runs.
    pub results: u64,
    /// The total size of their results in bytes.
    pub bytes: u64,
}

/// The outcome of reading all results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// The number of results that were read.
    pub results: u64,
    /// The number of damaged results; they are removed.
    pub damaged: u64,
    /// The number of recorded results that do not exist; they are made again when needed.
    pub missing: u64,
}

impl Store {
    /// Returns the size of the store's contents.
    pub fn usage(&self) -> Result<Usage> {
        let sizes = self.sizes()?;
        let runs = self.read(|connection| read_runs(connection, now_ms()))?;
        let current: HashSet<&String> = runs
            .iter()
            .filter(|run| run.is_current)
            .flat_map(|run| &run.digests)
            .collect();
        let database = ["clm.db", "clm.db-wal"].map(|name| self.0.database.with_file_name(name));
        Ok(Usage {
            results: sizes.len() as u64,
            bytes: sizes.values().sum(),
            current_bytes: current.iter().filter_map(|digest| sizes.get(*digest)).sum(),
            runs: runs.len() as u64,
            database_bytes: database
                .iter()
                .filter_map(|file| Some(std::fs::metadata(file).ok()?.len()))
                .sum(),
        })
    }

    /// Returns the number and the size of the results of every kind of action, by its name. Bytes that two kinds share
    /// count for both.
    pub fn usage_by_kind(&self) -> Result<BTreeMap<String, KindUsage>> {
        let sizes = self.sizes()?;
        let mut kinds: BTreeMap<String, (u64, HashSet<String>)> = BTreeMap::new();
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT kind, outputs FROM actions")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let kind: String = row.get(0)?;
                if !is_stored(&kind) {
                    continue;
                }
                let outputs: Vec<(String, String, u64)> =
                    from_json(row.get_ref(1)?.as_str().unwrap_or_default())?;
                let (count, digests) = kinds.entry(kind).or_default();
                *count += 1;
                digests.extend(outputs.into_iter().map(|(_, digest, _)| digest));
            }
            Ok(())
        })?;
        let usage = |(kind, (results, digests)): (String, (u64, HashSet<String>))| {
            let bytes = digests.iter().filter_map(|digest| sizes.get(digest)).sum();
            (kind, KindUsage { results, bytes })
        };
        Ok(kinds.into_iter().map(usage).collect())
    }

    /// Reads and verifies every result, and removes damaged ones.
    pub fn verify(&self) -> Result<Verified> {
        let sizes = self.sizes()?;
        let mut verified = Verified::default();
        for digest in sizes.keys().filter_map(|digest| digest.parse().ok()) {
            verified.results += 1;
            if self.read_blob(&digest)?.is_none() {
                verified.damaged += 1;
            }
        }
        let runs = self.read(|connection| read_runs(connection, now_ms()))?;
        let digests: HashSet<&String> = runs.iter().flat_map(|run| &run.digests).collect();
        let missing = digests
            .iter()
            .filter(|digest| !sizes.contains_key(**digest));
        verified.missing = missing.count() as u64;
        Ok(verified)
    }
}
