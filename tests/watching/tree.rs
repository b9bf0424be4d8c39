//! Directories that come, go and move, and links to directories.

use std::os::unix::fs::symlink;

use super::course::{NOTHING, watched, watched_with};

#[test]
fn a_new_directory_is_told_with_its_files() {
    let mut course = watched();
    for number in 0..50 {
        let dir = format!("slides/m/topic_9_{number}");
        // As fast as can be: the files are there before anybody can watch the directory.
        course.write(&format!("{dir}/slides_x.py"), "1");
        course.write(&format!("{dir}/img/deep/x.png"), "1");
        let (deck, image) = (
            format!("{dir}/slides_x.py"),
            format!("{dir}/img/deep/x.png"),
        );
        course.until(&[&dir, &deck, &image]);
    }
    course.rest();
    course.write("slides/m/topic_9_7/img/deep/x.png", "2");
    assert_eq!(course.rest(), ["slides/m/topic_9_7/img/deep/x.png"]);
}

#[test]
fn an_empty_directory_is_told() {
    let mut course = watched();
    course.mkdir("slides/m/topic_1_a/empty");
    assert_eq!(course.rest(), ["slides/m/topic_1_a/empty"]);
    std::fs::remove_dir(course.path("slides/m/topic_1_a/empty")).unwrap();
    assert_eq!(course.rest(), ["slides/m/topic_1_a/empty"]);
}

#[test]
fn a_directory_that_moves_in_full_of_files_is_told_and_watched() {
    let mut course = watched();
    course.write("elsewhere/topic_3_c/slides_c.py", "1");
    course.write("elsewhere/topic_3_c/img/c.png", "1");
    assert_eq!(course.rest(), NOTHING);
    course.rename("elsewhere/topic_3_c", "slides/m/topic_3_c");
    course.until(&[
        "slides/m/topic_3_c",
        "slides/m/topic_3_c/slides_c.py",
        "slides/m/topic_3_c/img/c.png",
    ]);
    course.rest();
    course.write("slides/m/topic_3_c/img/c.png", "2");
    assert_eq!(course.rest(), ["slides/m/topic_3_c/img/c.png"]);
}

#[test]
fn a_renamed_directory_is_told_under_both_names_and_its_events_under_the_new_one() {
    let mut course = watched();
    course.write("slides/m/topic_1_a/img/x.png", "1");
    course.until(&["slides/m/topic_1_a/img/x.png"]);
    course.rest();
    let mut inputs = course.inputs.clone();
    inputs.files.insert("slides/m/topic_1_a/slides_a.py".into());
    inputs.files.insert("slides/m/topic_1_a/img/x.png".into());
    course.watcher.set_inputs(inputs);
    assert_eq!(course.rest(), NOTHING);
    course.rename("slides/m/topic_1_a", "slides/m/topic_5_e");
    let told = course.until(&[
        "slides/m/topic_1_a",
        "slides/m/topic_1_a/slides_a.py",
        "slides/m/topic_1_a/img/x.png",
        "slides/m/topic_5_e",
        "slides/m/topic_5_e/slides_a.py",
        "slides/m/topic_5_e/img/x.png",
    ]);
    assert!(
        told.iter().all(|name| name.starts_with("slides/m/topic_")),
        "{told:?}"
    );
    course.rest();
    course.write("slides/m/topic_5_e/img/x.png", "2");
    assert_eq!(course.rest(), ["slides/m/topic_5_e/img/x.png"]);
    // And back, and around.
    course.rename("slides/m/topic_5_e", "slides/m/topic_1_a");
    course.rename("slides/m/topic_1_a", "slides/m/topic_6_f");
    course.rename("slides/m/topic_2_b", "slides/m/topic_1_a");
    course.rename("slides/m/topic_6_f", "slides/m/topic_2_b");
    course.until(&[
        "slides/m/topic_2_b/img/x.png",
        "slides/m/topic_1_a/slides_b.py",
    ]);
    course.rest();
    course.write("slides/m/topic_1_a/slides_b.py", "2");
    course.write("slides/m/topic_2_b/img/x.png", "3");
    assert_eq!(
        course.rest(),
        [
            "slides/m/topic_1_a/slides_b.py",
            "slides/m/topic_2_b/img/x.png"
        ]
    );
}

