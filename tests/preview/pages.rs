//! What authors see, in a real browser.

use clm::events::{Diagnostic, Event, Status};

use super::browser::Browser;
use super::lab::{ALPHA, FILE, Lab, PAGE, index, page};

/// The shadow of our program in a page of a deck.
const SHADOW: &str = "document.querySelector('clm-preview').shadowRoot";

fn shadow(expression: &str) -> String {
    format!("!!document.querySelector('clm-preview') && ({SHADOW}{expression})")
}

#[test]
fn a_change_appears_by_itself_and_the_place_is_kept() {
    let lab = Lab::new();
    let mut browser = Browser::start();
    browser.open(&lab.url(PAGE));
    browser.wait("document.querySelector('.news')?.textContent === 'first'");
    browser.wait(&shadow(".querySelector('.bar a.home') !== null"));
    browser.value("document.getElementById('cell-id=20').scrollIntoView(), window.mark = 1");
    let top = "Math.round(document.getElementById('cell-id=20').getBoundingClientRect().top)";
    assert_eq!(browser.value(top), 0);

    // Another page changes: nothing happens here, and a marker of this load proves it afterwards.
    lab.build(
        "output/shared/c-en/Html/Completed/Part One/02 Beta.html",
        "other",
    );
    // Our page becomes longer above the place that is looked at.
    lab.write(FILE, &page("x", "second", 9));
    lab.event(Event::Output {
        path: FILE.to_owned(),
        digest: Some(clm::digest::Digest::of("second")),
    });
    browser.wait("document.querySelector('.news')?.textContent === 'second'");
    browser.wait(&format!("{top} === 0"));
    assert_eq!(browser.value("window.mark === undefined"), true);

    // The cell itself is edited and has another name: the one before it stays where it is.
    browser.value("scrollTo(0, document.getElementById('cell-id=30').offsetTop + 5)");
    let before = browser.value("document.getElementById('cell-id=29').getBoundingClientRect().top");
    let edited = page("x", "third", 9).replace("cell-id=30", "cell-id=other");
    lab.write(FILE, &edited);
    lab.event(Event::Output {
        path: FILE.to_owned(),
        digest: Some(clm::digest::Digest::of("third")),
    });
    browser.wait("document.querySelector('.news')?.textContent === 'third'");
    browser.wait(&format!(
        "Math.abs(document.getElementById('cell-id=29').getBoundingClientRect().top - {before}) < 1"
    ));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn other_pages_and_images() {
    let lab = Lab::new();
    let mut browser = Browser::start();
    browser.open(&lab.url(PAGE));
    browser.wait(&shadow(".querySelector('.bar a.home') !== null"));
    browser.wait("document.images[0].naturalWidth === 105");
    browser.value("window.mark = 1");
    lab.build(
        "output/shared/c-en/Html/Completed/Part One/02 Beta.html",
        "other",
    );
    lab.build(
        "output/shared/c-en/Html/Completed/Part One/img/wave.svg",
        "an other one",
    );
    browser.wait("document.images[0].naturalWidth === 112");
    assert_eq!(browser.value("window.mark"), 1, "the page was loaded again");
}

#[test]
fn a_failure_covers_the_page_until_it_is_mended() {
    let lab = Lab::new();
    let mut browser = Browser::start();
    browser.open(&lab.url(PAGE));
    browser.wait(&shadow(".querySelector('.bar a.home') !== null"));
    browser.value("window.mark = 1");

    let execute = format!("execute {ALPHA} en");
    let html = format!("html {ALPHA} en executed");
    lab.start(&execute, ALPHA);
    lab.event(Event::Progress {
        action: execute.clone(),
        kind: clm::events::ActionKind::Execute,
        done: 2,
        total: 9,
        label: "cell 3".to_owned(),
    });
    browser.wait(&shadow(
        ".querySelector('.status')?.textContent === 'Running cell 3 · 2 of 9'",
    ));
    browser.wait(&shadow(".querySelector('.line').hidden === false"));
    browser.picture("deck-building");

    let trouble = Diagnostic::error("NameError: name 'x' is not <b>defined</b>")
        .at(ALPHA, Some(12))
        .cell(5)
        .detail("\u{1b}[0;31mNameError\u{1b}[0m  Traceback\n\u{1b}[32m<img src=x onerror=window.hacked=1>\u{1b}[0m 1 \u{1b}[38;5;28;01mprint\u{1b}[39;00m(x)")
        .hint("define `x` first");
    lab.event(Event::Diagnostic(trouble.clone()));
    lab.finish(&execute, ALPHA, Status::Failed);
    lab.finish(&html, ALPHA, Status::Failed);
    lab.end_run();
    browser.wait(&shadow(".querySelector('.problems').hidden === false"));
    browser.wait(&shadow(
        ".querySelector('.problems pre .ansi-red') !== null",
    ));
    let text = browser.value(&shadow(".querySelector('.problems').innerText"));
    let text = text.as_str().unwrap();
    for part in [
        "slides/m/alpha/slides_alpha.py:12",
        "cell 5",
        "name 'x' is not <b>defined</b>",
        "<img src=x onerror=window.hacked=1>",
        "define `x` first",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert_eq!(
        browser.value("window.hacked === undefined && window.mark === 1"),
        true
    );
    browser.picture("deck-failed-light");
    browser.dark(true);
    browser.picture("deck-failed-dark");
    browser.dark(false);

    // Put away, it stays away, until there is something else to say.
    browser.press("Escape");
    browser.wait(&shadow(".querySelector('.problems').hidden === true"));
    lab.start(&execute, ALPHA);
    lab.event(Event::Diagnostic(trouble));
    lab.event(Event::Diagnostic(
        Diagnostic::error("another one").at(ALPHA, Some(1)),
    ));
    lab.finish(&execute, ALPHA, Status::Failed);
    lab.finish(&html, ALPHA, Status::Failed);
    lab.end_run();
    browser.wait(&shadow(
        ".querySelector('.problems').innerText.includes('another one')",
    ));

    // Mended without another output: it goes without loading the page.
    lab.start(&execute, ALPHA);
    lab.finish(&execute, ALPHA, Status::Restored);
    lab.finish(&html, ALPHA, Status::Fresh);
    lab.end_run();
    browser.wait(&shadow(".querySelector('.problems').hidden === true"));
    browser.wait(&shadow(".querySelector('.chip') === null"));
    assert_eq!(browser.value("window.mark"), 1);
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn siblings_and_pages_that_are_not_there_yet() {
    let lab = Lab::new();
    let mut browser = Browser::start();
    browser.open(&lab.url(PAGE));
    browser.wait(&shadow(".querySelectorAll('.group').length === 2"));
    let links = browser.value(&shadow(
        ".querySelectorAll('.group a').values().map((a) => a.textContent + ' ' + a.getAttribute('href').split('/').slice(2, 6).join('/')).toArray()",
    ));
    assert_eq!(
        links,
        serde_json::json!([
            "DE shared/c-de/Html/Completed",
            "EN shared/c-en/Html/Completed",
            "Code-Along shared/c-en/Html/Code-Along",
            "Completed shared/c-en/Html/Completed",
            "Trainer trainer/c-en/Html/Trainer"
        ])
    );
    // The other half of a deck of two files is another source.
    let beta = "/out/shared/c-en/Html/Completed/Part%20One/02%20Beta.html";
    browser.open(&lab.url(beta));
    browser.wait(&shadow(".querySelectorAll('.group a').length === 5"));
    browser.value(&format!("{SHADOW}.querySelector('.group a').click()"));
    browser.wait("decodeURIComponent(location.pathname) === '/out/shared/c-de/Html/Completed/Teil Eins/02 Beta.html'");

    let file = "output/shared/c-de/Html/Completed/Teil Eins/02 Beta.html";
    std::fs::remove_file(lab.path(file)).unwrap();
    lab.event(Event::Output {
        path: file.to_owned(),
        digest: None,
    });
    browser.wait(&shadow(
        ".querySelector('.status')?.textContent === 'Not built yet'",
    ));
    browser.open(&lab.url("/out/shared/c-de/Html/Completed/Teil%20Eins/02%20Beta.html"));
    browser.wait("document.querySelector('h1')?.textContent === '02 Beta'");
    browser.wait(&shadow(".querySelector('.bar a.home') !== null"));
    browser.picture("deck-waiting");
    lab.build(file, "built at last");
    browser.wait("document.querySelector('.news')?.textContent === 'built at last'");
}

#[test]
fn the_course_at_a_glance() {
    let lab = Lab::new();
    let mut browser = Browser::start();
    browser.open(&lab.url("/"));
    browser.wait("document.querySelectorAll('.deck').length === 2");
    assert_eq!(browser.value("document.title"), "A Course");
    let href = "decodeURIComponent(document.querySelector('.deck .title').getAttribute('href'))";
    assert_eq!(
        browser.value(href),
        "/out/shared/c-en/Html/Completed/Part One/01 Alpha & More.html"
    );
    // The address that the page makes is the one that the server knows.
    let found =
        browser.value("fetch(document.querySelector('.deck .title').href).then((a) => a.status)");
    assert_eq!(found, 200);

    browser.press("/");
    browser.wait("document.activeElement.id === 'filter'");
    for key in ["b", "e", "t"] {
        browser.press(key);
    }
    browser.wait("document.querySelectorAll('.deck:not([hidden])').length === 1");
    browser.press("ArrowDown");
    browser.wait("document.activeElement.textContent === '02Beta'");
    browser.press("ArrowRight");
    browser.wait("document.querySelectorAll('.deck:not([hidden]) tbody tr').length === 4");
    browser.press("Escape");
    browser.wait("document.querySelectorAll('.deck:not([hidden])').length === 2");

    let execute = format!("execute {ALPHA} en");
    lab.start(&execute, ALPHA);
    browser.wait("document.querySelector('.deck').dataset.state === 'building'");
    lab.event(Event::Diagnostic(
        Diagnostic::error("it <i>broke</i>")
            .at(ALPHA, Some(3))
            .detail("line\n\u{1b}[31mred\u{1b}[0m"),
    ));
    lab.finish(&execute, ALPHA, Status::Failed);
    lab.end_run();
    browser.wait("document.querySelector('.deck').dataset.state === 'failed'");
    browser.wait("document.querySelector('#problems .message')?.textContent === 'it <i>broke</i>'");
    assert_eq!(
        browser.value("document.querySelector('#problems .place').textContent"),
        format!("{ALPHA}:3")
    );
    lab.start(&execute, ALPHA);
    lab.finish(&execute, ALPHA, Status::Built);
    lab.end_run();
    browser.wait("document.querySelector('#problems').hidden");

    // A deck goes from the course.
    let mut smaller = index();
    smaller
        .outputs
        .retain(|output| output.topic.as_deref() == Some("alpha"));
    lab.preview.set_index(std::sync::Arc::new(smaller));
    browser.wait("document.querySelectorAll('.deck').length === 1");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn a_large_course_is_shown_at_once() {
    let lab = Lab::empty(clm::web::Access::Loopback);
    let course = large(200);
    assert_eq!(course.outputs.len(), 7200);
    let started = std::time::Instant::now();
    lab.preview.set_index(std::sync::Arc::new(course));
    for event in history() {
        lab.event(event);
    }
    assert!(
        started.elapsed().as_millis() < 1000,
        "{:?}",
        started.elapsed()
    );
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
    assert!(filtering.as_f64().unwrap() < 200.0, "{filtering} ms");
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
fn large(topics: usize) -> clm::engine::index::Index {
    use clm::course::words::Localized;
    use clm::course::{Kind, Lang};
    use clm::engine::index::{Index, IndexClass, IndexOutput, IndexSection, IndexTarget};

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
            for lang in Lang::ALL {
                for kind in *kinds {
                    for (class, extension, action) in [
                        (IndexClass::Html, "html", "html"),
                        (IndexClass::Notebook, "ipynb", "notebook"),
                        (IndexClass::Code, "py", "code"),
                    ] {
                        let name = names[topic % names.len()];
                        let number = topic % 20 + 1;
                        course.outputs.push(IndexOutput {
                            path: format!("output/{target_name}/c-{lang}/{extension}/{kind}/Week {}/{number:02} {name}.{extension}", section + 1),
                            source: source.clone(),
                            action: Some(format!("{action} {source} {lang} {kind}")),
                            target,
                            section: Some(section),
                            topic: Some(id.clone()),
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
    use clm::course::{Kind, Lang};
    use clm::events::ActionKind;

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
    events.push(Event::Diagnostic(trouble));
    events.push(Event::Diagnostic(
        Diagnostic::error("the diagram cannot be drawn: unknown element `actr`")
            .at("slides/module_01/topic_005/pu/roles.pu", Some(7)),
    ));
    events.push(Event::Diagnostic(
        Diagnostic::warning("`img/old.png` does not exist").at(source_of(4), Some(12)),
    ));
    for topic in 0..100 {
        for lang in Lang::ALL {
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
                    });
                }
            }
        }
    }
    for output in large(200).outputs {
        let topic: usize = output.topic.as_ref().unwrap()[6..].parse().unwrap();
        if topic < 102 && topic != 7 {
            events.push(Event::Output {
                path: output.path,
                digest: Some(clm::digest::Digest::of("x")),
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
