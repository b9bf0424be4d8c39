//! The results of a command as Markdown, for the page of a job.
//!
//! What authors and programs wrote stands in code spans and fenced blocks alone, which it cannot end: there it is
//! neither Markdown nor HTML, and mentions nobody.

use std::collections::BTreeMap;

use console::strip_ansi_codes;

use crate::diagnostic::{Diagnostic, Severity};
use crate::events::{ActionKind, Status};

use super::Paths;
use super::results::{Mode, Results};
use super::text;

/// The most bytes that GitHub takes for the page of a step.
pub(super) const LIMIT: usize = 1 << 20;
/// Room for the headings, and the notes about what was cut.
const RESERVE: usize = 8 << 10;
/// The most bytes of a traceback, of which the end is most useful.
const LONGEST_DETAIL: usize = 16 << 10;
/// The most bytes of a name or a message.
const LONGEST_LINE: usize = 2 << 10;
/// How many of the slowest decks are listed.
const SLOWEST: usize = 5;
/// Longer lists are folded.
const SHORT: usize = 10;

/// Returns the text of at most `limit` bytes. `paths` names the files.
pub(super) fn page(results: &Results, paths: &Paths, limit: usize) -> String {
    let mut page = Page {
        text: head(results),
        left: limit.saturating_sub(RESERVE),
    };
    page.left = page.left.saturating_sub(page.text.len());
    let of = |severity| diagnostics(results, severity, paths);
    page.list("Errors", of(Severity::Error), false);
    page.list("Not up to date", stale(results), true);
    page.list("What was made and why", made(results), true);
    page.list("The slowest decks", slowest(results), false);
    page.list("Warnings", of(Severity::Warning), true);
    let removed = results.removed.iter();
    let removed = removed.map(|path| format!("- {}\n", code(path))).collect();
    page.list("Removed outputs", removed, true);
    page.text
}

/// A text with limited room.
struct Page {
    text: String,
    left: usize,
}

impl Page {
    /// Adds a section, if it has items, with as many of them as there is room for.
    fn list(&mut self, title: &str, items: Vec<String>, is_folded: bool) {
        if items.is_empty() {
            return;
        }
        let is_folded = is_folded && items.len() > SHORT;
        self.text += &match is_folded {
            true => format!("<details><summary>{title} ({})</summary>\n\n", items.len()),
            false => format!("### {title}\n\n"),
        };
        let count = items.len();
        let mut shown = 0;
        for item in items {
            if item.len() > self.left {
                // What follows is not listed either, so that the list has no gaps.
                self.left = 0;
                break;
            }
            self.left -= item.len();
            self.text += &item;
            shown += 1;
        }
        if shown < count {
            let rest = count - shown;
            self.text +=
                &format!("\n*{rest} more of {count} are cut: the page would be too long.*\n");
        }
        self.text += if is_folded { "\n</details>\n\n" } else { "\n" };
    }
}

fn head(results: &Results) -> String {
    let counts = &results.counts;
    let course = results
        .course
        .as_deref()
        .map_or(String::new(), |name| format!(" {}", code(name)));
    let stale = results
        .checked
        .as_ref()
        .map_or(0, |checked| checked.stale.len());
    let what = match (results.mode, results.outcome()) {
        (Mode::Build, "success") => "is up to date".to_owned(),
        (Mode::Build, "failure") => "has errors".to_owned(),
        (_, "invalid") => {
            "could not be built: the specification, the settings or the options are wrong"
                .to_owned()
        }
        (_, "interrupted") => "was stopped before it was done".to_owned(),
        (Mode::Check | Mode::DryRun, "success" | "stale") if stale > 0 => {
            let actions = if stale == 1 {
                "action is"
            } else {
                "actions are"
            };
            format!("{stale} {actions} not up to date; nothing was made")
        }
        (Mode::Check | Mode::DryRun, "success") => "is up to date; nothing was made".to_owned(),
        (Mode::Verify, "success") => {
            "was verified: known actions gave the same results again".to_owned()
        }
        (Mode::Verify, "failure") => "was verified: there are differences or errors".to_owned(),
        (Mode::Check | Mode::DryRun, "failure") => "has errors; nothing was made".to_owned(),
        _ => "could not be built completely".to_owned(),
    };
    let colon = if what.starts_with(|char: char| char.is_ascii_digit()) {
        ":"
    } else {
        ""
    };
    let mut head = format!(
        "## clm:{}{colon} {what}\n\n",
        if course.is_empty() {
            " the course"
        } else {
            &course
        }
    );
    if results.mode == Mode::Build {
        head += "| built | written | restored | fresh | removed | failed |\n|--:|--:|--:|--:|--:|--:|\n";
        head += &format!(
            "| {} | {} | {} | {} | {} | {} |\n\n",
            counts.built,
            counts.written,
            counts.restored,
            counts.fresh,
            counts.removed,
            counts.failed
        );
        for line in cache(results) {
            head += &format!("- {line}\n");
        }
        if let Some(ms) = results.duration_ms {
            head += &format!("- Time: {}\n", text::duration(ms));
        }
        head.push('\n');
    }
    head
}

