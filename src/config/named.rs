//! What the argument SPEC of a command names: a specification, sources of a course, or a folder.

use std::path::{Path, PathBuf};

use crate::course::RelPath;
use crate::course::spec::has_folder_section;
use crate::course::tree::may_be_source;
use crate::course::words::nearest;
use crate::error::{Dir, Error, Result, io_hint};
use crate::files;

use super::{SETTINGS_FILE, specs};

/// The specification that is found by itself.
const COURSE: &str = "course.xml";
/// The directory of sources beside a specification, or beside its directory.
const SLIDES: &str = "slides";
/// How many specifications an error lists.
const MAX_LISTED: usize = 4;
/// How many names are looked at to find a file that was named without its directory.
const MAX_LOOKS: usize = 20_000;

/// What the argument SPEC names. All paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A specification, or a file that is to be read as one.
    Course(PathBuf),
    /// A file or a directory among the sources of a course.
    Source {
        /// The specification of the course.
        spec: PathBuf,
        /// The file or directory.
        path: PathBuf,
    },
    /// A directory that is no course, and no part of one.
    Folder(PathBuf),
    /// A file that is no source, and that no course above it has.
    Lone(PathBuf),
}

impl Named {
    /// Finds out what `spec` names; without it, it is the nearest `course.xml` in `cwd` or above.
    pub(crate) fn of(spec: Option<&Path>, cwd: &Path) -> Result<Self> {
        let Some(spec) = spec else {
            let nearest = course_file_above(cwd).map(Self::Course);
            let nearest = nearest.or_else(|| folder_above(cwd).map(Self::Folder));
            return nearest.ok_or_else(|| no_course(cwd));
        };
        let path = cwd.join(spec);
        if path.file_name().is_some_and(|name| name == SETTINGS_FILE) {
            // It stands for its folder, and need not exist.
            let dir = path.parent().unwrap_or(&path);
            if dir.is_dir() {
                let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
                let course = dir.join(COURSE);
                return Ok(match course.is_file() {
                    true => Self::Course(course),
                    false => Self::Folder(dir),
                });
            }
        }
        let metadata = path
            .metadata()
            .map_err(|error| not_there(spec, cwd, &error))?;
        if metadata.is_dir() {
            return Self::of_dir(spec, path.canonicalize().unwrap_or(path));
        }
        if is_specification(&path) || !metadata.is_file() {
            return Ok(Self::Course(path));
        }
        let path = with_real_parent(path);
        let dir = path.parent().unwrap_or(&path);
        if let Some(spec) = course_above(&path)? {
            return Ok(Self::Source { spec, path });
        }
        let name = path
            .file_name()
            .and_then(|name| RelPath::new(name.to_str()?).ok());
        if !name.is_some_and(|name| may_be_source(&name)) {
            return Ok(Self::Lone(path));
        }
        let folder = folder_above(dir).unwrap_or_else(|| dir.to_path_buf());
        let spec = folder.join(SETTINGS_FILE);
        Ok(Self::Source { spec, path })
    }

    fn of_dir(spec: &Path, dir: PathBuf) -> Result<Self> {
        let own = dir.join(COURSE);
        if own.is_file() {
            return Ok(Self::Course(own));
        }
        // A directory that is named like a specification is a mistake.
        if dir.extension().is_some_and(|extension| extension == "xml") {
            return Err(
                Error::usage(format!("`{}` is not a file", dir.display())).hint(NAME_THE_FILE)
            );
        }
        let found = specs_in(&dir);
        if !found.is_empty() {
            return Err(several(
                &format!("there is no `{COURSE}` in `{}`", dir.display()),
                found
                    .iter()
                    .map(|found| spec.join(found.strip_prefix(&dir).unwrap_or(found))),
                "",
            ));
        }
        let is_among_sources = dir.components().any(|part| part.as_os_str() == SLIDES);
        if is_among_sources && let Some(spec) = course_above(&dir)? {
            return Ok(Self::Source { spec, path: dir });
        }
        Ok(match folder_above(&dir) {
            Some(folder) if folder != dir => Self::Source {
                spec: folder.join(SETTINGS_FILE),
                path: dir,
            },
            _ => Self::Folder(dir),
        })
    }

