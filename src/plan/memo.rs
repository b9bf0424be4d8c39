//! A cache of plans by source, so that a watch plans only the sources that an edit touches.
//!
//! An entry records what it was made from: the tree and layout of its source, every file that was read (by its digest),
//! the links of other decks if it has any, and the world: settings, tools, and what the specification says for all
//! decks. [`super::saved`] passes a memo from one process to the next.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::course::RelPath;
use crate::course::layout::{DeckOutputs, Layout};
use crate::course::spec::Spec;
use crate::course::tree::{Topic, Tree, TreeSection};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::parallel::{self, lock};

use super::action::{Action, ActionIndex, Make};
use super::rules::program::Programs;
use super::rules::surroundings::Rendered;
use super::{Context, Files, Source, Subject, recipes_of, rendered, subjects, texts};

/// The plans of all sources, reused by the next planning.
#[derive(Default)]
pub(crate) struct Memo {
    pub(super) world: Option<Digest>,
    /// Boxed, because much of a hash map is unused capacity and entries are large.
    pub(super) entries: HashMap<Place, Box<Entry>>,
    /// Plans of sources at the same place as another source, such as a diagram of a topic that belongs to two sections.
    /// They are made anew each time.
    twins: HashMap<Subject, Box<Entry>>,
    /// The number of plannings so far. An entry with another time belongs to a source that is gone.
    time: u64,
}

/// For every source, in the order of the layout, the digest of what the specification, the tree and the layout say of
/// it.
pub(crate) struct Bases {
    diagrams: Vec<Option<Digest>>,
    copies: Vec<Option<Digest>>,
    decks: Vec<Option<Digest>>,
}

impl Bases {
    /// Computes the digests of all sources of a layout.
    pub(crate) fn of(spec: &Spec, tree: &Tree, layout: &Layout) -> Self {
        let offered = offered(spec, tree);
        let deck = |deck: &DeckOutputs| {
            let section = &tree.sections[deck.section];
            let topic = &section.topics[deck.topic];
            let reference = &spec.sections[section.index].topics[topic.topic];
            digest(&(deck, topic, reference, offered.get(deck.section)))
        };
        Self {
            diagrams: layout.diagrams.iter().map(digest).collect(),
            copies: layout.copies.iter().map(digest).collect(),
            decks: layout.decks.iter().map(deck).collect(),
        }
    }

    fn of_subject(&self, subject: Subject) -> Option<Digest> {
        match subject {
            Subject::Diagram(number) => self.diagrams[number],
            Subject::Copy(number) => self.copies[number],
            Subject::Deck(number) => self.decks[number],
        }
    }
}

/// Computes for every section a digest of the files that its outputs contain beside the decks, from all of its topics:
/// they decide whether a deck that shows an image of another topic gets a warning.
fn offered(spec: &Spec, tree: &Tree) -> Vec<Option<Digest>> {
    let of_topic = |topic: &Topic| {
        let copied = topic.images.iter().chain(&topic.data);
        let rendered = topic.diagrams.iter().map(|diagram| &diagram.rendered);
        let files = copied.map(|file| &file.at).chain(rendered);
        digest(&(&topic.home, files.collect::<BTreeSet<_>>()))
    };
    let sections = tree.sections.iter();
    let of_section = |section: &TreeSection| -> Vec<Option<Digest>> {
        section.topics.iter().map(of_topic).collect()
    };
    let all: Vec<_> = sections.map(of_section).collect();
    match spec.images.shared {
        true => vec![digest(&all); all.len()],
        false => all.iter().map(digest).collect(),
    }
}

/// Returns the digest of a value, or `None` if it cannot be serialized. `None` never counts as unchanged.
fn digest(value: &impl Serialize) -> Option<Digest> {
    postcard::to_allocvec(value).ok().map(Digest::of)
}

/// The identity of a source in a course: a topic may be part of several sections, and a file may be both copied and a
/// deck.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Place {
    Diagram(RelPath),
    Copy(RelPath),
    Deck(u32, u32, RelPath),
}

