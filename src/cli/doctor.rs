//! `clm doctor`: shows the renderers and tests each of them.

use clap::Args;

use crate::error::{Error, Result};
use crate::store::Store;
use crate::tools::Context;
use crate::tools::doctor::{self, Health};
use crate::ui;

use super::session::CourseArgs;
use super::{cache, session, setup};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    pub course: CourseArgs,
}

/// Runs the command. Returns the exit code 1 if something does not work, and 2 if the given course cannot be used.
pub(super) fn run(args: &DoctorArgs) -> Result<u8> {
    // Without a course the tools are tested; an invalid course is reported.
    let course = match args.course.course() {
        Ok(course) => Some(course),
        Err(error) if args.course.spec.is_none() && args.course.place().is_err() => {
            tracing::debug!(%error, "no course");
            None
        }
        Err(error) => {
            let place = args.course.place().ok();
            ui::say_error(&error, None, place.as_ref());
            None
        }
    };
    let is_unusable =
        course.is_none() && (args.course.spec.is_some() || args.course.place().is_ok());
    let context = match &course {
        Some(course) => session::tools_context(course, None),
        None => Context::of_process(None),
    };
    let scratch = tempfile::tempdir().map_err(|error| {
        let temporary = std::env::temp_dir();
        let result = Error::io("write to", &temporary, &error);
        match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
                result.hint("name a directory that you can write to in the variable TMPDIR")
            }
            _ => result,
        }
    })?;
    let state_dir = course.as_ref().map(|course| course.place.state_dir());
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| Error::system("start threads", &error))?;
    let config = session::pool_config_for(scratch.path(), &context);
    let report = runtime.block_on(doctor::doctor(
        &context,
        config,
        scratch.path(),
        state_dir.as_deref(),
    ));
    for found in &report.found {
        ui::data(&setup::line(found));
    }
    for finding in &report.findings {
        let mark = match finding.health {
            Health::Good => "ok",
            Health::Doubtful => "warning",
            Health::Bad => "error",
        };
        ui::data(&format!("{mark:>8} {}\n", finding.message));
        if let Some(hint) = &finding.hint {
            ui::data(&format!("         hint: {hint}\n"));
        }
    }
    let mut cache_fails = false;
    if let Some(dir) = state_dir.filter(|dir| dir.join("clm.db").is_file()) {
        let usage = Store::open(&dir).and_then(|(store, _)| store.usage());
        match usage {
            Ok(usage) => ui::data(&format!("{:>8} cache: {}\n", "ok", cache::line(&usage))),
            Err(error) => {
                cache_fails = true;
                for diagnostic in Error::from(error).diagnostics {
                    ui::data(&format!("{:>8} cache: {}\n", "error", diagnostic.message));
                    if let Some(hint) = diagnostic.hint {
                        ui::data(&format!("         hint: {hint}\n"));
                    }
                }
            }
        }
    }
    let mut findings = report.findings.iter();
    let is_bad = cache_fails || findings.any(|finding| finding.health == Health::Bad);
    Ok(match is_unusable {
        true => 2,
        false => u8::from(is_bad),
    })
}
