//! Parses scripts in percent format: cells between `# %%` markers, text in comments.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::header::{self, Header, ReadYaml};
pub(super) use super::options::is_key as may_be_key;
use super::quotes::Quotes;
use super::{CellKind, body, fences::Fences, options, syntax, text};
use crate::course::ProgLang;

/// A parsed script.
pub(super) struct Script {
    pub(super) cells: Vec<ScriptCell>,
    /// Metadata of the notebook.
    pub(super) metadata: Map<String, Value>,
}

/// A cell, and its place in the script.
pub(super) struct ScriptCell {
    pub(super) kind: CellKind,
    pub(super) source: String,
    pub(super) metadata: Map<String, Value>,
    /// Index of the marker line; `None` for text before the first marker.
    pub(super) marker: Option<usize>,
    /// Index of the first line of the source.
    pub(super) first: usize,
}

/// The error that a script cannot be parsed, with the index of a line.
#[derive(Debug)]
pub(super) struct ScriptError {
    pub(super) line: usize,
    pub(super) message: String,
    pub(super) hint: &'static str,
}

/// Parses a script with line ends `\n`.
pub(super) fn read(script: &str, prog_lang: ProgLang) -> Result<Script, ScriptError> {
    read_with(script, prog_lang, header::leniently)
}

/// Parses a script with line ends `\n`, whose metadata `yaml` parses.
pub(super) fn read_with(
    script: &str,
    prog_lang: ProgLang,
    yaml: ReadYaml,
) -> Result<Script, ScriptError> {
    let lines = text::split_lines(script);
    let mut header = header::read(&lines, prog_lang.comment(), yaml)?;
    let mut cells = Vec::from_iter(header.raw.take().map(raw_header));
    let is_json = read_cells(&lines, header.lines, prog_lang, &mut cells)?;
    check_format(&header, &lines, &cells)?;

    let kernel_language = header
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.get("kernelspec")?.get("language"));
    let has_language = kernel_language.is_none() && !cells.is_empty();
    let found = Found {
        is_json,
        encoding: header.encoding,
        executable: header.executable,
        main_language: has_language.then(|| syntax::main_language(prog_lang)),
    };
    let metadata = notebook_metadata(header.metadata, &cells, found);
    Ok(Script { cells, metadata })
}

/// Adds the cells of a script from the line with index `start`. Returns whether any of them has its metadata as JSON.
fn read_cells(
    lines: &[&str],
    start: usize,
    prog_lang: ProgLang,
    cells: &mut Vec<ScriptCell>,
) -> Result<bool, ScriptError> {
    let comment = prog_lang.comment();
    let fences = Fences::new(lines, comment);
    let mut is_json = false;
    let mut at = start;
    while at < lines.len() {
        let cell_start = at;
        let options = match marker(lines[at], comment) {
            Some(marker) => {
                at += 1;
                marker.options()
            }
            None => options::parse(""),
        };
        let body_start = at;
        at = find_end(lines, at, &options, prog_lang, &fences);
        let body_end = without_last_blanks(lines, cell_start, body_start, at);
        is_json |= options.is_json;
        cells.push(cell(
            &lines[body_start..body_end],
            options,
            (cell_start < body_start).then_some(cell_start),
            body_start,
            prog_lang,
        )?);
    }
    Ok(is_json)
}

/// Rejects a script that is in another format according to its header, unless there are cell markers.
fn check_format(header: &Header, lines: &[&str], cells: &[ScriptCell]) -> Result<(), ScriptError> {
    match header.format_name() {
        None | Some("percent" | "hydrogen") => Ok(()),
        Some(_) if cells.iter().any(|cell| cell.marker.is_some()) => Ok(()),
        Some(format) => Err(ScriptError {
            line: lines
                .iter()
                .position(|line| line.contains("format_name"))
                .unwrap_or_default(),
            message: format!(
                "the deck is in jupytext's format `{format}`, and clm reads the format `percent`"
            ),
            hint: "convert it with `jupytext --to py:percent FILE`: cells then begin with `# %%`",
        }),
    }
}

/// Returns the raw cell with the part of the header that is not notebook metadata.
pub(super) fn raw_header(source: String) -> ScriptCell {
    ScriptCell {
        kind: CellKind::Raw,
        source,
        metadata: Map::new(),
        marker: None,
        first: 0,
    }
}

/// Properties of a script that become metadata of its notebook.
pub(super) struct Found<'a> {
    /// Whether any cell has its metadata as one JSON object.
    pub(super) is_json: bool,
    pub(super) encoding: Option<String>,
    pub(super) executable: Option<String>,
    pub(super) main_language: Option<&'a str>,
}

