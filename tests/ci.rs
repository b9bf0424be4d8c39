//! Builds in pipelines: what their logs have, and the files with results, however a build ends.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use clm::testing::events::Event;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Course, Ran, Watching, ran};

const DECK: &str = "slides/m/topic_010_a/slides_a.py";
const WITHOUT_PAGES: [&str; 2] = ["--formats", "notebook,code"];
const REPORTS: [&str; 6] = [
    "--summary",
    "reports/summary.json",
    "--summary",
    "reports/summary.md",
    "--junit",
    "reports/junit.xml",
];

fn deck(code: &str) -> String {
    format!(
        "# j2 from 'macros.j2' import header\n# {{{{ header(\"Titel\", \"Title\") }}}}\n\n\
         # %% [markdown] lang=\"en\"\n#\n# Prose\n\n# %% tags=[\"keep\"]\n{code}\n"
    )
}

fn course() -> Course {
    let course = Course::with_topics(&["a"]);
    course.write(DECK, deck("print('one')"));
    course.mkdir("reports");
    course
}

/// A build in a pipeline whose environment has these variables.
fn in_pipeline(course: &Course, variables: &[(&str, &str)], args: &[&str]) -> Ran {
    let mut command = course.command(&[&["build"], args].concat());
    command.envs(variables.iter().copied());
    ran(command.output().unwrap())
}

/// The reports of the last build: JSON, Markdown, and the cases of JUnit as `suite|name|element inside`.
fn reports(course: &Course) -> (Value, String, Vec<String>) {
    let json = serde_json::from_str(&course.read("reports/summary.json")).unwrap();
    let xml = course.read("reports/junit.xml");
    (json, course.read("reports/summary.md"), cases(&xml))
}

fn cases(xml: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(xml).unwrap_or_else(|error| panic!("{error}\n{xml}"));
    let cases = document
        .descendants()
        .filter(|node| node.has_tag_name("testcase"));
    cases
        .map(|case| {
            let elements = case.children().filter(|node| node.is_element());
            let inside = elements.map(|node| node.tag_name().name());
            let inside: Vec<&str> = inside.filter(|name| *name != "system-out").collect();
            let suite = case.parent_element().unwrap().attribute("name").unwrap();
            let name = case.attribute("name").unwrap();
            format!("{suite}|{name}|{}", inside.join(","))
        })
        .collect()
}

#[test]
fn the_log_is_grouped_and_names_files_below_the_repository() {
    // The course is in a subdirectory of the repository.
    let repository = tempfile::tempdir().unwrap();
    std::fs::create_dir(repository.path().join(".git")).unwrap();
    let course = course();
    let root = repository.path().join("courses");
    let status = std::process::Command::new("cp")
        .arg("-r")
        .args([&course.root(), &root])
        .status();
    assert!(status.unwrap().success());
    std::fs::write(root.join("slides/m/topic_010_a/bad.py"), "# {{ header(").unwrap();
    let build = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = course.bare_command(&["build", "--no-daemon"]);
        command.args(WITHOUT_PAGES).args(args).current_dir(&root);
        command.envs(variables.iter().copied());
        let _ = std::fs::remove_dir_all(root.join("output"));
        let ran = ran(command.output().unwrap());
        let _ = std::fs::write(root.join(DECK), deck("print('two')"));
        ran
    };
    std::fs::write(
        root.join(DECK),
        deck("print('one')").replace("header(", "headr("),
    )
    .unwrap();
    let github = build(&[("GITHUB_ACTIONS", "true")], &["--verbose"]);
    let annotation = format!("::error file=courses/{DECK},line=");
    assert!(github.stdout.starts_with(&annotation), "{}", github.stdout);
    assert!(
        github.stderr.contains(&format!("courses/{DECK}:")),
        "{}",
        github.stderr
    );

    let github = build(&[("GITHUB_ACTIONS", "true")], &["--verbose"]);
    let (before, rest) = github
        .stderr
        .split_once("::group::What clm made\n")
        .unwrap();
    assert_eq!(before, "");
    let (made, after) = rest.split_once("::endgroup::\n").unwrap();
    assert!(made.contains(" written notebook "), "{made}");
    assert!(after.starts_with("Built 0, written"), "{after}");

    let gitlab = build(&[("GITLAB_CI", "true"), ("CI", "true")], &["--verbose"]);
    assert!(gitlab.stderr.contains("section_start:") && gitlab.stderr.contains("section_end:"));
    let asked = build(
        &[("GITLAB_CI", "true")],
        &["--verbose", "--message-format", "human"],
    );
    assert!(!asked.stderr.contains("section_"), "{}", asked.stderr);
    let asked = build(
        &[("GITHUB_ACTIONS", "true")],
        &["--ci", "--message-format", "json"],
    );
    assert!(
        asked.stdout.lines().all(|line| line.starts_with('{')),
        "{}",
        asked.stdout
    );
    assert!(!asked.events.is_empty() && !asked.stderr.contains("group"));

    // Names are relative to the working directory for people, and to the repository in any pipeline.
    for (variables, args, name) in [
        (&[][..], &[][..], DECK.to_owned()),
        (&[("CI", "true")][..], &[][..], format!("courses/{DECK}")),
        (&[][..], &["--ci"][..], format!("courses/{DECK}")),
    ] {
        std::fs::write(root.join(DECK), deck("1").replace("header(", "headr(")).unwrap();
        let ran = build(variables, args);
        assert_eq!(ran.code, 1);
        let line = ran
            .stderr
            .lines()
            .find(|line| line.contains("error: "))
            .unwrap();
        assert!(line.starts_with(&format!("{name}:")), "{line}");
        assert!(!ran.stderr.contains("group") && !ran.stderr.contains("section"));
    }
}

