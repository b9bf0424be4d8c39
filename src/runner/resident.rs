//! The process that keeps renderers warm between actions which a farm's worker starts as processes of their own.
//!
//! It listens on a socket in a directory of this user, is started by the first action, and ends when none has come for some
//! time or its directory is removed. Actions come as requests of Bazel's protocol, with the arguments of the process that passes
//! them on; if that one ends, as farms kill what they cancel, so does its action.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::env;
use crate::digest::Digest;
use crate::farm::tree::digest_of;
use crate::files;
use crate::parallel::lock;
use crate::private;
use crate::remote::Connection;

use super::buildbox::{self, Job};
use super::renderers;
use super::slot::Slot;
use super::wire::{WorkRequest, WorkResponse, read, write};

/// How long it waits for the next action.
const IDLE: Duration = Duration::from_secs(600);
/// How often it looks whether its directory is still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long it may take to start.
const START: Duration = Duration::from_secs(20);
/// How long the result of an action is known that has ended.
const JUST: Duration = Duration::from_secs(10);
const SOCKET: &str = "socket";

/// Returns the directory of the process that serves this program, its user and its environment.
fn home() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let metadata = program.metadata()?;
    let mut text = format!("{}\n{:?}\n", program.display(), metadata.modified()?);
    for name in [
        "HOME",
        "PATH",
        "PYTHONPATH",
        env::TOOLS_DIR,
        env::KERNEL_PYTHON,
    ] {
        text.push_str(&format!("{name}={:?}\n", std::env::var_os(name)));
    }
    let name = format!(
        "clm-runner-{}-{}",
        nix::unistd::getuid(),
        Digest::of(text).short()
    );
    let dir = std::env::temp_dir().join(&name);
    // The path of a socket is short.
    let dir = match dir.as_os_str().len() {
        0..=90 => dir,
        _ => Path::new("/tmp").join(name),
    };
    private::create_dir_all(&dir)?;
    let metadata = dir.symlink_metadata()?;
    let is_ours = metadata.is_dir()
        && metadata.uid() == nix::unistd::getuid().as_raw()
        && metadata.permissions().mode() & 0o077 == 0;
    match is_ours {
        true => Ok(dir),
        false => Err(io::Error::other(format!(
            "`{}` belongs to somebody else, or others may write to it",
            dir.display()
        ))),
    }
}

/// Passes the arguments of this process to the resident one, which is started if needed. Returns its exit code and what it says.
///
/// # Errors
///
/// Why that is not possible.
pub(crate) async fn hand_over(arguments: Vec<String>) -> io::Result<(i32, String)> {
    let dir = home()?;
    let request = WorkRequest {
        arguments,
        ..WorkRequest::default()
    };
    for _ in 0..2 {
        let mut stream = connect(&dir).await?;
        let answer = match write(&mut stream, &request).await {
            Ok(()) => read::<WorkResponse>(&mut stream).await,
            Err(error) => Err(error),
        };
        if let Ok(Some(response)) = answer {
            return Ok((response.exit_code, response.output));
        }
        // It ended, perhaps just when its time was over.
    }
    Err(io::Error::other(
        "the process that keeps the renderers warm ended twice",
    ))
}

