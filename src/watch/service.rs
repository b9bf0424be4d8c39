//! The thread of a watch: it sleeps until an event, a command or a deadline, and sends change sets.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use tokio::sync::mpsc;

use crate::diagnostic::Diagnostic;
use crate::error::{Dir, Error, Result, io_hint};

use super::clock::Clocks;
use super::cookies::{Answer, Cookies};
use super::registry::Current;
use super::settle::ChangeSet;
use super::source::Raw;
use super::tracker::Tracker;
use super::{CAPACITY, Command, State, WatchOptions};

/// How many events are handled before deadlines are checked again.
const AT_ONCE: usize = 1024;

/// Starts the thread; returns when everything is watched.
pub(super) fn start(
    mut options: WatchOptions,
    commands: mpsc::UnboundedReceiver<Command>,
    state: Arc<State>,
    registry: Current,
) -> Result<mpsc::Receiver<ChangeSet>> {
    let real_root = options
        .root
        .canonicalize()
        .map_err(|error| Error::io("watch", &options.root, &error))?;
    options.state_dir = std::path::absolute(&options.state_dir)
        .map_err(|error| Error::io("use", &options.state_dir, &error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Error::system("watch files", &error))?;
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let (ready, is_ready) = std::sync::mpsc::channel();
    let work = move || {
        let cookies = if options.poll {
            None
        } else {
            Cookies::prepare(&options.state_dir)
                .inspect_err(|error| (options.report)(no_cookies(&options, error)))
                .ok()
        };
        let cookies_dir = cookies.as_ref().map(|cookies| cookies.dir().to_path_buf());
        let mut service = Service {
            max_paths: options.tuning.max_paths,
            tracker: Tracker::start(options, real_root, cookies_dir, registry),
            cookies,
            sender,
            outbox: ChangeSet::default(),
            answers: Vec::new(),
            clocks: Clocks::new(SystemTime::now(), Instant::now()),
            state,
        };
        service.show();
        let _ = ready.send(());
        runtime.block_on(service.run(commands));
    };
    std::thread::Builder::new()
        .name("clm-watch".to_owned())
        .spawn(work)
        .map_err(|error| Error::system("start a thread", &error))?;
    is_ready
        .recv()
        .map_err(|_| Error::bug("the watch ended before it began"))?;
    Ok(receiver)
}

fn no_cookies(options: &WatchOptions, error: &std::io::Error) -> Diagnostic {
    Diagnostic::warning(format!(
        "cannot write to `{}`: {error}; builds that are asked for compare every file",
        options.state_dir.display()
    ))
    .hint(
        io_hint(Dir::State, "write", error).unwrap_or_else(|| {
            "choose another directory with the variable CLM_STATE_DIR".to_owned()
        }),
    )
}

enum Woken {
    Room,
    Command(Command),
    Event(Raw),
    Time,
}

struct Service {
    tracker: Tracker,
    /// `None` if no cookies can be written, and while polling.
    cookies: Option<Cookies>,
    sender: mpsc::Sender<ChangeSet>,
    /// Changes that wait for room in the channel.
    outbox: ChangeSet,
    max_paths: usize,
    /// Callers to be woken when the outbox is empty.
    answers: Vec<Answer>,
    clocks: Clocks,
    state: Arc<State>,
}

impl Service {
    async fn run(&mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            let wake = self.next_wake();
            let has_set = !self.outbox.is_empty();
            let woken = tokio::select! {
                biased;
                () = self.sender.closed() => return,
                _ = self.sender.reserve(), if has_set => Woken::Room,
                command = commands.recv() => command.map_or(Woken::Command(Command::Stop), Woken::Command),
                raw = self.tracker.arrivals.queue.recv() => Woken::Event(raw.unwrap_or(Raw::Lost)),
                () = sleep_until(wake) => Woken::Time,
            };
            match woken {
                Woken::Room => self.hand_out(),
                Woken::Command(Command::Stop) => return,
                Woken::Command(command) => self.obey(command),
                Woken::Event(raw) => self.take(raw),
                Woken::Time => {}
            }
            self.state.wake_ups.fetch_add(1, Ordering::Relaxed);
            self.catch_up();
        }
    }

    fn hand_out(&mut self) {
        let set = std::mem::take(&mut self.outbox);
        if let Err(mpsc::error::TrySendError::Full(set)) = self.sender.try_send(set) {
            self.outbox = set;
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let settled = self.tracker.settle.deadline();
        let settled = settled.map(|due| self.tracker.moment(due));
        let given_up = self.cookies.as_ref().and_then(Cookies::deadline);
        [settled, given_up, self.tracker.next_look()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Handles events that have arrived and deadlines that have passed.
    fn catch_up(&mut self) {
        for _ in 0..AT_ONCE {
            let Ok(raw) = self.tracker.arrivals.queue.try_recv() else {
                break;
            };
            self.take(raw);
        }
        let now = Instant::now();
        if self.clocks.have_parted(SystemTime::now(), now) {
            let now = self.tracker.now();
            self.tracker.settle.rescan(now);
        }
        if self.tracker.next_look().is_some_and(|due| due <= now) {
            self.tracker.look();
        }
        self.tracker.catch_up();
        let is_polling = self.tracker.is_polling();
        if let Some(cookies) = &mut self.cookies
            && !cookies.is_empty()
        {
            let is_late = cookies.deadline().is_some_and(|due| due <= now);
            if is_late {
                self.tracker.lose();
            }
            if is_late || is_polling || self.tracker.has_lost() {
                let lost = cookies.give_up();
                self.answers.extend(lost);
                self.flush();
            }
        }
        if let Some(set) = self.tracker.tick() {
            self.outbox.merge(set, self.max_paths);
        }
        if !self.outbox.is_empty() {
            self.hand_out();
        }
        if self.outbox.is_empty() {
            for answer in self.answers.drain(..) {
                // The caller may have stopped waiting.
                let _ = answer.send(());
            }
        }
        self.show();
    }

    fn take(&mut self, raw: Raw) {
        if let Some(path) = self.tracker.take(raw)
            && let Some(answer) = self
                .cookies
                .as_mut()
                .and_then(|cookies| cookies.arrived(&path))
        {
            self.answers.push(answer);
            self.flush();
        }
    }

    fn obey(&mut self, command: Command) {
        let now = self.tracker.now();
        match command {
            Command::SetInputs(inputs) => self.tracker.set_inputs(inputs),
            Command::Hold(id) => self.tracker.settle.hold(id, now),
            Command::Release(id) => self.tracker.settle.release(id, now),
            Command::Rescan => self.tracker.settle.rescan(now),
            Command::Sync(answer) => self.sync(answer),
            Command::Stop => {}
        }
    }

    fn sync(&mut self, answer: Answer) {
        let answer = if self.tracker.is_polling() {
            self.tracker.look();
            answer
        } else {
            let is_gone = self.cookies.as_ref().is_some_and(Cookies::is_gone);
            if is_gone {
                self.renew_cookies();
            }
            let written = match &mut self.cookies {
                Some(cookies) if !is_gone => cookies.write(answer, Instant::now()),
                _ => Err(answer),
            };
            let Err(answer) = written else { return };
            // Nothing proves that all events have arrived.
            self.tracker.lose();
            answer
        };
        self.answers.push(answer);
        self.flush();
    }

    /// Recreates the directory of cookies after the state directory was moved or removed.
    fn renew_cookies(&mut self) {
        let Ok(new) = Cookies::prepare(self.tracker.state_dir()) else {
            return;
        };
        self.tracker.set_cookies_dir(new.dir());
        if let Some(mut old) = self.cookies.replace(new) {
            self.answers.extend(old.give_up());
        }
    }

    fn flush(&mut self) {
        if let Some(set) = self.tracker.flush() {
            self.outbox.merge(set, self.max_paths);
        }
    }

    fn show(&self) {
        let is_polling = self.tracker.is_polling();
        self.state.is_polling.store(is_polling, Ordering::Relaxed);
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
