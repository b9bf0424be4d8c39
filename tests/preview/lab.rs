//! What stories of the preview need: a small course with outputs, a running server, and a client that says what it wants.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clm::testing::course::words::Localized;
use clm::testing::course::{Kind, Lang, RelPath};
use clm::testing::digest::Digest;
use clm::testing::events::{
    ActionKind, Contents, Counts, Diagnostic, Event, Index, IndexClass, IndexOutput, IndexSection,
    IndexTarget, PlannedCourse, Reported, Status,
};
use clm::testing::web::{Access, Preview, bind, serve};
use tokio_util::sync::CancellationToken;

pub const ALPHA: &str = "slides/m/alpha/slides_alpha.py";
pub const BETA_DE: &str = "slides/m/beta/slides_beta.de.py";
pub const BETA_EN: &str = "slides/m/beta/slides_beta.en.py";
/// The page of deck alpha in English for students, and its file.
pub const PAGE: &str = "/out/shared/c-en/Html/Completed/Part%20One/01%20Alpha%20%26%20More.html";
pub const FILE: &str = "output/shared/c-en/Html/Completed/Part One/01 Alpha & More.html";

/// A plan with this index. Every source is executed in the languages of its outputs.
struct Fixed {
    index: Arc<Index>,
    executions: Vec<String>,
}

impl Fixed {
    fn new(index: Index) -> Self {
        let outputs = index.outputs.iter();
        let execution = |output: &IndexOutput| format!("execute {} {}", output.source, output.lang);
        Self {
            executions: outputs.map(execution).collect(),
            index: Arc::new(index),
        }
    }
}

impl PlannedCourse for Fixed {
    fn index(&self) -> Arc<Index> {
        Arc::clone(&self.index)
    }

    fn actions(&self) -> HashSet<&str> {
        let outputs = self.index.outputs.iter();
        let actions = outputs.filter_map(|output| output.action.as_deref());
        actions
            .chain(self.executions.iter().map(String::as_str))
            .collect()
    }
}

/// A course directory, its preview, and the server that shows it.
pub struct Lab {
    pub dir: tempfile::TempDir,
    pub preview: Arc<Preview>,
    pub address: SocketAddr,
    cancel: CancellationToken,
    runtime: tokio::runtime::Runtime,
}

impl Lab {
    /// A course whose pages are all built, and indexed.
    pub fn new() -> Self {
        let lab = Self::empty(Access::Loopback);
        for output in index().outputs {
            lab.write(&output.path, &content(&output, "first"));
        }
        lab.plan(index());
        lab
    }

    /// Reports that the course was planned.
    pub fn plan(&self, index: Index) {
        let outputs = index.outputs.len() as u64;
        let contents = Contents::new(Fixed::new(index));
        self.event(Event::Planned { outputs, contents });
    }

    /// Reports a diagnostic of an action.
    pub fn report(&self, action: &str, diagnostic: Diagnostic) {
        self.event(Event::Diagnostic(Reported {
            action: Some(action.into()),
            diagnostic,
        }));
    }

