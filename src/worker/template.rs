//! Templates of decks, which may need any amount of memory or time: each is rendered by its own process, which has
//! limits for both and may be killed by them.
//!
//! The process is this program with another command. It reads the job from its standard input and writes lines of JSON
//! to its standard output: either the name of a file that it needs, which is answered by a line with the text, or the
//! result, which is the last line.

use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitCode, Stdio};

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::course::deck::{Apart, Ended, render_job};

/// The command of this program that renders one template.
pub const COMMAND: &str = "render-template";

/// The memory limit of a template, in bytes.
const MEMORY: u64 = 256 << 20;

/// The limit of the address space, in bytes: includes the program, which is large in debug builds.
const ADDRESS_SPACE: u64 = 1 << 30;

/// The longest line that is accepted, in bytes.
const MAX_LINE: u64 = 64 << 20;

/// A message of the process.
#[derive(Serialize, Deserialize)]
enum Said {
    /// The text of this file is needed.
    Needs(String),
    /// The result.
    Done(String),
}

/// Renders every template in a new process.
pub struct Processes;

impl Apart for Processes {
    fn run(
        &self,
        job: &str,
        seconds: u64,
        ask: &mut dyn FnMut(&str) -> Option<String>,
    ) -> Result<String, Ended> {
        let not_started = |error: io::Error| Ended::NotStarted(error.to_string());
        let mut child = Command::new(program().map_err(not_started)?)
            .args([COMMAND, &seconds.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C is handled by this process; the child ends with this process, since its input is closed.
            .process_group(0)
            .spawn()
            .map_err(not_started)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let answer = stdin
            .zip(stdout)
            .and_then(|(stdin, stdout)| converse(job, ask, stdin, BufReader::new(stdout)).ok());
        if answer.is_none() {
            // It has died or violated the protocol.
            let _ = child.kill();
        }
        let status = child.wait().map_err(not_started)?;
        answer.ok_or(if status.signal() == Some(Signal::SIGXCPU as i32) {
            Ended::OutOfTime
        } else {
            Ended::OutOfMemory
        })
    }
}

/// Returns the path of this program, even if it was replaced by another version or removed.
fn program() -> io::Result<std::path::PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok("/proc/self/exe".into());
    }
    std::env::current_exe()
}

fn converse(
    job: &str,
    ask: &mut dyn FnMut(&str) -> Option<String>,
    mut stdin: impl Write,
    mut stdout: impl BufRead,
) -> io::Result<String> {
    send(&mut stdin, &job)?;
    loop {
        match receive(&mut stdout)? {
            Said::Needs(name) => send(&mut stdin, &ask(&name))?,
            Said::Done(answer) => return Ok(answer),
        }
    }
}

fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

fn receive<T: for<'de> Deserialize<'de>>(from: &mut impl BufRead) -> io::Result<T> {
    let mut line = Vec::new();
    from.take(MAX_LINE).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

/// Renders one template, in the process that [`Processes`] starts.
pub fn serve() -> ExitCode {
    let seconds = std::env::args().nth(2);
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(1);
    // Errors are ignored: a system that cannot set one of the limits may still set the others.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = setrlimit(Resource::RLIMIT_CPU, seconds, seconds + 1);
    let _ = setrlimit(Resource::RLIMIT_DATA, MEMORY, MEMORY);
    let _ = setrlimit(Resource::RLIMIT_AS, ADDRESS_SPACE, ADDRESS_SPACE);
    let mut stdin = io::stdin().lock();
    let mut stdout = io::stdout().lock();
    let Ok(job) = receive::<String>(&mut stdin) else {
        return ExitCode::FAILURE;
    };
    let answer = render_job(&job, &mut |name| {
        send(&mut stdout, &Said::Needs(name.to_owned())).ok()?;
        receive::<Option<String>>(&mut stdin).ok()?
    });
    match send(&mut stdout, &Said::Done(answer)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
