//! Faults of a watch, of a build that has a watch do the work, and of one of two builds.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use clm::testing::events::Event;

use super::course::{BUILD, State};
use super::history::{History, PATIENCE};
use super::trace::{Fault, Handle, Plan, Traced};

pub const WATCH: &[&str] = &["watch", "--message-format", "json"];
/// How long a watch is waited for that met a fault: after some it does not make what was saved, and the next run does.
const GRACE: Duration = Duration::from_secs(1);

/// How a build without a fault ended, beside one with a fault.
struct Beside {
    code: Option<i32>,
    said: String,
    /// Whether the outputs were those of a clean build when it ended.
    is_clean: bool,
}

impl History<'_> {
    /// A watch meets the fault after a save.
    pub fn watch(&mut self, plan: Plan) -> Result<Traced, String> {
        let (before, after) = self.save();
        let mut command = self.house.clm(&self.root, WATCH);
        let (root, said) = (self.root.clone(), self.said_file());
        let clean = self.clean(after);
        let is_done = AtomicBool::new(false);
        let traced = self.traced(&mut command, plan, &Handle::unarmed(), |handle| {
            let has_begun = wait(handle, || finished_runs(&said) > 0);
            handle.arm();
            after.write(&root, Some(before));
            if has_begun {
                let is_made = || finished_runs(&said) > 1 && clean.is_reached();
                is_done.store(wait(handle, is_made), Ordering::SeqCst);
            }
            handle.signal(libc::SIGTERM);
        })?;
        self.state = after;
        match traced.hit.is_some() || is_done.into_inner() {
            true => Ok(traced),
            false => Err("a watch did not make what was saved, without a fault".to_owned()),
        }
    }

    /// A watch meets the fault while a build waits for it.
    pub fn server(&mut self, plan: Plan) -> Result<Traced, String> {
        let (before, after) = self.save();
        let mut command = self.house.clm(&self.root, WATCH);
        let mut client = self.house.clm(&self.root, &["build"]);
        let (root, said) = (self.root.clone(), self.said_file());
        let clean = self.clean(after);
        let beside = Mutex::new(None);
        let traced = self.traced(&mut command, plan, &Handle::unarmed(), |handle| {
            wait(handle, || finished_runs(&said) > 0);
            handle.arm();
            after.write(&root, Some(before));
            let ended = run(&mut client, || clean.is_reached());
            *beside.lock().unwrap() = Some(ended);
            handle.signal(libc::SIGTERM);
        })?;
        self.state = after;
        self.judge(beside.into_inner().unwrap(), false)?;
        Ok(traced)
    }

    /// A build meets the fault that has a watch do the work.
    pub fn client(&mut self, plan: Plan) -> Result<Traced, String> {
        let (before, after) = self.save();
        let said = self.root.with_file_name("watch-said");
        let mut watch = self.house.clm(&self.root, WATCH);
        let file = File::create(&said).unwrap();
        watch.stdout(file).stderr(Stdio::null());
        std::thread::scope(|scope| {
            let (has_begun, begun) = mpsc::channel();
            let (is_over, over) = mpsc::channel::<()>();
            let said = &said;
            // The tracer waits for all children of its thread.
            scope.spawn(move || {
                let mut watch = watch.spawn().unwrap();
                let _ = has_begun.send(eventually(|| finished_runs(said) > 0));
                let _ = over.recv();
                end(&mut watch);
            });
            let has_begun = begun.recv().unwrap_or_default();
            after.write(&self.root, Some(before));
            self.state = after;
            let mut command = self.house.clm(&self.root, &["build"]);
            let traced = self.traced(&mut command, plan, &Handle::default(), |_| ());
            let clean = self.clean(after);
            // Whatever becomes of the build, the watch makes what was saved.
            let is_made = eventually(|| clean.is_reached());
            drop(is_over);
            match (has_begun, is_made) {
                (true, true) => traced,
                (false, _) => Err("a watch did not begin, without a fault".to_owned()),
                (_, false) => Err(format!(
                    "a watch did not make what was saved when a client failed: {}",
                    std::fs::read_to_string(said).unwrap_or_default()
                )),
            }
        })
    }

    /// One of two builds meets the fault.
    pub fn pair(&mut self, plan: Plan) -> Result<Traced, String> {
        let mut command = self.house.clm(&self.root, BUILD);
        let mut other = self.house.clm(&self.root, BUILD);
        let clean = self.clean(self.state);
        let beside = Mutex::new(None);
        // The other one begins with it, or when it meets the fault.
        let is_later = self.random.below(2) == 0;
        let traced = self.traced(&mut command, plan, &Handle::default(), |handle| {
            if is_later {
                wait(handle, || handle.is_hit());
            }
            let ended = run(&mut other, || clean.is_reached());
            *beside.lock().unwrap() = Some(ended);
        })?;
        self.judge(beside.into_inner().unwrap(), plan.fault == Fault::Kill)?;
        Ok(traced)
    }

    /// What is saved while a watch runs: the state before and after it.
    fn save(&mut self) -> (State, State) {
        let before = self.state;
        let after = before.edited(&mut self.random);
        self.story.push(format!("save: {before:?} -> {after:?}"));
        // What the watch makes of it must not be taken for torn.
        self.recent.push(after);
        (before, after)
    }

    /// A build that ended well has made everything; and it always ends.
    fn judge(&mut self, beside: Option<Beside>, must_succeed: bool) -> Result<(), String> {
        let Some(beside) = beside else {
            return Err("the build beside it was not run".to_owned());
        };
        let Beside {
            code,
            said,
            is_clean,
        } = beside;
        self.story
            .push(format!("the build beside it ended with {code:?}"));
        if said.contains("panicked") {
            return Err(format!("the build beside it panicked: {said}"));
        }
        match code {
            None => Err(format!("the build beside it hangs: {said}")),
            Some(0) if !is_clean => Err(format!(
                "the build beside it ended well, and outputs are not clean: {said}"
            )),
            Some(code) if code != 0 && must_succeed => Err(format!(
                "the build beside one that was killed ended with {code}: {said}"
            )),
            Some(_) => Ok(()),
        }
    }
}

