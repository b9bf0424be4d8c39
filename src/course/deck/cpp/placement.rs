//! Decides which items are placed outside of the functions of a program.

use super::cells::ProgramCell;
use super::items::{Item, ItemKind};
use super::names::refers;
use super::sections::Section;

/// The placement of every item of every cell: `true` means outside of functions.
#[derive(Debug)]
pub(super) struct Placement {
    outside: Vec<Vec<bool>>,
}

impl Placement {
    /// Decides about all items. A variable is local to its section, unless a later section or code outside of functions
    /// uses it.
    pub(super) fn of(cells: &[ProgramCell], sections: &[Section]) -> Self {
        let mut placement = Self {
            outside: cells
                .iter()
                .map(|cell| {
                    let is_outside = |item: &Item| match item.kind {
                        ItemKind::Include | ItemKind::Outside | ItemKind::StaticVariable => true,
                        ItemKind::Variable => cell.is_global,
                        ItemKind::Statement | ItemKind::Display => false,
                    };
                    cell.items.iter().map(is_outside).collect()
                })
                .collect(),
        };
        // Variables that were moved outside may use further variables.
        while placement.move_variables(cells, sections) {}
        placement
    }

    fn move_variables(&mut self, cells: &[ProgramCell], sections: &[Section]) -> bool {
        let mut moved = false;
        for section in sections {
            for cell in section.cells.clone() {
                for item in 0..cells[cell].items.len() {
                    let is_local_variable = cells[cell].items[item].kind == ItemKind::Variable
                        && !self.outside[cell][item];
                    if is_local_variable
                        && self.is_needed_outside(cells, sections, section, (cell, item))
                    {
                        self.outside[cell][item] = true;
                        moved = true;
                    }
                }
            }
        }
        moved
    }

    fn is_needed_outside(
        &self,
        cells: &[ProgramCell],
        sections: &[Section],
        section: &Section,
        variable: (usize, usize),
    ) -> bool {
        let names = &cells[variable.0].items[variable.1].names;
        let of_file = sections.iter().filter(|other| other.file == section.file);
        of_file.flat_map(|other| other.cells.clone()).any(|cell| {
            // The header is included before everything else, so moving a variable outside would not make it visible
            // there.
            if cells[cell].is_in_header() {
                return false;
            }
            let is_later = cell >= section.cells.end;
            cells[cell].items.iter().enumerate().any(|(index, item)| {
                let counts = is_later || self.outside[cell][index];
                counts
                    && (cell, index) != variable
                    && names.iter().any(|name| {
                        // A variable of the same name is not a use of this one, and neither is the value of an earlier
                        // variable.
                        let is_before = (cell, index) < variable && item.kind == ItemKind::Variable;
                        let is_other = is_before || (!is_later && item.names.contains(name));
                        !is_other && refers(&item.tokens, name)
                    })
            })
        })
    }

    /// Returns whether an item of a cell is outside of functions.
    pub(super) fn is_outside(&self, cell: usize, item: usize) -> bool {
        self.outside[cell][item]
    }

    /// Returns whether any item of a cell is outside of functions.
    pub(super) fn has_outside(&self, cell: usize) -> bool {
        self.outside[cell].contains(&true)
    }
}
