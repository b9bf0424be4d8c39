//! The wall clock, in the units of records.

use std::time::{SystemTime, UNIX_EPOCH};

/// The resolution of the clock from which file systems take timestamps, in nanoseconds, with room to spare: a file may
/// seem to be older than it is by this much.
pub(crate) const TICK_NS: i64 = 20_000_000;

/// Returns the nanoseconds since 1970, the unit of stamps; 0 if the clock is set to an earlier time.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}

/// Returns the milliseconds since 1970, the unit of times in the database and in events.
pub(crate) fn now_ms() -> i64 {
    now_ns() / 1_000_000
}
