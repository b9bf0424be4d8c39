//! A shared cache in a directory, such as one of a file server.

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use crate::files::{self, Access};

use super::{Failure, Name, Transport, within};

/// A cache in a directory.
pub(super) struct Dir(PathBuf);

impl Dir {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.0.join(name.path())
    }

    fn failure(&self, error: &std::io::Error) -> Failure {
        let text = format!("`{}`: {error}", self.0.display());
        match error.kind() {
            ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem => Failure::Full(text),
            _ => Failure::Unreachable(text),
        }
    }
}

impl Transport for Dir {
    fn get(&self, name: &Name, limit: u64, _wait: Duration) -> Result<Option<Vec<u8>>, Failure> {
        let file = match files::open(&self.path(name)) {
            Ok(file) => file,
            // A directory that is not there at all is a mistake, or a disk that is not mounted.
            Err(error) if error.kind() == ErrorKind::NotFound && self.0.is_dir() => {
                return Ok(None);
            }
            Err(error) => return Err(self.failure(&error)),
        };
        let mut bytes = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| self.failure(&error))?;
        within(limit, bytes).map(Some)
    }

    fn has(&self, name: &Name, _wait: Duration) -> Result<bool, Failure> {
        Ok(self.path(name).is_file())
    }

    fn put(&self, name: &Name, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.path(name);
        let parent = path.parent().unwrap_or(&self.0);
        // The directory itself is not made: a disk that is not mounted must not be filled below its mount point.
        match std::fs::create_dir(parent) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(self.failure(&error));
            }
            _ => {}
        }
        files::replace(&path, Access::Shared, |file| file.write_all(bytes))
            .map_err(|error| self.failure(&error))
    }
}
