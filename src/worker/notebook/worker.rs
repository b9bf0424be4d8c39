//! The worker that runs decks: a new kernel for each, and the next one is started in advance.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ahead::{KernelAhead, start_kernel};
use super::diagnose::{Place, is_of_machine, unknown_kernel};
use super::execute::{self, End, is_blank};
use super::imported::Facts;
use super::kernel::{Kernel, KernelStart, can_enter};
use super::launch::{Launcher, what};
use super::workdir;
use super::zygote::{Needs, SharedZygotes, Zygotes};
use crate::clock::now_ns;
use crate::course::RelPath;
use crate::diagnostic::{Diagnostic, Severity};
use crate::worker::observed::Places;
use crate::worker::process::Exit;
use crate::worker::renderers::Kernels;
use crate::worker::request::{CodeCell, ExecuteWork, Executed, ExecutedCell, OutcomeStatus};
use crate::worker::{Outcome, ProgressSink, Request, Work, Worker, WorkerError};

/// The file that a request produces.
const EXECUTED: &str = "executed.json";
/// The kernel that is started before the first request.
const FIRST: &str = "python3";

/// Settings of kernels.
#[derive(Clone, Debug)]
pub struct KernelConfig {
    /// The directory for the kernels' sockets and working directories. It should be a short path outside the course:
    /// cells see their working directory, and tools that they start search the parent directories for settings.
    pub runtime_dir: PathBuf,
    /// The maximum time until a kernel answers.
    pub startup_timeout: Duration,
    /// Whether more executions are expected: while true, the kernel for the next one is started as soon as a result is
    /// complete. The owner sets it to false when no more executions wait.
    pub ahead: Arc<AtomicBool>,
    /// Whether Python kernels are forked from processes that have already imported their modules. On Linux only.
    pub zygote: bool,
    /// These processes, which the workers of a pool share.
    pub zygotes: SharedZygotes,
    /// A file of this course that records the imports of decks for later processes, if any.
    pub imports_file: Option<PathBuf>,
}

impl KernelConfig {
    /// Returns settings with this directory, `nbclient`'s usual time limit, and no kernels started in advance.
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

/// Creates a worker for [`Work::Execute`]. Its kernels are started on demand.
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
    /// Kernels that have finished their work and are being cleaned up.
    ending: JoinSet<()>,
    /// The process id of the last execution's kernel.
    pid: Option<u32>,
    /// The name of its kernelspec, and the needs of the deck; before the first one, the kernelspec that most courses
    /// use.
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
        let Some(mut start) = self.start_of(&work.kernel) else {
            return Err(unknown_kernel(work, &self.kernels));
        };
        let directory = directory_of(request, work);
        start.directory = directory.filter(|_| !can_enter(&start.spec));
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
            // A crash in compiled code is the deck's fault only if it also happens in a process that was not forked.
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
        // Killed at once; its files are removed while the next request is prepared.
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
        // The last worker ends the shared zygotes.
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
            directory: None,
        })
    }

    /// Returns the kernel that was started in advance, if it is suitable and alive; otherwise a new one.
    #[tracing::instrument(level = "debug", name = "wait for kernel", skip_all)]
    async fn kernel(&mut self, start: &KernelStart, needs: &Needs) -> Result<Kernel, WorkerError> {
        if let Some(next) = self.next.take()
            && next.is_like(start)
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

    /// Returns whether a kernel with the imports of the deck can be forked, while this one lacks them.
    async fn is_surpassed(&self, kernel: &Kernel, start: &KernelStart, needs: &Needs) -> bool {
        let Some(zygotes) = &self.zygotes else {
            return false;
        };
        let best = zygotes.launcher(&start.name, &start.spec, needs).await;
        best.has_imports() && !kernel.launcher().has_imports()
    }

    /// Prepares for the next requests after a result.
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
            // A kernel is forked quickly once its deck is known, so learning imports is worth more.
            zygotes.learn_while_busy(&start.name, &start.spec);
        }
    }

    /// Runs the cells of a request, and returns the used kernel.
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
        let own = directory_of(request, work);
        if let Some(own) = &own
            && let Err(error) = kernel.enter(own, start).await
        {
            return (kernel, Err(error));
        }
        let end = execute::run(&mut kernel, work, progress, cancel).await;
        let mut outcome = outcome(end, &kernel, request, work, start).await;
        if let Ok(outcome) = &mut outcome
            && outcome.status != OutcomeStatus::Cancelled
        {
            outcome.discovered = self.discovered(&kernel, request, own, began_ns).await;
        }
        (kernel, outcome)
    }

    /// Returns what the cells imported and looked for: inputs that are not declared in the plan.
    /// `own` is the directory of the course in which they ran, if they did not have one of their own.
    async fn discovered(
        &self,
        kernel: &Kernel,
        request: &Request,
        own: Option<PathBuf>,
        began_ns: i64,
    ) -> Vec<RelPath> {
        let places = Places::new(&request.root, &self.kernels);
        let (name, report) = (kernel.name().to_owned(), kernel.report());
        let root = request.root.clone();
        let read = move || {
            let facts = Facts::read(&report);
            let facts = match &own {
                Some(own) => facts.moved_to(own, &root),
                None => facts,
            };
            facts.inputs(&name, &places, began_ns)
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }
}

/// Returns the directory of the course in which cells run (absolute), if they have none of their own.
fn directory_of(request: &Request, work: &ExecuteWork) -> Option<PathBuf> {
    let directory = work.directory.as_deref()?;
    Some(match directory {
        "" => request.root.clone(),
        below => request.root.join(below),
    })
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
                is_in_folder: work.directory.is_some(),
            };
            let diagnostic = place.diagnostic(&exception);
            Ok(match is_of_machine(&exception) {
                true => Outcome::failed_here(diagnostic),
                false => Outcome::failed(diagnostic),
            })
        }
        End::Quit { index } => Ok(Outcome::failed(about(
            index,
            "the cell ends the kernel, but other cells follow".to_owned(),
            "remove the call of `exit()` or `quit()`",
        ))),
        End::TimedOut { index, limit } => Ok(Outcome::failed_here(about(
            index,
            format!("the cell was stopped after {} s", limit.as_secs_f32()),
            "if it needs more time, raise `cell_timeout` in the section `[notebook]` of `clm.toml`",
        ))),
        End::Cancelled => Ok(Outcome::cancelled()),
        End::Died { index } => death(kernel, request, &work.cells[index]).await,
    }
}

/// Returns the outcome when the kernel has ended. If it ended by itself, the cell is at fault. If it was killed, the
/// cause may be external (the system kills processes when memory runs out), and another attempt may succeed.
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

/// Returns whether the kernel ended by a signal that it caused itself.
async fn crashed(kernel: &Kernel) -> bool {
    if !kernel.tree.has_exited() {
        return false;
    }
    let exit = kernel.tree.wait().await;
    let by_signal = matches!(exit, Exit::Status(status) if status.code().is_none());
    by_signal && !exit.was_killed()
}

/// Returns the warning about cells whose exceptions were skipped.
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
