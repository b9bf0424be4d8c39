//! `clm build`: makes what is stale.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::config::WorkerSettings;
use crate::course::layout::Selection;
use crate::course::{Format, Kind, Lang, RelPath};
use crate::engine::decide::Force;
use crate::engine::load::Course;
use crate::engine::{self, BuildOptions, Engine, Stale};
use crate::error::{Error, Result};
use crate::events::{Event, Events};
use crate::ui::{self, MessageFormat, Summary};

use super::session::{self, CourseArgs};
use super::setup;

#[derive(Debug, Args)]
pub struct BuildArgs {
    #[command(flatten)]
    course: CourseArgs,
    /// Languages to make
    #[arg(short = 'L', long, value_delimiter = ',', value_name = "de,en", value_parser = parse_lang)]
    languages: Vec<Lang>,
    /// Kinds to make: code-along, completed, trainer, recording, partial
    #[arg(long, value_delimiter = ',', value_name = "KIND,..", value_parser = parse_kind)]
    kinds: Vec<Kind>,
    /// Formats to make: html, notebook, code
    #[arg(long, value_delimiter = ',', value_name = "FORMAT,..", value_parser = parse_format)]
    formats: Vec<Format>,
    /// Output targets to make
    #[arg(short = 'T', long, value_delimiter = ',', value_name = "NAME,..")]
    targets: Vec<String>,
    /// Sections to make: id, number or part of the name
    #[arg(long, value_delimiter = ',', value_name = "SECTION,..")]
    only_sections: Vec<String>,
    /// Only the outputs that depend on these sources (what an editor calls after saving)
    #[arg(long, num_args = 1.., value_name = "PATH")]
    only: Vec<PathBuf>,
    /// Ignore cached results: of everything, or of what depends on these sources
    #[arg(long, num_args = 0.., value_name = "PATH")]
    force: Option<Vec<PathBuf>>,
    /// Execute nothing now: notebooks, code, diagrams and files only
    #[arg(long)]
    fast: bool,
    /// Show what would be made and why, and make nothing
    #[arg(long, conflicts_with = "check")]
    dry_run: bool,
    /// Make nothing; fail with exit code 4 when anything is stale
    #[arg(long)]
    check: bool,
    /// Stop at the first failure
    #[arg(long)]
    fail_fast: bool,
    /// How many things are done at once
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Slots by kind of worker, such as `notebook=2,html=1,plantuml=2,drawio=1`
    #[arg(long, value_name = "KIND=N,..", value_parser = WorkerSettings::parse)]
    workers: Option<WorkerSettings>,
    /// How to report: lines for people, JSON lines, or GitHub annotations
    #[arg(long, value_enum, value_name = "FORMAT")]
    message_format: Option<MessageFormat>,
    /// Write a JSON summary of the run to this file
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Say only what went wrong
    #[arg(short, long)]
    quiet: bool,
    /// Also say what was copied and written
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,
    /// Install renderers that the course needs and that are missing
    #[arg(long, conflicts_with = "offline")]
    setup: bool,
    /// Never reach out to the network
    #[arg(long)]
    offline: bool,
}

fn parse_lang(text: &str) -> Result<Lang, String> {
    Lang::parse(text).ok_or_else(|| "there are `de` and `en`".to_owned())
}

fn parse_kind(text: &str) -> Result<Kind, String> {
    let names = Kind::ALL.map(Kind::name).join("`, `");
    Kind::parse(text).ok_or_else(|| format!("there are `{names}`"))
}

fn parse_format(text: &str) -> Result<Format, String> {
    Format::parse(text).ok_or_else(|| "there are `html`, `notebook` and `code`".to_owned())
}

