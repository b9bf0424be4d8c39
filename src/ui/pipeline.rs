//! The log of a pipeline: lines without bars, what was made in groups that can be folded, and annotations.

use std::io::Write;

use crate::clock;
use crate::diagnostic::Severity;
use crate::events::{ActionKind, Event, Status};

use super::github::annotation;
use super::guard::Guarded;
use super::plain::Plain;
use super::{Paths, Reporter, Verbosity, text};

/// The commands that the system of a pipeline understands in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Groups and annotations of GitHub's workflows.
    GitHub,
    /// Sections of GitLab.
    GitLab,
    /// None.
    Plain,
}

/// The title of a group.
const TITLE: &str = "What clm made";

/// Writes lines with paths relative to the repository. What was made is in groups, and errors are outside of them,
/// since systems show groups folded.
pub(super) struct Pipeline<W: Write, A> {
    plain: Plain<Guarded<W>>,
    annotations: A,
    repository: Paths,
    dialect: Dialect,
    verbosity: Verbosity,
    groups: u32,
    is_open: bool,
}

impl<W: Write, A: Write> Pipeline<W, A> {
    /// Creates a reporter that writes lines to `out` and annotations to `annotations`.
    pub(super) fn new(
        dialect: Dialect,
        (out, annotations): (W, A),
        verbosity: Verbosity,
        repository: Paths,
    ) -> Self {
        let plain = Plain::new(Guarded::new(out), verbosity, false);
        Self {
            plain: plain.with_paths(repository.clone()),
            annotations,
            repository,
            dialect,
            verbosity,
            groups: 0,
            is_open: false,
        }
    }

    fn open(&mut self) {
        if std::mem::replace(&mut self.is_open, true) {
            return;
        }
        self.groups += 1;
        self.command(match self.dialect {
            Dialect::GitHub => format!("::group::{TITLE}\n"),
            Dialect::GitLab => {
                let (time, name) = (seconds(), self.section());
                format!("\u{1b}[0Ksection_start:{time}:{name}[collapsed=true]\r\u{1b}[0K{TITLE}\n")
            }
            Dialect::Plain => return,
        });
    }

    fn close(&mut self) {
        if !std::mem::replace(&mut self.is_open, false) {
            return;
        }
        self.command(match self.dialect {
            Dialect::GitHub => "::endgroup::\n".to_owned(),
            Dialect::GitLab => {
                let (time, name) = (seconds(), self.section());
                format!("\u{1b}[0Ksection_end:{time}:{name}\r\u{1b}[0K\n")
            }
            Dialect::Plain => return,
        });
    }

    /// Returns the name of the section, which must be unique in a job.
    fn section(&self) -> String {
        format!("clm_{}_{}", std::process::id(), self.groups)
    }

    fn command(&mut self, line: String) {
        // If the log is closed, the work still goes on.
        let _ = self.plain.out_mut().command(&line);
    }

    /// Returns whether the event is printed as a line about something that was made.
    fn is_made(&self, event: &Event) -> bool {
        let line = |action: &str, kind: ActionKind, status: Status| {
            text::finished(action, kind, status, 0, None, self.verbosity.verbose)
        };
        let is_printed = match event {
            Event::ActionFinished {
                action,
                kind,
                status,
                ..
            } => line(action, *kind, *status).is_some(),
            Event::Output { digest: None, .. } => true,
            _ => false,
        };
        is_printed && !self.verbosity.quiet
    }
}

fn seconds() -> i64 {
    clock::now_ms() / 1000
}

impl<W: Write + Send, A: Write + Send> Reporter for Pipeline<W, A> {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Diagnostic(reported) => {
                let diagnostic = &reported.diagnostic;
                if diagnostic.severity > Severity::Note {
                    self.close();
                }
                if self.dialect == Dialect::GitHub {
                    let line = annotation(&self.repository.named(diagnostic));
                    let _ = self.annotations.write_all(line.as_bytes());
                }
            }
            Event::CacheUsed(_) | Event::RunFinished { .. } => self.close(),
            made if self.is_made(made) => self.open(),
            _ => {}
        }
        self.plain.event(event);
    }

    fn finish(&mut self) {
        self.close();
        let _ = self.annotations.flush();
        self.plain.finish();
    }
}
