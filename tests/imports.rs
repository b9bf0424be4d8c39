//! What a kernel imports is an input of the deck: packages of the course, installed ones, search paths, failed look-ups.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use crate::support::courses::wait_until;
use crate::support::renderers::{PYTHON, renderers};
use crate::support::{Course, Ran, Watching};

const ONE: &str = "slides/module_010_m/topic_010_one/slides_one.py";
const TWO: &str = "slides/module_010_m/topic_020_two/slides_two.py";

/// A course whose decks import from an environment of its own (`.venv`), from its directory `lib` by a `.pth` file, and
/// from a directory elsewhere by `PYTHONPATH`.
struct Packages {
    course: Course,
    site: PathBuf,
    elsewhere: tempfile::TempDir,
}

impl Packages {
    fn new() -> Self {
        let course = Course::with_topics(&["one", "two"]);
        let spec = &renderers(PYTHON).kernels.specs["python3"];
        let python = Path::new(&spec.argv[0]);
        let tools = site_of(python.parent().unwrap().parent().unwrap());
        let version = tools
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap();
        let base = python.canonicalize().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();

        let venv = course.path(".venv");
        let site = venv.join("lib").join(version).join("site-packages");
        std::fs::create_dir_all(site.join("ipykernel-1.0.dist-info")).unwrap();
        std::fs::create_dir_all(venv.join("bin")).unwrap();
        std::os::unix::fs::symlink(&base, venv.join("bin/python")).unwrap();
        let home = base.parent().unwrap().display();
        let settings = format!("home = {home}\ninclude-system-site-packages = false\n");
        std::fs::write(venv.join("pyvenv.cfg"), settings).unwrap();
        std::fs::write(site.join("tools.pth"), format!("{}\n", tools.display())).unwrap();
        let packages = Self {
            course,
            site,
            elsewhere,
        };
        packages.point_to("lib");
        packages.install("first");
        let course = &packages.course;
        let elsewhere = packages.elsewhere.path().canonicalize().unwrap();
        course.write(".env", format!("PYTHONPATH={}\n", elsewhere.display()));
        course.write("lib/edited/__init__.py", "from .inner import value\n");
        course.write(
            "lib/edited/inner.py",
            "from pathlib import Path\nvalue = 'first'\n\
                 data = (Path(__file__).parent / 'data.txt').read_text()\n",
        );
        course.write("lib/edited/data.txt", "first");
        course.write(
            "lib/other/edited/__init__.py",
            "value = 'other'\n\
             class inner:\n    data = 'other'\n",
        );
        packages.write("outside.py", "value = 'first'\n");
        course.write(ONE, "# %%\nimport edited.inner, installed, outside\ntry:\n    import late\nexcept ImportError:\n    \
             late = None\n\n# %%\nprint('edited', edited.value, edited.inner.data)\nprint('installed', installed.value)\n\
             print('outside', outside.value, 'late', late and late.value)\n");
        course.write(
            TWO,
            "# %%\nimport missing\n\n# %%\nprint('missing', missing.value)\n",
        );
        packages
    }

    /// Makes a directory of the course one that modules come from.
    fn point_to(&self, dir: &str) {
        let line = format!("{}\n", self.course.path(dir).display());
        std::fs::write(self.site.join("course.pth"), line).unwrap();
    }

    /// Installs the package `installed` anew, as the same version.
    fn install(&self, value: &str) {
        let record =
            format!("installed/__init__.py,sha256={value},20\ninstalled-1.0.dist-info/RECORD,,\n");
        for (file, text) in [
            ("installed/__init__.py", format!("value = '{value}'\n")),
            ("installed-1.0.dist-info/RECORD", record),
        ] {
            let file = self.site.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            let _ = std::fs::remove_file(&file);
            std::fs::write(file, text).unwrap();
        }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.elsewhere.path().join(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.elsewhere.path().join(name)).unwrap();
    }

    /// What `clm build --check` says.
    fn check(&self) -> Ran {
        self.course
            .clm(&["build", "--check", "--no-daemon", "-L", "en"])
    }

    fn build(&self) -> Ran {
        self.course.build(&["--no-daemon", "-L", "en"])
    }

    /// The text of the pages that were executed.
    fn pages(&self) -> String {
        let mut found = String::new();
        for path in self.course.outputs().keys() {
            if path.ends_with(".html") {
                found += &self.course.read(&format!("output/{path}"));
            }
        }
        found
    }
}

