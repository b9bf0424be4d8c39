//! What was measured, put in order: lanes, bars, actions, counters and figures. All times are in microseconds since the
//! beginning of the timeline.

use std::collections::HashMap;
use std::time::Duration;

use crate::events::Counts;

use super::bars::bars;
use super::cpu::Sample;
use super::critical::{self, Link};
use super::lanes::KINDS;
use super::recorder::{RUN, Record};

/// What was measured between two moments.
pub struct Measured {
    /// Where the timeline begins.
    pub start: Duration,
    /// Where it ends.
    pub end: Duration,
    /// Spans, by start.
    pub records: Vec<Record>,
    /// Processor times.
    pub samples: Vec<Sample>,
    /// How the actions ended.
    pub counts: Counts,
    /// Whether a run came to its end.
    pub is_over: bool,
}

/// A run, as it is shown.
pub struct Timeline {
    /// How long it is.
    pub total: u64,
    /// Names of the lanes, in order.
    pub lanes: Vec<String>,
    /// What is in the lanes.
    pub bars: Vec<Bar>,
    /// The work on actions, by start.
    pub actions: Vec<Action>,
    /// The places in `actions` of the longest chain.
    pub critical: Vec<usize>,
    /// How many actions of each of [`KINDS`] waited, from each of these moments on.
    pub queue: Vec<(u64, [u64; KINDS.len()])>,
    /// How many processors were busy on average until each of these moments.
    pub cpu: Vec<Cores>,
    /// How the actions ended.
    pub counts: Counts,
    /// Whether a run came to its end; else it was stopped, or there was none.
    pub is_over: bool,
}

/// Something that took time.
#[derive(Clone, Debug)]
pub struct Bar {
    /// The place of its lane.
    pub lane: usize,
    /// How deep it is within others of the lane.
    pub depth: usize,
    /// What it is.
    pub class: Class,
    /// What people read.
    pub name: String,
    /// When it began.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// The place of the action that it is about.
    pub action: Option<usize>,
}

/// What a bar shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A phase of the engine.
    Phase,
    /// The work on an action.
    Work,
    /// A worker or kernel starts.
    Start,
    /// Work that waits for a kernel.
    Wait,
}

/// One attempt to make an action, or its restoration.
#[derive(Clone, Debug)]
pub struct Action {
    /// Its identity.
    pub id: String,
    /// What it does.
    pub kind: String,
    /// The file the author edits.
    pub source: String,
    /// Why it was made.
    pub reasons: String,
    /// How it ended: a status, `retried`, `damaged` or `stopped`.
    pub status: String,
    /// Identities of the actions of this run that it needed.
    pub after: Vec<String>,
    /// Which attempt it was; 0 for a restoration.
    pub attempt: u32,
    /// How long it waited for its start.
    pub waited: u64,
    /// When it began.
    pub start: u64,
    /// When its outputs were published.
    pub end: u64,
}

/// Busy processors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cores {
    /// The end of the time that this is about.
    pub at: u64,
    /// By clm and what it started.
    pub own: f64,
    /// By everybody.
    pub all: f64,
}

impl Timeline {
    /// Puts in order what was measured.
    pub fn of(measured: Measured) -> Self {
        let window = Window {
            start: measured.start,
            end: measured.end,
        };
        let records: Vec<&Record> = measured
            .records
            .iter()
            .filter(|record| window.shows(record))
            .collect();
        let waits = Waits::of(&records, window);
        let mut actions = Vec::new();
        let mut places = HashMap::new();
        for record in records.iter().filter(|record| record.name == "action") {
            places.insert(record.number, actions.len());
            actions.push(action(record, window, &waits));
        }
        let (lanes, bars) = bars(&records, window, &actions, &places);
        let links: Vec<Link<'_>> = actions
            .iter()
            .map(|action| Link {
                id: &action.id,
                duration: action.duration(),
                after: &action.after,
            })
            .collect();
        Self {
            total: micros(window.end.saturating_sub(window.start)),
            lanes,
            bars,
            critical: critical::path(&links),
            actions,
            queue: waits.lengths(),
            cpu: cores(&measured.samples, window),
            counts: measured.counts,
            is_over: measured.is_over,
        }
    }

    /// Bars of actions, in any lane.
    pub fn work(&self) -> impl Iterator<Item = &Bar> {
        self.bars.iter().filter(|bar| bar.class == Class::Work)
    }
}

impl Action {
    /// How long it took, its wait not included.
    pub fn duration(&self) -> u64 {
        self.end - self.start
    }

