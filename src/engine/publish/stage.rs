//! Writing outputs beside the output tree, with all processors.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::digest::{Digest, Stamp};
use crate::error::{Error, Result};
use crate::parallel;
use crate::store::{OutputRecord, Written};

use super::super::snapshot::now_ns;
use super::Publisher;

/// Where the bytes of an output come from.
#[derive(Clone, Debug)]
pub enum Content {
    /// A blob of the store.
    Blob,
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// A source file, copied with its modification time.
    File(PathBuf),
}

/// Something that is to lie in some places.
pub struct Output<'a> {
    /// Paths relative to the course root, or absolute.
    pub destinations: &'a [Arc<str>],
    /// What its bytes must have.
    pub digest: Digest,
    /// Where they come from.
    pub content: &'a Content,
    /// The action that makes it.
    pub action: Arc<str>,
}

/// An output at one of its places: it is ready, or will not be written.
pub enum Prepared {
    /// It is to be moved to its place.
    Staged(Staged),
    /// The bytes were there already; what the ledger is to say of them.
    Unchanged(Written),
    /// A file of the author stands there, which is never overwritten.
    Refused(Arc<str>),
}

/// An output beside the output tree.
pub struct Staged {
    pub(super) destination: Arc<str>,
    pub(super) path: PathBuf,
    pub(super) record: OutputRecord,
    action: Arc<str>,
}

impl Staged {
    /// What the ledger is to say of it.
    pub(super) fn written(&self, record: OutputRecord) -> Written {
        (
            Arc::clone(&self.destination),
            record,
            Arc::clone(&self.action),
        )
    }
}

impl Publisher {
    /// Gets ready to give outputs their bytes: writes them beside the output tree, where they are not in their places
    /// already.
    ///
    /// For every output, how it is at each of its places; none when its content is not what its digest says: a damaged
    /// blob, or a source that changed meanwhile.
    #[tracing::instrument(level = "debug", name = "write", skip_all)]
    pub fn prepare(&mut self, outputs: &[Output<'_>]) -> Result<Vec<Option<Vec<Prepared>>>> {
        for output in outputs {
            for destination in output.destinations {
                let file = self.file(destination);
                if let Some(parent) = file.parent() {
                    self.make_dir(parent)?;
                }
            }
        }
        let number = AtomicU64::new(self.staged);
        let prepared = parallel::each(outputs, |output| self.prepare_one(output, &number));
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

    fn prepare_one(
        &self,
        output: &Output<'_>,
        number: &AtomicU64,
    ) -> Result<Option<Vec<Prepared>>> {
        let mut places = Vec::with_capacity(output.destinations.len());
        // Its bytes are verified once; the other places get copies of what was verified.
        let mut verified: Option<PathBuf> = None;
        for destination in output.destinations {
            let file = self.file(destination);
            let existing = std::fs::symlink_metadata(&file).ok();
            let is_equal = existing.as_ref().is_some_and(|metadata| metadata.is_file())
                && output.digest.is_of_file(&file);
            let mut record = OutputRecord {
                digest: output.digest,
                stamp: Stamp::NONE,
                recorded_ns: now_ns(),
                scope: Arc::clone(&self.scope),
            };
            if is_equal {
                record.stamp = existing.as_ref().map_or(Stamp::NONE, Stamp::of);
                let destination = Arc::clone(destination);
                let action = Arc::clone(&output.action);
                places.push(Prepared::Unchanged((destination, record, action)));
                continue;
            }
            if self.is_refused(destination) {
                places.push(Prepared::Refused(Arc::clone(destination)));
                continue;
            }
            if existing.as_ref().is_some_and(|metadata| metadata.is_dir()) {
                return Err(Error::internal(format!(
                    "there is a directory where the output `{}` belongs",
                    file.display()
                ))
                .hint("move it away and build again"));
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
            }));
        }
        Ok(Some(places))
    }

    /// Writes the content to a temporary file; false when it does not have the digest.
    fn stage(&self, output: &Output<'_>, path: &Path) -> Result<bool> {
        match output.content {
            Content::Bytes(bytes) => write(path, bytes)?,
            Content::Blob => return Ok(self.store.copy_to(&output.digest, path)?),
            Content::File(source) => {
                if std::fs::copy(source, path).is_err() && !source.is_file() {
                    return Ok(false);
                }
                if !output.digest.is_of_file(path) {
                    return Ok(false);
                }
                let modified = std::fs::metadata(source).and_then(|metadata| metadata.modified());
                keep_modified(path, modified);
            }
        }
        Ok(true)
    }
}

/// Writes the same content once more: from memory, or as a copy of a verified file inside the kernel (a reflink where the
/// file system can), with its permissions, and with its time where that of the source is kept.
fn copy_again(verified: &Path, path: &Path, content: &Content) -> Result<()> {
    if let Content::Bytes(bytes) = content {
        return write(path, bytes);
    }
    std::fs::copy(verified, path).map_err(|error| Error::io("write", path, &error))?;
    if matches!(content, Content::File(_)) {
        let modified = std::fs::metadata(verified).and_then(|metadata| metadata.modified());
        keep_modified(path, modified);
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |error: std::io::Error| Error::io("write", path, &error);
    let mut file = std::fs::File::create(path).map_err(io)?;
    file.write_all(bytes).map_err(io)
}

fn keep_modified(path: &Path, modified: std::io::Result<SystemTime>) {
    // Only a convenience for people: a file system without it loses nothing.
    if let (Ok(modified), Ok(file)) = (modified, std::fs::File::options().append(true).open(path)) {
        let _ = file.set_modified(modified);
    }
}
