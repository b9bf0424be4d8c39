//! The output of a watch: one line per run, errors until they are fixed, and a status line when idle.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::now_ms;
use crate::config::Place;
use crate::diagnostic::Diagnostic;
use crate::events::{Counts, Event, Standing, Status};

use super::flood::Flood;
use super::{Paths, Reporter, short, text};

/// Reports the runs of a watch.
pub(crate) struct Watch {
    screen: Screen,
    verbose: bool,
    colours: bool,
    /// Set for an editor: diagnostics have one line each, and all of them are printed with every run.
    short: Option<Box<Place>>,
    /// What is watched, for the status line.
    name: String,
    standing: Standing,
    /// What was valid at the end of the last run.
    known: Vec<Diagnostic>,
    /// Errors that were printed in the current run.
    printed: HashSet<Diagnostic>,
    /// Warnings that were printed. Those of a source are removed when an action of it starts.
    warned: HashSet<Diagnostic>,
    is_first: bool,
    is_fast: bool,
    began: bool,
    made: Vec<String>,
    /// Converts the names of files.
    paths: Paths,
    /// Limits the diagnostics of the current run.
    flood: Flood,
}

enum Screen {
    /// A stream of lines.
    Lines(Box<dyn Write + Send>),
    /// A terminal with a status line at the bottom.
    Terminal(ProgressBar),
}

/// How many sources are listed in the line of a run.
const NAMED: usize = 3;

impl Watch {
    /// Writes lines to `out`, without a status line. All errors are printed again with every run, between lines that
    /// other programs can recognise.
    pub(crate) fn lines(
        out: Box<dyn Write + Send>,
        name: String,
        verbose: bool,
        colours: bool,
    ) -> Self {
        Self::new(Screen::Lines(out), name, verbose, colours)
    }

    /// Writes lines to `out` like [`Watch::lines`], but in the format for editors: one line for each error and warning.
    pub(crate) fn short(out: Box<dyn Write + Send>, place: Place, verbose: bool) -> Self {
        let mut watch = Self::new(Screen::Lines(out), place.spec_name(), verbose, false);
        watch.short = Some(Box::new(place));
        watch
    }

