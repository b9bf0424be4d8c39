mod hostile;
mod merging;

use std::io::Write as _;
use std::path::Path;

use super::manifest::{MANIFEST, Manifest, Part, RECORDS, header, name_of};
use super::*;
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::events::ActionKind;
use crate::store::{CachedResult, Latest, ResultStatus, Store};

const LIMIT: u64 = 1 << 30;

/// A store in a directory.
struct House {
    dir: tempfile::TempDir,
    store: Store,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path()).unwrap();
        Self { dir, store }
    }

    /// A store with results of all kinds, of which one is no longer the latest of its action.
    fn furnished() -> Self {
        let house = Self::new();
        house.made("plantuml a.pu", ActionKind::Plantuml, "old", &["older"]);
        house.made("plantuml a.pu", ActionKind::Plantuml, "small", &["diagram"]);
        let large = "page".repeat(9000);
        house.made(
            "html a.py en",
            ActionKind::Html,
            "page",
            &[&large, "diagram"],
        );
        house.failed("execute b.py de");
        let deck = CachedResult {
            outputs: vec![("completed.ipynb".to_owned(), Digest::of("not stored"), 0)],
            ..result(&[])
        };
        house.recorded("notebook a.py en", ActionKind::Deck, "deck", &deck);
        let identities = [("plantuml", "PlantUML 1"), ("kernel python3", "Python 3")];
        let identities = identities.map(|(name, print)| (name.to_owned(), print.to_owned()));
        house.store.set_identities(identities.into()).unwrap();
        house
    }

    fn failed(&self, action: &str) {
        let result = CachedResult {
            status: ResultStatus::Failed,
            diagnostics: vec![Diagnostic::error("ZeroDivisionError").at("b.py", Some(3))],
            ..result(&[])
        };
        self.recorded(action, ActionKind::Execute, action, &result);
    }

    /// Records a result with these contents as the latest one of an action.
    fn made(&self, action: &str, kind: ActionKind, key: &str, contents: &[&str]) {
        for content in contents {
            self.store.put(content.as_bytes()).unwrap();
        }
        self.recorded(action, kind, key, &result(contents));
    }

    fn recorded(&self, action: &str, kind: ActionKind, key: &str, result: &CachedResult) {
        let store = &self.store;
        let key = Digest::of(key);
        store.record_result(action, kind, &key, result).unwrap();
        let latest = Latest {
            key,
            discovered: result.discovered.clone(),
            finished_ms: crate::clock::now_ms(),
            duration_ms: 12,
        };
        let parts = vec![("source".to_owned(), key.to_string())];
        store
            .set_latest(vec![(action.to_owned(), latest, parts)])
            .unwrap();
    }

    fn exported(&self, extent: &Extent) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.store.export(extent, None, &mut bytes).unwrap();
        bytes
    }

    fn import(&self, archive: &[u8]) -> Result<Imported, ArchiveError> {
        let staging = tempfile::tempdir_in(self.dir.path()).unwrap();
        let staged = unpack(archive, staging.path(), LIMIT)?;
        self.store.import(&staged)
    }

    fn known(&self, key: &str) -> Vec<CachedResult> {
        self.store.cached(&Digest::of(key)).unwrap()
    }

    /// Whether nothing is recorded, and no blob is there.
    fn is_empty(&self) -> bool {
        let usage = self.store.usage().unwrap();
        let is_known = !self.store.latest().unwrap().is_empty();
        usage.results == 0 && usage.runs == 0 && !is_known
    }
}

/// A result with these contents, which depends on a file and on one that was not there.
fn result(contents: &[&str]) -> CachedResult {
    let outputs = contents.iter().enumerate();
    CachedResult {
        discovered: vec![
            ("slides/b.iuml".to_owned(), Some(Digest::of("b"))),
            ("slides/a.iuml".to_owned(), None),
        ],
        status: ResultStatus::Ok,
        outputs: outputs
            .map(|(index, text)| {
                let (digest, size) = (Digest::of(text), text.len() as u64);
                (format!("{index}.png"), digest, size)
            })
            .collect(),
        diagnostics: vec![Diagnostic::warning("careful").at("a.pu", Some(3))],
        duration_ms: 12,
        origin: None,
    }
}

/// Entries of an archive, from which another one can be made.
#[derive(Clone)]
struct Parts(Vec<(Vec<u8>, Vec<u8>)>);

