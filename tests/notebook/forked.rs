//! Forked kernels cannot be told from kernels that were started for one deck.

use super::*;

/// How long a zygote may take to learn.
const LEARNING: Duration = Duration::from_secs(90);

/// Decks that look at everything that forking could change, each a list of cells. What they import is made ahead. Cells that
/// write to descriptors have no result: the kernel sends these in any order.
const DECKS: &[&[&str]] = &[
    // The process.
    &[
        "import os, sys, signal, resource, locale, stat",
        "sorted(os.environ)",
        "{k: v for k, v in os.environ.items() if k not in ('IPYTHONDIR', 'JPY_PARENT_PID', 'CLM_TREE')}",
        "os.path.basename(os.environ['IPYTHONDIR']), os.environ['JPY_PARENT_PID'].isdigit()",
        "[os.path.basename(word) for word in sys.argv], [os.path.basename(word) for word in sys.orig_argv]",
        "sys.path, sys.executable, sys.prefix, sys.flags, sys.warnoptions, sys._xoptions",
        "os.getcwd(), os.listdir('.'), os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid()",
        "{n.name: str(signal.getsignal(n)).split(' at ')[0] for n in signal.Signals}",
        "sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), signal.set_wakeup_fd(-1) >= 0",
        "{n: resource.getrlimit(getattr(resource, n)) for n in dir(resource) if n.startswith('RLIMIT')}",
        "os.nice(0), os.sched_getaffinity(0), oct(os.umask(0o22)), locale.setlocale(locale.LC_ALL)",
        "sorted(int(n) for n in os.listdir('/proc/self/fd'))[:3], [oct(stat.S_IFMT(os.fstat(n).st_mode)) for n in range(3)]",
        "len(os.listdir('/proc/self/fd'))",
        "sys.getrecursionlimit(), sys.getswitchinterval(), sys.ps1, sys.displayhook.__class__, sys.excepthook.__qualname__",
        "[(s.name, s.encoding, s.errors, s.line_buffering, s.seekable()) for s in (sys.__stdin__, sys.__stdout__, sys.__stderr__)]",
        "sys.stdin.read() == '', type(sys.stdout), sys.__stdout__.fileno()",
        "open('/proc/self/oom_score_adj').read(), os.ctermid(), sorted(vars(sys))",
    ],
    // Modules and what they left behind. (The name of the list of modules is written so that it is not noticed.)
    &[
        "import sys as s\nmods = vars(s)['mod' + 'ules']\nsorted(mods)",
        "[getattr(f, '__name__', type(f)) for f in vars(s)['meta_' + 'path'] + vars(s)['path_' + 'hooks']], sorted(vars(s)['path_importer_cache'])",
        "import warnings\n[(f[0], str(f[1]), f[2], str(f[3]), f[4]) for f in warnings.filters]",
        "import builtins as b\nsorted(vars(b))",
        "main = mods['__main__']\nsorted(n for n in vars(main) if not n.startswith('_i'))",
        "main.__name__, main.__doc__, main.__spec__, getattr(main, '__file__', None), main is get_ipython().user_module",
        "import logging\nlogging.root.level, logging.root.handlers, sorted(logging.root.manager.loggerDict)",
        "import atexit\natexit._ncallbacks()",
        "import threading\n[thread.name for thread in threading.enumerate()], threading.Thread().name",
        "threading.main_thread() is threading.enumerate()[0], threading.main_thread().ident == threading.get_ident()",
        "threading.current_thread() is threading.main_thread(), threading.active_count()",
    ],
    // What decks about numbers do.
    &[
        "import numpy as np\nimport pandas as pd\nimport matplotlib.pyplot as plt\nimport random",
        "import warnings\n[(f[0], str(f[1]), f[2], str(f[3]), f[4]) for f in warnings.filters]",
        "pd.DataFrame(np.arange(400).reshape(10, 40))",
        "pd.DataFrame({'a': range(100), 'b': list('wxyz') * 25, 'c': np.linspace(0, 1, 100)})",
        "[pd.get_option(f'display.{n}') for n in ('max_columns', 'max_rows', 'width', 'max_colwidth', 'notebook_repr_html')]",
        "np.random.seed(3)\nrandom.seed(3)\nnp.random.rand(3), random.random(), np.random.default_rng(3).normal()",
        "a = np.random.rand(300, 300)\n(a @ a).sum(), np.linalg.det(a), np.linalg.eigvals(a)[:3], np.linalg.svd(a)[1][:3]",
        "plt.get_backend(), plt.rcParams['backend'], plt.isinteractive(), plt.get_fignums()",
        "figure, axes = plt.subplots()\naxes.plot(np.sin(np.linspace(0, 9, 50)), label='s')\naxes.legend()\naxes.set_title('T')\nplt.show()",
        "plt.hist([1, 2, 2, 3]);",
        "pd.Series([1, 3, 2]).plot(title='S')",
        "sorted((k, str(v)) for k, v in plt.rcParams.items())",
        "np.array([1, 2]) / 0",
        "np.array([1, 2]) + np.array([1, 2, 3])",
        "pd.DataFrame({'a': [1]})['b']",
        "np.get_printoptions(), np.geterr()",
        "import threading\nthreading.Thread().name, threading.active_count()",
        "!echo $MPLBACKEND $VIRTUAL_ENV",
    ],
    // Processes, threads, loops, streams.
    &[
        "import os, sys, subprocess, threading, multiprocessing, asyncio, time, signal, tempfile, atexit",
        "from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor",
        "def square(n): return n * n\nwith multiprocessing.get_context('fork').Pool(2) as pool: print(pool.map(square, range(4)))",
        "multiprocessing.current_process().name, multiprocessing.parent_process(), multiprocessing.active_children()",
        "multiprocessing.process.ORIGINAL_DIR == os.getcwd(), vars(sys)['mod' + 'ules']['__mp_main__'].__name__",
        "with ThreadPoolExecutor(2) as pool: print(list(pool.map(square, range(4))), sorted(t.name for t in pool._threads))",
        "with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context('fork')) as pool: print(list(pool.map(square, range(4))))",
        "subprocess.run([sys.executable, '-c', 'print(1); import sys; print(2, file=sys.stderr); sys.exit(3)']);",
        "print(subprocess.check_output('pwd; echo $0; ulimit -n', shell=True, text=True).splitlines()[1:])",
        "os.write(1, b'raw\\n'); os.write(2, b'raw err\\n')\nos.system('echo child')\nNone",
        "print('dunder', file=sys.__stdout__, flush=True)\nprint('err', file=sys.__stderr__, flush=True)",
        "t = threading.Thread(target=print, args=('from a thread',)); t.start(); t.join(); print(t.name)",
        "async def f():\n    await asyncio.sleep(0.01)\n    return type(asyncio.get_running_loop()).__name__\nawait f()",
        "pid = os.fork()\nif pid == 0: os._exit(7)\nos.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])",
        "signal.signal(signal.SIGALRM, lambda *a: print('alarm'))\nsignal.setitimer(signal.ITIMER_REAL, 0.02)\ntime.sleep(0.1)",
        "try:\n    signal.raise_signal(signal.SIGINT)\nexcept KeyboardInterrupt:\n    print('interrupted')",
        "input('?')",
        "try:\n    os.waitpid(-1, os.WNOHANG)\nexcept ChildProcessError as error:\n    print(error)",
        "atexit.register(print, 'the end')\ntempfile.gettempdir(), time.tzname",
        "sys.exit('out')",
    ],
    // Errors and how they are shown.
    &[
        "import warnings, json, re, statistics, decimal, traceback",
        "warnings.warn('careful')\nwarnings.warn('old', DeprecationWarning)\nwarnings.warn('soon', PendingDeprecationWarning)",
        "def deep(n): return deep(n + 1)\ntry:\n    deep(0)\nexcept RecursionError as error:\n    print(error)",
        "depth = 0\ndef count():\n    global depth\n    depth += 1\n    count()\ntry:\n    count()\nexcept RecursionError:\n    print(depth)",
        "json.loads('{')",
        "re.compile('(')",
        "statistics.mean([])",
        "decimal.Decimal(1) / 0",
        "try:\n    {}['k']\nexcept KeyError as error:\n    raise ValueError('because') from error",
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()",
        "raise ExceptionGroup('several', [ValueError(1), TypeError(2)])",
        "%xmode\n%who\n%lsmagic",
        "help(len)",
        "%%bash\nps -o stat= -p $PPID | cut -c1; id -u",
        "import os\nos.abort",
        "print({'b', 'a', 'c', 'd'}, hash('a'))",
    ],
];

