//! Checks the lease protocol in all interleavings of three processes: each step is a transaction of the real store.
//!
//! A state consists of the rows of the table of jobs, what each process knows, the processes that died, and the clock.
//! All states reachable within a number of steps are visited once each. `CLM_MODEL_STEPS=N` increases the number of
//! steps: 9 steps reach 44,077 states.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use rusqlite::params;

use super::super::jobs::Lost;
use super::{job, store};
use crate::store::*;

/// The default number of steps.
const STEPS: usize = 6;
/// The unit of the model's clock.
const MINUTE: i64 = 60_000;
/// A lease lasts one and a half units, so that the real duration of a test makes no difference.
const LEASE: i64 = MINUTE * 3 / 2;
/// The limits for deaths, clock moves and jobs of one key in a history.
const DEATHS: u8 = 2;
const CLOCK_MOVES: u8 = 2;
/// The moves of the clock, in its units: one shorter than a lease, one longer, and one backwards.
const CLOCK_STEPS: [i64; 3] = [1, 2, -30];
const JOBS: i64 = 2;

/// The knowledge of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Process {
    is_dead: bool,
    /// The job it waits for.
    waits: Option<JobId>,
    /// The lease under which it works.
    lease: Option<Lease>,
    /// Lost leases that it found and has not yet taken back.
    found: Option<Vec<Lost>>,
}

/// A row of the table of jobs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Row {
    id: JobId,
    state: String,
    token: i64,
    attempts: u32,
    owner: Option<u32>,
    /// The end of the lease, in half units after the start.
    until: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    rows: Vec<Row>,
    processes: [Process; 3],
    /// The time, in units after the start.
    clock: i64,
    deaths: u8,
    clock_moves: u8,
    /// Jobs whose result was recorded.
    recorded: Vec<JobId>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Enqueue,
    Claim,
    Renew,
    /// Finishes the work.
    Done,
    /// The worker crashes.
    Requeue,
    /// The result of the waiting job is no longer needed.
    Abandon,
    Look,
    TakeBack,
    Die,
    Clock(i64),
}

/// The real store, into which states are loaded and from which they are read back.
struct Model {
    _dir: tempfile::TempDir,
    store: Store,
    start: i64,
    /// How often each kind of event happened.
    happened: RefCell<BTreeMap<&'static str, usize>>,
}

/// Returns the owner that stands for a process. The third process is on another machine, so its death cannot be
/// detected.
fn owner(process: usize) -> Owner {
    let host = if process == 2 { "elsewhere" } else { "here" };
    Owner {
        pid: process as u32,
        started: 1,
        host: host.to_owned(),
    }
}

impl Model {
    fn new() -> Self {
        let (dir, store) = store();
        Self {
            _dir: dir,
            store,
            start: now_ms(),
            happened: RefCell::default(),
        }
    }

    fn note(&self, what: &'static str) {
        *self.happened.borrow_mut().entry(what).or_default() += 1;
    }

