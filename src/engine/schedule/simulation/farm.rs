//! The simulated farm, and the way to it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;

use super::super::*;
use super::{Course, Job};
use crate::digest::Digest;

/// The number of actions that may wait for a worker of the farm even if none runs, as in `src/farm/load.rs`.
const WAITING: usize = 4;

#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    /// The workers of the farm.
    pub workers: usize,
    /// The number of actions that the farm is given at once: `jobs` of `[farm]`.
    pub jobs: usize,
    pub round_trip: u64,
    /// The number of jobs that run on this machine at once, of whatever kinds.
    pub here: usize,
    /// Whether workers have to start their renderers.
    pub is_cold: bool,
    /// Whether an earlier build has recorded how long jobs take.
    pub is_known: bool,
}

/// A farm that is given as many actions as it can use.
pub(super) const FARM: Setup = Setup {
    workers: 1,
    jobs: 1024,
    round_trip: 60,
    here: 0,
    is_cold: false,
    is_known: false,
};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Sent,
    Queued,
    Executing,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// A job arrives at the farm.
    Arrives(usize),
    /// A worker has made a job.
    Ends(usize, usize),
    /// What the farm says of a job arrives here.
    Seen(usize, Stage),
    /// The results of the farm arrive here.
    Returns(usize),
    /// This machine has made a job.
    Made(usize),
}

/// Why a worker is idle, if one is.
#[derive(Clone, Copy)]
pub(super) enum Idle {
    No,
    /// Nothing else can be made now.
    Path,
    /// The farm has been given as many actions as it may.
    Jobs,
    /// It is not known here yet that fewer actions wait there.
    Late,
}

struct Simulation<'c> {
    course: &'c Course,
    setup: Setup,
    now: u64,
    happenings: BinaryHeap<Reverse<(u64, usize, Happening)>>,
    /// How many happenings there were. Those of the same time happen in this order.
    count: usize,
    idle: VecDeque<usize>,
    waiting: VecDeque<usize>,
    /// The renderers that workers have started.
    warm: HashSet<(usize, ActionKind)>,
    /// By job: where it is on the farm, as far as that is known here.
    stages: Vec<Option<Stage>>,
    /// How many jobs are at each stage.
    seen: [usize; 3],
    here: HashMap<ActionKind, usize>,
    /// By job: how long it takes, if it has begun.
    took: Vec<Option<u64>>,
    is_made: Vec<bool>,
    spent: [u64; 4],
    results: Results,
}

/// What a simulation found.
pub(super) struct Run {
    pub ms: u64,
    /// What all jobs took, one after the other; the same with round trips; and with these the longest chain of them.
    pub work: u64,
    pub sent: u64,
    pub path: u64,
    /// The time by [`Idle`].
    pub spent: [u64; 4],
}

/// Makes everything, and checks that every job is made once, and after those that it waits for.
pub(super) fn simulate(course: &Course, setup: Setup) -> Run {
    let nodes = course.actions.iter().map(|(job, after)| Node {
        kind: course.jobs[*job].kind,
        after,
        is_selected: true,
        needs_worker: true,
        unchanged: None,
    });
    let mut schedule = Schedule::new(nodes.collect(), EarlierJobs::default());
    let mut simulation = Simulation {
        course,
        setup,
        now: 0,
        happenings: BinaryHeap::new(),
        count: 0,
        idle: (0..setup.workers).collect(),
        waiting: VecDeque::new(),
        warm: HashSet::new(),
        stages: vec![None; course.jobs.len()],
        seen: [0; 3],
        here: HashMap::new(),
        took: vec![None; course.jobs.len()],
        is_made: vec![false; course.jobs.len()],
        spent: [0; 4],
        results: Arc::new([("result".into(), Digest::of("result"))]),
    };
    simulation.run(&mut schedule);
    let took: Vec<u64> = simulation.took.into_iter().map(Option::unwrap).collect();
    let trip = if setup.here == 0 { setup.round_trip } else { 0 };
    Run {
        ms: simulation.now,
        work: took.iter().sum(),
        sent: took.iter().map(|ms| ms + trip).sum(),
        path: course.critical_path(|job| took[job] + trip),
        spent: simulation.spent,
    }
}