impl Parts {
    fn of(archive: &[u8]) -> Self {
        let tar = zstd::decode_all(archive).unwrap();
        let mut parts = Vec::new();
        let mut tar = tar::Archive::new(&*tar);
        for entry in tar.entries().unwrap().raw(true) {
            let mut entry = entry.unwrap();
            let header = entry.header().as_bytes().to_vec();
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            parts.push((header, bytes));
        }
        Self(parts)
    }

    /// An archive with these records and blobs, and the manifest that belongs to them.
    fn with(records: &str, blobs: &[&str]) -> Self {
        let part = |text: &str| Part {
            digest: Digest::of(text),
            size: text.len() as u64,
        };
        let mut blobs: Vec<(Part, &str)> = blobs.iter().map(|text| (part(text), *text)).collect();
        blobs.sort_by_key(|(part, _)| part.digest);
        let manifest = Manifest::new(part(records), blobs.iter().map(|(part, _)| *part).collect());
        let manifest = serde_json::to_string(&manifest).unwrap();
        let mut parts = Self(Vec::new());
        parts.push(MANIFEST, manifest.as_bytes());
        parts.push(RECORDS, records.as_bytes());
        for (part, text) in blobs {
            parts.push(&name_of(&part.digest), text.as_bytes());
        }
        parts
    }

    fn push(&mut self, name: &str, bytes: &[u8]) {
        let header = header(name, bytes.len() as u64).as_bytes().to_vec();
        self.0.push((header, bytes.to_vec()));
    }

