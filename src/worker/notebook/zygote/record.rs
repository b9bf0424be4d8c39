//! The recorded imports of decks, stored for later processes, so that even the first edit of a session finds its
//! modules imported.
//!
//! The record only improves speed: if it cannot be read or written, there is none.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::files::{self, Access};
use crate::parallel::lock;

use super::learning::Learning;

/// A file with the records, by the names of kernelspecs.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    /// Locked while the file is changed.
    entries: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    /// The interpreter and installed distributions: the record is not valid for others.
    fingerprint: String,
    learning: Learning,
}

impl Record {
    /// Reads the file, if it exists.
    pub(super) fn new(path: PathBuf) -> Self {
        let text = std::fs::read(&path).unwrap_or_default();
        Self {
            path,
            entries: Mutex::new(serde_json::from_slice(&text).unwrap_or_default()),
        }
    }

    /// Returns the record of a kernelspec.
    pub(super) fn read(&self, name: &str, fingerprint: &str) -> Option<Learning> {
        let entries = lock(&self.entries);
        let entry = entries.get(name)?;
        (entry.fingerprint == fingerprint).then(|| entry.learning.clone())
    }

    /// Replaces the record of a kernelspec. If another process does the same concurrently, the last one takes effect.
    pub(super) fn write(&self, name: &str, fingerprint: &str, learning: Learning) {
        let mut entries = lock(&self.entries);
        let fingerprint = fingerprint.to_owned();
        entries.insert(
            name.to_owned(),
            Entry {
                fingerprint,
                learning,
            },
        );
        let written = files::replace(&self.path, Access::Private, |file| {
            Ok(serde_json::to_writer(file, &*entries)?)
        });
        if let Err(error) = written {
            tracing::debug!(%error, path = %self.path.display(), "what decks import is not recorded");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_is_known_to_the_next_process_in_the_same_environment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("imports.json");
        std::fs::write(&path, "{ torn").unwrap();
        let mut learning = Learning::default();
        learning.reject("b".to_owned());
        let record = Record::new(path.clone());
        assert_eq!(record.read("python3", "3.11"), None);
        record.write("python3", "3.11", learning.clone());
        let next = Record::new(path);
        assert_eq!(next.read("python3", "3.11"), Some(learning));
        assert_eq!(next.read("python3", "3.12"), None);
        assert_eq!(next.read("other", "3.11"), None);
        // The directory does not exist: nothing is recorded, and nothing fails.
        Record::new(dir.path().join("gone/x")).write("python3", "", Learning::default());
    }
}
