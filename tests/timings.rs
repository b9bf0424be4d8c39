//! Where the time goes: the page and the trace of measured runs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use clm::testing::events::{Event, Status};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::preview::browser::Browser;
use crate::support::{Course, Ran, Watching, ran};

const BOTH: [&str; 4] = ["--timings", "timings.html", "--trace", "trace.json"];

/// A trace, and what every lane is called.
struct Trace {
    events: Vec<Value>,
    lanes: BTreeMap<u64, String>,
    other: Value,
}

impl Trace {
    fn read(course: &Course) -> Self {
        let whole: Value = serde_json::from_str(&course.read("trace.json")).unwrap();
        let events = whole["traceEvents"].as_array().unwrap().clone();
        let lanes = events
            .iter()
            .filter(|event| event["name"] == "thread_name")
            .map(|event| {
                let name = event["args"]["name"].as_str().unwrap();
                (event["tid"].as_u64().unwrap(), name.to_owned())
            })
            .collect();
        let trace = Self {
            events,
            lanes,
            other: whole["otherData"].clone(),
        };
        trace.bars_do_not_overlap();
        trace
    }

    fn bars(&self) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(|event| event["ph"] == "X")
    }

    /// The bars of actions by their identity; each action is there once.
    fn work(&self) -> BTreeMap<&str, &Value> {
        let kinds = ["execute", "html", "plantuml", "drawio", "deck", "copy"];
        let mut found = BTreeMap::new();
        let work = |bar: &&Value| kinds.contains(&bar["cat"].as_str().unwrap());
        for bar in self.bars().filter(work) {
            let action = bar["args"]["action"].as_str().unwrap();
            assert!(found.insert(action, bar).is_none(), "`{action}` twice");
        }
        found
    }

    fn lane(&self, bar: &Value) -> &str {
        &self.lanes[&bar["tid"].as_u64().unwrap()]
    }

    fn phases(&self) -> BTreeSet<&str> {
        self.bars()
            .filter(|bar| bar["cat"] == "phase")
            .map(|bar| bar["name"].as_str().unwrap())
            .collect()
    }

    /// In every lane a bar lies within the one before or after it.
    fn bars_do_not_overlap(&self) {
        let mut by_lane: BTreeMap<u64, Vec<(u64, u64, &Value)>> = BTreeMap::new();
        for bar in self.bars() {
            let start = bar["ts"].as_u64().unwrap();
            let end = start + bar["dur"].as_u64().unwrap();
            let lane = bar["tid"].as_u64().unwrap();
            assert!(self.lanes.contains_key(&lane), "{bar} has no lane");
            by_lane.entry(lane).or_default().push((start, end, bar));
        }
        for (lane, mut bars) in by_lane {
            bars.sort_by_key(|(start, end, _)| (*start, std::cmp::Reverse(*end)));
            let mut around: Vec<(u64, &Value)> = Vec::new();
            for (start, end, bar) in bars {
                around.retain(|(outer, _)| *outer > start);
                let last = around.last();
                assert!(
                    last.is_none_or(|(outer, _)| end <= *outer),
                    "bars of `{}` overlap: {bar} and {last:?}",
                    self.lanes[&lane]
                );
                around.push((end, bar));
            }
        }
    }
}

fn page(course: &Course) -> String {
    let page = course.read("timings.html");
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "the page needs `{outside}`");
    }
    page
}

fn ended(ran: &Ran) -> BTreeMap<&str, (Status, u64)> {
    let end = |event: &'_ Event| match event {
        Event::ActionFinished {
            status,
            duration_ms,
            ..
        } => (*status, *duration_ms),
        _ => unreachable!(),
    };
    ran.events
        .iter()
        .filter_map(|event| match event {
            Event::ActionFinished { action, .. } => Some((action.as_str(), end(event))),
            _ => None,
        })
        .collect()
}

