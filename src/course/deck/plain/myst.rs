//! Reads MyST notebooks: Markdown whose code cells are the directive `{code-cell}`, and whose text cells can be
//! separated by `+++`.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag};
use serde_json::{Map, Value, json};

use super::super::CellKind;
use super::super::percent::{Script, ScriptCell, ScriptError};
use super::{front, yaml};

const CODE: &str = "{code-cell}";
const RAW: &str = "{raw-cell}";

/// Returns whether a text has code cells or raw cells. It may be wrong if such a directive is only shown.
pub(super) fn has_cells(text: &str) -> bool {
    text.contains(CODE) || text.contains(RAW)
}

/// Reads a text with line ends `\n`.
pub(super) fn read(text: &str) -> Result<Script, ScriptError> {
    let (front, start) = front::block(text).unwrap_or_default();
    let mut metadata = yaml::parse_map(front).map_err(|error| front::at(1, error))?;
    without_section(&mut metadata);
    let mut reader = Reader {
        lines: text.lines().collect(),
        cells: Vec::new(),
        text_from: start,
        text_metadata: Map::new(),
    };
    let mut lexer = None;
    for block in blocks(&reader.lines, start) {
        reader.end_text(block.first);
        match block.kind {
            BlockKind::Break => reader.read_break(&block)?,
            BlockKind::Fence { kind, argument } => {
                if kind == CellKind::Code && lexer.is_none() && !argument.is_empty() {
                    lexer = Some(argument);
                }
                reader.read_fence(kind, block.first, block.end, block.indent)?;
            }
        }
        reader.text_from = block.end;
    }
    reader.end_text(reader.lines.len());
    if let (Some(lexer), false) = (lexer, metadata.contains_key("language_info")) {
        set_lexer(&mut metadata, lexer);
    }
    Ok(Script {
        cells: reader.cells,
        metadata,
    })
}

/// Moves the section `jupyter`, in which jupytext can have its metadata, to where notebooks have them.
fn without_section(metadata: &mut Map<String, Value>) {
    if let Some(Value::Object(section)) = metadata.get_mut("jupyter") {
        let section = std::mem::take(section);
        metadata.remove("jupyter");
        metadata.extend(section);
    }
}

/// Notes the name of the language in the directives, which is the only one that there is in some notebooks.
fn set_lexer(metadata: &mut Map<String, Value>, lexer: String) {
    let jupytext = metadata.entry("jupytext").or_insert_with(|| json!({}));
    if let Value::Object(jupytext) = jupytext {
        jupytext.insert("default_lexer".into(), lexer.into());
    }
}

struct Reader<'a> {
    lines: Vec<&'a str>,
    cells: Vec<ScriptCell>,
    /// Index of the line after the last cell or break.
    text_from: usize,
    /// Metadata of the break, for the next text cell.
    text_metadata: Map<String, Value>,
}

/// A block that is not text.
struct Block {
    kind: BlockKind,
    /// Index of its first line.
    first: usize,
    /// Index of the line after it.
    end: usize,
    /// The number of blanks before its fence.
    indent: usize,
}

enum BlockKind {
    Fence { kind: CellKind, argument: String },
    Break,
}

/// Returns the code cells, raw cells and breaks from a line on. What lies in lists, quotes, comments and other fences
/// is text.
fn blocks(lines: &[&str], start: usize) -> Vec<Block> {
    // A break has the place of a rule for Markdown, and so have other lines that end paragraphs and lists in MyST.
    const RULE: &str = "***";
    let mut markdown = String::new();
    let mut starts = Vec::new();
    for line in &lines[start..] {
        starts.push(markdown.len());
        match is_break(line) || is_note(line) {
            true => {
                markdown.push_str(&line[..line.len() - line.trim_start_matches(' ').len()]);
                markdown.push_str(RULE);
            }
            false => markdown.push_str(line),
        }
        markdown.push('\n');
    }
    let line_of = |offset: usize| starts.partition_point(|line| *line <= offset) - 1 + start;
    let mut blocks = Vec::new();
    let mut depth = 0_usize;
    for (event, range) in Parser::new_ext(&markdown, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                let is_top = depth == 0;
                depth += 1;
                let Tag::CodeBlock(CodeBlockKind::Fenced(info)) = tag else {
                    continue;
                };
                let info = info.trim();
                let named = [(CODE, CellKind::Code), (RAW, CellKind::Raw)];
                let cell = named
                    .into_iter()
                    .find_map(|(name, kind)| Some((kind, info.strip_prefix(name)?.trim())));
                if let (true, Some((kind, argument))) = (is_top, cell) {
                    let first = line_of(range.start);
                    let line = lines[first];
                    blocks.push(Block {
                        kind: BlockKind::Fence {
                            kind,
                            argument: argument.to_owned(),
                        },
                        first,
                        end: line_of(range.end.saturating_sub(1).max(range.start)) + 1,
                        indent: line.len() - line.trim_start_matches(' ').len(),
                    });
                }
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Rule if depth == 0 => {
                let first = line_of(range.start);
                if is_break(lines[first]) {
                    blocks.push(Block {
                        kind: BlockKind::Break,
                        first,
                        end: first + 1,
                        indent: 0,
                    });
                }
            }
            _ => {}
        }
    }
    blocks
}

