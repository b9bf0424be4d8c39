//! A course through which faults come one after the other.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use clm::testing::digest::Digest;

use super::course::{BUILD, House, Random, State, Tree, differences, files, temporary, tree};
use super::trace::{self, Class, Fault, Handle, Plan, Traced};
use super::{Campaign, number, power};

/// Recoveries of one course, one after the other.
const RECOVERIES: u64 = 8;
/// So many faults come before a recovery at most.
const FAULTS: u64 = 5;
/// No run takes longer, or it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);
const AN_HOUR: Duration = Duration::from_secs(60 * 60);

/// A course through which faults come.
pub struct History<'a> {
    seed: u64,
    pub house: &'a House,
    campaign: &'a Campaign,
    pub random: Random,
    dir: tempfile::TempDir,
    pub root: PathBuf,
    pub state: State,
    /// States whose outputs may lie there since the last run that was checked.
    pub recent: Vec<State>,
    /// Files that lost bytes when power was lost: they are not known to be clm's any more.
    torn: BTreeSet<String>,
    /// How many calls of each class the last build made.
    calls: [u64; 2],
    /// What was done, for people.
    pub story: Vec<String>,
}

/// What a course must be like.
pub struct Clean {
    root: PathBuf,
    expected: Arc<Tree>,
    torn: BTreeSet<String>,
}

impl Clean {
    /// How the course differs from it, for people.
    fn differences(&self) -> Vec<String> {
        let mut found = tree(&self.root);
        // A torn output that the course has no more stays, with a warning.
        found.retain(|path, _| self.expected.contains_key(path) || !self.torn.contains(path));
        differences(&found, &self.expected)
    }

    pub fn is_reached(&self) -> bool {
        self.differences().is_empty()
    }
}

/// What meets the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// A build.
    Build,
    /// A build while another one runs.
    Pair,
    /// A watch, after a save.
    Watch,
    /// A watch, while a build has it do the work.
    Server,
    /// A build that has a watch do the work.
    Client,
}

impl<'a> History<'a> {
    pub fn new(seed: u64, house: &'a House, campaign: &'a Campaign) -> Self {
        let dir = temporary();
        let root = dir.path().canonicalize().unwrap().join("course");
        let state = State::default();
        std::fs::create_dir(&root).unwrap();
        state.write(&root, None);
        Self {
            seed,
            house,
            campaign,
            random: Random::new(seed),
            dir,
            root,
            state,
            recent: vec![state],
            torn: BTreeSet::new(),
            calls: [200, 400],
            story: Vec::new(),
        }
    }

    pub fn run(mut self) {
        for recovery in 0..RECOVERIES {
            // The first build of all is one that fails as well.
            if recovery > 0 {
                self.edit();
            }
            if let Err(wrong) = self.faults_and_recovery() {
                let recent = self.story.len().saturating_sub(16);
                let story = self.story[recent..].join("\n    ");
                let wrong = format!(
                    "seed {}, recovery {recovery}: {wrong}\n    {story}",
                    self.seed
                );
                eprintln!("{wrong}");
                if number("CLM_FAULT_KEEP").is_some() {
                    eprintln!("kept: {}", self.dir.keep().display());
                }
                self.campaign.wrong.lock().unwrap().push(wrong);
                return;
            }
        }
        if let Err(wrong) = self.nothing_is_left() {
            let wrong = format!("seed {}: {wrong}", self.seed);
            eprintln!("{wrong}");
            self.campaign.wrong.lock().unwrap().push(wrong);
        }
    }

    /// Nothing half-made stays in the state directory: the next run removed what a run that ended had there, and the
    /// next collection what was not finished in the store.
    fn nothing_is_left(&self) -> Result<(), String> {
        let state = self.root.join(".clm");
        let unfinished = |path: &PathBuf| path.to_string_lossy().contains("/.clm-");
        for file in files(&state).iter().filter(|path| unfinished(path)) {
            // A young one may belong to a process that is still writing it.
            let file = File::options().append(true).open(file).unwrap();
            file.set_modified(SystemTime::now() - AN_HOUR).unwrap();
        }
        let mut collect = self.house.command(&self.root, &["cache", "gc"]);
        let collected = collect.output().unwrap();
        if !collected.status.success() {
            let said = String::from_utf8_lossy(&collected.stderr).into_owned();
            return Err(format!("the collection failed: {said}"));
        }
        let left: Vec<_> = files(&state)
            .into_iter()
            .map(|path| path.strip_prefix(&state).unwrap().display().to_string())
            .filter(|path| {
                path.starts_with("staging/") || path.contains("/.clm-") || path.contains(".tmp")
            })
            .collect();
        match left.is_empty() {
            true => Ok(()),
            false => Err(format!("left in the state directory: {left:#?}")),
        }
    }

