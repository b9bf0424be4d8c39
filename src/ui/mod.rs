//! Output to users: no other module prints.

mod failures;
mod flood;
mod github;
mod guard;
mod json;
mod junit;
mod markdown;
mod paths;
mod pipeline;
mod plain;
mod results;
mod short;
mod stdout;
mod summary;
mod text;
mod transfer;
mod tty;
mod watch;

use std::collections::HashSet;
use std::io::Write;

use crate::config::{Ci, Place, System};
use crate::diagnostic::{Diagnostic, Reported};
use crate::error::Error;
use crate::events::{Counts, Event};

use flood::Flood;
use guard::Guarded;
pub(crate) use guard::in_pipeline;
pub(crate) use paths::Paths;
use pipeline::Dialect;
pub(crate) use results::{Mode, Results};
pub(crate) use transfer::Transfer;
pub(crate) use watch::Watch;

/// The format in which a run is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum MessageFormat {
    /// Lines and progress bars for people, on stderr.
    Human,
    /// One JSON object a line, on stdout.
    Json,
    /// Annotations and groups of GitHub's workflows, besides lines for people.
    Github,
    /// Lines for people in sections of GitLab.
    Gitlab,
    /// Lines for people in the log of another pipeline. Only the environment or `--ci` chooses it.
    #[value(skip)]
    Pipeline,
    /// One line per diagnostic with an absolute path, on stdout: for editors.
    Short,
}

impl MessageFormat {
    /// Returns the default format in the current environment.
    pub(crate) fn detect() -> Self {
        Ci::detect().map_or(Self::Human, |ci| Self::of_pipeline(Some(&ci)))
    }

    fn is_of_pipeline(self) -> bool {
        matches!(self, Self::Github | Self::Gitlab | Self::Pipeline)
    }

    /// Returns the format for a pipeline; `ci` is `None` if its system is unknown.
    pub(crate) fn of_pipeline(ci: Option<&Ci>) -> Self {
        match ci.map(|ci| ci.system) {
            Some(System::GitHub) => Self::Github,
            Some(System::GitLab) => Self::Gitlab,
            Some(System::Azure | System::Other) | None => Self::Pipeline,
        }
    }
}

/// The form in which results are written to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResultsFormat {
    /// A JSON object.
    Json,
    /// Markdown for people.
    Markdown,
    /// JUnit XML.
    Junit,
}

/// The most bytes that GitHub takes for the page of a step.
pub(crate) const PAGE_LIMIT: usize = markdown::LIMIT;

/// Returns results as the text of a file. Paths are relative to the repository, but in JSON to the course. Markdown has
/// at most `limit` bytes.
pub(crate) fn results(
    results: &Results,
    format: ResultsFormat,
    place: Option<&Place>,
    limit: usize,
) -> String {
    let paths = Paths::of_repository(place);
    match format {
        ResultsFormat::Json => summary::json(results),
        ResultsFormat::Markdown => markdown::page(results, &paths, limit),
        ResultsFormat::Junit => junit::xml(results, &paths),
    }
}

/// Receives all events of a run.
pub(crate) trait Reporter: Send {
    /// Reports an event.
    fn event(&mut self, event: &Event);

    /// Ends the report: no further event follows.
    fn finish(&mut self) {}
}

/// How much is reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verbosity {
    /// Only failures and the last line.
    pub quiet: bool,
    /// Also what was written and copied in this process.
    pub verbose: bool,
}

/// Returns the reporter for a format. Progress bars are used only on a terminal that can show them. `place` is the
/// course, if there is one.
pub(crate) fn reporter(
    format: MessageFormat,
    place: Option<&Place>,
    verbosity: Verbosity,
) -> Box<dyn Reporter> {
    Box::new(Once::new(reporter_of_all(format, place, verbosity)))
}

fn reporter_of_all(
    format: MessageFormat,
    place: Option<&Place>,
    verbosity: Verbosity,
) -> Box<dyn Reporter> {
    match format {
        MessageFormat::Json => Box::new(json::Json::new(stdout::Stdout)),
        MessageFormat::Github => pipeline(Dialect::GitHub, place, verbosity),
        MessageFormat::Gitlab => pipeline(Dialect::GitLab, place, verbosity),
        MessageFormat::Pipeline => pipeline(Dialect::Plain, place, verbosity),
        MessageFormat::Short => Box::new(short::Short::new(
            Guarded::of_process(stdout::Stdout),
            Guarded::of_process(std::io::stderr()),
            place.cloned(),
            verbosity,
        )),
        MessageFormat::Human if can_draw() && !verbosity.quiet => {
            Box::new(tty::Tty::new(verbosity, Paths::of_person(place)))
        }
        MessageFormat::Human => {
            let colours = console::colors_enabled_stderr();
            let out = Guarded::of_process(std::io::stderr());
            let plain = plain::Plain::new(out, verbosity, colours);
            Box::new(plain.with_paths(Paths::of_person(place)))
        }
    }
}

