//! What git does not tell of a range.

use super::repository::{Repository, git};
use super::{A, B, affected, begun, course, tells};
use crate::support::ran;
use crate::support::renderers::{PYTHON, provide};

#[test]
fn a_range_whose_end_is_not_checked_out_is_told() {
    let course = course();
    let repository = Repository::of(&course);
    repository.commit("second");
    repository.git(&["branch", "same"]);
    let told = |range: &str| tells(&affected(&course, &[range]), "not what is checked out");
    assert!(told("HEAD..HEAD~1"));
    assert!(told("HEAD...HEAD~1"));
    for range in [
        "HEAD~1..HEAD",
        "HEAD~1..same",
        "HEAD~1...",
        "..main",
        "HEAD~1",
    ] {
        assert!(!told(range), "{range}");
    }
}

#[test]
fn files_that_git_is_told_not_to_look_at_may_have_changed() {
    for flag in ["--assume-unchanged", "--skip-worktree"] {
        let course = course();
        let repository = Repository::of(&course);
        course.edit(B, "Prose", "[a](clm:a/slides_a)");
        repository.commit("second");
        assert_eq!(course.build(&["--fast"]).code, 0);
        repository.git(&["update-index", flag, A]);
        assert_eq!(begun(&affected(&course, &["HEAD"])), [""; 0], "{flag}");
        course.edit(A, "Prose", "Other");
        assert_eq!(begun(&affected(&course, &["HEAD"])), [A], "{flag}");
        // The other deck has its title.
        course.edit(A, "\"One\"", "\"Uno\"");
        assert_eq!(repository.git(&["status", "--porcelain"]), "");
        let ran = affected(&course, &["HEAD"]);
        let built = begun(&ran);
        assert!(
            built.contains(&A) && built.contains(&B),
            "{flag}: {built:?}"
        );
        assert_eq!(course.build(&["--fast", "--check"]).code, 0);
    }
    // A sparse checkout does not have the files: that is no change.
    let course = course();
    let repository = Repository::of(&course);
    course.write("notes/a.txt", "1\n");
    repository.commit("with notes");
    repository.git(&["sparse-checkout", "set", "--no-cone", "/*", "!/notes"]);
    assert!(!course.path("notes").exists());
    let ran = affected(&course, &["HEAD"]);
    assert!(tells(&ran, "no source differs"), "{}", ran.stdout);
}

#[test]
fn a_course_that_git_ignores_is_built() {
    for ignored in ["courses", "courses/one/slides/", "*.xml"] {
        let top = course();
        let repository = Repository::of(&top);
        let sub = top.path("courses/one");
        std::fs::create_dir_all(&sub).unwrap();
        for name in ["slides", "course.xml"] {
            std::fs::rename(top.path(name), sub.join(name)).unwrap();
        }
        top.write(".gitignore", format!("output\n.clm\n{ignored}\n"));
        repository.commit("without the course");
        let mut command = top.command(&["build", "--fast", "--message-format", "json"]);
        command.args(["--affected-by", "HEAD", "courses/one/course.xml"]);
        let ran = ran(command.output().unwrap());
        assert_eq!(ran.code, 0, "{ignored}: {}{}", ran.stdout, ran.stderr);
        let is_begun = |path| begun(&ran).contains(path);
        assert!(is_begun(&A) && is_begun(&B), "{ignored}: {}", ran.stdout);
        assert!(
            tells(&ran, "is ignored by git"),
            "{ignored}: {}",
            ran.stdout
        );
    }
}

#[test]
fn earlier_contents_are_not_fetched_without_leave() {
    let course = course();
    let repository = Repository::of(&course);
    repository.git(&["config", "uploadpack.allowFilter", "true"]);
    course.edit(A, "Prose", "Other");
    repository.commit("second");
    let clones = tempfile::tempdir().unwrap();
    let url = format!("file://{}", course.root().display());
    let build = |name: &str, args: &[&str]| {
        let filter = ["clone", "-q", "--filter=blob:none", &url, name];
        git(clones.path(), &filter);
        let arguments = [
            "build",
            "--fast",
            "--message-format",
            "json",
            "--affected-by",
            "HEAD~1",
        ];
        let mut command = course.command(&[&arguments, args].concat());
        let clone = clones.path().join(name);
        let output = command.current_dir(&clone).output().unwrap();
        let ran = ran(output);
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        let missing = git(
            &clone,
            &["rev-list", "--objects", "--all", "--missing=print"],
        );
        (ran, missing.contains("\n?"))
    };
    let (ran, is_missing) = build("online", &[]);
    assert_eq!(begun(&ran), [A], "{}", ran.stdout);
    assert!(!is_missing);
    let (ran, is_missing) = build("offline", &["--offline"]);
    assert!(begun(&ran).contains(&A) && begun(&ran).contains(&B));
    assert!(is_missing);
    assert!(
        tells(&ran, "that may concern every output"),
        "{}",
        ran.stdout
    );
}

