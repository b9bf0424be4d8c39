//! A window of the browser with draw.io's viewer in it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::worker::request::{DrawioWork, ImageFormat};

use super::answer::PageAnswer;
use super::assets::{Assets, ORIGIN};
use super::browser::Browser;
use super::cdp::{CallError, Connection};
use super::health::{Crash, Crashes};

/// The maximum size of an image, in pixels: larger ones block the browser for many seconds.
const MOST_PIXELS: f64 = 30_000_000.0;
/// The maximum width and height of an image, in pixels: few programs show larger ones.
const LONGEST_SIDE: f64 = 32_000.0;

/// Slightly less than the exact factor, because borders and lines do not shrink with the rest.
const FITTING: f64 = 0.99;
/// The maximum time until the viewer is loaded.
const LOADING: Duration = Duration::from_secs(60);

/// A window that is being opened.
pub(super) type Opening = tokio::task::JoinHandle<Result<Window, WindowError>>;

/// The outcome of a diagram.
pub(super) enum Picture {
    /// The image was made.
    Made {
        /// PNG or SVG.
        bytes: Vec<u8>,
        /// Diagnostics for the author.
        warnings: Vec<Diagnostic>,
    },
    /// The document has an error.
    Failed {
        /// The error.
        problem: Diagnostic,
        /// The viewer itself failed: this window must not be used any more.
        is_stumble: bool,
    },
}

/// Why a window can no longer be used.
#[derive(Debug)]
pub(super) enum WindowError {
    /// The browser has ended.
    Closed,
    /// The page's process ended.
    Crashed(Crash),
    /// The viewer, or a part of it, was not loaded.
    NotLoaded,
    /// The diagram exceeded its time limit.
    TimedOut,
    /// The machine has no font: labels would silently be missing.
    NoFont,
    /// The page or the browser gave an unexpected answer.
    Protocol(String),
}

impl From<CallError> for WindowError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Closed => Self::Closed,
            CallError::Refused(reason) => Self::Protocol(reason),
        }
    }
}

/// An open window. Dropping it closes it, whatever its page is doing.
pub(super) struct Window {
    connection: Arc<Connection>,
    target: String,
    session: String,
    state: watch::Receiver<State>,
    crashes: Crashes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Loading,
    Loaded,
    Crashed,
}

impl Window {
    /// Starts to open a window and to load the viewer.
    ///
    /// This runs in the background: if the result is dropped, a partly opened window is still closed.
    pub(super) fn opening(browser: Arc<Browser>) -> Opening {
        tokio::spawn(async move {
            let opened = async {
                let mut window = Self::attach(&browser).await?;
                window.load().await?;
                browser.learn_helpers();
                Ok(window)
            };
            let limit = tokio::time::timeout(LOADING, opened).await;
            limit.unwrap_or(Err(WindowError::NotLoaded))
        })
    }

    async fn attach(browser: &Browser) -> Result<Self, WindowError> {
        let connection = Arc::clone(browser.connection());
        let created = connection
            .call(
                None,
                "Target.createTarget",
                // A separate window: a tab in the background is never painted.
                json!({ "url": "about:blank", "newWindow": true, "width": 800, "height": 600 }),
            )
            .await?;
        let target = text(&created, "targetId")?;
        let mut crashes = browser.crashes();
        let params = json!({ "targetId": target, "flatten": true });
        let attached = tokio::select! {
            attached = connection.call(None, "Target.attachToTarget", params) => attached?,
            // The attach call never returns if the page's process does not start.
            crash = crashes.of_page(&target) => return Err(WindowError::Crashed(crash)),
        };
        let session = text(&attached, "sessionId")?;
        let events = connection.events(&session);
        let (sender, state) = watch::channel(State::Loading);
        let attendant = Attendant {
            connection: Arc::clone(&connection),
            session: session.clone(),
            assets: Assets::new(browser.app().to_path_buf()),
            state: sender,
        };
        tokio::spawn(attendant.run(events));
        Ok(Self {
            connection,
            target,
            session,
            state,
            crashes,
        })
    }

    async fn load(&mut self) -> Result<(), WindowError> {
        let focused = json!({ "enabled": true });
        let everything = json!({ "patterns": [{ "urlPattern": "*" }] });
        let families = json!({ "fontFamilies": { "standard": "Helvetica" } });
        let page = json!({ "url": format!("{ORIGIN}page.html") });
        // The replacement for a missing font of a document. A browser that does not support this uses another one.
        self.connection
            .post(Some(&self.session), "Page.setFontFamilies", families);
        for (method, params) in [
            ("Page.enable", json!({})),
            ("Inspector.enable", json!({})),
            ("Emulation.setFocusEmulationEnabled", focused),
            ("Fetch.enable", everything),
            ("Page.navigate", page),
        ] {
            self.call(method, params).await?;
        }
        let loaded = tokio::select! {
            state = self.state.wait_for(|state| *state != State::Loading) => state.map(|state| *state),
            crash = self.crashes.of_page(&self.target) => return Err(WindowError::Crashed(crash)),
        };
        match loaded {
            Ok(State::Loaded) => {}
            Ok(_) => return Err(self.ended().await),
            Err(_) => return Err(WindowError::Closed),
        }
        let is_there = self.evaluate("typeof clmRender === 'function'").await?;
        if is_there != Value::Bool(true) {
            return Err(WindowError::NotLoaded);
        }
        if self.evaluate("clmHasFont()").await? != Value::Bool(true) {
            return Err(WindowError::NoFont);
        }
        Ok(())
    }

