//! Assigns spans to the bars and lanes of a timeline.

use std::collections::{HashMap, HashSet};

use crate::parallel::BESIDE;

use super::lanes::{Group, KINDS, depths, spread};
use super::recorder::Record;
use super::timeline::{Action, Bar, Class, Window};

/// The span of an action on a build farm.
const FARM: &str = "farm";

/// A bar whose lane is not numbered yet.
struct Draft {
    group: Group,
    /// The number within the group, counted from 1; 0 for a bar that can go into any lane of the group.
    number: usize,
    bar: Bar,
}

/// Returns the names of the lanes, and the bars in them. `records` are the records to show, by start; `places` maps the
/// number of an action's span to its position in `actions`.
pub(super) fn bars(
    records: &[&Record],
    window: Window,
    actions: &[Action],
    places: &HashMap<u64, usize>,
) -> (Vec<String>, Vec<Bar>) {
    let mut spans = Spans {
        parents: records
            .iter()
            .map(|record| (record.number, *record))
            .collect(),
        threads: threads(records, window),
        has_worker: HashSet::new(),
        actions,
        places,
    };
    let works = records
        .iter()
        .filter(|record| matches!(record.name, "work" | FARM));
    spans.has_worker = works.filter_map(|record| spans.action_of(record)).collect();
    let mut drafts: Vec<Draft> = records
        .iter()
        .filter_map(|record| spans.draft(record, window))
        .collect();
    number_lanes(&mut drafts);
    into_lanes(drafts)
}

/// The spans, and what is known about them.
struct Spans<'a> {
    /// All spans, by their numbers.
    parents: HashMap<u64, &'a Record>,
    /// The lanes of other threads in the group of phases, by the numbers of their spans.
    threads: HashMap<u64, usize>,
    /// The positions of actions that a worker works on.
    has_worker: HashSet<usize>,
    actions: &'a [Action],
    places: &'a HashMap<u64, usize>,
}

impl Spans<'_> {
    /// Returns the bar of a span, unless it has none.
    fn draft(&self, record: &Record, window: Window) -> Option<Draft> {
        let action = self.action_of(record);
        let (group, number, class) = self.lane(record, action)?;
        let name = match (class, action) {
            (Class::Work, Some(place)) => self.actions[place].label().to_owned(),
            (Class::Start, _) if !record.field("kernel").is_empty() => {
                format!("start {}", record.field("kernel"))
            }
            _ => record.name.to_owned(),
        };
        let (start, end) = window.interval(record);
        let bar = Bar {
            lane: 0,
            depth: 0,
            class,
            name,
            start,
            end,
            action,
        };
        Some(Draft { group, number, bar })
    }

    /// Returns the group of a span's lane, the number of the lane in it, and the class of the bar.
    fn lane(&self, record: &Record, action: Option<usize>) -> Option<(Group, usize, Class)> {
        Some(match record.name {
            "queue" | BESIDE => return None,
            "action" => {
                let place = action?;
                let about = &self.actions[place];
                if about.attempt == 0 || !KINDS.contains(&about.kind.as_str()) {
                    (Group::Here, 1, Class::Work)
                } else if self.has_worker.contains(&place) {
                    return None;
                } else {
                    (Group::Without, 0, Class::Work)
                }
            }
            FARM => (Group::Farm, 0, Class::Work),
            "start kernel" => (Group::Kernels, 0, Class::Start),
            "work" => (workers(record)?, number(record), Class::Work),
            // The starts of its kernels have their own spans.
            "start worker" if record.field("kind") == "execute" => return None,
            "start worker" => (workers(record)?, number(record), Class::Start),
            "wait for kernel" => {
                let work = record.parent.and_then(|parent| self.parents.get(&parent))?;
                (workers(work)?, number(work), Class::Wait)
            }
            _ => {
                let mut within = self.within(record);
                let thread = within.find_map(|of| self.threads.get(&of.number));
                (Group::Phases, thread.copied().unwrap_or(1), Class::Phase)
            }
        })
    }

    /// Returns the position of the action that a span is a part of.
    fn action_of(&self, record: &Record) -> Option<usize> {
        let mut within = self.within(record);
        within.find_map(|record| self.places.get(&record.number).copied())
    }

    /// Returns a span and the spans that contain it, from the inside out.
    fn within<'r>(&'r self, record: &'r Record) -> impl Iterator<Item = &'r Record> {
        std::iter::successors(Some(record), |record| {
            self.parents.get(&record.parent?).copied()
        })
    }
}

