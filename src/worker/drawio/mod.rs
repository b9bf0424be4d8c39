//! draw.io: one headless browser that keeps draw.io's own viewer loaded, with a window for each slot.
//!
//! The browser is driven over a pipe that no other process can access, and has no network: a page gets its files from
//! the viewer's directory or from clm, and all other requests are refused. Without a browser, the user's draw.io
//! desktop program is started for each diagram.

#[doc(hidden)]
pub(crate) mod answer;
mod assets;
mod browser;
mod cdp;
mod desktop;
#[doc(hidden)]
pub(crate) mod document;
mod fonts;
mod health;
mod profile;
mod window;

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::diagnostic::Diagnostic;

use super::renderers::DrawioTool;
use super::request::{DrawioWork, ImageFormat};
use super::{Outcome, ProgressSink, Request, Work, Worker, WorkerError};

pub(crate) use assets::program_digest;
use browser::Browser;
use window::{Opening, Picture, Window, WindowError};

/// The name in messages.
const WHAT: &str = "draw.io";
/// How many images a window makes before it is replaced: the viewer retains some memory for each.
const PICTURES: u32 = 500;

/// Settings of draw.io.
#[derive(Clone, Debug)]
pub(crate) struct DrawioConfig {
    /// The time limit for one diagram.
    pub timeout: Duration,
    /// A directory of this user for browser profiles.
    pub runtime_dir: PathBuf,
}

/// The running browser, if any worker uses one; further workers share it.
#[derive(Default)]
pub(crate) struct SharedBrowser(Weak<Browser>);

/// Creates a worker; the first one starts the browser.
pub(crate) async fn start(
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
            fonts,
            ..
        } => {
            let browser = match shared.0.upgrade().filter(|browser| browser.is_alive()) {
                Some(running) => running,
                None => {
                    let place = browser::Place {
                        program: browser,
                        app,
                        libraries: libraries.as_deref(),
                        fonts,
                        runtime_dir: &config.runtime_dir,
                    };
                    let started = Arc::new(Browser::start(&place).await?);
                    shared.0 = Arc::downgrade(&started);
                    started
                }
            };
            // The viewer is loaded while the caller does other things, such as starting a second worker.
            let opening = Window::opening(Arc::clone(&browser));
            Ok(Box::new(BrowserWorker {
                browser,
                app: app.clone(),
                place: Place::Opening(opening),
                pictures: 0,
                timeout: config.timeout,
            }))
        }
    }
}

/// A worker in a window of the shared browser.
struct BrowserWorker {
    browser: Arc<Browser>,
    app: PathBuf,
    place: Place,
    /// The number of images made in the open window.
    pictures: u32,
    timeout: Duration,
}

/// Where a worker makes its next image.
enum Place {
    /// In a new window.
    None,
    /// In a window that is being opened.
    Opening(Opening),
    /// In a window that is open.
    Open(Window),
}

impl BrowserWorker {
    /// Makes the image of a document. If this fails, the document itself is the cause: the viewer has not rendered
    /// another one before, or none that could have spoiled it.
    async fn picture(&mut self, work: &DrawioWork) -> Result<Picture, WindowError> {
        if self.pictures >= PICTURES {
            self.close_window();
        }
        loop {
            let is_first = self.pictures == 0;
            let timeout = self.timeout;
            let window = self.window().await?;
            // The limit applies to drawing only: loading the viewer may take long on a busy machine.
            let drawn = tokio::time::timeout(timeout, window.render(work)).await;
            let Ok(picture) = drawn else {
                self.close_window();
                return Err(WindowError::TimedOut);
            };
            let picture = picture?;
            self.pictures += 1;
            if !matches!(
                picture,
                Picture::Failed {
                    is_stumble: true,
                    ..
                }
            ) {
                return Ok(picture);
            }
            self.close_window();
            if is_first {
                return Ok(picture);
            }
        }
    }

