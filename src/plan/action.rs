//! Actions: the units of work of a course, with their inputs, parameters and outputs.

use std::sync::Arc;

use crate::course::deck::{Deck, ExecutionCell, Notebook, Surroundings};
use crate::course::words::ImageKind;
use crate::course::{Format, Kind, Lang, ProgLang, RelPath};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::events::ActionKind;

use super::key::{ActionKey, KeyParts};

/// Index of an action in its [`super::Plan`].
pub(crate) type ActionIndex = usize;

/// One unit of work, as far as code outside this module needs to know it. How it is made is in its [`Recipe`], which is
/// made again when it is needed: recipes of a whole course are large.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    /// Identity across runs, such as `execute slides/m/t/slides_x.py de`.
    pub id: Arc<str>,
    /// What it does.
    pub kind: ActionKind,
    /// The file the author edits.
    pub source: RelPath,
    /// Files it reads, with the digests that its key was made of.
    pub inputs: Arc<[(RelPath, Digest)]>,
    /// The digest over the components of its key, without those that come from the actions in `after`.
    pub key: ActionKey,
    /// Actions whose results it needs: the digests of their outputs are further components of its key.
    pub after: Vec<ActionIndex>,
    /// Its results, and where they are published.
    pub outputs: Box<[Output]>,
    /// Warnings found while planning it; reported whenever it is part of a run.
    pub warnings: Box<[Diagnostic]>,
    /// Errors that planning found in its source, which make the action impossible; `None` if there are none.
    pub errors: Option<Box<[Diagnostic]>>,
}

/// An action together with everything that is needed to make it.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// The identity of the action.
    pub id: String,
    /// What it does.
    pub kind: ActionKind,
    /// The file the author edits.
    pub source: RelPath,
    /// Files it reads, with the digests that its key was made of.
    pub inputs: Vec<(RelPath, Digest)>,
    /// The components of its key, without those that come from the actions in `after`.
    pub parts: KeyParts,
    /// Actions whose results it needs.
    pub after: Vec<ActionIndex>,
    /// What to make.
    pub make: Make,
    /// Its results, and where they are published.
    pub outputs: Vec<Output>,
    /// Warnings found while planning it.
    pub warnings: Vec<Diagnostic>,
}

/// One result of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// Its name within the action's result, such as `completed.html`.
    pub name: Arc<str>,
    /// Where it is published: paths relative to the course root, or absolute where the output root lies outside.
    pub destinations: Box<[Arc<str>]>,
}

/// How an action is made: one variant for each way.
#[derive(Clone, Debug)]
pub(crate) enum Make {
    /// Write a notebook or script in this process.
    Deck(DeckWork),
    /// Write a text that was generated during planning.
    Text(Arc<str>),
    /// Run code cells.
    Execute(ExecuteWork),
    /// Render pages.
    Html(HtmlWork),
    /// Render the page of a folder's notebook, or write it as a notebook in this process, by the kind of the action.
    Notebook(NotebookWork),
    /// Render a PlantUML diagram.
    Plantuml(DiagramWork),
    /// Render a draw.io diagram.
    Drawio(DiagramWork),
    /// Copy the source.
    Copy,
    /// Impossible: planning found these errors in the source.
    Invalid(Vec<Diagnostic>),
}

/// A notebook or script of a deck.
#[derive(Clone, Debug)]
pub(crate) struct DeckWork {
    /// The cells.
    pub deck: Arc<Deck>,
    /// Its programming language.
    pub prog_lang: ProgLang,
    /// The language of the output.
    pub lang: Lang,
    /// [`Format::Notebook`] or [`Format::Code`].
    pub format: Format,
    /// The audience.
    pub kind: Kind,
    /// The images and links of its text cells.
    pub surroundings: Arc<Surroundings>,
    /// Images that are embedded in it.
    pub images: Vec<InlineImage>,
}

/// An image that is embedded in a notebook.
#[derive(Clone, Debug)]
pub(crate) struct InlineImage {
    /// The URL in the deck.
    pub url: String,
    /// Where its bytes come from.
    pub source: ImageSource,
}

