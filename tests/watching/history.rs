//! Random histories: whatever differs in the end has been told.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::course::{Watched, watched_with};

#[derive(Clone, Debug)]
enum Step {
    Write(usize, usize),
    Replace(usize, usize),
    Remove(usize, usize),
    MakeDir(usize),
    RemoveDir(usize),
    Move(usize, usize),
    MoveOut(usize),
    MoveIn(usize),
    LinkFile(usize, usize, usize),
    LinkDir(usize, usize),
    /// Lets the watch catch up, so that later steps meet another state of it.
    Sync,
    /// Tells which files there are, as a plan does.
    Plan,
}

/// Few places, so that histories meet in them.
const DIRS: [&str; 8] = [
    "slides/m",
    "slides/m/t",
    "slides/m/t/img",
    "slides/m/u",
    "slides/m/u/data",
    "slides/n",
    "slides/n/t",
    "code",
];
const FILES: [&str; 3] = ["a", "b", "c"];

fn step() -> impl Strategy<Value = Step> {
    let dir = 0..DIRS.len();
    let file = 0..FILES.len();
    prop_oneof![
        6 => (dir.clone(), file.clone()).prop_map(|(d, f)| Step::Write(d, f)),
        3 => (dir.clone(), file.clone()).prop_map(|(d, f)| Step::Replace(d, f)),
        2 => (dir.clone(), file.clone()).prop_map(|(d, f)| Step::Remove(d, f)),
        3 => dir.clone().prop_map(Step::MakeDir),
        2 => dir.clone().prop_map(Step::RemoveDir),
        3 => (dir.clone(), dir.clone()).prop_map(|(a, b)| Step::Move(a, b)),
        1 => dir.clone().prop_map(Step::MoveOut),
        2 => dir.clone().prop_map(Step::MoveIn),
        2 => (dir.clone(), file, dir.clone()).prop_map(|(a, f, b)| Step::LinkFile(a, f, b)),
        1 => (dir.clone(), dir).prop_map(|(a, b)| Step::LinkDir(a, b)),
        3 => Just(Step::Sync),
        1 => Just(Step::Plan),
    ]
}

struct History {
    course: Watched,
    root: PathBuf,
    count: usize,
    told: BTreeSet<PathBuf>,
    rescan: bool,
}

impl History {
    fn new(poll: bool) -> Self {
        let course = watched_with(|options| {
            options.poll = poll;
            options.inputs.scanned = vec!["slides".into(), "code".into()];
        });
        let root = course.root();
        std::fs::create_dir(root.join("outside")).unwrap();
        let mut history = Self {
            course,
            root,
            count: 0,
            told: BTreeSet::new(),
            rescan: false,
        };
        history.listen();
        history
    }

    /// Many steps fail, because something is not there: that is a part of the history.
    fn go(&mut self, step: &Step) {
        self.count += 1;
        let dir = |index: usize| self.root.join(DIRS[index]);
        let outside = self.root.join("outside/dir");
        let text = format!("{}{}", self.count, "x".repeat(self.count % 7));
        let _ = match *step {
            Step::Write(d, f) => std::fs::write(dir(d).join(FILES[f]), text),
            Step::Replace(d, f) => {
                let draft = dir(d).join("draft.tmp");
                std::fs::write(&draft, text)
                    .and_then(|()| std::fs::rename(draft, dir(d).join(FILES[f])))
            }
            Step::Remove(d, f) => std::fs::remove_file(dir(d).join(FILES[f])),
            Step::MakeDir(d) => std::fs::create_dir_all(dir(d)).and_then(|()| {
                std::fs::create_dir_all(dir(d).join("deep/er"))?;
                std::fs::write(dir(d).join("deep/er/x"), text)
            }),
            Step::RemoveDir(d) => match dir(d).is_symlink() {
                true => std::fs::remove_file(dir(d)),
                false => std::fs::remove_dir_all(dir(d)),
            },
            Step::Move(from, to) => std::fs::rename(dir(from), dir(to)),
            Step::MoveOut(d) => {
                let _ = std::fs::remove_dir_all(&outside);
                std::fs::rename(dir(d), outside)
            }
            Step::MoveIn(d) => std::fs::rename(outside, dir(d)),
            Step::LinkFile(from, f, to) => {
                symlink(dir(to).join(FILES[f]), dir(from).join(FILES[(f + 1) % 3]))
            }
            Step::LinkDir(from, to) => symlink(dir(to), dir(from).join("link")),
            Step::Sync => {
                self.listen();
                Ok(())
            }
            Step::Plan => {
                let mut inputs = self.course.inputs.clone();
                inputs.files = self.files().into_keys().collect();
                self.course.watcher.set_inputs(inputs);
                Ok(())
            }
        };
    }

