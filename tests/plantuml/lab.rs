//! A course beside something secret, and a pool that renders its diagrams.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clm::testing::course::RelPath;
use clm::testing::events::{Diagnostic, Severity};
use clm::testing::worker::pool::{Pool, PoolConfig};
use clm::testing::worker::request::{ImageFormat, OutcomeStatus, PlantumlWork};
use clm::testing::worker::{Outcome, Renderers, Request, Work};
use tokio_util::sync::CancellationToken;

use crate::support::renderers::{PLANTUML, renderers};

/// A course in a temporary directory with something secret beside it, and a pool that renders its diagrams.
pub struct Lab {
    pub dir: tempfile::TempDir,
    pub pool: Pool,
    pub ids: AtomicU64,
}

impl Lab {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(adjust: impl FnOnce(&mut Renderers)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("kürs ä");
        std::fs::create_dir_all(root.join("slides")).unwrap();
        std::fs::write(dir.path().join("secret.iuml"), "class Secret").unwrap();
        let mut renderers = renderers(PLANTUML);
        adjust(&mut renderers);
        let mut config = PoolConfig::new(&root, dir.path().join("run"));
        config.slots.plantuml = 2;
        let pool = Pool::new(Arc::new(renderers), config, Arc::new(|_| {}));
        Self {
            dir,
            pool,
            ids: AtomicU64::new(1),
        }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("kürs ä")
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Renders a text as `slides/pu/a.pu`.
    pub async fn render(&self, text: &str, format: ImageFormat) -> Rendered {
        let work = PlantumlWork {
            text: text.to_owned(),
            format,
            dpi: 200,
            limit: 2000,
        };
        self.run(work).await
    }

    pub async fn run(&self, work: PlantumlWork) -> Rendered {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let out = self.dir.path().join(format!("out-{id}"));
        std::fs::create_dir(&out).unwrap();
        let image = format!("image.{}", work.format.extension());
        let request = Request {
            id,
            source: RelPath::new("slides/pu/a.pu").unwrap(),
            root: self.root(),
            out: out.clone(),
            work: Work::Plantuml(work),
        };
        let cancel = CancellationToken::new();
        let outcome = self
            .pool
            .run(&request, Arc::new(|_| {}), cancel)
            .await
            .unwrap();
        Rendered {
            outcome,
            image: std::fs::read(out.join(image)).ok(),
        }
    }

    /// The text of the SVG of a diagram that must be fine.
    pub async fn svg(&self, text: &str) -> String {
        let rendered = self.render(text, ImageFormat::Svg).await;
        assert_eq!(rendered.outcome.diagnostics, [], "{text}");
        assert_eq!(rendered.outcome.status, OutcomeStatus::Ok);
        String::from_utf8(rendered.image.unwrap())
            .unwrap()
            .replace('\u{a0}', " ")
    }

    /// The only diagnostic of a diagram that must fail.
    pub async fn error(&self, text: &str) -> Diagnostic {
        let rendered = self.render(text, ImageFormat::Svg).await;
        assert_eq!(rendered.outcome.status, OutcomeStatus::Failed, "{text}");
        assert_eq!(rendered.outcome.outputs, [] as [String; 0]);
        assert_eq!(rendered.image, None, "{text}");
        assert_eq!(
            rendered.outcome.diagnostics.len(),
            1,
            "{:?}",
            rendered.outcome
        );
        assert_eq!(rendered.outcome.diagnostics[0].severity, Severity::Error);
        rendered.outcome.diagnostics[0].clone()
    }
}

pub struct Rendered {
    pub outcome: Outcome,
    pub image: Option<Vec<u8>>,
}

impl Rendered {
    pub fn discovered(&self) -> Vec<&str> {
        self.outcome
            .discovered
            .iter()
            .map(RelPath::as_str)
            .collect()
    }

    /// Width and height of a PNG.
    pub fn size(&self) -> (u32, u32) {
        let image = self.image.as_ref().unwrap();
        assert_eq!(&image[..8], b"\x89PNG\r\n\x1a\n");
        let number = |at: usize| u32::from_be_bytes(image[at..at + 4].try_into().unwrap());
        (number(16), number(20))
    }
}

pub fn uml(body: &str) -> String {
    format!("@startuml\n{body}\n@enduml\n")
}

/// A red PNG of two by two pixels.
pub fn picture() -> Vec<u8> {
    use base64::Engine;
    let text = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR42mP4z8AARAwQCgAf7gP9Y167WwAAAABJRU5ErkJggg==";
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap()
}
