mod damage;
mod garbage;
mod leases;
mod queue;
mod turn;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::digest::{Digest, Stamp};
use crate::events::ActionKind;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let (store, diagnostics) = Store::open(dir.path()).unwrap();
    assert!(diagnostics.is_empty());
    (dir, store)
}

fn job(name: &str) -> NewJob {
    NewJob {
        key: Digest::of(name),
        action: name.to_owned(),
        kind: ActionKind::Plantuml,
    }
}

fn result(discovered: &[(&str, Option<&str>)]) -> CachedResult {
    CachedResult {
        discovered: discovered
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.map(Digest::of)))
            .collect(),
        status: ResultStatus::Ok,
        outputs: vec![("image.png".to_owned(), Digest::of("png"), 3)],
        diagnostics: vec![Diagnostic::warning("careful").at("a.pu", Some(3))],
        duration_ms: 12,
        origin: None,
    }
}

#[test]
fn records_survive_reopening() {
    let (dir, store) = store();
    let file = FileRecord {
        stamp: Stamp {
            size: 1,
            mtime_ns: 2,
            ctime_ns: -6,
            inode: u64::MAX,
            device: 7,
        },
        digest: Digest::of("a"),
        recorded_ns: 4,
    };
    store.record_files(vec![("a".to_owned(), file)]).unwrap();
    let output = OutputRecord {
        file: FileRecord {
            digest: Digest::of("o"),
            stamp: file.stamp,
            recorded_ns: 5,
        },
        scope: "course.xml".into(),
        before: Some(Box::new(Digest::of("before"))),
        is_adopted: true,
    };
    store
        .record_outputs(vec![("out/a".into(), output.clone(), "copy a".into())])
        .unwrap();
    let latest = Latest {
        key: Digest::of("k"),
        discovered: vec![("inc".to_owned(), None)],
        finished_ms: 7,
        duration_ms: 8,
    };
    let parts = vec![("dpi".to_owned(), "200".to_owned())];
    store
        .set_latest(vec![("x".to_owned(), latest.clone(), parts.clone())])
        .unwrap();
    drop(store);
    let (store, _) = Store::open(dir.path()).unwrap();
    assert_eq!(store.files().unwrap()["a"], file);
    assert_eq!(store.output("out/a").unwrap().as_ref(), Some(&output));
    assert_eq!(store.output("out/b").unwrap(), None);
    let outputs = store.outputs(&mut |path| path.into()).unwrap();
    assert_eq!(outputs, HashMap::from([("out/a".into(), output)]));
    assert_eq!(store.latest_of("x").unwrap().as_ref(), Some(&latest));
    assert_eq!(store.latest_of("y").unwrap(), None);
    assert_eq!(
        store.latest().unwrap(),
        HashMap::from([("x".into(), latest)])
    );
    assert_eq!(store.latest_parts("x").unwrap(), parts);
    assert!(store.latest_parts("y").unwrap().is_empty());
    store.forget_outputs(vec!["out/a".into()]).unwrap();
    store.forget_files(vec!["a".to_owned()]).unwrap();
    assert!(store.outputs(&mut |path| path.into()).unwrap().is_empty());
    assert!(store.files().unwrap().is_empty());
}

#[test]
fn results_of_one_key_differ_in_what_was_discovered() {
    let (_dir, store) = store();
    let key = Digest::of("key");
    let one = result(&[("inc", Some("1")), ("lost", None)]);
    let two = result(&[("inc", Some("2"))]);
    for entry in [&one, &two, &one] {
        store
            .record_result("a", ActionKind::Plantuml, &key, entry)
            .unwrap();
    }
    assert_eq!(store.cached(&key).unwrap(), [one, two]);
    assert!(store.cached(&Digest::of("other")).unwrap().is_empty());
}

