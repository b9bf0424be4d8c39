//! `clm build --shard I/N`: several machines share the work, and no action is run by two of them.

use std::collections::{BTreeMap, BTreeSet};

use clm::testing::tools::Context;

use crate::support::renderers::{PLANTUML, PYTHON, provide};
use crate::support::{Course, Ran, ran};

fn deck(text: &str, code: &str) -> String {
    format!(
        "# j2 from 'macros.j2' import header\n# {{{{ header(\"Titel\", \"Title\") }}}}\n\n\
         # %% [markdown] lang=\"en\"\n#\n# {text}\n\n# %% tags=[\"keep\"]\n{code}\n"
    )
}

fn diagram(name: &str) -> String {
    format!("@startuml\nclass {name}\n@enduml\n")
}

/// A course with diagrams, decks, a deck that shows a diagram inline, and two equal diagrams.
fn course() -> Course {
    let course = Course::with_topics(&["a", "b", "c"]);
    course.edit(
        "course.xml",
        "<project-slug>",
        "<image-options><inline>true</inline></image-options>\n<project-slug>",
    );
    let topic = |name: &str| format!("slides/m/topic_010_{name}");
    for (name, code) in [("a", "print('a')"), ("b", "x = 1\nx"), ("c", "1")] {
        let text = match name {
            "a" => "<img src=\"img/one.png\">",
            _ => "Prose",
        };
        let path = format!("{}/slides_{name}.py", topic(name));
        course.write(&path, deck(text, code));
    }
    for name in ["one", "two", "three"] {
        course.write(&format!("{}/pu/{name}.pu", topic("a")), diagram(name));
    }
    course.write(&format!("{}/pu/same.pu", topic("b")), diagram("two"));
    course.write(&format!("{}/data.csv", topic("c")), "1,2\n");
    course
}

/// Builds one shard of a course, with a home directory of its own.
fn shard(course: &Course, args: &[&str]) -> Ran {
    let home = tempfile::tempdir().unwrap();
    let mut command = course.command(&["build", "--message-format", "json", "--jobs", "1"]);
    command
        .args(args)
        .env("HOME", home.path())
        .env("CLM_TOOLS_DIR", Context::of_process(None).tools_dir);
    ran(command.output().unwrap())
}

