//! Annotations that GitHub shows at the lines of a pull request.

use std::io::Write;

use crate::diagnostic::{Diagnostic, Severity};
use crate::events::Event;

use super::plain::Plain;
use super::{Paths, Reporter, Verbosity};

/// Writes plain lines, and an annotation for every diagnostic on stdout.
pub(super) struct Github<W> {
    plain: Plain<W>,
    repository: Paths,
}

impl<W: Write> Github<W> {
    /// Creates a reporter that writes plain lines to `out`. `people` names files in lines, `repository` in annotations.
    pub(super) fn new(out: W, verbosity: Verbosity, (people, repository): (Paths, Paths)) -> Self {
        Self {
            plain: Plain::new(out, verbosity, false).with_paths(people),
            repository,
        }
    }
}

impl<W: Write + Send> Reporter for Github<W> {
    fn event(&mut self, event: &Event) {
        if let Event::Diagnostic(reported) = event {
            super::data(&annotation(&self.repository.named(&reported.diagnostic)));
        }
        self.plain.event(event);
    }

    fn finish(&mut self) {
        self.plain.finish();
    }
}

/// Returns the workflow command for a diagnostic.
pub(super) fn annotation(diagnostic: &Diagnostic) -> String {
    let command = match diagnostic.severity {
        Severity::Note => "notice",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let mut properties = Vec::new();
    if let Some(file) = &diagnostic.file {
        properties.push(format!(
            "file={}",
            escape(file).replace(':', "%3A").replace(',', "%2C")
        ));
    }
    if let Some(line) = diagnostic.line {
        properties.push(format!("line={line}"));
    }
    if let Some(column) = diagnostic.column {
        properties.push(format!("col={column}"));
    }
    let mut message = console::strip_ansi_codes(&diagnostic.message).into_owned();
    if let Some(cell) = diagnostic.cell {
        message += &format!(" (cell {cell})");
    }
    if let Some(hint) = &diagnostic.hint {
        message += &format!("\nhint: {hint}");
    }
    format!(
        "::{command} {}::{}\n",
        properties.join(","),
        escape(&message)
    )
}

fn escape(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}
