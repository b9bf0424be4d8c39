//! A random author: whatever happens to a course while it is watched, the outputs end up as a clean build makes them.
//!
//! `CLM_TEST_CHAOS=STEPS` makes it longer, `CLM_TEST_SEED=N` another one.

use std::path::Path;
use std::time::Duration;

use crate::support::{Course, Watching, tree};

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len() as u64) as usize]
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

const DECKS: [&str; 3] = [
    "slides/m/topic_010_a/slides_a.py",
    "slides/m/topic_020_b/slides_b.py",
    "slides/m/topic_020_b/slides_more.py",
];
const TOPICS: [&str; 2] = ["slides/m/topic_010_a", "slides/m/topic_020_b"];

fn deck(random: &mut Random, name: &str) -> String {
    let title = random.one(&["One", "Two", "Three"]);
    let prose = random.one(&["Some prose", "Other prose", "<img src=\"img/d.png\">"]);
    let code = random.one(&["print('x')", "1 + 1", "1 / 0", "open('data/n.txt').read()"]);
    format!(
        "# j2 from 'macros.j2' import header\n# {{{{ header(\"{title} {name}\", \"{title} {name}\") }}}}\n\n\
         # %% [markdown]\n# {prose}\n\n# %% tags=[\"keep\"]\n{code}\n"
    )
}

/// Saves a file as one of many editors does.
fn save(random: &mut Random, path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let beside = |name: String| path.with_file_name(name);
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    match random.below(5) {
        0 | 1 => std::fs::write(path, text).unwrap(),
        2 => {
            let temporary = beside(format!("{name}.tmp"));
            std::fs::write(&temporary, text).unwrap();
            std::fs::rename(&temporary, path).unwrap();
        }
        3 => {
            // Vim with a backup and a swap file.
            let swap = beside(format!(".{name}.swp"));
            std::fs::write(&swap, "swap").unwrap();
            let backup = beside(format!("{name}~"));
            if path.exists() {
                std::fs::rename(path, &backup).unwrap();
            }
            std::fs::write(path, text).unwrap();
            let _ = std::fs::remove_file(backup);
            std::fs::remove_file(swap).unwrap();
        }
        _ => {
            // In two steps.
            let half = text.len() / 2;
            std::fs::write(path, &text.as_bytes()[..half]).unwrap();
            std::thread::sleep(Duration::from_millis(random.below(40)));
            std::fs::write(path, text).unwrap();
        }
    }
}

fn step(random: &mut Random, course: &Course) {
    let deck_path = random.one(&DECKS);
    let topic = random.one(&TOPICS);
    match random.below(14) {
        0..=6 => {
            let name = deck_path.rsplit('_').next().unwrap();
            let text = deck(random, name);
            save(random, &course.path(deck_path), &text);
        }
        7 => {
            let text = random.one(&["1", "2"]);
            save(random, &course.path(&format!("{topic}/data/n.txt")), text);
        }
        8 => {
            let _ = std::fs::remove_file(course.path(&format!("{topic}/data/n.txt")));
        }
        9 => {
            let to = random.one(&["Bob", "Eve"]);
            let text = format!("@startuml\n!include style.iuml\nAlice -> {to}\n@enduml\n");
            save(random, &course.path(&format!("{topic}/pu/d.pu")), &text);
        }
        10 => {
            let colour = random.one(&["red", "blue"]);
            let text = format!("skinparam backgroundColor {colour}\n");
            save(
                random,
                &course.path(&format!("{topic}/pu/style.iuml")),
                &text,
            );
        }
        11 => {
            let _ = std::fs::remove_file(course.path(deck_path));
        }
        12 => {
            let topics = random.one(&[
                "<topic>a</topic><topic>b</topic>",
                "<topic>b</topic><topic>a</topic>",
                "<topic>a</topic>",
            ]);
            let text = course.read("course.xml");
            let begin = text.find("<topics>").unwrap() + "<topics>".len();
            let end = text.find("</topics>").unwrap();
            let text = format!("{}{topics}{}", &text[..begin], &text[end..]);
            save(random, &course.path("course.xml"), &text);
        }
        _ => {
            // The same content with a new time.
            if let Ok(text) = std::fs::read(course.path(deck_path)) {
                std::fs::write(course.path(deck_path), text).unwrap();
            }
        }
    }
}

/// Kills one process that the watch started.
fn kill_a_worker(random: &mut Random, watching: &Watching) {
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", watching.pid()))
        .unwrap_or_default();
    let pids: Vec<i32> = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect();
    if pids.is_empty() {
        return;
    }
    let pid = pids[random.below(pids.len() as u64) as usize];
    let _ = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    );
}

#[test]
fn nothing_is_lost_whatever_a_random_author_does() {
    let steps = number("CLM_TEST_CHAOS", 150);
    let seed = number("CLM_TEST_SEED", 20_261_127);
    let mut random = Random(seed | 1);
    let course = Course::with_topics(&["a", "b"]);
    for topic in TOPICS {
        course.write(
            &format!("{topic}/pu/style.iuml"),
            "skinparam backgroundColor red\n",
        );
        course.write(&format!("{topic}/data/n.txt"), "0");
    }
    for path in DECKS {
        let text = deck(&mut random, path.rsplit('_').next().unwrap());
        course.write(path, text);
    }
    // Decks that open a file which may be missing fail, and are built otherwise.
    let mut watching = Watching::start(&course, &["--languages", "en"]);
    watching.run();
    for number in 0..steps {
        step(&mut random, &course);
        match random.below(40) {
            0 => {
                watching.kill();
                step(&mut random, &course);
                watching = Watching::start(&course, &["--languages", "en"]);
            }
            1 | 2 => kill_a_worker(&mut random, &watching),
            3..=9 => watching.until_quiet(Duration::from_millis(300)),
            10..=25 => std::thread::sleep(Duration::from_millis(random.below(120))),
            _ => {}
        }
        if number % 50 == 49 {
            eprintln!("{} of {steps} steps, seed {seed}", number + 1);
        }
    }
    watching.until_settled(&course);
    drop(watching);

    let clean = Course::with_topics(&[]);
    copy(&course.path("slides"), &clean.path("slides"));
    clean.write("course.xml", course.read("course.xml"));
    let built = clean.build(&["--languages", "en"]);
    let ours = tree(&course.path("output"));
    let theirs = tree(&clean.path("output"));
    let ours: Vec<_> = ours.into_iter().collect();
    let theirs: Vec<_> = theirs.into_iter().collect();
    similar_asserts::assert_eq!(ours, theirs, "seed {seed}\n{}", built.stderr);
    let again = course.build(&["--languages", "en"]);
    let jobs = again.jobs();
    let reasons: Vec<_> = jobs.iter().map(|job| again.reasons(job)).collect();
    assert!(jobs.is_empty(), "{jobs:?} run again: {reasons:?}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() == "img-generated" {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
