//! Converts records to a timeline: lanes, bars, actions, counters and figures. All times are in microseconds since the
//! beginning of the timeline.

use std::collections::HashMap;
use std::time::Duration;

use crate::events::Counts;

use super::bars::bars;
use super::cpu::Sample;
use super::critical::{self, Link};
use super::lanes::KINDS;
use super::recorder::{RUN, Record};

/// The measurements between two moments.
pub(super) struct Measured {
    /// Where the timeline begins.
    pub start: Duration,
    /// Where it ends.
    pub end: Duration,
    /// The spans, by start.
    pub records: Vec<Record>,
    /// The processor times.
    pub samples: Vec<Sample>,
    /// How the actions ended.
    pub counts: Counts,
    /// Whether a run has finished.
    pub is_over: bool,
}

/// A timeline, ready to be shown.
pub(super) struct Timeline {
    /// Its length.
    pub total: u64,
    /// Names of the lanes, in order.
    pub lanes: Vec<String>,
    /// The bars in the lanes.
    pub bars: Vec<Bar>,
    /// The attempts to make actions, by start.
    pub actions: Vec<Action>,
    /// The positions in `actions` of the critical path.
    pub critical: Vec<usize>,
    /// How many actions of each of [`KINDS`] were queued, from each of these times on.
    pub queue: Vec<(u64, [u64; KINDS.len()])>,
    /// How many processors were busy on average, up to each of these times.
    pub cpu: Vec<Cores>,
    /// How the actions ended.
    pub counts: Counts,
    /// Whether a run has finished; if not, it was stopped, or there was none.
    pub is_over: bool,
}

/// An interval in a lane.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    /// The position of its lane.
    pub lane: usize,
    /// How many bars of the lane contain it.
    pub depth: usize,
    /// What it shows.
    pub class: Class,
    /// Its label.
    pub name: String,
    /// When it began.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// The position of the action that it belongs to.
    pub action: Option<usize>,
}

/// The kind of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A phase of the engine.
    Phase,
    /// The work on an action.
    Work,
    /// The start of a worker or kernel.
    Start,
    /// Waiting for a kernel.
    Wait,
}

/// One attempt to make an action, or its restoration.
#[derive(Clone, Debug)]
pub(super) struct Action {
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
    /// How long it was queued before its start.
    pub waited: u64,
    /// When it began.
    pub start: u64,
    /// When its outputs were published.
    pub end: u64,
}

/// The average number of busy processors in an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cores {
    /// The end of the interval.
    pub at: u64,
    /// Used by clm and its processes.
    pub own: f64,
    /// Used by all processes.
    pub all: f64,
}

impl Timeline {
    /// Converts measurements to a timeline.
    pub(super) fn of(measured: Measured) -> Self {
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

    /// Returns the bars of this class, in any lane.
    pub(super) fn of_class(&self, class: Class) -> impl Iterator<Item = &Bar> {
        self.bars.iter().filter(move |bar| bar.class == class)
    }
}

impl Bar {
    /// Returns its length.
    pub(super) fn duration(&self) -> u64 {
        self.end - self.start
    }
}

impl Action {
    /// Returns how long it took, without the time in the queue.
    pub(super) fn duration(&self) -> u64 {
        self.end - self.start
    }

    /// Returns a short identity, without its kind and the directory of its source, which are shown elsewhere.
    pub(super) fn label(&self) -> &str {
        let id = self.id.strip_prefix(&self.kind).unwrap_or(&self.id);
        let dir = self
            .source
            .rfind('/')
            .map_or("", |end| &self.source[..=end]);
        let id = id.trim_start();
        id.strip_prefix(dir).unwrap_or(id)
    }
}

/// The shown part of the recorder's time.
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

/// The times that actions spent in the queue.
struct Waits {
    /// For each action, the begin and end of its waits.
    by_action: HashMap<String, Vec<(u64, u64)>>,
    /// The position in [`KINDS`], and the begin and end of a wait.
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

    /// Returns how long an action waited before it began at `start`.
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
            // The time may decrease: that of a process whose parent did not wait for it is lost.
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
    /// Returns whether any run was recorded.
    pub(super) fn has_run(&self) -> bool {
        self.bars
            .iter()
            .any(|bar| bar.class == Class::Phase && bar.name == RUN)
    }
}
