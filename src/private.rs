//! Files and directories that only this user can access, whatever the umask.
//!
//! This applies to everything in the state directory: it contains results, outputs of cells and the preview's address.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use crate::files;

/// The permission bits of the group and of others.
const OTHERS: u32 = 0o077;
/// Prefixes of the names that clm creates in a state directory.
const OWN_NAMES: &[&str] = &[
    files::UNFINISHED,
    ".gitignore",
    "CACHEDIR.TAG",
    "blobs",
    "checkpoint-",
    "clm.",
    "daemon.",
    "imports.json",
    "listed-",
    "manifests-",
    "preview.html",
    "replaced",
    "staging",
    "watch",
    // Of earlier versions.
    ".kept-",
    "left-",
    "outputs",
    "seal-",
];

/// Creates a directory and its missing parents with access for this user alone. An existing directory is not changed.
pub(crate) fn create_dir_all(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a file with access for this user alone. The permissions of an existing file are not changed.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = files::create(path, OpenOptions::new().truncate(true))?;
    io::Write::write_all(&mut file, bytes)
}

/// Opens a file for appending, and removes access of other users.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    let file = files::create(path, OpenOptions::new().append(true))?;
    // This fails for a file of another user, whose permissions are then not changed.
    let _ = restrict(path);
    Ok(file)
}

/// Creates a state directory, or removes other users' access to an existing one and to everything in it.
///
/// If the user chose a directory that also contains other files, its own permissions and theirs are not changed.
pub(crate) fn state_dir(dir: &Path) -> io::Result<()> {
    if !dir.is_dir() {
        return create_dir_all(dir);
    }
    let is_open = |path: &Path| std::fs::metadata(path).is_ok_and(|found| is_open(&found));
    // The tag is restricted last, so that an interrupted walk is repeated by the next call.
    let tag = dir.join("CACHEDIR.TAG");
    let is_ours = is_ours(dir);
    let is_loose = is_open(&tag) || (is_ours && is_open(dir));
    if !is_loose {
        return Ok(());
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_known = is_ours || OWN_NAMES.iter().any(|own| name.starts_with(own));
        if is_known && entry.path() != tag {
            restrict_all(&entry.path());
        }
    }
    // Permissions that cannot be changed (another user's, a read-only file system) are ignored.
    if is_ours {
        let _ = restrict(dir);
    }
    let _ = restrict(&tag);
    Ok(())
}

/// Returns whether a directory contains only what clm creates there.
fn is_ours(dir: &Path) -> bool {
    if dir.file_name().is_some_and(|name| name == ".clm") {
        return true;
    }
    let Ok(entries) = std::fs::read_dir(dir) else {
        return false;
    };
    entries.flatten().all(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        OWN_NAMES.iter().any(|own| name.starts_with(own))
    })
}

/// Removes other users' access to a directory and everything in it. Links are not followed, and errors are ignored.
fn restrict_all(path: &Path) {
    let Ok(metadata) = path.symlink_metadata() else {
        return;
    };
    if metadata.is_symlink() {
        return;
    }
    if metadata.is_dir()
        && let Ok(entries) = std::fs::read_dir(path)
    {
        for entry in entries.flatten() {
            restrict_all(&entry.path());
        }
    }
    let _ = restrict(path);
}

/// Removes other users' access to a file or directory.
fn restrict(path: &Path) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(path)?;
    if metadata.is_symlink() || !is_open(&metadata) {
        return Ok(());
    }
    let mode = metadata.permissions().mode() & 0o7777 & !OTHERS;
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

fn is_open(metadata: &std::fs::Metadata) -> bool {
    metadata.permissions().mode() & OTHERS != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_an_older_version_left_open_is_closed_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join(".clm");
        std::fs::create_dir_all(state.join("blobs/ab")).unwrap();
        for name in ["clm.db", "daemon.log", "blobs/ab/cd", "CACHEDIR.TAG"] {
            std::fs::write(state.join(name), "x").unwrap();
            set(&state.join(name), 0o644);
        }
        for name in ["", "blobs", "blobs/ab"] {
            set(&state.join(name), 0o755);
        }
        let outside = dir.path().join("outside");
        std::fs::write(&outside, "x").unwrap();
        set(&outside, 0o644);
        std::os::unix::fs::symlink(&outside, state.join("link")).unwrap();
        state_dir(&state).unwrap();
        for name in ["clm.db", "daemon.log", "blobs/ab/cd", "CACHEDIR.TAG"] {
            assert_eq!(mode(&state.join(name)), 0o600, "{name}");
        }
        for name in ["", "blobs", "blobs/ab"] {
            assert_eq!(mode(&state.join(name)), 0o700, "{name}");
        }
        assert_eq!(mode(&outside), 0o644);
        // The directory was made accessible again.
        set(&state, 0o755);
        set(&state.join("daemon.log"), 0o666);
        state_dir(&state).unwrap();
        assert_eq!(
            (mode(&state), mode(&state.join("daemon.log"))),
            (0o700, 0o600)
        );
    }

    #[test]
    fn a_directory_with_other_things_keeps_its_permissions() {
        let dir = tempfile::tempdir().unwrap();
        set(dir.path(), 0o755);
        for name in ["mine.txt", "clm.db", "CACHEDIR.TAG"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
            set(&dir.path().join(name), 0o644);
        }
        state_dir(dir.path()).unwrap();
        assert_eq!(mode(dir.path()), 0o755);
        assert_eq!(mode(&dir.path().join("mine.txt")), 0o644);
        assert_eq!(mode(&dir.path().join("clm.db")), 0o600);
    }

    #[test]
    fn new_files_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        create_dir_all(&inner).unwrap();
        let (file, log) = (inner.join("f"), inner.join("log"));
        write(&file, b"text").unwrap();
        append(&log).unwrap();
        set(&log, 0o644);
        append(&log).unwrap();
        let modes = [
            mode(&dir.path().join("a")),
            mode(&inner),
            mode(&file),
            mode(&log),
        ];
        assert_eq!(modes, [0o700, 0o700, 0o600, 0o600]);
    }
}
