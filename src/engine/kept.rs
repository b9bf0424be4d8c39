//! Files in the state directory that are about one specification and output root.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::digest::Digest;

use super::course::Course;

/// The file of a course that keeps `what`.
pub fn file(course: &Course, what: &str) -> PathBuf {
    let name = format!("{what}-{}", Digest::of(course.scope()).short());
    course.place.state_dir().join(name)
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
