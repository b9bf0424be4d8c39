//! The plan of a course: its actions, their keys, their outputs and what they wait for.
//!
//! Planning is pure: the same course, settings and tool versions give the same plan.

pub(crate) mod action;
pub(crate) mod key;
mod memo;
mod recipes;
mod rules;
pub(crate) mod saved;

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Settings;
use crate::course::layout::{Destination, Layout, Place, References};
use crate::course::spec::Spec;
use crate::course::tree::Tree;
use crate::course::{Lang, Names, RelPath, lfs};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::error::{Dir, io_hint};

#[doc(hidden)]
pub use crate::course::tree::is_library;
pub(crate) use action::{
    Action, ActionIndex, EXECUTED, ExecuteWork, ImageSource, InlineImage, Make, NotebookWork,
    Recipe, Stored,
};
pub(crate) use key::ActionKey;
pub use key::KeyParts;
pub(crate) use memo::{Bases, Memo};
pub(crate) use recipes::Recipes;
pub(crate) use rules::deck::{DataUrls, page, written};
pub(crate) use rules::index::IndexPage;
pub(crate) use rules::notebook::{PAGE, notebook_beside, with_results};
pub(crate) use rules::program::ProgramPlace;
pub(crate) use rules::surroundings::mime;

/// All actions of a course. Every action comes after those that it waits for.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The actions. One that is unchanged since an earlier plan of the same [`Memo`] shares the allocation.
    pub actions: Vec<Arc<Action>>,
    /// Outputs that the layout does not name, because they depend on the content of decks.
    pub placed: Vec<ProgramPlace>,
    /// The page that lists all others, if a folder has one that no notebook is made into.
    pub index: Option<IndexPage>,
    /// The destinations of texts that planning generated from several decks, or besides the decks' own outputs.
    pub texts: Vec<Arc<str>>,
    /// The source of the actions, by the index of its first action.
    subjects: Vec<(ActionIndex, Subject)>,
    /// The recipes of the last actions, which belong to no single source, and the index of the first of them.
    projects: (ActionIndex, Vec<Arc<Recipe>>),
}

/// A source, by its index in the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Diagram(usize),
    Copy(usize),
    Deck(usize),
}

/// The files of a course. Within one plan, the content of each file is the same every time.
pub(crate) trait Files: Sync {
    /// Returns the bytes of a file, or `None` if it cannot be read or lies outside the course.
    fn read(&self, path: &RelPath) -> Option<Source>;

    /// Returns the digest of a file, without reading the file if the digest is known.
    fn digest(&self, path: &RelPath) -> Option<Digest>;

    /// Returns the error of the system if a file cannot be read now.
    fn why_unreadable(&self, path: &RelPath) -> Option<std::io::Error>;

    /// Returns the size of a file in bytes.
    fn size(&self, path: &RelPath) -> Option<u64>;

    /// Returns whether a path stays within the course.
    fn is_inside(&self, path: &RelPath) -> bool;

    /// Returns the error about a file that exists but could not be read.
    fn failure(&self, path: &RelPath) -> Option<Diagnostic>;
}

/// The bytes of a source file and their digest.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The content.
    pub bytes: Arc<[u8]>,
    /// The digest of exactly these bytes.
    pub digest: Digest,
}

/// Versions of the tools, as they enter keys; `None` for a tool that is not installed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fingerprints {
    /// The HTML renderer.
    pub html: Option<String>,
    /// Kernel environments by kernelspec name.
    pub kernels: HashMap<String, String>,
    /// PlantUML and its layout engine.
    pub plantuml: Option<String>,
    /// The draw.io viewer and browser.
    pub drawio: Option<String>,
}

/// The input of planning.
#[derive(Clone)]
pub(crate) struct Context<'a> {
    /// The specification.
    pub spec: &'a Spec,
    /// The sources.
    pub tree: &'a Tree,
    /// Where outputs go.
    pub layout: &'a Layout,
    /// The possible targets of links between decks.
    pub references: References<'a>,
    /// Project settings.
    pub settings: &'a Settings,
    /// Versions of the tools.
    pub tools: &'a Fingerprints,
    /// The source files.
    pub files: &'a dyn Files,
    /// The shared strings of output paths.
    pub names: &'a Names,
}

impl Context<'_> {
    fn destinations_of(&self, places: &[Place]) -> Box<[Arc<str>]> {
        self.destinations(places.iter().map(|place| &place.at))
    }

    fn destinations<'a>(
        &self,
        destinations: impl IntoIterator<Item = &'a Destination>,
    ) -> Box<[Arc<str>]> {
        let mut paths: Vec<Arc<str>> = destinations
            .into_iter()
            .map(|destination| Arc::clone(destination.output()))
            .collect();
        paths.sort_unstable();
        paths.dedup();
        paths.into()
    }

    fn organization(&self, lang: Lang) -> &str {
        self.spec.organization.get(lang)
    }
}

