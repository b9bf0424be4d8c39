//! Decks that change sources while they run: they are set aside with an error, and everything else is built.

use std::path::Path;

use clm::testing::events::Diagnostic;

use crate::support::courses::{DECK, OTHER, deck, wait_until};
use crate::support::{Course, Watching};

const DATA: &str = "slides/m/topic_010_a/data.csv";
const OTHER_DATA: &str = "slides/m/topic_020_b/other.csv";
/// What the errors say.
const SAID: &str = "changed again and again";

fn page(number: u32) -> String {
    format!("output/shared/course-en/Slides/Html/Completed/Part/0{number} Title.html")
}

/// Code that notes in `log` that it ran, and then writes something else to `file` every time.
fn writing(log: &Path, file: &Path) -> String {
    format!(
        "import time, pathlib\nwith open({log:?}, 'a') as log:\n    log.write('x')\n\
         pathlib.Path({file:?}).write_text(str(time.time_ns()))"
    )
}

fn runs(log: &Path) -> usize {
    std::fs::read(log).map_or(0, |log| log.len())
}

#[test]
fn a_watch_sets_a_restless_deck_aside_and_publishes_everything_else() {
    let course = Course::with_topics(&["a", "b"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let log = elsewhere.path().join("log");
    let code = writing(&log, &course.path(DATA));
    course.write(DATA, "0");
    course.write(DECK, deck(&format!("{code}\ntime.sleep(1)")));
    course.write(OTHER, deck("print('other')"));
    let watching = Watching::start(&course, &[]);
    let run = watching.run_until(|run| !run.errors().is_empty());
    let error = run.errors()[0];
    assert!(error.message.contains(SAID), "{error}");
    assert!(error.message.contains(DATA), "{error}");
    assert_eq!(error.file.as_deref(), Some(DECK));
    // Each language five times at most.
    let first = runs(&log);
    assert!((5..=10).contains(&first), "{first}");
    assert!(course.read(&page(2)).contains("other"));
    let status = course.clm(&["status"]);
    assert!(status.stdout.contains(SAID), "{}", status.stdout);

    // It is tried again once, and no more.
    watching.run_until(|run| !run.errors().is_empty() && runs(&log) > first);
    let again = runs(&log);
    assert!(again <= first + 2, "{first} {again}");
    course.edit(OTHER, "other", "another");
    let is_shown = |page: &str, text: &str| {
        let read = std::fs::read_to_string(course.path(page));
        read.is_ok_and(|page| page.contains(text))
    };
    wait_until("others are built", || is_shown(&page(2), "another"));
    let ran = course.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert!(
        ran.errors()
            .iter()
            .all(|error| error.message.contains(SAID))
    );
    assert_eq!(runs(&log), again);

    // When it is corrected, it is built.
    course.write(DECK, deck("print('calm')"));
    wait_until("it is built", || is_shown(&page(1), "calm"));
    watching.until_settled(&course);
    course.built();
}

#[test]
fn a_build_names_the_decks_that_change_sources_and_publishes_everything_else() {
    let course = Course::with_topics(&["a", "b", "c"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let [own, mutual] = ["own", "mutual"].map(|name| elsewhere.path().join(name));
    // The first two write each other's data, the third one itself.
    let third = "slides/m/topic_030_c/slides_c.py";
    let itself = format!(
        "with open({own:?}, 'a') as log:\n    log.write('x')\n\
         with open({:?}, 'a') as deck:\n    deck.write('# again\\n')",
        course.path(third)
    );
    course.write(third, deck(&itself));
    course.write(DATA, "0");
    course.write(OTHER_DATA, "0");
    course.write(DECK, deck(&writing(&mutual, &course.path(OTHER_DATA))));
    course.write(OTHER, deck(&writing(&mutual, &course.path(DATA))));
    course.write("slides/m/topic_030_c/slides_d.py", deck("print('calm')"));
    let ran = course.build(&["--workers", "notebook=1", "--languages", "en"]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    // Of the first two, one can be built after the other gave up.
    let errors = ran.errors();
    assert_eq!(errors.len(), 2, "{}", ran.stdout);
    for (decks, files) in [
        ([DECK, OTHER], [DATA, OTHER_DATA]),
        ([third; 2], [third; 2]),
    ] {
        let is_one = |error: &&&Diagnostic| decks.contains(&error.file.as_deref().unwrap());
        let error = errors.iter().find(is_one).unwrap();
        assert!(error.message.contains(SAID), "{error}");
        assert!(
            files.iter().any(|file| error.message.contains(file)),
            "{error}"
        );
    }
    // Who was set aside was executed five times, and then tried again alone: up to three times, as the other one may have
    // been the cause. When one of two is set aside, the other one may be built at once.
    let executed = |log: &Path, most: usize| {
        let runs = runs(log);
        assert!((6..=most).contains(&runs), "{runs}\n{}", ran.stdout);
    };
    executed(&own, 8);
    executed(&mutual, 16);
    // A deck beside one of them has that in its working directory, and is not blamed.
    assert!(course.read(&page(4)).contains("calm"));

    for path in [DECK, OTHER, third] {
        course.write(path, deck("print('calm')"));
    }
    course.built();
    assert_eq!(course.build(&[]).started(), [""; 0]);
}
