//! `clm build`: brings outputs up to date.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::course::layout::Selection;
use crate::daemon::client::{Client, ClientBuilt};
use crate::diagnostic::{Diagnostic, Severity};
use crate::engine::checkpoint::{Changed, Checkpoint, Comparison};
use crate::engine::course::{Course, Specified};
use crate::engine::decide::Force;
use crate::engine::{self, BuildOptions, Checked, Engine};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Events};
use crate::profile::{self, Profile};
use crate::tools;
use crate::ui::{self, MessageFormat, Reporter, Summary, Verbosity};

use super::options::{MakeArgs, source_paths};
use super::part::{Part, PartArgs};
use super::profile::ProfileArgs;
use super::saved::{self, Saved};
use super::session::{self, CourseArgs};

#[derive(Debug, Clone, Args)]
pub(super) struct BuildArgs {
    #[command(flatten)]
    pub course: CourseArgs,
    #[command(flatten)]
    make: MakeArgs,
    #[command(flatten)]
    part: PartArgs,
    /// Only the outputs that depend on these sources
    #[arg(long, num_args = 1.., value_name = "PATH")]
    only: Vec<PathBuf>,
    /// The file that an editor just saved: like `--only`, but a file without outputs is no error
    #[arg(long, value_name = "FILE", conflicts_with_all = ["only", "check", "dry_run"])]
    saved: Option<PathBuf>,
    /// Ignore cached results: of everything, or of what depends on these sources
    #[arg(long, num_args = 0.., value_name = "PATH")]
    force: Option<Vec<PathBuf>>,
    /// Show what would be made and why, and make nothing
    #[arg(long, conflicts_with = "check")]
    dry_run: bool,
    /// Make nothing; fail with exit code 4 when anything is stale
    #[arg(long)]
    check: bool,
    /// Stop at the first failure
    #[arg(long)]
    fail_fast: bool,
    /// How to report: text for people, JSON lines, GitHub annotations, or one line for each error with an absolute path
    /// (`short`, for editors)
    #[arg(long, value_enum, value_name = "FORMAT")]
    message_format: Option<MessageFormat>,
    /// Write a JSON summary of the run to this file
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    #[command(flatten)]
    pub profile: ProfileArgs,
    /// Report only warnings and errors
    #[arg(short, long)]
    quiet: bool,
    /// Also list what was copied and written
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,
    /// Build in this process, even if a daemon watches the course
    #[arg(long)]
    no_daemon: bool,
    /// Install renderers that the course needs and that are missing
    #[arg(long, conflicts_with = "offline")]
    setup: bool,
    /// Never use the network
    #[arg(long)]
    offline: bool,
}

/// Runs the command. Returns the exit code: 0, 1 (something failed) or 4 (stale under `--check`).
pub(super) fn run(args: &BuildArgs, mut profile: Option<Profile>) -> Result<u8> {
    let result = run_measured(args, &mut profile);
    // The profile is written even if the build failed or was interrupted: that may be what the user wants to examine.
    match profile.map_or(Ok(()), Profile::finish) {
        Ok(()) => result,
        Err(error) => {
            ui::print_error(&error, args.message_format, None);
            result.map(|code| code.max(error.exit_code()))
        }
    }
}

fn run_measured(args: &BuildArgs, profile: &mut Option<Profile>) -> Result<u8> {
    let args = &args.with_swallowed_spec();
    let course_args = match &args.saved {
        None => args.course.clone(),
        Some(file) => match saved::course_of(&args.course, file)? {
            Some(course_args) => course_args,
            None => return Ok(0),
        },
    };
    run_for(args, &course_args, profile).or_else(|error| {
        let place = course_args.place().ok();
        ui::print_error(&error, args.message_format, place.as_ref());
        Ok(error.exit_code())
    })
}

