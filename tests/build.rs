//! What a build makes, what it does not make again, and why.

use crate::support::Course;

const DECK: &str = "slides/m/topic_010_one/slides_one.py";
const OTHER: &str = "slides/m/topic_020_two/slides_two.py";
const DIAGRAM: &str = "slides/m/topic_010_one/pu/flow.pu";

const DECK_TEXT: &str = r#"# j2 from 'macros.j2' import header
# {{ header("Eins", "One") }}

# %% [markdown] lang="de"
# Ein Text.

# %% [markdown] lang="en"
# A text.

# %%
with open("data/numbers.csv") as file:
    total = sum(int(line) for line in file)
print("total", total)

# %% tags=["keep"]
total * 2
"#;

/// Two decks, a diagram with an include, a data file.
fn course() -> Course {
    let course = Course::with_topics(&["one", "two"]);
    course.write(DECK, DECK_TEXT);
    course.write("slides/m/topic_010_one/data/numbers.csv", "10\n20\n30\n");
    course.write(
        DIAGRAM,
        "@startuml\n!include common.iuml\nAlice -> Bob : hello\n@enduml\n",
    );
    course.write(
        "slides/m/topic_010_one/pu/common.iuml",
        "skinparam monochrome true\n",
    );
    course.write(
        "slides/m/topic_010_one/pu/alone.pu",
        "@startuml\nclass Alone\n@enduml\n",
    );
    course.write(
        OTHER,
        "# j2 from 'macros.j2' import header\n# {{ header(\"Zwei\", \"Two\") }}\n\n# %%\n1 + 2\n",
    );
    course
}

fn page(course: &Course, lang: &str, kind: &str, name: &str) -> String {
    let slides = if lang == "de" { "Folien" } else { "Slides" };
    let section = if lang == "de" { "Teil" } else { "Part" };
    let target = if kind == "Recording" {
        "speaker"
    } else {
        "trainer"
    };
    course.read(&format!(
        "output/{target}/course-{lang}/{slides}/Html/{kind}/{section}/{name}.html"
    ))
}

#[test]
fn a_build_makes_everything_and_a_second_one_nothing() {
    let course = course();
    let first = course.built();
    assert_eq!(first.counts().failed, 0);
    let completed = page(&course, "en", "Completed", "01 One");
    assert!(completed.contains("total 60"));
    assert!(completed.contains("A text.") && !completed.contains("Ein Text."));
    assert!(!page(&course, "de", "Code-Along", "01 Eins").contains("total 60"));
    let image = course.path("output/shared/course-de/Folien/Html/Completed/Teil/img/flow.png");
    assert!(std::fs::read(&image).unwrap().starts_with(b"\x89PNG"));
    assert!(
        course
            .path("slides/m/topic_010_one/img-generated/flow.png")
            .exists()
    );
    let before = course.outputs();
    // 2 bilingual decks in 36 places each, 3 files beside the decks of every language, format and kind.
    assert_eq!(before.len(), 2 * 36 + 3 * 36);

    let second = course.built();
    assert_eq!(second.started(), [""; 0]);
    let counts = second.counts();
    assert_eq!((counts.made(), counts.removed, counts.failed), (0, 0, 0));
    assert!(counts.fresh > 30);
    assert_eq!(course.outputs(), before);
}

#[test]
fn a_prose_edit_renders_pages_of_its_deck_and_starts_no_kernel() {
    let course = course();
    course.built();
    course.edit(DECK, "A text.", "Another text.");
    let ran = course.built();
    assert_eq!(
        ran.jobs(),
        [
            format!("html {DECK} en executed"),
            format!("html {DECK} en plain")
        ]
    );
    let reasons = ran.reasons(&format!("html {DECK} en executed")).join("; ");
    assert!(reasons.contains("page completed changed"), "{reasons}");
    assert!(page(&course, "en", "Completed", "01 One").contains("Another text."));
    assert!(page(&course, "en", "Completed", "01 One").contains("total 60"));
}

#[test]
fn a_code_edit_executes_its_deck_only() {
    let course = course();
    course.built();
    course.edit(DECK, "total * 2", "total * 3");
    let ran = course.built();
    let executed: Vec<&str> = ran
        .jobs()
        .into_iter()
        .filter(|job| job.starts_with("execute"))
        .collect();
    // The code is the same in both languages, so one run serves both.
    assert_eq!(executed, [format!("execute {DECK} de")]);
    assert!(
        ran.jobs().iter().all(|job| job.contains(DECK)),
        "{:?}",
        ran.jobs()
    );
    assert!(page(&course, "de", "Trainer", "01 Eins").contains("<pre>180</pre>"));
    assert!(ran.reasons(&format!("execute {DECK} de"))[0].starts_with("code changed"));
}