    /// Renders the first page of a document.
    pub(super) async fn render(&mut self, work: &DrawioWork) -> Result<Picture, WindowError> {
        let mut warnings = Vec::new();
        let mut scale = match work.format {
            ImageFormat::Png => f64::from(work.scale),
            // An SVG has no pixels: one unit of the drawing is one unit of the image.
            ImageFormat::Svg => 1.0,
        };
        let mut answer = self.ask(work, scale).await?;
        if answer.ok && work.format == ImageFormat::Png {
            let fit = fit(answer.width, answer.height);
            if fit < 1.0 {
                warnings.push(
                    Diagnostic::warning(format!(
                        "the picture would have {:.0} by {:.0} pixels; it is made smaller by {:.1}",
                        answer.width,
                        answer.height,
                        1.0 / fit
                    ))
                    .hint("look for shapes far away from the others, or split the diagram"),
                );
                scale *= fit * FITTING;
                answer = self.ask(work, scale).await?;
            }
        }
        if answer.stage == "shapes" {
            // The shape files cannot be read, which is independent of the document.
            return Err(WindowError::NotLoaded);
        }
        if !answer.ok {
            return Ok(Picture::Failed {
                problem: answer.failure(),
                is_stumble: answer.is_stumble(),
            });
        }
        warnings.extend(answer.warnings());
        let bytes = match work.format {
            ImageFormat::Svg => answer.svg.into_bytes(),
            ImageFormat::Png => self.screenshot(answer.width, answer.height).await?,
        };
        Ok(Picture::Made { bytes, warnings })
    }

    async fn ask(&mut self, work: &DrawioWork, scale: f64) -> Result<PageAnswer, WindowError> {
        let order = json!({
            "xml": work.text,
            "format": work.format.extension(),
            "scale": scale,
            "border": work.border,
            "seed": Digest::of(&work.text).short(),
        });
        let answer = self.evaluate(&format!("clmRender({order})")).await?;
        serde_json::from_value(answer).map_err(|error| WindowError::Protocol(error.to_string()))
    }

    /// Returns the value of an expression in the page, or of its promise.
    async fn evaluate(&mut self, expression: &str) -> Result<Value, WindowError> {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut result = self.call("Runtime.evaluate", params).await?;
        match result.get("exceptionDetails") {
            Some(exception) => Err(WindowError::Protocol(exception.to_string())),
            None => Ok(result["result"]["value"].take()),
        }
    }

    async fn screenshot(&mut self, width: f64, height: f64) -> Result<Vec<u8>, WindowError> {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size)
            .await?;
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let taken = self
            .call(
                "Page.captureScreenshot",
                json!({ "format": "png", "clip": clip }),
            )
            .await?;
        STANDARD
            .decode(text(&taken, "data")?)
            .map_err(|error| WindowError::Protocol(error.to_string()))
    }

    /// Calls a method of the page. A crashed page never answers, so its end is awaited as well.
    async fn call(&mut self, method: &str, params: Value) -> Result<Value, WindowError> {
        let connection = Arc::clone(&self.connection);
        let session = self.session.clone();
        let call = connection.call(Some(&session), method, params);
        let crash = tokio::select! {
            answer = call => return Ok(answer?),
            () = async { drop(self.state.wait_for(|state| *state == State::Crashed).await) } => None,
            crash = self.crashes.of_page(&self.target) => Some(crash),
        };
        match crash {
            Some(crash) => Err(WindowError::Crashed(crash)),
            None => Err(self.ended().await),
        }
    }

    /// Returns why the page has ended.
    async fn ended(&mut self) -> WindowError {
        if self.connection.is_closed() {
            return WindowError::Closed;
        }
        WindowError::Crashed(self.crashes.now_of_page(&self.target).await)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // A page in an endless loop does not react to the closing of its window.
        self.connection
            .post(Some(&self.session), "Runtime.terminateExecution", json!({}));
        self.connection.forget(&self.session);
        self.connection.post(
            None,
            "Target.closeTarget",
            json!({ "targetId": self.target }),
        );
    }
}

/// Returns the factor by which an image must be scaled down.
fn fit(width: f64, height: f64) -> f64 {
    let by_area = (MOST_PIXELS / (width * height)).sqrt();
    let by_side = LONGEST_SIDE / width.max(height);
    by_area.min(by_side).min(1.0)
}

fn text(value: &Value, key: &str) -> Result<String, WindowError> {
    value
        .get(key)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| WindowError::Protocol(format!("the browser gave no `{key}`")))
}

/// Answers the page's requests, and detects when it is loaded and when it crashes.
struct Attendant {
    connection: Arc<Connection>,
    session: String,
    assets: Assets,
    state: watch::Sender<State>,
}

impl Attendant {
    async fn run(self, mut events: mpsc::UnboundedReceiver<Value>) {
        while let Some(event) = events.recv().await {
            match event["method"].as_str() {
                Some("Page.loadEventFired") => {
                    let _ = self.state.send(State::Loaded);
                }
                Some("Inspector.targetCrashed") => break,
                Some("Fetch.requestPaused") => {
                    let (method, params) = self.assets.answer(&event["params"]).await;
                    self.connection.post(Some(&self.session), method, params);
                }
                _ => {}
            }
        }
        // Also when the browser has ended, so that callers that wait for the page are woken.
        let _ = self.state.send(State::Crashed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_made_to_fit() {
        for (width, height, expected) in [
            (800.0, 600.0, 1.0),
            (6000.0, 5000.0, 1.0),
            (12_000.0, 10_000.0, 0.5),
            (64_000.0, 10.0, 0.5),
            (1e9, 1e9, 30e6_f64.sqrt() / 1e9),
        ] {
            let fit = fit(width, height);
            assert!((fit - expected).abs() < 1e-9, "{width} by {height}: {fit}");
        }
    }
}
