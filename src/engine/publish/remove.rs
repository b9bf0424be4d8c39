//! Removes outputs that no action makes any more, if they are still as clm wrote them.

use std::collections::HashSet;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::error::{Dir, Error, Result};
use crate::events::Event;
use crate::store::OutputRecord;

use super::Publisher;
use super::there::{What, metadata};

impl Publisher {
    /// Returns the outputs of this scope that are in their places and not `wanted`.
    pub(crate) fn superfluous(&mut self, wanted: &HashSet<Arc<str>>) -> Result<Vec<Arc<str>>> {
        self.load_all()?;
        let outputs = self.outputs().map(|(path, _)| path);
        let mut paths: Vec<Arc<str>> = outputs
            .filter(|path| !wanted.contains(&**path) && self.file(path).exists())
            .cloned()
            .collect();
        paths.sort_unstable();
        Ok(paths)
    }

    /// Returns the actions that made outputs, in order, as far as that is recorded.
    pub(crate) fn makers(&self, paths: &[Arc<str>]) -> Result<Vec<Option<String>>> {
        Ok(self.store.makers(paths)?)
    }

    /// Removes outputs of this scope that are not `wanted`, if they are still as clm wrote them.
    ///
    /// Returns how many were removed, and a warning for each one that stays.
    pub(crate) fn remove_others(
        &mut self,
        wanted: &HashSet<Arc<str>>,
    ) -> Result<(u64, Vec<Diagnostic>)> {
        self.load_all()?;
        let gone: Vec<(Arc<str>, OutputRecord)> = self
            .outputs()
            .filter(|(path, _)| !wanted.contains(&**path))
            .map(|(path, record)| (Arc::clone(path), record.clone()))
            .collect();
        let mut removed = 0;
        let mut warnings = Vec::new();
        let mut forgotten = Vec::with_capacity(gone.len());
        for (path, record) in gone {
            match self.remove_one(&path, &record) {
                Ok(Removed::Gone) => removed += 1,
                Ok(Removed::Nothing) => {}
                Ok(Removed::Stays(reason)) => warnings.push(
                    Diagnostic::warning(format!(
                        "the source of this output is gone, but {reason}: it was not removed"
                    ))
                    .at(&*path, None)
                    .hint("remove it yourself if you do not need it"),
                ),
                Err(error) => {
                    // The next run tries again.
                    warnings.extend(error.diagnostics);
                    continue;
                }
            }
            self.ledger.remove(&path);
            self.among_sources.remove(&*path);
            forgotten.push(path);
        }
        self.store.forget_outputs(forgotten)?;
        Ok((removed, warnings))
    }

    fn remove_one(&self, path: &Arc<str>, record: &OutputRecord) -> Result<Removed> {
        let file = self.file(path);
        let io = |error: std::io::Error| Error::io_in(Dir::Output, "look at", &file, &error);
        let is_file = metadata(&file).map_err(io)?.is_some_and(|at| at.is_file());
        let there = self.look(path)?;
        let What::File { digest, is_ours } = there.what else {
            if is_file {
                // It stays in the ledger: the next run may be able to read it.
                return Err(Error::internal(format!(
                    "the source of the output `{}` is gone, but the output cannot be read: it was not removed",
                    file.display()
                ))
                .hint("build again; or remove it yourself"));
            }
            let is_nothing = matches!(there.what, What::Nothing | What::Directory);
            return Ok(match is_nothing {
                true => Removed::Nothing,
                false => Removed::Stays("something else is in its place"),
            });
        };
        if !self.is_inside(&file).map_err(io)? {
            return Ok(Removed::Stays("a link leads out of the output directory"));
        }
        let is_adopted = record.is_adopted && digest == record.file.digest;
        if is_ours {
            std::fs::remove_file(&file)
                .map_err(|error| Error::io_in(Dir::Output, "remove", &file, &error))?;
        } else if is_adopted && !self.keeps_foreign {
            self.set_aside(&file)?;
        } else if is_adopted {
            return Ok(Removed::Stays("clm did not make it"));
        } else {
            return Ok(Removed::Stays("it was changed since clm wrote it"));
        }
        self.remove_empty_dirs(&file);
        self.events.emit(Event::Output {
            path: path.to_string(),
            digest: None,
        });
        Ok(Removed::Gone)
    }
}

enum Removed {
    Gone,
    Nothing,
    Stays(&'static str),
}
