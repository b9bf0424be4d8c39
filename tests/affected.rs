//! What a range of commits, or a list of files, concerns: `clm build --affected-by` and `clm affected`.

mod command;
mod protected;
mod random;
mod repository;
mod unseen;

use crate::support::renderers::{PLANTUML, PYTHON, provide};
use crate::support::{Course, Ran, Watching, ran};
use repository::{Repository, git};

fn deck(title: &str, text: &str) -> String {
    format!(
        "# j2 from 'macros.j2' import header\n# {{{{ header(\"{title}\", \"{title}\") }}}}\n\n\
         # %% [markdown] lang=\"en\"\n#\n# {text}\n\n# %% tags=[\"keep\"]\nx = 1\n"
    )
}

const A: &str = "slides/m/topic_010_a/slides_a.py";
const B: &str = "slides/m/topic_020_b/slides_b.py";

/// Two topics with a deck and a data file each.
fn course() -> Course {
    let course = Course::with_topics(&["a", "b"]);
    for (path, title) in [(A, "One"), (B, "Two")] {
        course.write(path, deck(title, "Prose"));
        let dir = path.rsplit_once('/').unwrap().0;
        course.write(&format!("{dir}/data/{title}.csv"), "1\n");
    }
    course
}

/// The sources of the actions that were begun.
fn begun(ran: &Ran) -> Vec<&str> {
    let mut sources: Vec<&str> = ran
        .started()
        .into_iter()
        .filter_map(|action| action.split(' ').nth(1))
        .collect();
    sources.dedup();
    sources
}

fn affected(course: &Course, args: &[&str]) -> Ran {
    let ran = course.build(&[&["--fast", "--affected-by"], args].concat());
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    ran
}

/// Whether a note contains a text.
fn tells(ran: &Ran, text: &str) -> bool {
    ran.notes().iter().any(|note| note.contains(text))
}

#[test]
fn only_what_a_range_touches_is_built_even_without_records() {
    let course = course();
    let repository = Repository::of(&course);
    // Not built yet, and nothing differs.
    let ran = affected(&course, &["HEAD"]);
    assert_eq!(begun(&ran), [""; 0], "{}", ran.stdout);
    assert!(
        ran.notes()
            .iter()
            .any(|note| note.contains("differs from `HEAD`"))
    );
    course.edit(A, "Prose", "Unstaged");
    assert_eq!(begun(&affected(&course, &["HEAD"])), [A]);
    assert_eq!(
        begun(&affected(&course, &["HEAD"])),
        [""; 0],
        "it is up to date"
    );
    course.edit(A, "Unstaged", "Staged");
    repository.git(&["add", "-A"]);
    assert_eq!(begun(&affected(&course, &["main"])), [A]);
    course.edit(A, "Staged", "Committed");
    repository.commit("second");
    assert_eq!(begun(&affected(&course, &["HEAD"])), [""; 0]);
    assert_eq!(begun(&affected(&course, &["HEAD~1..HEAD"])), [A]);
    let ran = course.build(&["--fast", "--since", "HEAD~1...", "--force"]);
    assert_eq!(begun(&ran), [A], "{}", ran.stdout);
    let data = "slides/m/topic_020_b/data/Two.csv";
    course.write(data, "2\n");
    assert_eq!(begun(&affected(&course, &["HEAD"])), [data]);
    // An untracked file, with a name that git quotes.
    let other = "slides/m/topic_020_b/data/\"ü\" \\t.csv";
    repository.commit("third");
    course.write(other, "3\n");
    let ran = affected(&course, &["HEAD"]);
    assert_eq!(ran.counts().written, 1, "{}", ran.stdout);
    // A file that git ignores is not seen.
    course.write(
        ".gitignore",
        "output\n.clm\nslides/m/topic_020_b/data\n.gitignore\n",
    );
    course.write("slides/m/topic_020_b/data/unseen.csv", "4\n");
    assert_eq!(begun(&affected(&course, &["HEAD"])), [""; 0]);
}

