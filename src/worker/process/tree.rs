//! Finds and kills all descendants of a process, using `/proc`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::{self, Signal};

use super::raw_pid;

/// The number of rounds of stopping before killing: each stops processes that were forked during the previous one.
const ROUNDS: usize = 5;

/// Kills a process, its group and its descendants.
///
/// They are stopped first, parents before children, so that none can fork while the others are searched for.
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

/// The variable in the environment of all processes of a tree, unless they clear it.
const MARK: &str = "CLM_TREE";

/// Returns the beginning of that variable's definition, which is the same for all processes started by this one.
pub(super) fn owner() -> String {
    static OWNER: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().to_string());
    format!("{MARK}={}.", *OWNER)
}

/// Marks the tree that a command will start, by a variable. The mark identifies the remaining processes when the root
/// has ended. While the root lives, it adopts detached processes, so all are its descendants.
pub(super) fn mark(command: &mut Command) -> String {
    static TREES: AtomicU64 = AtomicU64::new(1);
    let mark = format!("{}{}", owner(), TREES.fetch_add(1, Ordering::Relaxed));
    if let Some((name, value)) = mark.split_once('=') {
        command.env(name, value);
    }
    mark
}

/// Kills the remaining processes of a tree whose root has ended.
pub(super) fn sweep(mark: &str) {
    for _ in 0..ROUNDS {
        let left = marked(mark);
        if left.is_empty() {
            return;
        }
        left.into_iter().for_each(|pid| send(pid, Signal::SIGKILL));
    }
}

/// Returns all living processes with a mark, except this one.
fn marked(mark: &str) -> Vec<u32> {
    let is_marked = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        *pid != std::process::id() && variables.any(|variable| variable == mark.as_bytes())
    };
    pids().filter(is_marked).collect()
}

/// Returns all process ids; empty where there is no `/proc`.
fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Sends a signal; fails silently if the process has ended.
fn send(pid: u32, signal: Signal) {
    let _ = signal::kill(raw_pid(pid), signal);
}

/// Returns all living descendants, parents before children; empty where there is no `/proc`.
pub(super) fn descendants(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in pids() {
        if let Some(parent) = parent_of(pid) {
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

/// Returns the parent according to `/proc/PID/stat`: the second field after the name, which is in parentheses.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let after_name = &stat[stat.rfind(')')? + 1..];
    after_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Returns the resident memory of a process, in bytes.
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
