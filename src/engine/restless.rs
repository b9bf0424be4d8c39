//! Detects decks that change sources while they run: without a limit they would be executed for ever.
//!
//! Before an action is executed again, the change times of the inputs that changed since its last execution are
//! compared with the times of all executions. If every change lies within one, it is attributed to decks, and after
//! five such executions the action is set aside. A change at any other time is an edit and resets the count. An action
//! that was set aside is tried once more, alone, when everything else is done: the change may have been a save by the
//! author while the deck ran, or the work of another deck.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::clock::TICK_NS;
use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::plan::Action;
use crate::store::JobId;

/// The number of executions in a row that may end with changed sources.
pub(super) const EXECUTIONS: usize = 5;
/// How often an action that was set aside is tried again if it is less likely to be the cause: if the deck itself was
/// edited, or if an input changed while only other decks ran.
const TRIES: usize = 2;
/// A process that is being killed may still write.
const DYING_NS: i64 = 500_000_000;

/// The last execution of every action, since a watch was last idle.
#[derive(Debug, Default)]
pub(super) struct Restless {
    /// The number of executions so far.
    count: u64,
    executions: HashMap<Arc<str>, Execution>,
}

/// The reason why an action is not executed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Objection {
    /// The diagnostic to report.
    pub diagnostic: Diagnostic,
    /// Whether it was reported before.
    pub is_replayed: bool,
    /// Whether the action is to be tried again.
    pub may_try: bool,
}

#[derive(Debug)]
struct Execution {
    job: JobId,
    number: u64,
    began_ns: i64,
    ended_ns: Option<i64>,
    /// The action with the inputs that were last compared.
    action: Arc<Action>,
    /// An input that was written while it ran, as found when its result was taken.
    disturbed: Option<RelPath>,
    /// The number of executions in a row that ended with changed sources.
    changes: usize,
    /// The number of the last one of them.
    last: u64,
    /// The input that changed last.
    file: Option<RelPath>,
    tries: usize,
    may_try: bool,
    is_reported: bool,
}

impl Execution {
    fn accounts_for(&self, changed_ns: i64) -> bool {
        let is_before_end = |ended_ns: i64| changed_ns <= ended_ns.saturating_add(DYING_NS);
        changed_ns >= self.began_ns.saturating_sub(TICK_NS)
            && self.ended_ns.is_none_or(is_before_end)
    }

    fn is_aside(&self) -> bool {
        self.changes >= EXECUTIONS
    }

    /// Resets the count after an edit of what it reads.
    fn forgive(&mut self) {
        (self.changes, self.tries, self.may_try) = (0, 0, false);
    }
}

impl Restless {
    /// Records the start of an execution.
    pub(super) fn begin(&mut self, job: JobId, action: &Arc<Action>, now_ns: i64) {
        self.count += 1;
        let before = self.executions.remove(&action.id);
        let before = before.as_ref();
        let execution = Execution {
            job,
            number: self.count,
            began_ns: now_ns,
            ended_ns: None,
            action: Arc::clone(action),
            disturbed: None,
            changes: before.map_or(0, |before| before.changes),
            last: before.map_or(0, |before| before.last),
            file: before.and_then(|before| before.file.clone()),
            tries: before.map_or(0, |before| before.tries),
            may_try: false,
            is_reported: false,
        };
        self.executions.insert(Arc::clone(&action.id), execution);
    }

    /// Records that a file which an execution reads was written while it ran.
    pub(super) fn disturb(&mut self, action: &str, file: &RelPath) {
        if let Some(execution) = self.executions.get_mut(action) {
            execution.disturbed = Some(file.clone());
        }
    }

    /// Records the end of a job, if it is an execution.
    pub(super) fn end(&mut self, job: JobId, now_ns: i64) {
        let mut executions = self.executions.values_mut();
        if let Some(execution) = executions.find(|execution| execution.job == job) {
            execution.ended_ns.get_or_insert(now_ns);
        }
    }

    /// Records the end of all jobs.
    pub(super) fn end_all(&mut self, now_ns: i64) {
        for execution in self.executions.values_mut() {
            execution.ended_ns.get_or_insert(now_ns);
        }
    }

