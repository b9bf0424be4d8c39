//! `clm cache stats`: the size of the cache, its limits, and how the last builds used it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::bounds;
use crate::error::Result;
use crate::events::CacheUse;
use crate::store::{KindUsage, RunRecord, RunState, Store, Usage};
use crate::ui;

use super::cache::{actions, line, open, results};
use super::session::CourseArgs;

/// How many runs are looked at.
const RUNS: u32 = 20;

#[derive(Serialize)]
struct Stats {
    #[serde(flatten)]
    usage: Usage,
    max_size: u64,
    max_age_s: u64,
    /// By the name of the kind.
    kinds: BTreeMap<String, KindUsage>,
    /// The bytes that a collection would remove now.
    collectable_bytes: u64,
    /// The recorded runs of actions that a collection would remove now.
    collectable_runs: u64,
    /// All of the last runs together.
    totals: Hits,
    /// The last runs that ended, the newest first.
    last_runs: Vec<RunStats>,
}

/// How the results of a run came about.
#[derive(Clone, Copy, Default, Serialize)]
struct Hits {
    /// Results that came from the cache of the course, or from the shared one.
    hits: u64,
    /// Those of them that came from the shared one.
    shared: u64,
    /// Actions that workers made.
    misses: u64,
    /// Actions that were up to date, so that the cache was not needed.
    fresh: u64,
    /// How long it took to make the results that came from a cache, in milliseconds.
    saved_ms: u64,
}

#[derive(Serialize)]
struct RunStats {
    run: i64,
    trigger: String,
    started_ms: i64,
    #[serde(flatten)]
    hits: Hits,
}

/// Runs the command and returns the exit code.
pub(super) fn run(course: &CourseArgs, json: bool) -> Result<u8> {
    let (course, store) = open(course)?;
    let limits = bounds::limits(&course.settings.cache, &course.place.state_dir());
    let collectable = store.collectable(&limits)?;
    let last = last_runs(&store)?;
    let stats = Stats {
        usage: store.usage()?,
        max_size: limits.max_size,
        max_age_s: limits.max_age_ms.unsigned_abs() / 1000,
        kinds: store.usage_by_kind()?,
        collectable_bytes: collectable.freed,
        collectable_runs: collectable.runs,
        totals: last
            .iter()
            .map(|run| run.hits)
            .fold(Hits::default(), Hits::plus),
        last_runs: last,
    };
    if json {
        let text = serde_json::to_string_pretty(&stats).unwrap_or_default();
        ui::data(&format!("{text}\n"));
    } else {
        ui::data(&shown(&stats));
    }
    Ok(0)
}

fn last_runs(store: &Store) -> Result<Vec<RunStats>> {
    let runs = store.recent_runs(RUNS)?.into_iter();
    let ended = runs.filter(|run| run.state == RunState::Ended);
    Ok(ended.map(RunStats::of).collect())
}

impl RunStats {
    fn of(run: RunRecord) -> Self {
        let counts = run.counts.unwrap_or_default();
        // Runs that recorded nothing about the shared cache used that of the course alone.
        let cache = run.cache.unwrap_or(CacheUse {
            local: counts.restored,
            ..CacheUse::default()
        });
        Self {
            run: run.id,
            trigger: run.trigger,
            started_ms: run.started_ms,
            hits: Hits {
                hits: cache.local + cache.remote,
                shared: cache.remote,
                misses: counts.built,
                fresh: counts.fresh,
                saved_ms: cache.saved_ms,
            },
        }
    }
}

impl Hits {
    fn plus(self, other: Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            shared: self.shared + other.shared,
            misses: self.misses + other.misses,
            fresh: self.fresh + other.fresh,
            saved_ms: self.saved_ms + other.saved_ms,
        }
    }
}

fn shown(stats: &Stats) -> String {
    let usage = &stats.usage;
    let days = stats.max_age_s as f64 / 86_400.0;
    let kinds = stats.kinds.iter().map(|(kind, usage)| {
        let (count, bytes) = (results(usage.results), ui::size(usage.bytes));
        format!("          {kind}: {count}, {bytes}\n")
    });
    let Hits {
        hits,
        shared,
        misses,
        ..
    } = stats.totals;
    let of_shared = match shared {
        0 => String::new(),
        shared => format!(", {shared} of them from the shared one"),
    };
    let rate = match hits + misses {
        0 => String::new(),
        all => format!(" ({} %)", hits * 100 / all),
    };
    format!(
        "results   {}, of which the course needs {} now\n{}\
         limits    {}, {days:.0} days without use; collecting would free {} now\n\
         records   of {} finished\n\
         database  {}\n\
         last {} {hits} from the cache{of_shared}{rate}, {misses} made\n",
        line(usage),
        ui::size(usage.current_bytes),
        kinds.collect::<String>(),
        ui::size(stats.max_size),
        ui::size(stats.collectable_bytes),
        actions(usage.runs),
        ui::size(usage.database_bytes),
        match stats.last_runs.len() {
            1 => "run:".to_owned(),
            runs => format!("{runs} runs:"),
        },
    )
}
