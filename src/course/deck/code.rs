//! Writes scripts, the `code` format of most languages.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::quotes::Quotes;
use super::{CellKind, Deck, Notebook, NotebookCell, magics, syntax, text};
use crate::course::ProgLang;

/// Returns the script of a notebook: cells between markers without options.
pub fn script(notebook: &Notebook, deck: &Deck, prog_lang: ProgLang) -> String {
    // The cells are written in reverse, since the number of blank lines after a cell depends on the following ones.
    let mut blocks: Vec<Vec<String>> = Vec::with_capacity(notebook.cells.len() + 1);
    let without_marker = notebook
        .cells
        .first()
        .and_then(front_matter)
        .map_or(0, |_| 1);
    for cell in notebook.cells[without_marker..].iter().rev() {
        let mut lines = cell_lines(cell, prog_lang);
        let following = blocks.iter().rev().flatten().map(String::as_str);
        let blanks = match prog_lang {
            ProgLang::Python => blank_lines(&lines, following),
            _ => 1,
        };
        lines.resize(lines.len() + blanks, String::new());
        blocks.push(lines);
    }
    blocks.push(header_lines(notebook, deck, prog_lang));
    if notebook.cells.is_empty() {
        // The script of a notebook without cells is an empty line.
        let blanks = if blocks[0].is_empty() { 2 } else { 1 };
        blocks[0].extend(vec![String::new(); blanks]);
    }
    let lines: Vec<&str> = blocks.iter().rev().flatten().map(String::as_str).collect();
    lines.join("\n")
}

/// Returns the interpreter and encoding lines of the deck, and its front matter.
fn header_lines(notebook: &Notebook, deck: &Deck, prog_lang: ProgLang) -> Vec<String> {
    let declared = |key: &str| {
        deck.metadata
            .get("jupytext")
            .and_then(|jupytext| jupytext.get(key))
            .and_then(Value::as_str)
    };
    let mut lines = Vec::new();
    let front_matter = notebook.cells.first().and_then(front_matter);
    if let Some(executable) = declared("executable") {
        lines.push(format!("#!{executable}"));
    }
    if let Some(encoding) = declared("encoding") {
        lines.push(encoding.to_owned());
    } else if prog_lang != ProgLang::Python
        && notebook.cells.iter().any(|cell| !cell.source.is_ascii())
    {
        lines.push(format!("{} -*- coding: utf-8 -*-", prog_lang.comment()));
    }
    if let Some(front_matter) = front_matter
        && front_matter.len() > 2
    {
        let comment = prog_lang.comment();
        lines.extend(front_matter.iter().map(|line| commented(line, comment)));
        lines.push(String::new());
    }
    lines
}

/// Returns the lines of a raw cell between two rules. If it is the first cell, it is written without a marker.
fn front_matter(cell: &NotebookCell) -> Option<Vec<&str>> {
    let lines = text::split_lines(text::strip(&cell.source));
    let is_between_rules = lines.len() > 1 && lines[0] == "---" && lines[lines.len() - 1] == "---";
    (cell.kind == CellKind::Raw && is_between_rules).then_some(lines)
}

/// Returns the lines of a cell; after a line end at the end there is one more line, which is empty.
fn source_lines(source: &str) -> Vec<&str> {
    let mut lines = text::split_lines(source);
    if source.is_empty() || source.ends_with('\n') {
        lines.push("");
    }
    lines
}

fn cell_lines(cell: &NotebookCell, prog_lang: ProgLang) -> Vec<String> {
    let comment = prog_lang.comment();
    let source = source_lines(&cell.source);
    let magics = |lines: &[&str]| -> Vec<String> {
        let lines = magics::comment(lines, prog_lang);
        lines.into_iter().map(Cow::into_owned).collect()
    };
    match cell.kind {
        CellKind::Code if cell.source.is_empty() => vec![format!("{comment} %%")],
        CellKind::Code => {
            if let Some(language) = CellLanguage::of(source[0], prog_lang) {
                let mut lines = vec![format!("{comment} %%{}", language.options())];
                if language.name == syntax::main_language(prog_lang) {
                    let is_empty = source[1..] == [""];
                    lines.extend(magics(if is_empty { &[] } else { &source[1..] }));
                } else {
                    lines.extend(source[1..].iter().map(|line| commented(line, comment)));
                }
                return lines;
            }
            // The marker has the same indentation as the code.
            let code = source[0].trim_start_matches(text::is_space);
            let indent = match code {
                "" => "",
                code => &source[0][..source[0].len() - code.len()],
            };
            let mut lines = vec![format!("{indent}{comment} %%")];
            lines.extend(magics(&source));
            lines
        }
        CellKind::Markdown | CellKind::Raw => {
            let mut lines = vec![format!("{comment} %% [{}]", cell.kind.name())];
            if let Some((open, close)) = quotes(cell) {
                // In Python, a backslash needs a raw string to stay a backslash.
                let is_raw = open.starts_with(['r', 'R']);
                let prefix = if !is_raw && cell.source.contains('\\') {
                    "r"
                } else {
                    ""
                };
                // The quotes are joined to the first and last line: this affects how blank lines between cells are
                // counted, and whether the cell counts as one that ends with code.
                let start = lines.len();
                lines.extend(source.iter().map(|line| (*line).to_owned()));
                lines[start].insert_str(0, &format!("{prefix}{open}"));
                if let Some(last) = lines.last_mut() {
                    last.push_str(&close);
                }
            } else if let Some(language) = CellLanguage::of(source[0], prog_lang) {
                lines[0].push_str(&language.options());
                lines.extend(source[1..].iter().map(|line| commented(line, comment)));
            } else {
                lines.extend(source.iter().map(|line| commented(line, comment)));
            }
            lines
        }
    }
}

