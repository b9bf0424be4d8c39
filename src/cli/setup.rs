//! `clm setup`: finds renderers and installs those that are missing, or removes them.

mod show;

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::engine::Installer;
use crate::engine::course::Course;
use crate::error::Result;
use crate::store::Store;
use crate::tools::locate::Found;
use crate::tools::lock::Lock;
use crate::tools::remove::Removal;
use crate::tools::selection::{NAMES, Selection};
use crate::tools::{self, Context, Needs, SetupEvent, SetupOptions};
use crate::tools::{licences, planned, provision, remove};
use crate::ui;

use super::session::{self, CourseArgs};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm setup                          install all renderers that are missing\n\
    \x20 clm setup course.xml               only those that this course needs\n\
    \x20 clm setup --only drawio --dry-run  how much would be downloaded")]
pub(super) struct SetupArgs {
    /// Install only what this course needs
    #[arg(value_name = "SPEC", conflicts_with_all = ["only", "remove", "licences"])]
    spec: Option<PathBuf>,
    /// Only these renderers, with what they need, or these parts of them
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', value_parser = PossibleValuesParser::new(NAMES))]
    only: Vec<String>,
    /// Change nothing; list what is there, what would be installed or removed, and how large it is
    #[arg(long, conflicts_with_all = ["lock", "download", "licences"])]
    dry_run: bool,
    /// Install from a directory that `--download` has filled, or from the address of one, without any other network
    #[arg(long, value_name = "DIR|URL")]
    from: Option<String>,
    /// Install nothing; download everything into a directory, for machines without network
    #[arg(long, value_name = "DIR", conflicts_with_all = ["from", "lock", "system"])]
    download: Option<PathBuf>,
    /// Remove what clm has installed, also what its other versions have
    #[arg(long, conflicts_with_all = ["from", "download", "lock", "system", "licences"])]
    remove: bool,
    /// With `--remove`: only what this version does not use
    #[arg(long, requires = "remove")]
    old: bool,
    /// List the licences of everything that is installed
    #[arg(long, conflicts_with_all = ["from", "download", "lock", "system"])]
    licences: bool,
    /// Let the system's package manager install what nothing else can (needs root)
    #[arg(long)]
    system: bool,
    /// Write the renderers of the course to `clm.lock` beside the specification, for machines without them
    #[arg(long, conflicts_with = "only")]
    lock: bool,
}

/// Runs the command and returns the exit code.
pub(super) fn run(args: &SetupArgs) -> Result<u8> {
    if args.licences {
        ui::data(&show::licences(&licences::all(), &args.only));
        return Ok(0);
    }
    if args.remove {
        return remove_installed(args);
    }
    let course = match &args.spec {
        None if !args.lock => None,
        spec => {
            let args = CourseArgs {
                spec: spec.clone(),
                ..CourseArgs::default()
            };
            Some(args.course()?)
        }
    };
    let (context, needs) = match &course {
        None => (Context::of_process(None), Needs::everything()),
        Some(course) => {
            let specified = course.specification()?;
            let kernel_python = specified.spec.kernel_python.clone();
            let context = session::tools_context(course, kernel_python.as_deref());
            (context, Needs::of(course, &specified))
        }
    };
    let selection = match args.only.as_slice() {
        [] => Selection::from(needs),
        names => Selection::of_names(names),
    };
    if args.dry_run {
        let plan = planned::plan(&context, &selection, args.from.is_some());
        ui::data(&show::plan(&context, &plan, args.from.as_deref()));
        return Ok(0);
    }
    let mut transfer = ui::Transfer::new();
    let mut report = |event| tell(&event, &mut transfer);
    if let Some(dir) = &args.download {
        provision::download(&context, &selection, dir, &mut report)?;
        ui::print(&format!(
            "Everything is in `{0}`: bring it to the other machine, or serve it, and run `clm setup --from {0}` there",
            dir.display()
        ));
        return Ok(0);
    }
    let options = SetupOptions {
        system: args.system,
        from: args.from.clone(),
    };
    let found = provision::setup_selection(&context, &selection, &options, &mut report)?;
    for entry in &found {
        ui::data(&line(entry));
    }
    ui::print(&format!(
        "The renderers are in `{}`",
        context.tools_dir.display()
    ));
    if let Some(course) = course.filter(|_| args.lock) {
        let (renderers, _) = tools::locate::locate(&context);
        let (name, is_changed) = Lock::of(&context, &renderers, &needs).write(&course.place)?;
        ui::print(&match is_changed {
            true => format!("`{name}` is written: check it in"),
            false => format!("`{name}` is as it was"),
        });
    }
    Ok(0)
}

fn remove_installed(args: &SetupArgs) -> Result<u8> {
    let context = Context::of_process(None);
    let removal = Removal {
        names: &args.only,
        only_old: args.old,
    };
    if args.dry_run {
        let inventory = remove::removable(&context, removal);
        remove::refuse_if_used(&context, &inventory)?;
        ui::data(&show::removable(&inventory));
        show::foreign(&inventory)
            .iter()
            .for_each(|line| ui::print(line));
        return Ok(0);
    }
    let mut total = 0;
    let inventory = remove::remove(&context, removal, &mut |item, bytes| {
        total += bytes;
        ui::data(&format!("removed {}\n", show::removed(item, bytes)));
    })?;
    show::foreign(&inventory)
        .iter()
        .for_each(|line| ui::print(line));
    ui::print(&match inventory.items.is_empty() {
        true => format!(
            "There is nothing to remove in `{}`",
            context.tools_dir.display()
        ),
        false => format!("Freed {}", ui::size(total)),
    });
    Ok(0)
}

/// Reports an event of an installation.
fn tell(event: &SetupEvent, transfer: &mut ui::Transfer) {
    match event {
        SetupEvent::Progress {
            component,
            done,
            total,
        } => transfer.show(component, *done, *total),
        event => transfer.print(&event.to_string()),
    }
}

/// Returns what installs renderers for a build of this course.
pub(super) fn installer(course: &Course, context: &Context, store: &Store) -> Installer {
    let (course, context, store) = (course.clone(), context.clone(), store.clone());
    Box::new(move |names| {
        let needs = Needs::of_renderers(names);
        let options = SetupOptions::default();
        // The build has bars of its own.
        let mut transfer = ui::Transfer::of_log();
        let found = tools::setup(&context, &needs, &options, &mut |event| {
            tell(&event, &mut transfer);
        })?;
        for entry in &found {
            ui::print(line(entry).trim_end());
        }
        let renderers = session::renderers(&course, &context)?;
        session::record(&renderers, &store)?;
        Ok(renderers)
    })
}

/// Returns a line that names a tool and its use.
pub(super) fn line(found: &Found) -> String {
    format!(
        "{}: {} {} ({}), {}\n",
        found.used_for,
        found.what,
        found.version,
        found.origin,
        found.path.display()
    )
}
