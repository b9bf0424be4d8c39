//! `clm cache check`: tests the shared cache of a course.

use crate::error::{Error, Result};
use crate::ui;

use super::session::CourseArgs;
use super::{shared, steps};

/// Runs the command. Returns the exit code 1 if something does not work.
pub(super) fn run(args: &CourseArgs) -> Result<u8> {
    let course = args.course()?;
    let Some(remote) = shared::remote(&course.settings.cache, &course.settings.farm)? else {
        return Err(Error::usage("the course has no shared cache").hint(
            "its address is `remote` under `[cache]` in `clm.toml`, or the variable CLM_CACHE_REMOTE; its mode must \
             not be `off`",
        ));
    };
    let mode = match remote.options().writes {
        true => "is read and written",
        false => "is read",
    };
    ui::data(&format!("the shared cache `{}` {mode}\n", remote.shown()));
    let probed = remote.probe();
    for step in &probed {
        match &step.result {
            Ok(took) => steps::good(&step.what, *took),
            Err(wrong) => steps::bad(&format!("{}: {}", step.what, wrong.problem), wrong.hint),
        }
    }
    Ok(u8::from(probed.iter().any(|step| step.result.is_err())))
}
