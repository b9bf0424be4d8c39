//! `clm status` tells what is true: who lives, what they do, how runs ended, and what is wrong.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Course;

const BAD: &str = "slides/m/topic_010_a/slides_a.py";
const SLOW: &str = "slides/m/topic_020_b/slides_b.py";

fn status(course: &Course) -> Value {
    let ran = course.clm(&["status", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn until(course: &Course, holds: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let status = status(course);
        if holds(&status) {
            return status;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{status:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn status_of_a_build_that_runs_and_of_one_that_was_killed() {
    let course = Course::with_topics(&["a", "b"]);
    course.write(
        BAD,
        "# %% [markdown] lang=\"en\"\n# # Bad\n\n# %% tags=[\"keep\"]\n1 / 0\n",
    );
    course.write(
        SLOW,
        "# %% [markdown] lang=\"en\"\n# # Slow\n\n# %% tags=[\"keep\"]\nprint(1)\n\n\
         # %% tags=[\"keep\"]\nimport time; time.sleep(600)\n",
    );
    let args = ["build", "--no-daemon", "--workers", "notebook=2"];
    let mut build = course.command(&args).spawn().unwrap();
    let is_slow = |worker: &Value| {
        worker["source"] == SLOW && worker["step"] == "cell 3" && worker["state"] == "busy"
    };
    let running = until(&course, |status| {
        let workers = status["workers"].as_array().unwrap();
        workers.iter().any(is_slow) && !status["errors"].as_array().unwrap().is_empty()
    });
    let workers = running["workers"].as_array().unwrap();
    let worker = workers.iter().find(|worker| is_slow(worker)).unwrap();
    assert_eq!(worker["progress"][1], 2);
    assert_eq!(worker["owner_pid"], build.id());
    assert!(
        worker["since_ms"].as_i64().unwrap() > running["runs"][0]["started_ms"].as_i64().unwrap()
    );
    assert_eq!(running["runs"][0]["state"], "running");
    assert!(running["leased"].as_u64().unwrap() > 0);
    let text = course.clm(&["status"]).stdout;
    assert!(
        text.contains(&format!("execute {SLOW}, cell 3 (1 of 2 done), for ")),
        "{text}"
    );

    build.kill().unwrap();
    build.wait().unwrap();
    let after = until(&course, |status| {
        status["workers"].as_array().unwrap().is_empty()
    });
    assert_eq!(after["runs"][0]["state"], "interrupted");
    assert_eq!(after["leased"], 0);
    // What failed is told without a daemon, at its line.
    let errors = after["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(
        (&errors[0]["file"], &errors[0]["line"]),
        (&BAD.into(), &5.into())
    );
    let text = course.clm(&["status"]).stdout;
    assert!(
        text.contains("interrupted") && !text.contains("busy"),
        "{text}"
    );
    assert!(
        text.contains(&format!("{BAD}:5: error: ZeroDivisionError")),
        "{text}"
    );
    // From elsewhere the place can be opened, too.
    let elsewhere = course
        .command(&["status"])
        .current_dir(course.path("slides/m"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&elsewhere.stdout).into_owned();
    assert!(text.contains("topic_010_a/slides_a.py:5: error"), "{text}");
    assert!(!text.contains(&format!("\n{BAD}:5")), "{text}");

    // A specification that is broken is an error that is told.
    course.edit("course.xml", "</course>", "");
    let broken = status(&course);
    assert_eq!(broken["errors"][0]["file"], "course.xml");
}
