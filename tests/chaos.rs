//! A random author: whatever happens to a course while it is watched, the outputs end up as a clean build makes them.
//!
//! `CLM_TEST_CHAOS=STEPS` makes it longer, `CLM_TEST_SEED=N` another one.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{Course, Ran, Watching, ran, tree};

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
    match random.below(16) {
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
        13 => {
            // Files that nothing names, in directories that may not be there.
            let file = random.one(&["data/more.csv", "other/deep/more.csv", "img/photo.png"]);
            let text = random.one(&["4", "5"]);
            save(random, &course.path(&format!("{topic}/{file}")), text);
        }
        14 => {
            let _ = std::fs::remove_file(course.path(&format!("{topic}/data/more.csv")));
            let _ = std::fs::remove_dir_all(course.path(&format!("{topic}/other")));
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
    let steps = number("CLM_TEST_CHAOS", 100);
    let seed = number("CLM_TEST_SEED", 20_261_127);
    let mut random = Random(seed | 1);
    let course = first_course(&mut random);
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
            26..=28 => touch_output(&mut random, &course),
            _ => {}
        }
        if number % 50 == 49 {
            eprintln!("{} of {steps} steps, seed {seed}", number + 1);
        }
    }
    // What a deck that fails made when it was right stays, which a clean build cannot know.
    mend(&course);
    watching.until_settled(&course);
    // A watch does not look after outputs by itself; whoever asks it for a build gets all of them.
    for _ in 0..3 {
        touch_output(&mut random, &course);
        let built = course.build(&["--languages", "en"]);
        assert_eq!(built.code, 0, "{}{}", built.stdout, built.stderr);
    }
    assert_as_clean(&course, &["--languages", "en"], false, seed);
    drop(watching);
    let again = course.build(&["--languages", "en"]);
    let jobs = again.jobs();
    let reasons: Vec<_> = jobs.iter().map(|job| again.reasons(job)).collect();
    assert!(jobs.is_empty(), "{jobs:?} run again: {reasons:?}");
}

/// The outputs are those of a build of the same sources in another place, without anything from before. Where `keeps`, they
/// may be more when decks fail: what was made of these when they were right.
fn assert_as_clean(course: &Course, options: &[&str], keeps: bool, seed: u64) {
    let clean = Course::with_topics(&[]);
    copy(&course.path("slides"), &clean.path("slides"));
    clean.write("course.xml", course.read("course.xml"));
    let built = clean.build(options);
    let theirs = tree(&clean.path("output"));
    let is_kept = keeps && built.counts().failed > 0;
    let ours = tree(&course.path("output")).into_iter();
    // What somebody changed stays when its source is gone.
    let changed = clm::testing::digest::Digest::of("changed");
    let ours =
        ours.filter(|(path, digest)| *digest != changed && (theirs.contains_key(path) || !is_kept));
    // Manifests have the time of their build in them.
    let is_output = |(path, _): &(String, _)| !path.ends_with(".clm-manifest.json");
    let ours: Vec<_> = ours.filter(is_output).collect();
    let theirs: Vec<_> = theirs.clone().into_iter().filter(is_output).collect();
    similar_asserts::assert_eq!(ours, theirs, "seed {seed}\n{}", built.stderr);
}

/// The course that random authors edit.
fn first_course(random: &mut Random) -> Course {
    let course = Course::with_topics(&["a", "b"]);
    for topic in TOPICS {
        course.write(
            &format!("{topic}/pu/style.iuml"),
            "skinparam backgroundColor red\n",
        );
        course.write(&format!("{topic}/data/n.txt"), "0");
    }
    for path in DECKS {
        let text = deck(random, path.rsplit('_').next().unwrap());
        course.write(path, text);
    }
    course
}

/// Lets no deck fail, and no two sources have the same output.
fn mend(course: &Course) {
    for topic in TOPICS {
        course.write(&format!("{topic}/data/n.txt"), "3");
    }
    let _ = std::fs::remove_file(course.path(&format!("{}/pu/d.pu", TOPICS[1])));
    for deck in DECKS {
        if let Ok(text) = std::fs::read_to_string(course.path(deck))
            && text.contains("1 / 0")
        {
            course.write(deck, text.replace("1 / 0", "1 + 2"));
        }
    }
}

/// What a single build takes over from the one before is never wrong: not after edits of every kind, before it or while it
/// ran, builds of a part, builds that failed, and outputs that somebody changed.
#[test]
fn single_builds_end_as_a_clean_build_whatever_happens_between_them() {
    let steps = number("CLM_TEST_CHAOS", 100) / 5;
    let seed = number("CLM_TEST_SEED", 20_261_128);
    let mut random = Random(seed | 1);
    let course = first_course(&mut random);
    // English only, by the specification: a selection is no build of the whole course.
    let text = course.read("course.xml").replace(
        "</course>",
        "<output-targets><output-target name=\"all\"><path>output/all</path><languages><language>en</language></languages>\
         </output-target></output-targets></course>",
    );
    course.write("course.xml", text);
    let mut sealed = 0;
    for number in 1..=steps {
        for _ in 0..=random.below(3) {
            step(&mut random, &course);
        }
        if random.below(4) > 0 {
            mend(&course);
        }
        if random.below(3) == 0 {
            touch_output(&mut random, &course);
        }
        match random.below(6) {
            0 => course.build(&["--only", random.one(&DECKS)]),
            1 => course.build(&["--fast"]),
            2 | 3 => build_meanwhile(&mut random, &course),
            _ => {
                let built = course.build(&[]);
                sealed += u64::from(built.code == 0);
                built
            }
        };
        if number % 5 == 0 || number == steps {
            course.build(&[]);
            assert_as_clean(&course, &[], true, seed);
            assert!(
                course.build(&[]).jobs().is_empty(),
                "step {number}, seed {seed}"
            );
            eprintln!("{number} of {steps} steps, {sealed} sealed, seed {seed}");
        }
    }
    // Otherwise nothing was ever taken over.
    assert!(sealed > 0, "{sealed} of {steps}");
}

/// Removes or changes an output. One that is about to be removed anyway may be gone before.
fn touch_output(random: &mut Random, course: &Course) {
    let outputs: Vec<String> = tree(&course.path("output")).into_keys().collect();
    if outputs.is_empty() {
        return;
    }
    let output = &outputs[random.below(outputs.len() as u64) as usize];
    let file = course.path("output").join(output);
    match random.below(4) {
        0 | 1 => drop(std::fs::remove_file(file)),
        2 => drop(std::fs::remove_dir_all(file.parent().unwrap())),
        _ if file.exists() => std::fs::write(file, "changed").unwrap(),
        _ => {}
    }
}

/// A build, with an author who goes on.
fn build_meanwhile(random: &mut Random, course: &Course) -> Ran {
    let mut building = course
        .command(&["build", "--message-format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..=random.below(3) {
        std::thread::sleep(Duration::from_millis(random.below(700)));
        step(random, course);
        if building.try_wait().unwrap().is_some() {
            break;
        }
    }
    ran(building.wait_with_output().unwrap())
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
