//! Serialization of a memo, which passes the plans of one process to the next. Only the same version of the program
//! reads the format.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::course::{Names, RelPath};
use crate::diagnostic::{Diagnostic, as_json};
use crate::digest::Digest;
use crate::events::ActionKind;

use super::action::{Action, ActionIndex, Output};
use super::memo::{Entry, Memo, Place};
use super::rules::program::Programs;

#[derive(Serialize, Deserialize)]
struct SavedMemo<'a> {
    world: Option<Digest>,
    #[serde(borrow)]
    entries: Vec<(Place, SavedEntry<'a>)>,
}

#[derive(Serialize, Deserialize)]
struct SavedEntry<'a> {
    basis: Option<Digest>,
    reads: Box<[(RelPath, Option<Digest>)]>,
    links: Option<Digest>,
    first: ActionIndex,
    #[serde(borrow)]
    actions: Vec<SavedAction<'a>>,
    #[serde(borrow)]
    texts: Vec<&'a str>,
    programs: Option<Box<Programs>>,
}

/// Texts are borrowed from the input, so that output paths can be replaced by strings that are already shared.
#[derive(Serialize, Deserialize)]
struct SavedAction<'a> {
    id: &'a str,
    kind: ActionKind,
    source: RelPath,
    inputs: Vec<(RelPath, Digest)>,
    key: Digest,
    after: Vec<ActionIndex>,
    #[serde(borrow)]
    outputs: Vec<(&'a str, Vec<&'a str>)>,
    #[serde(with = "as_json")]
    warnings: Cow<'a, [Diagnostic]>,
}

impl Memo {
    /// Serializes the memo. Returns `None` if a source has errors, since every process must report them anew.
    pub(crate) fn to_bytes(&self) -> Option<Vec<u8>> {
        let entries = self.entries.iter();
        let entries: Option<Vec<_>> = entries
            .map(|(place, entry)| Some((place.clone(), SavedEntry::of(entry)?)))
            .collect();
        let saved = SavedMemo {
            world: self.world,
            entries: entries?,
        };
        postcard::to_allocvec(&saved).ok()
    }

    /// Deserializes the memo at the start of `bytes` and returns it with the remaining bytes, or `None` if it is
    /// invalid.
    pub(crate) fn from_bytes<'b>(bytes: &'b [u8], names: &Names) -> Option<(Self, &'b [u8])> {
        let (saved, rest): (SavedMemo<'_>, _) = postcard::take_from_bytes(bytes).ok()?;
        let entries = saved.entries.into_iter();
        let entries = entries.map(|(place, entry)| (place, Box::new(entry.into_entry(names))));
        Some((Self::with(saved.world, entries.collect()), rest))
    }

    /// Returns all actions of the memo.
    pub(crate) fn actions(&self) -> impl Iterator<Item = &Arc<Action>> {
        self.entries.values().flat_map(|entry| &entry.actions)
    }
}

impl<'a> SavedEntry<'a> {
    fn of(entry: &'a Entry) -> Option<Self> {
        let actions: Option<Vec<_>> = entry.actions.iter().map(|a| SavedAction::of(a)).collect();
        Some(Self {
            basis: entry.basis,
            reads: entry.reads.clone(),
            links: entry.links,
            first: entry.first,
            actions: actions?,
            texts: entry.texts.iter().map(|path| &**path).collect(),
            programs: entry.programs.clone(),
        })
    }

    fn into_entry(self, names: &Names) -> Entry {
        let mut actions: Vec<Arc<Action>> = Vec::with_capacity(self.actions.len());
        for saved in self.actions {
            let mut action = saved.into_action(names);
            // Actions of one source mostly read the same files: a watch keeps all of them in memory.
            if let Some(same) = actions.iter().find(|known| known.inputs == action.inputs) {
                action.inputs = Arc::clone(&same.inputs);
            }
            if let Some(same) = actions.iter().find(|known| known.source == action.source) {
                action.source = same.source.clone();
            }
            actions.push(Arc::new(action));
        }
        Entry {
            basis: self.basis,
            reads: self.reads,
            is_failed: false,
            links: self.links,
            first: self.first,
            time: 0,
            actions,
            texts: self.texts.into_iter().map(|path| names.of(path)).collect(),
            programs: self.programs,
        }
    }
}

impl<'a> SavedAction<'a> {
    fn of(action: &'a Action) -> Option<Self> {
        if action.errors.is_some() {
            return None;
        }
        let outputs = action.outputs.iter().map(|output| {
            let destinations = output.destinations.iter().map(|path| &**path);
            (&*output.name, destinations.collect())
        });
        Some(Self {
            id: &action.id,
            kind: action.kind,
            source: action.source.clone(),
            inputs: action.inputs.to_vec(),
            key: action.key,
            after: action.after.clone(),
            outputs: outputs.collect(),
            warnings: Cow::Borrowed(&action.warnings),
        })
    }

    fn into_action(self, names: &Names) -> Action {
        let outputs = self.outputs.into_iter().map(|(name, destinations)| Output {
            name: names.of(name),
            destinations: destinations
                .into_iter()
                .map(|path| names.of(path))
                .collect(),
        });
        Action {
            id: self.id.into(),
            kind: self.kind,
            source: self.source,
            inputs: self.inputs.into(),
            key: self.key,
            after: self.after,
            outputs: outputs.collect(),
            warnings: self.warnings.into_owned().into(),
            errors: None,
        }
    }
}
