//! Writes the program of a deck: includes, definitions outside of functions, one function for each slide, and `main`.

use super::cells::{Presence, ProgramCell, cells};
use super::items::{Item, ItemKind};
use super::placement::Placement;
use super::prose::{self, commented};
use super::sections::{Section, sections};
use super::skeleton::incomplete;
use super::stream::{Stream, indented};
use super::tokens::comments;
use crate::course::deck::{Deck, Notebook};
use crate::course::{Kind, Lang};

/// The header that shows the values of expressions.
pub(super) const DISPLAY_HEADER: &str = "clm/display.hpp";

/// The comment above code that uses definitions which participants must still write.
const NOTE: &str = "// needs code that is still to be written: remove the comment signs then";

/// The files of a deck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The source file of the deck.
    pub main: String,
    /// The header that all its files include, for a deck with workshops or global cells.
    pub header: Option<String>,
    /// The source files of its workshops, with their numbers, counted from 1.
    pub workshops: Vec<(usize, String)>,
}

/// Returns the program of an output. `stem` is the name of its source file without the extension.
pub fn program(deck: &Deck, notebook: &Notebook, kind: Kind, lang: Lang, stem: &str) -> Program {
    let cells = cells(deck, notebook, kind, lang);
    let reserved: Vec<&str> = cells
        .iter()
        .flat_map(|cell| &cell.items)
        .flat_map(|item| item.names.iter().copied())
        .collect();
    let sections = sections(&cells, &reserved);
    let placement = Placement::of(&cells, &sections);
    let incomplete = incomplete(&cells, &sections, &placement);
    let has_header = cells
        .iter()
        .any(|cell| cell.workshop > 0 || cell.is_in_header());
    let mut writer = Writer {
        cells: &cells,
        has_header,
        own_namespaces: own_namespaces(&cells),
        placement: &placement,
        incomplete: &incomplete,
        includes: Vec::new(),
        header: Stream::default(),
        shows_values: false,
    };
    let written: Vec<Written> = sections
        .iter()
        .map(|section| writer.section(section))
        .collect();
    if written.iter().any(|section| section.function.is_some()) {
        writer.include("#include <iostream>");
    }
    if writer.shows_values {
        writer.include(&format!("#include <{DISPLAY_HEADER}>"));
    }
    let includes = writer.includes.join("\n");
    let (header, first) = if has_header {
        let parts = ["#pragma once", &includes, &writer.header.text()];
        let header = file(parts.map(str::to_owned));
        (Some(header), format!("#include \"{stem}.hpp\""))
    } else {
        (None, includes)
    };
    let source = |number: usize| {
        let of_file =
            || (sections.iter().zip(&written)).filter(|(section, _)| section.file == number);
        let texts = of_file().map(|(_, section)| section.text.clone());
        let mut cells = of_file().flat_map(|(section, _)| section.cells.clone());
        let main = if cells.any(|at| writer.defines_main(at)) {
            String::new()
        } else {
            main_function(of_file().filter_map(|(_, section)| section.function.as_deref()))
        };
        file([first.clone()].into_iter().chain(texts).chain([main]))
    };
    let last = cells.iter().map(|cell| cell.workshop).max().unwrap_or(0);
    Program {
        main: source(0),
        header,
        workshops: (1..=last).map(|number| (number, source(number))).collect(),
    }
}

fn own_namespaces<'a>(cells: &[ProgramCell<'a>]) -> Vec<&'a str> {
    cells
        .iter()
        .filter(|cell| !cell.is_in_header())
        .flat_map(|cell| &cell.items)
        .filter_map(|item| match item.tokens.as_slice() {
            [first, name, ..] if first.is("namespace") => Some(name.text),
            _ => None,
        })
        .collect()
}

/// Joins the parts that are not empty, with blank lines between them.
fn file(parts: impl IntoIterator<Item = String>) -> String {
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n\n") + "\n"
}

fn main_function<'a>(functions: impl Iterator<Item = &'a str>) -> String {
    let calls: Vec<String> = functions.map(|name| format!("    {name}();\n")).collect();
    if calls.is_empty() {
        return "int main() {}".to_owned();
    }
    format!("int main() {{\n{}}}", calls.concat())
}

/// The text of a section.
struct Written {
    text: String,
    /// The name of its function, if there is one.
    function: Option<String>,
}

struct Writer<'a> {
    cells: &'a [ProgramCell<'a>],
    has_header: bool,
    /// Namespaces that the deck itself defines outside of its header.
    own_namespaces: Vec<&'a str>,
    placement: &'a Placement,
    incomplete: &'a [bool],
    includes: Vec<String>,
    header: Stream,
    /// Whether the value of any expression is shown.
    shows_values: bool,
}

