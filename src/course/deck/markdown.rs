//! Parses decks in Markdown: fenced blocks with a language are code, everything else is text.

use serde_json::{Map, Value};

use super::header::ReadYaml;
use super::options::{self, Options};
use super::percent::{self, Found, Script, ScriptCell, ScriptError};
use super::{CellKind, body, header, syntax, text};

/// The names of regions, which enclose a text or raw cell with an explicit end.
const REGIONS: [&str; 4] = ["region", "markdown", "md", "raw"];

/// The minimal fence of a code cell. Fences within a text cell have exactly this length.
const FENCE: &str = "```";

/// The indentation of lines that continue the block above them.
const INDENT: &str = "    ";

/// Parses a Markdown text with line ends `\n`. The text itself names the languages of cells.
pub(super) fn read(script: &str) -> Result<Script, ScriptError> {
    read_with(script, header::leniently, str::to_owned)
}

/// Parses a Markdown text with line ends `\n`, whose metadata `yaml` parses. `name_of` returns the name that cells use
/// for the language of the kernel.
pub(super) fn read_with(
    script: &str,
    yaml: ReadYaml,
    name_of: fn(&str) -> String,
) -> Result<Script, ScriptError> {
    let lines = text::split_lines(script);
    let header = header::read_markdown(&lines, yaml)?;
    let mut cells = Vec::new();
    if let Some(source) = header.raw {
        cells.push(percent::raw_header(source));
    }
    let mut is_json = false;
    let mut at = header.lines;
    while at < lines.len() {
        let (cell, next, has_json) = read_cell(&lines, at);
        percent::check_tags(&cell.metadata, cell.marker.unwrap_or(cell.first))?;
        is_json |= has_json;
        at = next;
        cells.push(cell);
    }
    let kernel_language = header
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.get("kernelspec")?.get("language")?.as_str())
        .map(name_of);
    let has_language = kernel_language.is_none() && !cells.is_empty();
    let main_language = kernel_language.unwrap_or_else(|| most_frequent_language(&cells));
    for cell in &mut cells {
        finish(cell, &main_language);
    }
    let found = Found {
        is_json,
        encoding: header.encoding,
        executable: header.executable,
        main_language: has_language.then_some(main_language.as_str()),
    };
    let metadata = percent::notebook_metadata(header.metadata, &cells, found);
    Ok(Script { cells, metadata })
}

/// Parses the cell that begins at a line. Also returns the line of the next cell, and whether the cell has its metadata
/// as a JSON object.
fn read_cell(lines: &[&str], start: usize) -> (ScriptCell, usize, bool) {
    if let Some(block) = CodeStart::of(lines[start]) {
        let end = (start + 1..lines.len()).find(|at| lines[*at].starts_with(block.fence));
        if block.is_shown() {
            let next = end.map_or(lines.len(), |end| end + 1);
            let is_separated = lines[next..].len() > 1
                && text::is_blank(lines[next])
                && !text::is_blank(lines[next + 1]);
            let cell = text_cell(lines, start, next);
            return (cell, next + usize::from(is_separated), false);
        }
        let mut options = options::parse_untitled(block.options);
        if let Some(language) = block.language() {
            let named = options.metadata.entry("language");
            named.or_insert(language.into());
        }
        if body::becomes_raw(&options.metadata) {
            options.kind = CellKind::Raw;
        }
        return enclosed(lines, start, end, options);
    }
    if let Some((region, options)) = region_start(lines[start]) {
        let end = (start + 1..lines.len()).find(|at| is_region_end(lines[*at], region));
        let mut options = options::parse_titled(options);
        options.kind = if region == "raw" {
            CellKind::Raw
        } else {
            CellKind::Markdown
        };
        if matches!(region, "markdown" | "md") {
            options.metadata.insert("region_name".into(), region.into());
        }
        return enclosed(lines, start, end, options);
    }
    let (end, next) = end_of_text(lines, start);
    (text_cell(lines, start, end), next, false)
}

fn text_cell(lines: &[&str], start: usize, end: usize) -> ScriptCell {
    ScriptCell {
        kind: CellKind::Markdown,
        source: lines[start..end].join("\n"),
        metadata: Map::new(),
        marker: None,
        first: start,
    }
}

/// Returns the cell between two lines that only enclose it.
fn enclosed(
    lines: &[&str],
    start: usize,
    end: Option<usize>,
    options: Options,
) -> (ScriptCell, usize, bool) {
    let last = end.unwrap_or(lines.len());
    let cell = ScriptCell {
        kind: options.kind,
        source: lines[start + 1..last].join("\n"),
        metadata: options.metadata,
        marker: Some(start),
        first: start + 1,
    };
    let next = end.map_or(lines.len(), |end| end + 1);
    (cell, without_blanks(lines, next), options.is_json)
}

