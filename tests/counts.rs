//! What a run says that it did: counts, failures of before, and tools that are missing.

use std::path::Path;

use clm::testing::events::{Event, Status};

use crate::support::courses::{DECK, OTHER, deck, two_decks, wait_until};
use crate::support::{Ran, Watching, ran};

/// Actions that failed, with whether each was replayed.
fn failures(ran: &Ran) -> Vec<(&str, bool)> {
    let failed = ran.events.iter().filter_map(|event| match event {
        Event::ActionFinished {
            action,
            status: Status::Failed,
            replayed,
            ..
        } => Some((action.as_str(), *replayed)),
        _ => None,
    });
    failed.collect()
}

#[test]
fn what_no_worker_made_is_written_and_a_restored_cache_builds_nothing() {
    let course = two_decks("print('one')");
    let first = course.built();
    let jobs = first.jobs().len() as u64;
    let counts = first.counts();
    assert_eq!(counts.built, jobs);
    assert_eq!(counts.written, first.started().len() as u64 - jobs);
    assert!(counts.written > 0 && counts.restored == 0);

    std::fs::remove_dir_all(course.path("output")).unwrap();
    let again = course.built();
    assert_eq!(again.jobs(), [""; 0]);
    assert_eq!(
        (again.counts().built, again.counts().written),
        (0, counts.written)
    );
    assert!(again.counts().restored > 0);
}

#[test]
fn a_failing_deck_is_one_line_and_a_failure_of_before_is_replayed() {
    let course = two_decks("1 / 0");
    let first = course.build(&[]);
    assert_eq!(first.code, 1);
    let failed = failures(&first);
    assert!(failed.len() >= 4, "{failed:?}");
    assert!(failed.iter().all(|(_, replayed)| !replayed), "{failed:?}");

    let second = course.build(&[]);
    assert_eq!(second.code, 1);
    let failed = failures(&second);
    assert!(failed.len() >= 4 && failed.iter().all(|(_, replayed)| *replayed));
    let not_made: u64 = second
        .events
        .iter()
        .map(|event| match event {
            Event::ActionFinished { not_made, .. } => *not_made,
            _ => 0,
        })
        .sum();

    let third = course.clm(&["build"]);
    let line = format!("still failing: {DECK} ({not_made} outputs not made)");
    let about_failures = third.stderr.lines().filter(|line| line.contains("fail"));
    let about_failures: Vec<&str> = about_failures.collect();
    assert_eq!(about_failures[0], line, "{}", third.stderr);
    assert_eq!(
        about_failures.len(),
        2,
        "and the last line: {}",
        third.stderr
    );

    // They are the outputs that come when it is mended.
    let without = course.outputs().len() as u64;
    course.write(DECK, deck("1 / 1"));
    course.built();
    assert_eq!(course.outputs().len() as u64 - without, not_made);
}

#[test]
fn a_run_that_goes_on_after_an_interruption_counts_as_one() {
    let signals = tempfile::tempdir().unwrap();
    let (begun, go) = (signals.path().join("begun"), signals.path().join("go"));
    let wait = |begun: &Path, go: &Path| {
        format!(
            "import pathlib, time\npathlib.Path({begun:?}).touch()\n\
             while not pathlib.Path({go:?}).exists():\n    time.sleep(0.01)"
        )
    };
    let course = two_decks(&wait(&begun, &go));
    let whole = two_decks("print('one')");
    whole.write(OTHER, deck("print('edited')"));
    let whole = whole.built().counts();

    let watching = Watching::start(&course, &[]);
    wait_until("the deck runs", || begun.exists());
    course.write(OTHER, deck("print('edited')"));
    let page = "output/shared/course-en/Slides/Html/Completed/Part/02 Title.html";
    wait_until("the edit is published", || {
        std::fs::read_to_string(course.path(page)).is_ok_and(|page| page.contains("edited"))
    });
    std::fs::write(&go, "").unwrap();
    let run = watching.run();
    assert!(run.was_interrupted());
    let counts = run.counts();
    assert_eq!((counts.built, counts.written), (whole.built, whole.written));
    // One execution serves both languages.
    assert_eq!(
        (counts.fresh, counts.failed),
        (whole.fresh, 0),
        "{counts:?}"
    );
}

#[test]
fn a_missing_tool_is_told_once_with_what_was_not_made() {
    let course = two_decks("print('one')");
    for number in 0..4 {
        let text = format!("@startuml\nclass A{number}\n@enduml\n");
        course.write(&format!("slides/m/topic_010_a/pu/d{number}.pu"), text);
    }
    let empty = tempfile::tempdir().unwrap();
    let without_tools = |args: &[&str]| {
        let mut command = course.bare_command(args);
        command
            .env("CLM_TOOLS_DIR", empty.path())
            .env("HOME", empty.path())
            .env_remove("PLANTUML_JAR");
        ran(command.output().unwrap())
    };
    let first = without_tools(&["build", "--message-format", "json"]);
    assert_eq!(first.code, 1);
    let errors: Vec<String> = first.errors().iter().map(|e| e.message.clone()).collect();
    let plantuml = errors.iter().filter(|error| error.contains("PlantUML"));
    let plantuml: Vec<&String> = plantuml.collect();
    assert_eq!(plantuml.len(), 1, "{errors:#?}");
    assert!(
        plantuml[0].ends_with("outputs of 4 sources not made"),
        "{plantuml:?}"
    );
    assert_eq!(
        errors.len(),
        3,
        "kernel, PlantUML and nbconvert: {errors:#?}"
    );
    assert!(first.errors().iter().all(|error| error.hint.is_some()));

    // Nothing of it is remembered, and it is as short every time.
    let people = without_tools(&["build"]);
    let lines = people.stderr.lines().count();
    assert!(lines <= 2 * errors.len() + 1, "{}", people.stderr);
    assert_eq!(course.build(&[]).code, 0);
}
