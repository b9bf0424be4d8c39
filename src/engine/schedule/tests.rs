use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;

use ActionKind::{Deck, Execute, Html, Plantuml};
use Place::Here;

fn results(of: &str) -> Results {
    Arc::new([(of.into(), Digest::of(of))])
}

fn node(kind: ActionKind, after: &[ActionIndex]) -> Node<'_> {
    Node {
        kind,
        after,
        is_selected: true,
        needs_worker: kind != Deck,
        unchanged: None,
    }
}

fn unchanged(node: Node<'_>) -> Node<'_> {
    Node {
        unchanged: Some(results("before")),
        ..node
    }
}

fn urgency(priority: i32, expected_ms: u64) -> Urgency {
    Urgency {
        priority,
        expected_ms,
        site: Site::Anywhere,
    }
}

/// Returns a schedule with these jobs: the kind, where it may run, and how long it is expected to take.
fn queued(jobs: &[(ActionKind, Site, u64)]) -> Schedule<'static> {
    let nodes = jobs.iter().map(|(kind, ..)| node(*kind, &[])).collect();
    let mut schedule = Schedule::new(nodes, EarlierJobs::default());
    assert!(matches!(next(&mut schedule), Some(Effect::Check(_))));
    for (index, (_, site, expected_ms)) in jobs.iter().enumerate() {
        let urgency = Urgency {
            site: *site,
            ..urgency(0, *expected_ms)
        };
        schedule.enqueue(index, index as JobId, urgency);
    }
    schedule
}

/// Starts everything that can start with one worker of each kind here. Returns the jobs here and those on the farm.
fn placed(schedule: &mut Schedule<'_>, farm: FarmNow, room: usize) -> (Vec<JobId>, Vec<JobId>) {
    let (mut here, mut there) = (Vec::new(), Vec::new());
    loop {
        let farm = FarmNow {
            has_room: there.len() < room,
            ..farm
        };
        let workers = Workers {
            here: &|_| 1,
            farm: Some(farm),
        };
        let Some(Effect::Lease(place, _, jobs)) = schedule.next(workers) else {
            return (here, there);
        };
        schedule.started(jobs[0], place);
        match place {
            Here => here.push(jobs[0]),
            Place::Farm => there.push(jobs[0]),
        }
    }
}

const FARM: FarmNow = FarmNow {
    has_room: true,
    shares: true,
    round_trip_ms: 100,
};

#[test]
fn both_this_machine_and_the_farm_take_the_longest_job_that_is_left() {
    let jobs = [500, 900, 700, 800, 600].map(|ms| (Execute, Site::Anywhere, ms));
    let mut schedule = queued(&jobs);
    assert_eq!(placed(&mut schedule, FARM, 2), (vec![1], vec![3, 2]));
    // A worker here is free again.
    schedule.up_to_date(1, results("1"));
    assert_eq!(placed(&mut schedule, FARM, 0), (vec![4], vec![]));
}

#[test]
fn jobs_that_this_machine_does_sooner_stay_here() {
    // Five diagrams of 20 ms are drawn here before the farm has answered; twenty are not.
    let mut few = queued(&[(Plantuml, Site::Anywhere, 20); 5]);
    assert_eq!(placed(&mut few, FARM, 9), (vec![0], vec![]));
    let mut many = queued(&[(Plantuml, Site::Anywhere, 20); 20]);
    let (here, there) = placed(&mut many, FARM, 99);
    assert_eq!((here, there.len()), (vec![0], 14));
    // The longest one goes first, whatever its kind.
    let mut mixed = queued(&[
        (Plantuml, Site::Anywhere, 900),
        (Plantuml, Site::Anywhere, 800),
        (Execute, Site::Anywhere, 700),
        (Execute, Site::Anywhere, 850),
        (Execute, Site::Anywhere, 1),
    ]);
    assert_eq!(placed(&mut mixed, FARM, 2), (vec![3, 0], vec![1, 2]));
}

