//! Everything that happens, told to everybody who wants to know.

use std::collections::BTreeSet;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::mpsc;

use crate::engine::resident::WATCH_TRIGGER;
use crate::events::{Counts, Diagnostic, Event, Severity};
use crate::parallel::lock;

/// How many events wait for a slow client before it is let go.
const WAITING: usize = 10_000;

/// Takes every event, in order.
pub type Sink = Box<dyn FnMut(&Event) + Send>;

/// Hands events on. Clones are the same hub.
#[derive(Clone, Default)]
pub struct Hub(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    subscribers: Vec<Subscriber>,
    running: BTreeSet<String>,
    last_run: Option<(Counts, u64)>,
    /// Errors by the run in which they were reported: those of the last whole run count.
    errors: Vec<Diagnostic>,
    fresh_errors: Vec<Diagnostic>,
    is_whole: bool,
    in_run: bool,
}

struct Subscriber {
    /// Only events of runs with this trigger.
    trigger: Option<String>,
    is_on: bool,
    sender: mpsc::Sender<Arc<Event>>,
}

impl Hub {
    /// Hands on what `receiver` gets, first to the sinks. Ends when all senders are gone.
    pub fn run(&self, receiver: Receiver<Event>, mut sinks: Vec<Sink>) {
        for event in receiver {
            for sink in &mut sinks {
                sink(&event);
            }
            self.lock().take(&Arc::new(event));
        }
    }

    /// Events from now on: all, or those of the runs with a trigger.
    pub fn subscribe(&self, trigger: Option<String>) -> mpsc::Receiver<Arc<Event>> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.lock().subscribers.push(Subscriber {
            is_on: trigger.is_none(),
            trigger,
            sender,
        });
        receiver
    }

    /// What runs now, how the last run went, and what is wrong.
    pub fn state(&self) -> (Vec<String>, Option<(Counts, u64)>, Vec<Diagnostic>) {
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
            // One that is gone, or does not read, is dropped: the others do not wait for it.
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
