//! Storing blobs again, and garbage collection.

use std::fs;
use std::time::{Duration, SystemTime};

use super::{result, store};
use crate::digest::{Digest, Stamp};
use crate::events::{ActionKind, Counts};
use crate::store::*;

const HOUR: i64 = 3_600_000;
/// Limits that no test reaches.
const LARGE: Limits = Limits {
    max_size: 1_000_000_000,
    max_age_ms: 30 * 24 * HOUR,
};

/// Records one more version of an action, and returns its key and its result.
fn save(store: &Store, action: &str, number: u32, size: usize) -> (Digest, Digest) {
    let text = format!("{action} {number}");
    let bytes = [text.as_bytes(), &vec![7; size]].concat();
    let digest = store.put(&bytes).unwrap();
    let key = Digest::of(&text);
    let run = CachedResult {
        outputs: vec![("page".to_owned(), digest, bytes.len() as u64)],
        ..result(&[])
    };
    store
        .record_result(action, ActionKind::Html, &key, &run)
        .unwrap();
    let latest = Latest {
        key,
        discovered: Vec::new(),
        finished_ms: now_ms(),
        duration_ms: 1,
    };
    store
        .set_latest(vec![(action.to_owned(), latest, Vec::new())])
        .unwrap();
    (key, digest)
}

fn size_of(dir: &std::path::Path) -> u64 {
    let mut size = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        size += match entry.metadata().unwrap() {
            metadata if metadata.is_dir() => size_of(&entry.path()),
            metadata => metadata.len(),
        };
    }
    size
}

/// Simulates an author who saves one deck many times, with collections in between.
#[test]
fn a_thousand_saves_leave_as_much_as_a_hundred() {
    let (dir, store) = store();
    let mut sizes = Vec::new();
    for number in 0..1000 {
        let run = store.begin_run("watch").unwrap();
        let (key, digest) = save(&store, "execute deck", number, 20_000);
        save(&store, "html deck", number, 2_000);
        store.finish_run(run, &Counts::default(), 1, None).unwrap();
        if store.is_collection_due().unwrap() {
            // An hour later, so that no result is young.
            store.collect_at(&LARGE, now_ms() + HOUR).unwrap();
        }
        if number % 100 == 99 {
            store.collect_at(&LARGE, now_ms() + HOUR).unwrap();
            sizes.push(size_of(dir.path()));
        }
        assert!(store.has(&digest).unwrap());
        assert_eq!(store.cached(&key).unwrap().len(), 1);
    }
    let most = sizes.iter().max().unwrap();
    assert!(*most < sizes[0] + sizes[0] / 5, "{sizes:?}");
    assert!(*most < 1_500_000, "{sizes:?}");
}

#[test]
fn the_size_is_bounded_but_for_what_is_planned_and_its_last_versions() {
    let (_dir, store) = store();
    let mut kept = Vec::new();
    for action in ["execute a", "execute b"] {
        let all: Vec<_> = (0..10)
            .map(|number| save(&store, action, number, 20_000))
            .collect();
        kept.extend(all.into_iter().skip(6));
    }
    // No longer planned.
    let gone: Vec<_> = (0..3)
        .map(|number| save(&store, "execute c", number, 20_000))
        .collect();
    store
        .write(|connection| {
            Ok(connection.execute("DELETE FROM latest WHERE action = 'execute c'", [])?)
        })
        .unwrap();
    let none = Limits {
        max_size: 0,
        ..LARGE
    };
    assert_eq!(
        store.collect(&none).unwrap(),
        crate::store::garbage::Collected::default(),
        "just used"
    );
    // The limit leaves room for some of the results.
    let before = store.usage().unwrap();
    assert_eq!((before.results, before.runs), (23, 23));
    let some = Limits {
        max_size: before.bytes - 50_000,
        ..LARGE
    };
    let later = now_ms() + HOUR;
    let collect = |limits: &Limits| {
        let expected = store.collectable_at(limits, later).unwrap();
        let usage = store.usage().unwrap();
        assert_eq!(expected, store.collectable_at(limits, later).unwrap());
        assert_eq!(
            usage.bytes,
            store.usage().unwrap().bytes,
            "nothing is removed"
        );
        let collected = store.collect_at(limits, later).unwrap();
        assert_eq!(collected, expected);
        assert_eq!(collected.freed, usage.bytes - store.usage().unwrap().bytes);
        collected.runs
    };
    assert_eq!(collect(&some), 3);
    assert_eq!(collect(&none), 12);
    assert_eq!(collect(&none), 0);
    let usage = store.usage().unwrap();
    assert_eq!((usage.results, usage.runs), (8, 8));
    for (key, digest) in &kept {
        assert_eq!(store.cached(key).unwrap().len(), 1);
        assert!(store.read_blob(digest).unwrap().is_some());
    }
    assert!(gone.iter().all(|(_, digest)| !store.has(digest).unwrap()));
    assert_eq!(usage.current_bytes, 2 * (20_000 + 11));
}

