//! One zygote: a Python process that forks kernels, and the communication with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::stat::Mode;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::super::launch::{self, Launch, what};
use super::imports::{Needs, Trust};
use crate::clock::now_ns;
use crate::parallel::lock;
use crate::worker::process::{ChildTree, Exit, ForkedEnd, Log};
use crate::worker::renderers::KernelSpec;

/// The Python program: file names and contents; the first one is started.
const PROGRAM: [(&str, &str); 2] = [
    ("zygote.py", include_str!("zygote.py")),
    ("preload.py", include_str!("preload.py")),
];
/// The time limit for one import, and for the kernel's own imports.
const IMPORT_LIMIT: Duration = Duration::from_secs(60);
/// The time limit for a fork.
const FORK_LIMIT: Duration = Duration::from_secs(5);

const UNUSUAL: &str = "its kernelspec is not of the usual form";
const GONE: &str = "it is gone";

/// How long messages that a zygote sent before it ended may take to arrive.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Why a zygote could not be started.
#[derive(Debug)]
pub(super) enum Unusable {
    /// An import cannot be done in advance.
    Import {
        /// The import.
        unit: String,
        /// The reason.
        reason: String,
    },
    /// No zygote can be started.
    Zygote(String),
    /// It was killed while it started.
    Killed(String),
}

/// A Python process that forks kernels. Dropping it kills it and all its kernels.
#[derive(Debug)]
pub(in crate::worker::notebook) struct Zygote {
    tree: ChildTree,
    orders: mpsc::UnboundedSender<Value>,
    state: Arc<State>,
    /// The first parts of the names of the loaded modules.
    names: BTreeSet<String>,
    /// The imports done for decks, with their duration in milliseconds.
    imports: BTreeMap<String, f64>,
    /// Contains the program, and is its working directory.
    _directory: TempDir,
}

#[derive(Debug, Default)]
struct State(Mutex<Children>);

#[derive(Debug, Default)]
struct Children {
    last_request: u64,
    waiting: HashMap<u64, Waiting>,
    living: HashMap<u32, ForkedEnd>,
    is_over: bool,
    /// Whether modules that it has loaded differ from those installed now.
    is_outdated: bool,
}

/// A requested fork.
#[derive(Debug)]
struct Waiting {
    what: String,
    log: Log,
    answer: oneshot::Sender<Result<ChildTree, String>>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Children> {
        lock(&self.0)
    }

    /// Adds a request for a fork, and returns its number.
    fn add_request(&self, waiting: Waiting) -> Result<u64, &'static str> {
        let mut children = self.lock();
        if children.is_over {
            return Err(GONE);
        }
        children.last_request += 1;
        let id = children.last_request;
        children.waiting.insert(id, waiting);
        Ok(id)
    }

    /// Handles the end of the zygote: there are no more answers, and its kernels are killed.
    fn end(&self) {
        let mut children = self.lock();
        children.is_over = true;
        children.waiting.clear();
        for (_, end) in children.living.drain() {
            end.report(Exit::Unknown);
        }
    }
}

/// A message of the program.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Importing(String),
    Ready {
        names: BTreeSet<String>,
        loaded: BTreeMap<String, f64>,
    },
    Rejected {
        unit: Option<String>,
        reason: String,
    },
    Forked {
        id: u64,
        pid: u32,
    },
    Refused {
        id: u64,
        reason: String,
        #[serde(default)]
        outdated: bool,
    },
    Ended {
        pid: u32,
        status: i32,
    },
}

type Lines = tokio::io::Lines<BufReader<OwnedReadHalf>>;

impl Zygote {
    /// Starts a zygote that has done the given imports, as far as the modules are installed.
    pub(super) async fn start(
        name: &str,
        spec: &KernelSpec,
        runtime_dir: &Path,
        imports: &BTreeSet<String>,
    ) -> Result<Self, Unusable> {
        let python = Interpreter::of(spec).ok_or_else(|| unusable(UNUSUAL))?;
        std::fs::create_dir_all(runtime_dir).map_err(unusable)?;
        let directory = tempfile::Builder::new()
            .prefix("z")
            .tempdir_in(runtime_dir)
            .map_err(unusable)?;
        for (name, text) in PROGRAM {
            std::fs::write(directory.path().join(name), text).map_err(unusable)?;
        }
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(unusable)?;
        ours.set_nonblocking(true).map_err(unusable)?;
        let mut command = python.command(spec, directory.path());
        command
            .fd_mappings(vec![FdMapping {
                parent_fd: theirs.into(),
                child_fd: 3,
            }])
            .map_err(unusable)?;
        let began_ns = now_ns();
        let mut tree = ChildTree::spawn(format!("the zygote of {}", what(name)), command)
            .await
            .map_err(unusable)?;
        if let Some(stdout) = tree.take_stdout() {
            tokio::spawn(tree.log().clone().record(tree.what().to_owned(), stdout));
        }
        let ours = UnixStream::from_std(ours).map_err(unusable)?;
        let (reader, mut writer) = ours.into_split();
        let mut lines = BufReader::new(reader).lines();
        let order = json!({"module": python.module, "preload": imports, "began_ns": began_ns});
        write(&mut writer, &order).await.map_err(unusable)?;
        let (names, imports) = readiness(&tree, &mut lines).await?;
        let state = Arc::new(State::default());
        let (orders, to_send) = mpsc::unbounded_channel();
        tokio::spawn(send(to_send, writer));
        tokio::spawn(listen(
            lines,
            orders.clone().downgrade(),
            Arc::clone(&state),
        ));
        tracing::debug!(
            kernel = name,
            pid = tree.pid(),
            ?imports,
            "a zygote is ready"
        );
        Ok(Self {
            tree,
            orders,
            state,
            names,
            imports,
            _directory: directory,
        })
    }

