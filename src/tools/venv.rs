//! The virtual environment with the packages of clm.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Dir, Error, Result};

use super::provision::SetupOptions;
use super::system::{self, SystemPackage};
use super::{Context, fetch, pins};

/// Returns the system's Python.
pub(super) fn python(context: &Context, options: &SetupOptions) -> Result<PathBuf> {
    match context.program("python3") {
        Some(python) => Ok(python),
        None => {
            system::install(SystemPackage::Python, "Python", options.system)?;
            Err(Error::usage("Python was just installed").hint("run `clm setup` again"))
        }
    }
}

/// Creates a virtual environment with nothing but pip. Needs no network.
pub(super) fn create(context: &Context, options: &SetupOptions, dir: &Path) -> Result<()> {
    let python = python(context, options)?;
    let create = || {
        let mut command = Command::new(&python);
        fetch::run(command.args(["-m", "venv", "--clear"]).arg(dir), "Python")
    };
    match create() {
        Err(error) if lacks_venv(&error) => {
            system::install(
                SystemPackage::Python,
                "Python's module for virtual environments",
                options.system,
            )?;
            create()
        }
        result => result,
    }
}

/// Installs all packages from the wheels in a directory. Neither an index nor the user's settings of pip are used, since
/// they could name other places.
pub(super) fn fill(dir: &Path, wheels: &Path) -> Result<()> {
    let list = dir.join("requirements.txt");
    std::fs::write(&list, pins::REQUIREMENTS)
        .map_err(|error| Error::io_in(Dir::Tools, "write", &list, &error))?;
    fetch::run(
        Command::new(dir.join("bin/python"))
            .args(["-m", "pip", "--isolated", "install", "--quiet"])
            .args(["--no-index", "--no-deps", "--find-links"])
            .arg(wheels)
            .args(["--require-hashes", "--only-binary", ":all:"])
            .args(["--disable-pip-version-check", "--no-input"])
            .args(["--no-warn-script-location", "-r"])
            .arg(&list),
        "the Python environment",
    )
}

/// Returns whether creating a virtual environment failed because Python lacks a module for it: some systems package it
/// separately.
fn lacks_venv(error: &Error) -> bool {
    let mut printed = error
        .diagnostics
        .iter()
        .filter_map(|diagnostic| diagnostic.detail.as_deref());
    printed.any(|text| {
        ["ensurepip", "No module named venv", "python3-venv"]
            .iter()
            .any(|sign| text.contains(sign))
    })
}
