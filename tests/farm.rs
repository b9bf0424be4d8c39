//! A server of the Remote Execution API as the shared cache: its action cache and its storage, behind gRPC.

mod execution;
mod faults;
mod runner;

use crate::support::casd::Casd;
use crate::support::gateway::{Gateway, KEY};
use crate::support::machines::{Machine, warnings};
use crate::support::{Course, courses};

const DIAGRAM: &str = "slides/m/topic_010_a/pu/d.pu";
const DECK: &str = "slides/m/topic_010_a/slides_a.py";

/// Some diagrams: cheap results.
fn diagrams() -> Course {
    let course = Course::with_topics(&["a"]);
    for number in 0..4 {
        let path = DIAGRAM.replace("/d.pu", &format!("/d{number}.pu"));
        course.write(&path, format!("@startuml\nA -> B{number}\n@enduml\n"));
    }
    course
}

#[test]
fn a_machine_without_renderers_gets_what_another_one_made() {
    let Some(server) = Casd::start() else { return };
    let course = Course::with_topics(&["a"]);
    // The results are larger than a message may be.
    course.write(DECK, courses::deck("print('0123456789' * 500_000)"));
    course.write(DIAGRAM, "@startuml\nA -> B\n@enduml\n");
    let first = Machine::new(&course, &server.url()).with("CLM_CACHE_LABEL", "builder-7");
    let made = first.built();
    assert!(made.jobs().len() >= 4, "{:?}", made.jobs());
    assert_eq!(warnings(&made), Vec::<&str>::new());
    let locked = first.clm(&["setup", "--lock", "course.xml"]);
    assert_eq!(locked.code, 0, "{}", locked.stderr);
    course.write("clm.lock", first.course.read("clm.lock"));

    let bare = Machine::bare(&course, &server.url());
    let got = bare.built();
    assert_eq!(got.jobs(), Vec::<&str>::new());
    assert_eq!(bare.course.outputs(), first.course.outputs());
    let explained = bare.clm(&["explain", DIAGRAM]);
    assert!(
        explained.stdout.contains("made by builder-7 at "),
        "{}",
        explained.stdout
    );
}

#[test]
fn a_server_that_was_killed_has_its_results_when_it_returns() {
    let Some(mut server) = Casd::start() else {
        return;
    };
    let course = diagrams();
    let first = Machine::new(&course, &server.url());
    assert_eq!(first.built().jobs().len(), 4);
    server.stop();
    let without = Machine::new(&course, &server.url());
    let ran = without.built();
    assert_eq!(ran.jobs().len(), 4);
    let warned = warnings(&ran);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("refused"), "{warned:?}");
    assert_eq!(without.course.outputs(), first.course.outputs());
    server.restart();
    let again = Machine::new(&course, &server.url());
    assert_eq!(again.built().jobs(), Vec::<&str>::new());
    assert_eq!(again.course.outputs(), first.course.outputs());
}

#[test]
fn results_whose_files_are_gone_or_damaged_are_made_again() {
    let Some(server) = Casd::start() else { return };
    let course = diagrams();
    let first = Machine::new(&course, &server.url());
    assert_eq!(first.built().jobs().len(), 4);
    let png = |bytes: &[u8]| bytes.starts_with(b"\x89PNG");
    let images = || {
        let files = server.objects().into_iter();
        let files = files.map(|path| (std::fs::read(&path).unwrap(), path));
        files.filter(|(bytes, _)| png(bytes)).collect::<Vec<_>>()
    };
    let all = images();
    assert_eq!(all.len(), 4);
    let (bytes, damaged) = &all[0];
    let mut other = bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    let mut permissions = std::fs::metadata(damaged).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false)]
    permissions.set_readonly(false);
    std::fs::set_permissions(damaged, permissions).unwrap();
    std::fs::write(damaged, other).unwrap();
    std::fs::remove_file(&all[1].1).unwrap();

    let second = Machine::new(&course, &server.url());
    assert_eq!(second.built().jobs().len(), 2);
    assert_eq!(second.course.outputs(), first.course.outputs());
    // What was gone is there again.
    assert!(images().len() >= 4);
}