    /// Returns the specification of the course to which a command applies. Sources name their course only as a
    /// directory: who names one file does not mean all of them.
    pub(super) fn into_spec(self, cwd: &Path) -> Result<PathBuf> {
        let shown = |path: &Path| shown_from(cwd, path);
        match self {
            Self::Course(spec) => Ok(spec),
            Self::Source { spec, path } if path.is_dir() => Ok(spec),
            Self::Source { spec, path } => {
                let (spec, path) = (shown(&spec), shown(&path));
                Err(Error::usage(format!(
                    "`{path}` is a source of the course `{spec}`, and this command takes a course"
                ))
                .hint(format!(
                    "name `{spec}`; `clm build {path}` builds only what depends on the file"
                )))
            }
            Self::Folder(dir) => Ok(dir.join(SETTINGS_FILE)),
            Self::Lone(path) => {
                let dir = path.parent().unwrap_or(Path::new("/"));
                Err(Error::usage(format!(
                    "`{}` belongs to no course: there is no `{COURSE}` beside it or above it",
                    shown(&path)
                ))
                .hint(format!(
                    "name its folder, `clm build {}`, or start a course with `clm new DIR` and put the file there",
                    shown(dir)
                )))
            }
        }
    }
}

const NAME_THE_FILE: &str = "name the specification file, such as `course.xml`";

/// Returns the nearest `course.xml` in a directory or above it.
pub(crate) fn course_file_above(dir: &Path) -> Option<PathBuf> {
    let mut files = dir.ancestors().map(|dir| dir.join(COURSE));
    files.find(|path| path.is_file())
}

/// Returns whether the settings in a directory make it a folder without `course.xml`.
pub(crate) fn has_folder_settings(dir: &Path) -> bool {
    let text = files::read_to_string(&dir.join(SETTINGS_FILE)).unwrap_or_default();
    has_folder_section(&text)
}

/// Returns the nearest directory, this one or one above it, that is a folder without `course.xml` according to its
/// settings, or because it was built as one.
pub(crate) fn folder_above(dir: &Path) -> Option<PathBuf> {
    let was_built = |dir: &Path| {
        let has_records = dir.join(".clm/clm.db").is_file();
        has_records && !dir.join(SLIDES).is_dir() && specs_in(dir).is_empty()
    };
    let mut dirs = dir.ancestors();
    let found = dirs.find(|dir| has_folder_settings(dir) || was_built(dir));
    found.map(Path::to_path_buf)
}

/// Returns the specification of the course that has a source: the nearest `course.xml` above it, or else the only
/// specification beside the `slides/` that it lies in, or one directory below. Several of them are an error.
fn course_above(path: &Path) -> Result<Option<PathBuf>> {
    if let Some(found) = course_file_above(path.parent().unwrap_or(path)) {
        return Ok(Some(found));
    }
    let dirs = path.ancestors().filter(|dir| dir.ends_with(SLIDES));
    let found = dirs
        .filter_map(Path::parent)
        .map(specs_in)
        .find(|found| !found.is_empty());
    match found.as_deref() {
        None => Ok(None),
        Some([only]) => Ok(Some(only.clone())),
        Some(found) => Err(several(
            &format!("several courses may have `{}`", path.display()),
            found.iter().cloned(),
            &format!(" --only {}", path.display()),
        )),
    }
}

/// Returns the specifications in a directory and in `course-specs` below it, sorted.
fn specs_in(dir: &Path) -> Vec<PathBuf> {
    let places = [dir.to_path_buf(), dir.join("course-specs")];
    let entries = places.iter().filter_map(|place| place.read_dir().ok());
    let paths = entries.flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = paths.filter(|path| specs::is_spec(path)).collect();
    found.sort();
    found
}

