//! GitLab: the example job.

use std::fs;
use std::path::Path;

use yaml_rust2::Yaml;

use super::{Machine, copy, project, yaml};

fn texts(yaml: &Yaml) -> Vec<&str> {
    yaml.as_vec()
        .unwrap()
        .iter()
        .map(|item| item.as_str().unwrap())
        .collect()
}

/// Runs the job as GitLab does: restores its cache, runs the script, saves the cache, collects the artifacts.
fn run(machine: &Machine, cache: &Path, job: &Yaml) -> String {
    let root = machine.root();
    for path in texts(&job["cache"]["paths"]) {
        let kept = cache.join(path.trim_end_matches('/'));
        if kept.exists() {
            copy(&kept, &root.join(path.trim_end_matches('/')));
        }
    }
    let mut log = String::new();
    for scripts in ["script", "after_script"] {
        let script = texts(&job[scripts]).join("\n");
        let mut command = machine.command("bash");
        command
            .args(["-eo", "pipefail", "-c", &script])
            .env("CI", "true")
            .env("GITLAB_CI", "true")
            .env("CI_PROJECT_DIR", &root);
        for (name, value) in job["variables"].as_hash().unwrap() {
            command.env(name.as_str().unwrap(), value.as_str().unwrap());
        }
        let done = command.output().unwrap();
        log += &String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{log}");
    }
    for path in texts(&job["cache"]["paths"]) {
        let path = path.trim_end_matches('/');
        let _ = fs::remove_dir_all(cache.join(path));
        copy(&root.join(path), &cache.join(path));
    }
    let junit = job["artifacts"]["reports"]["junit"].as_str().unwrap();
    for path in texts(&job["artifacts"]["paths"]).into_iter().chain([junit]) {
        assert!(root.join(path).exists(), "`{path}` is not there");
    }
    roxmltree::Document::parse(&machine.course.read(junit)).unwrap();
    log
}

#[test]
fn a_second_run_of_the_job_makes_nothing_and_needs_no_renderers() {
    let text = fs::read_to_string(project("contrib/ci/gitlab/course.gitlab-ci.yml")).unwrap();
    let job = &yaml(&text)["course"];
    let cache = tempfile::tempdir().unwrap();
    let first = Machine::new(true);
    let log = run(&first, cache.path(), job);
    assert!(log.contains("section_start:"), "{log}");
    let second = Machine::new(false);
    run(&second, cache.path(), job);
    second.made_nothing();
    assert_eq!(first.course.outputs(), second.course.outputs());
    assert!(
        second
            .course
            .read("clm-reports/summary.md")
            .contains("(100 %)")
    );
}