pub(super) struct Entry {
    /// What the tree and the layout say of the source.
    pub(super) basis: Option<Digest>,
    /// Whether a file that exists could not be read.
    pub(super) is_failed: bool,
    /// Files that were read, with their digests; `None` for those that were not found.
    pub(super) reads: Box<[(RelPath, Option<Digest>)]>,
    /// The digest of all possible targets of links between decks, if this deck has such links.
    pub(super) links: Option<Digest>,
    /// The index of the first of its actions.
    pub(super) first: ActionIndex,
    /// The number of the planning that used it last.
    pub(super) time: u64,
    pub(super) actions: Vec<Arc<Action>>,
    /// The destinations of texts that were generated during planning.
    pub(super) texts: Vec<Arc<str>>,
    /// `None` for most sources: only C++ decks have programs.
    pub(super) programs: Option<Box<Programs>>,
}

impl Memo {
    /// Creates a memo with these entries.
    pub(super) fn with(world: Option<Digest>, entries: HashMap<Place, Box<Entry>>) -> Self {
        Self {
            world,
            entries,
            ..Self::default()
        }
    }

    /// Plans the sources that are unknown or have changed, on all processors, and forgets sources that are no longer
    /// planned.
    pub(super) fn update(&mut self, context: &Context<'_>, bases: &Bases) {
        self.prepare(context, bases, subjects(context.layout));
        let time = self.time;
        self.entries.retain(|_, entry| entry.time == time);
    }

    /// Plans those of some sources that are unknown or have changed, on all processors.
    pub(super) fn prepare(
        &mut self,
        context: &Context<'_>,
        bases: &Bases,
        subjects: impl Iterator<Item = Subject>,
    ) {
        let world = world(context);
        if self.world != Some(world) {
            self.entries.clear();
        }
        self.world = Some(world);
        self.time += 1;
        self.twins.clear();
        let stale: Vec<Subject> = subjects
            .filter(|subject| !self.holds(context, bases, *subject))
            .collect();
        let rendered = rendered(context.layout);
        let made = parallel::compute(&stale, |subject| {
            let entry = made(context, &rendered, *subject, bases.of_subject(*subject));
            (place(context, *subject), Box::new(entry))
        });
        let time = self.time;
        for (subject, (place, mut entry)) in stale.into_iter().zip(made) {
            entry.time = time;
            match self.entries.entry(place) {
                Slot::Occupied(slot) if slot.get().time == time => {
                    self.twins.insert(subject, entry);
                }
                Slot::Occupied(mut slot) => *slot.get_mut() = entry,
                Slot::Vacant(slot) => {
                    slot.insert(entry);
                }
            }
        }
    }

    /// Returns whether files that exist could not be read when the sources were planned.
    pub(super) fn has_failures(&self) -> bool {
        let mut entries = self.entries.values().chain(self.twins.values());
        entries.any(|entry| entry.is_failed)
    }

    /// Returns whether the entry of a source is up to date, and marks it as used if it is.
    fn holds(&mut self, context: &Context<'_>, bases: &Bases, subject: Subject) -> bool {
        let Some(entry) = self.entries.get_mut(&place(context, subject)) else {
            return false;
        };
        let basis = bases.of_subject(subject);
        let holds = entry.time != self.time
            && basis.is_some()
            && entry.basis == basis
            && entry.still_holds(context);
        if holds {
            entry.time = self.time;
        }
        holds
    }

    /// Returns the plan of a source, moved so that its first action has the index `first`. [`Memo::update`] or
    /// [`Memo::prepare`] must have planned it before.
    pub(super) fn entry(
        &mut self,
        context: &Context<'_>,
        subject: Subject,
        first: ActionIndex,
    ) -> Option<&Entry> {
        let entry = match self.twins.get_mut(&subject) {
            Some(twin) => twin,
            None => self.entries.get_mut(&place(context, subject))?,
        };
        entry.move_to(first);
        Some(entry)
    }
}

fn place(context: &Context<'_>, subject: Subject) -> Place {
    let layout = context.layout;
    match subject {
        Subject::Diagram(number) => {
            let diagram = &layout.diagrams[number].diagram;
            // One file may have several pictures: the path of the picture distinguishes them.
            let is_part = diagram.part.is_some();
            Place::Diagram(
                if is_part {
                    &diagram.rendered
                } else {
                    &diagram.at
                }
                .clone(),
            )
        }
        Subject::Copy(number) => Place::Copy(layout.copies[number].source.clone()),
        Subject::Deck(number) => {
            let deck = &layout.decks[number];
            let topic = &context.tree.sections[deck.section].topics[deck.topic];
            let at = topic.decks[deck.deck].at.clone();
            Place::Deck(deck.section as u32, deck.topic as u32, at)
        }
    }
}

