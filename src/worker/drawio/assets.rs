//! The files that a page may load: those of the viewer and of clm from a made-up origin, and no others.

use std::path::{Component, Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::digest::Digest;

/// The made-up origin. Names below `.invalid` never resolve.
pub(super) const ORIGIN: &str = "http://drawio.invalid/";

const PAGE: &str = include_str!("page.html");
const SETTINGS: &str = include_str!("settings.js");
const SCRIPT: &str = include_str!("page.js");

/// Returns the digest of clm's part of the renderer. It is part of the keys of draw.io's actions: another program may
/// make other images with the same viewer.
pub(crate) fn program_digest() -> Digest {
    Digest::of([PAGE, SETTINGS, SCRIPT].join("\0"))
}

/// The content security policy of pages, in case the viewer fails to remove a part of a document: only scripts of the
/// made-up origin, and nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; form-action 'none'; base-uri 'none'";

/// The files of the made-up origin.
pub(super) struct Assets {
    app: PathBuf,
}

impl Assets {
    /// Serves the files of the viewer in this directory, and clm's own.
    pub(super) fn new(app: PathBuf) -> Self {
        Self { app }
    }

    /// Returns the method and parameters that answer a paused request.
    pub(super) async fn answer(&self, paused: &Value) -> (&'static str, Value) {
        let request = &paused["requestId"];
        let url = paused["request"]["url"].as_str().unwrap_or_default();
        if url.starts_with("data:") || url.starts_with("blob:") {
            return ("Fetch.continueRequest", json!({ "requestId": request }));
        }
        let Some((kind, bytes)) = self.read(url).await else {
            tracing::debug!(url, "refused");
            return (
                "Fetch.failRequest",
                json!({ "requestId": request, "errorReason": "BlockedByClient" }),
            );
        };
        let headers = json!([
            { "name": "Content-Type", "value": kind },
            { "name": "Content-Security-Policy", "value": POLICY },
        ]);
        (
            "Fetch.fulfillRequest",
            json!({
                "requestId": request,
                "responseCode": 200,
                "responseHeaders": headers,
                "body": STANDARD.encode(bytes),
            }),
        )
    }

    async fn read(&self, url: &str) -> Option<(&'static str, Vec<u8>)> {
        let path = url.strip_prefix(ORIGIN)?.split(['?', '#']).next()?;
        match path {
            "page.html" => return Some(("text/html", PAGE.into())),
            "page.js" => return Some(("text/javascript", SCRIPT.into())),
            "settings.js" => return Some(("text/javascript", SETTINGS.into())),
            _ => {}
        }
        let relative = below(path)?;
        let bytes = tokio::fs::read(self.app.join(relative)).await.ok()?;
        Some((content_type(path), bytes))
    }
}

/// Returns the path if it cannot lead out of the directory it is joined to. Browsers resolve `..` before a request; any
/// remaining ones are an attack.
fn below(path: &str) -> Option<&Path> {
    let path = Path::new(path);
    path.components()
        .all(|part| matches!(part, Component::Normal(_)))
        .then_some(path)
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(assets: &Assets, url: &str) -> (&'static str, Value) {
        let paused = json!({ "requestId": "r1", "request": { "url": url } });
        assets.answer(&paused).await
    }

    #[tokio::test]
    async fn only_the_viewers_files_and_ours_are_given() {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path().join("app");
        std::fs::create_dir_all(app.join("js")).unwrap();
        std::fs::write(app.join("js/viewer.js"), "1+1").unwrap();
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        let assets = Assets::new(app);
        for (path, kind) in [
            ("page.html", "text/html"),
            ("page.js", "text/javascript"),
            ("js/viewer.js?x=1#y", "text/javascript"),
        ] {
            let (method, params) = answered(&assets, &format!("{ORIGIN}{path}")).await;
            assert_eq!(method, "Fetch.fulfillRequest", "{path}");
            assert_eq!(params["responseHeaders"][0]["value"], kind, "{path}");
        }
        for url in [
            "http://drawio.invalid/js/none.js",
            "http://drawio.invalid/../secret",
            "http://drawio.invalid//etc/passwd",
            "http://drawio.invalid/%2e%2e/secret",
            "http://drawio.invalid.example/page.html",
            "https://drawio.invalid/page.html",
            "https://example.invalid/x.png",
            "file:///etc/passwd",
            "chrome://version",
            "",
        ] {
            let (method, params) = answered(&assets, url).await;
            assert_eq!(method, "Fetch.failRequest", "{url}");
            assert_eq!(params["requestId"], "r1");
        }
        let (method, _) = answered(&assets, "data:image/png;base64,AAAA").await;
        assert_eq!(method, "Fetch.continueRequest");
    }
}
