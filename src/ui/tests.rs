mod logs;
mod reports;

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::*;
use crate::diagnostic::{Diagnostic, Reported, Severity};
use crate::engine::driver::WATCH_TRIGGER;
use crate::events::{ActionKind, Contents, Counts, Status};

fn plain(events: &[Event], verbosity: Verbosity) -> String {
    let mut out = Vec::new();
    {
        let mut reporter = plain::Plain::new(&mut out, verbosity, false);
        for event in events {
            reporter.event(event);
        }
    }
    String::from_utf8(out).unwrap()
}

fn finished(action: &str, kind: ActionKind, status: Status) -> Event {
    Event::ActionFinished {
        action: action.to_owned(),
        kind,
        source: action.split(' ').nth(1).unwrap_or_default().to_owned(),
        status,
        duration_ms: 1234,
        replayed: false,
        cause: None,
        not_made: 0,
        machine: None,
    }
}

fn events() -> Vec<Event> {
    let failure = Diagnostic::error("ZeroDivisionError: division by zero")
        .at("slides/m/t/slides_x.py", Some(12))
        .cell(4)
        .detail("\u{1b}[31mTraceback\u{1b}[0m\n  line")
        .hint("mend the cell");
    vec![
        finished("plantuml a.pu", ActionKind::Plantuml, Status::Built),
        finished("html b.py de", ActionKind::Html, Status::Fresh),
        finished("copy c", ActionKind::Copy, Status::Written),
        Event::Diagnostic(failure.into()),
        finished("execute x.py de", ActionKind::Execute, Status::Failed),
        Event::Output {
            path: "output/old.png".to_owned(),
            digest: None,
        },
        Event::RunFinished {
            run: 1,
            counts: Counts {
                built: 12,
                written: 30,
                restored: 3,
                fresh: 340,
                failed: 1,
                ..Counts::default()
            },
            duration_ms: 1234,
            interrupted: false,
        },
    ]
}

