//! Stands for the farm in a clm without the feature `farm`.

use crate::config::{FarmSettings, env};
use crate::error::{Error, Result};
use crate::farm::Farm;
use crate::remote::Credentials;

use super::shared;

/// Returns the farm of a course: there is none.
pub(super) fn farm(settings: &FarmSettings) -> Result<Option<Farm>> {
    match settings.address() {
        None => Ok(None),
        Some(_) => Err(
            Error::usage("this clm was built without the feature `farm`").hint(format!(
                "use a released clm, or no farm: set the variable {} to nothing",
                env::FARM
            )),
        ),
    }
}

/// Returns the secrets for the farm: those of the shared cache.
pub(super) fn credentials() -> Result<Credentials> {
    shared::credentials()
}
