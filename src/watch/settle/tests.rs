use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn tuning() -> Tuning {
    Tuning {
        quiet: ms(30),
        cap: ms(500),
        max_hold: ms(3000),
        max_paths: 20,
    }
}

fn paths(set: &ChangeSet) -> Vec<&str> {
    set.paths
        .iter()
        .map(|path| path.to_str().unwrap())
        .collect()
}

#[test]
fn a_burst_is_one_set_after_the_quiet_period() {
    let mut settle = Settle::new(tuning());
    assert_eq!(settle.deadline(), None);
    settle.event("a".into(), ms(10));
    settle.event("b".into(), ms(35));
    settle.event("a".into(), ms(60));
    assert_eq!(settle.deadline(), Some(ms(90)));
    assert_eq!(settle.tick(ms(89)), None);
    let set = settle.tick(ms(90)).unwrap();
    assert_eq!(paths(&set), ["a", "b"]);
    assert!(!set.rescan);
    assert_eq!(settle.deadline(), None);
    assert_eq!(settle.tick(ms(1000)), None);
}

#[test]
fn a_stream_without_a_pause_is_cut_at_the_cap() {
    let mut settle = Settle::new(tuning());
    let mut released = Vec::new();
    for at in (0..1200).step_by(20) {
        if settle.tick(ms(at)).is_some() {
            released.push(at);
        }
        settle.event("log".into(), ms(at));
    }
    assert_eq!(released, [500, 1000]);
}

#[test]
fn a_hold_keeps_everything_until_it_is_released() {
    let mut settle = Settle::new(tuning());
    settle.hold(0, ms(0));
    settle.event("a".into(), ms(5));
    settle.event("b".into(), ms(1500));
    assert_eq!(settle.tick(ms(2000)), None);
    settle.release(0, ms(2100));
    assert_eq!(settle.deadline(), Some(ms(2130)));
    settle.event("c".into(), ms(2120));
    let set = settle.tick(ms(2150)).unwrap();
    assert_eq!(paths(&set), ["a", "b", "c"]);
    assert!(!set.rescan);
}

#[test]
fn a_forgotten_hold_ends_by_itself_and_holds_no_later_batch() {
    let mut settle = Settle::new(tuning());
    settle.hold(0, ms(100));
    settle.event("a".into(), ms(200));
    assert_eq!(settle.deadline(), Some(ms(3100)));
    let set = settle.tick(ms(3100)).unwrap();
    assert!(set.rescan);
    assert_eq!(paths(&set), ["a"]);
    settle.event("b".into(), ms(5000));
    let set = settle.tick(ms(5030)).unwrap();
    assert!(!set.rescan);
    settle.release(0, ms(6000));
    assert_eq!(settle.deadline(), None);
}

#[test]
fn a_hold_that_ran_out_unnoticed_leaves_no_trace() {
    let mut settle = Settle::new(tuning());
    settle.hold(0, ms(0));
    settle.event("a".into(), ms(9000));
    assert_eq!(settle.deadline(), Some(ms(9030)));
    assert!(!settle.tick(ms(9030)).unwrap().rescan);
}

#[test]
fn too_many_paths_become_a_rescan() {
    let mut settle = Settle::new(tuning());
    for number in 0..21 {
        settle.event(number.to_string().into(), ms(1));
    }
    settle.event("later".into(), ms(2));
    let set = settle.tick(ms(40)).unwrap();
    assert!(set.rescan);
    assert_eq!(paths(&set), ["later"]);
}

#[test]
fn a_flush_waits_for_nobody() {
    let mut settle = Settle::new(tuning());
    settle.hold(7, ms(0));
    assert_eq!(settle.flush(ms(1)), None);
    settle.event("a".into(), ms(2));
    assert_eq!(paths(&settle.flush(ms(2)).unwrap()), ["a"]);
    assert_eq!(settle.deadline(), None);
    assert!(settle.is_held());
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// Sleeps exactly until the deadline, as the loop around the machine does.
    Sleep,
    Event(u8),
    Rescan,
    Hold(HoldId),
    Release(HoldId),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..60).prop_map(Step::Wait),
        1 => (100u64..4000).prop_map(Step::Wait),
        3 => Just(Step::Sleep),
        8 => (0u8..40).prop_map(Step::Event),
        1 => Just(Step::Rescan),
        1 => (0u64..3).prop_map(Step::Hold),
        2 => (0u64..3).prop_map(Step::Release),
        1 => Just(Step::Flush),
    ]
}

