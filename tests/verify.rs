//! What is not deterministic is found, and what differs between two builds.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::courses::without_pages;
use crate::support::courses::{COPIES, DATA, DECK, ONLY_DECK, OTHER, deck, one_deck, two_decks};
use crate::support::{Course, Ran, tree};

/// One page, so that each deck is executed once.
const PAGES: [&str; 4] = ["--languages", "en", "--formats", "html"];
const SNAPSHOT: &str = ".clm-snapshot.json";

/// The JSON objects on stdout with this `event`.
fn data(ran: &Ran, event: &str) -> Vec<Value> {
    let lines = ran.stdout.lines();
    let all = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.filter(|line| line["event"] == event).collect()
}

/// The totals of a verification or a comparison.
fn total(ran: &Ran, event: &str) -> Value {
    let found = data(ran, event);
    assert_eq!(found.len(), 1, "{}\n{}", ran.stdout, ran.stderr);
    found.into_iter().next().unwrap()
}

/// The paths with this change, or `PATH cell N` and so on for what was changed.
fn changes(ran: &Ran, change: &str) -> Vec<String> {
    let found = data(ran, "difference");
    let found = found.iter().filter(|line| line["change"] == change);
    found
        .map(|line| line["path"].as_str().unwrap().to_owned())
        .collect()
}

fn built(course: &Course, args: &[&str]) -> Ran {
    let ran = course.build(args);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    ran
}

fn with<'a>(args: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [args, more].concat()
}

/// A course whose outputs need no renderer, built.
fn plain() -> Course {
    let course = one_deck("# %% tags=[\"keep\"]\nx = 1\n\n# %% tags=[\"keep\"]\ny = 2\n");
    without_pages(&course);
    course
}

/// A directory beside the course.
fn beside() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("snapshot");
    (dir, path.to_str().unwrap().to_owned())
}

#[test]
fn what_is_not_deterministic_is_found_and_nothing_changes() {
    let course = two_decks("x = 1\n\n# %%\nimport random\nprint('same')\nprint(random.random())");
    built(&course, &PAGES);
    let state = || {
        let imports = std::fs::read(course.path(".clm/imports.json")).ok();
        (course.outputs(), tree(&course.path(".clm/blobs")), imports)
    };
    // A record that this verification would replace.
    std::fs::write(course.path(".clm/imports.json"), "{}").unwrap();
    let before = state();
    let ran = course.build(&with(&["--verify"], &PAGES));
    assert_eq!(ran.code, 1, "{}\n{}", ran.stdout, ran.stderr);
    let error = ran.error_in(DECK);
    assert_eq!((error.cell, error.line), (Some(4), Some(8)), "{error:?}");
    assert!(error.message.contains("stdout"), "{}", error.message);
    let detail = error.detail.as_deref().unwrap();
    assert!(
        detail.starts_with("- 0.") && detail.contains("\n+ 0."),
        "{detail}"
    );
    assert_eq!(ran.errors().len(), 1, "{:#?}", ran.errors());

    let verified = data(&ran, "verified");
    let differing: Vec<&Value> = verified
        .iter()
        .filter(|line| line["verdict"] != "same")
        .collect();
    assert_eq!(differing.len(), 1, "{differing:#?}");
    assert_eq!(differing[0]["action"], format!("execute {DECK} en"));
    let difference = &differing[0]["differences"][0];
    assert_eq!(
        (&difference["cell"], &difference["output"]),
        (&4.into(), &1.into())
    );
    let total = total(&ran, "verification");
    assert_eq!(total["differs"], 1);
    assert_eq!(total["same"], total["sample"].as_u64().unwrap() - 1);
    assert_eq!(
        (&total["skipped"], &total["unknown"]),
        (&0.into(), &0.into())
    );

    assert_eq!(state(), before);
    assert_eq!(course.build(&with(&["--check"], &PAGES)).code, 0);
    // The other deck is deterministic, and so are the pages of both.
    let ran = built(&course, &with(&["--verify", "--only", OTHER], &PAGES));
    assert_eq!(data(&ran, "verified").len(), 3, "{}", ran.stdout);
    let people = course.clm(&with(&["build", "--verify"], &PAGES));
    assert_eq!(people.code, 1);
    assert!(
        people.stderr.contains("not deterministic"),
        "{}",
        people.stderr
    );
    assert!(
        people.stderr.contains("Verified 6 of 6 known"),
        "{}",
        people.stderr
    );
}

