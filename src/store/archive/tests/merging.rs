//! Imports into stores that have something already, or are used meanwhile.

use super::*;

#[test]
fn what_a_store_knows_already_stays() {
    let archive = House::furnished().exported(&Extent::All);
    let store = House::new();
    // Made here of the same inputs, with other bytes.
    store.made(
        "plantuml a.pu",
        ActionKind::Plantuml,
        "small",
        &["made here"],
    );
    // Another version, which is the latest one here.
    store.made("html a.py en", ActionKind::Html, "newer", &["newer page"]);
    let imported = store.import(&archive).unwrap();
    assert_eq!((imported.added, imported.known), (4, 1));
    assert_eq!(
        store.known("small")[0].outputs[0].1,
        Digest::of("made here")
    );
    let latest = store.store.latest().unwrap();
    assert_eq!(latest["html a.py en"].key, Digest::of("newer"));
    assert_eq!(store.known("page").len(), 1);
    assert_eq!(store.known("newer").len(), 1);
    let again = store.import(&archive).unwrap();
    assert_eq!((again.added, again.known), (0, 5));
    assert_eq!(store.known("page").len(), 1);
}

#[test]
fn a_result_with_other_discovered_files_is_another_one() {
    let first = House::new();
    first.made("plantuml a.pu", ActionKind::Plantuml, "key", &["one"]);
    let second = House::new();
    second.store.put(b"two").unwrap();
    let other = CachedResult {
        discovered: vec![("slides/other.iuml".to_owned(), None)],
        ..result(&["two"])
    };
    second.recorded("plantuml a.pu", ActionKind::Plantuml, "key", &other);
    let imported = second.import(&first.exported(&Extent::Latest)).unwrap();
    assert_eq!((imported.added, imported.known), (1, 0));
    assert_eq!(second.known("key").len(), 2);
}

#[test]
fn lost_and_damaged_results_are_replaced() {
    let archive = House::furnished().exported(&Extent::All);
    let store = House::new();
    store.import(&archive).unwrap();
    let page = Digest::of("page".repeat(9000)).to_string();
    let file = store
        .dir
        .path()
        .join("blobs")
        .join(&page[..2])
        .join(&page[2..]);
    for damage in [true, false] {
        match damage {
            true => std::fs::write(&file, "x").unwrap(),
            false => std::fs::remove_file(&file).unwrap(),
        }
        store.import(&archive).unwrap();
        let verified = store.store.verify().unwrap();
        assert_eq!((verified.damaged, verified.missing), (0, 0));
        assert_eq!(store.known("page").len(), 1);
    }
    // A record whose results are gone, beside one that has others.
    let lost = House::new();
    lost.recorded(
        "html a.py en",
        ActionKind::Html,
        "page",
        &result(&["never stored"]),
    );
    assert_eq!(lost.import(&archive).unwrap().added, 5);
    assert_eq!(lost.known("page").len(), 1);
    assert_eq!(lost.store.verify().unwrap().missing, 0);
}

#[test]
fn the_versions_of_an_action_stay_bounded_and_those_of_the_store_come_first() {
    let count = |house: &House, prefix: &str| {
        let known = (0..40).filter(|index| !house.known(&format!("{prefix}{index}")).is_empty());
        known.count()
    };
    let archive = |from: usize| {
        let house = House::new();
        for index in from..from + 16 {
            house.made("a", ActionKind::Plantuml, &format!("theirs{index}"), &["x"]);
        }
        house
    };
    let theirs = archive(0);
    let store = House::new();
    for index in 0..15 {
        store.made("a", ActionKind::Plantuml, &format!("ours{index}"), &["y"]);
    }
    store.import(&theirs.exported(&Extent::All)).unwrap();
    // One of the older ones has a place, and the latest one replaces the oldest.
    assert_eq!(count(&store, "ours") + count(&store, "theirs"), 16);
    assert!(count(&store, "ours") >= 14);
    assert_eq!(store.known("theirs15").len(), 1);
    store
        .import(&archive(10).exported(&Extent::Latest))
        .unwrap();
    assert_eq!(store.known("theirs25").len(), 1);
    assert_eq!(count(&store, "ours") + count(&store, "theirs"), 16);
}

#[test]
fn many_imports_at_once_and_a_collection_beside_them() {
    let houses: Vec<House> = (0..3)
        .map(|house| {
            let made = House::new();
            for index in 0..30 {
                let (key, large) = (format!("{house} {index}"), format!("{index}").repeat(9000));
                made.made(&key, ActionKind::Html, &key, &[&large, &key]);
            }
            made
        })
        .collect();
    let archives: Vec<Vec<u8>> = houses
        .iter()
        .map(|house| house.exported(&Extent::All))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let limits = crate::store::Limits {
        max_size: 0,
        max_age_ms: 0,
    };
    std::thread::scope(|scope| {
        for archive in archives.iter().chain(&archives) {
            let dir = dir.path();
            scope.spawn(move || {
                // A store of its own, as in another process.
                let (store, _) = Store::open(dir).unwrap();
                let staging = tempfile::tempdir_in(dir).unwrap();
                let staged = unpack(&**archive, staging.path(), LIMIT).unwrap();
                store.import(&staged).unwrap();
            });
        }
        let dir = dir.path();
        scope.spawn(move || {
            let (store, _) = Store::open(dir).unwrap();
            for _ in 0..10 {
                store.collect(&limits).unwrap();
            }
        });
    });
    let (store, _) = Store::open(dir.path()).unwrap();
    let house = House { dir, store };
    assert_eq!(house.store.usage().unwrap().runs, 90);
    let verified = house.store.verify().unwrap();
    assert_eq!((verified.results, verified.missing), (30 + 90, 0));
}

#[test]
fn other_processes_see_that_something_was_imported() {
    let archive = House::furnished().exported(&Extent::Latest);
    let house = House::new();
    let (watch, _) = Store::open(house.dir.path()).unwrap();
    let before = watch.version_of_others().unwrap();
    house.import(&archive).unwrap();
    assert_ne!(watch.version_of_others().unwrap(), before);
}

#[test]
fn fingerprints_of_renderers_are_those_of_the_archive() {
    let archive = House::furnished().exported(&Extent::Latest);
    let house = House::new();
    let own = [("plantuml", "PlantUML 0"), ("drawio", "draw.io 5")];
    let own = own.map(|(name, print)| (name.to_owned(), print.to_owned()));
    house.store.set_identities(own.into()).unwrap();
    house.import(&archive).unwrap();
    let found = house.store.identities().unwrap();
    assert_eq!(found["plantuml"], "PlantUML 1");
    assert_eq!(found["drawio"], "draw.io 5");
    assert_eq!(found.len(), 3);
}
