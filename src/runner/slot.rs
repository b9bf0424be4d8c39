//! A place where one action runs at a time, with renderers that stay warm for the next one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

use crate::farm::order::{ANSWER, Answer, COURSE, Made, ORDER, OUT, Order, Refusal};
use crate::files;
use crate::tools::{Context, locate};
use crate::worker::observed::Places;
use crate::worker::pool::{PerKind, Pool, PoolConfig};
use crate::worker::renderers::CurrentRenderers;
use crate::worker::request::OutcomeStatus;
use crate::worker::{Outcome, Renderers, Request, WorkerError};

/// A directory for one action after another, and the workers that know it: PlantUML may read only there.
pub(crate) struct Slot {
    root: PathBuf,
    pool: Pool,
    renderers: CurrentRenderers,
    requests: AtomicU64,
}

impl Slot {
    /// Returns a slot whose actions are in `root`. Nothing is started yet. `runtime_dir` is for the programs of workers.
    ///
    /// # Errors
    ///
    /// Why the directories cannot be made.
    pub(crate) fn new(root: &Path, runtime_dir: &Path, renderers: Renderers) -> io::Result<Self> {
        std::fs::create_dir_all(root.join(COURSE))?;
        std::fs::create_dir_all(runtime_dir)?;
        // Tools compare real paths.
        let root = root.canonicalize()?;
        let mut config = PoolConfig::new(root.join(COURSE), runtime_dir);
        config.slots = PerKind {
            execute: 1,
            html: 1,
            plantuml: 1,
            drawio: 1,
        };
        config.imports_file = Some(runtime_dir.join("imports.json"));
        let renderers = CurrentRenderers::from(Arc::new(renderers));
        Ok(Self {
            pool: Pool::new(renderers.clone(), config, Arc::new(|_| {})),
            root,
            renderers,
            requests: AtomicU64::new(1),
        })
    }

    /// Returns the directory of its actions.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Removes the files of the last action.
    pub(crate) fn clear(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.root)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => std::fs::remove_dir_all(entry.path())?,
                false => std::fs::remove_file(entry.path())?,
            }
        }
        std::fs::create_dir(self.root.join(COURSE))
    }

    /// Does the work that is ordered in its directory, and writes the result there. Returns what became of it.
    pub(crate) async fn run(&self, cancel: CancellationToken) -> Answer {
        let answer = match self.work(cancel).await {
            Ok(made) => Answer::Made(made),
            Err(refusal) => Answer::Refused(refusal),
        };
        let path = self.root.join(OUT).join(ANSWER);
        let written = serde_json::to_vec(&answer)
            .map_err(io::Error::other)
            .and_then(|text| {
                std::fs::create_dir_all(self.root.join(OUT))?;
                std::fs::write(&path, text)
            });
        match written {
            Ok(()) => answer,
            Err(error) => Answer::Refused(Refusal::accident(format!(
                "the result cannot be written: {error}"
            ))),
        }
    }

    async fn work(&self, cancel: CancellationToken) -> Result<Made, Refusal> {
        let here = |error: io::Error| {
            Refusal::accident(format!("the worker cannot prepare the work: {error}"))
        };
        let text = files::read(&self.root.join(ORDER)).map_err(here)?;
        let order: Order = serde_json::from_slice(&text).map_err(|error| {
            Refusal::new(
                format!("the worker does not understand the work: {error}"),
                "install the same version of clm on the workers",
            )
        })?;
        if order.objection(&self.renderers.get()).is_some() {
            // They may have been installed since.
            let (renderers, _) = locate::locate(&Context::of_process(None));
            self.renderers.replace(renderers);
            self.pool.end_idle().await;
        }
        if let Some(objection) = order.objection(&self.renderers.get()) {
            return Err(objection);
        }
        let (root, out) = (self.root.join(COURSE), self.root.join(OUT));
        let source = order.source.under(&root);
        let dirs = [source.parent().unwrap_or(&root), &out];
        dirs.into_iter()
            .try_for_each(std::fs::create_dir_all)
            .map_err(here)?;
        let request = Request {
            id: self.requests.fetch_add(1, Ordering::Relaxed),
            source: order.source,
            root,
            out,
            work: order.work,
        };
        let outcome = self.pool.run(&request, Arc::new(|_| {}), cancel).await;
        Ok(self.made(&request, outcome.map_err(|error| refusal(&error))?))
    }

    /// Adds to an outcome what the worker saw in the files that were read.
    fn made(&self, request: &Request, outcome: Outcome) -> Made {
        let places = Places::new(&request.root, &self.renderers.get().kernels);
        let discovered = outcome.discovered.into_iter();
        Made {
            status: outcome.status,
            outputs: outcome.outputs,
            discovered: discovered
                .map(|path| {
                    let digest = places.digest(&path);
                    (path, digest)
                })
                .collect(),
            diagnostics: outcome.diagnostics,
            is_of_machine: outcome.is_of_machine,
        }
    }

    /// Ends all renderers.
    pub(crate) async fn shutdown(&self) {
        self.pool.shutdown().await;
    }
}

fn refusal(error: &WorkerError) -> Refusal {
    match error {
        WorkerError::Missing { hint, .. } => Refusal::new(format!("on the worker, {error}"), hint),
        error => Refusal::accident(format!("on the worker, {error}")),
    }
}

/// Returns what a process that ran only this would print.
pub(crate) fn told(answer: &Answer) -> String {
    match answer {
        Answer::Refused(refusal) => format!("{}\n", refusal.reason),
        Answer::Made(made) if made.status == OutcomeStatus::Cancelled => "cancelled\n".to_owned(),
        Answer::Made(made) => {
            let lines = made.diagnostics.iter();
            lines.map(|diagnostic| format!("{diagnostic}\n")).collect()
        }
    }
}
