//! Head start: the first jobs of a large course that was never built run while all others are planned.

use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::parallel;
use crate::plan::{self, Bases, Context, Memo, Plan, Recipes};

use super::snapshot::Snapshot;

/// With so many decks, planning takes longer than a head start costs.
const MANY_DECKS: usize = 100;
/// This number of decks, and of diagrams, keeps the workers of a processor busy until all others are planned.
const PER_PROCESSOR: usize = 16;

/// The actions that can start early.
pub(crate) struct Ahead<'a> {
    /// How these actions are made.
    pub recipes: &'a Recipes<'a>,
    /// The sources.
    pub snapshot: &'a Snapshot,
    /// Fires when the plan is complete.
    pub all_planned: CancellationToken,
}

/// Runs the first actions, and returns soon after the plan is complete.
pub(super) type HeadStart<'e> = &'e mut dyn FnMut(Ahead<'_>) -> Result<()>;

/// The inputs of a plan.
pub(super) struct Planning<'a> {
    /// The course.
    pub context: &'a Context<'a>,
    /// Digests of the layout, by source.
    pub bases: &'a Bases,
    /// Plans of sources that did not change.
    pub memo: &'a mut Memo,
    /// The sources.
    pub snapshot: &'a Snapshot,
}

impl Planning<'_> {
    /// Returns the plan. If there is much to plan, makes the first actions meanwhile.
    pub(super) fn plan(self, head_start: Option<HeadStart<'_>>) -> Result<Plan> {
        match head_start {
            Some(head_start) if self.context.layout.decks.len() >= MANY_DECKS => {
                self.plan_beside(head_start)
            }
            _ => Ok(plan::plan(self.context, self.bases, self.memo)),
        }
    }

    fn plan_beside(self, head_start: HeadStart<'_>) -> Result<Plan> {
        let (context, bases, memo) = (self.context, self.bases, self.memo);
        let some = PER_PROCESSOR * parallel::processors();
        let some = plan::ahead(context, bases, memo, some);
        let recipes = Recipes::new(context.clone(), &some);
        let all_planned = CancellationToken::new();
        let planned = all_planned.clone().drop_guard();
        let planning = move || {
            let _planned = planned;
            plan::plan(context, bases, memo)
        };
        let ahead = Ahead {
            recipes: &recipes,
            snapshot: self.snapshot,
            all_planned,
        };
        let (plan, begun) = parallel::join(planning, || head_start(ahead));
        begun.map(|()| plan)
    }
}
