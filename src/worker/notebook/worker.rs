//! The worker that runs decks: a fresh kernel for each, the next one started ahead of need.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ahead::{KernelAhead, start_kernel};
use super::diagnose::{Place, unknown_kernel};
use super::execute::{self, End, is_blank};
use super::imported::Facts;
use super::kernel::{Kernel, KernelStart, now_ns};
use super::launch::{Launcher, what};
use super::workdir;
use super::zygote::{Needs, SharedZygotes, Zygotes};
use crate::course::RelPath;
use crate::events::{Diagnostic, Severity};
use crate::worker::observed::Places;
use crate::worker::process::Exit;
use crate::worker::renderers::Kernels;
use crate::worker::request::{CodeCell, ExecuteWork, Executed, ExecutedCell, OutcomeStatus};
use crate::worker::{Outcome, ProgressSink, Request, Work, Worker, WorkerError};

/// The file that a request leaves in its directory.
const EXECUTED: &str = "executed.json";
/// The kernel that is started ahead of the first request.
const FIRST: &str = "python3";

/// How kernels are started.
#[derive(Clone, Debug)]
pub struct KernelConfig {
    /// Where kernels keep their sockets and working directories. A short path, best outside the course: cells
    /// see their working directory, and tools that they start look for settings in the directories above.
    pub runtime_dir: PathBuf,
    /// The longest time until a kernel answers.
    pub startup_timeout: Duration,
    /// Whether more executions are expected: while it is true, the kernel for the next one is started as soon as
    /// a result is out. The owner sets it to false when nothing waits any more.
    pub ahead: Arc<AtomicBool>,
    /// Whether kernels of Python are forked from processes that have done their imports already. On Linux only.
    pub zygote: bool,
    /// Those processes: the workers of a pool share them.
    pub zygotes: SharedZygotes,
    /// A file of this course where what decks import is kept between processes, if anywhere.
    pub imports_file: Option<PathBuf>,
}

impl KernelConfig {
    /// Kernels in this directory, with the time limit that `nbclient` users are used to, and none ahead of need.
    pub fn new(runtime_dir: PathBuf) -> Self {
        Self {
            runtime_dir,
            startup_timeout: Duration::from_secs(300),
            ahead: Arc::default(),
            zygote: true,
            zygotes: SharedZygotes::default(),
            imports_file: None,
        }
    }
}

/// Makes a worker for [`Work::Execute`]. Its kernels start when they are needed.
pub async fn start_kernel_worker(
    kernels: &Kernels,
    config: &KernelConfig,
) -> Result<Box<dyn Worker>, WorkerError> {
    let is_possible = config.zygote && cfg!(target_os = "linux");
    Ok(Box::new(KernelWorker {
        kernels: kernels.clone(),
        config: config.clone(),
        zygotes: is_possible.then(|| {
            let record = config.imports_file.as_deref();
            config.zygotes.get(&config.runtime_dir, record)
        }),
        next: None,
        ending: JoinSet::new(),
        pid: None,
        last: (FIRST.to_owned(), None),
    }))
}

/// Runs decks, one at a time.
struct KernelWorker {
    kernels: Kernels,
    config: KernelConfig,
    zygotes: Option<Arc<Zygotes>>,
    next: Option<KernelAhead>,
    /// Kernels that have done their work and are being cleaned up.
    ending: JoinSet<()>,
    /// The kernel of the last execution.
    pid: Option<u32>,
    /// The name of its kernelspec, and what the deck needed; before the first one, the language that most courses are in.
    last: (String, Option<Needs>),
}

