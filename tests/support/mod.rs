//! What stories need: courses in temporary directories, the built binary, and the real renderers.

pub mod casd;
pub mod courses;
pub mod faulty;
pub mod gateway;
pub mod jupytext;
pub mod machines;
pub mod renderers;
pub mod servers;
mod watching;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clm::testing::digest::Digest;
use clm::testing::events::{Counts, Diagnostic, Event, Reported, Severity};
use clm::testing::tools::Needs;

pub use watching::Watching;

use renderers::provide;

/// Variables that tell clm that it runs in a pipeline.
const OF_PIPELINES: [&str; 7] = [
    "CI",
    "GITHUB_ACTIONS",
    "GITHUB_STEP_SUMMARY",
    "GITLAB_CI",
    "TF_BUILD",
    "JENKINS_URL",
    "BUILDKITE",
];

/// A course in a temporary directory.
pub struct Course {
    dir: tempfile::TempDir,
}

/// What a run of clm printed and how it ended.
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// The JSON events, in order.
    pub events: Vec<Event>,
    /// What it printed for people.
    pub stderr: String,
    /// What it printed as data.
    pub stdout: String,
}

impl Course {
    /// A copy of a course in `fixtures/`, without outputs and records.
    pub fn fixture(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(name);
        copy_tree(&source, dir.path());
        Self { dir }
    }

    /// An empty directory.
    pub fn empty() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// A course with one section whose topics are named; their files are written with [`Course::write`].
    pub fn with_topics(topics: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let course = Self { dir };
        let topics: String = topics
            .iter()
            .map(|topic| format!("<topic>{topic}</topic>"))
            .collect();
        course.write(
            "course.xml",
            format!(
                "<course>\n<name><de>Kurs</de><en>Course</en></name>\n<prog-lang>python</prog-lang>\n\
                 <project-slug>course</project-slug>\n<sections><section><name><de>Teil</de><en>Part</en></name>\n\
                 <topics>{topics}</topics></section></sections>\n</course>\n"
            ),
        );
        course.mkdir("slides");
        course
    }

    /// The same sources in another directory, without outputs and records.
    pub fn cloned(&self) -> Self {
        let course = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        copy_tree(&self.root(), &course.root());
        course
    }

    /// The course root.
    pub fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub fn mkdir(&self, path: &str) {
        std::fs::create_dir_all(self.path(path)).unwrap();
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let file = self.path(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        let file = self.path(path);
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} does not contain {from:?}");
        self.write(path, text.replace(from, to));
    }

    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.path(path)).unwrap();
    }

    /// Removes a directory, and everything in it.
    pub fn remove_if_there(&self, path: &str) {
        let _ = std::fs::remove_dir_all(self.path(path));
    }

    /// The clm command in the course root, with the renderers that the course needs by the files it has now. A story that
    /// adds files of another kind while clm runs calls [`provide`] before.
    pub fn command(&self, args: &[&str]) -> Command {
        if let Some("build" | "watch" | "daemon" | "status" | "explain") = args.first().copied() {
            self.provide(args);
        }
        self.bare_command(args)
    }

    /// Installs what the course needs that the arguments name, or `course.xml`. Of a specification with errors nothing is
    /// known, and clm starts no renderer.
    pub fn provide(&self, args: &[&str]) {
        let mut specs = args.iter().filter(|arg| arg.ends_with(".xml"));
        let spec = self.path(specs.next().unwrap_or(&"course.xml"));
        provide(Needs::of_spec(&spec).unwrap_or_default());
    }

    /// The clm command in the course root, whatever is installed.
    pub fn bare_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clm"));
        command
            .args(args)
            .current_dir(self.root())
            .env_remove("CLM_STATE_DIR")
            .env("CLM_DAEMON_AUTO", "off")
            .stdin(Stdio::null());
        // The suite may run in a pipeline itself.
        for name in OF_PIPELINES {
            command.env_remove(name);
        }
        command
    }

    pub fn clm(&self, args: &[&str]) -> Ran {
        ran(self.command(args).output().unwrap())
    }

    /// `clm build --message-format json` with more arguments.
    pub fn build(&self, args: &[&str]) -> Ran {
        let mut all = vec!["build", "--message-format", "json"];
        all.extend(args);
        self.clm(&all)
    }

    /// Builds and expects success.
    pub fn built(&self) -> Ran {
        let ran = self.build(&[]);
        assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
        ran
    }

    /// Digests of all outputs by path below the course root.
    pub fn outputs(&self) -> BTreeMap<String, Digest> {
        tree(&self.path("output"))
    }
}

