//! How files are named: diagnostics name them below the course root, people and GitHub stand elsewhere.

use std::path::{Component, Path, PathBuf};

use crate::config::Place;
use crate::events::Diagnostic;

/// Names files relative to the directory where a person works. The default leaves names as they are.
#[derive(Clone, Debug, Default)]
pub struct Paths(Option<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    /// What the names are below.
    root: PathBuf,
    /// Where they are to be named from.
    base: PathBuf,
}

impl Paths {
    /// For a person in the working directory: a terminal or an editor opens what it is shown.
    pub fn of_person(place: Option<&Place>) -> Self {
        let base = std::env::current_dir().and_then(|dir| dir.canonicalize());
        Self::new(place, base.ok())
    }

    /// For GitHub, which names files below the repository: its checkout, or else the git repository of the course.
    pub fn of_repository(place: Option<&Place>) -> Self {
        let workspace = std::env::var_os("GITHUB_WORKSPACE").map(PathBuf::from);
        Self::in_repository(place, workspace.as_deref())
    }

    fn in_repository(place: Option<&Place>, workspace: Option<&Path>) -> Self {
        let root = place.map(|place| place.root.as_path());
        let workspace = workspace
            .and_then(|dir| dir.canonicalize().ok())
            .filter(|dir| root.is_some_and(|root| root.starts_with(dir)));
        let repository = || {
            let dirs = root?.ancestors();
            let mut found = dirs.filter(|dir| dir.join(".git").exists());
            found.next().map(Path::to_path_buf)
        };
        Self::new(place, workspace.or_else(repository))
    }

    fn new(place: Option<&Place>, base: Option<PathBuf>) -> Self {
        let inner = place.zip(base).map(|(place, base)| Inner {
            root: place.root.clone(),
            base,
        });
        // At the root the names are right already.
        Self(inner.filter(|inner| inner.root != inner.base))
    }

    /// The name of a file.
    pub fn name(&self, file: &str) -> String {
        let Some(Inner { root, base }) = &self.0 else {
            return file.to_owned();
        };
        relative(&root.join(file), base).unwrap_or_else(|| file.to_owned())
    }

    /// A diagnostic whose file is named so.
    pub fn named(&self, diagnostic: &Diagnostic) -> Diagnostic {
        let mut named = diagnostic.clone();
        if let Some(file) = &mut named.file {
            *file = self.name(file);
        }
        named
    }
}

/// A file as it is named from `base`: by a relative path where the two have more than the top of the file system in
/// common, else by the absolute one.
fn relative(file: &Path, base: &Path) -> Option<String> {
    let common: Vec<Component<'_>> = file
        .components()
        .zip(base.components())
        .take_while(|(one, other)| one == other)
        .map(|(component, _)| component)
        .collect();
    let below: PathBuf = file.components().skip(common.len()).collect();
    let up = base.components().count() - common.len();
    let is_far = up > 0 && common.len() < 3;
    let path = match is_far {
        true => file.to_path_buf(),
        false => std::iter::repeat_n(Path::new(".."), up)
            .chain([below.as_path()])
            .collect(),
    };
    path.to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &Path) -> Place {
        Place {
            spec: root.join("course.xml"),
            root: root.to_path_buf(),
        }
    }

    #[test]
    fn files_are_named_relative_to_the_working_directory() {
        let place = place(Path::new("/home/me/courses/python"));
        let name = |base: &str, file: &str| Paths::new(Some(&place), Some(base.into())).name(file);
        for (base, expected) in [
            ("/home/me/courses/python", "slides/a.py"),
            ("/home/me/courses", "python/slides/a.py"),
            ("/", "home/me/courses/python/slides/a.py"),
            ("/home/me/courses/python/slides/m", "../a.py"),
            ("/home/me/notes", "../courses/python/slides/a.py"),
            ("/tmp/x", "/home/me/courses/python/slides/a.py"),
        ] {
            assert_eq!(name(base, "slides/a.py"), expected, "{base}");
        }
        assert_eq!(name("/home/me/courses", "/etc/x"), "/etc/x");
        assert_eq!(
            name("/home/me/courses", "/home/me/courses/spec.xml"),
            "spec.xml"
        );
        assert_eq!(Paths::default().name("slides/a.py"), "slides/a.py");
    }

    #[test]
    fn annotations_name_files_below_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let root = top.join("repository/courses/python");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::create_dir(top.join("repository/.git")).unwrap();
        let place = place(&root);
        let name = |workspace: Option<&Path>| {
            Paths::in_repository(Some(&place), workspace).name("slides/a.py")
        };
        let below = "courses/python/slides/a.py";
        assert_eq!(name(None), below);
        assert_eq!(name(Some(&top.join("repository"))), below);
        // A course that was checked out into a directory of the workspace.
        assert_eq!(name(Some(&top)), format!("repository/{below}"));
        // The workspace of something else says nothing.
        assert_eq!(name(Some(Path::new("/nowhere"))), below);
    }
}
