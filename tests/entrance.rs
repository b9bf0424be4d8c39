//! What people type in the first five minutes: every mistake is answered with what to do.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Course, Ran, Watching, ran};

const DECK: &str = "slides/m/topic_010_a/slides_a.py";
const OTHER: &str = "slides/m/topic_020_b/slides_b.py";
const DIAGRAM: &str = "slides/m/topic_010_a/pu/d.pu";

fn deck(title: &str) -> String {
    format!(
        "# j2 from 'macros.j2' import header\n# {{{{ header(\"{title}\", \"{title}\") }}}}\n\n\
         # %% [markdown] lang=\"en\"\n#\n# Prose\n\n# %% tags=[\"keep\"]\nprint(1)\n"
    )
}

/// Two topics with a deck each, and a diagram.
fn course() -> Course {
    let course = Course::with_topics(&["a", "b"]);
    course.write(DECK, deck("One"));
    course.write(OTHER, deck("Two"));
    course.write(DIAGRAM, "@startuml\na -> b\n@enduml\n");
    course
}

/// clm in a directory, whatever is installed.
fn clm_in(dir: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clm"));
    command.args(args).current_dir(dir).stdin(Stdio::null());
    for name in ["CLM_STATE_DIR", "CI", "GITHUB_ACTIONS", "GITLAB_CI"] {
        command.env_remove(name);
    }
    ran(command.output().unwrap())
}

/// What would be made, as `--dry-run` lists it.
fn stale(dir: &Path, spec: &str) -> Vec<String> {
    let ran = clm_in(dir, &["build", spec, "--dry-run"]);
    assert_eq!(ran.code, 0, "{spec}: {}", ran.stderr);
    let lines = ran.stdout.lines();
    let names = lines.map(|line| line.split(':').next().unwrap().to_owned());
    names.collect()
}

/// Expects an error of usage.
fn refused(dir: &Path, args: &[&str], expected: &[&str]) {
    let ran = clm_in(dir, args);
    assert_eq!(ran.code, 2, "{args:?}: {}{}", ran.stdout, ran.stderr);
    for text in expected {
        assert!(
            ran.stderr.contains(text),
            "{args:?}: {text:?} is not in\n{}",
            ran.stderr
        );
    }
}

#[test]
fn a_directory_is_the_course_in_it() {
    let course = course();
    let root = course.root();
    let all = stale(&root, "course.xml");
    assert!(all.len() > 20, "{all:?}");
    assert_eq!(stale(&root, "."), all);
    let outside = tempfile::tempdir().unwrap();
    assert_eq!(stale(outside.path(), root.to_str().unwrap()), all);
    // Other commands take it as well, and also directories in the course.
    for args in [&["check-spec", "."][..], &["status", "slides"]] {
        let ran = clm_in(&root, args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
    }
    assert_eq!(stale(&root, "slides/m"), all);
}

#[test]
fn a_source_is_built_alone() {
    let course = course();
    let root = course.root();
    let is_about = |actions: &[String], names: &[&str]| {
        let has = |action: &String| names.iter().any(|name| action.contains(name));
        !actions.is_empty() && actions.iter().all(has)
    };
    let deck = stale(&root, DECK);
    assert!(is_about(&deck, &["slides_a.py"]), "{deck:?}");
    assert!(is_about(&stale(&root, DIAGRAM), &["d.pu"]));
    // From anywhere, in that course.
    let topic = course.path("slides/m/topic_010_a");
    assert_eq!(stale(&topic, "slides_a.py"), deck);
    let outside = tempfile::tempdir().unwrap();
    assert_eq!(
        stale(outside.path(), course.path(DECK).to_str().unwrap()),
        deck
    );
    // The directory of diagrams is one source, too.
    assert!(is_about(&stale(&topic, "pu"), &["d.pu"]));

    let built = course.build(&["--formats", "notebook", DECK]);
    assert_eq!(built.code, 0, "{}", built.stderr);
    assert!(is_about(
        &built
            .started()
            .iter()
            .map(|id| (*id).to_owned())
            .collect::<Vec<_>>(),
        &["slides_a.py"]
    ));
    assert!(course.outputs().keys().any(|path| path.contains("One")));
    assert!(!course.outputs().keys().any(|path| path.contains("Two")));

    // Commands for a whole course say so, and options that are about all of it.
    let build = format!("`clm build {DECK}`");
    refused(
        &root,
        &["watch", DECK],
        &["is a source of the course `course.xml`", &build],
    );
    refused(
        &root,
        &["build", DECK, "--affected-by", "HEAD"],
        &["`--affected-by` is about all of it"],
    );
}

#[test]
fn without_a_course_it_says_how_to_get_one() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for args in [&["build"][..], &["watch"], &["status"]] {
        refused(
            dir,
            args,
            &[
                "there is no `course.xml` in",
                "hint: start one with `clm new DIR`, or name a folder",
            ],
        );
    }
    std::fs::create_dir(dir.join("notes")).unwrap();
    std::fs::write(dir.join("notes/a.txt"), "").unwrap();
    refused(
        dir,
        &["build", "notes/a.txt"],
        &[
            "`notes/a.txt` belongs to no course",
            "`clm build notes`",
            "`clm new DIR`",
        ],
    );
    std::fs::write(dir.join("pom.xml"), "<project/>").unwrap();
    std::fs::create_dir(dir.join("slides")).unwrap();
    refused(dir, &["build"], &["`clm build pom.xml`"]);
    refused(
        dir,
        &["build", "pom.xml"],
        &["pom.xml:1:1: error: this is no specification of a course: it begins with `<project>`"],
    );
}

