//! Child processes that never outlive clm: each has its own process group, is killed with its whole process tree, its
//! exit is watched, and its stderr is recorded.

// The only module with unsafe code: the hook between fork and exec that requests the parent-death signal.
#![allow(unsafe_code)]

mod guardian;
mod log;
mod tree;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::WorkerError;
use crate::config::env;
use guardian::Guarded;
pub(crate) use log::Log;

/// A child process and all its descendants. Dropping it kills them all, and so does the end of clm, however it ends.
#[derive(Debug)]
pub struct ChildTree {
    what: String,
    pid: u32,
    exit: watch::Receiver<Option<Exit>>,
    log: Log,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this status.
    Status(ExitStatus),
    /// It ended, but the system did not report how.
    Unknown,
}

impl ChildTree {
    /// Starts a command in its own process group; `what` names the tool in messages and in the log.
    ///
    /// Standard input and output are as the caller configured them on the command: each piped one can be taken once.
    /// Standard error is always recorded. Must be called on a tokio runtime.
    pub async fn spawn(what: impl Into<String>, mut command: Command) -> Result<Self, WorkerError> {
        let what = what.into();
        for name in env::SECRETS {
            command.env_remove(name);
        }
        command.process_group(0).stderr(Stdio::piped());
        let mark = tree::mark(&mut command);
        // With a guardian, the child must outlive clm for a moment: detached descendants are found through it.
        adopt_orphans(&mut command, !guardian::is_there());
        let mut child =
            spawn_on_lasting_thread(command)
                .await
                .map_err(|error| WorkerError::Start {
                    what: what.clone(),
                    reason: error.to_string(),
                })?;
        let log = Log::default();
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(log.clone().record(what.clone(), stderr));
        }
        let pid = child.id().unwrap_or_default();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (sender, exit) = watch::channel(None);
        tokio::spawn(watch_exit(child, pid, mark, sender));
        tracing::debug!(what, pid, "started");
        Ok(Self {
            what,
            pid,
            exit,
            log,
            stdin,
            stdout,
        })
    }

    /// Wraps a process in its own process group that another child forked and reaps; its output is recorded in `log`.
    /// Its end must be reported with [`ForkedEnd`] before it is reaped: until then its id is not reused.
    pub(super) fn forked(what: impl Into<String>, pid: u32, log: Log) -> (Self, ForkedEnd) {
        let what = what.into();
        let (sender, exit) = watch::channel(None);
        let end = ForkedEnd {
            pid,
            group: Guarded::new(pid),
            sender,
        };
        tracing::debug!(what, pid, "forked");
        let tree = Self {
            what,
            pid,
            exit,
            log,
            stdin: None,
            stdout: None,
        };
        (tree, end)
    }

    /// Returns the process id of the child, which is also the id of its process group.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the name of the tool.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Returns the pipe to its standard input, if it is piped and was not taken.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// Returns the pipe from its standard output, if it is piped and was not taken.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.stdout.take()
    }

    /// Returns the log of its output, to which more lines can be added.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Returns the resident memory of the child in bytes, while it lives and if the system reports it.
    pub fn memory(&self) -> Option<u64> {
        if self.has_exited() {
            return None;
        }
        tree::resident_bytes(self.pid)
    }

    /// Returns all living descendants of the child, parents before children; empty where the system does not list them.
    pub fn descendants(&self) -> Vec<u32> {
        tree::descendants(self.pid)
    }

    /// Returns whether the child has ended.
    pub fn has_exited(&self) -> bool {
        self.exit.borrow().is_some()
    }

    /// Waits until the child has ended. May be called any number of times and is cancel-safe.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.unwrap_or(Exit::Unknown),
            Err(_) => Exit::Unknown,
        }
    }

    /// Sends a signal to the child alone, such as an interrupt.
    pub fn signal(&self, signal: Signal) {
        if !self.has_exited() {
            // Fails if the child has just ended, and then needs no signal.
            let _ = signal::kill(raw_pid(self.pid), signal);
        }
    }

    /// Kills the child and all its descendants, also those in other process groups. Does not wait.
    pub fn kill_tree(&self) {
        if !self.has_exited() {
            tree::kill(self.pid);
        }
    }

    /// Waits for the child to end within the grace period, then kills the tree; returns when it has ended.
    pub async fn end_within(&self, grace: Duration) -> Exit {
        if let Ok(exit) = tokio::time::timeout(grace, self.wait()).await {
            return exit;
        }
        self.kill_tree();
        self.wait().await
    }

    /// Returns the error for a child that ended although it was needed: the exit status and its last lines.
    pub async fn crashed(&self) -> WorkerError {
        let exit = self.end_within(Duration::from_secs(1)).await;
        // The recording of stderr ends shortly after the process.
        self.log.settle(Duration::from_millis(200)).await;
        let mut reason = exit.to_string();
        let lines = self.log.last(12);
        if !lines.is_empty() {
            reason.push('\n');
            reason.push_str(&lines);
        }
        WorkerError::Crashed {
            what: self.what.clone(),
            reason,
        }
    }
}

