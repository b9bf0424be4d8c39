//! A running `clm watch`, told by its JSON lines.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use clm::testing::daemon::client::Client;
use clm::testing::daemon::protocol::Request;
use clm::testing::events::{Counts, Diagnostic, Event, Reported, Severity, Status};

use super::Course;

/// No run of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// The process and what it says.
pub struct Watching {
    child: RefCell<Child>,
    events: Receiver<Event>,
    /// What was said since the last run that was taken.
    pending: RefCell<Vec<Event>>,
    /// Whether the last run that was heard of is over; before the first one none is.
    is_over: Cell<bool>,
}

/// The events of one run that ended.
#[derive(Debug)]
pub struct WatchRun(Vec<Event>);

impl Watching {
    /// Starts a watch of a course.
    pub fn start(course: &Course, args: &[&str]) -> Self {
        Self::start_with(course, args, |_| ())
    }

    /// Starts a watch whose command is changed before.
    pub fn start_with(course: &Course, args: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let mut all = vec!["watch", "--message-format", "json"];
        all.extend(args);
        let mut command = course.command(&all);
        change(&mut command);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                let event = serde_json::from_str(&line);
                if sender
                    .send(event.unwrap_or_else(|_| panic!("{line}")))
                    .is_err()
                {
                    return;
                }
            }
        });
        Self {
            child: RefCell::new(child),
            events,
            pending: RefCell::default(),
            is_over: Cell::new(false),
        }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.borrow().id()
    }

    /// Waits for the end of the next run that was not interrupted.
    pub fn run(&self) -> WatchRun {
        self.run_until(|_| true)
    }

    /// Waits for the end of a run after which `is_enough` holds.
    pub fn run_until(&self, is_enough: impl Fn(&WatchRun) -> bool) -> WatchRun {
        let begun = Instant::now();
        loop {
            let event = self.next(begun);
            let ended = matches!(
                event,
                Event::RunFinished {
                    interrupted: false,
                    ..
                }
            );
            self.hear(event);
            if ended {
                let run = WatchRun(self.pending.take());
                if is_enough(&run) {
                    return run;
                }
            }
        }
    }

    /// Expects that nothing is said for some time.
    pub fn expect_silence(&self, time: Duration) {
        if let Ok(event) = self.events.recv_timeout(time) {
            panic!("{event:?}");
        }
    }

    /// Waits until nothing was said for some time; what was said before is not a part of the next run.
    pub fn until_rest(&self, quiet: Duration) {
        self.until_quiet(quiet);
        self.pending.borrow_mut().clear();
    }

    /// Waits until nothing was said for some time.
    pub fn until_quiet(&self, quiet: Duration) {
        while let Ok(event) = self.events.recv_timeout(quiet) {
            self.hear(event);
        }
    }

    fn hear(&self, event: Event) {
        match event {
            Event::RunStarted { .. } => self.is_over.set(false),
            Event::RunFinished { interrupted, .. } => self.is_over.set(!interrupted),
            _ => {}
        }
        self.pending.borrow_mut().push(event);
    }

    /// Waits until the daemon has seen everything that changed so far and has nothing left to do.
    pub fn until_settled(&self, course: &Course) {
        let begun = Instant::now();
        loop {
            let state_dir = course.path(".clm");
            if let Ok(Some(mut client)) = Client::connect(&state_dir)
                && client.ask(&Request::Sync).is_ok()
            {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "the daemon does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        // What was seen is being built: the engine says so at once, and says when it is over.
        loop {
            self.until_quiet(Duration::from_secs(2));
            // The end of the last run may have been taken already.
            if self.is_over.get() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not come to rest");
        }
    }

    /// Waits for a diagnostic that contains a text.
    pub fn until_diagnostic(&self, text: &str) {
        let begun = Instant::now();
        loop {
            let event = self.next(begun);
            let found = matches!(&event, Event::Diagnostic(reported) if reported.diagnostic.message.contains(text));
            self.hear(event);
            if found {
                return;
            }
        }
    }

    fn next(&self, begun: Instant) -> Event {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        match self.events.recv_timeout(left) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => {
                panic!("nothing more was said: {:#?}", self.pending.borrow())
            }
            Err(RecvTimeoutError::Disconnected) => {
                let ended = self.child.borrow_mut().wait();
                panic!("the watch ended ({ended:?}): {:#?}", self.pending.borrow())
            }
        }
    }

    /// Kills it as nothing else can: it cannot clean up.
    pub fn kill(&mut self) {
        let child = self.child.get_mut();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        if matches!(child.try_wait(), Ok(None)) {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            let begun = Instant::now();
            while matches!(child.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(10)
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl WatchRun {
    /// How the actions ended.
    pub fn counts(&self) -> Counts {
        self.0
            .iter()
            .rev()
            .find_map(|event| match event {
                Event::RunFinished { counts, .. } => Some(*counts),
                _ => None,
            })
            .unwrap()
    }

    /// Whether it went on after it was interrupted.
    pub fn was_interrupted(&self) -> bool {
        self.0.iter().any(|event| {
            matches!(
                event,
                Event::RunFinished {
                    interrupted: true,
                    ..
                }
            )
        })
    }

    /// What was reported as an error.
    pub fn errors(&self) -> Vec<&Diagnostic> {
        self.0
            .iter()
            .filter_map(|event| match event {
                Event::Diagnostic(Reported { diagnostic, .. })
                    if diagnostic.severity == Severity::Error =>
                {
                    Some(diagnostic)
                }
                _ => None,
            })
            .collect()
    }

    /// Whether there was a warning that contains a text.
    pub fn warns(&self, text: &str) -> bool {
        self.0.iter().any(|event| {
            matches!(event, Event::Diagnostic(Reported { diagnostic, .. })
                if diagnostic.severity == Severity::Warning && diagnostic.message.contains(text))
        })
    }

    /// The kinds of the actions that ran, with repetitions.
    pub fn built_kinds(&self) -> Vec<String> {
        self.0
            .iter()
            .filter_map(|event| match event {
                Event::ActionStarted { kind, .. } => Some(kind.name().to_owned()),
                _ => None,
            })
            .collect()
    }

    /// The sources of the actions that ran.
    pub fn sources(&self) -> Vec<&str> {
        self.0
            .iter()
            .filter_map(|event| match event {
                Event::ActionStarted { source, .. } => Some(source.as_str()),
                _ => None,
            })
            .collect()
    }

    /// Why an action ran.
    pub fn reasons(&self, wanted: &str) -> &[String] {
        let started = self.0.iter().find_map(|event| match event {
            Event::ActionStarted {
                action, reasons, ..
            } if action == wanted => Some(reasons),
            _ => None,
        });
        started.unwrap_or_else(|| panic!("`{wanted}` did not run: {:#?}", self.0))
    }

    /// The actions that ended in some way.
    pub fn finished(&self, wanted: Status) -> Vec<&str> {
        self.0
            .iter()
            .filter_map(|event| match event {
                Event::ActionFinished { action, status, .. } if *status == wanted => {
                    Some(action.as_str())
                }
                _ => None,
            })
            .collect()
    }
}
