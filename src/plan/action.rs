//! Actions: the units of work of a course, with their inputs, parameters and outputs.

use std::sync::Arc;

use crate::course::deck::{Deck, ExecutionCell, Surroundings};
use crate::course::words::ImageKind;
use crate::course::{Format, Kind, Lang, ProgLang, RelPath};
use crate::digest::Digest;
use crate::events::{ActionKind, Diagnostic};

use super::key::{ActionKey, KeyParts};

/// Index of an action in its [`super::Plan`].
pub type ActionIndex = usize;

/// One unit of work, as far as everybody has to know it. What it is made of, and how, is in its [`Recipe`], which is made
/// again when it is needed: recipes of a whole course are large.
#[derive(Clone, Debug)]
pub struct Action {
    /// Identity over runs, such as `execute slides/m/t/slides_x.py de`.
    pub id: Arc<str>,
    /// What it does.
    pub kind: ActionKind,
    /// The file the author edits.
    pub source: RelPath,
    /// Files it reads, with the digests that its key was made of.
    pub inputs: Arc<[(RelPath, Digest)]>,
    /// The digest over the components of its key, without those that come from the actions in `after`.
    pub key: ActionKey,
    /// Actions whose results it needs: their output digests are further components of its key.
    pub after: Vec<ActionIndex>,
    /// What comes out, and where it goes.
    pub outputs: Box<[Output]>,
    /// Warnings found while planning it; shown whenever it is part of a run.
    pub warnings: Box<[Diagnostic]>,
    /// Errors that planning found in its source, so that nothing can be made.
    pub errors: Option<Box<[Diagnostic]>>,
}

/// An action with what it is made of.
#[derive(Clone, Debug)]
pub struct Recipe {
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
    /// What comes out, and where it goes.
    pub outputs: Vec<Output>,
    /// Warnings found while planning it.
    pub warnings: Vec<Diagnostic>,
}

/// One result of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name in the action's result, such as `completed.html`.
    pub name: Arc<str>,
    /// Where it is published: paths relative to the course root, or absolute where the output root lies outside.
    pub destinations: Box<[Arc<str>]>,
}

/// What to make: one variant for each way of making things.
#[derive(Clone, Debug)]
pub enum Make {
    /// Write a notebook or script in this process.
    Deck(DeckWork),
    /// Write a text that planning made.
    Text(Arc<str>),
    /// Run code cells.
    Execute(ExecuteWork),
    /// Render pages.
    Html(HtmlWork),
    /// Render a PlantUML diagram.
    Plantuml(DiagramWork),
    /// Render a draw.io diagram.
    Drawio(DiagramWork),
    /// Copy the source.
    Copy,
    /// Nothing can be made: the source has errors that planning found.
    Invalid(Vec<Diagnostic>),
}

/// A notebook or script of a deck.
#[derive(Clone, Debug)]
pub struct DeckWork {
    /// The cells.
    pub deck: Arc<Deck>,
    /// Its programming language.
    pub prog_lang: ProgLang,
    /// The language of the output.
    pub lang: Lang,
    /// [`Format::Notebook`] or [`Format::Code`].
    pub format: Format,
    /// For whom it is.
    pub kind: Kind,
    /// How it shows images and links.
    pub surroundings: Arc<Surroundings>,
    /// Images that become a part of it.
    pub images: Vec<InlineImage>,
}

/// An image that becomes a part of a notebook.
#[derive(Clone, Debug)]
pub struct InlineImage {
    /// How the deck names it.
    pub url: String,
    /// Where its bytes are.
    pub source: ImageSource,
}

/// Where the bytes of an image are.
#[derive(Clone, Debug)]
pub enum ImageSource {
    /// In a file with this digest.
    File(RelPath, Digest),
    /// In the result of the action at this position of [`Action::after`].
    Result(usize),
}

/// The execution of a deck in one language. Its result is named [`EXECUTED`].
#[derive(Clone, Debug)]
pub struct ExecuteWork {
    /// The cells to run.
    pub cells: Arc<[ExecutionCell]>,
    /// Its programming language.
    pub prog_lang: ProgLang,
    /// The name of the kernelspec.
    pub kernel: &'static str,
    /// Files in the working directory: (source, path there).
    pub files: Vec<(RelPath, RelPath)>,
    /// Go on after failing cells.
    pub skip_errors: bool,
    /// Seconds that one cell may run; 0 for no limit.
    pub cell_timeout: u64,
}

/// The name of an execution's result.
pub const EXECUTED: &str = "executed.json";

/// The pages of a deck in one language.
#[derive(Clone, Debug)]
pub struct HtmlWork {
    /// The cells.
    pub deck: Arc<Deck>,
    /// Its programming language.
    pub prog_lang: ProgLang,
    /// The language of the pages.
    pub lang: Lang,
    /// The kinds, one page each, named `<kind>.html`.
    pub kinds: Vec<Kind>,
    /// The cells whose results the pages show, when they show results.
    pub executed: Option<Arc<[ExecutionCell]>>,
    /// How the pages show images and links.
    pub surroundings: Arc<Surroundings>,
    /// Images that become a part of the pages.
    pub images: Vec<InlineImage>,
}

/// A diagram and how it is rendered. Its result is named `image.png` or `image.svg`.
#[derive(Clone, Debug)]
pub struct DiagramWork {
    /// The diagram's text, the very bytes whose digest is in the key.
    pub text: Arc<str>,
    /// The format of the result.
    pub format: ImageKind,
}

impl Recipe {
    /// What everybody has to know of it.
    pub fn action(&self) -> Action {
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
    /// Whether a worker makes it; otherwise it is made in this process, or cannot be made.
    pub fn needs_worker(&self) -> bool {
        ActionKind::OF_WORKERS.contains(&self.kind) && self.errors.is_none()
    }

    /// Whether it reads this file (as far as is known before it runs).
    pub fn reads(&self, path: &RelPath) -> bool {
        self.source == *path || self.inputs.iter().any(|(input, _)| input == path)
    }
}
