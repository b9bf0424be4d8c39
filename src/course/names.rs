//! Interned output paths: a course has many long ones, which layout, plan and ledger share.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::parallel::lock;

/// A thread-safe set of paths, each of which is allocated once.
#[derive(Default)]
pub(crate) struct Names(Mutex<HashSet<Arc<str>>>);

impl Names {
    /// Returns the shared allocation of a path.
    pub(crate) fn of(&self, path: &str) -> Arc<str> {
        let mut all = self.all();
        if let Some(known) = all.get(path) {
            return Arc::clone(known);
        }
        let path: Arc<str> = path.into();
        all.insert(Arc::clone(&path));
        path
    }

    /// Returns the shared allocation of `dir/path`.
    pub(crate) fn joined(&self, dir: &str, path: &str) -> Arc<str> {
        self.of(&[dir, path].join("/"))
    }

    /// Removes the paths that are no longer used elsewhere.
    pub(crate) fn sweep(&self) {
        self.all().retain(|path| Arc::strong_count(path) > 1);
    }

    /// Frees the table while hardly any paths are requested. Paths that are requested later get new allocations.
    pub(crate) fn release(&self) {
        *self.all() = HashSet::new();
    }

    fn all(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_kept_once_and_as_long_as_somebody_holds_it() {
        let names = Names::default();
        let one = names.of("output/a.html");
        assert!(Arc::ptr_eq(&one, &names.of("output/a.html")));
        names.of("output/b.html");
        names.sweep();
        assert_eq!(names.all().len(), 1);
        assert!(Arc::ptr_eq(&one, &names.of("output/a.html")));
    }
}
