//! Measures the memory of processes, and returns free memory to the system, so that a resident process occupies what it
//! needs now, not what its first run needed.

// The allocator of the C library has no safe interface.
#![allow(unsafe_code)]

use crate::owner::children;

/// Limits the allocator to one arena per processor. By default it has up to eight, each with free memory of its own,
/// although no more threads than processors run at a time.
pub(crate) fn share() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let arenas = i32::try_from(crate::parallel::processors()).unwrap_or(i32::MAX);
        // SAFETY: the call only sets a parameter, before other threads are started.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, arenas);
        }
    }
}

/// Returns free memory to the system, where the allocator does not do so by itself.
pub(crate) fn release() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: any thread may call this at any time; only unused memory is affected.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Returns the memory of a process and all its descendants in bytes, without counting twice what they share; `None` if
/// the system does not say that. Source: `Pss` of `/proc/PID/smaps_rollup` (Linux).
pub(crate) fn of_tree(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    let below: u64 = children(pid).into_iter().filter_map(of_tree).sum();
    Some(kib * 1024 + below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_memory_of_a_tree_includes_its_children() {
        let own = std::process::id();
        let before = of_tree(own).unwrap();
        assert!(before > 0);
        assert_eq!(of_tree(u32::MAX), None);
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let of_child = of_tree(child.id()).unwrap();
        assert!(of_child > 0 && of_tree(own).unwrap() >= of_child);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
