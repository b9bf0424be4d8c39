//! Resolves conflicts between outputs: the first source in the course gets the place.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;

use super::Destination;

/// The assignment of places to sources.
pub(super) struct Claims<'a> {
    /// The claims by the target and the digest of the path: one entry for every output of the course.
    by_place: HashMap<(usize, Digest), Claim>,
    is_same: &'a dyn Fn(&RelPath, &RelPath) -> bool,
    /// Returns whether two diagrams have the same files beside them.
    has_same_surroundings: &'a dyn Fn(&RelPath, &RelPath) -> bool,
    /// Conflicts, one for each pair of sources.
    pub diagnostics: Vec<Diagnostic>,
    reported: Vec<(RelPath, RelPath)>,
}

struct Claim {
    output: Arc<str>,
    source: RelPath,
    making: Making,
}

/// How an output is made, which decides whether equal sources have equal outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Making {
    /// A copy: equal sources have equal outputs.
    Copied,
    /// A picture, whose source may refer to files beside it.
    Drawn,
    /// Made from the source and much else, so that equal sources may have different outputs.
    Built,
}

impl<'a> Claims<'a> {
    /// Creates an empty assignment.
    pub(super) fn new(
        is_same: &'a dyn Fn(&RelPath, &RelPath) -> bool,
        has_same_surroundings: &'a dyn Fn(&RelPath, &RelPath) -> bool,
    ) -> Self {
        Self {
            by_place: HashMap::new(),
            is_same,
            has_same_surroundings,
            diagnostics: Vec::new(),
            reported: Vec::new(),
        }
    }

    /// Returns whether the source gets the place. A conflict with a different source adds a diagnostic.
    pub(super) fn claim(
        &mut self,
        place: &Destination,
        target_name: &str,
        source: &RelPath,
        making: Making,
    ) -> bool {
        // Paths are compared without case: on some file systems, one of the outputs would overwrite the other.
        let path = place.path();
        let lower = match path.is_ascii() {
            true => path.to_ascii_lowercase(),
            false => path.to_lowercase(),
        };
        let claim = Claim {
            output: Arc::clone(place.output()),
            source: source.clone(),
            making,
        };
        let first = match self.by_place.entry((place.target(), Digest::of(lower))) {
            Entry::Occupied(first) => first.into_mut(),
            Entry::Vacant(free) => {
                free.insert(claim);
                return true;
            }
        };
        let differs_in_case = first.output != *place.output();
        let pair = (first.source.clone(), source.clone());
        let is_equal = match (first.making, making) {
            (Making::Copied, Making::Copied) => (self.is_same)(&first.source, source),
            (Making::Drawn, Making::Drawn) => {
                first.source == *source
                    || ((self.is_same)(&first.source, source)
                        && (self.has_same_surroundings)(&first.source, source))
            }
            _ => false,
        };
        if is_equal && !differs_in_case {
            return false;
        }
        if !self.reported.contains(&pair) {
            let diagnostic = if differs_in_case {
                Diagnostic::warning(format!(
                    "its output `{path}` differs from that of `{}` only in upper and lower case",
                    pair.0
                ))
                .hint("rename one of them: on some systems one overwrites the other")
            } else {
                Diagnostic::error(format!(
                    "it has the same output as `{}`: `{path}` in the target `{target_name}`",
                    pair.0
                ))
                .hint("rename one of them, or give one of the decks another title; until then the first one counts")
            };
            self.diagnostics.push(diagnostic.at(source.as_str(), None));
            self.reported.push(pair);
        }
        differs_in_case
    }
}
