//! A worker that speaks clm's protocol and misbehaves on demand; started in PlantUML's place by tests.
//!
//! A request misbehaves by a line in its text, `fake: BEHAVIOUR [ARGUMENT]`, possibly after a comment sign:
//!
//! | behaviour | what happens |
//! |---|---|
//! | (none) | writes `image.png` or `image.svg` with the digest of the text |
//! | `slow MS` | the same after a while; stops early when cancelled |
//! | `progress N` | the same after N steps of progress |
//! | `stray TEXT` | the same after printing TEXT on standard output |
//! | `memory MB` | the same, and keeps so much memory |
//! | `big PATH` | reads PATH below the root, says so, and writes 50,000 bytes that depend on it |
//! | `discovered PATH` | the same, and says that it read PATH |
//! | `warn TEXT`, `fail TEXT` | answers with a diagnostic about line 2 |
//! | `hang` | never answers, not even to a cancellation |
//! | `read-and-crash PATH` | says that it read PATH and crashes |
//! | `crash` | ends with status 3 and a line on standard error |
//! | `die` | kills itself |
//! | `garbage` | answers with broken JSON |
//! | `nonsense` | answers with JSON that is not of the protocol |
//! | `huge` | answers with a line without end |
//! | `no-file` | claims to have written a file |
//! | `child` | starts a process, then hangs |
//! | `children` | starts a process in another group, then hangs |
//! | `once PATH BEHAVIOUR [ARGUMENT]` | misbehaves only if PATH is not there, and creates it |
//!
//! Arguments: `--start crash|hang|garbage|silent-exit|old-protocol|wrong-kind|slow:MS`, `--start-once PATH` (with
//! `--start`: only if PATH is not there), `--capacity N`, `--log FILE` (a line for each start, request and result).

// A test program that must end in odd ways on purpose.
#![allow(clippy::exit)]

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clm::testing::course::RelPath;
use clm::testing::digest::Digest;
use clm::testing::events::Diagnostic;
use clm::testing::worker::protocol::{
    FromWorker, Hello, OutputMessage, PROTOCOL, ProgressMessage, ResultMessage, ToWorker,
    WorkMessage,
};
use clm::testing::worker::request::OutcomeStatus;

/// What was asked for on the command line.
#[derive(Default)]
struct Options {
    start: String,
    start_once: Option<PathBuf>,
    capacity: Option<u32>,
    log: Option<PathBuf>,
}

/// What all requests share.
#[derive(Default)]
struct Shared {
    options: Options,
    cancelled: Mutex<HashSet<u64>>,
    hoard: Mutex<Vec<Vec<u8>>>,
}

fn main() {
    let shared = Arc::new(Shared {
        options: options(),
        ..Shared::default()
    });
    shared.log("start");
    start(&shared.options);
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let Ok(message) = serde_json::from_str::<ToWorker>(&line) else {
            std::process::exit(9);
        };
        if message.cancel {
            lock(&shared.cancelled).insert(message.id);
        }
        if let Some(work) = message.work {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || answer(&shared, message.id, &work));
        }
    }
    shared.log("end");
}

fn options() -> Options {
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        match name.as_str() {
            "--start" => options.start = value,
            "--start-once" => options.start_once = Some(value.into()),
            "--capacity" => options.capacity = value.parse().ok(),
            "--log" => options.log = Some(value.into()),
            _ => std::process::exit(2),
        }
    }
    options
}

/// Says hello, or not.
fn start(options: &Options) {
    let mut hello = Hello {
        protocol: PROTOCOL,
        kind: "plantuml".to_owned(),
        tool: "fake".to_owned(),
        fingerprint: "fake".to_owned(),
        capacity: options.capacity.unwrap_or(1),
    };
    let misbehaves = options
        .start_once
        .as_ref()
        .is_none_or(|path| is_first(path));
    let behaviour = if misbehaves {
        options.start.as_str()
    } else {
        ""
    };
    match behaviour.split_once(':').unwrap_or((behaviour, "")) {
        ("crash", _) => crash(),
        ("hang", _) => std::thread::sleep(Duration::from_secs(3600)),
        ("garbage", _) => print_line("{hello"),
        ("silent-exit", _) => std::process::exit(0),
        ("old-protocol", _) => hello.protocol = 0,
        ("wrong-kind", _) => hello.kind = "drawio".to_owned(),
        ("slow", ms) => sleep_ms(ms),
        _ => {}
    }
    send(&FromWorker {
        hello: Some(hello),
        ..FromWorker::default()
    });
}

