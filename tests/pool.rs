//! The pool and the worker protocol against workers that misbehave: `clm-fake-worker` in PlantUML's place.

mod lab;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clm::testing::course::{ProgLang, RelPath};
use clm::testing::events::ActionKind;
use clm::testing::worker::pool::{Pool, PoolConfig, WorkerState};
use clm::testing::worker::request::{CodeCell, ExecuteWork, HtmlWork, OutcomeStatus, Page};
use clm::testing::worker::{Outcome, Request, Work, WorkerError};
use tokio_util::sync::CancellationToken;

use crate::support::renderers::{PYTHON, renderers};
use lab::{Lab, eventually, futures_of, is_gone};

#[tokio::test]
async fn a_warm_worker_is_used_again() {
    let lab = Lab::new(&[], |_| {});
    for id in 1..=3 {
        let outcome = lab.run(id, "x").await.unwrap();
        assert_eq!(outcome, Outcome::ok(["image.svg"]));
        assert!(lab.path(&format!("out-{id}/image.svg")).is_file());
    }
    assert_eq!(lab.logged("start").len(), 1);
    assert_eq!(lab.count(WorkerState::Started), 1);
    assert_eq!(lab.count(WorkerState::Busy), 3);
    assert_eq!(lab.count(WorkerState::Idle), 3);
    lab.pool.shutdown().await;
    assert_eq!(lab.count(WorkerState::Stopped), 1);
    assert_eq!(lab.logged("end").len(), 1, "it ended by itself");
    let outcome = lab.run(4, "x").await.unwrap();
    assert_eq!(outcome.status, OutcomeStatus::Cancelled);
}

#[tokio::test]
async fn progress_diagnostics_and_stray_lines_arrive() {
    let lab = Lab::new(&[], |_| {});
    lab.run(1, "fake: progress 2").await.unwrap();
    let steps = lab.progress.lock().unwrap().clone();
    assert_eq!(steps.len(), 2);
    assert_eq!((steps[1].done, steps[1].total), (2, 2));
    assert_eq!(steps[1].label, "step 2");

    let failed = lab.run(2, "fake: fail no such arrow").await.unwrap();
    assert_eq!(failed.status, OutcomeStatus::Failed);
    assert_eq!(failed.diagnostics[0].message, "no such arrow");
    assert_eq!(failed.diagnostics[0].file.as_deref(), Some("topic/2.pu"));
    assert_eq!(failed.diagnostics[0].line, Some(2));

    let stray = lab.run(3, "fake: stray [warning] old Java").await.unwrap();
    assert_eq!(stray.status, OutcomeStatus::Ok);
    let discovered = lab.run(4, "fake: discovered topic/a.iuml").await.unwrap();
    assert_eq!(
        discovered.discovered,
        [RelPath::new("topic/a.iuml").unwrap()]
    );
    assert_eq!(lab.logged("start").len(), 1);
}

#[tokio::test]
async fn faults_are_told_apart_and_the_next_request_gets_a_new_worker() {
    let lab = Lab::new(&[], |config| {
        config.timeouts.plantuml = Some(Duration::from_millis(2500));
    });
    for (id, fault, reason) in [(1, "crash", "exit status: 3"), (2, "die", "signal: 6")] {
        let outcome = lab.run(id, &format!("fake: {fault}")).await.unwrap();
        assert_eq!(outcome.status, OutcomeStatus::Failed);
        let detail = outcome.diagnostics[0].detail.clone().unwrap();
        assert!(detail.contains(reason), "{detail}");
    }

    for (id, fault) in (3..).zip(["garbage", "nonsense", "huge", "no-file"]) {
        let error = lab.run(id, &format!("fake: {fault}")).await.unwrap_err();
        assert!(
            matches!(error, WorkerError::Garbage { .. }),
            "{fault}: {error}"
        );
        assert!(error.is_retriable());
        assert!(error.to_string().len() < 300, "{error}");
    }
    let outcome = lab.run(9, "fake: hang").await.unwrap();
    assert_eq!(outcome.status, OutcomeStatus::Failed);
    let said = outcome.diagnostics[0].to_string();
    assert!(said.contains("was not drawn within 2 s"), "{said}");

    assert_eq!(lab.run(10, "x").await.unwrap().status, OutcomeStatus::Ok);
    let pids = lab.pids();
    assert_eq!(
        pids.len(),
        10,
        "a new worker after each fault, and two for those that end"
    );
    let (last, broken) = pids.split_last().unwrap();
    assert!(eventually(|| broken.iter().all(|pid| is_gone(*pid))).await);
    assert!(!is_gone(*last));
    assert_eq!(lab.count(WorkerState::Stopped), 9);
}

