//! `clm build`: brings outputs up to date.

mod reported;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::config::{Named, Place, shown_from};
use crate::course::layout::Selection;
use crate::daemon::client::{Client, ClientBuilt};
use crate::daemon::{Reason, running};
use crate::diagnostic::{Diagnostic, Severity};
use crate::engine::checkpoint::{Changed, Checkpoint, Comparison};
use crate::engine::course::{Course, Specified};
use crate::engine::decide::Force;
use crate::engine::verify::Verified;
use crate::engine::{self, BuildOptions, Checked, Engine};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Events};
use crate::parallel::lock;
use crate::profile::Profile;
use crate::tools;
use crate::ui::{self, Mode, Results, Verbosity};

use super::daemon;
use super::options::{MakeArgs, source_paths};
use super::part::{Part, PartArgs};
use super::profile::ProfileArgs;
use super::reports::ReportArgs;
use super::saved::{self, Saved};
use super::session::{self, CourseArgs};
use super::snapshot::SnapshotArgs;
use super::stopping::Stop;
use super::verify::{self, VerifyArgs};

pub(super) use reported::run;
use reported::{report, show_stale};

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm build                                   the course of this directory\n\
    \x20 clm build courses/python                    the course of another one\n\
    \x20 clm build slides/m/topic_010_a/slides_a.py  what depends on this deck\n\
    \x20 clm build docs                              notebooks of a folder\n\
    \x20 clm build --formats html -L en              only the English pages\n\
    \x20 clm build --dry-run                         what would be made, and why")]
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
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    verify: VerifyArgs,
    #[command(flatten)]
    snapshots: SnapshotArgs,
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

fn run_measured(
    args: &BuildArgs,
    profile: &mut Option<Profile>,
    results: &Arc<Mutex<Results>>,
    stop: &Stop,
) -> Result<u8> {
    let args = &args.with_named_source()?;
    let course_args = match &args.saved {
        None => args.course.clone(),
        Some(file) => match saved::course_of(&args.course, file)? {
            Some(course_args) => course_args,
            None => return Ok(0),
        },
    };
    run_for(args, &course_args, profile, results, stop)
}

fn run_for(
    args: &BuildArgs,
    course_args: &CourseArgs,
    profile: &mut Option<Profile>,
    results: &Arc<Mutex<Results>>,
    stop: &Stop,
) -> Result<u8> {
    let mut course = course_args.course()?;
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
    args.make.apply_to(&mut course);
    let specified = Arc::new(course.specification()?);
    let context = session::tools_context(&course, specified.spec.kernel_python.as_deref());
    let part = args
        .part
        .resolve(&course, &specified, args.verbose, args.offline)?;
    let options = args.options(&course, saved.as_ref(), &part)?;
    let snapshots = args.snapshots.prepare(&course, &specified)?;
    let format = args.report.format();
    let (events, receiver) = Events::channel();
    part.report(&events);
    let verbosity = Verbosity {
        quiet: args.quiet,
        verbose: args.verbose,
    };
    let reporter = ui::reporter(format, Some(&course.place), verbosity);
    let measured = profile.take();
    let told = Arc::clone(results);
    let report = std::thread::spawn(move || report(receiver, reporter, &told, measured));
    let work = Work {
        specified: &specified,
        context: &context,
        options: &options,
        events: &events,
        stop,
    };
    let result = args.work(course, saved.as_ref(), &work);
    drop(events);
    *profile = report
        .join()
        .map_err(|_| Error::bug("the thread that prints messages failed"))?;
    match result {
        Ok(Ended::Built { has_errors }) => {
            let code = match snapshots {
                Some(snapshots) => snapshots.finish(has_errors, format)?,
                None => 0,
            };
            if code > 0 {
                let differs = "the outputs differ from those that they were compared with";
                lock(results).fail(&Error::usage(differs).hint("the log lists them"));
            }
            Ok(code.max(u8::from(has_errors)))
        }
        Ok(Ended::Checked(checked)) => {
            show_stale(&checked, format);
            lock(results).check(&checked);
            Ok(args.code_of_check(&checked))
        }
        Ok(Ended::Verified(verified)) => {
            verify::show(&verified, format);
            Ok(verify::code(&verified))
        }
        // The reporter has already shown the error.
        Err(error) => Ok(error.exit_code()),
    }
}

/// What a build needs besides its course and the arguments.
struct Work<'a> {
    specified: &'a Arc<Specified>,
    context: &'a tools::Context,
    options: &'a BuildOptions,
    events: &'a Events,
    stop: &'a Stop,
}

enum Ended {
    Built { has_errors: bool },
    Checked(Checked),
    Verified(Verified),
}

/// Builds until it is done or the user presses Ctrl-C.
fn build(
    engine: &Engine,
    specified: Arc<Specified>,
    options: BuildOptions,
    changed: Option<Changed>,
    cancel: &CancellationToken,
) -> Result<engine::Built> {
    with_runtime(cancel, |runtime| {
        runtime.block_on(engine.build(specified, options, changed))
    })
}

