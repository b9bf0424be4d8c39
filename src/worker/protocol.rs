//! The protocol between clm and its own worker programs: JSON lines on standard input and output.
//!
//! A worker sends a hello, receives work, reports progress and replies with a result:
//!
//! ```text
//! <- {"hello":{"protocol":1,"kind":"plantuml","tool":"PlantUML 1.2026.8","fingerprint":"...","capacity":2}}
//! -> {"id":7,"work":{"source":"slides/a.pu","root":"/course","out":"/staging/7","params":{"format":"png"}}}
//! <- {"id":7,"progress":{"done":3,"total":21,"cell":"cell 3"}}
//! <- {"id":7,"discovered":["slides/b.iuml"]}
//! -> {"id":7,"cancel":true}
//! <- {"id":7,"result":{"status":"ok","outputs":[{"name":"image.png"}],"discovered":["slides/b.iuml"],"diagnostics":[]}}
//! ```
//!
//! Discovered files may be sent at once, besides in the result: they are used if the process ends before it sends a
//! result. Lines that do not start with `{` are output of some tool and are logged. Any other line that violates the
//! protocol ends the process.

mod lines;
mod process;
mod worker;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::request::OutcomeStatus;
use super::{Outcome, Progress, Request, Work, WorkerError};
use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::error::BUG_HINT;

#[doc(hidden)]
pub use lines::Lines;
pub(super) use process::ended;
pub(crate) use process::{ProtocolProcess, StartLimits};
pub use worker::{ProtocolWorker, RequestLimits};

/// The protocol version that both sides must use.
pub const PROTOCOL: u32 = 1;

/// The first message of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the protocol.
    pub protocol: u32,
    /// The name of the action kind that it runs.
    pub kind: String,
    /// The name and version of the tool, for messages.
    pub tool: String,
    /// The versions of everything that its outputs depend on.
    #[serde(default)]
    pub fingerprint: String,
    /// How many requests it can process at once.
    #[serde(default = "one")]
    pub capacity: u32,
}

fn one() -> u32 {
    1
}

/// A message to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToWorker {
    /// The id of the request.
    pub id: u64,
    /// The work, if this is a new request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<WorkMessage>,
    /// Whether the request is cancelled.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cancel: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The work of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkMessage {
    /// The source file, relative to the root.
    pub source: RelPath,
    /// The course root.
    pub root: String,
    /// The directory for the produced files.
    pub out: String,
    /// The parameters of this kind of work.
    pub params: Value,
}

/// A message from a worker: a hello, or progress, discoveries or the result of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FromWorker {
    /// The first message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hello: Option<Hello>,
    /// The id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The progress of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressMessage>,
    /// Files below the root that it has just read or looked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discovered: Vec<RelPath>,
    /// The result of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultMessage>,
}

/// The progress of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressMessage {
    /// The number of completed steps.
    pub done: u64,
    /// The number of all steps.
    pub total: u64,
    /// The current step.
    #[serde(default, alias = "label")]
    pub cell: String,
}

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultMessage {
    /// The outcome.
    pub status: OutcomeStatus,
    /// The produced files.
    #[serde(default)]
    pub outputs: Vec<OutputMessage>,
    /// Files below the root that were read or looked for.
    #[serde(default)]
    pub discovered: Vec<RelPath>,
    /// Diagnostics for the author.
    #[serde(default)]
    pub diagnostics: Vec<Diagnostic>,
}

/// A produced file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputMessage {
    /// Its name in the output directory of the request.
    pub name: String,
}

impl ToWorker {
    /// Creates the message that sends the work of a request.
    pub fn work(request: &Request) -> Result<Self, WorkerError> {
        Ok(Self {
            id: request.id,
            work: Some(WorkMessage {
                source: request.source.clone(),
                root: text_of(&request.root)?,
                out: text_of(&request.out)?,
                params: params(&request.work)?,
            }),
            cancel: false,
        })
    }

    /// Creates the message that cancels a request.
    pub fn cancel(id: u64) -> Self {
        Self {
            id,
            work: None,
            cancel: true,
        }
    }
}

