//! `clm cache`: the cached results of earlier builds, and their size.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::config::{CacheSettings, parse_age, parse_size};
use crate::engine::bounds;
use crate::engine::course::Course;
use crate::error::Result;
use crate::events::Events;
use crate::store::{Store, Usage};
use crate::ui;

use super::place_args::PlaceArgs;
use super::session::{self, CourseArgs};
use super::{archive, cache_check, cache_key, cache_stats};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\
    \x20 clm cache stats                how large it is, and how often it helped\n\
    \x20 clm cache gc --max-size 500MB  remove what was not used for longest")]
pub(super) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Show the size of the cache, its limits, and how the last builds used it
    #[command(after_help = "Examples:\n\
        \x20 clm cache stats\n\
        \x20 clm cache stats --json")]
    Stats {
        #[command(flatten)]
        course: PlaceArgs,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Write an archive of results, for `clm cache import` elsewhere: those that the course uses now
    Export(archive::ExportArgs),
    /// Add the results of an archive to the cache; what the cache has already stays
    Import(archive::ImportArgs),
    /// Print the name under which a pipeline keeps the cache, those of older caches, and the directory to keep
    Key(cache_key::KeyArgs),
    /// Test the shared cache: whether it answers, and whether what is sent can be fetched
    #[command(after_help = "Examples:\n\
        \x20 clm cache check")]
    Check {
        #[command(flatten)]
        course: PlaceArgs,
    },
    /// Remove what is beyond the limits; what the course needs now and its last versions stay
    #[command(after_help = "Examples:\n\
        \x20 clm cache gc                                   what is beyond the limits\n\
        \x20 clm cache gc --max-size 500MB --max-age 7days  beyond these")]
    Gc {
        #[command(flatten)]
        course: PlaceArgs,
        /// Keep at most so much, such as `500MB` [default: `max_size` of `[cache]` in `clm.toml`, else 2 GB or a tenth of the disk]
        #[arg(long, value_name = "SIZE", value_parser = parse_size)]
        max_size: Option<u64>,
        /// Remove what was not used for so long, such as `7days` [default: `max_age` of `[cache]` in `clm.toml`, else 30 days]
        #[arg(long, value_name = "TIME", value_parser = parse_age)]
        max_age: Option<Duration>,
    },
    /// Read all results and remove those that are damaged; the exit code is 1 if there are any
    #[command(after_help = "Examples:\n\
        \x20 clm cache verify")]
    Verify {
        #[command(flatten)]
        course: PlaceArgs,
    },
    /// Remove all results: the next build makes everything again. Outputs and sources stay
    #[command(after_help = "Examples:\n\
        \x20 clm cache clean")]
    Clean {
        #[command(flatten)]
        course: PlaceArgs,
    },
}

/// Runs the command and returns the exit code.
pub(super) fn run(args: &CacheArgs) -> Result<u8> {
    match &args.command {
        CacheCommand::Stats { course, json } => cache_stats::run(course, *json),
        CacheCommand::Export(args) => archive::export(args),
        CacheCommand::Import(args) => archive::import(args),
        CacheCommand::Key(args) => cache_key::run(args),
        CacheCommand::Check { course } => cache_check::run(course),
        CacheCommand::Gc {
            course,
            max_size,
            max_age,
        } => collect(course, *max_size, *max_age),
        CacheCommand::Verify { course } => verify(course),
        CacheCommand::Clean { course } => {
            let (_, store) = open(course)?;
            let freed = store.clean()?;
            ui::data(&format!(
                "removed {}; the next build makes everything again\n",
                ui::size(freed)
            ));
            Ok(0)
        }
    }
}

fn collect(course: &CourseArgs, max_size: Option<u64>, max_age: Option<Duration>) -> Result<u8> {
    let (course, store) = open(course)?;
    let of_course = &course.settings.cache;
    let settings = CacheSettings {
        max_size: max_size.or(of_course.max_size),
        max_age: max_age.or(of_course.max_age),
        ..of_course.clone()
    };
    let limits = bounds::limits(&settings, &course.place.state_dir());
    let collected = store.collect(&limits)?;
    ui::data(&format!(
        "removed {}; the cache has {} now\n",
        ui::size(collected.freed),
        line(&store.usage()?)
    ));
    Ok(0)
}

/// Returns the exit code 1 if any result is damaged.
fn verify(course: &CourseArgs) -> Result<u8> {
    let (_, store) = open(course)?;
    let verified = store.verify()?;
    ui::data(&format!(
        "{} read, {} damaged and removed, {} missing\n",
        results(verified.results),
        verified.damaged,
        verified.missing
    ));
    if verified.damaged + verified.missing > 0 {
        ui::data("the next build makes those again that it needs\n");
    }
    Ok(u8::from(verified.damaged > 0))
}

/// Opens the records of a course.
pub(super) fn open(args: &CourseArgs) -> Result<(Course, Store)> {
    let course = args.course()?;
    let (events, receiver) = Events::channel();
    let store = session::open_store(&course, &events)?;
    drop(events);
    session::print_all(receiver);
    Ok((course, store))
}

/// Returns a short text with the size of the cache.
pub(super) fn line(usage: &Usage) -> String {
    format!("{}, {}", results(usage.results), ui::size(usage.bytes))
}

/// Returns a number of results as a text.
pub(super) fn results(count: u64) -> String {
    match count {
        1 => "1 result".to_owned(),
        count => format!("{count} results"),
    }
}

/// Returns a number of actions as a text.
pub(super) fn actions(count: u64) -> String {
    match count {
        1 => "1 action".to_owned(),
        count => format!("{count} actions"),
    }
}