#[test]
fn a_check_of_a_range_is_about_the_range() {
    let course = course();
    let _repository = Repository::of(&course);
    let check = |args: &[&str]| {
        let ran = course.build(&[&["--fast", "--check"], args].concat());
        let about = |path: &str| ran.stdout.contains(&format!("\"source\":\"{path}\""));
        (ran.code, about(A), about(B))
    };
    assert_eq!(check(&[]), (4, true, true));
    assert_eq!(check(&["--affected-by", "HEAD"]), (0, false, false));
    course.edit(B, "Prose", "Other");
    assert_eq!(check(&["--affected-by", "HEAD"]), (4, false, true));
}

#[test]
fn what_moves_because_of_another_deck_is_built_as_well() {
    let course = course();
    let repository = Repository::of(&course);
    course.edit(B, "Prose", "[a](clm:a/slides_a)");
    repository.commit("second");
    assert_eq!(course.build(&["--fast"]).code, 0);
    // The deck that follows a new one gets another number.
    let new = "slides/m/topic_010_a/slides_0.py";
    course.write(new, deck("Zero", "Prose"));
    let ran = affected(&course, &["HEAD"]);
    let begun_by_new = begun(&ran);
    assert!(
        begun_by_new.contains(&new) && begun_by_new.contains(&B),
        "{begun_by_new:?}"
    );
    // A title is in the links of other decks.
    repository.commit("third");
    course.edit(A, "\"One\"", "\"Uno\"");
    let ran = affected(&course, &["HEAD"]);
    assert!(
        begun(&ran).contains(&A) && begun(&ran).contains(&B),
        "{}",
        ran.stdout
    );
    // Outputs of a deleted deck go.
    course.remove(new);
    let ran = affected(&course, &["HEAD"]);
    assert!(ran.counts().removed > 0, "{}", ran.stdout);
    assert_eq!(course.build(&["--fast", "--check"]).code, 0);
}

#[test]
fn files_that_concern_everything_build_everything() {
    let course = course();
    let repository = Repository::of(&course);
    course.build(&["--fast"]);
    let forced = |what: &str, change: &dyn Fn()| {
        repository.commit(what);
        change();
        let ran = course.build(&["--fast", "--affected-by", "HEAD", "--force"]);
        assert_eq!(ran.code, 0, "{what}: {}{}", ran.stdout, ran.stderr);
        let begun = begun(&ran)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        let is_all = [A, B]
            .iter()
            .all(|path| begun.contains(&(*path).to_owned()));
        (is_all, begun)
    };
    for (path, text) in [
        ("clm.toml", "[images]\nmode = \"shared\"\n"),
        ("clm.lock", "version = 1\n"),
        (".env", "A=1\n"),
    ] {
        let (is_all, begun) = forced(path, &|| course.write(path, text));
        assert!(is_all, "{path}: {begun:?}");
    }
    let rename = || course.edit("course.xml", "<en>Part</en>", "<en>Piece</en>");
    assert!(forced("the specification", &rename).0);
    // What has nothing to do with the course concerns nothing.
    for path in [
        "README.md",
        ".github/workflows/a.yml",
        "slides/m/topic_030_other/slides_o.py",
    ] {
        let (_, begun) = forced(path, &|| course.write(path, "text\n"));
        assert_eq!(begun, [""; 0], "{path}");
    }
}

#[test]
fn decks_that_never_ran_may_read_what_nothing_is_known_to_read() {
    provide(PYTHON);
    let course = course();
    let repository = Repository::of(&course);
    let stale = |revision: &str| {
        let ran = course.build(&["--check", "--affected-by", revision]);
        let about = |path: &str| ran.stdout.contains(&format!("execute {path}"));
        (about(A), about(B))
    };
    // In the topic's directory, but no source of it.
    course.write("slides/m/topic_010_a/out/table.bin", "1");
    assert_eq!(stale("HEAD"), (true, false));
    // Among the sources, and a module.
    for path in ["slides/common/table.csv", "lib/helper.py"] {
        repository.commit("before");
        course.write(path, "1");
        assert_eq!(stale("HEAD"), (true, true), "{path}");
    }
    // When they ran, it is known what they read.
    course.built();
    repository.commit("built");
    course.write("lib/helper.py", "2");
    course.write("slides/m/topic_010_a/out/table.bin", "2");
    assert_eq!(course.build(&["--check", "--affected-by", "HEAD"]).code, 0);
}

