//! Action keys: the components that an output depends on, kept separate so that staleness can be explained.

use std::sync::Arc;

use crate::digest::Digest;

/// An ordered list of named components. The same components in the same order give the same `ActionKey`.
///
/// Absolute paths, modification times, the clock, the user and the output directory must never be components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyParts(Vec<(String, String)>);

/// The digest over all components of an action.
pub(crate) type ActionKey = Digest;

impl KeyParts {
    /// Adds a component.
    pub(crate) fn push(&mut self, name: impl Into<String>, value: impl ToString) {
        self.0.push((name.into(), value.to_string()));
    }

    /// Adds a component and returns the list, for building in one expression.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.push(name, value);
        self
    }

    /// Adds the components of another list.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Returns the components, in order.
    pub(crate) fn parts(&self) -> &[(String, String)] {
        &self.0
    }

    /// Computes the digest over the canonical bytes: for every component the lengths and bytes of name and value.
    pub fn key(&self) -> ActionKey {
        let mut bytes = Vec::new();
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        Digest::of(bytes)
    }
}

/// Computes the key of an action that needs the results of others, from the key of its own components (`own`). Without
/// results it is `own`.
pub(crate) fn with_results<'r>(
    own: ActionKey,
    results: impl Iterator<Item = &'r (Arc<str>, Digest)>,
) -> ActionKey {
    let mut parts = KeyParts::default();
    for (name, digest) in results {
        parts.push(name.to_string(), digest);
    }
    if parts.0.is_empty() {
        return own;
    }
    parts.with("own components", own).key()
}

/// Describes what changed from one list of components to another, one sentence each, in the order of the new list.
pub(crate) fn differences(old: &[(String, String)], new: &[(String, String)]) -> Vec<String> {
    let find = |parts: &[(String, String)], name: &str| {
        parts
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.clone())
    };
    let mut changes: Vec<String> = new
        .iter()
        .filter_map(|(name, value)| match find(old, name) {
            None => Some(format!("{name} is new")),
            Some(before) if before != *value => Some(format!(
                "{name} changed from {} to {}",
                shown(&before),
                shown(value)
            )),
            Some(_) => None,
        })
        .collect();
    changes.extend(
        old.iter()
            .filter(|(name, _)| find(new, name).is_none())
            .map(|(name, _)| format!("{name} is gone")),
    );
    if changes.is_empty() && old != new {
        changes.push("the order of its inputs changed".to_owned());
    }
    changes
}

/// Formats a value for messages: digests and long texts are shortened.
fn shown(value: &str) -> String {
    if let Ok(digest) = value.parse::<Digest>() {
        return digest.short();
    }
    if value.is_empty() {
        return "nothing".to_owned();
    }
    match value.char_indices().nth(60) {
        Some((end, _)) => format!("`{}…`", &value[..end]),
        None => format!("`{value}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_depends_on_every_component_and_their_limits() {
        let base = KeyParts::default().with("a", "1").with("b", "2");
        assert_eq!(
            base.key(),
            KeyParts::default().with("a", "1").with("b", "2").key()
        );
        for other in [
            KeyParts::default().with("a", "1").with("b", "3"),
            KeyParts::default().with("a", "1").with("c", "2"),
            KeyParts::default().with("b", "2").with("a", "1"),
            KeyParts::default().with("a", "1b").with("", "2"),
            KeyParts::default().with("a", "1"),
        ] {
            assert_ne!(base.key(), other.key());
        }
    }

    #[test]
    fn differences_name_the_component() {
        let old = KeyParts::default()
            .with("dpi", 100)
            .with("source", Digest::of("x"))
            .with("theme", "");
        let new = KeyParts::default()
            .with("dpi", 200)
            .with("source", Digest::of("x"))
            .with("scale", 3);
        assert_eq!(
            differences(old.parts(), new.parts()),
            [
                "dpi changed from `100` to `200`",
                "scale is new",
                "theme is gone"
            ]
        );
        assert!(differences(old.parts(), old.parts()).is_empty());
    }
}