#[test]
fn nothing_that_authors_write_is_a_command_of_the_log() {
    let hostile =
        "one\\n::set-env name=A::b\\r::error::c\\n  ::endgroup::\\n##[group]x\\n##vso[task.x]y";
    let course = course();
    course.write(
        DECK,
        deck(&format!(
            "print('{hostile}')\nraise ValueError('{hostile}')"
        )),
    );
    course.edit(
        "course.xml",
        "</topics>",
        "<topic>no&#10;::stop-commands::t</topic></topics>",
    );
    for variables in [
        &[("GITHUB_ACTIONS", "true")][..],
        &[("TF_BUILD", "True")],
        &[("GITLAB_CI", "true")],
    ] {
        for args in [
            &[][..],
            &["--message-format", "human"],
            &["--check"],
            &["--message-format", "short"],
        ] {
            let ran = in_pipeline(&course, variables, args);
            assert_ne!(ran.code, 0);
            let all = format!("{}\n{}", ran.stdout, ran.stderr);
            assert!(all.contains("ValueError"), "{all}");
            let lines = all.split(['\n', '\r']).map(str::trim_start);
            let commands = lines.filter(|line| {
                line.starts_with("::") || line.contains("##[") || line.contains("##vso[")
            });
            let own = [
                "::error file=",
                "::error ::",
                "::warning file=",
                "::group::What clm made",
                "::endgroup::",
            ];
            for command in commands {
                let is_own =
                    own.iter().any(|own| command.starts_with(own)) && !command[3..].contains("\n");
                assert!(
                    is_own && variables[0].0 == "GITHUB_ACTIONS",
                    "{variables:?} {args:?}: {command:?}"
                );
                assert!(
                    command != "::endgroup::" || all.contains("::group::"),
                    "{all}"
                );
            }
        }
        let json = in_pipeline(&course, variables, &["--message-format", "json"]);
        assert!(!json.stdout.contains("##["), "{}", json.stdout);
        let told = json
            .events
            .iter()
            .any(|event| format!("{event:?}").contains("##[group]x"));
        assert!(told, "the event has it all: {}", json.stdout);
    }
}

