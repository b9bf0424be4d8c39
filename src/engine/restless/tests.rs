use std::collections::BTreeMap;

use super::*;
use crate::events::ActionKind;

const DECK: &str = "slides/m/t/slides_x.py";
const DATA: &str = "slides/m/t/data.csv";
const OTHER: &str = "slides/m/u/slides_y.py";
const OTHER_DATA: &str = "slides/m/u/data.csv";
const SECOND: i64 = 1_000_000_000;

fn path(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

/// A deck in one language, and what it writes.
#[derive(Clone, Copy)]
struct Deck {
    source: &'static str,
    lang: &'static str,
    data: &'static str,
    /// The file that an execution writes.
    writes: Option<&'static str>,
    /// Whether that file always has the same content.
    is_constant: bool,
}

impl Deck {
    fn writing(writes: &'static str) -> Self {
        let (source, lang, data) = (DECK, "de", DATA);
        Self {
            source,
            lang,
            data,
            writes: Some(writes),
            is_constant: false,
        }
    }

    fn calm() -> Self {
        Self {
            writes: None,
            ..Self::writing(DATA)
        }
    }

    fn other(self) -> Self {
        let (source, data) = (OTHER, OTHER_DATA);
        Self {
            source,
            data,
            ..self
        }
    }

    fn english(self) -> Self {
        Self { lang: "en", ..self }
    }

    fn constant(self) -> Self {
        Self {
            is_constant: true,
            ..self
        }
    }

    fn id(self) -> String {
        format!("execute {} {}", self.source, self.lang)
    }
}

/// Files, a clock and the executions so far.
struct World {
    restless: Restless,
    now_ns: i64,
    files: BTreeMap<&'static str, (Digest, i64)>,
    /// The keys of the last valid results.
    results: BTreeMap<String, Digest>,
    jobs: JobId,
}

impl World {
    fn new() -> Self {
        let files = [DECK, DATA, OTHER, OTHER_DATA].map(|file| (file, (Digest::of(file), 0)));
        Self {
            restless: Restless::default(),
            now_ns: 1000 * SECOND,
            files: files.into(),
            results: BTreeMap::new(),
            jobs: 0,
        }
    }

    fn write(&mut self, file: &'static str) {
        self.files
            .insert(file, (Digest::of(self.now_ns.to_string()), self.now_ns));
    }

    /// Saves a file while nothing runs.
    fn save(&mut self, file: &'static str) {
        self.now_ns += 3 * SECOND;
        self.write(file);
        self.now_ns += 3 * SECOND;
    }

    fn action(&self, deck: Deck) -> Arc<Action> {
        let inputs = [deck.source, deck.data].map(|input| (path(input), self.files[input].0));
        Arc::new(Action {
            id: deck.id().into(),
            kind: ActionKind::Execute,
            source: path(deck.source),
            key: Digest::of(format!("{inputs:?}")),
            inputs: inputs.into(),
            after: Vec::new(),
            outputs: Box::default(),
            warnings: Box::default(),
            errors: None,
        })
    }

    fn is_stale(&self, deck: Deck) -> bool {
        self.results.get(&deck.id()) != Some(&self.action(deck).key)
    }

    fn objection(&mut self, deck: Deck) -> Option<Objection> {
        let action = self.action(deck);
        let changed_ns = |file: &RelPath| self.files[file.as_str()].1;
        self.restless.objection(&action, &changed_ns)
    }

    /// Executes a deck if it is stale and there is no objection; `during` runs in the middle. Returns whether it was
    /// executed.
    fn execute(&mut self, deck: Deck, during: impl FnOnce(&mut Self)) -> bool {
        if !self.is_stale(deck) || self.objection(deck).is_some() {
            return false;
        }
        let action = self.action(deck);
        self.jobs += 1;
        let job = self.jobs;
        self.restless.begin(job, &action, self.now_ns);
        self.now_ns += SECOND;
        during(self);
        let before = self.files.clone();
        if let Some(file) = deck.writes {
            self.write(file);
            if deck.is_constant {
                self.files.insert(file, (Digest::of(file), self.now_ns));
            }
        }
        self.now_ns += SECOND;
        self.restless.end(job, self.now_ns);
        let is_read = |file: &&str| [deck.source, deck.data].contains(file);
        match deck.writes.filter(is_read) {
            Some(file) if before[file] != self.files[file] => {
                self.restless.disturb(&action.id, &path(file));
            }
            _ => {
                self.results.insert(deck.id(), action.key);
            }
        }
        true
    }

    /// Executes stale decks, round after round. Returns how often each deck was executed.
    fn settle(&mut self, decks: &[Deck]) -> BTreeMap<String, usize> {
        let mut executions = BTreeMap::new();
        for round in 0.. {
            assert!(round < 100, "it goes on for ever");
            let mut is_done = true;
            for deck in decks {
                if self.execute(*deck, |_| ()) {
                    *executions.entry(deck.id()).or_default() += 1;
                    is_done = false;
                }
            }
            if is_done {
                break;
            }
        }
        executions
    }

    fn try_one_again(&mut self) -> bool {
        self.now_ns += 10 * SECOND;
        self.restless.forget(&|_| true);
        self.restless.try_one_again()
    }
}

#[test]
fn decks_that_change_sources_are_set_aside_and_tried_again() {
    let own = Deck::writing(DATA);
    let source = Deck::writing(DECK);
    let mutual = Deck::writing(OTHER_DATA);
    // The number of executions before a deck is set aside, and the maximum in all, after it was tried again.
    let rows: &[(&str, Vec<Deck>, usize, usize)] = &[
        ("its data", vec![own], 5, 6),
        ("its data, always alike", vec![own.constant()], 5, 6),
        ("itself", vec![source], 5, 7),
        ("in two languages", vec![own, own.english()], 5, 6),
        ("in one of two", vec![own, Deck::calm().english()], 5, 6),
        ("one another", vec![mutual, own.other()], 5, 7),
        ("beside a calm one", vec![own, Deck::calm().other()], 5, 6),
    ];
    for (what, decks, first, all) in rows {
        let mut world = World::new();
        let ran = world.settle(decks);
        assert!(ran.values().all(|count| count <= first), "{what}: {ran:?}");
        assert_eq!(ran.values().max(), Some(first), "{what}: {ran:?}");
        let mut total = ran;
        let mut tries = 0;
        while world.try_one_again() {
            tries += 1;
            assert!(tries < 10, "{what}");
            for (id, count) in world.settle(decks) {
                *total.entry(id).or_default() += count;
            }
        }
        assert!(tries > 0, "{what}");
        assert!(
            total.values().all(|count| count <= all),
            "{what}: {total:?}"
        );

        // Nothing changes any more, and the error is reported again as known.
        assert_eq!(world.settle(decks), BTreeMap::new(), "{what}");
        assert!(!world.try_one_again(), "{what}");
        let objection = world.objection(decks[0]).unwrap();
        assert!(objection.is_replayed, "{what}");
        let diagnostic = objection.diagnostic;
        assert!(
            diagnostic.message.contains("changed again and again"),
            "{diagnostic}"
        );
        assert!(diagnostic.message.contains(decks[0].writes.unwrap()) || decks.len() > 1);
        assert_eq!(diagnostic.file.as_deref(), Some(DECK));

        // An edit of another file does not matter; an edit of a file that it reads does, even of the same one.
        world.save(OTHER);
        assert!(world.objection(decks[0]).is_some(), "{what}");
        world.save(DATA);
        let fixed: Vec<Deck> = decks
            .iter()
            .map(|deck| Deck {
                writes: None,
                ..*deck
            })
            .collect();
        let ran = world.settle(&fixed);
        assert_eq!(ran.get(&fixed[0].id()), Some(&1), "{what}: {ran:?}");
        world.try_one_again();
    }
}

#[test]
fn the_first_report_is_no_replay() {
    let mut world = World::new();
    let deck = Deck::writing(DATA);
    for _ in 0..5 {
        assert!(world.execute(deck, |_| ()));
    }
    assert!(!world.objection(deck).unwrap().is_replayed);
    assert!(world.objection(deck).unwrap().is_replayed);
    world.restless.forgive_all();
    assert!(world.execute(deck, |_| ()));
}

#[test]
fn an_author_who_saves_sees_the_last_save_built() {
    let deck = Deck::calm();
    for file in [DECK, DATA] {
        // Between executions.
        let mut world = World::new();
        for _ in 0..20 {
            world.save(file);
            assert!(world.execute(deck, |_| ()));
        }
        // During the executions of this deck: it is set aside, and the last save is still built.
        let mut world = World::new();
        let ran = (0..20).filter(|_| world.execute(deck, |world| world.write(file)));
        assert_eq!(ran.count(), 5);
        assert!(world.objection(deck).is_some() && world.try_one_again());
        assert_eq!(world.settle(&[deck]).len(), 1);
        assert!(!world.is_stale(deck) && !world.try_one_again());
        assert!(world.restless.is_empty());
        // During one long execution of another deck.
        let mut world = World::new();
        world.execute(Deck::calm().other(), |world| {
            for _ in 0..20 {
                world.save(file);
                assert!(world.execute(deck, |_| ()));
            }
        });
    }
    // Another save of the deck itself during the try: a restless deck usually writes other files.
    let mut world = World::new();
    while world.execute(deck, |world| world.write(DECK)) {}
    assert!(world.try_one_again());
    assert!(world.execute(deck, |world| world.write(DECK)));
    assert!(world.objection(deck).is_some() && world.try_one_again());
    assert_eq!(world.settle(&[deck]).len(), 1);
    // A restless deck that is fixed while another one runs, after it was tried again.
    let mut world = World::new();
    let restless = Deck::writing(DATA);
    world.settle(&[restless]);
    assert!(world.try_one_again());
    world.settle(&[restless]);
    assert!(!world.try_one_again());
    assert!(world.execute(deck.other(), |world| world.save(DECK)));
    assert!(world.objection(deck).is_some() && world.try_one_again());
    assert_eq!(world.settle(&[deck]).len(), 1);
}

#[test]
fn what_is_calm_or_gone_is_forgotten() {
    let mut world = World::new();
    let decks = [Deck::writing(DATA), Deck::calm().other()];
    world.settle(&decks);
    assert!(world.try_one_again());
    assert_eq!(world.restless.executions.len(), 1);
    world.restless.forget(&|_| false);
    assert!(world.restless.is_empty());
}
