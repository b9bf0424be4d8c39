//! Plain lines, for logs and terminals that cannot draw.

use std::io::Write;

use crate::events::Event;

use super::failures::Failures;
use super::flood::Flood;
use super::{Paths, Reporter, Verbosity, text};

/// Writes a line for every noteworthy event.
pub(super) struct Plain<W> {
    out: W,
    verbosity: Verbosity,
    colours: bool,
    failures: Failures,
    paths: Paths,
    flood: Flood,
}

impl<W: Write> Plain<W> {
    /// Creates a reporter that writes to `out`.
    pub(super) fn new(out: W, verbosity: Verbosity, colours: bool) -> Self {
        Self {
            out,
            verbosity,
            colours,
            failures: Failures::default(),
            paths: Paths::default(),
            flood: Flood::new(verbosity.verbose),
        }
    }

    /// Converts the names of files with `paths`.
    #[must_use]
    pub(super) fn with_paths(self, paths: Paths) -> Self {
        Self { paths, ..self }
    }

    /// Returns what it writes to.
    pub(super) fn out_mut(&mut self) -> &mut W {
        &mut self.out
    }

    fn line(&mut self, line: &str) {
        // If the reader has gone, the work still goes on.
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
                machine,
                ..
            } => {
                let line = text::finished(
                    action,
                    *kind,
                    *status,
                    *duration_ms,
                    machine.as_deref(),
                    self.verbosity.verbose,
                );
                if let Some(line) = line.filter(|_| !self.verbosity.quiet) {
                    self.line(&line);
                }
            }
            Event::Output { path, digest: None } if !self.verbosity.quiet => {
                self.line(&format!(" removed {path}"));
            }
            Event::Diagnostic(reported) => {
                let named = self.paths.named(&reported.diagnostic);
                if let Some(shown) = self.flood.admit(&named) {
                    self.line(&text::diagnostic(&shown, self.colours));
                }
            }
            Event::CacheUsed(cache) if !self.verbosity.quiet => {
                if let Some(line) = text::cache(cache) {
                    self.line(&line);
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
                if let Some(rest) = self.flood.rest() {
                    self.line(&rest);
                }
                self.line(&text::counts(counts, *duration_ms));
            }
            _ => {}
        }
    }

    fn finish(&mut self) {
        if let Some(rest) = self.flood.rest() {
            self.line(&rest);
        }
        let _ = self.out.flush();
    }
}
