//! The action cache: the results of action keys, and the inputs of the latest run of every action.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::events::ActionKind;

use super::{Result, Store, digest, from_json, now_ms, to_json};

/// How many results of one action are kept, so that undoing an edit finds the earlier result.
pub(super) const KEPT: i64 = 16;

/// How a recorded run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultStatus {
    /// It produced outputs.
    Ok,
    /// It reported an error in the author's content.
    Failed,
}

impl ResultStatus {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
        }
    }
}

/// The result of a run of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedResult {
    /// Files it read besides its declared inputs; the digest is `None` for files it looked for and did not find.
    pub discovered: Vec<(String, Option<Digest>)>,
    /// How it ended.
    pub status: ResultStatus,
    /// Name, digest and size of each result.
    pub outputs: Vec<(String, Digest, u64)>,
    /// What it reported.
    pub diagnostics: Vec<Diagnostic>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Where it was made; `None` if here.
    pub origin: Option<Origin>,
}

/// The machine and the run that made a result which came from elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The label of the machine.
    pub machine: String,
    /// When it was made, in milliseconds since 1970; 0 if unknown.
    #[serde(default)]
    pub made_ms: i64,
    /// The run that made it, such as the address of a pipeline's job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// The inputs of the latest run of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    /// The key; [`Store::latest_parts`] returns its components.
    pub key: Digest,
    /// Files it read besides its declared inputs.
    pub discovered: Vec<(String, Option<Digest>)>,
    /// The end of the run, in milliseconds since 1970.
    pub finished_ms: i64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// The components of a key: name and value of each.
pub(crate) type Parts = Vec<(String, String)>;

impl Store {
    /// Returns the results known for a key, newest first; they differ in what was discovered.
    pub fn cached(&self, key: &Digest) -> Result<Vec<CachedResult>> {
        let key = key.to_string();
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, status, outputs, diagnostics, duration_ms, origin FROM actions WHERE key = ?1 ORDER BY id DESC",
            )?;
            let mut rows = statement.query([key])?;
            let mut results = Vec::new();
            while let Some(row) = rows.next()? {
                let status: String = row.get(1)?;
                let origin: Option<String> = row.get(5)?;
                results.push(CachedResult {
                    discovered: discovered(connection, row.get(0)?)?,
                    status: if status == "ok" { ResultStatus::Ok } else { ResultStatus::Failed },
                    outputs: from_json(row.get_ref(2)?.as_str().unwrap_or_default())?,
                    diagnostics: from_json(row.get_ref(3)?.as_str().unwrap_or_default())?,
                    duration_ms: row.get::<_, i64>(4)? as u64,
                    origin: origin.map(|text| from_json(&text)).transpose()?,
                });
            }
            Ok(results)
        })
    }

    /// Records a result and waits for the commit.
    pub fn record_result(
        &self,
        action: &str,
        kind: ActionKind,
        key: &Digest,
        result: &CachedResult,
    ) -> Result<()> {
        let (action, key, result) = (action.to_owned(), *key, result.clone());
        self.write(move |connection| record(connection, &action, kind, &key, &result))
    }

    /// Records a result without waiting; it replaces one of the same key with the same discovered files. For results
    /// made so quickly that losing them costs less than waiting.
    pub fn record_result_later(
        &self,
        action: &str,
        kind: ActionKind,
        key: &Digest,
        result: &CachedResult,
    ) {
        let (action, key, result) = (action.to_owned(), *key, result.clone());
        self.write_later(move |connection| record(connection, &action, kind, &key, &result));
    }

    /// Returns the latest run of every action.
    pub fn latest(&self) -> Result<HashMap<Arc<str>, Latest>> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM latest");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([])?;
            let mut latest = HashMap::new();
            while let Some(row) = rows.next()? {
                let action = row.get_ref(0)?.as_str().unwrap_or_default();
                latest.insert(action.into(), entry(row)?);
            }
            Ok(latest)
        })
    }

    /// Returns the latest run of one action; `None` if it never ran.
    pub fn latest_of(&self, action: &str) -> Result<Option<Latest>> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM latest WHERE action = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([action])?;
            rows.next()?.map(entry).transpose()
        })
    }

    /// Returns the components of the key of an action's latest run; empty if it never ran.
    pub fn latest_parts(&self, action: &str) -> Result<Vec<(String, String)>> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT parts FROM latest WHERE action = ?1")?;
            let text: Option<String> =
                statement.query_row([action], |row| row.get(0)).optional()?;
            text.map_or(Ok(Vec::new()), |text| from_json(&text))
        })
    }

    /// Records the latest runs of actions, with the components of their keys, and waits for the commit.
    pub fn set_latest(&self, entries: Vec<(String, Latest, Parts)>) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        self.write(move |connection| write_latest(connection, entries))
    }

    /// Like [`Store::set_latest`], without waiting; the order of all writes is preserved.
    pub fn set_latest_later(&self, entries: Vec<(String, Latest, Parts)>) {
        self.write_later(move |connection| write_latest(connection, entries));
    }
}

