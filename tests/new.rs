//! `clm new`: from an empty directory to a course on the screen, and a topic more.

use std::path::Path;
use std::process::Stdio;

use crate::preview::browser::Browser;
use crate::support::courses::wait_until;
use crate::support::{Course, Ran, Watching, ran, tree};

const DECKS: &str = "slides/module_010_coffee";

/// Runs clm in a directory of the course, as an author whose name git knows.
fn clm_in(course: &Course, dir: &str, args: &[&str]) -> Ran {
    let mut command = course.bare_command(args);
    command.current_dir(course.path(dir));
    let settings = course.path(".gitconfig");
    std::fs::write(&settings, "[user]\n\tname = Ada Example\n").unwrap();
    command
        .env("GIT_CONFIG_GLOBAL", settings)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("LC_ALL", "C.UTF-8");
    ran(command.output().unwrap())
}

/// Starts a course in `coffee` of an empty directory.
fn started(args: &[&str]) -> (Course, Ran) {
    let course = Course::empty();
    let mut all = vec!["new", "coffee"];
    all.extend(args);
    let new = clm_in(&course, "", &all);
    assert_eq!(new.code, 0, "{}", new.stderr);
    (course, new)
}

/// Builds the course in `coffee`, about which there is nothing to say.
fn built(course: &Course, args: &[&str]) -> Ran {
    let mut all = vec!["--no-daemon"];
    all.extend(args);
    all.push("coffee/course.xml");
    let ran = course.build(&all);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(ran.diagnostics(), Vec::<&_>::new());
    ran
}

/// An output of the course in `coffee`.
fn output(course: &Course, path: &str) -> String {
    course.read(&format!("coffee/output/{path}"))
}

fn is_png(course: &Course, path: &str) -> bool {
    let bytes = std::fs::read(course.path(&format!("coffee/output/{path}"))).unwrap();
    bytes.starts_with(b"\x89PNG\r\n\x1a\n")
}

/// Whether a page shows an image whose address contains a text.
fn is_seen(image: &str) -> String {
    format!(
        "[...document.images].some((image) => image.src.includes('{image}') && image.complete && image.naturalWidth > 200)"
    )
}

#[test]
fn a_course_is_started_and_builds_without_a_change() {
    let (course, new) = started(&["--title", "Coffee & more"]);
    let said = &new.stderr;
    assert!(
        said.contains("\nNext:\n  cd coffee\n  clm watch --"),
        "{said}"
    );
    for file in [
        "course.xml",
        "README.md",
        ".gitignore",
        ".vscode/tasks.json",
        ".github/workflows/course.yml",
    ] {
        assert!(said.contains(&format!("\n  {file}\n")), "{said}");
        assert!(course.path("coffee").join(file).is_file(), "{file}");
    }
    let before = tree(&course.path("coffee"));

    built(&course, &[]);
    let pages = "students/coffee-en/Slides/Html";
    let page = output(
        &course,
        &format!("{pages}/Completed/First steps/01 How coffee cools.html"),
    );
    assert!(page.contains("data:image/png;base64,"), "there is no plot");
    assert!(page.contains("After 10 minutes: 44.4 °C"));
    assert!(page.contains("Ada Example") && !page.contains("Coding-Academy"));
    assert!(!page.contains("Collect the guesses"));
    for image in ["heat", "plan"] {
        let file = format!("{pages}/Completed/First steps/img/{image}.png");
        assert!(is_png(&course, &file));
    }
    let trainer = output(
        &course,
        "trainer/coffee-en/Slides/Html/Trainer/First steps/01 How coffee cools.html",
    );
    assert!(trainer.contains("Collect the guesses"));
    let task = |kind: &str| {
        let file =
            format!("students/coffee-en/Slides/Python/{kind}/First steps/02 When can you drink it");
        output(&course, &format!("{file}.py"))
    };
    let (open, completed) = (task("Code-Along"), task("Completed"));
    assert!(open.contains("# Let a minute pass") && !open.contains("while "));
    assert!(completed.contains("while ") && !completed.contains("# Let a minute pass"));
    assert!(completed.contains("6 minutes") && !open.contains("6 minutes"));

    // Nothing is left to do, and nothing that the author has was changed.
    let second = built(&course, &[]);
    assert_eq!(second.started(), [""; 0]);
    let after = tree(&course.path("coffee"));
    for (file, digest) in &before {
        assert_eq!(after.get(file), Some(digest), "{file}");
    }
    assert!(!before.keys().any(|file| file.contains(".en.")));
}

