//! Finding and killing all processes that a process started, from what `/proc` says.

use std::collections::{BTreeMap, BTreeSet};

use nix::sys::signal::{self, Signal};

use super::raw_pid;

/// Rounds of stopping before killing: each catches what was forked during the one before.
const ROUNDS: usize = 5;

/// Kills a process, its group and its descendants.
///
/// They are stopped first, parents before children, so that none can fork while the others are looked for.
pub(super) fn kill(root: u32) {
    let mut stopped = BTreeSet::new();
    send(root, Signal::SIGSTOP);
    for _ in 0..ROUNDS {
        let fresh: Vec<u32> = descendants(root)
            .into_iter()
            .filter(|pid| stopped.insert(*pid))
            .collect();
        if fresh.is_empty() {
            break;
        }
        fresh.iter().for_each(|pid| send(*pid, Signal::SIGSTOP));
    }
    let _ = signal::killpg(raw_pid(root), Signal::SIGKILL);
    send(root, Signal::SIGKILL);
    stopped.iter().for_each(|pid| send(*pid, Signal::SIGKILL));
}

/// Signals a process; one that is gone needs no signal.
fn send(pid: u32, signal: Signal) {
    let _ = signal::kill(raw_pid(pid), signal);
}

/// All living descendants, parents before children. Empty where there is no `/proc`.
pub(super) fn descendants(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    for entry in entries.flatten() {
        let pid = entry.file_name().to_str().and_then(|n| n.parse().ok());
        let parent = pid.and_then(parent_of);
        if let (Some(pid), Some(parent)) = (pid, parent) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            found.push(child);
            next.push(child);
        }
    }
    found
}

/// The parent in `/proc/PID/stat`: the second field after the name, which stands in parentheses.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let after_name = &stat[stat.rfind(')')? + 1..];
    after_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Resident memory of a process.
pub(super) fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read() {
        let me = std::process::id();
        let parent = std::os::unix::process::parent_id();
        assert_eq!(parent_of(me), Some(parent));
        assert!(descendants(parent).contains(&me));
        assert!(resident_bytes(me).unwrap() > 100_000);
        assert_eq!(resident_bytes(u32::MAX), None);
    }
}