fn pipeline(dialect: Dialect, place: Option<&Place>, verbosity: Verbosity) -> Box<dyn Reporter> {
    let out = (std::io::stderr(), stdout::Stdout);
    let paths = Paths::of_repository(place);
    Box::new(pipeline::Pipeline::new(dialect, out, verbosity, paths))
}

/// Reports a diagnostic once in a run, although several actions may report it.
struct Once {
    reported: HashSet<Diagnostic>,
    reporter: Box<dyn Reporter>,
}

impl Once {
    fn new(reporter: Box<dyn Reporter>) -> Self {
        Self {
            reported: HashSet::new(),
            reporter,
        }
    }
}

impl Reporter for Once {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Diagnostic(Reported { diagnostic, .. }) => {
                if !self.reported.insert(diagnostic.clone()) {
                    return;
                }
            }
            // A run that was interrupted is continued by the next one.
            Event::RunFinished {
                interrupted: false, ..
            } => self.reported.clear(),
            _ => {}
        }
        self.reporter.event(event);
    }

    fn finish(&mut self) {
        self.reporter.finish();
    }
}

/// Returns whether stderr is a terminal that can show progress bars.
pub(crate) fn can_draw() -> bool {
    console::Term::stderr().features().is_attended()
        && std::env::var_os("CI").is_none()
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Prints a line for people on stderr.
pub(crate) fn print(line: &str) {
    // Fails if the terminal was closed, which must not end the work.
    let _ = writeln!(std::io::stderr(), "{}", guard::guarded(line));
}

/// Prints data on stdout unchanged, but for commands in the log of a pipeline.
pub(crate) fn data(text: &str) {
    let _ = stdout::Stdout.write_all(guard::guarded(text).as_bytes());
}

/// Returns stdout for data that is no text.
pub(crate) fn data_stream() -> impl Write {
    stdout::Stdout
}

/// Returns the error that prevented data from being written to stdout. A reader that closed the pipe is not an error.
pub(crate) fn data_lost() -> Option<std::io::Error> {
    let _ = stdout::Stdout.flush();
    stdout::lost()
}

/// Formats the counts of a run in one line.
pub(crate) fn counts(counts: &Counts, duration_ms: u64) -> String {
    text::counts(counts, duration_ms)
}

/// Formats a time in milliseconds.
pub(crate) fn duration(ms: u64) -> String {
    text::duration(ms)
}

/// Formats a number of bytes.
pub(crate) fn size(bytes: u64) -> String {
    text::size(bytes)
}

/// Prints diagnostics for people.
pub(crate) fn print_diagnostics(diagnostics: &[Diagnostic]) {
    let colours = console::colors_enabled_stderr();
    for diagnostic in diagnostics {
        print(&text::diagnostic(diagnostic, colours));
    }
}

/// Formats diagnostics for people, in the form used on stdout. The length is limited, however many there are.
pub(crate) fn listed(diagnostics: &[Diagnostic], place: Option<&Place>) -> Vec<String> {
    texts(diagnostics, place, console::colors_enabled())
}

fn texts(diagnostics: &[Diagnostic], place: Option<&Place>, colours: bool) -> Vec<String> {
    let paths = Paths::of_person(place);
    let mut flood = Flood::default();
    let mut texts: Vec<String> = diagnostics
        .iter()
        .map(|diagnostic| paths.named(diagnostic))
        .filter_map(|diagnostic| flood.admit(&diagnostic))
        .map(|diagnostic| text::diagnostic(&diagnostic, colours))
        .collect();
    texts.extend(flood.rest());
    texts
}

/// Reports the error that ended a command, in the format for people, for editors or for a pipeline.
pub(crate) fn print_error(error: &Error, format: Option<MessageFormat>, place: Option<&Place>) {
    if let Some(format) = format.filter(|format| format.is_of_pipeline()) {
        let mut reporter = reporter(format, place, Verbosity::default());
        for diagnostic in &error.diagnostics {
            reporter.event(&Event::Diagnostic(diagnostic.clone().into()));
        }
        reporter.finish();
        return;
    }
    if format != Some(MessageFormat::Short) {
        let colours = console::colors_enabled_stderr();
        for text in texts(&error.diagnostics, place, colours) {
            print(&text);
        }
        return;
    }
    for diagnostic in &error.diagnostics {
        data(&format!("{}\n", short::line(diagnostic, place)));
    }
}

#[cfg(test)]
mod tests;