impl Simulation<'_> {
    fn run(&mut self, schedule: &mut Schedule<'_>) {
        self.act(schedule);
        while let Some(Reverse((at, _, happening))) = self.happenings.pop() {
            if at > self.now {
                self.spent[self.idle(schedule) as usize] += at - self.now;
                self.now = at;
            }
            let is_news = match happening {
                Happening::Arrives(job) => {
                    self.waiting.push_back(job);
                    self.work(Some(job));
                    false
                }
                Happening::Ends(job, worker) => {
                    self.after(self.setup.round_trip / 2, Happening::Returns(job));
                    self.idle.push_back(worker);
                    self.work(None);
                    false
                }
                Happening::Seen(job, stage) => {
                    self.see(job, Some(stage));
                    self.has_room()
                }
                Happening::Returns(job) => {
                    self.see(job, None);
                    self.made(schedule, job)
                }
                Happening::Made(job) => {
                    *self.here.get_mut(&self.course.jobs[job].kind).unwrap() -= 1;
                    self.made(schedule, job)
                }
            };
            if is_news {
                self.act(schedule);
            }
        }
        assert!(schedule.is_finished());
    }

    fn after(&mut self, ms: u64, happening: Happening) {
        self.count += 1;
        let next = (self.now + ms, self.count, happening);
        self.happenings.push(Reverse(next));
    }

    /// Carries out what the schedule asks for.
    fn act(&mut self, schedule: &mut Schedule<'_>) {
        loop {
            let free = self.setup.here - self.here.values().sum::<usize>();
            let running = |kind| self.here.get(&kind).copied().unwrap_or(0);
            let farm = FarmNow {
                has_room: self.has_room(),
                shares: self.setup.here > 0,
                round_trip_ms: self.setup.round_trip,
            };
            match schedule.next(Workers {
                here: &|kind| running(kind) + free,
                farm: Some(farm),
            }) {
                Some(Effect::Check(ready)) => {
                    for index in ready {
                        self.check(schedule, index);
                    }
                }
                Some(Effect::Lease(place, _, jobs)) => self.begin(schedule, place, jobs[0]),
                None => return,
                other => panic!("{other:?} cannot be"),
            }
        }
    }

    fn check(&self, schedule: &mut Schedule<'_>, index: ActionIndex) {
        let (job, _) = self.course.actions[index];
        if self.is_made[job] {
            return schedule.up_to_date(index, self.results.clone());
        }
        let urgency = Urgency {
            priority: 0,
            expected_ms: u64::from(self.setup.is_known) * self.course.jobs[job].ms,
            site: Site::Anywhere,
        };
        schedule.enqueue(index, job as JobId, urgency);
    }

    fn begin(&mut self, schedule: &mut Schedule<'_>, place: Place, id: JobId) {
        schedule.started(id, place).unwrap();
        let job = id as usize;
        let Job { kind, ms, after } = &self.course.jobs[job];
        let is_free = after.iter().all(|before| self.is_made[*before]);
        assert!(is_free, "{job} is too early");
        if place == Place::Farm {
            let before = self.stages[job].replace(Stage::Sent);
            assert!(before.is_none(), "{job} is there twice");
            self.seen[Stage::Sent as usize] += 1;
            return self.after(self.setup.round_trip / 2, Happening::Arrives(job));
        }
        *self.here.entry(*kind).or_default() += 1;
        assert!(self.here.values().sum::<usize>() <= self.setup.here);
        self.takes(job, *ms);
        self.after(*ms, Happening::Made(job));
    }

    fn takes(&mut self, job: usize, ms: u64) {
        let before = self.took[job].replace(ms);
        assert!(before.is_none(), "{job} begins twice");
    }

    /// Lets an idle worker begin what has waited longest. A job that just arrived may have to wait.
    fn work(&mut self, arrived: Option<usize>) {
        let back = self.setup.round_trip / 2;
        if let Some(job) = self.waiting.front().filter(|_| !self.idle.is_empty()) {
            let (job, worker) = (*job, self.idle.pop_front().unwrap());
            self.waiting.pop_front();
            let Job { kind, mut ms, .. } = self.course.jobs[job];
            if self.setup.is_cold && self.warm.insert((worker, kind)) {
                ms += self.course.starts[&kind];
            }
            self.takes(job, ms);
            self.after(back, Happening::Seen(job, Stage::Executing));
            self.after(ms, Happening::Ends(job, worker));
        } else if let Some(job) = arrived {
            self.after(back, Happening::Seen(job, Stage::Queued));
        }
    }

    /// Learns that a job is at another stage, or not on the farm any more.
    fn see(&mut self, job: usize, stage: Option<Stage>) {
        let before = std::mem::replace(&mut self.stages[job], stage);
        self.seen[before.unwrap() as usize] -= 1;
        if let Some(stage) = stage {
            self.seen[stage as usize] += 1;
        }
    }

    fn made(&mut self, schedule: &mut Schedule<'_>, job: usize) -> bool {
        let index = schedule.runs(job as JobId).unwrap();
        schedule.up_to_date(index, self.results.clone());
        !std::mem::replace(&mut self.is_made[job], true)
    }

    fn has_room(&self) -> bool {
        let [_, queued, executing] = self.seen;
        self.given() < self.setup.jobs && queued < executing.max(WAITING)
    }

    /// Returns how many actions the farm has.
    fn given(&self) -> usize {
        self.seen.iter().sum()
    }

    fn idle(&self, schedule: &Schedule<'_>) -> Idle {
        if self.idle.is_empty() {
            return Idle::No;
        }
        assert!(self.waiting.is_empty(), "a worker is idle");
        let mut kinds = ActionKind::OF_WORKERS.into_iter();
        match self.given() == self.setup.jobs {
            _ if kinds.all(|kind| schedule.queued(kind) == 0) => Idle::Path,
            true => Idle::Jobs,
            false => Idle::Late,
        }
    }
}