/// Where the bytes of an image come from.
#[derive(Clone, Debug)]
pub(crate) enum ImageSource {
    /// A file with this digest.
    File(RelPath, Digest),
    /// The result of the action at this position of [`Action::after`].
    Result(usize),
}

/// The execution of a deck in one language. Its result is named [`EXECUTED`].
#[derive(Clone, Debug)]
pub(crate) struct ExecuteWork {
    /// The cells to run.
    pub cells: Arc<[ExecutionCell]>,
    /// Its programming language.
    pub prog_lang: ProgLang,
    /// The name of the kernelspec.
    pub kernel: Arc<str>,
    /// Files in the working directory, as pairs of source and path in that directory.
    pub files: Vec<(RelPath, RelPath)>,
    /// The directory of the course in which the cells run, relative to its root; `None` for one of their own.
    pub directory: Option<Arc<str>>,
    /// The results in the author's file, which are taken if the execution is not known yet.
    pub stored: Option<Stored>,
    /// Whether to go on after failing cells.
    pub skip_errors: bool,
    /// Seconds that one cell may run; 0 for no limit.
    pub cell_timeout: u64,
}

/// The results of an execution as a notebook stores them: outputs and the number in the prompt, one for each cell.
pub(crate) type Stored = Arc<[(Vec<serde_json::Value>, Option<i64>)]>;

/// A notebook of a folder.
#[derive(Clone, Debug)]
pub(crate) struct NotebookWork {
    /// The notebook, with the results that do not come from its execution.
    pub notebook: Arc<Notebook>,
    /// The cells whose results it shows; `None` if it is not executed.
    pub executed: Option<Arc<[ExecutionCell]>>,
}

/// The name of an execution's result.
pub(crate) const EXECUTED: &str = "executed.json";

/// The pages of a deck in one language.
#[derive(Clone, Debug)]
pub(crate) struct HtmlWork {
    /// The cells.
    pub deck: Arc<Deck>,
    /// Its programming language.
    pub prog_lang: ProgLang,
    /// The language of the pages.
    pub lang: Lang,
    /// The kinds, one page each, named `<kind>.html`.
    pub kinds: Vec<Kind>,
    /// The cells whose results the pages show; `None` for pages without results.
    pub executed: Option<Arc<[ExecutionCell]>>,
    /// The images and links of the pages' text cells.
    pub surroundings: Arc<Surroundings>,
    /// Images that are embedded in the pages.
    pub images: Vec<InlineImage>,
}

/// A diagram and how it is rendered. Its result is named `image.png` or `image.svg`.
#[derive(Clone, Debug)]
pub(crate) struct DiagramWork {
    /// The diagram's text: exactly the bytes whose digest is in the key, without a byte order mark.
    pub text: Arc<str>,
    /// The format of the result.
    pub format: ImageKind,
}

impl Recipe {
    /// Returns the action without the recipe.
    pub(crate) fn action(&self) -> Action {
        Action {
            id: self.id.as_str().into(),
            kind: self.kind,
            source: self.source.clone(),
            inputs: self.inputs.as_slice().into(),
            key: self.parts.key(),
            after: self.after.clone(),
            outputs: self.outputs.as_slice().into(),
            warnings: self.warnings.as_slice().into(),
            errors: match &self.make {
                Make::Invalid(errors) => Some(errors.as_slice().into()),
                _ => None,
            },
        }
    }
}

impl Action {
    /// Returns whether a worker makes it. Any other action is made in this process, or cannot be made.
    pub(crate) fn needs_worker(&self) -> bool {
        ActionKind::OF_WORKERS.contains(&self.kind) && self.errors.is_none()
    }

    /// Returns whether it reads this file, or a file in this directory, as far as that is known before it runs.
    pub(crate) fn reads(&self, path: &RelPath) -> bool {
        let mut inputs = self.inputs.iter().map(|(input, _)| input);
        self.source.starts_with(path) || inputs.any(|input| input.starts_with(path))
    }
}
