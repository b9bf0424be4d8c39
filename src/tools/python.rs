//! Python environments, as far as their files show: no interpreter is started.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::files;

/// A virtual environment or an installed Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PythonEnvironment {
    /// The interpreter.
    pub python: PathBuf,
    /// The version, such as `3.11.7`, as far as it is known.
    pub version: String,
    /// The installed distributions, such as `nbconvert-7.17.2`, sorted.
    pub distributions: Vec<String>,
}

impl PythonEnvironment {
    /// Returns the environment of an interpreter; `None` if it does not exist.
    pub(super) fn of(python: &Path) -> Option<Self> {
        if !super::dirs::is_executable(python) {
            return None;
        }
        // Links are not resolved: the interpreter of a virtual environment is a link to another one.
        let base = python.parent()?.parent()?;
        let lib = std::fs::read_dir(base.join("lib")).ok()?;
        let mut found: Option<(String, PathBuf)> = None;
        for entry in lib.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let packages = entry.path().join("site-packages");
            if let Some(version) = name.strip_prefix("python3.")
                && packages.is_dir()
            {
                found = Some((format!("3.{version}"), packages));
            }
        }
        let (version, packages) = found?;
        let mut distributions: Vec<String> = std::fs::read_dir(&packages)
            .ok()?
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                name.strip_suffix(".dist-info").map(str::to_owned)
            })
            .collect();
        distributions.sort();
        Some(Self {
            python: python.to_path_buf(),
            version: exact_version(base).unwrap_or(version),
            distributions,
        })
    }

    /// Returns the version of a distribution, if it is installed.
    pub(super) fn version_of(&self, name: &str) -> Option<&str> {
        self.distributions.iter().find_map(|distribution| {
            let (found, version) = distribution.rsplit_once('-')?;
            let normal = |name: &str| name.to_lowercase().replace(['-', '.'], "_");
            (normal(found) == normal(name)).then_some(version)
        })
    }

    /// Returns the part of action keys for this environment: the versions of the interpreter and of all distributions.
    pub(super) fn fingerprint(&self) -> String {
        fingerprint(&self.version, &self.distributions)
    }
}

/// Returns the fingerprint of an interpreter of this version with these distributions.
pub(super) fn fingerprint(version: &str, distributions: &[String]) -> String {
    format!(
        "python {version} with {}",
        Digest::of(distributions.join("\n")).short()
    )
}

/// Returns the version in the `pyvenv.cfg` of a virtual environment.
fn exact_version(base: &Path) -> Option<String> {
    let text = files::read_to_string(&base.join("pyvenv.cfg")).ok()?;
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| matches!(key.trim(), "version" | "version_info"))
        .map(|(_, version)| version.trim().to_owned())
}