/// Whether a deck fails can depend on what is nowhere in the course.
#[test]
fn a_deck_that_fails_only_sometimes_is_not_deterministic() {
    for (first, says) in [(0, "after"), (1, "before")] {
        let outside = tempfile::tempdir().unwrap();
        let counter = outside.path().join("count");
        std::fs::write(&counter, first.to_string()).unwrap();
        let code = format!(
            "from pathlib import Path\ncounter = Path({:?})\ncount = int(counter.read_text())\n\
             counter.write_text(str(count + 1))\nassert count % 2 == 0, 'odd'",
            counter.to_str().unwrap()
        );
        let course = one_deck(&format!("# %%\n{code}\n"));
        assert_eq!(course.build(&PAGES).code, first);
        let ran = course.build(&with(&["--verify"], &PAGES));
        assert_eq!(ran.code, 1, "{}\n{}", ran.stdout, ran.stderr);
        let mut verified = data(&ran, "verified");
        verified.retain(|line| line["verdict"] == "differs");
        let difference = &verified[0]["differences"][0];
        assert_eq!(difference["what"], "whether it fails", "{verified:#?}");
        assert!(
            difference[says].as_str().unwrap().contains("odd"),
            "{difference}"
        );
    }
}

fn diagrams(count: usize) -> Course {
    let course = Course::with_topics(&["a"]);
    for number in 0..count {
        course.write(
            &format!("slides/m/topic_010_a/pu/d{number}.pu"),
            format!("@startuml\nAlice -> Bob : {number}\n@enduml\n"),
        );
    }
    course
}

