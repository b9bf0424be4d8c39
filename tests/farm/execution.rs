//! Actions on a farm: what is made there is what would have been made here.

use clm::testing::events::Event;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::casd::Casd;
use crate::support::courses::{DECK, deck, two_decks, wait_until};
use crate::support::machines::Machine;
use crate::support::renderers::{DRAWIO, PLANTUML, PYTHON, provide};
use crate::support::{Course, Ran};

/// A machine that uses a farm, and no other cache than the farm's if it uses any.
pub fn client(course: &Course, farm: &Casd) -> Machine {
    Machine::new(course, "").with("CLM_FARM", &farm.url())
}

/// The same, on which nothing is made that the farm can make.
pub fn lazy_client(course: &Course, farm: &Casd) -> Machine {
    client(course, farm).with("CLM_FARM_LOCAL", "0")
}

/// The jobs that ended, and whether another machine made them.
pub fn places(ran: &Ran) -> Vec<(&str, bool)> {
    let ends = ran.events.iter().filter_map(|event| match event {
        Event::ActionFinished {
            action, machine, ..
        } => Some((action.as_str(), machine.is_some())),
        _ => None,
    });
    let jobs = ran.jobs();
    ends.filter(|(action, _)| jobs.contains(action)).collect()
}

/// Asserts that every job was made on the farm.
pub fn all_there(ran: &Ran) {
    let here: Vec<_> = places(ran)
        .into_iter()
        .filter(|(_, there)| !there)
        .collect();
    assert_eq!(here, [], "{:?}", ran.diagnostics());
    assert_eq!(places(ran).len(), ran.jobs().len());
}

/// What a run said about the farm.
pub fn warnings(ran: &Ran) -> Vec<&str> {
    let all = ran.diagnostics().into_iter();
    let messages = all.map(|found| found.message.as_str());
    messages
        .filter(|message| message.contains("the farm"))
        .collect()
}

/// A deck that imports a module of the course, and some diagrams.
fn course() -> Course {
    let course = Course::fixture("mini");
    let deck = "slides/module_010_mini/topic_010_first/slides_first.py";
    let text = course.read(deck);
    course.write(
        deck,
        format!(
            "{text}\n\n# %%\nimport sys\nsys.path.insert(0, '.')\nimport helper\nhelper.answer()\n"
        ),
    );
    course.write(
        "slides/module_010_mini/topic_010_first/helper.py",
        "def answer():\n    return 6 * 7\n",
    );
    course
}

