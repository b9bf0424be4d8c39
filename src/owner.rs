//! Identifies the process that owns something (a lease, a worker, a directory, a daemon), and tells whether it has
//! ended, and which processes it started.

use std::fs;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The identity of a process. It differs from that of any other process which has the same number at another time or in
/// another namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The process number.
    pub pid: u32,
    /// Its start time in the system's ticks, since numbers are reused; 0 if the system does not report it.
    pub started: u64,
    /// The host name, and the namespace of its process number.
    pub host: String,
}

impl Owner {
    /// Returns the identity of this process.
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

    /// Returns whether the process belongs to this machine and namespace, so that its number is meaningful here.
    pub fn is_here(&self) -> bool {
        self.host == Self::current().host
    }

    /// Returns the name of the host alone.
    pub(crate) fn host_name(&self) -> &str {
        self.host.split(' ').next().unwrap_or_default()
    }

    /// Returns a name for a directory of this process. [`Owner::is_gone_by_name`] reads it.
    pub fn dir_name(&self) -> String {
        format!("{}-{}-{}", self.pid, self.started, tag(&self.host))
    }

    /// Returns whether the process that a directory is named after has certainly ended. Returns `None` if the process
    /// is of another machine or namespace, or if the name is not from [`Owner::dir_name`].
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

    /// Returns whether the process has certainly ended. For another machine or namespace the answer is always `false`.
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

/// Returns a short name of a machine, since the length of socket paths is limited.
fn tag(host: &str) -> String {
    Digest::of(host).short()[..8].to_owned()
}

enum Life {
    /// It is running, and started at this time.
    Since(u64),
    /// It may be running: the system reports no more.
    Unknown,
    /// It has ended.
    Gone,
}

fn look(pid: u32) -> Life {
    if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
        return life(&stat);
    }
    let Ok(pid) = i32::try_from(pid) else {
        return Life::Gone; // no process can have such a number
    };
    // The stat of another user's process may be hidden, but signal 0 still reports whether the process exists.
    let pid = nix::unistd::Pid::from_raw(pid);
    match nix::sys::signal::kill(pid, None) {
        Err(nix::errno::Errno::ESRCH) => Life::Gone,
        _ => Life::Unknown,
    }
}

/// Parses `/proc/PID/stat`. State and start time follow the name, which may contain any characters.
fn life(stat: &str) -> Life {
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    match (fields.first(), fields.get(19)) {
        // It has ended, but its parent has not reaped it yet.
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
    // Two containers may share a course and even a host name, but not the namespace of process numbers.
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", name.trim(), namespace.display())
        .trim()
        .to_owned()
}

/// Returns the processes that any thread of a process started, if the kernel reports them.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        let text = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(
            text.split_ascii_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    found
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
        // No process here has its number, but the number belongs to another namespace.
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
