//! The files and directories of a course as they were when all of them were last listed: when a directory cannot be read,
//! the numbers of decks go on from these.
//!
//! The seal has them while the course is as it was sealed. A build that found others and did not seal the course (since
//! something failed) keeps them in a file of their own, which then counts more.

use crate::course::tree::Listing;
use crate::files;
use crate::worker::Renderers;

use super::course::{Course, Specified};
use super::seal::Seal;
use super::{kept, left};

/// The version of the format.
const VERSION: u32 = 1;

/// Whether there are others than the seal has.
pub fn exists(course: &Course) -> bool {
    kept::file(course, "listed").exists()
}

/// Keeps them; false when that cannot be done.
pub fn keep(course: &Course, listing: &Listing) -> bool {
    let body = (VERSION, &listing.files, &listing.dirs);
    let Ok(body) = postcard::to_allocvec(&body) else {
        return false;
    };
    kept::replace_checked(&kept::file(course, "listed"), &body).is_some()
}

/// The seal has the same ones now.
pub fn forget(course: &Course) {
    // That it is not there is what is wanted; otherwise it says the same.
    let _ = std::fs::remove_file(kept::file(course, "listed"));
}

/// The last ones; none when they are not known.
pub fn last(course: &Course, specified: &Specified, renderers: &Renderers) -> Option<Listing> {
    let bytes = match files::read(&kept::file(course, "listed")) {
        Ok(bytes) => bytes,
        Err(error) if files::is_gone(&error) => {
            let left = Seal::new(course, specified, renderers).left()?;
            return left::listing(course, left);
        }
        Err(_) => return None,
    };
    let (version, files, dirs): (u32, _, _) = postcard::from_bytes(kept::checked(&bytes)?).ok()?;
    (version == VERSION).then(|| Listing {
        files,
        dirs,
        ..Listing::default()
    })
}
