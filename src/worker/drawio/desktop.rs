//! The user's draw.io desktop program, started for each diagram: slow, but used where there is no browser.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::worker::process::ChildTree;
use crate::worker::request::{DrawioWork, ImageFormat};
use crate::worker::{Outcome, ProgressSink, Request, Work, Worker, WorkerError};

use super::{DrawioConfig, WHAT, document, image_name, in_file};

/// Runs the desktop program.
pub(super) struct Desktop {
    executable: PathBuf,
    config: DrawioConfig,
}

impl Desktop {
    /// Creates a worker; no process is started yet.
    pub(super) fn new(executable: PathBuf, config: DrawioConfig) -> Self {
        Self { executable, config }
    }

    /// Returns the command that renders `input` in a scratch directory.
    fn command(&self, scratch: &Path, input: &Path, output: &Path, work: &DrawioWork) -> Command {
        let has_display =
            std::env::var_os("DISPLAY").is_some() || std::env::var_os("WAYLAND_DISPLAY").is_some();
        let mut command = if cfg!(target_os = "linux") && !has_display && has_program("xvfb-run") {
            let mut command = Command::new("xvfb-run");
            command.arg("-a").arg(&self.executable);
            command
        } else {
            Command::new(&self.executable)
        };
        command
            .arg("--export")
            .arg(input)
            .args(["--format", work.format.extension(), "--output"])
            .arg(output)
            .args(["--border", &work.border.to_string()]);
        match work.format {
            ImageFormat::Png => command.args(["--scale", &work.scale.to_string()]),
            ImageFormat::Svg => command.arg("--embed-svg-images"),
        };
        if nix::unistd::geteuid().is_root() {
            // Electron cannot create its sandbox as root; the flag must come last.
            command.arg("--no-sandbox");
        }
        command
            // Two instances with the same settings would interfere.
            .env("XDG_CONFIG_HOME", scratch.join("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }
}

fn has_program(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()))
}

#[async_trait]
impl Worker for Desktop {
    async fn run(
        &mut self,
        request: &Request,
        _progress: ProgressSink,
        cancel: CancellationToken,
    ) -> Result<Outcome, WorkerError> {
        let Work::Drawio(work) = &request.work else {
            return Err(WorkerError::Bug(
                "draw.io was given work of another kind".to_owned(),
            ));
        };
        if let Err(problem) = document::check(&work.text) {
            return Ok(Outcome::failed(in_file(*problem, request)));
        }
        let runtime_dir = self.config.runtime_dir.display();
        let io = |error: std::io::Error| {
            WorkerError::Io(format!(
                "cannot write a diagram for draw.io to `{runtime_dir}`: {error}"
            ))
        };
        std::fs::create_dir_all(&self.config.runtime_dir).map_err(io)?;
        let scratch = tempfile::tempdir_in(&self.config.runtime_dir).map_err(io)?;
        let input = scratch.path().join("input.drawio");
        std::fs::write(&input, &work.text).map_err(io)?;
        let name = image_name(work.format);
        let output = request.out.join(name);
        let command = self.command(scratch.path(), &input, &output, work);
        let tree = ChildTree::spawn(WHAT, command).await?;
        tokio::select! {
            _ = tree.wait() => {}
            () = cancel.cancelled() => return Ok(Outcome::cancelled()),
            () = tokio::time::sleep(self.config.timeout) => {
                return Err(WorkerError::TimedOut {
                    what: WHAT.to_owned(),
                    seconds: self.config.timeout.as_secs(),
                    discovered: Vec::new(),
                });
            }
        }
        // Older versions always exit with 0, so only the output file shows success.
        let is_made = std::fs::metadata(&output).is_ok_and(|metadata| metadata.len() > 0);
        if is_made {
            return Ok(Outcome::ok([name]));
        }
        Err(tree.crashed().await)
    }

    fn pid(&self) -> Option<u32> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::RelPath;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// Writes its arguments to a file beside itself. The file `mode` there decides what else it does.
    const PROGRAM: &str = r#"#!/bin/sh
here=$(dirname "$0")
printf '%s ' "$@" > "$here/args"
echo "$XDG_CONFIG_HOME" > "$here/config"
while [ $# -gt 0 ]; do [ "$1" = --output ] && out=$2; shift; done
case $(cat "$here/mode") in
  good) echo picture > "$out" ;;
  blank) : > "$out" ;;
  silent) echo "Error: Export failed" >&2 ;;
  crash) echo picture > "$out"; rm "$out"; kill -11 $$ ;;
  hang) sleep 60 & echo $! > "$here/child"; wait ;;
