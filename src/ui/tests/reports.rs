//! Files with results: JSON, Markdown and JUnit XML.

use pulldown_cmark::{Event as Markup, Options, Parser, Tag};

use super::*;
use crate::engine::{Checked, Stale};
use crate::events::CacheUse;
use crate::ui::results::{Mode, Results};
use crate::ui::{junit, markdown, summary};

/// A text that tries to be Markdown, HTML, XML and a command.
const HOSTILE: &str = "<b>x</b> & | `a` ``` ~~~ [l](http://e.x) ![i](u) @me #1 :smile: $x$ ]]> \u{1b}[31mred\u{1b}[0m \
                       \u{0}\u{8}\u{c}\u{fffe}\u{ffff} \\";

fn results_of(mode: Mode, events: &[Event]) -> Results {
    let mut results = Results::new(mode, true);
    for event in events {
        results.add(event);
    }
    results
}

fn started(action: &str, reason: &str) -> Event {
    Event::ActionStarted {
        action: action.to_owned(),
        kind: ActionKind::Html,
        source: "slides/m/topic_010_a/a.py".to_owned(),
        reasons: vec![reason.to_owned()],
    }
}

fn ended(action: &str, source: &str, status: Status, cause: Option<&str>) -> Event {
    Event::ActionFinished {
        action: action.to_owned(),
        kind: ActionKind::Html,
        source: source.to_owned(),
        status,
        duration_ms: 1500,
        replayed: false,
        cause: cause.map(str::to_owned),
        not_made: 1,
        machine: None,
    }
}

const A: &str = "slides/m/topic_010_a/a.py";
const B: &str = "slides/m/topic_020_b.py";

/// A run in which everything happens that can happen.
fn all() -> Vec<Event> {
    let failure = Diagnostic::error("ValueError: no")
        .at(B, Some(7))
        .cell(2)
        .detail("Traceback\n\tline")
        .hint("mend it");
    vec![
        started("html a.py de", "a.py has changed"),
        ended("html a.py de", A, Status::Built, None),
        ended("html a.py en", A, Status::Restored, None),
        ended("copy a.csv", A, Status::Written, None),
        ended("html c.py en", A, Status::Fresh, None),
        reported("execute b.py de", failure),
        ended("execute b.py de", B, Status::Failed, None),
        ended("html b.py de", B, Status::Failed, Some("execute b.py de")),
        ended(
            "plantuml c.pu",
            A,
            Status::Failed,
            Some("PlantUML is not installed"),
        ),
        Event::Diagnostic(
            Diagnostic::error("there is no topic `x`")
                .at("course.xml", Some(3))
                .into(),
        ),
        Event::Diagnostic(Diagnostic::warning("odd").at("course.xml", Some(4)).into()),
        Event::Output {
            path: "output/old.html".to_owned(),
            digest: None,
        },
        Event::RunFinished {
            run: 1,
            counts: Counts {
                built: 1,
                written: 1,
                restored: 1,
                fresh: 1,
                failed: 3,
                removed: 1,
                ..Counts::default()
            },
            duration_ms: 2500,
            interrupted: false,
        },
    ]
}

#[test]
fn the_summary_lists_what_failed_and_how_it_ended() {
    let mut results = results_of(Mode::Build, &all());
    results.end(1);
    let json: serde_json::Value = serde_json::from_str(&summary::json(&results)).unwrap();
    assert_eq!(
        (&json["failed"], &json["exit_code"]),
        (&3.into(), &1.into())
    );
    assert_eq!(
        (&json["outcome"], &json["mode"]),
        (&"failure".into(), &"build".into())
    );
    assert_eq!(json["failed_actions"][0], "execute b.py de");
    assert_eq!(json["built_actions"], serde_json::json!(["html a.py de"]));
    assert_eq!(json["diagnostics"].as_array().unwrap().len(), 3);
    assert_eq!(json["duration_ms"], 2500);
}

