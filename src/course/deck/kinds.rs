//! Selects and transforms the cells of an output, by the tags and types of cells and by the kind of the output.

use std::collections::HashSet;
use std::fmt::Write as _;

use serde_json::{Value, json};
use sha3::{Digest as _, Sha3_224};

use super::{Cell, CellKind, Deck, Notebook, NotebookCell, Surroundings, syntax, tags};
use crate::course::{Kind, Lang, ProgLang};
use crate::diagnostic::Diagnostic;

/// How many hexadecimal digits of a hash form the id of a cell.
const ID_LENGTH: usize = 16;

/// The treatment of a cell in an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// It is unchanged.
    Kept,
    /// It is empty, for participants to fill in.
    Emptied,
    /// It is omitted.
    Dropped,
}

/// Creates the notebook of one output: cells are selected and transformed, and get ids and the kernel's metadata.
pub fn notebook(
    deck: &Deck,
    kind: Kind,
    lang: Lang,
    prog_lang: ProgLang,
) -> (Notebook, Vec<Diagnostic>) {
    notebook_within(deck, kind, lang, prog_lang, &Surroundings::default())
}

/// Creates the notebook of one output of a course, in which text cells refer to images and other decks.
pub(crate) fn notebook_within(
    deck: &Deck,
    kind: Kind,
    lang: Lang,
    prog_lang: ProgLang,
    surroundings: &Surroundings,
) -> (Notebook, Vec<Diagnostic>) {
    let mut warnings = Vec::new();
    let mut ids = HashSet::new();
    let mut cells = Vec::new();
    for (origin, (cell, in_workshop)) in deck.cells.iter().zip(workshops(deck)).enumerate() {
        tags::check_options(deck, cell, &[lang], &mut warnings);
        let content = content(cell, kind, lang, in_workshop);
        if content == Content::Dropped {
            continue;
        }
        tags::check_tags(deck, cell, &mut warnings);
        let id = unique_id(&cell.source, origin, &mut ids);
        let mut metadata = cell.metadata.clone();
        metadata.remove("slide_id");
        metadata.remove("for_slide");
        metadata.remove("section_name");
        if kind == Kind::Partial && in_workshop {
            // The other tool adds a tag to these cells and removes it again, which leaves an empty list.
            metadata.entry("tags").or_insert_with(|| json!([]));
        }
        if let Some(slide_type) = tags::slide_type(deck, cell, &mut warnings) {
            metadata.insert("slideshow".into(), json!({ "slide_type": slide_type }));
        }
        let hides_outputs = match kind {
            Kind::CodeAlong => true,
            Kind::Partial => in_workshop,
            _ => false,
        };
        cells.push(NotebookCell {
            kind: cell.kind,
            id,
            source: source(cell, content, lang, surroundings),
            metadata,
            origin,
            outputs: Vec::new(),
            execution_count: None,
            clear_outputs: hides_outputs || content == Content::Emptied,
            attachments: serde_json::Map::new(),
        });
    }
    let mut metadata = deck.metadata.clone();
    metadata.insert("kernelspec".into(), syntax::kernelspec(prog_lang));
    metadata.insert("language_info".into(), syntax::language_info(prog_lang));
    (Notebook { cells, metadata }, warnings)
}

/// Returns for each cell whether it lies in a workshop: from an opening text cell to the cell that ends it.
pub(super) fn workshops(deck: &Deck) -> Vec<bool> {
    let mut inside = false;
    deck.cells
        .iter()
        .map(|cell| {
            if cell.has_tag("end-workshop") {
                inside = false;
            }
            if opens_workshop(cell) {
                inside = true;
            }
            inside
        })
        .collect()
}

fn opens_workshop(cell: &Cell) -> bool {
    let is_slide = || cell.has_tag("slide") || cell.has_tag("subslide");
    let is_named = || matches!(cell.metadata.get("slide_id"), Some(Value::String(id)) if id.starts_with("workshop-"));
    cell.kind == CellKind::Markdown && (cell.has_tag("workshop") || (is_slide() && is_named()))
}

/// Returns the treatment of a cell as defined by the course format.
pub(super) fn content(cell: &Cell, kind: Kind, lang: Lang, in_workshop: bool) -> Content {
    if tags::language(cell).is_some_and(|language| language != lang.name()) {
        return Content::Dropped;
    }
    let for_participants = match kind {
        Kind::CodeAlong => true,
        Kind::Partial => in_workshop,
        _ => false,
    };
    let is_dropped = cell.tags().any(|tag| match tag {
        "del" => true,
        "notes" => !matches!(kind, Kind::Trainer | Kind::Recording),
        "voiceover" => kind != Kind::Recording,
        "start" => !for_participants,
        "completed" | "alt" => for_participants,
        _ => false,
    });
    if is_dropped {
        return Content::Dropped;
    }
    let is_emptied = for_participants
        && match cell.kind {
            CellKind::Code => !cell.has_tag("keep") && !cell.has_tag("start"),
            CellKind::Markdown => cell.has_tag("answer"),
            CellKind::Raw => false,
        };
    if is_emptied {
        Content::Emptied
    } else {
        Content::Kept
    }
}

/// Returns the source of a cell in an output.
fn source(cell: &Cell, content: Content, lang: Lang, surroundings: &Surroundings) -> String {
    if cell.kind != CellKind::Markdown {
        return match content {
            Content::Kept => cell.source.clone(),
            _ => String::new(),
        };
    }
    let mut source = match content {
        Content::Kept => cell.source.clone(),
        _ => String::new(),
    };
    let colour = [("notes", "yellow"), ("voiceover", "#FFEEBA")]
        .into_iter()
        .find(|(tag, _)| cell.has_tag(tag));
    if let Some((_, colour)) = colour {
        source = format!("<div style='background: {colour}; color: black;'>\n{source}\n</div>");
    }
    if cell.has_tag("answer") {
        source = format!("*{}:* {source}", lang.words().answer);
    }
    surroundings.shown(source, !cell.has_tag("nodataurl"))
}

/// Returns the id of a cell: a hash of its original source, extended until it differs from those of all cells before.
pub(super) fn unique_id(source: &str, index: usize, ids: &mut HashSet<String>) -> String {
    let mut hash = Sha3_224::new();
    hash.update(source.as_bytes());
    let mut number = index;
    loop {
        let mut id = String::with_capacity(2 * 28);
        for byte in hash.clone().finalize() {
            // Writing to a `String` cannot fail.
            let _ = write!(id, "{byte:02x}");
        }
        id.truncate(ID_LENGTH);
        if ids.insert(id.clone()) {
            return id;
        }
        hash.update(format!("{number}:{source}").as_bytes());
        number += 1;
    }
}
