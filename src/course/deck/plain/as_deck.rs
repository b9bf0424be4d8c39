//! Writes a notebook as a deck of a course, so that the deck has the same cells.

use serde_json::{Map, Value};

use super::super::percent::{is_marker, may_be_key};
use super::super::{Cell, CellKind, DeckSource, View, magics, syntax, text};
use super::Plain;
use crate::course::{Format, Lang, ProgLang, RelPath};
use crate::diagnostic::Diagnostic;

/// The text of a deck.
#[derive(Clone, Debug)]
pub struct AsDeck {
    /// The deck in percent format.
    pub text: String,
    /// What it does not have, or has otherwise than the notebook. Diagnostics name the notebook.
    pub lost: Vec<Diagnostic>,
}

/// Metadata of cells that editors write on their own, and that change whenever a notebook is executed.
const TRANSIENT: &[&str] = &[
    "ExecuteTime",
    "autoscroll",
    "collapsed",
    "execution",
    "lines_to_end_of_cell_marker",
    "lines_to_next_cell",
    "scrolled",
    "trusted",
];

/// Tags that change what outputs of a course have.
const COURSE_TAGS: &[&str] = &[
    "alt",
    "answer",
    "completed",
    "del",
    "notes",
    "start",
    "voiceover",
    "workshop",
];

/// Longer options of a cell are no help to anybody, and are not read.
const MAX_OPTIONS: usize = 10_000;

/// The forms of a text cell, the usual one first.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// Every line is a comment.
    Comments,
    /// The text is a string with these quotes.
    Quoted(&'static str),
}

/// Returns a notebook as a deck in percent format. Text that a template would change is marked with `{% raw %}`.
pub fn as_deck(plain: &Plain, prog_lang: ProgLang) -> AsDeck {
    let mut writer = Writer {
        plain,
        prog_lang,
        lost: Vec::new(),
    };
    let cells = &plain.deck.cells;
    let mut blocks: Vec<String> = cells
        .iter()
        .map(|cell| writer.block(cell, Form::Comments, true))
        .collect();
    // Most decks are right as they are. What a cell becomes beside its neighbours is seen only in the whole text.
    if writer.differing(&blocks) != Difference::None {
        writer.choose_forms(&mut blocks);
        let lost = match writer.differing(&blocks) {
            Difference::None => Vec::new(),
            Difference::Cells(cells) => cells,
            Difference::All => (0..cells.len()).take(1).collect(),
        };
        for index in lost {
            writer.lose(
                &cells[index],
                "from this cell on the deck is not quite the same".into(),
                "compare the deck with the notebook",
            );
        }
    }
    AsDeck {
        text: whole(&blocks),
        lost: writer.lost,
    }
}

fn whole(blocks: &[String]) -> String {
    blocks.join("\n")
}

struct Writer<'a> {
    plain: &'a Plain,
    prog_lang: ProgLang,
    lost: Vec<Diagnostic>,
}

