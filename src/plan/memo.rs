//! Plans of sources that did not change: a resident process plans only what an edit touches.
//!
//! An entry says what it was made of: the tree and layout of its source, every file that was read (by its digest), the
//! links of other decks if it has any, and the world: settings, tools, what the specification says for all decks.
//! [`super::saved`] keeps a memo from one process to the next.

use std::cell::RefCell;
use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::course::RelPath;
use crate::course::layout::{DeckOutputs, Layout};
use crate::course::spec::Spec;
use crate::course::tree::Tree;
use crate::digest::Digest;

use super::action::{Action, ActionIndex, Recipe};
use super::rules;
use super::rules::program::Programs;
use super::rules::surroundings::Rendered;
use super::{Context, Files, Plan, Source, texts};

/// Remembered plans, to be kept from one planning to the next.
#[derive(Default)]
pub struct Memo {
    pub(super) world: Option<Digest>,
    links: Option<Digest>,
    pub(super) entries: HashMap<Place, Entry>,
    /// How often was planned: entries of another time are of sources that are gone.
    time: u64,
}

/// What the specification, the tree and the layout say of every source, in the order of the layout, as digests.
pub struct Bases {
    diagrams: Vec<Option<Digest>>,
    copies: Vec<Option<Digest>>,
    decks: Vec<Option<Digest>>,
}

impl Bases {
    /// Those of everything that is laid out.
    pub fn of(spec: &Spec, tree: &Tree, layout: &Layout) -> Self {
        let deck = |deck: &DeckOutputs| {
            let section = &tree.sections[deck.section];
            let topic = &section.topics[deck.topic];
            let reference = &spec.sections[section.index].topics[topic.topic];
            digest(&(deck, topic, reference))
        };
        Self {
            diagrams: layout.diagrams.iter().map(digest).collect(),
            copies: layout.copies.iter().map(digest).collect(),
            decks: layout.decks.iter().map(deck).collect(),
        }
    }
}

/// None, which is like nothing else, for what has no bytes.
fn digest(value: &impl Serialize) -> Option<Digest> {
    postcard::to_allocvec(value).ok().map(Digest::of)
}

/// Where a source stands: a topic may be part of several sections, and a file may be copied and be a deck.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Place {
    Diagram(RelPath),
    Copy(RelPath),
    Deck(usize, usize, RelPath),
}

pub(super) struct Entry {
    /// What the tree and the layout say of the source.
    pub(super) basis: Option<Digest>,
    /// Files that were read, with their digests; none for those that were looked for and not found.
    pub(super) reads: Vec<(RelPath, Option<Digest>)>,
    /// What links between decks could lead to, if this one has links.
    pub(super) links: Option<Digest>,
    /// The index of the first of its actions.
    pub(super) first: ActionIndex,
    /// When it was last planned.
    pub(super) time: u64,
    pub(super) actions: Vec<Arc<Action>>,
    /// Where texts go that planning made.
    pub(super) texts: Vec<Arc<str>>,
    pub(super) programs: Programs,
}

impl Memo {
    /// A memo that remembers this.
    pub(super) fn with(world: Option<Digest>, entries: HashMap<Place, Entry>) -> Self {
        Self {
            world,
            entries,
            ..Self::default()
        }
    }

    /// Forgets everything when something changed that any source may depend on.
    pub(super) fn begin(&mut self, context: &Context<'_>) {
        let world = world(context);
        if self.world != Some(world) {
            self.entries.clear();
        }
        self.world = Some(world);
        self.links = None;
        self.time += 1;
    }

    /// Forgets sources that are no longer planned.
    pub(super) fn end(&mut self) {
        let time = self.time;
        self.entries.retain(|_, entry| entry.time == time);
    }

    /// Adds the action of a diagram.
    pub(super) fn diagram(
        &mut self,
        context: &Context<'_>,
        bases: &Bases,
        number: usize,
        plan: &mut Plan,
    ) {
        let diagram = &context.layout.diagrams[number];
        let place = Place::Diagram(diagram.diagram.at.clone());
        self.add(
            context,
            place,
            bases.diagrams[number],
            plan,
            |context, _| {
                let recipe = rules::diagram::action(context, diagram);
                (vec![recipe], Programs::default())
            },
        );
    }

    /// Adds the action of a copied file.
    pub(super) fn copy(
        &mut self,
        context: &Context<'_>,
        bases: &Bases,
        number: usize,
        plan: &mut Plan,
    ) {
        let copy = &context.layout.copies[number];
        let place = Place::Copy(copy.source.clone());
        self.add(context, place, bases.copies[number], plan, |context, _| {
            let recipe = rules::copy::action(context, copy);
            (vec![recipe], Programs::default())
        });
    }