#[test]
fn a_data_edit_executes_the_decks_of_its_topic() {
    let course = course();
    course.built();
    course.write("slides/m/topic_010_one/data/numbers.csv", "1\n");
    let ran = course.built();
    assert!(
        ran.reasons(&format!("execute {DECK} de"))[0].starts_with("file data/numbers.csv changed")
    );
    assert!(ran.jobs().iter().all(|job| !job.contains(OTHER)));
    assert!(page(&course, "en", "Completed", "01 One").contains("total 1"));
}

#[test]
fn an_edit_of_an_included_file_renders_only_what_includes_it() {
    let course = course();
    course.built();
    course.write(
        "slides/m/topic_010_one/pu/common.iuml",
        "skinparam backgroundColor yellow\n",
    );
    let ran = course.built();
    assert_eq!(ran.jobs(), [format!("plantuml {DIAGRAM}")]);
    let reasons = ran.reasons(&format!("plantuml {DIAGRAM}"));
    assert_eq!(
        reasons,
        ["`slides/m/topic_010_one/pu/common.iuml`, which it reads, changed"]
    );
    let explained = course.clm(&["explain", "slides/m/topic_010_one/pu/common.iuml"]);
    assert!(
        explained
            .stdout
            .contains("reads slides/m/topic_010_one/pu/common.iuml"),
        "{}",
        explained.stdout
    );
}

#[test]
fn touching_starts_nothing_and_reverting_restores() {
    let course = course();
    course.built();
    let before = course.outputs();
    for path in [
        DECK,
        OTHER,
        DIAGRAM,
        "course.xml",
        "slides/m/topic_010_one/pu/common.iuml",
    ] {
        let text = course.read(path);
        course.write(path, text);
    }
    assert_eq!(course.built().started(), [""; 0]);

    let original = course.read(DECK);
    course.edit(DECK, "total * 2", "total * 3");
    course.edit(DIAGRAM, "hello", "goodbye");
    let changed = course.built();
    assert!(!changed.jobs().is_empty());
    course.write(DECK, original);
    course.edit(DIAGRAM, "goodbye", "hello");
    let reverted = course.built();
    assert_eq!(reverted.jobs(), [""; 0]);
    assert!(reverted.counts().restored > 0);
    assert_eq!(course.outputs(), before);
}

#[test]
fn deleting_a_deck_removes_its_outputs_and_nothing_else() {
    let course = course();
    course.built();
    let before = course.outputs();
    course.write("output/shared/course-de/mine.txt", "not of clm");
    course.remove(OTHER);
    course.write("slides/m/topic_020_two/keep.txt", "x");
    let ran = course.built();
    assert_eq!(ran.counts().removed, 36);
    let after = course.outputs();
    assert!(after.contains_key("shared/course-de/mine.txt"));
    for path in before.keys().filter(|path| !path.contains("02 ")) {
        assert!(after.contains_key(path), "{path} is gone");
    }
    assert!(after.keys().all(|path| !path.contains("02 ")));
    // A diagram that is gone takes its rendering in the source tree with it.
    course.remove(DIAGRAM);
    course.built();
    assert!(
        !course
            .path("slides/m/topic_010_one/img-generated/flow.png")
            .exists()
    );
    assert!(
        course
            .path("slides/m/topic_010_one/img-generated/alone.png")
            .exists()
    );
    assert!(
        course
            .outputs()
            .keys()
            .all(|path| !path.ends_with("flow.png"))
    );
}

#[test]
fn an_output_that_somebody_changed_is_restored_and_a_removed_one_too() {
    let course = course();
    course.built();
    let before = course.outputs();
    course.write(
        "output/shared/course-de/Folien/Html/Completed/Teil/01 Eins.html",
        "torn",
    );
    course.remove("output/shared/course-en/Slides/Html/Completed/Part/img/flow.png");
    course.remove("output/shared/course-en/Slides/Python/Completed/Part/01 One.py");
    let ran = course.built();
    assert_eq!(ran.jobs(), [""; 0]);
    assert_eq!(ran.counts().restored, 2);
    assert_eq!(course.outputs(), before);
}