#[test]
fn some_jobs_run_at_one_place_only() {
    let jobs = [
        (Execute, Site::Here, 900),
        (Execute, Site::Farm, 800),
        (Execute, Site::Anywhere, 700),
        (Html, Site::Here, 10),
        (Html, Site::Farm, 10),
    ];
    let mut schedule = queued(&jobs);
    let (here, there) = placed(&mut schedule, FARM, 9);
    assert_eq!((here, there), (vec![0, 3], vec![1, 2, 4]));
    // With no share, this machine runs what must run here.
    let alone = FarmNow {
        shares: false,
        ..FARM
    };
    let mut schedule = queued(&jobs[1..]);
    assert_eq!(placed(&mut schedule, alone, 9), (vec![2], vec![0, 1, 3]));
    let mut schedule = queued(&jobs[1..]);
    assert_eq!(placed(&mut schedule, alone, 0), (vec![2], vec![]));
    // Without the farm everything is tried here.
    assert_eq!(
        schedule.next(Workers {
            here: &|_| 1,
            farm: None,
        }),
        Some(Effect::Lease(Here, Execute, vec![0, 1]))
    );
}

/// Returns the next effect, with two workers of each kind.
fn next(schedule: &mut Schedule<'_>) -> Option<Effect> {
    schedule.next(Workers {
        here: &|_| 2,
        farm: None,
    })
}

/// Returns a schedule whose first actions were checked and found stale, each with a job of its own number.
fn stale<'a>(nodes: Vec<Node<'a>>, urgencies: &[Urgency]) -> Schedule<'a> {
    let mut schedule = Schedule::new(nodes, EarlierJobs::default());
    let all: Vec<ActionIndex> = (0..urgencies.len()).collect();
    assert_eq!(next(&mut schedule), Some(Effect::Check(all)));
    for (index, urgency) in urgencies.iter().enumerate() {
        let enqueued = schedule.enqueue(index, index as JobId, *urgency);
        assert_eq!(enqueued, Enqueued::Waits);
    }
    schedule
}

#[test]
fn an_action_is_checked_when_all_before_it_have_results() {
    let nodes = vec![
        node(Execute, &[]),
        node(Plantuml, &[]),
        node(Html, &[0, 1]),
        node(Deck, &[1]),
    ];
    let mut schedule = Schedule::new(nodes, EarlierJobs::default());
    assert_eq!(next(&mut schedule), Some(Effect::Check(vec![0, 1])));
    schedule.up_to_date(1, results("p"));
    assert_eq!(*schedule.state(2), ActionState::Waiting);
    assert_eq!(next(&mut schedule), Some(Effect::Make(3)));
    schedule.up_to_date(3, results("d"));
    assert_eq!(schedule.enqueue(0, 7, Urgency::default()), Enqueued::Waits);
    let lease = Effect::Lease(Here, Execute, vec![7]);
    assert_eq!(next(&mut schedule), Some(lease));
    assert_eq!(schedule.started(7, Here), Some(0));
    assert_eq!(next(&mut schedule), None);
    assert!(!schedule.is_finished());
    schedule.unplaced(0, results("e"));
    assert_eq!(next(&mut schedule), Some(Effect::Check(vec![2])));
    assert_eq!(schedule.upstream(2), [&results("e"), &results("p")]);
    schedule.up_to_date(2, results("h"));
    assert_eq!(next(&mut schedule), None);
    assert!(schedule.is_finished());
}

#[test]
fn what_waits_for_a_failure_is_reported_as_blocked_and_never_checked() {
    let nodes = vec![node(Execute, &[]), node(Html, &[0]), node(Deck, &[1])];
    let mut schedule = Schedule::new(nodes, EarlierJobs::default());
    assert_eq!(next(&mut schedule), Some(Effect::Check(vec![0])));
    schedule.failed(0);
    assert_eq!(next(&mut schedule), Some(Effect::Report(vec![1, 2])));
    assert_eq!(*schedule.state(2), ActionState::Blocked);
    assert_eq!(next(&mut schedule), None);
    assert!(schedule.is_finished());
}

#[test]
fn what_waits_for_a_superseded_action_is_superseded() {
    let nodes = vec![node(Execute, &[]), node(Plantuml, &[]), node(Html, &[0, 1])];
    let mut schedule = Schedule::new(nodes, EarlierJobs::default());
    assert_eq!(next(&mut schedule), Some(Effect::Check(vec![0, 1])));
    schedule.failed(0);
    schedule.superseded(1);
    assert_eq!(next(&mut schedule), Some(Effect::Report(vec![2])));
    assert_eq!(*schedule.state(2), ActionState::Superseded);
}

