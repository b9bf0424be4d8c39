//! Renderers that are missing and will be installed: the next round makes the actions that need them.

use std::time::Duration;

use crate::events::ActionKind;
use crate::plan::{ActionIndex, Make};
use crate::worker::renderers;

use super::super::schedule::Site;
use super::{Execution, Queued};

impl Execution<'_, '_> {
    /// Returns the stale actions that this round can make. The next round makes those whose renderers are missing and will
    /// be installed.
    pub(super) fn without_missing(&mut self, stale: Vec<Queued>) -> Vec<Queued> {
        let Some((installed, tried)) = self.round.session.to_install.clone() else {
            return stale;
        };
        let mut others = Vec::with_capacity(stale.len());
        for queued in stale {
            match self.renderer(queued.index) {
                Some(name)
                    if queued.urgency.site != Site::Farm
                        && is_installable(&name)
                        && !installed.has(&name)
                        && !tried.contains(&name) =>
                {
                    self.ended.to_install.insert(name);
                    self.supersede(queued.index, Duration::ZERO);
                }
                _ => others.push(queued),
            }
        }
        others
    }

    /// Returns the name of the renderer that makes an action.
    pub(super) fn renderer(&self, index: ActionIndex) -> Option<String> {
        match self.round.plan.actions[index].kind {
            ActionKind::Html => Some(renderers::HTML.to_owned()),
            ActionKind::Plantuml => Some(renderers::PLANTUML.to_owned()),
            ActionKind::Drawio => Some(renderers::DRAWIO.to_owned()),
            ActionKind::Execute => match &self.round.recipes.recipe(index)?.make {
                Make::Execute(work) => Some(renderers::kernel(&work.kernel)),
                _ => None,
            },
            ActionKind::Deck | ActionKind::Copy => None,
        }
    }
}

/// Returns whether clm can install a renderer.
fn is_installable(name: &str) -> bool {
    matches!(
        name,
        renderers::HTML | renderers::PLANTUML | renderers::DRAWIO
    ) || matches!(renderers::kernel_of(name), Some("python3" | "deno"))
}
