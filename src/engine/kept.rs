//! Files in the state directory that are about one specification and output root.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::digest::Digest;

use super::course::Course;

/// The size of a checksum, in bytes.
const CHECKSUM: usize = 32;

/// The file of a course that keeps `what`.
pub fn file(course: &Course, what: &str) -> PathBuf {
    let name = format!("{what}-{}", Digest::of(course.scope()).short());
    course.place.state_dir().join(name)
}

/// Replaces a file by this body, with a checksum before it; none when that cannot be done.
pub fn replace_checked(file: &Path, body: &[u8]) -> Option<()> {
    replace(file, &[Digest::of(body).as_bytes(), body])
}

/// The body in the bytes of a file that [`replace_checked`] wrote; none when it is damaged.
pub fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (checksum, body) = bytes.split_at_checked(CHECKSUM)?;
    (Digest::of(body).as_bytes() == checksum).then_some(body)
}

/// Gives a file this content, whole or not at all; none when that cannot be done.
pub fn replace(file: &Path, content: &[&[u8]]) -> Option<()> {
    let mut staged = tempfile::Builder::new()
        .prefix(".kept-")
        .tempfile_in(file.parent()?)
        .ok()?;
    for part in content {
        staged.write_all(part).ok()?;
    }
    staged.persist(file).ok()?;
    Some(())
}
