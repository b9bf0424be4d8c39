//! What the paths of touched files mean for a course.

use std::collections::{HashMap, HashSet};

use crate::config::is_spec;
use crate::course::RelPath;
use crate::course::tree::{self, Topic};
use crate::plan::Action;

use super::{Basis, Earlier, Touched};

/// Extensions of files that PlantUML diagrams include.
const PLANTUML: [&str; 5] = ["pu", "puml", "plantuml", "iuml", "wsd"];

/// By what a file may be read that is not known as an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// By executions and diagrams.
    Anything,
    /// By diagrams: it can be included.
    Plantuml,
    /// By nothing.
    Unread,
}

/// Finds touched files among the inputs and outputs of actions.
pub(super) struct Touches<'a>(HashMap<&'a str, &'a Touched>);

impl<'a> Touches<'a> {
    /// Returns a search for these files.
    pub(super) fn new(files: &'a [Touched]) -> Self {
        let files = files.iter().map(|file| (file.path.as_str(), file));
        Self(files.collect())
    }

    /// Adds the touched files to `known` that an action reads or makes. Returns whether it is affected by one.
    pub(super) fn note(&self, action: &Action, known: &mut HashSet<RelPath>) -> bool {
        let inputs = action.inputs.iter().map(|(path, _)| path.as_str());
        let mut is_affected = false;
        for path in inputs.chain([action.source.as_str()]) {
            is_affected |= self.note_name(path, known);
        }
        for output in action
            .outputs
            .iter()
            .flat_map(|output| &output.destinations)
        {
            for touched in self.with(output) {
                // A new file in the place of an output is the output.
                is_affected |= touched.before != Earlier::Absent;
                insert(known, &touched.path);
            }
        }
        is_affected
    }

    /// The same for the name of one file that is read.
    pub(super) fn note_name(&self, name: &str, known: &mut HashSet<RelPath>) -> bool {
        let mut is_any = false;
        for touched in self.with(name) {
            is_any = true;
            insert(known, &touched.path);
        }
        is_any
    }

    /// Returns the touched files that concern a path: a touched directory concerns everything below it.
    fn with<'n>(&'n self, path: &'n str) -> impl Iterator<Item = &'a Touched> + use<'a, 'n> {
        let above = path.match_indices('/').map(|(slash, _)| &path[..slash]);
        let paths = std::iter::once(path).chain(above);
        paths.filter_map(|path| self.0.get(path).copied())
    }
}

fn insert(known: &mut HashSet<RelPath>, path: &RelPath) {
    if !known.contains(path) {
        known.insert(path.clone());
    }
}

/// Returns the name of a discovered input as a path, unless it is the name of something outside of the course.
pub(super) fn in_course(name: &str) -> Option<RelPath> {
    let is_elsewhere = name.starts_with('{') && name.contains('/');
    (!is_elsewhere).then(|| RelPath::new(name).ok()).flatten()
}

/// Returns whether a path is among the outputs or the records.
pub(super) fn is_output(basis: &Basis<'_>, path: &RelPath) -> bool {
    let skip = basis.course.skip(&basis.specified.spec);
    let file = path.under(&basis.course.place.root);
    let above = file.ancestors();
    let mut inside = above.take_while(|dir| *dir != basis.course.place.root);
    inside.any(|path| skip.skips(path))
}

/// Returns the topics of the course in whose directories a path lies.
pub(super) fn topics_with<'a>(
    basis: &'a Basis<'_>,
    path: &'a RelPath,
) -> impl Iterator<Item = &'a Topic> {
    let sections = basis.loaded.tree.sections.iter();
    let topics = sections.flat_map(|section| &section.topics);
    topics.filter(|topic| path.starts_with(&topic.path))
}

/// Returns the topics of the course that have the id of a directory, or of a file, in which a path lies: their files may
/// have been there.
pub(super) fn topics_named_like<'a>(
    basis: &'a Basis<'_>,
    path: &'a RelPath,
) -> impl Iterator<Item = &'a Topic> {
    let mut parts = path.components();
    let is_source = parts.next() == Some("slides");
    let id = parts
        .nth(1)
        .filter(|_| is_source)
        .and_then(tree::simplified);
    let sections = basis.loaded.tree.sections.iter();
    let topics = sections.flat_map(|section| &section.topics);
    topics.filter(move |topic| id.as_ref() == Some(&topic.id))
}

/// Returns by what a file may be read that lies in no topic of the course. It need not lie among the sources: code can read
/// any file.
pub(super) fn rank(basis: &Basis<'_>, path: &RelPath) -> Rank {
    let extension = path.extension();
    let is_hidden = path.components().any(|part| part.starts_with('.'));
    if is_hidden || extension == "md" || is_in_other_topic(path) {
        return Rank::Unread;
    }
    if PLANTUML.contains(&extension) {
        return Rank::Plantuml;
    }
    match is_spec(&path.under(&basis.course.place.root)) {
        // Of another course.
        true => Rank::Unread,
        false => Rank::Anything,
    }
}

/// Returns whether a path lies in the directory of a topic. It is called for paths that lie in no topic of the course.
fn is_in_other_topic(path: &RelPath) -> bool {
    let parts: Vec<&str> = path.components().collect();
    matches!(parts.as_slice(), ["slides", _, entry, ..] if entry.starts_with("topic_"))
}
