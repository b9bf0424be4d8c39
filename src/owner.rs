//! Which process something belongs to (a lease, a worker, a directory, a daemon), and whether it is still there.

use std::fs;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A process, told apart from others that had its number before, or have it elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The process number.
    pub pid: u32,
    /// When it started, in the system's ticks; 0 where the system does not tell. Numbers are used again.
    pub started: u64,
    /// The machine, and the namespace that process numbers are of.
    pub host: String,
}

impl Owner {
    /// This process.
    pub fn current() -> Self {
        static CURRENT: OnceLock<Owner> = OnceLock::new();
        CURRENT
            .get_or_init(|| {
                let pid = std::process::id();
                Self {
                    pid,
                    started: match look(pid) {
                        Life::Since(started) => started,
                        Life::Unknown | Life::Gone => 0,
                    },
                    host: host(),
                }
            })
            .clone()
    }

    /// Whether it is a process of this machine and namespace, where its number means something.
    pub fn is_here(&self) -> bool {
        self.host == Self::current().host
    }

    /// The name of a directory of this process, which tells later whose it was.
    pub fn dir_name(&self) -> String {
        format!("{}-{}-{}", self.pid, self.started, tag(&self.host))
    }

    /// Whether the process that a directory is named after has certainly ended; none when that cannot be known here,
    /// since it is one of another machine or process namespace, or the name is none of [`Owner::dir_name`].
    pub fn is_gone_by_name(name: &str) -> Option<bool> {
        let mut parts = name.split('-');
        let (pid, started, host) = (parts.next()?, parts.next()?, parts.next()?);
        let me = Self::current();
        if parts.next().is_some() || host != tag(&me.host) {
            return None;
        }
        let owner = Self {
            pid: pid.parse().ok()?,
            started: started.parse().ok()?,
            host: me.host,
        };
        Some(owner.is_gone())
    }

    /// Whether the process has certainly ended. Nothing is certain about another machine.
    pub fn is_gone(&self) -> bool {
        if self.host != Self::current().host {
            return false;
        }
        match look(self.pid) {
            Life::Gone => true,
            Life::Since(started) => started != self.started,
            Life::Unknown => false,
        }
    }
}

/// A short name of a machine: paths of sockets are short.
fn tag(host: &str) -> String {
    Digest::of(host).short()[..8].to_owned()
}

enum Life {
    /// It runs, and started then.
    Since(u64),
    /// It may run: the system says no more.
    Unknown,
    /// It does not run.
    Gone,
}

fn look(pid: u32) -> Life {
    if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
        return life(&stat);
    }
    let Ok(pid) = i32::try_from(pid) else {
        return Life::Gone; // no process ever has such a number
    };
    // The stat of another user's process may be hidden; a signal that is not sent still tells.
    let pid = nix::unistd::Pid::from_raw(pid);
    match nix::sys::signal::kill(pid, None) {
        Err(nix::errno::Errno::ESRCH) => Life::Gone,
        _ => Life::Unknown,
    }
}

/// Reads `/proc/PID/stat`: state and start time come after the name, which may contain anything.
fn life(stat: &str) -> Life {
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    match (fields.first(), fields.get(19)) {
        // Killed, only not yet reaped by its parent.
        (Some(&("Z" | "X" | "x")), _) => Life::Gone,
        (Some(_), Some(ticks)) => ticks.parse().map_or(Life::Unknown, Life::Since),
        _ => Life::Unknown,
    }
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| "this machine".to_owned());
    // Two containers may share a course and even a name, but not their process numbers.
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", name.trim(), namespace.display())
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_here_and_its_predecessors_are_gone() {
        let me = Owner::current();
        assert!(!me.is_gone());
        let before = Owner {
            started: me.started.wrapping_add(1),
            ..me.clone()
        };
        assert_eq!(before.is_gone(), cfg!(target_os = "linux"));
        let elsewhere = Owner {
            host: "elsewhere".to_owned(),
            ..before
        };
        assert!(!elsewhere.is_gone() && !elsewhere.is_here());
    }

    #[test]
    fn directories_tell_whose_they_are() {
        let me = Owner::current();
        assert_eq!(Owner::is_gone_by_name(&me.dir_name()), Some(false));
        let before = Owner {
            started: me.started.wrapping_add(1),
            ..me.clone()
        };
        let is_linux = cfg!(target_os = "linux");
        assert_eq!(Owner::is_gone_by_name(&before.dir_name()), Some(is_linux));
        // Its number is nobody's here, but it is another namespace's.
        let elsewhere = Owner {
            pid: u32::MAX,
            host: "elsewhere".to_owned(),
            ..me
        };
        assert_eq!(Owner::is_gone_by_name(&elsewhere.dir_name()), None);
        assert_eq!(Owner::is_gone_by_name("4711"), None);
    }

    #[test]
    fn a_killed_process_is_gone_even_before_it_is_reaped() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let Life::Since(started) = look(child.id()) else {
            panic!("a running process has a start time");
        };
        let owner = Owner {
            pid: child.id(),
            started,
            host: Owner::current().host,
        };
        assert!(!owner.is_gone());
        child.kill().unwrap();
        while !owner.is_gone() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(owner.is_gone());
    }

    #[test]
    fn names_with_spaces_and_parentheses_do_not_confuse() {
        let stat = "7 (a) b (c) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 1";
        assert!(matches!(life(stat), Life::Since(_)));
        assert!(matches!(life("7 (x) Z 1"), Life::Gone));
        assert!(matches!(life("nonsense"), Life::Unknown));
    }
}
