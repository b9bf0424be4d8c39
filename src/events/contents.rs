//! The contents of a planned course, which come with [`Event::Planned`](super::Event::Planned).

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::course::words::Localized;
use crate::course::{Kind, Lang, RelPath};

/// What a plan can be asked. Implemented by the engine, so that nothing is computed that nobody asks for.
pub trait PlannedCourse: Send + Sync {
    /// Returns the index of the course.
    fn index(&self) -> Arc<Index>;

    /// Returns the identities of all planned actions.
    fn actions(&self) -> HashSet<&str>;
}

/// A planned course; empty in an event that was read from JSON.
#[derive(Clone, Default)]
pub struct Contents(Option<Arc<dyn PlannedCourse>>);

impl Contents {
    /// Returns the contents of a plan.
    pub fn new(planned: impl PlannedCourse + 'static) -> Self {
        Self(Some(Arc::new(planned)))
    }

    /// Returns the plan, if it is known in this process.
    pub(crate) fn planned(&self) -> Option<&dyn PlannedCourse> {
        self.0.as_deref()
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contents")
    }
}

/// Equal if they are of the same planning.
impl PartialEq for Contents {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

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
    /// What only a folder without `course.xml` has; its sections are the directories with sources.
    pub folder: Option<IndexFolder>,
}

/// What the preview shows of a folder instead of sections and audiences.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IndexFolder {
    /// The titles of pages, by their source. The page that lists all others has the name of its file as its source.
    pub titles: BTreeMap<RelPath, String>,
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