#[test]
fn blobs_are_verified() {
    let (dir, store) = store();
    for size in [10, 100_000] {
        let bytes = vec![7_u8; size];
        let digest = store.put(&bytes).unwrap();
        assert_eq!(store.read_blob(&digest).unwrap(), Some(bytes.clone()));
        let copy = dir.path().join(format!("copy-{size}"));
        assert!(store.copy_to(&digest, &copy).unwrap());
        assert_eq!(std::fs::read(&copy).unwrap(), bytes);
    }
    let digest = Digest::of(vec![7_u8; 100_000]);
    let name = digest.to_string();
    let file = dir.path().join("blobs").join(&name[..2]).join(&name[2..]);
    std::fs::write(&file, "damaged").unwrap();
    assert!(!store.copy_to(&digest, &dir.path().join("copy")).unwrap());
    assert!(!store.has(&digest).unwrap());
}

#[test]
fn one_active_job_for_each_key() {
    let (_dir, store) = store();
    let first = store.enqueue(vec![job("a"), job("b")]).unwrap();
    let again = store.enqueue(vec![job("a")]).unwrap();
    assert_eq!(first[0], again[0]);
    let owner = Owner::current();
    let lease = store.claim(&owner, &first[..1], 1000).unwrap().unwrap();
    assert_eq!((lease.job, lease.attempt), (first[0], 1));
    assert_eq!(store.claim(&owner, &first[..1], 1000).unwrap(), None);
    assert_eq!(store.enqueue(vec![job("a")]).unwrap()[0], first[0]);
    let recorded = (
        "a".to_owned(),
        ActionKind::Plantuml,
        Digest::of("a"),
        result(&[]),
    );
    assert_eq!(
        store.finish(&lease, JobEnd::Done, Some(recorded)).unwrap(),
        Finish::Recorded
    );
    assert_eq!(store.cached(&Digest::of("a")).unwrap().len(), 1);
    assert_ne!(store.enqueue(vec![job("a")]).unwrap()[0], first[0]);
}

/// Checks every state of a job with every event.
#[test]
fn a_lease_counts_once_and_only_while_it_is_the_newest() {
    let owner = Owner::current();
    for end in [
        JobEnd::Done,
        JobEnd::Failed,
        JobEnd::Superseded,
        JobEnd::Requeue {
            reason: "crash".to_owned(),
        },
    ] {
        let (_dir, store) = store();
        let id = store.enqueue(vec![job("a")]).unwrap();
        let lease = store.claim(&owner, &id, 60_000).unwrap().unwrap();
        assert!(store.renew(&lease, 60_000).unwrap());
        assert_eq!(
            store.finish(&lease, end.clone(), None).unwrap(),
            Finish::Recorded
        );
        let expected = match end {
            JobEnd::Done => JobState::Done,
            JobEnd::Failed => JobState::Failed,
            JobEnd::Superseded => JobState::Superseded,
            JobEnd::Requeue { .. } => JobState::Queued,
        };
        assert_eq!(store.states(&id).unwrap(), [(id[0], expected)]);
        // The lease is over; later calls have no effect.
        assert!(!store.renew(&lease, 60_000).unwrap());
        let recorded = (
            "a".to_owned(),
            ActionKind::Plantuml,
            Digest::of("a"),
            result(&[]),
        );
        assert_eq!(
            store.finish(&lease, JobEnd::Done, Some(recorded)).unwrap(),
            Finish::Stale
        );
        assert!(store.cached(&Digest::of("a")).unwrap().is_empty());
        let next = store.claim(&owner, &id, 60_000).unwrap();
        assert_eq!(next.is_some(), expected == JobState::Queued);
        if let Some(next) = next {
            assert_eq!((next.attempt, next.token), (2, lease.token + 1));
            assert!(store.story(id[0]).unwrap().contains("attempt 1: crash"));
        }
    }
}

