// What is true of kernels, however they are started. Included with a constant `ZYGOTE`.

#[tokio::test]
async fn outputs_of_every_kind_arrive() {
    let mut bench = Bench::new(ZYGOTE).await;
    let executed = bench
        .run(&[
            "import sys\nprint('one')\nprint('two')\nprint('bad', file=sys.stderr)",
            "",
            "import pandas\npandas.DataFrame({'a': [1, 2]})",
            "import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
            "6 * 7",
            "   \n",
            "import os\nos.system('echo from a child')\nNone",
        ])
        .await;
    assert_eq!(stdout(&executed, 0), "one\ntwo\n");
    assert_eq!(executed.cells[0].outputs[1]["text"], "bad\n");
    assert_eq!(
        executed.cells[1].execution_count, None,
        "empty cells get no number"
    );
    let table = &executed.cells[2].outputs[0]["data"];
    assert!(table["text/html"].as_str().unwrap().contains("<table"));
    let plot = &executed.cells[3].outputs[0];
    assert_eq!(plot["output_type"], "display_data");
    assert!(
        plot["data"]["image/png"]
            .as_str()
            .unwrap()
            .starts_with("iVBOR")
    );
    let result = json!({"output_type": "execute_result", "execution_count": 4, "metadata": {},
        "data": {"text/plain": "42"}});
    assert_eq!(executed.cells[4].outputs, [result]);
    assert_eq!(executed.cells[4].execution_count, Some(4));
    assert_eq!(stdout(&executed, 6), "from a child\n");
    let labels = bench.labels.lock().unwrap().clone();
    assert_eq!(labels[..2], ["cell 1", "cell 2"]);
    assert!(bench.leaves_nothing().await);
}

#[tokio::test]
async fn the_same_cells_give_the_same_bytes() {
    let mut bench = Bench::new(ZYGOTE).await;
    let cells = [
        "print({'b', 'a', 'c', 'd', 'e'})",
        "import warnings\nwarnings.warn('careful')",
        "import os\nos.getcwd()",
    ];
    let first = bench.run(&cells).await;
    let second = bench.run(&cells).await;
    assert_eq!(
        serde_json::to_vec(&first).unwrap(),
        serde_json::to_vec(&second).unwrap()
    );
}

#[tokio::test]
async fn each_execution_has_a_fresh_kernel_also_when_it_was_started_ahead() {
    let mut bench = Bench::new(ZYGOTE).await;
    bench.config.ahead.store(true, Ordering::Relaxed);
    bench
        .run(&["left_over = 1\nopen('left_over', 'w').close()"])
        .await;
    let first = bench.worker.pid();
    bench.config.ahead.store(false, Ordering::Relaxed);
    let check = "import os\nprint('left_over' in globals(), os.listdir('.'))";
    let executed = bench.run(&[check]).await;
    assert_eq!(stdout(&executed, 0), "False []\n");
    assert_ne!(bench.worker.pid(), first);
    assert!(bench.leaves_nothing().await);
}

