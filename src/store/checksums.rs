//! SHA-256 checksums of contents, for data that leaves this machine. Everything internal uses clm's own digests.

use std::collections::HashMap;

use crate::digest::Digest;

use super::{Result, Store, digest};

impl Store {
    /// Returns the known SHA-256 checksums (in hexadecimal digits) by the digest of the content.
    pub fn checksums(&self) -> Result<HashMap<Digest, String>> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT digest, sha256 FROM checksums")?;
            let mut rows = statement.query([])?;
            let mut known = HashMap::new();
            while let Some(row) = rows.next()? {
                let key = digest(row.get_ref(0)?.as_str().unwrap_or_default())?;
                known.insert(key, row.get(1)?);
            }
            Ok(known)
        })
    }

    /// Adds new checksums, and removes those of contents that no longer exist.
    pub fn change_checksums(&self, new: Vec<(Digest, String)>, gone: Vec<Digest>) -> Result<()> {
        if new.is_empty() && gone.is_empty() {
            return Ok(());
        }
        self.write(move |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT OR REPLACE INTO checksums (digest, sha256) VALUES (?1, ?2)",
            )?;
            for (digest, sha256) in new {
                statement.execute([digest.to_string(), sha256])?;
            }
            let mut statement =
                connection.prepare_cached("DELETE FROM checksums WHERE digest = ?1")?;
            for digest in gone {
                statement.execute([digest.to_string()])?;
            }
            Ok(())
        })
    }
}
