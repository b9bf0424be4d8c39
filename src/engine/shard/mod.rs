//! Shards: several builds on different machines, each of which makes a part of the actions that must run.
//!
//! Every shard decides alone. It may use the course and the local records, which are the same for all shards, and
//! nothing that changes while they run, such as the content of a remote cache.

mod divide;

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Diagnostic, Severity};
use crate::error::Result;
use crate::plan::{Action, ActionIndex, Make, Plan, Recipes};

use super::decide::{Decider, Decision};
use super::explain::Finding;
use divide::{Work, divide};

/// The largest number of shards.
const MOST: u32 = 4096;
/// The number of milliseconds that an execution takes besides its cells, if it never ran.
const KERNEL_MS: u64 = 2_000;
/// The same for each of its cells.
const CELL_MS: u64 = 200;
/// The same for pages, besides their cells.
const PAGES_MS: u64 = 400;
/// The same for each cell of a page.
const SHOWN_CELL_MS: u64 = 10;
/// The same for a diagram.
const DIAGRAM_MS: u64 = 800;

/// One of several builds that together make everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shard {
    /// Its number, from 1.
    pub number: u32,
    /// How many shards there are.
    pub count: u32,
}

impl Shard {
    /// Parses `I/N`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let parts = text.split_once('/');
        let parts = parts.filter(|(number, count)| is_number(number) && is_number(count));
        let parsed = parts.and_then(|(number, count)| {
            // A number with too many digits is a number that is too large.
            let parse = |part: &str| (!part.is_empty()).then(|| part.parse().unwrap_or(u32::MAX));
            Some((parse(number)?, parse(count)?))
        });
        let Some((number, count)) = parsed else {
            return Err(
                "a shard is written `I/N`, such as `2/5` for the second of five".to_owned(),
            );
        };
        if !(1..=MOST).contains(&count) {
            return Err(format!("there can be 1 to {MOST} shards"));
        }
        if !(1..=count).contains(&number) {
            return Err(format!(
                "{count} shards have the numbers `1/{count}` to `{count}/{count}`"
            ));
        }
        Ok(Self { number, count })
    }
}

/// The actions of one shard.
#[derive(Debug)]
pub(super) struct Own {
    shard: Shard,
    /// Their identities.
    actions: HashSet<Arc<str>>,
    /// How many actions all shards run together.
    all: usize,
}

impl Own {
    /// Decides which of the selected actions a shard runs. `findings` has the state of every action by the records.
    pub(super) fn of(
        shard: Shard,
        selected: &[bool],
        findings: &[Finding],
        decider: &Decider<'_>,
        recipes: &Recipes<'_>,
    ) -> Result<Self> {
        let plan = recipes.plan();
        let run: Vec<ActionIndex> = will_run(plan, selected, findings)
            .into_iter()
            .enumerate()
            .filter(|(index, runs)| *runs && plan.actions[*index].needs_worker())
            .map(|(index, _)| index)
            .collect();
        let mut work = Vec::with_capacity(run.len());
        for index in &run {
            let action = &plan.actions[*index];
            // Indices of work are in the order of the plan.
            let among_work = |before: &ActionIndex| run.binary_search(before).ok();
            work.push(Work {
                key: action.key,
                source: &action.source,
                after: action.after.iter().filter_map(among_work).collect(),
                weight: expected_ms(*index, action, decider, recipes)?,
            });
        }
        let shards = divide(&work, shard.count);
        let own = run.iter().zip(shards);
        let own = own.filter(|(_, number)| number + 1 == shard.number);
        Ok(Self {
            shard,
            actions: own
                .map(|(index, _)| Arc::clone(&plan.actions[*index].id))
                .collect(),
            all: run.len(),
        })
    }

    /// Deselects all actions but those of the shard and what they need.
    pub(super) fn restrict(&self, plan: &Plan, selected: &mut [bool]) {
        for (action, is_selected) in plan.actions.iter().zip(selected.iter_mut()) {
            *is_selected &= self.actions.contains(&action.id);
        }
        for (index, action) in plan.actions.iter().enumerate().rev() {
            if selected[index] {
                for before in &action.after {
                    selected[*before] = true;
                }
            }
        }
    }

    /// Returns a note about how much work the shard has.
    pub(super) fn note(&self) -> Diagnostic {
        let Shard { number, count } = self.shard;
        let (own, all) = (self.actions.len(), self.all);
        let message =
            format!("shard {number} of {count} runs {own} of the {all} actions that must run");
        Diagnostic::new(Severity::Note, message)
    }
}

/// Returns for every action whether it will run: it is stale, or it waits for actions that will run.
fn will_run(plan: &Plan, selected: &[bool], findings: &[Finding]) -> Vec<bool> {
    let mut runs: Vec<bool> = Vec::with_capacity(plan.actions.len());
    for (index, action) in plan.actions.iter().enumerate() {
        let is_ready = |before: &ActionIndex| runs[*before] || is_known(&findings[*before]);
        runs.push(
            selected[index]
                && match &findings[index] {
                    Finding::Decided(decided) => matches!(decided.decision, Decision::Stale(_)),
                    Finding::Blocked(_) => action.after.iter().all(is_ready),
                },
        );
    }
    runs
}

/// Returns whether the records have the results of an action.
fn is_known(finding: &Finding) -> bool {
    match finding {
        Finding::Decided(decided) => matches!(
            decided.decision,
            Decision::Fresh(_) | Decision::Restorable(_)
        ),
        Finding::Blocked(_) => false,
    }
}

/// Returns how long an action will probably take: as long as the last time, or by its kind and the number of its cells.
fn expected_ms(
    index: ActionIndex,
    action: &Action,
    decider: &Decider<'_>,
    recipes: &Recipes<'_>,
) -> Result<u64> {
    let latest = decider.latest(&action.id)?;
    if let Some(known) = latest.map(|latest| latest.duration_ms).filter(|ms| *ms > 0) {
        return Ok(known);
    }
    let recipe = recipes.recipe(index);
    Ok(match recipe.as_ref().map(|recipe| &recipe.make) {
        Some(Make::Execute(work)) => KERNEL_MS + CELL_MS * work.cells.len() as u64,
        Some(Make::Html(work)) => {
            let cells = work.deck.cells.len() * work.kinds.len();
            PAGES_MS + SHOWN_CELL_MS * cells as u64
        }
        _ => DIAGRAM_MS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_a_number_of_a_number() {
        let shard = |number, count| Ok(Shard { number, count });
        assert_eq!(Shard::parse("1/1"), shard(1, 1));
        assert_eq!(Shard::parse("2/5"), shard(2, 5));
        assert_eq!(Shard::parse("4096/4096"), shard(4096, 4096));
        for wrong in [
            "", "/", "1", "a/b", "1/", "/2", "-1/2", "+1/2", "1/2/3", "1 / 2", "1.0/2",
        ] {
            let error = Shard::parse(wrong).unwrap_err();
            assert!(error.contains("`I/N`"), "{wrong}: {error}");
        }
        for wrong in ["1/0", "1/4097", "1/99999999999999999999"] {
            let error = Shard::parse(wrong).unwrap_err();
            assert!(error.contains("1 to 4096"), "{wrong}: {error}");
        }
        for wrong in ["0/3", "4/3", "99999999999999999999/3"] {
            let error = Shard::parse(wrong).unwrap_err();
            assert!(error.contains("`1/3` to `3/3`"), "{wrong}: {error}");
        }
    }
}
