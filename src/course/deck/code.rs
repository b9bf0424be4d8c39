//! Scripts: the cells of an output in the percent format, without metadata.

use crate::course::ProgLang;

use super::comments::{comment_out, split_lines};
use super::strings::StringScanner;
use super::{CellKind, Deck, Notebook, NotebookCell, magics};

/// The text of a script.
pub fn code(notebook: &Notebook, deck: &Deck, prog_lang: ProgLang) -> String {
    let comment = prog_lang.comment();
    // From the last cell to the first: how much room a cell leaves depends on what follows.
    let mut lines: Vec<String> = Vec::new();
    for cell in notebook.cells.iter().rev() {
        let mut text = cell_lines(cell, prog_lang);
        if !lines.is_empty() {
            let gap = if prog_lang == ProgLang::Python {
                gap(&text, &lines)
            } else {
                1
            };
            text.extend(std::iter::repeat_n(String::new(), gap));
        }
        text.append(&mut lines);
        lines = text;
    }
    let mut head = Vec::new();
    if let Some(executable) = &deck.executable {
        head.push(format!("#!{executable}"));
    }
    let is_ascii = notebook.cells.iter().all(|cell| cell.source.is_ascii());
    if let Some(encoding) = &deck.encoding {
        head.push(encoding.clone());
    } else if prog_lang != ProgLang::Python && !is_ascii {
        head.push(format!("{comment} -*- coding: utf-8 -*-"));
    }
    head.append(&mut lines);
    if head.is_empty() {
        return String::new();
    }
    let mut text = head.join("\n");
    text.push('\n');
    text
}

fn cell_lines(cell: &NotebookCell, prog_lang: ProgLang) -> Vec<String> {
    let comment = prog_lang.comment();
    let marker = match cell.kind {
        CellKind::Code => format!("{comment} %%"),
        CellKind::Markdown => format!("{comment} %% [markdown]"),
        CellKind::Raw => format!("{comment} %% [raw]"),
    };
    let mut lines = vec![marker];
    let source = source_lines(&cell.source);
    if cell.kind == CellKind::Code {
        let language = source
            .first()
            .and_then(|first| first.strip_prefix("%%"))
            .filter(|language| is_cell_language(language));
        // A cell that begins indented (a fragment, no program) has its marker indented alike.
        let first = source.first().copied().unwrap_or_default();
        let indent = &first[..first.len() - first.trim_start().len()];
        if !first.trim().is_empty() {
            lines[0].insert_str(0, indent);
        }
        match language {
            Some(language) => {
                lines[0] = format!("{comment} %% language=\"{language}\"");
                lines.extend(source[1..].iter().map(|line| comment_out(line, comment)));
            }
            None if cell.source.is_empty() => {}
            None => lines.extend(magics::comment_out(&source, prog_lang)),
        }
        return lines;
    }
    let quotes = cell
        .metadata
        .get("cell_marker")
        .and_then(|marker| marker.as_str());
    match quotes.filter(|_| prog_lang == ProgLang::Python) {
        Some(open) => {
            let close = open.trim_start_matches(['r', 'R']);
            lines.push(open.to_owned());
            lines.extend(source.iter().map(|line| (*line).to_owned()));
            lines.push(close.to_owned());
        }
        None => lines.extend(source.iter().map(|line| comment_out(line, comment))),
    }
    lines
}

/// Languages that a notebook cell can be in as a whole.
fn is_cell_language(text: &str) -> bool {
    matches!(
        text,
        "bash"
            | "sh"
            | "script"
            | "perl"
            | "ruby"
            | "javascript"
            | "js"
            | "html"
            | "latex"
            | "markdown"
            | "svg"
            | "R"
            | "python2"
            | "python3"
            | "python"
            | "pypy"
            | "julia"
            | "sql"
            | "cython"
            | "rust"
            | "go"
    )
}

fn source_lines(source: &str) -> Vec<&str> {
    let mut lines = split_lines(source);
    // A trailing line end opens one more, empty line.
    if source.is_empty() || source.ends_with('\n') {
        lines.push("");
    }
    lines
}

/// Blank lines between a cell and the text after it: two around functions and classes, as Python's style guide
/// asks for, else one.
fn gap(cell: &[String], following: &[String]) -> usize {
    if ends_with_definition(cell) {
        return if has_code(following) { 2 } else { 1 };
    }
    let ends_with_code = cell
        .last()
        .is_some_and(|line| !line.trim().is_empty() && !line.starts_with('#'));
    if ends_with_code && begins_with_definition(following) {
        2
    } else {
        1
    }
}

fn is_definition(line: &str) -> bool {
    ["def ", "async ", "class "]
        .iter()
        .any(|word| line.starts_with(word))
}

/// Lines up to the first pair of blank ones; the blank ones are left out.
fn before_a_pause<'a>(lines: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let mut was_blank = false;
    lines
        .take_while(move |line| {
            let is_blank = line.trim().is_empty();
            let is_pause = is_blank && was_blank;
            was_blank = is_blank;
            !is_pause
        })
        .filter(|line| !line.trim().is_empty())
}

/// Lines that do not begin inside of a string.
fn unquoted(lines: &[String]) -> Vec<&str> {
    let mut scanner = StringScanner::new("#");
    lines
        .iter()
        .filter_map(|line| {
            let is_quoted = scanner.is_quoted();
            scanner.read(line);
            (!is_quoted).then_some(line.as_str())
        })
        .collect()
}

fn ends_with_definition(cell: &[String]) -> bool {
    before_a_pause(unquoted(cell).into_iter().rev())
        .find(|line| !line.starts_with(['#', ' ', ')']))
        .is_some_and(is_definition)
}

fn begins_with_definition(following: &[String]) -> bool {
    before_a_pause(unquoted(following).into_iter())
        .find(|line| !line.starts_with(['#', '@', ' ', ')']) || is_definition(line))
        .is_some_and(is_definition)
}

fn has_code(following: &[String]) -> bool {
    before_a_pause(following.iter().map(String::as_str)).any(|line| !line.starts_with('#'))
}
