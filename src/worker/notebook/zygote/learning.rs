//! Decides which imports are worth doing in advance. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

/// How many executed decks are remembered.
const MEMORY: usize = 12;
/// The weight of a deck relative to the one that was executed after it.
const AGEING: f64 = 0.9;
/// The assumed cost of an import that has never been done, in milliseconds.
const UNKNOWN_COST: f64 = 100.0;
/// The minimum saving, in milliseconds over the recent decks, for which a new process is started.
const WORTH: f64 = 20.0;
/// The number of recent decks without their imports for which a new process is started even while others wait for
/// kernels.
const MISSES: usize = 3;

/// The imports of recent decks, and the known costs of imports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Learning {
    /// The imports of each deck, the latest first.
    decks: VecDeque<BTreeSet<String>>,
    /// The costs of imports, in milliseconds.
    costs: BTreeMap<String, f64>,
    /// Imports that cannot be done in advance.
    rejected: BTreeSet<String>,
    /// Whether the latest deck was executed by this process.
    #[serde(skip)]
    is_current: bool,
}

impl Learning {
    /// Adds a deck that was executed.
    pub(super) fn note(&mut self, imports: BTreeSet<String>) {
        self.decks.push_front(imports);
        self.decks.truncate(MEMORY);
        self.is_current = true;
    }

    /// Returns all imports of the recent decks.
    pub(super) fn all(&self) -> BTreeSet<String> {
        self.decks.iter().flatten().cloned().collect()
    }

    /// Records that an import cannot be done in advance.
    pub(super) fn reject(&mut self, unit: String) {
        self.rejected.insert(unit);
    }

    /// Records which of the selected imports were done, and their costs.
    pub(super) fn imported(&mut self, wanted: &BTreeSet<String>, made: &BTreeMap<String, f64>) {
        self.costs
            .extend(made.iter().map(|(unit, cost)| (unit.clone(), *cost)));
        let missing = wanted.iter().filter(|unit| !made.contains_key(*unit));
        self.rejected.extend(missing.cloned());
    }

    /// Discards the costs and rejections of imports: the installed packages may have changed.
    pub(super) fn forget_costs(&mut self) {
        self.costs.clear();
        self.rejected.clear();
    }

    /// Returns the imports that save the most time, if they save enough more than the current ones.
    ///
    /// Only decks that import all of them can use them, so these are the imports of one deck, or those that two have in
    /// common. While no deck waits for a kernel, the latest deck is the one being edited, and only that one is
    /// considered.
    pub(super) fn better_than(
        &self,
        current: &BTreeSet<String>,
        is_busy: bool,
    ) -> Option<BTreeSet<String>> {
        let is_edited = self.is_current && !is_busy;
        let count = if is_edited { 1 } else { MEMORY };
        let counting = self.decks.iter().take(count);
        let decks: Vec<BTreeSet<String>> = counting.map(|deck| deck - &self.rejected).collect();
        let mut best: Option<(f64, BTreeSet<String>)> = None;
        for (index, first) in decks.iter().enumerate() {
            for second in &decks[index..] {
                let both = first & second;
                let saved = self.saved(&decks, &both);
                if best.as_ref().is_none_or(|(most, _)| saved > *most) {
                    best = Some((saved, both));
                }
            }
        }
        let (saved, best) = best?;
        let misses = decks.iter().filter(|deck| {
            best.is_subset(deck) && (current.is_empty() || !current.is_subset(deck))
        });
        let is_worth_it = saved > self.saved(&decks, current) + WORTH;
        (is_worth_it && (!is_busy || misses.count() >= MISSES)).then_some(best)
    }

    /// Returns the time that imports save, in milliseconds; older decks have less weight.
    fn saved(&self, decks: &[BTreeSet<String>], imports: &BTreeSet<String>) -> f64 {
        let cost = |unit: &String| self.costs.get(unit).copied().unwrap_or(UNKNOWN_COST);
        let cost: f64 = imports.iter().map(cost).sum();
        let mut weight = 1.0;
        let mut saved = 0.0;
        for deck in decks {
            if imports.is_subset(deck) {
                saved += weight * cost;
            }
            weight *= AGEING;
        }
        saved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_imports_of_the_edited_deck_are_made() {
        let mut learning = Learning::default();
        assert_eq!(learning.better_than(&set(&[]), false), None);
        learning.note(set(&["b"]));
        learning.note(set(&["a", "own"]));
        let wanted = learning.better_than(&set(&[]), false).unwrap();
        assert_eq!(wanted, set(&["a", "own"]));
        // Of these, only `a` could be imported.
        learning.imported(&wanted, &[("a".to_owned(), 300.0)].into());
        assert_eq!(learning.better_than(&set(&["a"]), false), None);
        learning.note(set(&["b", "c"]));
        assert_eq!(
            learning.better_than(&set(&["a"]), false),
            Some(set(&["b", "c"]))
        );
        learning.reject("c".to_owned());
        assert_eq!(learning.better_than(&set(&["a"]), false), Some(set(&["b"])));
    }

    #[test]
    fn what_decks_have_in_common_serves_more_of_them() {
        let mut learning = Learning::default();
        let costs = [("a".to_owned(), 500.0), ("b".to_owned(), 10.0)];
        learning.imported(&set(&[]), &costs.into());
        learning.note(set(&["a", "x"]));
        learning.note(set(&["a", "c"]));
        learning.note(set(&["a", "b"]));
        learning.reject("x".to_owned());
        assert_eq!(learning.better_than(&set(&[]), true), Some(set(&["a"])));
        assert_eq!(learning.all(), set(&["a", "b", "c", "x"]));
        // A new session may be about any of the decks.
        let text = serde_json::to_string(&learning).unwrap();
        let mut next: Learning = serde_json::from_str(&text).unwrap();
        assert_eq!(next.better_than(&set(&[]), false), Some(set(&["a"])));
        next.note(set(&["a", "b", "d"]));
        let edited = next.better_than(&set(&["a"]), false);
        assert_eq!(edited, Some(set(&["a", "b", "d"])));
    }

    #[test]
    fn while_decks_wait_for_kernels_it_must_be_worth_more() {
        let mut learning = Learning::default();
        for busy in [None, None, Some(set(&["a"]))] {
            learning.note(set(&["a"]));
            assert_eq!(learning.better_than(&set(&[]), true), busy);
        }
        assert_eq!(learning.better_than(&set(&["a"]), true), None);
    }

    #[test]
    fn cheap_imports_are_not_worth_a_process() {
        let mut learning = Learning::default();
        learning.imported(&set(&[]), &[("math".to_owned(), 0.0)].into());
        learning.note(set(&["math"]));
        assert_eq!(learning.better_than(&set(&[]), false), None);
    }
}