/// Reports the end of a process that is not clm's own child. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct ForkedEnd {
    pid: u32,
    group: Guarded,
    sender: watch::Sender<Option<Exit>>,
}

impl ForkedEnd {
    /// Kills the remaining processes in the group of the ended process, and reports its exit.
    pub(super) fn report(self, exit: Exit) {
        self.group.end();
        tracing::debug!(pid = self.pid, %exit, "ended");
        // There may be no receiver any more.
        let _ = self.sender.send(Some(exit));
    }
}

impl Exit {
    /// Returns whether it ended by a signal that other processes send, unlike one caused by a crash.
    pub fn was_killed(self) -> bool {
        use std::os::unix::process::ExitStatusExt as _;
        let Self::Status(status) = self else {
            return true;
        };
        let signal = status.signal().map(Signal::try_from);
        let own = [
            Signal::SIGSEGV,
            Signal::SIGABRT,
            Signal::SIGBUS,
            Signal::SIGFPE,
            Signal::SIGILL,
            Signal::SIGTRAP,
            Signal::SIGSYS,
        ];
        matches!(signal, Some(Ok(signal)) if !own.contains(&signal))
    }
}

impl Drop for ChildTree {
    fn drop(&mut self) {
        self.kill_tree();
    }
}

impl Exit {
    /// Returns whether the process ended by itself or by a signal that it caused itself. Other signals, and the exit
    /// codes of programs that end properly on such a signal, have an external cause.
    pub fn is_own_doing(&self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        let from_outside = [
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGKILL,
            Signal::SIGTERM,
        ];
        let is_from_outside = |number: i32| from_outside.iter().any(|each| *each as i32 == number);
        match self {
            Self::Status(status) => {
                let by_code = status
                    .code()
                    .is_some_and(|code| is_from_outside(code - 128));
                !by_code && !status.signal().is_some_and(is_from_outside)
            }
            Self::Unknown => false,
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Unknown => f.write_str("unknown exit status"),
        }
    }
}

/// Reaps the child, kills the remaining processes of its group and tree, and reports its exit.
async fn watch_exit(mut child: Child, pid: u32, mark: String, sender: watch::Sender<Option<Exit>>) {
    let group = Guarded::new(pid);
    let exit = child.wait().await.map_or(Exit::Unknown, Exit::Status);
    group.end();
    // Descendants that it had adopted can now be found only by their mark.
    let _ = tokio::task::spawn_blocking(move || tree::sweep(&mark)).await;
    tracing::debug!(pid, %exit, "ended");
    // There may be no receiver any more.
    let _ = sender.send(Some(exit));
}

/// Converts a process id. Ids fit: Linux has at most 2^22 of them.
fn raw_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX))
}

