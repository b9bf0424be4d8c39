//! Decks: from a notebook source to the notebooks and scripts of every language, kind and format.
//!
//! [`read`] renders the deck's Jinja template and parses its cells; [`notebook`] selects and transforms them for one
//! output; [`Notebook::to_ipynb`], [`script`] and [`cpp::program`] serialize them. [`execution_cells`] and [`attach`]
//! connect an output with the single execution that all of its kinds share. Everything is pure, and any text results in
//! a deck or a diagnostic.

mod align;
mod body;
mod code;
mod companion;
pub(crate) mod cpp;
mod execution;
mod fences;
mod header;
mod images;
mod ipynb;
mod jinja;
mod kinds;
mod lines;
mod literal;
mod macros;
mod magics;
mod markdown;
mod methods;
mod options;
mod percent;
pub(crate) mod plain;
mod python_text;
mod quotes;
mod surroundings;
mod syntax;
mod tags;
mod text;
mod titles;
pub(crate) mod url;
mod yaml;

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::course::{Format, Lang, ProgLang, RelPath};
use crate::diagnostic::Diagnostic;

use companion::Origin;

pub use code::script;
pub use companion::Companion;
pub(crate) use companion::companion_name;
pub(crate) use execution::ExecutionCell;
pub use execution::{attach, execution_cells};
pub(crate) use images::{ImageReference, image_references};
pub(crate) use ipynb::{Notebook, NotebookCell};
pub use jinja::render_apart_with;
pub(crate) use jinja::{Apart, Ended, render_job};
pub use kinds::notebook;
pub(crate) use kinds::notebook_within;
pub(crate) use macros::{MACROS_NAME, templates};
pub(crate) use percent::first_marker;
pub(crate) use surroundings::{Surroundings, reference_parts};
pub use surroundings::{image_urls, references};
pub(crate) use syntax::kernel_name;
pub(crate) use tags::warnings;

/// Must be changed whenever equal decks are parsed or written differently. It is part of all keys that depend on decks.
pub(crate) const WRITER_VERSION: &str = "4";

/// A notebook source.
#[derive(Clone, Copy, Debug)]
pub struct DeckSource<'a> {
    /// Its path, which diagnostics name, and whose extension determines the format.
    pub path: &'a RelPath,
    /// Its text.
    pub text: &'a str,
    /// Its programming language.
    pub prog_lang: ProgLang,
    /// The narration in a separate file.
    pub companion: Option<Companion<'a>>,
    /// Whether the course has its own templates, which may replace the bundled ones.
    pub has_templates: bool,
}

impl<'a> DeckSource<'a> {
    /// Returns a deck without narration, in a course without templates of its own.
    pub fn new(path: &'a RelPath, text: &'a str, prog_lang: ProgLang) -> Self {
        Self {
            path,
            text,
            prog_lang,
            companion: None,
            has_templates: false,
        }
    }
}

/// The properties of an output that are visible to the deck's template.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The output's language.
    pub lang: Lang,
    /// The output's format.
    pub format: Format,
    /// The author's name.
    pub author: &'a str,
    /// The organization in the output's language; empty if there is none.
    pub organization: &'a str,
}

/// The type of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CellKind {
    /// Code that a kernel runs.
    Code,
    /// Text.
    Markdown,
    /// Text that is copied unchanged.
    Raw,
}

impl CellKind {
    /// Returns the name in notebooks.
    pub fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Markdown => "markdown",
            Self::Raw => "raw",
        }
    }
}

/// A deck that was parsed for one view: all cells, of all languages and kinds.
#[derive(Clone, Debug, PartialEq)]
pub struct Deck {
    /// Its path.
    pub path: RelPath,
    /// The cells in order.
    pub cells: Vec<Cell>,
    /// Metadata of the notebook.
    pub metadata: Map<String, Value>,
    /// Files that its template loaded, or requested but did not find.
    pub included: Vec<String>,
    /// Diagnostics about probable mistakes: narration that belongs to no cell, a deck without cell markers.
    pub lost: Vec<Diagnostic>,
}

