//! PlantUML: one JVM with clm's own worker program renders all diagrams of a course, several at once.
//!
//! The program is `java/*.java`. Its compiled classes are in `worker.jar`, built by `contrib/plantuml-worker/build.sh`,
//! because users have a Java runtime but no compiler.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::WorkerError;
use super::protocol::{ProtocolProcess, StartLimits};
use super::renderers::PlantumlTool;
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::files::{self, Access};

/// The compiled worker program.
const WORKER_JAR: &[u8] = include_bytes!("worker.jar");
/// The name in messages.
const WHAT: &str = "PlantUML";
/// The kind in the worker's hello.
const KIND: &str = "plantuml";

/// The heap for the first diagram, and for each further one that is rendered at the same time. An image of 8192 by 8192
/// pixels takes 256 MB while it is drawn; ordinary ones leave most of the heap unused.
const HEAP_MB: usize = 768;
const HEAP_PER_THREAD_MB: usize = 384;

/// The only variables that are passed to the worker: diagrams can print variables, and others change how Java, PlantUML
/// and Graphviz behave.
const KEPT_VARIABLES: [&str; 8] = [
    "FONTCONFIG_FILE",
    "FONTCONFIG_PATH",
    "HOME",
    "LD_LIBRARY_PATH",
    "PATH",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_DATA_DIRS",
];

/// Returns the digest of clm's part of the renderer, for keys: another worker program may draw another image.
pub(crate) fn program_digest() -> Digest {
    Digest::of(WORKER_JAR)
}

/// The directories of the worker.
pub struct Place<'a> {
    /// The course root, the only directory that diagrams may read.
    pub root: &'a Path,
    /// A directory of this user for the compiled worker program.
    pub runtime_dir: &'a Path,
}

/// Returns the tool, or the error that says how to install it.
pub fn found(tool: Option<&PlantumlTool>) -> Result<&PlantumlTool, WorkerError> {
    let missing = |what: &str| WorkerError::Missing {
        what: what.to_owned(),
        hint: "install it with `clm setup`".to_owned(),
    };
    let tool = tool.ok_or_else(|| missing(WHAT))?;
    if !tool.jar.is_file() {
        return Err(missing(&format!("PlantUML (`{}`)", tool.jar.display())));
    }
    if !tool.java.is_file() {
        return Err(missing(&format!("Java (`{}`)", tool.java.display())));
    }
    Ok(tool)
}

/// Starts a JVM that renders up to `capacity` diagrams of one course at once.
pub async fn start(
    tool: &PlantumlTool,
    place: &Place<'_>,
    capacity: usize,
) -> Result<ProtocolProcess, WorkerError> {
    let root = place.root.canonicalize().map_err(|error| {
        WorkerError::Io(format!("cannot read `{}`: {error}", place.root.display()))
    })?;
    let program = worker_program(place.runtime_dir).map_err(|error| {
        WorkerError::Io(format!(
            "cannot write PlantUML's worker program below `{}`: {error}",
            place.runtime_dir.display()
        ))
    })?;
    let command = command(tool, &root, place.runtime_dir, &program, capacity);
    ProtocolProcess::start(WHAT, KIND, command, &StartLimits::default()).await
}

/// Starts another program instead of PlantUML, for tests.
pub(crate) async fn start_command(command: &[String]) -> Result<ProtocolProcess, WorkerError> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(WorkerError::Start {
            what: WHAT.to_owned(),
            reason: "the command is empty".to_owned(),
        });
    };
    let mut command = Command::new(program);
    command.args(arguments);
    ProtocolProcess::start(WHAT, KIND, command, &StartLimits::default()).await
}

/// Returns the diagnostic for a diagram that ends the JVM.
pub(crate) fn blame(reason: &str) -> Diagnostic {
    let out_of_memory = reason
        .lines()
        .find(|line| line.contains("ran out of memory"));
    match out_of_memory {
        Some(line) => Diagnostic::error(format!("{line} while it drew this diagram"))
            .hint("make the picture smaller (`scale`, `dpi` and `limit` in `clm.toml`), or split the diagram"),
        None => Diagnostic::error("PlantUML's process ends whenever it draws this diagram")
            .detail(reason)
            .hint("leave out parts of the diagram to find the one that is the cause"),
    }
}