/// The columns that [`entry`] reads.
const COLUMNS: &str = "action, key, discovered, finished_ms, duration_ms";

fn entry(row: &Row<'_>) -> Result<Latest> {
    Ok(Latest {
        key: digest(row.get_ref(1)?.as_str().unwrap_or_default())?,
        discovered: from_json(row.get_ref(2)?.as_str().unwrap_or_default())?,
        finished_ms: row.get(3)?,
        duration_ms: row.get::<_, i64>(4)? as u64,
    })
}

fn write_latest(connection: &Connection, entries: Vec<(String, Latest, Parts)>) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO latest (action, key, parts, discovered, finished_ms, duration_ms, planned_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (action, latest, parts) in entries {
        statement.execute(params![
            action,
            latest.key.to_string(),
            to_json(&parts)?,
            to_json(&latest.discovered)?,
            latest.finished_ms,
            latest.duration_ms as i64,
            now_ms()
        ])?;
    }
    Ok(())
}

/// Returns the files that a result was found to depend on.
pub(super) fn discovered(
    connection: &Connection,
    result: i64,
) -> Result<Vec<(String, Option<Digest>)>> {
    let mut statement =
        connection.prepare_cached("SELECT path, digest FROM discovered WHERE result = ?1")?;
    let mut rows = statement.query([result])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let text: Option<String> = row.get(1)?;
        let seen = text.map(|text| digest(&text)).transpose()?;
        found.push((row.get(0)?, seen));
    }
    Ok(found)
}

/// Writes a result within the caller's transaction.
pub(super) fn record(
    connection: &Connection,
    action: &str,
    kind: ActionKind,
    key: &Digest,
    result: &CachedResult,
) -> Result<()> {
    let mut statement = connection.prepare_cached("SELECT id FROM actions WHERE key = ?1")?;
    let known: Vec<i64> = statement
        .query_map([key.to_string()], |row| row.get(0))?
        .collect::<Result<_, rusqlite::Error>>()?;
    let mut wanted = result.discovered.clone();
    wanted.sort();
    wanted.dedup_by(|a, b| a.0 == b.0);
    for id in known {
        let mut other = discovered(connection, id)?;
        other.sort();
        if other == wanted {
            connection.execute("DELETE FROM actions WHERE id = ?1", [id])?;
        }
    }
    insert(connection, action, kind, key, result, &wanted)?;
    prune(connection, action, KEPT)
}

/// Adds a result with its discovered files, which are all different. The same one must not be there.
pub(super) fn insert(
    connection: &Connection,
    action: &str,
    kind: ActionKind,
    key: &Digest,
    result: &CachedResult,
    discovered: &[(String, Option<Digest>)],
) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO actions (key, action, kind, status, outputs, diagnostics, duration_ms, used_ms, origin)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            key.to_string(),
            action,
            kind.name(),
            result.status.name(),
            to_json(&result.outputs)?,
            to_json(&result.diagnostics)?,
            result.duration_ms as i64,
            now_ms(),
            result.origin.as_ref().map(to_json).transpose()?
        ])?;
    let id = connection.last_insert_rowid();
    let mut insert = connection
        .prepare_cached("INSERT INTO discovered (result, path, digest) VALUES (?1, ?2, ?3)")?;
    for (path, seen) in discovered {
        insert.execute(params![id, path, seen.as_ref().map(Digest::to_string)])?;
    }
    Ok(())
}

/// Removes all but the newest results of an action.
pub(super) fn prune(connection: &Connection, action: &str, kept: i64) -> Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM actions WHERE action = ?1 AND id NOT IN
                 (SELECT id FROM actions WHERE action = ?1 ORDER BY id DESC LIMIT ?2)",
        )?
        .execute(params![action, kept])?;
    Ok(())
}
