//! Kills what our children started when we cannot do it any more: when clm itself is killed.
//!
//! The parent-death signal reaches our children, but not theirs (and exists on Linux only). So a shell is kept that
//! knows our process groups. It reads from a pipe that only clm writes to: at its end, however clm ended, the shell
//! kills the groups that are left.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use nix::sys::signal::{self, Signal};

use crate::parallel::lock;

use super::raw_pid;

/// Keeps a list of groups by lines `+ID` and `-ID`; uses nothing but what every shell has built in.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
groups=
while read -r line; do
    id=${line#?}
    rest=
    for group in $groups; do
        [ "$group" = "$id" ] || rest="$rest $group"
    done
    case $line in
        +*) groups="$rest $id" ;;
        *) groups=$rest ;;
    esac
done
for group in $groups; do
    kill -KILL "-$group" 2>/dev/null
done
"#;

/// The pipe to the shell; none when there is no shell, which costs us only this second line of defence.
static SHELL: OnceLock<Mutex<Option<ChildStdin>>> = OnceLock::new();

/// A process group that dies with clm, and at the latest when this value is dropped.
#[derive(Debug)]
pub(super) struct Guarded(u32);

impl Guarded {
    /// Has a process group guarded. The first call starts the shell.
    pub(super) fn new(group: u32) -> Self {
        tell(&format!("+{group}\n"));
        Self(group)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = signal::killpg(raw_pid(self.0), Signal::SIGKILL);
        tell(&format!("-{}\n", self.0));
    }
}

fn tell(line: &str) {
    let shell = SHELL.get_or_init(|| Mutex::new(start()));
    let mut shell = lock(shell);
    let written = shell.as_mut().map(|pipe| pipe.write_all(line.as_bytes()));
    if let Some(Err(error)) = written {
        tracing::debug!(%error, "the guardian of process groups is gone");
        *shell = None;
    }
}

fn start() -> Option<ChildStdin> {
    let child = Command::new("/bin/sh")
        .args(["-c", SCRIPT])
        .env_clear()
        .current_dir("/")
        // It must outlive a Ctrl-C, and keep no pipe of ours open.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match child {
        Ok(child) => child.stdin,
        Err(error) => {
            tracing::debug!(%error, "no guardian of process groups");
            None
        }
    }
}
