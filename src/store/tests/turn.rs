//! Writers that find the database busy.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::{job, store};

/// Takes the database's write lock, as another process would.
fn busy(dir: &std::path::Path) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(dir.join("clm.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

fn notes(dir: &std::path::Path) -> Vec<u64> {
    let bytes = std::fs::read(dir.join("clm.turn")).unwrap_or_default();
    let (places, _) = bytes.as_chunks::<8>();
    let since = places
        .iter()
        .take(1024)
        .map(|place| u64::from_le_bytes(*place));
    since.filter(|since| *since > 0).collect()
}

#[test]
fn a_write_waits_in_the_queue_until_the_database_is_free() {
    let (dir, store) = store();
    let other = busy(dir.path());
    let (sender, receiver) = channel();
    let writing = std::thread::spawn(move || {
        sender.send(store.enqueue(vec![job("a")]).unwrap()).unwrap();
    });
    while notes(dir.path()).is_empty() {
        std::thread::yield_now();
    }
    assert!(receiver.try_recv().is_err(), "the database is not free yet");
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(receiver.recv().unwrap().len(), 1);
    writing.join().unwrap();
    assert!(notes(dir.path()).is_empty(), "nobody waits any more");
}

#[test]
fn one_that_was_stopped_in_the_queue_is_not_waited_for() {
    let (dir, store) = store();
    // An entry of no living process: one that has waited longest and never leaves the queue.
    let now = crate::clock::now_ns().unsigned_abs();
    let place = (std::process::id() as usize + 1) % 1024;
    let mut file = vec![0; 1024 * 8];
    file[place * 8..][..8].copy_from_slice(&now.to_le_bytes());
    std::fs::write(dir.path().join("clm.turn"), file).unwrap();
    let other = busy(dir.path());
    let writing = std::thread::spawn(move || store.enqueue(vec![job("a")]).unwrap());
    while notes(dir.path()).len() < 2 {
        std::thread::yield_now();
    }
    other.execute_batch("COMMIT").unwrap();
    let freed = Instant::now();
    assert_eq!(writing.join().unwrap().len(), 1);
    assert!(freed.elapsed() < Duration::from_secs(20));
}
