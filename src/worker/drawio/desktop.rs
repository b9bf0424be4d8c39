//! The user's draw.io desktop program, started for each diagram: slow, but there.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::worker::process::ChildTree;
use crate::worker::request::ImageFormat;
use crate::worker::{Outcome, ProgressSink, Request, Work, Worker, WorkerError};

use super::{DrawioConfig, WHAT, document, image_name, in_file};

/// Runs the desktop program.
pub struct Desktop {
    executable: PathBuf,
    config: DrawioConfig,
}

impl Desktop {
    /// Nothing is started yet.
    pub fn new(executable: PathBuf, config: DrawioConfig) -> Self {
        Self { executable, config }
    }

    fn command(
        &self,
        input: &std::path::Path,
        output: &std::path::Path,
        format: ImageFormat,
        scale: u32,
        border: u32,
    ) -> Command {
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
            .args(["--format", format.extension(), "--output"])
            .arg(output)
            .args(["--border", &border.to_string()]);
        match format {
            ImageFormat::Png => command.args(["--scale", &scale.to_string()]),
            ImageFormat::Svg => command.arg("--embed-svg-images"),
        };
        if nix::unistd::geteuid().is_root() {
            // Electron's sandbox cannot be made as root; the flag must come last.
            command.arg("--no-sandbox");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
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
            return Err(WorkerError::Io("this is no work for draw.io".to_owned()));
        };
        if let Err(problem) = document::check(&work.text) {
            return Ok(Outcome::failed(in_file(*problem, request)));
        }
        let io = |error: std::io::Error| WorkerError::Io(error.to_string());
        std::fs::create_dir_all(&self.config.runtime_dir).map_err(io)?;
        let scratch = tempfile::tempdir_in(&self.config.runtime_dir).map_err(io)?;
        let input = scratch.path().join("input.drawio");
        std::fs::write(&input, &work.text).map_err(io)?;
        let name = image_name(work.format);
        let output = request.out.join(name);
        let command = self.command(&input, &output, work.format, work.scale, work.border);
        let tree = ChildTree::spawn(WHAT, command).await?;
        tokio::select! {
            _ = tree.wait() => {}
            () = cancel.cancelled() => return Ok(Outcome::cancelled()),
            () = tokio::time::sleep(self.config.timeout) => {
                return Err(WorkerError::TimedOut {
                    what: WHAT.to_owned(),
                    seconds: self.config.timeout.as_secs(),
                });
            }
        }
        // Older versions end with 0 whatever happened: only the file counts.
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
    use crate::worker::request::DrawioWork;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;
    use std::time::Duration;

    #[tokio::test]
    async fn the_program_is_called_as_it_expects_and_its_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("drawio");
        std::fs::write(
            &program,
            "#!/bin/sh\nprintf '%s ' \"$@\" > \"$(dirname \"$0\")/args\"\nwhile [ $# -gt 0 ]; do [ \"$1\" = --output ] && out=$2; shift; done\n[ -e \"$(dirname \"$0\")/fail\" ] || echo picture > \"$out\"\n",
        )
        .unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let config = DrawioConfig {
            timeout: Duration::from_secs(20),
            runtime_dir: dir.path().join("run"),
        };
        let mut worker = Desktop::new(program, config);
        let out = dir.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let request = Request {
            id: 1,
            source: RelPath::new("t/drawio/a.drawio").unwrap(),
            root: dir.path().to_path_buf(),
            out: out.clone(),
            work: Work::Drawio(DrawioWork {
                text: "<mxfile/>".to_owned(),
                format: ImageFormat::Png,
                scale: 3,
                border: 20,
            }),
        };
        let progress: ProgressSink = Arc::new(|_| {});
        let outcome = worker
            .run(&request, Arc::clone(&progress), CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(outcome, Outcome::ok(["image.png"]));
        let arguments = std::fs::read_to_string(dir.path().join("args")).unwrap();
        assert!(arguments.contains("--format png --output"), "{arguments}");
        assert!(arguments.contains("--border 20 --scale 3"), "{arguments}");

        std::fs::write(dir.path().join("fail"), "").unwrap();
        std::fs::remove_file(out.join("image.png")).unwrap();
        let error = worker
            .run(&request, progress, CancellationToken::new())
            .await
            .unwrap_err();
        assert!(matches!(error, WorkerError::Crashed { .. }), "{error}");
    }
}
