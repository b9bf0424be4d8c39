//! A team works on a course: a history of commits, built by a pipeline on a new machine each time and by a laptop. A model
//! says which actions must run.

use std::collections::BTreeSet;

use crate::support::machines::Machine;
use crate::support::servers::Nginx;
use crate::support::{Course, Ran, tree};

const COMMITS: usize = 14;
const DIAGRAMS: usize = 4;
const DECKS: usize = 2;
/// How many versions of everything there are: few, so that earlier ones come back.
const VERSIONS: usize = 3;

/// The content of a commit, by the version of each file.
#[derive(Clone, Debug, Default, PartialEq)]
struct Commit {
    diagrams: [usize; DIAGRAMS],
    code: [usize; DECKS],
    prose: [usize; DECKS],
    data: [usize; DECKS],
}

/// Numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }
}

impl Commit {
    /// The next commit: one or two files change.
    fn next(&self, random: &mut Random) -> Self {
        let mut next = self.clone();
        for _ in 0..=random.below(2) {
            let version = random.below(VERSIONS);
            match random.below(6) {
                0..3 => next.diagrams[random.below(DIAGRAMS)] = version,
                3 => next.code[random.below(DECKS)] = version,
                4 => next.prose[random.below(DECKS)] = version,
                _ => next.data[random.below(DECKS)] = version,
            }
        }
        next
    }

    fn write(&self, course: &Course) {
        for (number, version) in self.diagrams.iter().enumerate() {
            course.write(
                &diagram(number),
                format!("@startuml\nA -> B : {version}\n@enduml\n"),
            );
        }
        for number in 0..DECKS {
            let (code, prose) = (self.code[number], self.prose[number]);
            // Two decks or languages with the same code would share their results.
            let cell = |lang: &str| {
                let code = format!(
                    "print('{lang}', {number}, {code}, open('data/numbers_{number}.txt').read())"
                );
                format!("# %% lang=\"{lang}\"\n{code}\n\n")
            };
            let cells = cell("de") + &cell("en");
            let header =
                "# j2 from 'macros.j2' import header\n# {{ header(\"Titel\", \"Title\") }}\n\n";
            let text = format!("{header}{cells}# %% [markdown]\n# Prose {prose}\n");
            course.write(&deck(number), text);
            let data = format!("{}/data/numbers_{number}.txt", topic(number));
            course.write(&data, self.data[number].to_string());
        }
    }

    /// What must be known for the actions of this commit, each with the beginnings of their names.
    fn needs(&self) -> BTreeSet<(String, String)> {
        let mut needs = BTreeSet::new();
        for (number, version) in self.diagrams.iter().enumerate() {
            needs.insert((format!("plantuml {}", diagram(number)), version.to_string()));
        }
        for number in 0..DECKS {
            let (code, prose, data) = (self.code[number], self.prose[number], self.data[number]);
            for lang in ["de", "en"] {
                let of = |kind: &str| format!("{kind} {} {lang}", deck(number));
                needs.insert((of("execute"), format!("{code} {data}")));
                let html = of("html");
                needs.insert((format!("{html} plain"), format!("{code} {prose}")));
                needs.insert((format!("{html} executed"), format!("{code} {data} {prose}")));
            }
        }
        needs
    }
}

fn topic(number: usize) -> String {
    format!("slides/m/topic_0{}0_t{number}", number + 1)
}

fn deck(number: usize) -> String {
    format!("{}/slides_t{number}.py", topic(number))
}

fn diagram(number: usize) -> String {
    format!("{}/pu/d{number}.pu", topic(number % DECKS))
}

/// The actions that the model expects.
fn expected(
    needs: &BTreeSet<(String, String)>,
    known: &BTreeSet<(String, String)>,
) -> BTreeSet<String> {
    needs
        .difference(known)
        .map(|(action, _)| action.clone())
        .collect()
}

fn made(ran: &Ran) -> BTreeSet<String> {
    ran.jobs().into_iter().map(str::to_owned).collect()
}

