//! How editors save.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::course::{NOTHING, Watched, watched};

const DECK: &str = "slides/m/topic_1_a/slides_a.py";
const DIR: &str = "slides/m/topic_1_a";

/// Saves in some way, and expects to be told of the deck and of nothing else.
fn saves(save: impl Fn(&Watched)) {
    saves_by_way_of(|_| false, save);
}

/// The same for an editor that writes other files first, which may be told of.
fn saves_by_way_of(is_other: impl Fn(&str) -> bool, save: impl Fn(&Watched)) {
    let mut course = watched();
    // Twice: the first save must not end the watch, as replacing a watched file does.
    for _ in 0..2 {
        save(&course);
        let mut told: Vec<String> = course.until(&[DECK]).into_iter().collect();
        told.extend(course.rest());
        assert!(told.iter().any(|name| name == DECK));
        told.retain(|name| name != DECK && !is_other(name));
        assert_eq!(told, NOTHING);
    }
}

#[test]
fn truncate_and_write() {
    saves(|course| course.write(DECK, "new"));
}

#[test]
fn write_beside_and_rename() {
    saves(|course| {
        course.write("slides/m/topic_1_a/slides_a.py.tmp", "new");
        course.rename("slides/m/topic_1_a/slides_a.py.tmp", DECK);
    });
}

#[test]
fn vim_with_a_backup() {
    saves(|course| {
        let swap = format!("{DIR}/.slides_a.py.swp");
        course.write(&swap, "swap");
        course.write(&format!("{DIR}/4913"), "");
        course.remove(&format!("{DIR}/4913"));
        course.rename(DECK, &format!("{DECK}~"));
        course.write(DECK, "new");
        course.remove(&format!("{DECK}~"));
        course.remove(&swap);
    });
}

#[test]
fn vim_without_a_backup() {
    saves(|course| {
        let swap = format!("{DIR}/.slides_a.py.swp");
        course.write(&swap, "swap");
        course.write(DECK, "new");
        course.remove(&swap);
    });
}

#[test]
fn the_real_vim() {
    if Command::new("vim").arg("--version").output().is_err() {
        eprintln!("there is no vim: this story is not told");
        return;
    }
    for backup in [
        "set nobackup nowritebackup",
        "set backup backupcopy=no",
        "set backupcopy=yes",
    ] {
        saves(|course| {
            let status = Command::new("vim")
                .args(["-N", "-u", "NONE", "-i", "NONE", "-es", "-c", backup])
                .args(["-c", "normal Onew", "-c", "wq"])
                .arg(course.path(DECK))
                .status()
                .unwrap();
            assert!(status.success());
        });
    }
}

#[test]
fn emacs() {
    saves(|course| {
        let lock = course.path(&format!("{DIR}/.#slides_a.py"));
        symlink("me@host.1234:5678", &lock).unwrap();
        course.write(&format!("{DIR}/#slides_a.py#"), "autosave");
        std::fs::rename(course.path(DECK), course.path(&format!("{DECK}~"))).unwrap();
        course.write(DECK, "new");
        course.remove(&format!("{DIR}/#slides_a.py#"));
        std::fs::remove_file(lock).unwrap();
        course.remove(&format!("{DECK}~"));
    });
}

#[test]
fn visual_studio_code() {
    saves(|course| {
        // Opened without truncation, truncated to the new length, written.
        let mut file = std::fs::File::options()
            .write(true)
            .open(course.path(DECK))
            .unwrap();
        file.write_all(b"new text").unwrap();
        file.set_len(8).unwrap();
        file.sync_all().unwrap();
    });
}

#[test]
fn jetbrains() {
    saves(|course| {
        let (new, old) = (format!("{DECK}___jb_tmp___"), format!("{DECK}___jb_old___"));
        course.write(&new, "new");
        course.rename(DECK, &old);
        course.rename(&new, DECK);
        course.remove(&old);
    });
}

#[test]
fn sed_in_place() {
    // Its temporary name may be all small letters, which is taken for a word.
    let beside = format!("{DIR}/sed");
    let is_word = |name: &str| {
        let random = name.strip_prefix(&beside);
        random.is_some_and(|random| random.chars().all(|c| c.is_ascii_lowercase()))
    };
    saves_by_way_of(is_word, |course| {
        let status = Command::new("sed")
            .args(["-i", "s/$/x/"])
            .arg(course.path(DECK))
            .status();
        assert!(status.unwrap().success());
    });
}

