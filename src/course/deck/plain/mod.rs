//! Notebooks that are not decks of a course: `.ipynb` files, percent scripts, jupytext's and MyST's Markdown.
//!
//! They have no template, no languages and no kinds. [`read`] returns their cells as a deck, and beside it what decks
//! do not have: stored outputs, attachments, ids.

mod as_deck;
mod front;
mod links;
mod myst;
mod nbformat;
mod pictures;
mod title;
mod written;
mod yaml;

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::percent::{Script, ScriptCell, ScriptError};
use super::{Cell, CellKind, Deck, header, jumps, kinds, markdown, percent, text};
use crate::course::{ProgLang, RelPath};
use crate::diagnostic::Diagnostic;

pub use as_deck::{AsDeck, as_deck};
pub(crate) use links::{Link, local_links, relinked};
pub(crate) use pictures::{Picture, directives, replace_pictures};
pub use written::{notebook, notebook_with_outputs};

/// A notebook as its author wrote it.
#[derive(Clone, Debug)]
pub struct Plain {
    /// Its cells and metadata. Cells of text formats know their lines.
    pub deck: Deck,
    /// Its programming language, if clm knows it.
    pub prog_lang: Option<ProgLang>,
    /// The name of its kernel as written.
    pub kernel: Option<String>,
    /// The title in its front matter, else its first heading of level 1, without markup.
    pub title: Option<String>,
    /// What belongs to each cell of the deck, in the same order.
    pub stored: Vec<Stored>,
    /// Whether it asks not to be executed.
    pub skip: bool,
    /// Whether it declares that any of its cells may fail.
    pub allow_errors: bool,
}

/// What a notebook says about a cell besides its text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// Its id, unique in the notebook. Cells without an id have one that depends on their text.
    pub id: String,
    /// Its results in the form of notebooks, with texts as single strings. Text formats have none.
    pub outputs: Vec<Value>,
    /// The number in the prompt.
    pub execution_count: Option<i64>,
    /// Files in the cell: for each name, the content by its type.
    pub attachments: Map<String, Value>,
    /// Whether it asks not to be executed.
    pub is_skipped: bool,
    /// Whether an exception is expected.
    pub may_fail: bool,
}

/// A notebook as the readers of formats return it.
struct Found {
    script: Script,
    /// Empty for text formats, else an entry for each cell.
    stored: Vec<Stored>,
    /// The language that the format itself knows.
    prog_lang: Option<ProgLang>,
}

/// Reads a notebook in the format of its extension. Returns `None` for files that are not notebooks: scripts without
/// cell markers, Markdown without code cells or without front matter that makes it a notebook.
pub fn read(path: &RelPath, text: &str) -> Result<Option<Plain>, Diagnostic> {
    let extension = path.extension();
    let found = match extension {
        "ipynb" => nbformat::read(path, text).map(Some)?,
        "md" | "markdown" | "myst" | "mystnb" | "mnb" => in_markdown(path, text)?,
        _ => match ProgLang::of_extension(extension) {
            Some(prog_lang) => in_script(path, text, prog_lang)?,
            None => None,
        },
    };
    Ok(found.map(|found| complete(path, text, found)))
}

/// Returns whether [`read`] can return a notebook for files with this extension.
pub fn reads_extension(extension: &str) -> bool {
    let is_notebook = matches!(
        extension,
        "ipynb" | "md" | "markdown" | "myst" | "mystnb" | "mnb"
    );
    is_notebook || ProgLang::of_extension(extension).is_some()
}

fn in_script(path: &RelPath, text: &str, prog_lang: ProgLang) -> Result<Option<Found>, Diagnostic> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Most scripts are modules: they are not parsed.
    let is_declared = || head(text).contains("format_name:");
    if percent::first_marker(text, prog_lang).is_none() && !is_declared() {
        return Ok(None);
    }
    let text = text::normalize_newlines(text);
    let script = percent::read_with(&text, prog_lang, front::section)
        .map_err(|error| at_line(path, &text, error))?;
    if script.cells.iter().all(|cell| cell.marker.is_none()) {
        return Ok(None);
    }
    Ok(Some(Found {
        script,
        stored: Vec::new(),
        prog_lang: Some(prog_lang),
    }))
}

fn in_markdown(path: &RelPath, text: &str) -> Result<Option<Found>, Diagnostic> {
    let start = text.trim_start_matches('\u{feff}');
    if !start.starts_with("---") && !start.starts_with("<!--") && !start.starts_with("#!") {
        return Ok(None);
    }
    let text = text::normalize_newlines(text);
    let Some(declared) = front::declared(&text).map_err(|error| at_line(path, &text, error))?
    else {
        return Ok(None);
    };
    let format = declared.format.as_deref().unwrap_or_else(|| {
        // As in the format itself: a single directive decides.
        if myst::has_cells(&text) {
            "myst"
        } else if declared.is_jupyter {
            "markdown"
        } else {
            ""
        }
    });
    let read = match format {
        "myst" => myst::read(&text),
        "markdown" => markdown::read_with(&text, front::section, front::cell_language),
        "" => return Ok(None),
        other => Err(ScriptError {
            line: 0,
            message: format!(
                "the notebook is in jupytext's format `{other}`, and clm reads `markdown` and `myst`"
            ),
            hint: "convert it with `jupytext --to md:myst FILE`",
        }),
    };
    let script = read.map_err(|error| at_line(path, &text, error))?;
    if script.cells.iter().all(|cell| cell.kind != CellKind::Code) {
        return Ok(None);
    }
    Ok(Some(Found {
        script,
        stored: Vec::new(),
        prog_lang: None,
    }))
}