    /// Returns the imports done for decks, with their duration in milliseconds.
    pub(super) fn imports(&self) -> &BTreeMap<String, f64> {
        &self.imports
    }

    /// Returns whether it has done any imports for decks.
    pub(in crate::worker::notebook) fn has_imports(&self) -> bool {
        !self.imports.is_empty()
    }

    /// Returns whether it can fork.
    pub(super) fn is_alive(&self) -> bool {
        let state = self.state.lock();
        !self.tree.has_exited() && !state.is_over && !state.is_outdated
    }

    /// Returns whether modules that it has loaded differ from those installed now.
    pub(super) fn is_outdated(&self) -> bool {
        self.state.lock().is_outdated
    }

    /// Returns whether a deck cannot distinguish one of its kernels from one that was started for it alone.
    pub(in crate::worker::notebook) fn suits(&self, needs: &Needs) -> bool {
        let enough = match needs.trust {
            Trust::Nothing => false,
            Trust::Kernel => self.imports.is_empty(),
            Trust::Imports => self.imports.keys().all(|unit| needs.imports.contains(unit)),
        };
        // A module of the deck must be found instead of a loaded one of the same name; matplotlib reads settings from
        // the deck's directory.
        let own_settings = needs.own.contains("matplotlibrc") && self.names.contains("matplotlib");
        enough && needs.own.is_disjoint(&self.names) && !own_settings
    }

    /// Forks a kernel.
    pub(in crate::worker::notebook) async fn fork(
        &self,
        launch: &Launch<'_>,
    ) -> Result<ChildTree, String> {
        let python = Interpreter::of(launch.spec).ok_or(UNUSUAL)?;
        let directory = launch
            .connection_file
            .parent()
            .ok_or("the connection file is nowhere")?;
        let pipes = ["stdout", "stderr"].map(|name| directory.join(name));
        let streams = [named_pipe(&pipes[0])?, named_pipe(&pipes[1])?];
        let [stdout, stderr] = [text(&pipes[0])?, text(&pipes[1])?];
        let mut arguments = launch::arguments(launch.spec, text(launch.connection_file)?);
        let command: Vec<String> = std::iter::once(python.program.to_owned())
            .chain(arguments.iter().cloned())
            .collect();
        arguments.drain(..python.arguments);
        let (sender, answer) = oneshot::channel();
        let log = Log::default();
        let what = what(launch.name);
        let id = self.state.add_request(Waiting {
            what: what.clone(),
            log: log.clone(),
            answer: sender,
        })?;
        let request = json!({"fork": {
            "id": id,
            "directory": text(launch.directory)?,
            "environment": {"IPYTHONDIR": text(launch.profile)?},
            "command": command,
            "arguments": arguments,
            "stdout": stdout,
            "stderr": stderr,
        }});
        self.orders.send(request).map_err(|_| GONE)?;
        let answer = timeout(FORK_LIMIT, answer).await;
        let tree = answer
            .map_err(|_| format!("it did not fork within {} s", FORK_LIMIT.as_secs()))?
            .map_err(|_| "it ended".to_owned())??;
        // Started only now that the pipes have writers: before, they would have been at their end.
        for stream in streams {
            tokio::spawn(log.clone().record(what.clone(), stream));
        }
        Ok(tree)
    }

    /// Ends it and waits until it has ended.
    pub(super) async fn end(self) {
        self.tree.end_within(Duration::ZERO).await;
    }
}

/// The parts of a kernelspec that runs a module of `ipykernel` in Python.
struct Interpreter<'a> {
    program: &'a str,
    /// The options of the interpreter.
    options: &'a [String],
    /// The name of the module.
    module: &'a str,
    /// The number of words before the arguments of the module, without the program.
    arguments: usize,
}

