//! Files that exist but cannot be read. They must not be treated like files that do not exist.

use std::collections::HashMap;
use std::io;

use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::error::{Dir, io_hint};
use crate::files;

/// The errors about files and directories that could not be read.
#[derive(Default)]
pub(super) struct Failures {
    /// Errors about directories: each is reported once, instead of an error for every file below.
    dirs: Vec<Diagnostic>,
    files: HashMap<RelPath, Diagnostic>,
}

impl Failures {
    /// Removes all errors, since everything is tried again. `dirs` are the errors about directories.
    pub(super) fn begin(&mut self, dirs: Vec<Diagnostic>) {
        self.dirs = dirs;
        self.files.clear();
    }

    pub(super) fn note(&mut self, path: &RelPath, error: &io::Error) {
        let is_above = |dir: &&Diagnostic| {
            let dir = dir.file.as_ref().and_then(|dir| RelPath::new(dir).ok());
            dir.is_some_and(|dir| path.starts_with(&dir))
        };
        let error = match self.dirs.iter().find(is_above) {
            Some(dir) => dir.clone(),
            None => {
                let mut found = Diagnostic::error(format!("the file cannot be read: {error}"))
                    .at(path.as_str(), None);
                found.hint = io_hint(Dir::Other, "read", error);
                found
            }
        };
        self.files.insert(path.clone(), error);
    }

    pub(super) fn of(&self, path: &RelPath) -> Option<Diagnostic> {
        self.files.get(path).cloned()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&RelPath, &Diagnostic)> {
        self.files.iter()
    }
}

/// Returns whether an error means that the file exists. What clm itself refuses to read (a pipe, a path out of the
/// course) is not an input.
pub(super) fn is_failure(error: &io::Error) -> bool {
    error.raw_os_error().is_some() && !files::is_gone(error)
}