/// Returns the error that a specification must be chosen, with those that there are.
fn several(problem: &str, specs: impl Iterator<Item = PathBuf>, more: &str) -> Error {
    let specs: Vec<PathBuf> = specs.collect();
    let listed = specs.iter().take(MAX_LISTED);
    let listed: Vec<String> = listed
        .map(|spec| format!("`clm build {}{more}`", spec.display()))
        .collect();
    let also = if specs.len() > MAX_LISTED { ", .." } else { "" };
    Error::usage(problem).hint(format!(
        "name the specification: {}{also}",
        listed.join(", ")
    ))
}

/// Resolves symbolic links but for the last component: a source may be a link inside of its course.
fn with_real_parent(path: PathBuf) -> PathBuf {
    let parent = path.parent().and_then(|dir| dir.canonicalize().ok());
    match (parent, path.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => path,
    }
}

/// Returns whether a file is to be read as a specification: by its name, or because its content begins like one.
fn is_specification(path: &Path) -> bool {
    if path.extension().is_some_and(|extension| extension == "xml") {
        return true;
    }
    // Most sources are not XML, so that their first bytes say enough.
    let begins_as_xml = |text: &[u8]| text.trim_ascii_start().starts_with(b"<");
    files::read(path).is_ok_and(|text| {
        begins_as_xml(&text) && text.windows(7).take(2000).any(|part| part == b"<course")
    })
}

/// Returns a path relative to the working directory if it lies there, and `.` for the directory itself.
pub(crate) fn shown_from(cwd: &Path, path: &Path) -> String {
    match path.strip_prefix(cwd) {
        Ok(below) if below.as_os_str().is_empty() => ".".to_owned(),
        Ok(below) => below.display().to_string(),
        Err(_) => path.display().to_string(),
    }
}

/// Returns the error that what SPEC names is not there. The hint names what was probably meant.
fn not_there(spec: &Path, cwd: &Path, error: &std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let path = cwd.join(spec);
    if !matches!(error.kind(), Io::NotFound | Io::NotADirectory) {
        let result = Error::usage(format!("cannot read `{}`: {error}", path.display()));
        return match io_hint(Dir::Other, "read", error) {
            Some(hint) => result.hint(hint),
            None => result,
        };
    }
    let result = Error::usage(format!("`{}` does not exist", path.display()));
    match similar(spec, cwd) {
        Some(similar) => result.hint(format!("did you mean `{}`?", similar.display())),
        None => result.hint(
            "name a course, a source or a folder that exists: `clm build PATH/TO/course.xml`",
        ),
    }
}

/// Returns what is there and has a similar name in the same directory, or the same name in another one below `cwd`.
fn similar(spec: &Path, cwd: &Path) -> Option<PathBuf> {
    let name = spec.file_name()?;
    let dir = spec.parent().unwrap_or(Path::new(""));
    if let Some(text) = name.to_str()
        && let Ok(entries) = cwd.join(dir).read_dir()
    {
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let names = names.filter(|name| !name.starts_with('.'));
        if let Some(near) = nearest(text, names) {
            return Some(dir.join(near));
        }
    }
    let walk = ignore::WalkBuilder::new(cwd).build();
    let mut entries = walk.take(MAX_LOOKS).flatten();
    let found = entries.find(|entry| entry.file_name() == name)?;
    Some(found.path().strip_prefix(cwd).ok()?.to_path_buf())
}

