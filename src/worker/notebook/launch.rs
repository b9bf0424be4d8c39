//! Starting the process of a kernel, and its environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::zygote::Needs;
use super::zygote::Zygote;
use crate::worker::WorkerError;
use crate::worker::process::ChildTree;
use crate::worker::renderers::KernelSpec;

/// Variables of the user's terminal that would change what cells print, or where plots are shown.
const NOT_INHERITED: [&str; 6] = [
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
    "MPLBACKEND",
    "PYTHONSTARTUP",
];

/// A way to start the process of a kernel.
#[derive(Clone, Debug, Default)]
pub(super) enum Launcher {
    /// Runs the command of the kernelspec: slow for Python (because of imports), but correct for every kernel.
    #[default]
    Command,
    /// Forks a process that has already done the imports.
    Zygote(Arc<Zygote>),
}

/// The parameters of a kernel's start.
pub(super) struct Launch<'a> {
    /// The name of the kernelspec.
    pub(super) name: &'a str,
    /// The kernelspec.
    pub(super) spec: &'a KernelSpec,
    /// The connection file.
    pub(super) connection_file: &'a Path,
    /// The working directory of the cells.
    pub(super) directory: &'a Path,
    /// The directory of IPython's profile: not in the user's home, whose settings must not change outputs.
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

    /// Returns whether a deck cannot distinguish a kernel started in this way from one started by the kernelspec's
    /// command.
    pub(super) fn suits(&self, needs: &Needs) -> bool {
        match self {
            Self::Command => true,
            Self::Zygote(zygote) => zygote.suits(needs),
        }
    }

    /// Returns whether kernels are forked.
    pub(super) fn is_zygote(&self) -> bool {
        matches!(self, Self::Zygote(_))
    }

    /// Returns whether kernels have already imported modules for decks.
    pub(super) fn has_imports(&self) -> bool {
        matches!(self, Self::Zygote(zygote) if zygote.has_imports())
    }

    /// Returns whether both start the same kernels.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Command, Self::Command) => true,
            (Self::Zygote(mine), Self::Zygote(others)) => Arc::ptr_eq(mine, others),
            _ => false,
        }
    }
}

/// Returns the name of a kernel in messages.
pub(super) fn what(kernel: &str) -> String {
    format!("the kernel `{kernel}`")
}

/// Returns whether the kernel is `ipykernel`, which supports sockets and options that others do not.
pub(super) fn is_ipykernel(spec: &KernelSpec) -> bool {
    spec.argv.iter().any(|word| word.contains("ipykernel"))
}

/// Returns whether the kernel is Deno's, which publishes prints in a separate task, often after the end of the cell.
pub(super) fn is_deno(spec: &KernelSpec) -> bool {
    let program = spec
        .argv
        .first()
        .and_then(|word| Path::new(word).file_stem());
    program.is_some_and(|name| name == "deno") && spec.argv.iter().any(|word| word == "jupyter")
}

/// Returns the arguments in a kernelspec.
pub(super) fn arguments(spec: &KernelSpec, connection_file: &str) -> Vec<String> {
    let words = spec.argv.iter().skip(1);
    let mut arguments: Vec<String> = words
        .map(|word| word.replace("{connection_file}", connection_file))
        .collect();
    if is_ipykernel(spec) {
        // No history file: the cells of different decks must not share a database.
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

/// Sets the variables of a kernel for a command that starts `program`.
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
        // So that sets are printed in the same order in every run.
        .env("PYTHONHASHSEED", "0")
        // Suppresses a warning of the debugger about frozen modules, which would become an output.
        .env("PYDEVD_DISABLE_FILE_VALIDATION", "1")
        // `ipykernel` ends when this process is gone.
        .env("JPY_PARENT_PID", std::process::id().to_string());
    for (name, value) in &spec.env {
        command.env(name, expanded(value));
    }
}

/// Returns the virtual environment that a Python belongs to, if any.
fn virtual_environment(python: &Path) -> Option<PathBuf> {
    let root = python.parent()?.parent()?;
    root.join("pyvenv.cfg").is_file().then(|| root.to_owned())
}

/// Puts the kernel's `python` and `pip` first in the search path of cells, whether or not the user has activated an
/// environment.
fn activate(command: &mut Command, environment: &Path) {
    let mut directories = vec![environment.join("bin")];
    if let Some(path) = std::env::var_os("PATH") {
        directories.extend(std::env::split_paths(&path));
    }
    // A directory with a separator in its name cannot be in a search path: then the path is not changed.
    if let Ok(path) = std::env::join_paths(directories) {
        command.env("PATH", path);
    }
    command.env("VIRTUAL_ENV", environment);
    command.env_remove("PYTHONHOME");
}

/// Returns a value of the kernelspec with `${NAME}` replaced by variables of this process; unknown ones are kept.
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