#[tokio::test]
async fn a_kernel_started_ahead_does_not_outlive_its_worker() {
    let mut bench = Bench::new(ZYGOTE).await;
    bench.config.ahead.store(true, Ordering::Relaxed);
    bench.run(&["1"]).await;
    assert!(bench.leaves_nothing().await, "while it starts");
    let mut bench = Bench::new(ZYGOTE).await;
    bench.config.ahead.store(true, Ordering::Relaxed);
    bench.run(&["1"]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(bench.leaves_nothing().await, "when it is ready");
}

#[tokio::test]
async fn a_failing_cell_names_the_authors_line() {
    let mut bench = Bench::new(ZYGOTE).await;
    let cells = [
        "def divide(a, b):\n    return a / b",
        "x = 1\n\ndivide(x, 0)\ny = 2",
    ];
    let diagnostic = bench.fail(work(&cells)).await;
    assert_eq!(diagnostic.message, "ZeroDivisionError: division by zero");
    assert_eq!((diagnostic.cell, diagnostic.line), (Some(2), Some(22)));
    assert!(
        diagnostic.detail.unwrap().contains("\u{1b}["),
        "colours are kept"
    );
    assert!(diagnostic.hint.unwrap().contains("raises-exception"));

    let diagnostic = bench.fail(work(&["a = 1\nb = (\nc = 2"])).await;
    assert!(
        diagnostic.message.starts_with("SyntaxError: "),
        "{diagnostic}"
    );
    assert_eq!(diagnostic.line, Some(11));

    let diagnostic = bench.fail(work(&["1", "import not_there.at_all"])).await;
    assert!(diagnostic.hint.unwrap().contains("`not_there`"));
    assert_eq!(diagnostic.line, Some(20));
}

#[tokio::test]
async fn an_expected_exception_is_an_output() {
    let mut bench = Bench::new(ZYGOTE).await;
    let mut work = work(&["1 / 0", "print('after')"]);
    work.cells[0].may_fail = true;
    let (outcome, executed) = bench.try_run(work).await.unwrap();
    assert_eq!(
        (outcome.status, outcome.diagnostics.len()),
        (OutcomeStatus::Ok, 0)
    );
    assert_eq!(executed.cells[0].outputs[0]["ename"], "ZeroDivisionError");
    assert_eq!(stdout(&executed, 1), "after\n");
}

#[tokio::test]
async fn skipped_errors_leave_no_output_but_a_warning() {
    let mut bench = Bench::new(ZYGOTE).await;
    let mut work = work(&["print('before')\n1 / 0", "print('after')", "nonsense"]);
    work.skip_errors = true;
    let (outcome, executed) = bench.try_run(work).await.unwrap();
    assert_eq!(outcome.status, OutcomeStatus::Ok);
    assert_eq!(executed.cells[0].outputs, [] as [Value; 0]);
    assert_eq!(executed.cells[0].execution_count, None);
    assert_eq!(stdout(&executed, 1), "after\n");
    let [warning] = <[Diagnostic; 1]>::try_from(outcome.diagnostics).unwrap();
    assert_eq!(warning.severity, Severity::Warning);
    assert!(warning.message.contains("1, 3"), "{warning}");
    assert!(
        warning
            .detail
            .unwrap()
            .contains("NameError: name 'nonsense'")
    );
}

#[tokio::test]
async fn input_fails_at_once() {
    let mut bench = Bench::new(ZYGOTE).await;
    let started = Instant::now();
    let diagnostic = bench.fail(work(&["name = input('Name? ')"])).await;
    assert!(
        diagnostic.message.starts_with("StdinNotImplementedError"),
        "{diagnostic}"
    );
    assert!(diagnostic.hint.unwrap().contains("input()"));
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_kernel_that_ends_is_an_error_of_the_cell() {
    let mut bench = Bench::new(ZYGOTE).await;
    for (source, message) in [
        ("import os\nos._exit(3)", "exit status: 3"),
        ("import os\nos.abort()", "SIGABRT"),
        ("import ctypes\nctypes.string_at(0)", "SIGSEGV"),
        ("exit()", "other cells follow"),
        ("import sys\nsys.exit(1)", "SystemExit: 1"),
    ] {
        let started = Instant::now();
        let diagnostic = bench.fail(work(&["1", source, "2"])).await;
        assert!(
            diagnostic.message.contains(message),
            "{source}: {diagnostic}"
        );
        assert_eq!(diagnostic.cell, Some(2), "{source}");
        assert!(started.elapsed() < Duration::from_secs(20), "{source}");
    }
    // At the end of a deck it does no harm.
    bench.run(&["print(1)", "exit()"]).await;
    assert!(bench.leaves_nothing().await);
}

#[tokio::test]
async fn a_kernel_that_ends_between_cells_is_noticed() {
    let mut bench = Bench::new(ZYGOTE).await;
    let timer = "import os, threading, time\nthreading.Timer(0.05, os._exit, [4]).start()";
    let mut cells = vec![timer];
    cells.extend(["time.sleep(0.01)"; 30]);
    let diagnostic = bench.fail(work(&cells)).await;
    assert!(
        diagnostic.message.contains("exit status: 4"),
        "{diagnostic}"
    );
    assert!(diagnostic.cell > Some(1));
}

#[tokio::test]
async fn kernels_work_over_ports_where_paths_are_too_long_for_sockets() {
    let long = tempfile::Builder::new()
        .prefix(&"long".repeat(30))
        .tempdir()
        .unwrap();
    let config = Bench::config(long.path(), ZYGOTE);
    let mut bench = Bench::new(ZYGOTE).await;
    bench.worker = start_kernel_worker(&renderers(PYTHON).kernels, &config)
        .await
        .unwrap();
    let executed = bench.run(&["print('over TCP')"]).await;
    assert_eq!(stdout(&executed, 0), "over TCP\n");
    assert_eq!(
        executed.cells[0].outputs.len(),
        1,
        "no warning of the kernel is an output"
    );
}

#[tokio::test]
async fn a_killed_kernel_is_worth_another_attempt() {
    let mut bench = Bench::new(ZYGOTE).await;
    let kill = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)";
    let error = bench.try_run(work(&["1", kill])).await.unwrap_err();
    assert!(error.is_retriable());
    let text = error.to_string();
    assert!(matches!(error, WorkerError::Crashed { .. }), "{text}");
    assert!(text.contains("cell 2 (line 20)"), "{text}");
    bench.run(&["1"]).await;
}

#[tokio::test]
async fn an_endless_cell_is_stopped() {
    let mut bench = Bench::new(ZYGOTE).await;
    for endless in [
        "while True: pass",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    ] {
        let mut work = work(&["1", endless]);
        work.cell_timeout = Some(Duration::from_secs(1));
        let started = Instant::now();
        let diagnostic = bench.fail(work).await;
        assert!(
            diagnostic.message.contains("stopped after 1 s"),
            "{diagnostic}"
        );
        assert_eq!((diagnostic.cell, diagnostic.line), (Some(2), Some(20)));
        assert!(diagnostic.hint.unwrap().contains("cell_timeout"));
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    assert!(bench.leaves_nothing().await);
}

#[tokio::test]
async fn cancelling_ends_whatever_a_cell_does() {
    for source in [
        "while True: pass",
        "import time\ntime.sleep(100)",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "import subprocess\nsubprocess.run(['sleep', '987'])",
        "import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')",
    ] {
        let mut bench = Bench::new(ZYGOTE).await;
        let cancel = bench.cancel.clone();
        let labels = Arc::clone(&bench.labels);
        let when = tokio::spawn(async move {
            while !labels.lock().unwrap().iter().any(|label| label == "cell 2") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            cancel.cancel();
            Instant::now()
        });
        let mut work = work(&["1", source]);
        work.cell_timeout = None;
        let (outcome, _) = bench.try_run(work).await.unwrap();
        let took = when.await.unwrap().elapsed();
        assert_eq!(outcome.status, OutcomeStatus::Cancelled);
        assert!(took < Duration::from_secs(15), "{source}: {took:?}");
        assert!(bench.leaves_nothing().await, "{source}");
    }
}

#[tokio::test]
async fn cancelling_while_the_kernel_starts() {
    let mut bench = Bench::new(ZYGOTE).await;
    bench.cancel.cancel();
    let started = Instant::now();
    let (outcome, _) = bench.try_run(work(&["1"])).await.unwrap();
    assert_eq!(outcome.status, OutcomeStatus::Cancelled);
    assert!(started.elapsed() < Duration::from_secs(15));
    assert!(bench.leaves_nothing().await);
}

#[tokio::test]
async fn cells_find_copies_of_the_topics_files() {
    let mut bench = Bench::new(ZYGOTE).await;
    let topic = bench.root.path().join("slides/topic");
    std::fs::create_dir_all(topic.join("data")).unwrap();
    std::fs::write(topic.join("data/a.txt"), "content").unwrap();
    std::fs::write(topic.join("own_module.py"), "VALUE = 5").unwrap();
    let path = |text: &str| RelPath::new(text).unwrap();
    let mut cells = work(&[
        "print(open('data/a.txt').read())",
        "import own_module\nprint(own_module.VALUE)",
        "open('data/a.txt', 'w').write('changed');",
    ]);
    cells.files = vec![
        (path("slides/topic/data/a.txt"), path("data/a.txt")),
        (path("slides/topic/own_module.py"), path("own_module.py")),
    ];
    let (outcome, executed) = bench.try_run(cells).await.unwrap();
    assert_eq!(outcome.status, OutcomeStatus::Ok, "{outcome:?}");
    assert_eq!(stdout(&executed, 0), "content\n");
    assert_eq!(stdout(&executed, 1), "5\n");
    let unchanged = std::fs::read_to_string(topic.join("data/a.txt")).unwrap();
    assert_eq!(unchanged, "content", "cells write to copies");
}

#[tokio::test]
async fn what_child_processes_print_stays_in_its_cell() {
    let mut bench = Bench::new(ZYGOTE).await;
    // Burning threads make the kernel read late, as a busy machine does.
    let burn = "import os, threading\ndef burn():\n    for i in range(10**8): pass\n\
        for _ in range(3): threading.Thread(target=burn, daemon=True).start()";
    let mut cells = vec![burn];
    cells.extend(["os.system('echo one; printf two')\nNone"; 12]);
    let executed = bench.run(&cells).await;
    for cell in 1..cells.len() {
        assert_eq!(stdout(&executed, cell), "one\ntwo", "cell {cell}");
    }
}

#[tokio::test]
async fn printing_without_end_is_cut() {
    let mut bench = Bench::new(ZYGOTE).await;
    let (outcome, executed) = bench
        .try_run(work(&[
            "line = 'x' * 999\nfor i in range(30000): print(line)",
            "print('next')",
        ]))
        .await
        .unwrap();
    let [warning] = <[Diagnostic; 1]>::try_from(outcome.diagnostics).unwrap();
    assert_eq!(
        (warning.severity, warning.cell),
        (Severity::Warning, Some(1))
    );
    assert_eq!(stdout(&executed, 0).len(), MAX_STREAM_BYTES);
    assert_eq!(stdout(&executed, 1), "next\n");
}

#[tokio::test]
async fn kernels_that_cannot_be_started_say_why() {
    let runtime = tempfile::tempdir().unwrap();
    let mut kernels = renderers(PYTHON).kernels;
    let spec = kernels.specs["python3"].clone();
    for (name, script) in [("dies", "echo broken >&2; exit 5"), ("mute", "sleep 60")] {
        let mut spec = spec.clone();
        spec.argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        kernels.specs.insert(name.to_owned(), spec);
    }
    let out = tempfile::tempdir().unwrap();
    let run = async |kernel: &str, startup_timeout: Option<Duration>| {
        let mut config = Bench::config(runtime.path(), ZYGOTE);
        config.startup_timeout = startup_timeout.unwrap_or(config.startup_timeout);
        let mut worker = start_kernel_worker(&kernels, &config).await.unwrap();
        let mut work = work(&["1"]);
        work.kernel = kernel.to_owned();
        let request = request(out.path(), out.path(), Work::Execute(work));
        let cancel = CancellationToken::new();
        let error = worker.run(&request, Arc::new(|_| {}), cancel).await;
        worker.shutdown().await;
        error.unwrap_err().to_string()
    };
    // With a short timeout, a busy machine may be too slow to see that the kernel ended.
    let error = run("dies", None).await;
    assert!(
        error.contains("exit status: 5") && error.contains("broken"),
        "{error}"
    );
    let error = run("mute", Some(Duration::from_secs(1))).await;
    assert!(error.contains("within 1 s"), "{error}");
    // What is missing is an error of the environment: it is reported once for all decks.
    let error = run("klingon", None).await;
    assert!(error.contains("`klingon`"), "{error}");
    assert!(no_process_mentions(runtime.path()));
}

#[tokio::test]
async fn kernels_are_started_in_the_way_that_is_asked_for() {
    let mut bench = Bench::new(ZYGOTE).await;
    let executed = bench.run(&["import os\nprint(os.getppid())"]).await;
    let is_our_child = stdout(&executed, 0).trim() == std::process::id().to_string();
    assert_eq!(is_our_child, !ZYGOTE);
    assert!(bench.leaves_nothing().await);
}

/// A cell that detaches processes in all the ways there are, and prints their ids.
const DETACHES: &str = r#"
import os, subprocess, sys, time

def daemon():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(writer, str(os.getpid()).encode())
            os.close(writer)
            os.closerange(0, 3)
            time.sleep(600)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    return int(os.read(reader, 100))

def shell(command):
    return int(subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE).stdout)

pids = [
    daemon(),
    subprocess.Popen(["sleep", "600"], start_new_session=True).pid,
    shell("setsid sleep 600 >/dev/null 2>&1 & echo $!"),
    shell("(trap '' HUP INT TERM; setsid sh -c 'sleep 600; sleep 600' >/dev/null 2>&1 & echo $!)"),
]
print(*pids)
"#;

/// Whether processes end soon.
async fn end(pids: &str) -> bool {
    let pids: Vec<u32> = pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 4);
    let lives = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    let started = Instant::now();
    while pids.iter().any(lives) {
        if started.elapsed() > Duration::from_secs(60) {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

#[tokio::test]
async fn what_a_cell_detaches_ends_with_the_kernel() {
    let mut bench = Bench::new(ZYGOTE).await;
    let lives = "import signal\nfor pid in pids:\n    os.kill(pid, 0)\nprint('all live')";
    let executed = bench.run(&[DETACHES, lives]).await;
    assert_eq!(stdout(&executed, 1), "all live\n", "later cells use them");
    assert!(end(stdout(&executed, 0)).await, "when it is not needed any more");

    let file = bench.root.path().join("pids");
    let write = format!("with open({:?}, 'w') as file:\n    print(*pids, file=file)", file);
    for last in ["os._exit(3)", "os.kill(os.getpid(), 9)", "raise ValueError", "exit()"] {
        let _ = bench.try_run(work(&[DETACHES, &write, last])).await;
        let pids = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(end(&pids).await, "after `{last}`");
    }
    assert!(bench.leaves_nothing().await);
}

#[tokio::test]
async fn flushed_prints_to_both_streams_keep_their_order() {
    let mut bench = Bench::new(ZYGOTE).await;
    let cells = [
        "import sys, time\nfor i in range(3):\n    print('out', i, flush=True)\n    print('err', i, file=sys.stderr, flush=True)",
        "print('a')\nprint('e', file=sys.stderr)\ntime.sleep(0.5)\nprint('b')\nprint('f', file=sys.stderr)",
        "print('x' * 200_000)\nprint('end', file=sys.stderr)",
    ];
    let executed = bench.run(&cells).await;
    let texts = |cell: usize| -> Vec<&str> {
        let outputs = executed.cells[cell].outputs.iter();
        outputs.map(|output| output["text"].as_str().unwrap()).collect()
    };
    assert_eq!(texts(0), ["out 0\n", "err 0\n", "out 1\n", "err 1\n", "out 2\n", "err 2\n"]);
    assert_eq!(texts(1), ["a\nb\n", "e\nf\n"], "not cut by the clock");
    assert_eq!(texts(2).len(), 2);
    assert_eq!(texts(2)[1], "end\n");
}

/// What `ipywidgets` says to a page, without it.
const WIDGETS: [&str; 3] = [
    "from comm import create_comm\nfrom IPython.display import display\nimport sys\n\
     class Widget:\n    def __init__(self, module, name, **state):\n        names = {'_model_module': module, '_model_module_version': '1.0.0', '_model_name': name}\n        \
     self.state = {**names, **state}\n        self.comm = create_comm(target_name='jupyter.widget', data={'state': self.state, 'buffer_paths': []}, metadata={'version': '2.1.0'})\n        \
     self.comm.on_msg(self.heard)\n    def heard(self, message):\n        self.state.update(message['content']['data']['state'])\n    \
     def send(self, **state):\n        self.state.update(state)\n        self.comm.send({'method': 'update', 'state': state, 'buffer_paths': []})\n\
     out = Widget('@jupyter-widgets/output', 'OutputModel', outputs=[], msg_id='')\n\
     parent = get_ipython().kernel.get_parent()['header']['msg_id']\n\
     out.send(msg_id=parent)\nprint('inside')\ndisplay('shown')\nout.send(msg_id='')\nprint('outside')",
    "print([output['output_type'] for output in out.state['outputs']])",
    "slider = Widget('@jupyter-widgets/controls', 'IntSliderModel', value=3)\nslider.send(value=9)\n\
     display({'application/vnd.jupyter.widget-view+json': {'model_id': slider.comm.comm_id, 'version_major': 2, 'version_minor': 0}}, raw=True)",
];

#[tokio::test]
async fn widgets_have_a_state_and_output_widgets_take_outputs() {
    let mut bench = Bench::new(ZYGOTE).await;
    let executed = bench.run(&WIDGETS).await;
    assert_eq!(stdout(&executed, 0), "outside\n");
    assert_eq!(executed.cells[0].outputs.len(), 1);
    assert_eq!(stdout(&executed, 1), "['stream', 'display_data']\n", "the kernel knows");
    let widgets = executed.widgets.as_ref().unwrap();
    let models = &widgets["application/vnd.jupyter.widget-state+json"]["state"];
    let [out, slider] = [1, 2].map(|number| &models[format!("{number:032x}")]);
    assert_eq!(out["state"]["outputs"][0]["text"], "inside\n");
    assert_eq!(slider["state"]["value"], 9);
    let view = &executed.cells[2].outputs[0]["data"]["application/vnd.jupyter.widget-view+json"];
    assert_eq!(view["model_id"], format!("{:032x}", 2));
    assert_eq!(bench.run(&WIDGETS).await, executed, "ids are no accident");
}
