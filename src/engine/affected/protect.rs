//! Outputs of earlier builds that a build of a part would remove or overwrite.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::error::Result;
use crate::plan::Action;

use super::super::load::Loaded;
use super::super::publish::Publisher;
use super::Found;

/// Marks everything if a build of what is marked would destroy an output of an action that it does not make: outputs
/// that nothing makes any more are removed, and others are overwritten by decks that take their places.
///
/// The touched files usually explain both. They do not if the last build was of another state of the course than the
/// earlier one, so that decks moved that are not touched.
pub(in super::super) fn protect(
    found: &mut Found,
    loaded: &Loaded,
    publisher: &mut Publisher,
) -> Result<()> {
    // With sources that cannot be read nothing is removed, and it is not known what is planned.
    if loaded.is_incomplete || !found.marked.contains(&false) {
        return Ok(());
    }
    let superfluous = publisher.superfluous(&loaded.all_destinations)?;
    let gone: HashSet<&str> = found.gone.iter().map(|path| &**path).collect();
    let mut lost = superfluous.iter().find(|path| !gone.contains(&***path));
    let actions = &loaded.plan.actions;
    let marked = actions.iter().zip(&found.marked);
    let made = marked.filter(|(_, marked)| **marked);
    let made = made.flat_map(|(action, _)| &action.outputs);
    let overwritten = made.flat_map(|output| &output.destinations).cloned();
    let paths: Vec<Arc<str>> = superfluous.iter().cloned().chain(overwritten).collect();
    if lost.is_none() {
        let makers = publisher.makers(&paths)?;
        let left: HashMap<&str, &Action> = actions
            .iter()
            .zip(&found.marked)
            .filter(|(_, marked)| !**marked)
            .map(|(action, _)| (&*action.id, &**action))
            .collect();
        let is_lost = |path: &Arc<str>, maker: &str| {
            let maker = left.get(maker);
            maker.is_some_and(|maker| !makes(maker, path))
        };
        let mut known = paths.iter().zip(&makers);
        let found = known.find(|(path, maker)| {
            let maker = maker.as_deref();
            maker.is_some_and(|maker| is_lost(path, maker))
        });
        lost = found.map(|(path, _)| path);
    }
    if let Some(path) = lost {
        let reason =
            format!("an earlier build made `{path}` of something else than the range says");
        found.everything.get_or_insert(reason);
        found.marked.fill(true);
    }
    Ok(())
}

fn makes(action: &Action, path: &Arc<str>) -> bool {
    let mut outputs = action.outputs.iter();
    outputs.any(|output| output.destinations.contains(path))
}
