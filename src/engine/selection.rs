//! Selects the actions of a build.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::course::RelPath;
use crate::course::path::is_within;
use crate::diagnostic::{Diagnostic, Severity};
use crate::error::{Error, Result};
use crate::events::{ActionKind, Counts, Status};
use crate::plan::{Action, Plan, Recipes};
use crate::store::Latest;

use super::course::{Course, Specified};
use super::decide::{Decider, Force};
use super::explain::Finding;
use super::load::Loaded;
use super::publish::Publisher;
use super::shard::Own;
use super::sources::Sources;
use super::up_to_date::UpToDateActions;
use super::{BuildOptions, affected, explain};

/// What a selection is made from.
pub(super) struct Basis<'a> {
    /// The course.
    pub course: &'a Course,
    /// Its specification.
    pub specified: &'a Specified,
    /// What is asked for.
    pub options: &'a BuildOptions,
    /// The plan.
    pub loaded: &'a Loaded,
    /// Its recipes.
    pub recipes: &'a Recipes<'a>,
    /// Compares actions with the records.
    pub decider: &'a Decider<'a>,
    /// The sources.
    pub sources: &'a Sources,
    /// Actions that are known to be up to date.
    pub up_to_date: &'a UpToDateActions,
    /// The state of every action by the records, if it is known.
    pub findings: Option<&'a [Finding]>,
}

/// What the first round of a run chose of the actions that are asked for. The records change while actions are made, and
/// the shards of a build must all choose from the same records.
#[derive(Default)]
pub(super) struct Choice {
    own: Option<Own>,
    /// The plan of the first round, and whether each of its actions was affected.
    affected: Option<(Arc<Plan>, Vec<bool>)>,
    notes: Vec<Diagnostic>,
}

impl Choice {
    /// Returns for every action of a round whether it is selected.
    pub(super) fn select(
        &mut self,
        basis: &Basis<'_>,
        publisher: &mut Publisher,
    ) -> Result<Vec<bool>> {
        let plan = &basis.loaded.plan;
        let affected = self.affected(basis, publisher)?;
        let (options, decider) = (basis.options, basis.decider);
        let mut selected = selected(
            plan,
            options,
            decider,
            basis.up_to_date,
            affected.as_deref(),
        )?;
        let Some(shard) = options.shard else {
            return Ok(selected);
        };
        let own = match (&mut self.own, basis.findings) {
            (Some(own), _) => own,
            (own, Some(findings)) => {
                own.insert(Own::of(shard, &selected, findings, decider, basis.recipes)?)
            }
            (own, None) => {
                let findings = explain::findings(plan, decider, publisher)?;
                own.insert(Own::of(
                    shard,
                    &selected,
                    &findings,
                    decider,
                    basis.recipes,
                )?)
            }
        };
        own.restrict(plan, &mut selected);
        Ok(selected)
    }

    /// Returns notes for the user about what was chosen.
    pub(super) fn notes(&self) -> Vec<Diagnostic> {
        let affected = self.notes.iter().cloned();
        affected.chain(self.own.iter().map(Own::note)).collect()
    }

    /// Returns which actions are affected, if only these are asked for.
    fn affected(
        &mut self,
        basis: &Basis<'_>,
        publisher: &mut Publisher,
    ) -> Result<Option<Vec<bool>>> {
        let Some(asked) = &basis.options.affected else {
            return Ok(None);
        };
        let plan = &basis.loaded.plan;
        if let Some((first, marked)) = &self.affected {
            return Ok(Some(affected::again(first, marked, plan)));
        }
        let mut found = affected::find(
            &affected::Basis {
                course: basis.course,
                specified: basis.specified,
                sources: basis.sources,
                written_back: &publisher.written_back(),
                selection: &basis.options.selection,
                loaded: basis.loaded,
                latest: &|action| basis.decider.latest(action),
            },
            asked,
        )?;
        affected::protect(&mut found, basis.loaded, publisher)?;
        if let Some(reason) = &found.everything {
            let message = format!("{reason}: that may concern every output");
            self.notes.push(Diagnostic::new(Severity::Note, message));
        }
        self.affected = Some((Arc::clone(plan), found.marked.clone()));
        Ok(Some(found.marked))
    }
}

/// Returns for every action whether it is selected. No action in `up_to_date` reads one of the selected sources.
/// `affected` says which actions may be selected at all, if not all of them.
#[tracing::instrument(level = "debug", name = "select", skip_all)]
fn selected(
    plan: &Plan,
    options: &BuildOptions,
    decider: &Decider<'_>,
    up_to_date: &UpToDateActions,
    affected: Option<&[bool]>,
) -> Result<Vec<bool>> {
    let reads = |action: &Arc<Action>, path: &RelPath| -> Result<bool> {
        let finds = |latest: Cow<'_, Latest>| {
            let mut discovered = latest.discovered.iter();
            discovered.any(|(found, _)| is_within(found, path.as_str()))
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
    for (index, action) in plan.actions.iter().enumerate() {
        let is_affected = affected.is_none_or(|affected| affected[index]);
        let mut is_asked_for = options.only.is_empty() && is_affected;
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
                "`--force` takes sources: decks, notebooks, diagrams, data files, images, directories of them; alone it forces everything",
            ));
        }
    }
    let mut read = options.only.iter().zip(are_read);
    if let Some((path, _)) = read.find(|(_, is_read)| !is_read) {
        return Err(Error::usage(format!("no output depends on `{path}`"))
            .hint("`--only` takes sources: decks, notebooks, diagrams, data files, images, directories of them"));
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
