//! The checkpoint of a course that is up to date: a build compares every file with it, sees that there is nothing to do, and
//! misses nothing.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clm::testing::digest::Stamp;
use clm::testing::events::{Event, Status};

use crate::support::courses::{DATA, ONLY_DECK as DECK, one_deck, without_pages};
use crate::support::{Course, Ran, Watching, ran};

const COPY: &str = "output/shared/course-en/Slides/Notebooks/Completed/Part/data/numbers.csv";
const MANIFEST: &str = "output/shared/.clm-manifest.json";

/// A deck with a warning, and a data file.
fn course() -> Course {
    one_deck("# %% [markdown]\n# [there](clm:nowhere)\n\n# %%\nx = 1\n")
}

/// Builds, and returns whether the checkpoint alone said that there is nothing to do: then no action is reported, and no
/// checkpoint is written.
fn by_checkpoint(course: &Course, args: &[&str]) -> bool {
    let before = checkpoints(course);
    let ran = course.build(args);
    ran.code == 0 && told(&ran).is_empty() && !before.is_empty() && checkpoints(course) == before
}

/// Files of checkpoints with their inodes: a new one has another inode.
fn checkpoints(course: &Course) -> Vec<(PathBuf, u64)> {
    let state = std::fs::read_dir(course.path(".clm")).unwrap();
    let files = state.map(|entry| entry.unwrap());
    files
        .filter(|file| {
            file.file_name()
                .to_string_lossy()
                .starts_with("checkpoint-")
        })
        .map(|file| (file.path(), file.metadata().unwrap().ino()))
        .collect()
}

/// Where the first section of a checkpoint is: with what a build compares that has nothing to do.
fn first_section(bytes: &[u8]) -> std::ops::Range<usize> {
    const HEADER: usize = 8 + 32 + 32;
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    HEADER..HEADER + usize::try_from(length).unwrap()
}

/// The actions that a build looked at.
fn told(ran: &Ran) -> Vec<&str> {
    let actions = ran.events.iter().filter_map(|event| match event {
        Event::ActionFinished { action, .. } => Some(action.as_str()),
        _ => None,
    });
    actions.collect()
}

/// A whole course, built until it has a checkpoint.
fn up_to_date() -> Course {
    let course = course();
    without_pages(&course);
    assert_eq!(course.build(&[]).counts().failed, 0);
    // What changed just before it was built is proved by its content.
    assert!(by_checkpoint(&course, &[]), "no checkpoint");
    course
}

#[test]
fn a_build_of_a_course_that_is_up_to_date_says_what_every_build_says() {
    let course = up_to_date();
    assert!(by_checkpoint(&course, &[]));
    let ran = course.build(&[]);
    let looked = course.build(&["--languages", "de,en"]);
    assert_eq!(told(&looked).len() as u64, looked.counts().fresh);
    assert_eq!(ran.counts(), looked.counts());
    assert!(ran.counts().fresh > 0);
    let warnings = |ran: &Ran| -> Vec<String> {
        let mut found: Vec<String> = ran
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Diagnostic(reported) => Some(reported.diagnostic.to_string()),
                _ => None,
            })
            .collect();
        found.sort();
        found
    };
    assert_eq!(warnings(&ran), warnings(&looked));
    assert!(
        warnings(&ran)
            .iter()
            .any(|warning| warning.contains("clm:nowhere"))
    );
}

/// Does something to a file or directory, and gives it its old modification time back.
fn keeping_times(course: &Course, path: &str, change: impl Fn()) {
    let open = || std::fs::File::open(course.path(path)).unwrap();
    let before = open().metadata().unwrap();
    change();
    open().set_modified(before.modified().unwrap()).unwrap();
    let after = open().metadata().unwrap();
    assert_eq!(
        (after.ino(), after.mtime(), after.mtime_nsec()),
        (before.ino(), before.mtime(), before.mtime_nsec())
    );
}

/// `rsync -t`, `cp -p`, `tar --mtime` and `touch -r` leave the same size and the same modification time behind.
#[test]
fn a_file_with_the_size_and_times_of_another_is_not_fresh() {
    let course = up_to_date();
    let data = course.path(DATA);
    let times = [
        SystemTime::UNIX_EPOCH - Duration::from_secs(1000),
        SystemTime::UNIX_EPOCH,
        SystemTime::UNIX_EPOCH + Duration::new(1_500_000_000, 123),
    ];
    let set = |time| {
        let file = std::fs::File::options().append(true).open(&data).unwrap();
        file.set_modified(time).unwrap();
    };
    for (number, time) in times.into_iter().enumerate() {
        for tens in [10 + number, 20 + number] {
            let text = format!("{tens}\n20\n30\n");
            course.write(DATA, &text);
            set(time);
            // Through every door: the checkpoint, one without it, and the editor's hook.
            let args: &[&str] = [&[][..], &["--only", DATA], &["--languages", "de,en"]][number];
            let ran = course.build(args);
            assert_eq!(course.read(COPY), text, "{time:?}: {}", ran.stderr);
        }
    }
    // Two times before 1970 differ.
    course.write(DATA, "40\n20\n30\n");
    set(times[0] - Duration::from_secs(1));
    course.build(&[]);
    assert!(course.read(COPY).starts_with("40"));
}

