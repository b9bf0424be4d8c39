//! Reads the system's table of mounts.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The mount point.
    pub point: PathBuf,
    /// The type of the file system, such as `ext4` or `fuse.sshfs`.
    pub kind: String,
}

/// Returns all mounts; later ones cover earlier ones. The list is empty on systems without such a table.
pub(crate) fn all() -> Vec<Mount> {
    parse(&std::fs::read("/proc/self/mountinfo").unwrap_or_default())
}

/// Parses a table in the format of `/proc/self/mountinfo`.
pub(crate) fn parse(table: &[u8]) -> Vec<Mount> {
    let lines = table.split(|byte| *byte == b'\n');
    let mount = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let point = unescape(fields.nth(4)?);
        // Any number of optional fields precedes the dash.
        fields.find(|field| *field == b"-")?;
        let kind = String::from_utf8_lossy(fields.next()?).into_owned();
        Some(Mount {
            point: point.into(),
            kind,
        })
    };
    lines.filter_map(mount).collect()
}

/// Decodes a path of the table, where blanks, tabs, line ends and backslashes are octal escapes.
fn unescape(text: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn names_and_kinds_are_read_whatever_is_in_them() {
        let table = b"\
            22 1 8:1 / / rw - ext4 /dev/vda rw\n\
            30 22 0:40 / /mnt/a\\040b\\134c rw shared:3 master:1 - fuse.sshfs me@host: rw\n\
            31 22 0:41 / /mnt/\xff rw - tmpfs none rw\n\
            broken\n";
        let mounts = parse(table);
        let kinds: Vec<&str> = mounts.iter().map(|mount| &*mount.kind).collect();
        assert_eq!(kinds, ["ext4", "fuse.sshfs", "tmpfs"]);
        let points = mounts
            .iter()
            .map(|mount| mount.point.as_os_str().as_bytes());
        let points: Vec<&[u8]> = points.collect();
        assert_eq!(points, [&b"/"[..], b"/mnt/a b\\c", b"/mnt/\xff"]);
    }
}
