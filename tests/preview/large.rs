//! A large course in a real browser.

use clm::testing::course::words::Localized;
use clm::testing::course::{Kind, Lang, RelPath};
use clm::testing::digest::Digest;
use clm::testing::events::{
    ActionKind, Diagnostic, Event, Index, IndexClass, IndexOutput, IndexSection, IndexTarget,
    Status,
};
use clm::testing::web::Access;

use super::browser::Browser;
use super::lab::Lab;

#[test]
fn a_large_course_is_shown_at_once() {
    let lab = Lab::empty(Access::Loopback);
    let course = large(200);
    assert_eq!(course.outputs.len(), 7200);
    lab.plan(course);
    for event in history() {
        lab.event(event);
    }
    let mut browser = Browser::start();
    browser.open(&lab.url("/"));
    browser.wait("document.querySelectorAll('.deck').length === 200");
    browser.wait("document.querySelectorAll('#running li').length > 1");
    // Outputs are drawn only when somebody wants to see them.
    let elements = browser.value("document.querySelectorAll('*').length");
    assert!(elements.as_u64().unwrap() < 6000, "{elements}");
    let filtering = browser.value(
        "(() => { const filter = document.getElementById('filter'); filter.value = 'topic 12'; \
         const from = performance.now(); filter.dispatchEvent(new Event('input')); document.body.offsetHeight; \
         const took = performance.now() - from; filter.value = ''; filter.dispatchEvent(new Event('input')); return took; })()",
    );
    assert!(filtering.as_f64().unwrap() < 1000.0, "{filtering} ms");
    browser.value("document.querySelector('.deck .more').click()");
    browser.wait("document.querySelectorAll('.outputs tbody tr').length === 6");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    for (name, width, height) in [("wide", 1280, 1000), ("narrow", 390, 844)] {
        browser.size(width, height);
        for is_dark in [false, true] {
            browser.dark(is_dark);
            let tone = if is_dark { "dark" } else { "light" };
            browser.picture(&format!("course-{name}-{tone}"));
        }
    }
}

/// A course of so many topics, each with one deck of 36 outputs.
fn large(topics: usize) -> Index {
    let names = [
        "Introduction",
        "Variables and Types",
        "Functions",
        "Collections and Iteration",
        "Classes",
    ];
    let targets = [
        ("shared", &[Kind::CodeAlong, Kind::Completed][..]),
        (
            "trainer",
            &[Kind::CodeAlong, Kind::Completed, Kind::Trainer][..],
        ),
        ("speaker", &[Kind::Recording][..]),
    ];
    let mut course = Index {
        title: Localized::same("Python for Working Scientists"),
        targets: targets
            .iter()
            .map(|(name, _)| IndexTarget {
                name: (*name).to_owned(),
                root: format!("output/{name}"),
            })
            .collect(),
        ..Index::default()
    };
    for topic in 0..topics {
        let section = topic / 20;
        if topic % 20 == 0 {
            course.sections.push(IndexSection {
                name: Localized::same(format!("Week {}", section + 1)),
                topics: Vec::new(),
            });
        }
        let id = format!("topic_{topic:03}");
        course.sections[section].topics.push(id.clone());
        let source = source_of(topic);
        for (target, (target_name, kinds)) in targets.iter().enumerate() {
            for lang in Lang::USUAL {
                for kind in *kinds {
                    for (class, extension, action) in [
                        (IndexClass::Html, "html", "html"),
                        (IndexClass::Notebook, "ipynb", "notebook"),
                        (IndexClass::Code, "py", "code"),
                    ] {
                        let name = names[topic % names.len()];
                        let number = topic % 20 + 1;
                        course.outputs.push(IndexOutput {
                            path: format!("output/{target_name}/c-{lang}/{extension}/{kind}/Week {}/{number:02} {name}.{extension}", section + 1).into(),
                            source: RelPath::new(&source).unwrap(),
                            action: Some(format!("{action} {source} {lang} {kind}").into()),
                            target,
                            section: Some(section),
                            topic: Some(id.as_str().into()),
                            lang,
                            class,
                            kind: Some(*kind),
                        });
                    }
                }
            }
        }
    }
    course
}

fn source_of(topic: usize) -> String {
    format!(
        "slides/module_{:02}/topic_{topic:03}/slides_{topic:03}.py",
        topic / 20 + 1
    )
}

/// A run in which some decks are fresh, some failed, and some are being made.
fn history() -> Vec<Event> {
    let mut events = vec![Event::RunStarted {
        run: 7,
        trigger: "watch".to_owned(),
        actions: 5200,
    }];
    let trouble = Diagnostic::error("NameError: name 'totals' is not defined")
        .at(source_of(3), Some(48))
        .cell(11)
        .detail("\u{1b}[31mNameError\u{1b}[39m                Traceback (most recent call last)\nCell \u{1b}[32mIn[4]\u{1b}[39m, line 1\n\u{1b}[32m----> 1\u{1b}[39m \u{1b}[38;5;28msum\u{1b}[39m(totals)\n\n\u{1b}[31mNameError\u{1b}[39m: name 'totals' is not defined")
        .hint("the cell runs on its own; define `totals` in a cell before it");
    events.push(Event::Diagnostic(trouble.into()));
    events.push(Event::Diagnostic(
        Diagnostic::error("the diagram cannot be drawn: unknown element `actr`")
            .at("slides/module_01/topic_005/pu/roles.pu", Some(7))
            .into(),
    ));
    events.push(Event::Diagnostic(
        Diagnostic::warning("`img/old.png` does not exist")
            .at(source_of(4), Some(12))
            .into(),
    ));
    for topic in 0..100 {
        for lang in Lang::USUAL {
            for kind in Kind::ALL {
                for action in ["html", "notebook", "code"] {
                    let source = source_of(topic);
                    let is_failed = topic == 3 && action == "html" && kind != Kind::CodeAlong;
                    events.push(Event::ActionFinished {
                        action: format!("{action} {source} {lang} {kind}"),
                        kind: if action == "html" {
                            ActionKind::Html
                        } else {
                            ActionKind::Deck
                        },
                        source,
                        status: if is_failed {
                            Status::Failed
                        } else {
                            Status::Fresh
                        },
                        duration_ms: 10,
                        replayed: false,
                        cause: None,
                        not_made: 0,
                        machine: None,
                    });
                }
            }
        }
    }
    for output in large(200).outputs {
        let topic: usize = output.topic.as_ref().unwrap()[6..].parse().unwrap();
        if topic < 102 && topic != 7 {
            events.push(Event::Output {
                path: output.path.to_string(),
                digest: Some(Digest::of("x")),
            });
        }
    }
    for (topic, action, kind, label, done, total) in [
        (6, "execute", ActionKind::Execute, "cell 14", 9, 31),
        (8, "html", ActionKind::Html, "completed", 1, 3),
    ] {
        let source = source_of(topic);
        let action = format!("{action} {source} en");
        events.push(Event::ActionStarted {
            action: action.clone(),
            kind,
            source,
            reasons: Vec::new(),
        });
        events.push(Event::Progress {
            action,
            kind,
            done,
            total,
            label: label.to_owned(),
        });
    }
    events
}
