//! The browser process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use serde_json::json;

use crate::worker::process::ChildTree;
use crate::worker::{WorkerError, protocol};

use super::WHAT;
use super::cdp::Connection;
use super::fonts;
use super::health::{Crashes, Helpers};
use super::profile::Profile;

/// The maximum time until the browser answers.
const START: Duration = Duration::from_secs(30);
/// The viewer's script, which must exist.
const VIEWER: &str = "js/viewer-static.min.js";
/// How many of the last lines are included in the error if it does not start.
const TOLD: usize = 100;

/// The paths of the browser and its files.
pub(super) struct Place<'a> {
    /// The browser's executable.
    pub program: &'a Path,
    /// The viewer's files.
    pub app: &'a Path,
    /// Libraries that it needs besides the system's, if any.
    pub libraries: Option<&'a Path>,
    /// Directories with fonts; if there are any, the first one is clm's.
    pub fonts: &'a [PathBuf],
    /// The directory for its profile.
    pub runtime_dir: &'a Path,
}

/// A running browser. Dropping it kills the whole process tree.
pub(super) struct Browser {
    tree: ChildTree,
    connection: Arc<Connection>,
    helpers: Helpers,
    crashes: Crashes,
    app: PathBuf,
    _profile: Profile,
}

impl Browser {
    /// Starts a browser.
    pub(super) async fn start(place: &Place<'_>) -> Result<Self, WorkerError> {
        for (what, path) in [
            ("a browser", place.program),
            ("draw.io's viewer", &place.app.join(VIEWER)),
        ] {
            if !path.is_file() {
                return Err(WorkerError::Missing {
                    what: format!("{what} for draw.io diagrams (`{}`)", path.display()),
                    hint: "install it with `clm setup`".to_owned(),
                });
            }
        }
        // Chromium refuses to create its sandbox as root, as which clm runs only in containers and on CI machines.
        let can_have_sandbox = !nix::unistd::geteuid().is_root();
        match Self::launch(place, can_have_sandbox).await {
            Err(Failure::NoSandbox) => {
                // Containers do not support a sandbox, nor do distributions that deny user namespaces to programs they
                // did not package. Even without it, pages have no network, no files and no scripts of their own.
                tracing::warn!("the browser cannot make its sandbox here, and runs without it");
                Self::launch(place, false).await
            }
            result => result,
        }
        .map_err(|failure| match failure {
            Failure::NoSandbox => failed("it cannot make its sandbox".to_owned()),
            Failure::Other(error) => error,
        })
    }

    async fn launch(place: &Place<'_>, has_sandbox: bool) -> Result<Self, Failure> {
        let io = |error: std::io::Error| Failure::Other(failed(error.to_string()));
        let profile = Profile::new(place.runtime_dir).map_err(io)?;
        let (commands_in, commands_out) = std::io::pipe().map_err(io)?;
        let (answers_in, answers_out) = std::io::pipe().map_err(io)?;
        let mut command = command(place, &profile, has_sandbox).map_err(io)?;
        // The browser reads commands from its descriptor 3 and answers on 4, so there is no port that others could
        // connect to. It ends when clm does, because the pipe is closed.
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
            .map_err(|error| Failure::Other(failed(error.to_string())))?;
        let tree = ChildTree::spawn(WHAT, command)
            .await
            .map_err(Failure::Other)?;
        let connection = Connection::new(commands_out.into(), answers_in.into()).map_err(io)?;
        let version = connection.call(None, "Browser.getVersion", json!({}));
        match tokio::time::timeout(START, version).await {
            Ok(Ok(version)) => tracing::debug!(%version, has_sandbox, "the browser is up"),
            Ok(Err(_)) => return Err(why(&tree, has_sandbox).await),
            Err(_) => {
                let reason = format!("no answer within {} s", START.as_secs());
                return Err(Failure::Other(failed(reason)));
            }
        }
        let crashes = Crashes::of(connection.events(""));
        connection.post(
            None,
            "Target.setDiscoverTargets",
            json!({ "discover": true }),
        );
        Ok(Self {
            tree,
            connection: Arc::new(connection),
            helpers: Helpers::default(),
            crashes,
            app: place.app.to_path_buf(),
            _profile: profile,
        })
    }

    /// Returns the connection to it.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Returns the directory of the viewer's files.
    pub(super) fn app(&self) -> &Path {
        &self.app
    }

    /// Returns whether it can still be used.
    pub(super) fn is_alive(&self) -> bool {
        !self.connection.is_closed() && !self.tree.has_exited()
    }

    /// Returns its essential processes, which all exist once a page has been loaded.
    pub(super) fn helpers(&self) -> &Helpers {
        &self.helpers
    }

    /// Records its essential processes.
    pub(super) fn learn_helpers(&self) {
        self.helpers.learn(&self.tree);
    }

    /// Returns how the processes of pages have ended.
    pub(super) fn crashes(&self) -> Crashes {
        self.crashes.clone()
    }

    /// Kills it because it does not work properly any more.
    pub(super) fn kill(&self) {
        self.tree.kill_tree();
    }

    /// Returns the error that describes its end.
    pub(super) async fn crashed(&self) -> WorkerError {
        protocol::ended(&self.tree, Vec::new()).await
    }

    /// Returns its process id.
    pub(super) fn pid(&self) -> u32 {
        self.tree.pid()
    }

