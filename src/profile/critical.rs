//! The critical path: the chain of actions, each waiting for the one before, that took longest. No number of workers
//! makes a run shorter than this chain.

use std::collections::HashMap;

/// The data of an action that the critical path depends on.
pub(super) struct Link<'a> {
    /// Its identity. An action that was made twice occurs twice.
    pub id: &'a str,
    /// How long it took, in microseconds.
    pub duration: u64,
    /// The identities of the actions that it needed.
    pub after: &'a [String],
}

/// Returns the positions of the actions of the longest chain, first to last. Every action must come after those that it
/// needs.
pub(super) fn path(links: &[Link<'_>]) -> Vec<usize> {
    let mut last_of: HashMap<&str, usize> = HashMap::new();
    // For every action, the length of the chain that ends with it, and the action before it.
    let mut chains: Vec<(u64, Option<usize>)> = Vec::with_capacity(links.len());
    for (place, link) in links.iter().enumerate() {
        let before = link
            .after
            .iter()
            .filter_map(|id| last_of.get(id.as_str()).copied())
            .max_by_key(|before| chains[*before].0);
        let until = before.map_or(0, |before| chains[before].0);
        chains.push((until + link.duration, before));
        last_of.insert(link.id, place);
    }
    let longest = (0..chains.len()).max_by_key(|place| (chains[*place].0, usize::MAX - place));
    let mut path: Vec<usize> = std::iter::successors(longest, |place| chains[*place].1).collect();
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_chain_is_found() {
        let after =
            |ids: &[&str]| -> Vec<String> { ids.iter().map(|id| (*id).to_owned()).collect() };
        let (none, on_a, on_b) = (after(&[]), after(&["a"]), after(&["b", "long", "unknown"]));
        let link = |id, duration, after| Link {
            id,
            duration,
            after,
        };
        let links = [
            link("a", 5, &none[..]),
            link("long", 9, &none),
            link("b", 5, &on_a),
            link("c", 1, &on_b),
            link("alone", 10, &none),
        ];
        assert_eq!(path(&links), [0, 2, 3]);
        assert_eq!(path(&links[..2]), [1]);
        assert!(path(&[]).is_empty());
    }
}
