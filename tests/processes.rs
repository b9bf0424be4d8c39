//! Several clm at once, and processes that are killed in the middle.

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::courses::wait_until;
use crate::support::{Course, ran};

/// Three decks and three diagrams, with cells that take a little while.
fn course() -> Course {
    let course = Course::with_topics(&["a", "b", "c"]);
    for (number, name) in ["a", "b", "c"].iter().enumerate() {
        let topic = format!("slides/m/topic_0{number}0_{name}");
        course.write(
            &format!("{topic}/slides_{name}.py"),
            format!("# %%\nimport time\ntime.sleep(0.3)\nprint(\"{name} \" + \"ok\")\n"),
        );
        course.write(
            &format!("{topic}/pu/{name}.pu"),
            format!("@startuml\nclass {name}\n@enduml\n"),
        );
        course.write(
            &format!("{topic}/drawio/{name}d.drawio"),
            format!(
                "<mxfile><diagram name=\"p\"><mxGraphModel><root><mxCell id=\"0\"/><mxCell id=\"1\" parent=\"0\"/>\
                 <mxCell id=\"2\" value=\"{name}\" vertex=\"1\" parent=\"1\"><mxGeometry width=\"80\" height=\"40\" as=\"geometry\"/></mxCell>\
                 </root></mxGraphModel></diagram></mxfile>"
            ),
        );
    }
    course
}

/// Every process with a word in its command line or environment that names this course.
fn processes_of(course: &Course) -> HashMap<u32, String> {
    let needle = course.root().to_str().unwrap().to_owned();
    let mut found = HashMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let is_ours =
            line.contains(&needle) || String::from_utf8_lossy(&environment).contains(&needle);
        if is_ours && pid != std::process::id() {
            found.insert(pid, line);
        }
    }
    found
}

/// Starts a build whose processes can be told from those of other tests.
fn start(course: &Course) -> Child {
    start_with(course, "1")
}

/// The same with or without kernels that are forked.
fn start_with(course: &Course, zygote: &str) -> Child {
    course
        .command(&["build", "--message-format", "json"])
        .env("CLM_TEST_COURSE", course.root())
        .env("CLM_ZYGOTE", zygote)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn kill(pid: u32) {
    let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
}

#[test]
fn two_builds_at_once_do_everything_once() {
    let course = course();
    let children: Vec<Child> = (0..2).map(|_| start(&course)).collect();
    let runs: Vec<_> = children
        .into_iter()
        .map(|child| ran(child.wait_with_output().unwrap()))
        .collect();
    let mut started: Vec<String> = Vec::new();
    for run in &runs {
        assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
        assert!(!run.stderr.contains("locked") && !run.stdout.contains("locked"));
        started.extend(run.jobs().into_iter().map(str::to_owned));
    }
    let count = started.len();
    started.sort();
    started.dedup();
    assert_eq!(started.len(), count, "something ran twice");
    let outputs = course.outputs();
    let fresh = self::course();
    fresh.built();
    assert_eq!(outputs, fresh.outputs());
}

#[test]
fn killing_clm_anywhere_loses_nothing() {
    let reference = course();
    reference.built();
    let expected = reference.outputs();
    let course = course();
    // Random enough: different places on every machine and in every run, and always the same check.
    let mut seed = u64::from(std::process::id());
    for round in 0..6 {
        let child = start(&course);
        let pid = child.id();
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(60 + (seed >> 33) % 1200));
        kill(pid);
        let _ = child.wait_with_output();
        wait_until("the end of all workers", || {
            processes_of(&course).is_empty()
        });
        for (path, digest) in course.outputs() {
            assert_eq!(
                expected.get(&path),
                Some(&digest),
                "{path} is torn after round {round}"
            );
        }
    }
    let last = course.built();
    assert_eq!(last.counts().failed, 0);
    assert_eq!(course.outputs(), expected);
    assert_eq!(course.built().started(), [""; 0]);
    assert!(
        std::fs::read_dir(course.path(".clm/staging"))
            .unwrap()
            .next()
            .is_none()
    );
}

#[test]
fn killing_workers_costs_an_attempt_and_nothing_else() {
    let reference = course();
    reference.built();
    for (victim, zygote) in [
        ("ipykernel_launcher", "0"),
        ("zygote.py", "1"),
        ("html_worker", "1"),
        ("java", "1"),
        ("chrom", "1"),
    ] {
        let course = course();
        let child = start_with(&course, zygote);
        let mut killed = 0;
        wait_until(&format!("a worker `{victim}`"), || {
            for (pid, line) in processes_of(&course) {
                if line.contains(victim) && !line.contains("clm build") {
                    kill(pid);
                    killed += 1;
                }
            }
            killed > 0
        });
        let run = ran(child.wait_with_output().unwrap());
        assert_eq!(run.code, 0, "{victim}: {}\n{}", run.stdout, run.stderr);
        assert_eq!(course.outputs(), reference.outputs(), "{victim}");
        wait_until("the end of all workers", || {
            processes_of(&course).is_empty()
        });
    }
}

#[test]
fn ctrl_c_ends_everything_and_the_next_build_goes_on() {
    for (kernel, zygote) in [("ipykernel_launcher", "0"), ("zygote.py", "1")] {
        let course = course();
        let child = start_with(&course, zygote);
        wait_until("a kernel", || {
            processes_of(&course)
                .values()
                .any(|line| line.contains(kernel))
        });
        let status = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
        let started = Instant::now();
        let run = ran(child.wait_with_output().unwrap());
        assert_eq!(run.code, 130, "{}\n{}", run.stdout, run.stderr);
        assert!(started.elapsed() < Duration::from_secs(20));
        wait_until("the end of all workers", || {
            processes_of(&course).is_empty()
        });
        assert_eq!(course.built().counts().failed, 0);
    }
}

