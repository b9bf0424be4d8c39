//! Finds cells that cannot be compiled before participants have written the code that they use.

use std::collections::BTreeSet;

use super::cells::ProgramCell;
use super::items::{Item, ItemKind};
use super::names::{uses, uses_member};
use super::placement::Placement;
use super::sections::Section;

/// Returns for each cell whether it uses a missing definition.
pub(super) fn incomplete(
    cells: &[ProgramCell],
    sections: &[Section],
    placement: &Placement,
) -> Vec<bool> {
    let types: Vec<&str> = cells
        .iter()
        .flat_map(|cell| &cell.items)
        .filter(|item| item.kind == ItemKind::Outside)
        .flat_map(|item| item.names.iter().copied())
        .collect();
    let mut incomplete = vec![false; cells.len()];
    let mut missing = Missing::default();
    for section in sections {
        // Names that are defined only in the function of this section.
        let mut local: Vec<&str> = Vec::new();
        for at in section.cells.clone() {
            let cell = &cells[at];
            incomplete[at] = cell.is_shown() && missing.is_used_by(cell, &local);
            let is_there = cell.is_shown() && !incomplete[at];
            for (index, item) in cell.items.iter().enumerate() {
                local.retain(|name| !item.names.contains(name));
                if !is_there {
                    missing.add(item, &types);
                    continue;
                }
                missing.members.retain(|name| !item.members.contains(name));
                if placement.is_outside(at, index) {
                    missing.names.retain(|name| !item.names.contains(name));
                } else {
                    local.extend(&item.names);
                }
            }
        }
    }
    incomplete
}

/// Names whose definitions participants must still write.
#[derive(Default)]
struct Missing<'a> {
    names: BTreeSet<&'a str>,
    members: BTreeSet<&'a str>,
}

impl<'a> Missing<'a> {
    /// Adds what an item defines. `types` are all names that the deck defines outside of functions.
    fn add(&mut self, item: &Item<'a>, types: &[&str]) {
        self.names.extend(&item.names);
        self.members.extend(&item.members);
        // Uses of an operator do not contain its name. So if it is missing, uses of its operands' types count as
        // incomplete.
        let operands = item.operands.iter().filter(|name| types.contains(name));
        self.names.extend(operands);
    }

    /// Returns whether a cell uses a missing name that neither it nor its section (`local`) defines.
    fn is_used_by(&self, cell: &ProgramCell, local: &[&str]) -> bool {
        let items = &cell.items;
        let is_defined = |name: &str| {
            local.contains(&name) || items.iter().any(|item| item.names.contains(&name))
        };
        self.names
            .iter()
            .any(|name| !is_defined(name) && items.iter().any(|item| uses(&item.tokens, name)))
            || self
                .members
                .iter()
                .any(|name| items.iter().any(|item| uses_member(&item.tokens, name)))
    }
}
