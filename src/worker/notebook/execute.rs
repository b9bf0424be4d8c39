//! Runs cells one after the other in a kernel, and reports how that ended.

use std::time::Duration;

use jupyter_zmq_client::{CommId, CommMsg};
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::Recording;
use super::diagnose::Exception;
use super::kernel::Kernel;
use super::outputs::Outputs;
use crate::worker::request::{CodeCell, ExecuteWork, Executed};
use crate::worker::{Progress, ProgressSink};

/// How long a cell may take to end after it was interrupted because its request was cancelled.
const CANCEL_GRACE: Duration = Duration::from_millis(450);
/// How long a cell may take to end after it was interrupted because of its time limit.
const TIMEOUT_GRACE: Duration = Duration::from_secs(2);
/// How long outputs may arrive after the reply of their cell (`nbclient` waits as long).
const OUTPUT_GRACE: Duration = Duration::from_secs(4);
/// How long messages that a kernel sent before it ended may take to arrive.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How running all cells ended.
pub(super) enum End {
    /// All cells ran.
    Done {
        /// Their results.
        executed: Executed,
        /// Cells whose exception was skipped: index and exception.
        skipped: Vec<(usize, String)>,
        /// Indices of cells whose outputs were truncated.
        cut: Vec<usize>,
    },
    /// A cell raised an exception.
    Raised {
        /// The index of the cell.
        index: usize,
        /// The exception.
        exception: Exception,
    },
    /// A cell ended the kernel with `exit()` or `quit()`, and other cells follow.
    Quit {
        /// The index of the cell.
        index: usize,
    },
    /// The kernel ended while a cell ran.
    Died {
        /// The index of the cell.
        index: usize,
    },
    /// A cell exceeded its time limit.
    TimedOut {
        /// The index of the cell.
        index: usize,
        /// The limit.
        limit: Duration,
    },
    /// The request was cancelled.
    Cancelled,
}

/// How one cell ended.
enum CellEnd {
    /// The kernel sent this reply.
    Replied(Value),
    Died,
    TimedOut,
    Cancelled,
}

/// Runs the cells of a deck.
pub(super) async fn run(
    kernel: &mut Kernel,
    work: &ExecuteWork,
    progress: &ProgressSink,
    cancel: &CancellationToken,
) -> End {
    let total = work.cells.len() as u64;
    let report = |done: u64, label: String| progress(Progress { done, total, label });
    let mut run = Run {
        kernel,
        work,
        cancel,
        outputs: Outputs::new(work.cells.len()),
        skipped: Vec::new(),
        ran: 0,
    };
    for (index, cell) in work.cells.iter().enumerate() {
        report(index as u64, format!("cell {}", cell.cell));
        if !is_blank(cell)
            && let Err(end) = run.cell(index, cell).await
        {
            return end;
        }
    }
    report(total, "all cells".to_owned());
    let cut = run.outputs.cut();
    End::Done {
        executed: run.outputs.finish(&run.kernel.accidental_names()),
        skipped: run.skipped,
        cut,
    }
}

/// The state of running the cells of a deck.
struct Run<'a> {
    kernel: &'a mut Kernel,
    work: &'a ExecuteWork,
    cancel: &'a CancellationToken,
    outputs: Outputs,
    skipped: Vec<(usize, String)>,
    /// The number of cells that ran so far.
    ran: i64,
}

impl Run<'_> {
    /// Runs a cell. Fails if the next ones are not to run.
    async fn cell(&mut self, index: usize, cell: &CodeCell) -> Result<(), End> {
        let work = self.work;
        self.ran += 1;
        self.outputs.begin_cell();
        let began = Instant::now();
        let may_fail = work.skip_errors || cell.may_fail;
        let limits = Limits {
            time: work.cell_timeout,
            cancel: self.cancel,
        };
        let outputs = &mut self.outputs;
        let reply = match run_cell(self.kernel, cell, index, may_fail, outputs, &limits).await {
            CellEnd::Replied(reply) => reply,
            CellEnd::Died => return Err(End::Died { index }),
            CellEnd::Cancelled => return Err(End::Cancelled),
            CellEnd::TimedOut => {
                let limit = work.cell_timeout.unwrap_or_default();
                return Err(End::TimedOut { index, limit });
            }
        };
        take_late_prints(self.kernel, index, outputs, &limits).await;
        send_widgets(self.kernel, outputs).await;
        tracing::debug!(cell = cell.cell, took = ?began.elapsed(), "ran");
        outputs.set_default_count(index, self.ran);
        if reply["status"] == "error" && !may_fail {
            let exception = Exception {
                count: outputs.count(index),
                reply,
                printed: outputs.printed(index),
            };
            return Err(End::Raised { index, exception });
        }
        if work.skip_errors
            && let Some(error) = outputs.error(index)
        {
            self.skipped.push((index, error));
            outputs.reset(index);
        }
        let more_follow = work.cells[index + 1..].iter().any(|cell| !is_blank(cell));
        if asks_to_exit(&reply) && more_follow {
            return Err(End::Quit { index });
        }
        Ok(())
    }
}