#[async_trait]
impl Worker for KernelWorker {
    async fn run(
        &mut self,
        request: &Request,
        progress: ProgressSink,
        cancel: CancellationToken,
    ) -> Result<Outcome, WorkerError> {
        let Work::Execute(work) = &request.work else {
            return Err(WorkerError::Bug(format!(
                "a kernel was given work of the kind `{}`",
                request.work.kind().name()
            )));
        };
        if work.cells.iter().all(is_blank) {
            let nothing = Executed {
                cells: vec![ExecutedCell::default(); work.cells.len()],
                widgets: None,
            };
            return finished(request, &nothing).await;
        }
        let Some(start) = self.start_of(&work.kernel) else {
            return Err(unknown_kernel(work, &self.kernels));
        };
        let needs = Needs::of(work);
        self.last = (work.kernel.clone(), Some(needs.clone()));
        let kernel = tokio::select! {
            kernel = self.kernel(&start, &needs) => kernel?,
            () = cancel.cancelled() => return Ok(Outcome::cancelled()),
        };
        self.pid = Some(kernel.pid());
        let began = Instant::now();
        let (mut kernel, mut outcome) = self
            .execution(kernel, request, work, &start, &progress, &cancel)
            .await;
        if kernel.launcher().is_zygote() && crashed(&kernel).await && !cancel.is_cancelled() {
            // A crash in compiled code is the deck's only if it also happens in a process that was not forked.
            tracing::info!(source = %request.source, "a forked kernel crashed: the deck runs in another one");
            self.ending.spawn(kernel.end());
            kernel = tokio::select! {
                kernel = Kernel::start(&start, &Launcher::Command) => kernel?,
                () = cancel.cancelled() => return Ok(Outcome::cancelled()),
            };
            self.pid = Some(kernel.pid());
            (kernel, outcome) = self
                .execution(kernel, request, work, &start, &progress, &cancel)
                .await;
        }
        tracing::debug!(source = %request.source, took = ?began.elapsed(), "executed");
        // Killed at once; its files are removed while the next request is on its way.
        kernel.tree.kill_tree();
        self.ending.spawn(kernel.end());
        while self.ending.try_join_next().is_some() {}
        if outcome.is_ok() {
            self.get_ahead(start, needs);
        }
        outcome
    }

    fn pid(&self) -> Option<u32> {
        self.pid
    }

    fn prepare(&mut self) {
        let (name, needs) = &self.last;
        if self.next.is_none()
            && let Some(start) = self.start_of(name)
        {
            let expected = || {
                let zygotes = self.zygotes.as_ref();
                zygotes.map(|zygotes| zygotes.expected(&start.name, &start.spec))
            };
            let needs = needs.clone().or_else(expected).unwrap_or_default();
            self.next = Some(KernelAhead::start(start, needs, self.zygotes.clone()));
        }
    }

    async fn shutdown(mut self: Box<Self>) {
        if let Some(next) = self.next.take() {
            next.end().await;
        }
        while self.ending.join_next().await.is_some() {}
        // The last worker ends what all have shared.
        if let Some(zygotes) = self.zygotes.take().and_then(Arc::into_inner) {
            zygotes.end().await;
        }
    }
}

impl KernelWorker {
    fn start_of(&self, kernel: &str) -> Option<KernelStart> {
        Some(KernelStart {
            name: kernel.to_owned(),
            spec: self.kernels.specs.get(kernel)?.clone(),
            runtime_dir: self.config.runtime_dir.clone(),
            timeout: self.config.startup_timeout,
        })
    }

    /// The kernel that was started ahead, if it is the right one and lives; else a new one.
    #[tracing::instrument(level = "debug", name = "wait for kernel", skip_all)]
    async fn kernel(&mut self, start: &KernelStart, needs: &Needs) -> Result<Kernel, WorkerError> {
        if let Some(next) = self.next.take()
            && next.name() == start.name
            && let Some(kernel) = next.take().await
        {
            let is_usable = kernel.launcher().suits(needs)
                && !kernel.tree.has_exited()
                && !kernel.is_outdated().await;
            if is_usable && !self.is_surpassed(&kernel, start, needs).await {
                return Ok(kernel);
            }
            self.ending.spawn(kernel.end());
        }
        start_kernel(start, needs, self.zygotes.as_deref()).await
    }