impl Writer<'_> {
    /// Returns whether a cell contains the function `main` of its file.
    fn defines_main(&self, at: usize) -> bool {
        let cell = &self.cells[at];
        let is_main = |item: &Item| item.kind == ItemKind::Outside && item.names.contains(&"main");
        cell.is_shown() && !self.incomplete[at] && cell.items.iter().any(is_main)
    }

    fn section(&mut self, section: &Section) -> Written {
        let mut outside = Stream::default();
        let mut body = Stream::default();
        for at in section.cells.clone() {
            let cell = &self.cells[at];
            match (cell.presence, cell.text) {
                (Presence::Withheld, _) => {}
                (Presence::Shown, Some(text)) => {
                    let comment = prose::comment(text);
                    if comment.is_empty() {
                    } else if body.is_empty() {
                        outside.comment(at, comment);
                    } else {
                        body.comment(at, comment);
                    }
                }
                (Presence::Shown, None) => match cell.magic {
                    Some(magic) => body.code(at, &commented(magic)),
                    None => self.code(at, &mut outside, &mut body),
                },
                (Presence::Emptied, _) => {
                    let target = if cell.is_in_header() {
                        &mut self.header
                    } else if cell.is_global || self.placement.has_outside(at) {
                        &mut outside
                    } else {
                        &mut body
                    };
                    target.code(at, &to_do(cell, &section.heading));
                }
            }
        }
        let mut text = outside.text();
        if body.is_empty() {
            return Written {
                text,
                function: None,
            };
        }
        if !text.is_empty() {
            text.push_str(if outside.ends_with_comment() {
                "\n"
            } else {
                "\n\n"
            });
        }
        text.push_str(&format!(
            "void {}() {{\n    std::cout << \"== {} ==\\n\";\n{}\n}}",
            section.function,
            section.heading.replace('\\', "\\\\").replace('"', "\\\""),
            indented(&body.text()),
        ));
        Written {
            text,
            function: Some(section.function.clone()),
        }
    }

    fn code(&mut self, at: usize, outside: &mut Stream, body: &mut Stream) {
        let cell = &self.cells[at];
        for (index, item) in cell.items.iter().enumerate() {
            let text = match item.kind {
                ItemKind::Include => {
                    self.include(item.text);
                    continue;
                }
                ItemKind::Display => {
                    self.shows_values = true;
                    shown(item.text)
                }
                // A magic of the kernel within the code.
                _ if item.tokens.first().is_some_and(|first| first.is("%")) => commented(item.text),
                _ => terminated(item),
            };
            let is_opened = item
                .opens_namespace
                .is_some_and(|name| !self.own_namespaces.contains(&name));
            let target = match self.placement.is_outside(at, index) {
                true if cell.is_in_header() => &mut self.header,
                // A namespace that is opened for the deck is opened for its workshops, too.
                true if is_opened && self.has_header && cell.workshop == 0 => &mut self.header,
                true => &mut *outside,
                false => &mut *body,
            };
            if self.incomplete[at] {
                target.noted(at, NOTE, &commented(&text));
            } else {
                target.code(at, &text);
            }
        }
    }

    /// Adds an `#include` line, unless it was added before.
    fn include(&mut self, line: &str) {
        let line = line.trim();
        // Comments above it are not moved.
        let line = line.find('#').map_or(line, |start| &line[start..]);
        let plain = |line: &str| -> String {
            let end = line
                .find("//")
                .or_else(|| line.find("/*"))
                .unwrap_or(line.len());
            line[..end].split_whitespace().collect()
        };
        if !self
            .includes
            .iter()
            .any(|other| plain(other) == plain(line))
        {
            self.includes.push(line.to_owned());
        }
    }
}

/// Returns the comment in place of code that participants must write.
fn to_do(cell: &ProgramCell, heading: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in cell.items.iter().flat_map(|item| &item.shown) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    if names.is_empty() {
        format!("// TODO: {heading}")
    } else {
        format!("// TODO: define {}", names.join(", "))
    }
}

/// Returns the text of an item, with a semicolon added if it is missing.
fn terminated(item: &Item) -> String {
    let text = item.text;
    let last = item.tokens.last().map_or("", |token| token.text);
    let is_block = last == "}" && !needs_semicolon(item);
    let is_directive = last.starts_with('#');
    let has_one = comments(text)
        .last()
        .is_none_or(|comment| comment.end < text.len())
        && text.ends_with(';');
    if is_block || is_directive || has_one {
        return text.to_owned();
    }
    let ends_with_comment = comments(text).last().is_some_and(|comment| {
        comment.end == text.len() && text[comment.clone()].starts_with("//")
    });
    if ends_with_comment {
        format!("{text}\n;")
    } else {
        format!("{text};")
    }
}

/// Returns whether an item that ends with a brace is a class or a value, and not a block.
fn needs_semicolon(item: &Item) -> bool {
    let rest = super::pieces::after_template(&item.tokens);
    let first = rest.first();
    let is_type = first.is_some_and(|first| first.is_one_of(&["struct", "class", "union", "enum"]));
    let is_value = matches!(item.kind, ItemKind::Variable | ItemKind::StaticVariable)
        || (item.kind == ItemKind::Statement && first.is_some_and(|first| first.is("[")));
    let is_concept = first.is_some_and(|first| first.is("concept"));
    is_type && item.kind == ItemKind::Outside && !rest.iter().any(|token| token.is("("))
        || is_type
            && !rest
                .iter()
                .take_while(|token| !token.is("{"))
                .any(|token| token.is("("))
        || is_value
        || is_concept
}

/// Returns code that shows the value of an expression.
fn shown(expression: &str) -> String {
    let has_line_comment = comments(expression)
        .iter()
        .any(|comment| expression[comment.clone()].starts_with("//"));
    if expression.contains('\n') || has_line_comment {
        format!("CLM_DISPLAY(\n{}\n);", indented(expression))
    } else {
        format!("CLM_DISPLAY({expression});")
    }
}