/// Returns whether the cell is blank: such cells are skipped and get no number.
pub(super) fn is_blank(cell: &CodeCell) -> bool {
    cell.source.trim().is_empty()
}

/// Returns whether the cell called `exit()` or `quit()`: the kernel ends after its reply.
fn asks_to_exit(reply: &Value) -> bool {
    let payloads = reply.get("payload").and_then(Value::as_array);
    payloads.is_some_and(|all| all.iter().any(|payload| payload["source"] == "ask_exit"))
}

/// What can end a cell prematurely.
struct Limits<'a> {
    time: Option<Duration>,
    cancel: &'a CancellationToken,
}

/// Runs one cell until the kernel has replied and reported that it is idle.
async fn run_cell(
    kernel: &mut Kernel,
    cell: &CodeCell,
    index: usize,
    may_fail: bool,
    outputs: &mut Outputs,
    limits: &Limits<'_>,
) -> CellEnd {
    let Kernel { tree, channels, .. } = kernel;
    let sent = tokio::select! {
        sent = channels.execute(&cell.source, Recording::History, !may_fail) => sent,
        _ = tree.wait() => return CellEnd::Died,
    };
    // Sending fails only if the kernel is about to end.
    let Ok(id) = sent else {
        return CellEnd::Died;
    };
    let mut deadline = limits.time.map(|limit| Instant::now() + limit);
    let mut reply = None;
    let (mut idle, mut gone) = (false, false);
    while reply.is_none() || !idle {
        tokio::select! {
            () = limits.cancel.cancelled() => {
                stop(kernel, &id, CANCEL_GRACE).await;
                return CellEnd::Cancelled;
            }
            Some(message) = kernel.channels.published.recv() => {
                if message.parent != id {
                    continue;
                }
                let state = message.content.get("execution_state");
                idle |= message.kind == "status" && state.is_some_and(|state| state == "idle");
                outputs.take_message(index, message);
            }
            Some(message) = kernel.channels.replies.recv() => {
                if message.parent == id && message.kind == "execute_reply" {
                    reply = Some(message.content);
                    let grace = if gone { LAST_WORDS } else { OUTPUT_GRACE };
                    deadline = Some(Instant::now() + grace);
                }
            }
            _ = kernel.tree.wait(), if !gone => {
                // Messages it has already sent will still arrive: `exit()` ends the kernel after a proper reply.
                gone = true;
                deadline = Some(Instant::now() + LAST_WORDS);
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                if reply.is_none() && !gone {
                    stop(kernel, &id, TIMEOUT_GRACE).await;
                    return CellEnd::TimedOut;
                }
                // If the kernel does not report that it is idle, only the outputs published so far are used.
                break;
            }
        }
    }
    reply.map_or(CellEnd::Died, CellEnd::Replied)
}

/// Receives what the cell printed, for kernels that publish prints late: everything up to a mark that is printed now.
/// If the mark does not arrive (the deck broke the kernel's own print function), only the outputs so far are used.
async fn take_late_prints(
    kernel: &mut Kernel,
    index: usize,
    outputs: &mut Outputs,
    limits: &Limits<'_>,
) {
    let Some(mark) = kernel.mark() else {
        return;
    };
    let Kernel { tree, channels, .. } = kernel;
    let until_mark = async {
        let Ok(id) = channels.execute(&mark.code, Recording::Silent, false).await else {
            return;
        };
        while let Some(message) = channels.published.recv().await {
            if message.content["text"] == mark.text {
                return;
            }
            // Prints carry the id of the code that runs when they are published.
            if message.kind == "stream" || message.parent != id {
                outputs.take(index, &message.kind, message.content);
            }
        }
    };
    tokio::select! {
        _ = timeout(OUTPUT_GRACE, until_mark) => {}
        _ = tree.wait() => {}
        () = limits.cancel.cancelled() => {}
    }
}

/// Sends the current state of its widgets to the kernel, as a page with the widgets would.
async fn send_widgets(kernel: &mut Kernel, outputs: &mut Outputs) {
    let Kernel { tree, channels, .. } = kernel;
    for (id, data) in outputs.take_unsynced() {
        let message = CommMsg {
            comm_id: CommId(id),
            data,
        };
        tokio::select! {
            _ = channels.send(message) => {}
            _ = tree.wait() => return,
        }
    }
}

/// Interrupts a cell and gives it some time to end, so that its child processes end properly.
async fn stop(kernel: &mut Kernel, id: &str, grace: Duration) {
    kernel.interrupt().await;
    let Kernel { tree, channels, .. } = kernel;
    let ended = async {
        loop {
            tokio::select! {
                reply = channels.replies.recv() => match reply {
                    Some(message) if message.parent != id => {}
                    _ => return,
                },
                // Received and dropped, so that the kernel is not blocked while sending.
                Some(_) = channels.published.recv() => {}
                _ = tree.wait() => return,
            }
        }
    };
    let _ = timeout(grace, ended).await;
}