    /// Whether a kernel that has the imports of the deck can be forked, and this one has them not.
    async fn is_surpassed(&self, kernel: &Kernel, start: &KernelStart, needs: &Needs) -> bool {
        let Some(zygotes) = &self.zygotes else {
            return false;
        };
        let best = zygotes.launcher(&start.name, &start.spec, needs).await;
        best.has_imports() && !kernel.launcher().has_imports()
    }

    /// Does, after a result, what will help the next requests.
    fn get_ahead(&mut self, start: KernelStart, needs: Needs) {
        let others_wait = self.config.ahead.load(Ordering::Relaxed);
        let Some(zygotes) = &self.zygotes else {
            if others_wait {
                self.next = Some(KernelAhead::start(start, needs, None));
            }
            return;
        };
        zygotes.note(&start.name, &start.spec, &needs);
        if others_wait {
            // A kernel is forked in a moment when it is known for which deck; imports are worth more.
            zygotes.learn_while_busy(&start.name, &start.spec);
        }
    }

    /// Runs the cells of a request; gives the used kernel back.
    async fn execution(
        &self,
        mut kernel: Kernel,
        request: &Request,
        work: &ExecuteWork,
        start: &KernelStart,
        progress: &ProgressSink,
        cancel: &CancellationToken,
    ) -> (Kernel, Result<Outcome, WorkerError>) {
        let began_ns = now_ns();
        let directory = kernel.work().to_owned();
        let filled = workdir::fill(request.root.clone(), directory, work.files.clone()).await;
        match filled {
            Err(error) => return (kernel, Err(error)),
            Ok(Some(diagnostic)) => return (kernel, Ok(Outcome::failed(diagnostic))),
            Ok(None) => {}
        }
        let end = execute::run(&mut kernel, work, progress, cancel).await;
        let mut outcome = outcome(end, &kernel, request, work, start).await;
        if let Ok(outcome) = &mut outcome
            && outcome.status != OutcomeStatus::Cancelled
        {
            outcome.discovered = self.discovered(&kernel, request, began_ns).await;
        }
        (kernel, outcome)
    }

    /// What the cells imported and looked for: inputs that no plan declares.
    async fn discovered(&self, kernel: &Kernel, request: &Request, began_ns: i64) -> Vec<RelPath> {
        let places = Places::new(&request.root, &self.kernels);
        let (name, report) = (kernel.name().to_owned(), kernel.report());
        let read = move || Facts::read(&report).inputs(&name, &places, began_ns);
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }
}

async fn outcome(
    end: End,
    kernel: &Kernel,
    request: &Request,
    work: &ExecuteWork,
    start: &KernelStart,
) -> Result<Outcome, WorkerError> {
    let about = |index: usize, message: String, hint: &str| {
        let cell = &work.cells[index];
        Diagnostic::error(message)
            .at(request.source.as_str(), cell.line)
            .cell(cell.cell)
            .hint(hint)
    };
    match end {
        End::Done {
            executed,
            skipped,
            cut,
        } => {
            let mut outcome = finished(request, &executed).await?;
            outcome
                .diagnostics
                .extend(skip_warning(request, work, &skipped));
            for index in cut {
                let message = "the cell has too much output: the rest was dropped".to_owned();
                let hint =
                    "print less: pages with so much output are hard to read and slow to load";
                let mut warning = about(index, message, hint);
                warning.severity = Severity::Warning;
                outcome.diagnostics.push(warning);
            }
            Ok(outcome)
        }
        End::Raised { index, exception } => {
            let place = Place {
                file: request.source.as_str(),
                cell: &work.cells[index],
                kernel: &start.name,
                program: start.spec.argv.first().map_or("", String::as_str),
            };
            Ok(Outcome::failed(place.diagnostic(&exception)))
        }
        End::Quit { index } => Ok(Outcome::failed(about(
            index,
            "the cell ends the kernel, but other cells follow".to_owned(),
            "remove the call of `exit()` or `quit()`",
        ))),
        End::TimedOut { index, limit } => Ok(Outcome::failed(about(
            index,
            format!("the cell was stopped after {} s", limit.as_secs_f32()),
            "if it needs more time, raise `cell_timeout` in the section `[notebook]` of `clm.toml`",
        ))),
        End::Cancelled => Ok(Outcome::cancelled()),
        End::Died { index } => death(kernel, request, &work.cells[index]).await,
    }
}

