//! How the process of a kernel comes to life, and the environment it gets.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::zygote::Needs;
use super::zygote::Zygote;
use crate::worker::WorkerError;
use crate::worker::process::ChildTree;
use crate::worker::renderers::KernelSpec;

/// Variables of the person's terminal that would change what cells print, or where plots go.
const NOT_INHERITED: [&str; 6] = [
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
    "MPLBACKEND",
    "PYTHONSTARTUP",
];

/// A way to get the process of a kernel.
#[derive(Clone, Debug, Default)]
pub(super) enum Launcher {
    /// Starts the command of the kernelspec. Slow for Python (imports), but right for every kernel.
    #[default]
    Command,
    /// Has a process that has done the imports fork it.
    Zygote(Arc<Zygote>),
}

/// What a kernel is started with.
pub(super) struct Launch<'a> {
    /// The name of the kernelspec.
    pub(super) name: &'a str,
    /// The kernelspec.
    pub(super) spec: &'a KernelSpec,
    /// The connection file.
    pub(super) connection_file: &'a Path,
    /// The working directory of the cells.
    pub(super) directory: &'a Path,
    /// Where IPython keeps its profile: not in the person's home, whose settings must not change outputs.
    pub(super) profile: &'a Path,
}

impl Launcher {
    /// Starts the process.
    pub(super) async fn start(&self, launch: &Launch<'_>) -> Result<ChildTree, WorkerError> {
        match self {
            Self::Command => {
                let command = command(launch)?;
                let mut tree = ChildTree::spawn(what(launch.name), command).await?;
                if let Some(stdout) = tree.take_stdout() {
                    tokio::spawn(tree.log().clone().record(what(launch.name), stdout));
                }
                Ok(tree)
            }
            Self::Zygote(zygote) => zygote.fork(launch).await.map_err(|reason| {
                let what = what(launch.name);
                WorkerError::Start { what, reason }
            }),
        }
    }

    /// Whether a deck cannot tell a kernel that was started so from one of the kernelspec's command.
    pub(super) fn suits(&self, needs: &Needs) -> bool {
        match self {
            Self::Command => true,
            Self::Zygote(zygote) => zygote.suits(needs),
        }
    }

    /// Whether kernels are forked.
    pub(super) fn is_zygote(&self) -> bool {
        matches!(self, Self::Zygote(_))
    }

    /// Whether kernels have imported what decks import.
    pub(super) fn has_imports(&self) -> bool {
        matches!(self, Self::Zygote(zygote) if zygote.has_imports())
    }

    /// Whether both make the same kernels.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Command, Self::Command) => true,
            (Self::Zygote(mine), Self::Zygote(others)) => Arc::ptr_eq(mine, others),
            _ => false,
        }
    }
}

/// What a kernel is called in messages.
pub(super) fn what(kernel: &str) -> String {
    format!("the kernel `{kernel}`")
}

/// Whether the kernel is `ipykernel`, which takes sockets and options that others do not.
pub(super) fn is_ipykernel(spec: &KernelSpec) -> bool {
    spec.argv.iter().any(|word| word.contains("ipykernel"))
}

/// Whether the kernel is that of Deno, which publishes what cells print from a task of its own, often after their end.
pub(super) fn is_deno(spec: &KernelSpec) -> bool {
    let program = spec
        .argv
        .first()
        .and_then(|word| Path::new(word).file_stem());
    program.is_some_and(|name| name == "deno") && spec.argv.iter().any(|word| word == "jupyter")
}

/// The words after the program of a kernelspec.
pub(super) fn arguments(spec: &KernelSpec, connection_file: &str) -> Vec<String> {
    let words = spec.argv.iter().skip(1);
    let mut arguments: Vec<String> = words
        .map(|word| word.replace("{connection_file}", connection_file))
        .collect();
    if is_ipykernel(spec) {
        // No history file: cells of many decks must not meet in a database.
        arguments.push("--HistoryManager.hist_file=:memory:".to_owned());
    }
    arguments
}