#[test]
fn a_run_that_did_not_end_is_told_as_far_as_it_went() {
    let mut events = all();
    events.pop();
    let mut results = results_of(Mode::Build, &events);
    results.fail(&Error::interrupted());
    results.end(130);
    let json: serde_json::Value = serde_json::from_str(&summary::json(&results)).unwrap();
    assert_eq!(json["outcome"], "interrupted");
    assert_eq!((&json["built"], &json["failed"]), (&1.into(), &3.into()));
    assert!(json["duration_ms"].is_null());
    let page = markdown::page(&results, &Paths::default(), markdown::LIMIT);
    assert!(
        page.starts_with("## clm: the course was stopped before it was done\n"),
        "{page}"
    );
    let xml = junit::xml(&results, &Paths::default());
    assert!(xml.contains("message=\"interrupted\""), "{xml}");
}

#[test]
fn an_action_that_is_made_again_counts_with_its_last_outcome() {
    let events = [
        ended("html a.py de", A, Status::Superseded, None),
        ended("html a.py de", A, Status::Failed, None),
        ended("html a.py de", A, Status::Built, None),
    ];
    let results = results_of(Mode::Build, &events);
    assert_eq!(results.with(Status::Built).count(), 1);
    assert!(!results.has_failed("html a.py de"));
    let xml = junit::xml(&results, &Paths::default());
    assert_eq!(xml.matches("<testcase").count(), 1, "{xml}");
}