fn workers(record: &Record) -> Option<Group> {
    let kind = KINDS.iter().position(|kind| *kind == record.field("kind"));
    kind.map(Group::Workers)
}

fn number(record: &Record) -> usize {
    record.field("worker").parse().unwrap_or(1)
}

/// Assigns lanes of the group of phases to the work of other threads, by the number of the thread's span.
fn threads(records: &[&Record], window: Window) -> HashMap<u64, usize> {
    let beside: Vec<&&Record> = records
        .iter()
        .filter(|record| record.name == BESIDE)
        .collect();
    let intervals: Vec<(u64, u64)> = beside
        .iter()
        .map(|record| window.interval(record))
        .collect();
    let numbers = spread(&intervals).into_iter();
    let threads = beside.iter().zip(numbers);
    threads
        .map(|(record, number)| (record.number, number + 2))
        .collect()
}

/// Numbers the bars that can go into any lane, so that bars of one lane do not overlap.
fn number_lanes(drafts: &mut [Draft]) {
    for group in [Group::Farm, Group::Kernels, Group::Without] {
        let of_group = |draft: &Draft| draft.group == group;
        let intervals: Vec<(u64, u64)> = drafts
            .iter()
            .filter(|draft| of_group(draft))
            .map(|draft| (draft.bar.start, draft.bar.end))
            .collect();
        let numbers = spread(&intervals);
        let drafts = drafts.iter_mut().filter(|draft| of_group(draft));
        for (draft, number) in drafts.zip(numbers) {
            draft.number = number + 1;
        }
    }
}

fn into_lanes(mut drafts: Vec<Draft>) -> (Vec<String>, Vec<Bar>) {
    // The sort is stable: within a lane, bars stay in the order of their starts.
    drafts.sort_by_key(|draft| (draft.group, draft.number));
    let mut lanes = Vec::new();
    let mut bars = Vec::with_capacity(drafts.len());
    for lane in drafts.chunk_by(|one, other| (one.group, one.number) == (other.group, other.number))
    {
        let intervals: Vec<(u64, u64)> = lane
            .iter()
            .map(|draft| (draft.bar.start, draft.bar.end))
            .collect();
        for (draft, depth) in lane.iter().zip(depths(&intervals)) {
            bars.push(Bar {
                lane: lanes.len(),
                depth,
                ..draft.bar.clone()
            });
        }
        lanes.extend(lane.first().map(|draft| draft.group.name(draft.number)));
    }
    (lanes, bars)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn record(number: u64, parent: Option<u64>, name: &'static str, from: u64, to: u64) -> Record {
        Record {
            number,
            parent,
            name,
            start: Duration::from_micros(from),
            end: Some(Duration::from_micros(to)),
            fields: Vec::new(),
        }
    }

    #[test]
    fn what_other_threads_do_beside_has_lanes_of_its_own() {
        let records = [
            record(1, None, "run", 0, 100),
            record(2, Some(1), "remember", 5, 50),
            record(3, Some(1), BESIDE, 6, 60),
            record(4, Some(3), "resume", 10, 60),
            record(5, Some(3), BESIDE, 20, 40),
            record(6, Some(5), "stat", 20, 39),
            record(7, Some(1), BESIDE, 70, 80),
            record(8, Some(7), "compare", 70, 80),
            record(9, Some(8), "stat", 71, 72),
        ];
        let window = Window {
            start: Duration::ZERO,
            end: Duration::from_micros(100),
        };
        let records: Vec<&Record> = records.iter().collect();
        let (lanes, bars) = bars(&records, window, &[], &HashMap::new());
        let lane = |bar: &Bar| (lanes[bar.lane].clone(), bar.name.clone(), bar.depth);
        let shown: Vec<(String, String, usize)> = bars.iter().map(lane).collect();
        let expected = [
            ("clm", "run", 0),
            ("clm", "remember", 1),
            ("clm 2", "resume", 0),
            ("clm 2", "compare", 0),
            ("clm 2", "stat", 1),
            ("clm 3", "stat", 0),
        ];
        let expected =
            expected.map(|(lane, name, depth)| (lane.to_owned(), name.to_owned(), depth));
        assert_eq!(shown, expected);
    }
}
