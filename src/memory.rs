//! Returns free memory to the system, so that a resident process occupies what it needs now, not what its first run
//! needed.

// The allocator of the C library has no safe interface.
#![allow(unsafe_code)]

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