#[test]
fn the_page_of_a_job_says_what_was_made_and_why() {
    let mut results = results_of(Mode::Build, &all());
    results.course = Some("course.xml".to_owned());
    results.end(1);
    let page = markdown::page(&results, &Paths::default(), markdown::LIMIT);
    insta::assert_snapshot!(page, @r"
    ## clm: `course.xml` has errors

    | built | written | restored | fresh | removed | failed |
    |--:|--:|--:|--:|--:|--:|
    | 1 | 1 | 1 | 1 | 1 | 3 |

    - Cache: 2 of 3 results were known (66 %)
    - Time: 2.5 s

    ### Errors

    - `slides/m/topic_020_b.py:7`, cell 2: `ValueError: no`
      Hint: `mend it`

    ```text
    Traceback
    	line
    ```

    - `course.xml:3`: `` there is no topic `x` ``

    ### What was made and why

    - built `html a.py de` in 1.5 s: `a.py has changed`
    - restored `html a.py en`: its result was in the cache
    - written `copy a.csv`: its output was not there

    ### The slowest decks

    - `slides/m/topic_010_a/a.py`: 1.5 s

    ### Warnings

    - `course.xml:4`: `odd`

    ### Removed outputs

    - `output/old.html`
    ");
}

#[test]
fn the_page_of_a_check_lists_what_is_stale() {
    let mut results = Results::new(Mode::Check, true);
    results.check(&Checked {
        stale: vec![Stale {
            action: "html a.py de".to_owned(),
            kind: None,
            source: None,
            reasons: vec!["a.py has changed".to_owned()],
        }],
        has_errors: false,
    });
    results.end(4);
    let page = markdown::page(&results, &Paths::default(), markdown::LIMIT);
    assert_eq!(
        page,
        "## clm: the course: 1 action is not up to date; nothing was made\n\n\
         ### Not up to date\n\n- `html a.py de`: `a.py has changed`\n\n"
    );
    let xml = junit::xml(&results, &Paths::default());
    assert!(
        xml.contains("failures=\"1\"") && xml.contains("not up to date: a.py has changed"),
        "{xml}"
    );
    results = Results::new(Mode::DryRun, true);
    results.end(0);
    let page = markdown::page(&results, &Paths::default(), markdown::LIMIT);
    assert_eq!(
        page,
        "## clm: the course is up to date; nothing was made\n\n"
    );
}

#[test]
fn the_page_of_a_job_tells_hits_by_level() {
    let mut events = all();
    let cache = CacheUse {
        local: 1,
        remote: 2,
        missed: 3,
        received_bytes: 1_500_000,
        sent: 4,
        sent_bytes: 20,
        saved_ms: 90_000,
    };
    events.insert(0, Event::CacheUsed(cache));
    let results = results_of(Mode::Build, &events);
    let page = markdown::page(&results, &Paths::default(), markdown::LIMIT);
    let expected = "- From the cache of the course: 1\n- From the shared cache: 2, 1.5 MB\n- Not in the shared cache: 3\n\
                    - Sent to the shared cache: 4, 20 B\n- Saved work: 90.0 s\n";
    assert!(page.contains(expected), "{page}");
    let json: serde_json::Value = serde_json::from_str(&summary::json(&results)).unwrap();
    assert_eq!(json["cache"]["remote"], 2);
}

/// Everything with a hostile text in it, whatever can have one.
fn hostile() -> Results {
    let fences =
        "```\n<script>\n````\n~~~\n::error::x\n# h\n\n- [ ] x\n</details>\r\n\u{1b}[2J\tend";
    let failure = Diagnostic::error(HOSTILE).at(format!("slides/{HOSTILE}\n# h.py"), Some(1));
    let failure = failure
        .detail(format!("{fences}{HOSTILE}"))
        .hint(format!("`\n\n</details>{HOSTILE}`"));
    let mut results = results_of(
        Mode::Build,
        &[
            started(HOSTILE, &format!("{HOSTILE}\n\n# h")),
            ended(HOSTILE, HOSTILE, Status::Built, None),
            reported("x", failure.clone()),
            ended("x", HOSTILE, Status::Failed, None),
            ended(
                "y",
                "slides/topic_\u{1b}[31m<",
                Status::Failed,
                Some(HOSTILE),
            ),
            Event::Diagnostic(failure.into()),
            Event::Diagnostic(Diagnostic::warning("`` `").at("` `", None).into()),
            Event::Output {
                path: format!("output/\n\n{HOSTILE}"),
                digest: None,
            },
        ],
    );
    results.course = Some(HOSTILE.to_owned());
    results.end(1);
    results
}

#[test]
fn what_authors_wrote_is_never_markup_on_the_page() {
    let page = markdown::page(&hostile(), &Paths::default(), markdown::LIMIT);
    assert!(!page.contains('\u{1b}') && !page.contains('\u{0}'));
    let mut options = Options::all();
    options.remove(Options::ENABLE_SMART_PUNCTUATION);
    let mut is_in_block = false;
    for markup in Parser::new_ext(&page, options) {
        match markup {
            Markup::Start(Tag::CodeBlock(_)) => is_in_block = true,
            Markup::End(pulldown_cmark::TagEnd::CodeBlock) => is_in_block = false,
            Markup::Html(html) | Markup::InlineHtml(html) => panic!("{html:?} in\n{page}"),
            Markup::Start(Tag::Link { .. } | Tag::Image { .. } | Tag::Strong | Tag::Emphasis)
            | Markup::InlineMath(_)
            | Markup::DisplayMath(_)
            | Markup::TaskListMarker(_)
            | Markup::FootnoteReference(_) => panic!("{markup:?} in\n{page}"),
            Markup::Text(text) if !is_in_block => {
                let is_hostile = ["@me", "#1", ":smile:", "script", "http", "h.py"]
                    .iter()
                    .any(|part| text.contains(part));
                assert!(!is_hostile, "{text:?} in\n{page}");
            }
            _ => {}
        }
    }
    assert!(page.contains("````\n"), "the content is there: {page}");
}

#[test]
fn a_page_that_is_too_long_says_what_was_cut() {
    let mut events = Vec::new();
    for number in 0..3000 {
        let action = format!("html {number} {}", "x".repeat(600));
        events.push(started(&action, "new"));
        events.push(ended(&action, A, Status::Built, None));
        if number < 100 {
            let failure = Diagnostic::error(format!("wrong {number}")).detail("ü".repeat(10_000));
            events.push(reported(&action, failure));
        }
    }
    let results = results_of(Mode::Build, &events);
    for limit in [markdown::LIMIT, 100_000, 16_384] {
        let page = markdown::page(&results, &Paths::default(), limit);
        assert!(page.len() <= limit, "{} of {limit}", page.len());
        assert!(page.len() + 40_000 > limit, "{} of {limit}", page.len());
        assert!(
            page.contains(" are cut: the page would be too long"),
            "{}",
            &page[page.len() - 500..]
        );
        assert!(page.contains("bytes are cut]\n") || limit == 16_384);
        assert_eq!(
            page.matches("<details>").count(),
            page.matches("</details>").count()
        );
    }
}

/// The attributes of the cases by name, and the name of the element inside, if any.
fn cases(xml: &str) -> Vec<(String, String, Option<String>)> {
    let document = roxmltree::Document::parse(xml).unwrap_or_else(|error| panic!("{error}\n{xml}"));
    let cases = document
        .descendants()
        .filter(|node| node.has_tag_name("testcase"));
    cases
        .map(|case| {
            let suite = case.parent_element().unwrap().attribute("name").unwrap();
            let inside = case
                .children()
                .find(|node| node.is_element() && !node.has_tag_name("system-out"));
            let inside = inside.map(|node| {
                let message = node.attribute("message").unwrap_or_default();
                format!("{}: {message}", node.tag_name().name())
            });
            (
                suite.to_owned(),
                case.attribute("name").unwrap().to_owned(),
                inside,
            )
        })
        .collect()
}

#[test]
fn junit_has_a_suite_for_each_topic_and_a_case_for_each_action() {
    let mut results = results_of(Mode::Build, &all());
    results.end(1);
    let xml = junit::xml(&results, &Paths::default());
    let (a, b) = ("slides/m/topic_010_a", "slides/m/topic_020_b.py");
    let expected = [
        ("course", "course.xml", Some("error: there is no topic `x`")),
        (a, "html a.py de", None),
        (a, "html a.py en", None),
        (a, "copy a.csv", None),
        (a, "plantuml c.pu", Some("error: PlantUML is not installed")),
        (b, "execute b.py de", Some("failure: ValueError: no")),
        (
            b,
            "html b.py de",
            Some("skipped: needs `execute b.py de`, which failed"),
        ),
    ];
    let expected = expected.map(|(suite, name, inside)| {
        (suite.to_owned(), name.to_owned(), inside.map(str::to_owned))
    });
    assert_eq!(cases(&xml), expected);
    let document = roxmltree::Document::parse(&xml).unwrap();
    let root = document.root_element();
    let number = |name: &str| root.attribute(name).unwrap().to_owned();
    assert_eq!(
        ["tests", "failures", "errors", "skipped"].map(number),
        ["7", "1", "2", "1"]
    );
    let failure = document
        .descendants()
        .find(|node| node.has_tag_name("failure"))
        .unwrap();
    assert_eq!(
        failure.text().unwrap(),
        "slides/m/topic_020_b.py:7: error: ValueError: no (cell 2)\n    Traceback\n        line\nhint: mend it\n"
    );
    let case = failure.parent_element().unwrap();
    assert_eq!(
        (case.attribute("file"), case.attribute("line")),
        (Some(B), Some("7"))
    );
    assert_eq!(case.attribute("time"), Some("1.500"));
}

#[test]
fn junit_is_xml_whatever_authors_wrote() {
    let xml = junit::xml(&hostile(), &Paths::default());
    assert_eq!(cases(&xml).len(), 4, "{xml}");
    assert!(xml.contains("&lt;script&gt;"), "{xml}");
    let is_forbidden =
        |char: char| matches!(char, '\u{fffe}' | '\u{ffff}') || (char.is_control() && char != '\n');
    assert!(!xml.contains(is_forbidden));
    let nothing = junit::xml(&Results::default(), &Paths::default());
    assert_eq!(cases(&nothing), []);
}
