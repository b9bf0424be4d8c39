//! Small pieces, one by one: `cargo bench --bench micro`.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::path::PathBuf;
use std::time::Duration;

use clm::testing::course::deck::{self, DeckSource, View};
use clm::testing::course::{Format, Lang, ProgLang, RelPath};
use clm::testing::digest::{Digest, Stamp};
use clm::testing::events::ActionKind;
use clm::testing::plan::KeyParts;
use clm::testing::store::{JobEnd, NewJob, Owner, Store};
use clm::testing::watch::{Settle, Tuning};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// A deck with so many cells of text and code; its first lines are what Jinja works on.
fn deck_text(head: &str, cells: usize) -> String {
    let cell = |number: usize| match number % 2 {
        0 => format!(
            "# %% [markdown] lang=\"en\" tags=[\"slide\"]\n#\n# ## Part {number}\n#\n# - some **words**\n# - more\n\n"
        ),
        _ => format!("# %% tags=[\"keep\"]\nvalue = {number}\nprint(value * 2)\n\n"),
    };
    head.to_owned() + &(0..cells).map(cell).collect::<String>()
}

fn read(text: &str) -> deck::Deck {
    let path = RelPath::new("slides/module/topic/slides_deck.py").unwrap();
    let source = DeckSource::new(&path, text, ProgLang::Python);
    let view = View {
        lang: Lang::EN,
        format: Format::Notebook,
        author: "Author",
        organization: "Organization",
    };
    deck::read(&source, &view, &|_| None).unwrap()
}

/// Markers, cells and metadata of a deck without anything for Jinja.
#[divan::bench(args = [22, 220, 2200])]
fn percent(bencher: Bencher, cells: usize) {
    let text = deck_text("", cells);
    bencher
        .counter(BytesCount::of_str(&text))
        .bench(|| read(black_box(&text)));
}

/// The same with the macros that head every deck.
#[divan::bench(args = [22, 220])]
fn jinja(bencher: Bencher, cells: usize) {
    let head = "# j2 from 'macros.j2' import header\n# {{ header(\"Thema\", \"Topic\") }}\n\n";
    let text = deck_text(head, cells);
    bencher
        .counter(BytesCount::of_str(&text))
        .bench(|| read(black_box(&text)));
}

/// The key of an action with so many inputs.
#[divan::bench(args = [8, 64])]
fn key(bencher: Bencher, inputs: usize) {
    let digest = Digest::of("content");
    bencher.bench(|| {
        let parts = (0..inputs).fold(KeyParts::default(), |parts, number| {
            parts.with(format!("input data/file_{number}.csv"), digest)
        });
        black_box(&parts).key()
    });
}

/// The stamps of 1,000 files: what every build looks at.
#[divan::bench]
fn stamps(bencher: Bencher) {
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = (0..1000)
        .map(|number| dir.path().join(number.to_string()))
        .collect();
    for file in &files {
        std::fs::write(file, "content").unwrap();
    }
    bencher.counter(ItemsCount::new(files.len())).bench(|| {
        files
            .iter()
            .map(|file| Stamp::of(&std::fs::metadata(file).unwrap()).size)
            .sum::<u64>()
    });
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap().0;
    (dir, store)
}

/// Bytes of which the first ones are a number, so that no two are equal.
fn bytes(number: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![7; size];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// A new result: small ones are rows, large ones files.
#[divan::bench(args = [1_000, 100_000], sample_count = 30, sample_size = 10)]
fn put_blob(bencher: Bencher, size: usize) {
    let (_dir, store) = store();
    let mut number = 0;
    bencher
        .counter(BytesCount::new(size))
        .with_inputs(|| {
            number += 1;
            bytes(number, size)
        })
        .bench_local_values(|bytes| store.put(&bytes).unwrap());
}

/// A result is read, and verified.
#[divan::bench(args = [1_000, 100_000])]
fn read_blob(bencher: Bencher, size: usize) {
    let (_dir, store) = store();
    let digest = store.put(&bytes(1, size)).unwrap();
    bencher
        .counter(BytesCount::new(size))
        .bench(|| store.read_blob(&digest).unwrap().unwrap().len());
}

/// A job is queued, leased and ended, with so many others waiting behind it.
#[divan::bench(args = [1, 200, 4000], sample_count = 50, sample_size = 10)]
fn job(bencher: Bencher, waiting: usize) {
    let (_dir, store) = store();
    let new = |name: &str| NewJob {
        key: Digest::of(name),
        action: name.to_owned(),
        kind: ActionKind::Plantuml,
    };
    let jobs = (0..waiting).map(|number| new(&number.to_string()));
    store.enqueue(jobs.collect()).unwrap();
    let owner = Owner::current();
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1;
        let ids = store
            .enqueue(vec![new(&format!("first {number}"))])
            .unwrap();
        let lease = store.claim(&owner, &ids, 60_000).unwrap().unwrap();
        store.finish(&lease, JobEnd::Done, None).unwrap()
    });
}

/// A burst of saves becomes one change set.
#[divan::bench(args = [1, 1000])]
fn settle(bencher: Bencher, events: u64) {
    let paths: Vec<PathBuf> = (0..events)
        .map(|number| PathBuf::from(format!("slides/module/topic_{number}/slides.py")))
        .collect();
    bencher.bench(|| {
        let mut settle = Settle::new(Tuning::default());
        let mut now = Duration::ZERO;
        for path in &paths {
            now += Duration::from_micros(10);
            settle.event(path.clone(), now);
        }
        settle.tick(settle.deadline().unwrap()).unwrap()
    });
}
