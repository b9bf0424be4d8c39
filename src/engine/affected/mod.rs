//! The actions that a range of commits, or a list of files, concerns.
//!
//! An action is affected if its plan differs from that of the same course with the earlier files, if it reads a touched
//! file, or if its last run did. What an action reads that never ran is not known completely: a touched file that
//! nothing is known to read concerns all actions that may read it.

mod answer;
mod asked;
mod before;
mod links;
mod names;
mod protect;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::course::RelPath;
use crate::course::layout::Selection;
use crate::course::tree::Topic;
use crate::error::Result;
use crate::events::ActionKind;
use crate::plan::{Action, Files as _, Plan};
use crate::store::Latest;

use super::course::{Course, Specified};
use super::load::Loaded;
use super::publish::WrittenBack;
use super::sources::Sources;

pub(crate) use answer::Records;
pub(crate) use asked::Asked;
use names::{Rank, Touches};
pub(super) use protect::protect;

/// The files of a course that are touched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Affected {
    /// The files.
    pub files: Vec<Touched>,
    /// Touched files outside of the course.
    pub outside: Vec<PathBuf>,
    /// The working tree of which these are all that git sees, if they are not only some files.
    pub top: Option<PathBuf>,
    /// Whether git must not fetch their earlier contents.
    pub is_offline: bool,
}

/// A touched file, or a directory of touched files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Touched {
    /// Its path.
    pub path: RelPath,
    /// Its earlier content.
    pub before: Earlier,
}

/// The earlier content of a touched file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Earlier {
    /// It is not known. The file existed, as it does now.
    Unknown,
    /// It is not known. The file existed, and does not exist any more.
    Lost,
    /// The file did not exist.
    Absent,
    /// An object of git.
    Object(String),
}

/// What the search uses.
pub(crate) struct Basis<'a> {
    /// The course.
    pub course: &'a Course,
    /// Its specification.
    pub specified: &'a Specified,
    /// Its sources, as they were loaded.
    pub sources: &'a Sources,
    /// The files among the sources that clm rendered.
    pub written_back: &'a WrittenBack,
    /// The selected outputs.
    pub selection: &'a Selection,
    /// The plan.
    pub loaded: &'a Loaded,
    /// Returns what is recorded about the last run of an action.
    pub latest: &'a LatestOf<'a>,
}

/// Returns what is recorded about the last run of an action.
pub(crate) type LatestOf<'a> = dyn Fn(&str) -> Result<Option<Cow<'a, Latest>>> + 'a;

/// What is affected.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Whether each action of the plan is affected.
    pub marked: Vec<bool>,
    /// The touched files that concern the course.
    pub causes: BTreeSet<RelPath>,
    /// The touched files that nothing is known to read.
    pub unknown: BTreeSet<RelPath>,
    /// The outputs of earlier actions that are not planned any more, or make something else.
    pub gone: Vec<Arc<str>>,
    /// Why all actions are marked, if they are whatever the touched files are.
    pub everything: Option<String>,
}

/// Finds the affected actions of a plan.
#[tracing::instrument(level = "debug", name = "affected", skip_all)]
pub(crate) fn find(basis: &Basis<'_>, affected: &Affected) -> Result<Found> {
    let files = links::with_aliases(basis, &affected.files);
    let plan = &basis.loaded.plan;
    let mut search = Search {
        basis,
        plan,
        touches: Touches::new(&files),
        never_ran: vec![false; plan.actions.len()],
        marked: vec![false; plan.actions.len()],
        known: HashSet::new(),
    };
    search.mark_readers()?;
    let mut gone = Vec::new();
    let mut everything = links::leading_out(basis, affected);
    if everything.is_some() {
        search.marked.fill(true);
    }
    if files.iter().any(|file| file.before != Earlier::Unknown) {
        match before::plan(basis, &files, affected.is_offline)? {
            Some(before) => gone = search.mark_differences(&before),
            // Without the earlier contents everything may differ.
            None => {
                search.marked.fill(true);
                let reason = "what the course was before is not known".to_owned();
                everything.get_or_insert(reason);
            }
        }
    }
    let mut found = Found {
        gone,
        everything,
        ..Found::default()
    };
    for file in &files {
        if search.known.contains(&file.path) {
            search.mark_includers(&file.path);
            found.causes.insert(file.path.clone());
        } else if !names::is_output(basis, &file.path) {
            if search.mark_possible_readers(&file.path) {
                found.causes.insert(file.path.clone());
            }
            found.unknown.insert(file.path.clone());
        }
    }
    search.mark_consumers();
    found.marked = search.marked;
    Ok(found)
}

