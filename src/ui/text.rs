//! Sentences and lines for people.

use std::time::Duration;

use console::{Style, strip_ansi_codes};

use crate::diagnostic::{Diagnostic, Severity};
use crate::events::{ActionKind, CacheUse, Counts, Status};

/// Formats the last line of a run.
pub(super) fn counts(counts: &Counts, duration_ms: u64) -> String {
    let superseded = match counts.superseded {
        0 => String::new(),
        count => format!(", superseded {count}"),
    };
    format!(
        "Built {}, written {}, restored {}, fresh {}, removed {}, failed {}{superseded} in {}",
        counts.built,
        counts.written,
        counts.restored,
        counts.fresh,
        counts.removed,
        counts.failed,
        duration(duration_ms)
    )
}

/// Formats what the caches were used for; `None` if that is not worth a line.
pub(super) fn cache(cache: &CacheUse) -> Option<String> {
    let results = |count: u64| match count {
        1 => "1 result".to_owned(),
        count => format!("{count} results"),
    };
    let mut parts = Vec::new();
    if cache.remote > 0 {
        let bytes = size(cache.received_bytes);
        parts.push(format!(
            "{} from the shared cache ({bytes})",
            results(cache.remote)
        ));
    }
    if cache.missed > 0 {
        parts.push(format!("{} not there", cache.missed));
    }
    if cache.sent > 0 {
        parts.push(format!(
            "{} sent to it ({})",
            cache.sent,
            size(cache.sent_bytes)
        ));
    }
    if parts.is_empty() {
        return None;
    }
    if cache.saved_ms > 0 {
        parts.push(format!("saved {} of work", duration(cache.saved_ms)));
    }
    Some(format!("Cache: {}", parts.join(", ")))
}

/// Formats a time as `12 ms`, `1.2 s` or `3 min 4 s`.
pub(super) fn duration(ms: u64) -> String {
    let time = Duration::from_millis(ms);
    match time.as_secs() {
        0 => format!("{:.2} s", time.as_secs_f64()),
        1..=119 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// Formats a number of bytes.
pub(super) fn size(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1000.0, 0);
    while value >= 999.95 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

/// Formats a diagnostic: place and message, the longer text indented, the hint.
pub(super) fn diagnostic(diagnostic: &Diagnostic, colours: bool) -> String {
    let style = |style: Style| {
        if colours {
            style.force_styling(true)
        } else {
            Style::new().force_styling(false)
        }
    };
    let mut text = String::new();
    if let Some(file) = &diagnostic.file {
        let mut place = file.clone();
        for number in [diagnostic.line, diagnostic.column].into_iter().flatten() {
            place += &format!(":{number}");
        }
        text += &format!("{}: ", style(Style::new().bold()).apply_to(place));
    }
    let (name, colour) = match diagnostic.severity {
        Severity::Note => ("note", Style::new().cyan()),
        Severity::Warning => ("warning", Style::new().yellow()),
        Severity::Error => ("error", Style::new().red().bold()),
    };
    // The message may contain the output of a program with its own colours, which do not fit into a sentence.
    let message = strip_ansi_codes(&diagnostic.message);
    text += &format!("{}: {message}", style(colour).apply_to(name));
    if let Some(cell) = diagnostic.cell {
        text += &format!(" (cell {cell})");
    }
    if let Some(detail) = &diagnostic.detail {
        let detail = if colours {
            detail.clone()
        } else {
            strip_ansi_codes(detail).into_owned()
        };
        for line in detail.trim_end().lines() {
            text += &format!("\n    {line}");
        }
    }
    if let Some(hint) = &diagnostic.hint {
        text += &format!("\n{}: {hint}", style(Style::new().cyan()).apply_to("hint"));
    }
    text
}

/// Formats the outcome of an action as a line, or returns `None` if it is not reported.
pub(super) fn finished(
    action: &str,
    kind: ActionKind,
    status: Status,
    duration_ms: u64,
    machine: Option<&str>,
    verbose: bool,
) -> Option<String> {
    let is_small = matches!(kind, ActionKind::Deck | ActionKind::Copy);
    let verb = match status {
        Status::Built => "built",
        Status::Written => "written",
        Status::Restored => "restored",
        Status::Failed => "failed",
        Status::Fresh | Status::Superseded => return None,
    };
    // Failures are reported by source at the end of the run.
    if (is_small || status == Status::Failed) && !verbose {
        return None;
    }
    let time = match status {
        Status::Built => match machine {
            Some(machine) => format!(" ({} on {machine})", duration(duration_ms)),
            None => format!(" ({})", duration(duration_ms)),
        },
        _ => String::new(),
    };
    Some(format!("{verb:>8} {action}{time}"))
}