fn owned(names: Vec<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

#[test]
fn shards_run_every_action_once_and_publish_their_own_outputs_alone() {
    provide(PYTHON);
    provide(PLANTUML);
    let whole = course();
    let all = owned(whole.built().jobs());
    assert!(all.iter().any(|job| job.starts_with("execute ")), "{all:?}");
    let outputs = whole.outputs();
    for count in [2, 3] {
        let mut jobs: BTreeMap<String, usize> = BTreeMap::new();
        let mut published = BTreeSet::new();
        for number in 1..=count {
            let checkout = course();
            let name = format!("{number}/{count}");
            let ran = shard(&checkout, &["--shard", &name]);
            assert_eq!(ran.code, 0, "{name}: {}{}", ran.stdout, ran.stderr);
            assert!(!ran.jobs().is_empty(), "{name}: {}", ran.stdout);
            assert_eq!(ran.started(), ran.jobs(), "{name}: only jobs are divided");
            for job in owned(ran.jobs()) {
                if let Some(other) = jobs.insert(job.clone(), number) {
                    panic!("{job} was run by {other} and {number}");
                }
            }
            for (path, digest) in checkout.outputs() {
                assert_eq!(outputs.get(&path), Some(&digest), "{name}: {path}");
                assert!(published.insert(path.clone()), "{name}: {path}");
            }
            // Nothing claims that the course is up to date: an ordinary build makes the rest.
            assert!(!checkout.path("output/shared/.clm-manifest.json").exists());
            if number == 1 && count == 2 {
                assert_eq!(checkout.clm(&["build", "--check"]).code, 4);
                checkout.built();
                assert_eq!(checkout.outputs(), outputs);
            }
        }
        assert_eq!(jobs.into_keys().collect::<Vec<_>>(), all, "of {count}");
        let decks = outputs.keys().filter(|path| path.ends_with(".html"));
        assert!(decks.clone().count() > 0);
        decks.for_each(|path| assert!(published.contains(path), "{path}"));
    }
}

/// A course with diagrams alone.
fn diagrams(count: usize) -> Course {
    let course = Course::with_topics(&["a"]);
    for number in 0..count {
        let path = format!("slides/m/topic_010_a/pu/d{number}.pu");
        course.write(&path, diagram(&format!("D{number}")));
    }
    course.write("slides/m/topic_010_a/data.csv", "1\n");
    course
}

#[test]
fn what_the_records_know_is_no_work_and_nothing_is_removed() {
    let course = diagrams(6);
    course.built();
    let known = course.outputs();
    let stray = known.keys().find(|path| path.ends_with("d5.png")).unwrap();
    for number in [0, 1] {
        let path = format!("slides/m/topic_010_a/pu/d{number}.pu");
        course.write(&path, diagram(&format!("New{number}")));
    }
    course.remove("slides/m/topic_010_a/pu/d5.pu");
    let stale = |args: &[&str]| {
        let ran = course.build(&[args, &["--check"]].concat());
        assert_eq!(ran.code, 4, "{}", ran.stdout);
        let lines = ran.stdout.lines();
        owned(lines.filter(|line| line.contains("\"stale\"")).collect())
    };
    let first = stale(&["--shard", "1/2"]);
    let second = stale(&["--shard", "2/2"]);
    assert_eq!((first.len(), second.len()), (1, 1), "{first:?} {second:?}");
    assert_ne!(first, second);
    let ran = course.build(&["--shard", "2/2"]);
    assert_eq!((ran.code, ran.jobs().len()), (0, 1), "{}", ran.stdout);
    assert!(second[0].contains(ran.jobs()[0]), "{second:?}");
    assert!(
        course.outputs().contains_key(stray),
        "it is removed by an ordinary build"
    );
    assert_eq!(course.clm(&["build", "--check"]).code, 4);
    // There are more shards than actions that must run: those in excess do nothing, and that is no error.
    let ran = course.build(&["--shard", "9/9"]);
    assert_eq!((ran.code, ran.started().len()), (0, 0), "{}", ran.stdout);
    course.built();
    assert!(!course.outputs().contains_key(stray));
}

#[test]
fn durations_of_earlier_builds_decide_which_actions_go_together() {
    // Of four equal diagrams each of two shards gets two, whatever they are named.
    let course = diagrams(4);
    let jobs = [1, 2].map(|number| {
        let ran = course.build(&["--check", "--shard", &format!("{number}/2")]);
        ran.stdout.matches("\"event\":\"stale\"").count()
    });
    assert_eq!(jobs, [2, 2]);
    // With `--force` everything must run again, by the durations that are now known.
    course.built();
    let forced = [1, 2].map(|number| {
        let name = format!("{number}/2");
        let ran = course.build(&["--force", "--shard", &name, "--check"]);
        ran.stdout.matches("\"event\":\"stale\"").count()
    });
    assert_eq!(forced.iter().sum::<usize>(), 4, "{forced:?}");
    assert!(!forced.contains(&0), "{forced:?}");
}

#[test]
fn a_failure_is_run_and_told_by_one_shard_and_remembered_by_none_of_the_others() {
    provide(PYTHON);
    let broken = || {
        let course = course();
        course.write("slides/m/topic_010_c/slides_c.py", deck("Prose", "1 / 0"));
        std::fs::remove_dir_all(course.path("slides/m/topic_010_a/pu")).unwrap();
        course
    };
    let rans = [1, 2, 3].map(|number| {
        let ran = broken().build(&["--shard", &format!("{number}/3")]);
        let mut executed = owned(ran.jobs());
        executed.retain(|job| job.starts_with("execute ") && job.contains("slides_c.py"));
        (ran.code, executed.len())
    });
    // Both languages have the same code, so that they share a job.
    let mut sorted = rans;
    sorted.sort_unstable();
    assert_eq!(sorted, [(0, 0), (0, 0), (1, 1)]);
    // What is known to fail is no work any more, and is told by a build of everything.
    let course = broken();
    assert_eq!(course.build(&[]).code, 1);
    for number in 1..=3 {
        let ran = course.build(&["--shard", &format!("{number}/3")]);
        assert_eq!((ran.code, ran.started().len()), (0, 0), "{}", ran.stdout);
    }
}

#[test]
fn one_shard_of_one_is_an_ordinary_build() {
    let (course, whole) = (diagrams(1), diagrams(1));
    whole.built();
    let ran = course.build(&["--shard", "1/1"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(course.outputs(), whole.outputs());
    assert_eq!(course.clm(&["build", "--check"]).code, 0);
}

#[test]
fn a_shard_that_does_not_exist_is_an_error_with_what_there_is() {
    let course = diagrams(1);
    for (wrong, said) in [
        ("0/3", "`1/3` to `3/3`"),
        ("4/3", "`1/3` to `3/3`"),
        ("1/0", "1 to 4096"),
        ("1/4097", "1 to 4096"),
        ("a/b", "`I/N`"),
        ("2", "`I/N`"),
        ("", "`I/N`"),
    ] {
        let ran = course.build(&["--shard", wrong]);
        assert_eq!(ran.code, 2, "{wrong}");
        assert!(ran.stderr.contains(said), "{wrong}: {}", ran.stderr);
        assert!(!course.path("output").exists(), "{wrong}");
    }
    let ran = course.build(&["--shard", "1/2", "--saved", "slides/m/topic_010_a/pu/d0.pu"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}