async fn connect(dir: &Path) -> io::Result<UnixStream> {
    let socket = dir.join(SOCKET);
    if let Ok(stream) = UnixStream::connect(&socket).await {
        return Ok(stream);
    }
    // One process at a time starts it.
    let lock = File::options()
        .create(true)
        .append(true)
        .open(dir.join("lock"))?;
    lock.lock()?;
    let began = Instant::now();
    let mut child = None;
    loop {
        match UnixStream::connect(&socket).await {
            Ok(stream) => return Ok(stream),
            Err(error) if began.elapsed() > START => return Err(error),
            Err(_) => {}
        }
        let has_ended = child
            .as_mut()
            .is_some_and(|child: &mut std::process::Child| {
                child.try_wait().is_ok_and(|ended| ended.is_some())
            });
        if has_ended {
            return Err(io::Error::other(format!(
                "the process that keeps the renderers warm does not start; see `{}`",
                dir.join("log").display()
            )));
        }
        if child.is_none() {
            child = Some(start(dir)?);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn start(dir: &Path) -> io::Result<std::process::Child> {
    Command::new(std::env::current_exe()?)
        .args(["runner", "--resident"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(private::append(&dir.join("log"))?)
        .current_dir("/")
        // The farm may end the group of the process that starts it.
        .process_group(0)
        .spawn()
}

/// What the resident process has.
struct Resident {
    dir: PathBuf,
    /// Slots without an action.
    free: Mutex<Vec<Arc<Slot>>>,
    /// The number of slots that were made.
    slots: AtomicUsize,
    connections: Mutex<HashMap<(String, String), Arc<Connection>>>,
    /// The actions that run, by digest: an equal one waits for the same result.
    running: Mutex<HashMap<String, watch::Receiver<Option<Ended>>>>,
    /// The last results: a farm may be asked for one before it has stored it.
    results: Mutex<HashMap<String, (Instant, Vec<u8>)>>,
    /// The number of requests in work, and when the last one ended.
    active: Mutex<(usize, Instant)>,
}

/// The result of an action as a message, or why there is none.
type Ended = Result<Vec<u8>, String>;

/// An entry among the running actions, which is removed however the action ends.
struct Entry<'a> {
    running: &'a Mutex<HashMap<String, watch::Receiver<Option<Ended>>>>,
    name: String,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        lock(self.running).remove(&self.name);
    }
}

/// Serves until nothing comes for some time.
///
/// # Errors
///
/// Why it cannot listen.
pub(crate) async fn resident(stop: CancellationToken) -> io::Result<()> {
    let dir = home()?;
    let socket = dir.join(SOCKET);
    // Of one that was killed: the lock is held by the process that starts this one.
    let _ = std::fs::remove_file(&socket);
    let _ = std::fs::remove_dir_all(dir.join("slots"));
    private::write(
        &dir.join("pid"),
        format!("{}\n", std::process::id()).as_bytes(),
    )?;
    let listener = UnixListener::bind(&socket)?;
    let resident = Arc::new(Resident {
        dir,
        free: Mutex::default(),
        slots: AtomicUsize::new(0),
        connections: Mutex::default(),
        running: Mutex::default(),
        results: Mutex::default(),
        active: Mutex::new((0, Instant::now())),
    });
    let own = socket.metadata()?.ino();
    let is_own = || socket.metadata().is_ok_and(|found| found.ino() == own);
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let resident = Arc::clone(&resident);
                tokio::spawn(async move { resident.serve(stream).await });
            }
            _ = look.tick() => {
                let (active, since) = *lock(&resident.active);
                if !is_own() || active == 0 && since.elapsed() > IDLE {
                    break;
                }
            }
            () = stop.cancelled() => break,
        }
    }
    if is_own() {
        let _ = std::fs::remove_file(&socket);
    }
    let free = std::mem::take(&mut *lock(&resident.free));
    for slot in free {
        slot.shutdown().await;
    }
    Ok(())
}

impl Resident {
    async fn serve(&self, stream: UnixStream) {
        let (mut input, mut output) = stream.into_split();
        while let Ok(Some(request)) = read::<WorkRequest>(&mut input).await {
            lock(&self.active).0 += 1;
            let cancel = CancellationToken::new();
            let working = self.work(&request.arguments, cancel.clone());
            tokio::pin!(working);
            let mut byte = [0];
            let result = tokio::select! {
                result = &mut working => result,
                // The process that passes it on says nothing more, so it has ended.
                _ = input.read(&mut byte) => {
                    cancel.cancel();
                    working.await
                }
            };
            {
                let mut active = lock(&self.active);
                *active = (active.0 - 1, Instant::now());
            }
            let response = WorkResponse {
                exit_code: i32::from(result.is_err()),
                output: result
                    .err()
                    .map_or_else(String::new, |reason| format!("{reason}\n")),
                request_id: request.request_id,
                was_cancelled: cancel.is_cancelled(),
            };
            if write(&mut output, &response).await.is_err() {
                return;
            }
        }
    }

