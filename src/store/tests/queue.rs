//! Checks the queue against a table of its transitions and against a model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::jobs::prune;
use super::{job, result, store};
use crate::digest::Digest;
use crate::events::ActionKind;
use crate::store::*;

/// Brings a new job into a state, and returns it with the last lease that was given for it.
fn job_in(store: &Store, state: JobState) -> (JobId, Option<Lease>) {
    let id = store.enqueue(vec![job("a")]).unwrap()[0];
    let end = match state {
        JobState::Queued => return (id, None),
        JobState::Leased => None,
        JobState::Done => Some(JobEnd::Done),
        JobState::Failed => Some(JobEnd::Failed),
        JobState::Superseded => Some(JobEnd::Superseded),
    };
    let lease = store
        .claim(&Owner::current(), &[id], 60_000)
        .unwrap()
        .unwrap();
    if let Some(end) = end {
        assert_eq!(store.finish(&lease, end, None).unwrap(), Finish::Recorded);
    }
    (id, Some(lease))
}

fn state_of(store: &Store, id: JobId) -> JobState {
    store.states(&[id]).unwrap()[0].1
}

const STATES: [JobState; 5] = [
    JobState::Queued,
    JobState::Leased,
    JobState::Done,
    JobState::Failed,
    JobState::Superseded,
];

#[test]
fn every_event_in_every_state_leads_where_it_should() {
    use JobState::{Done, Failed, Leased, Queued, Superseded};
    type Act = fn(&Store, JobId, &Lease) -> bool;
    // Each event, whether it is valid in each state of `STATES`, and the state it leads to.
    let events: [(&str, Act, [bool; 5], JobState); 9] = [
        (
            "claim",
            |store, id, _| {
                store
                    .claim(&Owner::current(), &[id], 60_000)
                    .unwrap()
                    .is_some()
            },
            [true, false, false, false, false],
            Leased,
        ),
        (
            "renew",
            |store, _, lease| store.renew(lease, 60_000).unwrap(),
            [false, true, false, false, false],
            Leased,
        ),
        (
            "done",
            |store, _, lease| finish(store, lease, JobEnd::Done),
            [false, true, false, false, false],
            Done,
        ),
        (
            "failed",
            |store, _, lease| finish(store, lease, JobEnd::Failed),
            [false, true, false, false, false],
            Failed,
        ),
        (
            "superseded",
            |store, _, lease| finish(store, lease, JobEnd::Superseded),
            [false, true, false, false, false],
            Superseded,
        ),
        (
            "queued again",
            |store, _, lease| {
                let reason = "crashed".to_owned();
                finish(store, lease, JobEnd::Requeue { reason })
            },
            [false, true, false, false, false],
            Queued,
        ),
        (
            "the end of another lease",
            |store, _, lease| {
                let old = Lease {
                    token: lease.token - 1,
                    ..lease.clone()
                };
                finish(store, &old, JobEnd::Done) || store.renew(&old, 1).unwrap()
            },
            [false; 5],
            Done,
        ),
        (
            "recovery while all is well",
            |store, _, _| store.recover().unwrap() > 0,
            [false; 5],
            Queued,
        ),
        (
            "recovery after the lease expired",
            |store, _, lease| {
                store.renew(lease, 0).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(3));
                store.recover().unwrap() > 0
            },
            [false, true, false, false, false],
            Queued,
        ),
    ];
    for (name, act, counts, leads_to) in events {
        for (state, counts) in STATES.into_iter().zip(counts) {
            let (_dir, store) = store();
            let (id, lease) = job_in(&store, state);
            let lease = lease.unwrap_or(Lease {
                job: id,
                token: 1,
                attempt: 1,
            });
            assert_eq!(act(&store, id, &lease), counts, "{name} of a {state:?} job");
            let expected = if counts { leads_to } else { state };
            assert_eq!(state_of(&store, id), expected, "{name} of a {state:?} job");
            // Queueing the key again returns the active job, or a new one.
            let again = store.enqueue(vec![job("a")]).unwrap()[0];
            let is_active = matches!(expected, Queued | Leased);
            assert_eq!(
                again == id,
                is_active,
                "queueing after {name} of a {state:?} job"
            );
        }
    }
}

fn finish(store: &Store, lease: &Lease, end: JobEnd) -> bool {
    let key = Digest::of("a");
    let recorded = ("a".to_owned(), ActionKind::Plantuml, key, result(&[]));
    let before = store.cached(&key).unwrap().len();
    let end = store.finish(lease, end, Some(recorded)).unwrap();
    let after = store.cached(&key).unwrap().len();
    assert_eq!(
        after > before,
        end == Finish::Recorded,
        "state and result together"
    );
    end == Finish::Recorded
}

