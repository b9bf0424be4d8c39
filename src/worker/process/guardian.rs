//! Kills the descendants of clm's children when clm cannot do it itself: when clm is killed.
//!
//! A shell runs in the background with a list of the children. It reads from a pipe that only clm writes to: at the end
//! of the pipe, however clm ended, the shell kills the remaining children with all their descendants. A child adopts
//! its detached descendants (see [`super::tree::mark`]). Where that is not supported, or if a child ended at the same
//! time, the remaining processes are found by their process group and by a variable in their environment.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use nix::sys::signal::{self, Signal};

use crate::parallel::lock;

use super::raw_pid;

/// Maintains a list of children by lines `+ID` and `-ID`. Its first argument is the variable that all their
/// environments contain. Uses only shell built-ins and `grep`.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
owner=$1
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
family=" $groups "
more=yes
while [ "$more" ]; do
    more=
    # Who is stopped starts no others while they are looked for.
    kill -STOP $family 2>/dev/null
    set -- $(grep '^PPid:' /proc/[0-9]*/status 2>/dev/null)
    while [ $# -ge 2 ]; do
        pid=${1#/proc/}
        pid=${pid%%/*}
        case $family in
            *" $pid "*) ;;
            *" $2 "*) family="$family$pid " more=yes ;;
        esac
        shift 2
    done
done
kill -KILL $family 2>/dev/null
for group in $groups; do
    kill -KILL "-$group" 2>/dev/null
done
passes=10
while [ "$passes" -gt 0 ]; do
    passes=$((passes - 1))
    left=$(grep -ls "$owner" /proc/[0-9]*/environ 2>/dev/null)
    [ "$left" ] || break
    for file in $left; do
        pid=${file#/proc/}
        kill -KILL "${pid%%/*}" 2>/dev/null
    done
done
"#;

/// The pipe to the shell; `None` if there is no shell, in which case only this second line of defence is missing.
static SHELL: OnceLock<Mutex<Option<ChildStdin>>> = OnceLock::new();

/// Starts the shell if it is not running. Returns false if it cannot be started.
pub(super) fn is_there() -> bool {
    let shell = SHELL.get_or_init(|| Mutex::new(start()));
    lock(shell).is_some()
}

/// A process group that is killed with clm, and at the latest when this value is dropped. Unless its leader is known to
/// have ended, all descendants of the leader are killed as well.
#[derive(Debug)]
pub(super) struct Guarded {
    group: u32,
    has_ended: bool,
}

impl Guarded {
    /// Registers a process group. The first call starts the shell.
    pub(super) fn new(group: u32) -> Self {
        send(&format!("+{group}\n"));
        Self {
            group,
            has_ended: false,
        }
    }

    /// Kills the remaining processes of the group, after its leader has ended.
    pub(super) fn end(mut self) {
        self.has_ended = true;
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        match self.has_ended {
            true => {
                let _ = signal::killpg(raw_pid(self.group), Signal::SIGKILL);
            }
            // When a runtime is dropped, this may run before everything else that would kill it. Detached descendants
            // are below the leader only while it lives.
            false => super::tree::kill(self.group),
        }
        send(&format!("-{}\n", self.group));
    }
}

fn send(line: &str) {
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
        .args(["-c", SCRIPT, "sh", &super::tree::owner()])
        .env_clear()
        .current_dir("/")
        // It must survive Ctrl-C, and must not keep pipes of clm open.
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
