//! Finds cells that cannot be compiled before participants have written the code that they use.

use super::cells::{Presence, ProgramCell};
use super::items::ItemKind;
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
    let mut missing: Vec<&str> = Vec::new();
    let mut missing_members: Vec<&str> = Vec::new();
    for section in sections {
        // Names that are defined only in the function of this section.
        let mut local: Vec<&str> = Vec::new();
        for at in section.cells.clone() {
            let cell = &cells[at];
            let own = |name: &str| cell.items.iter().any(|item| item.names.contains(&name));
            let lacks = |name: &&str| {
                let is_used = || cell.items.iter().any(|item| uses(&item.tokens, name));
                !local.contains(name) && !own(name) && is_used()
            };
            let lacks_member = |name: &&str| {
                cell.items
                    .iter()
                    .any(|item| uses_member(&item.tokens, name))
            };
            let is_there = cell.presence == Presence::Shown
                && !missing.iter().any(lacks)
                && !missing_members.iter().any(lacks_member);
            incomplete[at] = cell.is_shown() && !is_there;
            for (index, item) in cell.items.iter().enumerate() {
                let is_outside = placement.is_outside(at, index);
                for name in &item.names {
                    local.retain(|other| other != name);
                    match (is_there, is_outside) {
                        (true, true) => missing.retain(|other| other != name),
                        (true, false) => local.push(name),
                        (false, _) => missing.push(name),
                    }
                }
                for name in &item.members {
                    missing_members.retain(|other| other != name);
                    if !is_there {
                        missing_members.push(name);
                    }
                }
                // Uses of an operator do not contain its name. So if it is missing, uses of its operands' types count
                // as incomplete.
                let operands = item.operands.iter().filter(|name| types.contains(name));
                if is_there {
                    continue;
                }
                missing.extend(operands);
            }
            missing.sort_unstable();
            missing.dedup();
        }
    }
    incomplete
}
