//! Decides which actions are fresh, restorable or stale, and why.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::error::Result;
use crate::events::ActionKind;
use crate::plan::key::{differences, with_results};
use crate::plan::{Action, ActionIndex, ActionKey, Files as _, Recipe, Recipes};
use crate::store::{CachedResult, Latest, Origin, Parts, ResultStatus, Store};
use crate::worker::observed::Places;

use super::partial_map::PartialMap;
use super::publish::Publisher;
use super::snapshot::Snapshot;

/// Digests of an action's results by name.
pub(crate) type Results = Arc<[(Arc<str>, Digest)]>;

/// Returns the results of an action. Names are shared with the outputs of the action, since they are nearly always the
/// same.
pub(crate) fn results_of<'n>(
    action: &Action,
    results: impl Iterator<Item = (&'n str, Digest)>,
) -> Results {
    let name = |name: &str| {
        let own = action.outputs.iter().find(|output| *output.name == *name);
        own.map_or_else(|| name.into(), |output| Arc::clone(&output.name))
    };
    results
        .map(|(known, digest)| (name(known), digest))
        .collect()
}

/// Returns the digest of the result with this name.
pub(super) fn digest_of(results: &Results, name: &str) -> Option<Digest> {
    let found = results.iter().find(|(known, _)| **known == *name);
    found.map(|(_, digest)| *digest)
}

/// What has to be done about an action.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Nothing: the outputs are in their places.
    Fresh(Results),
    /// Its result is known, but outputs are missing or differ: they are restored.
    Restorable(Results),
    /// Its cached result is a failure.
    Remembered(CachedResult),
    /// It must run, for these reasons.
    Stale(Vec<String>),
    /// Planning found that it cannot run.
    Invalid(Vec<Diagnostic>),
}

/// A decision and the key for which it was made.
#[derive(Debug)]
pub(crate) struct Decided {
    /// The key, including the results of other actions.
    pub key: ActionKey,
    /// What has to be done.
    pub decision: Decision,
    /// What is recorded about the making of the known result.
    pub made: Option<Made>,
    /// Warnings of the known result, to be reported again.
    pub replayed: Vec<Diagnostic>,
    /// Files that the known result was found to depend on.
    pub discovered: Vec<(String, Option<Digest>)>,
}

/// Returns the components of a key that come from the sources of the action.
fn own_parts(recipe: Option<&Recipe>) -> Parts {
    recipe
        .map(|recipe| recipe.parts.parts().to_vec())
        .unwrap_or_default()
}

/// Adds the components of a key that come from other actions.
fn with_upstream(mut parts: Parts, upstream: &[&Results]) -> Parts {
    let results = upstream.iter().flat_map(|results| results.iter());
    parts.extend(results.map(|(name, digest)| (name.to_string(), digest.to_string())));
    parts
}

/// How a known result was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Where it was made; `None` if here.
    pub origin: Option<Origin>,
}

/// The cached results that are not used.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Force {
    /// All are used.
    #[default]
    Nothing,
    /// None are used.
    Everything,
    /// Those of actions that read these files are not used.
    Sources(Vec<RelPath>),
    /// Those of executions are not used.
    Executions,
}

impl Force {
    fn applies_to(&self, action: &Action) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Sources(paths) => paths.iter().any(|path| action.reads(path)),
            Self::Executions => action.kind == ActionKind::Execute,
        }
    }
}

/// Compares actions with the records.
pub(crate) struct Decider<'a> {
    store: &'a Store,
    snapshot: &'a Snapshot,
    latest: &'a PartialMap<Latest>,
    force: Force,
    recipes: &'a Recipes<'a>,
}

impl<'a> Decider<'a> {
    /// Returns a decider for the records of the store. `latest` contains the inputs that every action was last made of.
    pub(crate) fn new(
        store: &'a Store,
        snapshot: &'a Snapshot,
        latest: &'a PartialMap<Latest>,
        force: Force,
        recipes: &'a Recipes<'a>,
    ) -> Self {
        Self {
            store,
            snapshot,
            latest,
            force,
            recipes,
        }
    }