#[test]
fn what_does_not_exist_has_a_similar_name() {
    let course = course();
    let root = course.root();
    for (spec, meant) in [
        ("cours.xml", "course.xml"),
        ("slides/m/topic_010_a/slides_aa.py", DECK),
        // The name alone says where it is.
        ("slides_b.py", OTHER),
    ] {
        let hint = format!("hint: did you mean `{meant}`?");
        refused(&root, &["build", spec], &["does not exist", &hint]);
    }
    refused(
        &root,
        &["build", "nowhere"],
        &["does not exist", "hint: name a course"],
    );
    // Of several specifications one must be named.
    course.write("course-specs/one.xml", course.read("course.xml"));
    course.write("course-specs/two.xml", course.read("course.xml"));
    refused(
        &root,
        &["build", "course-specs"],
        &["`clm build course-specs/one.xml`, `clm build course-specs/two.xml`"],
    );
}

#[test]
fn wrong_commands_and_options_are_answered() {
    let course = course();
    let root = course.root();
    for (args, tip) in [
        (&["serve"][..], "`clm watch --serve`"),
        (&["clean"], "`clm cache clean`"),
        (&["init"], "`clm new DIR`"),
        (&["cache", "clear"], "`clm cache clean`"),
        (&["bild"], "a similar subcommand exists: 'build'"),
        (&["--serve"], "`clm watch --serve`"),
        (&["course.xml"], "`clm build course.xml`"),
        (&["build", "--no-html"], "here: `--formats notebook,code`"),
        (&["build", "course.xml", "output/"], "`-o output/`"),
        (&["build", DECK, OTHER], "`clm build --only slides/"),
    ] {
        refused(&root, args, &["error: ", "tip: ", tip, "Usage: clm"]);
    }
    for args in [&["help", "build"][..], &["--version"], &["cache", "--help"]] {
        assert_eq!(clm_in(&root, args).code, 0, "{args:?}");
    }
}

#[test]
fn mistakes_in_decks_and_their_names_are_warnings() {
    let course = course();
    course.write(
        DECK,
        format!("{}\n# %% [markdwn]\n# Text\n\n# %%[md]\n", deck("One")),
    );
    let dir = "slides/m/topic_010_a";
    course.write(
        &format!("{dir}/hello.py"),
        "import helper\n\n# %%\nprint(1)\n",
    );
    course.write(&format!("{dir}/helper.py"), "def f():\n    return '%%'\n");
    course.write(&format!("{dir}/data/cells.py"), "# %%\n1\n");
    course.write(
        &format!("{dir}/voiceover_a.py"),
        "# %% [markdown] for_slide=\"title\" tags=[\"voiceover\"] lang=\"en\"\n# x\n",
    );
    let built = course.clm(&["build", "--formats", "notebook"]);
    assert_eq!(built.code, 0, "{}", built.stderr);
    for warning in [
        "slides_a.py:11: warning: `[markdwn]` is no kind of cell",
        "slides_a.py:14: warning: `%%[md]` begins no cell",
        "hello.py:3: warning: the script has cells, but is copied as data: decks are called `slides_*`",
        "hint: rename it to `slides_hello.py`",
    ] {
        let count = built.stderr.matches(warning).count();
        assert_eq!(count, 1, "{warning}\n{}", built.stderr);
    }
    assert_eq!(built.stderr.matches("the script has cells").count(), 1);
    // As in CLM it is copied, since that may be meant.
    assert!(
        course
            .outputs()
            .keys()
            .any(|path| path.ends_with("/hello.py"))
    );
}

#[test]
fn outputs_that_git_does_not_ignore_are_told_once() {
    const NOTE: &str = "note: git does not ignore `output/` and `img-generated/`, which clm writes";
    let git = |course: &Course, args: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@example.org", "-C"]);
        let output = command.arg(course.root()).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}");
    };
    let build = |course: &Course| {
        let ran = course.clm(&["build", "--formats", "notebook"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stderr
    };
    // Without a repository there is nothing to say, and nothing is remembered.
    let course = course();
    assert!(!build(&course).contains("git"));
    git(&course, &["init", "-q"]);
    assert!(!build(&course).contains("git"), "nothing was written");
    course.write(OTHER, deck("Third"));
    let said = build(&course);
    assert!(said.contains(NOTE), "{said}");
    assert!(said.contains("add the lines `output/` and `img-generated/` to `.gitignore`"));
    assert!(said.lines().last().unwrap().starts_with("Built "), "{said}");
    course.write(OTHER, deck("Fourth"));
    assert!(!build(&course).contains("git"), "it was said");

    // Neither what is ignored is told, nor what is committed, nor anything in a pipeline.
    let fresh = || {
        let clone = course.cloned();
        git(&clone, &["init", "-q"]);
        clone
    };
    let ignored = fresh();
    ignored.write(".gitignore", "output\nimg-generated\n");
    assert!(!build(&ignored).contains("git"));
    let committed = fresh();
    committed.write(".gitignore", "img-generated\n");
    committed.write("output/readme.txt", "outputs");
    git(&committed, &["add", "output"]);
    assert!(!build(&committed).contains("git"));
    let pipeline = fresh();
    let mut command = pipeline.command(&["build", "--formats", "notebook"]);
    let ran = ran(command.env("CI", "true").output().unwrap());
    assert!(!ran.stderr.contains("git does not"), "{}", ran.stderr);
    assert!(build(&fresh()).contains(NOTE), "the clone has it");
}

#[test]
fn a_second_watch_says_where_the_first_one_is() {
    let course = course();
    let watching = Watching::start(&course, &["--fast", "--serve", "127.0.0.1:0"]);
    watching.run();
    let ran = clm_in(&course.root(), &["watch", "--serve"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    for text in [
        "is watched already, by process",
        "its preview is at http://127.0.0.1:",
    ] {
        assert!(ran.stderr.contains(text), "{}", ran.stderr);
    }
    drop(watching);
}
