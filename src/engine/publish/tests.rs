use std::collections::HashSet;

use super::*;

/// A course root with the store of earlier processes.
struct Course {
    dir: tempfile::TempDir,
}

impl Course {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join(".clm/staging")).unwrap();
        Self { dir }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("output").join(name)
    }

    fn text(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.file(name)).ok()
    }

    /// Returns a publisher as a new process creates it.
    fn publisher(&self) -> Publisher {
        let root = self.dir.path();
        let state_dir = root.join(".clm");
        let store = Store::open(&state_dir).unwrap().0;
        let place = Place {
            root,
            output_roots: &[root.join("output")],
            is_folder: false,
            scope: "course.xml -> ".to_owned(),
            staging: state_dir.join("staging"),
            state_dir: state_dir.clone(),
        };
        let (events, _) = Events::channel();
        Publisher::new(place, store, OwnFiles::default(), events, Arc::default()).unwrap()
    }
}

fn stage(publisher: &mut Publisher, name: &str, text: &str) -> Vec<Staged> {
    let destinations = [format!("output/{name}").into()];
    let content = Content::Bytes(text.as_bytes().to_vec());
    let output = Output {
        destinations: &destinations,
        digest: Digest::of(text),
        content: &content,
        action: "copy".into(),
    };
    let prepared = publisher.prepare(&[output]).unwrap();
    let places = prepared.into_iter().flatten().flatten();
    places
        .filter_map(|place| match place {
            Prepared::Staged(staged) => Some(staged),
            _ => None,
        })
        .collect()
}

fn publish(course: &Course, name: &str, text: &str) {
    let mut publisher = course.publisher();
    let staged = stage(&mut publisher, name, text);
    assert!(publisher.place(staged).unwrap().is_empty());
    assert_eq!(course.text(name).as_deref(), Some(text));
}

/// Removes all outputs that are clm's. Returns the diagnostics about the others.
fn remove_all(course: &Course) -> Vec<Diagnostic> {
    let mut publisher = course.publisher();
    publisher.remove_others(&HashSet::new()).unwrap().1
}

#[test]
fn what_was_there_before_a_kill_is_still_ours() {
    let course = Course::new();
    publish(&course, "a", "one");
    // Two processes are killed before they rename.
    for text in ["two", "three"] {
        let mut publisher = course.publisher();
        let staged = stage(&mut publisher, "a", text);
        publisher.announce(&staged).unwrap();
    }
    assert_eq!(course.text("a").as_deref(), Some("one"));
    assert!(remove_all(&course).is_empty());
    assert_eq!(course.text("a"), None);
    assert!(!course.dir.path().join(".clm/replaced").exists());

    // The file of a process that is killed after the rename is clm's as well, and so is the next one.
    publish(&course, "a", "one");
    let mut publisher = course.publisher();
    let staged = stage(&mut publisher, "a", "two");
    publisher.announce(&staged).unwrap();
    std::fs::write(course.file("a"), "two").unwrap();
    drop(publisher);
    publish(&course, "a", "three");
    assert!(!course.dir.path().join(".clm/replaced").exists());
    assert!(remove_all(&course).is_empty());
    assert_eq!(course.text("a"), None);
}

#[test]
fn what_somebody_wrote_after_a_kill_is_not_ours() {
    let course = Course::new();
    publish(&course, "a", "one");
    let mut publisher = course.publisher();
    let staged = stage(&mut publisher, "a", "two");
    publisher.announce(&staged).unwrap();
    drop(publisher);
    std::fs::write(course.file("a"), "by hand").unwrap();
    assert_eq!(remove_all(&course).len(), 1, "it is left alone");
    assert_eq!(course.text("a").as_deref(), Some("by hand"));
    let mut publisher = course.publisher();
    let staged = stage(&mut publisher, "a", "two");
    publisher.place(staged).unwrap();
    assert!(publisher.take_replaced().is_some());
    assert_eq!(course.text("a").as_deref(), Some("two"));
}

/// Checks that an edit between the comparison of an output and its rename is not lost.
#[test]
fn what_appears_after_the_look_is_moved_aside() {
    let course = Course::new();
    let mut publisher = course.publisher();
    for (name, before) in [("new", None), ("old", Some("by clm"))] {
        if let Some(before) = before {
            let staged = stage(&mut publisher, name, before);
            publisher.place(staged).unwrap();
        }
        let staged = stage(&mut publisher, name, "two");
        std::fs::write(course.file(name), "by hand").unwrap();
        assert!(publisher.place(staged).unwrap().is_empty());
        assert_eq!(course.text(name).as_deref(), Some("two"));
        let warning = publisher.take_replaced().unwrap();
        assert!(warning.message.contains(name), "{}", warning.message);
    }
}

#[test]
fn found_bytes_are_never_ours_until_they_are_written() {
    let course = Course::new();
    std::fs::create_dir_all(course.file("")).unwrap();
    std::fs::write(course.file("a"), "one").unwrap();
    let mut publisher = course.publisher();
    assert!(stage(&mut publisher, "a", "one").is_empty(), "it is there");
    assert!(publisher.is_adopted("output/a").unwrap());
    let staged = stage(&mut publisher, "a", "two");
    publisher.place(staged).unwrap();
    assert!(publisher.take_replaced().is_some());
    assert!(!publisher.is_adopted("output/a").unwrap());
    drop(publisher);
    assert!(remove_all(&course).is_empty());
    assert_eq!(course.text("a"), None);
}

/// Checks that a directory in the place of a file that clm wrote is removed, and that what is in it is moved aside.
#[test]
fn a_directory_in_the_place_of_a_recorded_output_gives_way() {
    for inside in [None, Some("by hand")] {
        let course = Course::new();
        publish(&course, "a", "one");
        std::fs::remove_file(course.file("a")).unwrap();
        std::fs::create_dir_all(course.file("a/deep")).unwrap();
        if let Some(inside) = inside {
            std::fs::write(course.file("a/deep/b"), inside).unwrap();
        }
        let mut publisher = course.publisher();
        publisher.plan(&Arc::new(HashSet::from(["output/a".into()])));
        let staged = stage(&mut publisher, "a", "one");
        assert!(publisher.place(staged).unwrap().is_empty());
        assert_eq!(course.text("a").as_deref(), Some("one"));
        assert_eq!(publisher.take_replaced().is_some(), inside.is_some());
    }
}