#[test]
fn an_unchanged_action_is_checked_only_if_one_before_it_changed() {
    let nodes = vec![
        unchanged(node(Execute, &[])),
        node(Plantuml, &[]),
        unchanged(node(Html, &[0])),
        unchanged(node(Html, &[0, 1])),
    ];
    let mut schedule = Schedule::new(nodes, EarlierJobs::default());
    assert_eq!(next(&mut schedule), Some(Effect::Report(vec![0, 2])));
    assert_eq!(next(&mut schedule), Some(Effect::Check(vec![1])));
    schedule.up_to_date(1, results("p"));
    assert_eq!(next(&mut schedule), Some(Effect::Check(vec![3])));
}

#[test]
fn what_is_not_asked_for_is_not_touched() {
    let mut nodes = vec![node(Execute, &[]), node(Html, &[0])];
    nodes[1].is_selected = false;
    let mut schedule = Schedule::new(nodes, EarlierJobs::default());
    assert_eq!(next(&mut schedule), Some(Effect::Check(vec![0])));
    schedule.up_to_date(0, results("e"));
    assert_eq!(next(&mut schedule), None);
    assert_eq!(*schedule.state(1), ActionState::Unselected);
    assert!(schedule.is_finished());
}

#[test]
fn the_most_urgent_jobs_start_first_and_no_more_than_there_are_workers() {
    let nodes = vec![node(Execute, &[]); 4];
    let urgencies = [
        urgency(0, 10),
        urgency(0, 20),
        urgency(1, 0),
        urgency(0, 10),
    ];
    let mut schedule = stale(nodes, &urgencies);
    let lease = |jobs: &[JobId]| Some(Effect::Lease(Here, Execute, jobs.to_vec()));
    assert_eq!(next(&mut schedule), lease(&[2, 1, 0, 3]));
    schedule.started(2, Here);
    assert_eq!(next(&mut schedule), lease(&[1, 0, 3]));
    schedule.started(1, Here);
    assert_eq!(next(&mut schedule), None);
    schedule.up_to_date(1, results("1"));
    assert_eq!(next(&mut schedule), lease(&[0, 3]));
    assert_eq!(schedule.queued(Execute), 2);
}

#[test]
fn jobs_of_other_processes_are_passed_over_until_time_has_passed() {
    let count = LEASED_AMONG + 1;
    let nodes = vec![node(Plantuml, &[]); count];
    let mut schedule = stale(nodes, &vec![Urgency::default(); count]);
    let all: Vec<JobId> = (0..count as JobId).collect();
    let first = Effect::Lease(Here, Plantuml, all[..LEASED_AMONG].to_vec());
    assert_eq!(next(&mut schedule), Some(first.clone()));
    schedule.not_leased(Here, Plantuml, LEASED_AMONG);
    let rest = Effect::Lease(Here, Plantuml, all[LEASED_AMONG..].to_vec());
    assert_eq!(next(&mut schedule), Some(rest));
    schedule.not_leased(Here, Plantuml, 1);
    assert_eq!(next(&mut schedule), None);
    assert!(!schedule.is_finished());
    schedule.look_again();
    assert_eq!(next(&mut schedule), Some(first));
    // Another process finishes one of them meanwhile.
    assert_eq!(schedule.first_queued(2), [0, 1]);
    assert_eq!(schedule.ended_elsewhere(0), Some(0));
    assert_eq!(next(&mut schedule), Some(Effect::Check(vec![0])));
}

#[test]
fn two_actions_with_one_job_are_made_once() {
    let nodes = vec![node(Plantuml, &[]), node(Plantuml, &[])];
    let mut schedule = Schedule::new(nodes, EarlierJobs::default());
    assert_eq!(next(&mut schedule), Some(Effect::Check(vec![0, 1])));
    assert_eq!(schedule.enqueue(0, 5, Urgency::default()), Enqueued::Waits);
    let second = schedule.enqueue(1, 5, Urgency::default());
    assert_eq!(second, Enqueued::SameAs(0));
    schedule.started(5, Here);
    assert_eq!(next(&mut schedule), None);
    schedule.up_to_date(0, results("p"));
    assert_eq!(next(&mut schedule), Some(Effect::Check(vec![1])));
    assert_eq!(schedule.same_as(1), Some(0));
}

