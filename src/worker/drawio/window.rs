//! A window of the browser with draw.io's viewer in it.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::events::Diagnostic;
use crate::worker::request::{DrawioWork, ImageFormat};

use super::browser::Browser;
use super::cdp::{CallError, Connection};

/// The made-up origin of everything that a page may load.
const ORIGIN: &str = "http://drawio.invalid/";
const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
/// The largest picture, in pixels: larger ones block the browser for many seconds.
const MOST_PIXELS: f64 = 30_000_000.0;

/// What became of a diagram.
pub enum Picture {
    /// The bytes of the picture.
    Made {
        /// PNG or SVG.
        bytes: Vec<u8>,
        /// What the author should know.
        warnings: Vec<Diagnostic>,
    },
    /// The document has an error.
    Failed(Diagnostic),
}

/// Why a window can no longer be used.
#[derive(Debug)]
pub enum WindowError {
    /// The browser is gone.
    Closed,
    /// The page's process ended.
    Crashed,
    /// The page or the browser answered something unexpected.
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

/// An open window. Dropping it closes it.
pub struct Window {
    connection: Arc<Connection>,
    target: String,
    session: String,
    state: watch::Receiver<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Loading,
    Loaded,
    Crashed,
}

/// What the page answers, see `page.js`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageAnswer {
    ok: bool,
    stage: String,
    error: String,
    width: f64,
    height: f64,
    svg: String,
    missing_shapes: Vec<String>,
    failed_images: Vec<String>,
    math_error: Option<String>,
}

impl Window {
    /// Opens a window and loads the viewer.
    pub async fn open(browser: &Browser) -> Result<Self, WindowError> {
        let connection = Arc::clone(browser.connection());
        let created = connection
            .call(
                None,
                "Target.createTarget",
                // A window of its own: a tab in the background is never painted.
                json!({ "url": "about:blank", "newWindow": true, "width": 800, "height": 600 }),
            )
            .await?;
        let target = text(&created, "targetId")?;
        let attached = connection
            .call(
                None,
                "Target.attachToTarget",
                json!({ "targetId": target, "flatten": true }),
            )
            .await?;
        let session = text(&attached, "sessionId")?;
        let events = connection.events(&session);
        let (sender, state) = watch::channel(State::Loading);
        let pump = Pump {
            connection: Arc::clone(&connection),
            session: session.clone(),
            app: browser.app().to_path_buf(),
            state: sender,
        };
        tokio::spawn(pump.run(events));
        let mut window = Self {
            connection,
            target,
            session,
            state,
        };
        window.load().await?;
        Ok(window)
    }

    async fn load(&mut self) -> Result<(), WindowError> {
        for (method, params) in [
            ("Page.enable", json!({})),
            ("Inspector.enable", json!({})),
            (
                "Emulation.setFocusEmulationEnabled",
                json!({ "enabled": true }),
            ),
            (
                "Fetch.enable",
                json!({ "patterns": [{ "urlPattern": "*" }] }),
            ),
            (
                "Page.navigate",
                json!({ "url": format!("{ORIGIN}page.html") }),
            ),
        ] {
            self.call(method, params).await?;
        }
        let state = self
            .state
            .wait_for(|state| *state != State::Loading)
            .await
            .map(|state| *state);
        match state {
            Ok(State::Loaded) => Ok(()),
            Ok(_) => Err(WindowError::Crashed),
            Err(_) => Err(WindowError::Closed),
        }
    }

    /// Renders the first page of a document.
    pub async fn render(&mut self, work: &DrawioWork) -> Result<Picture, WindowError> {
        let mut scale = f64::from(work.scale);
        let mut answer = self.ask(work, scale).await?;
        let mut warnings = Vec::new();
        let pixels = answer.width * answer.height;
        if answer.ok && work.format == ImageFormat::Png && pixels > MOST_PIXELS {
            scale *= (MOST_PIXELS / pixels).sqrt();
            warnings.push(Diagnostic::warning(format!(
                "the picture would have {:.0} megapixels; it is made smaller",
                pixels / 1e6
            )));
            answer = self.ask(work, scale).await?;
        }
        if !answer.ok {
            return Ok(Picture::Failed(failure(&answer)));
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
        });
        let result = self
            .call(
                "Runtime.evaluate",
                json!({
                    "expression": format!("clmRender({order})"),
                    "awaitPromise": true,
                    "returnByValue": true,
                }),
            )
            .await?;
        if let Some(exception) = result.get("exceptionDetails") {
            return Err(WindowError::Protocol(exception.to_string()));
        }
        serde_json::from_value(result["result"]["value"].clone())
            .map_err(|error| WindowError::Protocol(error.to_string()))
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

