//! Renderers: located where they are installed, installed without root if they are missing, and tested by `clm doctor`.

#[doc(hidden)]
pub(crate) mod archive;
mod dirs;
pub(crate) mod doctor;
mod downloads;
pub(crate) mod expected;
mod fetch;
mod fonts;
mod http;
mod install;
pub(crate) mod inventory;
mod kernelspecs;
pub(crate) mod licences;
mod listing;
pub(crate) mod locate;
pub(crate) mod lock;
mod mirror;
mod missing;
mod needs;
mod package;
mod pins;
pub(crate) mod planned;
mod progress;
pub(crate) mod provision;
mod python;
pub(crate) mod remove;
mod requirements;
pub(crate) mod selection;
mod sizes;
mod system;
mod transfer;
mod unpack;
mod users;
mod venv;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::env;

pub use needs::Needs;
pub(crate) use progress::SetupEvent;
pub use provision::{SetupOptions, setup};

/// Where tools are located.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The environment variables.
    pub env: HashMap<OsString, OsString>,
    /// The directory of installed renderers.
    pub tools_dir: PathBuf,
    /// The root of the course, if there is one.
    pub course_root: Option<PathBuf>,
    /// The interpreter or virtual environment for Python kernels, as named by the course.
    pub kernel_python: Option<String>,
}

impl Context {
    /// Returns the context of this process.
    pub fn of_process(course_root: Option<PathBuf>) -> Self {
        let env: HashMap<OsString, OsString> = std::env::vars_os().collect();
        Self {
            tools_dir: dirs::tools_dir(&env),
            env,
            course_root,
            kernel_python: None,
        }
    }

    /// Returns the context with the Python for kernels that the course names.
    #[must_use]
    pub fn with_kernel_python(mut self, python: Option<String>) -> Self {
        self.kernel_python = python.or(self.kernel_python);
        self
    }

    /// Returns a variable that is set and not empty.
    pub fn var(&self, name: &str) -> Option<&OsString> {
        self.env
            .get(&OsString::from(name))
            .filter(|value| !value.is_empty())
    }

    /// Returns the path of a program on the search path.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let path = self.var("PATH")?;
        std::env::split_paths(path)
            .map(|dir| dir.join(name))
            .find(|file| dirs::is_executable(file))
    }

    /// Returns how many bytes are free where renderers are installed, if the system says it.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        // The directory may not be there yet.
        let dir = self.tools_dir.ancestors().find(|dir| dir.is_dir())?;
        let disk = nix::sys::statvfs::statvfs(dir).ok()?;
        // The types differ between systems.
        #[allow(clippy::unnecessary_cast, reason = "not everywhere")]
        let free = (disk.blocks_available() as u64).checked_mul(disk.fragment_size() as u64);
        free
    }

    /// Returns the Python for kernels that the environment or the course names.
    fn named_python(&self) -> Option<PathBuf> {
        let name = self
            .var(env::KERNEL_PYTHON)
            .map(PathBuf::from)
            .or_else(|| self.kernel_python.as_ref().map(PathBuf::from))?;
        let name = match &self.course_root {
            Some(root) => root.join(name),
            None => name,
        };
        Some(if name.is_dir() {
            name.join("bin/python")
        } else {
            name
        })
    }
}
