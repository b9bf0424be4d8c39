//! Lanes of a timeline: bars of a lane follow one another, and parts of a bar are shown below it.

/// The content of a lane. The order of the variants is the order of the lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Group {
    /// Phases of the engine, such as planning, deciding and publishing. Phases in other threads have the lanes from 2.
    Phases,
    /// Actions made in this process, and those whose results were restored.
    Here,
    /// Workers of a kind, by its position in [`KINDS`].
    Workers(usize),
    /// Actions on a build farm.
    Farm,
    /// Kernel starts, ahead of need or not.
    Kernels,
    /// Actions for which there was no worker.
    Without,
}

/// The kinds of actions that workers make, in the order of their lanes.
pub(super) const KINDS: [&str; 4] = ["execute", "html", "plantuml", "drawio"];

impl Group {
    /// Returns the name of a lane of this group; `number` counts from 1.
    pub(super) fn name(self, number: usize) -> String {
        match self {
            Self::Phases if number == 1 => "clm".to_owned(),
            Self::Phases => format!("clm {number}"),
            Self::Here => "in this process".to_owned(),
            Self::Workers(kind) => format!("{} {number}", KINDS.get(kind).unwrap_or(&"worker")),
            Self::Farm => format!("farm {number}"),
            Self::Kernels => format!("kernel start {number}"),
            Self::Without => format!("no worker {number}"),
        }
    }
}

/// Returns for every interval how many earlier ones contain it. Intervals must be sorted by start, an outer one before
/// its inner ones.
pub(super) fn depths(intervals: &[(u64, u64)]) -> Vec<usize> {
    let mut around: Vec<u64> = Vec::new();
    let depth = |(start, end): &(u64, u64)| {
        while around
            .last()
            .is_some_and(|outer| outer <= start || outer < end)
        {
            around.pop();
        }
        around.push(*end);
        around.len() - 1
    };
    intervals.iter().map(depth).collect()
}

/// Distributes intervals, sorted by start, over as few lanes as possible without overlaps; returns the lane of each.
pub(super) fn spread(intervals: &[(u64, u64)]) -> Vec<usize> {
    let mut ends: Vec<u64> = Vec::new();
    let lane = |(start, end): &(u64, u64)| {
        let free = ends.iter().position(|last| last <= start);
        let lane = free.unwrap_or(ends.len());
        match ends.get_mut(lane) {
            Some(last) => *last = *end,
            None => ends.push(*end),
        }
        lane
    };
    intervals.iter().map(lane).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_nest_by_time() {
        let intervals = [(0, 100), (0, 40), (10, 20), (20, 40), (40, 50), (60, 60)];
        assert_eq!(depths(&intervals), [0, 1, 2, 2, 1, 1]);
    }

    #[test]
    fn intervals_at_the_same_time_are_in_different_lanes() {
        let intervals = [(0, 10), (5, 20), (10, 12), (11, 30), (20, 25)];
        assert_eq!(spread(&intervals), [0, 1, 0, 2, 0]);
    }
}
