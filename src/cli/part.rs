//! Options of `clm build` for a part of the work: one shard of several, or what a range of commits touches.

use clap::Args;

use crate::engine::Shard;

/// Which part of the work to do.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct PartArgs {
    /// Run only part I of N of the actions that must run, and publish only their outputs: for N machines that fill one
    /// cache
    #[arg(long, value_name = "I/N", value_parser = Shard::parse, conflicts_with = "saved")]
    shard: Option<Shard>,
}

impl PartArgs {
    /// Returns the shard; `None` if this is the only one.
    pub(super) fn shard(&self) -> Option<Shard> {
        self.shard.filter(|shard| shard.count > 1)
    }

    /// Returns whether a daemon cannot do this work.
    pub(super) fn is_alone(&self) -> bool {
        self.shard.is_some()
    }
}
