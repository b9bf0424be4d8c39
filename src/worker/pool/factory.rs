//! Creates workers: the only module that knows how each kind is started.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::PoolConfig;
use crate::events::ActionKind;
use crate::worker::drawio::{self, DrawioConfig, SharedBrowser};
use crate::worker::notebook::{self, HtmlConfig, KernelConfig, SharedZygotes};
use crate::worker::protocol::{ProtocolProcess, ProtocolWorker, RequestLimits};
use crate::worker::renderers::CurrentRenderers;
use crate::worker::{Worker, WorkerError, plantuml};

/// Creates workers.
#[async_trait]
pub trait Factory: Send + Sync {
    /// Returns a worker that is ready for its first request. Dropping the future ends what was started.
    async fn make(&self, kind: ActionKind) -> Result<Box<dyn Worker>, WorkerError>;

    /// Returns a worker that shares its process with no other one.
    async fn make_alone(&self, kind: ActionKind) -> Result<Box<dyn Worker>, WorkerError> {
        self.make(kind).await
    }
}

/// Creates workers from the tools that were found.
pub(crate) struct ToolFactory {
    renderers: CurrentRenderers,
    config: PoolConfig,
    /// PlantUML processes with slots for several workers. The lock is held while one starts, so that workers that are
    /// requested at the same time share it.
    plantuml: Mutex<Vec<Weak<ProtocolProcess>>>,
    /// The processes that fork kernels.
    zygotes: SharedZygotes,
    /// The browser that the draw.io workers share.
    drawio: Mutex<SharedBrowser>,
}

impl ToolFactory {
    /// Creates a factory for the given tools.
    pub(crate) fn new(renderers: CurrentRenderers, config: PoolConfig) -> Self {
        Self {
            renderers,
            config,
            plantuml: Mutex::default(),
            zygotes: SharedZygotes::default(),
            drawio: Mutex::default(),
        }
    }

    /// Returns a worker in a running PlantUML process, or in a new one.
    async fn plantuml(&self) -> Result<Box<dyn Worker>, WorkerError> {
        let limits = self.plantuml_limits();
        let mut processes = self.plantuml.lock().await;
        processes.retain(|process| process.strong_count() > 0);
        for process in processes.iter().filter_map(Weak::upgrade) {
            if self.has_place(&process) {
                return Ok(Box::new(ProtocolWorker::new(process, limits)));
            }
        }
        let process = Arc::new(self.plantuml_process().await?);
        processes.push(Arc::downgrade(&process));
        Ok(Box::new(ProtocolWorker::new(process, limits)))
    }

    fn plantuml_limits(&self) -> RequestLimits {
        RequestLimits {
            timeout: self.config.timeouts.plantuml,
            ..RequestLimits::default()
        }
    }

    /// Starts a PlantUML process.
    async fn plantuml_process(&self) -> Result<ProtocolProcess, WorkerError> {
        match &self.config.plantuml_command {
            Some(command) => plantuml::start_command(command).await,
            None => {
                let renderers = self.renderers.get();
                let tool = plantuml::found(renderers.plantuml.as_ref())?;
                let place = plantuml::Place {
                    root: &self.config.root,
                    runtime_dir: &self.config.runtime_dir,
                };
                plantuml::start(tool, &place, self.config.slots.plantuml).await
            }
        }
    }

    /// Returns a worker that runs decks; it starts its own kernels.
    async fn execute(&self) -> Result<Box<dyn Worker>, WorkerError> {
        let config = KernelConfig {
            ahead: Arc::clone(&self.config.kernels_ahead),
            zygote: self.config.zygote,
            imports_file: self.config.imports_file.clone(),
            zygotes: self.zygotes.clone(),
            ..KernelConfig::new(self.config.runtime_dir.clone())
        };
        notebook::start_kernel_worker(&self.renderers.get().kernels, &config).await
    }

    /// Returns a worker with a Python process that renders pages.
    async fn html(&self) -> Result<Box<dyn Worker>, WorkerError> {
        let renderers = self.renderers.get();
        let tool = renderers.html.as_ref();
        let tool = tool.ok_or_else(|| missing("nbconvert"))?;
        let config = HtmlConfig {
            timeout: self.config.timeouts.html,
            ..HtmlConfig::new(self.config.runtime_dir.clone())
        };
        notebook::start_html_worker(tool, &config).await
    }

    /// Returns a worker with a window of a browser, which is started if needed.
    async fn drawio(&self, browser: &mut SharedBrowser) -> Result<Box<dyn Worker>, WorkerError> {
        let renderers = self.renderers.get();
        let tool = renderers.drawio.as_ref();
        let tool = tool.ok_or_else(|| missing("draw.io"))?;
        let config = DrawioConfig {
            timeout: self.config.timeouts.drawio.unwrap_or(Duration::MAX),
            runtime_dir: self.config.runtime_dir.clone(),
        };
        drawio::start(tool, &config, browser).await
    }

    /// Returns whether one more worker may share the process. The caller's handle is one of the references.
    fn has_place(&self, process: &Arc<ProtocolProcess>) -> bool {
        let users = Arc::strong_count(process) - 1;
        process.is_usable()
            && users < process.hello().capacity as usize
            && process.tree().memory() <= Some(self.config.memory_ceiling)
    }
}

#[async_trait]
impl Factory for ToolFactory {
    async fn make(&self, kind: ActionKind) -> Result<Box<dyn Worker>, WorkerError> {
        match kind {
            ActionKind::Plantuml => self.plantuml().await,
            ActionKind::Execute => self.execute().await,
            ActionKind::Html => self.html().await,
            ActionKind::Drawio => self.drawio(&mut *self.drawio.lock().await).await,
            ActionKind::Deck | ActionKind::Copy => Err(WorkerError::Bug(format!(
                "there are no workers for `{}` actions",
                kind.name()
            ))),
        }
    }

    async fn make_alone(&self, kind: ActionKind) -> Result<Box<dyn Worker>, WorkerError> {
        match kind {
            ActionKind::Plantuml => {
                let process = Arc::new(self.plantuml_process().await?);
                Ok(Box::new(ProtocolWorker::new(
                    process,
                    self.plantuml_limits(),
                )))
            }
            ActionKind::Drawio => self.drawio(&mut SharedBrowser::default()).await,
            _ => self.make(kind).await,
        }
    }
}

fn missing(what: &str) -> WorkerError {
    WorkerError::Missing {
        what: what.to_owned(),
        hint: "install it with `clm setup`".to_owned(),
    }
}
