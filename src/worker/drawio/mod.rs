//! draw.io: one headless browser with draw.io's own viewer kept loaded, a window for each slot.
//!
//! The browser is driven over a pipe that nobody else can reach, and has no network: what a page asks for comes from
//! the viewer's directory or from us, everything else is refused. Without a browser, the user's draw.io desktop
//! program is started for each diagram.

mod browser;
mod cdp;
mod desktop;
mod document;
mod window;

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::events::Diagnostic;

use super::renderers::DrawioTool;
use super::request::{DrawioWork, ImageFormat};
use super::{Outcome, ProgressSink, Request, Work, Worker, WorkerError};

use browser::Browser;
use window::{Picture, Window, WindowError};

/// The name in messages.
const WHAT: &str = "draw.io";
/// Pictures after which a window is replaced: the viewer keeps a little of each.
const PICTURES: u32 = 500;

/// How draw.io is run.
#[derive(Clone, Debug)]
pub struct DrawioConfig {
    /// The longest time for one diagram.
    pub timeout: Duration,
    /// A directory of this user for browser profiles.
    pub runtime_dir: PathBuf,
}

/// The running browser, if a worker holds one: further workers share it.
#[derive(Default)]
pub struct SharedBrowser(Weak<Browser>);

/// Makes a worker; the first one starts the browser.
pub async fn start(
    tool: &DrawioTool,
    config: &DrawioConfig,
    shared: &mut SharedBrowser,
) -> Result<Box<dyn Worker>, WorkerError> {
    match tool {
        DrawioTool::Desktop { executable, .. } => Ok(Box::new(desktop::Desktop::new(
            executable.clone(),
            config.clone(),
        ))),
        DrawioTool::Browser {
            browser,
            app,
            libraries,
            ..
        } => {
            let browser = match shared.0.upgrade().filter(|browser| browser.is_alive()) {
                Some(running) => running,
                None => {
                    let place = browser::Place {
                        program: browser,
                        app,
                        libraries: libraries.as_deref(),
                        runtime_dir: &config.runtime_dir,
                    };
                    let started = Arc::new(Browser::start(&place).await?);
                    shared.0 = Arc::downgrade(&started);
                    started
                }
            };
            Ok(Box::new(BrowserWorker {
                browser,
                window: None,
                pictures: 0,
                timeout: config.timeout,
            }))
        }
    }
}

/// A window of the shared browser.
struct BrowserWorker {
    browser: Arc<Browser>,
    window: Option<Window>,
    pictures: u32,
    timeout: Duration,
}

impl BrowserWorker {
    async fn picture(&mut self, work: &DrawioWork) -> Result<Picture, WindowError> {
        if self.pictures >= PICTURES {
            self.window = None;
            self.pictures = 0;
        }
        let window = match &mut self.window {
            Some(window) => window,
            empty => empty.insert(Window::open(&self.browser).await?),
        };
        self.pictures += 1;
        window.render(work).await
    }

    async fn broken(&self, error: WindowError) -> WorkerError {
        match error {
            WindowError::Closed => self.browser.crashed().await,
            WindowError::Crashed => WorkerError::Crashed {
                what: WHAT.to_owned(),
                reason: "the page of the browser crashed".to_owned(),
            },
            WindowError::Protocol(reason) => WorkerError::Garbage {
                what: WHAT.to_owned(),
                reason,
            },
        }
    }
}

#[async_trait]
impl Worker for BrowserWorker {
    async fn run(
        &mut self,
        request: &Request,
        _progress: ProgressSink,
        cancel: CancellationToken,
    ) -> Result<Outcome, WorkerError> {
        let Work::Drawio(work) = &request.work else {
            return Err(WorkerError::Io("this is no work for draw.io".to_owned()));
        };
        if let Some(problem) = document::problem(&work.text) {
            return Ok(Outcome::failed(in_file(problem, request)));
        }
        if !self.browser.is_alive() {
            // It ended while it was idle: nothing of this request is lost.
            return Err(WorkerError::Disturbed {
                what: WHAT.to_owned(),
            });
        }
        let timeout = self.timeout;
        let picture = tokio::select! {
            () = cancel.cancelled() => {
                // Whatever the page is doing goes with its window.
                self.window = None;
                return Ok(Outcome::cancelled());
            }
            () = tokio::time::sleep(timeout) => {
                self.window = None;
                return Err(WorkerError::TimedOut { what: WHAT.to_owned(), seconds: timeout.as_secs() });
            }
            picture = self.picture(work) => picture,
        };
        let picture = match picture {
            Ok(picture) => picture,
            Err(error) => return Err(self.broken(error).await),
        };
        match picture {
            Picture::Failed(problem) => Ok(Outcome::failed(in_file(problem, request))),
            Picture::Made { bytes, warnings } => {
                let name = image_name(work.format);
                let file = request.out.join(name);
                tokio::fs::write(&file, bytes).await.map_err(|error| {
                    WorkerError::Io(format!("cannot write `{}`: {error}", file.display()))
                })?;
                let mut outcome = Outcome::ok([name]);
                outcome.diagnostics = warnings
                    .into_iter()
                    .map(|warning| in_file(warning, request))
                    .collect();
                Ok(outcome)
            }
        }
    }

    fn pid(&self) -> Option<u32> {
        Some(self.browser.pid())
    }

    fn memory(&self) -> Option<u64> {
        self.browser.memory()
    }
}

fn image_name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "image.png",
        ImageFormat::Svg => "image.svg",
    }
}

fn in_file(mut diagnostic: Diagnostic, request: &Request) -> Diagnostic {
    diagnostic.file = Some(request.source.to_string());
    diagnostic
}
