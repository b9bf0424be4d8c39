//! The browser process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use serde_json::json;

use crate::worker::WorkerError;
use crate::worker::process::ChildTree;

use super::WHAT;
use super::cdp::Connection;

/// The longest time until the browser answers.
const START: Duration = Duration::from_secs(30);

/// Where the browser and its files are.
pub struct Place<'a> {
    /// The browser.
    pub program: &'a Path,
    /// The viewer's files.
    pub app: &'a Path,
    /// Libraries that it needs besides the system's.
    pub libraries: Option<&'a Path>,
    /// A directory for its profile.
    pub runtime_dir: &'a Path,
}

/// A running browser. Dropping it kills the whole process tree.
pub struct Browser {
    tree: ChildTree,
    connection: Arc<Connection>,
    app: PathBuf,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser.
    pub async fn start(place: &Place<'_>) -> Result<Self, WorkerError> {
        let failed = |reason: String| WorkerError::Start {
            what: WHAT.to_owned(),
            reason,
        };
        let io = |error: std::io::Error| failed(error.to_string());
        std::fs::create_dir_all(place.runtime_dir).map_err(io)?;
        let profile = tempfile::Builder::new()
            .prefix("browser-")
            .tempdir_in(place.runtime_dir)
            .map_err(io)?;
        let (commands_in, commands_out) = std::io::pipe().map_err(io)?;
        let (answers_in, answers_out) = std::io::pipe().map_err(io)?;
        let mut command = Command::new(place.program);
        command
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if nix::unistd::geteuid().is_root() {
            // Chromium refuses to make its sandbox as root, which only containers and CI machines are.
            command.arg("--no-sandbox");
        }
        command.arg("about:blank");
        if let Some(libraries) = place.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        if let Some(fonts) = own_fonts(place.program) {
            command.env("FONTCONFIG_PATH", fonts);
        }
        // The browser reads commands from its descriptor 3 and answers on 4: no port that others could reach.
        let mappings = vec![
            FdMapping {
                parent_fd: commands_in.into(),
                child_fd: 3,
            },
            FdMapping {
                parent_fd: answers_out.into(),
                child_fd: 4,
            },
        ];
        command
            .fd_mappings(mappings)
            .map_err(|error| failed(error.to_string()))?;
        let tree = ChildTree::spawn(WHAT, command).await?;
        let connection = Connection::new(commands_out.into(), answers_in.into()).map_err(io)?;
        let version = connection.call(None, "Browser.getVersion", json!({}));
        match tokio::time::timeout(START, version).await {
            Ok(Ok(version)) => tracing::debug!(%version, "the browser is up"),
            Ok(Err(_)) => {
                let WorkerError::Crashed { reason, .. } = tree.crashed().await else {
                    return Err(failed("it ended at once".to_owned()));
                };
                return Err(failed(reason));
            }
            Err(_) => return Err(failed(format!("no answer within {} s", START.as_secs()))),
        }
        Ok(Self {
            tree,
            connection: Arc::new(connection),
            app: place.app.to_path_buf(),
            _profile: profile,
        })
    }

    /// The connection to it.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The directory of the viewer's files.
    pub fn app(&self) -> &Path {
        &self.app
    }

    /// Whether it can still be used.
    pub fn is_alive(&self) -> bool {
        !self.connection.is_closed() && !self.tree.has_exited()
    }

    /// The error that tells how it ended.
    pub async fn crashed(&self) -> WorkerError {
        self.tree.crashed().await
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.tree.pid()
    }

    /// Its resident memory in bytes.
    pub fn memory(&self) -> Option<u64> {
        self.tree.memory()
    }
}

/// The fonts that came with the browser, for machines that have none.
fn own_fonts(program: &Path) -> Option<PathBuf> {
    let has_fonts = ["/usr/share/fonts", "/usr/local/share/fonts"]
        .iter()
        .any(|dir| std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()));
    let own = program.parent()?.join("fonts");
    (!has_fonts && own.join("fonts.conf").is_file()).then_some(own)
}

const FLAGS: &[&str] = &[
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--no-first-run",
    "--disable-extensions",
    "--disable-sync",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    // No name resolves, so nothing can be reached even if a request slipped through the interception.
    "--host-resolver-rules=MAP * ~NOTFOUND",
];