    /// Returns what is recorded about the last run of an action, if there was one.
    pub(crate) fn latest(&self, action: &str) -> Result<Option<Cow<'_, Latest>>> {
        let ask = || self.store.latest_of(action);
        Ok(self.latest.get(action, ask)?)
    }

    /// Returns whether the cached result of an action must not be used.
    pub(crate) fn forces(&self, action: &Action) -> bool {
        self.force.applies_to(action)
    }

    /// Returns the components of an action's key, including those from other actions. Its own ones are missing if its
    /// files changed since it was planned.
    pub(crate) fn parts(&self, index: ActionIndex, upstream: &[&Results]) -> Parts {
        let recipe = self.recipes.recipe(index);
        with_upstream(own_parts(recipe.as_deref()), upstream)
    }

    /// Returns the same for many actions. Those of one source have to follow each other.
    pub(crate) fn parts_of_each<'r>(
        &self,
        actions: &[ActionIndex],
        upstream: impl Fn(ActionIndex) -> Vec<&'r Results>,
    ) -> Vec<Parts> {
        let own = self.recipes.each(actions, own_parts);
        let all = own.into_iter().zip(actions);
        all.map(|(own, index)| with_upstream(own, &upstream(*index)))
            .collect()
    }

    /// Decides about an action. `upstream` contains the results of the actions it waits for.
    pub(crate) fn decide(
        &self,
        index: ActionIndex,
        upstream: &[&Results],
        publisher: &mut Publisher,
        may_force: bool,
    ) -> Result<Decided> {
        let action = &self.recipes.plan().actions[index];
        let results = upstream.iter().flat_map(|results| results.iter());
        let key = with_results(action.key, results);
        let mut replayed = Vec::new();
        let mut discovered = Vec::new();
        let mut made = None;
        let decision = if let Some(errors) = &action.errors {
            Decision::Invalid(errors.to_vec())
        } else if may_force && self.force.applies_to(action) {
            Decision::Stale(vec!["it was asked for with --force".to_owned()])
        } else if action.kind == ActionKind::Copy {
            self.decide_copy(index, action, publisher)?
        } else {
            let mut known = self.store.cached(&key)?;
            // A result for which all discovered inputs are unchanged.
            let current = known
                .iter()
                .position(|result| self.changed_discovery(&result.discovered).is_none());
            let result = current.map(|current| known.swap_remove(current));
            made = result.as_ref().map(|result| Made {
                duration_ms: result.duration_ms,
                origin: result.origin.clone(),
            });
            match result {
                Some(result) if result.status == ResultStatus::Failed => {
                    Decision::Remembered(result)
                }
                Some(result) => {
                    let outputs = result.outputs.iter();
                    let results = outputs.map(|(name, digest, _)| (name.as_str(), *digest));
                    let results = results_of(action, results);
                    replayed = result.diagnostics;
                    discovered = result.discovered;
                    self.decide_known(action, results, publisher)?
                }
                None => match self.unread(&known) {
                    Some(error) => Decision::Invalid(vec![error]),
                    None => Decision::Stale(self.reasons(index, action, upstream)?),
                },
            }
        };
        Ok(Decided {
            key,
            decision,
            made,
            replayed,
            discovered,
        })
    }

    fn decide_copy(
        &self,
        index: ActionIndex,
        action: &Action,
        publisher: &mut Publisher,
    ) -> Result<Decision> {
        let Some((_, digest)) = action.inputs.first() else {
            return Ok(Decision::Invalid(Vec::new()));
        };
        let results = results_of(action, [("file", *digest)].into_iter());
        if are_fresh(action, &results, publisher)? {
            return Ok(Decision::Fresh(results));
        }
        Ok(match self.latest(&action.id)? {
            Some(latest) if latest.key == action.key => {
                Decision::Stale(vec!["an output is missing or was changed".to_owned()])
            }
            _ => Decision::Stale(self.reasons(index, action, &[])?),
        })
    }

    fn decide_known(
        &self,
        action: &Action,
        results: Results,
        publisher: &mut Publisher,
    ) -> Result<Decision> {
        let has_all = action
            .outputs
            .iter()
            .all(|output| results.iter().any(|(name, _)| **name == *output.name));
        if !has_all {
            return Ok(Decision::Stale(vec![
                "its cached result is incomplete".to_owned(),
            ]));
        }
        if !action.needs_worker() {
            return Ok(if are_fresh(action, &results, publisher)? {
                Decision::Fresh(results)
            } else {
                Decision::Stale(vec!["an output is missing or was changed".to_owned()])
            });
        }
        // The results of an execution are only in the blob store.
        let is_kept = |results: &Results| -> Result<bool> {
            for (_, digest) in results.iter() {
                if !self.store.has(digest)? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        if action.kind == ActionKind::Execute {
            return Ok(if is_kept(&results)? {
                Decision::Fresh(results)
            } else {
                Decision::Stale(vec!["its cached result is lost".to_owned()])
            });
        }
        if are_fresh(action, &results, publisher)? {
            Ok(Decision::Fresh(results))
        } else if is_kept(&results)? {
            Ok(Decision::Restorable(results))
        } else {
            Ok(Decision::Stale(vec![
                "its cached result is lost".to_owned(),
            ]))
        }
    }

    /// Returns the error about a file that known results were found to depend on, and that exists but cannot be read.
    fn unread(&self, known: &[CachedResult]) -> Option<Diagnostic> {
        let mut discovered = known.iter().flat_map(|result| &result.discovered);
        discovered.find_map(|(path, _)| self.snapshot.failure(&RelPath::new(path).ok()?))
    }

    /// Returns what changed of the files that a result was found to depend on; `None` if nothing did.
    pub(crate) fn changed_discovery(
        &self,
        discovered: &[(String, Option<Digest>)],
    ) -> Option<String> {
        discovered.iter().find_map(|(path, before)| {
            let Ok(name) = RelPath::new(path) else {
                return Some(format!("`{path}`, which it reads, changed"));
            };
            if self.snapshot.places().is_absent(&name) {
                return None;
            }
            let now = self.snapshot.digest(&name);
            (now != *before).then(|| Places::change(&name, before.is_some(), now.is_some()))
        })
    }

    /// Returns these discovered files as they are now. Those of an environment that is not installed are taken for
    /// unchanged.
    pub(crate) fn as_now<'d>(
        &self,
        discovered: &'d [(String, Option<Digest>)],
    ) -> Vec<(&'d str, Option<Digest>)> {
        let now = |path: &str, before: Option<Digest>| {
            let name = RelPath::new(path).ok()?;
            match self.snapshot.places().is_absent(&name) {
                true => before,
                false => self.snapshot.digest(&name),
            }
        };
        let files = discovered.iter();
        files
            .map(|(path, before)| (path.as_str(), now(path, *before)))
            .collect()
    }

    fn reasons(
        &self,
        index: ActionIndex,
        action: &Action,
        upstream: &[&Results],
    ) -> Result<Vec<String>> {
        let Some(latest) = self.latest(&action.id)? else {
            return Ok(vec!["it was never built".to_owned()]);
        };
        let before = self.store.latest_parts(&action.id)?;
        let mut reasons = differences(&before, &self.parts(index, upstream));
        if reasons.is_empty() {
            reasons.extend(self.changed_discovery(&latest.discovered));
        }
        if reasons.is_empty() {
            reasons.push("its result is not in the cache".to_owned());
        }
        Ok(reasons)
    }
}

fn are_fresh(action: &Action, results: &Results, publisher: &mut Publisher) -> Result<bool> {
    for output in &action.outputs {
        let Some(digest) = digest_of(results, &output.name) else {
            return Ok(false);
        };
        for destination in &output.destinations {
            if !publisher.is_fresh(destination, digest)?
                && !publisher.is_refused(destination, digest)
            {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
