//! The command line, with one file per command.

mod add;
mod advice;
mod affected;
mod archive;
mod build;
mod cache;
mod cache_check;
mod cache_key;
mod cache_stats;
mod check_spec;
mod completions;
mod daemon;
mod doctor;
#[cfg(test)]
mod examples;
mod explain;
#[cfg(feature = "farm")]
mod farm;
#[cfg(not(feature = "farm"))]
#[path = "no_farm.rs"]
mod farm;
#[cfg(feature = "farm")]
mod farm_check;
mod keys;
mod log;
mod man;
mod new;
mod options;
mod part;
mod place_args;
mod profile;
mod reports;
#[cfg(feature = "farm")]
mod runner;
mod saved;
mod session;
mod setup;
mod shared;
mod snapshot;
mod status;
mod steps;
mod stopping;
mod verify;
mod watch;

use std::io::IsTerminal as _;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use crate::config::{Ci, env};
use crate::course::deck::render_apart_with;
use crate::error::{BUG_HINT, Result};
use crate::memory;
use crate::profile::{Profile, Recorder};
use crate::ui;
use crate::worker::template;

use session::CourseArgs;

/// Builds courses: decks become notebooks, scripts and executed pages; PlantUML and draw.io diagrams become
/// images. Only what is stale is made, by renderers that stay warm.
#[derive(Debug, Parser)]
#[command(name = "clm", version, propagate_version = true)]
#[command(after_help = "Examples:\n\
    \x20 clm new statistics  start a course\n\
    \x20 clm build           make what is not up to date in the course here\n\
    \x20 clm build docs      make pages and pictures of a folder, without a course\n\
    \x20 clm watch --serve   again on every change, and show it in a browser\n\
    \x20 clm build --help    the options of a command")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a course, or add a topic to one
    New(new::NewArgs),
    /// Build the outputs of a course that are not up to date
    Build(Box<build::BuildArgs>),
    /// Build, and build again whenever something changes
    Watch(Box<watch::WatchArgs>),
    /// Show the daemon of a course, its workers, the last builds, and all errors
    Status(status::StatusArgs),
    /// Watch a course in the background
    Daemon(daemon::DaemonArgs),
    /// Make topics of notebooks: `.ipynb`, percent scripts, Markdown of jupytext and MyST
    Add(add::AddArgs),
    /// List everything that is wrong in a specification and in what it names, without building
    CheckSpec(check_spec::CheckSpecArgs),
    /// Show, limit, verify, clean, export or import the cache of earlier builds
    Cache(cache::CacheArgs),
    /// List the specifications and outputs that depend on some files, or on what changed since a commit
    Affected(affected::AffectedArgs),
    /// Explain why the outputs of a source are up to date or not
    Explain(explain::ExplainArgs),
    /// Find the renderers and install those that are missing, without root
    Setup(setup::SetupArgs),
    /// Show the renderers and test each of them with a tiny input
    Doctor(doctor::DoctorArgs),
    /// Test the build farm of a course
    #[cfg(feature = "farm")]
    Farm(farm_check::FarmArgs),
    /// Do the work of a farm's action, on a worker of the farm
    #[cfg(feature = "farm")]
    Runner(runner::RunnerArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Write the manual pages into a directory
    Man(man::ManArgs),
}

/// Parses and runs the command line of this process.
pub fn main() -> ExitCode {
    memory::share();
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == template::COMMAND)
    {
        return template::serve();
    }
    render_apart_with(Box::new(template::Processes));
    say_what_to_do_about_panics();
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        let typed: Vec<_> = std::env::args_os().collect();
        advice::advise(error, &Cli::command(), &typed).exit()
    });
    if Ci::detect().is_some() {
        ui::in_pipeline();
    }
    let course = cli.command.course().cloned();
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
        cli.command.profile().and_then(|profile| {
            start_log(profile.as_ref());
            run(cli.command, profile)
        })
    }));
    // The panic hook has already reported it.
    let Ok(result) = result else {
        return ExitCode::from(3);
    };
    match result {
        Ok(code) => ExitCode::from(match ui::data_lost() {
            None => code,
            Some(error) => {
                ui::print(&format!(
                    "error: cannot write to the standard output: {error}"
                ));
                code.max(3)
            }
        }),
        Err(error) => {
            let place = course.and_then(|course| course.place().ok());
            ui::print_error(&error, None, place.as_ref());
            ExitCode::from(error.exit_code())
        }
    }
}