#[test]
fn every_action_is_measured_once_in_a_lane_of_its_worker() {
    let course = Course::fixture("mini");
    let built = course.build(&BOTH);
    assert_eq!(built.code, 0, "{}\n{}", built.stdout, built.stderr);
    let trace = Trace::read(&course);
    let work = trace.work();
    assert_eq!(work.keys().copied().collect::<Vec<_>>(), built.started());
    let ended = ended(&built);
    for (action, bar) in &work {
        let (status, duration_ms) = ended[action];
        let args = &bar["args"];
        let kind = args["kind"].as_str().unwrap();
        assert_eq!(args["status"], status.name());
        assert_eq!(args["reasons"], built.reasons(action).join("; "));
        // Measured from just before to just after what the event tells of.
        let measured = args["duration_ms"].as_f64().unwrap();
        assert!(measured + 1.0 > duration_ms as f64, "{bar}, {duration_ms}");
        assert!(
            bar["dur"].as_f64().unwrap() <= measured * 1000.0 + 1.0,
            "{bar}"
        );
        assert!(args["waited_ms"].as_f64().unwrap() >= 0.0);
        let lane = trace.lane(bar);
        match kind {
            "deck" | "copy" => assert_eq!(lane, "in this process"),
            _ => assert!(lane.starts_with(kind), "{bar} is in `{lane}`"),
        }
    }
    // Pages with results are rendered after the execution.
    let bar = |prefix: &str, suffix: &str| {
        let (_, bar) = work
            .iter()
            .find(|(id, _)| id.starts_with(prefix) && id.ends_with(suffix))
            .unwrap();
        (bar["ts"].as_u64().unwrap(), bar["dur"].as_u64().unwrap())
    };
    let (execution, executing) = bar("execute ", " de");
    let (rendering, _) = bar("html ", " de executed");
    assert!(execution + executing <= rendering);
    let critical: Vec<&&str> = work
        .iter()
        .filter(|(_, bar)| bar["args"]["critical"] == true)
        .map(|(id, _)| id)
        .collect();
    assert!(!critical.is_empty());

    let phases = trace.phases();
    for phase in [
        "run", "load", "scan", "stat", "plan", "decide", "enqueue", "claim", "publish", "commit",
    ] {
        assert!(phases.contains(phase), "`{phase}` is not in {phases:?}");
    }
    let starts: BTreeSet<&str> = trace
        .bars()
        .filter(|bar| bar["cat"] == "start")
        .map(|bar| trace.lane(bar))
        .collect();
    for lane in ["html 1", "plantuml 1", "drawio 1", "kernel start 1"] {
        assert!(
            starts.contains(lane),
            "no cold start in `{lane}`: {starts:?}"
        );
    }
    let queue: Vec<&Value> = trace
        .events
        .iter()
        .filter(|event| event["name"] == "queue")
        .collect();
    let waiting = |event: &Value| -> u64 {
        let lengths = event["args"].as_object().unwrap().values();
        lengths.map(|length| length.as_u64().unwrap()).sum()
    };
    assert!(queue.iter().any(|event| waiting(event) > 0));
    assert_eq!(waiting(queue.last().unwrap()), 0);
    if cfg!(target_os = "linux") {
        assert!(
            trace
                .events
                .iter()
                .any(|event| event["name"] == "busy processors")
        );
    }
    assert_eq!(trace.other["finished"], true);
    assert_eq!(trace.other["built"], built.counts().built);
    assert_eq!(trace.other["written"], built.counts().written);

    let page = page(&course);
    for lane in trace.lanes.values() {
        assert!(page.contains(lane.as_str()));
    }
    for action in work.keys() {
        assert!(page.contains(action), "the page does not show `{action}`");
    }
}

#[test]
fn a_build_with_nothing_to_do_and_one_that_restores_are_measured() {
    let course = Course::fixture("mini");
    course.built();
    let fresh = course.build(&BOTH);
    assert_eq!(fresh.started(), [""; 0]);
    let trace = Trace::read(&course);
    assert!(trace.work().is_empty());
    assert!(trace.phases().contains("compare"));
    assert_eq!(trace.other["fresh"], fresh.counts().fresh);
    assert!(page(&course).contains(&format!("fresh {}", fresh.counts().fresh)));

    std::fs::remove_dir_all(course.path("output")).unwrap();
    let restored = course.build(&BOTH);
    let trace = Trace::read(&course);
    let work = trace.work();
    let back: Vec<&&Value> = work
        .values()
        .filter(|bar| bar["args"]["status"] == "restored")
        .collect();
    assert_eq!(back.len() as u64, restored.counts().restored);
    assert!(!back.is_empty());
    assert!(back.iter().all(|bar| trace.lane(bar) == "in this process"));
}

