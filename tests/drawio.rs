//! draw.io in the real browser: what is drawn, what is refused, what happens when the browser dies.

use std::path::Path;
use std::sync::Arc;

use clm::course::RelPath;
use clm::worker::pool::{Pool, PoolConfig};
use clm::worker::request::{DrawioWork, ImageFormat, Outcome, OutcomeStatus};
use clm::worker::{Request, Work};
use tokio_util::sync::CancellationToken;

use crate::support::renderers;

/// A document with these cells on its first page.
fn document(cells: &str) -> String {
    format!(
        "<mxfile><diagram name=\"p\"><mxGraphModel><root><mxCell id=\"0\"/><mxCell id=\"1\" parent=\"0\"/>{cells}</root></mxGraphModel></diagram></mxfile>"
    )
}

fn cell(id: u32, value: &str, style: &str) -> String {
    let value = value
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;");
    format!(
        "<mxCell id=\"{id}\" value=\"{value}\" style=\"{style}\" vertex=\"1\" parent=\"1\"><mxGeometry x=\"{}\" y=\"40\" width=\"120\" height=\"60\" as=\"geometry\"/></mxCell>",
        id * 140
    )
}

struct Studio {
    pool: Pool,
    dir: tempfile::TempDir,
}

impl Studio {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = PoolConfig::new(dir.path(), dir.path().join("run"));
        let pool = Pool::new(Arc::new(renderers().clone()), config, Arc::new(|_| {}));
        Self { pool, dir }
    }

    async fn draw(&self, id: u64, text: &str, format: ImageFormat) -> (Outcome, Vec<u8>) {
        let out = self
            .dir
            .path()
            .join(format!("out-{id}-{}", format.extension()));
        std::fs::create_dir_all(&out).unwrap();
        let request = Request {
            id,
            source: RelPath::new("t/drawio/a.drawio").unwrap(),
            root: self.dir.path().to_path_buf(),
            out: out.clone(),
            work: Work::Drawio(DrawioWork {
                text: text.to_owned(),
                format,
                scale: 3,
                border: 20,
            }),
        };
        let outcome = self
            .pool
            .run(&request, Arc::new(|_| {}), CancellationToken::new())
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let bytes =
            std::fs::read(out.join(format!("image.{}", format.extension()))).unwrap_or_default();
        (outcome, bytes)
    }

    async fn svg(&self, id: u64, text: &str) -> (Outcome, String) {
        let (outcome, bytes) = self.draw(id, text, ImageFormat::Svg).await;
        (outcome, String::from_utf8(bytes).unwrap())
    }
}

#[tokio::test]
async fn labels_shapes_and_sizes() {
    let studio = Studio::new();
    let text = document(&format!(
        "{}{}",
        cell(
            2,
            "<b>Größe</b> ≥ 10 µm",
            "rounded=1;html=1;whiteSpace=wrap;"
        ),
        cell(3, "Router", "shape=mxgraph.cisco.routers.router;html=1;")
    ));
    let (outcome, svg) = studio.svg(1, &text).await;
    assert_eq!(
        (outcome.status, outcome.diagnostics.len()),
        (OutcomeStatus::Ok, 0),
        "{outcome:?}"
    );
    assert!(svg.contains("Größe") && svg.contains("≥ 10 µm"));
    let (_, png) = studio.draw(2, &text, ImageFormat::Png).await;
    let width = u32::from_be_bytes(png[16..20].try_into().unwrap());
    // 260 units of drawing at scale 3, a border of 60 at the left and of 20 at the right.
    assert!((850..=870).contains(&width), "{width}");
    let (outcome, _) = studio
        .svg(3, &document(&cell(2, "x", "shape=mxgraph.nowhere.thing;")))
        .await;
    assert!(
        outcome.diagnostics[0]
            .message
            .contains("mxgraph.nowhere.thing"),
        "{outcome:?}"
    );
    studio.pool.shutdown().await;
}

