//! What is there but cannot be read is not taken for removed: everything stays as it is and where it is.
//!
//! Tests may run as root, which may read everything: so the calls are made to fail.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::course::{BUILD, House, Tree, differences, temporary, tree};
use super::sessions::{WATCH, finished_runs};
use super::trace::{self, Class, Fault, Handle, Plan};

const SPECIFICATION: &str = r#"<course><name><de>Kurs</de><en>Course</en></name><prog-lang>python</prog-lang>
<project-slug>course</project-slug><sections>
<section><name><de>Eins</de><en>One</en></name><topics>
<topic>a</topic><topic id="b"><include source="shared/lib" as="lib"/></topic></topics></section>
<section><name><de>Zwei</de><en>Two</en></name><topics><topic>c</topic><topic>d</topic></topics></section>
</sections><dir-groups><dir-group><name>Extra</name><path>extra</path></dir-group></dir-groups></course>
"#;

fn deck(title: &str, text: &str) -> String {
    format!(
        "# j2 from 'macros.j2' import header\n# {{{{ header(\"{title} de\", \"{title} en\") }}}}\n\n\
         # %% [markdown] lang=\"en\"\n# {text}\n\n# %% tags=[\"keep\"]\n1 + 1\n"
    )
}

struct Course {
    dir: tempfile::TempDir,
    root: PathBuf,
    house: House,
}

/// How a build ended that could not read something.
struct Ended {
    code: i32,
    said: String,
    hit: Option<String>,
}

impl Course {
    fn new() -> Self {
        let dir = temporary();
        let root = dir.path().canonicalize().unwrap().join("course");
        let house = House::new();
        let course = Self { dir, root, house };
        course.write("course.xml", SPECIFICATION);
        course.write("clm.toml", "[notebook]\ntemplates = \"templates\"\n");
        course.write("templates/python/part.py", "Of the templates\n");
        course.write("slides/m/topic_010_a/slides_a.py", &deck("A", "Some text"));
        course.write(
            "slides/m/topic_010_a/deep/slides_deep.py",
            &deck("Deep", "Some text"),
        );
        course.write("slides/m/topic_010_a/data/n.csv", "1,2\n");
        course.write("slides/m/topic_010_a/img/p.png", "picture");
        course.write(
            "slides/m/topic_010_a/pu/d.pu",
            "@startuml\nA -> B\n@enduml\n",
        );
        let part = "{% include 'part.py' %}";
        course.write("slides/m/topic_020_b/slides_b.py", &deck("B", part));
        course.write("slides/m/topic_020_b/part.py", "Of the topic\n");
        course.write("shared/lib/util.py", "value = 1\n");
        course.write(
            "slides/n/topic_010_c/slides_c.py",
            &deck("C", "[A](clm:a/slides_a) [B](clm:b)"),
        );
        course.write(
            "slides/n/topic_020_d.py",
            &deck("D", "<img src=\"img/named.png\">"),
        );
        course.write("slides/n/img/named.png", "named");
        course.write("extra/sub/x.txt", "x\n");
        course
    }

    fn write(&self, path: &str, text: &str) {
        let file = self.root.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    /// Gives something a new stamp, so that it has to be read again.
    fn stir(&self, path: &str) {
        let path = self.root.join(path);
        if path.is_dir() {
            let file = path.join("stirred");
            std::fs::write(&file, "").unwrap();
            std::fs::remove_file(file).unwrap();
        } else {
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
        }
    }

    fn build(&self) -> (i32, String) {
        let output = self.house.clm(&self.root, BUILD).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap_or(-1), said)
    }

    fn builds(&self) {
        let (code, said) = self.build();
        assert_eq!(code, 0, "{said}");
    }

    /// A build that is denied to read a file, or a directory and everything in it.
    fn build_without(&self, only: &'static str, fault: Fault) -> Ended {
        self.build_without_call(1, only, fault)
    }

    /// The same from the call of this number on that concerns it.
    fn build_without_call(&self, at: u64, only: &'static str, fault: Fault) -> Ended {
        let file = self.dir.path().join("said");
        let said = File::create(&file).unwrap();
        let mut command = self.house.clm(&self.root, BUILD);
        command.stdout(said.try_clone().unwrap()).stderr(said);
        let plan = Plan {
            class: Class::Reading,
            at,
            fault,
            only: Some(only),
        };
        let traced = trace::run(&mut command, &self.root, Some(plan), &Handle::default());
        Ended {
            code: traced.code,
            said: std::fs::read_to_string(file).unwrap(),
            hit: traced.hit,
        }
    }

