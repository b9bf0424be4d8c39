//! Finds the specifications of all courses below a directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

use crate::files;

/// The directory of sources beside a specification, or beside its directory.
const SLIDES: &str = "slides";

/// Returns the specifications below a directory, sorted: XML files of which the content has a course, in or beside a
/// directory with sources. Files that git ignores and hidden files are not looked at.
pub(crate) fn specs_below(dir: &Path) -> BTreeSet<PathBuf> {
    let walk = WalkBuilder::new(dir)
        .filter_entry(|entry| entry.depth() == 0 || entry.file_name() != SLIDES)
        .build();
    // What cannot be read is no specification of a course that can be built.
    let paths = walk.flatten().map(ignore::DirEntry::into_path);
    paths.filter(|path| is_spec(path)).collect()
}

/// Returns whether a file is a specification.
pub(crate) fn is_spec(path: &Path) -> bool {
    let is_xml = path.extension().is_some_and(|extension| extension == "xml");
    let mut dirs = path.ancestors().skip(1).take(2);
    let has_course = |bytes: Vec<u8>| bytes.windows(7).any(|part| part == b"<course");
    is_xml
        && dirs.any(|dir| dir.join(SLIDES).is_dir())
        && path.is_file()
        && files::read(path).is_ok_and(has_course)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn courses_are_found_beside_their_sources() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let write = |path: &str, text: &[u8]| {
            let file = root.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        std::fs::create_dir_all(root.join(".git")).unwrap();
        write(".gitignore", b"output\n");
        write("slides/m/topic_010_a/slides_a.py", b"");
        write("slides/course.xml", b"<course/>");
        write("course.xml", b"<course/>");
        write(
            "course-specs/b.xml",
            b"<?xml version=\"1.0\"?>\n<course>\xff",
        );
        write("course-specs/notes.xml", b"<notes/>");
        write("output/course.xml", b"<course/>");
        write("courses/other/slides/a", b"");
        write("courses/other/course.xml", b"<course");
        write("courses/none/course.xml", b"<course/>");
        let found = specs_below(root);
        let found: Vec<&str> = found
            .iter()
            .map(|path| path.strip_prefix(root).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(
            found,
            [
                "course-specs/b.xml",
                "course.xml",
                "courses/other/course.xml"
            ]
        );
    }
}