    /// Calls a method of the page; a page that crashes never answers, so its end is waited for too.
    async fn call(&mut self, method: &str, params: Value) -> Result<Value, WindowError> {
        let call = self.connection.call(Some(&self.session), method, params);
        tokio::select! {
            answer = call => Ok(answer?),
            _ = self.state.wait_for(|state| *state == State::Crashed) => {
                if self.connection.is_closed() { Err(WindowError::Closed) } else { Err(WindowError::Crashed) }
            }
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.connection.forget(&self.session);
        self.connection.post(
            None,
            "Target.closeTarget",
            json!({ "targetId": self.target }),
        );
    }
}

fn text(value: &Value, key: &str) -> Result<String, WindowError> {
    value
        .get(key)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| WindowError::Protocol(format!("the browser gave no `{key}`")))
}

fn failure(answer: &PageAnswer) -> Diagnostic {
    let error = answer.error.lines().next().unwrap_or_default();
    match answer.stage.as_str() {
        "decode" => Diagnostic::error(format!("the compressed page cannot be read: {error}"))
            .hint("open the file in draw.io and save it again"),
        "empty" => Diagnostic::error("nothing on the first page can be seen")
            .hint("draw something on the first page, or show its layers"),
        "extract" => Diagnostic::error("there is no page in the file")
            .hint("open the file in draw.io and save it again"),
        _ => Diagnostic::error(format!("the diagram cannot be rendered: {error}"))
            .hint("open the file in draw.io and look whether it is shown there"),
    }
}

impl PageAnswer {
    fn warnings(&self) -> Vec<Diagnostic> {
        let mut warnings = Vec::new();
        if !self.missing_shapes.is_empty() {
            let names = self.missing_shapes.join("`, `");
            warnings.push(
                Diagnostic::warning(format!("unknown shapes are drawn as rectangles: `{names}`"))
                    .hint("they may belong to a library that is not part of draw.io"),
            );
        }
        for image in &self.failed_images {
            warnings.push(
                Diagnostic::warning(format!("an image cannot be shown: `{image}`"))
                    .hint("embed it in the diagram: there is no network and no file access here"),
            );
        }
        if let Some(error) = &self.math_error {
            warnings.push(Diagnostic::warning(format!(
                "a formula cannot be typeset: {error}"
            )));
        }
        warnings
    }
}

/// Answers what the page asks for while it works.
struct Pump {
    connection: Arc<Connection>,
    session: String,
    app: PathBuf,
    state: watch::Sender<State>,
}

impl Pump {
    async fn run(self, mut events: mpsc::UnboundedReceiver<Value>) {
        while let Some(event) = events.recv().await {
            match event["method"].as_str() {
                Some("Page.loadEventFired") => {
                    let _ = self.state.send(State::Loaded);
                }
                Some("Inspector.targetCrashed") => break,
                Some("Fetch.requestPaused") => self.serve(&event["params"]).await,
                _ => {}
            }
        }
        // Also when the browser is gone: whoever waits for the page learns of it.
        let _ = self.state.send(State::Crashed);
    }

    /// Gives the page a file of the viewer or of ours, and refuses everything else.
    async fn serve(&self, params: &Value) {
        let request = &params["requestId"];
        let url = params["request"]["url"].as_str().unwrap_or_default();
        let (method, params) = if url.starts_with("data:") || url.starts_with("blob:") {
            ("Fetch.continueRequest", json!({ "requestId": request }))
        } else {
            match self.asset(url).await {
                Some((kind, bytes)) => (
                    "Fetch.fulfillRequest",
                    json!({
                        "requestId": request,
                        "responseCode": 200,
                        "responseHeaders": [{ "name": "Content-Type", "value": kind }],
                        "body": STANDARD.encode(bytes),
                    }),
                ),
                None => (
                    "Fetch.failRequest",
                    json!({ "requestId": request, "errorReason": "BlockedByClient" }),
                ),
            }
        };
        self.connection.post(Some(&self.session), method, params);
    }

    async fn asset(&self, url: &str) -> Option<(&'static str, Vec<u8>)> {
        let path = url.strip_prefix(ORIGIN)?.split(['?', '#']).next()?;
        match path {
            "page.html" => return Some(("text/html", PAGE.into())),
            "page.js" => return Some(("text/javascript", SCRIPT.into())),
            _ => {}
        }
        let relative = Path::new(path);
        if !relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            return None;
        }
        let bytes = tokio::fs::read(self.app.join(relative)).await.ok()?;
        Some((content_type(path), bytes))
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html",
        Some("js") => "text/javascript",
        Some("css") => "text/css",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("gif") => "image/gif",
        Some("xml") => "text/xml",
        Some("woff2") => "font/woff2",
        Some("woff") => "font/woff",
        Some("ttf") => "font/ttf",
        _ => "application/octet-stream",
    }
}
