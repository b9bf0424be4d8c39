//! Stats several files of one directory: if there are many, its path is resolved once, not for every file.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::fcntl::AtFlags;
use nix::sys::stat::{SFlag, fstatat};

use crate::digest::{Stamp, nanoseconds};
use crate::files;

use super::unseen::has_links;

/// For so many files, opening and closing their directory costs less than resolving its path for each of them.
const MANY: usize = 4;

/// A directory whose files are examined.
pub(super) struct Directory {
    path: PathBuf,
    /// `None` if it need not or cannot be opened: even then its files may be accessible by their paths.
    opened: Option<File>,
}

/// The metadata of a file.
pub(super) struct Found {
    /// Its stamp.
    pub stamp: Stamp,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Whether it is a regular file with more than one hard link.
    pub has_links: bool,
}

impl Directory {
    /// Returns the directory at a path, which need not exist. `files` is the number of files that will be examined.
    pub(super) fn at(path: PathBuf, files: usize) -> Self {
        let is_opened = files >= MANY;
        let opened = is_opened.then(|| files::open_dir(&path).ok()).flatten();
        Self { path, opened }
    }

    /// Returns its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the stamp of a file in it and whether it is a regular file; `None` if there is nothing of that name.
    /// Links are followed.
    pub(super) fn stamp(&self, name: &str) -> Option<(Stamp, bool)> {
        let found = self.look(name)?;
        Some((found.stamp, found.is_file))
    }

    /// Returns the metadata of a file in it; `None` if there is nothing of that name. Links are followed.
    pub(super) fn look(&self, name: &str) -> Option<Found> {
        let Some(opened) = &self.opened else {
            let metadata = std::fs::metadata(self.path.join(name)).ok()?;
            return Some(Found {
                stamp: Stamp::of(&metadata),
                is_file: metadata.is_file(),
                has_links: has_links(&metadata),
            });
        };
        let stat = fstatat(opened, name, AtFlags::empty()).ok()?;
        #[allow(clippy::unnecessary_cast, reason = "its type differs between systems")]
        let device = stat.st_dev as u64;
        let stamp = Stamp {
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
            inode: stat.st_ino,
            device,
        };
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        let is_file = kind == SFlag::S_IFREG;
        Some(Found {
            stamp,
            is_file,
            has_links: is_file && stat.st_nlink > 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_those_of_the_standard_library() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.txt"), "one").unwrap();
        std::fs::create_dir(dir.path().join("inner")).unwrap();
        std::os::unix::fs::symlink("a.txt", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("broken")).unwrap();
        let old = File::options()
            .append(true)
            .open(dir.path().join("a.txt"))
            .unwrap();
        let after =
            |seconds| std::time::UNIX_EPOCH + std::time::Duration::new(seconds, 123_456_789);
        let before = std::time::UNIX_EPOCH - std::time::Duration::new(100, 123_456_789);
        for time in [before, after(0), after(1), after(1_700_000_000)] {
            old.set_modified(time).unwrap();
            for files in [1, MANY] {
                let there = Directory::at(dir.path().to_path_buf(), files);
                assert_eq!(there.opened.is_some(), files == MANY);
                for name in ["a.txt", "inner", "link", "broken", "absent"] {
                    let metadata = std::fs::metadata(dir.path().join(name)).ok();
                    let expected = metadata.map(|found| (Stamp::of(&found), found.is_file()));
                    assert_eq!(there.stamp(name), expected, "{name}");
                }
            }
        }
        let nowhere = Directory::at(dir.path().join("absent"), MANY);
        assert_eq!(nowhere.stamp("a.txt"), None);
    }
}