/// Works on one request, as its text says.
fn answer(shared: &Shared, id: u64, work: &WorkMessage) {
    shared.log(&format!("work {}", work.source));
    let text = work.params["text"].as_str().unwrap_or_default();
    let (behaviour, argument) = behaviour(text);
    let mut result = ResultMessage {
        status: OutcomeStatus::Ok,
        outputs: Vec::new(),
        discovered: Vec::new(),
        diagnostics: Vec::new(),
    };
    match behaviour {
        "slow" => wait(shared, id, argument),
        "progress" => progress(id, argument.parse().unwrap_or(3)),
        "stray" => print_line(argument),
        "memory" => hoard(shared, argument.parse().unwrap_or(100)),
        "big" => match big(work, argument) {
            Ok(()) => {
                result.discovered.extend(RelPath::new(argument));
                let format = work.params["format"].as_str().unwrap_or("png");
                result.outputs.push(output(&format!("image.{format}")));
            }
            Err(_) => std::process::exit(8),
        },
        "discovered" => result.discovered.extend(RelPath::new(argument)),
        "warn" => result
            .diagnostics
            .push(diagnostic(work, Diagnostic::warning(argument))),
        "fail" => {
            result.status = OutcomeStatus::Failed;
            result
                .diagnostics
                .push(diagnostic(work, Diagnostic::error(argument)));
        }
        "hang" => hang(),
        "crash" => crash(),
        "read-and-crash" => {
            send(&FromWorker {
                id: Some(id),
                discovered: RelPath::new(argument).into_iter().collect(),
                ..FromWorker::default()
            });
            crash();
        }
        "die" => std::process::abort(),
        "garbage" => print_line("{\"id\":"),
        "nonsense" => print_line("{\"weather\":\"fine\"}"),
        "huge" => loop {
            print(&"{".repeat(1 << 20));
        },
        "no-file" => result.outputs.push(output("nothing.png")),
        "child" => start_and_hang(shared, "sleep", &["600"]),
        "children" => start_and_hang(shared, "setsid", &["sleep", "600"]),
        _ => {}
    }
    if lock(&shared.cancelled).contains(&id) {
        result.status = OutcomeStatus::Cancelled;
    } else if result.status == OutcomeStatus::Ok && result.outputs.is_empty() {
        let format = work.params["format"].as_str().unwrap_or("png");
        let name = format!("image.{format}");
        let content = format!("fake {format} {}\n", Digest::of(text));
        if std::fs::write(Path::new(&work.out).join(&name), content).is_err() {
            std::process::exit(8);
        }
        result.outputs.push(output(&name));
    }
    shared.log(&format!("done {}", work.source));
    send(&FromWorker {
        id: Some(id),
        result: Some(result),
        ..FromWorker::default()
    });
}

/// Writes a picture that is too large for the database.
fn big(work: &WorkMessage, argument: &str) -> std::io::Result<()> {
    let read = std::fs::read(Path::new(&work.root).join(argument))?;
    let text = work.params["text"].as_str().unwrap_or_default();
    let line = format!("big {} {}\n", Digest::of(text), Digest::of(&read));
    let format = work.params["format"].as_str().unwrap_or("png");
    let file = Path::new(&work.out).join(format!("image.{format}"));
    std::fs::write(file, line.repeat(50_000 / line.len()))
}

/// The behaviour that the text asks for, and the rest of its line.
fn behaviour(text: &str) -> (&str, &str) {
    let line = text.lines().find_map(|line| line.split_once("fake: "));
    let words = line.map_or("", |(_, words)| words.trim());
    let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
    if first != "once" {
        return (first, rest);
    }
    let (path, words) = rest.split_once(' ').unwrap_or((rest, ""));
    if is_first(Path::new(path)) {
        words.split_once(' ').unwrap_or((words, ""))
    } else {
        ("", "")
    }
}

/// Creates a file; whether it was not there before.
fn is_first(path: &Path) -> bool {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .is_ok()
}

fn wait(shared: &Shared, id: u64, ms: &str) {
    let end = Instant::now() + Duration::from_millis(ms.parse().unwrap_or(1000));
    while Instant::now() < end && !lock(&shared.cancelled).contains(&id) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn progress(id: u64, total: u64) {
    for done in 1..=total {
        send(&FromWorker {
            id: Some(id),
            progress: Some(ProgressMessage {
                done,
                total,
                cell: format!("step {done}"),
            }),
            ..FromWorker::default()
        });
    }
}

fn hoard(shared: &Shared, megabytes: usize) {
    lock(&shared.hoard).push(vec![1; megabytes << 20]);
}

fn diagnostic(work: &WorkMessage, diagnostic: Diagnostic) -> Diagnostic {
    diagnostic.at(work.source.as_str(), Some(2))
}

fn output(name: &str) -> OutputMessage {
    OutputMessage {
        name: name.to_owned(),
    }
}

fn crash() {
    let _ = writeln!(std::io::stderr(), "fake worker crashes");
    std::process::exit(3);
}

/// Starts a program, logs its process id, and never ends.
fn start_and_hang(shared: &Shared, program: &str, arguments: &[&str]) {
    let child = std::process::Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .spawn();
    shared.log(&format!("child {}", child.map_or(0, |child| child.id())));
    hang();
}

fn hang() {
    std::thread::sleep(Duration::from_secs(3600));
}

fn sleep_ms(text: &str) {
    std::thread::sleep(Duration::from_millis(text.parse().unwrap_or(100)));
}

fn send(message: &FromWorker) {
    if let Ok(line) = serde_json::to_string(message) {
        print_line(&line);
    }
}

fn print_line(line: &str) {
    print(&format!("{line}\n"));
}

/// Writes in one piece; ends when nobody reads any more.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .is_err()
    {
        std::process::exit(7);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Appends `PID WORDS` to the log.
    fn log(&self, words: &str) {
        let Some(path) = &self.options.log else {
            return;
        };
        let file = OpenOptions::new().append(true).create(true).open(path);
        if let Ok(mut file) = file {
            let _ = file.write_all(format!("{} {words}\n", std::process::id()).as_bytes());
        }
    }
}