fn run_for(
    args: &BuildArgs,
    course_args: &CourseArgs,
    profile: &mut Option<Profile>,
) -> Result<u8> {
    let mut course = course_args.course()?;
    if let Some(file) = &args.summary {
        profile::check_place(file)?;
    }
    let saved = match &args.saved {
        None => None,
        Some(file) => match Saved::of(file, &course.place)? {
            Some(saved) => Some(saved),
            None => return Ok(0),
        },
    };
    if let Some(workers) = &args.make.workers {
        course.settings.workers.override_with(workers);
    }
    if args.make.cache_mode.is_some() {
        course.settings.cache.mode = args.make.cache_mode;
    }
    let specified = Arc::new(course.specification()?);
    let context = session::tools_context(&course, specified.spec.kernel_python.as_deref());
    let part = args.part.resolve(&course, &specified, args.verbose)?;
    let options = args.options(&course, saved.as_ref(), &part)?;
    let format = args.message_format.unwrap_or_else(MessageFormat::detect);
    let (events, receiver) = Events::channel();
    part.report(&events);
    let verbosity = Verbosity {
        quiet: args.quiet,
        verbose: args.verbose,
    };
    let reporter = ui::reporter(format, Some(&course.place), verbosity);
    let measured = profile.take();
    let report = std::thread::spawn(move || report(receiver, reporter, measured));
    let work = Work {
        specified: &specified,
        context: &context,
        options: &options,
        events: &events,
    };
    let result = args.work(course, saved.as_ref(), &work);
    drop(events);
    let (summary, measured) = report
        .join()
        .map_err(|_| Error::bug("the thread that prints messages failed"))?;
    *profile = measured;
    if let Some(file) = &args.summary {
        std::fs::write(file, summary.to_json())
            .map_err(|error| Error::io("write", file, &error))?;
    }
    match result {
        Ok(Ended::Built { has_errors }) => Ok(u8::from(has_errors)),
        Ok(Ended::Checked(checked)) => {
            show_stale(&checked, format);
            Ok(args.code_of_check(&checked))
        }
        // The reporter has already shown the error.
        Err(error) => Ok(error.exit_code()),
    }
}

/// Reports all events, and returns the summary of the run and the profile.
fn report(
    events: Receiver<Event>,
    mut reporter: Box<dyn Reporter>,
    mut profile: Option<Profile>,
) -> (Summary, Option<Profile>) {
    let mut summary = Summary::default();
    for event in events {
        summary.add(&event);
        if let Some(profile) = &mut profile {
            profile.event(&event);
        }
        reporter.event(&event);
    }
    reporter.finish();
    (summary, profile)
}

/// What a build needs besides its course and the arguments.
struct Work<'a> {
    specified: &'a Arc<Specified>,
    context: &'a tools::Context,
    options: &'a BuildOptions,
    events: &'a Events,
}

enum Ended {
    Built { has_errors: bool },
    Checked(Checked),
}

