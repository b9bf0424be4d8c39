//! `clm affected`, over several specifications.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use super::repository::Repository;
use super::{A, B};
use crate::support::{Course, Ran, ran};

/// Two courses in one repository that share a topic. Nothing is built.
fn courses() -> Course {
    let course = super::course();
    let spec = course.read("course.xml");
    course.write(
        "course-specs/first.xml",
        spec.replace("<topic>b</topic>", ""),
    );
    course.write("course-specs/both.xml", &spec);
    course.remove("course.xml");
    course
}

fn affected(course: &Course, args: &[&str]) -> Ran {
    let ran = ran(course
        .bare_command(&[&["affected"], args].concat())
        .output()
        .unwrap());
    assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
    ran
}

fn lines(course: &Course, args: &[&str]) -> Vec<String> {
    let ran = affected(course, args);
    ran.stdout.lines().map(str::to_owned).collect()
}

fn report(course: &Course, args: &[&str]) -> Value {
    let ran = affected(course, &[&["--json"], args].concat());
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The answer to a list on the standard input.
fn piped(course: &Course, list: &[u8]) -> Vec<String> {
    let mut command = course.bare_command(&["affected", "-"]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    child.stdin.take().unwrap().write_all(list).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

const FIRST: &str = "course-specs/first.xml";
const BOTH: &str = "course-specs/both.xml";

#[test]
fn the_specifications_that_depend_on_files_are_listed_without_records() {
    let course = courses();
    let repository = Repository::of(&course);
    assert_eq!(lines(&course, &[A]), [BOTH, FIRST]);
    assert_eq!(lines(&course, &[B]), [BOTH]);
    assert_eq!(
        lines(&course, &["slides/m/topic_020_b/data/Two.csv"]),
        [BOTH]
    );
    assert_eq!(
        lines(&course, &["slides/m/topic_020_b"]),
        [BOTH],
        "a directory"
    );
    assert_eq!(lines(&course, &[FIRST]), [FIRST]);
    assert_eq!(lines(&course, &["README.md", "/etc/passwd"]), [""; 0]);
    for all in [
        "clm.toml",
        "clm.lock",
        ".env",
        "lib/helper.py",
        "slides/common/x.csv",
    ] {
        assert_eq!(lines(&course, &[all]), [BOTH, FIRST], "{all}");
    }
    assert_eq!(
        lines(&course, &["--specs", FIRST, "--since", "HEAD"]),
        [""; 0]
    );
    // By what git knows, and by a list of another program.
    course.edit(B, "Prose", "Other");
    assert_eq!(lines(&course, &["--since", "HEAD"]), [BOTH]);
    repository.commit("second");
    assert_eq!(lines(&course, &["--since", "HEAD"]), [""; 0]);
    assert_eq!(
        lines(&course, &["--affected-by", "HEAD~1", "README.md"]),
        [BOTH]
    );
    assert_eq!(piped(&course, b""), [""; 0]);
    assert_eq!(
        piped(&course, format!("README.md\n{B}\n").as_bytes()),
        [BOTH]
    );
    assert_eq!(
        piped(&course, format!("{A}\0{B}\0").as_bytes()),
        [BOTH, FIRST]
    );
    let quoted = "slides/m/topic_020_b/data/ü.csv";
    course.write(quoted, "1\n");
    repository.git(&["add", "-A"]);
    let list = repository.git(&["diff", "--cached", "--name-only"]);
    assert!(list.starts_with('"'), "{list}");
    assert_eq!(piped(&course, list.as_bytes()), [BOTH]);
    // Nothing was recorded, made or started.
    assert!(!course.path(".clm").exists() && !course.path("output").exists());
}

#[test]
fn outputs_sources_and_reasons_are_told() {
    let course = courses();
    let _repository = Repository::of(&course);
    let said = report(
        &course,
        &[
            B,
            "README.md",
            "../elsewhere.txt",
            "slides/m/topic_030_c/x.csv",
        ],
    );
    let specs = said["specs"].as_array().unwrap();
    assert_eq!(specs.len(), 1, "{said:#}");
    assert_eq!(specs[0]["spec"], BOTH);
    assert_eq!(specs[0]["reason"], format!("it depends on `{B}`"));
    assert_eq!(specs[0]["sources"], json!([B]));
    assert_eq!(specs[0]["removed"], json!([]));
    assert_eq!(
        said["unknown"],
        json!(["README.md", "slides/m/topic_030_c/x.csv"])
    );
    let outside = said["outside"].as_array().unwrap();
    assert!(
        outside[0].as_str().unwrap().ends_with("/elsewhere.txt"),
        "{said:#}"
    );
    let outputs = specs[0]["outputs"].as_array().unwrap();
    assert!(
        outputs
            .iter()
            .all(|path| path.as_str().unwrap().contains("02 Two.")),
        "{said:#}"
    );
    assert_eq!(lines(&course, &["--outputs", B]).len(), outputs.len());
    // What is listed is what a build makes.
    let built = course.build(&["--fast", BOTH]);
    assert_eq!(built.code, 0, "{}", built.stdout);
    let listed = |path: &String| {
        outputs
            .iter()
            .any(|output| *output == format!("output/{path}"))
    };
    let made: Vec<String> = course.outputs().into_keys().collect();
    assert!(
        made.iter()
            .filter(|path| path.contains("02 Two."))
            .all(listed)
    );
    assert!(
        !made
            .iter()
            .filter(|path| !path.contains("02 Two."))
            .any(listed)
    );
}

#[test]
fn deleted_files_concern_what_depended_on_them() {
    let course = courses();
    let repository = Repository::of(&course);
    // The second deck gets another number.
    course.remove(A);
    let by_name = report(&course, &[A]);
    let by_git = report(&course, &["--since", "HEAD"]);
    for said in [&by_name, &by_git] {
        let specs = said["specs"].as_array().unwrap();
        assert_eq!(specs.len(), 2, "{said:#}");
        assert_eq!(specs[0]["sources"], json!([B]), "{said:#}");
        assert_eq!(specs[1]["sources"], json!([]), "{said:#}");
        let removed = specs[0]["removed"].as_array().unwrap();
        assert!(
            removed
                .iter()
                .any(|path| path.as_str().unwrap().contains("01 ")),
            "{said:#}"
        );
        assert_eq!(said["unknown"], json!([]));
    }
    repository.commit("second");
    // A data file: its copies, and the decks beside it.
    let data = "slides/m/topic_020_b/data/Two.csv";
    course.remove(data);
    for args in [&[data][..], &["--since", "HEAD"]] {
        let said = report(&course, args);
        assert_eq!(said["specs"][0]["spec"], BOTH, "{said:#}");
        assert_eq!(said["specs"][0]["sources"], json!([B]), "{said:#}");
        assert_eq!(said["specs"].as_array().unwrap().len(), 1);
    }
    // A topic that is renamed.
    repository.commit("third");
    let (from, to) = ("slides/m/topic_020_b", "slides/m/topic_005_b");
    std::fs::rename(course.path(from), course.path(to)).unwrap();
    assert_eq!(lines(&course, &["--since", "HEAD"]), [BOTH]);
    assert_eq!(lines(&course, &[&format!("{from}/slides_b.py")]), [BOTH]);
}

#[test]
fn a_broken_specification_is_told_and_counts_as_affected() {
    let course = courses();
    course.write("course-specs/broken.xml", "<course>");
    let ran = affected(&course, &[B]);
    assert_eq!(ran.stdout, format!("{BOTH}\ncourse-specs/broken.xml\n"));
    assert!(ran.stderr.contains("broken.xml:1"), "{}", ran.stderr);
    let said = report(
        &course,
        &["--specs", "course-specs/broken.xml", FIRST, "--", B],
    );
    let specs = said["specs"].as_array().unwrap();
    assert_eq!(specs.len(), 1, "{said:#}");
    assert!(
        specs[0]["reason"]
            .as_str()
            .unwrap()
            .starts_with("it cannot be planned: ")
    );
    // Not one that does not exist.
    let said = report(&course, &["--specs", "course-specs/no.xml", "--", B]);
    assert_eq!(said["specs"].as_array().unwrap().len(), 1);
}

#[test]
fn what_earlier_builds_recorded_makes_the_answer_exact() {
    let course = courses();
    assert_eq!(lines(&course, &["lib/helper.py"]), [BOTH, FIRST]);
    crate::support::renderers::provide(crate::support::renderers::PYTHON);
    for spec in [FIRST, BOTH] {
        assert_eq!(course.build(&[spec]).code, 0);
    }
    assert_eq!(lines(&course, &["lib/helper.py"]), [""; 0]);
    assert_eq!(lines(&course, &[B]), [BOTH]);
}

#[test]
fn commands_that_ask_for_nothing_are_errors() {
    let course = courses();
    let said = |args: &[&str]| {
        let ran = ran(course.bare_command(args).output().unwrap());
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stdout);
        assert_eq!(ran.stdout, "");
        ran.stderr
    };
    assert!(said(&["affected"]).contains("`--since REV`"));
    assert!(said(&["affected", "--since", "HEAD"]).contains("not in the working tree of a git"));
    let empty = tempfile::tempdir().unwrap();
    let mut command = course.bare_command(&["affected", "x"]);
    let output = command.current_dir(empty.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