    /// Runs the action of these arguments, and writes its result.
    async fn work(&self, arguments: &[String], cancel: CancellationToken) -> Result<(), String> {
        let job = Job::parse(arguments)?;
        let action = files::read(&job.action)
            .map_err(|error| format!("`{}`: {error}", job.action.display()))?;
        let result = self.joined(&job, &action, cancel).await?;
        std::fs::write(&job.result, result)
            .map_err(|error| format!("`{}`: {error}", job.result.display()))
    }

    /// Runs an action, or waits for the same one that runs already.
    async fn joined(&self, job: &Job, action: &[u8], cancel: CancellationToken) -> Ended {
        let name = format!("{} {} {}", job.remote, job.instance, digest_of(action).hash);
        loop {
            if cancel.is_cancelled() {
                return Err("cancelled".to_owned());
            }
            let (sender, receiver) = watch::channel(None);
            let (other, known) = {
                let mut running = lock(&self.running);
                let other = running.get(&name).cloned();
                // Results are added before their actions are removed.
                let known = self.known(&name).filter(|_| other.is_none());
                if other.is_none() && known.is_none() {
                    running.insert(name.clone(), receiver);
                }
                (other, known)
            };
            if let Some(result) = known {
                let connection = self.connection(job)?;
                if buildbox::is_whole(&connection, &result).await {
                    return Ok(result);
                }
                // The storage lost its files.
                lock(&self.results).remove(&name);
                continue;
            }
            let Some(mut other) = other else {
                let entry = Entry {
                    running: &self.running,
                    name: name.clone(),
                };
                let ended = self.run(job, action, cancel).await;
                if let Ok(result) = &ended {
                    lock(&self.results).insert(name, (Instant::now(), result.clone()));
                }
                drop(entry);
                let _ = sender.send(Some(ended.clone()));
                return ended;
            };
            let result = tokio::select! {
                result = other.wait_for(Option::is_some) => result.ok().and_then(|ended| ended.clone()),
                () = cancel.cancelled() => None,
            };
            if let Some(Ok(result)) = result {
                return Ok(result);
            }
            // It was cancelled or failed, which need not concern this one.
        }
    }

    /// Returns the result of an action that has just ended.
    fn known(&self, name: &str) -> Option<Vec<u8>> {
        let mut results = lock(&self.results);
        results.retain(|_, (since, _)| since.elapsed() < JUST);
        results.get(name).map(|(_, result)| result.clone())
    }

    async fn run(&self, job: &Job, action: &[u8], cancel: CancellationToken) -> Ended {
        let began = Instant::now();
        let connection = self.connection(job)?;
        let slot = self
            .slot()
            .map_err(|error| format!("no directory for the action: {error}"))?;
        let ended = buildbox::run(&slot, &connection, action, cancel).await;
        lock(&self.free).push(slot);
        let digest = digest_of(action).hash;
        let how = match &ended {
            Ok(_) => "ran",
            Err(reason) => reason,
        };
        self.log(&format!(
            "{digest} {} ms: {how}",
            began.elapsed().as_millis()
        ));
        ended
    }

    fn slot(&self) -> io::Result<Arc<Slot>> {
        if let Some(slot) = lock(&self.free).pop() {
            return Ok(slot);
        }
        let number = self.slots.fetch_add(1, Ordering::Relaxed);
        let dir = self.dir.join("slots").join(number.to_string());
        Slot::new(&dir, &self.dir.join("run"), renderers()).map(Arc::new)
    }

    fn connection(&self, job: &Job) -> Result<Arc<Connection>, String> {
        let name = (job.remote.clone(), job.instance.clone());
        if let Some(connection) = lock(&self.connections).get(&name) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(job.connection()?);
        lock(&self.connections).insert(name, Arc::clone(&connection));
        Ok(connection)
    }

    /// Adds a line to the log of actions. Without it everything works.
    fn log(&self, line: &str) {
        let log = private::append(&self.dir.join("log"));
        let _ = log.and_then(|mut log| writeln!(log, "{line}"));
    }
}
