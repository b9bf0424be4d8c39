//! The renderers that a course needs.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::{Place, Settings};
use crate::engine::course::{Course, Specified};
use crate::error::Result;
use crate::worker::renderers;

/// The required renderers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Pages.
    pub html: bool,
    /// Python kernels.
    pub python_kernel: bool,
    /// TypeScript kernels.
    pub typescript_kernel: bool,
    /// PlantUML diagrams.
    pub plantuml: bool,
    /// draw.io diagrams.
    pub drawio: bool,
}

impl Needs {
    /// Returns all renderers.
    pub fn everything() -> Self {
        Self {
            html: true,
            python_kernel: true,
            typescript_kernel: true,
            plantuml: true,
            drawio: true,
        }
    }

    /// Returns the renderers that the sources of a course need, by their files alone.
    pub(crate) fn of(course: &Course, specified: &Specified) -> Self {
        let uses = course.uses(specified);
        Self {
            html: uses.pages,
            python_kernel: uses.python,
            typescript_kernel: uses.typescript,
            plantuml: uses.plantuml,
            drawio: uses.drawio,
        }
    }

    /// Returns what has to be installed for renderers of these names, as [`Renderers::installed`] has them.
    ///
    /// [`Renderers::installed`]: crate::worker::Renderers::installed
    pub(crate) fn of_renderers(names: &BTreeSet<String>) -> Self {
        let has = |name: &str| names.contains(name);
        Self {
            html: has(renderers::HTML),
            python_kernel: has(&renderers::kernel("python3")),
            typescript_kernel: has(&renderers::kernel("deno")),
            plantuml: has(renderers::PLANTUML),
            drawio: has(renderers::DRAWIO),
        }
    }

    /// Returns the renderers that the course of a specification needs, for callers that have nothing but the file.
    pub fn of_spec(spec: &Path) -> Result<Self> {
        let place = Place::find(Some(spec), None, Path::new("/"))?;
        let settings = Settings::load(&place.root)?;
        let course = Course {
            place,
            settings,
            output_dir: None,
        };
        Ok(Self::of(&course, &course.specification()?))
    }
}