/// Builds until it is done or the user presses Ctrl-C.
fn build(
    engine: &Engine,
    specified: Arc<Specified>,
    options: BuildOptions,
    changed: Option<Changed>,
    cancel: &CancellationToken,
) -> Result<engine::Built> {
    let runtime = session::runtime()?;
    let result = runtime.block_on(async {
        let cancel = cancel.clone();
        tokio::spawn(async move {
            if session::stop_signal().await.is_ok() {
                cancel.cancel();
            }
        });
        engine.build(specified, options, changed).await
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

fn show_stale(checked: &Checked, format: MessageFormat) {
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
    if format == MessageFormat::Human {
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

/// Returns whether a file is a specification of a course.
fn is_spec(path: &Path) -> bool {
    let is_xml = path.extension().is_some_and(|extension| extension == "xml");
    let is_course = |text: String| text.contains("<course");
    is_xml && path.is_file() && std::fs::read_to_string(path).is_ok_and(is_course)
}

impl BuildArgs {
    /// Handles `--force course.xml` and `--only a.py course.xml`, which name the course after an option that takes any
    /// number of paths: a specification is no source, so it is taken as the course to build.
    fn with_swallowed_spec(&self) -> Self {
        let mut args = self.clone();
        if args.course.spec.is_some() || args.saved.is_some() {
            return args;
        }
        for paths in [Some(&mut args.only), args.force.as_mut()]
            .into_iter()
            .flatten()
        {
            if let Some(place) = paths.iter().position(|path| is_spec(path)) {
                args.course.spec = Some(paths.remove(place));
                break;
            }
        }
        args
    }

    fn code_of_check(&self, checked: &Checked) -> u8 {
        match checked.stale.len() {
            _ if checked.has_errors => 1,
            0 => 0,
            _ if self.check => 4,
            _ => 0,
        }
    }

    /// Does the work, and reports errors. A saved file without outputs is no error.
    fn work(&self, course: Course, saved: Option<&Saved>, work: &Work<'_>) -> Result<Ended> {
        let built = || Ok(Ended::Built { has_errors: false });
        let result = match saved.map_or(Ok(false), |saved| saved.check(&course, work.events)) {
            Err(error) => Err(error),
            Ok(true) => built(),
            Ok(false) => match self.by_daemon(&course, work) {
                Some(result) => result,
                None => self.alone(course, work),
            },
        };
        let result = result.or_else(|error| match saved {
            Some(saved) if saved.is_without_outputs(&error.diagnostics) => built(),
            _ => Err(error),
        });
        result.inspect_err(|error| {
            for diagnostic in &error.diagnostics {
                work.events
                    .emit(Event::Diagnostic(diagnostic.clone().into()));
            }
        })
    }

    /// Lets a running daemon do the work; returns `None` if it has to be done here.
    fn by_daemon(&self, course: &Course, work: &Work<'_>) -> Option<Result<Ended>> {
        // A daemon uses its own workers, installs nothing, and does not report timings.
        let is_alone =
            self.no_daemon || self.check || self.dry_run || self.setup || self.profile.is_wanted();
        let is_alone = is_alone || self.make.cache_mode.is_some();
        let is_alone = is_alone || self.part.is_alone();
        if is_alone || self.make.jobs.is_some() || self.make.workers.is_some() {
            return None;
        }
        let alone = |reason: &str| {
            let message = format!("this build works without the daemon: {reason}");
            let note = Diagnostic::new(Severity::Note, message);
            let note = note.hint("`clm daemon stop` ends the daemon");
            work.events.emit(Event::Diagnostic(note.into()));
            None
        };
        let mut client = match Client::connect(&course.place.state_dir()) {
            Ok(client) => client?,
            Err(unusable) => return alone(&unusable.0),
        };
        // If a renderer cannot be found, the build in this process reports it.
        let identity = course.identity_with(&session::renderers(course, work.context).ok()?);
        // Several runs may end, if changes interrupt them; only the outcome of the last one counts.
        let mut last = None;
        let built = client.build(identity, work.options, &mut |event| {
            if matches!(event, Event::RunFinished { .. }) {
                last = Some(event);
            } else {
                work.events.emit(event);
            }
        });
        if let Some(last) = last {
            work.events.emit(last);
        }
        match built {
            Ok(ClientBuilt::Done { has_errors, .. }) => Some(Ok(Ended::Built { has_errors })),
            Ok(ClientBuilt::Failed(exit_code, diagnostics)) => Some(Err(Error {
                kind: match exit_code {
                    2 => ErrorKind::Usage,
                    130 => ErrorKind::Interrupted,
                    _ => ErrorKind::System,
                },
                diagnostics,
            })),
            Ok(ClientBuilt::Refused(reason)) => alone(&reason),
            Err(error) => alone(error.message()),
        }
    }

    /// Does the work in this process.
    fn alone(&self, course: Course, work: &Work<'_>) -> Result<Ended> {
        let Work {
            specified,
            context,
            options,
            events,
        } = *work;
        let renderers = session::renderers(&course, context)?;
        let only_looks = self.check || self.dry_run;
        let mut changed = None;
        if !only_looks && matches!(options.force, Force::Nothing) {
            let checkpoint = Checkpoint::new(&course, specified, &renderers);
            if options.is_ordinary() {
                match checkpoint.compare(&options.trigger, events) {
                    Comparison::UpToDate => return Ok(Ended::Built { has_errors: false }),
                    Comparison::Changed(since) => changed = Some(since),
                    Comparison::Unknown => {}
                }
            } else if options.selection == Selection::default() && options.shard.is_none() {
                // Plans of a part have nothing in common with those of the whole.
                changed = checkpoint.changed();
            }
        }
        let workers = self.make.worker_settings(&course);
        let cancel = CancellationToken::new();
        let engine = session::engine(
            course,
            renderers,
            context,
            &workers,
            self.setup,
            events.clone(),
            cancel.clone(),
        )?;
        if only_looks {
            return Ok(Ended::Checked(engine.check(options)?));
        }
        let built = build(
            &engine,
            Arc::clone(specified),
            options.clone(),
            changed,
            &cancel,
        )?;
        Ok(Ended::Built {
            has_errors: built.has_errors,
        })
    }

    fn options(&self, course: &Course, saved: Option<&Saved>, part: &Part) -> Result<BuildOptions> {
        let mut only = source_paths(&self.only, course)?;
        only.extend(saved.map(|saved| saved.path.clone()));
        Ok(BuildOptions {
            selection: self.make.selection(),
            only,
            force: match self.force.as_deref() {
                None => Force::Nothing,
                Some([]) => Force::Everything,
                Some(sources) => Force::Sources(source_paths(sources, course)?),
            },
            fast: self.make.fast,
            fail_fast: self.fail_fast,
            trigger: "build".to_owned(),
            focus: HashSet::new(),
            compares_everything: false,
            reports_everything: self.only.is_empty(),
            writes_manifests: true,
            keeps_foreign: self.make.no_replace,
            shard: part.shard,
            affected: part.affected.clone(),
        })
    }
}
