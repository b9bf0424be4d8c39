//! The percent format: a script whose cells begin with `# %%`.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use crate::course::ProgLang;

use super::comments::{split_lines, uncomment};
use super::options::{self, Options};
use super::strings::StringScanner;
use super::{Cell, CellKind, Deck, magics};

struct Markers {
    with_options: Option<Regex>,
    alone: Option<Regex>,
}

impl Markers {
    fn new(comment: &str) -> Self {
        Self {
            with_options: Regex::new(&format!(r"^\s*{comment}\s*%%(%*)\s(.*)$")).ok(),
            alone: Regex::new(&format!(
                r"^\s*{comment}\s*(?:%%|<codecell>|In\[[0-9 ]*\]:?)\s*$"
            ))
            .ok(),
        }
    }

    fn of(comment: &str) -> &'static Self {
        static HASH: LazyLock<Markers> = LazyLock::new(|| Markers::new("#"));
        static SLASHES: LazyLock<Markers> = LazyLock::new(|| Markers::new("//"));
        if comment == "#" { &HASH } else { &SLASHES }
    }

    /// What a line says as a cell marker; none when it is none.
    fn read(&self, line: &str) -> Option<Options> {
        if !line.contains("%%") && !line.contains("In[") && !line.contains("<codecell>") {
            return None;
        }
        if let Some(found) = self.with_options.as_ref()?.captures(line) {
            return Some(options::parse(&found[2], found[1].len()));
        }
        self.alone
            .as_ref()?
            .is_match(line)
            .then(|| options::parse("", 0))
    }
}

/// Reads the cells of a deck after Jinja; lines of cells are those of `text`.
pub fn read(text: &str, prog_lang: ProgLang) -> Deck {
    let comment = prog_lang.comment();
    let markers = Markers::of(comment);
    let lines = split_lines(text);
    let mut deck = Deck::default();
    let mut at = read_head(&lines, comment, &mut deck);
    at = read_front_matter(&lines, at, comment, &mut deck);
    while at < lines.len() {
        let marker = markers.read(lines[at]);
        let start = if marker.is_some() { at + 1 } else { at };
        let options = marker.unwrap_or(Options {
            kind: CellKind::Code,
            metadata: Map::new(),
            is_json: false,
        });
        deck.has_json_metadata |= options.is_json;
        let next = next_marker(&lines, at, options.kind, comment, markers);
        let end = content_end(&lines[at..next]) + at;
        let content = &lines[start.min(end.max(start))..end.max(start)];
        let number = deck.cells.len() as u32 + 1;
        deck.cells
            .push(cell(options, content, start, number, prog_lang));
        at = next;
    }
    deck
}

/// The interpreter line and the encoding line at the top.
fn read_head(lines: &[&str], comment: &str, deck: &mut Deck) -> usize {
    static ENCODING: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"coding[:=] *utf-8").ok());
    let mut at = 0;
    if let Some(executable) = lines.first().and_then(|line| line.strip_prefix("#!")) {
        deck.executable = Some(executable.to_owned());
        at = 1;
    }
    if let Some(line) = lines.get(at)
        && line.starts_with(comment)
        && !line[comment.len()..].trim_start().starts_with("%%")
        && ENCODING
            .as_ref()
            .is_some_and(|pattern| pattern.is_match(line))
    {
        deck.encoding = Some((*line).to_owned());
        at += 1;
    }
    at
}

/// A commented YAML block at the top: what it says of Jupyter is dropped, the rest is a raw cell.
fn read_front_matter(lines: &[&str], start: usize, comment: &str, deck: &mut Deck) -> usize {
    let rule = format!("{comment} ---");
    if lines.get(start).map(|line| line.trim_end()) != Some(rule.as_str()) {
        return start;
    }
    let Some(length) = lines[start + 1..]
        .iter()
        .position(|line| line.trim_end() == rule)
    else {
        return start;
    };
    let body = &lines[start + 1..start + 1 + length];
    if !body.iter().all(|line| line.starts_with(comment)) {
        return start;
    }
    let mut kept = Vec::new();
    let mut is_jupyter = false;
    for line in body.iter().map(|line| uncomment(line, comment)) {
        if !line.starts_with([' ', '\t']) {
            is_jupyter = line.starts_with("jupyter:");
        }
        if !is_jupyter {
            kept.push(line);
        }
    }
    if kept.iter().any(|line| !line.trim().is_empty()) {
        deck.cells.push(Cell {
            kind: CellKind::Raw,
            source: format!("---\n{}\n---", kept.join("\n")),
            metadata: Map::new(),
            number: 1,
            line: Some(start as u32 + 1),
        });
    }
    let end = start + length + 2;
    // One blank line separates the block from the cells.
    if lines.get(end).is_some_and(|line| line.trim().is_empty()) {
        end + 1
    } else {
        end
    }
}

