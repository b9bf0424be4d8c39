//! `clm runner`: does the work of a farm's action, on a worker of the farm.

use clap::Args;
use nix::sys::signal::SigSet;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::events::ActionKind;
use crate::runner;
use crate::ui;

use super::session::{current_dir, runtime, stop_signal};

/// The arguments of `clm runner`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm runner html @params  one action in the working directory")]
pub(super) struct RunnerArgs {
    /// `KIND @params`: one action in the working directory; `KIND --persistent_worker`: many, by Bazel's protocol;
    /// `--buildbox-run OPTION..`: one, as buildbox-casd and buildbox-worker ask for it
    #[arg(
        value_name = "ARGUMENT",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    arguments: Vec<String>,
}

/// Runs the command.
pub(super) fn run(args: &RunnerArgs) -> Result<u8> {
    // Farms block signals in their own threads, and their workers inherit that: a cancelled action would go on.
    let _ = SigSet::empty().thread_set_mask();
    let words: Vec<&str> = args.arguments.iter().map(String::as_str).collect();
    let ended = match words[..] {
        ["--resident"] => resident(),
        ["--buildbox-run", ..] => {
            runtime()?.block_on(runner::hand_over(args.arguments[1..].to_vec()))
        }
        [kind, "--persistent_worker"] if is_kind(kind) => persistent(),
        [kind, params] if is_kind(kind) && params.starts_with('@') => once(),
        _ => {
            return Err(Error::usage("this is no work of a farm").hint(
                "farms start `clm runner KIND @params` with the kind `execute`, `html`, `plantuml` or `drawio`; see \
                 contrib/doc/farm.md of clm",
            ));
        }
    };
    let (code, output) = ended.map_err(|error| Error::system("run the action", &error))?;
    if !output.is_empty() {
        ui::print(output.trim_end());
    }
    Ok(u8::try_from(code).unwrap_or(1))
}

fn is_kind(name: &str) -> bool {
    let mut kinds = ActionKind::OF_WORKERS.iter();
    kinds.any(|kind| kind.name() == name)
}

/// What a mode of the command returns: the exit code, and what it says.
type Ended = std::io::Result<(i32, String)>;

fn once() -> Ended {
    let dir = dir()?;
    let (runtime, cancel) = stoppable()?;
    runtime.block_on(runner::once(&dir, cancel))
}

fn persistent() -> Ended {
    let dir = dir()?;
    let (runtime, _) = stoppable()?;
    runtime.block_on(runner::persistent(
        &dir,
        tokio::io::stdin(),
        tokio::io::stdout(),
    ))?;
    // Reading the standard input goes on in a thread that cannot be ended.
    runtime.shutdown_background();
    Ok((0, String::new()))
}

fn resident() -> Ended {
    let (runtime, stop) = stoppable()?;
    runtime.block_on(runner::resident(stop))?;
    Ok((0, String::new()))
}

fn dir() -> std::io::Result<std::path::PathBuf> {
    current_dir().map_err(std::io::Error::other)
}

/// Returns a runtime, and a token that the signals to stop cancel.
fn stoppable() -> std::io::Result<(tokio::runtime::Runtime, CancellationToken)> {
    let runtime = runtime().map_err(std::io::Error::other)?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    runtime.spawn(async move {
        if stop_signal().await.is_ok() {
            token.cancel();
        }
    });
    Ok((runtime, stop))
}