#[test]
fn a_machine_without_renderers_has_everything_made_there() {
    let Some(farm) = Casd::farm() else { return };
    let local = Machine::new(&course(), "");
    let here = local.built();
    assert!(here.jobs().len() >= 6, "{:?}", here.jobs());
    let locked = local.clm(&["setup", "--lock", "course.xml"]);
    assert_eq!(locked.code, 0, "{}", locked.stderr);
    let course = course();
    course.write("clm.lock", local.course.read("clm.lock"));

    let bare = Machine::bare(&course, "").with("CLM_FARM", &farm.url());
    let there = bare.built();
    assert_eq!(there.jobs().len(), here.jobs().len());
    all_there(&there);
    assert_eq!(warnings(&there), [""; 0]);
    assert_eq!(bare.course.outputs(), local.course.outputs());
    assert_eq!(bare.built().jobs(), [""; 0], "it is up to date");

    // An included file changes: only what reads it is made again.
    let included = "slides/module_010_mini/topic_010_first/pu/colours.iuml";
    for machine in [&local, &bare] {
        let text = machine.course.read(included);
        machine.course.write(
            included,
            format!("{text}\n' more\nskinparam monochrome true\n"),
        );
    }
    let jobs = |ran: &Ran| {
        ran.jobs()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let (here, there) = (local.built(), bare.built());
    assert_eq!(jobs(&here), jobs(&there));
    assert_eq!(here.jobs().len(), 1, "{:?}", here.jobs());
    assert_eq!(bare.course.outputs(), local.course.outputs());
}

#[test]
fn results_are_known_on_both_sides() {
    let Some(farm) = Casd::farm() else { return };
    // With no cache of its own, the storage of the farm is the one that machines share.
    let shares = |course: &Course| {
        let machine = lazy_client(course, &farm);
        machine.without("CLM_CACHE_REMOTE")
    };
    let course = two_decks("print(1)");
    course.write(
        "slides/m/topic_010_a/pu/d.pu",
        "@startuml\nA -> B\n@enduml\n",
    );
    let first = shares(&course);
    all_there(&first.built());
    let executed = farm.executed().len();
    // A machine that knows the farm as a cache only.
    let other = Machine::new(&course, &farm.url());
    assert_eq!(other.built().jobs(), [""; 0]);
    assert_eq!(other.course.outputs(), first.course.outputs());
    // What that machine makes is not made by the farm.
    for machine in [&other, &first] {
        machine.course.write(DECK, deck("print('changed')"));
    }
    assert_eq!(other.built().jobs().len(), 5);
    assert_eq!(first.built().jobs(), [""; 0]);
    assert_eq!(other.course.outputs(), first.course.outputs());
    assert_eq!(farm.executed().len(), executed);
}

#[test]
fn two_clients_at_once_execute_each_action_once() {
    let Some(farm) = Casd::farm() else { return };
    let course = Course::with_topics(&["a", "b", "c"]);
    for topic in ["010_a", "020_b", "030_c"] {
        let name = &topic[4..];
        course.write(
            &format!("slides/m/topic_{topic}/slides_{name}.py"),
            deck(&format!("import time; time.sleep(0.3); print('{name}')")),
        );
    }
    let clients = [lazy_client(&course, &farm), lazy_client(&course, &farm)];
    let processes = clients.each_ref().map(|client| {
        let mut command = client.command(&["build", "--message-format", "json"]);
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    });
    let ran = processes.map(|process| crate::support::ran(process.wait_with_output().unwrap()));
    for ran in &ran {
        assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
        assert_eq!(ran.jobs().len(), 15);
        all_there(ran);
    }
    assert_eq!(clients[0].course.outputs(), clients[1].course.outputs());
    let mut executed = farm.executed();
    assert_eq!(executed.len(), 15);
    executed.sort();
    executed.dedup();
    assert_eq!(executed.len(), 15);
}

#[test]
fn an_error_of_the_author_is_found_here_as_well() {
    let Some(farm) = Casd::farm() else { return };
    let course = two_decks("print('before')\n\n# %%\n1 / 0");
    let local = Machine::new(&course, "");
    let client = lazy_client(&course, &farm);
    let (here, there) = (local.build(), client.build());
    assert_eq!((here.code, there.code), (1, 1));
    assert_eq!(here.errors(), there.errors());
    assert!(here.error_in(DECK).message.contains("ZeroDivisionError"));
    assert_eq!(warnings(&there), [""; 0]);
    assert_eq!(local.course.outputs(), client.course.outputs());
    // The farm remembers the failure; a corrected deck is another action.
    for machine in [&local, &client] {
        machine.course.edit(DECK, "1 / 0", "1 / 2");
    }
    local.built();
    all_there(&client.built());
    assert_eq!(local.course.outputs(), client.course.outputs());
}

#[test]
fn what_needs_this_machine_is_made_here() {
    let Some(farm) = Casd::farm() else { return };
    let course = two_decks("print(1)");
    course.write("clm.toml", "[farm]\nhere = [\"slides/m/topic_010_a\"]\n");
    let client = lazy_client(&course, &farm);
    let ran = client.built();
    for (action, there) in places(&ran) {
        assert_eq!(there, action.contains("topic_020_b"), "{action}");
    }
    assert_eq!(places(&ran).len(), 10);
    // Variables may be secrets, so decks that see them do not leave this machine. Pages do not see them.
    let secret = two_decks("import os; print(os.environ['SECRET'])");
    secret.write(".env", "SECRET=hidden\n");
    let client = lazy_client(&secret, &farm);
    let ran = client.built();
    for (action, there) in places(&ran) {
        assert_eq!(there, action.starts_with("html "), "{action}");
    }
}

#[test]
fn this_machine_and_the_farm_share_the_work() {
    let Some(farm) = Casd::farm() else { return };
    let names = ["a", "b", "c", "d", "e", "f"];
    let course = Course::with_topics(&names);
    for (number, name) in names.iter().enumerate() {
        course.write(
            &format!("slides/m/topic_{number}10_{name}/slides_{name}.py"),
            deck(&format!("import time; time.sleep(1); print('{name}')")),
        );
    }
    course.write("clm.toml", "[workers]\nnotebook = 1\n");
    let client = client(&course, &farm);
    let ran = client.clm(&[
        "build",
        "--message-format",
        "json",
        "--timings",
        "times.html",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let times = client.course.read("times.html");
    for lane in ["execute 1", "farm 1"] {
        assert!(times.contains(lane), "{lane}");
    }
    client.course.remove("times.html");
    let places = places(&ran);
    let decks = places
        .iter()
        .filter(|(action, _)| action.starts_with("execute "));
    let there = decks.clone().filter(|(_, there)| *there).count();
    assert!((1..decks.count()).contains(&there), "{places:?}");
    let local = Machine::new(&course, "");
    local.built();
    assert_eq!(client.course.outputs(), local.course.outputs());
}

#[test]
fn what_is_stopped_ends_on_the_farm_as_well() {
    let Some(farm) = Casd::farm() else { return };
    let marker = Marker::new();
    let course = two_decks(&format!("{}; import time; time.sleep(600)", marker.code()));
    let client = lazy_client(&course, &farm);
    let mut command = client.command(&["build", "--only", DECK]);
    let mut process = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let kernel = marker.wait();
    let status = client.clm(&["status"]);
    assert!(
        status
            .stdout
            .contains(&format!("execute {DECK}, on the farm")),
        "{}",
        status.stdout
    );
    let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(130));
    wait_until("the kernel ends", || kill(kernel, None).is_err());
    let log = || farm.resident("log").unwrap_or_default();
    wait_until("the worker is told", || log().contains("cancelled"));
}

/// A file by which a cell shows that it runs.
pub struct Marker(tempfile::TempDir);

impl Marker {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The code of the cell.
    pub fn code(&self) -> String {
        let path = self.0.path().join("pid");
        let new = self.0.path().join("new");
        let (path, new) = (path.display(), new.display());
        format!(
            "import os; open('{new}', 'w').write(str(os.getpid())); os.replace('{new}', '{path}')"
        )
    }

    /// Waits until the cell runs. Returns its process.
    pub fn wait(&self) -> Pid {
        let path = self.0.path().join("pid");
        wait_until("the cell runs", || path.exists());
        Pid::from_raw(std::fs::read_to_string(path).unwrap().parse().unwrap())
    }
}

#[test]
fn the_check_tries_a_worker_of_each_kind() {
    let Some(farm) = Casd::farm() else { return };
    [PYTHON, PLANTUML, DRAWIO].into_iter().for_each(provide);
    let client = lazy_client(&two_decks("1"), &farm);
    let checked = client.clm(&["farm", "check"]);
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    for kind in [
        "it answers",
        "Python kernel",
        "HTML renderer",
        "PlantUML",
        "draw.io",
    ] {
        let line = format!("ok: {kind}");
        assert!(checked.stdout.contains(&line), "{line}: {}", checked.stdout);
    }
    let made = farm.executed().len();
    client.clm(&["farm", "check"]);
    assert_eq!(
        farm.executed().len(),
        2 * made,
        "nothing is taken from its cache"
    );

    // A server that stores only.
    let Some(store) = Casd::start() else { return };
    let checked = lazy_client(&two_decks("1"), &store).clm(&["farm", "check"]);
    assert_eq!(checked.code, 1);
    assert!(
        checked
            .stdout
            .contains("error: it stores results, but executes nothing"),
        "{}",
        checked.stdout
    );
}
