//! Progress bars on a terminal: one for each kind of work, with the current steps.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::events::{ActionKind, Event, Status};

use super::failures::Failures;
use super::flood::Flood;
use super::{Paths, Reporter, Verbosity, text};

/// Draws bars below the printed lines.
pub(super) struct Tty {
    bars: MultiProgress,
    lanes: BTreeMap<ActionKind, Lane>,
    verbosity: Verbosity,
    colours: bool,
    failures: Failures,
    paths: Paths,
    flood: Flood,
}

struct Lane {
    bar: ProgressBar,
    started: HashSet<String>,
    running: Vec<(String, String)>,
}

impl Tty {
    /// Creates a reporter that draws on stderr.
    pub(super) fn new(verbosity: Verbosity, paths: Paths) -> Self {
        Self {
            bars: MultiProgress::new(),
            lanes: BTreeMap::new(),
            verbosity,
            colours: console::colors_enabled_stderr(),
            failures: Failures::default(),
            paths,
            flood: Flood::new(verbosity.verbose),
        }
    }

    fn print(&self, line: &str) {
        // Fails if the terminal was closed, which must not end the work.
        let _ = self.bars.println(line);
    }

    fn lane(&mut self, kind: ActionKind) -> Option<&mut Lane> {
        let name = match kind {
            ActionKind::Execute => "Executing",
            ActionKind::Html => "Pages",
            ActionKind::Plantuml => "PlantUML",
            ActionKind::Drawio => "draw.io",
            ActionKind::Deck | ActionKind::Copy => return None,
        };
        let bars = &self.bars;
        Some(self.lanes.entry(kind).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(0));
            let style = ProgressStyle::with_template(
                "{prefix:>10} [{bar:24}] {pos:>3}/{len:<3} {wide_msg}",
            );
            if let Ok(style) = style {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(name);
            bar.enable_steady_tick(Duration::from_millis(200));
            Lane {
                bar,
                started: HashSet::new(),
                running: Vec::new(),
            }
        }))
    }
}

impl Lane {
    fn show(&self) {
        let running: Vec<String> = self
            .running
            .iter()
            .map(|(source, label)| {
                let name = source.rsplit('/').next().unwrap_or(source);
                if label.is_empty() {
                    name.to_owned()
                } else {
                    format!("{name} {label}")
                }
            })
            .collect();
        self.bar.set_message(running.join(", "));
    }
}

impl Reporter for Tty {
    fn event(&mut self, event: &Event) {
        self.failures.add(event);
        match event {
            Event::ActionStarted { action, kind, .. } => {
                if let Some(lane) = self.lane(*kind) {
                    if lane.started.insert(action.clone()) {
                        lane.bar.inc_length(1);
                    }
                    lane.running.push((action.clone(), String::new()));
                    lane.show();
                }
            }
            Event::Progress {
                action,
                kind,
                label,
                ..
            } => {
                if let Some(lane) = self.lane(*kind) {
                    for (running, text) in &mut lane.running {
                        if running == action {
                            text.clone_from(label);
                        }
                    }
                    lane.show();
                }
            }
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
                if let Some(line) = line.filter(|_| self.verbosity.verbose) {
                    self.print(&line);
                }
                // Of what is up to date only a verification has started something.
                if (*status != Status::Fresh || self.lanes.contains_key(kind))
                    && let Some(lane) = self.lane(*kind)
                {
                    lane.running.retain(|(running, _)| running != action);
                    if lane.started.contains(action) {
                        lane.bar.inc(1);
                    }
                    lane.show();
                }
            }
            Event::Diagnostic(reported) => {
                let named = self.paths.named(&reported.diagnostic);
                if let Some(shown) = self.flood.admit(&named) {
                    self.print(&text::diagnostic(&shown, self.colours));
                }
            }
            Event::CacheUsed(cache) => {
                if let Some(line) = text::cache(cache) {
                    self.print(&line);
                }
            }
            Event::RunFinished {
                counts,
                duration_ms,
                ..
            } => {
                for lane in self.lanes.values() {
                    lane.bar.finish_and_clear();
                }
                for line in self.failures.take() {
                    self.print(&line);
                }
                if let Some(rest) = self.flood.rest() {
                    self.print(&rest);
                }
                self.print(&text::counts(counts, *duration_ms));
            }
            _ => {}
        }
    }

    fn finish(&mut self) {
        if let Some(rest) = self.flood.rest() {
            self.print(&rest);
        }
        for lane in self.lanes.values() {
            lane.bar.finish_and_clear();
        }
    }
}
