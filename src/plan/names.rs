//! Output paths: very many long texts, which plan, ledger and layout share.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

/// Every path once, however many hold it.
#[derive(Default)]
pub struct Names(RefCell<HashSet<Arc<str>>>);

impl Names {
    /// The one allocation of this path.
    pub fn of(&self, path: &str) -> Arc<str> {
        if let Some(known) = self.0.borrow().get(path) {
            return Arc::clone(known);
        }
        let path: Arc<str> = path.into();
        self.0.borrow_mut().insert(Arc::clone(&path));
        path
    }

    /// Forgets the paths that nobody holds any more.
    pub fn sweep(&self) {
        self.0
            .borrow_mut()
            .retain(|path| Arc::strong_count(path) > 1);
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
        assert_eq!(names.0.borrow().len(), 1);
        assert!(Arc::ptr_eq(&one, &names.of("output/a.html")));
    }
}
