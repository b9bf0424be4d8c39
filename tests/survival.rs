//! What a watch must survive: records that are moved away, clients that go.

use std::path::Path;

use crate::support::Watching;
use crate::support::courses::{DECK, deck, two_decks, wait_until};

/// Code that notes in `log` that it ran, and then does something.
fn noting(log: &Path, code: &str) -> String {
    format!("with open({log:?}, 'a') as log:\n    log.write('x')\n{code}")
}

fn runs(log: &Path) -> usize {
    std::fs::read(log).map_or(0, |log| log.len())
}

#[test]
fn records_that_are_moved_away_are_made_again_and_no_save_is_lost() {
    let course = two_decks("print('one')");
    let watching = Watching::start(&course, &[]);
    let page = "output/shared/course-en/Slides/Html/Completed/Part/01 Title.html";
    let steps: [(&str, &dyn Fn()); 4] = [
        ("moved", &|| {
            std::fs::rename(course.path(".clm"), course.path(".old")).unwrap()
        }),
        ("removed", &|| {
            std::fs::remove_dir_all(course.path(".clm")).unwrap()
        }),
        ("without a database", &|| course.remove(".clm/clm.db")),
        ("without results", &|| {
            std::fs::remove_dir_all(course.path(".clm/blobs")).unwrap()
        }),
    ];
    for (what, lose) in steps {
        watching.until_settled(&course);
        lose();
        course.write(DECK, deck(&format!("print({what:?})")));
        wait_until(what, || course.read(page).contains(what));
        let ran = course.build(&[]);
        assert_eq!(ran.code, 0, "{what}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.notes(), [""; 0], "the daemon is found: {what}");
        assert_eq!(course.build(&["--no-daemon"]).counts().made(), 0, "{what}");
    }
}

#[test]
fn a_client_that_goes_away_stops_the_build_that_it_asked_for() {
    let elsewhere = tempfile::tempdir().unwrap();
    let log = elsewhere.path().join("log");
    let go = elsewhere.path().join("go");
    let waits = format!(
        "import pathlib, time\nwhile not pathlib.Path({go:?}).exists():\n    time.sleep(0.01)"
    );
    let course = two_decks(&noting(&log, &waits));
    std::fs::write(&go, "").unwrap();
    let watching = Watching::start(&course, &[]);
    watching.until_settled(&course);
    let before = runs(&log);
    std::fs::remove_file(&go).unwrap();
    let mut client = course.command(&["build", "--force"]).spawn().unwrap();
    wait_until("the deck runs again", || runs(&log) > before);
    client.kill().unwrap();
    client.wait().unwrap();
    // The execution would wait for ever, and nobody wants it: the watch has nothing to do.
    let run = watching.run();
    assert_eq!(
        (run.counts().made(), run.counts().failed),
        (0, 0),
        "{run:?}"
    );
    std::fs::write(&go, "").unwrap();
    let ran = course.build(&[]);
    assert_eq!((ran.code, ran.counts().built), (0, 0), "{}", ran.stdout);
}
