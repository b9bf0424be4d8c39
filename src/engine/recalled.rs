//! What the records say of things by their names: of all of them while very many are asked for, else only of those that
//! are.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::store;

/// Answers of the records, with what was added to them since.
pub(crate) struct Recalled<V> {
    known: HashMap<Arc<str>, V>,
    /// Whether `known` is all there is.
    is_whole: bool,
}

impl<V: Clone> Recalled<V> {
    /// All that there is.
    pub(crate) fn whole(all: HashMap<Arc<str>, V>) -> Self {
        Self {
            known: all,
            is_whole: true,
        }
    }

    /// Whether everything is in memory.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether there is nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_whole && self.known.is_empty()
    }

    /// What is known of a thing, if anything is. `ask` asks the records, if they must be.
    pub(crate) fn get(
        &self,
        name: &str,
        ask: impl FnOnce() -> store::Result<Option<V>>,
    ) -> store::Result<Option<Cow<'_, V>>> {
        match self.known.get(name) {
            Some(value) => Ok(Some(Cow::Borrowed(value))),
            None if self.is_whole => Ok(None),
            None => Ok(ask()?.map(Cow::Owned)),
        }
    }

    /// What is in memory: everything, if it is whole.
    pub(crate) fn known(&self) -> &HashMap<Arc<str>, V> {
        &self.known
    }

    /// Adds what is, or soon will be, in the records too.
    pub(crate) fn insert(&mut self, name: Arc<str>, value: V) {
        self.known.insert(name, value);
    }

    /// Forgets a thing that is in the records no more.
    pub(crate) fn remove(&mut self, name: &str) {
        self.known.remove(name);
    }

    /// Has everything in memory from now on. What was added counts more than what the records say.
    pub(crate) fn fill(&mut self, all: HashMap<Arc<str>, V>) {
        let added = std::mem::replace(&mut self.known, all);
        self.known.extend(added);
        self.is_whole = true;
    }

    /// Keeps in memory only what is to be kept: everything that was added must be in the records.
    pub(crate) fn release(&mut self, keep: impl Fn(&str) -> bool) {
        self.known.retain(|name, _| keep(name));
        self.known.shrink_to_fit();
        self.is_whole = false;
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

        let mut recalled = Recalled::whole(all());
        assert_eq!(owned(recalled.get("a", never).unwrap()), Some(1));
        assert_eq!(owned(recalled.get("c", never).unwrap()), None);
        assert!(!recalled.is_empty());

        recalled.release(|name| name == "b");
        assert!(!recalled.is_whole());
        assert_eq!(owned(recalled.get("a", ask(Some(1))).unwrap()), Some(1));
        assert_eq!(owned(recalled.get("b", never).unwrap()), Some(2));
        recalled.insert("a".into(), 3);
        assert_eq!(owned(recalled.get("a", never).unwrap()), Some(3));

        recalled.fill(all());
        assert_eq!(owned(recalled.get("a", never).unwrap()), Some(3));
        recalled.remove("a");
        assert_eq!(owned(recalled.get("a", never).unwrap()), None);
        assert_eq!(recalled.known().len(), 1);
    }
}
