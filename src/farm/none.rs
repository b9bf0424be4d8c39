//! Stands for build farms in a clm without the feature `farm`: there are none.

#[path = "task.rs"]
mod task;

use std::convert::Infallible;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::worker::Outcome;

pub(crate) use task::{NotMade, Task};

/// A farm, of which there is none.
#[derive(Clone)]
pub(crate) struct Farm(Infallible);

impl Farm {
    pub(crate) fn is_available(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn makes_some_here(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn accepts(&self, _: &RelPath, _: &str) -> bool {
        match self.0 {}
    }

    pub(crate) fn has_room(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn round_trip(&self) -> Duration {
        match self.0 {}
    }

    pub(crate) fn take_warnings(&self) -> Vec<Diagnostic> {
        match self.0 {}
    }

    pub(crate) async fn run(&self, _: &Task, _: &CancellationToken) -> Result<Outcome, NotMade> {
        match self.0 {}
    }
}
