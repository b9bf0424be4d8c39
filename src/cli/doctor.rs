//! `clm doctor`: shows the renderers and tests each of them.

use std::path::Path;

use clap::Args;
use tempfile::TempDir;

use crate::engine::course::Course;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::tools::Context;
use crate::tools::doctor::{self, Health};
use crate::ui;

use super::place_args::PlaceArgs;
use super::{cache, session, setup};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm doctor  what is installed, and whether it works")]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    pub course: PlaceArgs,
}

/// Runs the command. Returns the exit code 1 if something does not work, and 2 if the given course cannot be used.
pub(super) fn run(args: &DoctorArgs) -> Result<u8> {
    let course = usable_course(args);
    let is_unusable =
        course.is_none() && (args.course.spec.is_some() || args.course.place().is_ok());
    let context = match &course {
        Some(course) => session::tools_context(course, None),
        None => Context::of_process(None),
    };
    let scratch = temporary_dir()?;
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
        show(mark, &finding.message, finding.hint.as_deref());
    }
    let cache_fails = state_dir.is_some_and(|dir| !check_cache(&dir));
    let mut findings = report.findings.iter();
    let is_bad = cache_fails || findings.any(|finding| finding.health == Health::Bad);
    Ok(match is_unusable {
        true => 2,
        false => u8::from(is_bad),
    })
}

/// Returns the course, if there is a valid one. An invalid one is reported; without one, the tools are tested.
fn usable_course(args: &DoctorArgs) -> Option<Course> {
    match args.course.course() {
        Ok(course) => return Some(course),
        Err(error) if args.course.spec.is_none() && args.course.place().is_err() => {
            tracing::debug!(%error, "no course");
        }
        Err(error) => {
            let place = args.course.place().ok();
            ui::print_error(&error, None, place.as_ref());
        }
    }
    None
}

fn temporary_dir() -> Result<TempDir> {
    tempfile::tempdir().map_err(|error| {
        let temporary = std::env::temp_dir();
        let result = Error::io("write to", &temporary, &error);
        match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
                result.hint("name a directory that you can write to in the variable TMPDIR")
            }
            _ => result,
        }
    })
}

/// Shows the state of the cache, if there is one. Returns whether it can be used.
fn check_cache(state_dir: &Path) -> bool {
    if !state_dir.join("clm.db").is_file() {
        return true;
    }
    match Store::open(state_dir).and_then(|(store, _)| store.usage()) {
        Ok(usage) => {
            show("ok", &format!("cache: {}", cache::line(&usage)), None);
            true
        }
        Err(error) => {
            for diagnostic in Error::from(error).diagnostics {
                let message = format!("cache: {}", diagnostic.message);
                show("error", &message, diagnostic.hint.as_deref());
            }
            false
        }
    }
}

fn show(mark: &str, message: &str, hint: Option<&str>) {
    ui::data(&format!("{mark:>8} {message}\n"));
    if let Some(hint) = hint {
        ui::data(&format!("         hint: {hint}\n"));
    }
}