/// Runs the command; the exit code is 0, 1 (something failed) or 4 (stale under `--check`).
pub fn run(args: &BuildArgs) -> Result<u8> {
    let mut course = args.course.course()?;
    if let Some(workers) = &args.workers {
        course.settings.workers.override_with(workers);
    }
    let specified = course.specification()?;
    let context = session::tools_context(&course, specified.spec.kernel_python.as_deref());
    if args.setup {
        setup::install_for(&course, &specified, &context)?;
    }
    let options = args.options(&course)?;
    let format = args.message_format.unwrap_or_else(MessageFormat::detect);
    let (events, receiver) = Events::channel();
    let cancel = CancellationToken::new();
    let workers = args.worker_settings(&course);
    let mut reporter = ui::reporter(format, args.quiet, args.verbose);
    let summary_file = args.summary.clone();
    let report = std::thread::spawn(move || {
        let mut summary = Summary::default();
        for event in receiver {
            summary.add(&event);
            reporter.event(&event);
        }
        reporter.finish();
        summary
    });
    let result = session::engine(course, &context, &workers, events.clone(), cancel.clone())
        .and_then(|engine| {
            if args.check || args.dry_run {
                Ok(Ended::Stale(engine.stale(&options)?))
            } else {
                build(&engine, &options, &cancel).map(Ended::Built)
            }
        });
    if let Err(error) = &result {
        for diagnostic in &error.diagnostics {
            events.emit(Event::Diagnostic(diagnostic.clone()));
        }
    }
    drop(events);
    let summary = report
        .join()
        .map_err(|_| Error::internal("the reporter failed"))?;
    if let Some(file) = summary_file {
        std::fs::write(&file, summary.to_json())
            .map_err(|error| Error::io("write", &file, &error))?;
    }
    match result {
        Ok(Ended::Built(built)) => Ok(u8::from(built.has_errors)),
        Ok(Ended::Stale(stale)) => {
            show_stale(&stale, format);
            Ok(if args.check && !stale.is_empty() {
                4
            } else {
                0
            })
        }
        // The reporter has said it already.
        Err(error) => Ok(error.exit_code()),
    }
}

enum Ended {
    Built(engine::Built),
    Stale(Vec<Stale>),
}

/// Builds until it is done or the person presses Ctrl-C.
fn build(
    engine: &Engine,
    options: &BuildOptions,
    cancel: &CancellationToken,
) -> Result<engine::Built> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::internal(format!("cannot start: {error}")))?;
    let result = runtime.block_on(async {
        let cancel = cancel.clone();
        tokio::spawn(async move {
            if stop_signal().await.is_ok() {
                cancel.cancel();
            }
        });
        engine.build(options).await
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Waits for Ctrl-C or a polite request to end.
async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
        _ = hang_up.recv() => Ok(()),
    }
}

fn show_stale(stale: &[Stale], format: MessageFormat) {
    for entry in stale {
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
    if format == MessageFormat::Human {
        ui::say(&match stale.len() {
            0 => "Everything is up to date".to_owned(),
            1 => "1 action is not up to date".to_owned(),
            count => format!("{count} actions are not up to date"),
        });
    }
}

impl BuildArgs {
    fn options(&self, course: &Course) -> Result<BuildOptions> {
        let paths = |paths: &[PathBuf]| -> Result<Vec<RelPath>> {
            paths.iter().map(|path| source_path(path, course)).collect()
        };
        Ok(BuildOptions {
            selection: Selection {
                languages: some(&self.languages),
                kinds: some(&self.kinds),
                formats: some(&self.formats),
                targets: some(&self.targets),
                sections: some(&self.only_sections),
            },
            only: paths(&self.only)?,
            force: match self.force.as_deref() {
                None => Force::Nothing,
                Some([]) => Force::Everything,
                Some(sources) => Force::Sources(paths(sources)?),
            },
            fast: self.fast,
            fail_fast: self.fail_fast,
            trigger: "build".to_owned(),
            focus: HashSet::new(),
            looks_at_everything: true,
            writes_manifests: true,
        })
    }

    fn worker_settings(&self, course: &Course) -> WorkerSettings {
        let mut settings = course.settings.workers.clone();
        if let Some(jobs) = self.jobs {
            let jobs = usize::from(jobs);
            settings.override_with(&WorkerSettings {
                notebook: Some(jobs),
                html: Some(jobs),
                plantuml: Some(jobs),
                drawio: Some(jobs),
            });
        }
        if let Some(workers) = &self.workers {
            settings.override_with(workers);
        }
        settings
    }
}

fn some<T: Clone>(items: &[T]) -> Option<Vec<T>> {
    (!items.is_empty()).then(|| items.to_vec())
}

/// A source as the person names it: relative to the working directory, or else to the course root.
fn source_path(path: &std::path::Path, course: &Course) -> Result<RelPath> {
    let root = &course.place.root;
    let from_cwd = session::current_dir()?.join(path);
    // Not `canonicalize`: a source may be a link inside the course, and a deleted one still has a name.
    let parent = from_cwd
        .parent()
        .and_then(|parent| parent.canonicalize().ok());
    let absolute = match (parent, from_cwd.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => from_cwd,
    };
    if let Some(path) = RelPath::below(root, &absolute) {
        return Ok(path);
    }
    RelPath::new(&path.to_string_lossy())
        .ok()
        .filter(|path| path.under(root).exists())
        .ok_or_else(|| {
            Error::usage(format!("`{}` is not a file of the course", path.display()))
                .hint(format!("the course root is `{}`", root.display()))
        })
}