/// Returns a path as text: JSON is Unicode, so other paths cannot be sent.
fn text_of(path: &Path) -> Result<String, WorkerError> {
    let text = path.to_str().ok_or_else(|| {
        WorkerError::Io(format!(
            "the path `{}` is not UTF-8 text: choose a directory with another name",
            path.display()
        ))
    })?;
    Ok(text.to_owned())
}

/// Returns the parameters of the kinds of work that clm's own worker programs do.
fn params(work: &Work) -> Result<Value, WorkerError> {
    match work {
        Work::Plantuml(work) => Ok(json!({
            "text": work.text,
            "format": work.format,
            "dpi": work.dpi,
            "limit": work.limit,
        })),
        Work::Html(work) => Ok(json!({ "pages": work.pages })),
        Work::Drawio(_) | Work::Execute(_) => Err(WorkerError::Bug(format!(
            "a worker program was given work of the kind `{}`",
            work.kind().name()
        ))),
    }
}

impl From<ProgressMessage> for Progress {
    fn from(message: ProgressMessage) -> Self {
        Self {
            done: message.done,
            total: message.total,
            label: message.cell,
        }
    }
}

impl ResultMessage {
    /// Checks the message against the output directory of the request; `Err` says what is wrong.
    pub fn into_outcome(self, out: &Path) -> Result<Outcome, String> {
        let mut outputs = Vec::new();
        for OutputMessage { name } in self.outputs {
            if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) {
                return Err(format!("`{name}` is not the name of a produced file"));
            }
            if !out.join(&name).is_file() {
                return Err(format!("the produced file `{name}` is not there"));
            }
            outputs.push(name);
        }
        let mut diagnostics = self.diagnostics;
        if self.status == OutcomeStatus::Failed && diagnostics.is_empty() {
            diagnostics.push(Diagnostic::error("it failed without saying why").hint(BUG_HINT));
        }
        Ok(Outcome {
            status: self.status,
            outputs,
            discovered: self.discovered,
            diagnostics,
            is_of_machine: false,
            elsewhere: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Severity;
    use crate::worker::request::{ImageFormat, PlantumlWork};

    #[test]
    fn messages_look_as_documented() {
        let request = Request {
            id: 7,
            source: RelPath::new("a/b.pu").unwrap(),
            root: "/course".into(),
            out: "/out".into(),
            work: Work::Plantuml(PlantumlWork {
                text: "x".into(),
                format: ImageFormat::Png,
                dpi: 200,
                limit: 8192,
            }),
        };
        let work = serde_json::to_string(&ToWorker::work(&request).unwrap()).unwrap();
        assert_eq!(
            work,
            r#"{"id":7,"work":{"source":"a/b.pu","root":"/course","out":"/out","params":{"dpi":200,"format":"png","limit":8192,"text":"x"}}}"#
        );
        let cancel = serde_json::to_string(&ToWorker::cancel(7)).unwrap();
        assert_eq!(cancel, r#"{"id":7,"cancel":true}"#);
        let result: FromWorker = serde_json::from_str(
            r#"{"id":7,"result":{"status":"failed","discovered":["a/c.iuml"],
                "diagnostics":[{"severity":"error","file":"a/b.pu","line":3,"message":"m"}]}}"#,
        )
        .unwrap();
        let result = result.result.unwrap();
        assert_eq!(result.discovered, [RelPath::new("a/c.iuml").unwrap()]);
        assert_eq!(result.diagnostics[0].severity, Severity::Error);
        assert_eq!(result.diagnostics[0].line, Some(3));
    }

    #[test]
    fn results_are_not_believed_blindly() {
        let out = tempfile::tempdir().unwrap();
        std::fs::write(out.path().join("image.png"), "x").unwrap();
        let result = |name: &str| ResultMessage {
            status: OutcomeStatus::Ok,
            outputs: vec![OutputMessage { name: name.into() }],
            discovered: Vec::new(),
            diagnostics: Vec::new(),
        };
        assert!(result("image.png").into_outcome(out.path()).is_ok());
        for name in ["", "..", "../image.png", "/etc/passwd", "a\\b", "other.png"] {
            assert!(result(name).into_outcome(out.path()).is_err(), "{name}");
        }
        let outside = r#"{"id":1,"result":{"status":"ok","discovered":["/etc/passwd"]}}"#;
        assert!(serde_json::from_str::<FromWorker>(outside).is_err());
    }
}
