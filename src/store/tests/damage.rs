//! Damaged, truncated, foreign and unwritable stores.

use std::fs;
use std::path::PathBuf;

use super::{result, store};
use crate::digest::{Digest, Stamp};
use crate::error::Error;
use crate::events::ActionKind;
use crate::store::*;

/// Returns a closed store whose database has many pages, because it has records of many files.
fn large() -> (tempfile::TempDir, PathBuf) {
    let (dir, store) = store();
    let files = (0..5000).map(|number| {
        let record = FileRecord {
            stamp: Stamp {
                size: 1,
                mtime_ns: 2,
                ctime_ns: -6,
                inode: 3,
                device: 7,
            },
            digest: Digest::of(number.to_string()),
            recorded_ns: 4,
        };
        (
            format!("slides/topic_{number:05}/slides_{number}.py"),
            record,
        )
    });
    store.record_files(files.collect()).unwrap();
    let database = dir.path().join("clm.db");
    (dir, database)
}

#[test]
fn a_truncated_database_is_set_aside() {
    let (dir, database) = large();
    let bytes = fs::read(&database).unwrap();
    assert!(bytes.len() > 100_000);
    for length in [bytes.len() / 2, 4096, 1000, 100] {
        fs::write(&database, &bytes[..length]).unwrap();
        let (store, diagnostics) = Store::open(dir.path()).unwrap();
        assert_eq!(diagnostics.len(), 1, "{length} bytes");
        assert!(
            diagnostics[0].message.contains("damaged"),
            "{diagnostics:?}"
        );
        assert!(store.files().unwrap().is_empty());
    }
    assert!(dir.path().join("clm.db.corrupt-4").exists());
    // An empty file is just a new database.
    fs::write(&database, "").unwrap();
    assert!(Store::open(dir.path()).unwrap().1.is_empty());
}

/// Overwrites some pages in the middle of a file.
fn spoil(database: &std::path::Path) {
    let mut bytes = fs::read(database).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 20 * 4096].fill(0xa5);
    fs::write(database, &bytes).unwrap();
}

#[test]
fn damage_in_what_every_build_reads_is_found_at_once() {
    let (dir, database) = large();
    spoil(&database);
    let (store, diagnostics) = Store::open(dir.path()).unwrap();
    assert_eq!(diagnostics.len(), 1);
    assert!(store.files().unwrap().is_empty());
}

#[test]
fn damage_that_is_met_late_is_mended_by_the_next_opening() {
    let (dir, store) = store();
    let keys: Vec<Digest> = (0..400)
        .map(|number: u32| Digest::of(number.to_string()))
        .collect();
    for key in &keys {
        store
            .record_result(&key.to_string(), ActionKind::Html, key, &result(&[]))
            .unwrap();
    }
    drop(store);
    spoil(&dir.path().join("clm.db"));
    let (store, diagnostics) = Store::open(dir.path()).unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let error = keys.iter().find_map(|key| store.cached(key).err()).unwrap();
    assert!(error.is_damage(), "{error}");
    assert!(
        Error::from(error)
            .to_string()
            .contains("hint: run the command again")
    );
    drop(store);
    for warnings in [1, 0] {
        let (store, diagnostics) = Store::open(dir.path()).unwrap();
        assert_eq!(diagnostics.len(), warnings);
        assert!(store.cached(&keys[0]).unwrap().is_empty());
    }
    assert!(dir.path().join("clm.db.corrupt-1").exists());
}

#[test]
fn an_error_of_the_disk_that_passed_is_no_damage() {
    let (dir, _) = large();
    let (store, _) = Store::open(dir.path()).unwrap();
    // The error that SQLite returns after a disk error.
    let error = || {
        rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
            None,
        )
    };
    let met: Result<()> = store.read(|_| Err(error().into()));
    assert!(met.unwrap_err().is_damage());
    drop(store);
    let (store, diagnostics) = Store::open(dir.path()).unwrap();
    assert_eq!(diagnostics, []);
    assert_eq!(store.files().unwrap().len(), 5000);
    // A database that cannot be read now either is set aside.
    assert!(
        store
            .read(|_| -> Result<()> { Err(error().into()) })
            .is_err()
    );
    drop(store);
    spoil(&dir.path().join("clm.db"));
    let (store, diagnostics) = Store::open(dir.path()).unwrap();
    assert_eq!(diagnostics.len(), 1);
    assert!(store.files().unwrap().is_empty());
}

