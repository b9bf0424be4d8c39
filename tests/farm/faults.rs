//! Farms that are gone, slow, full, damaged or wrong: the results are right all the same.

use std::process::{Command, Stdio};

use clm::testing::events::Diagnostic;
use nix::sys::signal::Signal;

use crate::support::casd::Casd;
use crate::support::courses::{DECK, OTHER, deck, two_decks};
use crate::support::machines::Machine;
use crate::support::{Course, Ran, ran};

use super::execution::{Marker, all_there, lazy_client, places, warnings};

/// Settings with which a farm that says nothing is given up soon.
const SHORT: &str = "[farm]\nmax_wait = \"500 ms\"\n";

/// A course whose decks take long enough for something to happen to the farm meanwhile.
fn slow(marker: &Marker) -> Course {
    let course = two_decks(&format!(
        "{}; import time; time.sleep(2); print('slow')",
        marker.code()
    ));
    course.write(OTHER, deck("import time; time.sleep(1); print('other')"));
    course
}

/// Builds on a farm to which something happens while it runs the first deck. Everything is made, and right.
fn built_while(farm: &mut Casd, settings: &str, happens: impl FnOnce(&mut Casd)) -> Ran {
    let marker = Marker::new();
    let client = lazy_client(&slow(&marker), farm);
    client.course.write("clm.toml", settings);
    let mut command = client.command(&["build", "--message-format", "json"]);
    let process = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    marker.wait();
    happens(farm);
    let ran = ran(process.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(ran.jobs().len(), 10);
    assert_eq!(ran.errors(), [] as [&Diagnostic; 0]);
    are_right(&client);
    ran
}

/// The only warning about the farm.
fn only_warning(ran: &Ran) -> &str {
    let [warning] = warnings(ran)[..] else {
        panic!("{:?}", warnings(ran))
    };
    warning
}

/// Asserts that a machine has the outputs that one without a farm makes.
fn are_right(client: &Machine) {
    let local = Machine::new(&client.course, "");
    for made in [".clm", "output"] {
        local.course.remove_if_there(made);
    }
    local.built();
    assert_eq!(client.course.outputs(), local.course.outputs());
}

#[test]
fn a_farm_that_is_gone_is_one_warning_and_is_used_when_it_returns() {
    let Some(mut farm) = Casd::farm() else { return };
    let course = two_decks("print(1)");
    let client = lazy_client(&course, &farm);
    farm.stop();
    let without = client.built();
    assert_eq!(places(&without).len(), 10);
    assert!(places(&without).iter().all(|(_, there)| !there));
    let warning = only_warning(&without);
    assert!(
        warning.contains("cannot be used: Connection refused"),
        "{warning}"
    );
    are_right(&client);

    farm.restart();
    client.course.write(DECK, deck("print('changed')"));
    let with = client.built();
    all_there(&with);
    assert_eq!(warnings(&with), [""; 0]);
    are_right(&client);
}

#[test]
fn a_server_that_is_killed_and_restarted_while_it_executes() {
    let Some(mut farm) = Casd::farm() else { return };
    let ran = built_while(&mut farm, "", Casd::restart);
    assert!(warnings(&ran).len() <= 1, "{:?}", warnings(&ran));
}

#[test]
fn a_worker_that_is_killed_while_it_executes() {
    let Some(mut farm) = Casd::farm() else { return };
    built_while(&mut farm, "", |farm| farm.kill_resident());
}

#[test]
fn a_server_that_says_nothing_any_more() {
    let Some(mut farm) = Casd::farm() else { return };
    let ran = built_while(&mut farm, SHORT, |farm| farm.signal(Signal::SIGSTOP));
    farm.signal(Signal::SIGCONT);
    let warning = only_warning(&ran);
    assert!(warning.contains("did not answer in time"), "{warning}");
}

#[test]
fn what_its_storage_damaged_is_not_used() {
    let Some(farm) = Casd::farm() else { return };
    let course = two_decks("print(1)");
    all_there(&lazy_client(&course, &farm).built());
    for object in farm.objects() {
        let mut bytes = std::fs::read(&object).unwrap();
        if let Some(byte) = bytes.last_mut() {
            *byte ^= 1;
        }
        make_writable(&object);
        std::fs::write(&object, bytes).unwrap();
    }
    let other = lazy_client(&course, &farm);
    let ran = other.built();
    assert_eq!(ran.jobs().len(), 10);
    assert_eq!(ran.errors(), [] as [&Diagnostic; 0]);
    are_right(&other);
}

#[test]
fn what_its_storage_lost_is_sent_again() {
    let Some(farm) = Casd::farm() else { return };
    let course = two_decks("print(1)");
    all_there(&lazy_client(&course, &farm).built());
    for object in farm.objects() {
        std::fs::remove_file(object).unwrap();
    }
    let other = lazy_client(&course, &farm);
    let ran = other.built();
    all_there(&ran);
    assert_eq!(warnings(&ran), [""; 0]);
    are_right(&other);
}

#[test]
fn a_server_without_room() {
    let disk = if nix::unistd::geteuid().is_root() {
        "-m"
    } else {
        "-Urm"
    };
    // The program of the server follows.
    let script = "mount -t tmpfs -o size=300k tmpfs \"$0\" && exec \"$@\"";
    let within = ["unshare", disk, "sh", "-c", script, "DIR"];
    let may = Command::new("unshare")
        .args([disk, "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: a file system cannot be mounted for one process");
        return;
    }
    let Some(farm) = Casd::farm_within(&within) else {
        return;
    };
    let course = two_decks("print('x' * 900_000)");
    let client = lazy_client(&course, &farm);
    let ran = client.built();
    assert_eq!(ran.jobs().len(), 10);
    assert!(warnings(&ran).len() <= 1, "{:?}", warnings(&ran));
    are_right(&client);
}

#[test]
fn a_network_that_is_cut_while_it_executes() {
    let script = "ip link set lo up && exec \"$@\"";
    let may = Command::new("unshare")
        .args(["-Urn", "sh", "-c", script, "sh", "true"])
        .output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no network for one process");
        return;
    }
    // The whole story takes place in a network of its own.
    let output = Command::new("unshare")
        .args(["-Urn", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "farm::faults::in_a_network_of_its_own"])
        .args(["--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "runs in a network of its own, for another story"]
fn in_a_network_of_its_own() {
    let Some(mut farm) = Casd::farm() else { return };
    let ran = built_while(&mut farm, SHORT, |_| {
        let mut cut = Command::new("ip");
        cut.args(["link", "set", "lo", "down"]);
        assert!(cut.status().unwrap().success());
    });
    only_warning(&ran);
}

#[test]
fn settings_that_are_wrong_are_named() {
    let course = two_decks("1");
    for (settings, variables, said) in [
        ("endpoint = \"http://h\"", "", "`endpoint` under `[farm]`"),
        (
            "endpoint = \"grpc://u:p@h\"",
            "",
            "the address of the farm cannot be used",
        ),
        (
            "endpoint = \"grpc://h\"\njobs = 0",
            "",
            "`jobs` of `[farm]`",
        ),
        (
            "endpoint = \"grpc://h\"\ntimeout = 3",
            "",
            "a time is a text with its unit",
        ),
        (
            "endpoint = \"grpc://h\"\nhere = [\"../x\"]",
            "",
            "`here` of `[farm]`",
        ),
        (
            "endpoint = \"grpc://h\"\n[farm.platform.latex]\na = \"b\"",
            "",
            "`[farm.platform.latex]`",
        ),
        (
            "endpoint = \"grpc://h\"",
            "no header",
            "CLM_FARM_HEADERS: line 1",
        ),
    ] {
        course.write("clm.toml", format!("[farm]\n{settings}\n"));
        let machine = Machine::new(&course, "").with("CLM_FARM_HEADERS", variables);
        for command in ["build", "farm"] {
            let args: &[&str] = match command {
                "build" => &["build"],
                _ => &["farm", "check"],
            };
            let ran = machine.clm(args);
            assert_eq!(ran.code, 2, "{settings}: {}", ran.stderr);
            assert!(ran.stderr.contains(said), "{settings}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_farm_with_another_instance_or_encryption_says_what_is_wrong() {
    let Some(farm) = Casd::farm() else { return };
    let course = Course::with_topics(&["a"]);
    course.write(
        "slides/m/topic_010_a/pu/d.pu",
        "@startuml\nA -> B\n@enduml\n",
    );
    for (url, said) in [
        (
            format!("{}/nope", farm.url()),
            "does it have an instance `nope`?",
        ),
        (farm.url().replace("grpc:", "grpcs:"), "does it use TLS?"),
    ] {
        let client = lazy_client(&course, &farm).with("CLM_FARM", &url);
        let checked = client.clm(&["farm", "check"]);
        assert_eq!(checked.code, 1);
        assert!(checked.stdout.contains(said), "{}", checked.stdout);
        let ran = client.built();
        assert_eq!(places(&ran).len(), 1);
        are_right(&client);
    }
}

#[test]
fn workers_of_another_version_are_not_used_and_named_once() {
    let Some(farm) = Casd::farm() else { return };
    let course = two_decks("print(1)");
    let local = Machine::new(&course, "");
    local.built();
    let locked = local.clm(&["setup", "--lock", "course.xml"]);
    assert_eq!(locked.code, 0, "{}", locked.stderr);
    // This machine knows other versions than the workers have.
    let lock = local.course.read("clm.lock");
    let bare = Machine::bare(&course, "").with("CLM_FARM", &farm.url());
    let other = lock.replace("nbconvert ", "nbconvert 0.");
    assert_ne!(lock, other);
    bare.course.write("clm.lock", other);
    let ran = bare.build();
    assert_eq!(ran.code, 1, "neither has the renderer");
    let warning = only_warning(&ran);
    assert!(
        warning.contains("cannot do the work of `html`") && warning.contains("nbconvert 0."),
        "{warning}"
    );
    for (action, there) in places(&ran) {
        assert_eq!(there, action.starts_with("execute "), "{action}");
    }
}

fn make_writable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
}
