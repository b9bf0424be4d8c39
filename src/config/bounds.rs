//! The directories that paths in a course may lead into: the course root, and directories that the user who builds the
//! course allows. The course itself cannot allow any.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::files;

use super::env::{ALLOWED_DIRS, KERNEL_PYTHON};

/// The directories that paths of a course may lead into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    root: PathBuf,
    /// The course root and the allowed directories, with symbolic links resolved.
    allowed: Vec<PathBuf>,
}

impl Bounds {
    /// Returns the bounds of a course root, including the directories that the environment of this process allows.
    pub(crate) fn of(root: &Path) -> Self {
        let named = std::env::var_os(ALLOWED_DIRS).unwrap_or_default();
        let named: Vec<PathBuf> = std::env::split_paths(&named).collect();
        Self::new(root, &named)
    }

    fn new(root: &Path, named: &[PathBuf]) -> Self {
        let real = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
        // A relative directory would depend on the working directory of the process.
        let named = named.iter().filter(|dir| dir.is_absolute());
        let named = named.filter_map(|dir| dir.canonicalize().ok());
        Self {
            root: root.to_path_buf(),
            allowed: std::iter::once(real).chain(named).collect(),
        }
    }

    /// Returns whether a path without symbolic links lies in one of the directories.
    pub(crate) fn hold(&self, real: &Path) -> bool {
        self.allowed.iter().any(|dir| real.starts_with(dir))
    }

    /// Returns the real path if it lies outside of the directories. If the path does not exist, its nearest existing
    /// ancestor is checked.
    pub(crate) fn leaves(&self, path: &Path) -> Option<PathBuf> {
        let real = path.ancestors().find_map(|path| path.canonicalize().ok())?;
        (!self.hold(&real)).then_some(real)
    }

    /// Opens a regular file of the course. Fails with `InvalidInput` if the file lies outside of the directories.
    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        use std::os::fd::AsRawFd as _;
        let file = files::open(path)?;
        // The opened file is checked, since the path may lead to another one a moment later.
        let opened = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let real = std::fs::read_link(opened).or_else(|_| path.canonicalize())?;
        match self.hold(&real) {
            true => Ok(file),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it lies outside of the root directory",
            )),
        }
    }

    /// Returns the error about a path that leads out of the course.
    pub(crate) fn error(what: &str, real: &Path) -> Diagnostic {
        Diagnostic::error(format!(
            "{what} leads out of the root directory, to `{}`",
            real.display()
        ))
        .hint(format!(
            "copy it to where it is used, or allow the place yourself: {ALLOWED_DIRS}={}",
            real.display()
        ))
    }

    /// Checks the path of an interpreter or virtual environment like [`Self::check`]. Only its directory is checked,
    /// since the interpreter of a virtual environment is usually a link to one of the system.
    pub(crate) fn check_python(&self, name: &str, file: &str, text: &str) -> Result<(), Error> {
        if std::env::var_os(KERNEL_PYTHON).is_some() {
            // The environment variable overrides the path, so it is not used.
            return Ok(());
        }
        let named = self.root.join(name);
        let dir = match named.is_dir() {
            true => Path::new(name),
            false => Path::new(name).parent().unwrap_or(Path::new("")),
        };
        let dir = dir.to_string_lossy();
        self.check("the Python of kernels", &dir, file, text)
            .map_err(|error| {
                error.hint(format!(
                    "keep the environment below the root directory, or name it yourself: {KERNEL_PYTHON}={}",
                    named.display()
                ))
            })
    }

    /// Checks that a path that the course names stays inside. The error has the line of `text` that contains the path.
    pub(crate) fn check(
        &self,
        what: &str,
        name: &str,
        file: &str,
        text: &str,
    ) -> Result<(), Error> {
        let Some(real) = self.leaves(&self.root.join(name)) else {
            return Ok(());
        };
        // The whole value is searched first, since a short name may be part of other words.
        let values = [format!(">{name}<"), format!("\"{name}\""), name.to_owned()];
        let line_with = |value: &String| text.lines().position(|line| line.contains(value));
        let line = values.iter().find_map(line_with);
        let line = line.and_then(|line| u32::try_from(line + 1).ok());
        let error = Self::error(&format!("{what} `{name}`"), &real).at(file, line);
        Err(Error::from_diagnostics(vec![error]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths_stay_in_the_course_and_in_what_the_person_allows() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let root = top.join("course");
        for dir in ["course/inside", "outside/deep", "allowed"] {
            std::fs::create_dir_all(top.join(dir)).unwrap();
        }
        std::fs::write(top.join("outside/secret"), "secret").unwrap();
        std::fs::write(top.join("allowed/fine"), "fine").unwrap();
        symlink(top.join("outside"), root.join("out")).unwrap();
        symlink("inside", root.join("in")).unwrap();
        symlink("../allowed", root.join("allowed")).unwrap();
        let bounds = Bounds::new(&root, &[top.join("allowed"), PathBuf::from("..")]);
        for path in ["inside", "in", "in/new/deep", "allowed/fine", "new", ""] {
            assert_eq!(bounds.leaves(&root.join(path)), None, "{path}");
        }
        for path in [
            "out",
            "out/secret",
            "out/new",
            "..",
            "../new",
            "in/../../new",
            "/etc",
        ] {
            assert!(bounds.leaves(&root.join(path)).is_some(), "{path}");
        }
        assert!(bounds.open(&root.join("allowed/fine")).is_ok());
        assert!(bounds.open(&root.join("out/secret")).is_err());
        let text = "[output]\n\ndir = \"../new\"\n";
        let error = bounds.check("the output directory", "../new", "clm.toml", text);
        let error = &error.unwrap_err().diagnostics[0];
        assert_eq!(
            (error.file.as_deref(), error.line),
            (Some("clm.toml"), Some(3))
        );
    }
}