    fn load(&self, rows: &[Row]) {
        let (rows, start) = (rows.to_vec(), self.start);
        self.store
            .write(move |connection| {
                connection.prepare_cached("DELETE FROM jobs")?.execute([])?;
                let mut insert = connection.prepare_cached(
                    "INSERT INTO jobs (id, key, action, kind, state, token, attempts, owner_pid,
                         owner_started, owner_host, lease_until_ms, queued_ms, ended_ms)
                     VALUES (?1, ?2, 'a', 'plantuml', ?3, ?4, ?5, ?6, 1, ?7, ?8, 0, ?9)",
                )?;
                for row in &rows {
                    let is_active = ["queued", "leased"].contains(&row.state.as_str());
                    insert.execute(params![
                        row.id,
                        job("a").key.to_string(),
                        row.state,
                        row.token,
                        row.attempts,
                        row.owner,
                        row.owner.map(|pid| owner(pid as usize).host),
                        row.until.map(|until| start + until * MINUTE / 2),
                        (!is_active).then_some(1),
                    ])?;
                }
                // The ids continue after the last one of this state.
                connection
                    .prepare_cached("UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'jobs'")?
                    .execute([rows.last().map_or(0, |row| row.id)])?;
                Ok(())
            })
            .unwrap();
    }

    fn rows(&self) -> Vec<Row> {
        let start = self.start;
        self.store
            .read(|connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT id, state, token, attempts, owner_pid, lease_until_ms FROM jobs ORDER BY id",
                )?;
                let rows = statement.query_map([], |row| {
                    let state: String = row.get(1)?;
                    let until: Option<i64> = row.get(5)?;
                    let half = MINUTE / 2;
                    Ok(Row {
                        id: row.get(0)?,
                        owner: if state == "leased" { row.get(4)? } else { None },
                        state,
                        token: row.get(2)?,
                        attempts: row.get(3)?,
                        until: until.map(|until| (until - start).div_euclid(half)),
                    })
                })?;
                Ok(rows.collect::<std::result::Result<_, _>>()?)
            })
            .unwrap()
    }

    /// Returns the duration of a lease by the store's clock, for a lease given at a time of the model.
    fn lease_ms(&self, clock: i64) -> u64 {
        (self.start + clock * MINUTE + LEASE - now_ms()).cast_unsigned()
    }

    fn lost(&self, world: &World, clock: i64) -> Vec<Lost> {
        let is_gone =
            |owner: &Owner| owner.host == "here" && world.processes[owner.pid as usize].is_dead;
        self.store
            .lost(self.start + clock * MINUTE, is_gone)
            .unwrap()
    }

    /// Returns the possible next steps of a process.
    fn steps(world: &World, process: usize) -> Vec<Step> {
        let it = &world.processes[process];
        if it.is_dead {
            return Vec::new();
        }
        let mut steps = Vec::new();
        match (&it.lease, it.waits) {
            (Some(_), _) => steps.extend([Step::Done, Step::Requeue, Step::Renew]),
            (None, Some(_)) => steps.extend([Step::Claim, Step::Abandon]),
            (None, None) => steps.push(Step::Enqueue),
        }
        steps.push(match it.found {
            Some(_) => Step::TakeBack,
            None => Step::Look,
        });
        if world.deaths < DEATHS {
            steps.push(Step::Die);
        }
        steps
    }

    /// Applies a step to the real store; returns `None` if it leads to no new state.
    fn step(&self, world: &World, process: usize, step: Step) -> Option<World> {
        self.load(&world.rows);
        let mut next = world.clone();
        let it = &mut next.processes[process];
        match step {
            Step::Enqueue => {
                let id = self.store.enqueue(vec![job("a")]).unwrap()[0];
                if id > JOBS {
                    return None;
                }
                it.waits = Some(id);
            }
            Step::Claim => {
                let id = it.waits?;
                let lease_ms = self.lease_ms(world.clock);
                it.lease = self.store.claim(&owner(process), &[id], lease_ms).unwrap();
                if it.lease.is_none() {
                    // Another process has it, or it has ended.
                    let (_, state) = self.store.states(&[id]).unwrap()[0];
                    if matches!(state, JobState::Queued | JobState::Leased) {
                        return None;
                    }
                    it.waits = None;
                }
            }
            Step::Renew => {
                let lease = it.lease.clone()?;
                let lease_ms = self.lease_ms(world.clock);
                let holds = self.store.renew(&lease, lease_ms).unwrap();
                assert_eq!(holds, is_current(world, &lease), "{lease:?} of {world:#?}");
            }
            Step::Done | Step::Requeue => {
                let lease = it.lease.take()?;
                let end = match step {
                    Step::Done => JobEnd::Done,
                    _ => JobEnd::Requeue {
                        reason: "crash".to_owned(),
                    },
                };
                let is_done = end == JobEnd::Done;
                let finish = self.store.finish(&lease, end, None).unwrap();
                let expected = match is_current(world, &lease) {
                    true => Finish::Recorded,
                    false => Finish::Stale,
                };
                assert_eq!(finish, expected, "{lease:?} of {world:#?}");
                if finish == Finish::Stale {
                    self.note("a result came too late");
                }
                if finish == Finish::Recorded && is_done {
                    next.recorded.push(lease.job);
                    it.waits = None;
                }
            }
            Step::Abandon => self.store.abandon(vec![it.waits.take()?]).unwrap(),
            Step::Look => {
                it.found = Some(self.lost(world, world.clock)).filter(|lost| !lost.is_empty())
            }
            Step::TakeBack => {
                self.store.take_back(it.found.take()?).unwrap();
                for (before, after) in world.rows.iter().zip(self.rows()) {
                    if let (Some(owner), None) = (before.owner, after.owner) {
                        let is_dead = world.processes[owner as usize].is_dead;
                        let is_over = before.until.is_some_and(|until| until <= world.clock * 2);
                        self.note(match (is_dead, is_over) {
                            (true, false) if owner < 2 => "a dead owner lost its lease",
                            (_, true) => "a lease ended",
                            _ => "a lease of another time was taken back",
                        });
                    }
                }
            }
            Step::Die => {
                *it = Process {
                    is_dead: true,
                    ..Process::default()
                };
                next.deaths += 1;
            }
            Step::Clock(by) => {
                next.clock += by;
                next.clock_moves += 1;
            }
        }
        next.rows = self.rows();
        // The first two processes are symmetric.
        let [first, second, _] = &next.processes;
        let is_sorted = format!("{first:?}") <= format!("{second:?}");
        if !is_sorted {
            next = next.exchanged();
        }
        Some(next)
    }

    /// Checks that in any state one process that continues alone brings every job to an end.
    fn comes_to_an_end(&self, world: &World) {
        self.load(&world.rows);
        let mut alone = world.clone();
        for process in &mut alone.processes {
            process.is_dead = true;
        }
        let clock = world.clock + 2;
        let ids: Vec<JobId> = world.rows.iter().map(|row| row.id).collect();
        let lost = self.lost(&alone, clock);
        self.store.take_back(lost).unwrap();
        while let Some(lease) = self
            .store
            .claim(&owner(0), &ids, self.lease_ms(clock))
            .unwrap()
        {
            let finish = self.store.finish(&lease, JobEnd::Done, None).unwrap();
            assert_eq!(finish, Finish::Recorded);
        }
        for row in self.rows() {
            let has_ended = ["done", "failed", "superseded"].contains(&row.state.as_str());
            assert!(has_ended, "{row:?} never ends, of {world:#?}");
        }
    }
}