    /// What a clean build makes of the course as it is.
    fn expected(&self) -> Tree {
        let other = Self {
            dir: temporary(),
            root: self.dir.path().join("clean/course"),
            house: House::new(),
        };
        copy(&self.root, &other.root);
        other.builds();
        let made = tree(&other.root);
        std::fs::remove_dir_all(&other.root).unwrap();
        made
    }

    fn is(&self, expected: &Tree, when: &str) {
        let differences = differences(&tree(&self.root), expected);
        assert!(differences.is_empty(), "{when}: {differences:#?}");
    }
}

/// Copies sources.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        let is_made = ["output", ".clm", "img-generated"]
            .iter()
            .any(|made| name == *made);
        match path.is_dir() {
            _ if is_made => {}
            true => copy(&path, &to.join(name)),
            false => {
                std::fs::copy(&path, to.join(name)).unwrap();
            }
        }
    }
}

const DENIED: Fault = Fault::FromHere(libc::EACCES);

#[test]
fn a_rendered_picture_that_cannot_be_read_is_not_taken_for_a_source() {
    if !trace::is_possible() {
        return;
    }
    const DIAGRAM: &str = "slides/m/topic_010_a/pu/d.pu";
    const PICTURE: &str = "slides/m/topic_010_a/img-generated/d.png";
    let course = Course::new();
    let text = std::fs::read_to_string(course.root.join(DIAGRAM)).unwrap();
    std::fs::remove_file(course.root.join(DIAGRAM)).unwrap();
    let expected = course.expected();
    for at in 1.. {
        course.write(DIAGRAM, &text);
        course.builds();
        std::fs::remove_file(course.root.join(DIAGRAM)).unwrap();
        course.stir(PICTURE);
        let ended = course.build_without_call(at, PICTURE, Fault::Once(libc::EIO));
        if ended.hit.is_none() {
            assert!(at > 2, "it is not read");
            break;
        }
        match ended.code {
            0 => course.is(&expected, &format!("after call {at}: {}", ended.said)),
            _ => assert!(ended.said.contains("cannot be read"), "{}", ended.said),
        }
        course.builds();
        course.is(&expected, "after the next build");
    }
}

#[test]
fn what_cannot_be_read_leaves_everything_as_it_is() {
    if !trace::is_possible() {
        return;
    }
    let course = Course::new();
    course.builds();
    let before = tree(&course.root);
    for path in [
        "slides",
        "slides/m",
        "slides/m/topic_010_a",
        "slides/m/topic_010_a/deep",
        "slides/m/topic_010_a/data",
        "slides/m/topic_010_a/img",
        "slides/m/topic_010_a/pu",
        "slides/m/topic_010_a/slides_a.py",
        "slides/m/topic_010_a/data/n.csv",
        "slides/m/topic_010_a/pu/d.pu",
        "slides/n/topic_020_d.py",
        "slides/n/img",
        "templates",
        "templates/python/part.py",
        "shared",
        "shared/lib",
        "shared/lib/util.py",
        "extra",
        "extra/sub",
    ] {
        course.stir(path);
        let ended = course.build_without(path, DENIED);
        let said = &ended.said;
        assert!(ended.hit.is_some(), "{path}: nothing was denied");
        assert_eq!(ended.code, 1, "{path}: {said}");
        let lines: Vec<&str> = said.lines().collect();
        let names_it = |line: &&&str| line.contains(path) && line.contains("Permission denied");
        // Nothing tells what there is in the directory of templates but the names that decks look for.
        let is_once = lines.iter().filter(names_it).count() == 1 || path == "templates";
        assert!(
            is_once && lines.iter().any(|line| names_it(&line)),
            "{path}: {said}"
        );
        course.is(&before, path);
    }
    // Errors of a moment: the build may find another way, or ends with an error.
    for error in [libc::EMFILE, libc::EIO, libc::ENFILE] {
        for path in ["slides/m", "slides/m/topic_010_a", "extra"] {
            course.stir(path);
            let ended = course.build_without(path, Fault::Once(error));
            let is_told = ended.code == 1 && ended.said.contains(path);
            assert!(ended.code == 0 || is_told, "{path}: {}", ended.said);
            course.is(&before, path);
        }
    }
    course.builds();
    course.is(&before, "at last");
}