impl Writer<'_> {
    fn lose(&mut self, cell: &Cell, message: String, hint: &str) {
        let diagnostic = Diagnostic::warning(message)
            .at(self.plain.deck.path.as_str(), cell.line)
            .cell(cell.number)
            .hint(hint);
        self.lost.push(diagnostic);
    }

    /// Returns the lines of a cell with its marker. `reports` is false if it was written before.
    fn block(&mut self, cell: &Cell, form: Form, reports: bool) -> String {
        let kept = self.lost.len();
        let comment = self.prog_lang.comment();
        let mut metadata = self.options(cell);
        let source = cell.source.as_str();
        let mut lines = source_lines(source, cell.kind);
        let language = cell.kind == CellKind::Code && self.take_language(&mut lines, &mut metadata);
        let lines = match (cell.kind, form) {
            (CellKind::Code, _) if language => commented(&lines, comment),
            (CellKind::Code, _) => self.code(cell, &lines),
            (_, Form::Comments) => self.text(cell, &lines),
            (_, Form::Quoted(quotes)) => {
                let mut quoted = vec![quotes.to_owned()];
                quoted.extend(lines.iter().map(|line| (*line).to_owned()));
                quoted.push(quotes.to_owned());
                quoted
            }
        };
        if !reports {
            self.lost.truncate(kept);
        }
        let kind = match cell.kind {
            CellKind::Code => String::new(),
            other => format!(" [{}]", other.name()),
        };
        let options = self.options_text(cell, &metadata, reports);
        let mut block = format!("{comment} %%{kind}{options}\n");
        for line in without_templates(lines, comment) {
            block.push_str(&line);
            block.push('\n');
        }
        block
    }

    /// Returns the metadata of a cell that belong to its text.
    fn options(&mut self, cell: &Cell) -> Map<String, Value> {
        let mut metadata = cell.metadata.clone();
        for key in TRANSIENT {
            metadata.remove(*key);
        }
        if metadata.remove("cell_type").is_some() {
            let message = "the metadata `cell_type` of the cell has another meaning in decks";
            self.lose(cell, message.into(), "it is left out");
        }
        let tags: Vec<&str> = cell
            .tags()
            .filter(|tag| COURSE_TAGS.contains(tag))
            .collect();
        if !tags.is_empty() {
            let message = format!(
                "`{}` decides in courses which outputs have the cell",
                tags.join("`, `")
            );
            self.lose(cell, message, "see `decks.md` for the tags of cells");
        }
        metadata
    }

    /// Moves the language of a cell from its first line (`%%bash`) to the options, as decks have it.
    fn take_language(&self, lines: &mut Vec<&str>, metadata: &mut Map<String, Value>) -> bool {
        let sign = syntax::language_sign(self.prog_lang);
        let Some(rest) = lines.first().and_then(|line| line.strip_prefix(sign)) else {
            return false;
        };
        let (name, arguments) = rest.split_once(' ').unwrap_or((rest, ""));
        let has_arguments = !arguments.is_empty();
        if !syntax::is_cell_language(name)
            || name == syntax::main_language(self.prog_lang)
            || (has_arguments && self.prog_lang == ProgLang::CSharp)
        {
            return false;
        }
        metadata.insert("language".into(), name.into());
        if has_arguments {
            metadata.insert("magic_args".into(), arguments.into());
        }
        lines.remove(0);
        true
    }

    /// Returns the lines of a code cell: magics are comments.
    fn code(&mut self, cell: &Cell, lines: &[&str]) -> Vec<String> {
        let comment = self.prog_lang.comment();
        let commented = magics::comment(lines, self.prog_lang);
        let read = magics::uncomment(
            &commented.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
            self.prog_lang,
        );
        if let Some((line, _)) = lines.iter().zip(&read).find(|(line, read)| *line != read) {
            let message = format!("`{}` stays a comment in the deck", line.trim());
            self.lose(
                cell,
                message,
                "builds install nothing: install what the notebook needs beforehand",
            );
        }
        let mut quotes = super::super::quotes::Quotes::new(comment);
        let lines: Vec<String> = commented
            .iter()
            .map(|line| {
                let is_text = quotes.inside();
                quotes.read(line);
                // In a deck, such a comment would begin another cell.
                match !is_text && is_marker(line, self.prog_lang) {
                    true => format!("{comment}{line}"),
                    false => line.clone().into_owned(),
                }
            })
            .collect();
        if lines
            .iter()
            .zip(&commented)
            .any(|(one, other)| one != other)
        {
            self.lose(
                cell,
                format!("a comment of the cell looks like the marker of a cell, and begins with `{comment}{comment}` in the deck"),
                "nothing needs to be done",
            );
        }
        lines
    }

    /// Returns the lines of a text cell as comments.
    fn text(&mut self, cell: &Cell, lines: &[&str]) -> Vec<String> {
        let comment = self.prog_lang.comment();
        let lines = commented(lines, comment);
        let refs: Vec<&str> = lines.iter().map(String::as_str).collect();
        let fences = super::super::fences::Fences::new(&refs, comment);
        let mut fence = None;
        let mut changed = false;
        let escaped = (0..lines.len())
            .map(|at| {
                let line = &lines[at];
                let is_code = fence.is_some();
                fence = fences.after(at, fence);
                if is_code || !is_marker(line, self.prog_lang) {
                    return line.clone();
                }
                changed = true;
                line.replacen("%%", "\\%%", 1).replacen("In[", "In\\[", 1)
            })
            .collect();
        if changed {
            self.lose(
                cell,
                "a line of the cell looks like the marker of a cell, and has a `\\` in the deck"
                    .into(),
                "pages show it as before",
            );
        }
        escaped
    }

    /// Returns metadata as the options of a marker.
    fn options_text(
        &mut self,
        cell: &Cell,
        metadata: &Map<String, Value>,
        reports: bool,
    ) -> String {
        if metadata.is_empty() {
            return String::new();
        }
        let json = |value: &Value| {
            let mut json = value.to_string();
            // Only texts have these pairs of signs, with which a template would begin.
            for pair in ["{{", "{%", "{#"] {
                json = json.replace(pair, &format!("\\u007b{}", &pair[1..]));
            }
            json
        };
        let is_plain = metadata
            .iter()
            .all(|(key, value)| may_be_key(key) && (!value.is_null() || !key.starts_with('.')));
        let options = if is_plain {
            let mut keys: Vec<&String> = metadata.keys().collect();
            keys.sort_by_key(|key| (*key != "tags", *key));
            let pairs = keys
                .into_iter()
                .map(|key| format!(" {key}={}", json(&metadata[key])));
            pairs.collect::<String>()
        } else {
            format!(" {}", json(&Value::Object(metadata.clone())))
        };
        if options.len() <= MAX_OPTIONS {
            return options;
        }
        if reports {
            self.lose(
                cell,
                "the metadata of the cell are too large for a deck".into(),
                "the deck has the tags of the cell only",
            );
        }
        match metadata.get("tags") {
            Some(tags) => format!(" tags={}", json(tags)),
            None => String::new(),
        }
    }

    /// Compares the cells of the deck with those of the notebook.
    fn differing(&self, blocks: &[String]) -> Difference {
        let Some(cells) = read_cells(&whole(blocks), self.prog_lang) else {
            return Difference::All;
        };
        let expected = &self.plain.deck.cells;
        if cells.len() != expected.len() {
            return Difference::All;
        }
        let pairs = cells.iter().zip(expected).enumerate();
        let differing: Vec<usize> = pairs
            .filter(|(_, (cell, expected))| !self.is_same(cell, expected))
            .map(|(index, _)| index)
            .collect();
        match differing.is_empty() {
            true => Difference::None,
            false => Difference::Cells(differing),
        }
    }

    /// Returns whether a cell of the deck is the one of the notebook, but for what was reported.
    fn is_same(&self, cell: &Cell, expected: &Cell) -> bool {
        let reported = self
            .lost
            .iter()
            .any(|lost| lost.cell == Some(expected.number));
        let (mut one, mut other) = (cell.metadata.clone(), expected.metadata.clone());
        for key in TRANSIENT.iter().chain(&["cell_marker", "cell_type"]) {
            one.remove(*key);
            other.remove(*key);
        }
        // Blank lines at the end mean nothing, and neither code nor strings keep them.
        let is_trimmed =
            expected.kind == CellKind::Code || cell.metadata.contains_key("cell_marker");
        let (read, source) = match is_trimmed {
            true => (
                without_last_blanks(&cell.source),
                without_last_blanks(&expected.source),
            ),
            false => (cell.source.as_str(), expected.source.as_str()),
        };
        cell.kind == expected.kind && (reported || (read == source && one == other))
    }

    /// Writes text cells that comments cannot express as strings, where the language has them.
    fn choose_forms(&mut self, blocks: &mut [String]) {
        if self.prog_lang != ProgLang::Python {
            return;
        }
        let cells = &self.plain.deck.cells;
        for (index, cell) in cells.iter().enumerate() {
            let is_text = cell.kind != CellKind::Code;
            if !is_text || self.is_good(&blocks[index], cell) {
                continue;
            }
            for quotes in ["\"\"\"", "'''"] {
                let block = self.block(cell, Form::Quoted(quotes), false);
                if self.is_good(&block, cell) {
                    blocks[index] = block;
                    break;
                }
            }
        }
    }

    /// Returns whether a block gives its cell, whatever follows it: also where the text leaves a fence open that a line
    /// below would close.
    fn is_good(&self, block: &str, cell: &Cell) -> bool {
        let comment = self.prog_lang.comment();
        let (one, other) = ("`".repeat(80), "~".repeat(80));
        let after = format!("{comment} %% [markdown]\n{comment} {one}\n{comment} {other}\n");
        let cells = read_cells(&whole(&[block.to_owned(), after]), self.prog_lang);
        cells.is_some_and(|cells| cells.len() == 2 && self.is_same(&cells[0], cell))
    }
}

