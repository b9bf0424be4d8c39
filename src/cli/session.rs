//! What every command on a course needs: the paths, the settings, the tools, the records.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::config::{EnvFile, ImageMode, Named, Place, Settings, WorkerSettings};
use crate::course::words::ImageKind;
use crate::diagnostic::Diagnostic;
use crate::engine::Engine;
use crate::engine::course::Course;
use crate::error::{Error, Result};
use crate::events::{Event, Events};
use crate::owner::Owner;
use crate::store::{Store, recorded_identities};
use crate::tools::lock::Lock;
use crate::tools::{self, expected};
use crate::worker::Renderers;
use crate::worker::pool::PoolConfig;

use super::{farm, setup, shared};

/// Where the course is and where outputs go: the same for every command.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct CourseArgs {
    /// The course: its specification, or the directory that has it [default: the nearest `course.xml` upward]
    #[arg(value_name = "SPEC")]
    pub spec: Option<PathBuf>,
    /// Course root, which holds `slides/` [default: the specification's directory, or its parent]
    #[arg(short = 'd', long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Output root: each target gets a directory of its name in it
    #[arg(short, long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
    /// Where images go: beside the decks of each section, format and kind, or into one directory for each language
    #[arg(long, value_enum, value_name = "MODE")]
    pub image_mode: Option<ImageMode>,
    /// The format of diagrams, whatever the specification says
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub image_format: Option<ImageKind>,
    /// Embed images in notebooks and pages
    #[arg(long)]
    pub inline_images: bool,
    /// In a folder without `course.xml`: write pictures, and notebooks if they are made, also beside their sources
    #[arg(long)]
    pub beside: bool,
}

impl CourseArgs {
    /// Returns arguments that specify the same course in another process with any working directory.
    pub(super) fn to_args(&self, course: &Course) -> Vec<std::ffi::OsString> {
        let mut args: Vec<std::ffi::OsString> = vec![
            course.place.spec.clone().into(),
            "--data-dir".into(),
            course.place.root.clone().into(),
        ];
        if let Some(dir) = &course.output_dir {
            args.extend(["--output-dir".into(), dir.clone().into()]);
        }
        let values = [
            ("--image-mode", self.image_mode.map(value_name)),
            ("--image-format", self.image_format.map(value_name)),
        ];
        for (name, value) in values {
            args.extend(
                value
                    .into_iter()
                    .flat_map(|value| [name.into(), value.into()]),
            );
        }
        if self.inline_images {
            args.push("--inline-images".into());
        }
        if self.beside {
            args.push("--beside".into());
        }
        args
    }

    /// Finds out what SPEC names.
    pub(super) fn named(&self) -> Result<Named> {
        Named::of(self.spec.as_deref(), &current_dir()?)
    }

    /// Finds the course.
    pub(super) fn place(&self) -> Result<Place> {
        let cwd = current_dir()?;
        Place::find(self.spec.as_deref(), self.data_dir.as_deref(), &cwd)
    }

    /// Finds the course and reads its settings.
    pub(super) fn course(&self) -> Result<Course> {
        let cwd = current_dir()?;
        let place = self.place()?;
        let mut settings = Settings::load(&place.root)?;
        settings.apply_env(|name| std::env::var_os(name))?;
        let images = &mut settings.images;
        images.mode = self.image_mode.unwrap_or(images.mode);
        images.format = self.image_format.or(images.format);
        if self.inline_images {
            images.inline = Some(true);
        }
        if self.beside {
            if !place.is_folder() {
                return Err(Error::usage("`--beside` is for folders without `course.xml`")
                    .hint("in a course, `write_back` under `[diagrams]` in `clm.toml` writes pictures to `img-generated/`"));
            }
            settings.folder.beside = true;
        }
        let output_dir = self.output_dir.as_ref().map(|dir| cwd.join(dir));
        if let Some(dir) = &output_dir {
            refuse_strange_name(dir, &place)?;
            refuse_source_dir(dir, &place)?;
        }
        Ok(Course {
            place,
            settings,
            output_dir,
        })
    }
}