    fn listen(&mut self) {
        for set in self.course.rest_sets() {
            self.rescan |= set.rescan;
            self.told.extend(set.paths);
        }
    }

    /// Every file that the build can see, with its content, and every directory.
    fn files(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        for top in ["slides", "code"] {
            walk(
                &self.root,
                &self.root.join(top),
                &mut Vec::new(),
                &mut found,
            );
        }
        found
    }
}

fn walk(
    root: &Path,
    dir: &Path,
    links: &mut Vec<PathBuf>,
    found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>,
) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    found.insert(dir.to_path_buf(), None);
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(real) = path.canonicalize() else {
            continue;
        };
        if !real.starts_with(root) {
            continue;
        }
        if real.is_file() {
            found.insert(path.clone(), Some(std::fs::read(&path).unwrap()));
        } else if !path.is_symlink() {
            walk(root, &path, links, found);
        } else if !links.contains(&real) && !path.starts_with(&real) {
            links.push(real);
            walk(root, &path, links, found);
            links.pop();
        }
    }
}

fn nothing_is_lost(steps: &[Step], rounds: usize, poll: bool) {
    let mut history = History::new(poll);
    for chunk in steps.chunks(steps.len().div_ceil(rounds).max(1)) {
        let before = history.files();
        history.told.clear();
        history.rescan = false;
        for step in chunk {
            history.go(step);
        }
        history.listen();
        assert!(!history.rescan, "nothing forced a rescan");
        let after = history.files();
        let paths: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
        for path in paths {
            if before.get(path) == after.get(path) {
                continue;
            }
            // Of something that went, it is enough to know a directory that it was in.
            let is_told = history.told.contains(path)
                || (!after.contains_key(path)
                    && path.ancestors().any(|dir| history.told.contains(dir)));
            assert!(
                is_told,
                "{} was not told: {:#?}",
                path.display(),
                history.told
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_differs_was_told(steps in prop::collection::vec(step(), 1..80)) {
        nothing_is_lost(&steps, 4, false);
    }

    #[test]
    fn whatever_differs_was_found_by_polling(steps in prop::collection::vec(step(), 1..80)) {
        nothing_is_lost(&steps, 4, true);
    }
}

#[test]
fn a_link_that_appears_where_another_one_leads_is_followed() {
    // A link to a file that does not exist, which then becomes a link itself.
    let steps = [
        Step::MakeDir(7),
        Step::LinkFile(7, 1, 0),
        Step::LinkFile(0, 0, 0),
        Step::Write(0, 0),
        Step::Write(0, 0),
    ];
    for poll in [false, true] {
        nothing_is_lost(&steps, steps.len(), poll);
    }
}

#[test]
fn a_link_is_followed_when_a_directory_above_its_target_comes_back() {
    // The target was awaited in a directory that went.
    let steps = [
        Step::MakeDir(7),
        Step::LinkDir(7, 2),
        Step::MakeDir(0),
        Step::Sync,
        Step::RemoveDir(0),
        Step::MakeDir(2),
        Step::Write(2, 0),
        Step::Write(2, 0),
    ];
    for poll in [false, true] {
        nothing_is_lost(&steps, steps.len(), poll);
    }
}
