//! Detects that the machine slept: the wall clock advances during sleep and the monotonic clock does not.

use std::time::{Duration, Instant, SystemTime};

/// The difference between the clocks that is always ignored.
const TOLERANCE: Duration = Duration::from_secs(2);

/// The clocks as of the last check.
#[derive(Debug)]
pub(super) struct Clocks {
    wall: SystemTime,
    monotonic: Instant,
}

impl Clocks {
    /// Records the initial state of the clocks.
    pub(super) fn new(wall: SystemTime, monotonic: Instant) -> Self {
        Self { wall, monotonic }
    }

    /// Returns whether the clocks have diverged since the last check: the machine slept, or the wall clock was set.
    /// Besides two seconds, a thousandth of the elapsed time is tolerated, which is what a clock that is being adjusted
    /// may gain or lose.
    pub(super) fn have_parted(&mut self, wall: SystemTime, monotonic: Instant) -> bool {
        let passed = monotonic.saturating_duration_since(self.monotonic);
        let expected = self.wall + passed;
        let apart = wall
            .duration_since(expected)
            .unwrap_or_else(|error| error.duration());
        (self.wall, self.monotonic) = (wall, monotonic);
        apart > TOLERANCE + passed / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_parts_the_clocks_and_time_does_not() {
        let (mut wall, mut monotonic) = (SystemTime::now(), Instant::now());
        let mut clocks = Clocks::new(wall, monotonic);
        let mut after = |wall_s: f64, monotonic_s: f64| {
            wall += Duration::from_secs_f64(wall_s);
            monotonic += Duration::from_secs_f64(monotonic_s);
            clocks.have_parted(wall, monotonic)
        };
        assert!(!after(60.0, 60.0));
        assert!(!after(36_000.0, 35_985.0));
        assert!(after(600.0, 0.2));
        assert!(!after(1.0, 1.0));
        wall -= Duration::from_secs(100);
        assert!(clocks.have_parted(wall, monotonic));
    }
}
