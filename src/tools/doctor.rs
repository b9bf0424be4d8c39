//! Tests the renderers with tiny inputs, and checks the limits of the system.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::Watcher;
use tokio_util::sync::CancellationToken;

use crate::course::{ProgLang, RelPath};
use crate::diagnostic::Diagnostic;
use crate::error::hint_in_text;
use crate::worker::pool::{Pool, PoolConfig};
use crate::worker::request::{
    CodeCell, DrawioWork, ExecuteWork, HtmlWork, ImageFormat, OutcomeStatus, Page, PlantumlWork,
};
use crate::worker::{Request, Work, WorkerError};

use super::Context;
use super::locate::{Found, locate};

/// The state of a tool or of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It works.
    Good,
    /// It works, but not in every case.
    Doubtful,
    /// It does not work.
    Bad,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The state.
    pub health: Health,
    /// A description.
    pub message: String,
    /// Advice for the user.
    pub hint: Option<String>,
}

impl Finding {
    fn new(health: Health, message: impl Into<String>) -> Self {
        Self {
            health,
            message: message.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The results of all checks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// The tools that were found.
    pub found: Vec<Found>,
    /// The results for the tools and the system.
    pub findings: Vec<Finding>,
}

/// Runs all checks. `scratch` is an empty directory, the root that `config` names.
pub(crate) async fn doctor(
    context: &Context,
    config: PoolConfig,
    scratch: &Path,
    state_dir: Option<&Path>,
) -> Report {
    let (renderers, found) = locate(context);
    let pool = Pool::new(Arc::new(renderers), config, Arc::new(|_| {}));
    let mut findings = Vec::new();
    for (id, (name, work, output)) in samples().into_iter().enumerate() {
        findings.push(probe(&pool, id as u64 + 1, name, work, output, scratch).await);
    }
    pool.shutdown().await;
    findings.extend(file_system(state_dir.unwrap_or(scratch)));
    findings.extend(watch_limits());
    findings.push(file_events(scratch));
    Report { found, findings }
}

/// Returns a tiny input for each renderer, and the name of the file that it produces.
pub(crate) fn samples() -> Vec<(&'static str, Work, &'static str)> {
    let notebook = r#"{"cells":[{"cell_type":"markdown","id":"a","metadata":{},"source":"x"}],"metadata":{},"nbformat":4,"nbformat_minor":5}"#;
    // Texts in the usual fonts and scripts: what cannot be drawn is reported.
    let drawing = r#"<mxfile><diagram name="p"><mxGraphModel><root><mxCell id="0"/><mxCell id="1" parent="0"/><mxCell id="2" value="x 日本語 中文 한국어 😀" style="fontFamily=Helvetica;" vertex="1" parent="1"><mxGeometry width="40" height="20" as="geometry"/></mxCell><mxCell id="3" value="x" style="fontFamily=Times New Roman;" vertex="1" parent="1"><mxGeometry y="20" width="40" height="20" as="geometry"/></mxCell><mxCell id="4" value="x" style="fontFamily=Courier New;" vertex="1" parent="1"><mxGeometry y="40" width="40" height="20" as="geometry"/></mxCell></root></mxGraphModel></diagram></mxfile>"#;
    vec![
        (
            "Python kernel",
            Work::Execute(ExecuteWork {
                prog_lang: ProgLang::Python,
                kernel: "python3".to_owned(),
                cells: vec![CodeCell {
                    source: "6 * 7".to_owned(),
                    cell: 1,
                    line: None,
                    jumps: Box::default(),
                    may_fail: false,
                }],
                files: Vec::new(),
                directory: None,
                skip_errors: false,
                cell_timeout: Some(Duration::from_secs(30)),
            }),
            "executed.json",
        ),
        (
            "HTML renderer",
            Work::Html(HtmlWork {
                pages: vec![Page {
                    name: "page".to_owned(),
                    notebook: notebook.to_owned(),
                }],
            }),
            "page.html",
        ),
        (
            "PlantUML",
            Work::Plantuml(PlantumlWork {
                text: "@startuml\nclass A\nclass B\nA --> B\n@enduml\n".to_owned(),
                format: ImageFormat::Png,
                dpi: 96,
                limit: 4096,
            }),
            "image.png",
        ),
        (
            "draw.io",
            Work::Drawio(DrawioWork {
                text: drawing.to_owned(),
                format: ImageFormat::Png,
                scale: 1,
                border: 0,
            }),
            "image.png",
        ),
    ]
}

async fn probe(
    pool: &Pool,
    id: u64,
    name: &str,
    work: Work,
    output: &str,
    scratch: &Path,
) -> Finding {
    let out = scratch.join(format!("out-{id}"));
    let source = match RelPath::new("probe") {
        Ok(source) => source,
        Err(error) => return Finding::new(Health::Bad, error.to_string()),
    };
    if let Err(error) = std::fs::create_dir_all(&out) {
        return Finding::new(
            Health::Bad,
            format!("`{}` cannot be created: {error}", out.display()),
        );
    }
    let request = Request {
        id,
        source,
        root: scratch.to_path_buf(),
        out: out.clone(),
        work,
    };
    let started = Instant::now();
    let sink = Arc::new(|_| {});
    let result = pool.run(&request, sink, CancellationToken::new()).await;
    let (reason, hint) = match result {
        Ok(outcome) if outcome.status == OutcomeStatus::Ok => {
            let size = std::fs::metadata(out.join(output)).map_or(0, |metadata| metadata.len());
            return works(name, started.elapsed(), size, outcome.diagnostics.first());
        }
        Ok(outcome) => {
            let error = outcome.diagnostics.first();
            let reason = error.map_or("it gives no reason", |error| error.message.as_str());
            let text = error.and_then(|error| error.detail.as_deref());
            (reason.to_owned(), hint(text.unwrap_or(reason)).to_owned())
        }
        Err(WorkerError::Missing { what, hint }) => (format!("{what} is not installed"), hint),
        Err(error) => {
            let reason = error.to_string();
            let hint = hint(&reason).to_owned();
            (reason, hint)
        }
    };
    Finding::new(Health::Bad, format!("{name} does not work: {reason}")).hint(hint)
}

/// Returns the finding about a tool that reported success: `size` is the size of its output, `lacking` its first
/// warning.
fn works(name: &str, time: Duration, size: u64, lacking: Option<&Diagnostic>) -> Finding {
    if size == 0 {
        return Finding::new(Health::Bad, format!("{name} made no output"));
    }
    let time = time.as_secs_f64();
    let works = format!("{name} works ({time:.1} s to start and make {size} bytes)");
    let Some(lacking) = lacking else {
        return Finding::new(Health::Good, works);
    };
    let message = format!("{works}, but {}", lacking.message);
    let hint = lacking.hint.as_deref().unwrap_or("run `clm setup`");
    Finding::new(Health::Doubtful, message).hint(hint)
}

/// Returns advice about a renderer that is installed and does not work.
fn hint(reason: &str) -> &'static str {
    hint_in_text(reason).unwrap_or(
        "if clm installed it, remove it (its path is above) and run `clm setup`; else install it anew",
    )
}

/// Checks that the records are on a local file system with free space.
fn file_system(state_dir: &Path) -> Vec<Finding> {
    let mut dir = state_dir;
    while !dir.exists() {
        match dir.parent() {
            Some(parent) => dir = parent,
            None => break,
        }
    }
    let mut findings = Vec::new();
    findings.push(match crate::store::network_file_system(dir) {
        None => Finding::new(Health::Good, format!("`{}` is on a local file system", dir.display())),
        Some(name) => Finding::new(
            Health::Doubtful,
            format!("`{}` is on a network file system ({name}): the database goes to your cache directory", dir.display()),
        )
        .hint("choose a local directory with the variable CLM_STATE_DIR"),
    });
    if let Ok(stat) = nix::sys::statvfs::statvfs(dir) {
        #[allow(clippy::unnecessary_cast)] // their widths differ between platforms
        let free = stat.blocks_available() as u64 * stat.fragment_size() as u64 / 1_000_000;
        findings.push(if free < 1000 {
            Finding::new(
                Health::Doubtful,
                format!("only {free} MB are free where `{}` is", dir.display()),
            )
            .hint("free some space")
        } else {
            Finding::new(Health::Good, format!("{free} MB are free"))
        });
    }
    findings
}

/// Checks the limits of inotify, which bound how many directories can be watched.
fn watch_limits() -> Vec<Finding> {
    let read = |name: &str| -> Option<u64> {
        let path = format!("/proc/sys/fs/inotify/{name}");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    [
        ("max_user_watches", 8192, 524_288),
        ("max_user_instances", 64, 512),
    ]
    .into_iter()
    .filter_map(|(name, least, good)| {
        let value = read(name)?;
        Some(if value < least {
            Finding::new(
                Health::Doubtful,
                format!("fs.inotify.{name} is {value}, which large courses exceed"),
            )
            .hint(format!("run `sudo sysctl fs.inotify.{name}={good}`"))
        } else {
            Finding::new(Health::Good, format!("fs.inotify.{name} is {value}"))
        })
    })
    .collect()
}

/// Checks that the system reports an event for a written file.
fn file_events(scratch: &Path) -> Finding {
    let hint = "`clm watch` looks at all files every second or so instead";
    let (sender, receiver) = std::sync::mpsc::channel();
    let watcher = notify::recommended_watcher(sender);
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => {
            return Finding::new(
                Health::Doubtful,
                format!("file events do not work: {error}"),
            )
            .hint(hint);
        }
    };
    let watched = watcher.watch(scratch, notify::RecursiveMode::NonRecursive);
    let written = std::fs::write(scratch.join("event"), "x");
    match (
        watched,
        written,
        receiver.recv_timeout(Duration::from_secs(2)),
    ) {
        (Ok(()), Ok(()), Ok(_)) => Finding::new(Health::Good, "file events arrive"),
        _ => Finding::new(Health::Doubtful, "file events do not arrive").hint(hint),
    }
}
