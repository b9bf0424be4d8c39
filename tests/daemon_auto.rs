//! Builds for an editor leave a daemon behind, which makes what the next save asks for, and nothing else.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Course, Ran, Watching, ran};

const A: &str = "slides/m/topic_010_a/slides_a.py";
const B: &str = "slides/m/topic_020_b/slides_b.py";

/// A course; its daemons end with the test.
struct Desk {
    course: Course,
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = self.course.clm(&["daemon", "stop"]);
    }
}

fn deck(code: &str) -> String {
    format!(
        "# j2 from 'macros.j2' import header\n# {{{{ header(\"Titel\", \"Title\") }}}}\n\n# %% tags=[\"keep\"]\n{code}\n"
    )
}

impl Desk {
    fn new() -> Self {
        let course = Course::with_topics(&["a", "b"]);
        course.write(A, deck("print('one')"));
        course.write(B, deck("print('other')"));
        Self { course }
    }

    /// Runs clm with the setting that users have if they set nothing.
    fn clm(&self, args: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = self.course.command(args);
        command.env_remove("CLM_DAEMON_AUTO");
        command.envs(variables.iter().copied());
        ran(command.output().unwrap())
    }

    fn save(&self, file: &str) -> Ran {
        let args = ["build", "--message-format", "json", "--saved", file];
        let ran = self.clm(&args, &[]);
        assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
        ran
    }

    /// The daemon that `clm status` shows.
    fn daemon(&self) -> Option<Value> {
        let ran = self.course.clm(&["status", "--json"]);
        let status: Value = serde_json::from_str(&ran.stdout).unwrap();
        Some(status["daemon"].clone()).filter(|daemon| !daemon.is_null())
    }

    /// Waits for a daemon, which starts after the command has ended.
    fn started(&self) -> Value {
        let begun = std::time::Instant::now();
        loop {
            if let Some(daemon) = self.daemon() {
                return daemon;
            }
            let log = self.course.path(".clm/daemon.log");
            let log = std::fs::read_to_string(log).unwrap_or_default();
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "no daemon: {log}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether a build started a daemon. It would hold the lock or be about to, so its log exists.
    fn started_one(&self) -> bool {
        self.course.path(".clm/daemon.log").exists()
    }

    fn page(&self, name: &str) -> String {
        let page = format!("output/shared/course-en/Slides/Html/Completed/Part/{name}.html");
        self.course.read(&page)
    }
}

#[test]
fn the_second_save_is_made_by_the_daemon_that_the_first_one_left() {
    let desk = Desk::new();
    assert_eq!(desk.course.built().code, 0);
    desk.course.edit(A, "'one'", "'two'");
    desk.save(A);
    assert!(desk.page("01 Title").contains("two"));
    let daemon = desk.started();
    assert_eq!(daemon["reason"], "editor");
    assert_eq!(daemon["idle_exit_s"], 1800);
    assert!(
        daemon["memory"].as_u64().is_some_and(|bytes| bytes > 0),
        "{daemon}"
    );
    assert_eq!(
        daemon["last_run"],
        Value::Null,
        "it built something unasked"
    );

    desk.course.edit(A, "'two'", "'three'");
    desk.course.edit(B, "'other'", "'changed'");
    desk.save(A);
    assert!(desk.page("01 Title").contains("three"));
    let after = desk.started();
    assert_eq!(after["pid"], daemon["pid"]);
    assert_ne!(after["last_run"], Value::Null, "another process made it");
    // The other deck was changed as well, and nobody asked for it.
    assert!(!desk.page("02 Title").contains("changed"));
    // What it knows of changes is right: a build of everything makes the rest.
    let all = desk.course.build(&[]);
    assert_eq!(all.code, 0, "{}", all.stderr);
    assert!(desk.page("02 Title").contains("changed"));

    let status = desk.course.clm(&["status"]);
    for expected in ["started by a save in an editor", "30 minutes", "memory "] {
        assert!(
            status.stdout.contains(expected),
            "{expected}: {}",
            status.stdout
        );
    }
    let stop = desk.course.clm(&["daemon", "stop"]);
    assert_eq!(stop.code, 0, "{}", stop.stderr);
    assert_eq!(desk.daemon(), None);
}

#[test]
fn a_watch_takes_the_place_of_a_daemon_that_was_left_behind() {
    let desk = Desk::new();
    desk.save(A);
    let daemon = desk.started();
    assert_eq!(daemon["reason"], "editor");
    let watching = Watching::start(&desk.course, &[]);
    let run = watching.run();
    assert!(!run.sources().is_empty(), "{run:?}");
    let watch = desk.started();
    assert_ne!(watch["pid"], daemon["pid"]);
    assert_eq!(watch["reason"], Value::Null);
    assert!(desk.page("02 Title").contains("other"));
}

#[test]
fn a_daemon_is_left_behind_only_where_it_is_wanted() {
    let saved = ["build", "--saved", A];
    let none = [
        (&["build"][..], None),
        (&saved, Some(("CI", "true"))),
        (&saved, Some(("CLM_DAEMON_AUTO", "off"))),
        (&["build", "--no-daemon", "--saved", A], None),
        (&["build", "--check"], Some(("CLM_DAEMON_AUTO", "always"))),
    ];
    let desk = Desk::new();
    for (args, variables) in none {
        let ran = desk.clm(args, variables.as_slice());
        assert!(
            ran.code == 0 || args.contains(&"--check"),
            "{args:?}: {}",
            ran.stderr
        );
        assert!(!desk.started_one(), "{args:?} {variables:?}");
    }
    let wrong = desk.clm(&["build"], &[("CLM_DAEMON_AUTO", "sometimes")]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.stderr.contains("editor, always or off"),
        "{}",
        wrong.stderr
    );
    // A file that is not of the course asks for nothing.
    desk.course.write("notes.txt", "notes");
    desk.save("notes.txt");
    assert!(!desk.started_one());

    desk.course.write("clm.toml", "[daemon]\nauto = \"off\"\n");
    desk.course.edit(A, "'one'", "'two'");
    desk.save(A);
    assert!(!desk.started_one());
    desk.course
        .write("clm.toml", "[daemon]\nauto = \"always\"\n");
    let ran = desk.clm(&["build"], &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(desk.started()["reason"], "build");
}

#[test]
fn an_editor_with_other_tools_gets_a_daemon_of_its_own() {
    let desk = Desk::new();
    desk.save(A);
    let first = desk.started();
    desk.course.edit(A, "'one'", "'two'");
    let args = ["build", "--saved", A];
    let path = std::env::var("PATH").unwrap_or_default();
    let ran = desk.clm(&args, &[("PATH", &format!("{path}:/usr/games"))]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!ran.stderr.contains("daemon"), "{}", ran.stderr);
    assert!(desk.page("01 Title").contains("two"));
    let second = desk.started();
    assert_eq!(second["reason"], "editor");
    drop(first);
}