/// The directory that packages are installed in.
fn site_of(prefix: &Path) -> PathBuf {
    let mut versions = std::fs::read_dir(prefix.join("lib")).unwrap().flatten();
    let version = versions.find(|entry| entry.path().join("site-packages").is_dir());
    version.unwrap().path().join("site-packages")
}

fn copy(source: &Path, target: &Path) {
    let status = std::process::Command::new("cp")
        .args(["-a", &format!("{}/.", source.display())])
        .arg(target)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn what_a_kernel_imports_is_an_input() {
    let packages = Packages::new();
    let course = &packages.course;
    let ran = packages.build();
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(
        ran.error_in(TWO)
            .message
            .contains("No module named 'missing'")
    );
    let pages = packages.pages();
    for text in [
        "edited first first",
        "installed first",
        "outside first late None",
    ] {
        assert!(pages.contains(text), "{text}\n{}", ran.stdout);
    }
    // What failed is tried again when what it looked for is there.
    packages.write("missing.py", "value = 'first'\n");
    let ran = packages.check();
    let said = ran.stdout + &ran.stderr;
    assert!(said.contains("came or went that it looks for"), "{said}");
    let ran = packages.build();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(packages.pages().contains("missing first"));
    let fresh = packages.check();
    assert_eq!(fresh.code, 0, "{}\n{}", fresh.stdout, fresh.stderr);

    // Every change is seen, names what changed, and is forgotten when it is taken back.
    type Step<'a> = (&'a str, &'a str, &'a dyn Fn(), &'a dyn Fn());
    let steps: &[Step<'_>] = &[
        (
            "an editable package",
            "`lib/edited/inner.py`, which it reads, changed",
            &|| course.edit("lib/edited/inner.py", "'first'", "'again'"),
            &|| course.edit("lib/edited/inner.py", "'again'", "'first'"),
        ),
        (
            "a file that a package reads",
            "`lib/edited/data.txt`, which it reads, changed",
            &|| course.write("lib/edited/data.txt", "again"),
            &|| course.write("lib/edited/data.txt", "first"),
        ),
        (
            "another installation of the same version",
            "that it imports were installed anew",
            &|| packages.install("again"),
            &|| packages.install("first"),
        ),
        (
            "a module on the search path",
            "outside.py`, which it reads, changed",
            &|| packages.write("outside.py", "value = 'again'\n"),
            &|| packages.write("outside.py", "value = 'first'\n"),
        ),
        (
            "a module that was looked for in vain",
            "came or went that it looks for",
            &|| packages.write("late.py", "value = 'again'\n"),
            &|| packages.remove("late.py"),
        ),
        (
            "a module in front of an installed one",
            "came or went that it looks for",
            &|| packages.write("installed.py", "value = 'again'\n"),
            &|| packages.remove("installed.py"),
        ),
        (
            "a module in front of one of the standard library",
            "came or went that it looks for",
            &|| packages.write("colorsys.py", ""),
            &|| packages.remove("colorsys.py"),
        ),
        (
            "a package that was looked for in vain",
            "came or went that it looks for",
            &|| course.write("lib/late/__init__.py", ""),
            &|| std::fs::remove_dir_all(course.path("lib/late")).unwrap(),
        ),
        (
            "a search path file that leads elsewhere",
            "the `.pth` files in",
            &|| packages.point_to("lib/other"),
            &|| packages.point_to("lib"),
        ),
    ];
    for (what, reason, change, take_back) in steps {
        change();
        let ran = packages.check();
        assert_eq!(ran.code, 4, "{what}: {}\n{}", ran.stdout, ran.stderr);
        let said = ran.stdout + &ran.stderr;
        assert!(said.contains(reason), "{what}: {said}");
        take_back();
        let ran = packages.check();
        assert_eq!(
            ran.code, 0,
            "{what}, taken back: {}\n{}",
            ran.stdout, ran.stderr
        );
    }
    // What nothing looks for is no input.
    packages.write("unrelated.py", "");
    course.write("lib/unrelated.py", "");
    assert_eq!(packages.check().code, 0);

    for (_, _, change, _) in &steps[..5] {
        change();
    }
    let ran = packages.build();
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let pages = packages.pages();
    for text in [
        "edited again again",
        "installed again",
        "outside again late again",
    ] {
        assert!(pages.contains(text), "{text}\n{}", ran.stdout);
    }

    // The same content in another directory gives the same results.
    let clone = Course::with_topics(&["one", "two"]);
    copy(&course.root(), &clone.root());
    let line = format!("{}\n", clone.path("lib").display());
    let site = packages.site.strip_prefix(course.root()).unwrap();
    std::fs::write(clone.root().join(site).join("course.pth"), line).unwrap();
    let ran = clone.build(&["--no-daemon", "-L", "en"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.jobs().is_empty(), "{:?}", ran.jobs());
}

#[test]
fn a_watch_executes_again_what_imports_a_changed_package() {
    let packages = Packages::new();
    packages.write("missing.py", "value = 'first'\n");
    let course = &packages.course;
    let watch = Watching::start(course, &["-L", "en"]);
    let executes = |value: &str| {
        watch.run_until(|_| packages.pages().contains(value));
    };
    executes("edited first");
    course.edit("lib/edited/inner.py", "'first'", "'again'");
    executes("edited again");
    packages.write("outside.py", "value = 'again'\n");
    executes("outside again");
    packages.write("late.py", "value = 'again'\n");
    // Nothing tells of it; a build looks.
    packages.install("again");
    let ran = course.build(&["-L", "en"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let pages = packages.pages();
    assert!(pages.contains("installed again") && pages.contains("late again"));
}

#[test]
fn what_is_installed_while_it_is_imported_ahead_is_not_served_from_before() {
    let packages = Packages::new();
    let course = &packages.course;
    let apart = tempfile::tempdir().unwrap();
    let marks = apart.path().join("marks");
    let mark = format!("open({:?}, 'a').write('x')\n", marks.display());
    let imported = || std::fs::metadata(&marks).map_or(0, |marks| marks.len());
    let slow = format!("import time\ntime.sleep(0.6)\n{mark}");
    std::fs::write(packages.site.join("slow.py"), slow).unwrap();
    let first = format!("value = 'first'\n{mark}");
    std::fs::write(packages.site.join("installed/__init__.py"), first).unwrap();
    course.write(
        ONE,
        "# %%\nimport installed, slow\n\n# %%\nprint('installed', installed.value)\n",
    );
    course.write(TWO, "# %%\n1\n");
    let watch = Watching::start(course, &["-L", "en"]);
    watch.run_until(|_| packages.pages().contains("installed first"));
    // After the kernels of the first build, the process that prepares for the next one imports both.
    let by_kernels = imported();
    wait_until("one is imported ahead", || imported() > by_kernels);
    packages.install("again");
    wait_until("both are imported ahead", || imported() > by_kernels + 1);
    for edit in ["'it is installed'", "'now it is installed'"] {
        course.edit(ONE, "'installed'", edit);
        let ran = course.build(&["-L", "en"]);
        assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
        let pages = packages.pages();
        course.edit(ONE, edit, "'installed'");
        let is_new = pages.contains("installed again") && !pages.contains("installed first");
        assert!(is_new, "{pages}");
    }
}

#[test]
fn a_build_that_asks_a_watch_finds_imports_unchanged() {
    let packages = Packages::new();
    packages.write("missing.py", "value = 'first'\n");
    let course = &packages.course;
    let log = packages.elsewhere.path().join("log");
    let file = std::fs::File::create(&log).unwrap();
    let watch = Watching::start_with(course, &[], |command| {
        command.env("CLM_LOG", "clm=debug").stderr(file);
    });
    watch.run_until(|_| packages.pages().contains("edited first"));
    watch.until_settled(course);
    // The first build has lists of outputs to write, and after one of the first the watch bounds the cache, which the next
    // one sees.
    for _ in 0..2 {
        assert_eq!(course.build(&[]).code, 0);
        watch.until_settled(course);
    }
    let log = || std::fs::read_to_string(&log).unwrap();
    let rounds = || log().matches(":round: clm::engine::run: close").count();
    let before = rounds();
    assert!(before > 0, "{}", log());
    for _ in 0..3 {
        let ran = course.build(&[]);
        assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
        assert!(ran.notes().is_empty(), "{:?}", ran.notes());
    }
    watch.until_settled(course);
    // Each was answered from what is known, without a plan and a decision about every action.
    assert_eq!(rounds(), before, "{}", log());
}
