//! Writes outputs beside the output tree, on all processors.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::now_ns;
use crate::diagnostic::Diagnostic;
use crate::digest::{Digest, Stamp};
use crate::error::{self, Dir, Error, Result};
use crate::files;
use crate::parallel;
use crate::store::{FileRecord, OutputRecord, Written};

use super::there::{There, What};
use super::{Failure, Publisher};

/// The origin of the bytes of an output.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// A blob of the store.
    Blob,
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// A source file, copied with its modification time.
    File(PathBuf),
}

/// An output and its places.
pub(crate) struct Output<'a> {
    /// Paths relative to the course root, or absolute.
    pub destinations: &'a [Arc<str>],
    /// The digest of its bytes.
    pub digest: Digest,
    /// The origin of its bytes.
    pub content: &'a Content,
    /// The action that makes it.
    pub action: Arc<str>,
}

/// An output for one of its places: ready, or not to be written.
pub(crate) enum Prepared {
    /// It is to be moved to its place.
    Staged(Staged),
    /// The bytes are in place already; contains the new record.
    Unchanged(Written),
    /// A file of the author is in the place, which is never overwritten.
    Refused,
    /// It cannot be written.
    Failed(Failure),
}

/// An output that was written beside the output tree.
pub(crate) struct Staged {
    pub(super) destination: Arc<str>,
    pub(super) path: PathBuf,
    pub(super) record: OutputRecord,
    pub(super) action: Arc<str>,
    /// What was found in its place.
    pub(super) there: There,
}

impl Staged {
    /// Returns the entry for the ledger with this record.
    pub(super) fn written(&self, record: OutputRecord) -> Written {
        (
            Arc::clone(&self.destination),
            record,
            Arc::clone(&self.action),
        )
    }
}

impl Publisher {
    /// Prepares outputs: writes them beside the output tree, unless they are in their places already.
    ///
    /// Returns for every output its state at each of its places, or `None` if its content does not have its digest: a
    /// damaged blob, or a source that changed meanwhile.
    #[tracing::instrument(level = "debug", name = "write", skip_all)]
    pub(crate) fn prepare(&mut self, outputs: &[Output<'_>]) -> Result<Vec<Option<Vec<Prepared>>>> {
        let mut impossible = HashMap::new();
        for output in outputs {
            for destination in output.destinations {
                if let Err(error) = self.make_room(destination) {
                    let failure = Failure::of(&output.action, error)?;
                    impossible.insert(Arc::clone(destination), failure.diagnostic);
                }
            }
        }
        let number = AtomicU64::new(self.staged);
        let prepared = parallel::each(outputs, |output| {
            self.prepare_one(output, &number, &impossible)
        });
        self.staged = number.into_inner();
        let mut unchanged = Vec::new();
        let mut all = Vec::with_capacity(prepared.len());
        for places in prepared {
            let places = places?;
            for place in places.iter().flatten() {
                if let Prepared::Unchanged(written) = place {
                    unchanged.push(written.clone());
                }
            }
            all.push(places);
        }
        if !unchanged.is_empty() {
            self.record(unchanged)?;
        }
        Ok(all)
    }

    /// Creates the directory of an output, and removes or moves aside a directory in the place of the output itself.
    fn make_room(&mut self, destination: &str) -> Result<()> {
        let file = self.file(destination);
        if let Some(parent) = file.parent() {
            self.make_dir(parent)?;
        }
        let is_dir = std::fs::symlink_metadata(&file).is_ok_and(|found| found.is_dir());
        match is_dir && !self.is_of_author(destination) {
            true => self.clear_dir(destination),
            false => Ok(()),
        }
    }

    fn prepare_one(
        &self,
        output: &Output<'_>,
        number: &AtomicU64,
        impossible: &HashMap<Arc<str>, Diagnostic>,
    ) -> Result<Option<Vec<Prepared>>> {
        let mut places = Vec::with_capacity(output.destinations.len());
        // Its bytes are verified once; the other places get copies of the verified file.
        let mut verified: Option<PathBuf> = None;
        for destination in output.destinations {
            if let Some(diagnostic) = impossible.get(destination) {
                places.push(Prepared::Failed(Failure {
                    action: Arc::clone(&output.action),
                    diagnostic: diagnostic.clone(),
                }));
                continue;
            }
            let recorded_ns = now_ns();
            let there = self.look(destination)?;
            let mut record = OutputRecord {
                file: FileRecord {
                    digest: output.digest,
                    stamp: Stamp::NONE,
                    recorded_ns,
                },
                scope: Arc::clone(&self.scope),
                before: None,
                is_adopted: false,
            };
            if let What::File { digest, is_ours } = there.what
                && digest == output.digest
            {
                record.file.stamp = there.stamp.unwrap_or(Stamp::NONE);
                record.is_adopted = !is_ours;
                let destination = Arc::clone(destination);
                let action = Arc::clone(&output.action);
                places.push(Prepared::Unchanged((destination, record, action)));
                continue;
            }
            if there.is_foreign() && self.is_of_author(destination) {
                places.push(Prepared::Refused);
                continue;
            }
            if there.is_foreign() && self.keeps_foreign {
                let error = self.set_aside(&self.file(destination)).err();
                let error = error.unwrap_or_else(|| Error::internal("it was moved aside"));
                places.push(Prepared::Failed(Failure::of(&output.action, error)?));
                continue;
            }
            let number = number.fetch_add(1, Ordering::Relaxed) + 1;
            let path = self.staging.join(format!("out-{number}"));
            match &verified {
                Some(verified) => copy_again(verified, &path, output.content)?,
                None if self.stage(output, &path)? => verified = Some(path.clone()),
                None => return Ok(None),
            }
            places.push(Prepared::Staged(Staged {
                destination: Arc::clone(destination),
                path,
                record,
                action: Arc::clone(&output.action),
                there,
            }));
        }
        Ok(Some(places))
    }

    /// Writes the content to a temporary file. Returns false if it does not have the digest.
    fn stage(&self, output: &Output<'_>, path: &Path) -> Result<bool> {
        match output.content {
            Content::Bytes(bytes) => write(path, bytes)?,
            Content::Blob => return Ok(self.store.copy_to(&output.digest, path)?),
            Content::File(source) => {
                match files::copy_with_time(source, path) {
                    Err(error) if error::is_full(&error) => {
                        return Err(Error::io_in(Dir::State, "write", path, &error));
                    }
                    Err(_) if !source.is_file() => return Ok(false),
                    _ => {}
                }
                if !output.digest.is_of_file(path) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Writes the same content once more: from memory, or as a copy of a verified file inside the kernel (a reflink, if the
/// file system supports it), with its permissions, and with its time if that of the source is preserved.
fn copy_again(verified: &Path, path: &Path, content: &Content) -> Result<()> {
    let copied = match content {
        Content::Bytes(bytes) => return write(path, bytes),
        Content::Blob => files::copy(verified, path),
        Content::File(_) => files::copy_with_time(verified, path),
    };
    copied.map_err(|error| Error::io_in(Dir::State, "write", path, &error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |error: std::io::Error| Error::io_in(Dir::State, "write", path, &error);
    let mut file = std::fs::File::create(path).map_err(io)?;
    file.write_all(bytes).map_err(io)
}
