//! Files of others, where outputs belong and where paths lead: none is ever lost or published, and one that is in the way stops
//! nothing else.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use clm::testing::events::Severity;

use crate::support::{Course, Ran};

const OUT: &str = "output/course-en/Slides/Notebooks/Completed/Part";
const MANIFEST: &str = "output/.clm-manifest.json";

/// A course whose only outputs are copies: one place for each file of `topic_010_one`.
fn course() -> Course {
    let course = Course::with_topics(&["one", "two"]);
    course.edit(
        "course.xml",
        "</course>",
        "<output-targets><output-target name=\"all\"><path>output</path><kinds><kind>completed</kind></kinds>\
         <formats><format>notebook</format></formats><languages><language>en</language></languages>\
         </output-target></output-targets>\n</course>",
    );
    course.write("slides/m/topic_010_one/a.csv", "made of a\n");
    course.write("slides/m/topic_010_one/sub/b.csv", "made of b\n");
    course.write("slides/m/topic_020_two/c.csv", "made of c\n");
    course
}

fn out(name: &str) -> String {
    format!("{OUT}/{name}")
}

/// Texts of all regular files that were moved aside, with their paths below the day.
fn replaced(course: &Course) -> Vec<(String, String)> {
    let all = course.path(".clm/replaced");
    let mut dirs = vec![all.clone()];
    let mut found = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path();
                let below = path.strip_prefix(&all).unwrap().to_str().unwrap();
                let below = below.split_once('/').unwrap().1.to_owned();
                found.push((below, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

fn is_replaced(course: &Course, name: &str, text: &str) -> bool {
    replaced(course).contains(&(out(name), text.to_owned()))
}

/// Warnings about files that were moved aside.
fn warnings(ran: &Ran) -> Vec<String> {
    let diagnostics = ran.diagnostics();
    let warnings = diagnostics
        .into_iter()
        .filter(|found| found.severity == Severity::Warning);
    warnings
        .map(|found| found.message.clone())
        .filter(|message| message.contains("did not make"))
        .collect()
}

#[test]
fn bytes_of_others_are_moved_aside_with_one_warning() {
    let course = course();
    course.write(&out("a.csv"), "by hand");
    course.write(&out("sub/b.csv"), "by hand, too");
    course.write(&out("c.csv"), "made of c\n");
    course.write(&out("notes.txt"), "of no concern");
    let ran = course.built();
    assert_eq!(course.read(&out("a.csv")), "made of a\n");
    assert!(is_replaced(&course, "a.csv", "by hand"));
    assert!(is_replaced(&course, "sub/b.csv", "by hand, too"));
    assert_eq!(course.read(&out("notes.txt")), "of no concern");
    let [warning] = &warnings(&ran)[..] else {
        panic!("{}", ran.stdout);
    };
    for part in ["a.csv", "sub/b.csv", ".clm/replaced/"] {
        assert!(warning.contains(part), "{warning}");
    }
    assert!(warnings(&course.built()).is_empty());

    // What clm wrote is overwritten, without a word.
    course.write("slides/m/topic_010_one/a.csv", "made of a new a\n");
    assert!(warnings(&course.built()).is_empty());
    assert_eq!(course.read(&out("a.csv")), "made of a new a\n");
    assert_eq!(replaced(&course).len(), 2);

    // An output that somebody edited is made again, and the edit is kept.
    course.write(&out("a.csv"), "edited");
    assert_eq!(warnings(&course.built()).len(), 1);
    assert!(is_replaced(&course, "a.csv", "edited"));

    // A file with the very bytes of an output was not written by clm: its topic goes, and it is not lost.
    course.edit("course.xml", "<topic>two</topic>", "");
    let ran = course.built();
    assert_eq!(warnings(&ran).len(), 1, "{}", ran.stdout);
    assert!(!course.path(&out("c.csv")).exists());
    assert!(is_replaced(&course, "c.csv", "made of c\n"));
}

#[test]
fn an_output_that_was_left_alone_is_not_lost_when_its_topic_comes_back() {
    let course = course();
    course.built();
    course.write(&out("c.csv"), "edited");
    course.edit("course.xml", "<topic>two</topic>", "");
    let ran = course.built();
    assert!(ran.stdout.contains("it was not removed"), "{}", ran.stdout);
    course.edit(
        "course.xml",
        "<topic>one</topic>",
        "<topic>one</topic><topic>two</topic>",
    );
    let ran = course.built();
    assert_eq!(warnings(&ran).len(), 1, "{}", ran.stdout);
    assert_eq!(course.read(&out("c.csv")), "made of c\n");
    assert!(is_replaced(&course, "c.csv", "edited"));
}

#[test]
fn with_no_replace_only_the_outputs_that_are_occupied_fail() {
    let course = course();
    course.write(&out("a.csv"), "by hand");
    course.write(&out("c.csv/inner"), "by hand");
    let ran = course.build(&["--no-replace"]);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.counts().failed, 2, "{}", ran.stdout);
    let errors = ran.errors();
    assert_eq!(errors.len(), 2, "{errors:?}");
    for source in [
        "slides/m/topic_010_one/a.csv",
        "slides/m/topic_020_two/c.csv",
    ] {
        let error = errors
            .iter()
            .find(|error| error.file.as_deref() == Some(source));
        let hint = error.unwrap().hint.as_deref().unwrap();
        assert!(hint.contains("--no-replace"), "{hint}");
    }
    assert_eq!(course.read(&out("a.csv")), "by hand");
    assert_eq!(course.read(&out("c.csv/inner")), "by hand");
    assert_eq!(course.read(&out("sub/b.csv")), "made of b\n");
    assert!(!course.path(".clm/replaced").exists());
    // It stays an error until something is done about it.
    assert_eq!(course.build(&["--no-replace"]).counts().failed, 2);
    assert_eq!(warnings(&course.built()).len(), 1);
    assert_eq!(course.read(&out("a.csv")), "made of a\n");
    assert!(is_replaced(&course, "c.csv/inner", "by hand"));
}

#[test]
fn without_its_records_a_built_tree_is_still_known_by_its_manifest() {
    let course = course();
    course.write(&out("c.csv"), "made of c\n");
    course.built();
    std::fs::remove_dir_all(course.path(".clm")).unwrap();
    // Everything changes, something goes.
    course.write("slides/m/topic_010_one/a.csv", "made of a new a\n");
    course.remove("slides/m/topic_010_one/sub/b.csv");
    course.edit("course.xml", "<topic>two</topic>", "");
    let ran = course.built();
    assert!(warnings(&ran).is_empty(), "{}", ran.stdout);
    assert_eq!(course.read(&out("a.csv")), "made of a new a\n");
    assert!(!course.path(&out("sub")).exists(), "it is stale");
    // What was found there was never clm's, whatever the manifest lists.
    assert_eq!(course.read(&out("c.csv")), "made of c\n");

    // An edit beside lost records is still an edit.
    std::fs::remove_dir_all(course.path(".clm")).unwrap();
    course.write(&out("a.csv"), "edited");
    assert_eq!(warnings(&course.built()).len(), 1);
    assert!(is_replaced(&course, "a.csv", "edited"));
}

#[test]
fn a_tree_of_the_python_tool_is_taken_over() {
    let course = course();
    let file = |path: &str, text: &str| {
        course.write(&format!("output/{path}"), text);
        let sha256 =
            clm::testing::digest::sha256_of_file(&course.path(&format!("output/{path}"))).unwrap();
        serde_json::json!({
            "path": path, "section_id": null, "topic_id": "one", "kind": null, "format": "data", "language": "en",
            "content_hash": format!("sha256:{sha256}"),
        })
    };
    let below = OUT.strip_prefix("output/").unwrap();
    let mut files = vec![
        file(&format!("{below}/a.csv"), "an older a"),
        file("course-en/Slides/Notebooks/Completed/Old/x.csv", "stale"),
        file(
            "course-en/Slides/Notebooks/Completed/Old/edited.csv",
            "as it was built",
        ),
        file("../secret.txt", "of the author"),
    ];
    files[3]["path"] = "../secret.txt".into();
    let manifest = serde_json::json!({
        "version": 1, "spec": "course.xml", "target": "all", "source_commit": null, "source_dirty": null,
        "built_at": "2026-01-01T00:00:00.000000+00:00", "partial": false, "failed_topics": [], "files": files,
    });
    course.write(MANIFEST, manifest.to_string());
    course.write(
        "output/course-en/Slides/Notebooks/Completed/Old/edited.csv",
        "since edited",
    );
    let ran = course.built();
    assert!(warnings(&ran).is_empty(), "{}", ran.stdout);
    assert_eq!(course.read(&out("a.csv")), "made of a\n");
    let old = "output/course-en/Slides/Notebooks/Completed/Old";
    assert!(!course.path(&format!("{old}/x.csv")).exists());
    assert_eq!(course.read(&format!("{old}/edited.csv")), "since edited");
    assert_eq!(course.read("secret.txt"), "of the author");

    // A manifest of another specification says nothing about this one's outputs.
    let other = course_with_manifest_of_another(&course);
    course.built();
    assert_eq!(course.read(&other), "of another course");
}

fn course_with_manifest_of_another(course: &Course) -> String {
    std::fs::remove_dir_all(course.path(".clm")).unwrap();
    let path = "output/other-en/x.csv".to_owned();
    course.write(&path, "of another course");
    let sha256 = clm::testing::digest::sha256_of_file(&course.path(&path)).unwrap();
    let manifest = serde_json::json!({
        "version": 1, "spec": "other.xml",
        "files": [{"path": "other-en/x.csv", "content_hash": format!("sha256:{sha256}")}],
    });
    course.write(MANIFEST, manifest.to_string());
    path
}

/// Everything that can be where an output belongs and is no regular file.
#[test]
fn whatever_is_in_the_place_of_an_output_blocks_nothing_and_is_kept() {
    let course = course();
    let files = ["pipe", "socket", "link", "dangling", "dir", "device"];
    for name in files {
        course.write(
            &format!("slides/m/topic_010_one/{name}.csv"),
            format!("made of {name}\n"),
        );
    }
    course.mkdir(OUT);
    let at = |name: &str| course.path(&out(&format!("{name}.csv")));
    nix_mkfifo(&at("pipe"));
    let _listener = UnixListener::bind(at("socket")).unwrap();
    course.write("target.txt", "behind the link");
    symlink(course.path("target.txt"), at("link")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    symlink("/dev/zero", at("device")).unwrap();
    course.write(&out("dir.csv/deep/of the author.txt"), "by hand");
    // So can a manifest, and what a directory is made for.
    nix_mkfifo(&course.path(MANIFEST));
    course.write(&out("sub"), "a file where a directory belongs");
    let ran = course.built();
    for name in files {
        assert_eq!(
            course.read(&out(&format!("{name}.csv"))),
            format!("made of {name}\n")
        );
    }
    assert_eq!(course.read(&out("sub/b.csv")), "made of b\n");
    assert_eq!(course.read("target.txt"), "behind the link");
    assert!(course.read(MANIFEST).contains("pipe.csv"));
    assert_eq!(warnings(&ran).len(), 1, "{}", ran.stdout);
    assert!(is_replaced(
        &course,
        "sub",
        "a file where a directory belongs"
    ));
    assert!(is_replaced(
        &course,
        "dir.csv/deep/of the author.txt",
        "by hand"
    ));
    assert!(warnings(&course.built()).is_empty());
}

fn nix_mkfifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

#[test]
fn what_was_a_file_and_is_a_directory_now_is_built_and_the_reverse() {
    let course = course();
    course.write("slides/m/topic_010_one/thing", "a file");
    course.built();
    for _ in 0..2 {
        course.remove("slides/m/topic_010_one/thing");
        course.write("slides/m/topic_010_one/thing/inner.txt", "inside");
        course.write("slides/m/topic_010_one/thing/deep/er.txt", "deep inside");
        let ran = course.built();
        assert!(warnings(&ran).is_empty(), "{}", ran.stdout);
        assert_eq!(course.read(&out("thing/inner.txt")), "inside");
        assert_eq!(course.read(&out("a.csv")), "made of a\n");
        std::fs::remove_dir_all(course.path("slides/m/topic_010_one/thing")).unwrap();
        course.write("slides/m/topic_010_one/thing", "a file again");
        let ran = course.built();
        assert!(warnings(&ran).is_empty(), "{}", ran.stdout);
        assert_eq!(course.read(&out("thing")), "a file again");
    }
    assert!(course.build(&[]).started().is_empty());
    // What the author put beside the outputs moves with its directory.
    course.remove("slides/m/topic_010_one/thing");
    course.write("slides/m/topic_010_one/thing/inner.txt", "inside");
    course.built();
    course.write(&out("thing/notes.txt"), "by hand");
    std::fs::remove_dir_all(course.path("slides/m/topic_010_one/thing")).unwrap();
    course.write("slides/m/topic_010_one/thing", "a file again");
    assert_eq!(warnings(&course.built()).len(), 1);
    assert_eq!(course.read(&out("thing")), "a file again");
    assert!(is_replaced(&course, "thing/notes.txt", "by hand"));
}

#[test]
fn an_output_that_cannot_be_written_stops_only_itself() {
    let course = course();
    let title = "x".repeat(300);
    course.write(
        "slides/m/topic_010_one/slides_long.py",
        format!("# {{% from 'macros.j2' import header %}}\n# {{{{ header(\"{title}\", \"{title}\") }}}}\n\n# %%\nprint(1)\n"),
    );
    course.write(&out("c.csv/.git/HEAD"), "a repository");
    let ran = course.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert_eq!(ran.counts().failed, 2, "{}", ran.stdout);
    let error = |file: &str| {
        let errors = ran.errors();
        let found = errors
            .iter()
            .find(|error| error.file.as_deref() == Some(file));
        found
            .unwrap_or_else(|| panic!("{errors:?}"))
            .message
            .clone()
    };
    let message = error("slides/m/topic_010_one/slides_long.py");
    assert!(message.contains("name too long"), "{message}");
    let message = error("slides/m/topic_020_two/c.csv");
    assert!(message.contains("there is a directory"), "{message}");
    assert_eq!(course.read(&out("a.csv")), "made of a\n");
    assert_eq!(course.read(&out("c.csv/.git/HEAD")), "a repository");
    // It is no lasting failure.
    std::fs::remove_dir_all(course.path(&out("c.csv"))).unwrap();
    course.edit("slides/m/topic_010_one/slides_long.py", &title, "Short");
    course.built();
    assert_eq!(course.read(&out("c.csv")), "made of c\n");
}

#[test]
fn a_diagram_of_the_author_in_img_generated_is_kept() {
    let course = course();
    course.write(
        "slides/m/topic_010_one/pu/d.pu",
        "@startuml\nclass A\n@enduml\n",
    );
    course.write(
        "slides/m/topic_010_one/img-generated/d.png",
        "drawn by hand",
    );
    let ran = course.built();
    assert_eq!(warnings(&ran).len(), 1, "{}", ran.stdout);
    let drawn = course.path("slides/m/topic_010_one/img-generated/d.png");
    assert!(std::fs::read(drawn).unwrap().starts_with(b"\x89PNG"));
    assert_eq!(
        replaced(&course),
        [(
            "slides/m/topic_010_one/img-generated/d.png".to_owned(),
            "drawn by hand".to_owned()
        )]
    );
    assert!(course.build(&[]).started().is_empty());
}

/// The manifest names what is committed, although nothing was stale.
#[test]
fn manifests_name_the_commit_after_it_was_made() {
    let course = course();
    course.write(".gitignore", "output\n.clm\n");
    let git = |args: &[&str]| {
        let git = std::process::Command::new("git")
            .arg("-C")
            .arg(course.root())
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(args)
            .output()
            .unwrap();
        assert!(git.status.success(), "{args:?}");
        String::from_utf8(git.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "first"]);
    let manifest = || {
        let manifest: serde_json::Value = serde_json::from_str(&course.read(MANIFEST)).unwrap();
        let commit = manifest["source_commit"].as_str().unwrap().to_owned();
        (commit, manifest["source_dirty"].as_bool().unwrap())
    };
    course.built();
    let first = git(&["rev-parse", "HEAD"]);
    assert_eq!(manifest(), (first.clone(), false));
    course.write("slides/m/topic_010_one/a.csv", "edited\n");
    course.built();
    assert_eq!(manifest(), (first, true));
    git(&["commit", "-q", "-a", "-m", "second"]);
    assert!(course.built().started().is_empty());
    let second = git(&["rev-parse", "HEAD"]);
    assert_eq!(manifest(), (second.clone(), false));
    // Nothing changed: nothing is written.
    let text = course.read(MANIFEST);
    course.built();
    assert_eq!(course.read(MANIFEST), text);
    // A change of sources that are no inputs is seen by the next build that has something to look at.
    course.write("slides/m/unused/file.txt", "new");
    course.built();
    assert_eq!(manifest(), (second, true));
}

/// Everything that a course names and that a link puts elsewhere is an error with its line, and a way out.
#[test]
fn links_that_leave_the_course_are_errors_wherever_they_are_named() {
    let course = course();
    let outside = tempfile::tempdir().unwrap();
    let outside = outside.path().canonicalize().unwrap();
    std::fs::create_dir(outside.join("sub")).unwrap();
    for name in ["secret.txt", "sub/secret.txt"] {
        std::fs::write(outside.join(name), "secret").unwrap();
    }
    course.mkdir("extra");
    course.mkdir("shared");
    symlink(&outside, course.path("code")).unwrap();
    symlink(outside.join("sub"), course.path("extra/sub")).unwrap();
    symlink(outside.join("secret.txt"), course.path("shared/file.txt")).unwrap();
    symlink(&outside, course.path("shared/dir")).unwrap();
    symlink(
        outside.join("secret.txt"),
        course.path("slides/m/topic_010_one/data.txt"),
    )
    .unwrap();
    course.write(
        "slides/m/topic_010_one/slides_one.py",
        "# %% [markdown]\n# {% include 'data.txt' %}\n",
    );
    course.edit(
        "course.xml",
        "<topic>two</topic>",
        "<topic id=\"two\">\n<include source=\"shared/file.txt\"/>\n<include source=\"shared/dir\" as=\"d\"/>\n\
         <dir-group><name>Code</name><path>code</path></dir-group>\n\
         <dir-group><name>Extra</name><path>extra</path><subdirs><subdir>sub</subdir></subdirs></dir-group>\n</topic>",
    );
    let ran = course.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let lines: Vec<&str> = Box::leak(course.read("course.xml").into_boxed_str())
        .lines()
        .collect();
    for name in ["shared/file.txt", "shared/dir", "`code`", "extra/sub"] {
        let errors = ran.errors();
        let error = errors.iter().find(|error| {
            error.file.as_deref() == Some("course.xml") && error.message.contains(name)
        });
        let error = error.unwrap_or_else(|| panic!("{name}: {errors:?}"));
        assert!(
            error.message.contains("leads out of the root directory"),
            "{error}"
        );
        assert!(error.hint.as_deref().unwrap().contains("CLM_ALLOWED_DIRS"));
        let line = lines[error.line.unwrap() as usize - 1];
        let word = name.trim_matches('`').rsplit('/').next().unwrap();
        assert!(line.contains(word) || line.contains("dir-group"), "{line}");
    }
    let secret = clm::testing::digest::Digest::of("secret");
    let outputs = course.outputs();
    assert!(
        !outputs.values().any(|digest| *digest == secret),
        "{outputs:?}"
    );
    for (path, _) in outputs {
        let text = std::fs::read(course.path("output").join(path)).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains("secret"));
    }
    assert_eq!(course.read(&out("a.csv")), "made of a\n");

    // Whoever builds may allow it.
    let allowed = course
        .command(&["build", "--message-format", "json"])
        .env("CLM_ALLOWED_DIRS", &outside)
        .output()
        .unwrap();
    let allowed = crate::support::ran(allowed);
    assert_eq!(allowed.code, 0, "{}", allowed.stdout);
    assert!(course.outputs().values().any(|digest| *digest == secret));
}

#[test]
fn settings_and_outputs_do_not_leave_the_course_unless_the_person_says_so() {
    let outside = tempfile::tempdir().unwrap();
    let outside = outside.path().canonicalize().unwrap();
    std::fs::write(outside.join("secret.env"), "TOKEN=secret\n").unwrap();
    std::fs::create_dir(outside.join("out")).unwrap();
    let path = |name: &str| outside.join(name).display().to_string();
    for (settings, line) in [
        ("[notebook]\ntemplates = \"templates\"\n".to_owned(), 2),
        ("[notebook]\nenv_file = \"linked.env\"\n".to_owned(), 2),
        (
            format!("[notebook]\n\nenv_file = \"{}\"\n", path("secret.env")),
            3,
        ),
        ("[notebook]\nkernel_python = \"venv\"\n".to_owned(), 2),
        ("[output]\ndir = \"../elsewhere\"\n".to_owned(), 2),
        (format!("[output]\ndir = \"{}\"\n", path("out")), 2),
    ] {
        let course = course();
        symlink(&outside, course.path("templates")).unwrap();
        symlink(&outside, course.path("venv")).unwrap();
        symlink(outside.join("secret.env"), course.path("linked.env")).unwrap();
        course.write("clm.toml", &settings);
        let ran = course.build(&[]);
        assert_eq!(ran.code, 2, "{settings}{}", ran.stdout);
        let text = format!("{}{}", ran.stdout, ran.stderr);
        assert!(
            text.contains("leads out of the root directory"),
            "{settings}{text}"
        );
        assert!(
            text.contains(&format!("\"line\":{line}"))
                || text.contains(&format!("clm.toml:{line}")),
            "{text}"
        );
    }
    let course = course();
    symlink(outside.join("secret.env"), course.path(".env")).unwrap();
    let ran = course.build(&[]);
    assert_eq!(ran.code, 2, "{}{}", ran.stdout, ran.stderr);
    course.remove(".env");
    // The output target itself is a link.
    symlink(outside.join("out"), course.path("output")).unwrap();
    let ran = course.build(&[]);
    assert_eq!(ran.code, 2, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(std::fs::read_dir(outside.join("out")).unwrap().count(), 0);
    let built = course.build(&["--output-dir", &path("out")]);
    assert_eq!(built.code, 0, "{}", built.stdout);
    assert!(outside.join("out/all/.clm-manifest.json").is_file());
    // So can be all sources.
    std::fs::rename(course.path("slides"), outside.join("slides")).unwrap();
    symlink(outside.join("slides"), course.path("slides")).unwrap();
    let ran = course.build(&["--output-dir", &path("out")]);
    assert_eq!(ran.code, 2, "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn pipes_and_devices_among_the_sources_block_nothing() {
    let course = course();
    nix_mkfifo(&course.path("slides/m/topic_010_one/pipe.csv"));
    nix_mkfifo(&course.path("real.pipe"));
    symlink(
        course.path("real.pipe"),
        course.path("slides/m/topic_010_one/linked.csv"),
    )
    .unwrap();
    nix_mkfifo(&course.path(".gitignore"));
    course.write("slides/m/topic_010_one/a\\b.csv", "a backslash");
    course.mkdir("slides/m/topic_010_one/img-generated");
    nix_mkfifo(&course.path("slides/m/topic_010_one/img-generated/x.png"));
    course.edit(
        "course.xml",
        "<topic>two</topic>",
        "<topic id=\"two\">\n<include source=\"real.pipe\" as=\"x.csv\"/></topic>",
    );
    let ran = course.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let said = ran.diagnostics();
    for name in ["pipe.csv", "linked.csv"] {
        let is_told = |found: &&clm::testing::events::Diagnostic| {
            found.message.contains("named pipe") && found.file.as_deref().unwrap().ends_with(name)
        };
        assert!(
            said.iter().copied().any(|found| is_told(&found)),
            "{name}: {said:?}"
        );
    }
    assert_eq!(course.read(&out("a.csv")), "made of a\n");
    assert_eq!(course.read(&out("a\\b.csv")), "a backslash");
    // Settings as well.
    for (name, code) in [("clm.toml", 2), (".env", 0), ("course.xml", 2)] {
        let _ = std::fs::remove_file(course.path(name));
        nix_mkfifo(&course.path(name));
        let ran = course.build(&[]);
        assert!(
            ran.code == code || ran.code == 1,
            "{name}: {}{}",
            ran.stdout,
            ran.stderr
        );
        course.remove(name);
    }
}

#[test]
fn holes_of_sources_are_holes_of_outputs() {
    use std::os::unix::fs::MetadataExt as _;
    let course = course();
    let file = course.path("slides/m/topic_010_one/huge.csv");
    std::fs::File::create(&file)
        .unwrap()
        .set_len(32 << 20)
        .unwrap();
    course.built();
    let copied = std::fs::metadata(course.path(&out("huge.csv"))).unwrap();
    assert_eq!(copied.len(), 32 << 20);
    assert!(
        copied.blocks() * 512 < 1 << 20,
        "{} blocks",
        copied.blocks()
    );
}