/// Returns whether a line is a break: at least three signs, which blanks may separate.
fn is_break(line: &str) -> bool {
    let body = line.trim_start_matches(' ');
    line.len() - body.len() < 4 && body.starts_with('+') && signs_of(body).matches('+').count() >= 3
}

/// Returns whether a line is a comment (`% ..`) or the name of a place in the text (`(name)=`).
fn is_note(line: &str) -> bool {
    let body = line.trim_start_matches(' ');
    let is_target = || {
        let name = body.strip_prefix('(')?.trim_end().strip_suffix(")=")?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "|@<>*./_-+:".contains(c);
        (!name.is_empty() && name.chars().all(is_name)).then_some(())
    };
    line.len() - body.len() < 4 && (body.starts_with('%') || is_target().is_some())
}

/// Returns the start of a break that consists of signs and blanks.
fn signs_of(body: &str) -> &str {
    &body[..body.len() - body.trim_start_matches(['+', ' ', '\t']).len()]
}

impl Reader<'_> {
    /// Adds the text up to a line as a cell, unless it is blank.
    fn end_text(&mut self, end: usize) {
        let is_blank = |at: &usize| self.lines[*at].trim().is_empty();
        let mut start = self.text_from.min(end);
        let mut end = end;
        while end > start && is_blank(&(end - 1)) {
            end -= 1;
        }
        while start < end && self.lines[start].is_empty() {
            start += 1;
        }
        if start >= end {
            return;
        }
        let source = self.lines[start..end].join("\n");
        self.cells.push(ScriptCell {
            kind: CellKind::Markdown,
            source: source.trim_end().to_owned(),
            metadata: self.text_metadata.clone(),
            marker: None,
            first: start,
        });
    }

    fn read_break(&mut self, block: &Block) -> Result<(), ScriptError> {
        let body = self.lines[block.first].trim_start_matches(' ');
        let json = body[signs_of(body).len()..].trim();
        self.text_metadata = if json.is_empty() {
            Map::new()
        } else {
            serde_json::from_str(json).map_err(|_| ScriptError {
                line: block.first,
                message: "the metadata after `+++` is not a JSON object".into(),
                hint: "write it as `+++ {\"tags\": [\"a\"]}`",
            })?
        };
        Ok(())
    }

    /// Adds the cell of a directive.
    fn read_fence(
        &mut self,
        kind: CellKind,
        first: usize,
        end: usize,
        indent: usize,
    ) -> Result<(), ScriptError> {
        let opening = self.lines[first].trim_start_matches(' ');
        let mut end = end;
        if end > first + 1 && closes(self.lines[end - 1], opening) {
            end -= 1;
        }
        let body: Vec<&str> = self.lines[first + 1..end]
            .iter()
            .map(|line| {
                let blanks = line.len() - line.trim_start_matches(' ').len();
                &line[blanks.min(indent)..]
            })
            .collect();
        let (yaml, options_end) = options(&body);
        let metadata = yaml::parse_map(&yaml).map_err(|error| ScriptError {
            line: (first + 1 + error.line + usize::from(body[0].starts_with("---"))).min(end),
            message: format!("the options of the cell are not valid YAML: {}", error.message),
            hint: "write them as `:tags: [a, b]`, a line for each, or as YAML between two lines `---`",
        })?;
        let mut start = options_end;
        if body.get(start).is_some_and(|line| line.trim().is_empty()) {
            start += 1;
        }
        let mut source = body.get(start..).unwrap_or_default();
        if options_end > 0 {
            // As other readers do after options.
            source = source.strip_suffix(&[""]).unwrap_or(source);
        }
        self.cells.push(ScriptCell {
            kind,
            source: source.join("\n"),
            metadata,
            marker: Some(first),
            first: first + 1 + start,
        });
        self.text_metadata = Map::new();
        Ok(())
    }
}

/// Returns the YAML of the options of a directive, and the index of the line after them.
fn options(body: &[&str]) -> (String, usize) {
    let Some(first) = body.first() else {
        return (String::new(), 0);
    };
    if first.starts_with("---") {
        let rest = &body[1..];
        let length = rest.iter().position(|line| line.starts_with("---"));
        let length = length.unwrap_or(rest.len());
        let end = (length + 2).min(body.len());
        return (dedent(&rest[..length]), end);
    }
    let is_option = |line: &&&str| line.trim_start().starts_with(':');
    let options: Vec<&str> = body
        .iter()
        .take_while(is_option)
        .map(|line| &line.trim_start()[1..])
        .collect();
    (options.join("\n"), options.len())
}

/// Returns lines without the indentation that all of them have.
fn dedent(lines: &[&str]) -> String {
    let indent = |line: &&str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let filled = lines.iter().filter(|line| !line.trim().is_empty());
    let common = filled.map(indent).min().unwrap_or(0);
    let lines: Vec<&str> = lines
        .iter()
        .map(|line| line.get(common..).unwrap_or_default())
        .collect();
    lines.join("\n")
}

/// Returns whether a line closes the fence of another line.
fn closes(line: &str, opening: &str) -> bool {
    let Some(sign) = opening.chars().next() else {
        return false;
    };
    let length = opening.len() - opening.trim_start_matches(sign).len();
    let line = line.trim();
    line.len() >= length && line.chars().all(|c| c == sign)
}
