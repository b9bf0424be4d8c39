//! Finds the author's line of each line of a rendered deck by comparing the two texts. This is needed for the rare
//! template that transforms its own lines, so that marks in them are lost.
//!
//! Templates insert and replace lines but keep the order of the others. So lines that occur once in both texts are safe
//! anchors, and equal lines around an anchor correspond to each other.

use std::collections::HashMap;
use std::ops::Range;

use super::text;

/// How often ranges between anchors are divided again. Texts by human authors never need more.
const MAX_DEPTH: usize = 24;

/// Returns for each rendered line the number of its source line, counted from 1.
pub(super) fn align(rendered: &str, source: &str) -> Vec<Option<u32>> {
    let rendered = text::split_lines(rendered);
    let source: Vec<&str> = source.split('\n').collect();
    align_lines(&rendered, &source)
        .into_iter()
        .map(|index| u32::try_from(index? + 1).ok())
        .collect()
}

/// Returns for each rendered line the index of its source line.
fn align_lines(rendered: &[&str], source: &[&str]) -> Vec<Option<usize>> {
    let mut found = vec![None; rendered.len()];
    let mut pending = vec![(0..rendered.len(), 0..source.len(), 0)];
    while let Some((mut new, mut old, depth)) = pending.pop() {
        while !new.is_empty() && !old.is_empty() && rendered[new.start] == source[old.start] {
            found[new.start] = Some(old.start);
            new.start += 1;
            old.start += 1;
        }
        while !new.is_empty() && !old.is_empty() && rendered[new.end - 1] == source[old.end - 1] {
            new.end -= 1;
            old.end -= 1;
            found[new.end] = Some(old.end);
        }
        if new.is_empty() || old.is_empty() || depth == MAX_DEPTH {
            continue;
        }
        let (mut new_start, mut old_start) = (new.start, old.start);
        for (new_at, old_at) in anchors(rendered, &new, source, &old) {
            found[new_at] = Some(old_at);
            pending.push((new_start..new_at, old_start..old_at, depth + 1));
            (new_start, old_start) = (new_at + 1, old_at + 1);
        }
        if new_start > new.start {
            pending.push((new_start..new.end, old_start..old.end, depth + 1));
        }
    }
    found
}

/// Returns pairs of equal lines that occur once in both ranges: the longest list that is ascending on both sides.
fn anchors(
    rendered: &[&str],
    new: &Range<usize>,
    source: &[&str],
    old: &Range<usize>,
) -> Vec<(usize, usize)> {
    let mut seen: HashMap<&str, (usize, usize, usize)> = HashMap::new();
    for at in old.clone() {
        let entry = seen.entry(source[at]).or_insert((0, at, 0));
        entry.0 += 1;
    }
    for at in new.clone() {
        if let Some(entry) = seen.get_mut(rendered[at]) {
            entry.2 += 1;
        }
    }
    let unique: Vec<(usize, usize)> = new
        .clone()
        .filter_map(|at| match seen.get(rendered[at]) {
            Some((1, old_at, 1)) => Some((at, *old_at)),
            _ => None,
        })
        .collect();

    // The longest ascending list, computed from the smallest last element for each length.
    let mut last: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(unique.len());
    for (index, (_, old_at)) in unique.iter().enumerate() {
        let length = last.partition_point(|at| unique[*at].1 < *old_at);
        before.push(length.checked_sub(1).map(|shorter| last[shorter]));
        if length == last.len() {
            last.push(index);
        } else {
            last[length] = index;
        }
    }
    let mut list = Vec::new();
    let mut next = last.last().copied();
    while let Some(index) = next {
        list.push(unique[index]);
        next = before[index];
    }
    list.reverse();
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_around_what_a_template_inserted() {
        let source = [
            "# j2 import",
            "# {{ header }}",
            "",
            "# %%",
            "a",
            "",
            "# %%",
            "b {{ x }}",
            "c",
        ];
        let rendered = [
            "# %% title",
            "",
            "# %% title",
            "",
            "",
            "# %%",
            "a",
            "",
            "# %%",
            "b 1",
            "c",
        ];
        let lines = align_lines(&rendered, &source);
        assert_eq!(lines[6], Some(4));
        assert_eq!(lines[5], Some(3));
        assert_eq!(lines[8], Some(6));
        assert_eq!(lines[9], None);
        assert_eq!(lines[10], Some(8));
        assert_eq!(lines[0], None);
    }
}
