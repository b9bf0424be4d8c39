//! The requests to workers and their results, independent of how workers produce them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::course::deck::line_at;
use crate::course::{ProgLang, RelPath};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::events::ActionKind;

use super::renderers;

/// One unit of work.
#[derive(Clone, Debug)]
pub struct Request {
    /// The id of the request, unique in this process.
    pub id: u64,
    /// The source file, which diagnostics name.
    pub source: RelPath,
    /// The course root (absolute): a worker may read only files below it.
    pub root: PathBuf,
    /// An existing empty directory (absolute) for the produced files.
    pub out: PathBuf,
    /// The work to do.
    pub work: Work,
}

/// The work to do, with one variant for each kind of worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Work {
    /// Render a PlantUML diagram to `image.png` or `image.svg`.
    Plantuml(PlantumlWork),
    /// Render a draw.io page to `image.png` or `image.svg`.
    Drawio(DrawioWork),
    /// Run code cells; writes `executed.json` ([`Executed`]).
    Execute(ExecuteWork),
    /// Render notebooks to `<page name>.html`.
    Html(HtmlWork),
}

impl Work {
    /// Returns the kind of worker for this work.
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Plantuml(_) => ActionKind::Plantuml,
            Self::Drawio(_) => ActionKind::Drawio,
            Self::Execute(_) => ActionKind::Execute,
            Self::Html(_) => ActionKind::Html,
        }
    }

    /// Returns the name of the renderer that does this work, see [`Renderers::installed`](super::Renderers::installed).
    pub fn renderer(&self) -> String {
        match self {
            Self::Plantuml(_) => renderers::PLANTUML.to_owned(),
            Self::Drawio(_) => renderers::DRAWIO.to_owned(),
            Self::Html(_) => renderers::HTML.to_owned(),
            Self::Execute(work) => renderers::kernel(&work.kernel),
        }
    }
}

/// The format of a rendered diagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// A bitmap.
    #[default]
    Png,
    /// A vector image.
    Svg,
}

impl ImageFormat {
    /// Returns the file extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Svg => "svg",
        }
    }
}

/// A PlantUML diagram. The text is what the action key was computed from; relative includes are resolved beside
/// `Request::source`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlantumlWork {
    /// The diagram's text.
    pub text: String,
    /// Output format.
    pub format: ImageFormat,
    /// Dots per inch of a PNG.
    pub dpi: u32,
    /// `PLANTUML_LIMIT_SIZE`: the largest width and height in pixels.
    pub limit: u32,
}

/// A draw.io document; its first page is rendered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DrawioWork {
    /// The document's text.
    pub text: String,
    /// Output format.
    pub format: ImageFormat,
    /// Pixels of a PNG per unit of the drawing.
    pub scale: u32,
    /// The border, in units of the drawing.
    pub border: u32,
}

/// The code cells of a deck in one language.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecuteWork {
    /// The programming language, which determines the kernel.
    pub prog_lang: ProgLang,
    /// The name of the kernelspec, such as `python3`.
    pub kernel: String,
    /// The cells in order.
    pub cells: Vec<CodeCell>,
    /// The files in the working directory of the cells: (source relative to the root, path in the directory).
    pub files: Vec<(RelPath, RelPath)>,
    /// The directory of the course in which the cells run, relative to its root; `None` for one of their own. What they
    /// read there is discovered.
    #[serde(default)]
    pub directory: Option<String>,
    /// Continue after a failing cell and drop its outputs.
    pub skip_errors: bool,
    /// The time limit for one cell.
    pub cell_timeout: Option<Duration>,
}

/// One code cell to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeCell {
    /// Its source.
    pub source: String,
    /// Its number in the deck, counted from 1 over all cells of the file.
    pub cell: u32,
    /// The line of its first source line in the author's file, counted from 1.
    pub line: Option<u32>,
    /// Where consecutive lines are not consecutive in the author's file: (line of the source from 0, line of the file).
    #[serde(default)]
    pub jumps: Box<[(u32, u32)]>,
    /// Whether an exception is expected (tag `raises-exception`).
    pub may_fail: bool,
}

impl CodeCell {
    /// Returns the line in the author's file of a line of the source, counted from 0.
    pub fn line_at(&self, offset: u32) -> Option<u32> {
        line_at(self.line, &self.jumps, offset)
    }
}

/// The results of running the cells: the content of `executed.json`, one entry for each cell of the request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Executed {
    /// Results in the order of [`ExecuteWork::cells`].
    pub cells: Vec<ExecutedCell>,
    /// The `widgets` of the notebook's metadata, if the cells created any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub widgets: Option<serde_json::Value>,
}

/// The result of one cell, in the format of `nbformat` 4.5.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecutedCell {
    /// The outputs as `nbformat` JSON (multi-line texts joined).
    pub outputs: Vec<serde_json::Value>,
    /// The number in the prompt.
    pub execution_count: Option<i64>,
}

/// The pages of a deck in one language.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HtmlWork {
    /// The pages; all are rendered in one request.
    pub pages: Vec<Page>,
}

/// One page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page {
    /// The name of the produced file without `.html`, such as `completed`.
    pub name: String,
    /// The notebook as `nbformat` 4.5 JSON text, outputs included.
    pub notebook: String,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeStatus {
    /// The files were produced.
    Ok,
    /// The author's content has an error, which the diagnostics describe.
    Failed,
    /// The request was cancelled.
    Cancelled,
}

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The status.
    pub status: OutcomeStatus,
    /// The names of the produced files in `Request::out`.
    pub outputs: Vec<String>,
    /// Files below the root that were read besides the declared ones, or that were looked for and not found.
    pub discovered: Vec<RelPath>,
    /// Diagnostics for the author.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether a failure may come from this machine or this moment (the network, memory, time), so that it is none for
    /// other machines.
    pub is_of_machine: bool,
    /// Where it was made, if not here.
    pub elsewhere: Option<Box<Elsewhere>>,
}

/// How a result was made on another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The name of that machine.
    pub machine: String,
    /// How long it took there.
    pub took: Duration,
    /// The digests of the discovered files as they are there; `None` for those that do not exist.
    pub seen: BTreeMap<RelPath, Option<Digest>>,
}

impl Outcome {
    /// Returns the outcome with these files and no diagnostics.
    pub fn ok(outputs: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            status: OutcomeStatus::Ok,
            outputs: outputs.into_iter().map(Into::into).collect(),
            discovered: Vec::new(),
            diagnostics: Vec::new(),
            is_of_machine: false,
            elsewhere: None,
        }
    }

    /// Returns the outcome for content with an error.
    pub fn failed(diagnostic: Diagnostic) -> Self {
        Self {
            status: OutcomeStatus::Failed,
            outputs: Vec::new(),
            discovered: Vec::new(),
            diagnostics: vec![diagnostic],
            is_of_machine: false,
            elsewhere: None,
        }
    }

    /// Returns the outcome of a failure that may come from this machine or this moment.
    pub(crate) fn failed_here(diagnostic: Diagnostic) -> Self {
        Self {
            is_of_machine: true,
            ..Self::failed(diagnostic)
        }
    }

    /// Returns the outcome of a cancelled request.
    pub fn cancelled() -> Self {
        Self {
            status: OutcomeStatus::Cancelled,
            outputs: Vec::new(),
            discovered: Vec::new(),
            diagnostics: Vec::new(),
            is_of_machine: false,
            elsewhere: None,
        }
    }
}
