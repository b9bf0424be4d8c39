//! Moves prepared outputs to their places.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::clock::now_ns;
use crate::diagnostic::Diagnostic;
use crate::digest::Stamp;
use crate::error::{BUG_HINT, Dir, Error, Result};
use crate::events::Event;
use crate::files::{self, Access};
use crate::parallel;
use crate::store::{FileRecord, OutputRecord};

use super::there::What;
use super::{Publisher, Staged};

/// How often an output is put into its place when something else comes there at the same moment.
const ATTEMPTS: u32 = 5;

/// An output that could not be put in its place.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The action that makes it.
    pub action: Arc<str>,
    /// The reason.
    pub diagnostic: Diagnostic,
}

impl Failure {
    /// Converts an error about one output. An error that stops all outputs is returned.
    pub(super) fn of(action: &Arc<str>, error: Error) -> Result<Self> {
        if error.stops_all() {
            return Err(error);
        }
        let mut diagnostics = error.diagnostics.into_iter();
        let diagnostic = diagnostics
            .next()
            .unwrap_or_else(|| Diagnostic::error("the output cannot be written").hint(BUG_HINT));
        Ok(Self {
            action: Arc::clone(action),
            diagnostic,
        })
    }
}

impl Publisher {
    /// Moves prepared outputs to their places, with two writes to the ledger for all of them. Returns those that could
    /// not be placed.
    pub(crate) fn place(&mut self, staged: Vec<Staged>) -> Result<Vec<Failure>> {
        if staged.is_empty() {
            return Ok(Vec::new());
        }
        self.announce(&staged)?;
        let moved = parallel::each(&staged, |output| self.place_one(output));
        let mut placed = Vec::with_capacity(staged.len());
        let mut failures = Vec::new();
        let mut result = Ok(());
        for (output, record) in staged.into_iter().zip(moved) {
            match record {
                Ok(record) => {
                    self.events.emit(Event::Output {
                        path: output.destination.to_string(),
                        digest: Some(record.file.digest),
                    });
                    placed.push(output.written(record));
                }
                Err(error) => match Failure::of(&output.action, error) {
                    Ok(failure) => failures.push(failure),
                    Err(error) => result = result.and(Err(error)),
                },
            }
        }
        self.keep_all(&placed);
        // The write is not awaited: without the stamps the files are only read again.
        self.store.record_outputs_later(placed);
        result.map(|()| failures)
    }

    /// Records the outputs before they are moved: a file that clm wrote is never taken for one of others, even after
    /// kill -9. Until the new bytes are in place the record also contains the digest of the old ones.
    pub(super) fn announce(&mut self, staged: &[Staged]) -> Result<()> {
        let mut intents = Vec::new();
        for staged in staged {
            if !self.knows(staged)? {
                intents.push(staged.written(OutputRecord {
                    before: staged.there.ours().map(Box::new),
                    ..staged.record.clone()
                }));
            }
        }
        match intents.is_empty() {
            true => Ok(()),
            false => self.record(intents),
        }
    }

    /// Returns whether the ledger already contains what it must contain before this output is placed.
    fn knows(&self, staged: &Staged) -> Result<bool> {
        let known = self.recorded(&staged.destination)?;
        let before = staged.there.ours();
        Ok(known.is_some_and(|known| {
            known.file.digest == staged.record.file.digest
                && known.scope == staged.record.scope
                && !known.is_adopted
                && before.is_none_or(|before| known.wrote(before) == Some(true))
        }))
    }

    /// Moves one output to its place. Returns its new record.
    fn place_one(&self, output: &Staged) -> Result<OutputRecord> {
        let file = self.file(&output.destination);
        let mut there = match output.there.is_still(&file) {
            true => output.there,
            // It was changed meanwhile, for example by an editor.
            false => self.look(&output.destination)?,
        };
        // Read now, because no other process writes to the file while it is beside the tree.
        let stamp_of =
            |file: &Path| std::fs::symlink_metadata(file).map_or(Stamp::NONE, |at| Stamp::of(&at));
        let staged = stamp_of(&output.path);
        let mut attempts = 0..ATTEMPTS;
        let moved_ns = loop {
            if attempts.next().is_none() {
                let error = io::ErrorKind::AlreadyExists.into();
                return Err(Error::io_in(Dir::Output, "write", &file, &error));
            }
            if there.what == What::Directory {
                return Err(Error::usage(format!(
                    "there is a directory where the output `{}` belongs",
                    output.destination
                ))
                .hint("move it away and build again"));
            }
            if there.is_foreign() {
                self.set_aside_replaced(&file)?;
            }
            let moved_ns = now_ns();
            if move_into_place(&output.path, &file, there.what)? {
                break moved_ns;
            }
            // Something came at this moment.
            there = self.look(&output.destination)?;
        };
        let stamp = stamp_of(&file);
        Ok(OutputRecord {
            file: FileRecord {
                stamp,
                recorded_ns: staged.recorded_after_move(moved_ns, &stamp),
                ..output.record.file
            },
            ..output.record.clone()
        })
    }
}

/// Renames the staged file to its place; across file systems by a copy beside it. Returns false if nothing was to be
/// `there` and something is, which stays.
fn move_into_place(staged: &Path, file: &Path, there: What) -> Result<bool> {
    let renamed = match there {
        What::Nothing => files::rename_new(staged, file),
        _ => std::fs::rename(staged, file),
    };
    match renamed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let io = |error: io::Error| Error::io_in(Dir::Output, "write", file, &error);
            let copied = files::replace(file, Access::Private, |copy| {
                let mut source = files::open(staged)?;
                files::copy_content(&mut source, copy)?;
                let metadata = source.metadata()?;
                if let Ok(modified) = metadata.modified() {
                    // The time is only for people: an error is ignored.
                    let _ = copy.set_modified(modified);
                }
                copy.set_permissions(metadata.permissions())
            });
            copied.map_err(io)?;
            let _ = std::fs::remove_file(staged);
            Ok(true)
        }
        Err(error) => Err(Error::io_in(Dir::Output, "write", file, &error)),
    }
}
