//! The shared cache: what one machine made, another one gets; and whatever the cache does, the outputs are right.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::faulty::{Fault, Faulty, Of};
use crate::support::machines::{Machine, warnings};
use crate::support::servers::{Nginx, PASSWORD, Password, USER};
use crate::support::{Course, courses};

const DIAGRAM: &str = "slides/m/topic_010_a/pu/d.pu";
const DECK: &str = "slides/m/topic_010_a/slides_a.py";

/// Two diagrams: cheap results.
fn diagrams() -> Course {
    let course = Course::with_topics(&["a"]);
    for (name, text) in [("d", "A -> B"), ("e", "A -> C")] {
        let path = format!("slides/m/topic_010_a/pu/{name}.pu");
        course.write(&path, format!("@startuml\n{text}\n@enduml\n"));
    }
    course
}

/// A deck that runs this code.
fn one_deck(code: &str) -> Course {
    let course = Course::with_topics(&["a"]);
    course.write(DECK, courses::deck(code));
    course
}

/// The lines of the log that are uploads.
fn puts(server: &Nginx) -> usize {
    server
        .log()
        .iter()
        .filter(|line| line.contains("PUT"))
        .count()
}

#[test]
fn a_machine_without_renderers_gets_what_another_one_made() {
    let Some(server) = Nginx::start() else { return };
    let course = one_deck("print(open('data.txt').read())");
    course.write("slides/m/topic_010_a/data.txt", "data");
    course.write(DIAGRAM, "@startuml\nA -> B\n@enduml\n");
    let first = Machine::new(&course, &server.url()).with("CLM_CACHE_LABEL", "builder-7");
    let made = first.built().jobs().len();
    assert!(made >= 5, "{made}");
    let locked = first.clm(&["setup", "--lock", "course.xml"]);
    assert_eq!(locked.code, 0, "{}", locked.stderr);
    course.write("clm.lock", first.course.read("clm.lock"));

    let bare = Machine::bare(&course, &server.url());
    let sent = puts(&server);
    let got = bare.built();
    assert_eq!(got.jobs(), Vec::<&str>::new());
    assert_eq!(bare.course.outputs(), first.course.outputs());
    assert_eq!(puts(&server), sent, "nothing new was made");
    let explained = bare.clm(&["explain", DIAGRAM]);
    assert!(
        explained.stdout.contains("made by builder-7 at "),
        "{}",
        explained.stdout
    );

    // What has to be made says what is missing, and the rest is made.
    bare.course.write(DIAGRAM, "@startuml\nA -> C\n@enduml\n");
    let ran = bare.build();
    assert_eq!(ran.code, 1);
    let error = &ran.error_in(DIAGRAM).message;
    assert!(error.starts_with("PlantUML is not installed"), "{error}");
    assert_eq!(ran.errors().len(), 1);
}

#[test]
fn results_of_one_deck_differ_in_what_it_read() {
    let Some(server) = Nginx::start() else { return };
    let course = one_deck("print(open(open('which.txt').read().strip()).read())");
    let dir = "slides/m/topic_010_a";
    for (name, text) in [("one.txt", "1"), ("two.txt", "2"), ("which.txt", "one.txt")] {
        course.write(&format!("{dir}/{name}"), text);
    }
    let machine = |which: &str, content: &str| {
        let machine = Machine::new(&course, &server.url());
        machine.course.write(&format!("{dir}/which.txt"), which);
        machine.course.write(&format!("{dir}/{which}"), content);
        machine
    };
    let cases = [
        ("one.txt", "1"),
        ("one.txt", "changed"),
        ("two.txt", "2"),
        ("two.txt", "3"),
    ];
    let mut made = Vec::new();
    for (which, content) in cases {
        let machine = machine(which, content);
        let ran = machine.built();
        let executed = ran
            .jobs()
            .iter()
            .filter(|job| job.starts_with("execute "))
            .count();
        assert!(executed > 0, "{which} {content}");
        made.push(machine.course.outputs());
    }
    for ((which, content), outputs) in cases.iter().zip(made) {
        let machine = machine(which, content);
        assert_eq!(
            machine.built().jobs(),
            Vec::<&str>::new(),
            "{which} {content}"
        );
        assert_eq!(machine.course.outputs(), outputs);
    }
}

