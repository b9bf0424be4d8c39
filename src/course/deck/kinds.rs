//! From the cells of a deck to those of one output: which are kept, which are emptied, what is added.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value, json};
use sha3::{Digest as _, Sha3_224};

use crate::course::{Kind, Lang, ProgLang};
use crate::events::Diagnostic;

use super::{
    Cell, CellKind, Deck, ExecutionCell, Notebook, NotebookCell, languages, tags, workshops,
};

/// What happens to a cell in an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Dropped,
    Emptied,
    Kept,
}

/// How a cell is looked at: for whom, and for the partial kind whether it lies in a workshop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    CodeAlong,
    Completed,
    Trainer,
    Recording,
}

impl Reader {
    fn of(kind: Kind, is_in_workshop: bool) -> Self {
        match kind {
            Kind::CodeAlong => Self::CodeAlong,
            Kind::Completed => Self::Completed,
            Kind::Trainer => Self::Trainer,
            Kind::Recording => Self::Recording,
            // Students work the workshops out and read everything else.
            Kind::Partial if is_in_workshop => Self::CodeAlong,
            Kind::Partial => Self::Completed,
        }
    }

    fn drops(self) -> &'static [&'static str] {
        match self {
            Self::CodeAlong => &["completed", "alt", "notes", "voiceover", "del"],
            Self::Completed => &["start", "notes", "voiceover", "del"],
            Self::Trainer => &["start", "voiceover", "del"],
            Self::Recording => &["start", "del"],
        }
    }

    fn fate(self, cell: &Cell) -> Fate {
        if self.drops().iter().any(|tag| cell.has_tag(tag)) {
            return Fate::Dropped;
        }
        let is_emptied = self == Self::CodeAlong
            && match cell.kind {
                CellKind::Code => !cell.has_tag("keep") && !cell.has_tag("start"),
                CellKind::Markdown => cell.has_tag("answer"),
                CellKind::Raw => false,
            };
        if is_emptied {
            Fate::Emptied
        } else {
            Fate::Kept
        }
    }
}

/// The notebook of one language and kind, and warnings about the tags of its cells.
pub fn notebook(
    deck: &Deck,
    kind: Kind,
    lang: Lang,
    prog_lang: ProgLang,
) -> (Notebook, Vec<Diagnostic>) {
    let in_workshop = workshops::ranges(&deck.cells);
    let mut ids = Ids::default();
    let mut warnings = Vec::new();
    let mut cells = Vec::new();
    for (origin, cell) in deck.cells.iter().enumerate() {
        let fate = Reader::of(kind, in_workshop[origin]).fate(cell);
        if fate == Fate::Dropped || !cell.is_in(lang) {
            continue;
        }
        warnings.extend(tags::check(cell));
        let is_for_students = kind == Kind::Partial && in_workshop[origin];
        cells.push(NotebookCell {
            kind: cell.kind,
            id: ids.next(&cell.source, origin),
            source: content(cell, fate, lang),
            metadata: metadata(cell),
            origin,
            is_without_results: fate == Fate::Emptied || is_for_students,
            outputs: Vec::new(),
            execution_count: None,
        });
    }
    let notebook = Notebook {
        cells,
        metadata: notebook_metadata(deck, prog_lang),
    };
    (notebook, warnings)
}

/// The content of a kept or emptied cell.
fn content(cell: &Cell, fate: Fate, lang: Lang) -> String {
    if cell.kind != CellKind::Markdown {
        return match fate {
            Fate::Emptied => String::new(),
            _ => cell.source.clone(),
        };
    }
    let colour = if cell.has_tag("notes") {
        Some("yellow")
    } else if cell.has_tag("voiceover") {
        Some("#FFEEBA")
    } else {
        None
    };
    let mut text = match colour {
        Some(colour) => format!(
            "<div style='background: {colour}; color: black;'>\n{}\n</div>",
            cell.source
        ),
        None => cell.source.clone(),
    };
    if cell.has_tag("answer") {
        let prefix = match lang {
            Lang::De => "*Antwort:* ",
            Lang::En => "*Answer:* ",
        };
        let answer = if fate == Fate::Emptied { "" } else { &text };
        text = format!("{prefix}{answer}");
    }
    text
}

