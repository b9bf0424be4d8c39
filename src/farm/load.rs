//! How busy a farm is with the actions of this process, and how long it takes.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::parallel::lock;

/// The time that an action is expected to take longer on a farm, before any was measured.
const ROUND_TRIP: Duration = Duration::from_millis(150);
/// The number of actions that may wait for a worker of the farm even if none runs.
const WAITING: usize = 4;
/// The number of actions that a farm is given at once before it is known how many it runs at once.
const FIRST: usize = 4;

/// Where an action is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is being sent, or nothing is known of it.
    #[default]
    Sent,
    /// It waits for a worker.
    Queued,
    /// A worker runs it.
    Executing,
}

/// The actions that a farm has.
#[derive(Debug)]
pub(super) struct Load {
    /// The largest number.
    jobs: usize,
    max_queue: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    actions: usize,
    queued: usize,
    executing: usize,
    /// When an action began or ended last.
    moved: Instant,
    round_trip: Option<Duration>,
    /// How many actions it is given at once: one more for each that ran without waiting, one fewer for each that waited
    /// longer than it ran. Some farms do not say that an action waits, and a worker here may be free meanwhile.
    window: usize,
}

/// An action that the farm has, until this is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    load: &'a Load,
    stage: Mutex<(Stage, Instant)>,
}

impl Load {
    /// Returns the load of a farm that is given up to `jobs` actions. They may wait for a worker for `max_queue` while none
    /// begins or ends.
    pub(super) fn new(jobs: usize, max_queue: Duration) -> Self {
        Self {
            jobs,
            max_queue,
            state: Mutex::new(State {
                actions: 0,
                queued: 0,
                executing: 0,
                moved: Instant::now(),
                round_trip: None,
                window: FIRST,
            }),
        }
    }

    /// Returns whether the farm takes one more action. Actions that would only wait there may find a worker here first.
    pub(super) fn has_room(&self) -> bool {
        let state = lock(&self.state);
        state.actions < self.jobs.min(state.window) && state.queued < state.executing.max(WAITING)
    }

    /// Records that the farm is given an action.
    pub(super) fn enter(&self) -> Place<'_> {
        lock(&self.state).actions += 1;
        Place {
            load: self,
            stage: Mutex::new((Stage::Sent, Instant::now())),
        }
    }

    /// Returns how much longer an action takes on the farm than it runs there.
    pub(super) fn round_trip(&self) -> Duration {
        lock(&self.state).round_trip.unwrap_or(ROUND_TRIP)
    }

    /// Records that an action took some time, in which it ran for `ran`.
    pub(super) fn ended(&self, took: Duration, ran: Duration) {
        let mut state = lock(&self.state);
        let measured = took.saturating_sub(ran);
        // The shortest of the last ones: others waited for a worker.
        let round_trip = match state.round_trip {
            Some(known) => measured.min(known.mul_f64(1.1)),
            None => measured,
        };
        state.round_trip = Some(round_trip);
        let waited = measured.saturating_sub(round_trip);
        state.window = match waited > ran {
            true => state.window.saturating_sub(1).max(FIRST),
            // What is given at once may not be limited by the window.
            false if state.actions >= state.window => self.jobs.min(state.window + 1),
            false => state.window,
        };
    }
}

impl Place<'_> {
    /// Records where the action is.
    pub(super) fn is_at(&self, stage: Stage) {
        let mut own = lock(&self.stage);
        if own.0 == stage {
            return;
        }
        let mut state = lock(&self.load.state);
        state.count(own.0, stage);
        if stage == Stage::Executing {
            state.moved = Instant::now();
            // It says what begins: no need to find out.
            state.window = state.window.max(state.executing + WAITING);
        }
        *own = (stage, Instant::now());
    }

    /// Returns whether it waits for a worker in vain: properties that no worker has are no error for many farms.
    pub(super) fn is_stuck(&self) -> bool {
        let (stage, since) = *lock(&self.stage);
        let moved = lock(&self.load.state).moved.max(since);
        stage == Stage::Queued && moved.elapsed() > self.load.max_queue
    }

    /// Returns how long a worker has been running it; as far as that is not known, since it was sent.
    pub(super) fn ran_for(&self) -> Duration {
        let (stage, since) = *lock(&self.stage);
        match stage {
            Stage::Queued => Duration::ZERO,
            Stage::Sent | Stage::Executing => since.elapsed(),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let stage = lock(&self.stage).0;
        let mut state = lock(&self.load.state);
        state.count(stage, Stage::Sent);
        state.actions -= 1;
        // One that was given up shows nothing.
        if stage == Stage::Executing {
            state.moved = Instant::now();
        }
    }
}

