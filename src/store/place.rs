//! The location of the database: the state directory, or the user's cache directory when that is on a network file
//! system.

use std::path::{Path, PathBuf};

use crate::config::user_cache;
use crate::diagnostic::Diagnostic;
use crate::digest::{Digest, Stamp};
#[cfg(target_os = "linux")]
use crate::mounts::{self, Mount};

use super::{Result, StoreError};

/// File systems on which SQLite's shared memory does not work between machines, by their `f_type` in `statfs`.
#[cfg(target_os = "linux")]
const NETWORK_FILE_SYSTEMS: &[(i64, &str)] = &[
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
];
/// The `f_type` of all FUSE file systems; the mount table names the actual one.
#[cfg(target_os = "linux")]
const FUSE: i64 = 0x6573_5546;
/// FUSE file systems that work over a network.
#[cfg(target_os = "linux")]
const NETWORK_FUSE: &[&str] = &[
    "sshfs",
    "rclone",
    "s3fs",
    "gcsfuse",
    "glusterfs",
    "davfs",
    "smbnetfs",
    "juicefs",
    "blobfuse2",
    "cephfs",
];

/// Returns the name of the network file system that contains a directory, if any.
#[cfg(not(target_os = "linux"))]
pub(crate) fn network_file_system(dir: &Path) -> Option<&'static str> {
    // The names that macOS has for them.
    const NAMES: [&str; 4] = ["nfs", "smbfs", "afpfs", "webdav"];
    let stat = nix::sys::statfs::statfs(dir).ok()?;
    let found = stat.filesystem_type_name();
    NAMES.into_iter().find(|name| *name == found)
}

/// Returns the name of the network file system that contains a directory, if any.
#[cfg(target_os = "linux")]
pub(crate) fn network_file_system(dir: &Path) -> Option<&'static str> {
    let stat = nix::sys::statfs::statfs(dir).ok()?;
    #[allow(clippy::unnecessary_cast)] // its width differs between platforms
    let found = stat.filesystem_type().0 as i64 & 0xffff_ffff;
    if found == FUSE {
        return network_fuse(&mounts::all(), &dir.canonicalize().ok()?);
    }
    NETWORK_FILE_SYSTEMS
        .iter()
        .find(|(number, _)| *number == found)
        .map(|(_, name)| *name)
}

/// Returns the inode of the database of a state directory; `None` if there is no database.
pub(crate) fn database_inode(dir: &Path) -> Option<u64> {
    let file = place_of_database(dir, &mut Vec::new()).ok()?;
    Some(Stamp::of(&std::fs::metadata(file).ok()?).inode)
}

/// Returns the path of the database: in the state directory, or in the user's cache when that is on a network.
pub(super) fn place_of_database(dir: &Path, diagnostics: &mut Vec<Diagnostic>) -> Result<PathBuf> {
    let Some(name) = network_file_system(dir) else {
        return Ok(dir.join("clm.db"));
    };
    let real = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    let own = user_cache()
        .join("clm")
        .join(Digest::of(real.as_os_str().as_encoded_bytes()).short());
    crate::private::create_dir_all(&own).map_err(|error| StoreError::io("create", &own, error))?;
    diagnostics.push(
        Diagnostic::warning(format!(
            "`{}` is on a network file system ({name}), where a database cannot be shared safely; it is kept in `{}`",
            dir.display(),
            own.display()
        ))
        .hint("choose a local directory with the variable CLM_STATE_DIR"),
    );
    Ok(own.join("clm.db"))
}

/// Returns the kind of the FUSE mount that contains `dir`, if it is a network file system.
#[cfg(target_os = "linux")]
fn network_fuse(mounts: &[Mount], dir: &Path) -> Option<&'static str> {
    let holding = mounts.iter().filter(|mount| dir.starts_with(&mount.point));
    // Of two mounts on the same point the later one is visible.
    let holding = holding.max_by_key(|mount| mount.point.as_os_str().len())?;
    let kind = holding.kind.strip_prefix("fuse.")?;
    NETWORK_FUSE.iter().find(|known| **known == kind).copied()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn fuse_mounts_are_told_apart() {
        let mounts = b"\
            22 1 8:1 / / rw - ext4 /dev/vda rw\n\
            30 22 0:40 / /mnt/far\\040away rw shared:3 - fuse.sshfs me@host: rw\n\
            31 22 0:41 / /mnt/vault rw - fuse.gocryptfs /secret rw\n";
        let mounts = mounts::parse(mounts);
        let kind = |path: &str| network_fuse(&mounts, Path::new(path));
        assert_eq!(kind("/mnt/far away/course"), Some("sshfs"));
        assert_eq!(kind("/mnt/vault/course"), None);
        assert_eq!(kind("/home/course"), None);
    }
}
