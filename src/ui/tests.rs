use super::*;
use crate::events::{ActionKind, Counts, Diagnostic, Status};

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
        source: String::new(),
        status,
        duration_ms: 1234,
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
        finished("copy c", ActionKind::Copy, Status::Built),
        Event::Diagnostic(failure.clone()),
        Event::Diagnostic(failure),
        finished("execute x.py de", ActionKind::Execute, Status::Failed),
        Event::Output {
            path: "output/old.png".to_owned(),
            digest: None,
        },
        Event::RunFinished {
            run: 1,
            counts: Counts {
                built: 12,
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
      failed execute x.py de
     removed output/old.png
    Built 12, restored 3, fresh 340, removed 0, failed 1 in 1.2 s
    ");
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
fn the_summary_lists_what_failed() {
    let mut summary = Summary::default();
    for event in events() {
        summary.add(&event);
    }
    let json: serde_json::Value = serde_json::from_str(&summary.to_json()).unwrap();
    assert_eq!(json["failed"], 1);
    assert_eq!(json["failed_actions"][0], "execute x.py de");
    assert_eq!(json["diagnostics"].as_array().unwrap().len(), 1);
    assert_eq!(json["duration_ms"], 1234);
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