#[test]
fn a_removed_directory_is_told_and_may_come_back() {
    let mut course = watched();
    for round in 0..10 {
        std::fs::remove_dir_all(course.path("slides/m/topic_1_a")).unwrap();
        if round % 2 == 0 {
            course.until(&["slides/m/topic_1_a", "slides/m/topic_1_a/slides_a.py"]);
        }
        course.write("slides/m/topic_1_a/slides_a.py", "1");
        course.until(&["slides/m/topic_1_a/slides_a.py"]);
        course.rest();
        course.write("slides/m/topic_1_a/slides_a.py", "2");
        assert_eq!(course.rest(), ["slides/m/topic_1_a/slides_a.py"]);
    }
}

#[test]
fn a_directory_that_was_moved_away_is_told_with_its_inputs_and_watched_no_more() {
    let mut course = watched();
    let mut inputs = course.inputs.clone();
    inputs.files.insert("slides/m/topic_1_a/slides_a.py".into());
    course.watcher.set_inputs(inputs);
    course.rest();
    course.rename("slides/m/topic_1_a", "away");
    course.until(&["slides/m/topic_1_a", "slides/m/topic_1_a/slides_a.py"]);
    course.rest();
    course.write("away/slides_a.py", "2");
    assert_eq!(course.rest(), NOTHING);
}

#[test]
fn all_slides_may_go_and_come_back() {
    let mut course = watched();
    course.rename("slides", "parked");
    course.until(&["slides"]);
    course.rest();
    course.rename("parked", "slides");
    course.until(&["slides/m/topic_1_a/slides_a.py"]);
    course.rest();
    course.write("slides/m/topic_1_a/slides_a.py", "2");
    assert_eq!(course.rest(), ["slides/m/topic_1_a/slides_a.py"]);
}

#[test]
fn a_scanned_directory_may_come_later() {
    let mut course = watched();
    let mut inputs = course.inputs.clone();
    inputs.scanned.push("code/deep/solutions".into());
    course.watcher.set_inputs(inputs);
    course.rest();
    course.write("code/other.txt", "1");
    course.write("code/deep/solutions/a.cpp", "1");
    let told = course.until(&["code/deep/solutions/a.cpp"]);
    assert!(!told.contains("code/other.txt"), "{told:?}");
    course.rest();
    course.write("code/deep/solutions/a.cpp", "2");
    assert_eq!(course.rest(), ["code/deep/solutions/a.cpp"]);
}

#[test]
fn a_directory_behind_a_link_is_told_under_both_names() {
    let mut course = watched_with(|options| {
        std::fs::create_dir_all(options.root.join("common/deep")).unwrap();
        std::fs::write(options.root.join("common/deep/x.csv"), "1").unwrap();
        symlink(
            "../../../common",
            options.root.join("slides/m/topic_1_a/data"),
        )
        .unwrap();
        symlink("../topic_2_b", options.root.join("slides/m/topic_1_a/b")).unwrap();
        symlink("..", options.root.join("slides/m/topic_1_a/loop")).unwrap();
    });
    course.write("common/deep/x.csv", "2");
    assert_eq!(course.rest(), ["slides/m/topic_1_a/data/deep/x.csv"]);
    course.write("common/new/y.csv", "2");
    course.until(&["slides/m/topic_1_a/data/new/y.csv"]);
    course.rest();
    course.write("slides/m/topic_1_a/b/slides_b.py", "2");
    assert_eq!(
        course.rest(),
        [
            "slides/m/topic_1_a/b/slides_b.py",
            "slides/m/topic_2_b/slides_b.py"
        ]
    );
    course.remove("slides/m/topic_1_a/b");
    assert_eq!(course.rest(), ["slides/m/topic_1_a/b"]);
    course.write("slides/m/topic_2_b/slides_b.py", "3");
    assert_eq!(course.rest(), ["slides/m/topic_2_b/slides_b.py"]);
    symlink("../../../common", course.path("slides/m/topic_2_b/data")).unwrap();
    course.until(&["slides/m/topic_2_b/data/deep/x.csv"]);
    course.rest();
    course.write("common/deep/x.csv", "3");
    assert_eq!(
        course.rest(),
        [
            "slides/m/topic_1_a/data/deep/x.csv",
            "slides/m/topic_2_b/data/deep/x.csv"
        ]
    );
}

