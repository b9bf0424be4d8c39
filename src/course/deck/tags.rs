//! The tags of cells: the known ones, and the slides that they make.

use super::{Cell, CellKind, Deck, options};
use crate::course::Lang;
use crate::course::languages::listed;
use crate::course::words::nearest;
use crate::diagnostic::Diagnostic;

const CODE_TAGS: &[&str] = &[
    "slide",
    "subslide",
    "notes",
    "voiceover",
    "private",
    "workshop",
    "end-workshop",
    "alt",
    "completed",
    "del",
    "keep",
    "start",
    "allow-untranslated",
    "global",
    "raises-exception",
    "skip-execution",
];

const MARKDOWN_TAGS: &[&str] = &[
    "slide",
    "subslide",
    "notes",
    "voiceover",
    "private",
    "workshop",
    "end-workshop",
    "alt",
    "completed",
    "del",
    "keep",
    "start",
    "answer",
    "nodataurl",
];

/// Tags that determine the type of a slide, by descending priority.
const SLIDE_TAGS: &[&str] = &["slide", "subslide", "notes", "voiceover"];

/// A tag that hints never propose, since following them would remove the cell.
const REMOVES: &str = "del";

/// Returns the warnings about the cells of a deck, independently of any output. Tags of cells that no output contains
/// are not checked. `languages` are those of the course.
pub(crate) fn warnings(deck: &Deck, languages: &[Lang]) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    for cell in &deck.cells {
        check_options(deck, cell, languages, &mut warnings);
        check_kind(deck, cell, &mut warnings);
        if !cell.has_tag(REMOVES) {
            check_tags(deck, cell, &mut warnings);
            slide_type(deck, cell, &mut warnings);
        }
    }
    warnings
}

/// Warns about unreadable options, and about languages that no output has. German and English are no mistakes in a
/// course without them: decks are shared by courses, and the header macro makes cells in both.
pub(super) fn check_options(
    deck: &Deck,
    cell: &Cell,
    languages: &[Lang],
    warnings: &mut Vec<Diagnostic>,
) {
    if let Some(text) = cell.metadata.get(options::UNREADABLE) {
        let text = text.as_str().unwrap_or_default();
        let warning = Diagnostic::warning(format!(
            "the options `{text}` of the cell cannot be read, so its tags and language are ignored"
        ))
        .hint("write options as `lang=\"de\" tags=[\"slide\", \"keep\"]`, with quotes around every text");
        warnings.push(deck.at(cell, warning));
    }
    let known =
        |text: &str| Lang::parse(text).filter(|lang| lang.is_usual() || languages.contains(lang));
    if let Some(language) = language(cell)
        && known(&language).is_none()
    {
        let warning = Diagnostic::warning(format!(
            "no output has the language `{language}`, so the cell is never shown"
        ))
        .hint(match known(&language.trim().to_lowercase()) {
            Some(lang) => format!("did you mean `{lang}`?"),
            None if languages.iter().all(|lang| lang.is_usual()) => {
                "the languages are `de` and `en`; a cell without `lang` is in both".to_owned()
            }
            None => format!(
                "the outputs are in {}; a cell without `lang` is in all of them",
                listed(languages, |lang| format!("`{lang}`"))
            ),
        });
        warnings.push(deck.at(cell, warning));
    }
}

/// Warns about a title such as `[markdwon]`, which is not a cell type, so that the text would be code.
fn check_kind(deck: &Deck, cell: &Cell, warnings: &mut Vec<Diagnostic>) {
    let title = cell.metadata.get("title").and_then(|title| title.as_str());
    let Some(title) = title.filter(|title| title.starts_with('[') && cell.kind == CellKind::Code)
    else {
        return;
    };
    let word = title.trim_start_matches('[').split([']', ' ']).next();
    if let Some(meant) = nearest(word.unwrap_or_default(), ["markdown", "raw"]) {
        let warning = Diagnostic::warning(format!(
            "`{title}` is no kind of cell, so that this is a code cell"
        ))
        .hint(format!("did you mean `[{meant}]`?"));
        warnings.push(deck.at(cell, warning));
    }
}

/// Returns the only language of a cell.
pub(super) fn language(cell: &Cell) -> Option<String> {
    match cell.metadata.get("lang")? {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) if text.is_empty() => None,
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Warns about unknown tags of a cell.
pub(super) fn check_tags(deck: &Deck, cell: &Cell, warnings: &mut Vec<Diagnostic>) {
    let known = match cell.kind {
        CellKind::Code => CODE_TAGS,
        CellKind::Markdown => MARKDOWN_TAGS,
        CellKind::Raw => return,
    };
    for tag in cell.tags() {
        if tag.starts_with('_') || tag.starts_with("active-") || known.contains(&tag) {
            continue;
        }
        let mut warning = Diagnostic::warning(format!(
            "unknown tag `{tag}` for a {} cell",
            cell.kind.name()
        ));
        let proposed = known.iter().copied().filter(|known| *known != REMOVES);
        if let Some(known) = nearest(tag, proposed) {
            warning = warning.hint(format!("did you mean `{known}`?"));
        }
        warnings.push(deck.at(cell, warning));
    }
}

/// Returns the type of the slide that a cell begins. Several types cause a warning, and the first in priority counts.
pub(super) fn slide_type(
    deck: &Deck,
    cell: &Cell,
    warnings: &mut Vec<Diagnostic>,
) -> Option<&'static str> {
    let mut types = SLIDE_TAGS.iter().copied().filter(|tag| cell.has_tag(tag));
    let strongest = types.next()?;
    if let Some(other) = types.next() {
        let warning = Diagnostic::warning(format!(
            "the cell has the tags `{strongest}` and `{other}`, of which only `{strongest}` counts for slides"
        ))
        .hint("remove one of them");
        warnings.push(deck.at(cell, warning));
    }
    Some(strongest)
}
