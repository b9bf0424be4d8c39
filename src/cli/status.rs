//! `clm status`: the daemon, the workers, the last runs, and the current errors.

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::config::Place;
use crate::daemon::Reason;
use crate::daemon::client::Client;
use crate::daemon::protocol::DaemonStatus;
use crate::diagnostic::Diagnostic;
use crate::error::Result;
use crate::events::{Counts, Events};
use crate::store::{RunState, Store, Usage, WorkerRecord};
use crate::ui;

use super::cache;
use super::place_args::PlaceArgs;
use super::session;

/// How many runs are shown.
const RUNS: u32 = 10;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm status         the daemon, the last builds, and what is wrong\n\
    \x20 clm status --json  the same for programs")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub course: PlaceArgs,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Status {
    spec: String,
    daemon: Option<DaemonStatus>,
    /// Why a running daemon cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    unusable: Option<String>,
    /// The workers of living processes.
    workers: Vec<WorkerLine>,
    queued: u64,
    leased: u64,
    cache: Usage,
    runs: Vec<RunLine>,
    /// The current errors: those of the daemon, or else the recorded ones.
    errors: Vec<Diagnostic>,
}

#[derive(Serialize)]
struct WorkerLine {
    pid: u32,
    owner_pid: u32,
    kind: String,
    state: String,
    /// The source that it works on.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// The current step, such as `cell 3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    /// The number of completed steps, and of all steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<[u64; 2]>,
    /// When the current state began, in milliseconds since 1970.
    since_ms: i64,
}

#[derive(Serialize)]
struct RunLine {
    run: i64,
    trigger: String,
    /// `running`, `ended` or `interrupted`.
    state: RunState,
    started_ms: i64,
    duration_ms: Option<u64>,
    counts: Option<Counts>,
    /// The first output that it made, and why.
    reason: Option<String>,
}

/// Runs the command. Returns the exit code 0 whether or not there is a daemon.
pub(super) fn run(args: &StatusArgs) -> Result<u8> {
    let course = args.course.course()?;
    let state_dir = course.place.state_dir();
    let (daemon, unusable) = match Client::connect(&state_dir) {
        Ok(Some(mut client)) => match client.status() {
            Ok(status) => (Some(status), None),
            Err(error) => (None, Some(error.message().to_owned())),
        },
        Ok(None) => (None, None),
        Err(unusable) => (None, Some(unusable.0)),
    };
    let (events, receiver) = Events::channel();
    let store = session::open_store(&course, &events)?;
    drop(events);
    session::print_all(receiver);
    let errors = match &daemon {
        Some(daemon) => daemon.errors.clone(),
        None => recorded_errors(args).unwrap_or_else(|error| error.diagnostics),
    };
    let spec = course.place.spec.display().to_string();
    let status = status(spec, daemon, unusable, errors, &store)?;
    if args.json {
        let text = serde_json::to_string_pretty(&status).unwrap_or_default();
        ui::data(&format!("{text}\n"));
    } else {
        show(&status, &course.place);
    }
    Ok(0)
}

/// Returns the current errors according to the records.
fn recorded_errors(args: &StatusArgs) -> Result<Vec<Diagnostic>> {
    let course = args.course.course()?;
    let specified = course.specification()?;
    let context = session::tools_context(&course, specified.spec.kernel_python.as_deref());
    let workers = course.settings.workers.clone();
    let renderers = session::renderers(&course, &context)?;
    // Diagnostics about the records were reported when they were opened.
    let (events, _) = Events::channel();
    let cancel = CancellationToken::new();
    let engine = session::engine(course, renderers, &context, &workers, false, events, cancel)?;
    engine.errors()
}

fn status(
    spec: String,
    daemon: Option<DaemonStatus>,
    unusable: Option<String>,
    errors: Vec<Diagnostic>,
    store: &Store,
) -> Result<Status> {
    let (queued, leased) = store.queue_length()?;
    Ok(Status {
        spec,
        daemon,
        unusable,
        workers: store.workers()?.into_iter().map(worker_line).collect(),
        queued,
        leased,
        cache: store.usage()?,
        runs: store
            .recent_runs(RUNS)?
            .into_iter()
            .map(|run| RunLine {
                run: run.id,
                trigger: run.trigger,
                state: run.state,
                started_ms: run.started_ms,
                duration_ms: run.duration_ms,
                counts: run.counts,
                reason: run.reason,
            })
            .collect(),
        errors,
    })
}

