//! What happens when the system cannot tell everything.

use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};

use super::course::{STARTS, start, watched, watched_with};

const DECK: &str = "slides/m/topic_1_a/slides_a.py";

#[test]
fn twenty_thousand_writes_elsewhere_hide_nothing() {
    let mut course = watched_with(|options| {
        std::fs::create_dir_all(options.root.join("slides/m/topic_1_a/__pycache__")).unwrap();
        std::fs::create_dir_all(options.root.join("output")).unwrap();
    });
    for number in 0..10_000 {
        course.write(&format!("output/{number}.html"), "x");
        course.write(&format!("slides/m/topic_1_a/__pycache__/{number}.pyc"), "x");
    }
    course.write(DECK, "2");
    assert_eq!(course.rest(), [DECK]);
}

#[test]
fn twenty_thousand_writes_in_a_topic_are_told_or_become_a_rescan() {
    let mut course = watched();
    for number in 0..20_000 {
        course.write(&format!("slides/m/topic_1_a/{number}.txt"), "x");
    }
    let sets = course.rest_sets();
    let told: usize = sets.iter().map(|set| set.paths.len()).sum();
    assert!(
        told >= 20_000 || sets.iter().any(|set| set.rescan),
        "{told}"
    );
    course.write(DECK, "2");
    assert_eq!(course.rest(), [DECK]);
}

/// Keeps the thread of a watch busy until it is opened.
#[derive(Default)]
struct Gate(Mutex<(bool, bool)>, Condvar);

impl Gate {
    /// Says that the thread is here, and waits.
    fn pass(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 = true;
        self.1.notify_all();
        drop(self.1.wait_while(state, |state| !state.1).unwrap());
    }

    fn wait_for_thread(&self) {
        let state = self.0.lock().unwrap();
        drop(self.1.wait_while(state, |state| !state.0).unwrap());
    }

    fn open(&self) {
        self.0.lock().unwrap().1 = true;
        self.1.notify_all();
    }
}

#[test]
fn more_events_than_the_queue_holds_become_a_rescan_and_the_next_edit_is_told() {
    let gate = Arc::new(Gate::default());
    let at_gate = gate.clone();
    let mut course = watched_with(|options| {
        options.own_output = Arc::new(move |_| {
            at_gate.pass();
            None
        });
    });
    course.write(DECK, "2");
    gate.wait_for_thread();
    // Nobody takes events now.
    for number in 0..20_000 {
        course.write(&format!("slides/m/topic_2_b/{}.txt", number % 50), "x");
    }
    course.write("slides/m/topic_3_c/slides_c.py", "unseen");
    gate.open();
    let sets = course.rest_sets();
    assert!(sets.iter().any(|set| set.rescan), "{sets:?}");
    // The directory whose coming was lost is watched.
    course.write("slides/m/topic_3_c/slides_c.py", "seen");
    assert_eq!(course.rest(), ["slides/m/topic_3_c/slides_c.py"]);
}

/// Sets a limit of the system, and resets it.
struct Limit(&'static str, String);

impl Limit {
    fn lower(path: &'static str, value: &str) -> Option<Self> {
        let old = std::fs::read_to_string(path).ok()?;
        std::fs::write(path, value).ok()?;
        Some(Self(path, old))
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        std::fs::write(self.0, &self.1).expect("the limit can be reset");
    }
}

#[test]
fn a_queue_of_the_system_that_runs_over_becomes_a_rescan_and_the_next_edit_is_told() {
    let started = STARTS
        .write()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let Some(limit) = Limit::lower("/proc/sys/fs/inotify/max_queued_events", "4") else {
        eprintln!("only root can make the queue small: this story is not told");
        return;
    };
    let mut course = start(|_| {});
    drop(limit);
    drop(started);
    let mut was_lost = false;
    for round in 0..1000 {
        for number in 0..100 {
            let name = format!("slides/m/topic_2_b/{number}.txt");
            std::fs::write(course.path(&name), round.to_string()).unwrap();
        }
        was_lost = course.rest_sets().iter().any(|set| set.rescan);
        if was_lost {
            break;
        }
    }
    assert!(was_lost, "the queue never ran over");
    course.write("slides/m/topic_3_c/slides_c.py", "1");
    course.until(&["slides/m/topic_3_c/slides_c.py"]);
    course.rest();
    course.write("slides/m/topic_3_c/slides_c.py", "2");
    assert_eq!(course.rest(), ["slides/m/topic_3_c/slides_c.py"]);
}

/// Runs one story of this program where the system allows only so many watches or instances.
fn with_few(limit: &str, value: u32, story: &str) -> bool {
    let set = format!("echo {value} > /proc/sys/user/{limit}");
    let may = Command::new("unshare")
        .args(["-Ur", "sh", "-c", &set])
        .output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("limits cannot be lowered for one process: this story is not told");
        return false;
    }
    let output = Command::new("unshare")
        .args(["-Ur", "sh", "-c", &format!("{set} && exec \"$@\"")])
        .arg("story")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", story, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("1 passed"), "{text}");
    true
}