#[test]
fn the_third_lost_attempt_is_the_last() {
    let (_dir, store) = store();
    let id = store.enqueue(vec![job("a")]).unwrap()[0];
    for attempt in 1..=3 {
        assert_eq!(state_of(&store, id), JobState::Queued);
        let lease = store
            .claim(&Owner::current(), &[id], 60_000)
            .unwrap()
            .unwrap();
        assert_eq!(lease.attempt, attempt);
        let reason = format!("crash {attempt}");
        store
            .finish(&lease, JobEnd::Requeue { reason }, None)
            .unwrap();
    }
    assert_eq!(state_of(&store, id), JobState::Failed);
    assert_eq!(
        store.story(id).unwrap(),
        "attempt 1: crash 1\nattempt 2: crash 2\nattempt 3: crash 3\n"
    );
}

#[test]
fn the_first_job_that_no_process_has_is_leased() {
    let (_dir, store) = store();
    let ids = store.enqueue(["a", "b", "c"].map(job).to_vec()).unwrap();
    let order = [ids[2], ids[0], ids[1]];
    let lease = |jobs: &[JobId]| {
        let lease = store.claim(&Owner::current(), jobs, 60_000).unwrap();
        lease.map(|lease| lease.job)
    };
    assert_eq!(lease(&order), Some(ids[2]));
    assert_eq!(lease(&order), Some(ids[0]));
    assert_eq!(lease(&order[..2]), None);
    assert_eq!(lease(&order), Some(ids[1]));
    assert_eq!(lease(&order), None);
}

#[test]
fn old_and_surplus_jobs_are_forgotten() {
    let (_dir, store) = store();
    let ids = store
        .enqueue((0..5).map(|n| job(&n.to_string())).collect())
        .unwrap();
    for id in &ids[..4] {
        let lease = store
            .claim(&Owner::current(), &[*id], 60_000)
            .unwrap()
            .unwrap();
        store.finish(&lease, JobEnd::Done, None).unwrap();
    }
    let count = |store: &Store| {
        let sql = "SELECT count(*) FROM jobs";
        store
            .read(|connection| Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?))
            .unwrap()
    };
    let at = |store: &Store, now: i64, kept: i64| {
        store
            .write(move |connection| prune(connection, now, kept))
            .unwrap();
        count(store)
    };
    let day = 24 * 60 * 60 * 1000;
    assert_eq!(at(&store, now_ms(), 10), 5);
    assert_eq!(at(&store, now_ms(), 3), 4);
    assert_eq!(
        at(&store, now_ms() + 2 * day, 10),
        1,
        "the waiting one stays"
    );
    assert_eq!(at(&store, now_ms() + 8 * day, 10), 0);
}

/// An operation on the queue; numbers choose among keys and among the leases given so far.
#[derive(Clone, Debug)]
enum Deed {
    Enqueue(u8),
    Claim,
    Renew(usize),
    Finish(usize, u8),
    Recover,
    Reopen,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0..6_u8).prop_map(Deed::Enqueue),
        4 => Just(Deed::Claim),
        1 => (0..20_usize).prop_map(Deed::Renew),
        4 => (0..20_usize, 0..4_u8).prop_map(|(lease, end)| Deed::Finish(lease, end)),
        1 => Just(Deed::Recover),
        1 => Just(Deed::Reopen),
    ]
}