/// The next marker after line `at`: not in a multi-line string, and in prose not in a fenced block.
fn next_marker(
    lines: &[&str],
    at: usize,
    kind: CellKind,
    comment: &str,
    markers: &Markers,
) -> usize {
    let mut scanner = StringScanner::new(comment);
    let mut fenced_until = at;
    for (index, line) in lines.iter().enumerate().skip(at) {
        let is_quoted = scanner.is_quoted();
        scanner.read(line);
        if is_quoted || index == at || index < fenced_until {
            continue;
        }
        if markers.read(line).is_some() {
            return index;
        }
        if kind != CellKind::Code
            && let Some(end) = fence_end(lines, index, comment)
        {
            fenced_until = end + 1;
        }
    }
    lines.len()
}

/// Where the fenced block that begins in this line ends, if it does both.
fn fence_end(lines: &[&str], start: usize, comment: &str) -> Option<usize> {
    let fence = |line: &str| {
        let text = uncomment(line, comment).trim_start().to_owned();
        let sign = text.chars().next().filter(|c| matches!(c, '`' | '~'))?;
        let length = text.chars().take_while(|c| *c == sign).count();
        (length >= 3).then(|| (sign, length, text[length..].trim().is_empty()))
    };
    let (sign, length, _) = fence(lines[start])?;
    lines[start + 1..]
        .iter()
        .position(|line| {
            fence(line)
                .is_some_and(|(other, count, is_bare)| other == sign && count >= length && is_bare)
        })
        .map(|offset| start + 1 + offset)
}

/// How many lines of a cell (its marker included) are content: blank lines before the next marker belong to
/// the layout of the file.
fn content_end(lines: &[&str]) -> usize {
    let count = lines.len();
    let is_blank = |back: usize| lines[count - back].trim().is_empty();
    if count >= 3 && is_blank(1) && is_blank(2) && !is_blank(3) {
        count - 2
    } else if count >= 2 && lines[count - 1].trim().is_empty() {
        count - 1
    } else {
        count
    }
}

fn cell(
    options: Options,
    content: &[&str],
    start: usize,
    number: u32,
    prog_lang: ProgLang,
) -> Cell {
    let Options {
        mut kind,
        mut metadata,
        ..
    } = options;
    let mut skipped = 0;
    let source = match kind {
        CellKind::Code => {
            let mut lines = magics::uncomment(content, prog_lang);
            if let Some(Value::String(language)) = metadata.remove("language") {
                lines = content
                    .iter()
                    .map(|line| uncomment(line, prog_lang.comment()).to_owned())
                    .collect();
                lines.insert(0, format!("%%{language}"));
            }
            lines.join("\n")
        }
        CellKind::Markdown | CellKind::Raw => match triple_quoted(content, prog_lang) {
            Some((marker, text, lines)) => {
                skipped = lines;
                metadata.insert("cell_marker".to_owned(), Value::from(marker));
                text
            }
            None => content
                .iter()
                .map(|line| uncomment(line, prog_lang.comment()))
                .collect::<Vec<_>>()
                .join("\n"),
        },
    };
    if kind == CellKind::Code && !is_active_in_notebooks(&metadata) {
        kind = CellKind::Raw;
    }
    Cell {
        kind,
        source,
        metadata,
        number,
        line: Some((start + skipped) as u32 + 1),
    }
}

/// Cells may be active in some formats only: tag `active-py` is code for scripts alone.
fn is_active_in_notebooks(metadata: &Map<String, Value>) -> bool {
    let from_key = metadata.get("active").and_then(Value::as_str);
    let tags = metadata.get("tags").and_then(Value::as_array);
    let from_tag = tags
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .find_map(|tag| tag.strip_prefix("active-"));
    from_key
        .or(from_tag)
        .is_none_or(|formats| formats.split([',', '-']).any(|format| format == "ipynb"))
}

/// Prose as one triple-quoted text: its quotes, its content, and how many lines the opening takes.
fn triple_quoted(content: &[&str], prog_lang: ProgLang) -> Option<(String, String, usize)> {
    if prog_lang != ProgLang::Python {
        return None;
    }
    let text = content.join("\n");
    let text = text.trim_end_matches('\n');
    for quotes in ["\"\"\"", "'''"] {
        for prefix in ["", "r", "R"] {
            let open = format!("{prefix}{quotes}");
            let Some(body) = text.strip_prefix(&open) else {
                continue;
            };
            let Some(body) = body.strip_suffix(quotes) else {
                continue;
            };
            let begins_on_next_line = body.starts_with('\n');
            let body = body.strip_prefix('\n').unwrap_or(body);
            let body = body.strip_suffix('\n').unwrap_or(body);
            return Some((open, body.to_owned(), usize::from(begins_on_next_line)));
        }
    }
    None
}
