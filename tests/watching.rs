//! Stories of the watch with real files and real events: how editors save, what git does, what gets lost and found.
//!
//! No story waits for a fixed time: they wait for a change set, or for [`clm::testing::watch::Watcher::sync`], after which all
//! that happened before has been handed out.

mod course;
mod editors;
mod git;
mod history;
mod limits;
mod tree;

use course::{NOTHING, Watched, watched, watched_with};

#[test]
fn a_save_is_told_once_with_its_path() {
    let mut course = watched();
    course.write("slides/m/topic_1_a/slides_a.py", "new");
    let set = course.next();
    assert_eq!(course.names(&set), ["slides/m/topic_1_a/slides_a.py"]);
    assert!(!set.rescan);
    assert_eq!(course.rest(), NOTHING);
}

#[test]
fn reading_is_no_change_and_an_idle_watch_sleeps() {
    let mut course = watched();
    assert_eq!(course.rest(), NOTHING);
    let before = course.watcher.wake_ups();
    for _ in 0..100 {
        std::fs::read(course.path("slides/m/topic_1_a/slides_a.py")).unwrap();
        std::fs::read_dir(course.path("slides/m")).unwrap().count();
    }
    assert_eq!(course.rest(), NOTHING);
    // Commands, marks and their removal; nothing for what was read.
    let woken = course.watcher.wake_ups() - before;
    assert!(woken <= 10, "woke up {woken} times");
}

#[test]
fn the_specification_and_the_settings_count_and_other_files_of_the_root_do_not() {
    let mut course = watched();
    for name in ["course.xml", "clm.toml", ".env", ".gitignore", ".clmignore"] {
        course.write(name, "x");
        course.until(&[name]);
    }
    course.write("README.md", "x");
    course.write("course.xml~", "x");
    assert_eq!(course.rest(), NOTHING);
}

#[test]
fn a_specification_elsewhere_counts() {
    let outside = tempfile::tempdir().unwrap();
    let outside = outside.path().canonicalize().unwrap();
    for spec in ["course-specs/x.xml".into(), outside.join("x.xml")] {
        let mut course = watched_with(|options| {
            let spec = options.root.join(&spec);
            std::fs::create_dir_all(spec.parent().unwrap()).unwrap();
            std::fs::write(&spec, "1").unwrap();
            options.spec = spec;
        });
        let spec = course.root().join(&spec);
        let beside = spec.with_file_name("other.xml");
        std::fs::write(&beside, "2").unwrap();
        assert_eq!(course.rest(), NOTHING);
        let draft = spec.with_file_name("draft");
        std::fs::write(&draft, "2").unwrap();
        std::fs::rename(&draft, &spec).unwrap();
        let set = course.next();
        assert_eq!(set.paths.into_iter().collect::<Vec<_>>(), [spec]);
        assert_eq!(course.rest(), NOTHING);
    }
}

#[test]
fn what_the_last_plan_read_counts_wherever_it_lies() {
    let elsewhere = tempfile::tempdir().unwrap();
    let elsewhere = elsewhere.path().canonicalize().unwrap();
    let mut course = watched();
    course.mkdir("data/deep");
    course.write("data/deep/x.csv", "1");
    std::fs::write(elsewhere.join("y.csv"), "1").unwrap();
    assert_eq!(course.rest(), NOTHING);
    let mut inputs = course.inputs.clone();
    inputs.files.insert("data/deep/x.csv".into());
    inputs.files.insert("data/none/z.csv".into());
    inputs.files.insert("output/table.csv".into());
    inputs.files.insert(elsewhere.join("y.csv"));
    course.watcher.set_inputs(inputs);
    // Nobody watched it while the plan read it: it is told of once.
    course.until(&["data/deep/x.csv"]);
    course.rest();
    course.write("data/deep/beside.csv", "1");
    assert_eq!(course.rest(), NOTHING);
    course.write("data/deep/x.csv", "2");
    course.until(&["data/deep/x.csv"]);
    std::fs::write(elsewhere.join("y.csv"), "2").unwrap();
    course.until(&[elsewhere.join("y.csv").to_str().unwrap()]);
    course.mkdir("data/none");
    course.write("data/none/z.csv", "1");
    course.until(&["data/none/z.csv"]);
    course.mkdir("output");
    course.write("output/table.csv", "1");
    course.write("output/page.html", "1");
    let told = course.until(&["output/table.csv"]);
    assert!(!told.contains("output/page.html"), "{told:?}");
}

