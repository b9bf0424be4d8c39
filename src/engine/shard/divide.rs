//! Divides work over shards. It is pure: every shard computes the same division from the same work, in any order.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::course::RelPath;
use crate::plan::ActionKey;

/// An action that must run.
#[derive(Clone, Debug)]
pub(super) struct Work<'a> {
    /// Its key, as far as it is known before the actions run that it needs. Actions with the same key share a job.
    pub key: ActionKey,
    /// The file the author edits.
    pub source: &'a RelPath,
    /// The positions of the actions among the work that it needs.
    pub after: Vec<usize>,
    /// How long it will probably take, in milliseconds.
    pub weight: u64,
}

/// Returns the shard of every action, counted from 0. Actions that share a source, a job or a result are one unit, and
/// every unit is in one shard. The units go to the shard with the least work so far, the longest unit first.
pub(super) fn divide(work: &[Work<'_>], count: u32) -> Vec<u32> {
    let roots = units(work);
    let mut units: HashMap<usize, Unit> = HashMap::new();
    for (one, root) in work.iter().zip(&roots) {
        let unit = units.entry(*root).or_insert(Unit {
            weight: 0,
            key: one.key,
        });
        unit.weight = unit.weight.saturating_add(one.weight);
        unit.key = unit.key.min(one.key);
    }
    let mut sorted: Vec<(usize, Unit)> = units.into_iter().collect();
    // No two units have the same key, so the order is independent of the order of the work.
    sorted.sort_unstable_by_key(|(_, unit)| (Reverse(unit.weight), unit.key));
    let mut loads = vec![0_u64; count.max(1) as usize];
    let mut shards: HashMap<usize, u32> = HashMap::new();
    for (root, unit) in sorted {
        let least = loads.iter_mut().zip(0_u32..).min_by_key(|(load, _)| **load);
        if let Some((load, shard)) = least {
            // A unit without weight counts as well, so that many of them do not all go to one shard.
            *load = load.saturating_add(unit.weight.max(1));
            shards.insert(root, shard);
        }
    }
    let shard_of = |root| shards.get(root).copied().unwrap_or_default();
    roots.iter().map(shard_of).collect()
}

/// Actions that one shard makes together.
#[derive(Clone, Copy)]
struct Unit {
    weight: u64,
    /// The least key of its actions.
    key: ActionKey,
}

/// Returns for every action the position of an action that stands for its unit.
fn units(work: &[Work<'_>]) -> Vec<usize> {
    let mut sets = Sets((0..work.len()).collect());
    let mut of_source: HashMap<&RelPath, usize> = HashMap::new();
    let mut of_key: HashMap<ActionKey, usize> = HashMap::new();
    for (position, one) in work.iter().enumerate() {
        sets.join(position, *of_source.entry(one.source).or_insert(position));
        sets.join(position, *of_key.entry(one.key).or_insert(position));
        for before in &one.after {
            sets.join(position, *before);
        }
    }
    (0..work.len())
        .map(|position| sets.find(position))
        .collect()
}

/// Disjoint sets: for every element another one of its set, or itself.
struct Sets(Vec<usize>);

impl Sets {
    fn find(&mut self, mut element: usize) -> usize {
        while self.0[element] != element {
            self.0[element] = self.0[self.0[element]];
            element = self.0[element];
        }
        element
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.find(one), self.find(other));
        self.0[one] = other;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use crate::digest::Digest;

    use super::*;

    /// A description of work: number of the source, number of the key, weight, and how far before it the action is that
    /// it needs (0 for none).
    type Given = (u8, u16, u64, u8);

    fn sources() -> Vec<RelPath> {
        let name = |number| RelPath::new(&format!("slides/m/t/slides_{number}.py")).unwrap();
        (0..=255).map(name).collect()
    }

    fn work<'a>(sources: &'a [RelPath], given: &[Given]) -> Vec<Work<'a>> {
        let one = |(position, (source, key, weight, back)): (usize, &Given)| Work {
            key: Digest::of(key.to_le_bytes()),
            source: &sources[usize::from(*source)],
            after: match usize::from(*back) {
                0 => Vec::new(),
                back => position.checked_sub(back).into_iter().collect(),
            },
            weight: *weight,
        };
        given.iter().enumerate().map(one).collect()
    }

    fn all_given() -> impl Strategy<Value = Vec<Given>> {
        let back = prop_oneof![4 => Just(0_u8), 1 => 1..6_u8];
        let one = (0..40_u8, 0..400_u16, 0..10_000_u64, back);
        prop::collection::vec(one, 0..60)
    }

    fn loads(work: &[Work<'_>], shards: &[u32], count: u32) -> Vec<u64> {
        let mut loads = vec![0; count as usize];
        for (one, shard) in work.iter().zip(shards) {
            loads[*shard as usize] += one.weight;
        }
        loads
    }

    /// The least load of the busiest shard, by trying every division.
    fn best(weights: &[u64], loads: &mut Vec<u64>) -> u64 {
        let Some((first, rest)) = weights.split_first() else {
            return loads.iter().copied().max().unwrap();
        };
        let tried: BTreeSet<u64> = (0..loads.len())
            .map(|shard| {
                loads[shard] += first;
                let found = best(rest, loads);
                loads[shard] -= first;
                found
            })
            .collect();
        *tried.first().unwrap()
    }

    proptest! {
        #[test]
        fn what_belongs_together_is_in_one_shard(given in all_given(), count in 1..9_u32) {
            let sources = sources();
            let work = work(&sources, &given);
            let shards = divide(&work, count);
            prop_assert_eq!(shards.len(), work.len());
            for (one, shard) in work.iter().zip(&shards) {
                prop_assert!(*shard < count);
                for (other, others) in work.iter().zip(&shards) {
                    if one.source == other.source || one.key == other.key {
                        prop_assert_eq!(shard, others);
                    }
                }
                for before in &one.after {
                    prop_assert_eq!(*shard, shards[*before]);
                }
            }
        }

        #[test]
        fn the_order_of_the_work_does_not_matter(
            given in all_given(),
            count in 1..9_u32,
            order in prop::collection::vec(any::<u32>(), 60),
        ) {
            let sources = sources();
            let work = work(&sources, &given);
            let shards = divide(&work, count);
            let mut positions: Vec<usize> = (0..work.len()).collect();
            positions.sort_by_key(|position| order[*position]);
            let place = |position: &usize| positions.iter().position(|other| other == position);
            let moved: Vec<Work<'_>> = positions
                .iter()
                .map(|position| Work {
                    after: work[*position].after.iter().filter_map(place).collect(),
                    ..work[*position].clone()
                })
                .collect();
            for (shard, position) in divide(&moved, count).iter().zip(&positions) {
                prop_assert_eq!(*shard, shards[*position]);
            }
        }

        #[test]
        fn the_busiest_shard_is_within_the_bound_of_the_method(
            weights in prop::collection::vec(1..1_000_u64, 1..9),
            count in 1..4_u32,
        ) {
            let sources = sources();
            let given: Vec<Given> = weights
                .iter()
                .enumerate()
                .map(|(number, weight)| (number as u8, number as u16, *weight, 0))
                .collect();
            let work = work(&sources, &given);
            let busiest = *loads(&work, &divide(&work, count), count).iter().max().unwrap();
            let best = best(&weights, &mut vec![0; count as usize]);
            // Longest first is at most 4/3 - 1/(3 N) of the best.
            let shards = u64::from(count);
            prop_assert!(
                busiest * 3 * shards <= best * (4 * shards - 1),
                "{} instead of {}", busiest, best
            );
        }
    }

    #[test]
    fn units_without_known_durations_are_spread() {
        let sources = sources();
        let given: Vec<Given> = (0..8)
            .map(|number| (number, u16::from(number), 0, 0))
            .collect();
        let shards = divide(&work(&sources, &given), 4);
        for shard in 0..4 {
            assert_eq!(shards.iter().filter(|other| **other == shard).count(), 2);
        }
    }
}
