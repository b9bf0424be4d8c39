//! What is known of imports, kept between processes: the first edit of a day finds its modules imported.
//!
//! It only makes things faster: a record that cannot be read or written is none.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::files::{self, Access};
use crate::parallel::lock;

use super::learning::Learning;

/// A file with what is known, by the names of kernelspecs.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    /// Held while the file is changed.
    entries: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    /// Interpreter and installed distributions: others have other imports.
    fingerprint: String,
    learning: Learning,
}

impl Record {
    /// Reads the file, if it is there.
    pub(super) fn new(path: PathBuf) -> Self {
        let text = std::fs::read(&path).unwrap_or_default();
        Self {
            path,
            entries: Mutex::new(serde_json::from_slice(&text).unwrap_or_default()),
        }
    }

    /// What is known for a kernelspec.
    pub(super) fn read(&self, name: &str, fingerprint: &str) -> Option<Learning> {
        let entries = lock(&self.entries);
        let entry = entries.get(name)?;
        (entry.fingerprint == fingerprint).then(|| entry.learning.clone())
    }

    /// Replaces what is known for a kernelspec. Another process may do the same at the same time: the last one counts.
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
        // There is no such directory: nothing is recorded, and nothing fails.
        Record::new(dir.path().join("gone/x")).write("python3", "", Learning::default());
    }
}