#[test]
fn a_job_of_an_earlier_round_goes_on_if_it_is_needed_and_is_abandoned_if_not() {
    let earlier = |is_complete| EarlierJobs {
        running: HashMap::from([(1, Here), (2, Here)]),
        queued: vec![3, 4],
        is_complete,
    };
    let nodes = || vec![node(Execute, &[]), node(Execute, &[])];
    let begin = |is_complete| {
        let mut schedule = Schedule::new(nodes(), earlier(is_complete));
        assert_eq!(next(&mut schedule), Some(Effect::Check(vec![0, 1])));
        assert_eq!(schedule.enqueue(0, 1, Urgency::default()), Enqueued::Runs);
        assert_eq!(schedule.enqueue(1, 3, Urgency::default()), Enqueued::Waits);
        let lease = Effect::Lease(Here, Execute, vec![3]);
        assert_eq!(next(&mut schedule), Some(lease));
        schedule.started(3, Here);
        schedule
    };

    let mut schedule = begin(true);
    let abandon = Effect::Abandon {
        running: vec![2],
        queued: vec![4],
    };
    assert_eq!(next(&mut schedule), Some(abandon));
    assert_eq!(next(&mut schedule), None);
    assert!(!schedule.earlier_ended(2));
    let left = schedule.into_earlier_jobs();
    assert_eq!(left.running, HashMap::from([(1, Here), (3, Here)]));
    assert!(left.queued.is_empty());

    // A round of only some actions cannot tell which jobs the others need.
    let mut schedule = begin(false);
    assert_eq!(next(&mut schedule), None);
    assert!(schedule.earlier_ended(2));
    let left = schedule.into_earlier_jobs();
    assert_eq!(left.running, HashMap::from([(1, Here), (3, Here)]));
    assert_eq!(left.queued, [3, 4]);
}

#[test]
fn a_job_is_tried_again_with_its_urgency() {
    let mut schedule = stale(vec![node(Html, &[]); 2], &[urgency(1, 0), urgency(0, 0)]);
    schedule.started(0, Here);
    schedule.requeued(0, urgency(1, 0));
    assert_eq!(*schedule.state(0), ActionState::Queued(0));
    assert_eq!(schedule.runs(0), None);
    let lease = Effect::Lease(Here, Html, vec![0, 1]);
    assert_eq!(next(&mut schedule), Some(lease));
}

#[test]
fn what_another_process_did_meanwhile_is_checked_again() {
    let mut schedule = stale(vec![node(Html, &[])], &[Urgency::default()]);
    schedule.started(0, Here);
    schedule.check_again(0);
    assert_eq!(next(&mut schedule), Some(Effect::Check(vec![0])));
}

#[test]
fn after_a_stop_nothing_begins_and_what_runs_may_end() {
    let nodes = vec![
        node(Execute, &[]),
        node(Execute, &[]),
        node(Html, &[0]),
        node(Deck, &[]),
    ];
    let mut schedule = stale(nodes, &[Urgency::default(); 2]);
    schedule.started(0, Here);
    schedule.stop();
    assert_eq!(next(&mut schedule), None);
    assert!(!schedule.is_finished());
    schedule.superseded(0);
    assert_eq!(next(&mut schedule), None);
    assert!(schedule.is_finished());
    assert_eq!(*schedule.state(2), ActionState::Waiting);
    assert_eq!(schedule.into_earlier_jobs().queued, [1]);
}

/// The outcome of an action, whenever it is made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// The records have its results.
    Known,
    /// A worker, or this process, makes it.
    Made,
    /// Its outputs cannot be put in their places.
    Unplaced,
    Fails,
    /// Its sources change meanwhile.
    Supersedes,
    /// The first worker crashes.
    Retried,
    /// Another process has its job, and finishes it.
    Elsewhere,
}