#[test]
fn touch_is_told_because_digests_decide() {
    saves(|course| {
        let file = std::fs::File::options()
            .append(true)
            .open(course.path(DECK))
            .unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
    });
}

#[test]
fn permissions_are_told() {
    use std::os::unix::fs::PermissionsExt;
    saves(|course| {
        let path = course.path(DECK);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode ^ 0o044)).unwrap();
    });
}

#[test]
fn two_writes_in_a_row_are_one_set() {
    let mut course = watched();
    course.write(DECK, "one");
    std::thread::sleep(std::time::Duration::from_millis(5));
    course.write(DECK, "two");
    let set = course.next();
    assert_eq!(course.names(&set), [DECK]);
    // A machine that paused between the writes tells two sets; none is about anything else.
    assert!(course.rest().iter().all(|name| name == DECK));
}

#[test]
fn a_file_that_grows_slowly_is_told_after_its_last_byte() {
    let mut course = watched();
    let path = course.path("slides/m/topic_1_a/big.csv");
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            let mut file = std::fs::File::create(path).unwrap();
            for _ in 0..100 {
                file.write_all(&[b'x'; 1000]).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    });
    // What a reader sees in the end is the whole file, in a few sets because of the cap.
    let mut sizes = Vec::new();
    while sizes.last() != Some(&100_000) {
        let set = course.next();
        assert_eq!(course.names(&set), ["slides/m/topic_1_a/big.csv"]);
        sizes.push(std::fs::metadata(&path).unwrap().len());
    }
    writer.join().unwrap();
    assert!(sizes.len() <= 30, "{sizes:?}");
}

#[test]
fn a_save_through_a_link_is_told_under_both_names() {
    let outside = tempfile::tempdir().unwrap();
    let outside = outside.path().canonicalize().unwrap();
    std::fs::write(outside.join("shared.py"), "1").unwrap();
    let mut course = watched();
    let link = "slides/m/topic_1_a/linked.py";
    let far = "slides/m/topic_1_a/far.py";
    symlink("../topic_2_b/slides_b.py", course.path(link)).unwrap();
    symlink(outside.join("shared.py"), course.path(far)).unwrap();
    course.until(&[link, far]);
    course.rest();
    // Through the link, and by replacing its target.
    course.write(link, "2");
    course.until(&[link, "slides/m/topic_2_b/slides_b.py"]);
    course.rest();
    course.write("slides/m/topic_2_b/new", "3");
    course.rename("slides/m/topic_2_b/new", "slides/m/topic_2_b/slides_b.py");
    course.until(&[link]);
    course.rest();
    std::fs::write(course.path(far), "2").unwrap();
    assert_eq!(course.rest(), [far]);
    std::fs::write(outside.join("new"), "3").unwrap();
    std::fs::rename(outside.join("new"), outside.join("shared.py")).unwrap();
    assert_eq!(course.rest(), [far]);
    // A link that leads elsewhere from now on.
    let other = course.path("slides/m/topic_1_a/other");
    symlink("data.csv", &other).unwrap();
    std::fs::rename(&other, course.path(link)).unwrap();
    course.until(&[link]);
    course.rest();
    course.write("slides/m/topic_1_a/data.csv", "2");
    assert_eq!(course.rest(), ["slides/m/topic_1_a/data.csv", link]);
    course.write("slides/m/topic_2_b/slides_b.py", "4");
    assert_eq!(course.rest(), ["slides/m/topic_2_b/slides_b.py"]);
    // An editor that replaces the link by a file.
    course.write("slides/m/topic_1_a/new", "5");
    course.rename("slides/m/topic_1_a/new", link);
    course.until(&[link]);
    course.rest();
    course.write("slides/m/topic_1_a/data.csv", "3");
    assert_eq!(course.rest(), ["slides/m/topic_1_a/data.csv"]);
}

#[test]
fn swap_files_and_probes_alone_are_nothing() {
    let mut course = watched();
    for name in [
        ".slides_a.py.swp",
        "4913",
        "slides_a.py~",
        ".#slides_a.py",
        "x.tmp",
        ".~lock.a.odt#",
        ".DS_Store",
    ] {
        let path = format!("{DIR}/{name}");
        course.write(&path, "x");
        course.remove(&path);
    }
    assert_eq!(course.rest(), NOTHING);
}
