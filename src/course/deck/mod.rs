//! Decks: from the author's text to cells, and from cells to notebooks and scripts.

mod align;
mod code;
mod comments;
mod ipynb;
mod jinja;
mod kinds;
mod languages;
mod magics;
mod options;
mod percent;
mod strings;
mod tags;
mod workshops;

use serde_json::{Map, Value};

use crate::course::{Format, Lang, ProgLang, RelPath};
use crate::events::Diagnostic;

pub use code::code;
pub use jinja::templates;
pub use kinds::{attach, execution_cells, notebook};
pub use languages::kernel_name;

/// The version of everything in here that shapes outputs: raised when the same deck gives other bytes.
pub const WRITER_VERSION: &str = "1";

/// A deck as the author wrote it.
#[derive(Clone, Copy, Debug)]
pub struct DeckSource<'a> {
    /// Its file, for diagnostics.
    pub path: &'a RelPath,
    /// Its text.
    pub text: &'a str,
    /// Its programming language.
    pub prog_lang: ProgLang,
}

/// For what a deck is read: Jinja may make a difference.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The language of the output.
    pub lang: Lang,
    /// The format of the output.
    pub format: Format,
    /// Named on title slides.
    pub author: &'a str,
    /// Named on title slides; may be empty.
    pub organization: &'a str,
}

/// What a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CellKind {
    /// Code.
    Code,
    /// Markdown.
    Markdown,
    /// Neither.
    Raw,
}

impl CellKind {
    /// The name in notebooks.
    pub fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Markdown => "markdown",
            Self::Raw => "raw",
        }
    }
}

/// A cell of a deck, of any language and kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// What it is.
    pub kind: CellKind,
    /// Its content, without comment prefixes.
    pub source: String,
    /// Its metadata: `tags`, `lang` and whatever the author added.
    pub metadata: Map<String, Value>,
    /// Its number among all cells, from 1.
    pub number: u32,
    /// The line of its first source line in the author's file, from 1; none for a cell that a macro made.
    pub line: Option<u32>,
}

impl Cell {
    /// Its tags.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        let tags = self.metadata.get("tags").and_then(Value::as_array);
        tags.into_iter().flatten().filter_map(Value::as_str)
    }

    /// Whether it has a tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags().any(|other| other == tag)
    }

    /// Whether it is shown in a language.
    pub fn is_in(&self, lang: Lang) -> bool {
        match self.metadata.get("lang").and_then(Value::as_str) {
            None | Some("") => true,
            Some(own) => own == lang.name(),
        }
    }
}

/// A deck after Jinja, as cells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deck {
    /// Its cells.
    pub cells: Vec<Cell>,
    /// The encoding line at its top, if it has one.
    pub encoding: Option<String>,
    /// What follows `#!` in its first line, if it has one.
    pub executable: Option<String>,
    /// Whether a cell marker has its metadata as one JSON object.
    pub has_json_metadata: bool,
    /// Topic files that Jinja loaded, or looked for and did not find.
    pub included: Vec<String>,
}

/// The cells of one output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notebook {
    /// The cells.
    pub cells: Vec<NotebookCell>,
    /// The metadata of the notebook.
    pub metadata: Map<String, Value>,
}

/// A cell of one output.
#[derive(Clone, Debug, PartialEq)]
pub struct NotebookCell {
    /// What it is.
    pub kind: CellKind,
    /// Its id, the same in every output unless equal cells interfere.
    pub id: String,
    /// Its content.
    pub source: String,
    /// Its metadata.
    pub metadata: Map<String, Value>,
    /// Its index in [`Deck::cells`].
    pub origin: usize,
    /// Whether it never shows results: emptied cells, and workshops for those who work them out.
    pub is_without_results: bool,
    /// Results in `nbformat` JSON.
    pub outputs: Vec<Value>,
    /// The number in its prompt.
    pub execution_count: Option<i64>,
}

/// A cell that is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionCell {
    /// Its index in [`Deck::cells`].
    pub origin: usize,
    /// Its content.
    pub source: String,
    /// Its number among all cells of the deck, from 1.
    pub number: u32,
    /// The line of its first source line in the author's file, from 1.
    pub line: Option<u32>,
    /// Whether an exception is expected.
    pub may_fail: bool,
}

/// Applies Jinja and reads the cells. `sibling` gives the text of a file of the topic, for includes and imports.
pub fn read(
    source: &DeckSource<'_>,
    view: &View<'_>,
    sibling: &dyn Fn(&str) -> Option<String>,
) -> Result<Deck, Diagnostic> {
    let text = normalise_newlines(source.text);
    let (rendered, included) = jinja::render(source, &text, view, sibling)?;
    let mut deck = percent::read(&rendered, source.prog_lang);
    let lines = align::align(&rendered, &text);
    for cell in &mut deck.cells {
        // The reader gives lines of the rendered text; the author knows those of the file.
        cell.line = cell
            .line
            .and_then(|line| lines.get(line as usize - 1).copied().flatten());
    }
    deck.included = included;
    Ok(deck)
}

/// Line ends as everything after this expects them.
fn normalise_newlines(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.replace("\r\n", "\n").replace('\r', "\n")
}

#[cfg(test)]
mod tests;
