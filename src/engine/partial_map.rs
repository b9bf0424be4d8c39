//! A cache over records: holds either all of them, or only those that were added since the last release, and reads the
//! others one by one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::store;

/// Records in memory, with those that were added since they were read.
pub(crate) struct PartialMap<V> {
    known: HashMap<Arc<str>, V>,
    /// Whether `known` contains all records.
    is_complete: bool,
}

impl<V: Clone> PartialMap<V> {
    /// Returns a cache that contains all records.
    pub(crate) fn complete(all: HashMap<Arc<str>, V>) -> Self {
        Self {
            known: all,
            is_complete: true,
        }
    }

    /// Returns whether all records are in memory.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Returns the record of a name, if there is one. `ask` reads it from the records, if it may be missing in memory.
    pub(crate) fn get(
        &self,
        name: &str,
        ask: impl FnOnce() -> store::Result<Option<V>>,
    ) -> store::Result<Option<Cow<'_, V>>> {
        match self.known.get(name) {
            Some(value) => Ok(Some(Cow::Borrowed(value))),
            None if self.is_complete => Ok(None),
            None => Ok(ask()?.map(Cow::Owned)),
        }
    }

    /// Returns what is in memory: everything, if [`Self::is_complete`].
    pub(crate) fn known(&self) -> &HashMap<Arc<str>, V> {
        &self.known
    }

    /// Adds a record that is written to the store as well, perhaps later.
    pub(crate) fn insert(&mut self, name: Arc<str>, value: V) {
        self.known.insert(name, value);
    }

    /// Removes a record that was removed from the store.
    pub(crate) fn remove(&mut self, name: &str) {
        self.known.remove(name);
    }

    /// Loads all records into memory. Records that were added here take precedence.
    pub(crate) fn fill(&mut self, all: HashMap<Arc<str>, V>) {
        let added = std::mem::replace(&mut self.known, all);
        self.known.extend(added);
        self.is_complete = true;
    }

    /// Drops the records that `keep` does not select. All added records must be in the store.
    pub(crate) fn release(&mut self, keep: impl Fn(&str) -> bool) {
        self.known.retain(|name, _| keep(name));
        self.known.shrink_to_fit();
        self.is_complete = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_records_are_asked_only_for_what_is_not_in_memory() {
        let all = || HashMap::from([("a".into(), 1), ("b".into(), 2)]);
        let ask = |answer: Option<i32>| move || Ok(answer);
        let never = || -> store::Result<Option<i32>> { panic!("the records were asked") };
        let owned = |found: Option<Cow<'_, i32>>| found.map(Cow::into_owned);

        let mut partial_map = PartialMap::complete(all());
        assert_eq!(owned(partial_map.get("a", never).unwrap()), Some(1));
        assert_eq!(owned(partial_map.get("c", never).unwrap()), None);

        partial_map.release(|name| name == "b");
        assert!(!partial_map.is_complete());
        assert_eq!(owned(partial_map.get("a", ask(Some(1))).unwrap()), Some(1));
        assert_eq!(owned(partial_map.get("b", never).unwrap()), Some(2));
        partial_map.insert("a".into(), 3);
        assert_eq!(owned(partial_map.get("a", never).unwrap()), Some(3));

        partial_map.fill(all());
        assert_eq!(owned(partial_map.get("a", never).unwrap()), Some(3));
        partial_map.remove("a");
        assert_eq!(owned(partial_map.get("a", never).unwrap()), None);
        assert_eq!(partial_map.known().len(), 1);
    }
}