fn command(launch: &Launch<'_>) -> Result<Command, WorkerError> {
    let file = launch.connection_file.to_str().ok_or_else(|| {
        let path = launch.connection_file.display();
        WorkerError::Io(format!(
            "the path `{path}` is not UTF-8 text: choose a directory with another name"
        ))
    })?;
    let program = launch.spec.argv.first().ok_or_else(|| WorkerError::Start {
        what: what(launch.name),
        reason: "its kernelspec names no program".to_owned(),
    })?;
    let mut command = Command::new(program);
    command.args(arguments(launch.spec, file));
    set_environment(&mut command, launch.spec, program, launch.profile);
    command
        .current_dir(launch.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    Ok(command)
}

/// Gives the variables of a kernel to a command that starts `program`.
pub(super) fn set_environment(
    command: &mut Command,
    spec: &KernelSpec,
    program: &str,
    profile: &Path,
) {
    if is_ipykernel(spec) {
        command.env("IPYTHONDIR", profile);
    }
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    if let Some(environment) = virtual_environment(Path::new(program)) {
        activate(command, &environment);
    }
    command
        // Sets print in the same order in every run.
        .env("PYTHONHASHSEED", "0")
        // Silences a warning of the debugger about frozen modules, which would be an output.
        .env("PYDEVD_DISABLE_FILE_VALIDATION", "1")
        // `ipykernel` ends when this process is gone.
        .env("JPY_PARENT_PID", std::process::id().to_string());
    for (name, value) in &spec.env {
        command.env(name, expanded(value));
    }
}

/// The virtual environment that a Python belongs to, if any.
fn virtual_environment(python: &Path) -> Option<PathBuf> {
    let root = python.parent()?.parent()?;
    root.join("pyvenv.cfg").is_file().then(|| root.to_owned())
}

/// Makes `python` and `pip` in cells those of the kernel, whether or not the person has activated anything.
fn activate(command: &mut Command, environment: &Path) {
    let mut directories = vec![environment.join("bin")];
    if let Some(path) = std::env::var_os("PATH") {
        directories.extend(std::env::split_paths(&path));
    }
    // Directories with a separator in their name cannot be in a search path: then it stays as it is.
    if let Ok(path) = std::env::join_paths(directories) {
        command.env("PATH", path);
    }
    command.env("VIRTUAL_ENV", environment);
    command.env_remove("PYTHONHOME");
}

/// A value of the kernelspec with `${NAME}` replaced by variables of our own environment; unknown ones stay.
fn expanded(value: &str) -> String {
    let mut result = String::new();
    let mut rest = value;
    while let Some(start) = rest.find("${") {
        let Some(end) = rest[start..].find('}').map(|end| start + end) else {
            break;
        };
        result.push_str(&rest[..start]);
        match std::env::var(&rest[start + 2..end]) {
            Ok(found) => result.push_str(&found),
            Err(_) => result.push_str(&rest[start..=end]),
        }
        rest = &rest[end + 1..];
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_virtual_environments_are_activated() {
        let root = tempfile::tempdir().unwrap();
        let python = root.path().join("bin/python");
        assert_eq!(virtual_environment(&python), None);
        std::fs::write(root.path().join("pyvenv.cfg"), "").unwrap();
        assert_eq!(virtual_environment(&python).as_deref(), Some(root.path()));
        assert_eq!(virtual_environment(Path::new("python")), None);
        let mut command = Command::new("x");
        activate(&mut command, root.path());
        let path = command
            .get_envs()
            .find(|(name, _)| *name == "PATH")
            .unwrap();
        let path = path.1.unwrap().to_owned();
        assert_eq!(
            std::env::split_paths(&path).next(),
            Some(root.path().join("bin"))
        );
    }

    #[test]
    fn variables_of_the_kernelspec_are_expanded() {
        let path = std::env::var("PATH").unwrap();
        assert_eq!(expanded("a:${PATH}:b"), format!("a:{path}:b"));
        for unchanged in ["plain", "${CLM_NOT_THERE}", "${open", "$PATH", ""] {
            assert_eq!(expanded(unchanged), unchanged);
        }
    }
}