#[test]
fn damaged_results_are_made_anew_and_cost_no_other_output() {
    let course = course();
    course.built();
    let before = course.outputs();
    let mut blobs = Vec::new();
    for dir in std::fs::read_dir(course.root().join(".clm/blobs")).unwrap() {
        for file in std::fs::read_dir(dir.unwrap().path()).unwrap() {
            blobs.push(file.unwrap().path());
        }
    }
    blobs.sort();
    assert!(blobs.len() > 2, "{blobs:?}");
    for damaged in [&blobs[..1], &blobs[..]] {
        for blob in damaged {
            let mut bytes = std::fs::read(blob).unwrap();
            bytes[100] ^= 1;
            std::fs::write(blob, bytes).unwrap();
        }
        std::fs::remove_dir_all(course.root().join("output")).unwrap();
        let ran = course.built();
        assert_ne!(ran.jobs(), [""; 0]);
        assert_eq!(course.outputs(), before);
        let ran = course.built();
        assert_eq!(ran.counts().made(), 0);
    }
}

#[test]
fn a_copy_of_the_course_elsewhere_restores_everything_from_the_cache() {
    let course = course();
    course.built();
    let before = course.outputs();
    let elsewhere = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("cp")
        .arg("-r")
        .arg(course.root())
        .arg(elsewhere.path().join("copy"))
        .status()
        .unwrap();
    assert!(status.success());
    let root = elsewhere.path().join("copy");
    std::fs::remove_dir_all(root.join("output")).unwrap();
    let output = course
        .command(&["build", "--message-format", "json"])
        .current_dir(&root)
        .output()
        .unwrap();
    let ran = crate::support::ran(output);
    assert_eq!(ran.code, 0);
    assert_eq!(ran.jobs(), [""; 0]);
    assert_eq!(crate::support::tree(&root.join("output")), before);
}

#[test]
fn check_and_dry_run_tell_and_write_nothing() {
    let course = course();
    let check = course.clm(&["build", "--check"]);
    assert_eq!(check.code, 4, "{}", check.stderr);
    assert!(!course.path("output").exists());
    let dry = course.clm(&["build", "--dry-run"]);
    assert_eq!(dry.code, 0);
    assert!(
        dry.stdout
            .contains(&format!("execute {DECK} de: it was never built")),
        "{}",
        dry.stdout
    );
    course.built();
    assert_eq!(course.clm(&["build", "--check"]).code, 0);
    course.edit(DECK, "total * 2", "total * 4");
    let check = course.clm(&["build", "--check"]);
    assert_eq!(check.code, 4);
    assert!(
        check.stdout.contains("code changed from"),
        "{}",
        check.stdout
    );
    assert!(!page(&course, "en", "Completed", "01 One").contains("<pre>240</pre>"));
}

#[test]
fn an_output_whose_source_is_gone_is_not_up_to_date() {
    let course = Course::with_topics(&["a"]);
    course.write(
        "slides/m/topic_010_a/slides_a.py",
        "# %% [markdown]\n# text\n",
    );
    course.write("slides/m/topic_010_a/data/n.csv", "1\n");
    let only = ["build", "--formats", "notebook,code", "--languages", "en"];
    let with = |more: &'static str| course.clm(&[&only[..], &[more]].concat());
    assert_eq!(course.clm(&only).code, 0);
    assert_eq!(with("--check").code, 0);
    course.remove("slides/m/topic_010_a/data/n.csv");
    let check = with("--check");
    assert_eq!(check.code, 4, "{}", check.stderr);
    assert!(!check.stderr.contains("Everything is up to date"));
    let expected = "Completed/Part/data/n.csv: nothing makes this output any more";
    assert!(
        with("--dry-run").stdout.contains(expected),
        "{}",
        check.stdout
    );
    assert_eq!(course.clm(&only).code, 0);
    assert_eq!(with("--check").code, 0);
}

#[test]
fn only_force_and_fast_choose_the_work() {
    let course = course();
    let fast = course.build(&["--fast"]);
    assert_eq!(fast.code, 0);
    assert!(
        fast.jobs().iter().all(|job| job.starts_with("plantuml")),
        "{:?}",
        fast.jobs()
    );
    assert!(
        course
            .path("output/shared/course-de/Folien/Notebooks/Completed/Teil/01 Eins.ipynb")
            .exists()
    );
    let only = course.build(&["--only", OTHER]);
    assert_eq!(only.code, 0);
    assert!(
        only.jobs().iter().all(|job| job.contains(OTHER)),
        "{:?}",
        only.jobs()
    );
    assert!(
        course
            .path("output/shared/course-de/Folien/Html/Completed/Teil/02 Zwei.html")
            .exists()
    );
    assert!(
        !course
            .path("output/shared/course-de/Folien/Html/Completed/Teil/01 Eins.html")
            .exists()
    );
    course.built();
    let forced = course.build(&["--force", OTHER]);
    assert!(
        !forced.jobs().is_empty() && forced.jobs().iter().all(|job| job.contains(OTHER)),
        "{:?}",
        forced.jobs()
    );
    let lost = course.build(&["--only", "nothing.txt"]);
    assert_eq!(lost.code, 2, "{}", lost.stdout);
}