#[tokio::test]
async fn nothing_is_loaded_and_no_script_runs() {
    let studio = Studio::new();
    let text = document(&format!(
        "{}{}",
        cell(
            2,
            "<img src=\"x\" onerror=\"document.title='run'; this.parentNode.textContent='EXECUTED'\"><script>document.body.textContent='EXECUTED'</script>text",
            "html=1;"
        ),
        cell(
            3,
            "remote",
            "shape=image;image=https://example.invalid/x.png;"
        )
    ));
    let (outcome, svg) = studio.svg(1, &text).await;
    assert_eq!(outcome.status, OutcomeStatus::Ok, "{outcome:?}");
    assert!(!svg.contains("EXECUTED"));
    assert!(svg.contains("text"));
    assert!(
        outcome
            .diagnostics
            .iter()
            .any(|d| d.message.contains("https://example.invalid/x.png")),
        "{outcome:?}"
    );
    let local = document(&cell(2, "", "shape=image;image=file:///etc/passwd;"));
    let (outcome, svg) = studio.svg(2, &local).await;
    assert!(!svg.contains("root:"), "{outcome:?}");
    studio.pool.shutdown().await;
}

#[tokio::test]
async fn broken_documents_are_told() {
    let studio = Studio::new();
    for (id, text, message) in [
        (1, String::new(), "empty"),
        (2, "<mxfile>\n<diagram".to_owned(), "not well-formed"),
        (3, "<html/>".to_owned(), "not a draw.io diagram"),
        (4, document(""), "nothing on the first page"),
        (
            5,
            "<mxfile><diagram name=\"x\">!!!not compressed!!!</diagram></mxfile>".to_owned(),
            "compressed page",
        ),
    ] {
        let (outcome, _) = studio.draw(id, &text, ImageFormat::Png).await;
        assert_eq!(outcome.status, OutcomeStatus::Failed, "{text}");
        let diagnostic = &outcome.diagnostics[0];
        assert!(diagnostic.message.contains(message), "{diagnostic}");
        assert!(diagnostic.hint.is_some() && diagnostic.file.is_some());
    }
    studio.pool.shutdown().await;
}

#[tokio::test]
async fn the_same_document_gives_the_same_bytes_in_every_browser() {
    let one = document(&cell(
        2,
        "gradient",
        "fillColor=#dae8fc;gradientColor=#7ea6e0;shadow=1;html=1;",
    ));
    let two = document(&cell(2, "sketch", "sketch=1;html=1;fillColor=#ffe6cc;"));
    let mut seen: Vec<Vec<Vec<u8>>> = Vec::new();
    for order in [[&one, &two], [&two, &one]] {
        let studio = Studio::new();
        let mut bytes = Vec::new();
        for (id, text) in order.iter().enumerate() {
            bytes.push(studio.draw(id as u64 + 1, text, ImageFormat::Svg).await.1);
            bytes.push(studio.draw(id as u64 + 1, text, ImageFormat::Png).await.1);
        }
        studio.pool.shutdown().await;
        seen.push(bytes);
    }
    assert!(seen[0].iter().all(|bytes| bytes.len() > 500));
    assert_eq!(seen[0][0], seen[1][2], "SVG of the first");
    assert_eq!(seen[0][1], seen[1][3], "PNG of the first");
    assert_eq!(seen[0][2], seen[1][0], "SVG of the second");
    assert_eq!(seen[0][3], seen[1][1], "PNG of the second");
}

#[tokio::test]
async fn after_the_browser_was_killed_the_next_diagram_gets_a_new_one() {
    let studio = Studio::new();
    let text = document(&cell(2, "still here", "html=1;"));
    studio.svg(1, &text).await;
    let profile = studio.dir.path().join("run");
    let mut killed = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(profile.to_str().unwrap()) {
            let pid = entry.file_name().into_string().unwrap();
            assert!(
                std::process::Command::new("kill")
                    .args(["-9", &pid])
                    .status()
                    .is_ok()
            );
            killed += 1;
        }
    }
    assert!(killed > 0, "no browser of {}", Path::display(&profile));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let (outcome, svg) = studio.svg(2, &text).await;
    assert_eq!(outcome.status, OutcomeStatus::Ok);
    assert!(svg.contains("still here"));
    studio.pool.shutdown().await;
}
