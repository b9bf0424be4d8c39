//! The command line: one file a command.

mod build;
mod check_spec;
mod completions;
mod daemon;
mod doctor;
mod explain;
mod keys;
mod log;
mod options;
mod saved;
mod session;
mod setup;
mod status;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::env;
use crate::error::Result;
use crate::ui;

/// Builds courses: decks become notebooks, scripts and executed pages; PlantUML and draw.io diagrams become
/// images. Only what is stale is made, by renderers that stay warm.
#[derive(Debug, Parser)]
#[command(name = "clm", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the outputs of a course that are not up to date
    Build(Box<build::BuildArgs>),
    /// Build, and build again whenever something changes
    Watch(Box<watch::WatchArgs>),
    /// Show the daemon of a course, its workers, the last runs, and what is wrong
    Status(status::StatusArgs),
    /// Watch a course in the background
    Daemon(daemon::DaemonArgs),
    /// Tell everything that is wrong in a specification and in what it names, without building
    CheckSpec(check_spec::CheckSpecArgs),
    /// Say why the outputs of a source are up to date or not
    Explain(explain::ExplainArgs),
    /// Find the renderers and install those that are missing, without root
    Setup(setup::SetupArgs),
    /// Show the renderers and test each of them with a tiny input
    Doctor(doctor::DoctorArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    start_log();
    let cli = Cli::parse();
    let result: Result<u8> = match cli.command {
        Command::Build(args) => build::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Daemon(args) => daemon::run(&args),
        Command::CheckSpec(args) => check_spec::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Setup(args) => setup::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::run::<Cli>(&args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            ui::say_diagnostics(&error.diagnostics);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Our own log goes to stderr when `CLM_LOG` asks for it, and nowhere else.
fn start_log() {
    let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env(env::LOG) else {
        return;
    };
    // A second subscriber can only be a test's: then that one counts.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}