/// The reference model: every event with its time, every hold with its span.
#[derive(Default)]
struct Model {
    waiting: Vec<(PathBuf, Duration)>,
    rescans: Vec<Duration>,
    holds: BTreeMap<HoldId, Duration>,
    let_go: Duration,
}

impl Model {
    fn expire(&mut self, now: Duration) {
        self.holds.retain(|_, began| *began + ms(3000) > now);
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.rescans.is_empty()
    }

    fn times(&self) -> impl Iterator<Item = Duration> {
        self.waiting
            .iter()
            .map(|(_, at)| *at)
            .chain(self.rescans.iter().copied())
    }

    /// Compares a released set with the recorded events, and clears both.
    fn released(&mut self, set: &ChangeSet) {
        let mut all: BTreeSet<PathBuf> = BTreeSet::new();
        let mut was_too_many = false;
        for (path, _) in self.waiting.drain(..) {
            all.insert(path);
            if all.len() > 20 {
                all.clear();
                was_too_many = true;
            }
        }
        assert_eq!(set.paths, all, "nothing lost, nothing invented");
        if was_too_many || !self.rescans.is_empty() {
            assert!(set.rescan, "a rescan is never lost");
        }
        self.rescans.clear();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_history_is_told_whole_and_in_time(steps in prop::collection::vec(step(), 0..120)) {
        let mut settle = Settle::new(tuning());
        let mut model = Model::default();
        let mut now = Duration::ZERO;
        for step in steps {
            match step {
                Step::Wait(wait) => now += ms(wait),
                Step::Sleep => now = settle.deadline().map_or(now, |deadline| deadline.max(now)),
                Step::Event(name) => {
                    let path = PathBuf::from(name.to_string());
                    settle.event(path.clone(), now);
                    model.waiting.push((path, now));
                }
                Step::Rescan => {
                    settle.rescan(now);
                    model.rescans.push(now);
                }
                Step::Hold(id) => {
                    settle.hold(id, now);
                    model.expire(now);
                    model.holds.entry(id).or_insert(now);
                }
                Step::Release(id) => {
                    settle.release(id, now);
                    model.expire(now);
                    if model.holds.remove(&id).is_some() {
                        model.let_go = now;
                    }
                }
                Step::Flush => {
                    let set = settle.flush(now);
                    prop_assert_eq!(set.is_none(), model.is_empty());
                    model.released(&set.unwrap_or_default());
                }
            }
            model.expire(now);
            let was_empty = model.is_empty();
            prop_assert_eq!(settle.deadline().is_none(), was_empty, "no wake-up without a batch");
            let first = model.times().min().unwrap_or_default();
            let last = model.times().max().unwrap_or_default();
            let is_held = !model.holds.is_empty();
            let is_quiet = now >= last.max(model.let_go) + ms(30);
            let is_capped = now >= first.max(model.let_go) + ms(500);
            let is_overdue = now >= first + ms(3500);
            match settle.tick(now) {
                Some(set) => {
                    prop_assert!(!was_empty && !set.is_empty());
                    prop_assert!(is_quiet || is_capped || is_overdue, "never before its time");
                    prop_assert!(!is_held || (is_overdue && set.rescan), "never while held");
                    model.released(&set);
                    prop_assert_eq!(settle.tick(now), None, "nothing twice");
                }
                None => {
                    prop_assert!(was_empty || !is_overdue, "never later than the limit");
                    prop_assert!(was_empty || is_held || !(is_quiet || is_capped), "never late");
                }
            }
        }
        // In the end everything is released, in spite of holds.
        if let Some(deadline) = settle.deadline() {
            let set = settle.tick(deadline).unwrap();
            model.released(&set);
        }
        prop_assert!(model.is_empty());
    }
}