#[test]
fn polling_takes_over_when_watches_run_out() {
    with_few(
        "max_inotify_watches",
        5,
        "watching::limits::with_five_watches",
    );
    with_few(
        "max_inotify_watches",
        8,
        "watching::limits::with_eight_watches",
    );
    with_few(
        "max_inotify_instances",
        0,
        "watching::limits::without_events",
    );
}

/// Polled files are told, and people are told why and what to do.
fn is_polled(course: &mut super::Watched, limit: &str) {
    assert!(course.watcher.is_polling());
    let told = course.told.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    let text = told[0].to_string();
    assert!(text.contains(&format!("fs.inotify.{limit}")), "{text}");
    assert!(
        text.contains(&format!("sudo sysctl fs.inotify.{limit}=")),
        "{text}"
    );
    course.rest_sets();
    course.write(DECK, "polled");
    course.until(&[DECK]);
    course.write("slides/m/topic_3_c/img/c.png", "1");
    course.until(&["slides/m/topic_3_c/img/c.png"]);
}

#[test]
#[ignore = "part of polling_takes_over_when_watches_run_out"]
fn with_five_watches() {
    // The root, the marks, slides, and two more: not enough for the start.
    let mut course = start(|_| {});
    is_polled(&mut course, "max_user_watches");
}

#[test]
#[ignore = "part of polling_takes_over_when_watches_run_out"]
fn with_eight_watches() {
    let mut course = start(|_| {});
    assert!(!course.watcher.is_polling());
    for number in 0..6 {
        course.write(&format!("slides/m/topic_4_d/d{number}/x.csv"), "1");
    }
    // What came while the limit was reached is in a rescan.
    let set = loop {
        let set = course.next();
        if set.rescan {
            break set;
        }
    };
    assert!(set.rescan);
    is_polled(&mut course, "max_user_watches");
}

#[test]
#[ignore = "part of polling_takes_over_when_watches_run_out"]
fn without_events() {
    let mut course = start(|_| {});
    is_polled(&mut course, "max_user_instances");
}

#[test]
fn polling_tells_what_events_tell() {
    let mut course = watched_with(|options| {
        options.poll = true;
        options.inputs.files.insert("data/x.csv".into());
    });
    assert!(course.watcher.is_polling());
    // The first look doubts stamps as young as these.
    course.rest();
    course.rest();
    course.write(DECK, "two");
    course.until(&[DECK]);
    course.write("slides/m/topic_1_a/new.tmp", "three");
    course.rename("slides/m/topic_1_a/new.tmp", DECK);
    course.until(&[DECK]);
    course.write("slides/m/topic_3_c/img/c.png", "1");
    course.until(&["slides/m/topic_3_c", "slides/m/topic_3_c/img/c.png"]);
    course.write("slides/m/topic_3_c/img/c.png", "22");
    course.until(&["slides/m/topic_3_c/img/c.png"]);
    course.rename("slides/m/topic_3_c", "slides/m/topic_4_d");
    course.until(&["slides/m/topic_3_c", "slides/m/topic_4_d/img/c.png"]);
    std::fs::remove_dir_all(course.path("slides/m/topic_4_d")).unwrap();
    course.until(&["slides/m/topic_4_d"]);
    course.write("data/x.csv", "1");
    course.until(&["data/x.csv"]);
    course.write("course.xml", "<course></course>");
    course.until(&["course.xml"]);
    course.write("output/x.html", "1");
    let rest = course.rest();
    assert!(
        !rest.iter().any(|name| name.starts_with("output")),
        "{rest:?}"
    );
}

#[test]
fn a_state_directory_that_cannot_be_written_costs_only_precision() {
    let mut course = watched_with(|options| {
        std::fs::write(options.root.join(".clm"), "a file").unwrap();
    });
    course.write(DECK, "2");
    assert!(course.rest_sets().iter().any(|set| set.rescan));
    assert_eq!(course.told.lock().unwrap().len(), 1);
    course.write(DECK, "3");
    let told = course.next();
    assert_eq!(course.names(&told), [DECK]);
}

#[test]
fn marks_that_are_swept_away_keep_nobody_waiting() {
    let mut course = watched();
    std::fs::remove_dir_all(course.path(".clm")).unwrap();
    course.write(DECK, "2");
    // The first may still find the directory; in the end everything is compared.
    let sets = course.rest_sets();
    assert!(
        sets.iter()
            .any(|set| set.rescan || set.paths.contains(&course.path(DECK)))
    );
    course.write(DECK, "3");
    assert!(!course.rest_sets().is_empty());
}