#[test]
fn a_module_that_a_deck_imports_from_elsewhere_is_known_by_its_last_run() {
    provide(PYTHON);
    let course = course();
    let code = "import sys\nsys.path.insert(0, sys.argv[0] and '{root}/lib')\nimport helper\n";
    let code = code.replace("{root}", course.root().to_str().unwrap());
    course.edit(A, "x = 1\n", &code);
    course.write("lib/helper.py", "x = 1\n");
    let _repository = Repository::of(&course);
    course.built();
    course.write("lib/helper.py", "x = 2\n");
    let ran = course.build(&["--affected-by", "HEAD"]);
    let jobs = ran.jobs();
    assert!(
        jobs.iter()
            .any(|job| job.starts_with(&format!("execute {A}"))),
        "{jobs:?}"
    );
    assert!(!jobs.iter().any(|job| job.contains(B)), "{jobs:?}");
}

#[test]
fn diagrams_that_include_a_touched_file_are_affected() {
    provide(PLANTUML);
    let course = Course::with_topics(&["a"]);
    let style = "slides/m/topic_010_a/pu/style.iuml";
    course.write(style, "skinparam monochrome true\n");
    let with = "slides/m/topic_010_a/pu/with.pu";
    course.write(with, "@startuml\n!include style.iuml\nclass A\n@enduml\n");
    course.write(
        "slides/m/topic_010_a/pu/without.pu",
        "@startuml\nclass B\n@enduml\n",
    );
    let _repository = Repository::of(&course);
    let job = format!("plantuml {with}");
    course.write(style, "skinparam monochrome false\n");
    let check = course.build(&["--check", "--affected-by", "HEAD"]);
    assert!(
        check.stdout.contains(&job),
        "it never ran: {}",
        check.stdout
    );
    course.built();
    course.write(style, "skinparam handwritten true\n");
    let ran = course.build(&["--affected-by", "HEAD"]);
    assert_eq!(ran.jobs(), [job.as_str()], "{}", ran.stdout);
    // So is one whose picture someone removed that is committed.
    course.write(".gitignore", ".clm\n");
    let repository = Repository(&course);
    repository.commit("with outputs");
    let picture = course
        .outputs()
        .into_keys()
        .find(|path| path.ends_with("with.png"));
    course.remove(&format!("output/{}", picture.unwrap()));
    let ran = course.build(&["--affected-by", "HEAD"]);
    assert_eq!(ran.counts().restored, 1, "{}", ran.stdout);
}

