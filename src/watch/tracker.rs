//! Tracks the tree: handles raw events, maintains the set of watched directories, and feeds the settle machine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock::now_ns;
use crate::diagnostic::Diagnostic;
use crate::parallel::lock;

use super::coverage::{Coverage, LimitReached};
use super::filter::Filter;
use super::folder::is_rule_file;
use super::git::GitDir;
use super::poll::Pace;
use super::registry::Current;
use super::settle::{ChangeSet, HoldId, Settle};
use super::source::{Arrivals, Raw, Source, too_many_directories};
use super::survey::Survey;
use super::{Inputs, WatchOptions};

/// The hold of git's lock; the holds of clients have other numbers.
pub(super) const GIT_HOLD: HoldId = 0;

/// What is watched, and the changes seen so far.
pub(super) struct Tracker {
    options: WatchOptions,
    /// The course root with symbolic links resolved.
    real_root: PathBuf,
    /// The directory of the cookies of [`super::cookies`] (real path).
    cookies_dir: Option<PathBuf>,
    git: Option<GitDir>,
    filter: Filter,
    coverage: Coverage,
    source: Source,
    /// Where the registry of `source` is published.
    registry: Current,
    /// The events of the source.
    pub arrivals: Arrivals,
    /// The changes seen so far.
    pub settle: Settle,
    origin: Instant,
    needs_survey: bool,
    needs_renewal: bool,
    pace: Pace,
    next_look: Option<Instant>,
}

impl Tracker {
    /// Watches everything that is relevant. `cookies_dir` is a directory whose files [`Tracker::take`] returns.
    pub(super) fn start(
        options: WatchOptions,
        real_root: PathBuf,
        cookies_dir: Option<PathBuf>,
        registry: Current,
    ) -> Self {
        let filter = Filter::new(
            &options.root,
            &options.spec,
            &options.state_dir,
            options.inputs.clone(),
        );
        let (source, arrivals) = if options.poll {
            Source::poll()
        } else {
            Source::system().unwrap_or_else(|diagnostic| {
                (options.report)(diagnostic);
                Source::poll()
            })
        };
        let mut tracker = Self {
            settle: Settle::new(options.tuning),
            git: GitDir::find(&real_root),
            options,
            real_root,
            cookies_dir,
            filter,
            coverage: Coverage::default(),
            source,
            registry,
            arrivals,
            origin: Instant::now(),
            needs_survey: false,
            needs_renewal: false,
            pace: Pace::default(),
            next_look: None,
        };
        tracker.publish_registry();
        tracker.survey(Coverage::default());
        tracker.catch_up();
        tracker.look_for_lock();
        tracker.plan_look(Duration::ZERO, true);
        tracker
    }

    /// Returns the directory of the store.
    pub(super) fn state_dir(&self) -> &Path {
        &self.options.state_dir
    }

    /// Watches another directory of cookies (real path), which may have the path of the previous one: all watches are
    /// created again, since events of the old directory may still arrive under that path.
    pub(super) fn set_cookies_dir(&mut self, dir: &Path) {
        self.cookies_dir = Some(dir.to_path_buf());
        self.lose();
    }

    /// Returns the time as used by the settle machine.
    pub(super) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Returns the instant of a time of the settle machine.
    pub(super) fn moment(&self, time: Duration) -> Instant {
        self.origin + time
    }

    /// Returns whether files are polled instead of waiting for events.
    pub(super) fn is_polling(&self) -> bool {
        matches!(self.source, Source::Poll(_))
    }

    /// Returns when the next scan is due; `None` if the system reports events.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    /// Scans the files, if they are polled.
    pub(super) fn look(&mut self) {
        let Source::Poll(poller) = &mut self.source else {
            return;
        };
        let began = Instant::now();
        let found = poller.look(now_ns());
        let found_something = !found.is_empty();
        for raw in found {
            self.take(raw);
        }
        self.plan_look(began.elapsed(), found_something);
    }

    fn plan_look(&mut self, took: Duration, found: bool) {
        self.next_look = self
            .is_polling()
            .then(|| Instant::now() + self.pace.next(took, found));
    }