impl World {
    /// Returns the same state with the first two processes exchanged.
    fn exchanged(mut self) -> Self {
        self.processes.swap(0, 1);
        for row in &mut self.rows {
            row.owner = row.owner.map(|pid| if pid < 2 { 1 - pid } else { pid });
        }
        self
    }
}

/// Returns whether a lease is the last one given for its job and was not taken back.
fn is_current(world: &World, lease: &Lease) -> bool {
    world
        .rows
        .iter()
        .any(|row| row.id == lease.job && row.token == lease.token && row.state == "leased")
}

/// Checks what must hold in every state.
fn check(world: &World) {
    let active = |row: &&Row| ["queued", "leased"].contains(&row.state.as_str());
    assert!(world.rows.iter().filter(active).count() <= 1, "{world:#?}");
    for row in &world.rows {
        assert!(row.attempts <= 3, "{world:#?}");
        let recorded = world.recorded.iter().filter(|id| **id == row.id).count();
        assert_eq!(recorded, usize::from(row.state == "done"), "{world:#?}");
    }
    let holders = world.processes.iter().filter(|process| {
        let lease = process.lease.as_ref();
        lease.is_some_and(|lease| is_current(world, lease))
    });
    assert!(holders.count() <= 1, "{world:#?}");
}

#[test]
fn no_interleaving_of_three_processes_loses_a_job_or_takes_two_results() {
    let steps = std::env::var("CLM_MODEL_STEPS").ok();
    let steps = steps.map_or(STEPS, |steps| steps.parse().unwrap());
    let model = Model::new();
    let start = World {
        rows: Vec::new(),
        processes: Default::default(),
        clock: 0,
        deaths: 0,
        clock_moves: 0,
        recorded: Vec::new(),
    };
    let mut seen = HashSet::from([start.clone()]);
    let mut ending = HashSet::new();
    let mut waiting = VecDeque::from([(start, 0)]);
    let mut made: HashMap<String, usize> = HashMap::new();
    while let Some((world, depth)) = waiting.pop_front() {
        check(&world);
        let dead = [0, 1, 2].map(|process| world.processes[process].is_dead);
        if ending.insert((world.rows.clone(), world.clock, dead)) {
            model.comes_to_an_end(&world);
        }
        if depth == steps {
            continue;
        }
        let mut all: Vec<(usize, Step)> = (0..3)
            .flat_map(|process| {
                Model::steps(&world, process)
                    .into_iter()
                    .map(move |step| (process, step))
            })
            .collect();
        if world.clock_moves < CLOCK_MOVES {
            all.extend(CLOCK_STEPS.map(|by| (0, Step::Clock(by))));
        }
        for (process, step) in all {
            let Some(next) = model.step(&world, process, step) else {
                continue;
            };
            *made.entry(format!("{step:?}")).or_default() += 1;
            if seen.insert(next.clone()) {
                waiting.push_back((next, depth + 1));
            }
        }
    }
    let kinds = [
        "Enqueue", "Claim", "Renew", "Done", "Requeue", "Abandon", "Look", "TakeBack", "Die",
    ];
    for kind in kinds {
        assert!(made.contains_key(kind), "no step was {kind}: {made:?}");
    }
    let happened = model.happened.into_inner();
    for what in [
        "a dead owner lost its lease",
        "a lease ended",
        "a lease of another time was taken back",
        "a result came too late",
    ] {
        assert!(happened.contains_key(what), "never: {what}, {happened:?}");
    }
    for by in CLOCK_STEPS {
        let step = format!("{:?}", Step::Clock(by));
        assert!(made.contains_key(&step), "no step was {step}: {made:?}");
    }
    report(&format!(
        "{} states within {steps} steps; {happened:?}",
        seen.len()
    ));
    assert!(seen.len() > 1000, "only {} states", seen.len());
}

/// Prints the figures of a longer walk.
#[allow(clippy::print_stderr)]
fn report(figures: &str) {
    eprintln!("{figures}");
}
