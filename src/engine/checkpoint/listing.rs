//! The files and directories of a course as they were when all of them were last listed: when a directory cannot be read,
//! the numbers of decks go on from these.
//!
//! The checkpoint has them. A build that found others and did not write a checkpoint (since something failed) writes them to
//! a file of their own, which then counts more.

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

/// Whether others than those of the checkpoint were written.
pub(crate) fn is_kept(course: &Course) -> bool {
    file(course).path().exists()
}

/// Writes them. Returns false if that is not possible.
pub(crate) fn keep(course: &Course, listing: &Listing) -> bool {
    let body = (VERSION, &listing.files, &listing.dirs);
    let Ok(body) = postcard::to_allocvec(&body) else {
        return false;
    };
    file(course).write(&body, &[]).is_some()
}

/// Removes them: the checkpoint has the same ones now.
pub(crate) fn forget(course: &Course) {
    // That it is not there is what is wanted; otherwise it says the same.
    let _ = std::fs::remove_file(file(course).path());
}

/// The last ones; none when they are not known.
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
