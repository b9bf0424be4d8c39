//! Distributes events to all subscribers, and keeps the current state for status requests.

use std::collections::BTreeSet;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::mpsc;

use crate::engine::resident::WATCH_TRIGGER;
use crate::events::{Counts, Diagnostic, Event, Severity};
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
    running: BTreeSet<String>,
    last_run: Option<(Counts, u64)>,
    /// The errors of the last complete run of the watch, and those reported since outside of runs.
    errors: Vec<Diagnostic>,
    fresh_errors: Vec<Diagnostic>,
    is_whole: bool,
    in_run: bool,
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
        let inner = self.lock();
        let running = inner.running.iter().cloned().collect();
        (running, inner.last_run, inner.errors.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.0)
    }
}

impl Inner {
    fn take(&mut self, event: &Arc<Event>) {
        self.fold(event);
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

    fn fold(&mut self, event: &Event) {
        match event {
            Event::RunStarted { trigger, .. } => {
                self.is_whole = trigger == WATCH_TRIGGER;
                self.in_run = true;
                self.fresh_errors.clear();
            }
            Event::ActionStarted { action, .. } => {
                self.running.insert(action.clone());
            }
            Event::ActionFinished { action, .. } => {
                self.running.remove(action);
            }
            Event::Diagnostic(diagnostic) if diagnostic.severity == Severity::Error => {
                let errors = match self.in_run {
                    true => &mut self.fresh_errors,
                    false => &mut self.errors,
                };
                if !errors.contains(diagnostic) {
                    errors.push(diagnostic.clone());
                }
            }
            Event::RunFinished {
                counts,
                duration_ms,
                interrupted,
                ..
            } => {
                self.in_run = false;
                self.last_run = Some((*counts, *duration_ms));
                if self.is_whole && !interrupted {
                    self.errors = std::mem::take(&mut self.fresh_errors);
                }
            }
            _ => {}
        }
    }
}