#[test]
fn what_was_not_used_for_long_goes_and_what_is_planned_stays() {
    let (_dir, store) = store();
    let old: Vec<_> = (0..6)
        .map(|number| save(&store, "execute a", number, 100))
        .collect();
    let other = save(&store, "execute gone", 0, 100);
    store.note_used_later(vec![old[0].0]);
    let later = now_ms() + 40 * 24 * HOUR;
    store.collect_at(&LARGE, later).unwrap();
    assert!(!store.has(&old[1].1).unwrap());
    assert!(
        old[2..]
            .iter()
            .all(|(_, digest)| store.has(digest).unwrap())
    );
    assert!(store.has(&other.1).unwrap(), "it may be planned still");
    // A build long after that does not plan it.
    store
        .write(|connection| Ok(connection.execute("UPDATE latest SET planned_ms = 1", [])?))
        .unwrap();
    store
        .note_planned(vec!["execute a".into()], &LARGE)
        .unwrap();
    store.collect_at(&LARGE, later).unwrap();
    assert!(!store.has(&other.1).unwrap());
    assert!(store.has(&old[5].1).unwrap());
}

#[test]
fn damage_is_found_and_cleaning_keeps_what_is_known_of_outputs() {
    let (dir, store) = store();
    let (_, large) = save(&store, "execute a", 0, 50_000);
    save(&store, "execute a", 1, 100);
    let name = large.to_string();
    let file = dir.path().join("blobs").join(&name[..2]).join(&name[2..]);
    fs::write(&file, "bad").unwrap();
    let verified = store.verify().unwrap();
    assert_eq!(
        (verified.results, verified.damaged, verified.missing),
        (2, 1, 0)
    );
    let again = store.verify().unwrap();
    assert_eq!((again.results, again.damaged, again.missing), (1, 0, 1));
    let output = OutputRecord {
        file: FileRecord {
            digest: large,
            stamp: Stamp::NONE,
            recorded_ns: 1,
        },
        scope: "".into(),
        before: None,
        is_adopted: false,
    };
    store
        .record_outputs(vec![("out/a".into(), output, "execute a".into())])
        .unwrap();
    store.clean().unwrap();
    let usage = store.usage().unwrap();
    assert_eq!((usage.results, usage.runs, usage.bytes), (0, 0, 0));
    assert!(store.output("out/a").unwrap().is_some());
}

#[test]
fn old_databases_that_were_set_aside_go() {
    let (dir, store) = store();
    for number in 1..=6 {
        for end in ["", "-wal"] {
            fs::write(
                dir.path().join(format!("clm.db.corrupt-{number}{end}")),
                "x",
            )
            .unwrap();
        }
    }
    store.collect(&LARGE).unwrap();
    let there = |number: u32| dir.path().join(format!("clm.db.corrupt-{number}")).exists();
    assert_eq!(
        (1..=6).filter(|number| there(*number)).collect::<Vec<_>>(),
        [4, 5, 6]
    );
    assert!(!dir.path().join("clm.db.corrupt-3-wal").exists());
}

