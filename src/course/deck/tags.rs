//! Tags: which there are, and what is said about others.

use crate::events::Diagnostic;

use super::{Cell, CellKind};

const COMMON: &[&str] = &[
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
];
const CODE: &[&str] = &[
    "keep",
    "start",
    "allow-untranslated",
    "raises-exception",
    "skip-execution",
];
const MARKDOWN: &[&str] = &["answer", "nodataurl", "start", "keep"];
/// Tags that make a cell a slide; if a cell has several, the first of these counts.
const SLIDE_TYPES: &[&str] = &["slide", "subslide", "notes", "voiceover"];

/// The slide type of a cell.
pub fn slide_type(cell: &Cell) -> Option<&'static str> {
    SLIDE_TYPES.iter().copied().find(|tag| cell.has_tag(tag))
}

/// Warnings about the tags of a cell.
pub fn check(cell: &Cell) -> Vec<Diagnostic> {
    let own = match cell.kind {
        CellKind::Code => CODE,
        CellKind::Markdown => MARKDOWN,
        CellKind::Raw => return Vec::new(),
    };
    let at = |message: String| {
        let mut diagnostic = Diagnostic::warning(message).cell(cell.number);
        diagnostic.line = cell.line.map(|line| line.saturating_sub(1).max(1));
        diagnostic
    };
    let mut warnings = Vec::new();
    for tag in cell.tags() {
        let is_known = COMMON.contains(&tag)
            || own.contains(&tag)
            || tag.starts_with('_')
            || tag.starts_with("active-");
        if is_known {
            continue;
        }
        let nearest = COMMON
            .iter()
            .chain(own)
            .map(|known| (strsim::damerau_levenshtein(tag, known), *known))
            .min()
            .filter(|(distance, known)| *distance <= 2.min(known.len() / 2));
        let mut warning = at(format!(
            "the tag `{tag}` is unknown for {} cells",
            cell.kind.name()
        ));
        warning.hint = nearest.map(|(_, known)| format!("did you mean `{known}`?"));
        warnings.push(warning);
    }
    if SLIDE_TYPES.iter().filter(|tag| cell.has_tag(tag)).count() > 1 {
        warnings.push(at(format!(
            "the cell has several slide tags; `{}` counts",
            slide_type(cell).unwrap_or_default()
        )));
    }
    if let Some(text) = cell
        .metadata
        .get("incorrectly_encoded_metadata")
        .and_then(|value| value.as_str())
    {
        warnings.push(
            at(format!(
                "`{text}` cannot be read, so the cell has no tags and no language"
            ))
            .hint("write it like `lang=\"de\" tags=[\"slide\"]`, with quotes"),
        );
    }
    warnings
}
