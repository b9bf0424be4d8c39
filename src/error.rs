//! The error type of all commands, and its exit code.

use std::fmt;
use std::path::Path;

use crate::diagnostic::{Diagnostic, Severity};

/// The class of an error, which decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Wrong usage, configuration or course specification: exit code 2.
    Usage,
    /// A failure of the system that concerns one file or call: exit code 3.
    System,
    /// The file system of the outputs is full or read-only, so that no further output can be written: exit code 3.
    Full,
    /// The records cannot be read or written, so that no other work can continue: exit code 3.
    Records,
    /// A bug of clm: exit code 3.
    Bug,
    /// Ctrl-C: exit code 130.
    Interrupted,
}

/// An error that ends a command, with everything that the user needs to correct it.
///
/// A failing deck or diagram is never an `Error`: it is a [`Diagnostic`] in the run.
#[derive(Debug)]
pub struct Error {
    /// The class, which decides the exit code.
    pub kind: ErrorKind,
    /// What is reported: at least one diagnostic, of which the first is the headline.
    pub diagnostics: Vec<Diagnostic>,
}

/// The result of any function whose failure can end a command.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns an error in usage, configuration or specification.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Returns an error of the system.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::System, message)
    }

    /// Returns an error of the records.
    pub fn records(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Records, message)
    }

    /// Returns the error for a command that the user interrupted.
    pub fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted")
    }

    /// Returns the error of a failed operation on a file; `what` is an infinitive such as "read".
    pub fn io(what: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::io_in(Dir::Other, what, path, error)
    }

    /// Returns the error of a failed operation on a file in a directory for which the user may choose another one.
    pub fn io_in(dir: Dir, what: &str, path: &Path, error: &std::io::Error) -> Self {
        let mut result = Self::internal(format!("cannot {what} `{}`: {error}", path.display()));
        if let Some(hint) = io_hint(dir, what, error) {
            result = result.hint(hint);
        }
        if is_full(error) {
            result.kind = ErrorKind::Full;
        }
        result
    }

    /// Returns the error of a failed system call without a file; `what` is an infinitive such as "start a thread".
    pub fn system(what: &str, error: &std::io::Error) -> Self {
        let result = Self::internal(format!("cannot {what}: {error}"));
        match io_hint(Dir::Other, what, error) {
            Some(hint) => result.hint(hint),
            None => result,
        }
    }

    /// Returns an error that only a bug in clm can cause, not the author.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Bug, message).hint(BUG_HINT)
    }

    /// Returns the error for diagnostics that were collected while reading the specification or the settings.
    pub fn from_diagnostics(diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            kind: ErrorKind::Usage,
            diagnostics,
        }
    }

    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            diagnostics: vec![Diagnostic::new(Severity::Error, message)],
        }
    }

    /// Returns the message of the headline without file, severity and hint, for use in another sentence.
    pub fn message(&self) -> &str {
        let first = self.diagnostics.first();
        first.map_or("it gives no reason", |first| first.message.as_str())
    }

    /// Sets the hint of the last diagnostic.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(last) = self.diagnostics.last_mut() {
            last.hint = Some(hint.into());
        }
        self
    }

    /// Sets the file (and line) of the last diagnostic.
    #[must_use]
    pub fn at(mut self, file: impl Into<String>, line: Option<u32>) -> Self {
        if let Some(last) = self.diagnostics.last_mut() {
            last.file = Some(file.into());
            last.line = line;
        }
        self
    }

    /// Returns whether neither the author nor the user caused it.
    pub fn is_internal(&self) -> bool {
        !matches!(self.kind, ErrorKind::Usage | ErrorKind::Interrupted)
    }

    /// Returns whether no further output can be written.
    pub fn stops_all(&self) -> bool {
        matches!(self.kind, ErrorKind::Full | ErrorKind::Records)
    }

    /// Returns the exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Usage => 2,
            ErrorKind::System | ErrorKind::Full | ErrorKind::Records | ErrorKind::Bug => 3,
            ErrorKind::Interrupted => 130,
        }
    }
}

/// Returns whether an error means that the file system accepts no further data: it is full, or read-only.
pub(crate) fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Io;
    matches!(
        error.kind(),
        Io::StorageFull | Io::QuotaExceeded | Io::ReadOnlyFilesystem
    )
}

/// The hint of errors that the author cannot have caused.
pub(crate) const BUG_HINT: &str = "this is a bug in clm: please report it with this message, the file it is about and what `clm doctor` prints";

/// The purpose of a directory: for some of them the user can choose another directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dir {
    /// Outputs.
    Output,
    /// The store: records and cached results.
    State,
    /// Installed renderers.
    Tools,
    /// Anything else.
    Other,
}

impl Dir {
    /// Returns the end of a hint that says how to choose another directory.
    fn other(self) -> &'static str {
        match self {
            Self::Output => ", or choose another one with `--output-dir`",
            Self::State => ", or choose another one with the variable CLM_STATE_DIR",
            Self::Tools => ", or choose another one with the variable CLM_TOOLS_DIR",
            Self::Other => "",
        }
    }
}