#[test]
fn a_sample_follows_from_keys_and_seed() {
    let course = diagrams(9);
    built(&course, &[]);
    let sample = |args: &[&str]| -> Vec<String> {
        let ran = built(&course, args);
        let verified = data(&ran, "verified").into_iter();
        let actions: Vec<String> = verified
            .map(|line| line["action"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(total(&ran, "verification")["sample"], actions.len());
        assert_eq!(total(&ran, "verification")["known"], 9);
        actions
    };
    let three = sample(&["--verify", "3"]);
    assert_eq!(three.len(), 3);
    assert_eq!(sample(&["--verify", "3"]), three);
    assert_eq!(sample(&["--verify=30%"]), three);
    assert_ne!(sample(&["--verify", "3", "--seed", "1"]), three);
    assert_eq!(sample(&["--verify", "1%"]).len(), 1);
    assert_eq!(sample(&["--verify", "100"]).len(), 9);
    assert_eq!(sample(&["--verify", "course.xml"]).len(), 9);
    assert_eq!(sample(&["course.xml", "--verify"]).len(), 9);
    // What was never made cannot be compared.
    course.edit("slides/m/topic_010_a/pu/d3.pu", "Bob", "Carol");
    let ran = built(&course, &["--verify"]);
    let total = total(&ran, "verification");
    assert_eq!((&total["known"], &total["unknown"]), (&8.into(), &1.into()));
}

#[test]
fn without_its_renderer_an_action_is_not_verified_and_counted() {
    let course = diagrams(2);
    course.write(DECK, deck("print('one')"));
    built(&course, &PAGES);
    let empty = tempfile::tempdir().unwrap();
    let output = course
        .bare_command(&with(
            &["build", "--verify", "--message-format", "json"],
            &PAGES,
        ))
        .env("CLM_TOOLS_DIR", empty.path())
        .output()
        .unwrap();
    let ran = crate::support::ran(output);
    assert_eq!(ran.code, 1, "{}\n{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr.contains("nothing could be verified"),
        "{}",
        ran.stderr
    );
    let total = total(&ran, "verification");
    assert_eq!(
        (&total["same"], &total["differs"], &total["unknown"]),
        (&0.into(), &0.into(), &0.into())
    );
    let verified = data(&ran, "verified");
    assert_eq!(verified.len() as u64, total["skipped"].as_u64().unwrap());
    let kinds: std::collections::BTreeSet<&str> = verified
        .iter()
        .map(|line| line["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["execute", "html", "plantuml"]
    );
    for line in &verified {
        let reason = line["reason"].as_str().unwrap();
        assert!(reason.ends_with("is not installed"), "{line}");
    }
}

#[test]
fn what_was_never_made_is_not_verified_and_fails() {
    let course = diagrams(1);
    let ran = course.build(&["--verify"]);
    assert_eq!(ran.code, 1, "{}\n{}", ran.stdout, ran.stderr);
    let found = total(&ran, "verification");
    assert_eq!((&found["known"], &found["unknown"]), (&0.into(), &1.into()));
    // Where there is nothing to verify, nothing is missing.
    built(&plain(), &["--verify"]);
}

#[test]
fn wrong_samples_and_mixtures_are_refused() {
    let course = plain();
    for args in [
        &["--verify", "0"][..],
        &["--verify", "200%"],
        &["--verify", "many"],
        &["--verify", "--check"],
        &["--verify", "--dry-run"],
        &["--verify", "--force"],
        &["--seed", "3"],
        &["--verify", "--snapshot", "x"],
        &["--check", "--verify-against", "x"],
    ] {
        let ran = course.build(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
    }
    assert!(!course.path("x").exists() && !course.path("output").exists());
}

#[test]
fn a_snapshot_shows_what_was_added_removed_and_changed() {
    let course = plain();
    let (_dir, snapshot) = beside();
    course.write("slides/m/topic_010_one/data/old.csv", "1\n");
    let ran = built(&course, &["--snapshot", &snapshot]);
    let made = tree(Path::new(&snapshot));
    assert_eq!(made.len(), course.outputs().len() + 1, "{made:#?}");
    assert_eq!(total(&ran, "snapshot")["files"], made.len() as u64);
    let ran = built(&course, &["--verify-against", &snapshot]);
    let same = total(&ran, "comparison");
    assert_eq!(
        same["same"].as_u64().unwrap() + same["similar"].as_u64().unwrap(),
        made.len() as u64
    );

    course.edit(ONLY_DECK, "y = 2", "y = 3");
    course.write(DATA, "10\n25\n30\n");
    course.write("slides/m/topic_010_one/data/new.csv", "1\n");
    course.remove("slides/m/topic_010_one/data/old.csv");
    let ran = course.build(&["--verify-against", &snapshot]);
    assert_eq!(ran.code, 1, "{}\n{}", ran.stdout, ran.stderr);
    let copies = COPIES.strip_prefix("output/shared/").unwrap();
    let (added, removed, changed) = (
        changes(&ran, "added"),
        changes(&ran, "removed"),
        changes(&ran, "changed"),
    );
    assert!(added.contains(&format!("{copies}/new.csv")), "{added:#?}");
    assert!(
        removed.contains(&format!("{copies}/old.csv")),
        "{removed:#?}"
    );
    assert!(
        added.iter().all(|path| path.ends_with("/new.csv")),
        "{added:#?}"
    );
    assert!(
        removed.iter().all(|path| path.ends_with("/old.csv")),
        "{removed:#?}"
    );
    for path in &changed {
        let is_known = [".ipynb", ".py", "/numbers.csv"]
            .iter()
            .any(|end| path.ends_with(end));
        assert!(is_known, "{path}");
    }
    let first = |end: &str| {
        let found = data(&ran, "difference").into_iter();
        let mut found = found.filter(|line| line["change"] == "changed");
        let found = found.find(|line| line["path"].as_str().unwrap().ends_with(end));
        found.unwrap()["first"].clone()
    };
    let cell = first(".ipynb");
    assert_eq!(
        (&cell["cell"], &cell["line"]),
        (&3.into(), &1.into()),
        "{cell}"
    );
    assert_eq!(
        (&cell["before"], &cell["after"]),
        (&"y = 2".into(), &"y = 3".into())
    );
    let line = first("/numbers.csv");
    assert_eq!(
        (&line["line"], &line["before"]),
        (&2.into(), &"20".into()),
        "{line}"
    );

    // For people, and the next snapshot replaces the first.
    let people = course.clm(&[
        "build",
        "--verify-against",
        &snapshot,
        "--snapshot",
        &snapshot,
    ]);
    assert_eq!(people.code, 1);
    assert!(
        people.stdout.contains("`y = 2` is now `y = 3`"),
        "{}",
        people.stdout
    );
    built(&course, &["--verify-against", &snapshot]);
    assert_eq!(tree(Path::new(&snapshot)).len(), made.len());
}

#[test]
fn what_clm_did_not_write_is_neither_removed_nor_overwritten() {
    let course = plain();
    built(&course, &[]);
    let (dir, snapshot) = beside();
    let refused = |args: &[&str], says: &str| {
        let before = (tree(&course.root()), tree(dir.path()));
        let ran = course.clm(&with(&["build"], args));
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("hint: "), "{args:?}: {}", ran.stderr);
        let sources = |tree: std::collections::BTreeMap<String, _>| -> Vec<_> {
            let all = tree.into_iter();
            all.filter(|(path, _)| !path.starts_with(".clm/")).collect()
        };
        assert_eq!(sources(tree(&course.root())), sources(before.0), "{args:?}");
        assert_eq!(tree(dir.path()), before.1, "{args:?}");
    };
    for (place, says) in [
        ("output", "holds outputs"),
        ("output/shared/new", "among the outputs"),
        ("slides/new", "among the sources"),
        (".clm/new", "among the records"),
        (".", "holds"),
        (".git/new", "lies in a repository"),
        ("slides/../.git", "lies in a repository"),
        ("course.xml", "not a directory"),
    ] {
        refused(&["--snapshot", place], says);
    }
    refused(&["--verify-against", "output/shared"], "among the outputs");
    refused(&["--verify-against", &snapshot], "does not exist");
    let mine = Path::new(&snapshot).join("mine.txt");
    std::fs::create_dir(&snapshot).unwrap();
    std::fs::write(&mine, "mine").unwrap();
    refused(&["--snapshot", &snapshot], "neither empty nor a snapshot");
    std::fs::remove_file(&mine).unwrap();
    built(&course, &["--snapshot", &snapshot]);
    std::fs::write(&mine, "mine").unwrap();
    refused(&["--snapshot", &snapshot], "mine.txt");
    std::fs::remove_file(&mine).unwrap();
    std::fs::write(Path::new(&snapshot).join(SNAPSHOT), "{}").unwrap();
    refused(&["--snapshot", &snapshot], "not the marker");
    refused(&["--verify-against", &snapshot], "not the marker");
}

/// Two targets, a directory that is empty, and outputs outside of the course.
fn targets() -> Course {
    let course = plain();
    course.edit(
        "course.xml",
        "</output-targets>",
        "<output-target name=\"trainer\"><path>output/for trainers</path><kinds><kind>trainer</kind></kinds>\
         <formats><format>notebook</format></formats></output-target></output-targets>\
         <dir-groups><dir-group><name>Extra</name><path>extra</path></dir-group></dir-groups>",
    );
    course.write("extra/a.txt", "a\n");
    course.mkdir("extra/nothing");
    course
}

#[test]
fn another_build_can_be_compared_wherever_its_outputs_are() {
    let (here, there) = (targets(), targets());
    let (dir, snapshot) = beside();
    let outside = dir.path().join("elsewhere");
    built(&there, &[]);
    let root = there.path("output");
    let root = root.to_str().unwrap();
    // The same outputs, in the output root of another checkout and in a snapshot of it.
    let ran = built(&here, &["--verify-against", root]);
    assert_eq!(total(&ran, "comparison")["changed"], 0);
    built(&there, &["--snapshot", &snapshot]);
    assert!(
        tree(Path::new(&snapshot))
            .keys()
            .any(|path| path.starts_with("for trainers/"))
    );
    built(&here, &["--verify-against", &snapshot]);
    // Outside of the course a target lies in a directory of its name.
    let output_dir = ["--output-dir", outside.to_str().unwrap()];
    built(&here, &with(&output_dir, &["--verify-against", &snapshot]));
    built(&here, &with(&output_dir, &["--verify-against", root]));
    let inside = outside.join("new");
    let ran = here.build(&with(
        &output_dir,
        &["--snapshot", inside.to_str().unwrap()],
    ));
    assert_eq!(ran.code, 2, "{}", ran.stderr);

    // An empty directory, a link and a target that are only in one of them.
    let empty = find_empty(&there.path("output"));
    std::fs::remove_dir(&empty).unwrap();
    std::os::unix::fs::symlink("/", there.path("output/shared/link")).unwrap();
    std::fs::remove_dir_all(there.path("output/for trainers")).unwrap();
    let ran = here.build(&["--verify-against", root]);
    assert_eq!(ran.code, 1);
    let name = empty.strip_prefix(there.path("output")).unwrap();
    let (added, removed) = (changes(&ran, "added"), changes(&ran, "removed"));
    assert!(
        added.contains(&name.to_str().unwrap().to_owned()),
        "{added:#?}"
    );
    assert!(added.iter().any(|path| path.starts_with("for trainers/")));
    assert_eq!(removed, ["shared/link"]);
}

fn find_empty(dir: &Path) -> PathBuf {
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        let entries: Vec<_> = std::fs::read_dir(&dir)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        if entries.is_empty() {
            return dir;
        }
        let inside = entries.iter().map(std::fs::DirEntry::path);
        dirs.extend(inside.filter(|path| path.is_dir()));
    }
    panic!("no empty directory in {}", dir.display());
}

#[test]
fn with_errors_there_is_no_snapshot() {
    let course = plain();
    let (_dir, snapshot) = beside();
    course.edit(ONLY_DECK, "header(", "headr(");
    let ran = course.build(&["--snapshot", &snapshot]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("no snapshot"), "{}", ran.stderr);
    assert!(!Path::new(&snapshot).exists());
}

/// Makes pages in one language only, so that a build of everything executes each deck once.
fn with_few_pages(course: &Course) {
    course.edit(
        "course.xml",
        "</course>",
        "<output-targets><output-target name=\"shared\"><path>output/shared</path>\
         <languages><language>en</language></languages><formats><format>html</format></formats>\
         <kinds><kind>code-along</kind><kind>completed</kind></kinds></output-target></output-targets></course>",
    );
}

/// What differs from run to run makes no page another one, where `contrib/parity` says so.
#[test]
fn addresses_in_pages_do_not_matter_and_words_do() {
    let course = two_decks("import random\nprint(f'<A at 0x{random.getrandbits(44) + 2**44:x}>')");
    with_few_pages(&course);
    let (_dir, snapshot) = beside();
    built(&course, &["--snapshot", &snapshot]);
    let ran = built(&course, &["--force", DECK, "--verify-against", &snapshot]);
    assert!(
        total(&ran, "comparison")["similar"].as_u64().unwrap() > 0,
        "{}",
        ran.stdout
    );
    course.write(OTHER, deck("print('another')"));
    let ran = course.build(&["--verify-against", &snapshot]);
    assert_eq!(ran.code, 1);
    let changed = changes(&ran, "changed");
    assert!(
        !changed.is_empty() && changed.iter().all(|path| path.ends_with(".html")),
        "{changed:#?}"
    );
    let people = course.clm(&["build", "--verify-against", &snapshot]);
    assert!(people.stdout.contains("cell 2"), "{}", people.stdout);
}

/// The ids of cells are digests of sources that a page may not show.
#[test]
fn ids_of_cells_hide_no_difference_and_are_none() {
    let course = one_deck("# %%\nx = 1\n\n# %%\nprint('here')\n");
    with_few_pages(&course);
    let (_dir, snapshot) = beside();
    built(&course, &["--snapshot", &snapshot]);
    course.edit(ONLY_DECK, "x = 1", "x = 2");
    let ran = course.build(&["--verify-against", &snapshot]);
    assert_eq!(ran.code, 1, "{}\n{}", ran.stdout, ran.stderr);
    let differences = data(&ran, "difference");
    // The code-along page shows neither.
    assert_eq!(differences.len(), 1, "{differences:#?}");
    let path = differences[0]["path"].as_str().unwrap();
    assert!(path.contains("Completed"), "{path}");
    let first = &differences[0]["first"];
    assert_eq!(
        (&first["before"], &first["after"]),
        (&"1".into(), &"2".into()),
        "{first}"
    );
}

#[test]
fn a_part_of_a_build_is_neither_kept_nor_compared() {
    let course = plain();
    let (_dir, snapshot) = beside();
    let (_other, kept) = beside();
    built(&course, &["--snapshot", &kept]);
    for part in [
        &["-L", "en"][..],
        &["--kinds", "completed"],
        &["--formats", "notebook"],
        &["-T", "shared"],
        &["--only-sections", "1"],
        &["--fast"],
        &["--only", ONLY_DECK],
        &["--shard", "1/2"],
        &["--affected-by", "HEAD"],
    ] {
        for wanted in [["--snapshot", &snapshot], ["--verify-against", &kept]] {
            let ran = course.clm(&[&["build"], &wanted[..], part].concat());
            assert_eq!(ran.code, 2, "{part:?} {wanted:?}: {}", ran.stderr);
            assert!(ran.stderr.contains("cannot be used"), "{}", ran.stderr);
            assert!(!Path::new(&snapshot).exists());
        }
    }
}

#[test]
fn a_damaged_snapshot_is_no_base_of_a_comparison() {
    let course = plain();
    let (_dir, snapshot) = beside();
    built(&course, &["--snapshot", &snapshot]);
    let copy = Path::new(&snapshot).join(COPIES.strip_prefix("output/shared/").unwrap());
    let copy = copy.join("numbers.csv");
    let refused = |says: &str| {
        let ran = course.clm(&["build", "--verify-against", &snapshot]);
        assert_eq!(ran.code, 2, "{}\n{}", ran.stdout, ran.stderr);
        for part in [says, "numbers.csv", "hint: "] {
            assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
        }
    };
    let content = std::fs::read(&copy).unwrap();
    std::fs::write(&copy, "damaged").unwrap();
    refused("was changed since the snapshot was made");
    std::fs::remove_file(&copy).unwrap();
    refused("has lost its file");
    // Another snapshot can take its place all the same, and so can the file.
    std::fs::write(&copy, &content).unwrap();
    built(&course, &["--verify-against", &snapshot]);
    std::fs::remove_file(&copy).unwrap();
    built(&course, &["--snapshot", &snapshot]);
    built(&course, &["--verify-against", &snapshot]);
}
