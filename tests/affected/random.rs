//! Whatever changed since a commit at which the course was built: `--affected-by` makes what a build of everything makes.
//!
//! `CLM_TEST_AFFECTED=STEPS` makes it longer, `CLM_TEST_SEED=N` another one.

use super::repository::Repository;
use crate::support::Course;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

const TOPICS: [&str; 3] = ["a", "b", "c"];
const NUMBERS: [&str; 2] = ["010", "020"];
const DECKS: [&str; 3] = ["slides_a.py", "slides_b \"ö\".py", "slides_c.md"];
const OTHERS: [&str; 6] = [
    "data/n 1.csv",
    "data/ü.txt",
    "img/p.png",
    "part.j2",
    "helper.py",
    "voiceover/voiceover_a.py",
];

fn deck(random: &mut Random) -> String {
    let title = random.one(&["One", "Two", "Three"]);
    let prose = random.one(&[
        "Prose",
        "<img src=\"img/p.png\">",
        "[b](clm:b)",
        "[a](clm:a/slides_a)",
    ]);
    let include = random.one(&["", "\n{% include 'part.j2' ignore missing %}\n"]);
    format!(
        "# j2 from 'macros.j2' import header\n# {{{{ header(\"{title}\", \"{title}\") }}}}\n\n\
         # %% [markdown] lang=\"en\"\n#\n# {prose}\n{include}\n# %% tags=[\"keep\"]\nx = {}\n",
        random.below(3)
    )
}

/// Returns the topic's directory as it is named now.
fn topic(course: &Course, id: &str) -> String {
    let names = NUMBERS.map(|number| format!("slides/m/topic_{number}_{id}"));
    let there = names.iter().find(|name| course.path(name).is_dir());
    there.unwrap_or(&names[0]).clone()
}

/// Changes something. The same random numbers change two equal courses in the same way.
fn change(random: &mut Random, course: &Course) -> String {
    let dir = topic(course, random.one(&TOPICS));
    let deck_path = format!("{dir}/{}", random.one(&DECKS));
    let other = format!("{dir}/{}", random.one(&OTHERS));
    let remove = |path: &str| {
        let _ = std::fs::remove_file(course.path(path));
        format!("remove {path}")
    };
    match random.below(14) {
        0..5 => {
            course.write(&deck_path, deck(random));
            format!("write {deck_path}")
        }
        5 => remove(&deck_path),
        6..9 => {
            course.write(&other, format!("# {}\n", random.below(3)));
            format!("write {other}")
        }
        9 => remove(&other),
        10 => {
            let id = random.one(&TOPICS);
            let to = format!("slides/m/topic_{}_{id}", random.one(&NUMBERS));
            let from = topic(course, id);
            if course.path(&from).is_dir() && !course.path(&to).exists() {
                std::fs::rename(course.path(&from), course.path(&to)).unwrap();
            }
            format!("rename {from} to {to}")
        }
        11 => {
            let from = format!("{dir}/{}", random.one(&DECKS));
            if course.path(&from).is_file() {
                std::fs::rename(course.path(&from), course.path(&deck_path)).unwrap();
            }
            format!("rename {from} to {deck_path}")
        }
        12 => {
            let mode = random.one(&["shared", "duplicated"]);
            course.write("clm.toml", format!("[images]\nmode = \"{mode}\"\n"));
            "settings".to_owned()
        }
        _ => {
            let (one, other) = (random.one(&TOPICS), random.one(&TOPICS));
            let text = course.read("course.xml");
            let swapped = text
                .replace(&format!("<topic>{one}<"), "<topic>?<")
                .replace(&format!("<topic>{other}<"), &format!("<topic>{one}<"))
                .replace("<topic>?<", &format!("<topic>{other}<"));
            course.write("course.xml", swapped);
            "topics".to_owned()
        }
    }
}

#[test]
fn a_build_of_what_a_range_touches_makes_what_a_build_of_everything_makes() {
    let seed = number("CLM_TEST_SEED", 0x9e37_79b9_7f4a_7c15);
    let steps = number("CLM_TEST_AFFECTED", 20);
    let (part, whole) = (Course::with_topics(&TOPICS), Course::with_topics(&TOPICS));
    let mut random = Random(seed);
    for id in TOPICS {
        let path = format!("slides/m/topic_010_{id}/slides_a.py");
        let text = deck(&mut random);
        for course in [&part, &whole] {
            course.write(&path, &text);
        }
    }
    let repository = Repository::of(&part);
    let build = |course: &Course, args: &[&str]| {
        let ran = course.build(&[&["--fast", "--verbose"], args].concat());
        // Decks that cannot be built fail in both.
        assert!([0, 1].contains(&ran.code), "{}{}", ran.stdout, ran.stderr);
        ran
    };
    build(&part, &[]);
    build(&whole, &[]);
    for step in 0..steps {
        repository.commit("step");
        let base = repository.git(&["rev-parse", "HEAD"]);
        let mut said = Vec::new();
        for _ in 0..=random.below(3) {
            let mut same = Random(random.0);
            said.push(change(&mut random, &part));
            change(&mut same, &whole);
            assert_eq!(random.0, same.0);
            match random.below(4) {
                0 => repository.commit("part"),
                1 => drop(repository.git(&["add", "-A"])),
                _ => {}
            }
        }
        let revision = match random.below(3) {
            0 => format!("{base}..HEAD"),
            1 => format!("{base}..."),
            _ => base,
        };
        let ran = build(&part, &["--affected-by", &revision]);
        build(&whole, &[]);
        assert_eq!(
            part.outputs(),
            whole.outputs(),
            "seed {seed}, step {step}: {said:?}\n{}",
            ran.stdout
        );
    }
}
