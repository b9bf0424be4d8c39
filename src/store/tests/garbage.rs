//! Blobs that are put again, and what is collected.

use std::fs;
use std::time::{Duration, SystemTime};

use super::{result, store};
use crate::digest::{Digest, Stamp};
use crate::events::ActionKind;
use crate::store::*;

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
            digest: written,
            stamp: Stamp {
                size: 1,
                mtime_ns: 1,
                ctime_ns: -6,
                inode: 1,
                device: 7,
            },
            recorded_ns: 1,
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

    assert_eq!(store.collect_garbage().unwrap(), 0, "all of it is young");
    let freed = store.collect_garbage_before(now_ms() + 1000).unwrap();
    assert_eq!(freed, 50_000 + 100 + 4);
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
    let age = |days: u64| {
        let time = SystemTime::now() - Duration::from_secs(days * 86_400);
        fs::File::options()
            .append(true)
            .open(&file)
            .unwrap()
            .set_modified(time)
            .unwrap();
    };
    age(3);
    store.put(&bytes).unwrap();
    assert_eq!(store.collect_garbage().unwrap(), 0);
    age(3);
    assert_eq!(store.collect_garbage().unwrap(), 50_000);
}

#[test]
fn the_database_gives_space_back() {
    let (dir, store) = store();
    for number in 0..400_u32 {
        store
            .put(&[&number.to_le_bytes()[..], &[0; 10_000]].concat())
            .unwrap();
    }
    assert_eq!(
        store.collect_garbage_before(now_ms() + 1000).unwrap(),
        400 * 10_004
    );
    let size = fs::metadata(dir.path().join("clm.db")).unwrap().len();
    assert!(size < 500_000, "{size}");
}