/// Returns the error that no specification was named or found. The hint names another XML file, if there is one.
fn no_course(dir: &Path) -> Error {
    let file = dir.join(COURSE);
    if file.is_dir() {
        return Error::usage(format!("`{}` is a directory", file.display()))
            .hint("name the specification file: `clm build PATH/TO/course.xml`");
    }
    let result = Error::usage(format!(
        "there is no `{COURSE}` in `{}` or above it",
        dir.display()
    ));
    let near = ["", "course-specs"].into_iter().find_map(|place| {
        let entries = dir.join(place).read_dir().ok()?;
        let names = entries
            .flatten()
            .map(|entry| Path::new(place).join(entry.file_name()));
        let specs = names.filter(|name| name.extension().is_some_and(|end| end == "xml"));
        specs.min()
    });
    result.hint(match near {
        Some(near) => format!("name the specification, such as `clm build {}`", near.display()),
        None => "start one with `clm new DIR`, or name a folder: that of a course, or one of notebooks and diagrams".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "<course></course>";

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for (path, text) in files {
            let file = root.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        (dir, root)
    }

    fn named(root: &Path, spec: &str) -> Named {
        Named::of(Some(Path::new(spec)), root).unwrap()
    }

    #[test]
    fn a_course_its_sources_and_folders_are_told_apart() {
        let (_dir, root) = tree(&[
            ("c/course.xml", SPEC),
            ("c/odd.spec", "<?xml version=\"1.0\"?>\n<course></course>"),
            ("c/slides/m/topic_010_a/slides_a.py", "# %%\n"),
            ("c/slides/m/topic_010_a/drawio/d.drawio", "<mxfile/>"),
            ("c/docs/page.md", "# <course"),
            ("lone/a.ipynb", "{}"),
        ]);
        let course = root.join("c/course.xml");
        for spec in ["c", "c/", "c/course.xml", "c/../c"] {
            let Named::Course(found) = named(&root, spec) else {
                panic!("{spec}");
            };
            assert_eq!(found.canonicalize().unwrap(), course, "{spec}");
        }
        assert_eq!(
            named(&root, "c/odd.spec"),
            Named::Course(root.join("c/odd.spec"))
        );
        for path in [
            "c/slides/m/topic_010_a/slides_a.py",
            "c/slides/m/topic_010_a/drawio/d.drawio",
            "c/slides/m",
            "c/slides",
            "c/docs/page.md",
        ] {
            let expected = Named::Source {
                spec: course.clone(),
                path: root.join(path),
            };
            assert_eq!(named(&root, path), expected, "{path}");
        }
        assert_eq!(named(&root, "c/docs"), Named::Folder(root.join("c/docs")));
        assert_eq!(named(&root, "lone"), Named::Folder(root.join("lone")));
        let source = |folder: &str, path: &str| Named::Source {
            spec: root.join(folder).join("clm.toml"),
            path: root.join(path),
        };
        let lone = named(&root, "lone/a.ipynb");
        assert_eq!(lone, source("lone", "lone/a.ipynb"));
        std::fs::write(root.join("lone/b.txt"), "").unwrap();
        let lone = named(&root, "lone/b.txt");
        assert_eq!(lone, Named::Lone(root.join("lone/b.txt")));
        let error = lone.into_spec(&root).unwrap_err().to_string();
        assert!(error.contains("clm build lone`"), "{error}");
        std::fs::create_dir_all(root.join("lone/sub")).unwrap();
        assert_eq!(
            named(&root, "lone/sub"),
            Named::Folder(root.join("lone/sub"))
        );
        std::fs::write(root.join("lone/clm.toml"), "[folder]\n").unwrap();
        assert_eq!(named(&root, "lone/sub"), source("lone", "lone/sub"));
        let settings = named(&root, "lone/clm.toml");
        assert_eq!(settings, Named::Folder(root.join("lone")));
        let above = Named::of(None, &root.join("lone/sub")).unwrap();
        assert_eq!(above, settings);
    }

    #[test]
    fn one_of_several_specifications_must_be_named() {
        let deck = "slides/m/topic_010_a/slides_a.py";
        let (_dir, root) = tree(&[("course-specs/one.xml", SPEC), (deck, "# %%\n")]);
        let Named::Source { spec, .. } = named(&root, deck) else {
            panic!("the only course has the deck");
        };
        assert_eq!(spec, root.join("course-specs/one.xml"));
        std::fs::write(root.join("course-specs/two.xml"), SPEC).unwrap();
        for (spec, expected) in [
            (".", "`clm build ./course-specs/one.xml`"),
            ("course-specs", "`clm build course-specs/two.xml`"),
            (deck, "two.xml --only "),
        ] {
            let error = Named::of(Some(Path::new(spec)), &root).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