    /// Sets the paths that a plan read.
    pub(super) fn set_inputs(&mut self, inputs: Inputs) {
        let options = &self.options;
        let filter = Filter::new(&options.root, &options.spec, &options.state_dir, inputs);
        let (old, new) = (self.filter.inputs(), filter.inputs());
        let is_same_shape = old.scanned == new.scanned
            && old.also == new.also
            && old.output_dirs == new.output_dirs;
        let coverage = &self.coverage;
        let is_covered = |file: &PathBuf| {
            coverage.holds_file(file) || file.parent().is_some_and(|dir| coverage.holds(dir))
        };
        self.needs_survey |= !is_same_shape || !new.files.iter().all(is_covered);
        self.filter = filter;
    }

    /// Handles a raw event. Returns its path if it is in the directory of cookies.
    pub(super) fn take(&mut self, raw: Raw) -> Option<PathBuf> {
        let (path, is_new, is_gone) = match &raw {
            Raw::Content(path) => (path, false, false),
            Raw::Attributes(path) | Raw::Appeared(path) => (path, true, false),
            Raw::Vanished(path) => (path, false, true),
            Raw::Lost => {
                self.lose();
                return None;
            }
        };
        if self.cookies_dir.is_some() && path.parent() == self.cookies_dir.as_deref() {
            return Some(path.clone());
        }
        if self.git.as_ref().is_some_and(|git| git.is_lock(path)) {
            self.look_for_lock();
            return None;
        }
        if is_gone {
            self.vanished(path);
        }
        if is_new || is_gone {
            self.appeared(path, matches!(raw, Raw::Attributes(_)));
        }
        // The kind of a removed path is unknown: it is taken for a directory, so that removing an ignored directory
        // does not trigger.
        let is_dir = path.is_dir() || (is_gone && path.symlink_metadata().is_err());
        for name in self.coverage.names_of(path) {
            self.changed(name, is_dir);
        }
        None
    }

    /// Handles lost events: the directories themselves may have been replaced.
    pub(super) fn lose(&mut self) {
        self.needs_renewal = true;
        let now = self.now();
        self.settle.rescan(now);
    }

    /// Returns whether events were lost and the watches have not been created again yet.
    pub(super) fn has_lost(&self) -> bool {
        self.needs_renewal
    }

    fn vanished(&mut self, path: &Path) {
        self.needs_survey |= self.is_decisive(path);
        let mut gone = self.coverage.names_below(path);
        gone.extend(self.coverage.drop_tree(path, &mut self.source));
        gone.extend(self.coverage.names_of(path));
        self.report_gone(&gone);
    }

    /// Reports removed paths and the inputs in removed directories: no event reports those when the directory was moved
    /// away.
    fn report_gone(&mut self, gone: &BTreeSet<PathBuf>) {
        for name in gone {
            if name.parent().is_none_or(|dir| !gone.contains(dir)) {
                let inputs: Vec<PathBuf> = self.filter.inputs_below(name).cloned().collect();
                for input in inputs {
                    self.changed(input, false);
                }
            }
            self.changed(name.clone(), true);
        }
    }

    /// Returns whether creating or removing a path may change what is watched elsewhere.
    fn is_decisive(&self, path: &Path) -> bool {
        let is_repository = path.ends_with(".git") && path.parent() == Some(&self.real_root);
        let leads_on = || path.is_dir() || path.is_symlink() || self.coverage.is_watched(path);
        is_repository
            || self.coverage.is_decisive(path)
            || (self.coverage.is_led_to(path) && leads_on())
    }

    fn appeared(&mut self, path: &Path, has_new_attributes_only: bool) {
        if has_new_attributes_only && self.coverage.is_watched(path) {
            return;
        }
        self.needs_survey |= self.is_decisive(path);
        let Ok(metadata) = path.symlink_metadata() else {
            return;
        };
        if metadata.is_file() {
            return;
        }
        // The previous directory of this name was replaced.
        self.coverage.drop_tree(path, &mut self.source);
        let before = std::mem::take(&mut self.coverage);
        let mut survey = Survey::new(&self.filter, &self.real_root, &mut self.source, before);
        let result = survey.appeared(path);
        self.coverage = survey.coverage;
        self.needs_survey |= survey.is_overtaken;
        let mut found = survey.found;
        // Names of links into the new directory.
        found.extend(self.coverage.names_below(path));
        self.report(found);
        self.obey(result);
    }

    /// Does what a number of events have made necessary.
    pub(super) fn catch_up(&mut self) {
        if self.arrivals.were_lost() {
            self.lose();
        }
        while std::mem::take(&mut self.needs_survey) {
            let before = std::mem::take(&mut self.coverage);
            self.git = GitDir::find(&self.real_root);
            let (found, gone) = self.survey(before);
            self.report_gone(&gone);
            self.report(found);
            self.look_for_lock();
        }
    }

