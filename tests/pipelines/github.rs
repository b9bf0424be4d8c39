//! GitHub: the composite action, the example workflow, and the workflow of the README.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use yaml_rust2::Yaml;

use super::{Machine, copy, project, yaml};
use crate::support::Course;

const ACTION: &str = "contrib/ci/github/action.yml";

/// Runs steps as GitHub does.
struct Runner<'a> {
    machine: &'a Machine,
    /// The caches of the repository, by key.
    caches: &'a Path,
    run_id: u32,
    ran: Ran,
}

/// What a job did.
#[derive(Debug, Default)]
struct Ran {
    log: String,
    /// What the page of the job shows.
    page: String,
    /// The key of the cache that was restored.
    restored: Option<String>,
    saved: Vec<String>,
    has_failed: bool,
}

/// The values that expressions may name.
type Values = BTreeMap<String, String>;

fn text(yaml: &Yaml) -> String {
    match yaml {
        Yaml::String(text) => text.clone(),
        Yaml::Boolean(value) => value.to_string(),
        Yaml::Integer(value) => value.to_string(),
        Yaml::BadValue => String::new(),
        other => panic!("{other:?}"),
    }
}

fn entries(yaml: &Yaml) -> Vec<(String, Yaml)> {
    let entries = yaml.as_hash().into_iter().flatten();
    entries
        .map(|(name, value)| (text(name), value.clone()))
        .collect()
}

/// The value of an expression. Any that this does not know is a mistake in the file.
fn value(expression: &str, values: &Values) -> String {
    if expression.starts_with("hashFiles(") {
        return "0123456789abcdef".to_owned();
    }
    let is_output = expression.starts_with("steps.") && expression.contains(".outputs.");
    match values.get(expression) {
        Some(value) => value.clone(),
        None if is_output => String::new(),
        None => panic!("there is no `{expression}`"),
    }
}

/// Replaces `${{ .. }}`.
fn expanded(text: &str, values: &Values) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (expression, tail) = after.split_once("}}").unwrap();
        result += before;
        result += &value(expression.trim(), values);
        rest = tail;
    }
    result + rest
}