#[test]
fn what_only_selects_gets_everything_that_it_needs() {
    let course = Course::with_topics(&["a"]);
    course.write("clm.toml", "[images]\ninline = true\n");
    let deck = "slides/m/topic_010_a/slides_a.py";
    course.write(
        deck,
        "# j2 from 'macros.j2' import header\n# {{ header(\"Eins\", \"One\") }}\n\n\
         # %% [markdown] lang=\"en\"\n# <img src=\"img/d.png\"> <img src=\"img/e.png\">\n",
    );
    for name in ["d", "e"] {
        let diagram = format!("slides/m/topic_010_a/pu/{name}.pu");
        course.write(&diagram, format!("@startuml\nA -> B: {name}\n@enduml\n"));
    }
    // The pages and notebooks that contain one of the pictures contain the other one, too.
    let diagram = "slides/m/topic_010_a/pu/d.pu";
    let only = course.build(&["--only", diagram]);
    assert_eq!(only.code, 0, "{}{}", only.stdout, only.stderr);
    assert_eq!(only.counts().failed, 0);
    let all = course.build(&[]);
    assert_eq!(all.code, 0);
    assert!(
        all.jobs().iter().all(|job| !job.contains("plantuml")),
        "{:?}",
        all.jobs()
    );
}

#[test]
fn an_inlined_picture_outside_of_the_course_is_not_embedded() {
    let course = Course::with_topics(&["a"]);
    course.write("clm.toml", "[images]\ninline = true\n");
    course.write(
        "slides/m/topic_010_a/slides_a.py",
        "# j2 from 'macros.j2' import header\n# {{ header(\"Eins\", \"One\") }}\n\n\
         # %% [markdown] lang=\"en\"\n# <img src=\"img/d.png\">\n",
    );
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(outside.path(), "secret").unwrap();
    let link = course.path("slides/m/topic_010_a/img/d.png");
    std::fs::create_dir_all(link.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(outside.path(), link).unwrap();
    let ran = course.build(&["--formats", "notebook"]);
    let notebook =
        course.read("output/shared/course-en/Slides/Notebooks/Completed/Part/01 One.ipynb");
    assert!(notebook.contains("img/d.png"), "{notebook}");
    assert!(!notebook.contains("c2VjcmV0"), "its bytes are embedded");
    // It is said once, and the build comes to an end.
    assert!(
        ran.stderr.contains("img/d.png") || ran.stdout.contains("img/d.png"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_selection_leaves_the_other_outputs_alone() {
    let course = course();
    course.built();
    let before = course.outputs();
    let ran = course.build(&[
        "--languages",
        "en",
        "--kinds",
        "completed",
        "--formats",
        "notebook",
    ]);
    assert_eq!((ran.code, ran.counts().removed), (0, 0));
    assert_eq!(course.outputs(), before);
    let elsewhere = course.build(&["--output-dir", "elsewhere", "--targets", "shared"]);
    assert_eq!(elsewhere.code, 0);
    assert_eq!(
        elsewhere
            .jobs()
            .iter()
            .filter(|job| job.starts_with("execute"))
            .count(),
        0
    );
    assert!(
        course
            .path("elsewhere/shared/course-de/Folien/Html/Completed/Teil/01 Eins.html")
            .exists()
    );
    assert_eq!(course.outputs(), before);
}

#[test]
fn the_summary_is_written() {
    let course = course();
    let ran = course.clm(&["build", "--summary", "summary.json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let last = ran.stderr.lines().last().unwrap();
    assert!(
        last.starts_with("Built ") && last.contains(", failed 0 in "),
        "{last}"
    );
    let summary: serde_json::Value = serde_json::from_str(&course.read("summary.json")).unwrap();
    assert_eq!(summary["failed"], 0);
    let written = summary["written"].as_u64().unwrap();
    assert!(
        written > 20 && summary["built"].as_u64().unwrap() > 0,
        "{summary}"
    );
    assert!(summary["written_outputs"].as_array().unwrap().len() as u64 > written);
    assert_eq!(
        summary["built_actions"].as_array().unwrap().len() as u64,
        summary["built"].as_u64().unwrap()
    );
}