#[test]
fn results_are_written_however_a_build_ends() {
    let course = course();
    let build = |args: &[&str]| {
        let _ = std::fs::remove_dir_all(course.path("reports"));
        course.mkdir("reports");
        let ran = course.clm(&[&["build"], &WITHOUT_PAGES[..], &REPORTS, args].concat());
        let (json, markdown, cases) = reports(&course);
        assert_eq!(json["exit_code"], ran.code, "{}", ran.stderr);
        (json, markdown, cases)
    };
    let is = |json: &Value, outcome: &str, mode: &str| {
        assert_eq!(
            (json["outcome"].as_str(), json["mode"].as_str()),
            (Some(outcome), Some(mode))
        );
    };

    let (json, markdown, cases) = build(&["--check"]);
    is(&json, "stale", "check");
    assert!(!json["stale_actions"].as_array().unwrap().is_empty());
    assert!(markdown.contains("Not up to date (16)"), "{markdown}");
    assert!(
        cases.iter().all(|case| case.ends_with("|failure")) && !cases.is_empty(),
        "{cases:?}"
    );

    let (json, markdown, cases) = build(&["--dry-run"]);
    is(&json, "success", "dry-run");
    assert!(markdown.contains("nothing was made"), "{markdown}");
    assert!(
        cases.iter().all(|case| case.ends_with("|skipped")) && !cases.is_empty(),
        "{cases:?}"
    );

    let (json, markdown, cases) = build(&[]);
    is(&json, "success", "build");
    assert!(json["written"].as_u64().unwrap() > 0 && json["duration_ms"].is_u64());
    assert!(
        markdown.starts_with("## clm: `course.xml` is up to date\n"),
        "{markdown}"
    );
    assert!(
        cases
            .iter()
            .all(|case| case.starts_with("slides/m/topic_010_a|")),
        "{cases:?}"
    );

    let (json, _, cases) = build(&[]);
    is(&json, "success", "build");
    assert_eq!(json["written"], 0);
    assert_eq!(cases, Vec::<String>::new());

    course.edit("course.xml", "</topics>", "<topic>no</topic></topics>");
    let (json, markdown, cases) = build(&[]);
    is(&json, "failure", "build");
    assert!(
        markdown.contains("### Errors\n\n- `course.xml:"),
        "{markdown}"
    );
    assert_eq!(cases, ["course|course.xml|error"]);

    course.write("clm.toml", "[notebook]\nodd = 1\n");
    let (json, markdown, cases) = build(&[]);
    is(&json, "invalid", "build");
    assert_eq!(json["diagnostics"][0]["file"], "clm.toml");
    assert!(markdown.contains("could not be built"), "{markdown}");
    assert_eq!(cases, ["course|clm.toml|error"]);

    course.remove("clm.toml");
    course.write("course.xml", "<course><name>");
    for args in [&[][..], &["--check"], &["--dry-run"]] {
        let (json, markdown, cases) = build(args);
        assert_eq!(json["outcome"], "invalid");
        assert_eq!(json["diagnostics"][0]["file"], "course.xml");
        assert!(markdown.contains("`course.xml:"), "{markdown}");
        assert_eq!(cases, ["course|course.xml|error"]);
    }
    course.remove("course.xml");
    let (json, markdown, _) = build(&["course.xml"]);
    is(&json, "invalid", "build");
    assert!(markdown.contains("### Errors"), "{markdown}");
}

#[test]
fn differences_of_two_builds_are_results_too() {
    let course = course();
    crate::support::courses::without_pages(&course);
    let elsewhere = tempfile::tempdir().unwrap();
    let dir = elsewhere.path().join("snapshot");
    let dir = dir.to_str().unwrap();
    let build = |args: &[&str]| {
        let ran = course.clm(&[&["build"], &REPORTS[..], args].concat());
        let (json, markdown, cases) = reports(&course);
        assert_eq!(json["exit_code"], ran.code, "{}", ran.stderr);
        (json, markdown, cases)
    };
    assert_eq!(build(&["--snapshot", dir]).0["outcome"], "success");
    assert_eq!(build(&["--verify-against", dir]).0["outcome"], "success");
    course.write(DECK, deck("print('two')"));
    let (json, markdown, cases) = build(&["--verify-against", dir]);
    assert_eq!(json["outcome"], "failure");
    assert!(markdown.contains("`the outputs differ"), "{markdown}");
    assert!(
        cases.contains(&"course|course|error".to_owned()),
        "{cases:?}"
    );
    let (json, markdown, _) = build(&["--verify"]);
    assert_eq!(
        (&json["outcome"], &json["mode"]),
        (&"success".into(), &"verify".into())
    );
    assert!(markdown.contains("was verified"), "{markdown}");
}

#[test]
fn failures_have_their_cell_and_traceback_and_what_needs_them_is_skipped() {
    let course = course();
    course.write(DECK, deck("print('```')\nraise ValueError('<b>no</b>')"));
    let ran = course.clm(&[&["build", "--languages", "en"], &REPORTS[..]].concat());
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let (json, markdown, cases) = reports(&course);
    assert_eq!(json["outcome"], "failure");
    let item = format!("- `{DECK}:10`, cell 4: `ValueError: <b>no</b>`\n");
    assert!(markdown.contains(&item), "{markdown}");
    assert!(markdown.contains("text\n"), "{markdown}");
    let executed = format!("slides/m/topic_010_a|execute {DECK} en|failure");
    assert!(cases.contains(&executed), "{cases:?}");
    let completed = cases
        .iter()
        .find(|case| case.contains("|html ") && case.ends_with("|skipped"));
    assert!(completed.is_some(), "{cases:?}");
}

