//! Memory that is free goes back to the system: a process that stays shows what it needs, not what its first run needed.

// The C library's allocator has no safe door.
#![allow(unsafe_code)]

/// Gives free memory back, where the allocator does not do so itself.
pub fn release() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it may be called at any time by any thread; it touches only memory that nobody uses.
    unsafe {
        libc::malloc_trim(0);
    }
}
