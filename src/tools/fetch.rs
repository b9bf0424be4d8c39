//! Downloads with the ordinary clients `pip` and `npm`, so that the user's mirrors, proxies and certificates apply. Of
//! `npm` only the address is asked where that is enough: it cannot continue a file.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::error::{Dir, Error, Result, hint_in_text};

use super::downloads::{Downloads, Keeper};
use super::http::{Failure, Http};
use super::package::Package;
use super::pins::Registry;
use super::transfer::{self, TransferError};

/// How often the progress of a client is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// The programs that download.
pub(super) struct Fetcher {
    /// A Python with pip; needed only for packages of its index.
    pub python: Option<PathBuf>,
    /// npm: the program and its first arguments; needed only for packages of its registry.
    pub npm: Option<Vec<PathBuf>>,
    /// The client for the addresses that npm names.
    pub http: Http,
    /// Whether it failed, so that npm downloads the rest.
    pub is_left_to_npm: Cell<bool>,
}

impl Fetcher {
    /// Downloads packages into a directory, checks them, and returns their files in the same order. `progress` is called
    /// with the bytes that have arrived so far.
    pub(super) fn fetch(
        &self,
        packages: &[Package<'_>],
        to: &Downloads,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<PathBuf>> {
        // One call for all wheels, since pip takes long to start.
        let is_wheel = |package: &&Package<'_>| package.registry == Registry::Python;
        let wheels: Vec<Package<'_>> = packages.iter().filter(is_wheel).copied().collect();
        let mut finished = 0;
        let mut of_pip = match wheels.as_slice() {
            [] => Vec::new(),
            wheels => self.pip(wheels, to, progress)?,
        };
        finished += bytes_of(&of_pip);
        let mut files = Vec::new();
        for package in packages {
            let file = match package.registry {
                // In the same order as in `packages`.
                Registry::Python => of_pip.remove(0),
                Registry::Node => {
                    let file = self.npm(*package, to, &mut |bytes| progress(finished + bytes))?;
                    finished += bytes_of(std::slice::from_ref(&file));
                    file
                }
            };
            progress(finished);
            files.push(file);
        }
        Ok(files)
    }

    fn pip(
        &self,
        packages: &[Package<'_>],
        to: &Downloads,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<PathBuf>> {
        let Some(python) = &self.python else {
            return Err(Error::bug("the Python environment is missing"));
        };
        let part = to.part()?;
        // pip downloads into its temporary directory: there its progress shows, and what is finished is kept.
        let (list, temporary) = (
            part.path().join("requirements.txt"),
            part.path().join("tmp"),
        );
        let io = |error: std::io::Error| Error::io_in(Dir::Tools, "write", part.path(), &error);
        std::fs::create_dir(&temporary).map_err(io)?;
        let mut text = String::new();
        for package in packages {
            text += &format!("{}=={}", package.name, package.version);
            for sum in package.sha256 {
                text += &format!(" --hash=sha256:{sum}");
            }
            text.push('\n');
        }
        std::fs::write(&list, text).map_err(io)?;
        let what = match packages {
            [package] => package.name,
            _ => "the Python environment",
        };
        let mut keeper = Keeper::new(to, part.path(), packages);
        run_watched(
            Command::new(python)
                .args(["-m", "pip", "download", "--quiet", "--no-deps"])
                .args(["--only-binary", ":all:", "--require-hashes"])
                .args(["--disable-pip-version-check", "--no-input", "-r"])
                .arg(&list)
                .arg("-d")
                .arg(part.path().join("out"))
                .env("TMPDIR", &temporary),
            what,
            &mut |_| {
                keeper.look();
                progress(to.received(packages));
            },
        )?;
        keeper.finish()
    }

    fn npm(
        &self,
        package: Package<'_>,
        to: &Downloads,
        progress: &mut dyn FnMut(u64),
    ) -> Result<PathBuf> {
        if !self.is_left_to_npm.get() {
            if let Some(file) = self.by_address(package, to, progress)? {
                return Ok(file);
            }
            self.is_left_to_npm.set(true);
        }
        let part = to.part()?;
        run_watched(
            self.npm_command()?
                .args(["pack", "--silent", "--ignore-scripts"])
                .arg(format!("{}@{}", package.name, package.version))
                .arg("--pack-destination")
                .arg(part.path())
                .current_dir(part.path()),
            package.name,
            // The file appears at the end. Before that, npm writes what it receives into its cache.
            &mut |client| progress(bytes_written(client)),
        )?;
        let mut files = Keeper::new(to, part.path(), &[package]).finish()?;
        files.pop().ok_or_else(|| Error::bug("no file was kept"))
    }
    /// Downloads a package from the address that npm names. Returns `None` if only npm can: for a registry with a login,
    /// with certificates of its own, or behind a proxy that only npm knows.
    fn by_address(
        &self,
        package: Package<'_>,
        to: &Downloads,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<PathBuf>> {
        let asked = self
            .npm_command()?
            .args(["view", &format!("{}@{}", package.name, package.version)])
            .arg("dist.tarball")
            .current_dir(to.dir())
            .stdin(Stdio::null())
            .output();
        let said = asked.map_or_else(|_| Vec::new(), |output| output.stdout);
        let said = String::from_utf8_lossy(&said);
        let url = said.trim();
        let is_address = url.starts_with("https://") || url.starts_with("http://");
        if !is_address || url.contains(char::is_whitespace) {
            return Ok(None);
        }
        let name = package.file_name();
        match transfer::fetch(&self.http, url, &name, &package, to, progress) {
            Ok(file) => Ok(Some(file)),
            Err(TransferError::Failed(Failure::Status(_) | Failure::Unreachable(_))) => Ok(None),
            Err(failure) => Err(transfer::error(package.name, failure)),
        }
    }

    fn npm_command(&self) -> Result<Command> {
        let Some([program, arguments @ ..]) = self.npm.as_deref() else {
            return Err(Error::bug("npm is missing"));
        };
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(command)
    }
}

fn bytes_of(files: &[PathBuf]) -> u64 {
    let size = |file: &PathBuf| std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    files.iter().map(size).sum()
}

/// Returns how many bytes a process has written to files, or 0 where the system does not count them.
fn bytes_written(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
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
    run_watched(command, what, &mut |_| {})
}

/// Runs a program like [`run`], and calls `look` with its number from time to time.
fn run_watched(command: &mut Command, what: &str, look: &mut dyn FnMut(u32)) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| Error::system(&format!("start `{name}`"), &error);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let number = child.id();
    let (sender, receiver) = mpsc::channel();
    let waiter = std::thread::Builder::new().spawn(move || {
        // Fails only if nobody waits for the result any more.
        let _ = sender.send(child.wait_with_output());
    });
    waiter.map_err(|error| Error::system("start a thread", &error))?;
    let output: Output = loop {
        match receiver.recv_timeout(LOOK) {
            Ok(output) => break output.map_err(failed)?,
            Err(RecvTimeoutError::Timeout) => look(number),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::bug(format!("nobody waits for `{name}`")));
            }
        }
    };
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
