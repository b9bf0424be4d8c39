//! Actions on a build farm: which of them may be made there, and what happens if the farm does not make them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug_span};

use crate::course::RelPath;
use crate::events::ActionKind;
use crate::farm::{Farm, Task};
use crate::plan::ActionIndex;
use crate::worker::pool::Pool;
use crate::worker::renderers::{Renderers, kernel_of};
use crate::worker::request::OutcomeStatus;
use crate::worker::{Outcome, Progress, ProgressSink, Request, WorkerError};

use super::super::schedule::{FarmNow, Site, Workers};
use super::{Execution, Queued, Session, millis};

/// What the progress of an action says that a farm has.
const THERE: &str = "on the farm";
/// What it says when the action has come back.
const HERE: &str = "here";

/// A farm, and the renderers with which its results have to agree.
#[derive(Clone)]
pub(crate) struct FarmUse {
    /// The farm.
    pub farm: Farm,
    /// The renderers of this machine, installed or expected.
    pub renderers: Arc<Renderers>,
}

impl Session<'_> {
    /// Returns the workers that are there.
    pub(super) fn workers<'s>(&self, here: &'s dyn Fn(ActionKind) -> usize) -> Workers<'s> {
        let farm = self.farm.as_ref().map(|used| &used.farm);
        let now = |farm: &Farm| FarmNow {
            has_room: farm.has_room(),
            shares: farm.makes_some_here(),
            round_trip_ms: millis(farm.round_trip()),
        };
        Workers {
            here,
            farm: farm.filter(|farm| farm.is_available()).map(now),
        }
    }
}

impl Execution<'_, '_> {
    /// Returns where an action may be made.
    pub(super) fn site(&self, index: ActionIndex) -> Site {
        let Some(FarmUse { farm, renderers }) = &self.round.session.farm else {
            return Site::Here;
        };
        let Some(renderer) = self.renderer(index) else {
            return Site::Here;
        };
        // In a folder, cells run where the author's files are.
        let is_folder = self.round.session.course.place.is_folder();
        if is_folder && kernel_of(&renderer).is_some() {
            return Site::Here;
        }
        // The variables of `.env` files may be secrets, and do not leave the machine.
        let has_secrets = kernel_of(&renderer).is_some() && !renderers.variables.is_empty();
        if has_secrets || !farm.accepts(&self.round.plan.actions[index].source, &renderer) {
            return Site::Here;
        }
        match (
            renderers.has(&renderer),
            renderers.expected.contains_key(&renderer),
        ) {
            (true, _) => Site::Anywhere,
            (false, true) => Site::Farm,
            (false, false) => Site::Here,
        }
    }

    /// Returns the work of a request for the farm.
    pub(super) fn task(&self, queued: &Queued, request: &Request) -> Option<(Farm, Task, bool)> {
        let FarmUse { farm, renderers } = self.round.session.farm.clone()?;
        let renderer = request.work.renderer();
        let is_installed = renderers.has(&renderer);
        let known = self.round.decider.latest(&queued.action.id).ok().flatten();
        let known = known
            .into_iter()
            .flat_map(|latest| latest.into_owned().discovered);
        let paths = known.filter_map(|(path, _)| RelPath::new(&path).ok());
        let task = Task {
            request: request.clone(),
            fingerprint: renderers.fingerprint(&renderer)?.to_owned(),
            known: paths.collect(),
            places: Arc::new(self.round.snapshot.places().clone()),
            skips_cache: self.is_forced(&queued.action),
        };
        Some((farm, task, is_installed))
    }
}

/// Does some work on the farm; what the farm does not do, or finds an error in, is done here: an error of the farm's machines
/// must not be taken for one of the author.
pub(super) async fn run(
    (farm, task, is_installed): (Farm, Task, bool),
    pool: &Pool,
    progress: ProgressSink,
    cancel: CancellationToken,
) -> Result<Outcome, WorkerError> {
    let at = |label: &str| Progress {
        label: label.to_owned(),
        ..Progress::default()
    };
    progress(at(THERE));
    let span = debug_span!("farm", kind = task.request.work.kind().name());
    let seen = pool.show_elsewhere(&task.request, THERE);
    let made = farm.run(&task, &cancel).instrument(span).await;
    drop(seen);
    let reason = match made {
        Ok(outcome) if outcome.status != OutcomeStatus::Failed || !is_installed => {
            return Ok(outcome);
        }
        Ok(_) => "it failed there".to_owned(),
        Err(not_made) => not_made.0,
    };
    tracing::debug!(source = %task.request.source, reason, "made here instead of on the farm");
    progress(at(HERE));
    clear(&task.request.out).map_err(|error| WorkerError::Io(error.to_string()))?;
    pool.run(&task.request, progress, cancel).await
}

/// Removes what an attempt wrote.
fn clear(dir: &Path) -> std::io::Result<()> {
    std::fs::remove_dir_all(dir)?;
    std::fs::create_dir(dir)
}

/// Returns how long an action took where it was made, if not here.
pub(super) fn took(outcome: &Outcome) -> Option<Duration> {
    let took = outcome.elsewhere.as_ref()?.took;
    (took > Duration::ZERO).then_some(took)
}