    /// A course without outputs that was not planned yet.
    pub fn empty(access: Access) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let (preview, address, cancel) = start(&runtime, dir.path(), any, access);
        Self {
            dir,
            preview,
            address,
            cancel,
            runtime,
        }
    }

    /// Another server at the same address, which knows nothing yet.
    pub fn restart(&mut self) {
        self.cancel.cancel();
        let (preview, _, cancel) = start(
            &self.runtime,
            self.dir.path(),
            self.address,
            Access::Loopback,
        );
        (self.preview, self.cancel) = (preview, cancel);
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file as clm does: beside its place, then renamed.
    pub fn write(&self, path: &str, text: &str) {
        let file = self.path(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let beside = file.with_extension("part");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, file).unwrap();
    }

    /// A run that writes an output with a text.
    pub fn build(&self, path: &str, text: &str) {
        let index = index();
        let output = index.outputs.iter().find(|output| *output.path == *path);
        let output = output.unwrap_or_else(|| panic!("no output {path}"));
        let action = output.action.clone().unwrap();
        self.start(&action, output.source.as_str());
        let content = content(output, text);
        self.write(path, &content);
        self.event(Event::Output {
            path: path.to_owned(),
            digest: Some(Digest::of(content)),
        });
        self.finish(&action, output.source.as_str(), Status::Built);
        self.end_run();
    }

    pub fn event(&self, event: Event) {
        self.preview.event(&event);
    }

    /// A run begins with an action.
    pub fn start(&self, action: &str, source: &str) {
        self.event(Event::RunStarted {
            run: 1,
            trigger: "watch".to_owned(),
            actions: 1,
        });
        self.event(Event::ActionStarted {
            action: action.to_owned(),
            kind: kind(action),
            source: source.to_owned(),
            reasons: vec!["it changed".to_owned()],
        });
    }

    pub fn finish(&self, action: &str, source: &str, status: Status) {
        self.event(Event::ActionFinished {
            action: action.to_owned(),
            kind: kind(action),
            source: source.to_owned(),
            status,
            duration_ms: 12,
            replayed: false,
            cause: None,
            not_made: 0,
            machine: None,
        });
    }

    pub fn end_run(&self) {
        self.event(Event::RunFinished {
            run: 1,
            counts: Counts {
                built: 1,
                ..Counts::default()
            },
            duration_ms: 20,
            interrupted: false,
        });
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The answer to a request whose head is sent as it is given here, without the last empty line.
    pub fn raw(&self, head: &str) -> Answer {
        raw_at(self.address, head)
    }

    /// The answer at another port of the preview.
    pub fn get_at(&self, address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: {address}");
        for (name, value) in headers {
            head += &format!("\r\n{name}: {value}");
        }
        raw_at(address, &head)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: {}", self.address);
        for (name, value) in headers {
            head += &format!("\r\n{name}: {value}");
        }
        self.raw(&head)
    }

    /// The messages of a stream.
    pub fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Stream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}", self.address).unwrap();
        for (name, value) in headers {
            write!(stream, "\r\n{name}: {value}").unwrap();
        }
        write!(stream, "\r\n\r\n").unwrap();
        Stream(BufReader::new(stream))
    }

    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