#[test]
fn decks_keep_their_numbers_while_a_directory_before_them_cannot_be_read() {
    if !trace::is_possible() {
        return;
    }
    let course = Course::new();
    course.builds();
    course.write(
        "slides/m/topic_020_b/slides_b.py",
        &deck("B", "Another text"),
    );
    course.stir("slides/m/topic_010_a");
    let ended = course.build_without("slides/m/topic_010_a", DENIED);
    assert_eq!(ended.code, 1, "{}", ended.said);
    course.is(&course.expected(), "after the checkpoint");

    // What was planned last counts, even if the course was not sealed after that.
    course.write(
        "slides/m/topic_010_a/deep/slides_more.py",
        &deck("More", "Some text"),
    );
    course.write(
        "slides/n/topic_010_c/slides_c.py",
        &deck("C", "{{ undefined_thing() }}"),
    );
    let (code, said) = course.build();
    assert_eq!(code, 1, "{said}");
    course.write(
        "slides/n/topic_010_c/slides_c.py",
        &deck("C", "[A](clm:a/slides_a) [B](clm:b)"),
    );
    course.write(
        "slides/m/topic_020_b/slides_b.py",
        &deck("B", "A third text"),
    );
    course.stir("slides/m");
    let ended = course.build_without("slides/m", DENIED);
    assert_eq!(ended.code, 1, "{}", ended.said);
    let made = tree(&course.root);
    let numbered = |name: &str| made.keys().any(|path| path.ends_with(name));
    assert!(numbered("04 B en.ipynb"), "{:#?}", made.keys());
    assert!(!numbered("03 B en.ipynb") && !numbered("01 B en.ipynb"));
    course.builds();
    course.is(&course.expected(), "at last");
}

#[test]
fn decks_whose_numbers_are_not_known_are_not_made() {
    if !trace::is_possible() {
        return;
    }
    for (path, is_made) in [
        ("slides/m/topic_010_a", "Two"),
        ("slides/m/topic_010_a/deep", "Two"),
        ("slides/m", "Two"),
        ("slides/n", "One"),
    ] {
        let course = Course::new();
        let ended = course.build_without(path, DENIED);
        let said = &ended.said;
        assert_eq!(ended.code, 1, "{path}: {said}");
        assert!(said.contains("are not made"), "{path}: {said}");
        assert!(!said.contains("there is no topic"), "{path}: {said}");
        let made = tree(&course.root);
        let decks = made.keys().filter(|path| path.starts_with("output"));
        let decks: Vec<_> = decks.filter(|path| path.ends_with(".ipynb")).collect();
        let is_there = |path: &&&String| path.contains(&format!("/{is_made}/"));
        // The page of the other section that leads to a deck of this one is not made either.
        assert!(
            decks.iter().any(|path| is_there(&path)),
            "{path}: {decks:#?} {said}"
        );
        assert!(
            decks.iter().all(|path| is_there(&path)),
            "{path}: {decks:#?} {said}"
        );
        let leads = decks.iter().any(|path| path.contains("C en"));
        assert!(!leads, "{path}: {decks:#?}");
        course.builds();
        course.is(&course.expected(), path);
    }
}

#[test]
fn a_watch_tries_again_what_it_could_not_read() {
    if !trace::is_possible() {
        return;
    }
    let course = Course::new();
    let file = course.dir.path().join("said");
    let said = File::create(&file).unwrap();
    let mut command = course.house.clm(&course.root, WATCH);
    command.stdout(said.try_clone().unwrap()).stderr(said);
    let plan = Plan {
        class: Class::Reading,
        at: 1,
        fault: Fault::FromHere(libc::EMFILE),
        only: Some("slides/m/topic_010_a"),
    };
    let expected = course.expected();
    let handle = Handle::default();
    let is_made = AtomicBool::new(false);
    let traced = std::thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(60) && !handle.has_ended() {
                let said = std::fs::read_to_string(&file).unwrap_or_default();
                if finished_runs(&file) > 0 && said.contains("cannot be read") {
                    handle.disarm();
                }
                if tree(&course.root) == expected {
                    is_made.store(true, Ordering::SeqCst);
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            handle.signal(libc::SIGTERM);
        });
        trace::run(&mut command, &course.root, Some(plan), &handle)
    });
    let said = std::fs::read_to_string(file).unwrap();
    assert!(traced.hit.is_some(), "{said}");
    assert!(said.contains("cannot be read"), "{said}");
    assert!(is_made.into_inner(), "{said}");
}