/// Adds to the report of a panic that it is not the author's fault.
fn say_what_to_do_about_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        ui::print(&format!("hint: {BUG_HINT}"));
    }));
}

impl Command {
    /// Returns the course options of the command; `None` for commands without them.
    fn course(&self) -> Option<&CourseArgs> {
        match self {
            Self::Build(args) => Some(&args.course),
            Self::Watch(args) => Some(&args.course),
            Self::Status(args) => Some(&args.course),
            Self::CheckSpec(args) => Some(&args.course),
            Self::Explain(args) => Some(&args.course),
            Self::Doctor(args) => Some(&args.course),
            #[cfg(feature = "farm")]
            Self::Farm(_) | Self::Runner(_) => None,
            Self::Add(_)
            | Self::New(_)
            | Self::Daemon(_)
            | Self::Cache(_)
            | Self::Affected(_)
            | Self::Setup(_)
            | Self::Completions(_)
            | Self::Man(_) => None,
        }
    }

    /// Starts to record timings, if the command's options request them.
    fn profile(&self) -> Result<Option<Profile>> {
        match self {
            Self::Build(args) => args.profile.begin(),
            Self::Watch(args) => args.profile.begin(),
            _ => Ok(None),
        }
    }
}

fn run(command: Command, profile: Option<Profile>) -> Result<u8> {
    match command {
        Command::New(args) => new::run(&args),
        Command::Build(args) => build::run(&args, profile),
        Command::Watch(args) => watch::run(&args, profile),
        Command::Status(args) => status::run(&args),
        Command::Daemon(args) => daemon::run(&args),
        Command::Add(args) => add::run(&args),
        Command::CheckSpec(args) => check_spec::run(&args),
        Command::Cache(args) => cache::run(&args),
        Command::Affected(args) => affected::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Setup(args) => setup::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        #[cfg(feature = "farm")]
        Command::Farm(args) => farm_check::run(&args),
        #[cfg(feature = "farm")]
        Command::Runner(args) => runner::run(&args),
        Command::Completions(args) => completions::run::<Cli>(&args),
        Command::Man(args) => man::run::<Cli>(&args),
    }
}

/// Starts the log on stderr if `CLM_LOG` requests it, and the recorder of a profile. With neither, spans and events
/// cost nothing.
fn start_log(profile: Option<&Profile>) {
    let filter = match std::env::var(env::LOG) {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text)
            .inspect_err(|error| {
                let name = env::LOG;
                ui::print(&format!(
                    "warning: {name} is `{text}`, which is no filter of a log ({error}), and is ignored\n\
                     hint: write `debug`, or `clm::engine=trace`"
                ));
            })
            .ok(),
        _ => None,
    };
    let log = filter.map(|filter| {
        let spans = FmtSpan::CLOSE;
        let layer = tracing_subscriber::fmt::layer().with_span_events(spans);
        let colours = std::io::stderr().is_terminal();
        let layer = layer.with_writer(std::io::stderr).with_ansi(colours);
        layer.with_filter(filter)
    });
    let recorder = profile.map(|profile| {
        let layer = profile.recorder();
        layer.with_filter(filter_fn(Recorder::wants))
    });
    if log.is_none() && recorder.is_none() {
        return;
    }
    // Not `try_init`, which adds the logs of libraries: that of the HTTP client has the secrets for the shared cache. Fails
    // only if a test has set a subscriber, which is then used.
    let subscriber = tracing_subscriber::registry().with(log).with(recorder);
    let _ = tracing::subscriber::set_global_default(subscriber);
}
