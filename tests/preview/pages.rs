//! What authors see, in a real browser.

use clm::testing::events::{Diagnostic, Event, Status};

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
    browser.wait("document.readyState === 'complete'");
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
        digest: Some(clm::testing::digest::Digest::of("second")),
    });
    browser.wait("document.querySelector('.news')?.textContent === 'second'");
    browser.wait(&format!("{top} === 0"));
    assert_eq!(browser.value("window.mark === undefined"), true);

    // The cell itself is edited and has another name: the one before it stays where it is. An image that comes later would
    // move it between the two looks.
    browser.wait("document.readyState === 'complete'");
    browser.value("scrollTo(0, document.getElementById('cell-id=30').offsetTop + 5)");
    let before = browser.value("document.getElementById('cell-id=29').getBoundingClientRect().top");
    let edited = page("x", "third", 9).replace("cell-id=30", "cell-id=other");
    lab.write(FILE, &edited);
    lab.event(Event::Output {
        path: FILE.to_owned(),
        digest: Some(clm::testing::digest::Digest::of("third")),
    });
    browser.wait("document.querySelector('.news')?.textContent === 'third'");
    browser.wait(&format!(
        "Math.abs(document.getElementById('cell-id=29').getBoundingClientRect().top - {before}) < 1"
    ));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn scripts_of_a_page_cannot_read_the_state() {
    let lab = Lab::new();
    let course = lab.url("");
    let script = format!(
        "<script>window.found = []; window.kept = (() => {{ localStorage.setItem('a', '1'); return localStorage.getItem('a'); }})();\
         const ask = (url, options) => fetch(url, options).then(async (a) => found.push(url + ' ' + a.status + ' ' + (await a.text()).length), () => found.push(url + ' refused'));\
         Promise.all([ask('/api/state'), ask('/events'), ask('{course}/api/state'), ask('{course}/api/state', {{ mode: 'no-cors' }}),\
         ask('{course}/'), ask('img/wave.svg')]).then(() => {{ window.asked = true; }});</script></main>"
    );
    let text = page("x", "first", 1).replace("</main>", &script);
    lab.write(FILE, &text);
    let mut browser = Browser::start();
    browser.open(&lab.url(PAGE));
    browser.wait("window.asked === true");
    let found = browser.value("found.join('\\n')");
    let found = found.as_str().unwrap();
    assert_eq!(found.lines().count(), 6, "{found}");
    for line in found.lines() {
        let is_own_image = line.starts_with("img/wave.svg 200 ");
        let is_refused = line.ends_with(" refused") || line.contains(" 404 ");
        assert!(is_own_image || is_refused, "{found}");
    }
    // What pages need works: storage, scripts, images, and the preview's own bar.
    assert_eq!(browser.value("kept"), "1");
    browser.wait("document.images[0].naturalWidth === 105");
    browser.wait(&shadow(".querySelector('.bar a.home') !== null"));
    browser.value(&format!("{SHADOW}.querySelector('.bar a.home').click()"));
    browser.wait("document.querySelectorAll('.deck').length === 2");
    assert_eq!(browser.value("location.origin"), course);
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
        kind: clm::testing::events::ActionKind::Execute,
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
    lab.report(&execute, trouble.clone());
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
    browser.size(390, 844);
    browser.picture("deck-failed-narrow");
    browser.size(1200, 900);
    browser.dark(false);

    // Put away, it stays away, until there is something else to say.
    browser.press("Escape");
    browser.wait(&shadow(".querySelector('.problems').hidden === true"));
    lab.start(&execute, ALPHA);
    lab.report(&execute, trouble);
    lab.report(
        &execute,
        Diagnostic::error("another one").at(ALPHA, Some(1)),
    );
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
    // The reader is at a cell, and comes to the same cell of the other page, whatever its name is there.
    let german = "output/shared/c-de/Html/Completed/Teil Eins/02 Beta.html";
    let renamed = page("x", "first", 5).replace("cell-id=", "cell-id=de-");
    lab.write(german, &renamed);
    browser.value("document.getElementById('cell-id=25').scrollIntoView()");
    browser.value(&format!("{SHADOW}.querySelector('.group a').click()"));
    browser.wait(
        "Math.abs(document.getElementById('cell-id=de-25')?.getBoundingClientRect().top) < 1",
    );
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
    lab.report(
        &execute,
        Diagnostic::error("it <i>broke</i>")
            .at(ALPHA, Some(3))
            .detail("line\n\u{1b}[31mred\u{1b}[0m"),
    );
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
    lab.plan(smaller);
    browser.wait("document.querySelectorAll('.deck').length === 1");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn a_page_finds_the_next_server_at_its_address() {
    let mut lab = Lab::new();
    let mut browser = Browser::start();
    browser.open(&lab.url(PAGE));
    browser.wait(&shadow(".querySelector('.bar a.home') !== null"));
    browser.value("document.getElementById('cell-id=20').scrollIntoView()");
    lab.cancel();
    browser.wait(&shadow(
        ".querySelector('.status')?.textContent === 'Not connected'",
    ));
    lab.write(FILE, &page("x", "made meanwhile", 1));
    lab.restart();
    // It does not know the course at first: the old page stays.
    browser.wait(&shadow(".querySelector('.status').hidden === true"));
    assert_eq!(
        browser.value("document.querySelector('.news').textContent"),
        "first"
    );
    lab.plan(index());
    browser.wait("document.querySelector('.news')?.textContent === 'made meanwhile'");
    browser.wait("Math.abs(document.getElementById('cell-id=20').getBoundingClientRect().top) < 1");
    browser.wait(&shadow(".querySelectorAll('.group a').length === 5"));
}