/// Returns a hint about a failure of the system, by its cause, or `None` if the cause needs no explanation.
pub(crate) fn io_hint(dir: Dir, what: &str, error: &std::io::Error) -> Option<String> {
    use std::io::ErrorKind as Io;
    let is_reading = matches!(what, "read" | "open" | "look at" | "list");
    let other = dir.other();
    let hint = match error.kind() {
        Io::StorageFull => {
            let stays = match dir {
                Dir::Output | Dir::State => ": finished work stays in the cache",
                Dir::Tools | Dir::Other => "",
            };
            format!("free some space there and run the command again{stays}")
        }
        Io::QuotaExceeded => format!(
            "your share of that disk is used up: free some of it and run the command again{other}"
        ),
        Io::ReadOnlyFilesystem => format!("its file system is read-only: mount it writable{other}"),
        Io::PermissionDenied if is_reading => "allow yourself to read it (`chmod u+r`)".to_owned(),
        Io::PermissionDenied => format!("make the directory writable for you{other}"),
        Io::InvalidData if what == "read" => "save it with the encoding UTF-8".to_owned(),
        // No directory can be created at this path.
        Io::NotFound | Io::NotADirectory | Io::AlreadyExists
            if !is_reading && !other.is_empty() =>
        {
            format!("check the path{other}")
        }
        _ => return by_number(dir, what, error.raw_os_error()?).map(str::to_owned),
    };
    Some(hint)
}

/// Returns a hint for errors that have no `io::ErrorKind` of their own.
fn by_number(dir: Dir, what: &str, number: i32) -> Option<&'static str> {
    use nix::errno::Errno;
    match Errno::from_raw(number) {
        Errno::EMFILE | Errno::ENFILE => Some(MANY_FILES),
        Errno::EAGAIN if what.starts_with("start") => Some(MANY_PROCESSES),
        Errno::ENOMEM => Some(MEMORY_HINT),
        Errno::ENAMETOOLONG if dir == Dir::Output => {
            Some("shorten the name: it is made of the deck's title and the name of its section")
        }
        Errno::ENAMETOOLONG => Some("shorten the name"),
        Errno::ELOOP => Some("the symbolic links on the way lead in a circle: remove one of them"),
        Errno::EIO => Some("the disk or the network gave an error: check them, and try again"),
        _ => None,
    }
}

const MANY_FILES: &str =
    "too many files are open: raise the limit with `ulimit -n 4096` and run the command again";
const MANY_PROCESSES: &str = "the limit of processes is reached: end some, or raise it with `ulimit -u`, and run the command again";
/// The hint when memory has run out.
pub(crate) const MEMORY_HINT: &str =
    "memory has run out: close other programs, or build with fewer workers (`-j 1`)";

/// Returns a hint about the failure of a program, by what it printed, or `None` if that is not about the system.
pub(crate) fn hint_in_text(text: &str) -> Option<&'static str> {
    const SIGNS: [(&[&str], &str); 7] = [
        (
            &[
                "No space left on device",
                "ENOSPC",
                "disk is full",
                "Disk quota exceeded",
            ],
            "the disk is full: free some space and run the command again",
        ),
        (
            &["Read-only file system", "EROFS"],
            "a file system is read-only: mount it writable",
        ),
        (&["Too many open files", "EMFILE"], MANY_FILES),
        (
            &["Resource temporarily unavailable", "can't start new thread"],
            MANY_PROCESSES,
        ),
        (
            &["Cannot allocate memory", "insufficient memory", "ENOMEM"],
            MEMORY_HINT,
        ),
        (
            &["Permission denied", "EACCES"],
            "a file or directory that is named above may not be used: change its permissions",
        ),
        (
            &[
                "name resolution",
                "ENOTFOUND",
                "EAI_AGAIN",
                "ETIMEDOUT",
                "ECONNREFUSED",
                "Network is unreachable",
                "Connection refused",
                "NewConnectionError",
                "ProxyError",
                "certificate verify failed",
            ],
            "the network or a server could not be reached: check the connection, the proxy and the certificates",
        ),
    ];
    let found = SIGNS
        .iter()
        .find(|(signs, _)| signs.iter().any(|sign| text.contains(sign)));
    found.map(|(_, hint)| *hint)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn the_hint_is_about_the_cause() {
        let path = Path::new("/x/y");
        let all = [
            (Errno::ENOSPC, "read", "free some space"),
            (Errno::ENOSPC, "write", "free some space"),
            (Errno::EDQUOT, "write", "your share of that disk"),
            (Errno::EROFS, "write", "read-only"),
            (Errno::EACCES, "read", "allow yourself to read"),
            (Errno::EACCES, "write", "make the directory writable"),
            (Errno::EMFILE, "open", "ulimit -n"),
            (Errno::ENFILE, "create", "ulimit -n"),
            (Errno::ENAMETOOLONG, "write", "shorten the name"),
            (Errno::ELOOP, "read", "circle"),
            (Errno::EIO, "read", "gave an error"),
            (Errno::ENOMEM, "read", "memory"),
        ];
        for dir in [Dir::Output, Dir::State, Dir::Tools, Dir::Other] {
            for (number, what, expected) in &all {
                let error = std::io::Error::from_raw_os_error(*number as i32);
                let error = Error::io_in(dir, what, path, &error);
                let hint = error.diagnostics[0].hint.clone().unwrap_or_default();
                assert!(hint.contains(expected), "{dir:?} {what} {number}: {hint}");
                // The hint must not offer the option of another directory.
                for (other, option) in [
                    (Dir::Output, "--output-dir"),
                    (Dir::State, "CLM_STATE_DIR"),
                    (Dir::Tools, "CLM_TOOLS_DIR"),
                ] {
                    let is_offered = hint.contains(option);
                    assert!(
                        !is_offered || dir == other,
                        "{dir:?} {what} {number}: {hint}"
                    );
                }
            }
        }
        let gone = std::io::Error::from_raw_os_error(Errno::ENOENT as i32);
        assert_eq!(Error::io("read", path, &gone).diagnostics[0].hint, None);
        assert!(
            hint_in_text("OSError: [Errno 28] No space left on device")
                .is_some_and(|hint| hint.contains("full"))
        );
        assert_eq!(hint_in_text("ValueError: bad"), None);
    }
}
