//! Every command on broken input: an error that says what to do, with its exit code; never a panic, never a wait.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use crate::support::{Course, Ran, ran};

const COMMANDS: &[&[&str]] = &[
    &["status"],
    &["check-spec"],
    &["explain", "slides/a.py"],
    &["build"],
    &["build", "--check"],
    &["daemon", "status"],
];

fn course() -> Course {
    let course = Course::with_topics(&["a"]);
    course.write("slides/m/topic_010_a/data/x.txt", "x");
    course
}

/// Runs a command that must not wait for anything.
fn run(mut command: Command) -> Ran {
    let program = command.get_program().to_owned();
    let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut limited = Command::new("timeout");
    limited.arg("60").arg(program).args(args);
    if let Some(dir) = command.get_current_dir() {
        limited.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    command.stdin(Stdio::null());
    let ran = ran(limited.stdin(Stdio::null()).output().unwrap());
    let is_panic = ran.stderr.contains("panicked") || ran.code >= 100 || ran.code < 0;
    assert!(!is_panic, "{} {}", ran.code, ran.stderr);
    ran
}

#[test]
fn settings_that_cannot_be_read_are_a_matter_of_configuration() {
    let course = course();
    let expect = |what: &str| {
        for args in COMMANDS {
            let ran = run(course.command(args));
            assert_eq!(ran.code, 2, "{args:?} {}", ran.stderr);
            assert!(
                ran.stderr.contains("clm.toml: error: ") && ran.stderr.contains(what),
                "{args:?} {}",
                ran.stderr
            );
            assert!(ran.stderr.contains("hint: "), "{args:?} {}", ran.stderr);
        }
    };
    course.write("clm.toml", b"[notebook]\ncell_timeout = \xff\xfe\n");
    expect("UTF-8");
    course.remove("clm.toml");
    course.mkdir("clm.toml");
    expect("directory");
    std::fs::remove_dir(course.path("clm.toml")).unwrap();
    let pipe = course.path("clm.toml");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    expect("pipe");
}

#[test]
fn a_specification_that_is_not_one() {
    let course = course();
    course.write("course.xml", [0u8, 159, 146, 150, 255, 254].repeat(500));
    for args in COMMANDS {
        let ran = run(course.command(args));
        let is_status = args.contains(&"status");
        assert_eq!(
            ran.code,
            if is_status { 0 } else { 2 },
            "{args:?} {}",
            ran.stderr
        );
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains("course.xml:1: error"), "{args:?} {said}");
    }
    course.remove("course.xml");
    course.mkdir("course.xml");
    for args in [&["check-spec", "course.xml"][..], &["build", "course.xml"]] {
        let ran = run(course.command(args));
        assert_eq!(ran.code, 2);
        assert!(ran.stderr.contains("is not a file"), "{}", ran.stderr);
    }
}

#[test]
fn paths_that_are_not_text() {
    let course = course();
    let strange = OsStr::from_bytes(b"o\xffx");
    let mut build = course.command(&["build", "--no-daemon", "-o"]);
    build.arg(strange);
    let ran = run(build);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("not UTF-8 text"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
    // Nothing was made, least of all beside it under another name.
    let entries = std::fs::read_dir(course.root()).unwrap();
    let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !names
            .iter()
            .any(|name| name.to_string_lossy().starts_with('o')),
        "{names:?}"
    );
    for args in [
        &["build", "--only"][..],
        &["build", "--saved"],
        &["build", "--check", "--timings"],
        &["build", "--check", "-d"],
        &["explain"],
        &["check-spec"],
        &["build"],
    ] {
        let mut command = course.command(args);
        command.arg(strange);
        run(command);
    }
}

#[test]
fn standard_streams_that_are_closed_or_full() {
    let course = course();
    assert_eq!(run(course.command(&["build", "--no-daemon"])).code, 0);
    let clm = env!("CARGO_BIN_EXE_clm");
    for (how, code) in [
        ("status --json >&-", 0),
        ("status 2>&-", 0),
        ("status >&- 2>&- <&-", 0),
        (
            "build --check --message-format json | head -c 1 >/dev/null",
            0,
        ),
        ("status --json | true", 0),
        ("status --json >/dev/full", 3),
        ("build --message-format json >/dev/full", 3),
    ] {
        let script = format!("set -o pipefail; '{clm}' {how}");
        let mut bash = Command::new("bash");
        bash.args(["-c", &script])
            .current_dir(course.root())
            .env_remove("CLM_STATE_DIR");
        let ran = run(bash);
        assert_eq!(ran.code, code, "{how}: {}", ran.stderr);
        if code == 3 {
            assert!(
                ran.stderr.contains("standard output"),
                "{how}: {}",
                ran.stderr
            );
        }
    }
}

#[test]
fn a_system_without_its_directories() {
    let course = course();
    assert_eq!(run(course.command(&["build", "--no-daemon"])).code, 0);
    let variables = [
        "HOME",
        "TMPDIR",
        "XDG_DATA_HOME",
        "XDG_CACHE_HOME",
        "XDG_RUNTIME_DIR",
    ];
    for value in [None, Some("/nonexistent/dir"), Some("/dev/null")] {
        for args in [&["status"][..], &["check-spec"], &["build", "--check"]] {
            let mut command = course.command(args);
            for name in variables {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            let ran = run(command);
            assert!(
                matches!(ran.code, 0 | 4),
                "{value:?} {args:?}: {}",
                ran.stderr
            );
        }
    }
    // A state directory that cannot be made says which variable chose it.
    course.write("file", "");
    let mut build = course.command(&["build"]);
    build.env("CLM_STATE_DIR", course.path("file"));
    let ran = run(build);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("CLM_STATE_DIR"), "{}", ran.stderr);
    // Settings that are broken are no reason for `doctor` to keep silent.
    course.write("clm.toml", "[notebok]\n");
    let ran = run(course.command(&["explain", "x"]));
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("clm.toml:1"), "{}", ran.stderr);
}