    /// Releases a batch that is due, without clm's own outputs.
    pub(super) fn tick(&mut self) -> Option<ChangeSet> {
        let is_due = self.settle.deadline().is_some_and(|due| due <= self.now());
        if !is_due {
            return None;
        }
        self.renew();
        let now = self.now();
        let set = self.settle.tick(now)?;
        self.without_own(set)
    }

    /// Releases the batch at once, without clm's own outputs.
    pub(super) fn flush(&mut self) -> Option<ChangeSet> {
        self.catch_up();
        self.renew();
        let now = self.now();
        let set = self.settle.flush(now)?;
        self.without_own(set)
    }

    /// Creates all watches again after lost events. This happens before the batch is released, so that no change
    /// between the comparison of files and the new watches is missed.
    fn renew(&mut self) {
        if !std::mem::take(&mut self.needs_renewal) {
            return;
        }
        if !self.is_polling() {
            match Source::system() {
                Ok((source, arrivals)) => {
                    (self.source, self.arrivals) = (source, arrivals);
                    self.publish_registry();
                }
                Err(diagnostic) => self.fall_back(diagnostic),
            }
        }
        self.coverage = Coverage::default();
        self.filter.forget_rules();
        self.survey(Coverage::default());
        self.catch_up();
        self.look_for_lock();
    }

    /// Lets outputs be watched with the watches of the source.
    fn publish_registry(&self) {
        *lock(&self.registry) = self.source.registry();
    }

    fn fall_back(&mut self, diagnostic: Diagnostic) {
        (self.options.report)(diagnostic);
        (self.source, self.arrivals) = Source::poll();
        self.publish_registry();
        self.plan_look(Duration::ZERO, true);
    }

    /// Scans everything that is relevant; what is in `before` is already watched. Returns what is newly watched and
    /// what is no longer watched.
    fn survey(&mut self, before: Coverage) -> (BTreeSet<PathBuf>, BTreeSet<PathBuf>) {
        let mut plain: Vec<PathBuf> = self.cookies_dir.iter().cloned().collect();
        plain.extend(self.git.iter().map(|git| git.path().to_path_buf()));
        let coverage = Coverage::default();
        let mut survey = Survey::new(&self.filter, &self.real_root, &mut self.source, coverage);
        survey.before = before;
        let result = survey.everything(&plain);
        self.coverage = survey.coverage;
        self.needs_survey |= survey.is_overtaken;
        let (found, gone) = (survey.found, survey.gone);
        self.obey(result);
        (found, gone)
    }

    fn obey(&mut self, result: Result<(), LimitReached>) {
        if result == Err(LimitReached) {
            self.fall_back(too_many_directories());
            self.survey(Coverage::default());
            let now = self.now();
            self.settle.rescan(now);
        }
    }

    fn report(&mut self, found: BTreeSet<PathBuf>) {
        for name in found {
            let is_dir = self.coverage.holds(&name);
            self.changed(name, is_dir);
        }
    }

    fn changed(&mut self, name: PathBuf, is_dir: bool) {
        if is_rule_file(&name) {
            self.filter.forget_rules();
        }
        if self.filter.is_relevant(&name, is_dir) {
            let now = self.now();
            self.settle.event(name, now);
        }
    }

    fn look_for_lock(&mut self) {
        let now = self.now();
        let limit = self.options.tuning.max_hold;
        if self.git.as_ref().is_some_and(|git| git.is_locked(limit)) {
            self.settle.hold(GIT_HOLD, now);
        } else {
            self.settle.release(GIT_HOLD, now);
        }
    }

    fn without_own(&self, mut set: ChangeSet) -> Option<ChangeSet> {
        set.paths.retain(|path| !self.is_own(path));
        (!set.is_empty()).then_some(set)
    }

    /// Returns whether a file is as clm wrote it, or a directory contains only such files.
    fn is_own(&self, path: &Path) -> bool {
        let Ok(metadata) = path.symlink_metadata() else {
            return false;
        };
        if metadata.is_dir() {
            let Ok(entries) = std::fs::read_dir(path) else {
                return false;
            };
            let mut entries = entries.flatten().peekable();
            return entries.peek().is_some() && entries.all(|entry| self.is_own(&entry.path()));
        }
        (self.options.own_output)(path).is_some_and(|written| written.is_of_file(path))
    }
}