/// Returns the command line of the JVM.
fn command(
    tool: &PlantumlTool,
    root: &Path,
    runtime_dir: &Path,
    program: &Path,
    capacity: usize,
) -> Command {
    let capacity = capacity.max(1);
    let heap = HEAP_MB + (capacity - 1) * HEAP_PER_THREAD_MB;
    let mut command = Command::new(&tool.java);
    let kept = KEPT_VARIABLES
        .iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    command
        .env_clear()
        .envs(kept)
        // Java reads file names in the encoding of the locale.
        .env("LC_ALL", "C.UTF-8")
        // With this variable set, Graphviz opens no image files.
        .env("SERVER_NAME", "clm")
        .current_dir(runtime_dir)
        // Saves a third of the memory and of the time for the first image, but long-lived workers are slightly slower.
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg(format!("-Xmx{heap}m"))
        // Otherwise, warnings of the JVM go to standard output.
        .args(["-Xshare:auto", "-Xlog:disable", "-Xlog:all=error:stderr"])
        // Images must not depend on the machine's language and time zone.
        .args(["-Dfile.encoding=UTF-8", "-Duser.timezone=UTC"])
        .args(["-Duser.language=en", "-Duser.country=US"])
        .arg("-Djava.awt.headless=true")
        .arg(property("java.util.prefs.userRoot", runtime_dir))
        // No network and no files elsewhere; the worker's own check of paths is stricter.
        .arg("-DPLANTUML_SECURITY_PROFILE=ALLOWLIST")
        .arg(property("plantuml.allowlist.path", &root.join("")));
    let layout = match (&tool.dot, &tool.own_dot) {
        (Some(dot), _) => {
            command.arg(property("GRAPHVIZ_DOT", dot));
            "dot"
        }
        (None, Some(dot)) => {
            command.arg(property("GRAPHVIZ_DOT", dot));
            "both"
        }
        (None, None) => {
            // PlantUML must not use a Graphviz that is not part of the fingerprint.
            command.arg("-DGRAPHVIZ_DOT=/nonexistent/dot");
            "smetana"
        }
    };
    command.arg("-cp").arg(program).arg("clm.plantuml.Worker");
    command.arg(&tool.jar).arg(root);
    command.args([&capacity.to_string(), layout]);
    command
}

/// Returns the argument `-Dname=path`.
fn property(name: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(format!("-D{name}="));
    argument.push(path);
    argument
}

/// Returns the path of the compiled worker program, which is written if it is missing or differs.
fn worker_program(runtime_dir: &Path) -> std::io::Result<PathBuf> {
    let name = format!("plantuml-worker-{}.jar", Digest::of(WORKER_JAR).short());
    let path = runtime_dir.join(name);
    if std::fs::read(&path).is_ok_and(|bytes| bytes == WORKER_JAR) {
        return Ok(path);
    }
    std::fs::create_dir_all(runtime_dir)?;
    // Another clm may start the same program at this moment.
    files::replace(&path, Access::Private, |file| file.write_all(WORKER_JAR))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use sha2::{Digest as _, Sha256};

    use super::*;

    /// The sources, in the order in which `build.sh` lists them.
    const SOURCES: [(&str, &str); 9] = [
        ("ClassFile.java", include_str!("java/ClassFile.java")),
        (
            "DiagramRenderer.java",
            include_str!("java/DiagramRenderer.java"),
        ),
        ("Guard.java", include_str!("java/Guard.java")),
        (
            "GuardedLoader.java",
            include_str!("java/GuardedLoader.java"),
        ),
        ("Json.java", include_str!("java/Json.java")),
        ("Lookups.java", include_str!("java/Lookups.java")),
        ("References.java", include_str!("java/References.java")),
        ("Report.java", include_str!("java/Report.java")),
        ("Worker.java", include_str!("java/Worker.java")),
    ];

    #[test]
    fn the_compiled_program_is_that_of_the_sources() {
        let mut expected = String::new();
        for (name, text) in SOURCES {
            let digest: String = Sha256::digest(text.as_bytes())
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            expected.push_str(&format!("{digest}  {name}\n"));
        }
        let mut jar = zip::ZipArchive::new(std::io::Cursor::new(WORKER_JAR)).unwrap();
        let mut recorded = String::new();
        let mut entry = jar.by_name("sources.sha256").unwrap();
        entry.read_to_string(&mut recorded).unwrap();
        assert_eq!(
            recorded, expected,
            "run `contrib/plantuml-worker/build.sh` and commit worker.jar"
        );
    }

    #[test]
    fn the_program_is_written_once_and_repaired() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = dir.path().join("a/b");
        let path = worker_program(&runtime).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), WORKER_JAR);
        std::fs::write(&path, "torn").unwrap();
        assert_eq!(worker_program(&runtime).unwrap(), path);
        assert_eq!(std::fs::read(&path).unwrap(), WORKER_JAR);
        assert_eq!(std::fs::read_dir(&runtime).unwrap().count(), 1);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = found(None).unwrap_err();
        assert_eq!(error.to_string(), "PlantUML is not installed");
        let tool = PlantumlTool {
            java: "/nonexistent/java".into(),
            jar: "/nonexistent/plantuml.jar".into(),
            dot: None,
            own_dot: None,
            fingerprint: String::new(),
        };
        let error = found(Some(&tool)).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/plantuml.jar"));
        assert!(!error.is_retriable());
    }
}