    fn tar(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        for (header, bytes) in &self.0 {
            tar.extend_from_slice(header);
            tar.extend_from_slice(bytes);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        tar.resize(tar.len() + 1024, 0);
        tar
    }

    fn packed(&self) -> Vec<u8> {
        packed(&self.tar())
    }
}

fn packed(tar: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

fn exported_by(house: &House, extent: &Extent) -> (Vec<u8>, usize) {
    let archive = house.exported(extent);
    let results = Parts::of(&archive);
    let records = String::from_utf8(results.0[1].1.clone()).unwrap();
    let count = records.matches("{\"result\":").count();
    (archive, count)
}

#[test]
fn what_is_imported_gives_the_same_archive_again() {
    let first = House::furnished();
    for extent in [Extent::Latest, Extent::All] {
        let archive = first.exported(&extent);
        assert!(archive == first.exported(&extent), "the second time");
        let second = House::new();
        let imported = second.import(&archive).unwrap();
        assert!(imported.added >= 4 && imported.known == 0, "{imported:?}");
        assert!(archive == second.exported(&extent), "{extent:?}");
        let verified = second.store.verify().unwrap();
        assert_eq!((verified.damaged, verified.missing), (0, 0));
        assert_eq!(second.known("page"), first.known("page"));
        let read = |house: &House, text: &str| house.store.read_blob(&Digest::of(text)).unwrap();
        assert_eq!(read(&second, "diagram").unwrap(), b"diagram");
        assert_eq!(
            second.known("execute b.py de")[0].status,
            ResultStatus::Failed
        );
        let latest = second.store.latest().unwrap();
        assert_eq!(latest["html a.py en"].key, Digest::of("page"));
        let parts = second.store.latest_parts("html a.py en").unwrap();
        assert_eq!(parts, first.store.latest_parts("html a.py en").unwrap());
        let identities = second.store.identities().unwrap();
        assert_eq!(identities, first.store.identities().unwrap());
        assert_eq!(identities.len(), 2);
    }
}

#[test]
fn the_order_in_which_a_store_was_filled_is_not_in_the_archive() {
    let fill = |actions: &[&str]| {
        let house = House::new();
        for action in actions {
            house.made(action, ActionKind::Plantuml, action, &[action, "shared"]);
        }
        house
    };
    let (one, other) = (fill(&["a", "b", "c"]), fill(&["c", "a", "b"]));
    assert!(one.exported(&Extent::All) == other.exported(&Extent::All));
    // Uses and times are not there either.
    one.store.note_used_later(vec![Digest::of("a")]);
    one.store.flush().unwrap();
    assert!(one.exported(&Extent::All) == other.exported(&Extent::All));
}

#[test]
fn only_what_a_plan_uses_is_exported_unless_all_is_asked_for() {
    let house = House::furnished();
    let (archive, count) = exported_by(&house, &Extent::Latest);
    assert_eq!(count, 4);
    let other = House::new();
    other.import(&archive).unwrap();
    assert!(other.known("old").is_empty());
    assert!(!other.store.has(&Digest::of("older")).unwrap());
    let planned = ["html a.py en".into()].into();
    let (archive, count) = exported_by(&house, &Extent::Planned(planned));
    assert_eq!(count, 1);
    let other = House::new();
    other.import(&archive).unwrap();
    assert_eq!(other.store.latest().unwrap().len(), 1);
    assert_eq!(other.known("page").len(), 1);
    let (archive, count) = exported_by(&house, &Extent::All);
    assert_eq!(count, 5);
    let other = House::new();
    other.import(&archive).unwrap();
    assert_eq!(other.known("old").len(), 1);
}

#[test]
fn a_lost_or_damaged_result_is_left_out_with_what_needs_it() {
    let house = House::furnished();
    let page = Digest::of("page".repeat(9000)).to_string();
    let file = house
        .dir
        .path()
        .join("blobs")
        .join(&page[..2])
        .join(&page[2..]);
    std::fs::write(&file, "pagf".repeat(9000)).unwrap();
    let (archive, count) = exported_by(&house, &Extent::Latest);
    assert_eq!(count, 3);
    std::fs::remove_file(&file).unwrap();
    assert!(archive == house.exported(&Extent::Latest));
    let other = House::new();
    other.import(&archive).unwrap();
    assert!(other.known("page").is_empty());
    assert_eq!(other.known("small").len(), 1);
    assert_eq!(other.store.verify().unwrap().missing, 0);
}

#[test]
fn a_record_that_no_import_accepts_does_not_spoil_the_archive() {
    let house = House::furnished();
    let strange = CachedResult {
        discovered: vec![("a/../b".to_owned(), None)],
        ..result(&["diagram"])
    };
    let kind = ActionKind::Plantuml;
    house.recorded("plantuml strange.pu", kind, "strange", &strange);
    house.made("plantuml \n.pu", kind, "strange name", &["strange"]);
    let (archive, count) = exported_by(&house, &Extent::Latest);
    assert_eq!(count, 4);
    let other = House::new();
    assert_eq!(other.import(&archive).unwrap().added, 4);
    assert!(!other.store.has(&Digest::of("strange")).unwrap());
}

#[test]
fn a_label_is_the_origin_of_what_has_none() {
    let house = House::furnished();
    let made = |house: &House| {
        let known = house.known("small");
        known[0].origin.clone().map(|origin| origin.machine)
    };
    let mut labelled = Vec::new();
    let store = &house.store;
    store
        .export(&Extent::Latest, Some("ci"), &mut labelled)
        .unwrap();
    assert_eq!(made(&house), None, "only the archive has it");
    let second = House::new();
    second.import(&labelled).unwrap();
    assert_eq!(made(&second).as_deref(), Some("ci"));
    assert!(labelled == second.exported(&Extent::Latest));
    // Another label is that of what is made there.
    second.made("plantuml c.pu", ActionKind::Plantuml, "own", &["own"]);
    let mut again = Vec::new();
    let store = &second.store;
    store
        .export(&Extent::Latest, Some("laptop"), &mut again)
        .unwrap();
    let third = House::new();
    third.import(&again).unwrap();
    assert_eq!(made(&third).as_deref(), Some("ci"));
    let own = third.known("own")[0].origin.clone().unwrap();
    assert_eq!((own.machine.as_str(), own.made_ms), ("laptop", 0));
}

#[test]
fn an_archive_is_recognised_by_its_beginning() {
    let archive = House::furnished().exported(&Extent::All);
    assert!(is_archive(&*archive));
    assert!(is_archive(&*House::new().exported(&Extent::All)));
    let large = House::new();
    let digests = (0..4000).map(|index: u32| Digest::of(index.to_le_bytes()).to_string());
    large.made("a", ActionKind::Html, "a", &[&digests.collect::<String>()]);
    let torn = large.exported(&Extent::All);
    assert!(is_archive(&torn[..torn.len() - 9]), "a torn one");
    let mut other = Parts::of(&archive);
    other.0.remove(0);
    let text = b"text".as_slice();
    for foreign in [
        text,
        b"",
        &zstd::encode_all(text, 3).unwrap(),
        &other.packed(),
    ] {
        assert!(!is_archive(foreign));
    }
}
