//! Recipes on demand: they are planned again from their source when they are needed, instead of being stored in the
//! plan.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};

use crate::parallel::{self, lock};

use super::action::{ActionIndex, Recipe};
use super::rules::surroundings::Rendered;
use super::{Context, Plan, Subject, recipes_of, rendered};

/// How many sources' recipes are kept in memory. A few are enough, since neighbours are requested one after the other.
const KEPT: usize = 8;

/// Makes the recipes of a plan.
pub(crate) struct Recipes<'a> {
    context: Context<'a>,
    plan: &'a Plan,
    rendered: OnceLock<Rendered>,
    /// The recipes that were requested last, by the index of the first action of their source.
    kept: Mutex<VecDeque<(ActionIndex, Vec<Arc<Recipe>>)>>,
}

impl<'a> Recipes<'a> {
    /// Returns the recipes of a plan that was made in the same context.
    pub(crate) fn new(context: Context<'a>, plan: &'a Plan) -> Self {
        Self {
            context,
            plan,
            rendered: OnceLock::new(),
            kept: Mutex::default(),
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
        let (first, subject) = self.source(index)?;
        let mut kept = lock(&self.kept);
        if let Some((_, recipes)) = kept.iter().find(|(known, _)| *known == first) {
            return self.checked(index, recipes.get(index - first)?);
        }
        let recipes: Vec<Arc<Recipe>> = self
            .make(first, subject)
            .into_iter()
            .map(Arc::new)
            .collect();
        let recipe = recipes.get(index - first).cloned();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((first, recipes));
        self.checked(index, &recipe?)
    }

    /// Calls `take` for the recipes of many actions, on several threads, and returns the results in order. Actions of one
    /// source have to follow each other, since their recipes are made together. A recipe is `None` if files changed since
    /// the action was planned.
    pub(crate) fn each<R: Send>(
        &self,
        actions: &[ActionIndex],
        take: impl Fn(Option<&Recipe>) -> R + Sync,
    ) -> Vec<R> {
        let source = |index: ActionIndex| self.source(index).map(|(first, _)| first);
        let groups: Vec<_> = actions
            .chunk_by(|one, next| source(*one) == source(*next))
            .collect();
        let of_group = |group: &&[ActionIndex]| {
            let made = group.first().and_then(|index| self.source(*index));
            let made = made.map(|(first, subject)| (first, self.make(first, subject)));
            let own = |index: ActionIndex| {
                let (first, recipes) = made.as_ref()?;
                let recipe = recipes.get(index - first)?;
                self.is_as_planned(index, recipe).then_some(recipe)
            };
            let (first_project, projects) = &self.plan.projects;
            let recipe = |index: ActionIndex| match index.checked_sub(*first_project) {
                Some(number) => projects.get(number).map(|recipe| &**recipe),
                None => own(index),
            };
            group.iter().map(|index| take(recipe(*index))).collect()
        };
        let results: Vec<Vec<R>> = parallel::each(&groups, of_group);
        results.into_iter().flatten().collect()
    }

    /// Returns the source of an action, and the index of its first action; `None` if it belongs to no single source.
    fn source(&self, index: ActionIndex) -> Option<(ActionIndex, Subject)> {
        if index >= self.plan.projects.0 {
            return None;
        }
        let after = self
            .plan
            .subjects
            .partition_point(|(first, _)| *first <= index);
        self.plan.subjects.get(after.checked_sub(1)?).copied()
    }

    fn checked(&self, index: ActionIndex, recipe: &Arc<Recipe>) -> Option<Arc<Recipe>> {
        self.is_as_planned(index, recipe)
            .then(|| Arc::clone(recipe))
    }

    fn is_as_planned(&self, index: ActionIndex, recipe: &Recipe) -> bool {
        let action = self.plan.actions.get(index);
        action.is_some_and(|action| *recipe.id == *action.id && recipe.parts.key() == action.key)
    }

    fn make(&self, first: ActionIndex, subject: Subject) -> Vec<Recipe> {
        let layout = self.context.layout;
        let rendered = || self.rendered.get_or_init(|| rendered(layout));
        recipes_of(&self.context, subject, rendered, first).0
    }
}
