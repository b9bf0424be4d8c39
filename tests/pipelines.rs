//! The files in `contrib/ci`, and the workflow of the README: their steps are taken out of them and run, in a clean
//! directory with a clean home, with a cache that is kept between two runs. No container is started, and nothing is
//! downloaded: steps that install clm find it.

mod docker;
mod github;
mod gitlab;
mod hook;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use crate::support::Course;
use crate::support::renderers::tools_dir;

/// A file of the project.
fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn yaml(text: &str) -> Yaml {
    YamlLoader::load_from_str(text).unwrap().remove(0)
}

/// A machine that has never built the course: another checkout, another home, and the caches of the system.
struct Machine {
    course: Course,
    home: tempfile::TempDir,
    has_tools: bool,
}

impl Machine {
    fn new(has_tools: bool) -> Self {
        Self::of(Course::fixture("mini"), has_tools)
    }

    /// A machine with this course.
    fn of(course: Course, has_tools: bool) -> Self {
        if has_tools {
            course.provide(&[]);
        }
        let git = |args: &[&str]| {
            let mut command = Command::new("git");
            let done = command.args(args).current_dir(course.root()).output();
            assert!(done.unwrap().status.success(), "git {args:?}");
        };
        git(&["init", "--quiet"]);
        Self {
            course,
            home: tempfile::tempdir().unwrap(),
            has_tools,
        }
    }

    fn root(&self) -> PathBuf {
        self.course.root()
    }

    /// A command with nothing of this machine's environment. Without tools there is neither Python nor Java.
    fn command(&self, program: &str) -> Command {
        let bin = self.home.path().join("bin");
        if !bin.exists() {
            std::fs::create_dir(&bin).unwrap();
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_clm"), bin.join("clm")).unwrap();
            for name in ["bash", "cat", "chmod", "git", "grep", "mkdir"] {
                std::os::unix::fs::symlink(found(name), bin.join(name)).unwrap();
            }
            // It would install clm, which is there.
            std::os::unix::fs::symlink(found("true"), bin.join("pipx")).unwrap();
        }
        let tools = match self.has_tools {
            true => tools_dir(),
            false => self.home.path().join("no-tools"),
        };
        let mut path = bin.clone().into_os_string();
        if self.has_tools {
            path.push(":");
            path.push(std::env::var_os("PATH").unwrap());
        }
        let mut command = Command::new(bin.join(program));
        command
            .env_clear()
            .current_dir(self.root())
            .env("PATH", path)
            .env("HOME", self.home.path())
            .env("CLM_TOOLS_DIR", tools);
        command
    }

    /// The JSON summary of the last build.
    fn summary(&self) -> Value {
        serde_json::from_str(&self.course.read("clm-reports/summary.json")).unwrap()
    }

    /// Asserts that the last build restored everything and made nothing.
    fn made_nothing(&self) {
        let summary = self.summary();
        assert_eq!(summary["outcome"], "success", "{summary}");
        assert_eq!(summary["built"], 0, "{summary}");
        assert!(summary["restored"].as_u64().unwrap() > 0, "{summary}");
    }
}

/// The path of a program on this machine.
fn found(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut found = std::env::split_paths(&path).map(|dir| dir.join(program));
    found.find(|file| file.is_file()).unwrap()
}

/// Copies a directory with all modes.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    let done = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(done.unwrap().success(), "{}", from.display());
}