fn metadata(cell: &Cell) -> Map<String, Value> {
    let mut metadata = cell.metadata.clone();
    for key in ["slide_id", "for_slide", "lines_to_next_cell"] {
        metadata.remove(key);
    }
    if let Some(slide_type) = tags::slide_type(cell) {
        metadata.insert("slideshow".to_owned(), json!({ "slide_type": slide_type }));
    }
    metadata
}

fn notebook_metadata(deck: &Deck, prog_lang: ProgLang) -> Map<String, Value> {
    let mut keys: BTreeSet<&str> = BTreeSet::from(["-all"]);
    for cell in &deck.cells {
        keys.extend(
            cell.metadata
                .keys()
                .map(String::as_str)
                .filter(|key| *key != "cell_marker"),
        );
    }
    let filter: Vec<&str> = keys.into_iter().collect();
    let mut jupytext = Map::new();
    jupytext.insert(
        "cell_metadata_filter".to_owned(),
        Value::from(filter.join(",")),
    );
    jupytext.insert("notebook_metadata_filter".to_owned(), Value::from("-all"));
    if !deck.cells.is_empty() {
        let language = languages::main_language(prog_lang);
        jupytext.insert("main_language".to_owned(), Value::from(language));
    }
    if deck.has_json_metadata {
        jupytext.insert("cell_metadata_json".to_owned(), Value::from(true));
    }
    for (key, value) in [
        ("encoding", &deck.encoding),
        ("executable", &deck.executable),
    ] {
        if let Some(value) = value {
            jupytext.insert(key.to_owned(), Value::from(value.as_str()));
        }
    }
    Map::from_iter([
        ("jupytext".to_owned(), Value::Object(jupytext)),
        ("kernelspec".to_owned(), languages::kernelspec(prog_lang)),
        (
            "language_info".to_owned(),
            languages::language_info(prog_lang),
        ),
    ])
}

/// Ids that depend on the content of cells alone, as long as contents differ.
#[derive(Default)]
struct Ids {
    used: HashSet<String>,
}

impl Ids {
    fn next(&mut self, source: &str, index: usize) -> String {
        let mut hasher = Sha3_224::new();
        hasher.update(source.as_bytes());
        let mut index = index;
        loop {
            let digest = hasher.clone().finalize();
            let id: String = digest[..8]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            if self.used.insert(id.clone()) {
                return id;
            }
            hasher.update(format!("{index}:{source}").as_bytes());
            index += 1;
        }
    }
}

/// The cells that are executed in a language: those that the recording shows.
pub fn execution_cells(deck: &Deck, lang: Lang, _prog_lang: ProgLang) -> Vec<ExecutionCell> {
    deck.cells
        .iter()
        .enumerate()
        .filter(|(_, cell)| {
            cell.kind == CellKind::Code
                && cell.is_in(lang)
                && Reader::Recording.fate(cell) == Fate::Kept
                && !cell.source.trim().is_empty()
                && !cell.has_tag("skip-execution")
        })
        .map(|(origin, cell)| ExecutionCell {
            origin,
            source: cell.source.clone(),
            number: cell.number,
            line: cell.line,
            may_fail: cell.has_tag("raises-exception"),
        })
        .collect()
}

/// Puts results, one for each execution cell, into the cells of a notebook that show them.
pub fn attach(
    notebook: &mut Notebook,
    cells: &[ExecutionCell],
    results: &[(Vec<Value>, Option<i64>)],
) {
    let by_origin: HashMap<usize, &(Vec<Value>, Option<i64>)> = cells
        .iter()
        .zip(results)
        .map(|(cell, result)| (cell.origin, result))
        .collect();
    for cell in &mut notebook.cells {
        if cell.is_without_results {
            continue;
        }
        if let Some((outputs, count)) = by_origin.get(&cell.origin) {
            cell.outputs.clone_from(outputs);
            cell.execution_count = *count;
        }
    }
}