/// Waits until the build executes the deck, which never ends.
fn until_it_executes(stdout: std::process::ChildStdout) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let event: Event = serde_json::from_str(&line).unwrap();
        if matches!(&event, Event::ActionStarted { action, .. } if action.starts_with("execute ")) {
            return;
        }
    }
    panic!("nothing is executed");
}

#[test]
fn results_are_written_when_a_build_is_stopped() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let course = course();
        course.write(DECK, deck("import time\ntime.sleep(600)"));
        let args = [
            &["build", "--message-format", "json", "-L", "en"],
            &REPORTS[..],
        ]
        .concat();
        let mut command = course.command(&args);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        until_it_executes(child.stdout.take().unwrap());
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let ended = ran(child.wait_with_output().unwrap());
        assert_eq!(ended.code, 130, "{}", ended.stderr);
        let (json, markdown, cases) = reports(&course);
        assert_eq!(
            (&json["outcome"], &json["exit_code"]),
            (&"interrupted".into(), &130.into())
        );
        assert!(
            markdown.contains("was stopped before it was done"),
            "{markdown}"
        );
        assert!(
            cases.contains(&"course|course|error".to_owned()),
            "{cases:?}"
        );
    }
}

#[test]
fn results_are_written_when_a_daemon_does_the_work() {
    let course = course();
    let watching = Watching::start(&course, &[]);
    watching.run();
    course.write(DECK, deck("raise ValueError('no')"));
    let ran = course.clm(&[&["build"], &REPORTS[..]].concat());
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let (json, markdown, cases) = reports(&course);
    assert_eq!(
        (&json["outcome"], &json["mode"]),
        (&"failure".into(), &"build".into())
    );
    assert!(markdown.contains("ValueError: no"), "{markdown}");
    assert!(
        cases.iter().any(|case| case.ends_with("|failure")),
        "{cases:?}"
    );

    // A build that is stopped leaves the daemon alone, and still says what happened. The deck waits only when it is
    // executed for that build.
    let elsewhere = tempfile::tempdir().unwrap();
    let flag = elsewhere.path().join("wait");
    let code = format!("import os, time\ntime.sleep(600 if os.path.exists({flag:?}) else 0)");
    course.write(DECK, deck(&code));
    assert_eq!(course.clm(&["build"]).code, 0);
    std::fs::write(&flag, "").unwrap();
    let args = [
        &["build", "--message-format", "json"],
        &REPORTS[..],
        &["--force"],
    ]
    .concat();
    let mut command = course.command(&args);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    until_it_executes(child.stdout.take().unwrap());
    kill(
        Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(reports(&course).0["outcome"], "interrupted");
    assert_eq!(course.clm(&["status"]).code, 0, "the daemon is still there");
}

#[test]
fn a_file_that_is_no_report_is_never_replaced() {
    let course = course();
    let spec = course.read("course.xml");
    course.write("notes.md", "# Mine\n");
    course.write("package.json", "{\"name\": \"mine\"}\n");
    std::os::unix::fs::symlink(course.path("notes.md"), course.path("link.md")).unwrap();
    for (args, message) in [
        (&["--junit", "course.xml"][..], "is no earlier report"),
        (&["--summary", "course.xml"], "is no earlier report"),
        (&["--summary", "notes.md"], "is no earlier report"),
        (&["--summary", "link.md"], "is no earlier report"),
        (&["--summary", "package.json"], "is no earlier report"),
        (&["--summary", "slides"], "it is a directory"),
        (
            &["--junit", "nowhere/junit.xml"],
            "there is no directory `nowhere`",
        ),
        (
            &["--junit", "a.xml", "--summary", "./a.xml"],
            "name the same file",
        ),
        (
            &["--summary", "a.json", "--trace", "a.json"],
            "name the same file",
        ),
    ] {
        let ran = course.clm(&[&["build"], &WITHOUT_PAGES[..], args].concat());
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(
            ran.stderr.contains(message) && ran.stderr.contains("hint: "),
            "{args:?}: {}",
            ran.stderr
        );
        assert!(!course.path("output").exists(), "nothing was built");
    }
    assert_eq!(course.read("course.xml"), spec);
    assert_eq!(course.read("notes.md"), "# Mine\n");
    // An empty file is what `mktemp` makes, and earlier reports are replaced.
    course.write("reports/summary.json", "");
    for _ in 0..2 {
        let ran = course.clm(&[&["build"], &WITHOUT_PAGES[..], &REPORTS].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let left = std::fs::read_dir(course.path("reports")).unwrap();
    assert_eq!(left.count(), 3, "no unfinished file stays");
    let ran = course.clm(
        &[
            &["build"],
            &WITHOUT_PAGES[..],
            &["--summary", "/dev/stdout"],
        ]
        .concat(),
    );
    assert!(
        ran.stdout.contains("\"outcome\": \"success\""),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_summary_goes_to_any_directory_and_after_what_was_printed() {
    let course = course();
    // A disk in memory, which is below `/dev`.
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        let dir = tempfile::tempdir_in(memory).unwrap();
        let file = dir.path().join("summary.json");
        let option = ["--summary", file.to_str().unwrap()];
        for _ in 0..2 {
            let ran = course.clm(&[&["build"], &WITHOUT_PAGES[..], &option].concat());
            assert_eq!(ran.code, 0, "{}", ran.stderr);
        }
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with('{') && text.contains("\"outcome\": \"success\""),
            "{text}"
        );
    }
    let path = course.path("reports/log");
    let log = std::fs::File::create(&path).unwrap();
    let args = [
        &["build"],
        &WITHOUT_PAGES[..],
        &["--summary", "/dev/stdout"],
    ];
    let mut command = course.command(&args.concat());
    let status = command
        .stderr(log.try_clone().unwrap())
        .stdout(log)
        .status();
    assert!(status.unwrap().success());
    let text = std::fs::read_to_string(path).unwrap();
    let (printed, summary) = text.split_at(text.find("\n{\n").expect("JSON after the text") + 1);
    assert!(printed.contains("Built 0, "), "{text}");
    let summary: serde_json::Value = serde_json::from_str(summary).unwrap();
    assert_eq!(summary["outcome"], "success");
}

#[test]
fn the_page_of_a_job_is_appended_to_and_never_too_long() {
    let course = course();
    let page = course.path("reports/page");
    let build = |page: &Path| {
        let page = page.to_str().unwrap();
        in_pipeline(&course, &[("GITHUB_STEP_SUMMARY", page)], &WITHOUT_PAGES)
    };
    std::fs::write(&page, "# Of another command").unwrap();
    assert_eq!(build(&page).code, 0);
    assert_eq!(build(&page).code, 0);
    let text = course.read("reports/page");
    assert!(
        text.starts_with("# Of another command\n\n## clm: `course.xml` is up to date\n"),
        "{text}"
    );
    assert_eq!(text.matches("## clm: ").count(), 2);

    // A page that is nearly full, one that does not exist, and one that cannot be written.
    std::fs::write(&page, "x".repeat((1 << 20) - 100)).unwrap();
    let ran = build(&page);
    assert!(
        ran.code == 0 && ran.stderr.contains("is full"),
        "{}",
        ran.stderr
    );
    assert_eq!(course.read("reports/page").len(), (1 << 20) - 100);
    assert_eq!(build(&course.path("reports/new")).code, 0);
    assert!(course.read("reports/new").starts_with("## clm: "));
    for bad in [course.path("reports"), course.path("nowhere/page")] {
        let ran = build(&bad);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(
            ran.stderr.contains("warning: the page of the job"),
            "{}",
            ran.stderr
        );
    }
    course.write("course.xml", "<course>");
    assert_eq!(build(&course.path("reports/broken")).code, 2);
    assert!(course.read("reports/broken").contains("could not be built"));
}

#[test]
fn a_report_that_cannot_be_written_is_an_error_of_the_system() {
    // The directory goes away during the build.
    let course = course();
    let reports = course.path("reports");
    let code = format!("import os\nos.rmdir({reports:?})");
    course.write(DECK, deck(&code));
    let ran = course.clm(&["build", "-L", "en", "--junit", "reports/junit.xml"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    let said = ran.stderr.contains("error: cannot write `");
    assert!(said && ran.stderr.contains("junit.xml"), "{}", ran.stderr);
    let made = course.outputs().keys().any(|path| path.ends_with(".html"));
    assert!(made, "the build itself is done");
}