#[tokio::test]
async fn a_request_that_ends_its_process_fails_alone() {
    let lab = Lab::new(&["--capacity", "4"], |config| config.slots.plantuml = 4);
    // They are still at it when the third one ends the process, and done at once when they are tried again.
    let hang_once = |name: &str| format!("fake: once {} hang", lab.path(name).display());
    let texts = [hang_once("one"), hang_once("two")];
    let innocent = lab.run(1, &texts[0]);
    let other = lab.run(2, &texts[1]);
    let guilty = async {
        assert!(eventually(|| ["one", "two"].iter().all(|name| lab.path(name).exists())).await);
        lab.run(3, "fake: read-and-crash topic/part.iuml").await
    };
    let (innocent, other, guilty) = tokio::join!(innocent, other, guilty);
    assert_eq!(innocent.unwrap(), Outcome::ok(["image.svg"]));
    assert_eq!(other.unwrap(), Outcome::ok(["image.svg"]));
    let guilty = guilty.unwrap();
    assert_eq!(guilty.status, OutcomeStatus::Failed);
    assert_eq!(guilty.diagnostics[0].file.as_deref(), Some("topic/3.pu"));
    assert_eq!(
        guilty.discovered,
        [RelPath::new("topic/part.iuml").unwrap()]
    );
    assert_eq!(lab.logged("work").len(), 6, "each of them twice");
    assert_eq!(lab.run(4, "x").await.unwrap().status, OutcomeStatus::Ok);
}

