//! What git does to a tree.

use std::path::Path;
use std::process::Command;

use super::course::{Watched, watched, watched_with};

fn git(root: &Path, args: &[&str]) {
    let output = Command::new("git")
        .current_dir(root)
        .args([
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@example.org",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(["-c", "gc.auto=0", "-c", "core.fsmonitor=false"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn deck(number: usize) -> String {
    format!("slides/m/topic_{number}_x/slides_{number}.py")
}

/// A course in a repository with two branches, which differ in 200 decks: some changed, some new, some gone.
fn repository() -> Watched {
    watched_with(|options| {
        let root = &options.root;
        let write = |number: usize, text: &str| {
            let path = root.join(deck(number));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        std::fs::write(root.join(".gitignore"), ".clm/\n").unwrap();
        (0..150).for_each(|number| write(number, "one"));
        git(root, &["init", "-q"]);
        git(root, &["add", "."]);
        git(root, &["commit", "-qm", "one"]);
        git(root, &["checkout", "-qb", "other"]);
        (0..100).for_each(|number| write(number, "two"));
        (100..150).for_each(|number| std::fs::remove_file(root.join(deck(number))).unwrap());
        (150..200).for_each(|number| write(number, "two"));
        git(root, &["add", "-A"]);
        git(root, &["commit", "-qm", "two"]);
    })
}

#[test]
fn a_branch_switch_is_one_change_set() {
    let mut course = repository();
    for branch in ["main", "other", "main"] {
        git(&course.root(), &["checkout", "-q", branch]);
        let set = course.next();
        let names = course.names(&set);
        for number in 0..200 {
            assert!(
                names.contains(&deck(number)),
                "{number} on the way to {branch}"
            );
        }
        assert!(!set.rescan);
        assert!(
            names.iter().all(|name| !name.starts_with(".git/")),
            "{names:?}"
        );
        assert_eq!(course.rest_sets(), [], "one set and no more");
    }
}

#[test]
fn a_slow_branch_switch_is_one_change_set_as_well() {
    let mut course = watched_with(|options| {
        // Far shorter than the time between two files.
        options.tuning.quiet = std::time::Duration::from_millis(2);
        options.tuning.cap = std::time::Duration::from_millis(4);
        let root = &options.root;
        let write = |text: &str| {
            for number in 0..10 {
                let path = root.join(deck(number));
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
        };
        git(root, &["init", "-q"]);
        std::fs::write(root.join(".gitattributes"), "*.py filter=slow\n").unwrap();
        write("one");
        git(root, &["add", "."]);
        git(root, &["commit", "-qm", "one"]);
        git(root, &["checkout", "-qb", "other"]);
        write("two");
        git(root, &["commit", "-qam", "two"]);
        git(root, &["config", "filter.slow.smudge", "sleep 0.05; cat"]);
        git(root, &["config", "filter.slow.clean", "cat"]);
    });
    git(&course.root(), &["checkout", "-q", "main"]);
    let set = course.next();
    let names = course.names(&set);
    assert!(
        (0..10).all(|number| names.contains(&deck(number))),
        "{names:?}"
    );
    assert!(!set.rescan);
}

#[test]
fn a_stash_is_told_both_ways() {
    let mut course = repository();
    course.write(&deck(3), "edited");
    course.write(&deck(4), "edited");
    course.until(&[&deck(3), &deck(4)]);
    course.rest();
    git(&course.root(), &["stash", "-q"]);
    course.until(&[&deck(3), &deck(4)]);
    course.rest();
    git(&course.root(), &["stash", "pop", "-q"]);
    course.until(&[&deck(3), &deck(4)]);
    assert_eq!(
        std::fs::read_to_string(course.path(&deck(3))).unwrap(),
        "edited"
    );
}

#[test]
fn status_commit_and_garbage_collection_are_nothing() {
    let mut course = repository();
    for args in [
        &["status"][..],
        &["commit", "-q", "--allow-empty", "-m", "three"],
        &["checkout", "-q", "-b", "third"],
        &["gc", "-q"],
    ] {
        git(&course.root(), args);
        assert_eq!(course.rest_sets(), [], "{args:?}");
    }
}

#[test]
fn a_lock_holds_until_it_goes() {
    let mut course = repository();
    course.write(".git/index.lock", "");
    course.write(&deck(1), "edited");
    course.write(&deck(2), "edited");
    course.remove(".git/index.lock");
    let set = course.next();
    assert_eq!(course.names(&set), [deck(1), deck(2)]);
    assert!(!set.rescan);
}

#[test]
fn a_lock_that_a_crashed_git_left_behind_holds_nothing_for_long() {
    let mut course = watched_with(|options| {
        options.tuning.max_hold = std::time::Duration::from_millis(300);
        git(&options.root, &["init", "-q"]);
        std::fs::write(options.root.join(".git/index.lock"), "").unwrap();
    });
    course.write("slides/m/topic_1_a/data.csv", "2");
    let first = course.next();
    assert_eq!(course.names(&first), ["slides/m/topic_1_a/data.csv"]);
    course.rest_sets();
    // From now on it counts no more.
    course.write("slides/m/topic_1_a/data.csv", "3");
    let second = course.next();
    assert!(!second.rescan, "it was held once more");
}

#[test]
fn a_repository_that_is_made_later_holds_as_well() {
    let mut course = watched();
    git(&course.root(), &["init", "-q"]);
    course.rest();
    course.write(".git/index.lock", "");
    let deck = "slides/m/topic_1_a/slides_a.py";
    let data = "slides/m/topic_1_a/data.csv";
    course.write(deck, "2");
    course.write(data, "2");
    course.remove(".git/index.lock");
    let set = course.next();
    assert_eq!(course.names(&set), [data, deck]);
}

#[test]
fn a_worktree_has_its_own_lock() {
    let outer = tempfile::tempdir().unwrap();
    let main = outer.path().canonicalize().unwrap().join("main");
    let mut course = watched_with(|options| {
        std::fs::create_dir(&main).unwrap();
        git(&main, &["init", "-q"]);
        git(&main, &["commit", "-q", "--allow-empty", "-m", "one"]);
        std::fs::create_dir(main.join(".git/worktrees")).unwrap();
        let own = main.join(".git/worktrees/course");
        std::fs::create_dir(&own).unwrap();
        std::fs::write(
            options.root.join(".git"),
            format!("gitdir: {}\n", own.display()),
        )
        .unwrap();
    });
    let lock = main.join(".git/worktrees/course/index.lock");
    std::fs::write(&lock, "").unwrap();
    course.write("slides/m/topic_1_a/slides_a.py", "2");
    course.write("slides/m/topic_1_a/data.csv", "2");
    std::fs::remove_file(&lock).unwrap();
    let set = course.next();
    assert_eq!(set.paths.len(), 2, "{set:?}");
}