#[test]
fn damage_met_in_the_old_file_says_nothing_of_the_new_one() {
    let (dir, database) = large();
    let (old, _) = Store::open(dir.path()).unwrap();
    fs::rename(&database, dir.path().join("elsewhere")).unwrap();
    Store::open(dir.path()).unwrap();
    old.0.damage.set(schema::Found::Record);
    assert!(Store::open(dir.path()).unwrap().1.is_empty());
}

#[test]
fn a_record_that_is_not_ours_counts_as_damage() {
    let (dir, store) = store();
    store
        .write(|connection| {
            connection.execute_batch(
                "INSERT INTO files (path, size, mtime_ns, inode, digest, recorded_ns)
                 VALUES ('a', 1, 2, 3, 'nonsense', 4)",
            )?;
            Ok(())
        })
        .unwrap();
    assert!(store.files().unwrap_err().is_damage());
    drop(store);
    let (store, diagnostics) = Store::open(dir.path()).unwrap();
    assert_eq!(diagnostics.len(), 1);
    assert!(store.files().unwrap().is_empty());
}

#[test]
fn a_database_of_something_else_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(dir.path().join("clm.db")).unwrap();
    connection
        .execute_batch("CREATE TABLE jobs (name TEXT)")
        .unwrap();
    drop(connection);
    let (store, diagnostics) = Store::open(dir.path()).unwrap();
    assert_eq!(diagnostics.len(), 1);
    assert!(store.workers().unwrap().is_empty());
}

/// Checks that missing tables, missing columns and columns of another type count as damage.
#[test]
fn a_schema_that_is_not_ours_is_set_aside() {
    for damage in [
        "ALTER TABLE runs DROP COLUMN reason",
        "ALTER TABLE runs RENAME COLUMN trigger TO cause",
        "ALTER TABLE latest ADD COLUMN more TEXT NOT NULL DEFAULT ''",
        "DROP TABLE collections",
        "DROP TABLE outputs",
        "DROP INDEX jobs_active",
        "DROP TABLE checksums; CREATE TABLE checksums (digest INTEGER PRIMARY KEY, sha256 TEXT NOT NULL)",
        "CREATE TRIGGER spoiled BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'no'); END",
        "ALTER TABLE runs DROP COLUMN reason; PRAGMA user_version = 4",
        "PRAGMA user_version = 0",
    ] {
        let (dir, old) = store();
        drop(old);
        let connection = rusqlite::Connection::open(dir.path().join("clm.db")).unwrap();
        connection.execute_batch(damage).unwrap();
        drop(connection);
        let (store, diagnostics) = Store::open(dir.path()).unwrap();
        assert_eq!(diagnostics.len(), 1, "{damage}: {diagnostics:?}");
        assert!(dir.path().join("clm.db.corrupt-1").exists(), "{damage}");
        let run = store.begin_run("test").unwrap();
        store
            .finish_run(run, &Default::default(), 1, Some("because".to_owned()))
            .unwrap();
        drop(store);
        assert!(Store::open(dir.path()).unwrap().1.is_empty(), "{damage}");
    }
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = Store::open(&dir.path().join("file/state")).err().unwrap();
    assert!(error.to_string().starts_with("cannot create `"), "{error}");
    fs::create_dir_all(dir.path().join("state/clm.db")).unwrap();
    let error = Store::open(&dir.path().join("state")).err().unwrap();
    assert!(Error::from(error).to_string().contains("CLM_STATE_DIR"));
}

#[test]
fn a_failed_write_leaves_nothing_and_spoils_no_other() {
    let (_dir, store) = store();
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|number| {
                let store = store.clone();
                scope.spawn(move || {
                    store.write(move |connection| {
                        connection.execute(
                            "INSERT INTO runs (trigger, started_ms) VALUES ('t', ?1)",
                            [number],
                        )?;
                        match number % 2 {
                            0 => Ok(()),
                            _ => Err(StoreError::Damaged("on purpose".to_owned())),
                        }
                    })
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 10);
    let runs = store.recent_runs(100).unwrap();
    assert_eq!(runs.len(), 10);
    assert!(runs.iter().all(|run| run.started_ms % 2 == 0));
}
