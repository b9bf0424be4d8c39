//! Paths in the output tree.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::course::path::stem_of;
use crate::course::{Names, RelPath};

/// A path in the output tree. A course has very many of them, so the struct is small.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Destination {
    target: u32,
    /// The path including the target's directory, shared with other modules.
    output: Arc<str>,
    /// The offset in `output` of the path below the target's directory.
    below: u32,
}

impl Destination {
    /// Creates a path below the directory of a target. Returns `None` if `below` is not a valid path.
    pub(crate) fn new(target: usize, root: &str, below: &str, names: &Names) -> Option<Self> {
        let below = RelPath::normal(below).ok()?;
        Some(Self {
            target: target.try_into().ok()?,
            output: names.joined(root, &below),
            below: (root.len() + 1).try_into().ok()?,
        })
    }

    /// Returns the index of the target in [`Layout::targets`](super::Layout::targets).
    pub(crate) fn target(&self) -> usize {
        self.target as usize
    }

    /// Returns the path relative to the course root, or absolute if the output root lies outside.
    pub(crate) fn output(&self) -> &Arc<str> {
        &self.output
    }

    /// Returns the path below the target's directory.
    pub(crate) fn path(&self) -> &str {
        self.output.get(self.below as usize..).unwrap_or_default()
    }

    /// Returns the file name without its last suffix.
    pub(crate) fn stem(&self) -> &str {
        stem_of(self.path())
    }

    /// Returns a file in the same directory.
    pub(crate) fn beside(&self, name: &str) -> Option<Self> {
        let (dir, _) = self.path().rsplit_once('/')?;
        self.in_target(&format!("{dir}/{name}"))
    }

    /// Returns a path below this one.
    pub(crate) fn join(&self, path: &str) -> Option<Self> {
        self.in_target(&format!("{}/{path}", self.path()))
    }

    /// Returns the first components of the path and the path below them, or `None` if nothing is below.
    pub(crate) fn split(&self, components: usize) -> Option<(Self, &str)> {
        let path = self.path();
        let (slash, _) = path.match_indices('/').nth(components.checked_sub(1)?)?;
        Some((self.in_target(&path[..slash])?, &path[slash + 1..]))
    }

    fn in_target(&self, path: &str) -> Option<Self> {
        let path = RelPath::normal(path).ok()?;
        let root = self.output.get(..self.below as usize)?;
        Some(Self {
            output: format!("{root}{path}").into(),
            ..*self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_knows_its_neighbours() {
        let names = Names::default();
        let place = |below: &str| Destination::new(1, "out/all", below, &names);
        let file = place("en//Code/./Week 1/01 A.b.cpp").unwrap();
        assert_eq!(&**file.output(), "out/all/en/Code/Week 1/01 A.b.cpp");
        assert!(Arc::ptr_eq(file.output(), &names.of(file.output())));
        assert_eq!(
            (file.path(), file.stem()),
            ("en/Code/Week 1/01 A.b.cpp", "01 A.b")
        );
        assert_eq!(file.beside("x.hpp"), place("en/Code/Week 1/x.hpp"));
        let (root, below) = file.split(2).unwrap();
        assert_eq!(
            (Some(&root), below),
            (place("en/Code").as_ref(), "Week 1/01 A.b.cpp")
        );
        assert_eq!(root.join("CMakeLists.txt"), place("en/Code/CMakeLists.txt"));
        assert_eq!(file.split(4), None);
        assert_eq!(place("../x"), None);
        assert_eq!(root.join("../../x"), None);
    }
}
