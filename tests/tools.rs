//! Installing renderers: what is needed and nothing more, once, whatever happens in between.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clm::testing::tools::{Context, Needs, locate};

use crate::support::Course;
use crate::support::renderers::{provide, renderers};

fn setup(course: &Course, tools: &Path) -> Child {
    course
        .bare_command(&["setup", "course.xml"])
        .env("CLM_TOOLS_DIR", tools)
        .env_remove("PLANTUML_JAR")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn names(tools: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(tools)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn setup_survives_being_killed_and_being_run_twice_at_once() {
    let course = Course::with_topics(&["one"]);
    course.write(
        "slides/m/topic_010_one/pu/a.pu",
        "@startuml\nclass A\n@enduml\n",
    );
    let tools = tempfile::tempdir().unwrap();
    let mut killed = setup(&course, tools.path());
    std::thread::sleep(Duration::from_millis(700));
    killed.kill().unwrap();
    killed.wait().unwrap();

    let both: Vec<Child> = (0..2).map(|_| setup(&course, tools.path())).collect();
    let mut installed = 0;
    for child in both {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        installed += said.matches("Installed plantuml").count();
        assert!(
            String::from_utf8_lossy(&output.stdout)
                .contains("PlantUML 1.2026.8 (installed by clm)")
        );
    }
    assert_eq!(installed, 1, "it was installed more than once");
    let found = names(tools.path());
    assert!(
        found.iter().any(|name| name.starts_with("plantuml-")),
        "{found:?}"
    );
    // Nothing that this course does not need, and nothing unfinished.
    for name in ["drawio-", "chromium-", "new-"] {
        assert!(
            !found.iter().any(|other| other.starts_with(name)),
            "{found:?}"
        );
    }
    let again = setup(&course, tools.path()).wait_with_output().unwrap();
    assert!(
        !String::from_utf8_lossy(&again.stderr).contains("Install"),
        "{again:?}"
    );

    let output = course
        .bare_command(&["build", "--message-format", "json"])
        .env("CLM_TOOLS_DIR", tools.path())
        .output()
        .unwrap();
    assert_eq!(crate::support::ran(output).counts().failed, 0);
}

/// An execution needs one renderer, and the page of what it printed another, of which the first round of the build does not
/// know.
#[test]
fn a_build_installs_what_each_of_its_rounds_needs_and_nothing_for_known_results() {
    let course = Course::with_topics(&["one"]);
    course.edit("course.xml", ">python<", ">typescript<");
    course.write(
        "slides/m/topic_010_one/slides_one.ts",
        "// j2 from 'macros.j2' import header\n// {{ header(\"Eins\", \"One\") }}\n// %% tags=[\"keep\"]\nconsole.log(\"printed\")\n",
    );
    let home = tempfile::tempdir().unwrap();
    let build = |course: &Course, tools: &Path, args: &[&str]| {
        let selected = [
            "--kinds",
            "completed",
            "--formats",
            "html",
            "--languages",
            "en",
        ];
        let output = course
            .bare_command(&[args, &selected].concat())
            .env("CLM_TOOLS_DIR", tools)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr)
    };
    let tools = home.path().join("tools");
    let said = build(&course, &tools, &["build", "--setup"]);
    let at = |words: &str| {
        said.find(words)
            .unwrap_or_else(|| panic!("{words} is missing in {said}"))
    };
    assert!(at("Installed deno") < at("built execute"), "{said}");
    assert!(at("built execute") < at("Installed python"), "{said}");
    assert!(at("Installed python") < at("built html"), "{said}");
    let outputs = course.outputs();
    let page = outputs
        .keys()
        .find(|name| name.ends_with("One.html"))
        .unwrap_or_else(|| panic!("{outputs:?}"));
    assert!(course.read(&format!("output/{page}")).contains("printed"));

    let archive = home.path().join("archive");
    let exported = course
        .bare_command(&["cache", "export", "--all", archive.to_str().unwrap()])
        .status();
    assert!(exported.unwrap().success());
    let other = course.cloned();
    let imported = other
        .bare_command(&["cache", "import", archive.to_str().unwrap()])
        .status();
    assert!(imported.unwrap().success());
    let none = home.path().join("none");
    let said = build(&other, &none, &["build", "--setup"]);
    assert!(said.contains("Built 0,"), "{said}");
    assert!(!said.contains("Install"), "{said}");
    assert_eq!(other.outputs(), outputs);
}

#[test]
fn the_doctor_tests_every_renderer() {
    provide(Needs::everything());
    let output = Command::new(env!("CARGO_BIN_EXE_clm"))
        .arg("doctor")
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    for works in [
        "ok Python kernel works",
        "ok HTML renderer works",
        "ok PlantUML works",
        "ok draw.io works",
        "ok file events arrive",
    ] {
        assert!(said.contains(works), "{works} is missing in {said}");
    }
    assert!(said.contains("fs.inotify.max_user_watches"), "{said}");
}

#[test]
fn fingerprints_name_versions_and_no_paths() {
    let tools = renderers(Needs::everything());
    let context = Context::of_process(None);
    let kernel = &tools.kernels.specs["python3"].fingerprint;
    for fingerprint in [
        &tools.html.as_ref().unwrap().fingerprint,
        kernel,
        &tools.plantuml.as_ref().unwrap().fingerprint,
        tools.drawio.as_ref().unwrap().fingerprint(),
    ] {
        assert!(!fingerprint.contains('/'), "{fingerprint}");
        assert!(
            fingerprint.chars().any(|c| c.is_ascii_digit()),
            "{fingerprint}"
        );
    }
    let (again, found) = locate::locate(&context);
    assert_eq!(&again.kernels.specs["python3"].fingerprint, kernel);
    assert!(
        found.iter().all(|entry| !entry.version.is_empty()),
        "{found:?}"
    );
}