#[test]
fn putting_mends_what_went_bad() {
    let (dir, store) = store();
    for size in [100, 100_000] {
        let bytes = vec![7; size];
        let digest = store.put(&bytes).unwrap();
        let name = digest.to_string();
        let file = dir.path().join("blobs").join(&name[..2]).join(&name[2..]);
        if file.exists() {
            fs::write(&file, "bad").unwrap();
        } else {
            store
                .write(|connection| {
                    connection.execute("UPDATE blobs SET bytes = x'00'", [])?;
                    Ok(())
                })
                .unwrap();
        }
        store.put(&bytes).unwrap();
        assert_eq!(store.read_blob(&digest).unwrap(), Some(bytes));
    }
}

#[test]
fn only_what_nothing_refers_to_is_collected() {
    let (dir, store) = store();
    let mut kept = Vec::new();
    let mut dropped = Vec::new();
    for size in [100_usize, 50_000] {
        let cached = store.put(&vec![1; size]).unwrap();
        let written = store.put(&vec![2; size]).unwrap();
        let unused = store.put(&vec![3; size]).unwrap();
        let run = CachedResult {
            outputs: vec![("a".to_owned(), cached, size as u64)],
            ..result(&[])
        };
        let name = size.to_string();
        store
            .record_result(&name, ActionKind::Html, &Digest::of(&name), &run)
            .unwrap();
        let output = OutputRecord {
            file: FileRecord {
                digest: written,
                stamp: Stamp {
                    size: 1,
                    mtime_ns: 1,
                    ctime_ns: -6,
                    inode: 1,
                    device: 7,
                },
                recorded_ns: 1,
            },
            scope: "".into(),
            before: None,
            is_adopted: false,
        };
        let ours = (name.as_str().into(), output, name.as_str().into());
        store.record_outputs(vec![ours]).unwrap();
        kept.extend([cached, written]);
        dropped.push(unused);
    }
    let leftover = dir.path().join("blobs/ab/.new-leftover");
    fs::create_dir_all(leftover.parent().unwrap()).unwrap();
    fs::write(&leftover, "half").unwrap();

    assert_eq!(
        store.collect(&LARGE).unwrap().freed,
        0,
        "all of it is young"
    );
    let collected = store.collect_at(&LARGE, now_ms() + HOUR).unwrap();
    assert_eq!((collected.freed, collected.runs), (50_000 + 100 + 4, 0));
    assert!(!leftover.exists());
    for digest in kept {
        assert!(store.has(&digest).unwrap());
    }
    for digest in dropped {
        assert!(!store.has(&digest).unwrap());
    }
}

#[test]
fn putting_again_keeps_a_result_from_being_collected() {
    let (dir, store) = store();
    let bytes = vec![5; 50_000];
    let digest = store.put(&bytes).unwrap();
    let name = digest.to_string();
    let file = dir.path().join("blobs").join(&name[..2]).join(&name[2..]);
    let age = |hours: u64| {
        let time = SystemTime::now() - Duration::from_secs(hours * 3600);
        fs::File::options()
            .append(true)
            .open(&file)
            .unwrap()
            .set_modified(time)
            .unwrap();
    };
    age(3);
    store.put(&bytes).unwrap();
    assert_eq!(store.collect(&LARGE).unwrap().freed, 0);
    age(3);
    assert_eq!(store.collect(&LARGE).unwrap().freed, 50_000);
}

#[test]
fn the_database_gives_space_back() {
    let (dir, store) = store();
    for number in 0..400_u32 {
        store
            .put(&[&number.to_le_bytes()[..], &[0; 10_000]].concat())
            .unwrap();
    }
    let collected = store.collect_at(&LARGE, now_ms() + HOUR).unwrap();
    assert_eq!(collected.freed, 400 * 10_004);
    let size = fs::metadata(dir.path().join("clm.db")).unwrap().len();
    assert!(size < 500_000, "{size}");
}
