//! What the renderers of this store's results were: a machine without them looks for results under the same keys.

use std::collections::BTreeMap;

use super::{Result, Store};

/// Fingerprints by renderer: `html`, `plantuml`, `drawio`, or `kernel NAME`.
pub(crate) type Identities = BTreeMap<String, String>;

impl Store {
    /// Returns the last known fingerprint of every renderer.
    pub fn identities(&self) -> Result<Identities> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT renderer, fingerprint FROM identities")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, rusqlite::Error>>()?)
        })
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