/// Returns the part of a text in which the metadata of a script stands.
fn head(text: &str) -> &str {
    const LENGTH: usize = 4096;
    let mut end = LENGTH.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Sets the place of an error, whose line is one of notebook tools, to the line of editors.
fn at_line(path: &RelPath, text: &str, error: ScriptError) -> Diagnostic {
    let line = editor_lines(text).get(error.line).copied();
    Diagnostic::error(error.message)
        .at(path.as_str(), line.or(Some(1)))
        .hint(error.hint)
}

/// Returns the line of editors of each line of notebook tools, which have more line ends.
fn editor_lines(text: &str) -> Vec<u32> {
    let mut line = 1;
    let lines = text::split_lines_with_ends(text).into_iter();
    lines
        .map(|content| {
            let this = line;
            line += u32::from(content.ends_with('\n'));
            this
        })
        .collect()
}

/// Makes the notebook of what a reader found.
fn complete(path: &RelPath, text: &str, found: Found) -> Plain {
    let Found {
        script: Script { cells, metadata },
        mut stored,
        prog_lang,
    } = found;
    let is_text = stored.is_empty();
    // The readers of text formats count the lines of the text without carriage returns.
    let lines = if is_text {
        editor_lines(&text::normalize_newlines(text))
    } else {
        Vec::new()
    };
    let cells: Vec<Cell> = (1..)
        .zip(cells)
        .map(|(number, cell)| with_lines(cell, number, &lines))
        .collect();
    stored.resize_with(cells.len(), Stored::default);
    complete_ids(&cells, &mut stored);
    for (cell, stored) in cells.iter().zip(&mut stored) {
        stored.is_skipped = cell.has_tag("skip-execution");
        stored.may_fail = cell.has_tag("raises-exception");
    }
    let kernelspec = metadata.get("kernelspec");
    let kernel = kernelspec.and_then(|spec| spec.get("name")?.as_str());
    let of_cell = cells.first().and_then(front::of_cell);
    let fronts: Vec<&Map<String, Value>> = [Some(&metadata), of_cell.as_ref()]
        .into_iter()
        .flatten()
        .collect();
    Plain {
        prog_lang: prog_lang.or_else(|| front::prog_lang(&metadata)),
        kernel: kernel.filter(|name| !name.is_empty()).map(str::to_owned),
        title: title::find(&fronts, &cells),
        skip: fronts.iter().copied().any(front::asks_to_skip),
        allow_errors: fronts.iter().copied().any(front::allows_errors),
        stored,
        deck: Deck {
            path: path.clone(),
            cells,
            metadata,
            included: Vec::new(),
            lost: Vec::new(),
        },
    }
}

/// Returns a cell with its place in the file, by the line of editors of each line of the text.
fn with_lines(cell: ScriptCell, number: u32, lines: &[u32]) -> Cell {
    let line_of = |offset: usize| lines.get(cell.first + offset).copied();
    // An empty cell at the end of the file has no line of its own: it is below the last one.
    let line = line_of(0).or_else(|| Some(lines.last()? + 1));
    let line = line.filter(|_| !lines.is_empty());
    let mut metadata = cell.metadata;
    if let Some(tags) = metadata.get_mut("tags") {
        *tags = tag_list(tags.take());
    }
    Cell {
        jumps: jumps(line, &line_of, &cell.source),
        kind: cell.kind,
        source: cell.source,
        metadata,
        number,
        line,
    }
}

/// Returns tags in the form that notebooks define: a list of texts. People also write one text, in which commas
/// separate tags.
fn tag_list(tags: Value) -> Value {
    let text = |tag: Value| match tag {
        Value::String(text) => Some(Value::String(text)),
        Value::Null => None,
        other => Some(other.to_string().into()),
    };
    match tags {
        Value::Array(tags) => tags.into_iter().filter_map(text).collect(),
        Value::String(tags) => {
            let tags = tags.split(',').map(str::trim);
            tags.filter(|tag| !tag.is_empty()).collect()
        }
        other => text(other).into_iter().collect(),
    }
}

/// Gives each cell an id that no other one has. The ids of the file are kept where they are valid.
fn complete_ids(cells: &[Cell], stored: &mut [Stored]) {
    let mut ids = HashSet::new();
    for stored in stored.iter_mut() {
        let is_kept = is_id(&stored.id) && ids.insert(stored.id.clone());
        if !is_kept {
            stored.id.clear();
        }
    }
    for (index, (cell, stored)) in cells.iter().zip(stored).enumerate() {
        if stored.id.is_empty() {
            stored.id = kinds::unique_id(&cell.source, index, &mut ids);
        }
    }
}

/// Returns whether a text is an id as notebooks define it.
fn is_id(text: &str) -> bool {
    const MAX_LENGTH: usize = 64;
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(is_valid)
}

#[cfg(test)]
mod tests;