/// Returns lines about what the cache was good for.
fn cache(results: &Results) -> Vec<String> {
    let counts = &results.counts;
    let known = counts.fresh + counts.restored;
    let all = known + counts.built;
    if all == 0 {
        return Vec::new();
    }
    // Rounded down: only a build that makes nothing has 100 %.
    let mut lines = vec![format!(
        "Cache: {known} of {all} results were known ({} %)",
        known * 100 / all
    )];
    let cache = &results.cache;
    let levels = [
        ("cache of the course", cache.local, None),
        ("shared cache", cache.remote, Some(cache.received_bytes)),
    ];
    for (level, hits, bytes) in levels.into_iter().filter(|(_, hits, _)| *hits > 0) {
        let bytes = bytes.map_or(String::new(), |bytes| format!(", {}", text::size(bytes)));
        lines.push(format!("From the {level}: {hits}{bytes}"));
    }
    if cache.missed > 0 {
        lines.push(format!("Not in the shared cache: {}", cache.missed));
    }
    if cache.sent > 0 {
        let bytes = text::size(cache.sent_bytes);
        lines.push(format!("Sent to the shared cache: {}, {bytes}", cache.sent));
    }
    if cache.saved_ms > 0 {
        lines.push(format!("Saved work: {}", text::duration(cache.saved_ms)));
    }
    lines
}

fn diagnostics(results: &Results, severity: Severity, paths: &Paths) -> Vec<String> {
    // Several actions may report the same.
    let mut known = std::collections::HashSet::new();
    let all = results
        .diagnostics
        .iter()
        .map(|reported| &reported.diagnostic);
    all.filter(|found| found.severity == severity && known.insert(*found))
        .map(|found| diagnostic(&paths.named(found)))
        .collect()
}

fn diagnostic(found: &Diagnostic) -> String {
    let mut item = "- ".to_owned();
    if let Some(file) = &found.file {
        let line = found.line.map_or(String::new(), |line| format!(":{line}"));
        item += &format!(
            "{}{}",
            code(&format!("{file}{line}")),
            if found.cell.is_some() { ", " } else { ": " }
        );
    }
    if let Some(cell) = found.cell {
        item += &format!("cell {cell}: ");
    }
    item += &code(&found.message);
    item.push('\n');
    if let Some(hint) = &found.hint {
        item += &format!("  Hint: {}\n", code(hint));
    }
    match &found.detail {
        Some(detail) => format!("{item}\n{}\n", fenced(detail)),
        None => item,
    }
}

fn stale(results: &Results) -> Vec<String> {
    let stale = results.checked.iter().flat_map(|checked| &checked.stale);
    stale
        .map(|stale| format!("- {}: {}\n", code(&stale.action), reasons(&stale.reasons)))
        .collect()
}

fn made(results: &Results) -> Vec<String> {
    // What cost most comes first.
    let made = [Status::Built, Status::Restored, Status::Written];
    let made = made.into_iter().flat_map(|status| results.with(status));
    made.map(|done| {
        let why = match (&done.reasons[..], done.status) {
            ([], Status::Restored) => "its result was in the cache".to_owned(),
            ([], _) => "its output was not there".to_owned(),
            (some, _) => reasons(some),
        };
        let time = match done.status {
            Status::Built => format!(" in {}", text::duration(done.duration_ms)),
            _ => String::new(),
        };
        format!(
            "- {} {}{time}: {why}\n",
            done.status.name(),
            code(&done.action)
        )
    })
    .collect()
}

fn slowest(results: &Results) -> Vec<String> {
    let mut times: BTreeMap<&str, u64> = BTreeMap::new();
    let of_decks = |kind| matches!(kind, ActionKind::Execute | ActionKind::Html);
    for done in results
        .with(Status::Built)
        .filter(|done| of_decks(done.kind))
    {
        *times.entry(&done.source).or_default() += done.duration_ms;
    }
    let mut times: Vec<(&str, u64)> = times.into_iter().collect();
    times.sort_by_key(|(_, ms)| std::cmp::Reverse(*ms));
    let slowest = times.into_iter().take(SLOWEST);
    slowest
        .map(|(source, ms)| format!("- {}: {}\n", code(source), text::duration(ms)))
        .collect()
}

fn reasons(reasons: &[String]) -> String {
    let all: Vec<String> = reasons.iter().map(|reason| code(reason)).collect();
    all.join(", ")
}

/// Returns a text as a code span in one line.
fn code(text: &str) -> String {
    let text = strip_ansi_codes(text);
    let mut line = text.split_whitespace().collect::<Vec<&str>>().join(" ");
    line.retain(|char| !char.is_control());
    if line.len() > LONGEST_LINE {
        let mut end = LONGEST_LINE;
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line += " ..";
    }
    if line.is_empty() {
        return "-".to_owned();
    }
    let marks = "`".repeat(longest_run(&line) + 1);
    match line.starts_with('`') || line.ends_with('`') {
        true => format!("{marks} {line} {marks}"),
        false => format!("{marks}{line}{marks}"),
    }
}

/// Returns a text as a fenced block.
fn fenced(text: &str) -> String {
    let text = strip_ansi_codes(text)
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let is_shown = |char: &char| !char.is_control() || matches!(char, '\n' | '\t');
    let mut shown: String = text.chars().filter(is_shown).collect();
    if shown.len() > LONGEST_DETAIL {
        let mut start = shown.len() - LONGEST_DETAIL;
        while !shown.is_char_boundary(start) {
            start += 1;
        }
        let start = shown[start..]
            .find('\n')
            .map_or(start, |end| start + end + 1);
        shown = format!("[{start} bytes are cut]\n{}", &shown[start..]);
    }
    let fence = "`".repeat((longest_run(&shown) + 1).max(3));
    format!("{fence}text\n{}\n{fence}\n", shown.trim_end_matches('\n'))
}

/// Returns the length of the longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|char| char != '`')
        .map(str::len)
        .max()
        .unwrap_or(0)
}