/// What differs between a deck and its notebook.
#[derive(PartialEq)]
enum Difference {
    None,
    /// Cells with these indices.
    Cells(Vec<usize>),
    /// The number of cells, or the deck cannot be read.
    All,
}

/// Returns the cells of a deck as a course reads them.
fn read_cells(text: &str, prog_lang: ProgLang) -> Option<Vec<Cell>> {
    let path = RelPath::new(&format!("deck.{}", prog_lang.extension())).ok()?;
    let source = DeckSource::new(&path, text, prog_lang);
    let view = View {
        lang: Lang::EN,
        format: Format::Notebook,
        author: "",
        organization: "",
    };
    let deck = super::super::read(&source, &view, &|_| None).ok()?;
    Some(deck.cells)
}

/// Returns the lines of a cell. Blank lines at the end of code are left out, as decks have them between cells.
fn source_lines(source: &str, kind: CellKind) -> Vec<&str> {
    if source.is_empty() {
        return Vec::new();
    }
    match kind {
        CellKind::Code => without_last_blanks(source).split('\n').collect(),
        _ => source.split('\n').collect(),
    }
}

fn without_last_blanks(source: &str) -> &str {
    match source.trim_end_matches(text::is_space) {
        "" => "",
        text => {
            // Blanks at the end of the last line of code stay.
            let end = source[text.len()..].find('\n');
            &source[..end.map_or(source.len(), |end| text.len() + end)]
        }
    }
}