/// An action of a random graph.
#[derive(Clone, Debug)]
struct Planned {
    kind: ActionKind,
    after: Vec<ActionIndex>,
    is_selected: bool,
    was_up_to_date: bool,
    /// Actions of one kind with the same content have the same job, and the same fate.
    content: usize,
}

/// Generates courses of random actions and their fates by content, in which all actions before a selected one are
/// selected.
fn courses() -> impl Strategy<Value = (Vec<Planned>, Vec<Fate>)> {
    let kind = prop::sample::select(vec![Execute, Plantuml, Html, Deck]);
    let action = (
        kind,
        prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.3),
        0..40_usize,
    );
    let actions = prop::collection::vec(action, 1..30).prop_map(|all| {
        let mut planned: Vec<Planned> = Vec::new();
        for (kind, after, is_selected, was_up_to_date, content) in all {
            let index = planned.len();
            let mut after: Vec<ActionIndex> = match index {
                0 => Vec::new(),
                _ => after.iter().map(|before| before.index(index)).collect(),
            };
            after.sort_unstable();
            after.dedup();
            planned.push(Planned {
                kind,
                after,
                is_selected,
                was_up_to_date,
                content,
            });
        }
        for index in (0..planned.len()).rev() {
            if planned[index].is_selected {
                for before in planned[index].after.clone() {
                    planned[before].is_selected = true;
                }
            }
        }
        planned
    });
    let fate = prop::sample::select(vec![
        Fate::Known,
        Fate::Made,
        Fate::Made,
        Fate::Unplaced,
        Fate::Fails,
        Fate::Supersedes,
        Fate::Retried,
        Fate::Elsewhere,
    ]);
    (actions, prop::collection::vec(fate, 40))
}

/// Returns the final states that actions must have, computed from the states of the actions before them.
fn model(planned: &[Planned], fates: &[Fate]) -> Vec<ActionState> {
    let mut ends: Vec<ActionState> = Vec::new();
    for action in planned {
        let before: Vec<&ActionState> = action.after.iter().map(|at| &ends[*at]).collect();
        let is_unchanged = before
            .iter()
            .all(|end| matches!(end, ActionState::Unchanged(_)));
        ends.push(if !action.is_selected {
            ActionState::Unselected
        } else if action.was_up_to_date && is_unchanged {
            ActionState::Unchanged(results("before"))
        } else if before.contains(&&ActionState::Superseded) {
            ActionState::Superseded
        } else if before.iter().any(|end| end.results().is_none()) {
            ActionState::Blocked
        } else {
            match fates[action.content] {
                Fate::Known | Fate::Made | Fate::Retried | Fate::Elsewhere => {
                    ActionState::UpToDate(results("now"))
                }
                Fate::Unplaced => ActionState::Unplaced(results("now")),
                Fate::Fails => ActionState::Failed,
                Fate::Supersedes => ActionState::Superseded,
            }
        });
    }
    ends
}

/// A simulated store and simulated workers that follow the fates.
struct World<'a> {
    planned: &'a [Planned],
    fates: &'a [Fate],
    slots: usize,
    jobs: BTreeMap<(ActionKind, usize), JobId>,
    next_job: JobId,
    running: Vec<JobId>,
    /// Jobs that have crashed once.
    crashed: HashSet<JobId>,
    /// The contents that were made.
    made: HashSet<(ActionKind, usize)>,
    reported: HashSet<ActionIndex>,
}

