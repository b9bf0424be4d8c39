//! `clm build --saved FILE`, which an editor calls after every save. Files that are not part of a course are accepted.

use std::path::{Path, PathBuf};

use crate::config::{Place, SETTINGS_FILE, course_file_above, folder_above};
use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::engine::course::Course;
use crate::error::{Error, Result};
use crate::events::{Event, Events};

use super::options::real_path;
use super::session::CourseArgs;

/// A file of a course that was saved.
#[derive(Debug)]
pub(super) struct Saved {
    /// Its path relative to the course root.
    pub path: RelPath,
    is_spec: bool,
}

/// Returns the arguments with the course of a saved file: the one that is named, or the nearest one in a directory
/// above the file, independent of the editor's working directory. Returns `None` if there is no course.
pub(super) fn course_of(args: &CourseArgs, file: &Path) -> Result<Option<CourseArgs>> {
    if args.spec.is_some() {
        return Ok(Some(args.clone()));
    }
    let file = real_path(file)?;
    let dir = file.parent();
    let nearest = dir.and_then(course_file_above);
    let nearest = nearest.or_else(|| Some(folder_above(dir?)?.join(SETTINGS_FILE)));
    Ok(nearest.map(|spec| CourseArgs {
        spec: Some(spec),
        ..args.clone()
    }))
}

impl Saved {
    /// Creates a saved file with its path relative to the course root; returns `None` if it is outside of the course.
    pub(super) fn of(file: &Path, place: &Place) -> Result<Option<Self>> {
        let file: PathBuf = real_path(file)?;
        Ok(RelPath::below(&place.root, &file).map(|path| Self {
            path,
            is_spec: file == place.spec,
        }))
    }

    /// Returns whether an error only says that the file has no outputs.
    pub(super) fn is_without_outputs(&self, diagnostics: &[Diagnostic]) -> bool {
        let [diagnostic] = diagnostics else {
            return false;
        };
        diagnostic.message == format!("no output depends on `{}`", self.path)
    }

    /// Checks the specification and the files it names, if the saved file is the specification. Returns whether it is.
    /// The outputs affected by its changes are not built: these may be the whole course, which is the task of a watch.
    pub(super) fn check(&self, course: &Course, events: &Events) -> Result<bool> {
        if !self.is_spec {
            return Ok(false);
        }
        let found = course.check()?;
        if found.iter().any(Diagnostic::is_error) {
            return Err(Error::from_diagnostics(found));
        }
        for diagnostic in found {
            events.emit(Event::Diagnostic(diagnostic.into()));
        }
        Ok(true)
    }
}
