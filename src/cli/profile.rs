//! The options for timings of `build` and `watch`.

use std::path::PathBuf;

use clap::Args;

use crate::error::Result;
use crate::profile::{Files, Profile};

use super::session;

/// What is to be measured.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ProfileArgs {
    /// Write a page that shows where the time went; a watch writes it after each build that made something
    #[arg(long, value_name = "FILE.html")]
    pub timings: Option<PathBuf>,
    /// Write a trace for Perfetto or chrome://tracing; a watch writes it after each build that made something
    #[arg(long, value_name = "FILE.json")]
    pub trace: Option<PathBuf>,
}

impl ProfileArgs {
    /// Returns whether timings are requested.
    pub(super) fn is_wanted(&self) -> bool {
        self.timings.is_some() || self.trace.is_some()
    }

    /// Returns the files that are requested.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let files = [&self.timings, &self.trace];
        files.into_iter().flatten().cloned().collect()
    }

    /// Starts to record timings, if requested.
    pub(super) fn begin(&self) -> Result<Option<Profile>> {
        let cwd = session::current_dir()?;
        let absolute = |file: &PathBuf| cwd.join(file);
        Profile::begin(Files {
            timings: self.timings.as_ref().map(absolute),
            trace: self.trace.as_ref().map(absolute),
        })
    }
}