#[test]
fn outputs_state_and_caches_do_not_count() {
    let mut course = watched();
    course.write("output/a/page.html", "x");
    course.write(".clm/clm.db-wal", "x");
    course.write("slides/m/topic_1_a/__pycache__/a.pyc", "x");
    course.write("slides/m/topic_1_a/__pycache__/b.pyc", "x");
    course.write("slides/m/topic_1_a/.ipynb_checkpoints/a.ipynb", "x");
    assert_eq!(course.rest(), NOTHING);
    std::fs::remove_dir_all(course.path("slides/m/topic_1_a/__pycache__")).unwrap();
    assert_eq!(course.rest(), NOTHING);
}

#[test]
fn ignored_files_that_the_build_reads_count() {
    let mut course = watched();
    course.write(".gitignore", "*.log\ncache/\n");
    course.until(&[".gitignore"]);
    course.write("slides/m/topic_1_a/data.log", "x");
    course.until(&["slides/m/topic_1_a/data.log"]);
    course.write("slides/m/topic_1_a/cache/x.csv", "x");
    course.until(&["slides/m/topic_1_a/cache/x.csv"]);
}

#[test]
fn ignore_rules_count_in_directories_that_are_watched_besides() {
    let mut course = watched_with(|options| {
        std::fs::create_dir_all(options.root.join("shared/cache")).unwrap();
        std::fs::write(options.root.join(".gitignore"), "*.log\ncache/\n").unwrap();
        options.inputs.also = vec!["shared".into()];
    });
    course.write("shared/x.log", "1");
    course.write("shared/cache/x.py", "1");
    assert_eq!(course.rest(), NOTHING);
    course.write("shared/x.py", "1");
    course.until(&["shared/x.py"]);
    course.write(".gitignore", "");
    course.until(&[".gitignore"]);
    course.write("shared/x.log", "2");
    course.until(&["shared/x.log"]);
}

#[test]
fn own_outputs_do_not_count_until_someone_changes_them() {
    let mut course = watched_with(|options| {
        let rendered = options.root.join("slides/m/topic_1_a/img-generated/d.png");
        options.own_output = std::sync::Arc::new(move |path| {
            (path == rendered).then(|| clm::testing::digest::Digest::of("pixels"))
        });
    });
    let rendered = "slides/m/topic_1_a/img-generated/d.png";
    course.write(rendered, "pixels");
    assert_eq!(course.rest(), NOTHING, "not even the new directory");
    course.write(rendered, "scribbles");
    course.until(&[rendered]);
    course.write(rendered, "pixels");
    assert_eq!(course.rest(), NOTHING);
    std::fs::remove_file(course.path(rendered)).unwrap();
    course.until(&[rendered]);
}

#[test]
fn a_hold_keeps_everything_back_and_is_let_go_when_dropped() {
    let mut course = watched();
    let hold = course.watcher.hold();
    let other = course.watcher.hold();
    course.write("slides/m/topic_1_a/slides_a.py", "2");
    drop(hold);
    course.write("slides/m/topic_1_a/data.csv", "2");
    other.release();
    let set = course.next();
    assert_eq!(
        course.names(&set),
        [
            "slides/m/topic_1_a/data.csv",
            "slides/m/topic_1_a/slides_a.py"
        ]
    );
    // Someone who asks for a build waits for no hold.
    let _hold = course.watcher.hold();
    course.write("slides/m/topic_1_a/data.csv", "3");
    assert_eq!(course.rest(), ["slides/m/topic_1_a/data.csv"]);
}

