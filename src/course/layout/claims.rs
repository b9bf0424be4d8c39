//! One source for each place: whoever comes first in the course has it.

use std::collections::HashMap;

use crate::course::RelPath;
use crate::digest::Digest;
use crate::events::Diagnostic;

/// Which source has which place.
pub struct Claims<'a> {
    /// By the digest of target and path: one entry for every output of the course.
    by_place: HashMap<Digest, Claim>,
    is_same: &'a dyn Fn(&RelPath, &RelPath) -> bool,
    /// Conflicts, one for each pair of sources.
    pub diagnostics: Vec<Diagnostic>,
    told: Vec<(RelPath, RelPath)>,
}

struct Claim {
    path: RelPath,
    source: RelPath,
    /// Whether the output is made from the source, so that equal sources do not mean equal outputs.
    is_made: bool,
}

impl<'a> Claims<'a> {
    /// No place has a source yet.
    pub fn new(is_same: &'a dyn Fn(&RelPath, &RelPath) -> bool) -> Self {
        Self {
            by_place: HashMap::new(),
            is_same,
            diagnostics: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Whether the source gets the place.
    pub fn claim(
        &mut self,
        target: usize,
        target_name: &str,
        path: &RelPath,
        source: &RelPath,
        is_made: bool,
    ) -> bool {
        // File systems that ignore case would let one overwrite the other.
        let place = Digest::of(format!("{target}/{}", path.as_str().to_lowercase()));
        let Some(first) = self.by_place.get(&place) else {
            let claim = Claim {
                path: path.clone(),
                source: source.clone(),
                is_made,
            };
            self.by_place.insert(place, claim);
            return true;
        };
        let differs_in_case = first.path != *path;
        let pair = (first.source.clone(), source.clone());
        let is_equal = !first.is_made && !is_made && (self.is_same)(&first.source, source);
        if is_equal && !differs_in_case {
            return false;
        }
        if !self.told.contains(&pair) {
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
            self.told.push(pair);
        }
        differs_in_case
    }
}