/// Plans a source and records the files that were read for it.
fn made(
    context: &Context<'_>,
    rendered: &Rendered,
    subject: Subject,
    basis: Option<Digest>,
) -> Entry {
    let noting = Noting {
        files: context.files,
        reads: Mutex::default(),
    };
    let context = Context {
        files: &noting,
        ..context.clone()
    };
    let layout = context.layout;
    // An estimate, after all actions that decks wait for. `Entry::move_to` corrects it.
    let first = layout.diagrams.len() + layout.copies.len();
    let (mut recipes, programs) = recipes_of(&context, subject, || rendered, first);
    let references = &context.references;
    let links = references.are_followed().then(|| references.digest());
    let texts = texts(&recipes).collect();
    let reads = noting.noted();
    let missing = reads.iter().filter(|(_, digest)| digest.is_none());
    let failures: Vec<Diagnostic> = missing
        .filter_map(|(path, _)| noting.files.failure(path))
        .collect();
    if !failures.is_empty() {
        // An output without these files would not be what the author wrote.
        for recipe in &mut recipes {
            recipe.make = Make::Invalid(failures.clone());
        }
    }
    let is_failed = !failures.is_empty();
    let actions = recipes.iter().map(|recipe| Arc::new(recipe.action()));
    let actions = actions.collect();
    Entry {
        // Without a basis it is planned again every time.
        basis: basis.filter(|_| !is_failed),
        is_failed,
        reads,
        links,
        first,
        time: 0,
        texts,
        actions,
        programs: (!programs.is_empty()).then(|| Box::new(programs)),
    }
}

impl Entry {
    /// Returns whether everything that was read is unchanged.
    fn still_holds(&self, context: &Context<'_>) -> bool {
        let mut reads = self.reads.iter();
        reads.all(|(path, digest)| context.files.digest(path) == *digest)
            && (self.links.is_none() || self.links == Some(context.references.digest()))
    }

    /// Renumbers its actions. They wait only for actions of the same entry, and for diagrams, whose indices are covered
    /// by the digest of the world where decks wait for them.
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

/// Files that record which of them are read.
struct Noting<'a> {
    files: &'a dyn Files,
    reads: Mutex<BTreeMap<RelPath, Option<Digest>>>,
}

impl Noting<'_> {
    fn note(&self, path: &RelPath, digest: Option<Digest>) {
        let mut reads = lock(&self.reads);
        reads.insert(path.clone(), digest);
    }

    fn noted(&self) -> Box<[(RelPath, Option<Digest>)]> {
        let mut reads = lock(&self.reads);
        std::mem::take(&mut *reads).into_iter().collect()
    }
}

impl Files for Noting<'_> {
    fn size(&self, path: &RelPath) -> Option<u64> {
        self.digest(path)?;
        self.files.size(path)
    }

    fn read(&self, path: &RelPath) -> Option<Source> {
        let source = self.files.read(path);
        let digest = source.as_ref().map(|source| source.digest);
        self.note(path, digest);
        source
    }

    fn digest(&self, path: &RelPath) -> Option<Digest> {
        let digest = self.files.digest(path);
        self.note(path, digest);
        digest
    }

    fn why_unreadable(&self, path: &RelPath) -> Option<std::io::Error> {
        self.files.why_unreadable(path)
    }

    fn is_inside(&self, path: &RelPath) -> bool {
        self.files.is_inside(path)
    }

    fn failure(&self, path: &RelPath) -> Option<Diagnostic> {
        self.files.failure(path)
    }
}

/// Computes a digest of everything except files that any source may depend on.
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
            (
                &spec.author,
                &spec.organization,
                &spec.images,
                spec.languages()
            ),
            (&context.settings.notebook, &context.settings.diagrams),
            context.layout.target_roots(),
            (&tools.html, kernels, &tools.plantuml, &tools.drawio),
            diagrams,
        )
    ))
}
