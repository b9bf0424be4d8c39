//! Files in the state directory that belong to one specification and output root. Each has one or two sections, so that
//! a process that needs only the first one does not read the second.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use crate::digest::Digest;
use crate::files::{self, Access};

use super::course::Course;

/// The size of a digest, in bytes.
const DIGEST: usize = 32;
/// The size of the header, in bytes: the length of the first section (little-endian), its digest, and the digest of the
/// second section.
const HEADER: usize = 8 + 2 * DIGEST;

/// A file that belongs to one specification and output root.
pub(super) struct StateFile(PathBuf);

/// The sections of a file as far as they were read and are not damaged.
pub(super) struct Sections {
    file: File,
    /// The first section.
    pub first: Vec<u8>,
    digest_of_second: [u8; DIGEST],
}

impl StateFile {
    /// Returns the file of a course for `purpose`.
    pub(super) fn of(course: &Course, purpose: &str) -> Self {
        let name = format!("{purpose}-{}", Digest::of(course.scope()).short());
        Self(course.place.state_dir().join(name))
    }

    /// Returns its path.
    pub(super) fn path(&self) -> &PathBuf {
        &self.0
    }

    /// Replaces the file atomically. Returns `None` if that is not possible: callers lose time, not data.
    pub(super) fn write(&self, first: &[u8], second: &[u8]) -> Option<()> {
        let replaced = files::replace(&self.0, Access::Private, |file| {
            file.write_all(&(first.len() as u64).to_le_bytes())?;
            file.write_all(Digest::of(first).as_bytes())?;
            file.write_all(Digest::of(second).as_bytes())?;
            file.write_all(first)?;
            file.write_all(second)
        });
        replaced.ok()
    }

    /// Reads the first section. A damaged file is reported as [`io::ErrorKind::InvalidData`].
    pub(super) fn read(&self) -> io::Result<Sections> {
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        let mut file = files::open(&self.0)?;
        let mut header = [0; HEADER];
        file.read_exact(&mut header)?;
        let (length, digests) = header.split_first_chunk().ok_or_else(damaged)?;
        let (digest, digest_of_second) = digests.split_first_chunk().ok_or_else(damaged)?;
        let (digest, digest_of_second): (&[u8; DIGEST], _) = (digest, digest_of_second);
        let length = u64::from_le_bytes(*length);
        // A damaged length must not reserve more memory than the file has bytes.
        if length > file.metadata()?.len() {
            return Err(damaged());
        }
        let mut first = Vec::with_capacity(usize::try_from(length).map_err(|_| damaged())?);
        (&mut file).take(length).read_to_end(&mut first)?;
        if Digest::of(&first).as_bytes() != digest {
            return Err(damaged());
        }
        Ok(Sections {
            file,
            first,
            digest_of_second: digest_of_second.try_into().map_err(|_| damaged())?,
        })
    }
}

impl Sections {
    /// Reads the second section, of the same file as the first one. Returns `None` if it is damaged.
    pub(super) fn second(&mut self) -> Option<Vec<u8>> {
        let mut second = Vec::new();
        self.file.read_to_end(&mut second).ok()?;
        (Digest::of(&second).as_bytes() == &self.digest_of_second).then_some(second)
    }
}
