//! Packages that only the system's package manager can install.

use std::process::Command;

use crate::error::{Error, Result};

/// A package that only the system can install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SystemPackage {
    /// Python with virtual environments.
    Python,
    /// A headless browser.
    Browser,
}

/// Returns the command that installs a package on this system; `None` if the system is not known.
pub(super) fn command(package: SystemPackage) -> Option<Vec<&'static str>> {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
            .unwrap_or_default()
    };
    let family = format!("{} {}", field("ID"), field("ID_LIKE"));
    let is = |name: &str| family.split_whitespace().any(|word| word == name);
    let words: &[&str] = match package {
        _ if cfg!(target_os = "macos") => match package {
            SystemPackage::Python => &["brew", "install", "python3"],
            SystemPackage::Browser => &["brew", "install", "--cask", "chromium"],
        },
        SystemPackage::Python if is("debian") || is("ubuntu") => {
            &["apt-get", "install", "-y", "python3", "python3-venv"]
        }
        SystemPackage::Browser if is("debian") || is("ubuntu") => {
            &["apt-get", "install", "-y", "chromium"]
        }
        SystemPackage::Python if is("fedora") || is("rhel") => &["dnf", "install", "-y", "python3"],
        SystemPackage::Browser if is("fedora") || is("rhel") => {
            &["dnf", "install", "-y", "chromium-headless"]
        }
        SystemPackage::Python if is("arch") => &["pacman", "-S", "--noconfirm", "python"],
        SystemPackage::Browser if is("arch") => &["pacman", "-S", "--noconfirm", "chromium"],
        SystemPackage::Python if is("alpine") => &["apk", "add", "python3"],
        SystemPackage::Browser if is("alpine") => &["apk", "add", "chromium"],
        _ => return None,
    };
    Some(words.to_vec())
}

/// Installs a package if `may_install` is set and this process is root; otherwise returns an error with the exact
/// command.
pub(super) fn install(package: SystemPackage, what: &str, may_install: bool) -> Result<()> {
    let Some(command) = command(package) else {
        return Err(Error::usage(format!(
            "{what} is missing, and clm does not know this system's package manager"
        ))
        .hint(format!("install {what} and run `clm setup` again")));
    };
    let line = command.join(" ");
    if !may_install || !nix::unistd::geteuid().is_root() {
        return Err(Error::usage(format!("{what} is missing"))
            .hint(format!("run `sudo {line}`, then `clm setup` again")));
    }
    let status = Command::new(command[0])
        .args(&command[1..])
        .stdout(std::process::Stdio::null())
        .status()
        .map_err(|error| Error::system(&format!("start `{line}`"), &error))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::internal(format!("`{line}` failed ({status})"))
        .hint("run it yourself to see why, then run `clm setup` again"))
}
