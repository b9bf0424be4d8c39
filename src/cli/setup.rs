//! `clm setup`: finds renderers and installs those that are missing.

use std::path::PathBuf;

use clap::Args;

use crate::engine::Installer;
use crate::engine::course::Course;
use crate::error::Result;
use crate::store::Store;
use crate::tools::locate::Found;
use crate::tools::lock::Lock;
use crate::tools::{self, Context, Needs, SetupOptions};
use crate::ui;

use super::session::{self, CourseArgs};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm setup             install all renderers that are missing\n\
    \x20 clm setup course.xml  only those that this course needs")]
pub(super) struct SetupArgs {
    /// Install only what this course needs
    #[arg(value_name = "SPEC")]
    spec: Option<PathBuf>,
    /// Let the system's package manager install what nothing else can (needs root)
    #[arg(long)]
    system: bool,
    /// Write the renderers of the course to `clm.lock` beside the specification, for machines without them
    #[arg(long)]
    lock: bool,
}

/// Runs the command and returns the exit code.
pub(super) fn run(args: &SetupArgs) -> Result<u8> {
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
    let options = SetupOptions {
        system: args.system,
    };
    let found = tools::setup(&context, &needs, &options, &mut |event| {
        ui::print(&event.to_string())
    })?;
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

/// Returns what installs renderers for a build of this course.
pub(super) fn installer(course: &Course, context: &Context, store: &Store) -> Installer {
    let (course, context, store) = (course.clone(), context.clone(), store.clone());
    Box::new(move |names| {
        let needs = Needs::of_renderers(names);
        let options = SetupOptions::default();
        let found = tools::setup(&context, &needs, &options, &mut |event| {
            ui::print(&event.to_string());
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