/// Returns for every action of a later plan of the same run whether it is affected: it was, or it differs since.
pub(crate) fn again(first: &Plan, marked: &[bool], now: &Plan) -> Vec<bool> {
    let known: HashMap<&str, (&Action, bool)> = first
        .actions
        .iter()
        .zip(marked)
        .map(|(action, is_marked)| (&*action.id, (&**action, *is_marked)))
        .collect();
    let is_affected = |action: &Action| {
        let known = known.get(&*action.id);
        known.is_none_or(|(before, is_marked)| *is_marked || differs(before, action))
    };
    now.actions
        .iter()
        .map(|action| is_affected(action))
        .collect()
}

/// Returns whether two plans make something else of an action.
fn differs(before: &Action, now: &Action) -> bool {
    before.key != now.key || before.outputs != now.outputs || before.errors != now.errors
}

struct Search<'s, 'b> {
    basis: &'s Basis<'b>,
    plan: &'s Plan,
    touches: Touches<'s>,
    /// Whether each action is one of which is not known what it reads besides its inputs.
    never_ran: Vec<bool>,
    marked: Vec<bool>,
    /// The touched files that something is known to read or to make.
    known: HashSet<RelPath>,
}

impl Search<'_, '_> {
    /// Marks the actions that read touched files, or made them, and those for which a file changed that they were found
    /// to read.
    fn mark_readers(&mut self) -> Result<()> {
        let snapshot = &self.basis.sources.snapshot;
        for (index, action) in self.plan.actions.iter().enumerate() {
            let mut is_marked = self.touches.note(action, &mut self.known);
            let latest = (self.basis.latest)(&action.id)?;
            self.never_ran[index] = latest.is_none();
            for (name, digest) in latest.iter().flat_map(|latest| &latest.discovered) {
                is_marked |= self.touches.note_name(name, &mut self.known);
                if let Some(path) = names::in_course(name) {
                    is_marked |= snapshot.digest(&path) != *digest;
                }
            }
            self.marked[index] |= is_marked;
        }
        Ok(())
    }

    /// Marks the actions that differ from those of an earlier plan. Returns the earlier outputs of
    /// what differs.
    fn mark_differences(&mut self, before: &Plan) -> Vec<Arc<str>> {
        let mut earlier: HashMap<&str, &Action> = HashMap::new();
        for action in &before.actions {
            self.touches.note(action, &mut self.known);
            earlier.insert(&action.id, action);
        }
        for (index, action) in self.plan.actions.iter().enumerate() {
            let id: &str = &action.id;
            match earlier.get(id) {
                Some(before) if !differs(before, action) => drop(earlier.remove(id)),
                _ => self.marked[index] = true,
            }
        }
        let outputs = earlier.into_values().flat_map(|action| &action.outputs);
        outputs
            .flat_map(|output| output.destinations.iter().cloned())
            .collect()
    }

    /// Marks PlantUML diagrams that may include a touched one: those that never ran, and include something.
    fn mark_includers(&mut self, path: &RelPath) {
        if names::rank(self.basis, path) != Rank::Plantuml {
            return;
        }
        for index in 0..self.plan.actions.len() {
            if self.never_ran[index] && self.includes_something(&self.plan.actions[index]) {
                self.marked[index] = true;
            }
        }
    }

    fn includes_something(&self, action: &Action) -> bool {
        let text = || self.basis.sources.snapshot.read(&action.source);
        let includes = |bytes: &[u8]| bytes.windows(8).any(|part| part == b"!include");
        action.kind == ActionKind::Plantuml && text().is_some_and(|text| includes(&text.bytes))
    }

    /// Marks the actions that may read a file of which that is not known. Returns whether there are any.
    fn mark_possible_readers(&mut self, path: &RelPath) -> bool {
        let here = sources_of(names::topics_with(self.basis, path));
        let moved = sources_of(names::topics_named_like(self.basis, path));
        let rank = names::rank(self.basis, path);
        let mut is_any = false;
        for (index, action) in self.plan.actions.iter().enumerate() {
            let may_read = match action.kind {
                // The topic was somewhere else.
                _ if here.is_empty() && moved.contains(&action.source) => true,
                _ if !self.never_ran[index] || !action.needs_worker() => false,
                _ if !here.is_empty() => here.contains(&action.source),
                ActionKind::Execute => rank == Rank::Anything,
                ActionKind::Plantuml => rank != Rank::Unread,
                _ => false,
            };
            self.marked[index] |= may_read;
            is_any |= may_read;
        }
        is_any
    }

    /// Marks the actions that need the results of marked ones.
    fn mark_consumers(&mut self) {
        for (index, action) in self.plan.actions.iter().enumerate() {
            if action.after.iter().any(|before| self.marked[*before]) {
                self.marked[index] = true;
            }
        }
    }
}

/// Returns the decks and diagrams of topics.
fn sources_of<'a>(topics: impl Iterator<Item = &'a Topic>) -> HashSet<&'a RelPath> {
    topics
        .flat_map(|topic| {
            let decks = topic.decks.iter().map(|deck| &deck.path);
            decks.chain(topic.diagrams.iter().map(|diagram| &diagram.path))
        })
        .collect()
}