/// A parsed cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Its type.
    pub kind: CellKind,
    /// Its text, lines separated by `\n`.
    pub source: String,
    /// Options of its marker.
    pub metadata: Map<String, Value>,
    /// Its number in the deck, counted from 1.
    pub number: u32,
    /// The line of the first source line in the author's file, counted from 1; `None` if a template generated it.
    pub line: Option<u32>,
    /// The places where its lines are not consecutive in the author's file, because a template removed some, or the
    /// file has line ends that notebooks have and editors do not: pairs of a line of the source (from 0) and the line
    /// of the file.
    pub jumps: Box<[(u32, u32)]>,
}

/// Converts a line of a cell (from 0) to a line of the file, by the line of its first line and the jumps.
pub(crate) fn line_at(first: Option<u32>, jumps: &[(u32, u32)], offset: u32) -> Option<u32> {
    let last = jumps.iter().rfind(|(from, _)| *from <= offset);
    let (from, line) = last.copied().unwrap_or((0, first?));
    line.checked_add(offset - from)
}

impl Cell {
    /// Returns its tags.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        percent::tags(&self.metadata)
    }

    /// Converts a line of the source (from 0) to a line of the author's file.
    pub fn line_at(&self, offset: u32) -> Option<u32> {
        line_at(self.line, &self.jumps, offset)
    }

    /// Returns whether it has a tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags().any(|other| other == tag)
    }
}

impl Deck {
    /// Sets the place of a diagnostic to the marker of a cell.
    fn at(&self, cell: &Cell, diagnostic: Diagnostic) -> Diagnostic {
        let line = cell.line.map(|line| line.saturating_sub(1).max(1));
        diagnostic.at(self.path.as_str(), line).cell(cell.number)
    }
}

/// Parses a deck for one view: see `Reader::read`.
pub fn read(
    source: &DeckSource,
    view: &View,
    load: &dyn Fn(&str) -> Option<String>,
) -> Result<Deck, Diagnostic> {
    let mut reader = Reader::new(source);
    let deck = reader.read(view, load)?;
    drop(reader);
    Ok(Arc::unwrap_or_clone(deck))
}

/// Parses a deck for several views, and shares the work that they have in common.
pub(crate) struct Reader<'s> {
    source: DeckSource<'s>,
    narration: Option<Narration<'s>>,
    template: jinja::Template,
    /// The last rendered text, and its deck.
    last: Option<(jinja::Rendered, Arc<Deck>)>,
}

/// Narration that was merged into the template.
struct Narration<'s> {
    path: &'s RelPath,
    /// The origin of each line of the template.
    origins: Vec<Origin>,
    lost: Vec<Diagnostic>,
}

impl Narration<'_> {
    fn origin(&self, line: u32) -> Option<Origin> {
        self.origins.get(line as usize - 1).copied()
    }
}

impl<'s> Reader<'s> {
    /// Creates a reader of this source.
    pub(crate) fn new(source: &DeckSource<'s>) -> Self {
        let Some(companion) = &source.companion else {
            return Self {
                source: *source,
                narration: None,
                template: jinja::Template::new(source),
                last: None,
            };
        };
        let text = text::normalize_newlines(source.text);
        let narration = text::normalize_newlines(companion.text);
        let merged = companion::merge(source.path, &text, companion, &narration, source.prog_lang);
        let whole = DeckSource {
            text: &merged.text,
            ..*source
        };
        Self {
            source: *source,
            template: jinja::Template::new(&whole),
            narration: Some(Narration {
                path: companion.path,
                origins: merged.origins,
                lost: merged.lost,
            }),
            last: None,
        }
    }