/// A copy of a course with its cache has other inodes and change times: it is hashed once, and nothing is made again.
#[test]
fn a_copied_cache_costs_no_job() {
    let course = up_to_date();
    let copy = course_at(&course);
    let ran = copy.built();
    assert_eq!(
        (ran.jobs(), ran.counts().built),
        (vec![], 0),
        "{}",
        ran.stdout
    );
    assert!(by_checkpoint(&copy, &[]), "its stamps prove it");
    let (store, _) = clm::testing::store::Store::open(&copy.path(".clm")).unwrap();
    let now = i64::MAX;
    for (path, record) in store.files().unwrap() {
        let found = Stamp::of(&std::fs::metadata(copy.path(&path)).unwrap());
        assert!(record.stamp.proves(now, &found), "{path}");
    }
    for (path, record) in store.outputs(&mut |path| path.into()).unwrap() {
        let found = Stamp::of(&std::fs::metadata(copy.path(&path)).unwrap());
        assert!(record.file.stamp.proves(now, &found), "{path}");
    }
}

/// A copy of a course with everything in it.
fn course_at(course: &Course) -> Course {
    let copy = Course::with_topics(&[]);
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(format!("{}/.", course.root().display()))
        .arg(copy.root())
        .status()
        .unwrap();
    assert!(status.success());
    copy
}

#[test]
fn whatever_changes_breaks_the_seal_and_is_built() {
    let course = up_to_date();
    let output = |path: &str| course.read(path);
    type Change<'a> = (&'a str, Box<dyn Fn() + 'a>, Box<dyn Fn() -> bool + 'a>);
    let remove = |path: &str| std::fs::remove_file(course.path(path)).unwrap();
    let changes: Vec<Change<'_>> = vec![
        (
            "a source",
            Box::new(|| course.write(DATA, "11\n20\n30\n")),
            Box::new(|| output(COPY).starts_with("11")),
        ),
        (
            "a source, with its old size and times",
            Box::new(|| keeping_times(&course, DATA, || course.write(DATA, "12\n20\n30\n"))),
            Box::new(|| output(COPY).starts_with("12")),
        ),
        (
            "an output, with its old size and times",
            Box::new(|| keeping_times(&course, COPY, || course.write(COPY, "99\n20\n30\n"))),
            Box::new(|| output(COPY).starts_with("12")),
        ),
        (
            "a new file, with the old times of its directory",
            Box::new(|| {
                let more = "slides/m/topic_010_one/data/other.csv";
                keeping_times(&course, "slides/m/topic_010_one/data", || {
                    course.write(more, "1")
                });
            }),
            Box::new(|| course.path(&COPY.replace("numbers", "other")).exists()),
        ),
        (
            "an output that is gone",
            Box::new(|| remove(COPY)),
            Box::new(|| output(COPY).starts_with("12")),
        ),
        (
            "an output that somebody edited",
            Box::new(|| course.write(COPY, "99\n20\n30\n")),
            Box::new(|| output(COPY).starts_with("12")),
        ),
        (
            "a new file",
            Box::new(|| course.write("slides/m/topic_010_one/data/more.csv", "1")),
            Box::new(|| course.path(&COPY.replace("numbers", "more")).exists()),
        ),
        (
            "a file that is gone",
            Box::new(|| course.remove("slides/m/topic_010_one/data/more.csv")),
            Box::new(|| !course.path(&COPY.replace("numbers", "more")).exists()),
        ),
        (
            "a new deck in a new directory",
            Box::new(|| {
                course.write("slides/m/topic_010_one/slides_two.py", "# %%\ny = 2\n");
            }),
            Box::new(|| {
                let outputs = course.outputs();
                outputs.keys().any(|path| path.contains("02 "))
            }),
        ),
        (
            "the specification",
            Box::new(|| course.edit("course.xml", "<en>Part</en>", "<en>Piece</en>")),
            Box::new(|| course.path(&COPY.replace("/Part/", "/Piece/")).exists()),
        ),
        (
            "a manifest that is gone",
            Box::new(|| remove(MANIFEST)),
            Box::new(|| course.path(MANIFEST).exists()),
        ),
    ];
    for (what, change, is_built) in changes {
        change();
        assert!(!by_checkpoint(&course, &[]), "{what}: the checkpoint held");
        assert!(is_built(), "{what} was not built");
        assert!(by_checkpoint(&course, &[]), "{what}: no checkpoint again");
    }
}

