//! A run that was interrupted and goes on counts as one.

use std::collections::HashMap;
use std::time::Duration;

use crate::events::Status;

/// What the interrupted parts of a run did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Earlier {
    /// How actions ended.
    pub statuses: HashMap<String, Status>,
    /// How many outputs were removed.
    pub removed: u64,
    /// How long they took.
    pub took: Duration,
    /// How many of them there were.
    pub parts: usize,
    /// The first thing that was made, and why.
    pub reason: Option<String>,
}

impl Earlier {
    /// How an action was made.
    pub(super) fn made(&self, action: &str) -> Option<Status> {
        let status = self.statuses.get(action).copied();
        status.filter(|status| status.is_made())
    }
}
