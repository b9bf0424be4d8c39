//! Paths relative to the course root, the only form of paths in records and keys.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// A path below the course root, cheap to clone: `/` between components, no `.`, `..` or empty component, never
/// absolute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct RelPath(Arc<str>);

/// The reason why a text is not a [`RelPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelPathError {
    /// It starts with `/` or a drive.
    #[error("`{0}` is absolute, but paths are relative to the course root")]
    Absolute(String),
    /// It has a `..` component.
    #[error("`{0}` contains `..`, but paths must stay inside the course")]
    Parent(String),
    /// It has no components.
    #[error("the path is empty")]
    Empty,
}

impl RelPath {
    /// Checks and normalises a path: empty and `.` components are removed. A `\` is an ordinary character of a name.
    pub fn new(text: &str) -> Result<Self, RelPathError> {
        Ok(Self(Self::normal(text)?.into()))
    }

    /// Checks and normalises a path that an author wrote, perhaps on Windows: `\` is replaced by `/`.
    pub fn written(text: &str) -> Result<Self, RelPathError> {
        Self::new(&text.replace('\\', "/"))
    }

    /// Checks and normalises a path like [`RelPath::new`]. The result is nearly always `text` itself.
    pub fn normal(text: &str) -> Result<Cow<'_, str>, RelPathError> {
        let is_normal = |part: &str| !matches!(part, "" | "." | "..");
        let has_colon = text.as_bytes().get(1) == Some(&b':');
        if !has_colon && text.split('/').all(is_normal) {
            return Ok(Cow::Borrowed(text));
        }
        // A Windows path such as `C:/`. A name such as `a:b` is valid.
        let drive = text.as_bytes();
        let has_drive = has_colon
            && drive[0].is_ascii_alphabetic()
            && matches!(drive.get(2), Some(b'/' | b'\\'));
        if text.starts_with('/') || has_drive {
            return Err(RelPathError::Absolute(text.to_owned()));
        }
        let mut parts = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => return Err(RelPathError::Parent(text.to_owned())),
                part => parts.push(part),
            }
        }
        if parts.is_empty() {
            return Err(RelPathError::Empty);
        }
        Ok(Cow::Owned(parts.join("/")))
    }

    /// Returns the path of `path` below `root`, or `None` if it does not lie there or is not UTF-8.
    pub fn below(root: &Path, path: &Path) -> Option<Self> {
        Self::new(path.strip_prefix(root).ok()?.to_str()?).ok()
    }

    /// Returns the text, with `/` between components.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path in the file system.
    pub fn under(&self, root: &Path) -> PathBuf {
        root.join(&*self.0)
    }

    /// Returns the last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Returns the file name without its last suffix (`a.de.drawio` gives `a.de`).
    pub fn stem(&self) -> &str {
        stem_of(&self.0)
    }

    /// Returns the last suffix of the file name without its dot, or the empty text.
    pub fn extension(&self) -> &str {
        let name = self.file_name();
        match name.rfind('.') {
            Some(dot) if dot > 0 => &name[dot + 1..],
            _ => "",
        }
    }

    /// Returns the directory, or `None` for a path of one component.
    pub fn parent(&self) -> Option<Self> {
        self.0.rfind('/').map(|slash| Self(self.0[..slash].into()))
    }

    /// Returns the components, first to last.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// Appends another path, which is checked like a new one.
    pub fn join(&self, other: &str) -> Result<Self, RelPathError> {
        Self::new(&format!("{}/{other}", self.0))
    }

    /// Returns the rest after `base/`, if the path begins with that.
    pub fn strip_prefix(&self, base: &RelPath) -> Option<Self> {
        let rest = self.0.strip_prefix(&*base.0)?.strip_prefix('/')?;
        Some(Self(rest.into()))
    }

    /// Returns whether this path is `base` or lies below it.
    pub fn starts_with(&self, base: &RelPath) -> bool {
        is_within(&self.0, &base.0)
    }
}

/// Returns the last component of a path with `/` between components, without its last suffix.
pub(crate) fn stem_of(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rfind('.') {
        Some(dot) if dot > 0 => &name[..dot],
        _ => name,
    }
}

/// Returns a path in the form for outputs and records: relative to the course root if it lies there, else unchanged.
pub(crate) fn name_of(root: &Path, path: &Path) -> String {
    match RelPath::below(root, path) {
        Some(relative) => relative.to_string(),
        None => path.display().to_string(),
    }
}

/// Returns whether a path is `base` or lies below it; both have `/` between components.
pub(crate) fn is_within(path: &str, base: &str) -> bool {
    let rest = path.strip_prefix(base);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for RelPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RelPath {
    type Error = RelPathError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_and_stay_inside() {
        assert_eq!(RelPath::new("a//b/./c").unwrap().as_str(), "a/b/c");
        assert_eq!(RelPath::written("a\\b").unwrap().as_str(), "a/b");
        assert_eq!(RelPath::new("a\\b.csv").unwrap().as_str(), "a\\b.csv");
        assert_eq!(RelPath::new("a:b.csv").unwrap().as_str(), "a:b.csv");
        assert!(RelPath::written("..\\b").is_err());
        assert!(matches!(RelPath::new("/a"), Err(RelPathError::Absolute(_))));
        assert!(matches!(
            RelPath::new("C:\\a"),
            Err(RelPathError::Absolute(_))
        ));
        assert!(matches!(
            RelPath::new("a/../b"),
            Err(RelPathError::Parent(_))
        ));
        assert_eq!(RelPath::new("./"), Err(RelPathError::Empty));
    }

    #[test]
    fn names_split_at_the_last_dot() {
        let path = RelPath::new("t/drawio/emb.de.drawio").unwrap();
        assert_eq!(path.stem(), "emb.de");
        assert_eq!(path.extension(), "drawio");
        assert_eq!(RelPath::new(".gitkeep").unwrap().extension(), "");
        assert_eq!(path.parent().unwrap().as_str(), "t/drawio");
    }
}
