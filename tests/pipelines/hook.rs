//! The hook that looks at staged files before a commit.

use std::path::Path;
use std::process::{Command, Output};

use super::project;
use crate::support::Course;

/// A repository with a course whose outputs are copies.
struct Repository(Course);

impl Repository {
    fn new() -> Self {
        let course = Course::with_topics(&["a", "b c"]);
        course.write("slides/m/topic_010_a/data/one.csv", "1\n");
        course.write("slides/m/topic_020_b c/data/two words.csv", "2\n");
        course.write("slides/m/topic_020_b c/data/more.csv", "2\n");
        course.write("README.md", "Read me\n");
        course.write(".gitignore", ".clm/\noutput/\n");
        let repository = Self(course);
        repository.git(&["init", "--quiet"]);
        repository.git(&["config", "user.name", "n"]);
        repository.git(&["config", "user.email", "e@example.org"]);
        repository.git(&["add", "--all"]);
        repository.git(&["commit", "--quiet", "-m", "one"]);
        repository.build();
        repository
    }

    fn with_clm(&self, command: &mut Command) -> Output {
        let bin = Path::new(env!("CARGO_BIN_EXE_clm")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", bin.display());
        command.env("PATH", path).env_remove("CI").output().unwrap()
    }

    fn git(&self, args: &[&str]) -> Output {
        let mut command = Command::new("git");
        let done = self.with_clm(command.args(args).current_dir(self.0.root()));
        assert!(
            done.status.success() || args[0] == "commit",
            "git {args:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        done
    }

    fn build(&self) {
        for spec in ["course.xml", "other/course-specs/other.xml"] {
            if self.0.path(spec).exists() {
                assert_eq!(self.0.clm(&["build", spec]).code, 0);
            }
        }
    }

    /// The exit code of the hook in a directory, and what it says.
    fn hook(&self, args: &[&str], dir: &str) -> (i32, String) {
        let mut command = Command::new(project("contrib/ci/pre-commit/clm-check"));
        let done = self.with_clm(command.args(args).current_dir(self.0.path(dir)));
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        (done.status.code().unwrap(), said)
    }

    /// Expects that the hook refuses what is staged until the course is built.
    fn expect_stale(&self, what: &str) {
        let (code, said) = self.hook(&[], "");
        assert_eq!(code, 4, "{what}: {said}");
        assert!(said.contains("hint: clm build "), "{what}: {said}");
        self.build();
        let (code, said) = self.hook(&[], "slides");
        assert_eq!(code, 0, "{what}: {said}");
        self.git(&["commit", "--quiet", "-m", what]);
    }
}

#[test]
fn what_is_staged_must_have_been_built() {
    let repository = Repository::new();
    let course = &repository.0;
    let spaced = "slides/m/topic_020_b c/data/two words.csv";
    assert_eq!(repository.hook(&[], "").0, 0, "nothing is staged");

    // Not staged: of no interest. Nothing that a course reads: neither.
    course.write(spaced, "2b\n");
    assert_eq!(repository.hook(&[], "").0, 0);
    course.write("README.md", "Read me again\n");
    repository.git(&["add", "README.md"]);
    assert_eq!(repository.hook(&[], "").0, 0);

    repository.git(&["add", spaced]);
    repository.expect_stale("a name with spaces");

    let renamed = "slides/m/topic_020_b c/data/drei wörter.csv";
    repository.git(&["mv", spaced, renamed]);
    repository.expect_stale("a renamed file");
    repository.git(&["rm", "--quiet", renamed]);
    repository.expect_stale("a deleted file");

    course.write("slides/m/topic_010_a/data/new.csv", "new\n");
    repository.git(&["add", "--all"]);
    assert_eq!(repository.hook(&["--build"], "").0, 0, "it builds");
    assert_eq!(repository.hook(&[], "").0, 0);

    course.edit("course.xml", "</topics>", "<topic>no</topic></topics>");
    repository.git(&["add", "--all"]);
    let (code, said) = repository.hook(&[], "");
    assert!(code == 1 && said.contains("course.xml:"), "{code}: {said}");
    course.write("course.xml", "<course>");
    repository.git(&["add", "--all"]);
    let (code, said) = repository.hook(&[], "");
    assert!(code == 2 && said.contains("course.xml:"), "{code}: {said}");
}

#[test]
fn the_hook_looks_at_all_courses_of_a_repository_and_stops_a_commit() {
    let repository = Repository::new();
    let course = &repository.0;
    let spec = course.read("course.xml").replace("<topic>b c</topic>", "");
    course.write("other/course-specs/other.xml", spec);
    course.write("other/slides/m/topic_010_a/data/three.csv", "3\n");
    repository.git(&["add", "--all"]);
    repository.build();
    repository.git(&["commit", "--quiet", "-m", "another course"]);

    let hooks = course.path(".git/hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    let script = project("contrib/ci/pre-commit/clm-check");
    std::os::unix::fs::symlink(script, hooks.join("pre-commit")).unwrap();
    course.write("other/slides/m/topic_010_a/data/three.csv", "3b\n");
    repository.git(&["add", "--all"]);
    let refused = repository.git(&["commit", "-m", "stale"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{said}");
    assert!(
        said.contains("hint: clm build other/course-specs/other.xml"),
        "{said}"
    );
    assert!(!said.contains("build course.xml"), "{said}");
    repository.build();
    let done = repository.git(&["commit", "-m", "built"]);
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );

    // Without clm there is an error, and no traceback.
    course.write("README.md", "x\n");
    repository.git(&["add", "--all"]);
    let python = super::found("python3");
    let path = format!("{}:/usr/bin:/bin", python.parent().unwrap().display());
    let mut command = Command::new("git");
    let done = command
        .args(["commit", "-m", "x"])
        .current_dir(course.root())
        .env("PATH", path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        !done.status.success() && said.contains("error: clm is not installed"),
        "{said}"
    );
}