/// Plans everything that the layout names. Entries of `memo` for decks, diagrams and copies that did not change are
/// reused; an empty memo gives an equal plan. `bases` must belong to the context's layout.
#[tracing::instrument(level = "debug", skip_all)]
pub(crate) fn plan(context: &Context<'_>, bases: &Bases, memo: &mut Memo) -> Plan {
    let layout = context.layout;
    let mut plan = Plan::default();
    let mut programs = rules::program::Programs::default();
    memo.update(context, bases);
    let is_whole = context.tree.unread.is_empty() && !memo.has_failures();
    for subject in subjects(layout) {
        if let Some(found) = plan.add(context, memo, subject) {
            programs.extend(found);
        }
    }
    let mut projects = Vec::new();
    // If some decks could not be read, the projects would lack their programs.
    if is_whole {
        rules::project::add(context, &programs, &mut projects);
        if context.spec.folder.is_some() {
            plan.index = rules::index::add(context, &mut projects);
        }
    }
    let first = plan.actions.len();
    plan.texts.extend(texts(&projects));
    plan.actions
        .extend(projects.iter().map(|recipe| Arc::new(recipe.action())));
    plan.projects = (first, projects.into_iter().map(Arc::new).collect());
    plan.placed = programs.placed;
    plan
}

impl Plan {
    /// Adds the actions that a memo has for a source.
    fn add<'m>(
        &mut self,
        context: &Context<'_>,
        memo: &'m mut Memo,
        subject: Subject,
    ) -> Option<&'m rules::program::Programs> {
        let first = self.actions.len();
        self.subjects.push((first, subject));
        let entry = memo.entry(context, subject, first)?;
        self.actions.extend(entry.actions.iter().cloned());
        self.texts.extend(entry.texts.iter().cloned());
        entry.programs.as_deref()
    }
}

/// Lists all sources of a layout in the order of the plan: sources that others wait for come first.
fn subjects(layout: &Layout) -> impl Iterator<Item = Subject> {
    let diagrams = (0..layout.diagrams.len()).map(Subject::Diagram);
    let copies = (0..layout.copies.len()).map(Subject::Copy);
    let decks = (0..layout.decks.len()).map(Subject::Deck);
    diagrams.chain(copies).chain(decks)
}

/// Plans one source; `first` is the index of its first action. `rendered` is only called for decks.
fn recipes_of<'r>(
    context: &Context<'_>,
    subject: Subject,
    rendered: impl FnOnce() -> &'r rules::surroundings::Rendered,
    first: ActionIndex,
) -> (Vec<Recipe>, rules::program::Programs) {
    let layout = context.layout;
    let one = match subject {
        Subject::Diagram(number) => rules::diagram::action(context, &layout.diagrams[number]),
        Subject::Copy(number) => rules::copy::action(context, &layout.copies[number]),
        Subject::Deck(number) if let Some(folder) = &context.spec.folder => {
            let outputs = &layout.decks[number];
            let made = rules::notebook::actions(context, folder, outputs, first);
            return (made, rules::program::Programs::default());
        }
        Subject::Deck(number) => {
            return rules::deck::actions(context, &layout.decks[number], rendered(), first);
        }
    };
    (vec![one], rules::program::Programs::default())
}

/// Maps the place of each rendered image to the index of its action. Diagrams are the first actions of a plan, in
/// order.
fn rendered(layout: &Layout) -> rules::surroundings::Rendered {
    let images = layout.diagrams.iter().zip(0..);
    let images = images.filter(|(entry, _)| entry.is_written_back);
    images
        .map(|(entry, index)| (entry.diagram.rendered.clone(), index))
        .collect()
}

/// Returns the destinations of texts that were generated during planning.
fn texts(recipes: &[Recipe]) -> impl Iterator<Item = Arc<str>> {
    let texts = recipes
        .iter()
        .filter(|recipe| matches!(recipe.make, Make::Text(_)));
    texts
        .flat_map(|recipe| &recipe.outputs)
        .flat_map(|output| output.destinations.iter().cloned())
}

/// Returns an error if a file of any kind is only a pointer of Git LFS. The size decides first, so that large files are
/// not read.
fn lfs_pointer(files: &dyn Files, path: &RelPath) -> Option<Diagnostic> {
    let size = files.size(path)?;
    lfs::SIZES
        .contains(&size)
        .then(|| lfs::pointer(path.as_str(), &files.read(path)?.bytes))?
}

/// The version of a missing tool in a key, so that the key changes when the tool is installed.
const MISSING: &str = "not installed";

/// Returns the error about a source that cannot be read at all.
fn unreadable(files: &dyn Files, source: &RelPath) -> Diagnostic {
    let Some(error) = files.why_unreadable(source) else {
        return Diagnostic::error("the file cannot be read")
            .at(source.as_str(), None)
            .hint("check that it still exists and that you may read it");
    };
    let mut found = Diagnostic::error(format!("the file cannot be read: {error}"));
    found.hint = io_hint(Dir::Other, "read", &error);
    found.at(source.as_str(), None)
}