#[test]
fn sources_outside_of_the_repository_are_not_seen_and_always_built() {
    let course = course();
    let elsewhere = tempfile::tempdir().unwrap();
    let elsewhere = elsewhere.path().canonicalize().unwrap();
    let build = |args: &[&str]| {
        let mut command =
            course.command(&[&["build", "--fast", "--message-format", "json"], args].concat());
        let output = command.env("CLM_ALLOWED_DIRS", &elsewhere).output();
        let ran = ran(output.unwrap());
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        ran
    };
    let real = elsewhere.join("topics");
    std::fs::rename(course.path("slides/m"), &real).unwrap();
    std::os::unix::fs::symlink(&real, course.path("slides/m")).unwrap();
    let _repository = Repository::of(&course);
    build(&[]);
    course.edit(A, "Prose", "Other");
    let ran = build(&["--affected-by", "HEAD"]);
    assert_eq!(begun(&ran), [A], "{}", ran.stdout);
    assert!(tells(&ran, "slides/m"), "{}", ran.stdout);
}

#[test]
fn sources_in_another_part_of_the_repository_are_seen() {
    let top = course();
    let repository = Repository::of(&top);
    let sub = top.path("courses/one");
    std::fs::create_dir_all(&sub).unwrap();
    for name in ["slides", "course.xml"] {
        std::fs::rename(top.path(name), sub.join(name)).unwrap();
    }
    std::fs::rename(sub.join("slides/m/topic_010_a"), top.path("shared")).unwrap();
    std::os::unix::fs::symlink("../../../../shared", sub.join("slides/m/topic_010_a")).unwrap();
    repository.commit("below");
    let build = |args: &[&str]| {
        let mut command =
            top.command(&[&["build", "--fast", "--message-format", "json"], args].concat());
        command.arg("courses/one/course.xml");
        let output = command.env("CLM_ALLOWED_DIRS", top.root()).output();
        let ran = ran(output.unwrap());
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        ran
    };
    build(&[]);
    top.edit("shared/slides_a.py", "Prose", "Other");
    let ran = build(&["--affected-by=HEAD"]);
    assert_eq!(begun(&ran), [A], "{}", ran.stdout);
    let ran = build(&["--affected-by=HEAD", "--force"]);
    repository.commit("changed");
    assert!(begun(&ran).contains(&B), "{}", ran.stdout);
    // Other changes outside of the course do not matter.
    top.write("elsewhere.txt", "1\n");
    let ran = build(&["--affected-by=HEAD", "--force"]);
    assert_eq!(begun(&ran), [""; 0], "{}", ran.stdout);
}

#[test]
fn decks_that_never_ran_may_read_any_file_of_the_course() {
    provide(PYTHON);
    let course = course();
    course.write("measured/table.csv", "1\n");
    course.write("README.md", "1\n");
    course.write(".editorconfig", "1\n");
    let read = format!(
        "print(open({:?}).read())\n",
        course.path("measured/table.csv")
    );
    course.edit(A, "x = 1\n", &read);
    let repository = Repository::of(&course);
    course.write("measured/table.csv", "2\n");
    let stale = || {
        let ran = course.build(&["--check", "--affected-by", "HEAD"]);
        let about = |path: &str| ran.stdout.contains(&format!("execute {path}"));
        (about(A), about(B))
    };
    assert_eq!(stale(), (true, true));
    repository.commit("second");
    course.write("README.md", "2\n");
    course.write(".editorconfig", "2\n");
    assert_eq!(stale(), (false, false));
}