    /// Returns its resident memory in bytes.
    pub(super) fn memory(&self) -> Option<u64> {
        self.tree.memory()
    }

    /// Kills it and waits for its end, so that its profile, which contains nothing of value, can be removed.
    pub(super) async fn end(self) {
        self.tree.end_within(Duration::ZERO).await;
    }
}

/// Why the browser did not start.
enum Failure {
    /// It could not create its sandbox.
    NoSandbox,
    /// Anything else.
    Other(WorkerError),
}

fn failed(reason: String) -> WorkerError {
    WorkerError::Start {
        what: WHAT.to_owned(),
        reason,
    }
}

/// Returns why a browser closed the pipe at once.
async fn why(tree: &ChildTree, has_sandbox: bool) -> Failure {
    let error = tree.crashed().await;
    if has_sandbox && tree.log().last(TOLD).to_lowercase().contains("sandbox") {
        return Failure::NoSandbox;
    }
    Failure::Other(match error {
        WorkerError::Crashed { reason, .. } => failed(reason),
        error => error,
    })
}

fn command(place: &Place<'_>, profile: &Profile, has_sandbox: bool) -> std::io::Result<Command> {
    let mut command = Command::new(place.program);
    let mut data = OsString::from("--user-data-dir=");
    data.push(profile.data());
    command.args(FLAGS).arg(data);
    if !has_sandbox {
        command.arg("--no-sandbox");
    }
    command
        .arg("about:blank")
        // Images must not depend on the machine's language and time zone.
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        // It is not used interactively and must not talk to the session's other programs.
        .env("DBUS_SESSION_BUS_ADDRESS", "disabled:")
        .env_remove("CHROMIUM_FLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if let Some(libraries) = place.libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    let cache = profile.path().join("fontconfig");
    let config = match place.fonts {
        // It stores its cache beside clm's fonts if it may write there, which saves a second.
        [ours, ..] => Some(fonts::config(place.fonts, &ours.join("cache"))),
        [] => own_fonts(place.program).map(|fonts| font_config(&fonts, &cache)),
    };
    if let Some(config) = config {
        command.env("FONTCONFIG_FILE", profile.write("fonts.conf", &config)?);
    }
    Ok(command)
}

/// Returns the directory of fonts that came with the browser, for machines without fonts.
fn own_fonts(program: &Path) -> Option<PathBuf> {
    let own = program.parent()?.join("fonts");
    let home = std::env::home_dir().unwrap_or_default();
    let has_fonts = [
        PathBuf::from("/usr/share/fonts"),
        PathBuf::from("/usr/local/share/fonts"),
        home.join(".fonts"),
        home.join(".local/share/fonts"),
    ]
    .iter()
    .any(|dir| std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()));
    (!has_fonts && own.is_dir()).then_some(own)
}

/// Returns a fontconfig configuration that adds a directory to the machine's own configuration.
fn font_config(fonts: &Path, cache: &Path) -> String {
    let escape = |path: &Path| {
        path.display()
            .to_string()
            .replace('&', "&amp;")
            .replace('<', "&lt;")
    };
    format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE fontconfig SYSTEM \"fonts.dtd\">\n<fontconfig>\n\
         <include ignore_missing=\"yes\">/etc/fonts/fonts.conf</include>\n\
         <dir>{}</dir>\n<cachedir>{}</cachedir>\n</fontconfig>\n",
        escape(fonts),
        escape(cache)
    )
}

const FLAGS: &[&str] = &[
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-extensions",
    "--disable-sync",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-breakpad",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--mute-audio",
    "--password-store=basic",
    "--force-color-profile=srgb",
    "--lang=en-US",
    // No name resolves, so nothing can be reached even if a request bypasses the interception.
    "--host-resolver-rules=MAP * ~NOTFOUND",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fonts_are_told_as_xml() {
        let config = font_config(Path::new("/a&b/fonts"), Path::new("/run/fontconfig"));
        assert!(config.contains("<dir>/a&amp;b/fonts</dir>"), "{config}");
        assert!(config.contains("<cachedir>/run/fontconfig</cachedir>"));
    }

    #[tokio::test]
    async fn programs_that_are_no_browser_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path().join("app");
        let runtime_dir = dir.path().join("run");
        let start = |program: &'static str| {
            let place = Place {
                program: Path::new(program),
                app: &app,
                libraries: None,
                fonts: &[],
                runtime_dir: &runtime_dir,
            };
            async move {
                let error = Browser::start(&place).await.map(|_| ()).unwrap_err();
                (error.to_string(), error.is_retriable())
            }
        };
        let (message, is_retriable) = start("/bin/false").await;
        assert!(
            message.contains("viewer") && !is_retriable,
            "no viewer: {message}"
        );
        std::fs::create_dir_all(app.join("js")).unwrap();
        std::fs::write(app.join(VIEWER), "").unwrap();
        let (message, is_retriable) = start("/nonexistent/chromium").await;
        assert!(
            message.contains("`/nonexistent/chromium`") && !is_retriable,
            "no browser: {message}"
        );
        let (message, is_retriable) = start("/bin/false").await;
        assert!(message.contains("could not be started"), "{message}");
        assert!(is_retriable);
        let left: Vec<_> = std::fs::read_dir(&runtime_dir).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
