//! The worker that renders HTML pages: a Python process with nbconvert that stays warm.

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

/// The program that runs in Python: file names and contents, the one that is started first.
const PROGRAM: [(&str, &str); 2] = [
    ("html_worker.py", include_str!("html_worker.py")),
    ("html_fragments.py", include_str!("html_fragments.py")),
];

/// Digest of our part of the renderer, for keys: another program of ours may make another page.
pub fn html_program_digest() -> Digest {
    Digest::of(PROGRAM.map(|(_, text)| text).join("\0"))
}

/// What it is called in messages.
const WHAT: &str = "nbconvert";

/// Variables of the person that would bring other modules or templates into play.
const NOT_INHERITED: [&str; 5] = [
    "JUPYTER_PATH",
    "PYTHONINSPECT",
    "PYTHONOPTIMIZE",
    "PYTHONPATH",
    "PYTHONSTARTUP",
];

/// How the renderer is started.
#[derive(Clone, Debug)]
pub struct HtmlConfig {
    /// Where its program is written to.
    pub runtime_dir: PathBuf,
    /// The longest time until it is ready: imports of a cold disk take a while.
    pub startup_timeout: Duration,
    /// The longest time for one request.
    pub timeout: Option<Duration>,
}

impl HtmlConfig {
    /// A renderer whose files are in this directory, with ample time limits.
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
    // Templates and settings come with nbconvert, not from the person's home: the directory is never created.
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

/// Writes the program into a directory named after its digest, so that versions of clm that share a runtime directory
/// do not disturb each other. Returns the file to start.
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

/// A Python without nbconvert is not a crash that goes away at the next attempt.
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