    async fn window(&mut self) -> Result<&mut Window, WindowError> {
        let opened = match &mut self.place {
            Place::Open(_) => None,
            Place::Opening(opening) => Some(opening.await),
            Place::None => Some(Window::opening(Arc::clone(&self.browser)).await),
        };
        if let Some(opened) = opened {
            self.place = Place::None;
            let window = opened.unwrap_or(Err(WindowError::Closed))?;
            self.place = Place::Open(window);
        }
        match &mut self.place {
            Place::Open(window) => Ok(window),
            Place::None | Place::Opening(_) => Err(WindowError::Closed),
        }
    }

    /// Closes the window, whatever its page is doing.
    fn close_window(&mut self) {
        self.place = Place::None;
        self.pictures = 0;
    }

    async fn broken(&self, error: WindowError) -> WorkerError {
        match error {
            WindowError::Closed => self.browser.crashed().await,
            WindowError::Crashed(crash) => {
                if crash.is_of_browser() {
                    self.browser.kill();
                }
                let (what, reason) = (WHAT.to_owned(), crash.reason());
                match crash.is_own_doing() {
                    true => WorkerError::Ended {
                        what,
                        reason,
                        discovered: Vec::new(),
                    },
                    false => WorkerError::Crashed { what, reason },
                }
            }
            WindowError::NotLoaded => {
                // The next attempt uses another browser, because usually this one is the cause.
                self.browser.kill();
                WorkerError::Start {
                    what: WHAT.to_owned(),
                    reason: format!(
                        "its viewer was not loaded; if this goes on, remove `{}` and run `clm setup`",
                        self.app.display()
                    ),
                }
            }
            WindowError::TimedOut => WorkerError::TimedOut {
                what: WHAT.to_owned(),
                seconds: self.timeout.as_secs(),
                discovered: Vec::new(),
            },
            WindowError::NoFont => WorkerError::Missing {
                what: "a font for the labels of diagrams".to_owned(),
                hint: "install fonts, such as Debian's package `fonts-liberation`".to_owned(),
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
            return Err(WorkerError::Bug(
                "draw.io was given work of another kind".to_owned(),
            ));
        };
        let page = match document::check(&work.text) {
            Ok(page) => page,
            Err(problem) => return Ok(Outcome::failed(in_file(*problem, request))),
        };
        if self.browser.helpers().have_ended() {
            self.browser.kill();
        }
        if !self.browser.is_alive() || self.browser.helpers().have_ended() {
            // It ended while it was idle, so no work of this request is lost.
            return Err(WorkerError::Disturbed {
                what: WHAT.to_owned(),
            });
        }
        let browser = Arc::clone(&self.browser);
        let mut picture = tokio::select! {
            () = cancel.cancelled() => {
                self.close_window();
                return Ok(Outcome::cancelled());
            }
            picture = self.picture(work) => picture,
            () = browser.helpers().ended() => Err(WindowError::Closed),
        };
        if browser.helpers().have_ended() {
            // An image made without it may be incomplete.
            browser.kill();
            picture = Err(WindowError::Closed);
        }
        let (bytes, warnings) = match picture {
            Err(error) => return Err(self.broken(error).await),
            Ok(Picture::Failed { mut problem, .. }) => {
                problem.line = Some(page.line);
                return Ok(Outcome::failed(in_file(problem, request)));
            }
            Ok(Picture::Made { bytes, warnings }) => (bytes, warnings),
        };
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

    fn pid(&self) -> Option<u32> {
        Some(self.browser.pid())
    }

    fn memory(&self) -> Option<u64> {
        self.browser.memory()
    }

    async fn shutdown(mut self: Box<Self>) {
        self.close_window();
        // The last worker ends the browser; the others only close their windows.
        let Self { browser, .. } = *self;
        if let Some(browser) = Arc::into_inner(browser) {
            browser.end().await;
        }
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