#[test]
fn a_forgotten_hold_ends_with_a_rescan() {
    let mut course = watched_with(|options| {
        options.tuning.max_hold = std::time::Duration::from_millis(200);
    });
    let hold = course.watcher.hold();
    course.write("slides/m/topic_1_a/data.csv", "2");
    let set = course.next();
    assert!(set.rescan);
    assert_eq!(course.names(&set), ["slides/m/topic_1_a/data.csv"]);
    drop(hold);
}

#[test]
fn a_sync_comes_after_everything_before_it() {
    let mut course = watched_with(|options| {
        // Nothing settles by itself.
        options.tuning.quiet = std::time::Duration::from_secs(1000);
        options.tuning.cap = std::time::Duration::from_secs(1000);
    });
    for number in 0..200 {
        let name = format!("slides/m/topic_1_a/f{number}.txt");
        course.write(&name, "x");
        assert_eq!(course.rest(), [name]);
    }
    let marks = std::fs::read_dir(course.path(".clm/watch")).unwrap();
    assert_eq!(marks.count(), 0, "marks are removed");
}

#[test]
fn marks_are_made_again_where_the_state_directory_was_moved_or_removed() {
    let mut course = watched();
    let lose: [fn(&Watched); 3] = [
        |course| std::fs::remove_dir_all(course.path(".clm")).unwrap(),
        |course| std::fs::rename(course.path(".clm"), course.path(".old")).unwrap(),
        // Another one is in its place.
        |course| {
            std::fs::rename(course.path(".clm"), course.path(".older")).unwrap();
            std::fs::create_dir_all(course.path(".clm/watch")).unwrap();
        },
    ];
    for lose in lose {
        course.write("slides/m/topic_1_a/data.csv", "1");
        assert_eq!(course.rest(), ["slides/m/topic_1_a/data.csv"]);
        lose(&course);
        // Everything is compared once, and then marks arrive again.
        course.write("slides/m/topic_1_a/data.csv", "2");
        let caught_up = course.watcher.catch_up(&mut course.receiver);
        assert!(course::block_on(caught_up).unwrap().rescan);
        assert_eq!(course.rest(), NOTHING);
        course.write("slides/m/topic_1_a/data.csv", "3");
        assert_eq!(course.rest(), ["slides/m/topic_1_a/data.csv"]);
        let marks = std::fs::read_dir(course.path(".clm/watch")).unwrap();
        assert_eq!(marks.count(), 0, "marks are removed");
    }
}

#[test]
fn a_reader_that_is_slow_loses_nothing() {
    let mut course = watched_with(|options| {
        options.tuning.quiet = std::time::Duration::from_millis(1);
        options.tuning.cap = std::time::Duration::from_millis(2);
    });
    let mut expected = Vec::new();
    let dir = "slides/m/topic_1_a";
    while course.waiting() < clm::testing::watch::CAPACITY {
        let name = format!("{dir}/f{}.txt", expected.len());
        course.write(&name, "x");
        expected.push(name);
        std::thread::yield_now();
    }
    for _ in 0..100 {
        let name = format!("{dir}/f{}.txt", expected.len());
        course.write(&name, "x");
        expected.push(name);
    }
    assert!(course.waiting() <= clm::testing::watch::CAPACITY);
    expected.sort();
    assert_eq!(course.rest(), expected);
}

#[test]
fn a_watch_ends_with_its_receiver_or_its_handle() {
    let course = watched();
    let Watched {
        watcher, receiver, ..
    } = course;
    drop(receiver);
    let result = course::block_on(async {
        loop {
            if watcher.sync().await.is_err() {
                return true;
            }
        }
    });
    assert!(result);
    let Watched {
        watcher,
        mut receiver,
        ..
    } = watched();
    drop(watcher);
    let ends = course::block_on(async {
        // What was seen before is still reported.
        while receiver.recv().await.is_some() {}
        true
    });
    assert!(ends);
}

#[test]
fn a_root_that_is_not_there_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let place = clm::testing::config::Place {
        spec: dir.path().join("none/course.xml"),
        root: dir.path().join("none"),
    };
    let error = clm::testing::watch::Watcher::start(clm::testing::watch::WatchOptions::new(&place))
        .err()
        .unwrap();
    assert!(error.to_string().contains("none"), "{error}");
}