    /// Its identity without what is said elsewhere: its kind and the directory of its source.
    pub fn label(&self) -> &str {
        let id = self.id.strip_prefix(&self.kind).unwrap_or(&self.id);
        let dir = self
            .source
            .rfind('/')
            .map_or("", |end| &self.source[..=end]);
        let id = id.trim_start();
        id.strip_prefix(dir).unwrap_or(id)
    }
}

/// The part of the recorder's time that is shown.
#[derive(Clone, Copy)]
pub(super) struct Window {
    /// When it begins.
    pub start: Duration,
    /// When it ends.
    pub end: Duration,
}

impl Window {
    fn shows(self, record: &Record) -> bool {
        record.start <= self.end && record.end.is_none_or(|end| end >= self.start)
    }

    fn at(self, time: Duration) -> u64 {
        micros(time.clamp(self.start, self.end) - self.start)
    }

    pub(super) fn interval(self, record: &Record) -> (u64, u64) {
        let end = record.end.unwrap_or(self.end);
        (self.at(record.start), self.at(end))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// How long actions waited.
struct Waits {
    /// By action: from, until.
    by_action: HashMap<String, Vec<(u64, u64)>>,
    /// The place in [`KINDS`], from, until.
    by_kind: Vec<(usize, u64, u64)>,
}

impl Waits {
    fn of(records: &[&Record], window: Window) -> Self {
        let mut waits = Self {
            by_action: HashMap::new(),
            by_kind: Vec::new(),
        };
        for record in records.iter().filter(|record| record.name == "queue") {
            let (from, until) = window.interval(record);
            let action = record.field("action").to_owned();
            waits
                .by_action
                .entry(action)
                .or_default()
                .push((from, until));
            let kind = KINDS.iter().position(|kind| *kind == record.field("kind"));
            waits.by_kind.extend(kind.map(|kind| (kind, from, until)));
        }
        waits
    }

    /// The time that an action waited before it began at `start`.
    fn before(&self, action: &str, start: u64) -> u64 {
        let waits = self.by_action.get(action);
        let last = waits.and_then(|waits| waits.iter().rev().find(|(_, until)| *until <= start));
        last.map_or(0, |(from, until)| until - from)
    }

    fn lengths(&self) -> Vec<(u64, [u64; KINDS.len()])> {
        let mut changes: Vec<(u64, usize, i64)> = self
            .by_kind
            .iter()
            .flat_map(|(kind, from, until)| [(*from, *kind, 1), (*until, *kind, -1)])
            .collect();
        changes.sort_unstable();
        let mut now = [0_i64; KINDS.len()];
        let mut lengths: Vec<(u64, [u64; KINDS.len()])> = Vec::new();
        for (at, kind, change) in changes {
            now[kind] += change;
            let length = now.map(|length| u64::try_from(length).unwrap_or(0));
            match lengths.last_mut() {
                Some(last) if last.0 == at => last.1 = length,
                _ => lengths.push((at, length)),
            }
        }
        lengths
    }
}

fn action(record: &Record, window: Window, waits: &Waits) -> Action {
    let (start, end) = window.interval(record);
    let id = record.field("action").to_owned();
    let status = match record.field("status") {
        "" => "stopped",
        status => status,
    };
    Action {
        waited: waits.before(&id, start),
        kind: record.field("kind").to_owned(),
        source: record.field("source").to_owned(),
        reasons: record.field("reasons").to_owned(),
        status: status.to_owned(),
        after: record.field("after").lines().map(str::to_owned).collect(),
        attempt: record.field("attempt").parse().unwrap_or(0),
        start,
        end,
        id,
    }
}

fn cores(samples: &[Sample], window: Window) -> Vec<Cores> {
    samples
        .windows(2)
        .filter(|pair| pair[1].at > window.start && pair[0].at < window.end)
        .filter(|pair| pair[1].at > pair[0].at)
        .map(|pair| {
            let passed = (pair[1].at - pair[0].at).as_secs_f64();
            // Less than before when a process ended whose parent did not wait for it.
            let share =
                |before: Duration, now: Duration| now.saturating_sub(before).as_secs_f64() / passed;
            Cores {
                at: window.at(pair[1].at),
                own: share(pair[0].own, pair[1].own),
                all: share(pair[0].all, pair[1].all),
            }
        })
        .collect()
}

impl Timeline {
    /// Whether there was a run at all.
    pub fn has_run(&self) -> bool {
        self.bars
            .iter()
            .any(|bar| bar.class == Class::Phase && bar.name == RUN)
    }
}