impl World<'_> {
    fn content(&self, index: ActionIndex) -> (ActionKind, usize) {
        (self.planned[index].kind, self.planned[index].content)
    }

    fn end(&mut self, schedule: &mut Schedule<'_>, index: ActionIndex) {
        let content = self.content(index);
        self.jobs.remove(&content);
        self.made.insert(content);
        match self.fates[content.1] {
            Fate::Unplaced => schedule.unplaced(index, results("now")),
            Fate::Fails => schedule.failed(index),
            Fate::Supersedes => schedule.superseded(index),
            _ => schedule.up_to_date(index, results("now")),
        }
    }

    fn check(&mut self, schedule: &mut Schedule<'_>, index: ActionIndex) {
        for before in &self.planned[index].after {
            assert!(schedule.state(*before).results().is_some());
        }
        let content = self.content(index);
        let fate = self.fates[content.1];
        let is_known = fate == Fate::Known || self.made.contains(&content);
        if is_known && fate != Fate::Supersedes {
            return self.end(schedule, index);
        }
        let job = *self.jobs.entry(content).or_insert_with(|| {
            self.next_job += 1;
            self.next_job
        });
        let urgency = urgency((content.1 % 2) as i32, content.1 as u64);
        schedule.enqueue(index, job, urgency);
    }

    /// Carries out one effect, or lets a worker answer. Returns false if nothing remains to be done.
    fn step(&mut self, schedule: &mut Schedule<'_>, choice: usize) -> bool {
        let slots = self.slots;
        match schedule.next(Workers {
            here: &|_| slots,
            farm: None,
        }) {
            Some(Effect::Report(ended)) => {
                for index in ended {
                    assert!(self.reported.insert(index), "reported twice");
                }
            }
            Some(Effect::Check(ready)) => {
                for index in ready {
                    self.check(schedule, index);
                }
            }
            Some(Effect::Make(index)) => self.end(schedule, index),
            Some(Effect::Lease(_, kind, jobs)) => self.lease(schedule, kind, &jobs),
            Some(Effect::Abandon { .. }) => panic!("nothing is earlier"),
            None if self.running.is_empty() => {
                if schedule.is_finished() {
                    return false;
                }
                // The remaining jobs are done by other processes.
                let jobs = schedule.first_queued(1);
                assert!(!jobs.is_empty(), "it waits for nothing");
                for job in jobs {
                    let index = schedule.ended_elsewhere(job).unwrap();
                    self.made.insert(self.content(index));
                }
                schedule.look_again();
            }
            None => {
                let job = self.running.swap_remove(choice % self.running.len());
                let index = schedule.runs(job).unwrap();
                if self.fates[self.content(index).1] == Fate::Retried && self.crashed.insert(job) {
                    schedule.requeued(job, Urgency::default());
                } else {
                    self.end(schedule, index);
                }
                schedule.look_again();
            }
        }
        true
    }

    fn lease(&mut self, schedule: &mut Schedule<'_>, kind: ActionKind, jobs: &[JobId]) {
        let is_running = |job: &&JobId| {
            let index = schedule.runs(**job).unwrap();
            self.planned[index].kind == kind
        };
        assert!(self.running.iter().filter(is_running).count() < self.slots);
        let is_free = |job: &&JobId| {
            let content = self.jobs.iter().find(|(_, known)| known == job);
            let (content, _) = content.expect("an unknown job is leased");
            self.fates[content.1] != Fate::Elsewhere
        };
        match jobs.iter().find(is_free).copied() {
            Some(job) => {
                assert!(schedule.started(job, Here).is_some());
                self.running.push(job);
            }
            None => schedule.not_leased(Here, kind, jobs.len()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_action_ends_as_those_before_it_and_its_fate_say(
        (planned, fates) in courses(),
        slots in 1..4_usize,
        choices in prop::collection::vec(any::<usize>(), 8),
    ) {
        let nodes = planned.iter().map(|action| Node {
            kind: action.kind,
            after: &action.after,
            is_selected: action.is_selected,
            needs_worker: action.kind != Deck,
            unchanged: action.was_up_to_date.then(|| results("before")),
        });
        let mut schedule = Schedule::new(nodes.collect(), EarlierJobs::default());
        let mut world = World {
            planned: &planned,
            fates: &fates,
            slots,
            jobs: BTreeMap::new(),
            next_job: 0,
            running: Vec::new(),
            crashed: HashSet::new(),
            made: HashSet::new(),
            reported: HashSet::new(),
        };
        let mut steps = 0;
        while world.step(&mut schedule, choices[steps % choices.len()]) {
            steps += 1;
            prop_assert!(steps < 1000, "it goes on for ever");
        }
        let found: Vec<ActionState> =
            (0..planned.len()).map(|index| schedule.state(index).clone()).collect();
        prop_assert_eq!(found, model(&planned, &fates));
    }
}
