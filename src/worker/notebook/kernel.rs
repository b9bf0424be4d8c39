//! One kernel: its process, its channels, its directories. Used for one execution; dropping it removes everything.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jupyter_zmq_client::KernelInfoRequest;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::connection::{Channels, Endpoints, Recording};
use super::imported::Facts;
use super::launch::{Launch, Launcher, is_deno, is_ipykernel, what};
use super::renaming::Renaming;
use crate::clock::now_ns;
use crate::worker::WorkerError;
use crate::worker::process::ChildTree;
use crate::worker::renderers::KernelSpec;

/// The interval between checks of a starting kernel.
const LOOK: Duration = Duration::from_millis(4);
/// How long a started kernel may take to answer before the request is sent again.
const NUDGE: Duration = Duration::from_millis(50);

/// clm's code that runs first in Python kernels.
const PRELUDE: &str = include_str!("kernel_prelude.py");
/// The code that reports the imports of a Python kernel.
const IMPORTS: &str = include_str!("kernel_imports.py");

/// Makes a Python kernel work in another directory, without a name in the namespace of the cells. Child processes of
/// `multiprocessing` start in the directory that it noted. Importing must leave nothing among the sources.
const ENTER: &str = r#"(lambda os, sys: (
    os.chdir(DIRECTORY),
    setattr(sys, "dont_write_bytecode", True),
    [setattr(sys.modules[name], "ORIGINAL_DIR", os.getcwd()) for name in ["multiprocessing.process"] if name in sys.modules],
))(__import__("os"), __import__("sys"))"#;

/// Incremented when the same outputs of a kernel are recorded in another way.
const RECORDING: &str = "2";

/// Returns the digest of clm's part of executions, for keys: another version may record other results.
pub(crate) fn execution_program_digest() -> crate::digest::Digest {
    crate::digest::Digest::of(format!("{RECORDING}\0{PRELUDE}\0{IMPORTS}"))
}
/// Replaces the working directory in outputs, which has another name in every run.
const SEEN_DIRECTORY: &str = "/tmp/clm";

/// Returns whether a running kernel can be made to work in another directory.
pub(super) fn can_enter(spec: &KernelSpec) -> bool {
    code_to_enter(Path::new("/"), spec).is_some()
}

/// Returns code that changes the working directory; `None` if the kernel has to be started there.
fn code_to_enter(directory: &Path, spec: &KernelSpec) -> Option<String> {
    let quoted = serde_json::Value::from(directory.to_string_lossy());
    if is_ipykernel(spec) {
        return Some(ENTER.replace("DIRECTORY", &quoted.to_string()));
    }
    is_deno(spec).then(|| format!("Deno.chdir({quoted})"))
}

/// Settings of all kernels of a worker.
#[derive(Clone, Debug)]
pub(super) struct KernelStart {
    /// The name of the kernelspec.
    pub(super) name: String,
    /// The kernelspec.
    pub(super) spec: KernelSpec,
    /// The directory of the kernels' directories.
    pub(super) runtime_dir: PathBuf,
    /// The maximum time until the kernel answers.
    pub(super) timeout: Duration,
    /// The working directory of the process, if it cannot be changed later; `None` for one of its own.
    pub(super) directory: Option<PathBuf>,
}

/// A running kernel.
pub(super) struct Kernel {
    name: String,
    interrupt_by_message: bool,
    prints_late: bool,
    /// Its process and all its descendants.
    pub(super) tree: ChildTree,
    /// The channels for messages.
    pub(super) channels: Channels,
    /// How the process was created. Keeps a zygote alive as long as its kernels.
    launcher: Launcher,
    /// When the creation of its process began, in nanoseconds since 1970.
    began_ns: i64,
    work: PathBuf,
    /// Contains the connection file, the sockets and the working directory. Dropped after the process.
    _directory: TempDir,
}

/// A unique text that no deck prints.
pub(super) struct Mark {
    /// The text.
    pub(super) text: String,
    /// The code that prints it.
    pub(super) code: String,
}

