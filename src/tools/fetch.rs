//! Downloads with the ordinary clients `pip` and `npm`, so that the user's mirrors, proxies and certificates apply.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::digest;
use crate::error::{Dir, Error, Result, hint_in_text};

use super::pins::{Pin, Registry};

/// The programs that download.
pub(super) struct Fetcher {
    /// A Python with pip; needed only for packages of its index.
    pub python: Option<PathBuf>,
    /// npm: the program and its first arguments; needed only for packages of its registry.
    pub npm: Option<Vec<PathBuf>>,
}

impl Fetcher {
    /// Downloads a package into an empty directory, checks it, and returns its path.
    pub(super) fn fetch(&self, pin: &Pin, to: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(to)
            .map_err(|error| Error::io_in(Dir::Tools, "create", to, &error))?;
        match pin.registry {
            Registry::Python => self.pip(pin, to)?,
            Registry::Node => self.npm(pin, to)?,
        }
        let file = std::fs::read_dir(to)
            .map_err(|error| Error::io_in(Dir::Tools, "read", to, &error))?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|e| e == "whl" || e == "tgz"))
            .ok_or_else(|| {
                Error::internal(format!("{} {} was not downloaded", pin.name, pin.version)).hint(
                    "pip or npm ended without an error and without a file: look at their settings",
                )
            })?;
        check(&file, pin)?;
        Ok(file)
    }

    fn pip(&self, pin: &Pin, to: &Path) -> Result<()> {
        let Some(python) = &self.python else {
            return Err(Error::bug("the Python environment is missing"));
        };
        let list = to.join("requirements.txt");
        let mut text = format!("{}=={}", pin.name, pin.version);
        for sum in pin.sha256 {
            text += &format!(" --hash=sha256:{sum}");
        }
        std::fs::write(&list, text)
            .map_err(|error| Error::io_in(Dir::Tools, "write", &list, &error))?;
        run(
            Command::new(python)
                .args([
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--no-deps",
                    "--only-binary",
                    ":all:",
                ])
                .args([
                    "--require-hashes",
                    "--disable-pip-version-check",
                    "--no-input",
                    "-r",
                ])
                .arg(&list)
                .arg("-d")
                .arg(to),
            pin.name,
        )
    }

    fn npm(&self, pin: &Pin, to: &Path) -> Result<()> {
        let Some([program, arguments @ ..]) = self.npm.as_deref() else {
            return Err(Error::bug("npm is missing"));
        };
        run(
            Command::new(program)
                .args(arguments)
                .args(["pack", "--silent", "--ignore-scripts"])
                .arg(format!("{}@{}", pin.name, pin.version))
                .arg("--pack-destination")
                .arg(to)
                .current_dir(to),
            pin.name,
        )
    }
}

/// Compares the checksum of a downloaded file with the pinned ones.
fn check(file: &Path, pin: &Pin) -> Result<()> {
    let io = |error: std::io::Error| Error::io_in(Dir::Tools, "read", file, &error);
    let sum = digest::sha256_of_file(file).map_err(io)?;
    if pin.sha256.contains(&sum.as_str()) {
        return Ok(());
    }
    Err(Error::internal(format!(
        "what was downloaded as {} {} has the checksum {sum}, which is not the expected one",
        pin.name, pin.version
    ))
    .hint("the mirror may be damaged or tampered with; nothing was installed"))
}

/// Returns advice about a program that failed, by its output.
fn hint(text: &str) -> &'static str {
    const OTHER_BYTES: [&str; 2] = ["DO NOT MATCH THE HASHES", "EINTEGRITY"];
    const NO_SUCH_VERSION: [&str; 3] = ["No matching distribution", "E404", "ETARGET"];
    let says = |signs: &[&str]| signs.iter().any(|sign| text.contains(sign));
    if says(&OTHER_BYTES) {
        "the mirror has other bytes than expected; nothing was installed: use another mirror"
    } else if let Some(hint) = hint_in_text(text) {
        hint
    } else if says(&NO_SUCH_VERSION) {
        "the registry or mirror that pip or npm uses does not have this version: use another one"
    } else {
        "the last lines that it printed are above; run `clm setup` again when that is corrected"
    }
}

/// Runs a program; the error contains the last lines that it printed.
pub(super) fn run(command: &mut Command, what: &str) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::system(&format!("start `{name}`"), &error))?;
    if output.status.success() {
        return Ok(());
    }
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let mut last: Vec<&str> = text.lines().rev().take(15).collect();
    last.reverse();
    let mut error = Error::internal(format!(
        "{what} could not be installed: `{name}` ended with {}",
        output.status
    ))
    .hint(hint(&text));
    if let Some(diagnostic) = error.diagnostics.first_mut() {
        diagnostic.detail = Some(last.join("\n"));
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_program_gets_the_hint_of_its_cause() {
        for (printed, expected) in [
            (
                "OSError: [Errno 28] No space left on device",
                "disk is full",
            ),
            ("npm error code ENOTFOUND", "network"),
            (
                "ERROR: No matching distribution found for x==1",
                "does not have this version",
            ),
            (
                "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE",
                "other bytes",
            ),
            ("Permission denied: '/x'", "permissions"),
            ("something else", "are above"),
        ] {
            let script = format!("echo \"{printed}\" >&2; exit 3");
            let error = run(Command::new("sh").args(["-c", &script]), "x").unwrap_err();
            let diagnostic = &error.diagnostics[0];
            let hint = diagnostic.hint.clone().unwrap_or_default();
            assert!(hint.contains(expected), "{printed}: {hint}");
            assert!(
                diagnostic
                    .detail
                    .as_deref()
                    .is_some_and(|detail| detail.contains(printed))
            );
        }
        let error = run(&mut Command::new("/nonexistent/program"), "x").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("cannot start `/nonexistent/program`"),
            "{error}"
        );
    }
}
