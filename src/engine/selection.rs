//! Selects the actions of a build.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::course::RelPath;
use crate::error::{Error, Result};
use crate::events::{ActionKind, Counts, Status};
use crate::plan::{Action, Plan};
use crate::store::Latest;

use super::BuildOptions;
use super::decide::{Decider, Force};
use super::up_to_date::UpToDateActions;

/// Returns for every action whether it is selected. No action in `up_to_date` reads one of the selected sources.
#[tracing::instrument(level = "debug", name = "select", skip_all)]
pub(super) fn selected(
    plan: &Plan,
    options: &BuildOptions,
    decider: &Decider<'_>,
    up_to_date: &UpToDateActions,
) -> Result<Vec<bool>> {
    let reads = |action: &Arc<Action>, path: &RelPath| -> Result<bool> {
        let finds = |latest: Cow<'_, Latest>| {
            let mut discovered = latest.discovered.iter();
            discovered.any(|(found, _)| found == path.as_str())
        };
        if action.reads(path) || up_to_date.results(action).is_some() {
            return Ok(action.reads(path));
        }
        Ok(decider.latest(&action.id)?.is_some_and(finds))
    };
    let is_kind = |action: &Action| {
        !(options.fast && matches!(action.kind, ActionKind::Execute | ActionKind::Html))
    };
    let mut selected = Vec::with_capacity(plan.actions.len());
    let mut are_read = vec![false; options.only.len()];
    for action in &plan.actions {
        let mut is_asked_for = options.only.is_empty();
        for (path, is_read) in options.only.iter().zip(&mut are_read) {
            if reads(action, path)? {
                (is_asked_for, *is_read) = (true, true);
            }
        }
        selected.push(is_kind(action) && is_asked_for);
    }
    if let Force::Sources(sources) = &options.force {
        let is_read = |path: &RelPath| plan.actions.iter().any(|action| action.reads(path));
        if let Some(path) = sources.iter().find(|path| !is_read(path)) {
            return Err(Error::usage(format!("no output depends on `{path}`")).hint(
                "`--force` takes sources of the course: decks, diagrams, data files, images; alone it forces everything",
            ));
        }
    }
    let mut read = options.only.iter().zip(are_read);
    if let Some((path, _)) = read.find(|(_, is_read)| !is_read) {
        return Err(Error::usage(format!("no output depends on `{path}`"))
            .hint("`--only` takes sources of the course: decks, diagrams, data files, images"));
    }
    // What depends on a selected action must follow, and everything that these need must exist.
    for (index, action) in plan.actions.iter().enumerate() {
        if action.after.iter().any(|before| selected[*before]) && is_kind(action) {
            selected[index] = true;
        }
    }
    for (index, action) in plan.actions.iter().enumerate().rev() {
        if selected[index] {
            for before in &action.after {
                selected[*before] = true;
            }
        }
    }
    Ok(selected)
}

/// Counts the actions by how they ended.
pub(super) fn count(statuses: &HashMap<String, Status>, removed: u64) -> Counts {
    let mut counts = Counts {
        removed,
        ..Counts::default()
    };
    for status in statuses.values() {
        counts.add(*status);
    }
    counts
}