fn commented(line: &str, comment: &str) -> String {
    if line.is_empty() {
        comment.to_owned()
    } else {
        format!("{comment} {line}")
    }
}

/// Returns the quotes in which a text cell was written, including the line ends inside of them.
fn quotes(cell: &NotebookCell) -> Option<(String, String)> {
    let marker = cell.metadata.get("cell_marker")?.as_str()?;
    if let Some((open, close)) = marker.split_once(',') {
        return is_quote(open.trim_end_matches('\n')).then(|| (open.to_owned(), close.to_owned()));
    }
    let close = marker.trim_start_matches(['r', 'R']);
    is_quote(marker).then(|| (format!("{marker}\n"), format!("\n{close}")))
}

fn is_quote(marker: &str) -> bool {
    let quote = marker.strip_prefix(['r', 'R']).unwrap_or(marker);
    matches!(quote, "\"\"\"" | "'''")
}

/// A language other than the deck's, named by the first line of a cell (`%%bash`).
struct CellLanguage<'a> {
    name: &'a str,
    arguments: &'a str,
}

impl<'a> CellLanguage<'a> {
    fn of(line: &'a str, prog_lang: ProgLang) -> Option<Self> {
        let rest = line.strip_prefix(syntax::language_sign(prog_lang))?;
        let (name, arguments) = rest.split_once(' ').unwrap_or((rest, ""));
        // In C#, a line with arguments is an ordinary magic.
        let is_alone = arguments.is_empty() || prog_lang != ProgLang::CSharp;
        (is_alone && syntax::is_cell_language(name)).then_some(Self { name, arguments })
    }

    fn options(&self) -> String {
        let mut options = String::new();
        if !self.arguments.is_empty() {
            options.push_str(&format!(" magic_args={}", Value::from(self.arguments)));
        }
        options.push_str(&format!(" language={}", Value::from(self.name)));
        options
    }
}

/// Returns the number of blank lines after a cell: two around functions and classes, as in Python's style guide.
fn blank_lines<'a>(cell: &[String], following: impl Iterator<Item = &'a str>) -> usize {
    let mut following = following.peekable();
    if following.peek().is_none() {
        return 1;
    }
    let wants_two = if ends_with_definition(cell) {
        has_code(following)
    } else {
        ends_with_code(cell) && starts_with_definition(following)
    };
    if wants_two { 2 } else { 1 }
}

fn is_definition(line: &str) -> bool {
    static DEFINITION: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^(def|class|async)\s").expect("the pattern is constant"));
    DEFINITION.is_match(line)
}

/// Returns whether the last line that is neither indented nor a comment begins a function or class.
fn ends_with_definition(cell: &[String]) -> bool {
    let outside: Vec<&str> = outside_strings(cell.iter().map(String::as_str)).collect();
    before_gap(outside.into_iter().rev())
        .find(|line| !line.starts_with(['#', ' ', ')']))
        .is_some_and(is_definition)
}

/// Returns the lines that do not begin inside a string.
fn outside_strings<'a>(lines: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let mut quotes = Quotes::new("#");
    lines.filter(move |line| {
        let is_outside = !quotes.inside();
        quotes.read(line);
        is_outside
    })
}

fn ends_with_code(cell: &[String]) -> bool {
    cell.last()
        .is_some_and(|line| !text::is_blank(line) && !line.starts_with('#'))
}

fn has_code<'a>(following: impl Iterator<Item = &'a str>) -> bool {
    before_gap(following).any(|line| !text::strip(line).starts_with('#'))
}

fn starts_with_definition<'a>(following: impl Iterator<Item = &'a str>) -> bool {
    before_gap(outside_strings(following))
        .find(|line| !line.starts_with(['#', '@', ' ', ')']))
        .is_some_and(is_definition)
}

/// Returns the lines that are not blank, up to the first two blank lines in a row.
fn before_gap<'a>(lines: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let mut after_blank = false;
    lines
        .take_while(move |line| {
            let is_blank = text::is_blank(line);
            let is_gap = is_blank && after_blank;
            after_blank = is_blank;
            !is_gap
        })
        .filter(|line| !text::is_blank(line))
}
