//! Interprets the text between two cell markers according to the type of the cell.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::percent::{ScriptCell, tags};
use super::{CellKind, magics, syntax, text};
use crate::course::ProgLang;

/// Sets the source of a cell, and the metadata that depend on the source.
pub(super) fn read(cell: &mut ScriptCell, body: &[&str], prog_lang: ProgLang) {
    let comment = prog_lang.comment();
    let active = active(&cell.metadata);
    let names = |extension: &str| active.as_ref().map(|active| active.names(extension));
    let is_other_language = matches!(cell.metadata.get("language"), Some(Value::String(language))
        if language != syntax::main_language(prog_lang));
    let has_magics = names(prog_lang.extension()).unwrap_or(true) && !is_other_language;
    let is_code = cell.kind == CellKind::Code;
    let may_be_quoted =
        !is_code && prog_lang == ProgLang::Python && !names(prog_lang.extension()).unwrap_or(false);

    if let Some(quoted) = may_be_quoted.then(|| quoted_text(body)).flatten() {
        cell.source = quoted.text;
        cell.first += quoted.skipped_lines;
        if let Some(marker) = quoted.marker {
            cell.metadata.insert("cell_marker".into(), marker.into());
        }
    } else {
        let lines = if has_magics {
            magics::uncomment(body, prog_lang)
        } else {
            body.iter().map(|line| Cow::Borrowed(*line)).collect()
        };
        cell.source = if is_code && has_magics {
            lines.join("\n")
        } else {
            let lines: Vec<&str> = lines
                .iter()
                .map(|line| without_comment(line, comment))
                .collect();
            lines.join("\n")
        };
    }
    if is_code && becomes_raw(&cell.metadata) {
        cell.kind = CellKind::Raw;
    }
    let moved = syntax::move_cell_language(prog_lang, &mut cell.metadata, &mut cell.source);
    if let (true, Some(marker)) = (moved, cell.marker) {
        // The first source line, which names the language, corresponds to the marker.
        cell.first = marker;
    }
}

/// Returns a line without the comment sign at its start and the blank after it.
pub(super) fn without_comment<'a>(line: &'a str, comment: &str) -> &'a str {
    match line.strip_prefix(comment) {
        Some(rest) => rest.strip_prefix(' ').unwrap_or(rest),
        None => line,
    }
}

struct QuotedText {
    text: String,
    /// The form of the quotes, if scripts must reproduce it.
    marker: Option<String>,
    /// The number of lines before the first line of the text.
    skipped_lines: usize,
}

/// Parses text that is written as one triple-quoted string, possibly a raw one.
fn quoted_text(lines: &[&str]) -> Option<QuotedText> {
    let body = lines.join("\n");
    let whole = text::strip(&body);
    let prefix = usize::from(whole.starts_with(['r', 'R']));
    let quote = whole
        .get(prefix..prefix + 3)
        .filter(|quote| matches!(*quote, "\"\"\"" | "'''"))?;
    let (open, inner) = whole.split_at(prefix + 3);
    let mut inner = inner.strip_suffix(quote)?;
    let (mut first_line_end, mut last_line_end) = ("", "");
    if let Some(rest) = inner.strip_prefix('\n') {
        (first_line_end, inner) = ("\n", rest);
    }
    if let Some(rest) = inner.strip_suffix('\n') {
        (last_line_end, inner) = ("\n", rest);
    }
    let on_own_lines = !first_line_end.is_empty() && !last_line_end.is_empty();
    let marker = if on_own_lines {
        Some(open.to_owned())
    } else {
        (prefix > 0).then(|| format!("{open}{first_line_end},{last_line_end}{quote}"))
    };
    let before = body.len() - body.trim_start_matches(text::is_space).len();
    Some(QuotedText {
        text: inner.strip_suffix('\n').unwrap_or(inner).to_owned(),
        marker,
        skipped_lines: body[..before].matches('\n').count() + first_line_end.len(),
    })
}

/// Returns whether a code cell with this metadata is a raw cell in notebooks.
pub(super) fn becomes_raw(metadata: &Map<String, Value>) -> bool {
    active(metadata).is_some_and(|active| !active.names("ipynb"))
}

struct Active(String);

impl Active {
    fn names(&self, extension: &str) -> bool {
        self.0
            .split([',', '.', '-', ' '])
            .any(|name| name == extension)
    }
}

/// Returns the kinds of files in which a cell is active, if it says so (`active="py"`, or a tag `active-py`).
fn active(metadata: &Map<String, Value>) -> Option<Active> {
    if let Some(Value::String(active)) = metadata.get("active") {
        return Some(Active(active.clone()));
    }
    tags(metadata)
        .find_map(|tag| tag.strip_prefix("active-"))
        .map(|names| Active(names.to_owned()))
}
