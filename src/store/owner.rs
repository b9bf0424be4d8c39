//! Which process holds a lease, and whether it is still there.

use std::fs;
use std::sync::OnceLock;

/// A process that runs jobs, told apart from others that had its number before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

/// Whether no process of this machine has the number.
pub(super) fn is_gone(pid: u32) -> bool {
    matches!(look(pid), Life::Gone)
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
        assert!(!elsewhere.is_gone());
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