    /// Draws on the terminal at stderr.
    pub(crate) fn terminal(name: String, verbose: bool) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            bar.set_style(style);
        }
        let colours = console::colors_enabled_stderr();
        Self::new(Screen::Terminal(bar), name, verbose, colours)
    }

    fn new(screen: Screen, name: String, verbose: bool, colours: bool) -> Self {
        Self {
            screen,
            verbose,
            colours,
            short: None,
            name,
            standing: Standing::default(),
            known: Vec::new(),
            printed: HashSet::new(),
            warned: HashSet::new(),
            is_first: true,
            is_fast: false,
            began: false,
            made: Vec::new(),
            paths: Paths::default(),
            flood: Flood::new(verbose),
        }
    }

    /// Converts the names of files with `paths`.
    #[must_use]
    pub(crate) fn with_paths(mut self, paths: Paths) -> Self {
        self.paths = paths;
        self
    }

    /// Prints a line.
    pub(crate) fn print(&mut self, line: &str) {
        match &mut self.screen {
            // If the reader has gone, the work still goes on.
            Screen::Lines(out) => {
                let _ = writeln!(out, "{line}").and_then(|()| out.flush());
            }
            Screen::Terminal(bar) => bar.println(line),
        }
    }

    /// Prints all errors that are not fixed.
    pub(crate) fn print_errors(&mut self) {
        let errors = self.errors();
        if errors.is_empty() {
            self.print("There are no errors");
        }
        let mut flood = Flood::new(self.verbose);
        for error in errors {
            if let Some(text) = self.text(&error, &mut flood) {
                self.print(&text);
            }
        }
    }

    /// Formats a diagnostic, or returns `None` if `flood` omits it.
    fn text(&self, diagnostic: &Diagnostic, flood: &mut Flood) -> Option<String> {
        if let Some(short) = &self.short {
            return Some(short::line(diagnostic, Some(short)));
        }
        let named = self.paths.named(diagnostic);
        let shown = flood.admit(&named)?;
        Some(text::diagnostic(&shown, self.colours))
    }

    /// Returns the valid errors by file.
    fn errors(&self) -> Vec<Diagnostic> {
        let mut errors: Vec<Diagnostic> = self.standing.errors().cloned().collect();
        errors.sort_by(|one, other| one.file.cmp(&other.file));
        errors
    }

    /// Returns the diagnostics that are printed with every run: all errors, and for an editor all others, too.
    fn always_printed(&self) -> Vec<Diagnostic> {
        let mut all = self.errors();
        if self.short.is_some() {
            let others = self.standing.diagnostics();
            all.extend(others.filter(|other| !other.is_error()).cloned());
        }
        all
    }

    /// Sets and prints whether decks are executed.
    pub(crate) fn set_fast(&mut self, is_fast: bool) {
        self.is_fast = is_fast;
        self.print(match is_fast {
            true => "Executing nothing: notebooks, scripts, diagrams and files only",
            false => "Executing again",
        });
    }

    fn diagnostic(&mut self, diagnostic: &Diagnostic) {
        // Diagnostics of a run are printed together at its end. Others are printed at once, since no run would print
        // them.
        let comes_later = self.standing.is_in_run() && matches!(self.screen, Screen::Lines(_));
        let is_printed = match diagnostic.is_error() {
            true => self.known.contains(diagnostic) || !self.printed.insert(diagnostic.clone()),
            false if comes_later && self.short.is_some() => true,
            false => !self.warned.insert(diagnostic.clone()),
        };
        if is_printed || comes_later && diagnostic.is_error() {
            return;
        }
        let mut flood = std::mem::take(&mut self.flood);
        let text = self.text(diagnostic, &mut flood);
        self.flood = flood;
        if let Some(text) = text {
            self.print(&text);
        }
    }

    fn begin(&mut self, source: &str) {
        if std::mem::replace(&mut self.began, true) {
            return;
        }
        if matches!(self.screen, Screen::Lines(_)) {
            self.print(&format!("{} Building {source} ...", clock()));
        }
    }

    fn end(&mut self, counts: &Counts, duration_ms: u64, interrupted: bool) {
        if interrupted {
            return;
        }
        let now = self.always_printed();
        let is_news = match self.short {
            Some(_) => now != self.known,
            None => !now.iter().all(|error| self.known.contains(error)),
        };
        let fixed: Vec<String> = files_of(&self.known)
            .difference(&files_of(&now))
            .map(|file| (*file).to_owned())
            .collect();
        let has_made = counts.made() + counts.removed > 0;
        let is_worth_telling =
            has_made || self.began || self.is_first || is_news || !fixed.is_empty();
        if matches!(self.screen, Screen::Lines(_)) && is_worth_telling {
            self.begin("what is stale");
            let mut flood = Flood::new(self.verbose);
            let lines = now.iter().filter_map(|now| self.text(now, &mut flood));
            for line in lines.collect::<Vec<_>>() {
                self.print(&line);
            }
        }
        self.known = now;
        if let Some(rest) = self.flood.rest() {
            self.print(&rest);
        }
        for file in &fixed {
            self.print(&format!("   fixed {file}"));
        }
        if is_worth_telling {
            let made = std::mem::take(&mut self.made);
            let names = match made.len() {
                0 => String::new(),
                1..=NAMED => format!(": {}", made.join(", ")),
                more => format!(": {} and {} more", made[..NAMED].join(", "), more - NAMED),
            };
            let line = format!("{} {}{names}", clock(), text::counts(counts, duration_ms));
            self.print(&line);
            self.is_first = false;
        }
        self.began = false;
        self.rest(counts);
    }

    /// Updates the status line.
    fn rest(&mut self, counts: &Counts) {
        let Screen::Terminal(bar) = &self.screen else {
            return;
        };
        let fresh = counts.fresh + counts.made();
        let errors = match self.standing.errors().count() {
            0 => String::new(),
            1 => ", 1 error".to_owned(),
            count => format!(", {count} errors"),
        };
        let fast = if self.is_fast { ", fast" } else { "" };
        bar.set_message(format!(
            "watching {}: {fresh} up to date{errors}{fast}   r rebuild  f fast  e errors  o open  q quit",
            self.name
        ));
        bar.tick();
    }

    fn show_running(&self) {
        let Screen::Terminal(bar) = &self.screen else {
            return;
        };
        let running = self.standing.running().iter().take(NAMED);
        let shown: Vec<String> = running
            .map(|running| {
                let action = &running.action;
                let name = action.rsplit('/').next().unwrap_or(action);
                format!("{name} {}", running.label).trim_end().to_owned()
            })
            .collect();
        bar.set_message(format!("building {}", shown.join(" | ")));
    }
}

impl Reporter for Watch {
    fn event(&mut self, event: &Event) {
        let was_in_run = self.standing.is_in_run();
        self.standing.apply(event, now_ms().unsigned_abs());
        match event {
            Event::RunStarted { .. } => {
                self.printed.clear();
                self.flood = Flood::new(self.verbose);
            }
            Event::ActionStarted { source, .. } => {
                self.begin(source);
                self.warned
                    .retain(|warning| warning.file.as_deref() != Some(source));
                self.show_running();
            }
            Event::Progress { .. } => self.show_running(),
            Event::ActionFinished {
                action,
                kind,
                source,
                status,
                duration_ms,
                machine,
                ..
            } => {
                if (status.is_made() || *status == Status::Failed) && !self.made.contains(source) {
                    self.made.push(source.clone());
                }
                if self.verbose
                    && let Some(line) = text::finished(
                        action,
                        *kind,
                        *status,
                        *duration_ms,
                        machine.as_deref(),
                        true,
                    )
                {
                    self.print(&line);
                }
            }
            Event::Output { path, digest: None } => self.print(&format!(" removed {path}")),
            Event::Diagnostic(reported) => self.diagnostic(&reported.diagnostic),
            // A run that was refused before it began says nothing about the errors of the course.
            Event::RunFinished {
                counts,
                duration_ms,
                interrupted,
                ..
            } if was_in_run => self.end(counts, *duration_ms, *interrupted),
            _ => {}
        }
    }

    fn finish(&mut self) {
        if let Screen::Terminal(bar) = &self.screen {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Returns the files of errors; of those without a file, the empty name.
fn files_of(diagnostics: &[Diagnostic]) -> BTreeSet<&str> {
    let errors = diagnostics.iter().filter(|found| found.is_error());
    errors
        .map(|error| error.file.as_deref().unwrap_or_default())
        .collect()
}

fn clock() -> impl std::fmt::Display {
    chrono::Local::now().format("%H:%M:%S")
}