#[test]
fn failures_are_measured() {
    let course = Course::with_topics(&["bad"]);
    course.write(
        "slides/module_1/topic_1_bad/slides_bad.py",
        "# %% [markdown] lang=\"en\"\n# # Bad\n\n# %%\nraise ValueError('</script><b>')\n",
    );
    let failed = course.build(&BOTH);
    assert_eq!(failed.code, 1);
    let trace = Trace::read(&course);
    let work = trace.work();
    let bar = work
        .iter()
        .find(|(id, _)| id.starts_with("execute "))
        .unwrap()
        .1;
    assert_eq!(bar["args"]["status"], "failed");
    assert!(page(&course).contains("<td class=\"failed\">failed</td>"));

    // A specification that cannot be read: nothing ran, and that is what the files say.
    course.write("course.xml", "<course>");
    let refused = course.build(&BOTH);
    assert_eq!(refused.code, 2);
    assert_eq!(Trace::read(&course).other["finished"], false);
    assert!(page(&course).contains("There was no run."));
}

#[test]
fn an_interrupted_build_is_measured() {
    let course = Course::with_topics(&["long"]);
    course.write(
        "slides/module_1/topic_1_long/slides_long.py",
        "# %%\nimport time\ntime.sleep(600)\n",
    );
    let mut args = vec!["build", "--message-format", "json", "--languages", "en"];
    args.extend(BOTH);
    let mut command = course.command(&args);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        let event: Event = serde_json::from_str(&line).unwrap();
        if matches!(&event, Event::ActionStarted { action, .. } if action.starts_with("execute ")) {
            break;
        }
    }
    kill(
        Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    let ended = ran(child.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    let trace = Trace::read(&course);
    assert_eq!(trace.other["finished"], false);
    let status = |bar: &Value| bar["args"]["status"].as_str().unwrap().to_owned();
    let executions: Vec<String> = trace
        .bars()
        .filter(|bar| bar["cat"] == "execute")
        .map(status)
        .collect();
    assert_eq!(executions, ["superseded"]);
    assert!(page(&course).contains("stopped before its end"));
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_before_anything_is_made() {
    let course = Course::fixture("mini");
    for args in [["--trace", "no/such/trace.json"], ["--timings", "slides"]] {
        let refused = course.build(&args);
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(
            refused.stderr.contains("cannot write"),
            "{}",
            refused.stderr
        );
        assert!(!course.path("output").exists());
    }
    let refused = course.build(&["--trace", "same", "--timings", "same"]);
    assert_eq!(refused.code, 2);
}

#[test]
fn a_watch_shows_the_last_run_that_did_something() {
    let course = Course::fixture("mini");
    let deck = "slides/module_010_mini/topic_010_first/slides_first.py";
    let watching = Watching::start(&course, &BOTH);
    watching.run_until(|run| run.counts().built > 0);
    let first = Trace::read(&course);
    assert!(first.work().len() > 5);
    // By a rename: a file that is seen half written would make two runs of one save.
    course.write("next.tmp", format!("{}\n# %%\n1 + 1\n", course.read(deck)));
    std::fs::rename(course.path("next.tmp"), course.path(deck)).unwrap();
    let run = watching.run_until(|run| run.counts().built > 0);
    let second = Trace::read(&course);
    let work = second.work();
    let made: BTreeSet<&str> = work.keys().copied().collect();
    let built = [Status::Built, Status::Written].map(|status| run.finished(status));
    assert_eq!(made, built.into_iter().flatten().collect());
    let runs = second.bars().filter(|bar| bar["name"] == "run");
    assert_eq!(runs.map(|bar| bar["ts"].clone()).collect::<Vec<_>>(), [0]);
    page(&course);
}

/// The text about the bar that is selected.
const DETAILS: &str = "document.getElementById('details').innerText";

#[test]
fn the_page_is_read_by_keyboard_in_light_and_dark() {
    let course = Course::fixture("mini");
    assert_eq!(course.build(&BOTH).code, 0);
    page(&course);
    let mut browser = Browser::start();
    browser.open(&format!("file://{}", course.path("timings.html").display()));
    browser.wait("document.getElementById('canvas').height > 300");
    // What is drawn, as a number that changes with it.
    let drawn = "[...document.getElementById('canvas').getContext('2d').getImageData(0, 0, 800, 300).data]\
                 .reduce((sum, byte, place) => (sum + byte * (place % 997)) % 1000003, 0)";
    browser.dark(false);
    browser.wait(&format!("{drawn} > 0"));
    let light = browser.value(drawn);
    browser.picture("timings-light");
    browser.dark(true);
    browser.wait(&format!("{drawn} !== {light}"));
    browser.picture("timings-dark");

    browser.value("document.getElementById('timeline').focus()");
    browser.press("ArrowRight");
    let first = browser.value(DETAILS);
    assert!(first.as_str().unwrap().contains("clm: "), "{first}");
    browser.press("ArrowDown");
    let below = browser.value(DETAILS);
    assert!(
        below.as_str().unwrap().contains("in this process: "),
        "{below}"
    );
    browser.press("+");
    browser.press("0");
    browser.press("Escape");
    assert_eq!(browser.value(DETAILS), "No bar is selected");
    // The slowest action is shown in the timeline, which then has the focus.
    browser.value("document.querySelector('#slowest button').click()");
    let slowest = browser.value("document.querySelector('#slowest button').title");
    let shown = browser.value(DETAILS);
    assert!(
        shown.as_str().unwrap().contains(slowest.as_str().unwrap()),
        "{shown}"
    );
    assert_eq!(browser.value("document.activeElement.id"), "timeline");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

/// A course that takes a while to plan, and hardly longer to build: all of its decks have the same code, which is executed
/// once, but for the first, which fails.
fn many_decks() -> Course {
    let topics: Vec<String> = (0..150).map(|number| format!("t{number:03}")).collect();
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let course = Course::with_topics(&names);
    course.edit(
        "course.xml",
        "<sections>",
        "<output-targets><output-target name=\"pages\"><path>output</path><kinds><kind>completed</kind></kinds>\
         <formats><format>html</format></formats><languages><language>en</language></languages></output-target>\
         </output-targets><sections>",
    );
    for (number, name) in (0..).zip(&names) {
        let code = if number == 0 { "1 / 0" } else { "2 + 3" };
        let prose = "# Some words.\n".repeat(200);
        let deck = format!(
            "# %% [markdown]\n# # Topic {number}\n{prose}\n# %%\n{code}\n\n# %% [markdown]\n{prose}"
        );
        course.write(
            &format!("slides/module_100/topic_{number:03}_{name}/slides_{name}.py"),
            deck,
        );
    }
    course
}

#[test]
fn a_course_that_was_never_built_is_reported_as_any_other() {
    let course = many_decks();
    let ran = course.build(&BOTH);
    let errors = ran.errors();
    assert_eq!(
        errors.len(),
        1,
        "{errors:?}\n{}\n{}",
        ran.stdout,
        ran.stderr
    );

    // The run is told of as any other: from its start, every action once, everything counted.
    assert!(matches!(ran.events[0], Event::RunStarted { actions, .. } if actions >= 300));
    let finished = ran.events.iter().filter_map(|event| match event {
        Event::ActionFinished { action, .. } => Some(action.as_str()),
        _ => None,
    });
    let mut finished: Vec<&str> = finished.collect();
    finished.sort_unstable();
    let count = finished.len();
    finished.dedup();
    assert_eq!(finished.len(), count);
    let Event::RunStarted { actions, .. } = ran.events[0] else {
        unreachable!()
    };
    let counts = ran.counts();
    assert_eq!(
        counts.made() + counts.fresh + counts.failed,
        actions,
        "{counts:?}"
    );

    // A build that knows something of the course makes the same.
    let other = many_decks();
    other.build(&["--only", "slides/module_100/topic_149_t149/slides_t149.py"]);
    let planned_first = other.build(&BOTH);
    assert_eq!(planned_first.code, 1, "{}", planned_first.stderr);
    assert_eq!(other.outputs(), course.outputs());
}

#[test]
fn a_failure_stops_a_build_that_is_to_fail_fast() {
    let course = many_decks();
    let ran = course.build(&["--fail-fast"]);
    assert_ne!(ran.code, 0);
    assert_eq!(ran.errors().len(), 1, "{}", ran.stdout);
    assert!(matches!(ran.events[0], Event::RunStarted { actions, .. } if actions >= 300));
    let counts = ran.counts();
    assert!(counts.failed >= 1 && counts.made() < 150, "{counts:?}");

    // What is left to do is done by the next one.
    let rest = course.build(&[]);
    let counts = rest.counts();
    assert_eq!((rest.code, counts.failed), (1, 2), "{}", rest.stdout);
    assert_eq!(course.outputs().len(), 149);
}