/// Returns the metadata of the notebook: those of the header or the default ones, completed by the properties of the
/// script, without entries that only describe the script.
pub(super) fn notebook_metadata(
    header: Option<Map<String, Value>>,
    cells: &[ScriptCell],
    found: Found,
) -> Map<String, Value> {
    let mut metadata = header.unwrap_or_else(|| {
        let filters = [
            ("cell_metadata_filter", "-all"),
            ("notebook_metadata_filter", "-all"),
        ]
        .map(|(key, value)| (key.to_owned(), value.into()));
        let jupytext = Value::Object(Map::from_iter(filters));
        Map::from_iter([("jupytext".to_owned(), jupytext)])
    });
    let mut jupytext = match metadata.remove("jupytext") {
        Some(Value::Object(jupytext)) => jupytext,
        _ => Map::new(),
    };
    jupytext.remove("text_representation");
    if let Some(Value::String(filter)) = jupytext.get("cell_metadata_filter") {
        let mut keys: BTreeSet<&str> = filter.split(',').map(str::trim).collect();
        keys.extend(
            cells
                .iter()
                .flat_map(|cell| cell.metadata.keys().map(String::as_str))
                .filter(|key| *key != "cell_marker" && !key.starts_with("lines_to_")),
        );
        let keys: Vec<&str> = keys.into_iter().collect();
        let keys = keys.join(",");
        jupytext.insert("cell_metadata_filter".into(), keys.into());
    }
    let entries = [
        ("cell_metadata_json", found.is_json.then_some(true.into())),
        ("encoding", found.encoding.map(Value::from)),
        ("executable", found.executable.map(Value::from)),
    ];
    for (key, value) in entries {
        if let Some(value) = value {
            jupytext.insert(key.into(), value);
        }
    }
    if let Some(name) = found.main_language {
        jupytext.entry("main_language").or_insert(name.into());
    }
    if !jupytext.is_empty() {
        metadata.insert("jupytext".into(), Value::Object(jupytext));
    }
    metadata
}

struct Marker<'a> {
    depth: usize,
    options: &'a str,
}

impl Marker<'_> {
    fn options(&self) -> options::Options {
        let mut options = options::parse(self.options);
        if self.depth > 0 {
            options
                .metadata
                .insert("cell_depth".into(), json!(self.depth));
        }
        options
    }
}

/// Returns the line of the first cell marker in a text, counted from 1.
pub(crate) fn first_marker(script: &str, prog_lang: ProgLang) -> Option<u32> {
    let mut lines = (1..).zip(script.lines());
    let found = lines.find(|(_, line)| marker(line, prog_lang.comment()).is_some());
    found.map(|(number, _)| number)
}

/// Returns whether a line is a cell marker, where it lies in no string.
pub(super) fn is_marker(line: &str, prog_lang: ProgLang) -> bool {
    marker(line, prog_lang.comment()).is_some()
}

/// Parses a line as a cell marker.
fn marker<'a>(line: &'a str, comment: &str) -> Option<Marker<'a>> {
    let rest = line
        .trim_start_matches(text::is_space)
        .strip_prefix(comment)?;
    let rest = rest.trim_start_matches(text::is_space);
    if let Some(after) = rest.strip_prefix("%%") {
        let options = after.trim_start_matches('%');
        let depth = after.len() - options.len();
        let is_marker = options.starts_with(text::is_space) || (options.is_empty() && depth == 0);
        return is_marker.then_some(Marker { depth, options });
    }
    let is_alone = match rest.strip_prefix("In[") {
        Some(rest) => {
            let rest = rest.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit());
            rest.strip_prefix(']')
                .is_some_and(|rest| text::is_blank(rest.strip_prefix(':').unwrap_or(rest)))
        }
        None => rest.strip_prefix("<codecell>").is_some_and(text::is_blank),
    };
    is_alone.then_some(Marker {
        depth: 0,
        options: "",
    })
}

/// Returns the index of the next marker that is neither in a string nor (in text) in a fenced code block.
fn find_end(
    lines: &[&str],
    start: usize,
    options: &options::Options,
    prog_lang: ProgLang,
    fences: &Fences,
) -> usize {
    let comment = prog_lang.comment();
    let mut quotes = Quotes::new(comment);
    let mut fence = None;
    let is_text = options.kind != CellKind::Code || body::becomes_raw(&options.metadata);
    for (at, line) in lines.iter().enumerate().skip(start) {
        if !quotes.inside() {
            if fence.is_none() && marker(line, comment).is_some() {
                return at;
            }
            if is_text {
                fence = fences.after(at, fence);
            }
        }
        quotes.read(line);
    }
    lines.len()
}

/// Returns the end of a cell's body without the blank lines that only separate it from the next cell.
fn without_last_blanks(lines: &[&str], cell_start: usize, body_start: usize, end: usize) -> usize {
    let blank = |at: usize| text::is_blank(lines[at]);
    let two = end >= cell_start + 3 && blank(end - 1) && blank(end - 2) && !blank(end - 3);
    if two {
        end - 2
    } else if end > body_start && lines[end - 1].is_empty() {
        end - 1
    } else {
        end
    }
}

fn cell(
    body: &[&str],
    options: options::Options,
    marker: Option<usize>,
    first: usize,
    prog_lang: ProgLang,
) -> Result<ScriptCell, ScriptError> {
    check_tags(&options.metadata, marker.unwrap_or(first))?;
    let mut cell = ScriptCell {
        kind: options.kind,
        source: String::new(),
        metadata: options.metadata,
        marker,
        first,
    };
    body::read(&mut cell, body, prog_lang);
    Ok(cell)
}

/// Checks that all tags are texts, as other code assumes.
pub(super) fn check_tags(metadata: &Map<String, Value>, line: usize) -> Result<(), ScriptError> {
    let is_good = match metadata.get("tags") {
        None => true,
        Some(Value::Array(tags)) => tags.iter().all(Value::is_string),
        Some(_) => false,
    };
    if is_good {
        return Ok(());
    }
    Err(ScriptError {
        line,
        message: "the tags of the cell are not a list of texts".into(),
        hint: "write them as `tags=[\"slide\", \"keep\"]`",
    })
}

/// Returns the tags in a cell's metadata.
pub(super) fn tags(metadata: &Map<String, Value>) -> impl Iterator<Item = &str> {
    metadata
        .get("tags")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}
