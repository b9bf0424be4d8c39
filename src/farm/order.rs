//! What a farm's worker is given and what it answers: the files of an action's input root besides those of the course, and
//! those of its result.
//!
//! The input root of an action has
//!
//! - `request.json`: the [`Order`],
//! - `params`: the arguments of the runner, one in a line,
//! - `course/`: the files of the course that the action reads, at their paths.
//!
//! The result has `out/result.json`, the [`Answer`], and beside it the files that were made.

use serde::{Deserialize, Serialize};

use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::worker::request::OutcomeStatus;
use crate::worker::{Renderers, Work};

/// The file with the order.
pub(crate) const ORDER: &str = "request.json";
/// The file with the arguments of the runner.
pub(crate) const PARAMS: &str = "params";
/// The directory with the files of the course.
pub(crate) const COURSE: &str = "course";
/// The directory of the result.
pub(crate) const OUT: &str = "out";
/// The name of the answer in it.
pub(crate) const ANSWER: &str = "result.json";
/// The version of this exchange. Another one is refused.
const FORMAT: u32 = 1;

/// The work of one action.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    format: u32,
    /// The version of clm: another one may make another result.
    clm: String,
    /// The name of the renderer, see [`Renderers::installed`].
    pub renderer: String,
    /// What the renderer has to be. The result is one of exactly this renderer.
    pub fingerprint: String,
    /// The source, which diagnostics name.
    pub source: RelPath,
    /// The work.
    pub work: Work,
}

impl Order {
    /// Returns the order for some work, which a renderer with this fingerprint has to do.
    pub(crate) fn new(source: RelPath, work: Work, fingerprint: String) -> Self {
        Self {
            format: FORMAT,
            clm: env!("CARGO_PKG_VERSION").to_owned(),
            renderer: work.renderer(),
            fingerprint,
            source,
            work,
        }
    }

    /// Returns why these renderers must not do the work, if so.
    pub(crate) fn objection(&self, renderers: &Renderers) -> Option<Refusal> {
        let here = env!("CARGO_PKG_VERSION");
        if self.format != FORMAT || self.clm != here {
            return Some(Refusal::new(
                format!(
                    "the worker has clm {here}, and the course is built by clm {}",
                    self.clm
                ),
                "install the same version of clm on the workers",
            ));
        }
        let (name, wanted) = (&self.renderer, &self.fingerprint);
        match renderers.installed_fingerprint(name) {
            None => Some(Refusal::new(
                format!("the worker has no renderer `{name}`"),
                "run `clm setup` on the workers, or send such work elsewhere by `[farm.platform]` in `clm.toml`",
            )),
            Some(found) if found != wanted => Some(Refusal::new(
                format!(
                    "the renderer `{name}` of the worker is another one: {found} instead of {wanted}"
                ),
                "install the same versions on the workers and here: `clm setup --lock` writes them into `clm.lock`",
            )),
            Some(_) => None,
        }
    }
}

/// Returns the names of the files that some work makes.
pub(crate) fn outputs(work: &Work) -> Vec<String> {
    match work {
        Work::Plantuml(work) => vec![format!("image.{}", work.format.extension())],
        Work::Drawio(work) => vec![format!("image.{}", work.format.extension())],
        Work::Execute(_) => vec!["executed.json".to_owned()],
        Work::Html(work) => {
            let pages = work.pages.iter();
            pages.map(|page| format!("{}.html", page.name)).collect()
        }
    }
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    /// The work was done, or has an error of the author.
    Made(Made),
    /// It could not be done on that worker.
    Refused(Refusal),
}

impl Answer {
    /// Returns the exit code of the action: farms cache results with the exit code 0, and some of them others, too.
    pub(crate) fn exit_code(&self) -> i32 {
        match self {
            Self::Made(made) if made.status == OutcomeStatus::Ok => 0,
            Self::Made(_) => 1,
            Self::Refused(_) => 2,
        }
    }
}

/// A result, see [`Outcome`](crate::worker::Outcome).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// The status.
    pub status: OutcomeStatus,
    /// The names of the produced files in the directory of the result.
    pub outputs: Vec<String>,
    /// What was read besides the declared inputs, with the digest of its content as the worker saw it; `None` if it was
    /// looked for and not found.
    pub discovered: Vec<(RelPath, Option<Digest>)>,
    /// Diagnostics for the author.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether a failure may come from that machine or that moment.
    pub is_of_machine: bool,
}

/// Why a worker did not do some work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// The reason.
    pub reason: String,
    /// Advice.
    pub hint: Option<String>,
    /// Whether it is not the work that is refused, but this attempt failed, as when a renderer was killed.
    pub is_accident: bool,
}

impl Refusal {
    /// Returns the refusal of all such work.
    pub(crate) fn new(reason: String, hint: &str) -> Self {
        Self {
            reason,
            hint: Some(hint.to_owned()),
            is_accident: false,
        }
    }

    /// Returns the report of an attempt that failed.
    pub(crate) fn accident(reason: String) -> Self {
        Self {
            reason,
            hint: None,
            is_accident: true,
        }
    }
}
