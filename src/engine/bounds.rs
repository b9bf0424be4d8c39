//! Bounds the state directory: runs collections after some builds, and while a daemon is idle.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::{CacheSettings, MAX_AGE, MAX_SIZE};
use crate::files;
use crate::store::{Limits, Store};

use super::Engine;
use super::state::EngineState;

/// The age at which state files of a course (its checkpoint) are removed if it was not built.
const UNUSED: Duration = MAX_AGE;
/// Prefixes of the files that are removed then: without them the next build takes longer.
const REMOVABLE: &[&str] = &[
    "checkpoint-",
    "listed-",
    "manifests-git-",
    files::UNFINISHED,
    // Of earlier versions.
    ".kept-",
    "left-",
    "seal-",
];

/// Returns the limits of the store, from the settings. The default size is at most a tenth of the disk.
pub(crate) fn limits(settings: &CacheSettings, state_dir: &Path) -> Limits {
    let tenth = || {
        let disk = nix::sys::statvfs::statvfs(state_dir).ok()?;
        #[allow(clippy::unnecessary_cast)] // their width differs between platforms
        let size = (disk.blocks() as u64).checked_mul(disk.fragment_size() as u64)?;
        (size > 0).then_some(size / 10)
    };
    let max_size = settings.max_size;
    let max_age = settings.max_age.unwrap_or(MAX_AGE);
    Limits {
        max_size: max_size.unwrap_or_else(|| MAX_SIZE.min(tenth().unwrap_or(MAX_SIZE))),
        max_age_ms: i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX),
    }
}

/// A garbage collection that can run beside other work.
pub(super) struct Collection {
    store: Store,
    limits: Limits,
    planned: Vec<Arc<str>>,
    state_dir: std::path::PathBuf,
}

impl Engine {
    /// Returns a collection, if enough was done since the last one that it is due.
    pub(super) fn due_collection(&self, state: &EngineState) -> Option<Collection> {
        let is_due = self.store.is_collection_due();
        if !is_due.unwrap_or(false) {
            return None;
        }
        let state_dir = self.course.place.state_dir();
        let entries = state.up_to_date.entries();
        Some(Collection {
            store: self.store.clone(),
            limits: limits(&self.course.settings.cache, &state_dir),
            planned: entries.map(|(action, ..)| action.into()).collect(),
            state_dir,
        })
    }
}

impl Collection {
    /// Collects. If it fails, the next collection does the work.
    pub(super) fn run(self) {
        let noted = self.store.note_planned(self.planned, &self.limits);
        let collected = noted.and_then(|()| self.store.collect(&self.limits));
        match collected {
            Ok(collected) => tracing::debug!(?collected, "the cache is bounded"),
            Err(error) => tracing::warn!(%error, "the cache is not bounded"),
        }
        remove_unused(&self.state_dir, UNUSED);
    }
}

/// Removes state files of courses that were not built for a long time: under another specification or output root.
fn remove_unused(state_dir: &Path, unused: Duration) {
    let Ok(entries) = std::fs::read_dir(state_dir) else {
        return;
    };
    let now = SystemTime::now();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_removable = REMOVABLE.iter().any(|prefix| name.starts_with(prefix));
        let is_old = || {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified
                .ok()
                .and_then(|modified| now.duration_since(modified).ok());
            age.is_some_and(|age| age > unused)
        };
        if is_removable && is_old() {
            // Another process may have removed it already.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_courses_kept_goes_when_they_are_not_built() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["checkpoint-a", "listed-a", "listed-b", ".clm-x", "clm.db"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        remove_unused(dir.path(), Duration::from_secs(3600));
        assert!(dir.path().join("checkpoint-a").exists());
        let old = SystemTime::now() - Duration::from_secs(7200);
        for name in ["checkpoint-a", "listed-a", ".clm-x", "clm.db"] {
            let file = dir.path().join(name);
            let file = std::fs::File::options().append(true).open(file).unwrap();
            file.set_modified(old).unwrap();
        }
        remove_unused(dir.path(), Duration::from_secs(3600));
        let there = |name: &str| dir.path().join(name).exists();
        assert!(!there("checkpoint-a") && !there("listed-a") && !there(".clm-x"));
        assert!(there("listed-b") && there("clm.db"));
    }

    #[test]
    fn limits_are_those_of_the_settings_or_fit_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let default = limits(&CacheSettings::default(), dir.path());
        assert!(default.max_size > 0 && default.max_size <= MAX_SIZE);
        assert_eq!(default.max_age_ms, 30 * 86_400_000);
        let settings = CacheSettings {
            max_size: Some(5),
            max_age: Some(Duration::from_secs(1)),
            ..CacheSettings::default()
        };
        let set = limits(&settings, dir.path());
        assert_eq!((set.max_size, set.max_age_ms), (5, 1000));
    }
}
