//! Memory that is free goes back to the system: a process that stays shows what it needs, not what its first run needed.

// The C library's allocator has no safe door.
#![allow(unsafe_code)]

/// Lets threads share what is free: the allocator would keep some for eight threads of each processor, and no more than one
/// of them works at a time.
pub fn share() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let arenas = i32::try_from(crate::parallel::processors()).unwrap_or(i32::MAX);
        // SAFETY: it sets a number, before there are threads.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, arenas);
        }
    }
}

/// Gives free memory back, where the allocator does not do so itself.
pub fn release() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it may be called at any time by any thread; it touches only memory that nobody uses.
    unsafe {
        libc::malloc_trim(0);
    }
}
