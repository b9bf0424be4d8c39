//! Notices that the machine slept: then the wall clock went on and the monotonic clock did not.

use std::time::{Duration, Instant, SystemTime};

/// Differences of the clocks that mean nothing.
const TOLERANCE: Duration = Duration::from_secs(2);

/// The clocks as they were when they were looked at last.
#[derive(Debug)]
pub struct Clocks {
    wall: SystemTime,
    monotonic: Instant,
}

impl Clocks {
    /// Looks at the clocks for the first time.
    pub fn new(wall: SystemTime, monotonic: Instant) -> Self {
        Self { wall, monotonic }
    }

    /// Whether the clocks have moved apart since they were looked at last: the machine slept, or the wall clock was
    /// set. Besides two seconds, a thousandth of the time is let pass, which is what a clock that is being adjusted
    /// may gain or lose.
    pub fn have_parted(&mut self, wall: SystemTime, monotonic: Instant) -> bool {
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