impl Runner<'_> {
    fn is_wanted(&self, condition: &str, values: &Values) -> bool {
        let parts = condition.split("&&").map(str::trim);
        let is_always = condition.contains("always()");
        let holds = parts
            .filter(|part| !["", "always()"].contains(part))
            .all(|part| {
                let (name, expected, is_equal) = match part.split_once(" == ") {
                    Some((name, expected)) => (name, expected, true),
                    None => {
                        let (name, expected) = part.split_once(" != ").unwrap();
                        (name, expected, false)
                    }
                };
                (value(name, values) == expected.trim_matches('\'')) == is_equal
            });
        holds && (is_always || !self.ran.has_failed)
    }

    fn steps(&mut self, steps: &Yaml, values: &mut Values) {
        for step in steps.as_vec().unwrap() {
            if !self.is_wanted(&text(&step["if"]), values) {
                continue;
            }
            let with: Vec<(String, String)> = entries(&step["with"])
                .into_iter()
                .map(|(name, given)| (name, expanded(&text(&given), values)))
                .collect();
            let outputs = match (text(&step["uses"]), step["run"].as_str()) {
                (uses, None) => self.uses(&uses, &with),
                (_, Some(script)) => self.run(step, script, values),
            };
            let id = text(&step["id"]);
            for (name, output) in outputs {
                values.insert(format!("steps.{id}.outputs.{name}"), output);
            }
        }
    }

    fn run(&mut self, step: &Yaml, script: &str, values: &Values) -> Values {
        assert!(
            ["bash", ""].contains(&text(&step["shell"]).as_str()),
            "{step:?}"
        );
        assert!(
            !script.contains("${{"),
            "values go into scripts by variables: {script}"
        );
        let file = |name: &str| self.machine.home.path().join(name);
        let (output, page) = (file("output"), file("page"));
        fs::write(&output, "").unwrap();
        let mut command = self.machine.command("bash");
        command
            .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script])
            .env("CI", "true")
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_OUTPUT", &output)
            .env("GITHUB_STEP_SUMMARY", &page)
            .env("GITHUB_WORKSPACE", self.machine.root());
        for (name, given) in entries(&step["env"]) {
            command.env(name, expanded(&text(&given), values));
        }
        let done = command.output().unwrap();
        self.ran.log += &String::from_utf8_lossy(&done.stdout);
        self.ran.log += &String::from_utf8_lossy(&done.stderr);
        self.ran.has_failed |= !done.status.success();
        self.ran.page += &fs::read_to_string(&page).unwrap_or_default();
        let _ = fs::remove_file(&page);
        outputs(&fs::read_to_string(&output).unwrap())
    }

    fn uses(&mut self, action: &str, with: &[(String, String)]) -> Values {
        let given = |name: &str| {
            let found = with.iter().find(|(other, _)| other == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        match action {
            "actions/checkout@v4" => {}
            "actions/cache/restore@v4" => {
                let mut prefixes = vec![given("key")];
                prefixes.extend(
                    given("restore-keys")
                        .lines()
                        .map(|line| line.trim().to_owned()),
                );
                self.ran.restored = self.restore(&prefixes, &given("path"));
            }
            "actions/cache/save@v4" => {
                let cache = self.caches.join(given("key"));
                assert!(!cache.exists(), "a cache is never replaced");
                copy(&self.local(&given("path")), &cache.join("content"));
                fs::write(cache.join("path"), given("path")).unwrap();
                self.ran.saved.push(given("key"));
            }
            "actions/upload-artifact@v4" => {
                for path in given("path").lines() {
                    assert!(self.local(path).exists(), "`{path}` is not there");
                }
            }
            "OWNER/clm/contrib/ci/github@main" => self.action(with),
            other => panic!("unknown action `{other}`"),
        }
        Values::new()
    }

    fn local(&self, path: &str) -> PathBuf {
        match path.strip_prefix("~/") {
            Some(path) => self.machine.home.path().join(path),
            None => self.machine.root().join(path),
        }
    }

    /// Restores the newest cache of the first prefix that has one. Like GitHub's, caches are of one text of the path.
    fn restore(&self, prefixes: &[String], path: &str) -> Option<String> {
        for prefix in prefixes.iter().filter(|prefix| !prefix.is_empty()) {
            let caches = fs::read_dir(self.caches).unwrap();
            let names = caches.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let is_usable = |name: &String| {
                let saved = fs::read_to_string(self.caches.join(name).join("path")).unwrap();
                name.starts_with(prefix.as_str()) && saved == path
            };
            if let Some(name) = names.filter(is_usable).max() {
                copy(&self.caches.join(&name).join("content"), &self.local(path));
                return Some(name);
            }
        }
        None
    }

    fn action(&mut self, with: &[(String, String)]) {
        let action = yaml(&fs::read_to_string(project(ACTION)).unwrap());
        let mut values = self.values();
        let inputs = entries(&action["inputs"]);
        for (name, _) in with {
            assert!(
                inputs.iter().any(|(known, _)| known == name),
                "no input `{name}`"
            );
        }
        for (name, input) in inputs {
            let given = with.iter().find(|(other, _)| *other == name);
            let value = given.map_or_else(|| text(&input["default"]), |(_, value)| value.clone());
            values.insert(format!("inputs.{name}"), value);
        }
        assert_eq!(text(&action["runs"]["using"]), "composite");
        let steps = action["runs"]["steps"].as_vec().unwrap();
        let scripts = steps.iter().filter(|step| step["run"].as_str().is_some());
        for step in scripts {
            assert_eq!(text(&step["shell"]), "bash", "an action must name it");
        }
        self.steps(&action["runs"]["steps"], &mut values);
    }

    fn values(&self) -> Values {
        let values = [
            ("github.run_id", self.run_id.to_string()),
            ("github.run_attempt", "1".to_owned()),
            ("runner.os", "Linux".to_owned()),
            ("runner.arch", "X64".to_owned()),
        ];
        values.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

/// The outputs that a step wrote: `name=value`, or several lines between `name<<END` and `END`.
fn outputs(text: &str) -> Values {
    let mut values = Values::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (name, value) = match line.split_once("<<") {
            Some((name, end)) if !name.contains('=') => {
                let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
                (name, value.join("\n"))
            }
            _ => {
                let (name, value) = line.split_once('=').unwrap();
                (name, value.to_owned())
            }
        };
        values.insert(name.to_owned(), value);
    }
    values
}

fn workflow(machine: &Machine, caches: &Path, run_id: u32, text: &str) -> Ran {
    let workflow = yaml(text);
    let jobs = entries(&workflow["jobs"]);
    assert_eq!(jobs.len(), 1);
    let mut runner = Runner {
        machine,
        caches,
        run_id,
        ran: Ran::default(),
    };
    let mut values = runner.values();
    runner.steps(&jobs[0].1["steps"], &mut values);
    runner.ran
}

/// The workflow that the README shows.
fn of_readme() -> String {
    let readme = fs::read_to_string(project("README.md")).unwrap();
    let (_, section) = readme.split_once("\n## CI\n").unwrap();
    let (_, block) = section.split_once("```yaml\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[test]
fn a_second_run_of_the_workflow_makes_nothing_and_needs_no_renderers() {
    let example = fs::read_to_string(project("contrib/ci/github/course.yml")).unwrap();
    let caches = tempfile::tempdir().unwrap();
    let first = Machine::new(true);
    let ran = workflow(&first, caches.path(), 1, &example);
    assert!(!ran.has_failed, "{}", ran.log);
    assert_eq!((ran.restored, ran.saved.len()), (None, 1), "{}", ran.log);
    assert!(ran.log.contains("::group::What clm made"), "{}", ran.log);
    assert!(ran.page.contains("What was made and why"), "{}", ran.page);

    // The workflow of the README, on a machine without renderers.
    let readme = of_readme();
    assert!(readme.lines().count() <= 20, "{readme}");
    let second = Machine::new(false);
    let ran = workflow(&second, caches.path(), 2, &readme);
    assert!(!ran.has_failed, "{}", ran.log);
    assert!(ran.restored.is_some(), "{}", ran.log);
    second.made_nothing();
    assert_eq!(ran.saved, Vec::<String>::new(), "nothing is new");
    assert!(ran.page.contains("(100 %)"), "{}", ran.page);
    assert_eq!(first.course.outputs(), second.course.outputs());

    // After an edit the cache of the earlier commit is taken, and a new one is saved.
    let third = Machine::new(true);
    third.course.edit(
        "slides/module_010_mini/topic_010_first/pu/flow.pu",
        "@enduml",
        "note left: new\n@enduml",
    );
    let ran = workflow(&third, caches.path(), 3, &example);
    assert!(!ran.has_failed && ran.restored.is_some(), "{}", ran.log);
    let summary = third.summary();
    let built = summary["built_actions"].as_array().unwrap();
    assert!(
        !built.is_empty() && !format!("{built:?}").contains("execute"),
        "{summary}"
    );
    assert_eq!(ran.saved.len(), 1);
}

/// The workflow that `clm new` writes.
#[test]
fn the_workflow_of_a_new_course_makes_nothing_twice() {
    let caches = tempfile::tempdir().unwrap();
    let machine = |has_tools: bool| {
        let course = Course::empty();
        let new = course.clm(&["new", ".", "--title", "New", "--languages", "de"]);
        assert_eq!(new.code, 0, "{}", new.stderr);
        // Otherwise they are called after their temporary directories.
        let spec = course.read("course.xml");
        let (before, rest) = spec.split_once("<project-slug>").unwrap();
        let (_, after) = rest.split_once("</project-slug>").unwrap();
        course.write("course.xml", format!("{before}{after}"));
        Machine::of(course, has_tools)
    };
    let first = machine(true);
    let text = first.course.read(".github/workflows/course.yml");
    let ran = workflow(&first, caches.path(), 1, &text);
    assert!(!ran.has_failed, "{}", ran.log);
    assert_eq!((ran.restored, ran.saved.len()), (None, 1), "{}", ran.log);

    let second = machine(false);
    let ran = workflow(&second, caches.path(), 2, &text);
    assert!(!ran.has_failed && ran.restored.is_some(), "{}", ran.log);
    assert_eq!(ran.saved, Vec::<String>::new(), "nothing is new");
    assert!(ran.page.contains("(100 %)"), "{}", ran.page);
    assert_eq!(first.course.outputs(), second.course.outputs());
}

#[test]
fn a_failure_is_an_annotation_and_its_results_are_saved() {
    let caches = tempfile::tempdir().unwrap();
    let machine = Machine::new(true);
    let spec = machine.course.read("course.xml");
    machine.course.write(
        "course.xml",
        spec.replace("</topics>", "<topic>no</topic></topics>"),
    );
    let with = [
        ("spec", "course.xml"),
        ("arguments", "--formats\nnotebook,code\n\n--verbose"),
        ("reports", "the reports"),
        ("setup", "false"),
    ];
    let with = with.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut runner = Runner {
        machine: &machine,
        caches: caches.path(),
        run_id: 1,
        ran: Ran::default(),
    };
    runner.action(&with);
    let ran = runner.ran;
    assert!(ran.has_failed);
    assert!(
        ran.log.contains("::error file=course.xml,line="),
        "{}",
        ran.log
    );
    assert!(ran.page.contains("has errors"), "{}", ran.page);
    assert!(
        machine
            .course
            .read("the reports/junit.xml")
            .contains("<testsuites")
    );

    // A specification that cannot be read at all.
    machine.course.write("course.xml", "<course>");
    let mut runner = Runner {
        machine: &machine,
        caches: caches.path(),
        run_id: 2,
        ran: Ran::default(),
    };
    runner.action(&with);
    assert!(runner.ran.has_failed, "{}", runner.ran.log);
}