fn forgiving(sources: &[&str]) -> ExecuteWork {
    let mut work = work(sources);
    for cell in &mut work.cells {
        cell.may_fail = true;
    }
    work
}

/// Waits until kernels for decks with the imports of this one have them already.
async fn learn(bench: &mut Bench, sources: &[&str]) {
    let imports = sources.iter().flat_map(|source| source.lines());
    let imports: Vec<&str> = imports
        .filter(|line| line.starts_with("import ") || line.starts_with("from "))
        .collect();
    // Written so that nobody notices that the deck looks at loaded modules.
    let before = "import sys\nbefore = set(vars(sys)['mod' + 'ules'])";
    let after = "print(len(set(vars(sys)['mod' + 'ules']) - before))";
    let started = Instant::now();
    loop {
        let executed = bench.run(&[before, &imports.join("\n"), after]).await;
        if stdout(&executed, 2) == "0\n" {
            return;
        }
        assert!(
            started.elapsed() < LEARNING,
            "only {} is learned",
            stdout(&executed, 2)
        );
        bench.worker.prepare();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn a_deck_cannot_tell_how_its_kernel_came_to_life() {
    let mut commanded = Bench::new(false).await;
    let mut forked = Bench::new(true).await;
    let mut differences = Vec::new();
    for sources in DECKS.iter().chain(DIFFERENTIAL) {
        let (_, expected) = commanded.try_run(forgiving(sources)).await.unwrap();
        for has_imports in [false, true] {
            if has_imports {
                learn(&mut forked, sources).await;
            }
            let (_, seen) = forked.try_run(forgiving(sources)).await.unwrap();
            for (index, (seen, expected)) in seen.cells.iter().zip(&expected.cells).enumerate() {
                let [seen, expected] = [seen, expected].map(|cell| {
                    serde_json::to_string_pretty(cell)
                        .unwrap()
                        .replace("\\n", "\n")
                });
                if seen != expected {
                    let differing = similar_asserts::SimpleDiff::from_str(
                        &expected, &seen, "started", "forked",
                    );
                    differences.push(format!(
                        "imports made: {has_imports}\n{}\n{differing}",
                        sources[index]
                    ));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    assert!(forked.leaves_nothing().await);
}

#[tokio::test]
async fn every_kernel_has_random_numbers_of_its_own() {
    let mut bench = Bench::new(true).await;
    let cells = [
        "import numpy as np\nimport random",
        "print(np.random.rand(), random.random())",
    ];
    learn(&mut bench, &cells).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let executed = bench.run(&cells).await;
        seen.extend(stdout(&executed, 1).split_whitespace().map(str::to_owned));
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
}

#[tokio::test]
async fn a_module_of_the_topic_comes_before_one_that_was_imported_ahead() {
    let mut bench = Bench::new(true).await;
    let cells = ["import cycler", "print(hasattr(cycler, 'Cycler'))"];
    learn(&mut bench, &cells).await;
    let executed = bench.run(&cells).await;
    assert_eq!(stdout(&executed, 1), "True\n");
    let topic = bench.root.path().join("slides/topic");
    std::fs::create_dir_all(&topic).unwrap();
    std::fs::write(topic.join("cycler.py"), "OWN = 1").unwrap();
    let path = |text: &str| RelPath::new(text).unwrap();
    let mut with_own = work(&cells);
    with_own.files = vec![(path("slides/topic/cycler.py"), path("cycler.py"))];
    let (_, executed) = bench.try_run(with_own).await.unwrap();
    assert_eq!(stdout(&executed, 1), "False\n");
    // What cells write counts as well.
    let executed = bench
        .run(&["%%writefile cycler.py\nOWN = 2", cells[0], cells[1]])
        .await;
    assert_eq!(stdout(&executed, 2), "False\n");
}

#[tokio::test]
async fn modules_that_do_something_when_they_are_imported_are_left_to_kernels() {
    let mut bench = Bench::new(true).await;
    let cells = ["import statistics, this", "print(1)"];
    let first = bench.run(&cells).await;
    assert!(stdout(&first, 0).starts_with("The Zen of Python"));
    learn(&mut bench, &["import statistics"]).await;
    for _ in 0..2 {
        bench.worker.prepare();
        let again = bench.run(&cells).await;
        assert_eq!(again, first);
    }
}

/// The zygotes below a directory.
fn zygotes(runtime: &Path) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let is_zygote = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let directory = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        // Kernels have the same command line, but another directory.
        String::from_utf8_lossy(&line).contains("zygote.py")
            && directory.starts_with(runtime)
            && !directory.ends_with("work")
    };
    let found = processes.filter(is_zygote);
    let pids = found.map(|entry| entry.file_name().to_str().unwrap().parse().unwrap());
    pids.collect()
}

fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    // It may have ended just now.
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
}

#[tokio::test]
async fn a_zygote_that_was_killed_is_replaced() {
    let mut bench = Bench::new(true).await;
    bench.run(&["1"]).await;
    let [first] = zygotes(bench.runtime.path())[..] else {
        panic!("there is one zygote");
    };
    kill(first);
    let executed = bench.run(&["import os\nprint(os.getppid())"]).await;
    let parent: u32 = stdout(&executed, 0).trim().parse().unwrap();
    assert_ne!(parent, std::process::id());
    assert_ne!(parent, first);
    assert_eq!(zygotes(bench.runtime.path()), [parent]);
    assert!(bench.leaves_nothing().await);
}

#[tokio::test]
async fn kernels_die_with_their_zygote_and_that_is_worth_another_attempt() {
    let mut bench = Bench::new(true).await;
    let labels = Arc::clone(&bench.labels);
    let runtime = bench.runtime.path().to_owned();
    let when = tokio::spawn(async move {
        while !labels.lock().unwrap().iter().any(|label| label == "cell 2") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        zygotes(&runtime).into_iter().for_each(kill);
    });
    let sleeping = work(&["1", "import time\ntime.sleep(60)"]);
    let error = bench.try_run(sleeping).await.unwrap_err();
    when.await.unwrap();
    assert!(error.is_retriable(), "{error}");
    bench.run(&["1"]).await;
    assert!(bench.leaves_nothing().await);
}

#[tokio::test]
async fn a_zygote_that_is_killed_at_any_moment_stalls_nothing() {
    let mut bench = Bench::new(true).await;
    for pause in [0, 5, 15, 30, 50, 80, 120, 200] {
        bench.run(&["1"]).await;
        let runtime = bench.runtime.path().to_owned();
        let when = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            zygotes(&runtime).into_iter().for_each(kill);
        });
        let run = bench.try_run(work(&["1 + 1", "2 + 2"]));
        let ended = tokio::time::timeout(Duration::from_secs(60), run).await;
        let result = ended.unwrap_or_else(|_| panic!("killed after {pause} ms: it hangs"));
        if let Err(error) = result {
            assert!(error.is_retriable(), "{pause}: {error}");
        }
        when.await.unwrap();
    }
    bench.run(&["1"]).await;
    assert!(bench.leaves_nothing().await);
}

#[tokio::test]
async fn what_decks_import_is_known_to_the_next_process() {
    let course = tempfile::tempdir().unwrap();
    let file = course.path().join("imports.json");
    let mut bench = Bench::new(true).await;
    bench.remember(&file).await;
    bench.run(&["import statistics, xml.dom.minidom"]).await;
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(bench.leaves_nothing().await);
    let mut bench = Bench::new(true).await;
    bench.remember(&file).await;
    bench.worker.prepare();
    let started = Instant::now();
    while zygotes(bench.runtime.path()).len() < 2 {
        assert!(started.elapsed() < LEARNING, "nothing was remembered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(bench.leaves_nothing().await);
}
