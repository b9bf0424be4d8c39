//! Logs of pipelines.

use super::*;
use crate::ui::pipeline::{self, Dialect};

/// What a log has and the annotations, with the times and numbers of sections replaced.
fn in_pipeline(dialect: Dialect, events: &[Event], verbosity: Verbosity) -> (String, String) {
    let (out, annotations) = (Written::default(), Written::default());
    let streams = (out.clone(), annotations.clone());
    let mut reporter = pipeline::Pipeline::new(dialect, streams, verbosity, Paths::default());
    for event in events {
        reporter.event(event);
    }
    reporter.finish();
    let text = |written: Written| String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let numbers = regex::Regex::new(r":\d{9,}:clm_\d+_").unwrap();
    let log = numbers.replace_all(&text(out), ":TIME:clm_N_").into_owned();
    (log, text(annotations))
}

#[test]
fn a_pipeline_folds_what_was_made_and_never_an_error() {
    let mut all = events();
    all.insert(
        0,
        finished("html 0.py de", ActionKind::Html, Status::Restored),
    );
    let (log, annotations) = in_pipeline(Dialect::GitHub, &all, Verbosity::default());
    let expected = [
        "::group::What clm made",
        "restored html 0.py de",
        "   built plantuml a.pu (1.2 s)",
        "::endgroup::",
        "slides/m/t/slides_x.py:12: error: ZeroDivisionError: division by zero (cell 4)",
        "    Traceback",
        "      line",
        "hint: mend the cell",
        "::group::What clm made",
        " removed output/old.png",
        "::endgroup::",
        "  failed x.py",
        "Built 12, written 30, restored 3, fresh 340, removed 0, failed 1 in 1.2 s",
        "",
    ];
    assert_eq!(log, expected.join("\n"));
    assert_eq!(
        annotations,
        "::error file=slides/m/t/slides_x.py,line=12::ZeroDivisionError: division by zero (cell 4)%0Ahint: mend the cell\n"
    );
    let (log, annotations) = in_pipeline(Dialect::GitLab, &all, Verbosity::default());
    assert_eq!(annotations, "");
    let start = "\u{1b}[0Ksection_start:TIME:clm_N_1[collapsed=true]\r\u{1b}[0KWhat clm made\nrestored html";
    assert!(log.starts_with(start), "{log:?}");
    let end = "\n\u{1b}[0Ksection_end:TIME:clm_N_1\r\u{1b}[0K\nslides/m/t/slides_x.py:12: error";
    assert!(log.contains(end), "{log:?}");
    assert_eq!(log.matches("section_start:TIME:clm_N_2").count(), 1);
    assert_eq!(log.matches("section_end:TIME:clm_N_2").count(), 1);
    let (log, _) = in_pipeline(Dialect::Plain, &all, Verbosity::default());
    assert_eq!(log, plain(&all, Verbosity::default()));
    let quiet = Verbosity {
        quiet: true,
        verbose: false,
    };
    let (log, _) = in_pipeline(Dialect::GitHub, &all, quiet);
    assert!(!log.contains("group"), "{log}");
}

#[test]
fn nothing_that_others_wrote_is_a_command_in_a_log() {
    let name = "slides/a\n::error::b\r::set-env name=A::x.py";
    let diagnostic = Diagnostic::error("wrong\r::stop-commands::x\n::endgroup::")
        .at(name, Some(3))
        .detail("Traceback\n::add-mask::x\n   ::set-output name=a::b\n##[group]x ##vso[task.x]y\n%0A::warning::z")
        .hint("do\n::debug::this");
    let all = [
        finished(
            &format!("execute {name}"),
            ActionKind::Execute,
            Status::Built,
        ),
        Event::Diagnostic(diagnostic.into()),
        Event::Output {
            path: "output/\n::notice::x".to_owned(),
            digest: None,
        },
        run_finished(),
    ];
    for dialect in [Dialect::GitHub, Dialect::GitLab, Dialect::Plain] {
        let (log, annotations) = in_pipeline(dialect, &all, Verbosity::default());
        let is_command = |line: &&str| line.trim_start().starts_with("::") || line.contains("##[");
        let commands: Vec<&str> = log.split(['\n', '\r']).filter(is_command).collect();
        let own: &[&str] = match dialect {
            Dialect::GitHub => &[
                "::group::What clm made",
                "::endgroup::",
                "::group::What clm made",
                "::endgroup::",
            ],
            _ => &[],
        };
        assert_eq!(commands, own, "{log}");
        assert!(!log.contains("##vso["), "{log}");
        let lines: Vec<&str> = annotations.split(['\n', '\r']).collect();
        match dialect {
            Dialect::GitHub => {
                assert_eq!(lines.len(), 2, "{annotations:?}");
                assert!(
                    lines[0].starts_with("::error file=slides/a%0A%3A%3Aerror"),
                    "{annotations}"
                );
            }
            _ => assert_eq!(annotations, ""),
        }
    }
}
