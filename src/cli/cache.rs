//! `clm cache`: the cached results of earlier builds, and their size.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::config::{CacheSettings, parse_age, parse_size};
use crate::engine::bounds;
use crate::engine::course::Course;
use crate::error::Result;
use crate::events::Events;
use crate::store::{Store, Usage};
use crate::ui;

use super::session::{self, CourseArgs};

#[derive(Debug, Args)]
pub(super) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Show the size of the cache, and its limits
    Stats {
        #[command(flatten)]
        course: CourseArgs,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove what is beyond the limits; what the course needs now and its last versions stay
    Gc {
        #[command(flatten)]
        course: CourseArgs,
        /// Keep at most so much, such as `500MB` [default: `max_size` of `[cache]` in `clm.toml`, else 2 GB or a tenth of the disk]
        #[arg(long, value_name = "SIZE", value_parser = parse_size)]
        max_size: Option<u64>,
        /// Remove what was not used for so long, such as `7days` [default: `max_age` of `[cache]` in `clm.toml`, else 30 days]
        #[arg(long, value_name = "TIME", value_parser = parse_age)]
        max_age: Option<Duration>,
    },
    /// Read all results and remove those that are damaged; the exit code is 1 if there are any
    Verify {
        #[command(flatten)]
        course: CourseArgs,
    },
    /// Remove all results: the next build makes everything again. Outputs and sources stay
    Clean {
        #[command(flatten)]
        course: CourseArgs,
    },
}

#[derive(Serialize)]
struct Stats {
    #[serde(flatten)]
    usage: Usage,
    max_size: u64,
    max_age_s: u64,
}

/// Runs the command and returns the exit code.
pub(super) fn run(args: &CacheArgs) -> Result<u8> {
    match &args.command {
        CacheCommand::Stats { course, json } => stats(course, *json),
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

fn stats(course: &CourseArgs, json: bool) -> Result<u8> {
    let (course, store) = open(course)?;
    let usage = store.usage()?;
    let limits = bounds::limits(&course.settings.cache, &course.place.state_dir());
    let stats = Stats {
        usage,
        max_size: limits.max_size,
        max_age_s: limits.max_age_ms.unsigned_abs() / 1000,
    };
    if json {
        let text = serde_json::to_string_pretty(&stats).unwrap_or_default();
        ui::data(&format!("{text}\n"));
    } else {
        show(&stats);
    }
    Ok(0)
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
        ui::data("the next build makes those again that the course needs\n");
    }
    Ok(u8::from(verified.damaged > 0))
}

fn open(args: &CourseArgs) -> Result<(Course, Store)> {
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

fn results(count: u64) -> String {
    match count {
        1 => "1 result".to_owned(),
        count => format!("{count} results"),
    }
}

fn show(stats: &Stats) {
    let usage = &stats.usage;
    let days = stats.max_age_s as f64 / 86_400.0;
    ui::data(&format!(
        "results   {}, of which the course needs {} now\n\
         limits    {}, {days:.0} days without use\n\
         records   of {} finished {}\n\
         database  {}\n",
        line(usage),
        ui::size(usage.current_bytes),
        ui::size(stats.max_size),
        usage.runs,
        if usage.runs == 1 { "action" } else { "actions" },
        ui::size(usage.database_bytes),
    ));
}
