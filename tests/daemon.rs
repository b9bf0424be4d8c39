//! `clm watch` and the daemon: a save is built, an error stays until it is mended, others may ask.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use clm::testing::daemon::client::Client;
use clm::testing::daemon::protocol::{Answer, Request};
use clm::testing::events::{Event, Status};

use crate::support::{Course, Watching};

const DECK: &str = "slides/m/topic_010_a/slides_a.py";

fn deck(code: &str) -> String {
    format!(
        "# j2 from 'macros.j2' import header\n# {{{{ header(\"Titel\", \"Title\") }}}}\n\n\
         # %% [markdown] lang=\"en\"\n#\n# Some prose\n\n# %% tags=[\"keep\"]\n{code}\n"
    )
}

fn course() -> Course {
    let course = Course::with_topics(&["a", "b"]);
    course.write(DECK, deck("print('one')"));
    course.write("slides/m/topic_020_b/slides_b.py", deck("print('other')"));
    course
}

fn page(course: &Course) -> String {
    course.read("output/shared/course-en/Slides/Html/Completed/Part/01 Title.html")
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "it did not happen"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_save_is_built_and_nothing_else() {
    let course = course();
    let watching = Watching::start(&course, &[]);
    let first = watching.run();
    assert!(first.counts().built > 0, "{first:?}");
    assert!(page(&course).contains("Some prose"));

    course.edit(DECK, "Some prose", "Other prose");
    let run = watching.run();
    let kinds = run.built_kinds();
    assert!(!kinds.contains(&"execute".to_owned()), "{kinds:?}");
    assert!(
        run.sources().iter().all(|source| *source == DECK),
        "{run:?}"
    );
    assert!(page(&course).contains("Other prose"));

    course.edit(DECK, "'one'", "'two'");
    let run = watching.run();
    assert!(run.built_kinds().contains(&"execute".to_owned()), "{run:?}");
    assert!(page(&course).contains("two"));

    // Undone: everything comes from the cache.
    course.edit(DECK, "'two'", "'one'");
    let run = watching.run();
    let kinds = run.built_kinds();
    assert!(
        !kinds.contains(&"execute".to_owned()) && !kinds.contains(&"html".to_owned()),
        "{kinds:?}"
    );
    assert!(run.counts().restored > 0, "{run:?}");
    assert!(page(&course).contains("one"));

    // Touched: nothing to do.
    course.write(DECK, course.read(DECK));
    let run = watching.run();
    assert_eq!(run.counts().made(), 0, "{run:?}");
}

/// A daemon forgets what its records tell as well. `BEFORE_TRIM` is shorter.
const REST: Duration = Duration::from_secs(4);

#[test]
fn after_a_long_rest_an_edit_is_built_as_any_other() {
    let course = course();
    let (diagram, included) = (
        "slides/m/topic_020_b/pu/x.pu",
        "slides/m/topic_020_b/pu/all.iuml",
    );
    course.write(diagram, "@startuml\n!include all.iuml\na -> b\n@enduml\n");
    course.write(included, "skinparam backgroundColor yellow\n");
    let watching = Watching::start(&course, &[]);
    watching.run();
    watching.until_rest(REST);

    course.edit(DECK, "print('one')", "print('two')");
    let run = watching.run();
    assert!(
        run.sources().iter().all(|source| *source == DECK),
        "{run:?}"
    );
    let reasons = run.reasons(&format!("execute {DECK} de"));
    assert!(reasons[0].starts_with("code changed"), "{reasons:?}");
    assert!(page(&course).contains("two"));

    // What it was found to read was known only by its last run.
    watching.until_rest(REST);
    course.write(included, "skinparam backgroundColor blue\n");
    let run = watching.run();
    assert_eq!(run.finished(Status::Built), [format!("plantuml {diagram}")]);
    let reasons = run.reasons(&format!("plantuml {diagram}"));
    assert_eq!(reasons, [format!("`{included}`, which it reads, changed")]);

    // Only the records know which outputs a deck had.
    watching.until_rest(REST);
    let before = course.outputs();
    course.remove(DECK);
    let run = watching.run();
    let left = course.outputs();
    assert_eq!(run.counts().removed as usize, before.len() - left.len());
    assert!(left.len() < before.len() && left.keys().all(|path| before.contains_key(path)));

    // A build lists all of them.
    watching.until_rest(REST);
    let ran = course.build(&[]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let manifest = course.read("output/shared/.clm-manifest.json");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let listed = manifest["files"].as_array().unwrap().iter();
    let listed: BTreeSet<&str> = listed.map(|file| file["path"].as_str().unwrap()).collect();
    let shared = left.keys().filter_map(|path| path.strip_prefix("shared/"));
    assert_eq!(listed, shared.collect());
}

#[test]
fn a_build_by_the_daemon_knows_what_others_did_to_outputs() {
    others_touch_outputs(&[]);
}

#[test]
fn a_build_by_a_daemon_that_is_told_nothing_looks_at_outputs() {
    others_touch_outputs(&["--poll"]);
}

/// Removes a directory while a watch may make files in it again: its own run follows the one of a client.
fn remove_tree(dir: &Path) {
    wait_for(|| {
        let _ = std::fs::remove_dir_all(dir);
        (!dir.exists()).then_some(())
    });
}

fn others_touch_outputs(args: &[&str]) {
    let course = course();
    let watching = Watching::start(&course, args);
    watching.until_settled(&course);
    let whole = course.outputs();
    let (first, last) = (
        format!("output/{}", whole.keys().next().unwrap()),
        format!("output/{}", whole.keys().next_back().unwrap()),
    );
    let rebuilt = |what: &str| {
        let ran = course.build(&[]);
        assert_eq!(ran.code, 0, "{what}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(course.outputs(), whole, "{what}");
        // By this build, or by the daemon's own run that follows the build before.
        watching.run_until(|run| run.counts().made() > 0);
        let again = course.build(&[]);
        let counts = again.counts();
        assert_eq!(counts.made(), 0, "{what}");
    };
    for round in 0..3 {
        course.remove(&first);
        rebuilt(&format!("a removed file, {round}"));
        course.write(&last, format!("somebody else's {round}"));
        rebuilt(&format!("a file with other bytes, {round}"));
        std::fs::rename(course.path(&first), course.path(&last)).unwrap();
        rebuilt(&format!("a file in the place of another, {round}"));
        remove_tree(course.path(&first).parent().unwrap());
        rebuilt(&format!("a removed directory, {round}"));
        std::fs::rename(course.path("output"), course.path(&format!("old-{round}"))).unwrap();
        rebuilt(&format!("all of them moved away, {round}"));
        remove_tree(&course.path("output/shared"));
        rebuilt(&format!("a target removed, {round}"));
    }
    // What came to be while it watched.
    course.write("slides/m/topic_010_a/data/deep/x.txt", "x");
    let is_deep = |path: &&String| path.ends_with("deep/x.txt");
    watching.run_until(|_| course.outputs().keys().any(|path| is_deep(&path)));
    let whole = course.outputs();
    let deep = whole.keys().find(is_deep).unwrap();
    course.remove(&format!("output/{deep}"));
    assert_eq!(course.build(&[]).code, 0);
    assert_eq!(course.outputs(), whole);
    if args.contains(&"--poll") {
        return;
    }
    // An edit makes good what is missing as well, though nobody asked for it.
    course.remove(&first);
    course.edit(DECK, "Some prose", "Other prose");
    wait_for(|| course.path(&first).exists().then_some(()));
}

#[test]
fn files_come_and_go() {
    let course = course();
    let watching = Watching::start(&course, &[]);
    watching.run();
    course.write("slides/m/topic_010_a/data/x.txt", "x");
    watching.run();
    let copied = "output/shared/course-en/Slides/Html/Completed/Part/data/x.txt";
    assert_eq!(course.read(copied), "x");
    course.remove("slides/m/topic_010_a/data/x.txt");
    let run = watching.run();
    assert!(run.counts().removed > 0, "{run:?}");
    assert!(!course.path(copied).exists());

    course.write(
        "slides/m/topic_010_a/slides_z.py",
        deck("print('z')").replace("Title", "New"),
    );
    watching.run();
    let page = "output/shared/course-en/Slides/Html/Completed/Part/02 New.html";
    assert!(course.path(page).exists());

    // Another topic in the specification.
    course.write(
        "slides/m/topic_030_c/slides_c.py",
        deck("print('c')").replace("Title", "Third"),
    );
    course.edit(
        "course.xml",
        "<topic>b</topic>",
        "<topic>b</topic><topic>c</topic>",
    );
    watching.run_until(|_| {
        course
            .path("output/shared/course-en/Slides/Html/Completed/Part/04 Third.html")
            .exists()
    });
}

#[test]
fn an_error_stays_until_it_is_mended() {
    let course = course();
    let watching = Watching::start(&course, &[]);
    watching.run();
    course.edit(DECK, "print('one')", "1 / 0");
    let run = watching.run();
    let error = &run.errors()[0];
    assert_eq!(error.file.as_deref(), Some(DECK));
    assert_eq!(error.line, Some(9));
    assert!(
        run.finished(Status::Failed)
            .iter()
            .any(|action| action.starts_with("execute"))
    );

    // The rest of the course goes on, and the error is told again.
    course.edit(
        "slides/m/topic_020_b/slides_b.py",
        "Some prose",
        "More prose",
    );
    let run = watching.run();
    assert!(run.counts().built > 0);
    assert_eq!(run.errors()[0].file.as_deref(), Some(DECK));

    course.edit(DECK, "1 / 0", "1 / 1");
    let run = watching.run();
    assert!(run.errors().is_empty(), "{run:?}");
}

#[test]
fn a_broken_specification_keeps_the_last_good_plan() {
    let course = course();
    let watching = Watching::start(&course, &[]);
    watching.run();
    course.edit("course.xml", "</sections>", "</section>");
    let run = watching.run();
    assert_eq!(run.errors()[0].file.as_deref(), Some("course.xml"));
    course.edit(DECK, "Some prose", "Still built");
    let run = watching.run();
    assert!(page(&course).contains("Still built"));
    assert_eq!(run.errors()[0].file.as_deref(), Some("course.xml"));
    course.edit("course.xml", "</course>", "</course>");
    course.edit(
        "course.xml",
        "</section></section>",
        "</section></sections>",
    );
    let run = watching.run_until(|run| run.errors().is_empty());
    assert!(run.errors().is_empty());
}

#[test]
fn saving_again_stops_what_runs() {
    let course = course();
    let watching = Watching::start(&course, &["--workers", "notebook=1"]);
    watching.run();
    let note = course.path("pid");
    let slow = format!(
        "import os, time; open({:?}, 'w').write(str(os.getpid())); time.sleep(60)",
        note.display().to_string()
    );
    course.edit(DECK, "print('one')", &slow);
    let kernel = wait_for(|| {
        std::fs::read_to_string(&note)
            .ok()
            .filter(|pid| !pid.is_empty())
    });
    let begun = std::time::Instant::now();
    course.edit(DECK, &slow, "print('three')");
    watching.run_until(|_| page(&course).contains("three"));
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    let process = std::path::PathBuf::from(format!("/proc/{kernel}"));
    wait_for(|| (!process.exists()).then_some(()));
}

#[test]
fn settings_are_read_again() {
    let course = course();
    let watching = Watching::start(&course, &[]);
    watching.run();
    course.edit(DECK, "print('one')", "import time; time.sleep(2)");
    watching.run();
    course.write("clm.toml", "[notebook]\ncell_timeout = 1\n");
    let run = watching.run_until(|run| !run.errors().is_empty());
    assert!(run.errors()[0].message.contains("stopped after"), "{run:?}");
    course.write("clm.toml", "[notebook]\ncell_timeoutt = 1\n");
    watching.until_diagnostic("cell_timeoutt");
    course.write("clm.toml", "[notebook]\ncell_timeout = 30\n");
    watching.run_until(|run| run.errors().is_empty() && run.counts().built > 0);
}

#[test]
fn what_runs_when_settings_change_does_not_wait_for_its_old_lease() {
    let course = course();
    let watching = Watching::start(&course, &[]);
    watching.run();
    let note = course.path("note");
    let slow = format!(
        "import time; open({:?}, 'w').close(); time.sleep(3); print('two')",
        note.display().to_string()
    );
    course.edit(DECK, "print('one')", &slow);
    wait_for(|| note.exists().then_some(()));
    // An engine with the new settings takes the place of the old one, in the same process.
    course.write("clm.toml", "[cache]\nmax_age = \"40 days\"\n");
    watching.run_until(|_| page(&course).contains("two"));
    // A lease that was not given back is waited for, and then the job is tried a second time.
    let records = rusqlite::Connection::open(course.path(".clm/clm.db")).unwrap();
    let attempts = "SELECT max(attempts), count(*) FROM jobs WHERE action LIKE 'execute %'";
    let (attempts, jobs): (i64, i64) = records
        .query_row(attempts, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert!(jobs > 2, "{jobs}");
    assert_eq!(attempts, 1);
}

#[test]
fn a_build_goes_through_the_daemon_and_is_the_same_without() {
    let course = course();
    let watching = Watching::start(&course, &[]);
    watching.run();
    let hook = |args: &[&str]| course.build(&[&["--only", DECK], args].concat());
    course.edit(DECK, "print('one')", "undefined_name");
    let with = hook(&[]);
    assert_eq!(with.code, 1, "{}", with.stderr);
    assert_eq!(with.errors()[0].line, Some(9));
    let without = hook(&["--no-daemon"]);
    assert_eq!(without.code, 1);
    assert_eq!(with.errors(), without.errors());

    course.edit(DECK, "undefined_name", "print('four')");
    let with = hook(&[]);
    assert_eq!(with.code, 0, "{}", with.stderr);
    assert!(
        page(&course).contains("four"),
        "it waits until the outputs are fresh"
    );
    assert_eq!(hook(&["--no-daemon"]).counts().made(), 0);

    // Other settings mean another course.
    let other = course.build(&["--image-mode", "shared"]);
    assert!(
        other
            .notes()
            .iter()
            .any(|note| note.contains("without the daemon"))
    );

    let status = course.command(&["status", "--json"]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["daemon"]["pid"], watching.pid());
    assert!(status["runs"].as_array().unwrap().len() > 3);
    let second = course.command(&["watch"]).output().unwrap();
    assert_eq!(second.status.code(), Some(2));
}

#[test]
fn changes_made_while_it_was_down_are_built_and_only_those() {
    let course = course();
    let mut watching = Watching::start(&course, &[]);
    watching.run();
    watching.kill();
    course.edit(DECK, "Some prose", "Changed while down");
    let watching = Watching::start(&course, &[]);
    let run = watching.run();
    assert!(page(&course).contains("Changed while down"));
    assert!(
        run.sources().iter().all(|source| *source == DECK),
        "{run:?}"
    );
    assert!(
        !run.built_kinds().contains(&"execute".to_owned()),
        "{run:?}"
    );
}

#[test]
fn a_daemon_works_in_the_background() {
    let course = course();
    let start = course.command(&["daemon", "start"]).output().unwrap();
    assert!(
        start.status.success(),
        "{}",
        String::from_utf8_lossy(&start.stderr)
    );
    let done = course.build(&[]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(page(&course).contains("Some prose"));
    let log = course.read(".clm/daemon.log");
    assert!(log.contains("Built"), "{log}");
    let stop = course.command(&["daemon", "stop"]).output().unwrap();
    assert!(stop.status.success());
    let status = course.command(&["status", "--json"]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["daemon"], serde_json::Value::Null);
    assert_eq!(status["workers"].as_array().unwrap().len(), 0, "{status}");
}

#[test]
fn clients_hold_changes_back_listen_and_cannot_confuse_it() {
    use std::io::{BufRead as _, Write as _};
    let course = course();
    let watching = Watching::start(&course, &[]);
    watching.run();
    let state_dir = course.path(".clm");
    let connect = || Client::connect(&state_dir).unwrap().unwrap();

    let mut holder = connect();
    assert!(matches!(holder.ask(&Request::Hold).unwrap(), Answer::Ok));
    course.edit(DECK, "Some prose", "Held prose");
    watching.expect_silence(Duration::from_millis(800));
    assert!(!page(&course).contains("Held prose"));
    // A client that goes lets go.
    drop(holder);
    watching.run();
    assert!(page(&course).contains("Held prose"));

    let mut listener = connect();
    let heard = std::thread::spawn(move || {
        let mut heard = Vec::new();
        let told = &mut |event: Event| {
            let is_over = matches!(event, Event::RunFinished { .. });
            heard.push(event);
            !is_over
        };
        listener.subscribe(told).unwrap();
        heard
    });
    // Until it listens, edits may go by.
    let mut number = 0;
    while !heard.is_finished() {
        number += 1;
        let (from, to) = match number {
            1 => ("Held prose".to_owned(), "prose 1".to_owned()),
            _ => (format!("prose {}", number - 1), format!("prose {number}")),
        };
        course.edit(DECK, &from, &to);
        watching.run();
    }
    let heard = heard.join().unwrap();
    assert!(matches!(heard.last(), Some(Event::RunFinished { .. })));

    let info = connect().info().clone();
    let mut stream = std::os::unix::net::UnixStream::connect(&info.socket).unwrap();
    stream
        .write_all(b"not json\n{\"ask\":\"dance\"}\n")
        .unwrap();
    let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
    for _ in 0..2 {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.contains("refused"), "{line}");
    }
    stream.write_all(&vec![b'x'; 2 << 20]).unwrap_or_default();
    drop(stream);
    assert!(matches!(connect().ask(&Request::Sync).unwrap(), Answer::Ok));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&info.socket).unwrap().permissions(),
    );
    assert_eq!(mode & 0o077, 0);
}