esac
"#;

    struct Desk {
        dir: tempfile::TempDir,
        worker: Desktop,
    }

    impl Desk {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let program = dir.path().join("drawio");
            std::fs::write(&program, PROGRAM).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            let config = DrawioConfig {
                timeout: Duration::from_secs(20),
                runtime_dir: dir.path().join("run"),
            };
            let worker = Desktop::new(program, config);
            Self { dir, worker }
        }

        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.dir.path().join(name)).unwrap()
        }

        async fn run(
            &mut self,
            mode: &str,
            format: ImageFormat,
            cancel: CancellationToken,
        ) -> Result<Outcome, WorkerError> {
            std::fs::write(self.dir.path().join("mode"), mode).unwrap();
            let out = self.dir.path().join(format!("out-{mode}"));
            std::fs::create_dir_all(&out).unwrap();
            let request = Request {
                id: 1,
                source: RelPath::new("t/drawio/a.drawio").unwrap(),
                root: self.dir.path().to_path_buf(),
                out,
                work: Work::Drawio(DrawioWork {
                    text: "<mxfile/>".to_owned(),
                    format,
                    scale: 3,
                    border: 20,
                }),
            };
            self.worker.run(&request, Arc::new(|_| {}), cancel).await
        }
    }

    #[tokio::test]
    async fn the_program_is_called_as_it_expects() {
        let mut desk = Desk::new();
        for (format, options) in [
            (ImageFormat::Png, "--border 20 --scale 3"),
            (ImageFormat::Svg, "--border 20 --embed-svg-images"),
        ] {
            let outcome = desk.run("good", format, CancellationToken::new()).await;
            assert_eq!(outcome.unwrap(), Outcome::ok([image_name(format)]));
            let arguments = desk.read("args");
            assert!(arguments.starts_with("--export "), "{arguments}");
            assert!(arguments.contains(options), "{arguments}");
            let is_last = arguments.ends_with("--no-sandbox ");
            assert_eq!(is_last, nix::unistd::geteuid().is_root(), "{arguments}");
            assert!(desk.read("config").contains("/run/"), "settings of its own");
        }
        let left: Vec<_> = std::fs::read_dir(desk.dir.path().join("run"))
            .unwrap()
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[tokio::test]
    async fn only_a_picture_counts() {
        let mut desk = Desk::new();
        for (mode, expected) in [
            ("silent", "Export failed"),
            ("blank", "exit status: 0"),
            ("crash", "signal: 11"),
        ] {
            let error = desk
                .run(mode, ImageFormat::Png, CancellationToken::new())
                .await
                .unwrap_err();
            assert!(
                matches!(error, WorkerError::Crashed { .. }),
                "{mode}: {error}"
            );
            assert!(error.to_string().contains(expected), "{mode}: {error}");
        }
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_with_its_children() {
        let mut desk = Desk::new();
        desk.worker.config.timeout = Duration::from_millis(600);
        let error = desk
            .run("hang", ImageFormat::Png, CancellationToken::new())
            .await
            .unwrap_err();
        assert!(matches!(error, WorkerError::TimedOut { .. }), "{error}");
        tokio::time::sleep(Duration::from_millis(300)).await;
        let child = format!("/proc/{}", desk.read("child").trim());
        let is_sleeping = std::fs::read_to_string(format!("{child}/cmdline"))
            .is_ok_and(|line| line.contains("sleep"));
        assert!(!is_sleeping, "its child lives on");

        desk.worker.config.timeout = Duration::from_secs(20);
        let cancel = CancellationToken::new();
        let stop = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            cancel.cancel();
            Instant::now()
        };
        let running = desk.run("hang", ImageFormat::Png, cancel.clone());
        let (outcome, since) = tokio::join!(running, stop);
        assert_eq!(outcome.unwrap(), Outcome::cancelled());
        assert!(since.elapsed() < Duration::from_secs(15));
    }
}
