//! Workshops: the ranges of cells that the partial kind leaves to the students.

use super::{Cell, CellKind};

/// For every cell whether it lies in a workshop.
pub fn ranges(cells: &[Cell]) -> Vec<bool> {
    let mut is_inside = false;
    cells
        .iter()
        .map(|cell| {
            if opens(cell) {
                is_inside = true;
            } else if cell.has_tag("end-workshop") {
                is_inside = false;
            }
            is_inside
        })
        .collect()
}

fn opens(cell: &Cell) -> bool {
    let is_workshop_slide = || {
        let id = cell.metadata.get("slide_id").and_then(|id| id.as_str());
        (cell.has_tag("slide") || cell.has_tag("subslide"))
            && id.is_some_and(|id| id.starts_with("workshop-"))
    };
    cell.kind == CellKind::Markdown && (cell.has_tag("workshop") || is_workshop_slide())
}