/// What an author does while a deck is executed is done by the next build, whatever the first one saw of it.
#[test]
fn what_comes_and_goes_during_a_build_is_not_missed() {
    let topic = "slides/m/topic_010_one";
    type Change = (&'static str, fn(&Course), &'static str, bool);
    let changes: [Change; 4] = [
        (
            "a new file",
            |course| course.write("slides/m/topic_010_one/data/more.csv", "1"),
            "data/more.csv",
            true,
        ),
        (
            "a new directory",
            |course| course.write("slides/m/topic_010_one/other/more.csv", "1"),
            "other/more.csv",
            true,
        ),
        (
            "a picture where only ours were",
            |course| course.write("slides/m/topic_010_one/img-generated/photo.png", "1"),
            "photo.png",
            true,
        ),
        (
            "a file that goes",
            |course| course.remove(DATA),
            "data/numbers.csv",
            false,
        ),
    ];
    for (what, change, output, is_there) in changes {
        let course = course();
        // The deck runs until the change was made.
        let signals = tempfile::tempdir().unwrap();
        let go = signals.path().join("go");
        let waits = format!(
            "import pathlib, time\nwhile not pathlib.Path({go:?}).exists():\n    time.sleep(0.01)"
        );
        course.write(DECK, format!("# %%\n{waits}\n"));
        course.write(
            &format!("{topic}/pu/flow.pu"),
            "@startuml\nA -> B\n@enduml\n",
        );
        let mut build = course
            .command(&["build", "--message-format", "json"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let ours = course.path(&format!("{topic}/img-generated/flow.png"));
        let started = std::time::Instant::now();
        while !ours.exists() {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "{what}: no diagram"
            );
            assert_eq!(
                build.try_wait().unwrap(),
                None,
                "{what}: it ended too early"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        change(&course);
        std::fs::write(&go, "").unwrap();
        let ran = ran(build.wait_with_output().unwrap());
        let failed = |event: &&Event| {
            matches!(
                event,
                Event::ActionFinished {
                    status: Status::Failed,
                    ..
                }
            )
        };
        assert_eq!(ran.code, 0, "{what}: {}", ran.stdout);
        assert_eq!(ran.events.iter().find(failed), None, "{what}");
        course.built();
        let outputs = course.outputs();
        let found = outputs.keys().any(|path| path.ends_with(output));
        assert_eq!(found, is_there, "{what}: {:?}", outputs.keys());
        // It comes to rest all the same.
        course.built();
        assert!(
            by_checkpoint(&course, &[]),
            "{what}: no checkpoint in the end"
        );
    }
}

#[test]
fn settings_and_damage_break_the_checkpoint() {
    let course = up_to_date();
    course.write("clm.toml", "[notebook]\ncell_timeout = 77\n");
    assert!(!by_checkpoint(&course, &[]));
    assert!(by_checkpoint(&course, &[]));
    let [(checkpoint, _)] = &checkpoints(&course)[..] else {
        panic!("several checkpoints");
    };
    let whole = std::fs::read(checkpoint).unwrap();
    let first = first_section(&whole);
    let lengths = [
        0,
        10,
        first.start,
        first.start + first.len() / 2,
        first.end - 1,
    ];
    for length in lengths {
        std::fs::write(checkpoint, &whole[..length]).unwrap();
        assert!(!by_checkpoint(&course, &[]), "cut off at {length}");
    }
    let mut damaged = whole.clone();
    damaged[first.start + first.len() / 2] ^= 1;
    std::fs::write(checkpoint, damaged).unwrap();
    assert!(!by_checkpoint(&course, &[]));
    assert!(by_checkpoint(&course, &[]));
    // Without the records nobody knows what is ours.
    for name in ["clm.db", "clm.db-wal", "clm.db-shm"] {
        let _ = std::fs::remove_file(course.path(".clm").join(name));
    }
    assert!(!by_checkpoint(&course, &[]));
}

#[test]
fn a_part_of_a_course_has_no_checkpoint() {
    let course = course();
    let part = ["--formats", "notebook,code"];
    course.build(&part);
    assert!(!by_checkpoint(&course, &part));
}

/// An edit of the same size, made in the same tick of the clock as the build's end.
#[test]
fn an_edit_right_after_a_build_is_never_missed() {
    let course = up_to_date();
    for round in 0..25 {
        let text = format!("{}\n20\n30\n", 10 + round % 80);
        std::fs::write(course.path(DATA), &text).unwrap();
        course.build(&[]);
        assert_eq!(course.read(COPY), text, "round {round}");
    }
}

/// What one build knew of everything that an edit does not touch, the next one knows.
#[test]
fn a_build_after_an_edit_looks_only_at_what_it_touches() {
    let course = up_to_date();
    course.write(DATA, "14\n20\n30\n");
    let ran = course.build(&[]);
    let copied = format!("copy {DATA}");
    let touched = |action: &&str| *action == copied || action.starts_with("execute ");
    assert!(told(&ran).iter().all(touched), "{:?}", told(&ran));
    assert!(told(&ran).contains(&&*copied));
    assert_eq!(
        ran.counts().made() + ran.counts().fresh,
        count_of_actions(&course)
    );
    assert!(course.read(COPY).starts_with("14"));
    // The editor's save hook knows it as well.
    course.write(DATA, "15\n20\n30\n");
    let ran = course.build(&["--only", DATA]);
    assert!(told(&ran).iter().all(touched), "{:?}", told(&ran));
    assert!(course.read(COPY).starts_with("15"));
    // An output that was changed in the meantime is made again, whoever made it last.
    course.write(COPY, "99\n");
    course.edit(DECK, "x = 1", "x = 2");
    course.build(&[]);
    assert!(course.read(COPY).starts_with("15"));
    assert!(by_checkpoint(&course, &[]));
    // What is damaged is not used: everything is compared.
    for (file, _) in checkpoints(&course) {
        let mut bytes = std::fs::read(&file).unwrap();
        let second = first_section(&bytes).end..bytes.len();
        bytes[second.start + second.len() / 2] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    }
    course.write(DATA, "16\n20\n30\n");
    let ran = course.build(&[]);
    assert_eq!(told(&ran).len() as u64, count_of_actions(&course));
    assert!(course.read(COPY).starts_with("16"));
    assert!(by_checkpoint(&course, &[]));
}

/// A watch knows what the build before it knew, and the build after it knows what the watch knew.
#[test]
fn a_watch_begins_with_the_checkpoint_and_ends_with_one() {
    let course = up_to_date();
    let all = count_of_actions(&course);
    course.write(DATA, "14\n20\n30\n");
    std::fs::remove_file(
        course.path("output/shared/course-en/Slides/Notebooks/Completed/Part/01 One.ipynb"),
    )
    .unwrap();
    let watching = Watching::start(&course, &[]);
    let run = watching.run();
    let mut made = run.sources();
    made.sort_unstable();
    assert_eq!(made, [DATA, DECK]);
    // The first run reports the whole course, and its warnings.
    let fresh = run.finished(Status::Fresh).len();
    assert_eq!((fresh + made.len()) as u64, all);
    assert_eq!(run.counts().made() + run.counts().fresh, all);
    assert!(run.warns("nowhere"));
    assert!(course.read(COPY).starts_with("14"));

    course.edit(DECK, "x = 1", "x = 2");
    watching.run_until(|run| run.sources().contains(&DECK));
    course.write(DATA, "15\n20\n30\n");
    watching.run_until(|run| run.sources().contains(&DATA));
    watching.until_settled(&course);
    // Ends it.
    drop(watching);
    let edited = checkpoints(&course);
    assert!(by_checkpoint(&course, &[]));
    assert_eq!(checkpoints(&course), edited);
    assert!(course.read(COPY).starts_with("15"));
    // An output that others changed while nobody watched is made again.
    course.write(COPY, "99\n");
    let watching = Watching::start(&course, &[]);
    assert_eq!(watching.run().sources(), [DATA]);
    assert!(course.read(COPY).starts_with("15"));
}

/// How many actions the course has, by a build that has nothing to do.
fn count_of_actions(course: &Course) -> u64 {
    course.build(&[]).counts().fresh
}

#[test]
fn a_deck_is_warned_about_an_image_that_another_topic_has_no_more() {
    let course = Course::with_topics(&["one", "two"]);
    course.edit(
        "course.xml",
        "</course>",
        "<output-targets><output-target name=\"shared\"><path>output/shared</path>\
         <formats><format>notebook</format></formats></output-target></output-targets></course>",
    );
    course.write(DECK, "# %% [markdown]\n# ![x](img/x.png)\n");
    let image = "slides/m/topic_020_two/img/x.png";
    course.write("slides/m/topic_020_two/slides_two.py", "# %%\nx = 1\n");
    let missing = |ran: &Ran| {
        let said = ran.diagnostics();
        said.iter()
            .any(|said| said.message.contains("no output has the image `img/x.png`"))
    };
    for round in 0..2 {
        course.write(image, "a picture");
        assert!(!missing(&course.built()), "round {round}");
        course.remove(image);
        let warned = course.built();
        assert!(missing(&warned), "round {round}: {}", warned.stdout);
    }
}
