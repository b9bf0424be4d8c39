//! What the renderers of this store's results were: a machine without them looks for results under the same keys.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{Result, Store, place};

/// Fingerprints by the name of the renderer.
pub(crate) type Identities = BTreeMap<String, String>;

impl Store {
    /// Returns the last known fingerprint of every renderer.
    pub fn identities(&self) -> Result<Identities> {
        self.read(identities)
    }

    /// Records the fingerprints of renderers, and waits for the commit. Those of other renderers stay.
    pub fn set_identities(&self, identities: Identities) -> Result<()> {
        self.write(move |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT OR REPLACE INTO identities (renderer, fingerprint) VALUES (?1, ?2)",
            )?;
            for (renderer, fingerprint) in identities {
                statement.execute([renderer, fingerprint])?;
            }
            Ok(())
        })
    }
}

/// Returns the last known fingerprint of every renderer, from the database of a state directory that no store of this
/// process has open; none if that cannot be read.
pub(crate) fn recorded_identities(dir: &Path) -> Identities {
    let read = || -> Result<Identities> {
        let database = place::place_of_database(dir, &mut Vec::new())?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        identities(&Connection::open_with_flags(database, flags)?)
    };
    read().unwrap_or_default()
}

fn identities(connection: &Connection) -> Result<Identities> {
    let mut statement =
        connection.prepare_cached("SELECT renderer, fingerprint FROM identities")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, rusqlite::Error>>()?)
}