impl Kernel {
    /// Starts a kernel and waits until it answers on all channels.
    #[tracing::instrument(level = "debug", name = "start kernel", skip_all, fields(kernel = start.name))]
    pub(super) async fn start(
        start: &KernelStart,
        launcher: &Launcher,
    ) -> Result<Self, WorkerError> {
        let deadline = Instant::now() + start.timeout;
        let failure = |reason: String| WorkerError::Start {
            what: what(&start.name),
            reason,
        };
        let directory = private_directory(&start.runtime_dir).map_err(|error| {
            WorkerError::Io(format!("cannot create a directory for a kernel: {error}"))
        })?;
        let work = directory.path().join("work");
        let profile = directory.path().join("ipython");
        for new in [&work, &profile] {
            std::fs::create_dir_all(new).map_err(|error| {
                WorkerError::Io(format!("cannot create `{}`: {error}", new.display()))
            })?;
        }
        let mut endpoints = Endpoints::new(directory.path(), is_ipykernel(&start.spec))
            .await
            .map_err(failure)?;
        let launch = Launch {
            name: &start.name,
            spec: &start.spec,
            connection_file: endpoints.file(),
            directory: start.directory.as_deref().unwrap_or(&work),
            profile: &profile,
        };
        let began_ns = now_ns();
        let tree = launcher.start(&launch).await?;
        endpoints.release();
        let channels = loop {
            if endpoints.are_open().await {
                // Connecting to a kernel that has just ended would never return.
                tokio::select! {
                    channels = endpoints.connect() => match channels {
                        Ok(channels) => break channels,
                        // A process that is being started at the same moment may hold copies of the reserved ports, and
                        // accepts nothing.
                        Err(error) => tracing::debug!(%error, "not yet"),
                    },
                    error = dead_or_late(&tree, deadline, start) => return Err(error),
                }
            }
            give_up_when_dead_or_late(&tree, deadline, start).await?;
            sleep(LOOK).await;
        };
        let mut kernel = Self {
            name: start.name.clone(),
            interrupt_by_message: start.spec.interrupt_by_message,
            prints_late: is_deno(&start.spec),
            tree,
            channels,
            launcher: launcher.clone(),
            began_ns,
            work,
            _directory: directory,
        };
        kernel.wait_until_ready(deadline, start).await?;
        if is_ipykernel(&start.spec) {
            kernel.run_prelude(deadline, start).await?;
        }
        tracing::debug!(kernel = start.name, pid = kernel.pid(), "a kernel is ready");
        Ok(kernel)
    }

    /// Waits for a reply and for a published message: the latter proves that no output will be lost.
    async fn wait_until_ready(
        &mut self,
        deadline: Instant,
        start: &KernelStart,
    ) -> Result<(), WorkerError> {
        let (mut replied, mut published) = (false, false);
        while !(replied && published) {
            give_up_when_dead_or_late(&self.tree, deadline, start).await?;
            let sent = tokio::select! {
                sent = self.channels.send(KernelInfoRequest {}) => sent,
                error = dead_or_late(&self.tree, deadline, start) => return Err(error),
            };
            sent.map_err(|reason| WorkerError::Start {
                what: what(&start.name),
                reason,
            })?;
            let nudge = Instant::now() + NUDGE;
            while !(replied && published) && Instant::now() < nudge {
                tokio::select! {
                    Some(_) = self.channels.replies.recv() => replied = true,
                    Some(_) = self.channels.published.recv() => published = true,
                    () = tokio::time::sleep_until(nudge) => {}
                }
            }
        }
        Ok(())
    }

    /// Runs clm's code, without leaving a name or a number in the history.
    async fn run_prelude(
        &mut self,
        deadline: Instant,
        start: &KernelStart,
    ) -> Result<(), WorkerError> {
        let code = prelude(&self.report());
        let reply = self.run_silently(&code, deadline, start).await?;
        tracing::debug!(kernel = start.name, %reply, "prelude");
        Ok(())
    }

    /// Runs code that is not the author's, and returns the reply.
    async fn run_silently(
        &mut self,
        code: &str,
        deadline: Instant,
        start: &KernelStart,
    ) -> Result<serde_json::Value, WorkerError> {
        let failure = |reason: String| WorkerError::Start {
            what: what(&start.name),
            reason,
        };
        let id = tokio::select! {
            sent = self.channels.execute(code, Recording::Silent, false) => sent.map_err(failure)?,
            error = dead_or_late(&self.tree, deadline, start) => return Err(error),
        };
        loop {
            give_up_when_dead_or_late(&self.tree, deadline, start).await?;
            let Ok(reply) = timeout(NUDGE, self.channels.replies.recv()).await else {
                continue;
            };
            let reply = reply.ok_or_else(|| failure("its channels closed".to_owned()))?;
            if reply.parent == id {
                return Ok(reply.content);
            }
        }
    }

    /// Makes a directory of the course the working directory of the cells. Other kernels than those that can be told
    /// were started there.
    pub(super) async fn enter(
        &mut self,
        directory: &Path,
        start: &KernelStart,
    ) -> Result<(), WorkerError> {
        let Some(code) = code_to_enter(directory, &start.spec) else {
            return Ok(());
        };
        let deadline = Instant::now() + start.timeout;
        let reply = self.run_silently(&code, deadline, start).await?;
        match reply["status"].as_str() {
            Some("error") => Err(WorkerError::Io(format!(
                "the kernel cannot work in `{}`: {}",
                directory.display(),
                reply["evalue"].as_str().unwrap_or_default()
            ))),
            _ => Ok(()),
        }
    }