/// Skips one or two blank lines that only separate cells, and returns the next line.
fn without_blanks(lines: &[&str], next: usize) -> usize {
    let blanks = lines[next..]
        .iter()
        .take_while(|line| text::is_blank(line))
        .count();
    let is_separator = blanks <= 2 && next + blanks < lines.len();
    if is_separator { next + blanks } else { next }
}

/// Returns the end of a text cell and the start of the next cell: at code, at a region, or after two blank lines.
fn end_of_text(lines: &[&str], start: usize) -> (usize, usize) {
    let blank = |at: usize| text::is_blank(lines[at]);
    let mut in_block = false;
    // Lists and indented code continue over blank lines, up to a line that is not indented.
    let mut is_indented = false;
    for at in start..lines.len() {
        let line = lines[at];
        if in_block {
            in_block = !is_closing_fence(line);
            continue;
        }
        let block = CodeStart::of(line);
        let is_code = block.as_ref().is_some_and(|block| !block.is_shown());
        if at > start && (is_code || region_start(line).is_some()) {
            // A blank line after indented code belongs to it.
            let has_separator =
                !is_indented && (lines[at - 1].is_empty() || (at > start + 1 && blank(at - 1)));
            return (if has_separator { at - 1 } else { at }, at);
        }
        if !blank(at) {
            let after_blank = at > start && blank(at - 1);
            let was_indented = is_indented;
            is_indented = line.starts_with(INDENT) && (is_indented || after_blank);
            let after_two = after_blank && at >= start + 2 && blank(at - 2);
            if after_two && !is_indented && !was_indented && block.is_none() {
                return (at - 2, at);
            }
        }
        in_block = line.starts_with(FENCE);
    }
    (lines.len(), lines.len())
}

fn is_closing_fence(line: &str) -> bool {
    line.strip_prefix(FENCE).is_some_and(text::is_blank)
}

/// The parsed first line of a code cell.
struct CodeStart<'a> {
    fence: &'a str,
    name: &'a str,
    options: &'a str,
}

impl<'a> CodeStart<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let after = line.trim_start_matches('`');
        let fence = &line[..line.len() - after.len()];
        if fence.len() < FENCE.len() {
            return None;
        }
        let info = after.trim_start_matches(text::is_space);
        let name = syntax::leading_cell_language(info)?;
        Some(Self {
            fence,
            name,
            options: &info[name.len()..],
        })
    }

    /// Returns whether the code is only shown and not run, which a class determines.
    fn is_shown(&self) -> bool {
        self.options
            .split(text::is_space)
            .any(|word| word == ".noeval")
    }

    fn language(&self) -> Option<&'a str> {
        (!self.name.is_empty()).then_some(self.name)
    }
}

/// Returns the name and the options of a line that opens a region.
fn region_start(line: &str) -> Option<(&'static str, &str)> {
    let inner = comment(line)?;
    REGIONS
        .into_iter()
        .find_map(|region| Some((region, inner.strip_prefix(region)?)))
}

fn is_region_end(line: &str, region: &str) -> bool {
    comment(line)
        .and_then(|inner| inner.strip_prefix("end"))
        .and_then(|inner| inner.strip_prefix(region))
        .is_some_and(text::is_blank)
}

/// Returns the text of a comment line after its `#`.
fn comment(line: &str) -> Option<&str> {
    let inner = line.strip_prefix("<!--")?;
    let inner = inner.trim_end_matches(text::is_space).strip_suffix("-->")?;
    inner.trim_start_matches(text::is_space).strip_prefix('#')
}

/// Returns the language of most cells; on a tie it is Python.
fn most_frequent_language(cells: &[ScriptCell]) -> String {
    // Twice the number of cells, and one more for Python.
    let mut counts = vec![("python".to_owned(), 1)];
    for cell in cells {
        let Some(Value::String(language)) = cell.metadata.get("language") else {
            continue;
        };
        let language = syntax::usual_name(language);
        match counts.iter_mut().find(|(name, _)| *name == language) {
            Some((_, count)) => *count += 2,
            None => counts.push((language, 2)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max();
    counts
        .into_iter()
        .find(|(_, count)| Some(*count) == most)
        .map_or_else(String::new, |(name, _)| name)
}

/// Names the language of a cell in its first line, if it differs from the deck's.
fn finish(cell: &mut ScriptCell, main_language: &str) {
    let moved = syntax::move_language(main_language, &mut cell.metadata, &mut cell.source);
    if let (true, Some(marker)) = (moved, cell.marker) {
        cell.first = marker;
    }
}