/// A job of the model.
#[derive(Debug)]
struct Modelled {
    key: u8,
    state: JobState,
    token: i64,
    attempts: u32,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn the_queue_does_what_its_model_does(deeds in prop::collection::vec(deed(), 1..60)) {
        let (dir, mut store) = store();
        let mut jobs: BTreeMap<JobId, Modelled> = BTreeMap::new();
        let mut leases: Vec<Lease> = Vec::new();
        for deed in deeds {
            match deed {
                Deed::Enqueue(key) => {
                    let id = store.enqueue(vec![job(&key.to_string())]).unwrap()[0];
                    let active = jobs.iter().find(|(_, job)| {
                        job.key == key && matches!(job.state, JobState::Queued | JobState::Leased)
                    });
                    match active {
                        Some((known, _)) => prop_assert_eq!(id, *known),
                        None => {
                            let new = Modelled { key, state: JobState::Queued, token: 0, attempts: 0 };
                            prop_assert!(jobs.insert(id, new).is_none(), "ids are not used again");
                        }
                    }
                }
                Deed::Claim => {
                    let ids: Vec<JobId> = jobs.keys().copied().collect();
                    let lease = store.claim(&Owner::current(), &ids, 600_000).unwrap();
                    let first = jobs.iter_mut().find(|(_, job)| job.state == JobState::Queued);
                    match (lease, first) {
                        (Some(lease), Some((id, job))) => {
                            job.state = JobState::Leased;
                            job.token += 1;
                            job.attempts += 1;
                            prop_assert_eq!(
                                (lease.job, lease.token, lease.attempt),
                                (*id, job.token, job.attempts)
                            );
                            leases.push(lease);
                        }
                        (lease, first) => prop_assert!(lease.is_none() && first.is_none()),
                    }
                }
                Deed::Renew(number) if number < leases.len() => {
                    let lease = &leases[number];
                    let job = &jobs[&lease.job];
                    let holds = job.state == JobState::Leased && job.token == lease.token;
                    prop_assert_eq!(store.renew(lease, 600_000).unwrap(), holds);
                }
                Deed::Finish(number, end) if number < leases.len() => {
                    let lease = &leases[number];
                    let job = jobs.get_mut(&lease.job).unwrap();
                    let holds = job.state == JobState::Leased && job.token == lease.token;
                    let (end, next) = match end {
                        0 => (JobEnd::Done, JobState::Done),
                        1 => (JobEnd::Failed, JobState::Failed),
                        2 => (JobEnd::Superseded, JobState::Superseded),
                        _ => (
                            JobEnd::Requeue { reason: "crash".to_owned() },
                            if job.attempts < 3 { JobState::Queued } else { JobState::Failed },
                        ),
                    };
                    let finish = store.finish(lease, end, None).unwrap();
                    prop_assert_eq!(finish == Finish::Recorded, holds);
                    if holds {
                        job.state = next;
                    }
                }
                Deed::Recover => prop_assert_eq!(store.recover().unwrap(), 0),
                Deed::Reopen => {
                    drop(store);
                    store = Store::open(dir.path()).unwrap().0;
                }
                Deed::Renew(_) | Deed::Finish(..) => {}
            }
            let ids: Vec<JobId> = jobs.keys().copied().collect();
            let modelled: Vec<_> = jobs.iter().map(|(id, job)| (*id, job.state)).collect();
            prop_assert_eq!(store.states(&ids).unwrap(), modelled);
        }
    }
}

#[test]
fn the_jobs_of_an_older_database_are_kept() {
    let (dir, store) = store();
    let ids = store.enqueue(vec![job("a"), job("b"), job("c")]).unwrap();
    let lease = store.claim(&Owner::current(), &ids[..1], 60_000);
    let lease = lease.unwrap().unwrap();
    store.finish(&lease, JobEnd::Failed, None).unwrap();
    drop(store);
    let old = rusqlite::Connection::open(dir.path().join("clm.db")).unwrap();
    old.execute_batch(
        "DROP INDEX jobs_active;
         CREATE UNIQUE INDEX jobs_active ON jobs (key) WHERE state IN ('queued', 'leased');
         CREATE INDEX jobs_leased ON jobs (lease_until_ms) WHERE state = 'leased';
         ALTER TABLE files DROP COLUMN ctime_ns;
         ALTER TABLE files DROP COLUMN device;
         ALTER TABLE outputs DROP COLUMN ctime_ns;
         ALTER TABLE outputs DROP COLUMN device;
         ALTER TABLE outputs DROP COLUMN before;
         ALTER TABLE outputs DROP COLUMN adopted;
         ALTER TABLE latest DROP COLUMN planned_ms;
         DROP TABLE collections;
         DROP TABLE workers;
         CREATE TABLE workers (
             pid INTEGER NOT NULL, owner_pid INTEGER NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,
             heartbeat_ms INTEGER NOT NULL, PRIMARY KEY (pid, owner_pid)
         ) WITHOUT ROWID;
         ALTER TABLE runs DROP COLUMN owner_pid;
         ALTER TABLE runs DROP COLUMN owner_started;
         ALTER TABLE runs DROP COLUMN owner_host;
         ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE jobs ADD COLUMN expected_ms INTEGER NOT NULL DEFAULT 0;
         CREATE INDEX jobs_waiting ON jobs (priority DESC, expected_ms DESC, id) WHERE state = 'queued';
         ALTER TABLE actions DROP COLUMN origin;
         ALTER TABLE runs DROP COLUMN cache;
         DROP TABLE identities;
         PRAGMA user_version = 4;",
    )
    .unwrap();
    drop(old);
    let (store, diagnostics) = Store::open(dir.path()).unwrap();
    assert_eq!(diagnostics, []);
    let again = store.enqueue(vec![job("a"), job("b"), job("c")]).unwrap();
    assert_ne!(again[0], ids[0], "it had ended");
    assert_eq!(again[1..], ids[1..], "they still wait");
}
