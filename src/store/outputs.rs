//! The ledger: every output that we wrote, so that we never remove or trust a file of somebody else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use crate::digest::Digest;

use super::files::{FileRecord, stamp};
use super::{Result, Store, digest};

/// An output that we wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputRecord {
    /// Its bytes, and its stamp in its place: [`Stamp::NONE`](crate::digest::Stamp::NONE) while it is being written.
    pub file: FileRecord,
    /// The specification and output root it belongs to.
    pub scope: Arc<str>,
    /// The digest of what we wrote there before: it may still be there until the new bytes are known to be in place. In a
    /// box, since there are very many records and hardly any has one.
    pub before: Option<Box<Digest>>,
    /// Whether these bytes were found there, and nothing proves that we wrote them.
    pub is_adopted: bool,
}

impl OutputRecord {
    /// Whether we wrote bytes with this digest there; none when the record says nothing about them.
    pub fn wrote(&self, digest: Digest) -> Option<bool> {
        if self.file.digest == digest {
            return Some(!self.is_adopted);
        }
        (self.before.as_deref() == Some(&digest)).then_some(true)
    }
}

/// An output to be recorded: its path, what is known of it, and the action that made it, which only the records keep.
pub type Written = (Arc<str>, OutputRecord, Arc<str>);

impl Store {
    /// All outputs by path. `name` gives the text of a path to be kept, which others may hold as well.
    pub fn outputs(
        &self,
        name: &mut dyn FnMut(&str) -> Arc<str>,
    ) -> Result<HashMap<Arc<str>, OutputRecord>> {
        self.read(|connection| {
            let count = "SELECT count(*) FROM outputs";
            let count: i64 = connection.query_row(count, [], |row| row.get(0))?;
            let sql = format!("SELECT {COLUMNS} FROM outputs");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([])?;
            // One allocation, which goes as a whole.
            let mut outputs = HashMap::with_capacity(usize::try_from(count).unwrap_or(0));
            let mut scopes = Scopes::default();
            while let Some(row) = rows.next()? {
                let path = row.get_ref(0)?.as_str().unwrap_or_default();
                outputs.insert(name(path), record(row, &mut scopes)?);
            }
            Ok(outputs)
        })
    }

    /// One output.
    pub fn output(&self, path: &str) -> Result<Option<OutputRecord>> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM outputs WHERE path = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([path])?;
            let found = rows.next()?.map(|row| record(row, &mut Scopes::default()));
            found.transpose()
        })
    }

    /// Records outputs.
    pub fn record_outputs(&self, outputs: Vec<Written>) -> Result<()> {
        self.write(move |connection| insert(connection, &outputs))
    }

    /// Records outputs some time soon, before anything that is written after this.
    pub fn record_outputs_later(&self, outputs: Vec<Written>) {
        self.write_later(move |connection| insert(connection, &outputs));
    }

    /// Records new stamps of outputs some time soon: their bytes are what they were.
    pub fn restamp_outputs_later(&self, outputs: Vec<(Arc<str>, OutputRecord)>) {
        self.write_later(move |connection| {
            let mut statement = connection.prepare_cached(
                "UPDATE outputs SET recorded_ns = ?3, size = ?4, mtime_ns = ?5, ctime_ns = ?6, inode = ?7, device = ?8
                 WHERE path = ?1 AND digest = ?2",
            )?;
            for (path, record) in outputs {
                let FileRecord {
                    stamp,
                    digest,
                    recorded_ns,
                } = record.file;
                statement.execute(params![
                    &*path,
                    digest.to_string(),
                    recorded_ns,
                    stamp.size as i64,
                    stamp.mtime_ns,
                    stamp.ctime_ns,
                    stamp.inode as i64,
                    stamp.device as i64
                ])?;
            }
            Ok(())
        });
    }

    /// Forgets outputs that are gone or no longer ours.
    pub fn forget_outputs(&self, paths: Vec<Arc<str>>) -> Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        self.write(move |connection| {
            let mut statement = connection.prepare_cached("DELETE FROM outputs WHERE path = ?1")?;
            for path in paths {
                statement.execute([&*path])?;
            }
            Ok(())
        })
    }
}

/// What a record is read from.
const COLUMNS: &str =
    "path, digest, recorded_ns, scope, size, mtime_ns, ctime_ns, inode, device, before, adopted";

/// A few scopes for very many outputs.
#[derive(Default)]
struct Scopes(HashSet<Arc<str>>);

impl Scopes {
    fn of(&mut self, scope: &str) -> Arc<str> {
        if let Some(known) = self.0.get(scope) {
            return Arc::clone(known);
        }
        let scope: Arc<str> = scope.into();
        self.0.insert(Arc::clone(&scope));
        scope
    }
}

fn record(row: &Row<'_>, scopes: &mut Scopes) -> Result<OutputRecord> {
    Ok(OutputRecord {
        file: FileRecord {
            digest: digest(row.get_ref(1)?.as_str().unwrap_or_default())?,
            stamp: stamp(row, 4)?,
            recorded_ns: row.get(2)?,
        },
        scope: scopes.of(row.get_ref(3)?.as_str().unwrap_or_default()),
        before: match row.get_ref(9)?.as_str_or_null().unwrap_or_default() {
            Some(before) => Some(Box::new(digest(before)?)),
            None => None,
        },
        is_adopted: row.get(10)?,
    })
}

fn insert(connection: &Connection, outputs: &[Written]) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO outputs
             (path, digest, recorded_ns, action, scope, size, mtime_ns, ctime_ns, inode, device, before, adopted)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    for (path, record, action) in outputs {
        let FileRecord {
            stamp,
            digest,
            recorded_ns,
        } = record.file;
        statement.execute(params![
            &**path,
            digest.to_string(),
            recorded_ns,
            &**action,
            &*record.scope,
            stamp.size as i64,
            stamp.mtime_ns,
            stamp.ctime_ns,
            stamp.inode as i64,
            stamp.device as i64,
            record.before.as_deref().map(ToString::to_string),
            record.is_adopted
        ])?;
    }
    Ok(())
}
