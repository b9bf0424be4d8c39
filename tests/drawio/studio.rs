//! What stories of draw.io need: documents, and a pool with a look at its browser.

use std::io::Write;
use std::sync::Arc;

use clm::testing::course::RelPath;
use clm::testing::worker::pool::{Pool, PoolConfig};
use clm::testing::worker::request::{DrawioWork, ImageFormat, Outcome};
use clm::testing::worker::{Request, Work, WorkerError};
use tokio_util::sync::CancellationToken;

use crate::support::renderers::{DRAWIO, renderers};

/// A document with these cells on its first page.
pub fn document(cells: &str) -> String {
    format!(
        "<mxfile><diagram name=\"p\"><mxGraphModel><root><mxCell id=\"0\"/><mxCell id=\"1\" parent=\"0\"/>{cells}</root></mxGraphModel></diagram></mxfile>"
    )
}

pub fn cell(id: u32, value: &str, style: &str) -> String {
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

/// A pool of draw.io workers, and where their pictures go.
pub struct Studio {
    pub pool: Pool,
    pub dir: tempfile::TempDir,
}

impl Studio {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut PoolConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = PoolConfig::new(dir.path(), dir.path().join("run"));
        change(&mut config);
        let pool = Pool::new(Arc::new(renderers(DRAWIO)), config, Arc::new(|_| {}));
        Self { pool, dir }
    }

    pub fn request(&self, id: u64, text: &str, format: ImageFormat) -> Request {
        let out = self
            .dir
            .path()
            .join(format!("out-{id}-{}", format.extension()));
        std::fs::create_dir_all(&out).unwrap();
        Request {
            id,
            source: RelPath::new("t/drawio/a.drawio").unwrap(),
            root: self.dir.path().to_path_buf(),
            out,
            work: Work::Drawio(DrawioWork {
                text: text.to_owned(),
                format,
                scale: 3,
                border: 20,
            }),
        }
    }

    pub async fn attempt(
        &self,
        request: &Request,
        cancel: CancellationToken,
    ) -> Result<Outcome, WorkerError> {
        self.pool.run(request, Arc::new(|_| {}), cancel).await
    }

    pub async fn draw(&self, id: u64, text: &str, format: ImageFormat) -> (Outcome, Vec<u8>) {
        let request = self.request(id, text, format);
        let outcome = self
            .attempt(&request, CancellationToken::new())
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let file = request.out.join(format!("image.{}", format.extension()));
        (outcome, std::fs::read(file).unwrap_or_default())
    }

    pub async fn svg(&self, id: u64, text: &str) -> (Outcome, String) {
        let (outcome, bytes) = self.draw(id, text, ImageFormat::Svg).await;
        (outcome, String::from_utf8(bytes).unwrap())
    }

    /// The browser's processes: process ids and command lines.
    pub fn processes(&self) -> Vec<(String, String)> {
        let profile = self.dir.path().join("run");
        let profile = profile.to_str().unwrap();
        let mut found: Vec<(String, String)> = Vec::new();
        let mut all = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let read = |name| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            let status = String::from_utf8_lossy(&read("status")).into_owned();
            let Some((_, rest)) = status.split_once("PPid:\t") else {
                continue;
            };
            let parent = rest.lines().next().unwrap().to_owned();
            let pid = entry.file_name().into_string().unwrap();
            if line.contains(profile) {
                found.push((pid, line));
            } else {
                all.push((pid, parent, line));
            }
        }
        // Children do not name the profile; their children neither.
        let mut next = 0;
        while next < found.len() {
            let parent = found[next].0.clone();
            let children = all.iter().filter(|(_, of, _)| *of == parent);
            found.extend(children.map(|(pid, _, line)| (pid.clone(), line.clone())));
            next += 1;
        }
        found
    }

    /// Processor time that the browser's renderers have used, in hundredths of a second.
    pub fn busy_ticks(&self) -> u64 {
        let renderers = self.processes().into_iter();
        renderers
            .filter(|(_, line)| line.contains("--type=renderer"))
            .filter_map(|(pid, _)| {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
                Some(fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?)
            })
            .sum()
    }

    /// Kills processes of the browser; gives how many.
    pub fn kill(&self, which: impl Fn(&str) -> bool) -> usize {
        let chosen: Vec<String> = self
            .processes()
            .into_iter()
            .filter(|(_, line)| which(line))
            .map(|(pid, _)| pid)
            .collect();
        for pid in &chosen {
            let killed = std::process::Command::new("kill")
                .args(["-9", pid])
                .status();
            assert!(killed.is_ok());
        }
        chosen.len()
    }
}

pub fn size_of(png: &[u8]) -> (u32, u32) {
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

/// A page as draw.io packs it: escaped, deflated, in base 64.
pub fn packed(model: &str) -> String {
    let escaped: String = model.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(escaped.as_bytes()).unwrap();
    base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        packer.finish().unwrap(),
    )
}

/// A document that keeps the viewer busy for many seconds.
pub fn endless() -> String {
    document(
        &(2..20_000)
            .map(|id| cell(id, "<b>x</b>", "html=1;sketch=1;fillColor=#ffe6cc;"))
            .collect::<String>(),
    )
}
