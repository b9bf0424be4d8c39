//! Determines which process is the daemon of a course: an advisory lock held for its lifetime, and a file with its
//! address.

use std::fs::{File, Metadata};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::digest::{Digest, Stamp};
use crate::error::{Dir, Error, Result};
use crate::files::{self, Access};
use crate::owner::Owner;
use crate::parallel::lock;
use crate::private;

const LOCK: &str = "daemon.lock";
const INFO: &str = "daemon.json";
const LOOKS: usize = 10;

/// What a daemon publishes about itself for clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonInfo {
    /// Its process id.
    pub pid: u32,
    /// Its process with machine and start time: on this machine, the process id alone may belong to another process.
    #[serde(default)]
    pub owner: Option<Owner>,
    /// Its version of clm.
    pub version: String,
    /// The path of its socket.
    pub socket: PathBuf,
    /// When it started, in seconds since 1970.
    pub started: u64,
    /// The URL of its preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
    /// Why it was started, if not by a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// Why a daemon was started, if not by a user. Such a daemon makes only what is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// An editor asked for the outputs of a file.
    Editor,
    /// Something was built.
    Build,
}

impl Reason {
    /// Returns its name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Editor => "editor",
            Self::Build => "build",
        }
    }
}

/// The right to be the daemon of a course. It is released on drop, and by the system when the process ends.
pub(crate) struct DaemonLock {
    state_dir: PathBuf,
    socket: PathBuf,
    file: Mutex<File>,
    preview: Mutex<Option<String>>,
    reason: Option<Reason>,
}

impl DaemonLock {
    /// Takes the lock. Fails if another process is the daemon.
    pub(crate) fn take(state_dir: &Path, reason: Option<Reason>) -> Result<Self> {
        let file = take_file(state_dir)?;
        let socket = socket_path(state_dir)?;
        // Remains from a daemon that was killed: since we have the lock, no process listens there.
        let _ = std::fs::remove_file(&socket);
        Ok(Self {
            state_dir: state_dir.to_path_buf(),
            socket,
            file: Mutex::new(file),
            preview: Mutex::default(),
            reason,
        })
    }

    /// Takes the lock again after the state directory was moved or removed, and announces the daemon there. Fails if
    /// another process took it first.
    pub(crate) fn renew(&self) -> Result<()> {
        let mut held = lock(&self.file);
        let inode = |metadata: std::io::Result<Metadata>| {
            metadata.ok().map(|found| Stamp::of(&found).inode)
        };
        let there = inode(std::fs::metadata(self.state_dir.join(LOCK)));
        if there.is_none() || there != inode(held.metadata()) {
            *held = take_file(&self.state_dir)?;
        }
        self.write_info()
    }

    /// Returns the path of the socket to listen on.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Publishes the address of the daemon and of its preview.
    pub(crate) fn announce(&self, preview: Option<String>) -> Result<()> {
        *lock(&self.preview) = preview;
        self.write_info()
    }

