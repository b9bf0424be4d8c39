//! Actions that are known to be up to date. A watch does not compare them again until something about them
//! changes: their inputs, the files they were found to read, or one of their outputs.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::course::RelPath;
use crate::course::path::{is_within, name_of};
use crate::diagnostic::Diagnostic;
use crate::events::ActionKind;
use crate::plan::Action;
use crate::watch::ChangeSet;

use super::decide::Results;

/// Actions with their results, by identity.
#[derive(Default)]
pub(super) struct UpToDateActions(HashMap<Arc<str>, Entry>);

struct Entry {
    action: Arc<Action>,
    results: Results,
    /// `None` for nearly all actions.
    found: Option<Box<Found>>,
}

impl Entry {
    fn diagnostics(&self) -> &[Diagnostic] {
        self.found.as_ref().map_or(&[], |found| &found.diagnostics)
    }

    fn discovered(&self) -> &[String] {
        self.found.as_ref().map_or(&[], |found| &found.discovered)
    }
}

/// What is known of an up-to-date action besides its results.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    /// Its diagnostics, besides the warnings of its planning.
    pub diagnostics: Vec<Diagnostic>,
    /// Files that it was found to read or to look for, besides its inputs.
    pub discovered: Vec<String>,
}

impl UpToDateActions {
    /// Returns the results of an action, if this exact action is known to be up to date.
    pub(super) fn results(&self, action: &Arc<Action>) -> Option<&Results> {
        self.entry(action).map(|entry| &entry.results)
    }

    /// Returns its diagnostics, besides the warnings of its planning.
    pub(super) fn diagnostics(&self, action: &Arc<Action>) -> &[Diagnostic] {
        self.entry(action).map_or(&[], Entry::diagnostics)
    }

    fn entry(&self, action: &Arc<Action>) -> Option<&Entry> {
        let entry = self.0.get(&action.id)?;
        Arc::ptr_eq(&entry.action, action).then_some(entry)
    }

    /// Records that an action is up to date.
    pub(super) fn insert(&mut self, action: &Arc<Action>, results: Results, found: Found) {
        let entry = Entry {
            action: Arc::clone(action),
            results,
            found: (found != Found::default()).then(|| Box::new(found)),
        };
        self.0.insert(Arc::clone(&action.id), entry);
    }

    /// Removes the actions that read one of these files, or a file in one of these directories, as far as is known.
    pub(super) fn invalidate_readers(&mut self, files: &[RelPath]) {
        if files.is_empty() {
            return;
        }
        self.0.retain(|_, entry| {
            let finds = |file: &RelPath| {
                entry
                    .discovered()
                    .iter()
                    .any(|path| is_within(path, file.as_str()))
            };
            let mut files = files.iter();
            !files.any(|file| entry.action.reads(file) || finds(file))
        });
    }

    /// Removes all executions.
    pub(super) fn invalidate_executions(&mut self) {
        self.0
            .retain(|_, entry| entry.action.kind != ActionKind::Execute);
    }

    /// Removes an action that is not up to date.
    pub(super) fn remove(&mut self, action: &str) {
        self.0.remove(action);
    }

    /// Returns every entry: the identity of the action, its results, its diagnostics, and the files it was found to
    /// read.
    pub(super) fn entries(
        &self,
    ) -> impl Iterator<Item = (&str, &Results, &[Diagnostic], &[String])> {
        let entries = self.0.iter();
        entries.map(|(id, entry)| {
            (
                &**id,
                &entry.results,
                entry.diagnostics(),
                entry.discovered(),
            )
        })
    }

    /// Returns whether no action is known to be up to date.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes all actions.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Removes actions that are not planned any more.
    pub(super) fn retain_planned(&mut self, actions: &[Arc<Action>]) {
        if self.0.len() > actions.len() {
            let planned: std::collections::HashSet<&str> =
                actions.iter().map(|action| &*action.id).collect();
            self.0.retain(|id, _| planned.contains(&**id));
        }
    }

    /// Removes the actions that a change set invalidates through outputs and discovered files. Declared inputs are not
    /// compared here: their digests are part of the actions. `is_output` returns whether a path is an output, or a
    /// directory of outputs.
    pub(super) fn apply(
        &mut self,
        changes: &ChangeSet,
        root: &Path,
        is_output: &dyn Fn(&str) -> bool,
    ) {
        if changes.rescan {
            self.clear();
            return;
        }
        let paths: HashSet<String> = changes
            .paths
            .iter()
            .map(|path| name_of(root, path))
            .collect();
        let may_be_outputs = paths.iter().any(|path| is_output(path));
        self.0.retain(|_, entry| {
            let outputs = entry.action.outputs.iter();
            let mut destinations = outputs.flat_map(|output| &output.destinations);
            let mut discovered = entry.discovered().iter();
            let is_concerned = discovered.any(|file| is_among(&paths, file))
                || may_be_outputs && destinations.any(|file| is_among(&paths, file));
            !is_concerned
        });
    }
}

/// Returns whether `paths` contains a path or a directory above it. Only the directories above are looked up, since the
/// set may be large and is compared with many paths.
fn is_among(paths: &HashSet<String>, path: &str) -> bool {
    let above = path.match_indices('/').map(|(slash, _)| &path[..slash]);
    paths.contains(path) || above.into_iter().any(|dir| paths.contains(dir))
}