    /// Renders the deck's template for a view and parses its cells. `load` returns the text of a template, or of a file
    /// by its path relative to the topic, for `{% include %}` and `{% import %}`.
    pub(crate) fn read(
        &mut self,
        view: &View,
        load: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Arc<Deck>, Diagnostic> {
        let rendered = self.template.render(view, load);
        let rendered = rendered.map_err(|diagnostic| self.at_its_file(diagnostic))?;
        if let Some((last, deck)) = &self.last
            && *last == rendered
        {
            return Ok(Arc::clone(deck));
        }
        let deck = cells(&self.source, &rendered);
        let mut deck = deck.map_err(|diagnostic| self.at_its_file(diagnostic))?;
        if let Some(narration) = &self.narration {
            for cell in &mut deck.cells {
                cell.line = match cell.line.and_then(|line| narration.origin(line)) {
                    Some(Origin::Deck(line)) => Some(line),
                    _ => None,
                };
                let jumps = cell.jumps.iter();
                let jumps = jumps.filter_map(|(offset, line)| match narration.origin(*line) {
                    Some(Origin::Deck(line)) => Some((*offset, line)),
                    _ => None,
                });
                cell.jumps = jumps.collect();
            }
            deck.lost.extend_from_slice(&narration.lost);
        }
        let deck = Arc::new(deck);
        self.last = Some((rendered, Arc::clone(&deck)));
        Ok(deck)
    }

    /// Moves a diagnostic about a line of the template to the file that this line comes from.
    fn at_its_file(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        let Some(narration) = &self.narration else {
            return diagnostic;
        };
        match diagnostic.line.and_then(|line| narration.origin(line)) {
            Some(Origin::Deck(line)) => diagnostic.line = Some(line),
            Some(Origin::Companion(line)) => {
                diagnostic = diagnostic.at(narration.path.as_str(), Some(line));
            }
            None => {}
        }
        diagnostic
    }
}

/// Returns the places where lines of a source are not consecutive in their file. `line_of` returns the line of the
/// file, if it is known.
fn jumps(
    first: Option<u32>,
    line_of: &dyn Fn(usize) -> Option<u32>,
    source: &str,
) -> Box<[(u32, u32)]> {
    let Some(mut expected) = first else {
        return Box::default();
    };
    let mut jumps = Vec::new();
    for (offset, _) in source.split('\n').enumerate() {
        if let Some(found) = line_of(offset)
            && found != expected
        {
            jumps.extend(u32::try_from(offset).map(|offset| (offset, found)));
            expected = found;
        }
        expected += 1;
    }
    jumps.into()
}

/// Parses the cells of a rendered template.
fn cells(source: &DeckSource, rendered: &jinja::Rendered) -> Result<Deck, Diagnostic> {
    let line_number = |at: usize| rendered.origins.get(at).copied().flatten();
    let script = match source.path.extension() {
        "md" => markdown::read(&rendered.text),
        _ => percent::read(&rendered.text, source.prog_lang),
    };
    let script = script.map_err(|error| {
        // A generated line is reported at the last line of the author before it.
        let line = (0..=error.line).rev().find_map(line_number);
        Diagnostic::error(error.message)
            .at(source.path.as_str(), line.or(Some(1)))
            .hint(error.hint)
    })?;
    let mut lost = Vec::new();
    let is_unmarked = |cell: &percent::ScriptCell| {
        cell.marker.is_none() && cell.kind == CellKind::Code && !text::is_blank(&cell.source)
    };
    if let [cell] = script.cells.as_slice()
        && source.path.extension() != "md"
        && is_unmarked(cell)
    {
        let comment = source.prog_lang.comment();
        let warning = "the deck has no cell markers, so all of it is one code cell";
        lost.push(
            Diagnostic::warning(warning)
                .at(source.path.as_str(), line_number(cell.first))
                .hint(format!(
                    "begin code cells with a line `{comment} %%` and text cells with `{comment} %% [markdown]`"
                )),
        );
    }
    let cells = (1..)
        .zip(script.cells)
        .map(|(number, cell)| {
            // The line of an expression is unknown if its text has changed, but the marker above it is unchanged.
            let line = line_number(cell.first).or_else(|| Some(line_number(cell.marker?)? + 1));
            Cell {
                jumps: jumps(
                    line,
                    &|offset| line_number(cell.first + offset),
                    &cell.source,
                ),
                kind: cell.kind,
                source: cell.source,
                metadata: cell.metadata,
                number,
                line,
            }
        })
        .collect();
    Ok(Deck {
        path: source.path.clone(),
        cells,
        metadata: script.metadata,
        included: rendered.included.clone(),
        lost,
    })
}

#[cfg(test)]
mod tests;