impl<'a> Interpreter<'a> {
    fn of(spec: &'a KernelSpec) -> Option<Self> {
        let (program, words) = spec.argv.split_first()?;
        let at = words.iter().position(|word| word == "-m")?;
        let module = words.get(at + 1)?;
        let options = &words[..at];
        let is_usual = ["ipykernel_launcher", "ipykernel"].contains(&module.as_str())
            && options
                .iter()
                .all(|option| option.starts_with("-X") && option.len() > 2);
        is_usual.then_some(Self {
            program,
            options,
            module,
            arguments: at + 2,
        })
    }

    /// Returns the command that runs the zygote's program in its directory.
    fn command(&self, spec: &KernelSpec, directory: &Path) -> Command {
        let mut command = Command::new(self.program);
        command.args(self.options).arg(directory.join(PROGRAM[0].0));
        launch::set_environment(&mut command, spec, self.program, directory);
        command
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }
}

fn unusable(reason: impl std::fmt::Display) -> Unusable {
    Unusable::Zygote(reason.to_string())
}

/// Makes a named pipe, and opens its end for reading.
fn named_pipe(path: &Path) -> Result<pipe::Receiver, String> {
    let failed =
        |error: &dyn std::fmt::Display| format!("cannot use `{}`: {error}", path.display());
    nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|error| failed(&error))?;
    let opened = pipe::OpenOptions::new().open_receiver(path);
    opened.map_err(|error| failed(&error))
}

fn text(path: &Path) -> Result<&str, String> {
    path.to_str()
        .ok_or_else(|| format!("the path `{}` is not valid Unicode", path.display()))
}

async fn write(writer: &mut OwnedWriteHalf, message: &Value) -> std::io::Result<()> {
    writer.write_all(format!("{message}\n").as_bytes()).await
}

/// Sends orders until all senders are dropped.
async fn send(mut orders: mpsc::UnboundedReceiver<Value>, mut writer: OwnedWriteHalf) {
    while let Some(order) = orders.recv().await {
        if let Err(error) = write(&mut writer, &order).await {
            tracing::debug!(%error, "a zygote does not listen");
            return;
        }
    }
}

/// Waits until all imports are done.
async fn readiness(
    tree: &ChildTree,
    lines: &mut Lines,
) -> Result<(BTreeSet<String>, BTreeMap<String, f64>), Unusable> {
    let mut current = None;
    let blame = |unit: Option<String>, reason: String| match unit {
        Some(unit) => Unusable::Import { unit, reason },
        None => Unusable::Zygote(reason),
    };
    loop {
        let line = tokio::select! {
            line = timeout(IMPORT_LIMIT, lines.next_line()) => line,
            // Its child processes may keep the pipe open; its last messages are still to be read.
            _ = tree.wait() => match timeout(LAST_WORDS, lines.next_line()).await {
                Ok(line) => Ok(line),
                Err(_) => Ok(Ok(None)),
            },
        };
        let line = match line {
            Ok(Ok(Some(line))) => line,
            Ok(_) => {
                let reason = tree.crashed().await.to_string();
                return Err(match tree.wait().await.was_killed() {
                    true => Unusable::Killed(reason),
                    false => blame(current, reason),
                });
            }
            Err(_) => {
                let reason = format!("it took longer than {} s", IMPORT_LIMIT.as_secs());
                return Err(blame(current, reason));
            }
        };
        match serde_json::from_str(&line) {
            Ok(Said::Importing(unit)) => current = Some(unit),
            Ok(Said::Ready { names, loaded }) => return Ok((names, loaded)),
            Ok(Said::Rejected { unit, reason }) => return Err(blame(unit, reason)),
            Ok(_) => {}
            Err(error) => return Err(Unusable::Zygote(format!("it speaks nonsense: {error}"))),
        }
    }
}

/// Handles the messages of a zygote until it ends.
async fn listen(mut lines: Lines, orders: mpsc::WeakUnboundedSender<Value>, state: Arc<State>) {
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Said::Forked { id, pid }) => {
                let mut children = state.lock();
                let Some(waiting) = children.waiting.remove(&id) else {
                    continue;
                };
                let (tree, end) = ChildTree::forked(waiting.what, pid, waiting.log);
                children.living.insert(pid, end);
                drop(children);
                // If there is no receiver any more, dropping the kernel's process kills it.
                let _ = waiting.answer.send(Ok(tree));
            }
            Ok(Said::Refused {
                id,
                reason,
                outdated,
            }) => {
                let mut children = state.lock();
                children.is_outdated |= outdated;
                if let Some(waiting) = children.waiting.remove(&id) {
                    let _ = waiting.answer.send(Err(reason));
                }
            }
            Ok(Said::Ended { pid, status }) => {
                if let Some(end) = state.lock().living.remove(&pid) {
                    end.report(Exit::Status(ExitStatus::from_raw(status)));
                }
                // Its process id may be reused only after this.
                if let Some(orders) = orders.upgrade() {
                    let _ = orders.send(json!({"reap": pid}));
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "a zygote speaks nonsense");
                break;
            }
        }
    }
    state.end();
}
