//! `[daemon]`: whether commands leave a process behind that answers the next one.

use std::ffi::OsString;

use clap::ValueEnum;
use serde::Deserialize;

use crate::error::{Error, Result};

use super::env;

/// `[daemon]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DaemonSettings {
    /// Which builds leave a daemon behind.
    pub auto: AutoDaemon,
}

/// Which builds leave a daemon behind, for courses that nobody watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AutoDaemon {
    /// `clm build --saved`, which editors call.
    #[default]
    Editor,
    /// Every build.
    Always,
    /// None.
    Off,
}

impl DaemonSettings {
    /// Applies the environment variable that overrides the setting.
    pub(super) fn apply_env(&mut self, lookup: impl Fn(&str) -> Option<OsString>) -> Result<()> {
        let Some(value) = lookup(env::DAEMON_AUTO) else {
            return Ok(());
        };
        let value = value.to_string_lossy();
        self.auto = AutoDaemon::from_str(&value, false).map_err(|_| {
            Error::usage(format!(
                "{} is `{value}`, but it must be editor, always or off",
                env::DAEMON_AUTO
            ))
        })?;
        Ok(())
    }
}