/// A kernel that ended by itself is the cell's fault. One that was killed may have been killed by anybody (the
/// system does so when memory runs out): another attempt may help.
async fn death(
    kernel: &Kernel,
    request: &Request,
    cell: &CodeCell,
) -> Result<Outcome, WorkerError> {
    let exit = kernel.tree.wait().await;
    kernel.tree.log().settle(Duration::from_millis(200)).await;
    let lines = kernel.tree.log().last(20);
    if exit.was_killed() {
        let place = match cell.line {
            Some(line) => format!("cell {} (line {line})", cell.cell),
            None => format!("cell {}", cell.cell),
        };
        return Err(WorkerError::Crashed {
            what: what(kernel.name()),
            reason: format!(
                "{exit} while it ran {place} of `{}`\n{lines}",
                request.source
            )
            .trim_end()
            .to_owned(),
        });
    }
    let mut diagnostic = Diagnostic::error(format!("the cell ended the kernel ({exit})"))
        .at(request.source.as_str(), cell.line)
        .cell(cell.cell)
        .hint(
            "something in the cell ends the process, such as `os._exit()` or a crash in compiled \
             code; run the cells in Jupyter to find the line",
        );
    if !lines.is_empty() {
        diagnostic = diagnostic.detail(lines);
    }
    Ok(Outcome::failed(diagnostic))
}

/// Whether the kernel ended by a signal of its own doing.
async fn crashed(kernel: &Kernel) -> bool {
    if !kernel.tree.has_exited() {
        return false;
    }
    let exit = kernel.tree.wait().await;
    let by_signal = matches!(exit, Exit::Status(status) if status.code().is_none());
    by_signal && !exit.was_killed()
}

/// The warning about cells whose exceptions were skipped.
fn skip_warning(
    request: &Request,
    work: &ExecuteWork,
    skipped: &[(usize, String)],
) -> Option<Diagnostic> {
    let (first, _) = skipped.first()?;
    let describe =
        |(index, error): &(usize, String)| format!("cell {}: {error}", work.cells[*index].cell);
    let numbers: Vec<String> = skipped
        .iter()
        .map(|(index, _)| work.cells[*index].cell.to_string())
        .collect();
    let (noun, verb) = if skipped.len() == 1 {
        ("cell", "has")
    } else {
        ("cells", "have")
    };
    let message = format!(
        "{noun} {} failed and {verb} no output, as `skip-errors` asks for",
        numbers.join(", ")
    );
    let details: Vec<String> = skipped.iter().map(describe).collect();
    let cell = &work.cells[*first];
    Some(
        Diagnostic::warning(message)
            .at(request.source.as_str(), cell.line)
            .cell(cell.cell)
            .detail(details.join("\n")),
    )
}

/// Writes the result of a request.
async fn finished(request: &Request, executed: &Executed) -> Result<Outcome, WorkerError> {
    let path = request.out.join(EXECUTED);
    let bytes = serde_json::to_vec(executed)
        .map_err(|error| WorkerError::Io(format!("the outputs cannot be written: {error}")))?;
    tokio::fs::write(&path, bytes)
        .await
        .map_err(|error| WorkerError::Io(format!("cannot write `{}`: {error}", path.display())))?;
    Ok(Outcome::ok([EXECUTED]))
}
