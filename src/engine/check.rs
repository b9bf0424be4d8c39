//! Reports what a build would do, and why: for `--check`, `--dry-run`, `clm explain` and editors. Makes nothing.

use std::path::Path;
use std::sync::Arc;

use crate::course::RelPath;
use crate::course::layout::Selection;
use crate::course::path::name_of;
use crate::diagnostic::Diagnostic;
use crate::error::Result;
use crate::events::ActionKind;
use crate::plan::Recipes;

use super::course::Specified;
use super::decide::{Decider, Force};
use super::explain::{self, Finding};
use super::load::Loaded;
use super::publish::Publisher;
use super::selection::{Basis, Choice};
use super::sources::Sources;
use super::staging::Staging;
use super::up_to_date::UpToDateActions;
use super::{BuildOptions, Engine};

/// The result of `--check` and `--dry-run`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    /// The actions that are not up to date.
    pub stale: Vec<Stale>,
    /// Whether an error was reported.
    pub has_errors: bool,
}

/// An action that is not up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stale {
    /// Its identity.
    pub action: String,
    /// What it does; `None` for an output that is to be removed.
    pub kind: Option<ActionKind>,
    /// The file the author edits; `None` if it is gone.
    pub source: Option<RelPath>,
    /// Why.
    pub reasons: Vec<String>,
}

impl Stale {
    /// Returns the entry of an output that the next build removes.
    fn superfluous(path: &Arc<str>) -> Self {
        Self {
            action: format!("remove {path}"),
            kind: None,
            source: None,
            reasons: vec!["nothing makes this output any more".to_owned()],
        }
    }
}

/// A plan with the decision about each of its actions.
pub(super) struct AllDecided<'a> {
    pub loaded: &'a Loaded,
    pub recipes: &'a Recipes<'a>,
    pub decider: &'a Decider<'a>,
    pub findings: Vec<Finding>,
    pub specified: &'a Specified,
    pub sources: &'a Sources,
    pub up_to_date: &'a UpToDateActions,
    pub publisher: &'a mut Publisher,
    pub staging: &'a Staging,
}

impl AllDecided<'_> {
    /// Returns for every action whether it is selected, and reports notes about that.
    pub(super) fn select(&mut self, engine: &Engine, options: &BuildOptions) -> Result<Vec<bool>> {
        let basis = Basis {
            course: &engine.course,
            specified: self.specified,
            options,
            loaded: self.loaded,
            recipes: self.recipes,
            decider: self.decider,
            sources: self.sources,
            up_to_date: self.up_to_date,
            findings: Some(&self.findings),
        };
        let mut choice = Choice::default();
        let selected = choice.select(&basis, self.publisher)?;
        engine.report(None, &choice.notes());
        Ok(selected)
    }
}

impl Engine {
    /// Returns what a build would have to do. Nothing is published or started.
    pub(crate) fn check(&self, options: &BuildOptions) -> Result<Checked> {
        self.look_and_decide(&options.selection, &options.force, |decided| {
            self.checked(options, decided)
        })
    }

    fn checked(&self, options: &BuildOptions, mut decided: AllDecided<'_>) -> Result<Checked> {
        let mut has_errors = self.report(None, &decided.loaded.diagnostics);
        let selected = decided.select(self, options)?;
        let AllDecided {
            loaded,
            recipes,
            findings,
            sources,
            publisher,
            ..
        } = decided;
        let mut stale = Vec::new();
        let all = findings.iter().enumerate();
        for (index, finding) in all.filter(|(index, _)| selected[*index]) {
            let action = &loaded.plan.actions[index];
            let description = finding.description();
            for diagnostics in [&*action.warnings, &description.diagnostics(index, recipes)] {
                has_errors |= self.report(Some(&action.id), diagnostics);
            }
            if description.state == "fresh" {
                continue;
            }
            stale.push(Stale {
                action: action.id.to_string(),
                kind: Some(action.kind),
                source: Some(action.source.clone()),
                reasons: description.reasons,
            });
        }
        let records = sources.snapshot.take_changed_records();
        self.store.record_files(records)?;
        let is_part = !options.only.is_empty() || options.shard.is_some();
        if !is_part && !loaded.is_incomplete {
            let superfluous = publisher.superfluous(&loaded.all_destinations)?;
            stale.extend(superfluous.iter().map(Stale::superfluous));
        }
        Ok(Checked { stale, has_errors })
    }

    /// Returns the errors that are known from the course and the records. Nothing is published or started.
    pub(crate) fn errors(&self) -> Result<Vec<Diagnostic>> {
        self.look_and_decide(&Selection::default(), &Force::Nothing, |decided| {
            let planned = decided.loaded.diagnostics.iter();
            let mut errors: Vec<Diagnostic> = planned
                .filter(|diagnostic| diagnostic.is_error())
                .cloned()
                .collect();
            for error in explain::errors(&decided.findings, decided.recipes) {
                if !errors.contains(&error) {
                    errors.push(error);
                }
            }
            Ok(errors)
        })
    }

    /// Explains why the outputs of a source, or one output, are up to date or not.
    pub(crate) fn explain(&self, path: &Path) -> Result<Vec<explain::Explained>> {
        let name = name_of(&self.course.place.root, path);
        self.look_and_decide(&Selection::default(), &Force::Nothing, |decided| {
            let (plan, findings) = (&decided.loaded.plan, &decided.findings);
            explain::about(&name, plan, findings, decided.decider, decided.recipes)
        })
    }

    /// Plans the course as it is now, decides about every action by the records, and passes the decisions to
    /// `use_decided`. Nothing is started.
    pub(super) fn look_and_decide<T>(
        &self,
        selection: &Selection,
        force: &Force,
        use_decided: impl FnOnce(AllDecided<'_>) -> Result<T>,
    ) -> Result<T> {
        let specified = self.course.specification()?;
        let mut state = self.remember(&specified)?;
        let loaded = self.look(&specified, &mut state, selection)?;
        let snapshot = &state.sources.snapshot;
        let recipes = loaded.recipes(&specified, &self.course.settings, &state.sources);
        let decider = Decider::new(
            &self.store,
            snapshot,
            &state.latest,
            force.clone(),
            &recipes,
        );
        let findings = explain::findings(&loaded.plan, &decider, &mut state.publisher)?;
        use_decided(AllDecided {
            loaded: &loaded,
            recipes: &recipes,
            decider: &decider,
            findings,
            specified: &specified,
            sources: &state.sources,
            up_to_date: &state.up_to_date,
            publisher: &mut state.publisher,
            staging: &state.staging,
        })
    }
}