#[test]
fn plain_lines_tell_what_happened_once() {
    insta::assert_snapshot!(plain(&events(), Verbosity::default()), @r"
       built plantuml a.pu (1.2 s)
    slides/m/t/slides_x.py:12: error: ZeroDivisionError: division by zero (cell 4)
        Traceback
          line
    hint: mend the cell
     removed output/old.png
      failed x.py
    Built 12, written 30, restored 3, fresh 340, removed 0, failed 1 in 1.2 s
    ");
}

#[test]
fn a_failing_source_is_one_line_and_a_failure_of_before_is_still_failing() {
    let failed = |action: &str, replayed: bool, cause: Option<&str>, not_made: u64| {
        let mut event = finished(action, ActionKind::Html, Status::Failed);
        if let Event::ActionFinished {
            replayed: is_replayed,
            cause: because,
            not_made: outputs,
            machine: None,
            ..
        } = &mut event
        {
            (*is_replayed, *outputs) = (replayed, not_made);
            *because = cause.map(str::to_owned);
        }
        event
    };
    let all = [
        failed("execute a.py de", false, None, 8),
        failed("html a.py de", false, Some("execute a.py de"), 0),
        failed("execute a.py en", true, None, 8),
        failed("execute b.py de", true, None, 1),
        failed("html b.py de", true, Some("execute b.py de"), 0),
        // Reported with the tool that is missing.
        failed("plantuml c.pu", false, Some("PlantUML is not installed"), 2),
        run_finished(),
    ];
    assert_eq!(
        plain(&all, Verbosity::default()),
        "  failed a.py (16 outputs not made)\nstill failing: b.py (1 output not made)\n\
         Built 0, written 0, restored 0, fresh 0, removed 0, failed 0 in 0.00 s\n"
    );
}

#[test]
fn quiet_says_only_what_went_wrong() {
    let text = plain(
        &events(),
        Verbosity {
            quiet: true,
            verbose: false,
        },
    );
    assert!(text.starts_with("slides/m/t"));
    assert!(!text.contains("removed output"));
}

#[test]
fn json_lines_are_events() {
    let mut out = Vec::new();
    let mut reporter = json::Json::new(&mut out);
    for event in events() {
        reporter.event(&event);
    }
    let text = String::from_utf8(out).unwrap();
    let read: Vec<Event> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(read, events());
    assert!(
        text.lines()
            .last()
            .unwrap()
            .starts_with(r#"{"event":"run_finished","run":1,"built":12"#)
    );
}

#[test]
fn github_gets_annotations() {
    let diagnostic = Diagnostic::error("50 %\n\u{1b}[31mwrong\u{1b}[0m")
        .at("a,b.py", Some(3))
        .column(7)
        .cell(2)
        .hint("h");
    assert_eq!(
        github::annotation(&diagnostic),
        "::error file=a%2Cb.py,line=3,col=7::50 %25%0Awrong (cell 2)%0Ahint: h\n"
    );
}

#[test]
fn durations_are_readable() {
    for (ms, text) in [(40, "0.04 s"), (1234, "1.2 s"), (184_000, "3 min 4 s")] {
        assert_eq!(text::duration(ms), text);
    }
}

#[test]
fn colours_of_programs_stay_out_of_sentences() {
    let diagnostic =
        Diagnostic::error("\u{1b}[1mbold\u{1b}[0m move").detail("\u{1b}[31mred\u{1b}[0m");
    assert_eq!(
        text::diagnostic(&diagnostic, false),
        "error: bold move\n    red"
    );
    let coloured = text::diagnostic(&diagnostic, true);
    assert!(
        coloured.contains(": bold move\n    \u{1b}[31mred"),
        "{coloured:?}"
    );
}

fn place() -> Place {
    Place {
        spec: PathBuf::from("/home/me/my course/course.xml"),
        root: PathBuf::from("/home/me/my course"),
    }
}

#[test]
fn editors_get_a_line_for_each_diagnostic() {
    let line = |diagnostic: &Diagnostic| short::line(diagnostic, Some(&place()));
    let error = Diagnostic::error("\u{1b}[31mone\u{1b}[0m\n  two")
        .at("slides/a b.py", Some(12))
        .column(7)
        .cell(4)
        .detail("Traceback\n  /elsewhere.py:1: error: not this")
        .hint("mend\nit");
    assert_eq!(
        line(&error),
        "/home/me/my course/slides/a b.py:12:7: error: one two (cell 4); hint: mend it"
    );
    let outside = Diagnostic::warning("odd").at("/tmp/x.env", Some(3));
    assert_eq!(line(&outside), "/tmp/x.env:3: warning: odd");
    let without_line = Diagnostic::warning("odd").at("a.drawio", None);
    assert_eq!(
        line(&without_line),
        "/home/me/my course/a.drawio:1: warning: odd"
    );
    let without_file = Diagnostic::error("the disk is full");
    assert_eq!(
        line(&without_file),
        "/home/me/my course/course.xml:1: error: the disk is full"
    );
    assert_eq!(
        short::line(&without_file, None),
        "clm: error: the disk is full"
    );
    let note = Diagnostic::new(Severity::Note, "alone");
    assert_eq!(line(&note), "clm: note: alone");
}

#[test]
fn data_for_editors_is_apart_from_what_people_read() {
    let (mut data, mut people) = (Vec::new(), Vec::new());
    {
        let verbosity = Verbosity::default();
        let mut reporter = short::Short::new(&mut data, &mut people, Some(place()), verbosity);
        for event in events() {
            reporter.event(&event);
        }
        reporter.finish();
    }
    assert_eq!(
        String::from_utf8(data).unwrap(),
        "/home/me/my course/slides/m/t/slides_x.py:12: error: ZeroDivisionError: division by zero (cell 4); \
         hint: mend the cell\n"
    );
    assert_eq!(
        String::from_utf8(people).unwrap(),
        " removed output/old.png\nBuilt 12, written 30, restored 3, fresh 340, removed 0, failed 1 in 1.2 s\n"
    );
}

/// The output of a reporter, which tests can read meanwhile.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Written {
    /// Returns the lines since the last call, without the time of day.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        let without_time = |line: &str| match line.split_once(' ') {
            Some((time, rest)) if time.len() == 8 && time.matches(':').count() == 2 => {
                format!("TIME {rest}")
            }
            _ => line.to_owned(),
        };
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(without_time).collect()
    }
}