/// Digests of all files below a directory by their path there, but for the lists of outputs, which tell the time
/// and which a watch writes when it is idle, under a temporary name first.
pub fn tree(dir: &Path) -> BTreeMap<String, Digest> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(next) = dirs.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let name = path.file_name().unwrap().to_string_lossy();
            let is_unfinished = name.starts_with(".clm-") && !name.ends_with(".json");
            if name != ".clm-manifest.json" && !is_unfinished {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                found.insert(name, Digest::of_file(&path).unwrap());
            }
        }
    }
    found
}

pub fn ran(output: Output) -> Ran {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    Ran {
        code: output.status.code().unwrap_or(-1),
        events: stdout
            .lines()
            .filter(|line| line.starts_with('{'))
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        stdout,
    }
}

impl Ran {
    /// The counts of the run.
    pub fn counts(&self) -> Counts {
        self.events
            .iter()
            .find_map(|event| match event {
                Event::RunFinished { counts, .. } => Some(*counts),
                _ => None,
            })
            .unwrap_or_else(|| panic!("no run finished\n{}\n{}", self.stdout, self.stderr))
    }

    /// Identities of the actions that were started, sorted.
    pub fn started(&self) -> Vec<&str> {
        let mut started: Vec<&str> = self
            .events
            .iter()
            .filter_map(|event| match event {
                Event::ActionStarted { action, .. } => Some(action.as_str()),
                _ => None,
            })
            .collect();
        started.sort_unstable();
        started
    }

    /// Identities of started actions that need a worker.
    pub fn jobs(&self) -> Vec<&str> {
        self.started()
            .into_iter()
            .filter(|action| {
                ["execute ", "html ", "plantuml ", "drawio "]
                    .iter()
                    .any(|kind| action.starts_with(kind))
            })
            .collect()
    }

    /// Why an action was started.
    pub fn reasons(&self, action: &str) -> Vec<String> {
        self.events
            .iter()
            .find_map(|event| match event {
                Event::ActionStarted {
                    action: id,
                    reasons,
                    ..
                } if id == action => Some(reasons.clone()),
                _ => None,
            })
            .unwrap_or_else(|| panic!("`{action}` was not started, but {:?}", self.started()))
    }

    /// What was said besides errors and warnings.
    pub fn notes(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Diagnostic(Reported { diagnostic, .. })
                    if diagnostic.severity == Severity::Note =>
                {
                    Some(diagnostic.message.as_str())
                }
                _ => None,
            })
            .collect()
    }

    /// The errors that were reported.
    pub fn errors(&self) -> Vec<&Diagnostic> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Diagnostic(Reported { diagnostic, .. })
                    if diagnostic.severity == Severity::Error =>
                {
                    Some(diagnostic)
                }
                _ => None,
            })
            .collect()
    }

    /// Everything that was said.
    pub fn diagnostics(&self) -> Vec<&Diagnostic> {
        let diagnostics = self.events.iter().filter_map(|event| match event {
            Event::Diagnostic(reported) => Some(&reported.diagnostic),
            _ => None,
        });
        diagnostics.collect()
    }

    /// The only error about a file.
    pub fn error_in(&self, file: &str) -> &Diagnostic {
        let errors = self.errors();
        errors
            .iter()
            .find(|error| error.file.as_deref() == Some(file))
            .unwrap_or_else(|| panic!("no error about `{file}`: {errors:#?}\n{}", self.stderr))
    }
}

fn copy_tree(source: &Path, target: &Path) {
    for entry in std::fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if ["output", ".clm", "img-generated"]
            .iter()
            .any(|skip| name == *skip)
        {
            continue;
        }
        let to = target.join(&name);
        if entry.path().is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            copy_tree(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}