#[test]
fn a_build_with_32_workers_runs_every_action_once() {
    let course = Course::with_topics(&["many"]);
    for number in 0..120 {
        course.write(
            &format!("slides/m/topic_010_many/pu/d{number}.pu"),
            format!("@startuml\n' fake: ok {number}\n@enduml\n"),
        );
    }
    let output = course
        .command(&[
            "build",
            "--message-format",
            "json",
            "--workers",
            "plantuml=32",
        ])
        .env(
            "CLM_TEST_PLANTUML_COMMAND",
            env!("CARGO_BIN_EXE_clm-fake-worker"),
        )
        .output()
        .unwrap();
    let run = ran(output);
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    assert_eq!(run.jobs().len(), 120);
    assert_eq!(run.counts().built, 120);
    assert!(!run.stdout.contains("locked"));
}

#[test]
fn faults_of_a_worker_are_tried_again_and_then_told() {
    let course = Course::with_topics(&["faults"]);
    for fault in ["crash", "garbage"] {
        course.write(
            &format!("slides/m/topic_010_faults/pu/{fault}.pu"),
            format!("@startuml\n' fake: {fault}\n@enduml\n"),
        );
    }
    course.write(
        "slides/m/topic_010_faults/pu/good.pu",
        "@startuml\n' fake: ok\n@enduml\n",
    );
    let output = course
        .command(&["build", "--message-format", "json"])
        .env(
            "CLM_TEST_PLANTUML_COMMAND",
            env!("CARGO_BIN_EXE_clm-fake-worker"),
        )
        .output()
        .unwrap();
    let run = ran(output);
    assert_eq!(run.code, 1, "{}\n{}", run.stdout, run.stderr);
    assert_eq!((run.counts().built, run.counts().failed), (1, 2));
    // A diagram that ends its process is tried again by the pool, alone, and is then known to be the cause.
    for (fault, expected) in [("crash", 1), ("garbage", 3)] {
        let source = format!("slides/m/topic_010_faults/pu/{fault}.pu");
        let attempts = run
            .jobs()
            .iter()
            .filter(|job| job.contains(&source))
            .count();
        assert_eq!(attempts, expected, "{fault}");
        assert!(run.error_in(&source).hint.is_some());
    }
}

#[test]
fn a_diagram_that_takes_too_long_fails_once_and_is_remembered() {
    let course = Course::with_topics(&["slow"]);
    let source = "slides/m/topic_010_slow/pu/slow.pu";
    course.write(source, "@startuml\n' fake: hang\n@enduml\n");
    course.write(
        "slides/m/topic_010_slow/pu/good.pu",
        "@startuml\n' fake: ok\n@enduml\n",
    );
    let build = |limit: u64| {
        course.write("clm.toml", format!("[diagrams]\ntimeout = {limit}\n"));
        let worker = env!("CARGO_BIN_EXE_clm-fake-worker");
        let mut command = course.command(&["build", "--message-format", "json"]);
        let run = ran(command
            .env("CLM_TEST_PLANTUML_COMMAND", worker)
            .output()
            .unwrap());
        assert_eq!(run.code, 1, "{}\n{}", run.stdout, run.stderr);
        assert_eq!(run.counts().failed, 1, "{}", run.stdout);
        let error = run.error_in(source);
        let expected = format!("the diagram was not drawn within {limit} s");
        assert!(error.message.contains(&expected), "{error}");
        let hint = error.hint.clone().unwrap_or_default();
        assert!(hint.contains("`timeout`"), "{error}");
        let of_it = run.jobs().iter().filter(|job| job.contains(source)).count();
        (of_it, run.counts().built)
    };
    assert_eq!(build(3), (1, 1), "one attempt; the other is drawn");
    assert_eq!(build(3), (0, 0), "it is known to fail");
    assert_eq!(build(2).0, 1, "another limit may be enough");
}

#[test]
fn what_cells_detach_dies_with_clm_however_it_ends() {
    // Without a word in the environment by which they could be found.
    let detach = "import subprocess, time\nprint('detached')\ncommand = 'setsid env -i sleep 600 >/dev/null 2>&1 & echo $!'\n\
                  pid = subprocess.run(['sh', '-c', command], stdout=subprocess.PIPE, text=True).stdout\n";
    for zygote in ["1", "0"] {
        for signal in ["-9", "-TERM"] {
            let course = Course::with_topics(&["a"]);
            let file = course.path("pid");
            course.write(
                "slides/m/topic_010_a/slides_a.py",
                format!("# %%\n{detach}open({file:?}, 'w').write(pid)\ntime.sleep(600)\n"),
            );
            let mut child = start_with(&course, zygote);
            let pid =
                || -> Option<u32> { std::fs::read_to_string(&file).ok()?.trim().parse().ok() };
            wait_until("the cell", || pid().is_some());
            let detached = format!("/proc/{}/stat", pid().unwrap());
            assert!(std::path::Path::new(&detached).exists());
            let id = child.id().to_string();
            Command::new("kill").args([signal, &id]).status().unwrap();
            child.wait().unwrap();
            let what = format!("the end of what was detached: {zygote} {signal}");
            wait_until(&what, || {
                let stat = std::fs::read_to_string(&detached).unwrap_or_default();
                stat.is_empty() || stat.contains(") Z ")
            });
            wait_until("the end of everything", || processes_of(&course).is_empty());
        }
    }
}