#[tokio::test]
async fn a_process_that_was_killed_at_work_costs_one_more_attempt_and_blames_nobody() {
    for signal in [nix::sys::signal::SIGKILL, nix::sys::signal::SIGTERM] {
        let lab = Lab::new(&["--capacity", "2"], |_| {});
        let strike = async {
            assert!(eventually(|| ["one", "two"].iter().all(|name| lab.path(name).exists())).await);
            let pid = i32::try_from(lab.pids()[0]).unwrap();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
        };
        let hang_once = |name: &str| format!("fake: once {} hang", lab.path(name).display());
        let texts = [hang_once("one"), hang_once("two")];
        let (one, other, ()) = tokio::join!(lab.run(1, &texts[0]), lab.run(2, &texts[1]), strike);
        assert_eq!(one.unwrap(), Outcome::ok(["image.svg"]));
        assert_eq!(other.unwrap(), Outcome::ok(["image.svg"]));
        assert_eq!(lab.logged("work").len(), 4);
    }
    // Killed again and again, it is an error that is not remembered.
    let lab = Lab::new(&[], |_| {});
    let strike = async {
        for turn in 1..=2 {
            assert!(eventually(|| lab.logged("work").len() == turn).await);
            let pid = i32::try_from(lab.pids()[turn - 1]).unwrap();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL)
                .unwrap();
        }
    };
    let (result, ()) = tokio::join!(lab.run(1, "fake: hang"), strike);
    assert!(
        matches!(result, Err(WorkerError::Crashed { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn starts_that_fail_are_told_apart() {
    for (fault, expected) in [
        ("crash", "could not be started: exit status: 3"),
        ("silent-exit", "could not be started: exit status: 0"),
        ("garbage", "that clm does not understand"),
        ("old-protocol", "version 0 of the protocol"),
        ("wrong-kind", "a worker for `drawio`, not for `plantuml`"),
    ] {
        let lab = Lab::new(&["--start", fault], |_| {});
        let error = lab.run(1, "x").await.unwrap_err();
        assert!(error.to_string().contains(expected), "{fault}: {error}");
        assert!(error.is_retriable());
        assert!(lab.events.lock().unwrap().is_empty());
    }
    let lab = Lab::new(&[], |config| {
        config.plantuml_command = Some(vec!["/nonexistent/worker".to_owned()]);
    });
    let error = lab.run(1, "x").await.unwrap_err();
    assert!(matches!(error, WorkerError::Start { .. }), "{error}");
}

#[tokio::test]
async fn a_missing_tool_names_the_command_that_installs_it() {
    let lab = Lab::new(&[], |config| config.plantuml_command = None);
    let error = lab.run(1, "x").await.unwrap_err();
    let WorkerError::Missing { what, hint } = error else {
        panic!("{error}")
    };
    assert_eq!(what, "PlantUML");
    assert!(hint.contains("`clm setup`"), "{hint}");
}

#[tokio::test]
async fn failed_starts_are_paused() {
    let lab = Lab::new(&["--start", "crash"], |_| {});
    let started = Instant::now();
    for id in 1..=4 {
        lab.run(id, "x").await.unwrap_err();
    }
    // 0 + 0 + 100 ms + 500 ms, counted from each failure.
    assert!(started.elapsed() > Duration::from_millis(500));
}

#[tokio::test]
async fn cancelling_ends_a_request_at_once() {
    let lab = Lab::new(&[], |_| {});
    lab.run(1, "x").await.unwrap();
    let first = lab.pids();
    // A worker that listens stops by itself, and stays warm.
    for (id, text, is_kept) in [(2, "fake: slow 60000", true), (3, "fake: hang", false)] {
        let cancel = CancellationToken::new();
        let run = lab.run_until(id, text, cancel.clone());
        let canceller = async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            cancel.cancel();
            Instant::now()
        };
        let (outcome, cancelled) = tokio::join!(run, canceller);
        assert_eq!(outcome.unwrap().status, OutcomeStatus::Cancelled);
        // Far less than its work takes, on a machine that does other work as well.
        assert!(cancelled.elapsed() < Duration::from_secs(15));
        if is_kept {
            assert!(!is_gone(first[0]));
        } else {
            assert!(eventually(|| is_gone(first[0])).await);
        }
    }
}

#[tokio::test]
async fn a_request_that_waits_for_a_slot_can_be_cancelled() {
    let lab = Lab::new(&[], |config| config.slots.plantuml = 1);
    let (cancel, end) = (CancellationToken::new(), CancellationToken::new());
    let busy = lab.run_until(1, "fake: slow 600000", end.clone());
    let waiting = async {
        assert!(eventually(|| lab.logged("work").len() == 1).await);
        let token = cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            token.cancel();
        });
        let outcome = lab.run_until(2, "x", cancel.clone()).await;
        end.cancel();
        outcome
    };
    let (busy, waiting) = tokio::join!(busy, waiting);
    assert_eq!(busy.unwrap().status, OutcomeStatus::Cancelled);
    assert_eq!(waiting.unwrap().status, OutcomeStatus::Cancelled);
    assert_eq!(lab.logged("work"), ["work topic/1.pu"]);
}

#[tokio::test]
async fn a_dropped_request_leaves_nothing_behind() {
    let lab = Lab::new(&[], |_| {});
    tokio::select! {
        result = lab.run(1, "fake: children") => panic!("{result:?}"),
        has_begun = eventually(|| !lab.logged("child").is_empty()) => assert!(has_begun),
    }
    let child: u32 = lab.logged("child")[0]
        .strip_prefix("child ")
        .and_then(|pid| pid.parse().ok())
        .unwrap();
    assert!(eventually(|| is_gone(lab.pids()[0]) && is_gone(child)).await);
    assert_eq!(lab.count(WorkerState::Stopped), 1);
}

#[tokio::test]
async fn one_process_serves_as_many_requests_as_it_can() {
    let lab = Lab::new(&["--capacity", "4"], |config| config.slots.plantuml = 4);
    let started = Instant::now();
    let texts = ["fake: slow 4000"; 4];
    let runs = (1..).zip(texts).map(|(id, text)| lab.run(id, text));
    for outcome in futures_of(runs).await {
        assert_eq!(outcome.unwrap().status, OutcomeStatus::Ok);
    }
    // One after the other they take 16 s.
    assert!(started.elapsed() < Duration::from_secs(12));
    assert_eq!(lab.logged("start").len(), 1);
}

#[tokio::test]
async fn a_neighbour_of_a_hanging_request_is_moved_to_a_new_process() {
    let lab = Lab::new(&["--capacity", "2"], |config| {
        config.timeouts.plantuml = Some(Duration::from_millis(1200));
    });
    let hanging = lab.run(1, "fake: hang");
    let innocent = async {
        // The limit of a request begins when its process has been started and gets it.
        assert!(eventually(|| lab.logged("work").len() == 1).await);
        tokio::time::sleep(Duration::from_millis(600)).await;
        lab.run(2, "fake: slow 800").await
    };
    let (hanging, innocent) = tokio::join!(hanging, innocent);
    assert_eq!(hanging.unwrap().status, OutcomeStatus::Failed);
    assert_eq!(innocent.unwrap().status, OutcomeStatus::Ok);
    assert_eq!(lab.logged("start").len(), 2);
}

#[tokio::test]
async fn a_worker_that_grew_too_much_is_replaced() {
    let lab = Lab::new(&[], |config| config.memory_ceiling = 80 << 20);
    lab.run(1, "x").await.unwrap();
    lab.run(2, "fake: memory 150").await.unwrap();
    lab.run(3, "x").await.unwrap();
    let pids = lab.pids();
    assert_eq!(pids.len(), 2);
    assert!(eventually(|| is_gone(pids[0])).await);
}

#[tokio::test]
async fn idle_workers_end_after_a_while() {
    let lab = Lab::new(&[], |config| config.idle_ttl = Duration::from_millis(100));
    lab.run(1, "x").await.unwrap();
    assert!(eventually(|| lab.count(WorkerState::Stopped) == 1).await);
    assert!(eventually(|| is_gone(lab.pids()[0])).await);
    lab.run(2, "x").await.unwrap();
    assert_eq!(lab.pids().len(), 2);
}

#[tokio::test]
async fn an_idle_worker_that_was_killed_costs_nothing() {
    let lab = Lab::new(&[], |_| {});
    lab.run(1, "x").await.unwrap();
    let pid = i32::try_from(lab.pids()[0]).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
    assert!(eventually(|| is_gone(lab.pids()[0])).await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let outcome = lab.run(2, "x").await.unwrap();
    assert_eq!(outcome.status, OutcomeStatus::Ok);
}

#[tokio::test]
async fn a_dead_process_shared_by_idle_workers_costs_nothing() {
    let lab = Lab::new(&["--capacity", "16"], |config| config.slots.plantuml = 16);
    let runs = (1..=16).map(|id| lab.run(id, "fake: slow 100"));
    assert!(futures_of(runs).await.iter().all(Result::is_ok));
    let pid = i32::try_from(lab.pids()[0]).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
    assert!(eventually(|| is_gone(lab.pids()[0])).await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    lab.run(17, "x").await.unwrap();
    assert_eq!(lab.pids().len(), 2);
}

#[tokio::test]
async fn warming_up_starts_as_many_workers_as_a_deck_has_languages() {
    for (slots, warm) in [(1, 1), (2, 2), (8, 2)] {
        let lab = Lab::new(&[], |config| config.slots.plantuml = slots);
        lab.pool.warm_up(ActionKind::Plantuml, 2);
        assert!(eventually(|| lab.count(WorkerState::Idle) == warm).await);
        lab.pool.warm_up(ActionKind::Plantuml, 2);
        lab.run(1, "x").await.unwrap();
        assert_eq!(lab.pids().len(), warm, "no more are started");
        assert_eq!(lab.pool.slots(ActionKind::Plantuml), slots);
        assert_eq!(lab.pool.slots(ActionKind::Copy), 0);
    }
}

#[tokio::test]
async fn a_request_takes_the_worker_that_is_getting_warm_for_it() {
    let lab = Lab::new(&[], |config| config.slots.plantuml = 2);
    lab.pool.warm_up(ActionKind::Plantuml, 1);
    lab.run(1, "x").await.unwrap();
    assert_eq!(lab.pids().len(), 1);
    // Another one at the same time has nothing to wait for.
    let lab = Lab::new(&[], |config| config.slots.plantuml = 2);
    lab.pool.warm_up(ActionKind::Plantuml, 1);
    let (one, other) = tokio::join!(lab.run(1, "x"), lab.run(2, "y"));
    assert!(one.is_ok() && other.is_ok());
    assert!((1..=2).contains(&lab.pids().len()));
}

/// Starts itself as a second process with a busy worker that has a child, and kills that second process.
#[tokio::test]
async fn a_killed_clm_leaves_no_worker() {
    const LOG: &str = "CLM_TEST_PARENT_OF_A_WORKER";
    if let Some(log) = std::env::var_os(LOG) {
        let lab = Lab::new(&["--log", log.to_str().unwrap()], |_| {});
        let _ = lab.run(1, "fake: child").await;
        panic!("it should have been killed");
    }
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let name = std::thread::current().name().unwrap().to_owned();
    let mut clm = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name.as_str(), "--exact"])
        .env(LOG, &log)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // `WORKER child CHILD`
    let find = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let line = text.lines().find(|line| line.contains(" child "))?;
        let (worker, child) = line.split_once(" child ")?;
        Some([worker.parse().ok()?, child.parse().ok()?])
    };
    assert!(eventually(|| find().is_some()).await);
    let pids: [u32; 2] = find().unwrap();
    assert!(pids.iter().all(|pid| !is_gone(*pid)));
    clm.kill().unwrap();
    clm.wait().unwrap();
    assert!(eventually(|| pids.iter().all(|pid| is_gone(*pid))).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_workers_do_four_hundred_requests() {
    let lab = Lab::new(&[], |config| config.slots.plantuml = 32);
    let texts: Vec<String> = (0..400)
        .map(|id| format!("fake: slow {}", id % 20))
        .collect();
    let runs = (0..).zip(&texts).map(|(id, text)| lab.run(id, text));
    for outcome in futures_of(runs).await {
        assert_eq!(outcome.unwrap(), Outcome::ok(["image.svg"]));
    }
    assert!(lab.pids().len() <= 32);
    let mut work = lab.logged("work");
    work.sort();
    work.dedup();
    assert_eq!(work.len(), 400);
}

#[tokio::test]
async fn real_tools_are_started_by_kind() {
    let dir = tempfile::tempdir().unwrap();
    let config = PoolConfig::new(dir.path(), dir.path().join("run"));
    let renderers = Arc::new(renderers(PYTHON));
    let kernel = "python3".to_owned();
    assert!(renderers.kernels.specs.contains_key(&kernel));
    let pool = Pool::new(renderers, config, Arc::new(|_| {}));
    let cell = CodeCell {
        source: "6 * 7".to_owned(),
        cell: 1,
        line: Some(1),
        jumps: Box::default(),
        may_fail: false,
    };
    let execute = Work::Execute(ExecuteWork {
        prog_lang: ProgLang::Python,
        kernel,
        cells: vec![cell],
        files: Vec::new(),
        directory: None,
        skip_errors: false,
        cell_timeout: None,
    });
    let notebook = r##"{"cells":[{"id":"a","cell_type":"markdown","metadata":{},"source":"# Forty-two"}],
        "metadata":{},"nbformat":4,"nbformat_minor":5}"##;
    let html = Work::Html(HtmlWork {
        pages: vec![Page {
            name: "completed".to_owned(),
            notebook: notebook.to_owned(),
        }],
    });
    for (id, work, file, text) in [
        (1, execute, "executed.json", "42"),
        (2, html, "completed.html", "Forty-two"),
    ] {
        let out = dir.path().join(format!("out-{id}"));
        std::fs::create_dir(&out).unwrap();
        let request = Request {
            id,
            source: RelPath::new("slides_a.py").unwrap(),
            root: dir.path().to_owned(),
            out: out.clone(),
            work,
        };
        let cancel = CancellationToken::new();
        let outcome = pool.run(&request, Arc::new(|_| {}), cancel).await.unwrap();
        assert_eq!(outcome.status, OutcomeStatus::Ok, "{outcome:?}");
        assert!(outcome.outputs.contains(&file.to_owned()), "{outcome:?}");
        let content = std::fs::read_to_string(out.join(file)).unwrap();
        assert!(content.contains(text), "{file}");
    }
    pool.shutdown().await;
}