/// What clm makes is no part of the repository.
#[test]
fn git_ignores_what_clm_makes() {
    let course = Course::empty();
    course.mkdir("coffee");
    let git = |args: &[&str]| {
        let mut git = std::process::Command::new("git");
        let output = git.args(args).current_dir(course.path("coffee")).output();
        let output = output.unwrap();
        assert!(output.status.success(), "git {args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    git(&["init", "--quiet"]);
    // A repository without files is an empty directory.
    let new = clm_in(&course, "coffee", &["new", ".", "--title", "Coffee"]);
    assert_eq!(new.code, 0, "{}", new.stderr);
    assert!(!new.stderr.contains("  cd "), "{}", new.stderr);
    assert!(!new.stderr.contains("note:"), "{}", new.stderr);
    git(&["add", "."]);
    let listed = git(&["ls-files"]);
    built(&course, &["--fast"]);
    assert!(course.path("coffee/output").is_dir());
    git(&["add", "."]);
    assert_eq!(git(&["ls-files"]), listed);

    // GitHub looks for workflows at the top of a repository alone.
    let inner = clm_in(&course, "coffee/slides", &["new", "../x"]);
    assert_eq!(inner.code, 2, "{}", inner.stderr);
    course.remove("coffee/course.xml");
    let inner = clm_in(&course, "coffee", &["new", "tea"]);
    assert_eq!(inner.code, 0, "{}", inner.stderr);
    assert!(
        inner.stderr.contains("note: there is no file for GitHub"),
        "{}",
        inner.stderr
    );
    assert!(!course.path("coffee/tea/.github").exists());
}

#[test]
fn languages_have_pages_of_their_own() {
    let (course, _) = started(&["--languages", "de,en"]);
    built(&course, &[]);
    let page = output(
        &course,
        "students/coffee-de/Folien/Html/Completed/Erste Schritte/01 Wie Kaffee abkühlt.html",
    );
    assert!(page.contains("Nach 10 Minuten: 44.4 °C") && !page.contains("After 10"));
    assert!(page.contains("img/heat.de.png") && !page.contains("heat.en"));
    let images = "students/coffee-en/Slides/Html/Completed/First steps/img";
    assert!(is_png(&course, &format!("{images}/plan.en.png")));
    let german = course.path(&format!("coffee/output/{images}/plan.de.png"));
    assert!(!german.exists());
    assert_eq!(built(&course, &[]).started(), [""; 0]);
}

#[test]
fn every_programming_language_has_a_course() {
    let (course, _) = started(&["--prog-lang", "typescript", "--languages", "fr"]);
    built(&course, &[]);
    let file = "students/coffee-fr/Diapositives/Html/Completed/Premiers pas/01 Comment le café refroidit.html";
    let page = output(&course, file);
    assert!(page.contains("Au bout de 10 minutes : 44.4 °C"));
    assert!(!page.contains(">41<"), "the value of a loop is shown");
    let mut browser = Browser::start();
    browser.size(1200, 1600);
    let path = course.path("coffee/output").join(file);
    browser.open(&format!("file://{}", path.display()).replace(' ', "%20"));
    browser.wait(&is_seen("img/heat.png"));
    browser.wait(&is_seen("data:image/svg+xml"));
    browser.picture("new-typescript");

    // There are no kernels for the others, so nothing is executed; pages and programs are there all the same.
    for (name, dir, extension) in [
        ("cpp", "Cpp", "cpp"),
        ("csharp", "CSharp", "cs"),
        ("java", "Java", "java"),
    ] {
        let (course, _) = started(&["--prog-lang", name, "--languages", "es"]);
        let first = built(&course, &[]);
        let is_executed = |job: &&str| job.starts_with("execute ");
        assert_eq!(first.jobs().into_iter().find(is_executed), None);
        let slides = "students/coffee-es/Diapositivas";
        let file = "Completed/Primeros pasos/01 Cómo se enfría el café";
        let page = output(&course, &format!("{slides}/Html/{file}.html"));
        assert!(page.contains("temperatures"));
        let program = output(&course, &format!("{slides}/{dir}/{file}.{extension}"));
        assert!(program.contains("Después de 10 minutos:"), "{program}");
        assert_eq!(built(&course, &[]).started(), [""; 0], "{name}");
    }
}

#[test]
fn nothing_is_overwritten() {
    let (course, _) = started(&[]);
    course.write("file", "text");
    course.write("full/.hidden", "text");
    course.mkdir("full/more");
    let before = tree(&course.root());
    std::os::unix::fs::symlink("nowhere", course.path("link")).unwrap();
    for (args, message, hint) in [
        (
            &["coffee"][..],
            "`coffee` is not empty: it has `.github` and 5 other entries",
            "`clm new topic ID` adds a topic to it",
        ),
        (
            &["full"],
            "`full` is not empty: it has `.hidden` and another entry",
            "name a directory that is new or empty",
        ),
        (
            &["file"],
            "`file` is not a directory",
            "name a directory that is new or empty",
        ),
        (
            &["link"],
            "`link` is a symbolic link that leads nowhere",
            "remove it, or name another directory",
        ),
        (
            &["no/such/parent"],
            "there is no directory `",
            "check the path, or make the directory first",
        ),
        (
            &["coffee/inner"],
            "lies in the course of `",
            "a new course needs a directory outside of it",
        ),
        (
            &["tea", "--languages", "english"],
            "invalid value 'english' for '--languages <LANG,..>'",
            "did you mean `en`?",
        ),
        (
            &["tea", "--languages", "en,xx"],
            "invalid value 'xx'",
            "a language is a code of two or three small letters",
        ),
        (
            &["tea", "--prog-lang", "rust"],
            "invalid value 'rust' for '--prog-lang <LANG>'",
            "[possible values: python, cpp, csharp, java, typescript]",
        ),
        (
            &["tea", "--title", "a\nb"],
            "the title has a line end",
            "write it in one line of plain text",
        ),
        (&["tea", "--title", " "], "the title is empty", "plain text"),
        (&[], "<DIR>", "Usage: clm new"),
    ] {
        let mut all = vec!["new"];
        all.extend(args);
        let ran = clm_in(&course, "", &all);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        for part in [message, hint] {
            assert!(ran.stderr.contains(part), "{args:?}: {}", ran.stderr);
        }
    }
    course.remove("link");
    assert_eq!(tree(&course.root()), before);
    assert!(!course.path("tea").exists());
}

/// A directory that nobody may write to, for users whom that concerns.
#[test]
fn a_read_only_directory_is_an_error_with_a_hint() {
    use std::os::unix::fs::PermissionsExt as _;
    let course = Course::empty();
    course.mkdir("closed/coffee");
    for dir in ["closed/coffee", "closed"] {
        let closed = std::fs::Permissions::from_mode(0o555);
        std::fs::set_permissions(course.path(dir), closed).unwrap();
    }
    if std::fs::write(course.path("closed/test"), "").is_ok() {
        eprintln!("skipped: the user may write everywhere");
        return;
    }
    for dir in ["closed/coffee", "closed/tea"] {
        let ran = clm_in(&course, "", &["new", dir]);
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        let said = &ran.stderr;
        assert!(said.contains("cannot "), "{said}");
        assert!(said.contains("hint: make the directory writable"), "{said}");
    }
}

#[test]
fn a_topic_is_added_and_built() {
    let (course, _) = started(&["--languages", "de,en"]);
    let new = |dir: &str, args: &[&str]| {
        let mut all = vec!["new", "topic"];
        all.extend(args);
        clm_in(&course, dir, &all)
    };
    let spec = || course.read("coffee/course.xml");
    let before = spec();
    let first = new("coffee/slides", &["milk_and_sugar"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    let deck = format!("{DECKS}/topic_030_milk_and_sugar/slides_milk_and_sugar.py");
    assert!(
        first.stderr.contains(&format!("  {deck}\n")),
        "{}",
        first.stderr
    );
    let topic = "        <topic>drinkable</topic>\n";
    let added = "        <topic>milk_and_sugar</topic>\n";
    assert_eq!(spec(), before.replace(topic, &format!("{topic}{added}")));
    let line = spec().lines().position(|line| line.trim() == added.trim());
    let place = format!("  course.xml, line {}\n", line.unwrap() + 1);
    assert!(first.stderr.contains(&place), "{}", first.stderr);

    // In a module of its own, with another programming language and a title.
    let args = ["oven", "--module", "cake", "--prog-lang", "cpp"];
    let second = new(
        "coffee",
        &[&args[..], &["--title", "Say \"oven\""]].concat(),
    );
    assert_eq!(second.code, 0, "{}", second.stderr);
    assert!(
        second
            .stderr
            .contains("The module `module_020_cake` is new\n"),
        "{}",
        second.stderr
    );
    assert!(spec().contains(
        "<name>Cake</name>\n      <topics>\n        <topic evaluate=\"no\">oven</topic>\n"
    ));
    // From inside of the first module, the topic is for that.
    let third = new(&format!("coffee/{DECKS}"), &["tea"]);
    assert_eq!(third.code, 0, "{}", third.stderr);
    assert!(spec().contains(&format!("{added}        <topic>tea</topic>\n")));

    // A topic that the author wrote into the specification before.
    course.edit(
        "coffee/course.xml",
        "<topic>tea</topic>",
        "<topic>tea</topic>\n        <topic>cocoa</topic>",
    );
    let before = spec();
    let fourth = new("coffee", &["cocoa", "--module", "coffee"]);
    assert_eq!(fourth.code, 0, "{}", fourth.stderr);
    assert!(fourth.stderr.contains(", as before\n"), "{}", fourth.stderr);
    assert_eq!(spec(), before);

    built(&course, &[]);
    for page in [
        "coffee-en/Slides/Html/Completed/First steps/05 Cocoa.html",
        "coffee-de/Folien/Html/Completed/Erste Schritte/03 Milk and sugar.html",
        "coffee-en/Slides/Html/Completed/First steps/04 Tea.html",
        "coffee-en/Slides/Html/Completed/Cake/01 Say oven.html",
    ] {
        output(&course, &format!("students/{page}"));
    }
    assert_eq!(built(&course, &[]).started(), [""; 0]);
}

#[test]
fn what_cannot_be_a_topic_is_an_error() {
    let (course, _) = started(&[]);
    course.write(&format!("coffee/{DECKS}/topic_500_idle/notes.txt"), "");
    let text = course.read("coffee/course.xml");
    let run = |dir: &str, args: &[&str]| {
        let mut all = vec!["new", "topic"];
        all.extend(args);
        clm_in(&course, dir, &all)
    };
    for (dir, args, message, hint) in [
        (
            "coffee",
            &["cooling"][..],
            "there is a topic `cooling` already: `slides/module_010_coffee/topic_010_cooling`",
            "choose another id",
        ),
        (
            "coffee",
            &["idle"],
            "there is a topic `idle` already",
            "add `<topic>idle</topic>` to `course.xml`",
        ),
        (
            "coffee",
            &["Café au lait"],
            "`Café au lait` cannot be the id of a topic",
            "such as `caf_au_lait`",
        ),
        (
            "coffee",
            &["tea", "--module", "cofee"],
            "there is no module `cofee`",
            "did you mean `coffee`? the modules are `module_010_coffee`",
        ),
        (
            "coffee",
            &["tea", "--module", "a/b"],
            "there is no module `a/b`",
            "use letters without accents",
        ),
        (
            "",
            &["tea"],
            "there is no `course.xml`",
            "start one with `clm new DIR`",
        ),
        ("coffee", &[], "<ID>", "Usage: clm new topic"),
    ] {
        let ran = run(dir, args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        for part in [message, hint] {
            assert!(ran.stderr.contains(part), "{args:?}: {}", ran.stderr);
        }
        assert_eq!(course.read("coffee/course.xml"), text);
    }
    course.write("coffee/course.xml", text.replace("</sections>", ""));
    let ran = run("coffee", &["tea"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("not well-formed XML"), "{}", ran.stderr);
    assert!(
        !course
            .path(&format!("coffee/{DECKS}/topic_510_tea"))
            .exists()
    );
}

/// The newcomer's way: an empty directory, `clm new`, `clm watch --serve`, and the course in a browser.
#[test]
fn from_nothing_to_the_screen() {
    let course = Course::empty();
    let new = clm_in(&course, "", &["new", "coffee", "--title", "Coffee"]);
    assert_eq!(new.code, 0, "{}", new.stderr);
    course.provide(&["coffee/course.xml"]);
    let said = course.path("said");
    let watching = Watching::start_with(
        &course,
        &["--serve", "127.0.0.1:0", "coffee/course.xml"],
        |command| {
            let file = std::fs::File::create(&said).unwrap();
            command.stderr(Stdio::from(file));
        },
    );
    let address = || {
        let said = std::fs::read_to_string(&said).unwrap();
        let (_, rest) = said.split_once("The preview is at ")?;
        Some(rest.lines().next()?.trim_end_matches('/').to_owned())
    };
    wait_until("there is no preview", || address().is_some());
    let run = watching.run();
    assert_eq!(run.errors(), Vec::<&_>::new());
    let address = address().unwrap();

    let mut browser = Browser::start();
    browser.open(&address);
    browser.wait("document.querySelectorAll('.deck').length === 2");
    browser.wait("document.body.innerText.includes('How coffee cools')");
    browser.picture("new-course");
    let page = |kind: &str, title: &str| {
        let target = if kind == "Trainer" {
            "trainer"
        } else {
            "students"
        };
        let title = title.replace(' ', "%20");
        format!("{address}/out/{target}/coffee-en/Slides/Html/{kind}/First%20steps/{title}.html")
    };
    browser.size(1200, 1600);
    browser.open(&page("Completed", "01 How coffee cools"));
    browser.wait(&is_seen("img/heat.png"));
    browser.wait(&is_seen("data:image/png"));
    browser.picture("new-cooling");
    browser.open(&page("Trainer", "02 When can you drink it"));
    browser.wait(&is_seen("img/plan.png"));
    browser.wait("document.body.innerText.includes('You can drink it after 6 minutes.')");
    browser.wait("document.body.innerText.includes('Ten minutes are enough.')");
    browser.picture("new-drinkable");

    // An edit appears by itself.
    let deck = Path::new("coffee")
        .join(DECKS)
        .join("topic_020_drinkable/slides_drinkable.py");
    course.edit(
        deck.to_str().unwrap(),
        "Ten minutes are enough.",
        "Five minutes are enough.",
    );
    browser.wait("document.body.innerText.includes('Five minutes are enough.')");
    // Pages name scripts of the network, which this browser does not have.
    let own = |complaint: &&String| !complaint.contains("ERR_NAME_NOT_RESOLVED");
    assert_eq!(browser.complaints.iter().find(own), None);
}
