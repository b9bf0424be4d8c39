//! Decks in real kernels, pages by real nbconvert: results, diagnostics, time limits, and that nothing is left over.

// Failures of helpers are failures of the tests.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clm::testing::course::{ProgLang, RelPath};
use clm::testing::events::{Diagnostic, Severity};
use clm::testing::worker::notebook::{
    HtmlConfig, KernelConfig, MAX_STREAM_BYTES, start_html_worker, start_kernel_worker,
};
use clm::testing::worker::request::{
    CodeCell, ExecuteWork, Executed, HtmlWork, Outcome, OutcomeStatus, Page,
};
use clm::testing::worker::{Progress, Request, Work, Worker, WorkerError};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::renderers::{PYTHON, renderers};

/// A course directory, a runtime directory and a worker.
struct Bench {
    root: TempDir,
    runtime: TempDir,
    config: KernelConfig,
    worker: Box<dyn Worker>,
    labels: Arc<Mutex<Vec<String>>>,
    cancel: CancellationToken,
}

impl Bench {
    async fn new(zygote: bool) -> Self {
        let runtime = tempfile::tempdir().unwrap();
        let config = Self::config(runtime.path(), zygote);
        let kernels = &renderers(PYTHON).kernels;
        Self {
            root: tempfile::tempdir().unwrap(),
            worker: start_kernel_worker(kernels, &config).await.unwrap(),
            runtime,
            config,
            labels: Arc::default(),
            cancel: CancellationToken::new(),
        }
    }

    /// A new worker that keeps in a file what decks import.
    async fn remember(&mut self, file: &Path) {
        self.config.imports_file = Some(file.to_owned());
        self.config.zygotes = Default::default();
        let kernels = &renderers(PYTHON).kernels;
        self.worker = start_kernel_worker(kernels, &self.config).await.unwrap();
    }

    fn config(runtime: &Path, zygote: bool) -> KernelConfig {
        KernelConfig {
            zygote,
            ..KernelConfig::new(runtime.to_owned())
        }
    }

    async fn try_run(&mut self, work: ExecuteWork) -> Result<(Outcome, Executed), WorkerError> {
        let out = tempfile::tempdir().unwrap();
        let request = request(self.root.path(), out.path(), Work::Execute(work));
        let labels = Arc::clone(&self.labels);
        let sink = move |progress: Progress| labels.lock().unwrap().push(progress.label);
        let outcome = self
            .worker
            .run(&request, Arc::new(sink), self.cancel.clone())
            .await?;
        let executed = match outcome.status {
            OutcomeStatus::Ok => {
                let bytes = std::fs::read(out.path().join("executed.json")).unwrap();
                serde_json::from_slice(&bytes).unwrap()
            }
            _ => Executed::default(),
        };
        Ok((outcome, executed))
    }

    /// Runs cells that succeed.
    async fn run(&mut self, sources: &[&str]) -> Executed {
        let (outcome, executed) = self.try_run(work(sources)).await.unwrap();
        assert_eq!(outcome.status, OutcomeStatus::Ok, "{outcome:?}");
        assert_eq!(outcome.diagnostics, []);
        executed
    }

    /// Runs cells that fail.
    async fn fail(&mut self, work: ExecuteWork) -> Diagnostic {
        let (outcome, _) = self.try_run(work).await.unwrap();
        assert_eq!(outcome.status, OutcomeStatus::Failed, "{outcome:?}");
        let [diagnostic] = <[Diagnostic; 1]>::try_from(outcome.diagnostics).unwrap();
        assert_eq!(diagnostic.severity, Severity::Error);
        assert_eq!(diagnostic.file.as_deref(), Some("slides/topic/slides_a.py"));
        diagnostic
    }

    /// Ends the worker; true when no process and no directory of a kernel is left.
    async fn leaves_nothing(self) -> bool {
        let Self {
            worker, runtime, ..
        } = self;
        worker.shutdown().await;
        let directory = runtime.path().to_owned();
        std::fs::read_dir(&directory).unwrap().next().is_none() && no_process_mentions(&directory)
    }
}

