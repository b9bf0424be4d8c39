//! One line per diagnostic, for editors: `FILE:LINE:COLUMN: SEVERITY: MESSAGE` or `FILE:LINE: SEVERITY: MESSAGE`.

use std::io::Write;

use console::strip_ansi_codes;

use crate::config::Place;
use crate::diagnostic::{Diagnostic, Severity};
use crate::events::Event;

use super::plain::Plain;
use super::{Reporter, Verbosity};

/// Writes diagnostics as data, and everything else as lines for people.
pub(super) struct Short<D, P> {
    data: D,
    place: Option<Place>,
    plain: Plain<P>,
    is_verbose: bool,
}

impl<D: Write, P: Write> Short<D, P> {
    /// Creates a reporter that writes diagnostics to `data` and the rest to `people`; `place` is the course, if there
    /// is one.
    pub(super) fn new(data: D, people: P, place: Option<Place>, verbosity: Verbosity) -> Self {
        Self {
            data,
            place,
            plain: Plain::new(people, verbosity, false),
            is_verbose: verbosity.verbose,
        }
    }
}

impl<D: Write + Send, P: Write + Send> Reporter for Short<D, P> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Diagnostic(reported) => {
                let line = line(&reported.diagnostic, self.place.as_ref());
                // If the pipe is closed, the reader needs no more diagnostics.
                let _ = writeln!(self.data, "{line}");
            }
            Event::ActionFinished { .. } if !self.is_verbose => {}
            other => self.plain.event(other),
        }
    }

    fn finish(&mut self) {
        let _ = self.data.flush();
        self.plain.finish();
    }
}

/// Formats a diagnostic in one line. The path is absolute, since editors have their own working directory. There is
/// always a line number, since an editor cannot go to a file without one. Errors and warnings without a file get the
/// path of the specification.
pub(super) fn line(diagnostic: &Diagnostic, place: Option<&Place>) -> String {
    let severity = match diagnostic.severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let file = match (&diagnostic.file, place) {
        (Some(file), Some(place)) => Some(place.root.join(file).display().to_string()),
        (Some(file), None) => Some(file.clone()),
        (None, Some(place)) if diagnostic.severity > Severity::Note => {
            Some(place.spec.display().to_string())
        }
        (None, _) => None,
    };
    let at = match file {
        Some(file) => {
            let column = diagnostic
                .column
                .map_or_else(String::new, |column| format!(":{column}"));
            format!("{file}:{}{column}", diagnostic.line.unwrap_or(1))
        }
        None => "clm".to_owned(),
    };
    let mut message = in_one_line(&diagnostic.message);
    if let Some(cell) = diagnostic.cell {
        message += &format!(" (cell {cell})");
    }
    if let Some(hint) = &diagnostic.hint {
        message += &format!("; hint: {}", in_one_line(hint));
    }
    format!("{at}: {severity}: {message}")
}

fn in_one_line(text: &str) -> String {
    let text = strip_ansi_codes(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}
