//! Finds what is in the place of an output, and whether clm is known to have written it.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use crate::digest::{Digest, Stamp};
use crate::error::Result;
use crate::files;

use super::Publisher;

/// What is in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Nothing.
    Nothing,
    /// A regular file.
    File {
        /// The digest of its bytes.
        digest: Digest,
        /// Whether the ledger or a manifest proves that clm wrote them.
        is_ours: bool,
    },
    /// A directory.
    Directory,
    /// A symbolic link, a pipe, a device, or a file that cannot be read: nothing that clm makes.
    Other,
}

/// What was found in a place, with its stamp.
#[derive(Clone, Copy, Debug)]
pub(super) struct There {
    pub(super) what: What,
    /// `None` if there is nothing.
    pub(super) stamp: Option<Stamp>,
}

impl There {
    /// Returns whether it must not be destroyed.
    pub(super) fn is_foreign(&self) -> bool {
        match self.what {
            What::File { is_ours, .. } => !is_ours,
            What::Other | What::Directory => true,
            What::Nothing => false,
        }
    }

    /// Returns whether it is a file with these bytes.
    pub(super) fn has(&self, wanted: Digest) -> bool {
        matches!(self.what, What::File { digest, .. } if digest == wanted)
    }

    /// Returns the digest, if clm wrote the bytes.
    pub(super) fn ours(&self) -> Option<Digest> {
        match self.what {
            What::File {
                digest,
                is_ours: true,
            } => Some(digest),
            _ => None,
        }
    }

    /// Returns whether the same thing is still in the place.
    pub(super) fn is_still(&self, file: &Path) -> bool {
        match metadata(file) {
            Ok(found) => found.map(|found| Stamp::of(&found)) == self.stamp,
            Err(_) => false,
        }
    }
}

impl Publisher {
    /// Finds what is in the place of an output.
    pub(super) fn look(&self, destination: &str) -> Result<There> {
        let file = self.file(destination);
        let there = |what, stamp| Ok(There { what, stamp });
        let metadata = match metadata(&file) {
            Ok(Some(metadata)) => metadata,
            Ok(None) => return there(What::Nothing, None),
            // An error of writing the output will give the reason.
            Err(_) => return there(What::Nothing, None),
        };
        let stamp = Stamp::of(&metadata);
        if metadata.is_dir() {
            return there(What::Directory, Some(stamp));
        }
        if files::not_a_file(metadata.file_type()).is_some() {
            return there(What::Other, Some(stamp));
        }
        let record = self.recorded(destination)?;
        if let Some(record) = &record
            && record.file.is_proved_by(&stamp)
        {
            let what = What::File {
                digest: record.file.digest,
                is_ours: !record.is_adopted,
            };
            return there(what, Some(stamp));
        }
        let Ok(digest) = Digest::of_file(&file) else {
            return there(What::Other, Some(stamp));
        };
        let recorded = record.and_then(|record| record.wrote(digest));
        let is_ours = recorded.unwrap_or_else(|| self.lists.prove(&file, self.roots_around(&file)));
        there(What::File { digest, is_ours }, Some(stamp))
    }
}

/// Returns the metadata of a path without following a link; `None` if nothing exists there.
pub(super) fn metadata(file: &Path) -> io::Result<Option<Metadata>> {
    match std::fs::symlink_metadata(file) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if files::is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
