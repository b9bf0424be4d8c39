//! The results of interrupted parts of a run: a run that is continued counts as one.

use std::collections::HashMap;
use std::time::Duration;

use crate::events::Status;

/// The results of the interrupted parts of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Earlier {
    /// How actions ended.
    pub statuses: HashMap<String, Status>,
    /// The number of outputs that were removed.
    pub removed: u64,
    /// The duration of all parts.
    pub took: Duration,
    /// The number of parts.
    pub parts: usize,
    /// The first action that was made, and why.
    pub reason: Option<String>,
}

impl Earlier {
    /// Returns the status of an action that was made in one of the parts.
    pub(super) fn made(&self, action: &str) -> Option<Status> {
        let status = self.statuses.get(action).copied();
        status.filter(|status| status.is_made())
    }
}
