//! The worker that renders HTML pages: a Python process with nbconvert that keeps running.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::digest::Digest;
use crate::files::{self, Access};
use crate::worker::protocol::{ProtocolProcess, ProtocolWorker, RequestLimits, StartLimits};
use crate::worker::renderers::HtmlTool;
use crate::worker::{Worker, WorkerError};

/// The Python program: file names and contents; the first one is started.
const PROGRAM: [(&str, &str); 2] = [
    ("html_worker.py", include_str!("html_worker.py")),
    ("html_fragments.py", include_str!("html_fragments.py")),
];

/// Returns the digest of clm's part of the renderer, for keys: another program may make another page.
pub(crate) fn html_program_digest() -> Digest {
    Digest::of(PROGRAM.map(|(_, text)| text).join("\0"))
}

/// The name in messages.
const WHAT: &str = "nbconvert";

/// Variables of the user that would lead to other modules or templates.
const NOT_INHERITED: [&str; 5] = [
    "JUPYTER_PATH",
    "PYTHONINSPECT",
    "PYTHONOPTIMIZE",
    "PYTHONPATH",
    "PYTHONSTARTUP",
];

/// Settings of the renderer.
#[derive(Clone, Debug)]
pub struct HtmlConfig {
    /// The directory to which its program is written.
    pub runtime_dir: PathBuf,
    /// The maximum time until it is ready: imports from a cold disk take long.
    pub startup_timeout: Duration,
    /// The time limit for one request.
    pub timeout: Option<Duration>,
}

impl HtmlConfig {
    /// Returns settings with the files in this directory and ample time limits.
    pub fn new(runtime_dir: PathBuf) -> Self {
        Self {
            runtime_dir,
            startup_timeout: Duration::from_secs(60),
            timeout: Some(Duration::from_secs(300)),
        }
    }
}

/// Starts a worker for [`Work::Html`](crate::worker::Work::Html).
pub async fn start_html_worker(
    tool: &HtmlTool,
    config: &HtmlConfig,
) -> Result<Box<dyn Worker>, WorkerError> {
    let program = write_program(&config.runtime_dir).map_err(|error| {
        let directory = config.runtime_dir.display();
        WorkerError::Io(format!(
            "cannot write the program that renders pages to `{directory}`: {error}"
        ))
    })?;
    let command = command(tool, config, &program);
    let limits = StartLimits {
        hello: config.startup_timeout,
    };
    let process = ProtocolProcess::start(WHAT, "html", command, &limits)
        .await
        .map_err(|error| explain(error, &tool.python))?;
    let limits = RequestLimits {
        timeout: config.timeout,
        ..RequestLimits::default()
    };
    Ok(Box::new(ProtocolWorker::new(Arc::new(process), limits)))
}

fn command(tool: &HtmlTool, config: &HtmlConfig, program: &Path) -> Command {
    let mut command = Command::new(&tool.python);
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    // Templates and settings are those of nbconvert, not those in the user's home: this directory is never created.
    let none = config.runtime_dir.join("no-settings");
    command
        .arg(program)
        .current_dir(&config.runtime_dir)
        .env("JUPYTER_CONFIG_DIR", &none)
        .env("JUPYTER_DATA_DIR", &none)
        .env("JUPYTER_NO_CONFIG", "1")
        .env("PYTHONHASHSEED", "0")
        .env("PYTHONUTF8", "1");
    command
}

/// Writes the program into a directory named by its digest, so that versions of clm that share a runtime directory do
/// not interfere. Returns the file to start.
fn write_program(runtime_dir: &Path) -> std::io::Result<PathBuf> {
    let all: Vec<&str> = PROGRAM
        .iter()
        .flat_map(|&(name, text)| [name, text])
        .collect();
    let digest = Digest::of(all.join("\0").as_bytes()).to_string();
    let directory = runtime_dir.join(format!("html-{}", &digest[..16]));
    std::fs::create_dir_all(&directory)?;
    for (name, text) in PROGRAM {
        let path = directory.join(name);
        if std::fs::read(&path).is_ok_and(|bytes| bytes == text.as_bytes()) {
            continue;
        }
        files::replace(&path, Access::Private, |file| {
            file.write_all(text.as_bytes())
        })?;
    }
    Ok(directory.join(PROGRAM[0].0))
}

/// Turns the crash of a Python without nbconvert into an error that is not retried.
fn explain(error: WorkerError, python: &Path) -> WorkerError {
    match error {
        WorkerError::Start { reason, .. } if reason.contains("ModuleNotFoundError") => {
            let module = reason.split("No module named '").nth(1);
            let module = module.and_then(|rest| rest.split(['\'', '.']).next());
            WorkerError::Missing {
                what: format!(
                    "the Python module `{}`, which pages need, in `{}`",
                    module.unwrap_or("nbconvert"),
                    python.display()
                ),
                hint: "run `clm setup`, or install the package `nbconvert` with all that it needs into this environment"
                    .to_owned(),
            }
        }
        other => other,
    }
}
