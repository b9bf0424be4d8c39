//! `clm daemon`: a watch in the background.

mod auto;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use crate::daemon::client::Client;
use crate::daemon::protocol::{Answer, Request};
use crate::daemon::{DaemonInfo, log_file, running};
use crate::engine::course::Course;
use crate::error::{Dir, Error, Result};
use crate::private;
use crate::ui;

use super::place_args::PlaceArgs;
use super::session::CourseArgs;
use super::status;
use super::watch::preview_line;

pub(super) use auto::leave_behind;

/// How long a daemon may take to answer, and to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// The interval between checks for that.
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm daemon start -- --serve  watch in the background, and show the course\n\
    \x20 clm daemon status\n\
    \x20 clm daemon stop")]
pub(super) struct DaemonArgs {
    #[command(subcommand)]
    command: DaemonCommand,
}

#[derive(Debug, Subcommand)]
enum DaemonCommand {
    /// Watch the course in the background
    Start(StartArgs),
    /// End the watch of the course
    #[command(after_help = "Examples:\n\
        \x20 clm daemon stop")]
    Stop(PlaceArgs),
    /// Show the daemon, the workers, the last runs, and what is wrong
    #[command(after_help = "Examples:\n\
        \x20 clm daemon status")]
    Status(status::StatusArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm daemon start                                 for the course here\n\
    \x20 clm daemon start --idle-exit 30 -- --serve 9000  show it; end when it is idle")]
struct StartArgs {
    #[command(flatten)]
    course: CourseArgs,
    /// End after this many minutes without a change, a build or another request
    #[arg(long, value_name = "MINUTES", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..))]
    idle_exit: u64,
    /// Further options of `clm watch`, such as `-- --serve`
    #[arg(last = true, value_name = "WATCH OPTIONS")]
    options: Vec<String>,
}

/// Runs the command and returns the exit code.
pub(super) fn run(args: &DaemonArgs) -> Result<u8> {
    match &args.command {
        DaemonCommand::Start(args) => start(args),
        DaemonCommand::Stop(args) => stop(args),
        DaemonCommand::Status(args) => status::run(args),
    }
}

fn start(args: &StartArgs) -> Result<u8> {
    let course = args.course.course()?;
    let state_dir = course.place.state_dir();
    if let Some(info) = running(&state_dir).filter(|info| info.reason.is_none()) {
        ui::print(&format!("Process {} watches this course already", info.pid));
        return Ok(0);
    }
    let log = log_file(&state_dir);
    let size = std::fs::metadata(&log).map_or(0, |metadata| metadata.len());
    let minutes = args.idle_exit.to_string();
    let options = args.options.iter().map(String::as_str);
    let options = ["--background", &minutes].into_iter().chain(options);
    let mut child = background(&args.course, &course, options)?;
    let begun = Instant::now();
    loop {
        if let Some(info) = running(&state_dir).filter(|info| info.pid == child.id()) {
            ui::print(&format!(
                "Process {} watches {}",
                info.pid,
                course.place.spec.display()
            ));
            if let Some(address) = info.preview {
                ui::print(&preview_line(&address, false));
            }
            return Ok(0);
        }
        let ended = child.try_wait().ok().flatten();
        if ended.is_some() || begun.elapsed() > PATIENCE {
            let how = match ended {
                Some(exit) => format!("the daemon ended at its start ({exit})"),
                None => format!("the daemon was not ready within {} s", PATIENCE.as_secs()),
            };
            let mut error = Error::internal(how).hint(format!("its log is `{}`", log.display()));
            if let Some(first) = error.diagnostics.first_mut() {
                first.detail = log_since(&log, size);
            }
            return Err(error);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Starts a watch of the course in the background, with further options of `clm watch`. What it prints goes to the log.
fn background<'o>(
    args: &CourseArgs,
    course: &Course,
    options: impl IntoIterator<Item = &'o str>,
) -> Result<Child> {
    let program =
        std::env::current_exe().map_err(|error| Error::system("find the program `clm`", &error))?;
    let state_dir = course.place.state_dir();
    let log = log_file(&state_dir);
    private::create_dir_all(&state_dir)
        .map_err(|error| Error::io_in(Dir::State, "create", &state_dir, &error))?;
    let output =
        private::append(&log).map_err(|error| Error::io_in(Dir::State, "write", &log, &error))?;
    let mut command = Command::new(program);
    command
        .arg("watch")
        .args(args.to_args(course))
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output);
    detach(&mut command);
    command
        .spawn()
        .map_err(|error| Error::system("start the daemon", &error))
}

/// Returns the last lines that were added to a log since it had the given size.
fn log_since(log: &Path, size: u64) -> Option<String> {
    const LINES: usize = 20;
    let bytes = crate::files::read(log).ok()?;
    let text = String::from_utf8_lossy(bytes.get(usize::try_from(size).ok()?..)?);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
    (!last.is_empty()).then_some(last)
}

/// Makes the child survive the end of the terminal.
fn detach(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0);
}

fn stop(args: &CourseArgs) -> Result<u8> {
    let course = args.course()?;
    let state_dir = course.place.state_dir();
    let Some(info) = running(&state_dir) else {
        ui::print("No watch of this course is running");
        return Ok(0);
    };
    end(&state_dir, &info)?;
    ui::print(&format!("Process {} has ended", info.pid));
    Ok(0)
}

/// Ends the daemon of a course if a build left it behind: a watch takes its place.
pub(super) fn replace_automatic(state_dir: &Path) -> Result<()> {
    match running(state_dir).filter(|info| info.reason.is_some()) {
        Some(info) => end(state_dir, &info),
        None => Ok(()),
    }
}

/// Ends a daemon, and returns when it has ended.
fn end(state_dir: &Path, info: &DaemonInfo) -> Result<()> {
    let answer = match Client::connect(state_dir) {
        Ok(Some(mut client)) => client.ask(&Request::Shutdown).ok(),
        _ => None,
    };
    if !matches!(answer, Some(Answer::Ok)) {
        if info
            .owner
            .as_ref()
            .is_some_and(|owner| !owner.is_here() || owner.is_gone())
        {
            // On this machine, its process id may belong to another process.
            return Err(Error::internal(format!(
                "process {} watches this course in another container or on another machine, and does not answer",
                info.pid
            ))
            .hint("run `clm daemon stop` where it was started"));
        }
        // A daemon that has another version or does not answer also ends properly on a signal.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(info.pid).unwrap_or(0));
        if pid.as_raw() > 0 {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        }
    }
    let begun = Instant::now();
    while running(state_dir).is_some_and(|other| other.pid == info.pid) {
        if begun.elapsed() > PATIENCE {
            return Err(Error::internal(format!(
                "process {} has not ended within {} s",
                info.pid,
                PATIENCE.as_secs()
            ))
            .hint(format!(
                "end it with `kill -9 {}`: nothing is lost",
                info.pid
            )));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
