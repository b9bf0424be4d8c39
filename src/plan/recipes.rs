//! Recipes on demand: they are planned again from their source when they are needed, instead of being stored in the
//! plan.

use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use super::action::{ActionIndex, Recipe};
use super::rules::surroundings::Rendered;
use super::{Context, Plan, Subject, recipes_of, rendered};

/// How many sources' recipes are kept in memory. A few are enough, since neighbours are requested one after the other.
const KEPT: usize = 8;

/// Makes the recipes of a plan.
pub(crate) struct Recipes<'a> {
    context: Context<'a>,
    plan: &'a Plan,
    rendered: OnceCell<Rendered>,
    /// The recipes that were requested last, by the index of the first action of their source.
    kept: RefCell<VecDeque<(ActionIndex, Vec<Arc<Recipe>>)>>,
}

impl<'a> Recipes<'a> {
    /// Returns the recipes of a plan that was made in the same context.
    pub(crate) fn new(context: Context<'a>, plan: &'a Plan) -> Self {
        Self {
            context,
            plan,
            rendered: OnceCell::new(),
            kept: RefCell::default(),
        }
    }

    /// Returns the plan.
    pub(crate) fn plan(&self) -> &'a Plan {
        self.plan
    }

    /// Returns the recipe of an action, or `None` if its files changed since it was planned.
    pub(crate) fn recipe(&self, index: ActionIndex) -> Option<Arc<Recipe>> {
        let (first, projects) = &self.plan.projects;
        if index >= *first {
            return projects.get(index - first).cloned();
        }
        let after = self
            .plan
            .subjects
            .partition_point(|(first, _)| *first <= index);
        let (first, subject) = self.plan.subjects.get(after.checked_sub(1)?)?;
        let recipe = self.of(*first, *subject, index - first)?;
        let action = self.plan.actions.get(index)?;
        (*recipe.id == *action.id && recipe.parts.key() == action.key).then_some(recipe)
    }

    fn of(&self, first: ActionIndex, subject: Subject, number: usize) -> Option<Arc<Recipe>> {
        let mut kept = self.kept.borrow_mut();
        if let Some((_, recipes)) = kept.iter().find(|(known, _)| *known == first) {
            return recipes.get(number).cloned();
        }
        let recipes: Vec<Arc<Recipe>> = self
            .make(first, subject)
            .into_iter()
            .map(Arc::new)
            .collect();
        let recipe = recipes.get(number).cloned();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((first, recipes));
        recipe
    }

    fn make(&self, first: ActionIndex, subject: Subject) -> Vec<Recipe> {
        let layout = self.context.layout;
        let rendered = || self.rendered.get_or_init(|| rendered(layout));
        recipes_of(&self.context, subject, rendered, first).0
    }
}