    pub fn edit(&mut self) {
        let before = self.state;
        self.state = before.edited(&mut self.random);
        self.state.write(&self.root, Some(before));
        self.recent.push(self.state);
        self.story
            .push(format!("edit: {:?} -> {:?}", before, self.state));
    }

    /// Some faults, one after the other, and the run after them.
    fn faults_and_recovery(&mut self) -> Result<(), String> {
        let mut lost_power = false;
        for number in 0..=self.random.below(FAULTS) {
            // Not after a loss of power: what was made is not known to be ours then, and stays.
            if number > 0 && !lost_power && self.random.below(3) == 0 {
                self.edit();
            }
            lost_power |= self.fault(lost_power)?;
        }
        if self.random.below(4) == 0 && self.clm(&["build", "--no-daemon", "--check"])?.0 == 0 {
            self.is_clean("although --check found everything up to date")?;
        }
        if !lost_power && self.random.below(4) == 0 {
            self.edit();
        }
        let (code, said) = self.clm(BUILD)?;
        if code != 0 {
            return Err(format!("the run after it ended with {code}: {said}"));
        }
        if said.contains("damaged") {
            return Err(format!("the database was damaged: {said}"));
        }
        self.is_clean("after the next run")?;
        if self.random.below(3) == 0 {
            let (code, said) = self.clm(&["build", "--no-daemon", "--check"])?;
            if code != 0 {
                return Err(format!(
                    "--check ended with {code} after a good run: {said}"
                ));
            }
        }
        self.recent = vec![self.state];
        let expected = self.house.expected(self.state);
        self.torn.retain(|path| !expected.contains_key(path));
        Ok(())
    }

    /// One fault. Gives whether power was lost.
    fn fault(&mut self, has_lost_power: bool) -> Result<bool, String> {
        let begun = Instant::now();
        let who = match self.random.below(48) {
            _ if has_lost_power => Who::Build,
            0..=3 => Who::Pair,
            4..=5 => Who::Watch,
            6..=7 => Who::Server,
            8 => Who::Client,
            _ => Who::Build,
        };
        let plan = self.plan(who);
        self.story.push(format!("{plan:?} of {who:?}"));
        let traced = match who {
            Who::Build => self.build(plan)?,
            Who::Pair => self.pair(plan)?,
            Who::Watch => self.watch(plan)?,
            Who::Server => self.server(plan)?,
            Who::Client => self.client(plan)?,
        };
        let Some(hit) = &traced.hit else {
            return Ok(false);
        };
        self.story.push(format!("hit: {hit}, code {}", traced.code));
        if plan.class == Class::Reading {
            self.story.push(self.said().chars().take(600).collect());
        }
        let lost_power = plan.fault == Fault::PowerLoss;
        if lost_power {
            let lost = power::lose(&self.root, &traced.unsynced, &mut self.random);
            self.story.extend(lost.iter().map(ToString::to_string));
            // What was made since the records that are lost is not known to be clm's either.
            if lost.iter().any(|torn| torn.path.starts_with(".clm/clm.db")) {
                let expected = self.house.expected(self.state);
                let others = tree(&self.root).into_keys();
                self.torn
                    .extend(others.filter(|path| !expected.contains_key(path)));
            }
            self.torn.extend(lost.into_iter().map(|torn| torn.path));
        } else if !has_lost_power {
            self.nothing_is_torn()?;
        }
        if who == Who::Build && traced.code == 0 {
            self.is_clean(&format!(
                "after a run that ended well and said {:?}",
                self.said()
            ))?;
        }
        let name = hit.split(' ').next().unwrap_or_default();
        let name = match who {
            Who::Build => format!("{:?} {name}", plan.fault),
            _ => format!("{who:?}: {:?}", plan.fault),
        };
        let mut by_fault = self.campaign.by_fault.lock().unwrap();
        let entry = by_fault.entry(name).or_default();
        *entry = (entry.0 + 1, entry.1 + begun.elapsed());
        self.campaign.points.fetch_add(1, Ordering::SeqCst);
        Ok(lost_power)
    }

