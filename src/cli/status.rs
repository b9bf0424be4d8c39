//! `clm status`: the daemon, the workers, the last runs, and what is wrong.

use clap::Args;
use serde::Serialize;

use crate::daemon::client::Client;
use crate::daemon::protocol::DaemonStatus;
use crate::error::Result;
use crate::events::{Counts, Event, Events};
use crate::store::{Store, Usage};
use crate::ui;

use super::cache;
use super::session::{self, CourseArgs};

/// How many runs are shown.
const RUNS: u32 = 10;

#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    course: CourseArgs,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Status {
    spec: String,
    daemon: Option<DaemonStatus>,
    /// Why a daemon that runs cannot be talked to.
    #[serde(skip_serializing_if = "Option::is_none")]
    unusable: Option<String>,
    workers: Vec<WorkerLine>,
    queued: u64,
    leased: u64,
    cache: Usage,
    runs: Vec<RunLine>,
}

#[derive(Serialize)]
struct WorkerLine {
    pid: u32,
    owner_pid: u32,
    kind: String,
    state: String,
}

#[derive(Serialize)]
struct RunLine {
    run: i64,
    trigger: String,
    started_ms: i64,
    duration_ms: Option<u64>,
    counts: Option<Counts>,
    /// What ran first, and why.
    reason: Option<String>,
}

/// Runs the command; the exit code is 0 whether there is a daemon or not.
pub fn run(args: &StatusArgs) -> Result<u8> {
    let course = args.course.course()?;
    let state_dir = course.place.state_dir();
    let (daemon, unusable) = match Client::connect(&state_dir) {
        Ok(Some(mut client)) => (Some(client.status()?), None),
        Ok(None) => (None, None),
        Err(unusable) => (None, Some(unusable.0)),
    };
    let (events, receiver) = Events::channel();
    let store = session::open_store(&course, &events)?;
    drop(events);
    for event in receiver {
        if let Event::Diagnostic(diagnostic) = event {
            ui::say_diagnostics(&[diagnostic]);
        }
    }
    let status = status(
        course.place.spec.display().to_string(),
        daemon,
        unusable,
        &store,
    )?;
    if args.json {
        let text = serde_json::to_string_pretty(&status).unwrap_or_default();
        ui::data(&format!("{text}\n"));
    } else {
        show(&status);
    }
    Ok(0)
}

fn status(
    spec: String,
    daemon: Option<DaemonStatus>,
    unusable: Option<String>,
    store: &Store,
) -> Result<Status> {
    let (queued, leased) = store.queue_length()?;
    Ok(Status {
        spec,
        daemon,
        unusable,
        workers: store
            .workers()?
            .into_iter()
            .map(|worker| WorkerLine {
                pid: worker.pid,
                owner_pid: worker.owner_pid,
                kind: worker.kind,
                state: worker.state,
            })
            .collect(),
        queued,
        leased,
        cache: store.usage()?,
        runs: store
            .recent_runs(RUNS)?
            .into_iter()
            .map(|run| RunLine {
                run: run.id,
                trigger: run.trigger,
                started_ms: run.started_ms,
                duration_ms: run.duration_ms,
                counts: run.counts,
                reason: run.reason,
            })
            .collect(),
    })
}

fn show(status: &Status) {
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
            if let Some(preview) = &daemon.preview {
                line(format!("  preview {preview}"));
            }
            for action in &daemon.running {
                line(format!("  running {action}"));
            }
        }
        (None, Some(unusable)) => line(unusable.clone()),
        (None, None) => line(format!("nobody watches {}", status.spec)),
    }
    line(format!(
        "queue: {} waiting, {} running",
        status.queued, status.leased
    ));
    line(format!("cache: {}", cache::line(&status.cache)));
    for worker in &status.workers {
        line(format!(
            "worker {} of process {}: {} {}",
            worker.pid, worker.owner_pid, worker.kind, worker.state
        ));
    }
    for run in &status.runs {
        let how = match (&run.counts, run.duration_ms) {
            (Some(counts), Some(duration)) => ui::counts(counts, duration),
            _ => "not ended".to_owned(),
        };
        let reason = match &run.reason {
            Some(reason) => format!("\n    {reason}"),
            None => String::new(),
        };
        line(format!("run {} ({}): {how}{reason}", run.run, run.trigger));
    }
    let errors = status.daemon.iter().flat_map(|daemon| &daemon.errors);
    for error in errors {
        line(error.to_string());
    }
}