#[test]
fn expired_and_orphaned_leases_are_taken_back() {
    let (_dir, store) = store();
    let id = store.enqueue(vec![job("a")]).unwrap();
    let dead = Owner {
        pid: u32::MAX - 7,
        started: 1,
        host: host_of_this_machine(),
    };
    for attempt in 1..=3 {
        let lease = store.claim(&dead, &id, 60_000).unwrap().unwrap();
        assert_eq!(lease.attempt, attempt);
        assert_eq!(store.recover().unwrap(), 1);
        assert_eq!(
            store.finish(&lease, JobEnd::Done, None).unwrap(),
            Finish::Stale
        );
    }
    assert_eq!(store.states(&id).unwrap()[0].1, JobState::Failed);
    assert_eq!(store.story(id[0]).unwrap().lines().count(), 3);

    let id = store.enqueue(vec![job("b")]).unwrap();
    store.claim(&Owner::current(), &id, 0).unwrap().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert_eq!(store.recover().unwrap(), 1);
    let lease = store
        .claim(&Owner::current(), &id, 60_000)
        .unwrap()
        .unwrap();
    assert_eq!(store.recover().unwrap(), 0);
    assert_eq!(
        store.finish(&lease, JobEnd::Done, None).unwrap(),
        Finish::Recorded
    );
}

fn host_of_this_machine() -> String {
    Owner::current().host
}

#[test]
fn many_stores_share_one_queue_without_errors_or_double_work() {
    for stores in [8, 32] {
        share_one_queue(stores);
    }
}

