//! Plain lines, for logs and terminals that cannot draw.

use std::collections::HashSet;
use std::io::Write;

use crate::events::{Diagnostic, Event};

use super::failures::Failures;
use super::{Reporter, Verbosity, text};

/// Writes a line for everything worth one.
pub struct Plain<W> {
    out: W,
    verbosity: Verbosity,
    colours: bool,
    said: Said,
    failures: Failures,
}

/// Diagnostics that were said: the same one is said once.
#[derive(Default)]
pub struct Said(HashSet<String>);

impl Said {
    /// Whether the diagnostic is new.
    pub fn is_new(&mut self, diagnostic: &Diagnostic) -> bool {
        self.0.insert(format!("{diagnostic:?}"))
    }
}

impl<W: Write> Plain<W> {
    /// A reporter that writes to `out`.
    pub fn new(out: W, verbosity: Verbosity, colours: bool) -> Self {
        Self {
            out,
            verbosity,
            colours,
            said: Said::default(),
            failures: Failures::default(),
        }
    }

    fn line(&mut self, line: &str) {
        // Nobody reads it any more: the work goes on.
        let _ = writeln!(self.out, "{line}");
    }
}

impl<W: Write + Send> Reporter for Plain<W> {
    fn event(&mut self, event: &Event) {
        self.failures.add(event);
        match event {
            Event::ActionFinished {
                action,
                kind,
                status,
                duration_ms,
                ..
            } => {
                let line =
                    text::finished(action, *kind, *status, *duration_ms, self.verbosity.verbose);
                if let Some(line) = line.filter(|_| !self.verbosity.quiet) {
                    self.line(&line);
                }
            }
            Event::Output { path, digest: None } if !self.verbosity.quiet => {
                self.line(&format!(" removed {path}"));
            }
            Event::Diagnostic(diagnostic) => {
                if self.said.is_new(diagnostic) {
                    self.line(&text::diagnostic(diagnostic, self.colours));
                }
            }
            Event::RunFinished {
                counts,
                duration_ms,
                ..
            } => {
                for line in self.failures.take() {
                    self.line(&line);
                }
                self.line(&text::counts(counts, *duration_ms));
            }
            _ => {}
        }
    }

    fn finish(&mut self) {
        let _ = self.out.flush();
    }
}