#[test]
fn wrong_addresses_are_named_and_do_no_harm() {
    let Some(server) = Casd::start() else { return };
    let course = diagrams();
    let address = server.address();
    let cases = [
        (
            format!("grpc://{address}/nope"),
            "does it have an instance `nope`?",
        ),
        (format!("grpcs://{address}"), "does it use TLS?"),
        (format!("http://{address}"), "its answer is not HTTP"),
        ("grpc://host.invalid:1".to_owned(), "lookup"),
    ];
    for (url, what) in cases {
        let machine = Machine::new(&course, &url);
        let ran = machine.built();
        assert_eq!(ran.jobs().len(), 4, "{url}");
        let warned = warnings(&ran);
        assert_eq!(warned.len(), 1, "{url}: {warned:?}");
        assert!(warned[0].contains(&url), "{warned:?}");
        assert!(warned[0].contains(what), "{warned:?}");
    }
}

#[test]
fn a_gateway_with_tls_gets_the_headers_and_nobody_else_does() {
    let Some(server) = Casd::start() else { return };
    let Some(gateway) = Gateway::start(server.address()) else {
        return;
    };
    let trusted = gateway.certificate().display().to_string();
    let course = diagrams();
    let at = |key: &str| {
        let machine = Machine::new(&course, &gateway.url()).with("SSL_CERT_FILE", &trusted);
        machine.with("CLM_CACHE_HEADERS", key)
    };
    let first = at(KEY);
    let made = first.built();
    assert_eq!(warnings(&made), Vec::<&str>::new());
    assert_eq!(made.jobs().len(), 4);
    assert_eq!(
        at(&format!("X-Other: 1\n{KEY}\n")).built().jobs(),
        Vec::<&str>::new()
    );

    let refused = at("X-Gate-Key: wrong").built();
    assert_eq!(refused.jobs().len(), 4);
    let warned = warnings(&refused);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(
        warned[0].contains("refuses access (status 401)"),
        "{warned:?}"
    );

    let distrusting = Machine::new(&course, &gateway.url()).with("CLM_CACHE_HEADERS", KEY);
    let distrusting = distrusting.built();
    assert_eq!(distrusting.jobs().len(), 4);
    let warned = warnings(&distrusting);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("certificate"), "{warned:?}");
    for ran in [made, refused, distrusting] {
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("sesame"));
    }

    let malformed = at("no header").clm(&["build"]);
    assert_eq!(malformed.code, 2);
    let said = &malformed.stderr;
    assert!(
        said.contains("CLM_CACHE_HEADERS: line 1 is no header"),
        "{said}"
    );
}

#[test]
fn decks_do_not_see_the_headers() {
    let course = Course::with_topics(&["a"]);
    course.write(
        DECK,
        courses::deck("import os\nassert 'CLM_CACHE_HEADERS' not in os.environ"),
    );
    let machine = Machine::new(&course, "").with("CLM_CACHE_HEADERS", KEY);
    assert!(
        machine
            .built()
            .jobs()
            .iter()
            .any(|job| job.starts_with("execute "))
    );
}

#[test]
fn the_check_tests_a_server_of_grpc() {
    let Some(server) = Casd::start() else { return };
    let course = diagrams();
    let check = |url: &str| {
        let ran = Machine::bare(&course, url).clm(&["cache", "check"]);
        (ran.code, ran.stdout + &ran.stderr)
    };
    for _ in 0..2 {
        let (code, said) = check(&server.url());
        assert_eq!((code, said.matches("ok: ").count()), (0, 4), "{said}");
    }
    let (code, said) = check(&format!("{}/nope", server.url()));
    assert!(
        code == 1 && said.contains("does it have an instance `nope`?"),
        "{said}"
    );
}
