//! What the differences that git finds mean for a course.

use std::path::{Path, PathBuf};

use crate::course::path::name_of;
use crate::course::{RelPath, tree};

use super::super::course::{Course, Specified};
use super::super::range::{self, Before, Differences};
use super::{Affected, Earlier, Touched};

/// What is to be built, by what is touched.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Why everything is concerned, if it is.
    pub everything: Option<String>,
    /// The touched files of the course.
    pub affected: Affected,
}

impl Asked {
    /// Returns what to build of a course after these differences. `top` is the working tree of which they are all that git
    /// sees, if they are not only some files.
    pub(crate) fn by(
        course: &Course,
        specified: &Specified,
        found: Differences,
        top: Option<&Path>,
    ) -> Self {
        let mut asked = Self {
            everything: top.and_then(|top| unseen(course, specified, top)),
            affected: Affected {
                top: top.map(Path::to_path_buf),
                ..Affected::default()
            },
        };
        for (path, before) in found {
            asked.add(course, specified, path, before);
        }
        asked
    }

    fn add(&mut self, course: &Course, specified: &Specified, file: PathBuf, before: Before) {
        let root = &course.place.root;
        let below = RelPath::below(root, &file);
        let shown = match &below {
            Some(path) => path.to_string(),
            None => file.display().to_string(),
        };
        if concerns_all(course, &file) {
            self.everything.get_or_insert(format!("`{shown}` changed"));
            return;
        }
        let Some(path) = below else {
            self.affected.outside.push(file);
            return;
        };
        let skip = course.skip(&specified.spec);
        let mut above = file.ancestors().take_while(|dir| dir != root);
        let is_output = above.any(|path| skip.skips(path));
        let before = match before {
            // Of outputs only those matter that the repository has, whatever they were.
            Before::Absent if is_output => return,
            _ if is_output => Earlier::Unknown,
            Before::Unknown => Earlier::Unknown,
            Before::Lost => Earlier::Lost,
            Before::Absent => Earlier::Absent,
            Before::Blob(object) => Earlier::Object(object),
            Before::Other(what) => {
                self.everything
                    .get_or_insert(format!("`{shown}` is a {what}, which changed"));
                return;
            }
        };
        self.affected.files.push(Touched { path, before });
    }
}

/// Returns why git does not see all changes of a course, if it does not. Single files may be ignored.
fn unseen(course: &Course, specified: &Specified, top: &Path) -> Option<String> {
    let place = &course.place;
    let roots = tree::scan_roots(&specified.spec).into_iter().flatten();
    let dirs = roots.map(|dir| dir.under(&place.root));
    let dirs = dirs.filter(|dir| dir.exists());
    let paths = [place.root.clone(), place.spec.clone()];
    paths.into_iter().chain(dirs).find_map(|path| {
        let why = range::why_unseen(top, &path)?;
        Some(format!("`{}` {why}", name_of(&place.root, &path)))
    })
}

/// Returns whether a file is the specification, or one from which settings come.
fn concerns_all(course: &Course, file: &Path) -> bool {
    file == course.place.spec || course.settings_files().iter().any(|other| other == file)
}
