//! Archives of cached results: made in one checkout, used in another one, and refused when something is wrong with them.
//!
//! Most courses here need no renderer but PlantUML.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Course, Ran, Watching, ran, tree};

const DECK: &str = "slides/m/topic_010_a/slides_a.py";
const DIAGRAM: &str = "slides/m/topic_010_a/pu/flow.pu";
const FORMATS: [&str; 2] = ["--formats", "notebook,code"];

fn diagram(text: &str) -> String {
    format!("@startuml\nAlice -> Bob : {text}\n@enduml\n")
}

/// A course with a deck, two diagrams, one of which includes a file, and a file to copy.
fn course() -> Course {
    let course = Course::with_topics(&["a"]);
    course.write(
        DECK,
        "# j2 from 'macros.j2' import header\n# {{ header(\"Eins\", \"One\") }}\n\n# %%\n1 + 1\n",
    );
    course.write(DIAGRAM, diagram("one"));
    let other = "slides/m/topic_010_a/pu/other.pu";
    course.write(other, "@startuml\n!include common.iuml\nclass A\n@enduml\n");
    course.write(
        "slides/m/topic_010_a/pu/common.iuml",
        "skinparam monochrome true\n",
    );
    course.write("slides/m/topic_010_a/data/numbers.csv", "1\n2\n");
    course
}

/// The same course in another directory, as a checkout by someone else would be.
fn checkout(course: &Course) -> Course {
    let other = Course::with_topics(&[]);
    for path in tree(&course.root()).keys() {
        let is_source = ["slides/", "course.xml", "clm.toml", "clm.lock"]
            .iter()
            .any(|start| path.starts_with(start));
        if is_source && !path.contains("img-generated") {
            other.write(path, std::fs::read(course.path(path)).unwrap());
        }
    }
    other
}

fn build(course: &Course) -> Ran {
    let ran = course.build(&FORMATS);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    ran
}

fn cache(course: &Course, args: &[&str]) -> Ran {
    let mut all = vec!["cache"];
    all.extend(args);
    course.clm(&all)
}