#[test]
fn errors_of_content_are_shared_and_those_of_tools_are_not() {
    let Some(server) = Nginx::start() else { return };
    let course = diagrams();
    course.write(DIAGRAM, "@startuml\nthis is no diagram\n@enduml\n");
    let broken = Machine::new(&course, &server.url())
        .with("JAVA_HOME", "/nowhere")
        .with("PLANTUML_JAR", "/nowhere.jar");
    assert_eq!(broken.build().code, 1);
    assert_eq!(puts(&server), 0, "a tool was missing");
    let first = Machine::new(&course, &server.url());
    let one = first.build();
    assert_eq!((one.code, one.jobs().len()), (1, 2));
    let second = Machine::new(&course, &server.url());
    let two = second.build();
    assert_eq!((two.code, two.jobs().len()), (1, 0));
    assert_eq!(one.error_in(DIAGRAM), two.error_in(DIAGRAM));
    assert_eq!(first.course.outputs(), second.course.outputs());
}

#[test]
fn what_differs_from_an_earlier_result_is_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let remote = format!("file://{}", dir.path().display());
    let course = one_deck("import time; print(time.time_ns())");
    let first = Machine::new(&course, &remote);
    first.built();
    let before = crate::support::tree(dir.path());
    assert!(before.len() > 2, "{before:?}");
    let again = first.clm(&["build", "--force", "--message-format", "json"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let of_executions =
        |names: &BTreeMap<String, _>| names.keys().filter(|name| name.starts_with("ac/")).count();
    let after = crate::support::tree(dir.path());
    for (name, digest) in &before {
        assert_eq!(after.get(name), Some(digest), "{name} was replaced");
    }
    // The pages of the new execution have keys of their own.
    assert!(of_executions(&after) >= of_executions(&before));
    let second = Machine::new(&course, &remote);
    assert_eq!(second.built().jobs(), Vec::<&str>::new());
}

#[test]
fn it_is_used_as_the_mode_says_and_only_read_for_pull_requests() {
    let server = Faulty::start(Fault::None);
    let course = diagrams();
    let methods = |server: &Faulty| {
        let mut methods: Vec<String> = server
            .asked()
            .into_iter()
            .map(|asked| asked.method)
            .collect();
        methods.sort();
        methods.dedup();
        methods
    };
    let off = Machine::new(&course, &server.url());
    assert_eq!(off.clm(&["build", "--cache-mode", "off"]).code, 0);
    assert_eq!(methods(&server), Vec::<String>::new());
    Machine::new(&course, &server.url())
        .with("CLM_CACHE_MODE", "read")
        .built();
    assert_eq!(methods(&server), ["GET"]);
    let request = Machine::new(&course, &server.url())
        .with("GITHUB_ACTIONS", "true")
        .with("GITHUB_EVENT_NAME", "pull_request");
    request.built();
    assert_eq!(methods(&server), ["GET"]);
    Machine::new(&course, &server.url()).built();
    assert_eq!(methods(&server), ["GET", "PUT"]);
    let wrong = Machine::new(&course, &server.url())
        .with("CLM_CACHE_MODE", "sometimes")
        .build();
    assert_eq!(wrong.code, 2);
}

/// Every fault of a server costs a warning at most: the outputs are those of a build without it.
#[test]
fn a_server_that_misbehaves_changes_no_output() {
    let course = diagrams();
    let plain = Machine::new(&course, "");
    plain.built();
    let outputs = plain.course.outputs();
    let server = Faulty::start(Fault::None);
    Machine::new(&course, &server.url()).built();
    let entries = server.entries();
    let all = [
        (Fault::Refuse, true),
        (Fault::HalfOpen, true),
        (Fault::HangBeforeAnswer, true),
        (Fault::HangInBody, true),
        (Fault::SlowBody(50), true),
        (Fault::Truncate, true),
        (Fault::WrongBytes, true),
        (Fault::OtherEntry, true),
        (Fault::Garbage, true),
        (Fault::HugeBody, true),
        (Fault::HugeHeaders, true),
        (Fault::Status(400), true),
        (Fault::Status(401), true),
        (Fault::Status(403), true),
        (Fault::Status(429), true),
        (Fault::Status(500), true),
        (Fault::Status(503), true),
        (Fault::Status(404), false),
        (Fault::RedirectLoop, true),
        (Fault::EmptyBody, true),
    ];
    for (fault, is_told) in all {
        server.set_entries(entries.clone());
        server.set_for(fault, Of::Gets);
        let machine = Machine::new(&course, &server.url()).with("CLM_CACHE_MAX_WAIT", "300 ms");
        let ran = machine.built();
        assert_eq!(machine.course.outputs(), outputs, "{fault:?}");
        assert_eq!(ran.jobs().len(), 2, "{fault:?}");
        let told = warnings(&ran);
        // Two failures need not be told: the third in a row stops the use.
        assert!(told.len() <= 1, "{fault:?}: {told:?}");
        let is_refused = matches!(fault, Fault::Status(401 | 403));
        assert!(is_told || told.is_empty(), "{fault:?}: {told:?}");
        assert!(!is_refused || told.len() == 1, "{fault:?}");
        assert_eq!(machine.built().jobs(), Vec::<&str>::new(), "{fault:?}");
    }
    // It works again.
    server.set_entries(entries);
    server.set(Fault::None);
    assert_eq!(
        Machine::new(&course, &server.url()).built().jobs(),
        Vec::<&str>::new()
    );
}

#[test]
fn a_server_that_refuses_results_is_still_read() {
    let course = diagrams();
    let server = Faulty::start(Fault::None);
    Machine::new(&course, &server.url()).built();
    for status in [401, 403, 405, 413, 500, 507] {
        server.set_for(Fault::Status(status), Of::Puts);
        let machine = Machine::new(&course, &server.url());
        machine
            .course
            .write(DIAGRAM, format!("@startuml\nA -> B : {status}\n@enduml\n"));
        let ran = machine.built();
        assert_eq!(ran.jobs().len(), 1, "{status}: the other one is there");
        let told = warnings(&ran);
        assert!(told.len() <= 1, "{status}: {told:?}");
        assert_eq!(
            told.len(),
            usize::from(!matches!(status, 413 | 500)),
            "{status}: {told:?}"
        );
    }
}

#[test]
fn secrets_go_to_the_server_and_nowhere_else() {
    let server = Faulty::start(Fault::RedirectToOtherHost);
    let course = one_deck("import os; print(sorted(os.environ.items()))");
    let machine = Machine::new(&course, &server.url())
        .with("CLM_CACHE_TOKEN", "hidden-4711")
        .with("CLM_LOG", "trace");
    let ran = machine.clm(&["build", "--summary", "summary.json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let asked = server.asked();
    let authorization = asked[0].headers.get("authorization").map(String::as_str);
    assert_eq!(authorization, Some("Bearer hidden-4711"));
    for asked in server.asked_of_other() {
        assert_eq!(asked.headers.get("authorization"), None);
    }
    assert!(!ran.stderr.contains("hidden-4711"));
    let summary = machine.course.read("summary.json");
    assert!(!summary.contains("hidden-4711"));
    let mut pages = 0;
    for name in machine.course.outputs().keys() {
        let bytes = std::fs::read(machine.course.path("output").join(name)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("hidden-4711"), "{name}");
        pages += usize::from(text.contains("CLM_CACHE_REMOTE"));
    }
    assert!(pages > 0, "the deck printed its variables");
}

#[test]
fn a_password_is_asked_for_before_results_are_added() {
    let Some(server) = Nginx::start_with(Password::ToWrite) else {
        return;
    };
    let course = diagrams();
    let without = Machine::new(&course, &server.url()).built();
    assert_eq!(warnings(&without).len(), 1);
    assert!(
        crate::support::tree(&server.dir())
            .keys()
            .all(|name| !name.starts_with("ac/"))
    );
    let with = Machine::new(&course, &server.url())
        .with("CLM_CACHE_USER", crate::support::servers::USER)
        .with("CLM_CACHE_PASSWORD", crate::support::servers::PASSWORD);
    assert_eq!(warnings(&with.built()), Vec::<&str>::new());
    let reader = Machine::new(&course, &server.url()).built();
    assert_eq!(reader.jobs(), Vec::<&str>::new());
}

#[test]
fn addresses_with_secrets_and_other_mistakes_are_refused() {
    let course = diagrams();
    for (remote, part) in [
        ("https://me:hidden@host/", "CLM_CACHE_USER"),
        ("host/path", "https://host/path"),
        ("file://relative", "file:///directory"),
    ] {
        let ran = Machine::new(&course, remote).build();
        assert_eq!(ran.code, 2, "{remote}");
        let all = format!("{}{}", ran.stdout, ran.stderr);
        assert!(all.contains(part), "{remote}: {all}");
        assert!(!all.contains("hidden"), "{all}");
    }
}

#[test]
fn a_directory_that_is_gone_is_told_and_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("not/mounted");
    let course = diagrams();
    let ran = Machine::new(&course, &format!("file://{}", gone.display())).built();
    assert_eq!(ran.jobs().len(), 2);
    assert!(!Path::new(&gone).exists());
}

#[test]
fn the_lock_is_checked() {
    let course = diagrams();
    for (text, part) in [
        ("version = 1\n[renderers\n", "clm.lock:2"),
        ("version = 2\n", "its format is 2"),
        ("version = 1\nother = 1\n", "unknown field"),
    ] {
        course.write("clm.lock", text);
        let ran = course.clm(&["build"]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
        assert!(ran.stderr.contains("clm setup --lock"), "{}", ran.stderr);
    }
    course.write(
        "clm.lock",
        "version = 1\n[renderers]\nplantuml = \"PlantUML 1\"\n",
    );
    let ran = course.built();
    let notes = ran.notes();
    assert!(
        notes.iter().any(|note| note.contains("`PlantUML 1` there")),
        "{notes:?}"
    );
}

#[test]
fn a_server_that_is_gone_costs_a_warning_and_is_used_when_it_is_back() {
    let Some(mut server) = Nginx::start() else {
        return;
    };
    let course = diagrams();
    let plain = Machine::new(&course, "");
    plain.built();
    server.stop();
    let without = Machine::new(&course, &server.url());
    let ran = without.built();
    assert_eq!(without.course.outputs(), plain.course.outputs());
    assert_eq!((ran.jobs().len(), warnings(&ran).len()), (2, 1));
    server.restart();
    assert_eq!(Machine::new(&course, &server.url()).built().jobs().len(), 2);
    let last = Machine::new(&course, &server.url());
    assert_eq!(last.built().jobs(), Vec::<&str>::new());
    assert_eq!(last.course.outputs(), plain.course.outputs());
}

/// Two machines that build at the same moment: whatever each of them makes or gets, both are right, and so is a third.
#[test]
fn machines_that_build_at_once_do_not_disturb_one_another() {
    let Some(server) = Nginx::start() else { return };
    let course = diagrams();
    let machines: Vec<Machine> = (0..3)
        .map(|_| Machine::new(&course, &server.url()))
        .collect();
    let children: Vec<_> = machines
        .iter()
        .map(|machine| machine.command(&["build"]).spawn().unwrap())
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let after = Machine::new(&course, &server.url());
    assert_eq!(after.built().jobs(), Vec::<&str>::new());
    for machine in &machines {
        assert_eq!(machine.course.outputs(), after.course.outputs());
    }
}

#[test]
fn a_server_that_takes_no_results_does_not_hold_a_build_up() {
    let course = diagrams();
    let server = Faulty::start(Fault::None);
    server.set_for(Fault::HangBeforeAnswer, Of::Puts);
    let machine = Machine::new(&course, &server.url()).with("CLM_CACHE_MAX_WAIT", "300 ms");
    let ran = machine.built();
    assert_eq!(ran.jobs().len(), 2);
    assert!(warnings(&ran).len() <= 1);
    let puts = server.asked().into_iter();
    let puts = puts.filter(|asked| asked.method == "PUT").count();
    assert!(puts <= 8, "{puts} attempts");
}

#[test]
fn a_damaged_file_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let remote = format!("file://{}", dir.path().display());
    let course = diagrams();
    Machine::new(&course, &remote).built();
    for file in std::fs::read_dir(dir.path().join("cas")).unwrap() {
        std::fs::write(file.unwrap().path(), "damaged").unwrap();
    }
    assert_eq!(Machine::new(&course, &remote).built().jobs().len(), 2);
    assert_eq!(
        Machine::new(&course, &remote).built().jobs(),
        Vec::<&str>::new()
    );
}

#[test]
fn a_success_replaces_a_failure_and_failures_of_the_moment_are_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let remote = format!("file://{}", dir.path().display());
    // Variables of the process are no part of keys: they stand for what is different at another moment.
    let course =
        one_deck("import os\nif os.environ.get('FAILS'): raise eval(os.environ['FAILS'])('x')");
    let failing = |name: &str| Machine::new(&course, &remote).with("FAILS", name);
    assert_eq!(failing("ConnectionError").build().code, 1);
    let ran = failing("ValueError").build();
    assert_eq!(ran.code, 1);
    assert!(!ran.jobs().is_empty(), "the first failure was not sent");
    let other = Machine::new(&course, &remote);
    assert_eq!(other.build().code, 1, "this one was");
    let again = other.clm(&["build", "--force", "--message-format", "json"]);
    assert_eq!(again.code, 0, "{}", again.stdout);
    let last = Machine::new(&course, &remote).built();
    let jobs = last.jobs();
    let executed = jobs.iter().filter(|job| job.starts_with("execute "));
    assert_eq!(executed.count(), 0);
}

#[test]
fn the_check_says_what_is_wrong_and_which_setting_it_is() {
    let course = diagrams();
    let check = |remote: &str, variables: &[(&'static str, &str)]| {
        let mut machine = Machine::bare(&course, remote);
        for (name, value) in variables {
            machine = machine.with(name, value);
        }
        let ran = machine.clm(&["cache", "check"]);
        (ran.code, ran.stdout + &ran.stderr)
    };
    let (code, said) = check("", &[]);
    assert!(
        code == 2 && said.contains("the course has no shared cache"),
        "{said}"
    );
    let (code, said) = check("http://127.0.0.1:1", &[]);
    assert!(code == 1 && said.contains("refused"), "{said}");
    assert!(
        said.contains("hint: look at the host and the port"),
        "{said}"
    );

    let dir = tempfile::tempdir().unwrap();
    let (code, said) = check(&format!("file://{}", dir.path().display()), &[]);
    assert_eq!((code, said.matches("ok: ").count()), (0, 4), "{said}");

    if let Some(server) = Nginx::start_with(Password::ToWrite) {
        let url = server.url();
        let known = [("CLM_CACHE_USER", USER), ("CLM_CACHE_PASSWORD", PASSWORD)];
        // What it sent the first time is there the second time.
        for _ in 0..2 {
            let (code, said) = check(&url, &known);
            assert_eq!((code, said.matches("ok: ").count()), (0, 4), "{said}");
        }
        let (code, said) = check(&url, &[("CLM_CACHE_MODE", "read")]);
        assert_eq!((code, said.matches("ok: ").count()), (0, 1), "{said}");
        let (code, said) = check(&url, &[]);
        assert!(
            code == 1 && said.contains("status 401\nhint: the secrets are CLM_CACHE_TOKEN"),
            "{said}"
        );
        let (code, said) = check(&format!("{url}/elsewhere"), &known);
        assert!(
            code == 1 && said.contains("hint: the path of the address may be wrong"),
            "{said}"
        );
    }

    let faults = [
        (Fault::Status(413), Of::Puts, "20 s", "client_max_body_size"),
        (
            Fault::WrongBytes,
            Of::Gets,
            "20 s",
            "other bytes than were sent",
        ),
        (Fault::EmptyBody, Of::All, "20 s", "it answers everything"),
        (
            Fault::HalfOpen,
            Of::All,
            "300 ms",
            "a firewall may drop the connection",
        ),
    ];
    for (fault, of, wait, what) in faults {
        let server = Faulty::start(Fault::None);
        server.set_for(fault, of);
        let (code, said) = check(&server.url(), &[("CLM_CACHE_MAX_WAIT", wait)]);
        assert!(code == 1 && said.contains(what), "{fault:?}: {said}");
    }
}