#[test]
fn links_into_a_directory_that_is_replaced_are_told() {
    let mut course = watched_with(|options| {
        let root = &options.root;
        std::fs::create_dir_all(root.join("spare/deep")).unwrap();
        std::fs::write(root.join("spare/slides_b.py"), "spare").unwrap();
        std::fs::write(root.join("spare/deep/x.csv"), "spare").unwrap();
        symlink(
            "../topic_2_b/slides_b.py",
            root.join("slides/m/topic_1_a/b.py"),
        )
        .unwrap();
        symlink("../topic_2_b", root.join("slides/m/topic_1_a/b")).unwrap();
    });
    for (from, to) in [
        ("slides/m/topic_2_b", "parked"),
        ("spare", "slides/m/topic_2_b"),
    ] {
        course.rename(from, to);
        // The links lead nowhere in between.
        course.until(&["slides/m/topic_1_a/b.py", "slides/m/topic_1_a/b"]);
        course.rest();
    }
    course.write("slides/m/topic_2_b/deep/x.csv", "2");
    assert_eq!(
        course.rest(),
        [
            "slides/m/topic_1_a/b/deep/x.csv",
            "slides/m/topic_2_b/deep/x.csv"
        ]
    );
    // Made piece by piece, where a link waits for something deep.
    symlink(
        "../topic_7/deep/down/x.csv",
        course.path("slides/m/topic_1_a/late.csv"),
    )
    .unwrap();
    course.rest();
    course.mkdir("slides/m/topic_7");
    course.rest();
    course.mkdir("slides/m/topic_7/deep");
    course.rest();
    course.write("slides/m/topic_7/deep/down/x.csv", "1");
    course.until(&["slides/m/topic_1_a/late.csv"]);
    course.rest();
    course.write("slides/m/topic_7/deep/down/x.csv", "2");
    assert_eq!(
        course.rest(),
        [
            "slides/m/topic_1_a/late.csv",
            "slides/m/topic_7/deep/down/x.csv"
        ]
    );
}

#[test]
fn a_directory_may_take_the_place_of_an_empty_one() {
    let mut course = watched();
    course.mkdir("slides/m/topic_3_c");
    course.write("elsewhere/slides_c.py", "1");
    course.rest();
    course.rename("elsewhere", "slides/m/topic_3_c");
    course.until(&["slides/m/topic_3_c/slides_c.py"]);
    course.rest();
    course.write("slides/m/topic_3_c/slides_c.py", "2");
    assert_eq!(course.rest(), ["slides/m/topic_3_c/slides_c.py"]);
}

#[test]
fn a_course_root_behind_a_link_is_told_under_the_name_it_was_given() {
    let outer = tempfile::tempdir().unwrap();
    let link = outer.path().canonicalize().unwrap().join("course");
    let mut course = watched_with(|options| {
        symlink(&options.root, &link).unwrap();
        options.root = link.clone();
        options.spec = link.join("course.xml");
        options.state_dir = link.join(".clm");
        options.inputs.scanned = vec!["slides".into()];
        options.inputs.output_dirs = vec!["output".into()];
    });
    course.write("slides/m/topic_1_a/slides_a.py", "2");
    course.write("output/a.html", "2");
    course.write("course.xml", "2");
    let deck = link.join("slides/m/topic_1_a/slides_a.py");
    let spec = link.join("course.xml");
    assert_eq!(
        course.rest(),
        [spec.to_str().unwrap(), deck.to_str().unwrap()]
    );
}

#[test]
fn names_that_are_not_text_are_told_too() {
    use std::os::unix::ffi::OsStrExt;
    let mut course = watched();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.csv");
    let path = course.path("slides/m/topic_1_a").join(name);
    std::fs::write(&path, "1").unwrap();
    let set = course.next();
    assert!(set.paths.contains(&path), "{set:?}");
}
