//! `clm explain`: why an output is up to date or not.

use std::path::PathBuf;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::engine::explain::Explained;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::store::Origin;
use crate::ui;

use super::session::{self, CourseArgs};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm explain slides/m/topic_010_a/slides_a.py  why it is stale, or not")]
pub(super) struct ExplainArgs {
    /// A source or an output
    path: PathBuf,
    #[command(flatten)]
    pub course: CourseArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also print everything that the outputs depend on, as digests
    #[arg(short, long)]
    verbose: bool,
}

/// Runs the command and returns the exit code.
pub(super) fn run(args: &ExplainArgs) -> Result<u8> {
    let cwd = session::current_dir()?;
    let path = cwd.join(&args.path);
    let mut course_args = args.course.clone();
    if course_args.spec.is_none() {
        // `clm explain fixtures/demo/slides/…` works from anywhere: the course is the one that contains the file.
        course_args.spec = path
            .ancestors()
            .skip(1)
            .map(|dir| dir.join("course.xml"))
            .find(|spec| spec.is_file());
    }
    let course = course_args.course()?;
    let specified = course.specification()?;
    let context = session::tools_context(&course, specified.spec.kernel_python.as_deref());
    let (events, receiver) = Events::channel();
    let workers = course.settings.workers.clone();
    let renderers = session::renderers(&course, &context)?;
    let cancel = CancellationToken::new();
    let engine = session::engine(course, renderers, &context, &workers, false, events, cancel)?;
    let real = path
        .parent()
        .and_then(|parent| parent.canonicalize().ok())
        .zip(path.file_name())
        .map_or_else(|| path.clone(), |(parent, name)| parent.join(name));
    let explained = engine.explain(&real);
    let root = engine.course().place.root.display().to_string();
    drop(engine);
    session::print_all(receiver);
    let explained = explained?;
    if explained.is_empty() {
        return Err(Error::usage(format!(
            "`{}` is neither a source nor an output",
            args.path.display()
        ))
        .hint(format!(
            "the root directory is `{root}`; outputs of other targets or options are not known"
        )));
    }
    if args.json {
        let json = serde_json::to_string_pretty(&explained)
            .map_err(|error| Error::internal(error.to_string()))?;
        ui::data(&format!("{json}\n"));
    } else {
        for entry in &explained {
            ui::data(&text(entry, args.verbose));
        }
    }
    Ok(0)
}

fn text(entry: &Explained, verbose: bool) -> String {
    let mut text = format!("{}: {}\n", entry.action, entry.state);
    for reason in &entry.reasons {
        text += &format!("  because {reason}\n");
    }
    if let Some(ms) = entry.duration_ms.filter(|ms| *ms > 0) {
        text += &format!("  last run took {:.2} s\n", ms as f64 / 1000.0);
    }
    if let Some(origin) = &entry.origin {
        text += &format!("  {}\n", made_by(origin));
    }
    for (path, digest) in &entry.discovered {
        let what = if digest.is_some() {
            "reads"
        } else {
            "looks for"
        };
        text += &format!("  {what} {path}\n");
    }
    if verbose {
        for (name, value) in &entry.parts {
            text += &format!("  {name} = {value}\n");
        }
        for output in &entry.outputs {
            text += &format!("  -> {output}\n");
        }
    }
    for diagnostic in &entry.diagnostics {
        text += &format!("  {diagnostic}\n").replace("\nhint", "\n  hint");
    }
    text
}

/// Returns where a result was made that came from elsewhere.
fn made_by(origin: &Origin) -> String {
    let machine = match origin.machine.as_str() {
        "" => "another machine",
        machine => machine,
    };
    let mut text = format!("made by {machine}");
    if let Some(made) = chrono::DateTime::from_timestamp_millis(origin.made_ms)
        && origin.made_ms > 0
    {
        let local = made.with_timezone(&chrono::Local);
        text += &format!(" at {}", local.format("%Y-%m-%d %H:%M:%S"));
    }
    if let Some(run) = &origin.run {
        text += &format!(" ({run})");
    }
    text
}
