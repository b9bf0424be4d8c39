//! `clm farm check`: tests the farm of a course with an action of each kind.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::error::{Error, Result};
use crate::farm::{Farm, Task};
use crate::remote::Wrong;
use crate::tools::doctor;
use crate::ui;
use crate::worker::observed::Places;
use crate::worker::request::OutcomeStatus;
use crate::worker::{Renderers, Request, Work};

use super::farm::farm;
use super::place_args::PlaceArgs;
use super::session::{self, renderers, runtime};
use super::steps::{bad, good};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm farm check")]
pub(super) struct FarmArgs {
    #[command(subcommand)]
    command: FarmCommand,
}

#[derive(Debug, Subcommand)]
enum FarmCommand {
    /// Test the farm: whether it answers, and whether its workers do an action of each kind
    #[command(after_help = "Examples:\n\
        \x20 clm farm check  the farm of the course of this directory")]
    Check {
        #[command(flatten)]
        course: PlaceArgs,
    },
}

/// Runs the command. Returns the exit code 1 if something does not work.
pub(super) fn run(args: &FarmArgs) -> Result<u8> {
    let FarmCommand::Check { course: args } = &args.command;
    let course = args.course()?;
    let Some(farm) = farm(&course.settings.farm)? else {
        return Err(Error::usage("the course has no farm").hint(
            "its address is `endpoint` under `[farm]` in `clm.toml`, or the variable CLM_FARM",
        ));
    };
    let renderers = renderers(&course, &session::tools_context(&course, None))?;
    let scratch = tempfile::tempdir().map_err(|error| Error::system("make a directory", &error))?;
    ui::data(&format!("the farm `{}`\n", farm.shown()));
    let runtime = runtime()?;
    let is_good = runtime.block_on(check(&farm, &renderers, scratch.path()));
    runtime.shutdown_background();
    Ok(u8::from(!is_good))
}

async fn check(farm: &Farm, renderers: &Renderers, scratch: &Path) -> bool {
    let began = Instant::now();
    match farm.connect().await {
        Ok(what) => good(&format!("it answers: {what}"), began.elapsed()),
        Err(failure) => {
            let wrong = Wrong::from(failure);
            bad(&wrong.problem, wrong.hint);
            return false;
        }
    }
    let mut is_good = true;
    for (number, (name, work, output)) in doctor::samples().into_iter().enumerate() {
        let dir = scratch.join(number.to_string());
        let began = Instant::now();
        match action(farm, renderers, &dir, work, output).await {
            Ok(Some(machine)) => good(&format!("{name}, made by {machine}"), began.elapsed()),
            Ok(None) => ui::data(&format!("skipped: {name}: its version is not known here\n")),
            Err(problem) => {
                is_good = false;
                bad(&format!("{name}: {problem}"), None);
                for warning in farm.take_warnings() {
                    if let Some(hint) = &warning.hint {
                        ui::data(&format!("hint: {hint}\n"));
                    }
                }
            }
        }
        if !farm.is_available() {
            return false;
        }
    }
    is_good
}

/// Has a tiny input rendered. Returns the machine that did it; `None` if it is not known what the renderer has to be.
async fn action(
    farm: &Farm,
    renderers: &Renderers,
    dir: &Path,
    work: Work,
    output: &str,
) -> std::result::Result<Option<String>, String> {
    let Some(fingerprint) = renderers.fingerprint(&work.renderer()) else {
        return Ok(None);
    };
    let fingerprint = fingerprint.to_owned();
    let (root, out) = (dir.join("course"), dir.join("out"));
    for dir in [&root, &out] {
        std::fs::create_dir_all(dir).map_err(|error| error.to_string())?;
    }
    let task = Task {
        places: Arc::new(Places::new(&root, &renderers.kernels)),
        request: Request {
            id: 1,
            source: RelPath::new("probe").map_err(|error| error.to_string())?,
            root,
            out,
            work,
        },
        fingerprint,
        known: Vec::new(),
        skips_cache: true,
    };
    let made = farm.run(&task, &CancellationToken::new()).await;
    let outcome = made.map_err(|not_made| not_made.0)?;
    let machine = outcome.elsewhere.map(|elsewhere| elsewhere.machine);
    match outcome.status {
        OutcomeStatus::Ok if task.request.out.join(output).is_file() => {
            Ok(Some(machine.unwrap_or_default()))
        }
        _ => {
            let lines = outcome.diagnostics.iter().map(Diagnostic::to_string);
            Err(lines.collect::<Vec<_>>().join("; "))
        }
    }
}