fn raw_at(address: SocketAddr, head: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    write!(stream, "{head}\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    Answer::parse(&bytes)
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn start(
    runtime: &tokio::runtime::Runtime,
    root: &Path,
    address: SocketAddr,
    access: Access,
) -> (Arc<Preview>, SocketAddr, CancellationToken) {
    let preview = Preview::new(root.to_path_buf());
    let cancel = CancellationToken::new();
    let listener = runtime.block_on(async { bind(address) }).unwrap();
    let address = listener.local_addr().unwrap();
    let server = serve(Arc::clone(&preview), listener, access, cancel.clone());
    runtime.spawn(async move { server.await.unwrap() });
    (preview, address, cancel)
}

/// An answer of the server.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Self {
            status: status.unwrap_or(0),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// A stream of messages.
pub struct Stream(BufReader<TcpStream>);

impl Stream {
    /// The next message: its id and its data.
    pub fn next(&mut self) -> (String, serde_json::Value) {
        let mut id = String::new();
        loop {
            let mut line = String::new();
            let count = self.0.read_line(&mut line).unwrap();
            assert!(count > 0, "the stream ended");
            if let Some(value) = line.strip_prefix("id: ") {
                value.trim_end().clone_into(&mut id);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (id, serde_json::from_str(data).unwrap());
            }
        }
    }

    /// The next message for which something holds.
    pub fn until(&mut self, holds: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        loop {
            let (_, data) = self.next();
            if holds(&data) {
                return data;
            }
        }
    }

    /// Whether the server has ended the stream.
    pub fn ends(&mut self) -> bool {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).is_ok()
    }
}

fn kind(action: &str) -> ActionKind {
    match action.split(' ').next().unwrap() {
        "html" => ActionKind::Html,
        "execute" => ActionKind::Execute,
        "drawio" => ActionKind::Drawio,
        "copy" => ActionKind::Copy,
        _ => ActionKind::Deck,
    }
}

/// A course with two decks, one of them in two files, an image and a table.
pub fn index() -> Index {
    let text =
        |de: &str, en: &str| Localized::of([(Lang::DE, de.to_owned()), (Lang::EN, en.to_owned())]);
    let mut outputs = Vec::new();
    let targets = [
        ("shared", vec![Kind::CodeAlong, Kind::Completed]),
        ("trainer", vec![Kind::Completed, Kind::Trainer]),
    ];
    for (target, (target_name, kinds)) in targets.iter().enumerate() {
        for lang in Lang::USUAL {
            let part = if lang == Lang::DE {
                "Teil Eins"
            } else {
                "Part One"
            };
            for kind in kinds {
                let audience = match kind {
                    Kind::CodeAlong => "Code-Along",
                    Kind::Completed => "Completed",
                    _ => "Trainer",
                };
                let home = |format: &str| {
                    format!("output/{target_name}/c-{lang}/{format}/{audience}/{part}")
                };
                let mut add = |path: String, source: &str, action: String, topic: &str, class| {
                    outputs.push(IndexOutput {
                        path: path.into(),
                        source: RelPath::new(source).unwrap(),
                        action: Some(action.into()),
                        target,
                        section: Some(0),
                        topic: Some(topic.into()),
                        lang,
                        class,
                        kind: match class {
                            IndexClass::Image | IndexClass::Data => None,
                            _ => Some(*kind),
                        },
                    });
                };
                let group = if kind.is_executed() {
                    "executed"
                } else {
                    "plain"
                };
                let beta = if lang == Lang::DE { BETA_DE } else { BETA_EN };
                let html = home("Html");
                let alpha_name = if lang == Lang::DE {
                    "01 Alpha & Mehr"
                } else {
                    "01 Alpha & More"
                };
                for (name, source, topic) in
                    [(alpha_name, ALPHA, "alpha"), ("02 Beta", beta, "beta")]
                {
                    let id = format!("html {source} {lang} {group}");
                    add(
                        format!("{html}/{name}.html"),
                        source,
                        id,
                        topic,
                        IndexClass::Html,
                    );
                    let id = format!("notebook {source} {lang} {kind}");
                    let path = format!("{}/{name}.ipynb", home("Notebooks"));
                    add(path, source, id, topic, IndexClass::Notebook);
                }
                let image = "slides/m/alpha/drawio/wave.drawio";
                let path = format!("{html}/img/wave.svg");
                add(
                    path,
                    image,
                    format!("drawio {image}"),
                    "alpha",
                    IndexClass::Image,
                );
                let table = "slides/m/alpha/data/t.csv";
                let path = format!("{html}/data/t.csv");
                add(
                    path,
                    table,
                    format!("copy {table}"),
                    "alpha",
                    IndexClass::Data,
                );
            }
        }
    }
    Index {
        title: text("Ein Kurs", "A Course"),
        sections: vec![IndexSection {
            name: text("Teil Eins", "Part One"),
            topics: vec!["alpha".to_owned(), "beta".to_owned()],
        }],
        targets: targets
            .iter()
            .map(|(name, _)| IndexTarget {
                name: (*name).to_owned(),
                root: format!("output/{name}"),
            })
            .collect(),
        outputs,
        folder: None,
    }
}

fn content(output: &IndexOutput, text: &str) -> String {
    match output.class {
        IndexClass::Html => page(output.path.rsplit('/').next().unwrap(), text, 1),
        IndexClass::Image => image(text),
        _ => format!("{text}\n"),
    }
}

/// A drawing whose width tells its text.
pub fn image(text: &str) -> String {
    let width = 100 + text.len();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"60\"><rect width=\"{width}\" height=\"60\" fill=\"#5b8\"/></svg>"
    )
}

/// A page of forty cells. The first one shows `text` in as many lines as asked for.
pub fn page(name: &str, text: &str, lines: usize) -> String {
    let cells: String = (1..=40)
        .map(|number| {
            format!(
                "<div class=\"cell\" id=\"cell-id={number}\"><p>Cell {number} of {name}</p><p>Some words.</p></div>\n"
            )
        })
        .collect();
    let first = format!("<p class=\"news\">{text}</p>").repeat(lines);
    format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>Notebook</title></head><body><main>\n\
         <div class=\"cell\" id=\"cell-id=news-{text}\">{first}</div><img src=\"img/wave.svg\" alt=\"\">\n{cells}\
         <script>var end = '</body>';</script></main></body></html>\n"
    )
}