fn reported(action: &str, diagnostic: Diagnostic) -> Event {
    Event::Diagnostic(Reported {
        action: Some(action.into()),
        diagnostic,
    })
}

/// Sends the events of a run to a watch, with its begin and end.
fn run_of(watch: &mut Watch, events: &[Event]) {
    watch.event(&Event::Planned {
        outputs: 1,
        contents: Contents::default(),
    });
    watch.event(&Event::RunStarted {
        run: 1,
        trigger: WATCH_TRIGGER.to_owned(),
        actions: 1,
    });
    for event in events {
        watch.event(event);
    }
    watch.event(&run_finished());
}

fn run_finished() -> Event {
    Event::RunFinished {
        run: 1,
        counts: Counts::default(),
        duration_ms: 1,
        interrupted: false,
    }
}

fn action_of(source: &str, status: Status) -> Event {
    Event::ActionFinished {
        action: format!("html {source}"),
        kind: ActionKind::Html,
        source: source.to_owned(),
        status,
        duration_ms: 1,
        replayed: false,
        cause: None,
        not_made: 0,
        machine: None,
    }
}

const NOTHING: &str = "TIME Built 0, written 0, restored 0, fresh 0, removed 0, failed 0 in 0.00 s";

#[test]
fn a_watch_tells_an_editor_with_every_run_all_that_holds() {
    let written = Written::default();
    let mut watch = Watch::short(Box::new(written.clone()), place(), false);
    let warning = reported("html a.py", Diagnostic::warning("odd").at("a.py", Some(1)));
    let about_spec = Diagnostic::warning("old").at("course.xml", Some(2));
    let about_spec = Event::Diagnostic(about_spec.into());
    let error = reported("html b.py", Diagnostic::error("wrong").at("b.py", Some(3)));
    let [warned, spec_warned, failed] = [
        "/home/me/my course/a.py:1: warning: odd",
        "/home/me/my course/course.xml:2: warning: old",
        "/home/me/my course/b.py:3: error: wrong",
    ];
    let a_is_looked_at = action_of("a.py", Status::Fresh);
    let events = [about_spec, warning, a_is_looked_at.clone()];
    run_of(&mut watch, &events);
    assert_eq!(
        written.take(),
        [
            "TIME Building what is stale ...",
            spec_warned,
            warned,
            NOTHING
        ]
    );

    // `a.py` is known to be up to date and is not processed; the specification was fixed.
    run_of(
        &mut watch,
        &[error.clone(), action_of("b.py", Status::Failed)],
    );
    assert_eq!(
        written.take(),
        [
            "TIME Building what is stale ...",
            failed,
            warned,
            &format!("{NOTHING}: b.py")
        ]
    );

    // Nothing has changed, so the editor need not be updated.
    run_of(&mut watch, std::slice::from_ref(&error));
    assert_eq!(written.take(), Vec::<String>::new());

    run_of(&mut watch, &[error, a_is_looked_at]);
    assert_eq!(
        written.take(),
        ["TIME Building what is stale ...", failed, NOTHING]
    );
    run_of(&mut watch, &[action_of("b.py", Status::Fresh)]);
    assert_eq!(
        written.take(),
        ["TIME Building what is stale ...", "   fixed b.py", NOTHING]
    );
}

#[test]
fn a_watch_says_at_once_what_happens_between_runs() {
    let written = Written::default();
    let mut watch = Watch::lines(
        Box::new(written.clone()),
        "course.xml".to_owned(),
        false,
        false,
    );
    let wrong_settings = Diagnostic::error("unknown field `x`").at("clm.toml", Some(1));
    watch.event(&Event::Diagnostic(wrong_settings.into()));
    assert_eq!(written.take(), ["clm.toml:1: error: unknown field `x`"]);
    let error = reported("html b.py", Diagnostic::error("wrong").at("b.py", Some(3)));
    run_of(&mut watch, &[error]);
    assert_eq!(
        written.take(),
        [
            "TIME Building what is stale ...",
            "b.py:3: error: wrong",
            NOTHING
        ]
    );
    // A run that was refused before it began fixes nothing.
    watch.event(&run_finished());
    assert_eq!(written.take(), Vec::<String>::new());
}