/// Cells numbered from 1; the first line of cell `n` is the author's line `10 * n`.
fn work(sources: &[&str]) -> ExecuteWork {
    let cell = |(index, source): (usize, &&str)| {
        let number = u32::try_from(index + 1).unwrap();
        CodeCell {
            source: (*source).to_owned(),
            cell: number,
            line: Some(10 * number),
            jumps: Box::default(),
            may_fail: false,
        }
    };
    ExecuteWork {
        prog_lang: ProgLang::Python,
        kernel: "python3".to_owned(),
        cells: sources.iter().enumerate().map(cell).collect(),
        files: Vec::new(),
        directory: None,
        skip_errors: false,
        cell_timeout: Some(Duration::from_secs(60)),
    }
}

fn request(root: &Path, out: &Path, work: Work) -> Request {
    Request {
        id: 1,
        source: RelPath::new("slides/topic/slides_a.py").unwrap(),
        root: root.to_owned(),
        out: out.to_owned(),
        work,
    }
}

/// Whether no living process has this path in its command line or as its working directory.
fn no_process_mentions(path: &Path) -> bool {
    let mentions = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let text = path.to_str().unwrap();
        processes.map(|entry| entry.path()).any(|process| {
            let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
            let directory = std::fs::read_link(process.join("cwd")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(text) || directory.starts_with(path)
        })
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while mentions() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

fn stdout(executed: &Executed, cell: usize) -> &str {
    let outputs = executed.cells[cell].outputs.iter();
    let mut texts = outputs.filter(|output| output["name"] == "stdout");
    texts
        .next()
        .map_or("", |output| output["text"].as_str().unwrap())
}

/// Kernels that are started by the command of their kernelspec.
mod command {
    use super::*;
    const ZYGOTE: bool = false;
    include!("notebook/kernels.rs");
}

/// The same for kernels that are forked.
#[cfg(target_os = "linux")]
mod zygote {
    use super::*;
    const ZYGOTE: bool = true;
    include!("notebook/kernels.rs");
}

#[cfg(target_os = "linux")]
mod forked;

/// Notebooks that exercise what kernels can publish, each a list of cells.
const DIFFERENTIAL: &[&[&str]] = &[
    &[
        "print('a')\nprint('b')",
        "1 + 1",
        "'text'",
        "None",
        "x = 3",
        "x;",
    ],
    &[
        "from IPython.display import display, HTML, Markdown, JSON, Latex",
        "display(HTML('<b>b</b>'), Markdown('*m*'), JSON({'a': [1, 2.5, None, 1e300]}), Latex('$x$'))",
        "h = display('first', display_id=True)\nprint('between')",
        "h.update('second')\nprint('updated')",
        "h2 = display('one', display_id='same'); display('two', display_id='same')",
        "h2.update('three')\nh2.display('four')",
    ],
    &[
        "from IPython.display import clear_output",
        "print('gone')\nclear_output()\nprint('stays')",
        "print('gone')\nclear_output(wait=True)\nprint('stays')",
        "print('stays')\nclear_output(wait=True)",
        "display(1)\nclear_output(wait=True)\ndisplay(2)\n3",
    ],
    &[
        "import sys\nsys.stderr.write('only stderr\\n');",
        "import warnings\nwarnings.warn('careful')",
        "%%bash\necho hello\necho oops >&2",
        "%%html\n<i>magic</i>",
        "!echo shell",
        "?len",
        "# only a comment",
        "def f():\n    '''Doc.'''\nf.__doc__",
    ],
    &[
        "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot([1, 2, 3], [3, 1, 2])\nax.set_title('T')",
        "ax.hist([1, 1, 2]);\nfig",
        "import numpy as np\nnp.arange(12).reshape(3, 4)",
        "import pandas as pd\ndf = pd.DataFrame({'x': range(100), 'y': np.linspace(0, 1, 100)})\ndf",
        "df.describe()",
        "df.plot(); plt.show()\nprint('after')",
    ],
    &[
        "class A:\n    def _repr_html_(self): return '<p>A</p>'\n    def __repr__(self): return 'A!'\nA()",
        "class B:\n    def _repr_mimebundle_(self, **k): return {'text/plain': 'B', 'application/x-b+json': {'k': [1]}}, {'text/plain': {'m': 1}}\nB()",
        "import asyncio\nawait asyncio.sleep(0.01)\n'awaited'",
        "for c in 'äöü€😀\\x00\\x1b[31mred\\x1b[0m': print(c, end='')",
        "print('a\\rb\\b c')",
        "_, In[1][:5], len(Out)",
        "%history -l 2",
    ],
    &[
        "1 / 0",
        "print('out')\nraise KeyError('k')",
        "def f(): return undefined\nf()",
        "if True print()",
        "try:\n    1 / 0\nexcept Exception as e:\n    raise ValueError('b') from e",
        "raise SystemExit(3)",
        "input('?')",
        "assert False, 'no'",
        "print('still here')",
    ],
    &[
        "import threading\nsorted(thread.name for thread in threading.enumerate())",
        "threading.Thread(target=print, args=['t']).name",
        "sorted(name for name in globals() if not name.startswith('_'))",
        "_i, _ih, In, Out, __name__",
        "import os, subprocess, sys\nos.system('echo child; echo oops >&2')\nNone",
        "subprocess.run(['echo', 'käse ' * 3]);",
        "from IPython.display import display, JSON\ndisplay(JSON([float('nan'), 2.0, 0.1, 1e-300, -0.0]))",
        "sys.stdout.write('a'), sys.stdout.isatty(), sys.argv[1:0], os.listdir('.')",
    ],
];

/// Runs the notebooks with nbclient, joining texts between other outputs, stdout first.
const NBCLIENT: &str = r#"
import itertools, json, re, sys, nbformat, nbclient, os, tempfile
os.environ["PYTHONHASHSEED"] = "0"
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
os.environ["IPYTHONDIR"] = tempfile.mkdtemp()
result = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # kernels print there too
results = []
for sources in json.load(sys.stdin):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    with tempfile.TemporaryDirectory() as cwd:
        nbclient.NotebookClient(nb, allow_errors=True, resources={"metadata": {"path": cwd}}).execute()
    cells = []
    for cell in nb.cells:
        outputs = []
        for is_text, run in itertools.groupby(cell.outputs, lambda output: output["output_type"] == "stream"):
            run = list(run)
            if is_text:
                names = sorted({output["name"] for output in run}, reverse=True)
                texts = ["".join(output["text"] for output in run if output["name"] == name) for name in names]
                run = [{"output_type": "stream", "name": name, "text": text} for name, text in zip(names, texts)]
            outputs += run
        cells.append({"outputs": outputs, "execution_count": cell.execution_count})
    results.append(cells)
result.write(re.sub(r"ipykernel_\d+/", "ipykernel/", json.dumps(results)))
"#;

#[tokio::test]
async fn outputs_are_those_of_nbclient() {
    let python = &renderers(PYTHON).html.unwrap().python;
    let expected = python_says(
        python,
        NBCLIENT,
        &serde_json::to_string(DIFFERENTIAL).unwrap(),
    );
    let expected: Vec<Vec<Value>> = serde_json::from_slice(&expected).unwrap();
    let mut bench = Bench::new(true).await;
    for (sources, expected) in DIFFERENTIAL.iter().zip(expected) {
        let mut work = work(sources);
        for cell in &mut work.cells {
            cell.may_fail = true;
        }
        let (_, executed) = bench.try_run(work).await.unwrap();
        for (index, (cell, expected)) in executed.cells.iter().zip(expected).enumerate() {
            let mut seen = serde_json::to_value(cell).unwrap();
            let outputs = seen["outputs"].as_array_mut().unwrap();
            *outputs = stdout_first(std::mem::take(outputs));
            similar_asserts::assert_eq!(seen, expected, "{}", sources[index]);
        }
    }
}

/// Outputs with the texts between other outputs joined, `stdout` first: `nbclient` cuts them by the clock.
fn stdout_first(outputs: Vec<Value>) -> Vec<Value> {
    let mut joined: Vec<Value> = Vec::new();
    for output in outputs {
        let streams = joined
            .iter()
            .rposition(|output| output["output_type"] != "stream");
        let streams = streams.map_or(0, |last| last + 1);
        let mut same = joined[streams..].iter_mut();
        match same
            .find(|other| output["output_type"] == "stream" && other["name"] == output["name"])
        {
            Some(same) => {
                let text = [&same["text"], &output["text"]].map(|text| text.as_str().unwrap());
                same["text"] = text.concat().into();
            }
            None if output["name"] == "stdout" => joined.insert(streams, output),
            None => joined.push(output),
        }
    }
    joined
}

/// What a Python program prints, given an input.
fn python_says(python: &Path, program: &str, input: &str) -> Vec<u8> {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut child = Command::new(python)
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// A notebook with this many pairs of cells.
fn notebook(pairs: usize) -> String {
    let mut cells = Vec::new();
    for number in 0..pairs {
        cells.push(json!({"cell_type": "markdown", "id": format!("m{number}"),
            "metadata": {"tags": ["slide"]},
            "source": format!("# Title {number}\n\n- *a* & `b` <i>c</i>\n\n$x^2$ ![i](img/a.png)")}));
        cells.push(json!({"cell_type": "code", "id": format!("c{number}"), "metadata": {},
            "execution_count": number + 1,
            "source": format!("def f{number}(x):\n    return \"<\" + x  # ü"),
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": "a\u{1b}[31mred\u{1b}[0m <b>\n"},
                {"output_type": "execute_result", "execution_count": number + 1, "metadata": {},
                    "data": {"text/plain": "1", "text/html": "<table><tr><td>1</table>"}},
            ]}));
    }
    let language = json!({"name": "python", "pygments_lexer": "ipython3"});
    json!({"cells": cells, "metadata": {"language_info": language}, "nbformat": 4, "nbformat_minor": 5})
        .to_string()
}

#[tokio::test]
async fn pages_are_those_of_nbconvert_byte_for_byte() {
    let tool = &renderers(PYTHON).html.unwrap();
    let runtime = tempfile::tempdir().unwrap();
    let config = HtmlConfig::new(runtime.path().to_owned());
    let mut worker = start_html_worker(tool, &config).await.unwrap();
    let pages: Vec<Page> = [0, 1, 6]
        .into_iter()
        .map(|pairs| Page {
            name: format!("page-{pairs}"),
            notebook: notebook(pairs),
        })
        .collect();
    let plain = "import sys, nbformat\nfrom nbconvert import HTMLExporter\n\
        node = nbformat.reads(sys.stdin.read(), as_version=4)\n\
        body = HTMLExporter(template_name='classic').from_notebook_node(node)[0]\n\
        sys.stdout.buffer.write(body.encode())";
    for _ in 0..2 {
        let out = tempfile::tempdir().unwrap();
        let work = Work::Html(HtmlWork {
            pages: pages.clone(),
        });
        let request = request(out.path(), out.path(), work);
        let outcome = worker
            .run(&request, Arc::new(|_| {}), CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(outcome.status, OutcomeStatus::Ok, "{outcome:?}");
        assert_eq!(
            outcome.outputs,
            ["page-0.html", "page-1.html", "page-6.html"]
        );
        for page in &pages {
            let seen = std::fs::read(out.path().join(format!("{}.html", page.name))).unwrap();
            let expected = python_says(&tool.python, plain, &page.notebook);
            assert!(seen == expected, "{} differs", page.name);
        }
    }
    worker.shutdown().await;
    assert!(no_process_mentions(runtime.path()));
}

#[test]
fn pages_put_together_from_cells_are_those_of_nbconvert() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = std::process::Command::new(renderers(PYTHON).html.unwrap().python)
        .arg(root.join("tests/html_fuzz.py"))
        .arg(root.join("src/worker/notebook"))
        .args(["1", "300"])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn a_page_that_cannot_be_rendered_fails_alone() {
    let tool = &renderers(PYTHON).html.unwrap();
    let runtime = tempfile::tempdir().unwrap();
    let config = HtmlConfig::new(runtime.path().to_owned());
    let mut worker = start_html_worker(tool, &config).await.unwrap();
    let out = tempfile::tempdir().unwrap();
    for (notebook, status) in [
        ("no notebook".to_owned(), OutcomeStatus::Failed),
        (notebook(1), OutcomeStatus::Ok),
    ] {
        let pages = vec![Page {
            name: "p".to_owned(),
            notebook,
        }];
        let request = request(out.path(), out.path(), Work::Html(HtmlWork { pages }));
        let outcome = worker
            .run(&request, Arc::new(|_| {}), CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(outcome.status, status, "{outcome:?}");
    }
}

#[tokio::test]
async fn python_without_nbconvert_is_not_tried_again() {
    let mut tool = renderers(PYTHON).html.unwrap();
    let runtime = tempfile::tempdir().unwrap();
    // A virtual environment without packages.
    let bare = runtime.path().join("bare");
    let made = std::process::Command::new(&tool.python)
        .args(["-m", "venv", "--without-pip"])
        .arg(&bare)
        .status()
        .unwrap();
    assert!(made.success());
    tool.python = bare.join("bin/python");
    let config = HtmlConfig::new(runtime.path().to_owned());
    let error = start_html_worker(&tool, &config).await.err().unwrap();
    assert!(matches!(error, WorkerError::Missing { .. }), "{error}");
    assert!(!error.is_retriable());
}
