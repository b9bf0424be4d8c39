//! The progress of a download: a bar on a terminal, and else a line from time to time.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::{can_draw, print, text};

/// How often a log gets a line.
const LINE: Duration = Duration::from_secs(10);

/// The progress of one download after another.
pub(crate) struct Transfer {
    lines: Lines,
    bar: Option<ProgressBar>,
    draws: bool,
}

impl Transfer {
    /// Creates the progress for stderr: a bar if that is a terminal.
    pub(crate) fn new() -> Self {
        Self {
            draws: can_draw(),
            ..Self::of_log()
        }
    }

    /// Creates the progress for a log, or for a terminal on which something else draws.
    pub(crate) fn of_log() -> Self {
        Self {
            lines: Lines::default(),
            bar: None,
            draws: false,
        }
    }

    /// Shows how many bytes of a download are here.
    pub(crate) fn show(&mut self, name: &str, done: u64, total: u64) {
        if !self.draws {
            if let Some(line) = self.lines.next(name, done, total, Instant::now()) {
                print(&line);
            }
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let template =
                "{msg} [{bar:24}] {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
            let style = ProgressStyle::with_template(template);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            // What was here before counts for the size, and not for the speed.
            let bar = ProgressBar::new(total).with_style(style).with_position(done);
            bar.reset_eta();
            bar
        });
        bar.set_message(name.to_owned());
        bar.set_length(total);
        bar.set_position(done);
    }

    /// Ends the download, and prints a line.
    pub(crate) fn print(&mut self, line: &str) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.lines = Lines::default();
        print(line);
    }
}

/// The lines of a log about one download.
#[derive(Default)]
struct Lines {
    /// When the last line was, and how many bytes were here then.
    last: Option<(Instant, u64)>,
}

impl Lines {
    /// Returns a line, if it is time for one.
    fn next(&mut self, name: &str, done: u64, total: u64, now: Instant) -> Option<String> {
        let Some((time, bytes)) = self.last else {
            self.last = Some((now, done));
            return None;
        };
        let passed = now.duration_since(time);
        if passed < LINE {
            return None;
        }
        self.last = Some((now, done));
        let speed = done.saturating_sub(bytes) as f64 / passed.as_secs_f64();
        let percent = done * 100 / total.max(1);
        Some(format!(
            "{name}: {} of {} ({percent} %), {}/s",
            text::size(done),
            text::size(total),
            text::size(speed as u64)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gets_a_line_every_ten_seconds_with_the_speed_since_the_last_one() {
        let start = Instant::now();
        let mut lines = Lines::default();
        let mut said = Vec::new();
        for tenth in 0..=300_u64 {
            // What an earlier download left does not count as speed.
            let done = 5_000_000 + 100_000 * tenth;
            let now = start + Duration::from_millis(100 * tenth);
            said.extend(lines.next("plantuml", done, 50_000_000, now));
        }
        assert_eq!(
            said,
            [
                "plantuml: 15.0 MB of 50.0 MB (30 %), 1.0 MB/s",
                "plantuml: 25.0 MB of 50.0 MB (50 %), 1.0 MB/s",
                "plantuml: 35.0 MB of 50.0 MB (70 %), 1.0 MB/s",
            ]
        );
    }
}
