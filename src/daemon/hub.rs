//! Distributes events to all subscribers, and keeps the current state for status requests.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::mpsc;

use crate::clock;
use crate::diagnostic::Diagnostic;
use crate::events::{Counts, Event, Standing};
use crate::parallel::lock;

/// How many events may wait for a slow client before it is dropped.
const WAITING: usize = 10_000;

/// Is called with every event, in order.
pub(crate) type Sink = Box<dyn FnMut(&Event) + Send>;

/// Distributes events. Clones share the same state.
#[derive(Clone, Default)]
pub(crate) struct Hub(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    subscribers: Vec<Subscriber>,
    standing: Standing,
}

struct Subscriber {
    /// If set, only events of runs with this trigger are sent.
    trigger: Option<String>,
    is_on: bool,
    sender: mpsc::Sender<Arc<Event>>,
}

impl Hub {
    /// Distributes the events of `receiver`, first to the sinks. Returns when all senders are dropped.
    pub(crate) fn run(&self, receiver: Receiver<Event>, mut sinks: Vec<Sink>) {
        for event in receiver {
            for sink in &mut sinks {
                sink(&event);
            }
            self.lock().take(&Arc::new(event));
        }
    }

    /// Returns a channel of all events from now on, or of those of the runs with a trigger.
    pub(crate) fn subscribe(&self, trigger: Option<String>) -> mpsc::Receiver<Arc<Event>> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.lock().subscribers.push(Subscriber {
            is_on: trigger.is_none(),
            trigger,
            sender,
        });
        receiver
    }

    /// Returns the running actions, the outcome of the last run with its duration, and the current errors.
    pub(crate) fn state(&self) -> (Vec<String>, Option<(Counts, u64)>, Vec<Diagnostic>) {
        let standing = &self.lock().standing;
        let running = standing.running().iter();
        let mut running: Vec<String> = running.map(|running| running.action.clone()).collect();
        running.sort_unstable();
        let errors = standing.errors().cloned().collect();
        (running, standing.last_run(), errors)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.0)
    }
}

impl Inner {
    fn take(&mut self, event: &Arc<Event>) {
        self.standing.apply(event, clock::now_ms().unsigned_abs());
        self.subscribers.retain_mut(|subscriber| {
            if let (Event::RunStarted { trigger, .. }, Some(wanted)) =
                (&**event, &subscriber.trigger)
            {
                subscriber.is_on = trigger == wanted;
            }
            // A subscriber that has disconnected or does not read is dropped, so that the others need not wait for it.
            !subscriber.is_on && !subscriber.sender.is_closed()
                || subscriber.sender.try_send(Arc::clone(event)).is_ok()
        });
    }
}
