//! Converts file names from paths below the course root to paths for people and for pipelines.

use std::path::{Component, Path, PathBuf};

use crate::config::Place;
use crate::diagnostic::Diagnostic;

/// Converts file names to paths relative to another directory. The default leaves names unchanged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths(Option<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    /// The directory that the names are relative to.
    root: PathBuf,
    /// The directory that the results are relative to.
    base: PathBuf,
}

/// Variables with the directory of the checkout in a pipeline.
const WORKSPACES: [&str; 3] = [
    "GITHUB_WORKSPACE",
    "CI_PROJECT_DIR",
    "BUILD_SOURCESDIRECTORY",
];

impl Paths {
    /// Returns paths relative to the working directory, which terminals and editors can open.
    pub(crate) fn of_person(place: Option<&Place>) -> Self {
        let base = std::env::current_dir().and_then(|dir| dir.canonicalize());
        Self::new(place, base.ok())
    }

    /// Returns paths relative to the repository, as pipelines need them: its checkout, or else the git repository of the
    /// course.
    pub(crate) fn of_repository(place: Option<&Place>) -> Self {
        let mut workspaces = WORKSPACES.iter().filter_map(std::env::var_os);
        Self::in_repository(place, workspaces.next().map(PathBuf::from).as_deref())
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
        // Names relative to the root are correct already.
        Self(inner.filter(|inner| inner.root != inner.base))
    }

    /// Converts the name of a file.
    pub(crate) fn name(&self, file: &str) -> String {
        let Some(Inner { root, base }) = &self.0 else {
            return file.to_owned();
        };
        relative(&root.join(file), base).unwrap_or_else(|| file.to_owned())
    }

    /// Returns a diagnostic with the converted name of its file.
    pub(crate) fn named(&self, diagnostic: &Diagnostic) -> Diagnostic {
        let mut named = diagnostic.clone();
        if let Some(file) = &mut named.file {
            *file = self.name(file);
        }
        named
    }
}

/// Returns a path relative to `base`, or an absolute path if the two have hardly more than the root directory in
/// common.
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
        // A course in a subdirectory of the workspace.
        assert_eq!(name(Some(&top)), format!("repository/{below}"));
        // A workspace without the course is ignored.
        assert_eq!(name(Some(Path::new("/nowhere"))), below);
    }
}