#[test]
fn new_outputs_that_git_sees_are_no_reason_to_build() {
    let course = course();
    let repository = Repository::of(&course);
    course.write(".gitignore", ".clm\n");
    repository.commit("outputs are not ignored");
    course.build(&["--fast", "--only", A]);
    assert!(
        repository
            .git(&["status", "--porcelain"])
            .contains("output/")
    );
    assert_eq!(begun(&affected(&course, &["HEAD", "--force"])), [""; 0]);
    // Those that are committed and gone are made again.
    repository.commit("with outputs");
    let output = course.outputs().into_keys().next().unwrap();
    course.remove(&format!("output/{output}"));
    assert_eq!(begun(&affected(&course, &["HEAD"])), [A]);
    assert_eq!(repository.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_daemon_builds_the_same_part() {
    let course = course();
    course.write("clm.toml", "");
    let repository = Repository::of(&course);
    // Pages are left out, so that no renderer is needed.
    let watching = Watching::start(&course, &["--fast"]);
    watching.until_settled(&course);
    let built = |args: &[&str]| {
        let ran = course.build(&[&["--fast", "--force", "--affected-by"], args].concat());
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        let alone = ran
            .notes()
            .iter()
            .any(|note| note.contains("without the daemon"));
        assert!(!alone, "{}", ran.stdout);
        begun(&ran)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(built(&["HEAD"]), [""; 0]);
    course.edit(B, "Prose", "Other");
    watching.until_settled(&course);
    assert_eq!(built(&["HEAD"]), [B]);
    repository.commit("second");
    assert_eq!(built(&["HEAD~1..HEAD"]), [B]);
}

#[test]
fn a_course_below_the_root_of_a_repository_is_built_alike() {
    let course = course();
    let repository = Repository::of(&course);
    let sub = course.path("courses/one");
    std::fs::create_dir_all(&sub).unwrap();
    for name in ["slides", "course.xml"] {
        std::fs::rename(course.path(name), sub.join(name)).unwrap();
    }
    repository.commit("below");
    course.edit(&format!("courses/one/{A}"), "Prose", "Other");
    course.write("README.md", "outside\n");
    let mut command = course.command(&["build", "--fast", "--message-format", "json", "-v"]);
    command.args(["--affected-by", "HEAD", "courses/one/course.xml"]);
    // As in a hook of git, which names another repository.
    command
        .env("GIT_DIR", "/nowhere")
        .env("GIT_INDEX_FILE", "/nowhere/index");
    let ran = ran(command.output().unwrap());
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(begun(&ran), [A]);
    let is_told = |note: &&str| note.contains("README.md` is no source");
    assert!(ran.notes().iter().any(is_told), "{}", ran.stdout);
}

#[test]
fn ranges_that_git_does_not_know_are_errors() {
    let course = course();
    let said = |args: &[&str]| {
        let ran = course.build(&[&["--fast"], args].concat());
        assert_eq!(ran.code, 2, "{args:?}: {}{}", ran.stdout, ran.stderr);
        assert!(!course.path("output").exists(), "{args:?}");
        format!("{}{}", ran.stdout, ran.stderr)
    };
    assert!(said(&["--affected-by", "HEAD"]).contains("not in the working tree of a git"));
    let repository = Repository::of(&course);
    for wrong in [
        "no-such",
        "no-such..HEAD",
        "HEAD..no-such",
        "HEAD...no-such",
        "-x",
        "",
    ] {
        let said = said(&[&format!("--affected-by={wrong}")]);
        assert!(said.contains("git knows no commit"), "{wrong}: {said}");
    }
    assert!(said(&["--affected-by", "HEAD", "--only", A]).contains("cannot be used with"));
    // Two histories without a common commit.
    repository.git(&["checkout", "-q", "--orphan", "other"]);
    repository.commit("another beginning");
    assert!(said(&["--affected-by", "main...HEAD"]).contains("no commit in common"));
    // A shallow clone says what is missing.
    for _ in 0..3 {
        repository.commit("more");
    }
    let clones = tempfile::tempdir().unwrap();
    let url = format!("file://{}", course.root().display());
    git(
        clones.path(),
        &["clone", "-q", "--depth", "1", &url, "clone"],
    );
    let mut command = course.command(&["build", "--fast", "--affected-by", "HEAD~2"]);
    let output = command
        .current_dir(clones.path().join("clone"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--unshallow"), "{said}");
}

#[test]
fn submodules_and_links_mean_everything() {
    let course = course();
    let other = tempfile::tempdir().unwrap();
    git(other.path(), &["init", "-q"]);
    std::fs::write(other.path().join("a.csv"), "1\n").unwrap();
    git(other.path(), &["add", "-A"]);
    git(other.path(), &["commit", "-q", "-m", "first"]);
    let repository = Repository::of(&course);
    let url = other.path().to_str().unwrap();
    repository.git(&[
        "submodule",
        "--quiet",
        "add",
        url,
        "slides/m/topic_010_a/sub",
    ]);
    repository.commit("with a submodule");
    course.build(&["--fast"]);
    let all = || {
        let ran = affected(&course, &["HEAD", "--force"]);
        [A, B].iter().all(|path| begun(&ran).contains(path))
    };
    assert!(!all());
    course.write("slides/m/topic_010_a/sub/a.csv", "2\n");
    assert!(all());
    repository.git(&["-C", "slides/m/topic_010_a/sub", "checkout", "-q", "a.csv"]);
    assert!(!all());
    std::os::unix::fs::symlink(
        "slides_b.py",
        course.path("slides/m/topic_020_b/slides_c.py"),
    )
    .unwrap();
    repository.commit("with a link");
    assert!(!all());
    // The link shows what its target shows.
    course.edit(B, "Prose", "Other");
    let ran = affected(&course, &["HEAD"]);
    assert!(
        begun(&ran).contains(&"slides/m/topic_020_b/slides_c.py"),
        "{}",
        ran.stdout
    );
    course.remove("slides/m/topic_020_b/slides_c.py");
    assert!(all());
}