/// Makes the child the parent of its detached descendants. With `die_with_parent`, the system kills it when the thread
/// that started it ends for any reason.
#[cfg(target_os = "linux")]
fn adopt_orphans(command: &mut Command, die_with_parent: bool) {
    let parent = std::process::id();
    let hook = move || {
        // SAFETY: prctl and getppid are plain system calls without memory arguments, safe between fork and exec.
        let (result, parent_now) = unsafe {
            // On systems without this, detached descendants are found in other ways.
            libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
            let result = match die_with_parent {
                true => libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL),
                false => 0,
            };
            (result, libc::getppid())
        };
        if result != 0 {
            return Err(std::io::Error::last_os_error());
        }
        // The parent may have died before the signal was requested.
        if u32::try_from(parent_now) != Ok(parent) {
            return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: the hook only makes system calls that are async-signal-safe; it does not allocate or lock.
    unsafe {
        command.pre_exec(hook);
    }
}

/// Does nothing: on other systems, children notice the end of their standard input.
#[cfg(not(target_os = "linux"))]
fn adopt_orphans(_command: &mut Command, _die_with_parent: bool) {}

/// A command to start, the runtime that will own the child, and the channel for the result.
type Spawn = (Command, Handle, oneshot::Sender<std::io::Result<Child>>);

/// Starts a command on a thread that lives as long as this process: the parent-death signal is sent when the *thread*
/// that forked ends, and threads of a runtime may end earlier.
async fn spawn_on_lasting_thread(command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<Option<mpsc::Sender<Spawn>>> = OnceLock::new();
    let gone = || std::io::Error::other("the thread that starts processes is not there");
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Spawn>();
        std::thread::Builder::new()
            .name("clm-spawner".to_owned())
            .spawn(move || {
                while let Ok((command, runtime, reply)) = receiver.recv() {
                    let _context = runtime.enter();
                    let mut command = tokio::process::Command::from(command);
                    // If the receiver was dropped, dropping the child kills it.
                    let _ = reply.send(command.kill_on_drop(true).spawn());
                }
            })
            .ok()
            .map(|_| sender)
    });
    let (reply, child) = oneshot::channel();
    let spawner = spawner.as_ref().ok_or_else(gone)?;
    spawner
        .send((command, Handle::current(), reply))
        .map_err(|_| gone())?;
    child.await.map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        command
    }

    async fn first_line(tree: &mut ChildTree) -> String {
        use tokio::io::{AsyncBufReadExt, BufReader};
        let stdout = tree.take_stdout().unwrap();
        let mut lines = BufReader::new(stdout).lines();
        lines.next_line().await.unwrap().unwrap()
    }

    async fn is_gone(pid: u32) -> bool {
        for _ in 0..100 {
            // A zombie has not been reaped, but does not run any more.
            match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
                Err(_) => return true,
                Ok(stat) if stat.contains(") Z ") => return true,
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        false
    }

    #[tokio::test]
    async fn dropping_kills_descendants_in_other_groups() {
        let mut tree = ChildTree::spawn("test", shell("setsid sleep 60 & echo $!; wait"))
            .await
            .unwrap();
        let grandchild: u32 = first_line(&mut tree).await.parse().unwrap();
        let pid = tree.pid();
        // The test requires that `setsid` has been called.
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(tree);
        assert!(is_gone(pid).await);
        assert!(is_gone(grandchild).await);
    }

    #[tokio::test]
    async fn what_an_ended_child_left_in_its_group_is_swept() {
        let mut tree = ChildTree::spawn("test", shell("sleep 60 & echo $!"))
            .await
            .unwrap();
        let left: u32 = first_line(&mut tree).await.parse().unwrap();
        assert!(matches!(tree.wait().await, Exit::Status(status) if status.success()));
        assert!(is_gone(left).await);
    }

    #[tokio::test]
    async fn a_crash_tells_status_and_last_lines() {
        let tree = ChildTree::spawn("Tool", shell("echo one >&2; echo two >&2; exit 3"))
            .await
            .unwrap();
        let error = tree.crashed().await.to_string();
        assert_eq!(
            error, "Tool ended unexpectedly: exit status: 3\none\ntwo",
            "{error}"
        );
        assert_eq!(tree.memory(), None);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_a_start_error() {
        let error = ChildTree::spawn("Tool", Command::new("/does/not/exist"))
            .await
            .unwrap_err();
        assert!(matches!(error, WorkerError::Start { .. }), "{error}");
    }

    #[tokio::test]
    async fn memory_is_known_while_it_lives() {
        let tree = ChildTree::spawn("test", shell("sleep 60")).await.unwrap();
        assert!(tree.memory().unwrap() > 10_000);
        tree.kill_tree();
        tree.wait().await;
        assert_eq!(tree.memory(), None);
    }

    #[test]
    fn what_is_detached_ends_with_the_runtime() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        // Neither its environment nor its group identifies it.
        let detach = "setsid env -i sleep 60 & echo $!; wait";
        let (tree, detached) = runtime.block_on(async {
            let mut tree = ChildTree::spawn("test", shell(&format!("sh -c '{detach}' & wait")))
                .await
                .unwrap();
            let detached: u32 = first_line(&mut tree).await.parse().unwrap();
            let program = format!("/proc/{detached}/cmdline");
            while !std::fs::read(&program).unwrap().starts_with(b"sleep") {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            (tree, detached)
        });
        // The task that waits for the child is dropped before the tree is.
        runtime.shutdown_timeout(Duration::from_secs(10));
        let other = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        assert!(other.block_on(is_gone(detached)));
        assert!(other.block_on(is_gone(tree.pid())));
    }

    #[test]
    fn children_outlive_the_thread_that_asked_for_them() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let handle = runtime.handle().clone();
        let tree = std::thread::spawn(move || {
            handle
                .block_on(ChildTree::spawn("test", shell("sleep 60")))
                .unwrap()
        })
        .join()
        .unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert!(!tree.has_exited());
    }
}
