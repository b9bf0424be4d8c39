//! Machines that share results: each has a checkout of a course and a home directory of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use clm::testing::tools::Context;

use super::{Course, Ran, ran};

/// A machine: a checkout of a course, with a home directory of its own.
pub struct Machine {
    pub course: Course,
    home: tempfile::TempDir,
    variables: BTreeMap<&'static str, String>,
    tools: PathBuf,
}

impl Machine {
    pub fn new(course: &Course, remote: &str) -> Self {
        let mut variables = BTreeMap::new();
        variables.insert("CLM_CACHE_REMOTE", remote.to_owned());
        // More than by default: on a busy machine a good server may be slow, and then results are rightly not shared.
        variables.insert("CLM_CACHE_MAX_WAIT", "20 s".to_owned());
        Self {
            course: course.cloned(),
            home: tempfile::tempdir().unwrap(),
            variables,
            tools: Context::of_process(None).tools_dir,
        }
    }

    /// A machine without Python, Java, a browser, and without the renderers of clm.
    pub fn bare(course: &Course, remote: &str) -> Self {
        let mut machine = Self::new(course, remote);
        machine.tools = PathBuf::from("/nowhere");
        machine.with("PATH", "/nowhere")
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.insert(name, value.to_owned());
        self
    }

    /// The same without a variable.
    pub fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = match self.tools.is_dir() {
            true => self.course.command(args),
            false => self.course.bare_command(args),
        };
        command.env("HOME", self.home.path());
        command.env("CLM_TOOLS_DIR", &self.tools);
        command.envs(&self.variables);
        command
    }

    pub fn clm(&self, args: &[&str]) -> Ran {
        ran(self.command(args).output().unwrap())
    }

    pub fn build(&self) -> Ran {
        self.clm(&["build", "--message-format", "json"])
    }

    /// Builds and expects success.
    pub fn built(&self) -> Ran {
        let ran = self.build();
        assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
        ran
    }
}

/// What a run said about the shared cache.
pub fn warnings(ran: &Ran) -> Vec<&str> {
    let about = ran
        .diagnostics()
        .into_iter()
        .map(|found| found.message.as_str());
    about
        .filter(|message| message.contains("shared cache"))
        .collect()
}
