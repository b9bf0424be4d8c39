//! The files and directories of a course when all of them were last listed: if a directory cannot be read, decks are
//! numbered by these.
//!
//! They are part of the checkpoint. A build that found others and wrote no checkpoint (since something failed) writes
//! them to a separate file, which takes precedence.

use crate::course::tree::Listing;
use crate::files;
use crate::worker::Renderers;

use super::super::course::{Course, Specified};
use super::super::state_file::StateFile;
use super::{Checkpoint, resume};

/// The version of the format.
const VERSION: u32 = 1;

fn file(course: &Course) -> StateFile {
    StateFile::of(course, "listed")
}

/// Returns whether there is a separate file, which differs from the checkpoint.
pub(crate) fn is_kept(course: &Course) -> bool {
    file(course).path().exists()
}

/// Writes the separate file. Returns false if that is not possible.
pub(crate) fn keep(course: &Course, listing: &Listing) -> bool {
    let body = (VERSION, &listing.files, &listing.dirs);
    let Ok(body) = postcard::to_allocvec(&body) else {
        return false;
    };
    file(course).write(&body, &[]).is_some()
}

/// Removes the separate file, since the checkpoint contains the same list now.
pub(crate) fn forget(course: &Course) {
    // An error is ignored: the file has the same content as the checkpoint.
    let _ = std::fs::remove_file(file(course).path());
}

/// Returns the last list; `None` if it is unknown.
pub(crate) fn last(
    course: &Course,
    specified: &Specified,
    renderers: &Renderers,
) -> Option<Listing> {
    let sections = match file(course).read() {
        Ok(sections) => sections,
        Err(error) if files::is_gone(&error) => {
            let mut sections = Checkpoint::new(course, specified, renderers).with_state()?;
            return resume::listing(&sections.second()?);
        }
        Err(_) => return None,
    };
    let (version, files, dirs): (u32, _, _) = postcard::from_bytes(&sections.first).ok()?;
    (version == VERSION).then(|| Listing {
        files,
        dirs,
        ..Listing::default()
    })
}
