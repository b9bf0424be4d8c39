//! `clm build --saved FILE`: what an editor calls after every save. Editors save other files too; these are no error.

use std::path::{Path, PathBuf};

use crate::config::Place;
use crate::course::RelPath;
use crate::engine::course::Course;
use crate::error::{Error, Result};
use crate::events::{Diagnostic, Event, Events, Severity};

use super::options::real_path;
use super::session::CourseArgs;

/// A saved file of a course.
#[derive(Debug)]
pub struct Saved {
    /// As the course names it.
    pub path: RelPath,
    is_spec: bool,
}

/// The arguments with the course that a saved file belongs to: the one that is named, or the nearest from the file
/// upward, wherever the editor runs. None when there is no course.
pub fn course_of(args: &CourseArgs, file: &Path) -> Result<Option<CourseArgs>> {
    if args.spec.is_some() {
        return Ok(Some(args.clone()));
    }
    let file = real_path(file)?;
    let nearest = file
        .ancestors()
        .skip(1)
        .map(|dir| dir.join("course.xml"))
        .find(|spec| spec.is_file());
    Ok(nearest.map(|spec| CourseArgs {
        spec: Some(spec),
        ..args.clone()
    }))
}

impl Saved {
    /// A saved file as the course names it; none when it lies outside of the course.
    pub fn of(file: &Path, place: &Place) -> Result<Option<Self>> {
        let file: PathBuf = real_path(file)?;
        Ok(RelPath::below(&place.root, &file).map(|path| Self {
            path,
            is_spec: file == place.spec,
        }))
    }

    /// Whether an error says that this is just a file without outputs.
    pub fn is_without_outputs(&self, diagnostics: &[Diagnostic]) -> bool {
        let [diagnostic] = diagnostics else {
            return false;
        };
        diagnostic.message == format!("no output depends on `{}`", self.path)
    }

    /// Looks for what is wrong in the specification and in what it names, if that is what was saved: true, or an error.
    /// What it changes is not built: that may be the whole course, and is the work of a watch.
    pub fn check(&self, course: &Course, events: &Events) -> Result<bool> {
        if !self.is_spec {
            return Ok(false);
        }
        let found = course.check()?;
        if found.iter().any(|found| found.severity == Severity::Error) {
            return Err(Error::from_diagnostics(found));
        }
        for diagnostic in found {
            events.emit(Event::Diagnostic(diagnostic));
        }
        Ok(true)
    }
}
