//! The results of a command as JUnit XML, which pipelines show as tests.

use std::collections::BTreeMap;
use std::time::Duration;

use console::strip_ansi_codes;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::diagnostic::{Diagnostic, Reported};
use crate::events::Status;

use super::Paths;
use super::results::{Done, Mode, Results};

/// The suite of what belongs to no topic.
const COURSE: &str = "course";
/// What the directory or file of a topic begins with.
const TOPIC: &str = "topic_";

/// Returns the text of the file: a suite for each topic, a case for each action that was made, restored or failed, and
/// for each file with errors that no action reported. `paths` names the files.
pub(super) fn xml(results: &Results, paths: &Paths) -> String {
    let mut suites: BTreeMap<String, Vec<TestCase>> = BTreeMap::new();
    for done in &results.actions {
        if let Some(status) = status_of(results, done, paths) {
            let suite = suite_of(&done.source);
            let case = case(&done.action, &suite, status, Some(done), results, paths);
            suites.entry(suite).or_default().push(case);
        }
    }
    for stale in results.checked.iter().flat_map(|checked| &checked.stale) {
        let source = stale.source.as_ref().map_or("", |source| source.as_str());
        let suite = suite_of(source);
        let status = stale_status(results.mode, &stale.reasons);
        let case = case(&stale.action, &suite, status, None, results, paths);
        suites.entry(suite).or_default().push(case);
    }
    for (name, found) in of_no_action(results) {
        let status = failure(NonSuccessKind::Error, &found, paths);
        let mut case = case(&name, COURSE, status, None, results, paths);
        place(&mut case, found.first().copied(), paths);
        suites.entry(COURSE.to_owned()).or_default().push(case);
    }
    let mut report = Report::new("clm build");
    if let Some(ms) = results.duration_ms {
        report.set_time(Duration::from_millis(ms));
    }
    for (name, cases) in suites {
        let mut suite = TestSuite::new(clean(&name));
        suite.set_time(cases.iter().filter_map(|case| case.time).sum());
        suite.add_test_cases(cases);
        report.add_test_suite(suite);
    }
    report.to_string().unwrap_or_default()
}

/// Returns the status of an action, or `None` if it is not listed.
fn status_of(results: &Results, done: &Done, paths: &Paths) -> Option<TestCaseStatus> {
    match done.status {
        Status::Built | Status::Written | Status::Restored => Some(TestCaseStatus::success()),
        Status::Fresh | Status::Superseded => None,
        Status::Failed => Some(match &done.cause {
            Some(cause) if results.has_failed(cause) => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(clean(&format!("needs `{cause}`, which failed")));
                status
            }
            Some(cause) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
                status
                    .set_type("error")
                    .set_message(clean(&one_line(cause)));
                status
            }
            None => {
                let errors = results.of_action(Some(&done.action));
                let found: Vec<&Diagnostic> = errors
                    .map(|reported| &reported.diagnostic)
                    .filter(|diagnostic| diagnostic.is_error())
                    .collect();
                failure(NonSuccessKind::Failure, &found, paths)
            }
        }),
    }
}

fn stale_status(mode: Mode, reasons: &[String]) -> TestCaseStatus {
    let reasons = one_line(&reasons.join("; "));
    let mut status = match mode {
        Mode::Check => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Mode::Build | Mode::DryRun | Mode::Verify => TestCaseStatus::skipped(),
    };
    if mode == Mode::Check {
        status.set_type("stale");
    }
    status.set_message(clean(&format!("not up to date: {reasons}")));
    status
}

fn failure(kind: NonSuccessKind, found: &[&Diagnostic], paths: &Paths) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    let message = found
        .first()
        .map_or("failed", |first| first.message.as_str());
    let texts = found.iter().map(|diagnostic| {
        let mut text = super::text::diagnostic(&paths.named(diagnostic), false);
        text.push('\n');
        text
    });
    status
        .set_type("error")
        .set_message(clean(&one_line(message)))
        .set_description(clean(&texts.collect::<String>()));
    status
}

fn case(
    name: &str,
    suite: &str,
    status: TestCaseStatus,
    done: Option<&Done>,
    results: &Results,
    paths: &Paths,
) -> TestCase {
    let mut case = TestCase::new(clean(&one_line(name)), status);
    case.set_classname(clean(suite));
    let Some(done) = done else {
        return case;
    };
    case.set_time(Duration::from_millis(done.duration_ms));
    if !done.reasons.is_empty() {
        case.set_system_out(clean(&format!(
            "{}: {}",
            done.status.name(),
            done.reasons.join("; ")
        )));
    }
    let errors = results.of_action(Some(&done.action));
    let first = errors
        .map(|reported| &reported.diagnostic)
        .find(|found| found.is_error());
    match first {
        Some(first) => place(&mut case, Some(first), paths),
        None => {
            case.extra
                .insert("file".into(), clean(&paths.name(&done.source)).into());
        }
    }
    case
}

/// Adds the file and the line of a diagnostic.
fn place(case: &mut TestCase, diagnostic: Option<&Diagnostic>, paths: &Paths) {
    let Some(Diagnostic {
        file: Some(file),
        line,
        ..
    }) = diagnostic
    else {
        return;
    };
    case.extra
        .insert("file".into(), clean(&paths.name(file)).into());
    if let Some(line) = line {
        case.extra.insert("line".into(), line.to_string().into());
    }
}

/// Returns the errors that no failed action has reported, by file.
fn of_no_action(results: &Results) -> BTreeMap<String, Vec<&Diagnostic>> {
    let is_told = |reported: &Reported| {
        let action = reported.action.as_deref();
        action.is_some_and(|action| results.has_failed(action))
    };
    let mut found: BTreeMap<String, Vec<&Diagnostic>> = BTreeMap::new();
    for reported in results
        .diagnostics
        .iter()
        .filter(|reported| !is_told(reported))
    {
        let diagnostic = &reported.diagnostic;
        if diagnostic.is_error() {
            let name = diagnostic.file.clone().unwrap_or_else(|| COURSE.to_owned());
            found.entry(name).or_default().push(diagnostic);
        }
    }
    found
}

/// Returns the topic of a source: the path down to its directory or file.
fn suite_of(source: &str) -> String {
    let mut path = Vec::new();
    for part in source.split('/') {
        path.push(part);
        if part.starts_with(TOPIC) {
            return path.join("/");
        }
    }
    path.pop();
    match path.is_empty() {
        true => COURSE.to_owned(),
        false => path.join("/"),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<&str>>().join(" ")
}

/// Removes colours and the characters that XML 1.0 cannot have.
fn clean(text: &str) -> String {
    let text = strip_ansi_codes(text)
        .replace('\t', "    ")
        .replace("\r\n", "\n");
    let is_allowed = |char: &char| match char {
        '\n' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        char => !char.is_control(),
    };
    text.chars().filter(is_allowed).collect()
}