    /// Adds all actions of a deck.
    pub(super) fn deck(
        &mut self,
        context: &Context<'_>,
        bases: &Bases,
        number: usize,
        rendered: &Rendered,
        plan: &mut Plan,
        programs: &mut Programs,
    ) {
        let deck = &context.layout.decks[number];
        let topic = &context.tree.sections[deck.section].topics[deck.topic];
        let at = topic.decks[deck.deck].at.clone();
        let place = Place::Deck(deck.section, deck.topic, at);
        let basis = bases.decks[number];
        let entry = self.add(context, place, basis, plan, |context, first| {
            rules::deck::actions(context, deck, rendered, first)
        });
        programs.extend(&entry.programs);
    }

    fn add(
        &mut self,
        context: &Context<'_>,
        place: Place,
        basis: Option<Digest>,
        plan: &mut Plan,
        make: impl FnOnce(&Context<'_>, ActionIndex) -> (Vec<Recipe>, Programs),
    ) -> &Entry {
        let first = plan.actions.len();
        let links = &mut self.links;
        let entry = match self.entries.entry(place) {
            Slot::Vacant(slot) => slot.insert(made(context, links, basis, first, make)),
            Slot::Occupied(slot) => {
                let entry = slot.into_mut();
                if basis.is_none() || entry.basis != basis || !entry.still_holds(context, links) {
                    *entry = made(context, links, basis, first, make);
                }
                entry
            }
        };
        entry.move_to(first);
        entry.time = self.time;
        plan.actions.extend(entry.actions.iter().cloned());
        plan.texts.extend(entry.texts.iter().cloned());
        entry
    }
}

/// What links between decks can lead to, as a digest; found out once for each planning.
fn links_of(context: &Context<'_>, links: &mut Option<Digest>) -> Digest {
    *links.get_or_insert_with(|| Digest::of(context.references.description()))
}

/// Plans a source and notes what that took.
fn made(
    context: &Context<'_>,
    links: &mut Option<Digest>,
    basis: Option<Digest>,
    first: ActionIndex,
    make: impl FnOnce(&Context<'_>, ActionIndex) -> (Vec<Recipe>, Programs),
) -> Entry {
    let noting = Noting {
        files: context.files,
        reads: RefCell::default(),
    };
    context.references.take_followed();
    let (recipes, programs) = make(
        &Context {
            files: &noting,
            ..context.clone()
        },
        first,
    );
    let has_links = context.references.take_followed();
    Entry {
        basis,
        reads: noting.reads.into_inner().into_iter().collect(),
        links: has_links.then(|| links_of(context, links)),
        first,
        time: 0,
        texts: texts(&recipes).collect(),
        actions: recipes
            .iter()
            .map(|recipe| Arc::new(recipe.action()))
            .collect(),
        programs,
    }
}

impl Entry {
    /// Whether everything that was read is as it was.
    fn still_holds(&self, context: &Context<'_>, links: &mut Option<Digest>) -> bool {
        let mut reads = self.reads.iter();
        reads.all(|(path, digest)| context.files.digest(path) == *digest)
            && (self.links.is_none() || self.links == Some(links_of(context, links)))
    }

    /// Gives its actions other indices. Those that they wait for are its own, or diagrams, which are part of the world
    /// where decks wait for them.
    fn move_to(&mut self, first: ActionIndex) {
        let before = std::mem::replace(&mut self.first, first);
        if before == first {
            return;
        }
        for action in &mut self.actions {
            if action.after.iter().any(|index| *index >= before) {
                for index in &mut Arc::make_mut(action).after {
                    if *index >= before {
                        *index = *index - before + first;
                    }
                }
            }
        }
    }
}

/// Files that note which of them are read.
struct Noting<'a> {
    files: &'a dyn Files,
    reads: RefCell<BTreeMap<RelPath, Option<Digest>>>,
}

impl Files for Noting<'_> {
    fn read(&self, path: &RelPath) -> Option<Source> {
        let source = self.files.read(path);
        let digest = source.as_ref().map(|source| source.digest);
        self.reads.borrow_mut().insert(path.clone(), digest);
        source
    }

    fn digest(&self, path: &RelPath) -> Option<Digest> {
        let digest = self.files.digest(path);
        self.reads.borrow_mut().insert(path.clone(), digest);
        digest
    }
}

/// A digest of what any source may depend on besides files.
fn world(context: &Context<'_>) -> Digest {
    let spec = context.spec;
    let tools = context.tools;
    let kernels: BTreeMap<_, _> = tools.kernels.iter().collect();
    let diagrams: Vec<&RelPath> = match spec.images.inline {
        true => {
            let diagrams = context.layout.diagrams.iter();
            diagrams.map(|diagram| &diagram.diagram.rendered).collect()
        }
        false => Vec::new(),
    };
    Digest::of(format!(
        "{:?}",
        (
            (&spec.author, &spec.organization, &spec.images),
            (&context.settings.notebook, &context.settings.diagrams),
            context.target_roots,
            (&tools.html, kernels, &tools.plantuml, &tools.drawio),
            diagrams,
        )
    ))
}
