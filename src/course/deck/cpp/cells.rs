//! The cells of one output from the point of view of the program: shown, emptied, or withheld.

use super::items::{Item, ItemKind, items};
use crate::course::deck::kinds::{self, Content};
use crate::course::deck::{Cell, CellKind, Deck, Notebook, tags};
use crate::course::{Kind, Lang};

/// The presence of a cell in an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It is shown.
    Shown,
    /// It is empty: participants type the code.
    Emptied,
    /// It is a solution that participants do not get.
    Withheld,
}

/// A cell of a program.
#[derive(Debug)]
pub(super) struct ProgramCell<'a> {
    pub(super) presence: Presence,
    /// The text of a text cell in the output.
    pub(super) text: Option<&'a str>,
    /// Code that is not C++, since it begins with a magic of the kernel.
    pub(super) magic: Option<&'a str>,
    /// The items of the code, even if the cell is emptied.
    pub(super) items: Vec<Item<'a>>,
    /// Whether it is shared by all files of the deck.
    pub(super) is_global: bool,
    /// Whether it begins a slide.
    pub(super) opens_section: bool,
    /// The author's name for the slide.
    pub(super) slide: Option<&'a str>,
    /// The number of its workshop, counted from 1; 0 outside of workshops.
    pub(super) workshop: usize,
}

impl ProgramCell<'_> {
    pub(super) fn is_shown(&self) -> bool {
        self.presence == Presence::Shown
    }

    /// Returns whether its definitions are moved to the header of the deck.
    pub(super) fn is_in_header(&self) -> bool {
        let is_there = self.presence != Presence::Withheld;
        self.is_global && self.workshop == 0 && self.text.is_none() && is_there
    }
}

/// Returns the cells of an output, in order.
pub(super) fn cells<'a>(
    deck: &'a Deck,
    notebook: &'a Notebook,
    kind: Kind,
    lang: Lang,
) -> Vec<ProgramCell<'a>> {
    let in_workshops = kinds::workshops(deck);
    let mut shown = notebook.cells.iter().peekable();
    let mut found: Vec<(ProgramCell, &str)> = Vec::new();
    let mut workshop = 0;
    let mut was_inside = false;
    for ((index, cell), inside) in deck.cells.iter().enumerate().zip(in_workshops) {
        let written = shown.next_if(|written| written.origin == index);
        let presence = match written {
            Some(written) => presence(cell, &written.source),
            None if is_withheld(cell, kind, lang, inside) => Presence::Withheld,
            None => continue,
        };
        workshop += usize::from(inside && !was_inside);
        was_inside = inside;
        let (magic, code) = magic_and_code(cell);
        let cell = ProgramCell {
            presence,
            text: (cell.kind == CellKind::Markdown)
                .then(|| written.map_or("", |written| written.source.as_str())),
            magic,
            items: Vec::new(),
            is_global: cell.has_tag("global"),
            opens_section: presence != Presence::Withheld
                && (cell.has_tag("slide") || cell.has_tag("subslide")),
            slide: slide_name(cell),
            workshop: if inside { workshop } else { 0 },
        };
        found.push((cell, code));
    }
    let variables: Vec<&str> = found
        .iter()
        .flat_map(|(_, code)| items(code, &|_| false))
        .filter(|item| matches!(item.kind, ItemKind::Variable | ItemKind::StaticVariable))
        .flat_map(|item| item.names)
        .collect();
    found
        .into_iter()
        .map(|(cell, code)| ProgramCell {
            items: items(code, &|name| variables.contains(&name)),
            ..cell
        })
        .collect()
}

/// Returns the presence of a cell that is in the notebook with this source.
fn presence(cell: &Cell, written: &str) -> Presence {
    let is_emptied =
        cell.kind == CellKind::Code && written.is_empty() && !cell.source.trim().is_empty();
    match is_emptied {
        true => Presence::Emptied,
        false => Presence::Shown,
    }
}

/// Returns the code of a cell: as that of a magic, or as C++.
fn magic_and_code(cell: &Cell) -> (Option<&str>, &str) {
    let code = match cell.kind {
        CellKind::Code => cell.source.as_str(),
        // The content of a raw cell is omitted, but the cell may begin a slide.
        CellKind::Markdown | CellKind::Raw => "",
    };
    match code.trim_start().starts_with('%') {
        true => (Some(code), ""),
        false => (None, code),
    }
}

fn slide_name(cell: &Cell) -> Option<&str> {
    let named = |key: &str| {
        cell.metadata
            .get(key)?
            .as_str()
            .filter(|name| !name.is_empty())
    };
    named("section_name").or_else(|| named("slide_id"))
}

/// Returns whether participants must write the content of this cell without getting an empty cell for it.
fn is_withheld(cell: &Cell, kind: Kind, lang: Lang, in_workshop: bool) -> bool {
    cell.kind == CellKind::Code
        && kinds::content(cell, kind, lang, in_workshop) == Content::Dropped
        && tags::language(cell).is_none_or(|language| language == lang.name())
        && (cell.has_tag("completed") || cell.has_tag("alt"))
        && !cell.has_tag("del")
}