fn history() -> Vec<Commit> {
    let mut random = Random(14);
    let mut all = vec![Commit::default()];
    while all.len() < COMMITS {
        let next = all[all.len() - 1].next(&mut random);
        all.push(next);
    }
    all
}

fn course() -> Course {
    let names: Vec<String> = (0..DECKS).map(|number| format!("t{number}")).collect();
    Course::with_topics(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The outputs of a build that knows nothing.
fn clean(course: &Course) -> Machine {
    let machine = Machine::new(course, "");
    machine.built();
    machine
}

#[test]
fn every_commit_makes_what_its_content_requires_with_a_server() {
    let Some(server) = Nginx::start() else { return };
    let course = course();
    let history = history();
    history[0].write(&course);
    let laptop = Machine::new(&course, &server.url());
    let mut known = BTreeSet::new();
    for (number, commit) in history.iter().enumerate() {
        commit.write(&course);
        let pipeline = Machine::new(&course, &server.url());
        let ran = pipeline.built();
        let needs = commit.needs();
        assert_eq!(
            made(&ran),
            expected(&needs, &known),
            "commit {number}: {commit:?}"
        );
        known.extend(needs);
        commit.write(&laptop.course);
        assert_eq!(
            made(&laptop.built()),
            BTreeSet::new(),
            "commit {number}: {commit:?}"
        );
        let outputs = pipeline.course.outputs();
        assert_eq!(laptop.course.outputs(), outputs);
        if number % 6 == 5 || number + 1 == COMMITS {
            assert_eq!(clean(&course).course.outputs(), outputs, "commit {number}");
        }
    }
    let versions: BTreeSet<String> = history.iter().map(|commit| format!("{commit:?}")).collect();
    assert!(versions.len() > COMMITS / 2, "the history is too simple");
}

#[test]
fn every_commit_makes_what_its_content_requires_with_an_archive() {
    let course = course();
    let archives = tempfile::tempdir().unwrap();
    let archive = archives.path().join("cache.tar.zst");
    let name = archive.to_str().unwrap();
    let mut known = BTreeSet::new();
    for (number, commit) in history().iter().enumerate() {
        commit.write(&course);
        let pipeline = Machine::new(&course, "");
        if archive.exists() {
            let imported = pipeline.clm(&["cache", "import", name]);
            assert_eq!(imported.code, 0, "{}", imported.stderr);
        }
        let needs = commit.needs();
        assert_eq!(
            made(&pipeline.built()),
            expected(&needs, &known),
            "commit {number}: {commit:?}"
        );
        // An archive has what its commit needs, and nothing of earlier ones.
        known = needs;
        let exported = pipeline.clm(&["cache", "export", name]);
        assert_eq!(exported.code, 0, "{}", exported.stderr);
        if number % 6 == 5 || number + 1 == COMMITS {
            assert_eq!(
                clean(&course).course.outputs(),
                pipeline.course.outputs(),
                "commit {number}"
            );
        }
    }
}

#[test]
fn shards_fill_a_cache_from_which_the_last_job_takes_everything() {
    let Some(server) = Nginx::start() else { return };
    let course = course();
    Commit::default().write(&course);
    let shard = |part: &str| {
        let machine = Machine::new(&course, &server.url());
        let ran = machine.clm(&["build", "--shard", part, "--message-format", "json"]);
        assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
        made(&ran)
    };
    let (one, two) = (shard("1/2"), shard("2/2"));
    assert_eq!(one.intersection(&two).count(), 0);
    let all: BTreeSet<String> = one.union(&two).cloned().collect();
    assert_eq!(all, expected(&Commit::default().needs(), &BTreeSet::new()));
    assert!(!one.is_empty() && !two.is_empty());
    let last = Machine::bare(&course, &server.url());
    let locked = Machine::new(&course, "");
    let ran = locked.clm(&["setup", "--lock", "course.xml"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    last.course
        .write("clm.lock", locked.course.read("clm.lock"));
    assert_eq!(made(&last.built()), BTreeSet::new());
    assert_eq!(
        tree(&last.course.path("output")),
        tree(&clean(&course).course.path("output"))
    );
}
