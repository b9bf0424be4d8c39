//! The records of all outputs that clm wrote, so that it never removes or trusts a foreign file.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::digest::Digest;

use super::files::{FileRecord, stamp};
use super::{Result, Store, digest};

/// An output that clm wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputRecord {
    /// Its digest and stamp; the stamp is [`Stamp::NONE`](crate::digest::Stamp::NONE) while it is being written.
    pub file: FileRecord,
    /// The specification and output root it belongs to.
    pub scope: Arc<str>,
    /// The digest of clm's previous output at this path: it may still be in place until the new bytes are known to be.
    /// Boxed, since there are very many records and few have one.
    pub before: Option<Box<Digest>>,
    /// Whether these bytes were found in place, and nothing proves that clm wrote them.
    pub is_adopted: bool,
}

impl OutputRecord {
    /// Returns whether clm wrote bytes with this digest there; `None` if the record does not say.
    pub fn wrote(&self, digest: Digest) -> Option<bool> {
        if self.file.digest == digest {
            return Some(!self.is_adopted);
        }
        (self.before.as_deref() == Some(&digest)).then_some(true)
    }
}

/// An output to be recorded: its path, its record, and the action that made it, which is stored in the database only.
pub(crate) type Written = (Arc<str>, OutputRecord, Arc<str>);

impl Store {
    /// Returns all outputs by path. `name` returns the shared copy of a path's text.
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
            // Sized in advance: one allocation, which is freed as a whole.
            let mut outputs = HashMap::with_capacity(usize::try_from(count).unwrap_or(0));
            let mut scopes = Scopes::default();
            while let Some(row) = rows.next()? {
                let path = row.get_ref(0)?.as_str().unwrap_or_default();
                outputs.insert(name(path), record(row, &mut scopes)?);
            }
            Ok(outputs)
        })
    }

    /// Returns the record of one output.
    pub fn output(&self, path: &str) -> Result<Option<OutputRecord>> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM outputs WHERE path = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([path])?;
            let found = rows.next()?.map(|row| record(row, &mut Scopes::default()));
            found.transpose()
        })
    }

    /// Returns the actions that made these outputs, in order, as far as that is recorded.
    pub fn makers(&self, paths: &[Arc<str>]) -> Result<Vec<Option<String>>> {
        self.read(|connection| {
            let sql = "SELECT action FROM outputs WHERE path = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let makers = paths.iter().map(|path| {
                let maker = statement.query_row([&**path], |row| row.get(0));
                maker.optional()
            });
            Ok(makers.collect::<std::result::Result<_, _>>()?)
        })
    }

    /// Records outputs.
    pub fn record_outputs(&self, outputs: Vec<Written>) -> Result<()> {
        self.write(move |connection| insert(connection, &outputs))
    }

    /// Records outputs without waiting, but before any later write.
    pub fn record_outputs_later(&self, outputs: Vec<Written>) {
        self.write_later(move |connection| insert(connection, &outputs));
    }

    /// Records new stamps of outputs with unchanged bytes, without waiting.
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

    /// Removes the records of outputs that were deleted or are no longer clm's.
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

/// The columns that [`record`] reads.
const COLUMNS: &str =
    "path, digest, recorded_ns, scope, size, mtime_ns, ctime_ns, inode, device, before, adopted";

/// Interns scopes: there are few scopes and very many outputs.
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
