//! What a build tells: events while it runs, results when it ends, however that is.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use crate::config::Place;
use crate::engine::Checked;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::parallel::lock;
use crate::profile::Profile;
use crate::ui::{self, MessageFormat, Reporter, Results};

use super::super::stopping::Stop;
use super::{BuildArgs, run_measured};

/// Runs the command. Returns the exit code: 0, 1 (something failed) or 4 (stale under `--check`).
pub(in crate::cli) fn run(args: &BuildArgs, profile: Option<Profile>) -> Result<u8> {
    let args = args.with_swallowed_spec();
    let format = args.report.format();
    let reports = match args.report.begin(&args.profile.files()) {
        Ok(reports) => reports,
        Err(error) => {
            ui::print_error(&error, Some(format), None);
            return Ok(error.exit_code());
        }
    };
    let results = Results::new(args.mode(), reports.are_wanted());
    let results = Arc::new(Mutex::new(results));
    let stop = Stop::default();
    if !reports.are_wanted() {
        return Ok(run_profiled(&args, profile, &results, &stop));
    }
    let work = {
        let (args, results, stop) = (args.clone(), Arc::clone(&results), stop.clone());
        move || run_profiled(&args, profile, &results, &stop)
    };
    let place = args.place();
    let done = stop.guard(work);
    let code = done
        .and_then(|code| code.ok_or_else(Error::interrupted))
        .unwrap_or_else(|error| {
            ui::print_error(&error, Some(format), place.as_ref());
            lock(&results).fail(&error);
            error.exit_code()
        });
    // The work may still go on if it was interrupted.
    let mut results = lock(&results).clone();
    results.course = place.as_ref().map(Place::spec_name);
    results.end(code);
    Ok(match reports.write(&results, place.as_ref()) {
        Ok(()) => code,
        Err(error) => {
            ui::print_error(&error, Some(format), place.as_ref());
            code.max(error.exit_code())
        }
    })
}

fn run_profiled(
    args: &BuildArgs,
    mut profile: Option<Profile>,
    results: &Arc<Mutex<Results>>,
    stop: &Stop,
) -> u8 {
    let result = run_measured(args, &mut profile, results, stop);
    let code = result.unwrap_or_else(|error| {
        let place = args.place();
        ui::print_error(&error, Some(args.report.format()), place.as_ref());
        lock(results).fail(&error);
        error.exit_code()
    });
    // The profile is written even if the build failed or was interrupted: that may be what the user wants to examine.
    match profile.map_or(Ok(()), Profile::finish) {
        Ok(()) => code,
        Err(error) => {
            ui::print_error(&error, Some(args.report.format()), None);
            lock(results).fail(&error);
            code.max(error.exit_code())
        }
    }
}

/// Reports all events, and returns the profile.
pub(super) fn report(
    events: Receiver<Event>,
    mut reporter: Box<dyn Reporter>,
    results: &Mutex<Results>,
    mut profile: Option<Profile>,
) -> Option<Profile> {
    for event in events {
        lock(results).add(&event);
        if let Some(profile) = &mut profile {
            profile.event(&event);
        }
        reporter.event(&event);
    }
    reporter.finish();
    profile
}

pub(super) fn show_stale(checked: &Checked, format: MessageFormat) {
    for entry in &checked.stale {
        if format == MessageFormat::Json {
            let line = serde_json::json!({
                "event": "stale",
                "action": entry.action,
                "kind": entry.kind,
                "source": entry.source,
                "reasons": entry.reasons,
            });
            ui::data(&format!("{line}\n"));
        } else {
            ui::data(&format!("{}: {}\n", entry.action, entry.reasons.join("; ")));
        }
    }
    if !matches!(format, MessageFormat::Json | MessageFormat::Short) {
        let also = match checked.has_errors {
            true => ", and there are errors",
            false => "",
        };
        ui::print(&match checked.stale.len() {
            0 if checked.has_errors => "There are errors; nothing else is stale".to_owned(),
            0 => "Everything is up to date".to_owned(),
            1 => format!("1 action is not up to date{also}"),
            count => format!("{count} actions are not up to date{also}"),
        });
    }
}