    fn write_info(&self) -> Result<()> {
        let preview = lock(&self.preview).clone();
        let info = DaemonInfo {
            pid: std::process::id(),
            owner: Some(Owner::current()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            socket: self.socket.clone(),
            started: clock::now_ms().unsigned_abs() / 1000,
            preview,
            reason: self.reason,
        };
        let path = self.state_dir.join(INFO);
        let io = |error: std::io::Error| Error::io_in(Dir::State, "write", &path, &error);
        let info = serde_json::to_vec(&info).unwrap_or_default();
        files::replace(&path, Access::Private, |file| file.write_all(&info)).map_err(io)
    }
}

/// Takes the lock in a state directory, which is created if needed.
fn take_file(state_dir: &Path) -> Result<File> {
    private::create_dir_all(state_dir)
        .map_err(|error| Error::io_in(Dir::State, "create", state_dir, &error))?;
    let path = state_dir.join(LOCK);
    let file = files::open_or_create(&path)
        .map_err(|error| Error::io_in(Dir::State, "open", &path, &error))?;
    let mut locked = file.try_lock();
    for _ in 0..LOOKS {
        // Another process may hold the lock for a moment, to check whether there is a daemon.
        if !matches!(locked, Err(std::fs::TryLockError::WouldBlock)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let info = info(state_dir);
            let who = match &info {
                Some(info) => format!("process {}", info.pid),
                None => "another process".to_owned(),
            };
            let preview = info.as_ref().and_then(|info| info.preview.as_deref());
            // The token of a preview in the network is a secret, which `clm status` shows.
            let preview = preview.and_then(|url| url.split('?').next());
            let preview = preview.map_or(String::new(), |url| format!("; its preview is at {url}"));
            let hint = "`clm status` shows what it does, `clm daemon stop` ends it";
            return Err(
                Error::usage(format!("this course is watched already, by {who}"))
                    .hint(format!("{hint}{preview}")),
            );
        }
        Err(std::fs::TryLockError::Error(error)) => {
            return Err(Error::io_in(Dir::State, "lock", &path, &error));
        }
    }
    Ok(file)
}

impl Drop for DaemonLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.state_dir.join(INFO));
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn info(state_dir: &Path) -> Option<DaemonInfo> {
    let text = files::read(&state_dir.join(INFO)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Returns the running daemon of a course, if any.
pub(crate) fn running(state_dir: &Path) -> Option<DaemonInfo> {
    let info = info(state_dir)?;
    let file = files::open(&state_dir.join(LOCK)).ok()?;
    // If we get the lock, no process holds it; it is released at once.
    matches!(
        file.try_lock_shared(),
        Err(std::fs::TryLockError::WouldBlock)
    )
    .then_some(info)
}

/// Returns a short path in a directory that only this user can access: socket paths are limited to about 100 bytes.
fn socket_path(state_dir: &Path) -> Result<PathBuf> {
    let user = nix::unistd::Uid::effective();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|dir| dir.is_absolute() && dir.is_dir());
    let temporary = std::env::temp_dir();
    let real = state_dir
        .canonicalize()
        .unwrap_or_else(|_| state_dir.to_path_buf());
    let places: Vec<PathBuf> = runtime
        .map(|dir| dir.join("clm"))
        .into_iter()
        .chain([temporary.join(format!("clm-{user}")), real.join("run")])
        .collect();
    let name = Digest::of(real.as_os_str().as_encoded_bytes());
    let name = format!("{}.sock", &name.to_string()[..16]);
    // In a directory that all users can write to, another user may have taken the name.
    let dir = places.iter().find(|dir| {
        dir.join(&name).as_os_str().len() < LONGEST_SOCKET && is_private_dir(dir, user)
    });
    let Some(dir) = dir else {
        return Err(Error::internal(format!(
            "`{}` is not a directory that only you can enter",
            places.first().map_or(&*real, |dir| dir).display()
        ))
        .hint("remove it, or name a directory of yours in XDG_RUNTIME_DIR"));
    };
    sweep_sockets(dir);
    Ok(dir.join(name))
}

/// The longest path of a socket, in bytes.
const LONGEST_SOCKET: usize = 100;

/// Creates a directory that only this user can access. Returns whether it is one, and not a link or another user's
/// directory.
fn is_private_dir(dir: &Path, user: nix::unistd::Uid) -> bool {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
    let _ = std::fs::DirBuilder::new().mode(0o700).create(dir);
    std::fs::symlink_metadata(dir).is_ok_and(|metadata| {
        metadata.is_dir()
            && metadata.uid() == user.as_raw()
            && metadata.permissions().mode() & 0o077 == 0
    })
}

/// Removes the sockets of daemons that were killed.
fn sweep_sockets(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_socket = path
            .extension()
            .is_some_and(|extension| extension == "sock");
        // A new socket may not accept connections yet.
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok());
        let is_old = age.is_some_and(|age| age > Duration::from_secs(60));
        let is_refused = || {
            std::os::unix::net::UnixStream::connect(&path)
                .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
        };
        if is_socket && is_old && is_refused() {
            let _ = std::fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_for_sockets_is_private_or_another_is_taken() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let user = nix::unistd::Uid::effective();
        let own = dir.path().join("own");
        assert!(is_private_dir(&own, user) && is_private_dir(&own, user));
        std::os::unix::fs::symlink(&own, dir.path().join("link")).unwrap();
        assert!(!is_private_dir(&dir.path().join("link"), user));
        let other = nix::unistd::Uid::from_raw(user.as_raw() + 1);
        assert!(!is_private_dir(&own, other), "another user made it first");
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(!is_private_dir(&own, user), "others can enter");
        assert!(!is_private_dir(&dir.path().join("no/where"), user));
    }

    #[test]
    fn sockets_of_killed_watches_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let listener = std::os::unix::net::UnixListener::bind(path("alive.sock")).unwrap();
        for name in ["dead.sock", "young.sock"] {
            drop(std::os::unix::net::UnixListener::bind(path(name)).unwrap());
        }
        std::fs::write(path("other"), "").unwrap();
        let old = nix::sys::time::TimeSpec::from(Duration::from_secs(1_000_000));
        for name in ["alive.sock", "dead.sock", "other"] {
            let follow = nix::sys::stat::UtimensatFlags::FollowSymlink;
            nix::sys::stat::utimensat(nix::fcntl::AT_FDCWD, &path(name), &old, &old, follow)
                .unwrap();
        }
        sweep_sockets(dir.path());
        let there = |name: &str| path(name).exists();
        assert!(there("alive.sock") && there("young.sock") && there("other"));
        assert!(!there("dead.sock"));
        drop(listener);
    }

    #[test]
    fn one_daemon_for_each_course_and_it_can_be_found() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(running(dir.path()), None);
        let lock = DaemonLock::take(dir.path(), None).unwrap();
        assert_eq!(running(dir.path()), None, "it does not listen yet");
        lock.announce(Some("http://127.0.0.1:1/".to_owned()))
            .unwrap();
        let info = running(dir.path()).unwrap();
        assert_eq!(info.pid, std::process::id());
        assert_eq!(info.socket, lock.socket());
        let error = DaemonLock::take(dir.path(), None).err().unwrap();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(&info.pid.to_string()));
        drop(lock);
        assert_eq!(running(dir.path()), None);
        let text = serde_json::to_vec(&info).unwrap();
        std::fs::write(dir.path().join(INFO), text).unwrap();
        assert_eq!(running(dir.path()), None, "a killed one leaves its note");
        DaemonLock::take(dir.path(), None).unwrap();
    }
}