    fn plan(&mut self, who: Who) -> Plan {
        let random = &mut self.random;
        let (class, fault) = match random.below(20) {
            0..=4 => (Class::Changing, Fault::Kill),
            // The other one would go on without power.
            5..=8 if matches!(who, Who::Pair | Who::Client) => (Class::Changing, Fault::Kill),
            5..=8 => (Class::Changing, Fault::PowerLoss),
            9..=10 => (Class::Changing, Fault::Short),
            11..=12 => (Class::Changing, Fault::FromHere(libc::ENOSPC)),
            13 => (
                Class::Changing,
                Fault::Once(random.one(&[libc::ENOSPC, libc::EINTR, libc::EMFILE])),
            ),
            14 => (Class::Changing, Fault::Once(libc::EIO)),
            15 => (
                Class::Changing,
                Fault::FromHere(random.one(&[libc::EIO, libc::EACCES, libc::EROFS])),
            ),
            16 => (Class::Reading, Fault::Short),
            17 => (
                Class::Reading,
                Fault::Once(random.one(&[libc::EIO, libc::EMFILE, libc::EINTR, libc::EACCES])),
            ),
            18 => (Class::Reading, Fault::Once(libc::EIO)),
            _ => (
                Class::Reading,
                Fault::FromHere(random.one(&[libc::EIO, libc::EMFILE])),
            ),
        };
        let calls = match who {
            // It does not do the work.
            Who::Client => 40,
            _ => self.calls[class as usize],
        };
        let at = 1 + random.below(calls.max(1));
        Plan {
            class,
            at,
            fault,
            only: None,
        }
    }

    fn build(&mut self, plan: Plan) -> Result<Traced, String> {
        let mut command = self.house.clm(&self.root, BUILD);
        let traced = self.traced(&mut command, plan, &Handle::default(), |_| ())?;
        if traced.hit.is_none() {
            self.calls[plan.class as usize] = traced.calls;
        }
        Ok(traced)
    }

    /// Where a traced program's output goes.
    pub fn said_file(&self) -> PathBuf {
        self.dir.path().join("said")
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.said_file()).unwrap_or_default()
    }

    pub fn traced(
        &self,
        command: &mut Command,
        plan: Plan,
        handle: &Handle,
        meanwhile: impl FnOnce(&Handle) + Send,
    ) -> Result<Traced, String> {
        let said = File::create(self.said_file()).unwrap();
        command.stdout(said.try_clone().unwrap()).stderr(said);
        let is_stuck = AtomicBool::new(false);
        let traced = std::thread::scope(|scope| {
            scope.spawn(|| meanwhile(handle));
            scope.spawn(|| {
                let begun = Instant::now();
                while !handle.has_ended() {
                    if begun.elapsed() > PATIENCE {
                        is_stuck.store(true, Ordering::SeqCst);
                        handle.signal(libc::SIGKILL);
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            trace::run(command, &self.root, Some(plan), handle)
        });
        let said = self.said();
        if is_stuck.load(Ordering::SeqCst) {
            return Err(format!("it hangs at {:?}: {said}", traced.hit));
        }
        if said.contains("panicked") {
            return Err(format!("it panicked at {:?}: {said}", traced.hit));
        }
        Ok(traced)
    }

    /// Runs clm without a fault.
    fn clm(&self, args: &[&str]) -> Result<(i32, String), String> {
        let output = self.house.clm(&self.root, args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code();
        Ok((code.ok_or_else(|| format!("clm was killed: {said}"))?, said))
    }

    /// What a clean build of a state makes, to compare the course with.
    pub fn clean(&self, state: State) -> Clean {
        Clean {
            root: self.root.clone(),
            expected: self.house.expected(state),
            torn: self.torn.clone(),
        }
    }

    fn is_clean(&self, when: &str) -> Result<(), String> {
        let differences = self.clean(self.state).differences();
        match differences.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{when}, {} differ: {:#?}",
                differences.len(),
                &differences[..differences.len().min(3)]
            )),
        }
    }

    /// Every file there is has the bytes that a clean build of the course before or after gives it.
    fn nothing_is_torn(&self) -> Result<(), String> {
        let known: Vec<_> = self
            .recent
            .iter()
            .map(|state| self.house.expected(*state))
            .collect();
        let is_known = |path: &String, digest: &Digest| {
            known
                .iter()
                .any(|tree: &Arc<Tree>| tree.get(path) == Some(digest))
        };
        let torn: Vec<String> = tree(&self.root)
            .into_iter()
            .filter(|(path, digest)| !is_known(path, digest) && !self.torn.contains(path))
            .map(|(path, _)| path)
            .collect();
        match torn.is_empty() {
            true => Ok(()),
            false => Err(format!("torn after the fault: {torn:#?}")),
        }
    }
}
