//! Options of `clm build`: what is broken is told whatever is asked for, and a daemon does what a build alone does.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::renderers::{PLANTUML, provide};
use crate::support::{Course, Ran, Watching};

const DECK: &str = "slides/m/topic_010_a/slides_a.py";
const DIAGRAM: &str = "slides/m/topic_010_a/pu/d.pu";
const SENTENCE: &str = "Everything is up to date";

fn deck(prose: &str, code: &str) -> String {
    format!(
        "# j2 from 'macros.j2' import header\n# {{{{ header(\"Titel\", \"Title\") }}}}\n\n\
         # %% [markdown] lang=\"en\"\n#\n# {prose}\n\n# %% tags=[\"keep\"]\n{code}\n"
    )
}

fn course() -> Course {
    let course = Course::with_topics(&["a"]);
    course.write(DECK, deck("Prose", "print('one')"));
    course
}

/// `--check` and `--dry-run`, which make nothing.
fn looks(course: &Course) -> [Ran; 2] {
    ["--check", "--dry-run"].map(|option| course.clm(&["build", option]))
}

#[test]
fn a_check_of_a_broken_course_fails_and_never_says_that_it_is_up_to_date() {
    type Break = fn(&Course);
    let broken: [(&str, Break, i32); 6] = [
        (
            "an unknown topic",
            |course| {
                course.edit(
                    "course.xml",
                    "<topic>a</topic>",
                    "<topic>a</topic><topic>no</topic>",
                )
            },
            1,
        ),
        (
            "not UTF-8",
            |course| course.write(DECK, b"# %%\nprint('\xff')\n"),
            1,
        ),
        (
            "a template",
            |course| course.edit(DECK, "header(", "headr("),
            1,
        ),
        (
            "a template that does not parse",
            |course| course.edit(DECK, "{{ header", "{{ {{ header"),
            1,
        ),
        (
            "two sources for one output",
            |course| {
                course.write("slides/m/topic_010_a/slides_b.py", deck("Prose", "1"));
                course.write("slides/m/topic_010_a/img/d.png", "x");
                course.write("slides/m/topic_010_a/pu/d.pu", "@startuml\n@enduml\n");
                course.write("slides/m/topic_010_a/drawio/d.drawio", "<mxfile/>");
            },
            1,
        ),
        (
            "the specification",
            |course| course.edit("course.xml", "</course>", ""),
            2,
        ),
    ];
    for (what, break_it, code) in broken {
        let course = course();
        // Nothing but what is broken is stale, where that can be.
        assert_eq!(course.clm(&["build", "--formats", "notebook,code"]).code, 0);
        break_it(&course);
        for ran in looks(&course) {
            assert_eq!(ran.code, code, "{what}: {}{}", ran.stdout, ran.stderr);
            assert!(!ran.stderr.contains(SENTENCE), "{what}: {}", ran.stderr);
            assert!(ran.stderr.contains("error: "), "{what}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_check_tells_remembered_failures_and_other_errors_beside_what_is_up_to_date() {
    let course = course();
    course.built();
    for ran in looks(&course) {
        assert_eq!(ran.code, 0);
        assert!(
            ran.stderr.ends_with(&format!("{SENTENCE}\n")),
            "{}",
            ran.stderr
        );
    }
    course.write(DECK, deck("Prose", "1 / 0"));
    assert_eq!(
        course.clm(&["build", "--check"]).code,
        4,
        "it was not tried yet"
    );
    assert_eq!(course.build(&[]).code, 1);
    for ran in looks(&course) {
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(
            ran.stderr
                .contains("slides_a.py:9: error: ZeroDivisionError"),
            "{}",
            ran.stderr
        );
        assert!(!ran.stderr.contains(SENTENCE), "{}", ran.stderr);
    }
    // Everything that can be made is up to date, and a topic is missing.
    course.write(DECK, deck("Prose", "print('one')"));
    course.edit("course.xml", "</topics>", "<topic>no</topic></topics>");
    assert_eq!(course.build(&[]).code, 1);
    for ran in looks(&course) {
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(!ran.stderr.contains(SENTENCE), "{}", ran.stderr);
    }
}

#[test]
fn a_specification_after_force_or_only_is_the_course() {
    let course = course();
    let elsewhere = tempfile::tempdir().unwrap();
    let spec = course.path("course.xml");
    let build = |args: &[&str]| {
        let mut command = course.command(&["build", "--message-format", "json", "--fast"]);
        command.args(args).arg(&spec).current_dir(elsewhere.path());
        crate::support::ran(command.output().unwrap())
    };
    let first = build(&[]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    let forced = build(&["--force"]);
    assert_eq!(forced.code, 0, "{}{}", forced.stdout, forced.stderr);
    assert_eq!(forced.started(), first.started());
    let deck = course.path(DECK);
    let only = build(&["--force", deck.to_str().unwrap()]);
    assert_eq!(only.code, 0, "{}{}", only.stdout, only.stderr);
    assert!(!only.started().is_empty());
    // A file on which nothing depends is not forced in silence.
    course.write("notes.txt", "x");
    let ran = course.build(&["--fast", "--force", "notes.txt"]);
    assert_eq!(ran.code, 2, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("no output depends on `notes.txt`"));
}

/// What a build did: how it ended, what it began, and what was wrong.
fn gist(ran: &Ran) -> (i32, BTreeSet<String>, BTreeSet<String>) {
    let started = ran.started().into_iter().map(str::to_owned).collect();
    let errors = ran.errors().into_iter().map(|error| error.message.clone());
    (ran.code, started, errors.collect())
}

#[test]
fn every_option_does_through_a_daemon_what_it_does_without() {
    let (watched, alone) = (course(), course());
    for course in [&watched, &alone] {
        course.write(DIAGRAM, "@startuml\nclass A\n@enduml\n");
        course.built();
    }
    let watching = Watching::start(&watched, &[]);
    watching.until_settled(&watched);
    // Everything is up to date: what is begun is what was forced, and what was selected of it. The last column tells
    // whether something is.
    let rows: &[(&[&str], bool)] = &[
        (&[], false),
        (&["--force"], true),
        (&["--force", DIAGRAM], true),
        (&["--force", DECK, "--fast"], true),
        (&["--force", "--only", DIAGRAM], true),
        (&["--only", "no.py"], false),
        (&["--force", "no.py"], false),
        (&["--force", "--languages", "en", "--formats", "code"], true),
        (
            &["--force", "--kinds", "completed", "--formats", "notebook"],
            true,
        ),
        (
            &["--force", "--targets", "shared", "--formats", "notebook"],
            true,
        ),
        (&["--force", "--targets", "no"], false),
        (
            &["--force", "--only-sections", "Part", "--formats", "code"],
            true,
        ),
        (&["--force", "--only-sections", "no"], false),
        (&["--force", "--fast"], true),
        (&["--force", "--fast", "--fail-fast"], true),
        (&["--force", "--fast", "--offline"], true),
        (&["--force", "--fast", "--verbose"], true),
        (&["--force", "--saved", DIAGRAM], true),
        // These work alone.
        (&["--force", "--dry-run"], false),
        (&["--force", "--check"], false),
        (&["--output-dir", "elsewhere", "--fast"], true),
        (&["--data-dir", ".", "--fast"], false),
        (&["--force", "--fast", "--jobs", "1"], true),
        (&["--force", "--fast", "--workers", "plantuml=1"], true),
        (&["--image-mode", "shared", "--fast"], true),
        (&["--image-format", "svg", "--fast"], true),
        // Only pages have images inline, and these need executions.
        (&["--inline-images", "--fast"], false),
    ];
    for (row, begins) in rows {
        let rans = [(&watched, None), (&alone, Some("--no-daemon"))].map(|(course, also)| {
            let args: Vec<&str> = also.into_iter().chain(row.iter().copied()).collect();
            course.build(&args)
        });
        let [with, without] = rans.each_ref().map(gist);
        let said = format!("{row:?}\n{}\n{}", rans[0].stdout, rans[1].stdout);
        assert_eq!(with, without, "{said}");
        assert_eq!(!with.1.is_empty(), *begins, "{said}");
        let stale = |ran: &Ran| ran.stdout.matches("\"event\":\"stale\"").count();
        assert_eq!(stale(&rans[0]), stale(&rans[1]), "{said}");
        let is_part = row.contains(&"--image-mode") || row.contains(&"--image-format");
        if is_part || row.contains(&"--inline-images") {
            // Other settings make other outputs in the same places.
            for course in [&watched, &alone] {
                assert_eq!(course.build(&[]).code, 0, "{said}");
            }
        }
        assert_eq!(watched.outputs(), alone.outputs(), "{said}");
    }

    // A file of the author's in the place of an output.
    let page = "output/shared/course-en/Slides/Python/Completed/Part/01 Title.py";
    let settle = || {
        watching.until_settled(&watched);
        watched.built();
        alone.built();
        assert_eq!(watched.outputs(), alone.outputs());
    };
    for course in [&watched, &alone] {
        course.write(page, "the author's");
    }
    let rans = [
        watched.build(&["--no-replace"]),
        alone.build(&["--no-replace", "--no-daemon"]),
    ];
    let [with, without] = rans.each_ref().map(gist);
    assert_eq!((with.0, &with), (1, &without), "{}", rans[0].stdout);
    settle();
    // Settings that changed after the daemon began. It may have been faster than the client.
    for course in [&watched, &alone] {
        course.write("clm.toml", "[images]\nmode = \"shared\"\n");
    }
    assert_eq!(watched.build(&[]).code, 0);
    assert_eq!(alone.build(&["--no-daemon"]).code, 0);
    settle();
}

#[test]
fn a_client_that_finds_other_tools_works_alone() {
    // Another Java or jar is another tool only where PlantUML is found.
    provide(PLANTUML);
    let course = course();
    course.built();
    let watching = Watching::start(&course, &[]);
    watching.until_settled(&course);
    let elsewhere = tempfile::tempdir().unwrap();
    let dir = |name: &str| elsewhere.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &str, mode: u32| {
        let path = elsewhere.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    write("java/bin/java", "#!/bin/sh\n", 0o755);
    write("java/release", "JAVA_VERSION=\"99.1\"\n", 0o644);
    write("dot/dot", "#!/bin/sh\n", 0o755);
    write(
        "jupyter/kernels/k/kernel.json",
        "{\"argv\": [\"k\"]}",
        0o644,
    );
    std::fs::create_dir(dir("empty")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let (with_dot, with_nothing) = (
        format!("{}:{path}", dir("dot")),
        format!("{path}:{}", dir("empty")),
    );
    // Each variable, and whether other tools are found with it.
    let rows: &[(&str, String, bool)] = &[
        ("EDITOR", "x".to_owned(), false),
        ("PATH", with_nothing, false),
        ("PATH", with_dot, true),
        ("JAVA_HOME", dir("empty"), false),
        ("JAVA_HOME", dir("java"), true),
        ("PLANTUML_JAR", dir("none.jar"), true),
        ("CLM_TOOLS_DIR", dir("empty"), true),
        ("JUPYTER_PATH", dir("empty"), false),
        ("JUPYTER_PATH", dir("jupyter"), true),
        ("PYTHONPATH", dir("empty"), true),
    ];
    for (name, value, is_other) in rows {
        let mut command = course.command(&["build", "--fast", "--message-format", "json"]);
        let ran = crate::support::ran(command.env(name, value).output().unwrap());
        assert_eq!(ran.code, 0, "{name}={value}: {}{}", ran.stdout, ran.stderr);
        let is_alone = ran.notes().iter().any(|note| note.contains("other tools"));
        assert_eq!(is_alone, *is_other, "{name}={value}: {}", ran.stdout);
    }
}