/// Returns a value as it is written on the command line.
fn value_name(value: impl clap::ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Rejects an output directory whose name is not UTF-8: outputs are recorded as text, and a converted name would be
/// another directory.
fn refuse_strange_name(dir: &Path, place: &Place) -> Result<()> {
    let below = dir.strip_prefix(&place.root).unwrap_or(dir);
    if below.to_str().is_some() {
        return Ok(());
    }
    Err(Error::usage(format!(
        "the name of the output directory `{}` is not UTF-8 text",
        dir.display()
    ))
    .hint("choose a directory whose name is UTF-8 text, such as `output`"))
}

/// Rejects an output directory among the sources, where outputs would be taken for sources.
fn refuse_source_dir(dir: &Path, place: &Place) -> Result<()> {
    let real = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    let problem = if place.root.starts_with(&real) {
        "holds sources"
    } else if real.starts_with(place.root.join("slides")) {
        "lies among the sources"
    } else {
        return Ok(());
    };
    Err(Error::usage(format!(
        "the output directory `{}` {problem}",
        dir.display()
    ))
    .hint("choose a directory of its own, such as `output`"))
}

/// Returns the working directory.
pub(super) fn current_dir() -> Result<PathBuf> {
    std::env::current_dir().map_err(|error| {
        Error::usage(format!("the working directory cannot be used: {error}"))
            .hint("it may have been removed or replaced: change to it again with `cd`")
    })
}

/// Returns the context in which the tools of a course are located.
pub(super) fn tools_context(course: &Course, kernel_python: Option<&str>) -> tools::Context {
    tools::Context::of_process(Some(course.place.root.clone())).with_kernel_python(
        course
            .settings
            .notebook
            .kernel_python
            .clone()
            .or_else(|| kernel_python.map(str::to_owned)),
    )
}

/// Opens the records, and emits the diagnostics about them as events.
#[tracing::instrument(level = "debug", name = "open records", skip_all)]
pub(super) fn open_store(course: &Course, events: &Events) -> Result<Store> {
    if let Some(dir) = course.place.state_dir_of_read_only() {
        events.emit(Event::Diagnostic(
            Diagnostic::warning(format!(
                "`{}` cannot be written; records are kept in `{}`",
                course.place.root.display(),
                dir.display()
            ))
            .hint("choose another directory with the variable CLM_STATE_DIR")
            .into(),
        ));
    }
    let (store, diagnostics) = Store::open(&course.place.state_dir())?;
    for diagnostic in diagnostics {
        events.emit(Event::Diagnostic(diagnostic.into()));
    }
    Ok(store)
}

/// Returns the tools found, what those are expected to be that are missing, and the variables of the `.env` files for
/// kernels.
pub(super) fn renderers(course: &Course, context: &tools::Context) -> Result<Renderers> {
    let locate = || tools::locate::locate(context);
    let (mut renderers, _) = tracing::debug_span!("find renderers").in_scope(locate);
    let lock = Lock::read(&course.place)?;
    let locked = lock.map(|lock| lock.identities()).unwrap_or_default();
    let recorded = || recorded_identities(&course.place.state_dir());
    expected::expect(context, &mut renderers, locked, recorded);
    let env_file = EnvFile::load(&course.place, &course.settings.notebook, |name| {
        std::env::var_os(name)
    })?;
    renderers.add_variables(&env_file.variables);
    Ok(renderers)
}

/// Creates an engine for a course with these tools. If it `installs`, renderers that stale actions need and that are
/// missing are installed.
pub(super) fn engine(
    course: Course,
    renderers: Renderers,
    context: &tools::Context,
    workers: &WorkerSettings,
    installs: bool,
    events: Events,
    cancel: CancellationToken,
) -> Result<Engine> {
    let store = open_store(&course, &events)?;
    record(&renderers, &store)?;
    if let Some(lock) = Lock::read(&course.place)?
        && let Some(note) = lock.note(&course.place, &renderers)
    {
        events.emit(Event::Diagnostic(note.into()));
    }
    let config = pool_config(&course, context, workers);
    let remote = shared::remote(&course.settings.cache, &course.settings.farm)?;
    let farm = farm::farm(&course.settings.farm)?;
    let installer = installs.then(|| setup::installer(&course, context, &store));
    let mut engine = Engine::new(course, store, Arc::new(renderers), config, events, cancel);
    if let Some(remote) = remote {
        engine = engine.with_remote(remote);
    }
    if let Some(farm) = farm {
        engine = engine.with_farm(farm);
    }
    if let Some(installer) = installer {
        engine = engine.with_installer(installer);
    }
    Ok(engine)
}

/// Records what the renderers are, for a machine that gets these records and has no renderers.
pub(super) fn record(renderers: &Renderers, store: &Store) -> Result<()> {
    let identities = expected::to_record(renderers);
    let known = store.identities()?;
    let is_known = |(name, value): (&String, &String)| known.get(name) == Some(value);
    if !identities.iter().all(is_known) {
        store.set_identities(identities)?;
    }
    Ok(())
}

/// Returns the settings of the workers for a course.
pub(super) fn pool_config(
    course: &Course,
    context: &tools::Context,
    workers: &WorkerSettings,
) -> PoolConfig {
    let mut config = pool_config_for(&course.place.root, context);
    config.zygote = course.settings.notebook.zygote;
    config.imports_file = Some(course.place.state_dir().join("imports.json"));
    config.timeouts.plantuml = course.settings.diagrams.timeout();
    config.timeouts.drawio = course.settings.diagrams.timeout();
    let slots = &mut config.slots;
    for (slot, number) in [
        (&mut slots.execute, workers.notebook),
        (&mut slots.html, workers.html),
        (&mut slots.plantuml, workers.plantuml),
        (&mut slots.drawio, workers.drawio),
    ] {
        if let Some(number) = number {
            *slot = number;
        }
    }
    // Tests substitute a misbehaving program for PlantUML. Programs that are installed cannot do that.
    #[cfg(feature = "test-fakes")]
    {
        config.plantuml_command = std::env::var("CLM_TEST_PLANTUML_COMMAND")
            .ok()
            .map(|command| command.split_whitespace().map(str::to_owned).collect());
    }
    config
}

/// Returns the settings of workers that may read below `root`.
pub(super) fn pool_config_for(root: &std::path::Path, context: &tools::Context) -> PoolConfig {
    // Each process has its own directory: the next process removes those of killed ones.
    let own = Owner::current().dir_name();
    PoolConfig::new(root, context.tools_dir.join("run").join(own))
}

/// Prints all diagnostics, for commands that do not show a run.
pub(super) fn print_all(receiver: std::sync::mpsc::Receiver<Event>) {
    let diagnostics: Vec<Diagnostic> = receiver
        .into_iter()
        .filter_map(|event| match event {
            Event::Diagnostic(reported) => Some(reported.diagnostic),
            _ => None,
        })
        .collect();
    crate::ui::print_diagnostics(&diagnostics);
}

/// Waits for Ctrl-C or SIGTERM.
pub(super) async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
        _ = hang_up.recv() => Ok(()),
    }
}

/// Returns the runtime of commands that use workers.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::system("start threads", &error))
}