/// Calls `work` with a runtime on which Ctrl-C cancels.
fn with_runtime<T>(
    cancel: &CancellationToken,
    work: impl FnOnce(&Runtime) -> Result<T>,
) -> Result<T> {
    let runtime = session::runtime()?;
    let cancel = cancel.clone();
    runtime.spawn(async move {
        if session::stop_signal().await.is_ok() {
            cancel.cancel();
        }
    });
    let result = work(&runtime);
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Returns whether a file is a specification of a course.
fn is_spec(path: &Path) -> bool {
    let is_xml = path.extension().is_some_and(|extension| extension == "xml");
    let is_course = |text: String| text.contains("<course");
    is_xml && path.is_file() && std::fs::read_to_string(path).is_ok_and(is_course)
}

impl BuildArgs {
    /// Returns the place of the course, which a saved file may say; `None` if there is none.
    fn place(&self) -> Option<Place> {
        let of_saved = self.saved.as_ref();
        let of_saved = of_saved.and_then(|file| saved::course_of(&self.course, file).ok()?);
        match of_saved {
            Some(course) => course.place().ok(),
            None => self.with_named_source().ok()?.course.place().ok(),
        }
    }

    /// Handles `--force course.xml` and `--only a.py course.xml`, which name the course after an option that takes any
    /// number of paths: a specification is no source, so it is taken as the course to build.
    fn with_swallowed_spec(&self) -> Self {
        let mut args = self.clone();
        if args.course.spec.is_some() || args.saved.is_some() {
            return args;
        }
        args.course.spec = args.verify.take_spec();
        if args.course.spec.is_some() {
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

    /// Handles `clm build slides/m/t/slides_a.py`, where a source is named in the place of the course: its course is
    /// built, as with `--only`.
    fn with_named_source(&self) -> Result<Self> {
        let mut args = self.clone();
        if self.course.spec.is_none() || self.saved.is_some() {
            return Ok(args);
        }
        let Named::Source { spec, path } = self.course.named()? else {
            return Ok(args);
        };
        let option = self.part.range_option().or(self.snapshots.option());
        if let Some(option) = option {
            let cwd = session::current_dir()?;
            let [spec, path] = [&spec, &path].map(|path| shown_from(&cwd, path));
            let problem =
                format!("`{path}` is a source of a course, and `{option}` is about all of it");
            return Err(Error::usage(problem).hint(format!("name `{spec}`, or omit `{option}`")));
        }
        args.course.spec = Some(spec);
        args.only.push(path);
        Ok(args)
    }

    fn mode(&self) -> Mode {
        match (self.check, self.dry_run) {
            (true, _) => Mode::Check,
            (_, true) => Mode::DryRun,
            _ if self.verify.is_wanted() => Mode::Verify,
            _ => Mode::Build,
        }
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
                None => {
                    let of_daemon = course.clone();
                    let result = self.alone(course, work);
                    if result.is_ok() {
                        self.leave_daemon(&of_daemon);
                    }
                    result
                }
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

    /// Returns whether it needs what a daemon does not give: one uses its own workers, installs nothing, and does not
    /// report timings.
    fn is_alone(&self) -> bool {
        self.no_daemon
            || self.check
            || self.dry_run
            || self.setup
            || self.profile.is_wanted()
            || self.make.cache_mode.is_some()
            || self.part.is_alone()
            || self.verify.is_wanted()
            || self.make.jobs.is_some()
            || self.make.workers.is_some()
    }

    /// Leaves a daemon behind after a build that worked alone only because there was none.
    fn leave_daemon(&self, course: &Course) {
        if self.is_alone() {
            return;
        }
        let reason = match self.saved {
            Some(_) => Reason::Editor,
            None => Reason::Build,
        };
        daemon::leave_behind(&self.course, course, reason);
    }

    /// Lets a running daemon do the work; returns `None` if it has to be done here.
    fn by_daemon(&self, course: &Course, work: &Work<'_>) -> Option<Result<Ended>> {
        if self.is_alone() {
            return None;
        }
        let state_dir = course.place.state_dir();
        let alone = |reason: &str| {
            if running(&state_dir).is_some_and(|info| info.reason.is_some()) {
                // Nobody started it, so nobody has to know that it cannot be used.
                tracing::debug!(reason, "this build works without the daemon");
                return None;
            }
            let message = format!("this build works without the daemon: {reason}");
            let note = Diagnostic::new(Severity::Note, message);
            let note = note.hint("`clm daemon stop` ends the daemon");
            work.events.emit(Event::Diagnostic(note.into()));
            None
        };
        let mut client = match Client::connect(&state_dir) {
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
            stop,
        } = *work;
        let renderers = session::renderers(&course, context)?;
        let sample = self.verify.sample();
        let only_looks = self.check || self.dry_run || sample.is_some();
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
        // A check is quick, and has nothing to put in order when it is stopped.
        let cancel = match self.check || self.dry_run {
            true => CancellationToken::new(),
            false => stop.heed()?,
        };
        let engine = session::engine(
            course,
            renderers,
            context,
            &workers,
            self.setup,
            events.clone(),
            cancel.clone(),
        )?;
        if let Some(sample) = sample {
            let verify = |runtime: &_| engine.verify(options, sample, runtime);
            let verified = with_runtime(&cancel, verify);
            stop.ignore();
            return Ok(Ended::Verified(verified?));
        }
        if only_looks {
            return Ok(Ended::Checked(engine.check(options)?));
        }
        let built = build(
            &engine,
            Arc::clone(specified),
            options.clone(),
            changed,
            &cancel,
        );
        stop.ignore();
        let built = built?;
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
                None if course.executes_always() => Force::Executions,
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
