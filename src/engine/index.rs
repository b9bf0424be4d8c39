//! The index of a course: its sections, topics and outputs, as shown by previews and status pages.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use crate::course::layout::{OutputClass, Placed};
use crate::course::spec::Spec;
use crate::course::words::Localized;
use crate::course::{Format, Kind, Lang, RelPath};
use crate::plan::Plan;

/// A course with its sections, topics and outputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Index {
    /// The name of the course.
    pub title: Localized,
    /// Its sections in the order of the specification, without disabled ones.
    pub sections: Vec<IndexSection>,
    /// The output targets.
    pub targets: Vec<IndexTarget>,
    /// Every output, in the order of targets, sections and paths.
    pub outputs: Vec<IndexOutput>,
}

/// A section.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IndexSection {
    /// Its name.
    pub name: Localized,
    /// The ids of its topics.
    pub topics: Vec<String>,
}

/// An output target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IndexTarget {
    /// Its name.
    pub name: String,
    /// Its directory: the prefix of the paths of its outputs.
    pub root: String,
}

/// An output and its origin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IndexOutput {
    /// Path relative to the course root, or absolute where it lies outside; the `path` of `output` events.
    pub path: Arc<str>,
    /// The file the author edits; the `source` of `action_finished` events.
    pub source: RelPath,
    /// The action that makes it; the `action` of events.
    pub action: Option<Arc<str>>,
    /// Its index in [`Index::targets`].
    pub target: usize,
    /// Its index in [`Index::sections`]; `None` for what is copied independently of the sections.
    pub section: Option<usize>,
    /// The id of its topic.
    pub topic: Option<Arc<str>>,
    /// Its language.
    pub lang: Lang,
    /// Its class.
    pub class: IndexClass,
    /// The audience; only decks have it.
    pub kind: Option<Kind>,
}

/// The class of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IndexClass {
    /// A page of a deck.
    Html,
    /// A notebook of a deck.
    Notebook,
    /// A script of a deck.
    Code,
    /// An image.
    Image,
    /// A file beside the decks.
    Data,
    /// A file of a dir-group.
    DirGroup,
}

impl Index {
    /// Returns the index of what was selected. `targets` are names and directories in the order of the layout.
    pub fn new<'p>(
        spec: &Spec,
        targets: &[(String, String)],
        placed: impl Iterator<Item = Placed<'p>>,
        plan: &Plan,
    ) -> Self {
        let actions: HashMap<&str, (&Arc<str>, &Arc<str>)> = plan
            .actions
            .iter()
            .flat_map(|action| {
                let outputs = action.outputs.iter();
                outputs
                    .flat_map(|output| &output.destinations)
                    .map(|destination| (&**destination, (destination, &action.id)))
            })
            .collect();
        let sections = spec.sections.iter();
        let sections = sections
            .map(|section| IndexSection {
                name: section.name.clone(),
                topics: section
                    .topics
                    .iter()
                    .map(|topic| topic.id.clone())
                    .collect(),
            })
            .collect();
        let mut outputs: Vec<IndexOutput> = placed
            .map(|placed| {
                let path = placed.destination.output();
                let (class, kind) = match placed.class {
                    OutputClass::Deck(Format::Html, kind) => (IndexClass::Html, Some(kind)),
                    OutputClass::Deck(Format::Notebook, kind) => (IndexClass::Notebook, Some(kind)),
                    OutputClass::Deck(Format::Code, kind) => (IndexClass::Code, Some(kind)),
                    OutputClass::Image => (IndexClass::Image, None),
                    OutputClass::Data => (IndexClass::Data, None),
                    OutputClass::DirGroup => (IndexClass::DirGroup, None),
                };
                let made = actions.get(&**path);
                IndexOutput {
                    source: placed.source.clone(),
                    action: made.map(|(_, action)| Arc::clone(action)),
                    target: placed.destination.target(),
                    section: placed.topic.map(|(section, _)| section),
                    topic: placed.topic.map(|(_, topic)| topic.into()),
                    lang: placed.lang,
                    class,
                    kind,
                    path: Arc::clone(path),
                }
            })
            .collect();
        outputs.sort_by(|one, other| {
            let order = |output: &IndexOutput| (output.target, output.section);
            order(one)
                .cmp(&order(other))
                .then_with(|| one.path.cmp(&other.path))
        });
        outputs.dedup_by(|one, other| one.path == other.path);
        Self {
            title: spec.name.clone(),
            sections,
            targets: targets
                .iter()
                .map(|(name, root)| IndexTarget {
                    name: name.clone(),
                    root: root.clone(),
                })
                .collect(),
            outputs,
        }
    }
}