impl State {
    fn count(&mut self, before: Stage, after: Stage) {
        for (stage, number) in [
            (Stage::Queued, &mut self.queued),
            (Stage::Executing, &mut self.executing),
        ] {
            *number -= usize::from(before == stage);
            *number += usize::from(after == stage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_that_only_wait_are_few() {
        let load = Load::new(100, Duration::ZERO);
        let mut places: Vec<_> = (1..WAITING).map(|_| load.enter()).collect();
        places.iter().for_each(|place| place.is_at(Stage::Queued));
        assert!(load.has_room());
        places.push(load.enter());
        places.iter().for_each(|place| place.is_at(Stage::Queued));
        assert!(!load.has_room());
        places[0].is_at(Stage::Executing);
        assert!(load.has_room());
        places[0].is_at(Stage::Queued);
        drop(places);
        let state = lock(&load.state);
        assert_eq!((state.actions, state.queued, state.executing), (0, 0, 0));
    }

    #[test]
    fn as_many_are_given_at_once_as_begin_at_once() {
        let ms = Duration::from_millis;
        let load = Load::new(8, ms(0));
        let mut places: Vec<_> = (0..FIRST).map(|_| load.enter()).collect();
        assert!(!load.has_room());
        // They did not wait: one more for each.
        for number in 0..6 {
            load.ended(ms(150), ms(100));
            assert_eq!(load.has_room(), number < 4, "{number}");
            if load.has_room() {
                places.push(load.enter());
            }
        }
        assert_eq!(places.len(), 8, "the limit of the settings");
        // They waited.
        places.pop();
        load.ended(ms(950), ms(100));
        assert!(!load.has_room());
        places.pop();
        assert!(load.has_room());
    }

    #[test]
    fn the_number_of_actions_is_limited() {
        let load = Load::new(2, Duration::ZERO);
        let one = load.enter();
        assert!(load.has_room());
        let two = load.enter();
        assert!(!load.has_room());
        drop(one);
        assert!(load.has_room());
        drop(two);
    }

    #[test]
    fn only_what_waits_while_nothing_moves_is_stuck() {
        let load = Load::new(2, Duration::from_millis(20));
        let place = load.enter();
        place.is_at(Stage::Queued);
        assert!(!place.is_stuck());
        std::thread::sleep(Duration::from_millis(30));
        assert!(place.is_stuck());
        // Another one begins.
        load.enter().is_at(Stage::Executing);
        assert!(!place.is_stuck());
        std::thread::sleep(Duration::from_millis(30));
        let other = load.enter();
        other.is_at(Stage::Queued);
        drop(other);
        assert!(place.is_stuck(), "one that was given up shows nothing");
        place.is_at(Stage::Executing);
        std::thread::sleep(Duration::from_millis(30));
        assert!(!place.is_stuck());
    }

    #[test]
    fn the_round_trip_is_the_shortest_of_the_last_ones() {
        let ms = Duration::from_millis;
        let load = Load::new(2, ms(0));
        assert_eq!(load.round_trip(), ROUND_TRIP);
        load.ended(ms(500), ms(400));
        assert_eq!(load.round_trip(), ms(100));
        load.ended(ms(5000), ms(400));
        assert_eq!(load.round_trip(), ms(110));
        load.ended(ms(450), ms(400));
        assert_eq!(load.round_trip(), ms(50));
    }
}
