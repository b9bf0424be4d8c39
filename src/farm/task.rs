//! Some work for a farm.

use std::sync::Arc;

use crate::course::RelPath;
use crate::worker::Request;
use crate::worker::observed::Places;

/// Some work for a farm.
#[cfg_attr(
    not(feature = "farm"),
    expect(dead_code, reason = "only farms read it")
)]
pub(crate) struct Task {
    /// The work. Its directory for results is on this machine.
    pub request: Request,
    /// What the renderer has to be.
    pub fingerprint: String,
    /// What it was found to read before.
    pub known: Vec<RelPath>,
    /// Where the files of this machine are.
    pub places: Arc<Places>,
    /// Whether a result that the farm knows is not used.
    pub skips_cache: bool,
}

/// Some work was not done by the farm, for this reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotMade(pub String);
