//! The location of a course: its specification, its root, and the directory of its store.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::{Dir, Error, Result, io_hint};

use super::named::Named;
use super::{SETTINGS_FILE, env};

/// The name of the file that pins the renderers of a course.
const LOCK_FILE: &str = "clm.lock";

/// The specification of a course and the directory that all its paths are relative to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The specification (absolute).
    pub spec: PathBuf,
    /// The course root (absolute, symbolic links resolved).
    pub root: PathBuf,
}

impl Place {
    /// Finds a course. The specification is what `spec` names (see `Named`), or the nearest `course.xml` in `cwd` or above;
    /// the root is `data_dir`, or the specification's directory if that contains `slides/`, or its parent.
    pub fn find(spec: Option<&Path>, data_dir: Option<&Path>, cwd: &Path) -> Result<Self> {
        let spec = Named::of(spec, cwd)?.into_spec(cwd)?;
        if spec.file_name().is_some_and(|name| name == SETTINGS_FILE) {
            return Self::found_folder(&spec, data_dir);
        }
        let spec = spec
            .canonicalize()
            .map_err(|error| no_spec(&spec, &error))?;
        if !spec.is_file() {
            return Err(Error::usage(format!("`{}` is not a file", spec.display()))
                .hint("name the specification file, such as `course.xml`"));
        }
        let own = spec.parent().unwrap_or(Path::new("/"));
        let root = match data_dir {
            Some(dir) => real_root(cwd, dir)?,
            None => [Some(own), own.parent()]
                .into_iter()
                .flatten()
                .find(|dir| dir.join("slides").is_dir())
                .map(Path::to_path_buf)
                .ok_or_else(|| no_root(own))?,
        };
        Ok(Self { spec, root })
    }

    fn found_folder(settings: &Path, data_dir: Option<&Path>) -> Result<Self> {
        let dir = settings.parent().unwrap_or(Path::new("/"));
        if data_dir.is_some() {
            return Err(Error::usage("`--data-dir` is for courses").hint(format!(
                "`{}` is a folder without `course.xml`",
                dir.display()
            )));
        }
        let dir = dir.canonicalize();
        let dir = dir.map_err(|error| Error::io("read", settings, &error))?;
        Ok(Self::of_folder(&dir))
    }

    /// Returns the place of a folder without `course.xml`: its settings file, which need not exist, is in the place of
    /// the specification.
    pub(crate) fn of_folder(dir: &Path) -> Self {
        Self {
            spec: dir.join(SETTINGS_FILE),
            root: dir.to_path_buf(),
        }
    }

    /// Returns whether it is a folder without `course.xml`.
    pub fn is_folder(&self) -> bool {
        self.spec
            .file_name()
            .is_some_and(|name| name == SETTINGS_FILE)
    }

    /// Returns the specification's path for messages: relative to the root if it lies inside.
    pub fn spec_name(&self) -> String {
        self.spec
            .strip_prefix(&self.root)
            .unwrap_or(&self.spec)
            .display()
            .to_string()
    }

    /// Returns the file that pins the renderers of the course, which may not exist: `clm.lock` beside the specification,
    /// or at the course root if there is one.
    pub fn lock_file(&self) -> PathBuf {
        let [own, of_root] = self.lock_files();
        match !own.exists() && of_root.exists() {
            true => of_root,
            false => own,
        }
    }

    /// Returns the places where [`Place::lock_file`] may be, in the order of precedence.
    pub fn lock_files(&self) -> [PathBuf; 2] {
        [
            self.spec.with_file_name(LOCK_FILE),
            self.root.join(LOCK_FILE),
        ]
    }

    /// Returns the directory of the store: in the course, or in the user's cache if the course is read-only.
    pub fn state_dir(&self) -> PathBuf {
        match std::env::var_os(env::STATE_DIR) {
            Some(dir) if !dir.is_empty() => PathBuf::from(dir),
            _ => self
                .state_dir_of_read_only()
                .unwrap_or_else(|| self.root.join(".clm")),
        }
    }

    /// Returns the directory of the store of a read-only course, or `None` if the course is writable or the environment
    /// names a store.
    pub fn state_dir_of_read_only(&self) -> Option<PathBuf> {
        if std::env::var_os(env::STATE_DIR).is_some_and(|dir| !dir.is_empty()) {
            return None;
        }
        let own = self.root.join(".clm");
        let dir = if own.is_dir() { &own } else { &self.root };
        if nix::unistd::access(dir, nix::unistd::AccessFlags::W_OK).is_ok() {
            return None;
        }
        let name = Digest::of(self.root.as_os_str().as_encoded_bytes()).short();
        Some(user_cache().join("clm").join(name))
    }
}

/// Returns the user's directory for caches.
pub(crate) fn user_cache() -> PathBuf {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    named
        .filter(|dir| dir.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
}

fn no_spec(spec: &Path, error: &std::io::Error) -> Error {
    let result = Error::usage(format!(
        "cannot read the specification `{}`: {error}",
        spec.display()
    ));
    match io_hint(Dir::Other, "read", error) {
        Some(hint) => result.hint(hint),
        None => result,
    }
}

/// Resolves the course root that the user named.
fn real_root(cwd: &Path, dir: &Path) -> Result<PathBuf> {
    let unusable = |reason: &str| {
        Error::usage(format!(
            "cannot use the course root `{}`: {reason}",
            dir.display()
        ))
        .hint("`--data-dir` names the directory that holds `slides/`")
    };
    let real = cwd.join(dir).canonicalize();
    let real = real.map_err(|error| unusable(&error.to_string()))?;
    match real.is_dir() {
        true => Ok(real),
        false => Err(unusable("it is not a directory")),
    }
}

fn no_root(own: &Path) -> Error {
    let parent = own.parent().unwrap_or(own);
    Error::usage(format!(
        "there is no `slides` directory in `{}` or in `{}`",
        own.display(),
        parent.display()
    ))
    .hint("put the specification beside `slides/` or one directory below, or name the course root with `--data-dir`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_slides() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("slides")).unwrap();
        std::fs::create_dir_all(root.join("course-specs")).unwrap();
        std::fs::write(root.join("course-specs/x.xml"), "").unwrap();
        std::fs::write(root.join("course.xml"), "").unwrap();
        let place = Place::find(Some(Path::new("course-specs/x.xml")), None, &root).unwrap();
        assert_eq!(place.root, root);
        assert_eq!(place.spec_name(), "course-specs/x.xml");
        let nearest = Place::find(None, None, &root.join("slides")).unwrap();
        assert_eq!(nearest.spec, root.join("course.xml"));
        let lost = Place::find(Some(Path::new("slides/none.xml")), None, &root).unwrap_err();
        assert_eq!(lost.exit_code(), 2);
        let file = Place::find(None, Some(Path::new("course.xml")), &root).unwrap_err();
        assert!(file.to_string().contains("not a directory"), "{file}");
        std::fs::remove_file(root.join("course.xml")).unwrap();
        let none = Place::find(None, None, &root).unwrap_err();
        assert!(
            none.to_string().contains("`clm build course-specs/x.xml`"),
            "{none}"
        );
        std::fs::create_dir(root.join("course.xml")).unwrap();
        let dir = Place::find(None, None, &root).unwrap_err();
        assert!(dir.to_string().contains("is a directory"), "{dir}");
    }
}