fn share_one_queue(stores: usize) {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let jobs = 300;
    let (store, _) = Store::open(dir.path()).unwrap();
    let ids = store
        .enqueue((0..jobs).map(|number| job(&number.to_string())).collect())
        .unwrap();
    let ids = Arc::new(ids);
    let claimed = Arc::new(Mutex::new(HashSet::new()));
    let finished = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..stores)
        .map(|_| {
            let (dir, ids) = (Arc::clone(&dir), Arc::clone(&ids));
            let (claimed, finished) = (Arc::clone(&claimed), Arc::clone(&finished));
            std::thread::spawn(move || {
                let (store, _) = Store::open(dir.path()).unwrap();
                while let Some(lease) = store.claim(&Owner::current(), &ids, 60_000).unwrap() {
                    assert!(claimed.lock().unwrap().insert(lease.job), "claimed twice");
                    assert_eq!(
                        store.finish(&lease, JobEnd::Done, None).unwrap(),
                        Finish::Recorded
                    );
                    finished.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(finished.load(Ordering::Relaxed), jobs);
}

#[test]
fn a_damaged_database_is_set_aside_and_a_newer_one_is_refused() {
    let (dir, store) = store();
    store.begin_run("build").unwrap();
    drop(store);
    let database = dir.path().join("clm.db");
    for damage in [
        &b"not a database at all, but long enough to look"[..],
        &[0xff; 4096],
    ] {
        std::fs::write(&database, damage).unwrap();
        let (store, diagnostics) = Store::open(dir.path()).unwrap();
        assert!(
            diagnostics[0].message.contains("damaged"),
            "{diagnostics:?}"
        );
        assert!(store.recent_runs(5).unwrap().is_empty());
    }
    assert!(dir.path().join("clm.db.corrupt-2").exists());
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = Store::open(dir.path()).err().unwrap();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }));
    assert!(Error::from(error).to_string().contains("hint: update clm"));
}

#[test]
fn runs_and_workers_are_listed() {
    let (_dir, store) = store();
    let run = store.begin_run("build").unwrap();
    let counts = crate::events::Counts {
        built: 3,
        ..Default::default()
    };
    store
        .finish_run(
            run,
            &counts,
            10,
            Some("execute a: it was never built".to_owned()),
        )
        .unwrap();
    assert_eq!(store.recent_runs(1).unwrap()[0].counts, Some(counts));
    let note = |number: usize, pid: u32| {
        store.note_worker(WorkerNote {
            kind: ActionKind::Html,
            number,
            pid,
            state: "busy",
            doing: Some(Doing {
                source: "slides/a.py".to_owned(),
                label: "completed".to_owned(),
                done: 1,
                total: 3,
            }),
        });
    };
    // Two workers of this process, and one of a process that has ended.
    let own = std::process::id();
    note(1, own);
    note(2, own);
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    note(3, child.id());
    store.flush().unwrap();
    let workers = store.workers().unwrap();
    assert_eq!(workers.len(), 2);
    assert_eq!(workers[0].state, "busy");
    let doing = workers[0].doing.as_ref().unwrap();
    assert_eq!((doing.source.as_str(), doing.done), ("slides/a.py", 1));
    store.forget_worker(ActionKind::Html, 1);
    store.flush().unwrap();
    assert_eq!(store.workers().unwrap().len(), 1);
}

#[test]
fn what_a_killed_process_left_is_neither_running_nor_alive() {
    let (_dir, store) = store();
    let run = store.begin_run("build").unwrap();
    let going = store.begin_run("watch").unwrap();
    let state = |id: i64| {
        let runs = store.recent_runs(5).unwrap();
        runs.iter().find(|run| run.id == id).unwrap().state
    };
    // A process does one run at a time, so the first one was interrupted.
    assert_eq!(state(run), RunState::Interrupted);
    assert_eq!(state(going), RunState::Running);
    let key = Digest::of("a");
    let job = NewJob {
        key,
        action: "execute a".to_owned(),
        kind: ActionKind::Execute,
    };
    let jobs = store.enqueue(vec![job]).unwrap();
    store
        .claim(&Owner::current(), &jobs, 60_000)
        .unwrap()
        .unwrap();
    assert_eq!(store.queue_length().unwrap(), (0, 1));
    store.note_worker(WorkerNote {
        kind: ActionKind::Execute,
        number: 1,
        pid: std::process::id(),
        state: "busy",
        doing: None,
    });
    store.flush().unwrap();
    // Another process had the same process id before.
    store
        .write(|connection| {
            for table in ["runs", "workers", "jobs"] {
                connection.execute(&format!("UPDATE {table} SET owner_started = 1"), [])?;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(state(going), RunState::Interrupted);
    assert_eq!(store.queue_length().unwrap(), (1, 0));
    assert!(store.workers().unwrap().is_empty());
}

#[test]
fn recording_takes_time_in_proportion() {
    let (_dir, store) = store();
    let record = FileRecord {
        stamp: Stamp {
            size: 1,
            mtime_ns: 2,
            ctime_ns: -6,
            inode: 3,
            device: 7,
        },
        digest: Digest::of("a"),
        recorded_ns: 4,
    };
    let begun = std::time::Instant::now();
    let files = (0..20_000).map(|number| (format!("slides/{number}.py"), record));
    store.record_files(files.collect()).unwrap();
    assert_eq!(store.files().unwrap().len(), 20_000);
    // Takes about 0.1 s; a scan of all files for each file would take half a minute.
    assert!(begun.elapsed() < std::time::Duration::from_secs(10));
}

#[test]
fn writes_of_others_are_noticed_and_own_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let before = store.version_of_others().unwrap();
    store.begin_run("own").unwrap();
    store.flush().unwrap();
    store.release_memory();
    assert_eq!(store.version_of_others().unwrap(), before);
    let (other, _) = Store::open(dir.path()).unwrap();
    other.begin_run("another").unwrap();
    let after = store.version_of_others().unwrap();
    assert_ne!(after, before);
    assert_eq!(store.version_of_others().unwrap(), after);
    drop(other);
    assert_eq!(store.version_of_others().unwrap(), after);
}

#[test]
fn the_cause_of_a_failed_write_is_known_and_has_its_hint() {
    use rusqlite::ffi;
    use std::error::Error as _;
    let failure = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
    let hints = [
        (ffi::SQLITE_FULL, "free some space"),
        (ffi::SQLITE_CANTOPEN, "writable for you"),
        (ffi::SQLITE_READONLY, "writable for you"),
        (ffi::SQLITE_BUSY, "another program writes"),
        (ffi::SQLITE_IOERR, "gave an error"),
        (ffi::SQLITE_NOMEM, "memory has run out"),
        (ffi::SQLITE_CORRUPT, "makes a new database"),
        (ffi::SQLITE_NOTADB, "makes a new database"),
        (ffi::SQLITE_MISMATCH, "makes a new database"),
    ];
    for (code, expected) in hints {
        for error in [
            StoreError::Sqlite(failure(code)),
            StoreError::Write(Arc::new(failure(code))),
        ] {
            assert!(error.source().is_some());
            let is_damage = expected == "makes a new database";
            assert_eq!(error.is_damage(), is_damage, "{error}");
            let error = Error::from(error);
            let hint = error.diagnostics[0].hint.as_deref().unwrap_or_default();
            assert!(hint.contains(expected), "{code}: {hint}");
            assert!(error.stops_all());
        }
    }
}

#[test]
fn tables_of_another_program_are_damage() {
    let (dir, store) = store();
    drop(store);
    let connection = rusqlite::Connection::open(dir.path().join("clm.db")).unwrap();
    for statement in [
        "SELECT x FROM runs",
        "SELECT x FROM no_such_table",
        "INSERT INTO runs (no_such_column) VALUES (1)",
        "INSERT INTO runs (id) VALUES (1) ON CONFLICT (started_ms) DO NOTHING",
        "CREATE TABLE runs (x)",
        "CREATE INDEX i ON runs (no_such_column)",
    ] {
        let error = connection.execute(statement, []).unwrap_err();
        assert!(schema::is_corrupt(&error), "{statement}: {error:?}");
    }
}

#[test]
fn writes_of_a_transaction_that_was_rolled_back_are_reported_with_the_cause() {
    let (_dir, store) = store();
    let connection = store.0.writer.alone().unwrap();
    // The writer thread waits for the connection, so all writes come into one transaction.
    let write = |sql: &'static str| {
        let store = store.clone();
        std::thread::spawn(move || {
            store.write(move |connection| Ok(connection.execute_batch(sql)?))
        })
    };
    let before = write("UPDATE runs SET reason = 'x'");
    while store.0.writer.waiting.load(Ordering::SeqCst) < 1 {
        std::thread::yield_now();
    }
    let failed = write("ROLLBACK; SELECT x FROM no_such_table");
    while store.0.writer.waiting.load(Ordering::SeqCst) < 2 {
        std::thread::yield_now();
    }
    // It is counted and sent under one lock.
    drop(lock(&store.0.sender));
    drop(connection);
    let before = before.join().unwrap().unwrap_err();
    assert!(matches!(before, StoreError::RolledBack), "{before:?}");
    let failed = failed.join().unwrap().unwrap_err();
    assert!(matches!(failed, StoreError::Sqlite(_)), "{failed:?}");
    assert!(store.flush().is_ok());
}

#[test]
fn a_result_keeps_its_origin() {
    let (_dir, store) = store();
    let key = Digest::of("key");
    let made_elsewhere = CachedResult {
        origin: Some(Origin {
            machine: "ci".to_owned(),
            made_ms: 7,
            run: Some("https://example.org/1".to_owned()),
        }),
        ..result(&[])
    };
    let record = |result| store.record_result("a", ActionKind::Html, &key, result);
    record(&made_elsewhere).unwrap();
    assert_eq!(
        store.cached(&key).unwrap(),
        std::slice::from_ref(&made_elsewhere)
    );
}

#[test]
fn identities_of_renderers_are_replaced_one_by_one() {
    let (_dir, store) = store();
    let of = |pairs: &[(&str, &str)]| -> identities::Identities {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        pairs.collect()
    };
    store
        .set_identities(of(&[("html", "1"), ("plantuml", "1")]))
        .unwrap();
    store.set_identities(of(&[("plantuml", "2")])).unwrap();
    assert_eq!(
        store.identities().unwrap(),
        of(&[("html", "1"), ("plantuml", "2")])
    );
}