    /// Interrupts the running cell and the processes it started.
    pub(super) async fn interrupt(&mut self) {
        if self.interrupt_by_message {
            // A kernel that does not react is killed after the grace time.
            let _ = timeout(NUDGE, self.channels.send_interrupt()).await;
        } else if let (false, Ok(group)) = (self.tree.has_exited(), i32::try_from(self.pid())) {
            // The kernel leads its own process group, like a foreground job of a shell.
            let _ = killpg(Pid::from_raw(group), Signal::SIGINT);
        }
    }

    /// Returns the name of its kernelspec.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns how its process was created.
    pub(super) fn launcher(&self) -> &Launcher {
        &self.launcher
    }

    /// Returns code that prints a mark after all that cells have printed so far, for kernels that report the end of a
    /// cell before they publish what it printed. `None` for others; `ipykernel` is made to publish it first by the
    /// prelude.
    pub(super) fn mark(&self) -> Option<Mark> {
        if !self.prints_late {
            return None;
        }
        let text = format!("<{}>", uuid::Uuid::new_v4());
        // Not `console.log`, which decks may replace.
        let quoted = serde_json::Value::from(text.as_str());
        let code = format!("void Deno[Deno.internal].core.print({quoted})");
        Some(Mark { text, code })
    }

    /// Returns the file in which a Python kernel reports its imports.
    pub(super) fn report(&self) -> PathBuf {
        self.work.with_file_name("imports")
    }

    /// Returns whether the code of a kernel that was started earlier has changed on disk since.
    pub(super) async fn is_outdated(&self) -> bool {
        let (report, began_ns) = (self.report(), self.began_ns);
        let look = move || Facts::read(&report).is_outdated(began_ns);
        tokio::task::spawn_blocking(look).await.unwrap_or(true)
    }

    /// Returns the working directory of the cells.
    pub(super) fn work(&self) -> &Path {
        &self.work
    }

    /// Returns the names in its outputs that differ in every run, with their replacements.
    pub(super) fn accidental_names(&self) -> Renaming {
        let mut names = vec![(
            format!("ipykernel_{}/", self.pid()),
            "ipykernel/".to_owned(),
        )];
        let mut directories = vec![self.work.clone()];
        directories.extend(self.work.canonicalize());
        // IPython shortens paths below the home directory.
        if let Some(home) = std::env::var_os("HOME").filter(|home| !home.is_empty())
            && let Ok(below) = self.work.strip_prefix(home)
        {
            directories.push(Path::new("~").join(below));
        }
        for directory in directories {
            names.push((directory.display().to_string(), SEEN_DIRECTORY.to_owned()));
        }
        Renaming(names)
    }

    /// Returns its process id.
    pub(super) fn pid(&self) -> u32 {
        self.tree.pid()
    }

    /// Kills the process and its descendants, waits until they have ended, and removes its directories.
    pub(super) async fn end(self) {
        self.tree.kill_tree();
        // With a limit, because a process may be blocked in a device access.
        let _ = timeout(Duration::from_secs(5), self.tree.wait()).await;
    }
}

/// Runs the work that a zygote defers until after the fork. Kernels that were not forked run the same code.
const FINISH: &str = "import sys\nsys.__dict__.pop('_clm_finish', lambda: None)()";

/// Returns the prelude as a single statement that adds no names: cells start from an empty namespace.
fn prelude(report: &Path) -> String {
    // JSON strings are Python strings.
    let [source, finish, imports] = [PRELUDE, FINISH, IMPORTS].map(serde_json::Value::from);
    let report = serde_json::Value::from(report.to_string_lossy());
    format!(
        "exec({finish}, {{}}); exec({source}, {{'get_ipython': get_ipython, '__name__': 'clm'}}); \
         exec({imports}, {{'report': {report}, '__name__': 'clm'}})"
    )
}

/// Waits until the kernel has ended or the deadline has passed, and returns the error.
async fn dead_or_late(tree: &ChildTree, deadline: Instant, start: &KernelStart) -> WorkerError {
    loop {
        tokio::select! {
            _ = tree.wait() => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
        if let Err(error) = give_up_when_dead_or_late(tree, deadline, start).await {
            return error;
        }
    }
}

/// Returns the result of a future, or an error when the kernel has ended or the deadline has passed.
async fn give_up_when_dead_or_late(
    tree: &ChildTree,
    deadline: Instant,
    start: &KernelStart,
) -> Result<(), WorkerError> {
    if tree.has_exited() {
        return Err(match tree.crashed().await {
            WorkerError::Crashed { what, reason } => WorkerError::Start { what, reason },
            other => other,
        });
    }
    if Instant::now() < deadline {
        return Ok(());
    }
    let mut reason = format!("it did not answer within {} s", start.timeout.as_secs());
    let lines = tree.log().last(12);
    if !lines.is_empty() {
        reason = format!("{reason}\n{lines}");
    }
    Err(WorkerError::Start {
        what: what(&start.name),
        reason,
    })
}

/// Creates a directory that only this user can access.
fn private_directory(parent: &Path) -> std::io::Result<TempDir> {
    std::fs::create_dir_all(parent)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix("k");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir_in(parent)
}
