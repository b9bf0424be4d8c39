//! The one error type that reaches people, and the exit code that goes with it.

use std::fmt;
use std::path::Path;

use crate::events::{Diagnostic, Severity};

/// What went wrong, as far as the exit code is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Wrong usage, configuration or course specification: exit code 2.
    Usage,
    /// The system refused something (a full disk, a read-only directory), or a bug of clm: exit code 3.
    Internal,
    /// Ctrl-C: exit code 130.
    Interrupted,
}

/// An error that ends a command, with everything a person needs to mend it.
///
/// A failing deck or diagram is never an `Error`: it is a [`Diagnostic`] in the run.
#[derive(Debug)]
pub struct Error {
    /// Decides the exit code.
    pub kind: ErrorKind,
    /// What is reported: at least one, the first is the headline.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether no output can be written any more: the file system is full, or read-only.
    pub stops_all: bool,
}

/// The result of everything that can end a command.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error in usage, configuration or specification.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// An error of the system or of clm itself.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The person asked us to stop.
    pub fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted")
    }

    /// A failed operation on a file: `what` is an infinitive such as "read".
    pub fn io(what: &str, path: &Path, error: &std::io::Error) -> Self {
        let mut result = Self::internal(format!("cannot {what} `{}`: {error}", path.display()));
        if let Some(hint) = io_hint(error) {
            result = result.hint(hint);
        }
        result.stops_all = stops_all(error);
        result
    }

    /// Errors collected while reading the specification or the settings.
    pub fn from_diagnostics(diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            kind: ErrorKind::Usage,
            diagnostics,
            stops_all: false,
        }
    }

    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            diagnostics: vec![Diagnostic::new(Severity::Error, message)],
            stops_all: false,
        }
    }

    /// Adds what the person can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(last) = self.diagnostics.last_mut() {
            last.hint = Some(hint.into());
        }
        self
    }

    /// Adds the file (and line) it is about.
    #[must_use]
    pub fn at(mut self, file: impl Into<String>, line: Option<u32>) -> Self {
        if let Some(last) = self.diagnostics.last_mut() {
            last.file = Some(file.into());
            last.line = line;
        }
        self
    }

    /// The process exit code.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Usage => 2,
            ErrorKind::Internal => 3,
            ErrorKind::Interrupted => 130,
        }
    }
}

/// Whether a file system takes nothing more: it is full, or read-only.
pub fn stops_all(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Io;
    matches!(
        error.kind(),
        Io::StorageFull | Io::QuotaExceeded | Io::ReadOnlyFilesystem
    )
}

/// What a person can do about the common failures of the file system.
pub fn io_hint(error: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind as Io;
    match error.kind() {
        Io::StorageFull | Io::QuotaExceeded => {
            Some("free some space and build again: finished work is kept, nothing was lost")
        }
        Io::ReadOnlyFilesystem | Io::PermissionDenied => {
            Some("make the directory writable, or choose another one with `--output-dir`")
        }
        _ => None,
    }
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