/// A successful `clm cache`, and what it printed.
fn cached(course: &Course, args: &[&str]) -> String {
    let ran = cache(course, args);
    assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

fn export(course: &Course, name: &str) -> Vec<u8> {
    cached(course, &["export", name]);
    std::fs::read(course.path(name)).unwrap()
}

/// Runs `clm cache import -` with an input.
fn import(course: &Course, archive: &[u8]) -> Ran {
    let mut command = course.bare_command(&["cache", "import", "-"]);
    ran(fed(&mut command, archive))
}

fn fed(command: &mut Command, input: &[u8]) -> Output {
    let command = command.stdin(Stdio::piped());
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end before it has read everything.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn stats(course: &Course) -> Value {
    serde_json::from_str(&cached(course, &["stats", "--json"])).unwrap()
}

/// Names in the staging directory of a course.
fn staged(course: &Course) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(course.path(".clm/staging"));
    let entries = entries.into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn results_of_one_checkout_are_restored_in_another_one() {
    let first = course();
    let made = build(&first);
    assert_eq!(made.jobs().len(), 2);
    let archive = export(&first, "cache.tar.zst");

    let second = checkout(&first);
    let home = tempfile::tempdir().unwrap();
    let mut import = second.bare_command(&["cache", "import", "-"]);
    let imported = ran(fed(import.env("HOME", home.path()), &archive));
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    assert!(imported.stdout.starts_with("imported the results of "));
    assert!(staged(&second).is_empty());
    let explained = second.clm(&["explain", DIAGRAM]);
    assert_eq!(explained.code, 0, "{}", explained.stderr);

    // A machine without Java and PlantUML: the archive says what they were.
    let mut bare = second.bare_command(&["build", "--message-format", "json"]);
    let bare = bare.args(FORMATS).env("HOME", home.path());
    bare.env("PATH", "/nowhere")
        .env("CLM_TOOLS_DIR", "/nowhere");
    let built = ran(bare.output().unwrap());
    assert_eq!(built.code, 0, "{}\n{}", built.stdout, built.stderr);
    assert_eq!(built.jobs(), [""; 0]);
    assert_eq!((built.counts().built, built.counts().restored), (0, 2));
    assert_eq!(second.outputs(), first.outputs());
    let found = stats(&second);
    assert_eq!(found["totals"]["hits"], 2, "{found}");
    assert_eq!(found["totals"]["misses"], 0, "{found}");

    // A change is made, and only that: the included file is an input there, too.
    second.write(
        "slides/m/topic_010_a/pu/common.iuml",
        "skinparam monochrome false\n",
    );
    let built = build(&second);
    assert_eq!(built.jobs(), ["plantuml slides/m/topic_010_a/pu/other.pu"]);
    let reasons = built.reasons(built.jobs()[0]);
    assert!(reasons[0].contains("common.iuml"), "{reasons:?}");
}

#[test]
fn equal_content_gives_equal_bytes() {
    let first = course();
    build(&first);
    let archive = export(&first, "a.tar.zst");
    assert!(archive == export(&first, "b.tar.zst"));
    // Nothing but uses changed, and outputs.
    assert_eq!(build(&first).counts().made(), 0);
    std::fs::remove_dir_all(first.path("output")).unwrap();
    assert_eq!(build(&first).counts().restored, 2);
    assert!(archive == export(&first, "c.tar.zst"));
    let stream = first.command(&["cache", "export", "-"]).output().unwrap();
    assert!(stream.status.success());
    assert!(archive == stream.stdout, "the stream is the same");
    assert!(String::from_utf8_lossy(&stream.stderr).contains("exported the results"));

    let second = checkout(&first);
    assert_eq!(import(&second, &archive).code, 0);
    assert!(archive == export(&second, "a.tar.zst"));
    build(&second);
    assert!(archive == export(&second, "a.tar.zst"), "after its use");
    // It tells nothing about the machine.
    let tar = zstd::decode_all(&*archive).unwrap();
    let tar = String::from_utf8_lossy(&tar);
    for text in [first.root().to_str().unwrap(), "ustar  \0root", "/home/"] {
        assert!(!tar.contains(text), "{text}");
    }
}

#[test]
fn an_archive_has_what_the_plan_uses_and_all_has_everything() {
    let course = course();
    build(&course);
    let small = export(&course, "small.tar.zst").len();
    let first = tar_names(&course, &["export", "-"]);
    course.write(DIAGRAM, diagram("two"));
    build(&course);
    let second = tar_names(&course, &["export", "-"]);
    assert_eq!(first.len(), second.len());
    assert_ne!(first, second);
    let all = tar_names(&course, &["export", "-", "--all"]);
    assert_eq!(all.len(), first.len() + 1);
    assert!(first.iter().chain(&second).all(|name| all.contains(name)));

    // What a removed diagram made is not used any more, although its last run is known.
    course.remove(DIAGRAM);
    build(&course);
    assert!(export(&course, "small.tar.zst").len() < small);
    assert_eq!(tar_names(&course, &["export", "-"]).len(), first.len() - 1);
    assert_eq!(tar_names(&course, &["export", "-", "--all"]), all);
    // Before a build, a source that is gone is not planned either.
    course.remove("slides/m/topic_010_a/pu/other.pu");
    assert_eq!(tar_names(&course, &["export", "-"]).len(), first.len() - 2);

    // A specification that cannot be planned does not keep anyone from saving the cache.
    course.write("course.xml", "<course>");
    let ran = course.command(&["cache", "export", "-"]).output().unwrap();
    assert!(ran.status.success());
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(
        said.contains("warning: ") && said.contains("hint: "),
        "{said}"
    );
}

#[test]
fn of_several_specifications_the_named_one_is_exported() {
    let course = course();
    course.write("slides/m/topic_020_b/pu/b.pu", diagram("b"));
    course.write("slides/m/topic_020_b/pu/c.pu", diagram("c"));
    let spec = course.read("course.xml");
    course.write("course-specs/b.xml", spec.replace("<topic>a<", "<topic>b<"));
    build(&course);
    let other = [
        "build",
        "course-specs/b.xml",
        "-o",
        "other",
        FORMATS[0],
        FORMATS[1],
    ];
    let built = course.clm(&other);
    assert_eq!(built.code, 0, "{}", built.stderr);
    let one = tar_names(&course, &["export", "-"]);
    let two = tar_names(&course, &["export", "-", "course-specs/b.xml"]);
    assert_eq!((one.len(), two.len()), (4, 4));
    assert!(
        one.iter().filter(|name| two.contains(name)).count() == 2,
        "no result"
    );
    assert_eq!(tar_names(&course, &["export", "-", "--all"]).len(), 6);
}

/// Names of the entries of the archive that a command writes to its output.
fn tar_names(course: &Course, args: &[&str]) -> Vec<String> {
    let mut all = vec!["cache"];
    all.extend(args);
    let output = course.command(&all).output().unwrap();
    assert!(output.status.success());
    let tar = zstd::decode_all(&*output.stdout).unwrap();
    let mut tar = tar::Archive::new(&*tar);
    let entries = tar.entries().unwrap();
    entries
        .map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn other_files_are_not_overwritten_and_nothing_is_torn() {
    let course = course();
    build(&course);
    let archive = export(&course, "cache.tar.zst");
    course.write("notes.txt", "mine");
    course.write("empty", "");
    course.mkdir("dir");
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, course.path(name)).unwrap();
    link("nowhere", "dangling");
    link("notes.txt", "to-notes");
    link("cache.tar.zst", "to-cache");
    nix::unistd::mkfifo(&course.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for name in [
        "notes.txt",
        "empty",
        "dir",
        "dangling",
        "to-notes",
        "pipe",
        "course.xml",
    ] {
        let ran = cache(&course, &["export", name]);
        assert_eq!(ran.code, 2, "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains("not overwritten"), "{}", ran.stderr);
        assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
    }
    assert_eq!(course.read("notes.txt"), "mine");
    // An archive is replaced, also through a link, and also a torn one.
    std::fs::write(course.path("cache.tar.zst"), &archive[..archive.len() - 1]).unwrap();
    assert!(archive == export(&course, "to-cache"));
    assert!(course.path("to-cache").is_symlink());
    assert!(archive == std::fs::read(course.path("cache.tar.zst")).unwrap());
    let ran = cache(&course, &["export", "no/such/dir/cache.tar.zst"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    let left = std::fs::read_dir(course.root()).unwrap();
    let mut left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(left.all(|name| !name.starts_with(".clm-")));
    // Nobody reads the output.
    let mut child = course
        .command(&["cache", "export", "-"])
        .stdout(File::create("/dev/full").unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn what_is_no_archive_is_refused_with_a_hint_and_changes_nothing() {
    let first = course();
    build(&first);
    let archive = export(&first, "cache.tar.zst");
    let second = checkout(&first);
    let mut broken = archive.clone();
    let middle = broken.len() / 2;
    broken[middle] ^= 1;
    let twice = [archive.clone(), archive.clone()].concat();
    let inputs: [(&str, &[u8]); 7] = [
        ("nothing", b""),
        ("text", b"text"),
        ("cut", &archive[..archive.len() - 1]),
        ("cut early", &archive[..20]),
        ("broken", &broken),
        ("twice", &twice),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
    ];
    for (what, input) in inputs {
        let ran = import(&second, input);
        assert_eq!(ran.code, 2, "{what}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("error: the archive is refused: "),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{}", ran.stdout);
        assert!(staged(&second).is_empty(), "{what}");
        assert_eq!(stats(&second)["results"], 0, "{what}");
        // The same from a file, which is named.
        second.write("bad.tar.zst", input);
        let ran = cache(&second, &["import", "bad.tar.zst"]);
        assert_eq!(ran.code, 2, "{what}: {}", ran.stderr);
        assert!(
            ran.stderr.starts_with("bad.tar.zst: error: "),
            "{}",
            ran.stderr
        );
    }
    let ran = cache(
        &second,
        &[
            "import",
            "--max-size",
            "1kB",
            first.path("cache.tar.zst").to_str().unwrap(),
        ],
    );
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("--max-size"), "{}", ran.stderr);
    nix::unistd::mkfifo(&second.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (name, code) in [("no.tar.zst", 2), (".", 2), ("pipe", 2)] {
        let ran = cache(&second, &["import", name]);
        assert_eq!(ran.code, code, "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
    }
    assert_eq!(import(&second, &archive).code, 0);
    assert_eq!(build(&second).counts().built, 0);
}

#[test]
fn a_failure_of_content_is_known_elsewhere() {
    let first = course();
    first.write(DIAGRAM, "@startuml\nthis is no diagram\n@enduml\n");
    let failed = first.build(&FORMATS);
    assert_eq!(failed.code, 1);
    let archive = export(&first, "cache.tar.zst");
    let second = checkout(&first);
    assert_eq!(import(&second, &archive).code, 0);
    let again = second.build(&FORMATS);
    assert_eq!(again.code, 1);
    assert_eq!(again.jobs(), [""; 0]);
    assert_eq!(again.error_in(DIAGRAM), failed.error_in(DIAGRAM));
}

#[test]
fn a_watch_uses_what_another_process_imports_meanwhile() {
    let first = course();
    build(&first);
    first.write(DIAGRAM, diagram("two"));
    build(&first);
    let archive = export(&first, "cache.tar.zst");
    let second = course();
    let watch = Watching::start(&second, &FORMATS);
    assert_eq!(watch.run().counts().built, 2);
    assert_eq!(import(&second, &archive).code, 0);
    second.write(DIAGRAM, diagram("two"));
    // Late events of the first files may cause a run in which everything is fresh.
    let run = watch.run_until(|run| run.counts().built + run.counts().restored > 0);
    let counts = run.counts();
    assert_eq!((counts.built, counts.restored), (0, 1));
    drop(watch);
    assert_eq!(second.outputs(), first.outputs());
}

#[test]
fn several_imports_at_once_beside_a_build() {
    let first = course();
    build(&first);
    let one = export(&first, "one.tar.zst");
    first.write(DIAGRAM, diagram("two"));
    build(&first);
    let other = export(&first, "other.tar.zst");
    let second = checkout(&first);
    second.provide(&[]);
    std::thread::scope(|scope| {
        let (second, archives) = (&second, [&one, &other, &one, &other]);
        for archive in archives {
            scope.spawn(move || assert_eq!(import(second, archive).code, 0));
        }
        scope.spawn(move || build(second));
    });
    assert!(staged(&second).is_empty());
    let verified = cached(&second, &["verify"]);
    assert!(
        verified.contains("0 damaged and removed, 0 missing"),
        "{verified}"
    );
    assert_eq!(build(&second).counts().built, 0);
    second.write(DIAGRAM, diagram("one"));
    assert_eq!(build(&second).counts().built, 0);
    assert_eq!(second.outputs().len(), first.outputs().len());
}

#[test]
fn a_label_is_kept() {
    let first = course();
    build(&first);
    for label in ["", "two\nlines", &"x".repeat(300)] {
        let ran = cache(&first, &["export", "labelled.tar.zst", "--label", label]);
        assert_eq!(ran.code, 2, "{label}: {}", ran.stderr);
    }
    assert!(!first.path("labelled.tar.zst").exists());
    cached(
        &first,
        &["export", "labelled.tar.zst", "--label", "ci, linux"],
    );
    let labelled = std::fs::read(first.path("labelled.tar.zst")).unwrap();
    assert!(labelled != export(&first, "plain.tar.zst"));
    let second = checkout(&first);
    assert_eq!(import(&second, &labelled).code, 0);
    assert!(labelled == export(&second, "again.tar.zst"));
}

fn key(course: &Course, args: &[&str]) -> (String, Vec<String>, String) {
    let text = cached(course, &[&["key"], args].concat());
    let values = |name: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (key, path) = (values("key="), values("path="));
    assert_eq!((key.len(), path.len()), (1, 1), "{text}");
    (key[0].clone(), values("restore-keys="), path[0].clone())
}

#[test]
fn the_key_is_the_same_for_all_runs_of_one_commit() {
    let first = course();
    let second = checkout(&first);
    let before = key(&first, &[]);
    assert!(!first.path(".clm").exists(), "it needs no records");
    assert_eq!(before, key(&second, &[]));
    assert_eq!(before.2, ".clm");
    let (full, prefixes, _) = &before;
    assert_eq!(prefixes.len(), 3);
    for (one, next) in std::iter::once(full).chain(prefixes).zip(prefixes) {
        assert!(
            one.starts_with(next) && one.len() > next.len(),
            "{one} {next}"
        );
        assert!(next.ends_with('-'));
    }
    let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    assert!(prefixes[2].contains(&platform), "{prefixes:?}");
    // A build, other times, another user, another time zone, a repository: all the same.
    build(&first);
    for (path, _) in tree(&first.path("slides")) {
        let file = File::options()
            .append(true)
            .open(first.path("slides").join(path))
            .unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    let mut git = Command::new("git");
    git.args(["init", "--quiet"]).current_dir(first.root());
    assert!(git.status().unwrap().success());
    first.write("slides/m/topic_010_a/__pycache__/a.pyc", "x");
    first.write("summary.json", "{}");
    let home = tempfile::tempdir().unwrap();
    let mut command = first.bare_command(&["cache", "key"]);
    command
        .env("HOME", home.path())
        .env("TZ", "Asia/Tokyo")
        .env("USER", "other");
    let elsewhere = ran(command.output().unwrap());
    assert_eq!(elsewhere.stdout, cached(&first, &["key"]));
    assert_eq!(before, key(&first, &[]));
}

#[test]
fn every_part_of_the_key_is_about_one_thing() {
    let course = course();
    let before = key(&course, &[]);
    let common = |after: &(String, Vec<String>, String)| {
        assert_ne!(before.0, after.0);
        before
            .1
            .iter()
            .filter(|prefix| after.1.contains(*prefix))
            .count()
    };
    let deck = course.read(DECK);
    course.write(DECK, deck.replace("1 + 1", "1 + 2"));
    assert_eq!(common(&key(&course, &[])), 3, "content");
    course.write(DECK, &deck);
    course.write("slides/m/topic_010_a/data/more.csv", "1");
    assert_eq!(common(&key(&course, &[])), 3, "a new file");
    course.remove("slides/m/topic_010_a/data/more.csv");
    course.write("clm.toml", "[diagrams]\ndpi = 100\n");
    assert_eq!(common(&key(&course, &[])), 3, "settings");
    course.remove("clm.toml");
    assert_eq!(key(&course, &[]), before);
    course.write("clm.lock", "pinned\n");
    assert_eq!(common(&key(&course, &[])), 1, "lock");
    course.remove("clm.lock");
    let spec = course.read("course.xml");
    course.edit("course.xml", "Course", "Another");
    assert_eq!(common(&key(&course, &[])), 2, "specification");
    // A broken specification has a key, so that the build can say what is wrong.
    course.write("course.xml", "<course>");
    assert_eq!(common(&key(&course, &[])), 2);
    course.write("course.xml", spec);
    assert_eq!(key(&course, &[]), before);
    std::fs::rename(
        course.path(DECK),
        course.path("slides/m/topic_010_a/slides_b.py"),
    )
    .unwrap();
    assert_eq!(common(&key(&course, &[])), 3, "a name");
}

#[test]
fn the_key_is_there_for_programs_and_for_workflows() {
    let course = course();
    let (key, prefixes, path) = key(&course, &[]);
    let json: Value = serde_json::from_str(&cached(&course, &["key", "--json"])).unwrap();
    assert_eq!(json["key"], *key);
    assert_eq!(json["restore_keys"], serde_json::json!(prefixes));
    assert_eq!(json["path"], *path);
    let text = cached(&course, &["key", "--github"]);
    let (first, rest) = text.split_once("restore-keys<<").unwrap();
    assert_eq!(first, format!("key={key}\n"));
    let (end, rest) = rest.split_once('\n').unwrap();
    let (lines, rest) = rest.split_once(&format!("\n{end}\n")).unwrap();
    assert_eq!(lines.lines().collect::<Vec<_>>(), prefixes);
    assert_eq!(rest, format!("path={path}\n"));
    assert_eq!(cache(&course, &["key", "--github", "--json"]).code, 2);
    // Below the root and above it the path leads to the same directory.
    course.mkdir("course-specs");
    let mut command = course.bare_command(&["cache", "key"]);
    let below = ran(command
        .current_dir(course.path("course-specs"))
        .output()
        .unwrap());
    assert!(below.stdout.ends_with("path=../.clm\n"), "{}", below.stdout);
}

#[test]
fn statistics_tell_kinds_hits_and_what_collecting_would_free() {
    let course = course();
    build(&course);
    let first = stats(&course);
    assert_eq!(first["kinds"]["plantuml"]["results"], 2, "{first}");
    assert_eq!(first["kinds"]["plantuml"]["bytes"], first["bytes"]);
    assert_eq!(first["totals"]["misses"], 2);
    assert_eq!(first["collectable_bytes"], 0);
    std::fs::remove_dir_all(course.path("output")).unwrap();
    build(&course);
    let second = stats(&course);
    assert_eq!(second["totals"]["hits"], 2);
    assert_eq!(second["totals"]["misses"], 2);
    let runs = second["last_runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    assert_eq!(
        (&runs[0]["hits"], &runs[0]["misses"]),
        (&2.into(), &0.into())
    );
    let text = cached(&course, &["stats"]);
    for part in [
        "plantuml: 2 results",
        "would free 0 B",
        "last 2 runs: 2 from the cache",
        "(50 %), 2 made",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A result that nothing refers to, and that is old.
    let lost = course.path(".clm/blobs/ab");
    std::fs::create_dir_all(&lost).unwrap();
    std::fs::write(lost.join("cd".repeat(31)), [7; 5000]).unwrap();
    let file = File::options()
        .append(true)
        .open(lost.join("cd".repeat(31)))
        .unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(stats(&course)["collectable_bytes"], 5000);
    assert!(
        Path::new(&lost).join("cd".repeat(31)).exists(),
        "nothing is removed"
    );
    let collected = cached(&course, &["gc"]);
    assert!(collected.starts_with("removed 5.0 kB"), "{collected}");
    assert_eq!(stats(&course)["collectable_bytes"], 0);
}

#[test]
fn an_empty_cache_is_an_archive_too() {
    let course = Course::with_topics(&["a"]);
    course.mkdir("slides/m/topic_010_a");
    let archive = export(&course, "empty.tar.zst");
    let other = Course::with_topics(&["a"]);
    let ran = import(&other, &archive);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(
        ran.stdout,
        "imported the results of 0 actions; those of 0 actions were there\n"
    );
    assert!(archive == export(&other, "empty.tar.zst"));
}