fn commented(lines: &[&str], comment: &str) -> Vec<String> {
    let line = |line: &&str| match line.is_empty() {
        true => comment.to_owned(),
        false => format!("{comment} {line}"),
    };
    lines.iter().map(line).collect()
}

/// Marks what a template would change: from the first line that has its signs to the last one.
fn without_templates(mut lines: Vec<String>, comment: &str) -> Vec<String> {
    const END: &str = "{% endraw %}";
    let statement = format!("{comment} j2");
    let is_special = |line: &String| {
        ["{{", "{%", "{#"].iter().any(|sign| line.contains(sign))
            || line.trim_start().starts_with(&statement)
    };
    let Some(first) = lines.iter().position(is_special) else {
        return lines;
    };
    let last = lines.iter().rposition(is_special).unwrap_or(first);
    for line in &mut lines[first..=last] {
        if line.contains("endraw") {
            // The end of the block in the text itself: an expression that has the two signs as its value.
            *line = line.replace("{%", &format!("{END}{{{{ '{{%' }}}}{{% raw %}}"));
        }
    }
    // The text follows the sign of the comment, so that editors show the cell as before.
    let body = lines[first].trim_start();
    let mut start = lines[first].len() - body.len();
    if let Some(rest) = body.strip_prefix(comment) {
        start += comment.len() + usize::from(rest.starts_with(' '));
    }
    lines[first].insert_str(start, "{% raw %}");
    lines[last].push_str(END);
    lines
}
