//! Archives of cached results: results of one store for another one, as one file.
//!
//! An archive is a zstd frame with a tar archive of `manifest.json` (what follows, with digests and sizes),
//! `records.jsonl` (results, keys and identities of renderers) and `blobs/ab/cdef..` (the bytes of results, ordered by
//! digest). It contains no times, users, ids or paths of a machine, so that stores with the same content give the same
//! bytes. Whatever differs from that form is refused, and nothing of it reaches a store.

mod export;
mod import;
mod manifest;
mod record;
mod unpack;

use std::io;

use crate::error::{Dir, Error, io_hint};

use super::{StoreError, schema};

pub(crate) use export::{Exported, Extent};
pub use import::Imported;
pub(crate) use manifest::platform;
pub(crate) use record::is_name;
pub(crate) use unpack::is_archive;
pub use unpack::{Staged, unpack};

/// The version of the records, which archives and caches of a pipeline have to share.
pub const SCHEMA: i64 = schema::VERSION;
/// The largest power of two for the window of a frame: what the decoder needs as memory.
const WINDOW_LOG: u32 = 23;

/// An error of writing or reading an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive cannot be read or written.
    #[error("cannot {what} the archive: {source}")]
    Stream {
        /// `read` or `write`.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A result was removed from the store while it was exported.
    #[error("a cached result was removed while it was exported")]
    Removed,
    /// The archive is not one that can be used.
    #[error("the archive is refused: {0}")]
    Refused(#[from] Refusal),
}

/// The reason why an archive is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// It is something else.
    #[error("{0}")]
    Foreign(String),
    /// It ends too early.
    #[error("it is cut off")]
    CutOff,
    /// It is damaged, or was made to do harm.
    #[error("{0}")]
    Damaged(String),
    /// It was made by another version of clm.
    #[error("it has {what} {found}, and this clm reads {known}")]
    Version {
        /// What has another version.
        what: &'static str,
        /// That version.
        found: i64,
        /// The version that this program reads.
        known: i64,
    },
    /// It was made on another platform.
    #[error("it was made on {0}, and this is {platform}", platform = manifest::platform())]
    Platform(String),
    /// It would become larger than the limit.
    #[error("it unpacks to {size} bytes, and the limit is {limit}")]
    TooLarge {
        /// Its size when unpacked.
        size: u64,
        /// The limit.
        limit: u64,
    },
}

impl Refusal {
    fn hint(&self) -> &'static str {
        match self {
            Self::Foreign(_) => "name a file that `clm cache export` wrote",
            Self::CutOff | Self::Damaged(_) => {
                "nothing of it was used: export it again, or build without it"
            }
            Self::Version { .. } => {
                "nothing of it was used: export it with the clm that imports it, or build without it"
            }
            Self::Platform(_) => {
                "nothing of it was used: results depend on the platform, so export it on one like this"
            }
            Self::TooLarge { .. } => {
                "nothing of it was used: if you trust it, allow more with `--max-size`"
            }
        }
    }
}

impl From<ArchiveError> for Error {
    fn from(error: ArchiveError) -> Self {
        let message = error.to_string();
        match error {
            ArchiveError::Store(error) => error.into(),
            ArchiveError::Stream { what, source } => {
                let result = Self::internal(message);
                match io_hint(Dir::Other, what, &source) {
                    Some(hint) => result.hint(hint),
                    None => result,
                }
            }
            ArchiveError::Removed => Self::internal(message)
                .hint("another clm collects old results: run the command again"),
            ArchiveError::Refused(refusal) => Self::usage(message).hint(refusal.hint()),
        }
    }
}

#[cfg(test)]
mod tests;