/// Runs a build to its end.
fn run(command: &mut Command, is_clean: impl Fn() -> bool) -> Beside {
    let said = tempfile::NamedTempFile::new().unwrap();
    let file = said.reopen().unwrap();
    command.stdout(file.try_clone().unwrap()).stderr(file);
    let mut child = command.spawn().unwrap();
    let begun = Instant::now();
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status.code().unwrap_or(-1));
        }
        if begun.elapsed() > PATIENCE {
            end(&mut child);
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Beside {
        code,
        is_clean: is_clean(),
        said: std::fs::read_to_string(said.path()).unwrap_or_default(),
    }
}

fn end(child: &mut Child) {
    let pid = child.id() as libc::pid_t;
    unsafe { libc::kill(pid, libc::SIGTERM) };
    let has_ended = || matches!(child.try_wait(), Ok(Some(_)));
    if !eventually(has_ended) {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Waits until something holds.
fn eventually(mut is_enough: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if is_enough() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Waits until something holds; false when the program ended before, or it takes too long.
fn wait(handle: &Handle, is_enough: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    let mut hit = None;
    while !handle.has_ended() && begun.elapsed() < 2 * PATIENCE / 3 {
        if is_enough() {
            return true;
        }
        if handle.is_hit() && hit.get_or_insert_with(Instant::now).elapsed() > GRACE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// How many runs a watch has finished.
pub fn finished_runs(said: &Path) -> usize {
    let text = std::fs::read_to_string(said).unwrap_or_default();
    let is_end = |line: &&str| {
        let event = serde_json::from_str(line);
        matches!(
            event,
            Ok(Event::RunFinished {
                interrupted: false,
                ..
            })
        )
    };
    text.lines().filter(is_end).count()
}
