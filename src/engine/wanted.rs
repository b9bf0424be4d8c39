//! Which actions are asked for.

use std::collections::HashMap;

use crate::course::RelPath;
use crate::error::{Error, Result};
use crate::events::{ActionKind, Counts, Status};
use crate::plan::{Action, Plan};

use super::BuildOptions;
use super::decide::Decider;

/// Which actions are asked for.
#[tracing::instrument(level = "debug", name = "select", skip_all)]
pub fn wanted(plan: &Plan, options: &BuildOptions, decider: &Decider<'_>) -> Result<Vec<bool>> {
    let reads = |action: &Action, path: &RelPath| {
        let discovered = decider.latest(&action.id).is_some_and(|latest| {
            latest
                .discovered
                .iter()
                .any(|(found, _)| found == path.as_str())
        });
        action.reads(path) || discovered
    };
    let is_kind = |action: &Action| {
        !(options.fast && matches!(action.kind, ActionKind::Execute | ActionKind::Html))
    };
    let mut wanted: Vec<bool> = plan
        .actions
        .iter()
        .map(|action| {
            let is_asked_for =
                options.only.is_empty() || options.only.iter().any(|path| reads(action, path));
            is_kind(action) && is_asked_for
        })
        .collect();
    for path in &options.only {
        if !plan.actions.iter().any(|action| reads(action, path)) {
            return Err(Error::usage(format!("no output depends on `{path}`")).hint(
                "`--only` takes sources of the course: decks, diagrams, data files, images",
            ));
        }
    }
    // What an action waits for must be there, and what waits for it must follow.
    for (index, action) in plan.actions.iter().enumerate().rev() {
        if wanted[index] {
            for before in &action.after {
                wanted[*before] = true;
            }
        }
    }
    for (index, action) in plan.actions.iter().enumerate() {
        if action.after.iter().any(|before| wanted[*before]) && is_kind(action) {
            wanted[index] = true;
        }
    }
    Ok(wanted)
}

/// How the actions ended, in numbers.
pub fn count(statuses: &HashMap<String, Status>, removed: u64) -> Counts {
    let mut counts = Counts {
        removed,
        ..Counts::default()
    };
    for status in statuses.values() {
        counts.add(*status);
    }
    counts
}
