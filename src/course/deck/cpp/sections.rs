//! Groups the cells of a deck into slides, each of which becomes a function.

use super::cells::{Presence, ProgramCell};
use super::names::identifier;
use super::prose;

/// A slide: the cells from the one that starts it to the next.
#[derive(Debug)]
pub(super) struct Section {
    /// Its cells.
    pub(super) cells: std::ops::Range<usize>,
    /// The number of the workshop whose file contains it; 0 for the file of the deck.
    pub(super) file: usize,
    /// The name of its function.
    pub(super) function: String,
    /// The heading that it prints when it is run.
    pub(super) heading: String,
}

/// Groups cells into sections. `reserved` are the names that the deck itself defines.
pub(super) fn sections(cells: &[ProgramCell], reserved: &[&str]) -> Vec<Section> {
    let mut starts: Vec<usize> = Vec::new();
    let changes_file = |at: usize| {
        let before = at.checked_sub(1).map_or(0, |before| cells[before].workshop);
        before != cells[at].workshop
    };
    for (at, cell) in cells.iter().enumerate() {
        if at == 0 || cell.opens_section || changes_file(at) {
            starts.push(at);
        }
    }
    let mut used: Vec<String> = Vec::new();
    let ends = starts.iter().skip(1).copied().chain([cells.len()]);
    (1..)
        .zip(starts.iter().copied().zip(ends))
        .map(|(number, (start, end))| {
            let opener = &cells[start];
            let slide = opener
                .slide
                .filter(|_| opener.opens_section || changes_file(start));
            let function = name(number, slide, reserved, &mut used);
            let heading = cells[start..end]
                .iter()
                .filter(|cell| cell.presence == Presence::Shown)
                .find_map(|cell| prose::heading(cell.text?))
                .or_else(|| slide.map(title).filter(|title| !title.is_empty()))
                .unwrap_or_else(|| function.clone());
            Section {
                cells: start..end,
                file: opener.workshop,
                function,
                heading,
            }
        })
        .collect()
}

fn name(number: u32, slide: Option<&str>, reserved: &[&str], used: &mut Vec<String>) -> String {
    let word = slide.map(identifier).filter(|word| !word.is_empty());
    let mut name = match word {
        Some(word) => format!("slide_{word}"),
        None => format!("slide_{number:02}"),
    };
    if reserved.contains(&name.as_str()) {
        name.push_str("_section");
    }
    let is_free = |name: &str| !used.iter().any(|other| other == name) && !reserved.contains(&name);
    if !is_free(&name) {
        let free = (2..)
            .map(|number| format!("{name}_{number}"))
            .find(|name| is_free(name));
        name = free.unwrap_or(name);
    }
    used.push(name.clone());
    name
}

/// Converts the name of a slide to a title: `brace-initialization` is `Brace initialization`.
fn title(slide: &str) -> String {
    let words: Vec<&str> = slide
        .split(['-', '_', ' '])
        .filter(|word| !word.is_empty())
        .collect();
    let words = words.join(" ");
    let mut chars = words.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}
