//! Wrong input gives an error with file, line and a hint; everything else is still built; nothing is lost.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use clm::testing::events::{Event, Reported, Severity};

use crate::support::{Course, Ran};

const GOOD: &str = "slides/m/topic_010_good/slides_good.py";

/// A course with a good deck and one more topic.
fn course(topic: &str) -> Course {
    let course = Course::with_topics(&["good", topic]);
    course.write(GOOD, "# %%\nprint(\"fine\")\n");
    course
}

/// A course with a good deck and nothing else.
fn alone() -> Course {
    let course = Course::with_topics(&["good"]);
    course.write(GOOD, "# %%\nprint(\"fine\")\n");
    course
}

/// The rest of the course is built, the exit code says that something is not.
fn rest_is_built(course: &Course, ran: &Ran) {
    assert_eq!(ran.code, 1, "{}\n{}", ran.stdout, ran.stderr);
    let page =
        course.read("output/shared/course-en/Slides/Html/Completed/Part/01 slides_good.html");
    assert!(page.contains("fine"));
}

#[test]
fn a_malformed_specification() {
    let course = Course::with_topics(&["good"]);
    course.write("course.xml", "<course>\n  <name>K</nam>\n</course>\n");
    let ran = course.clm(&["build"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.starts_with("course.xml:2:"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
}

#[test]
fn topics_that_are_unknown_or_there_twice() {
    let course = course("gooood");
    course.write("slides/n/topic_020_good/slides_other.py", "# %%\n1\n");
    let ran = course.build(&[]);
    rest_is_built(&course, &ran);
    let error = ran.error_in("course.xml");
    assert_eq!(error.message, "there is no topic `gooood`");
    assert_eq!(error.line, Some(6));
    assert_eq!(error.hint.as_deref(), Some("did you mean `good`?"));
    let human = course.clm(&["build"]);
    assert!(
        human.stderr.contains("there is more than one topic `good`"),
        "{}",
        human.stderr
    );
}

#[test]
fn paths_out_of_the_course() {
    let course = course("other");
    course.edit("course.xml", "</course>", "<dir-groups><dir-group><name>x</name><path>../secret</path></dir-group></dir-groups></course>");
    let ran = course.clm(&["build"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("contains `..`"), "{}", ran.stderr);

    let course = self::course("other");
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret.txt"), "secret").unwrap();
    course.mkdir("slides/m/topic_020_other");
    std::os::unix::fs::symlink(
        outside.path().join("secret.txt"),
        course.path("slides/m/topic_020_other/data.txt"),
    )
    .unwrap();
    let ran = course.build(&[]);
    rest_is_built(&course, &ran);
    let error = ran.error_in("slides/m/topic_020_other/data.txt");
    assert!(error.message.contains("out of the root directory"));
    assert!(
        course
            .outputs()
            .keys()
            .all(|path| !path.ends_with("data.txt"))
    );
}

#[test]
fn an_output_directory_that_leads_out() {
    let course = alone();
    let outside = tempfile::tempdir().unwrap();
    course.mkdir("output/shared");
    std::os::unix::fs::symlink(outside.path(), course.path("output/shared/course-de")).unwrap();
    let ran = course.clm(&["build"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let said = ran.stderr.matches("leads out of the output root").count();
    assert_eq!(said, 1, "{}", ran.stderr);
    let there = std::fs::read_dir(outside.path()).unwrap();
    assert_eq!(there.count(), 0, "nothing is made behind the link");
    let outputs = course.outputs();
    let is_english = |path: &String| path.starts_with("shared/course-en/");
    assert!(outputs.keys().any(is_english), "the rest is built");
}

#[test]
fn a_deck_that_is_not_utf8() {
    let course = course("latin");
    let deck = "slides/m/topic_020_latin/slides_latin.py";
    course.write(deck, b"# %%\n# gr\xfc\xdfe\n");
    let ran = course.build(&[]);
    rest_is_built(&course, &ran);
    assert_eq!(ran.error_in(deck).line, Some(2));
}

#[test]
fn jinja_in_code() {
    let course = course("jinja");
    let deck = "slides/m/topic_020_jinja/slides_jinja.py";
    course.write(deck, "# %%\nx = 1\nprint(f\"{{x}}\")\n# %%\nf\"{{y}}\"\n");
    let ran = course.build(&[]);
    rest_is_built(&course, &ran);
    let error = ran.error_in(deck);
    assert_eq!(error.line, Some(3));
    assert!(error.hint.as_deref().unwrap().contains("{% raw %}"));
}

/// Templates whose values the engine does not account for: each is an error at its line, and nothing else suffers.
#[test]
fn templates_that_grow_without_bound() {
    let course = Course::with_topics(&["list", "text", "plain"]);
    let deck = |name: &str| format!("slides/m/topic_010_{name}/slides_{name}.py");
    course.write(
        &deck("list"),
        "# %%\n{% set ns = namespace(l=[1]) %}\n{% for i in range(40) %}\n{% set ns.l = ns.l + ns.l %}\n{% endfor %}\nx\n",
    );
    course.write(
        &deck("text"),
        "{% set ns = namespace(l=['x']) %}\n{% for i in range(40) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}\n\n{{ (ns.l ~ '') | length }}\n",
    );
    // Lists are fine as such, with the texts of files beside the deck.
    course.write(
        &deck("plain"),
        "# %%\n{% for i in [1] + [2, 3] %}\n{% include 'part.txt' %}\n{% endfor %}\n",
    );
    course.write("slides/m/topic_010_plain/part.txt", "part = {{ i * 2 }}\n");
    let targets = "<output-targets><output-target name='o'><path>out</path><kinds><kind>completed</kind></kinds>\
                   <formats><format>code</format></formats><languages><language>en</language></languages></output-target></output-targets></course>";
    course.edit("course.xml", "</course>", targets);
    let ran = course.build(&[]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    for (name, line) in [("list", 4), ("text", 4)] {
        let error = ran.error_in(&deck(name));
        assert_eq!(error.line, Some(line), "{error}");
        assert!(error.message.starts_with("the deck's template"), "{error}");
        assert!(error.hint.is_some(), "{error}");
    }
    let script = course.read("out/course-en/Slides/Python/Completed/Part/03 slides_plain.py");
    assert!(
        script.contains("part = 4") && script.contains("part = 6"),
        "{script}"
    );
}

#[test]
fn a_failing_cell_is_told_again_until_it_is_mended() {
    let course = course("fails");
    let deck = "slides/m/topic_020_fails/slides_fails.py";
    course.write(
        deck,
        "# %% [markdown]\n# T\n\n# %%\nx = 0\n\n# %%\ny = 1\nz = y / x\n",
    );
    let first = course.build(&[]);
    rest_is_built(&course, &first);
    let error = first.error_in(deck).clone();
    assert_eq!((error.line, error.cell), (Some(9), Some(3)));
    assert!(error.message.contains("ZeroDivisionError"), "{error}");
    assert!(error.detail.as_deref().unwrap().contains("z = y / x"));
    assert!(
        course
            .path("output/shared/course-en/Slides/Notebooks/Completed/Part/02 slides_fails.ipynb")
            .exists()
    );
    assert!(
        course
            .path("output/shared/course-en/Slides/Html/Code-Along/Part/02 slides_fails.html")
            .exists()
    );

    // From the records, without a kernel, and with the line where the cell is now.
    course.edit(deck, "# T\n", "# T\n#\n# More prose.\n");
    let second = course.build(&[]);
    assert_eq!(second.code, 1);
    assert!(
        second.jobs().iter().all(|job| !job.starts_with("execute")),
        "{:?}",
        second.jobs()
    );
    assert_eq!(second.error_in(deck).line, Some(11));

    let human = course.clm(&["build"]);
    assert!(
        human
            .stderr
            .contains(&format!("{deck}:11: error: ZeroDivisionError")),
        "{}",
        human.stderr
    );
    assert!(
        !human.stderr.contains('\u{1b}'),
        "colours without a terminal"
    );

    course.edit(deck, "x = 0", "x = 2");
    assert_eq!(course.build(&[]).code, 0);
    assert!(
        course
            .path("output/shared/course-en/Slides/Html/Completed/Part/02 slides_fails.html")
            .exists()
    );
}

#[test]
fn diagrams_that_cannot_be_rendered() {
    let course = course("diagrams");
    let topic = "slides/m/topic_020_diagrams";
    course.write(
        &format!("{topic}/pu/bad.pu"),
        "@startuml\nclass A\nclass B\nA -->>>>> B ???\n@enduml\n",
    );
    course.write(
        &format!("{topic}/pu/lost.pu"),
        "@startuml\n!include nowhere.iuml\nclass A\n@enduml\n",
    );
    course.write(
        &format!("{topic}/drawio/cut.drawio"),
        "<mxfile>\n  <diagram id=\"a\"\n",
    );
    course.write(&format!("{topic}/drawio/empty.drawio"), "");
    let ran = course.build(&[]);
    rest_is_built(&course, &ran);
    assert_eq!(ran.error_in(&format!("{topic}/pu/bad.pu")).line, Some(4));
    let lost = ran.error_in(&format!("{topic}/pu/lost.pu"));
    assert_eq!(lost.line, Some(2), "{lost}");
    assert!(lost.message.contains("nowhere.iuml"), "{lost}");
    assert!(
        ran.error_in(&format!("{topic}/drawio/cut.drawio"))
            .line
            .is_some()
    );
    assert!(
        ran.error_in(&format!("{topic}/drawio/empty.drawio"))
            .message
            .contains("empty")
    );
    for error in ran.errors() {
        assert!(error.hint.is_some(), "no hint: {error}");
    }
    // The failures are remembered, but a missing include that appears is noticed.
    assert_eq!(course.build(&[]).jobs(), [""; 0]);
    course.write(
        &format!("{topic}/pu/nowhere.iuml"),
        "skinparam monochrome true\n",
    );
    let ran = course.build(&[]);
    assert_eq!(ran.jobs(), [format!("plantuml {topic}/pu/lost.pu")]);
    assert!(ran.reasons(&format!("plantuml {topic}/pu/lost.pu"))[0].contains("appeared"));
}

#[test]
fn a_kernel_that_is_not_installed() {
    let course = course("java");
    let deck = "slides/m/topic_020_java/slides_java.java";
    course.write(deck, "// %%\nint x = 1;\n");
    let ran = course.build(&[]);
    rest_is_built(&course, &ran);
    let error = ran.error_in(deck);
    assert!(error.message.contains("`java`"), "{error}");
    assert!(error.hint.is_some());
}

#[test]
fn endless_cells_and_cells_that_kill_their_kernel() {
    let course = course("deadly");
    course.write("clm.toml", "[notebook]\ncell_timeout = 2\n");
    let topic = "slides/m/topic_020_deadly";
    course.write(
        &format!("{topic}/slides_endless.py"),
        "# %%\nx = 1\n# %%\nwhile True:\n    pass\n",
    );
    course.write(
        &format!("{topic}/slides_killer.py"),
        "# %%\nimport os\n# %%\nos._exit(3)\n",
    );
    course.write(
        &format!("{topic}/slides_asks.py"),
        "# %%\ninput(\"name?\")\n",
    );
    let ran = course.build(&[]);
    rest_is_built(&course, &ran);
    let endless = ran.error_in(&format!("{topic}/slides_endless.py"));
    assert_eq!(endless.cell, Some(2), "{endless}");
    assert!(
        endless.hint.as_deref().unwrap().contains("cell_timeout"),
        "{endless}"
    );
    let killer = ran.error_in(&format!("{topic}/slides_killer.py"));
    assert_eq!(killer.cell, Some(2), "{killer}");
    assert_eq!(
        ran.error_in(&format!("{topic}/slides_asks.py")).cell,
        Some(1)
    );
}

#[test]
fn wrong_settings() {
    let course = alone();
    course.write("clm.toml", "[diagrams]\nscal = 2\n");
    let ran = course.clm(&["build"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.starts_with("clm.toml:2:"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("hint: did you mean `scale`?"),
        "{}",
        ran.stderr
    );
    assert_eq!(course.clm(&["build", "--kinds", "trainr"]).code, 2);
    assert_eq!(course.clm(&["build", "nowhere.xml"]).code, 2);
}

#[test]
fn a_corrupted_database() {
    let course = alone();
    assert_eq!(course.build(&[]).code, 0);
    let before = course.outputs();
    course.write(".clm/clm.db", [0x5a; 8192]);
    let ran = course.build(&[]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("the database was damaged"),
        "{}",
        ran.stdout
    );
    assert!(course.path(".clm/clm.db.corrupt-1").exists());
    assert_eq!(course.outputs(), before);
    assert_eq!(course.built().started(), [""; 0]);
}

/// Runs `clm build` with its outputs on a small file system of its own, in a mount namespace: no root needed.
/// `options` are those of mounting; afterwards the empty files there are listed on stderr.
fn build_on_small_disk(course: &Course, options: &str) -> Ran {
    course.provide(&[]);
    let disk = tempfile::tempdir().unwrap();
    let script =
        "mount -t tmpfs -o size=1m tmpfs \"$1\" && mount -o \"remount,$2\" \"$1\" || exit 99
        \"$3\" build --output-dir \"$1\"
        code=$?
        find \"$1\" -type f -empty -printf 'EMPTY %p\\n' >&2
        exit $code";
    let output = Command::new("unshare")
        .args(if nix::unistd::geteuid().is_root() {
            &["-m"][..]
        } else {
            &["-Urm"]
        })
        .args(["sh", "-c", script, "sh"])
        .arg(disk.path())
        .args([options, env!("CARGO_BIN_EXE_clm")])
        .current_dir(course.root())
        .output()
        .unwrap();
    let ran = crate::support::ran(output);
    assert_ne!(
        ran.code, 99,
        "a tmpfs cannot be mounted here: {}",
        ran.stderr
    );
    ran
}

#[test]
fn a_full_disk() {
    let course = alone();
    let ran = build_on_small_disk(&course, "rw");
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("hint: free some space"),
        "{}",
        ran.stderr
    );
    assert!(
        !ran.stderr.contains("EMPTY"),
        "torn outputs: {}",
        ran.stderr
    );
    // With room again the rest is made, and what was made counts.
    let again = course.build(&[]);
    assert_eq!(again.code, 0);
    assert!(
        again.jobs().iter().all(|job| !job.starts_with("execute")),
        "{:?}",
        again.jobs()
    );
}

#[test]
fn an_output_directory_that_is_read_only() {
    let ran = build_on_small_disk(&alone(), "ro");
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("hint: its file system is read-only")
            && ran.stderr.contains("`--output-dir`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn missing_renderers_say_how_to_get_them() {
    let course = alone();
    course.write(
        "slides/m/topic_010_good/pu/a.pu",
        "@startuml\nclass A\n@enduml\n",
    );
    let empty = tempfile::tempdir().unwrap();
    let output = course
        .bare_command(&["build", "--message-format", "json"])
        .env("CLM_TOOLS_DIR", empty.path())
        .env("HOME", empty.path())
        .env_remove("PLANTUML_JAR")
        .output()
        .unwrap();
    let ran = crate::support::ran(output);
    assert_eq!(ran.code, 1);
    let plantuml = ran.error_in("slides/m/topic_010_good/pu/a.pu");
    assert!(plantuml.message.contains("PlantUML"), "{plantuml}");
    assert!(
        plantuml.hint.as_deref().unwrap().contains("clm setup"),
        "{plantuml}"
    );
    assert!(
        ran.error_in(GOOD)
            .hint
            .as_deref()
            .unwrap()
            .contains("clm setup")
    );
    // It is no lasting failure: with the renderers it is built.
    assert_eq!(course.build(&[]).code, 0);
}

#[test]
fn files_of_the_author_are_never_overwritten() {
    let course = course("images");
    course.write(
        "slides/m/topic_020_images/pu/mine.pu",
        "@startuml\nclass A\n@enduml\n",
    );
    course.write("slides/m/topic_020_images/img/mine.png", "drawn by hand");
    let file = course.path("slides/m/topic_020_images/img/mine.png");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = "was not made by clm and is not replaced";
    // Also by a build with nothing to do, with and without the one before.
    for args in [
        &[][..],
        &[],
        &["--only", "slides/m/topic_020_images/pu/mine.pu"],
    ] {
        let ran = course.build(args);
        assert_eq!(ran.code, 0, "{}", ran.stdout);
        let warnings = ran.diagnostics().into_iter();
        assert_eq!(
            warnings
                .filter(|warning| warning.message.contains(said))
                .count(),
            1,
            "{}",
            ran.stdout
        );
    }
    assert_eq!(
        course.read("slides/m/topic_020_images/img/mine.png"),
        "drawn by hand"
    );
    let shown = course.path("output/shared/course-en/Slides/Html/Completed/Part/img/mine.png");
    assert!(std::fs::read(shown).unwrap().starts_with(b"\x89PNG"));
    assert_eq!(course.built().started(), [""; 0]);
}

#[test]
fn of_two_diagrams_with_one_picture_the_first_has_its_place_in_the_source_tree_too() {
    let course = course("images");
    let [one, other] = ["pu", "dia"].map(|dir| format!("slides/m/topic_020_images/{dir}/twice.pu"));
    course.write(&one, "@startuml\nclass One\n@enduml\n");
    course.write(&other, "@startuml\nclass Another\nclass Third\n@enduml\n");
    let picture = course.path("slides/m/topic_020_images/img-generated/twice.png");
    let shown = course.path("output/shared/course-en/Slides/Html/Completed/Part/img/twice.png");
    course.build(&[]);
    for _ in 0..2 {
        let ran = course.build(&[]);
        assert_eq!(ran.code, 1, "{}", ran.stdout);
        let [error] = ran.errors()[..] else {
            panic!("{}", ran.stdout)
        };
        assert!(
            error.message.contains("it has the same output as"),
            "{error}"
        );
        assert_eq!(ran.counts().restored, 0, "{}", ran.stdout);
        let read = |path: &std::path::Path| std::fs::read(path).unwrap();
        assert_eq!(read(&picture), read(&shown));
    }
    // The other one has it as soon as it is alone.
    let before = std::fs::read(&picture).unwrap();
    let gone = [&one, &other].map(|path| course.path(path));
    let first = course.build(&[]).errors()[0].file.clone().unwrap();
    let first = if first == one { &gone[1] } else { &gone[0] };
    std::fs::remove_file(first).unwrap();
    course.built();
    let after = std::fs::read(&picture).unwrap();
    assert!(after != before && after == std::fs::read(&shown).unwrap());
    assert_eq!(course.built().started(), [""; 0]);
}

#[test]
fn pointers_of_git_lfs_are_told_for_every_kind_of_source() {
    let pointer = format!(
        "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 1234\n",
        "4d".repeat(32)
    );
    let course = Course::with_topics(&["one"]);
    let topic = "slides/m/topic_010_one";
    course.write(
        &format!("{topic}/slides_fine.py"),
        "# %% [markdown]\n# text\n",
    );
    let sources = [
        "slides_deck.py",
        "slides_notes.md",
        "pu/a.pu",
        "pu/b.puml",
        "drawio/c.drawio",
    ];
    let copies = ["img/d.png", "data.csv"];
    for source in sources.iter().chain(&copies) {
        course.write(&format!("{topic}/{source}"), &pointer);
    }
    let ran = course.build(&["--formats", "notebook"]);
    assert_eq!(ran.code, 1);
    for source in sources {
        let error = ran.error_in(&format!("{topic}/{source}"));
        assert!(error.message.contains("pointer of Git LFS"), "{error}");
        assert!(
            error
                .hint
                .as_deref()
                .is_some_and(|hint| hint.contains("git lfs pull")),
            "{error}"
        );
    }
    assert!(
        ran.errors()
            .iter()
            .all(|error| error.message.contains("Git LFS")),
        "{:#?}",
        ran.errors()
    );
    assert_eq!(ran.jobs(), [] as [&str; 0], "nothing is rendered of them");
    for copy in copies {
        let is_warned = ran.events.iter().any(|event| {
            matches!(event, Event::Diagnostic(Reported { diagnostic: told, .. }) if told.severity == Severity::Warning
                && told.file.as_deref() == Some(&format!("{topic}/{copy}")) && told.message.contains("Git LFS"))
        });
        assert!(is_warned, "{copy}: {}", ran.stdout);
    }
    course.write("course.xml", &pointer);
    let ran = course.build(&[]);
    assert_eq!(ran.code, 2);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(
        told.contains("course.xml:1") && told.contains("Git LFS"),
        "{told}"
    );
}