    /// Returns the reason why an action must not be executed, if there is one. `changed_ns` returns when a file last
    /// changed.
    pub(super) fn objection(
        &mut self,
        action: &Arc<Action>,
        changed_ns: &dyn Fn(&RelPath) -> i64,
    ) -> Option<Objection> {
        self.compare(action, changed_ns);
        let execution = self.executions.get_mut(&action.id)?;
        let file = execution.file.as_ref().filter(|_| execution.is_aside())?;
        let message = format!(
            "sources changed again and again while they were built: `{file}` changed during the last of {EXECUTIONS} \
             executions, so this deck is not executed now"
        );
        let diagnostic = Diagnostic::error(message)
            .at(action.source.as_str(), None)
            .hint(
                "a deck must not write to its own sources or to those of other decks; a watch executes it again after \
                 an edit of what it reads",
            );
        Some(Objection {
            diagnostic,
            may_try: execution.may_try,
            is_replayed: std::mem::replace(&mut execution.is_reported, true),
        })
    }

    /// Resets the counts of all decks.
    pub(super) fn forgive_all(&mut self) {
        self.executions.values_mut().for_each(Execution::forgive);
    }

    /// Allows another execution of one deck that was set aside, when everything else is done. Returns false if there is
    /// none to be tried.
    pub(super) fn try_one_again(&mut self) -> bool {
        let untried = self.executions.values();
        let untried = untried.filter(|execution| execution.may_try);
        let Some(source) = untried
            .map(|execution| execution.action.source.clone())
            .min()
        else {
            return false;
        };
        let executions = self.executions.values_mut();
        for execution in executions.filter(|execution| execution.action.source == source) {
            if execution.is_aside() {
                execution.changes = EXECUTIONS - 1;
                execution.tries += 1;
                execution.may_try = false;
            }
        }
        true
    }

    /// Removes executions that are not set aside, and those of decks that do not exist any more. Must be called while
    /// nothing runs.
    pub(super) fn forget(&mut self, is_there: &dyn Fn(&RelPath) -> bool) {
        self.executions
            .retain(|_, execution| execution.is_aside() && is_there(&execution.action.source));
    }

    /// Returns whether no execution is recorded.
    pub(super) fn is_empty(&self) -> bool {
        self.executions.is_empty()
    }

    /// Compares the inputs of an action with those that it had when it was last executed or compared.
    fn compare(&mut self, action: &Arc<Action>, changed_ns: &dyn Fn(&RelPath) -> i64) {
        let Some(execution) = self.executions.get_mut(&action.id) else {
            return;
        };
        let before = std::mem::replace(&mut execution.action, Arc::clone(action));
        let disturbed = execution.disturbed.take();
        // Prose is an input, but its change does not execute the deck again.
        let is_outdated = before.key != action.key || disturbed.is_some();
        let (mut newest, mut is_own, mut is_edited) = (None, false, false);
        for file in differing(&before, action).into_iter().chain(&disturbed) {
            let changed_ns = changed_ns(file);
            let accounting = self.executions.values();
            let accounting = accounting.filter(|execution| execution.accounts_for(changed_ns));
            let numbers = accounting.map(|execution| {
                is_own |= execution.action.source == action.source;
                execution.number
            });
            match numbers.max() {
                Some(number) => newest = newest.max(Some((number, file))),
                None => is_edited = true,
            }
        }
        let Some(execution) = self.executions.get_mut(&action.id) else {
            return;
        };
        if is_edited {
            execution.forgive();
        } else if let Some((number, file)) = newest
            && number > execution.last
            && is_outdated
        {
            execution.last = number;
            execution.file = Some(file.clone());
            execution.changes += 1;
            if execution.is_aside() {
                let is_likely = is_own && *file != action.source;
                execution.may_try |= execution.tries < if is_likely { 1 } else { TRIES };
            }
        }
    }
}

/// Returns the inputs that differ between the two.
fn differing<'a>(before: &'a Action, after: &'a Action) -> Vec<&'a RelPath> {
    if before.inputs == after.inputs {
        return Vec::new();
    }
    let known: HashSet<&(RelPath, Digest)> = before.inputs.iter().collect();
    let names: HashSet<&RelPath> = after.inputs.iter().map(|(path, _)| path).collect();
    let changed = after.inputs.iter().filter(|input| !known.contains(input));
    let gone = before
        .inputs
        .iter()
        .filter(|(path, _)| !names.contains(path));
    changed.chain(gone).map(|(path, _)| path).collect()
}

#[cfg(test)]
mod tests;
