//! The single execution that is shared by all kinds of a deck: the cells to run, and the assignment of their results.

use std::collections::HashMap;

use serde_json::Value;

use super::{CellKind, Deck, Notebook, kinds, text};
use crate::course::{Kind, Lang, ProgLang};

/// A code cell to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionCell {
    /// Index of the cell in [`Deck::cells`].
    pub origin: usize,
    /// Its source.
    pub source: String,
    /// Its number in the deck, counted from 1.
    pub number: u32,
    /// The line of its first source line in the author's file.
    pub line: Option<u32>,
    /// Its jumps in the line numbers: see [`Cell::jumps`](super::Cell::jumps).
    pub jumps: Box<[(u32, u32)]>,
    /// Whether an exception is expected, so that the cell may fail.
    pub may_fail: bool,
}

impl ExecutionCell {
    /// Returns the cell to run for the cell of a deck with this index.
    pub(crate) fn of(origin: usize, cell: &super::Cell, may_fail: bool) -> Self {
        Self {
            origin,
            source: cell.source.clone(),
            number: cell.number,
            line: cell.line,
            jumps: cell.jumps.clone(),
            may_fail,
        }
    }
}

/// Returns the cells to run: those of the recording, which contains all code except the `start` cells. Empty cells are
/// omitted.
pub fn execution_cells(deck: &Deck, lang: Lang, _prog_lang: ProgLang) -> Vec<ExecutionCell> {
    let runs = |cell: &super::Cell| {
        cell.kind == CellKind::Code
            && !text::is_blank(&cell.source)
            && !cell.has_tag("skip-execution")
            && kinds::content(cell, Kind::Recording, lang, false) == kinds::Content::Kept
    };
    deck.cells
        .iter()
        .enumerate()
        .filter(|(_, cell)| runs(cell))
        .map(|(origin, cell)| ExecutionCell::of(origin, cell, cell.has_tag("raises-exception")))
        .collect()
}

/// Adds results to a notebook: `outputs` has one entry for each of `cells`. Cells that hide their results stay empty.
pub fn attach(
    notebook: &mut Notebook,
    cells: &[ExecutionCell],
    outputs: &[(Vec<Value>, Option<i64>)],
) {
    let results: HashMap<usize, &(Vec<Value>, Option<i64>)> =
        cells.iter().map(|cell| cell.origin).zip(outputs).collect();
    for cell in &mut notebook.cells {
        if cell.kind != CellKind::Code || cell.clear_outputs {
            continue;
        }
        if let Some((outputs, count)) = results.get(&cell.origin) {
            cell.outputs.clone_from(outputs);
            cell.execution_count = *count;
        }
    }
}