fn worker_line(worker: WorkerRecord) -> WorkerLine {
    let doing = worker.doing;
    WorkerLine {
        pid: worker.pid,
        owner_pid: worker.owner.pid,
        kind: worker.kind,
        state: worker.state,
        step: doing
            .as_ref()
            .map(|doing| doing.label.clone())
            .filter(|label| !label.is_empty()),
        progress: doing
            .as_ref()
            .filter(|doing| doing.total > 0)
            .map(|doing| [doing.done, doing.total]),
        source: doing.map(|doing| doing.source),
        since_ms: worker.since_ms,
    }
}

fn show(status: &Status, place: &Place) {
    let line = |text: String| ui::data(&format!("{text}\n"));
    match (&status.daemon, &status.unusable) {
        (Some(daemon), _) => {
            let polling = if daemon.is_polling { ", polling" } else { "" };
            line(format!(
                "process {} watches {} for {}{polling}",
                daemon.pid,
                daemon.spec,
                ui::duration(daemon.uptime_s * 1000)
            ));
            if let Some(text) = reason_text(daemon) {
                line(format!("  {text}"));
            }
            if let Some(memory) = daemon.memory {
                line(format!("  memory {}, workers included", ui::size(memory)));
            }
            if let Some(preview) = &daemon.preview {
                line(format!("  preview {preview}"));
            }
            for action in &daemon.running {
                line(format!("  running {action}"));
            }
        }
        (None, Some(unusable)) => line(format!("{unusable}; `clm daemon stop` ends it")),
        (None, None) => line(format!("no watch of {} is running", status.spec)),
    }
    line(format!(
        "queue: {} waiting, {} running",
        status.queued, status.leased
    ));
    line(format!("cache: {}", cache::line(&status.cache)));
    let now_ms = chrono::Utc::now().timestamp_millis();
    for worker in &status.workers {
        line(worker_text(worker, now_ms));
    }
    for run in &status.runs {
        let how = match (&run.counts, run.duration_ms, run.state) {
            (Some(counts), Some(duration), _) => ui::counts(counts, duration),
            (_, _, RunState::Running) => {
                let begun = u64::try_from(now_ms - run.started_ms).unwrap_or(0);
                format!("running for {}", ui::duration(begun))
            }
            _ => "interrupted: its process ended before the build was done".to_owned(),
        };
        let reason = match &run.reason {
            Some(reason) => format!("\n    {reason}"),
            None => String::new(),
        };
        line(format!("run {} ({}): {how}{reason}", run.run, run.trigger));
    }
    if !status.errors.is_empty() {
        line(match status.errors.len() {
            1 => "1 error:".to_owned(),
            count => format!("{count} errors:"),
        });
    }
    for text in ui::listed(&status.errors, Some(place)) {
        line(text);
    }
}

/// Returns why a daemon runs that no user started.
fn reason_text(daemon: &DaemonStatus) -> Option<String> {
    let started = match daemon.reason? {
        Reason::Editor => "a save in an editor (`clm build --saved`)",
        Reason::Build => "a build",
    };
    let ends = daemon.idle_exit_s.map_or_else(String::new, |seconds| {
        format!(", and ends after {} minutes without work", seconds / 60)
    });
    Some(format!(
        "started by {started}: it makes what is asked for{ends}; `[daemon] auto = \"off\"` in `clm.toml` prevents it"
    ))
}

fn worker_text(worker: &WorkerLine, now_ms: i64) -> String {
    let who = format!("worker {} of process {}", worker.pid, worker.owner_pid);
    let since = u64::try_from(now_ms - worker.since_ms).unwrap_or(0);
    let since = ui::duration(since);
    let Some(source) = &worker.source else {
        return format!("{who}: {} {} for {since}", worker.kind, worker.state);
    };
    let step = match (&worker.step, worker.progress) {
        (Some(step), Some([done, total])) => format!(", {step} ({done} of {total} done)"),
        (Some(step), None) => format!(", {step}"),
        (None, Some([done, total])) => format!(", {done} of {total} done"),
        (None, None) => String::new(),
    };
    format!("{who}: {} {source}{step}, for {since}", worker.kind)
}
