//! Access to files that this process did not create: only regular files are opened, and opening never blocks.
//!
//! A path in a course may be a named pipe, a socket or a device. Opening one waits for its other end, or has a side
//! effect. So every path that this process did not just create is opened by functions of this module.

use std::fs::{File, FileType, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::Whence;

/// Opens a regular file for reading. Symbolic links are followed.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    Ok(open_with_metadata(path)?.0)
}

/// Opens a regular file for reading, and returns the metadata of the opened file, too.
fn open_with_metadata(path: &Path) -> io::Result<(File, Metadata)> {
    // Checked before it is opened, since opening a device can have side effects.
    check(std::fs::metadata(path)?.file_type())?;
    // Opened without blocking and checked again, since another file may have replaced it meanwhile.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)?;
    let metadata = file.metadata()?;
    check(metadata.file_type())?;
    Ok((file, metadata))
}

/// Opens a directory.
pub(crate) fn open_dir(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NONBLOCK;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
}

/// Opens a regular file for writing without changing it, or creates it with access for this user alone. Used for files
/// that are only locked.
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    create(path, &mut OpenOptions::new())
}

/// Opens a regular file for writing, or creates it with access for this user alone. Further options are in `options`.
pub(crate) fn create(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    match std::fs::metadata(path) {
        Ok(found) => check(found.file_type())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = options
        .create(true)
        .write(true)
        .mode(0o600)
        .custom_flags(flags.bits())
        .open(path)?;
    check(file.metadata()?.file_type())?;
    Ok(file)
}

/// Reads the bytes of a regular file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let (mut file, metadata) = open_with_metadata(path)?;
    let mut bytes = Vec::new();
    // A file that does not fit into memory must cause an error, not an abort.
    let size = usize::try_from(metadata.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
    bytes
        .try_reserve_exact(size)
        .map_err(|_| io::ErrorKind::OutOfMemory)?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the text of a regular file. Text that is not UTF-8 is an error of the kind `InvalidData`.
pub(crate) fn read_to_string(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// Renames a file or a directory to a path where nothing is. If something is there, it stays, and the error is
/// [`io::ErrorKind::AlreadyExists`]: another process may have been quicker.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
        match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
            // The file system or the kernel cannot do that.
            Err(Errno::EINVAL | Errno::ENOSYS) => {}
            result => return result.map_err(io::Error::from),
        }
    }
    if !std::fs::symlink_metadata(from)?.is_dir() {
        match std::fs::hard_link(from, to) {
            Ok(()) => return std::fs::remove_file(from),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            // Not every file system has hard links.
            Err(_) => {}
        }
    }
    match std::fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => std::fs::rename(from, to),
    }
}

/// What the names of files begin with that are not yet complete.
pub(crate) const UNFINISHED: &str = ".clm-";

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// This user.
    Private,
    /// All users that the umask allows.
    Shared,
}

/// Replaces a file, or creates it, as a whole or not at all: `write` gets an empty file in the same directory, which is
/// then renamed. It is not synced.
pub(crate) fn replace(
    path: &Path,
    access: Access,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    if access == Access::Shared {
        builder.permissions(Permissions::from_mode(0o666));
    }
    let mut unfinished = builder.tempfile_in(directory)?;
    write(unfinished.as_file_mut())?;
    unfinished.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Why something cannot be used as a file; none for a regular file.
pub(crate) fn not_a_file(kind: FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("it is a directory")
    } else if kind.is_fifo() {
        Some("it is a named pipe, not a regular file")
    } else if kind.is_socket() {
        Some("it is a socket, not a regular file")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("it is a device, not a regular file")
    } else {
        Some("it is not a regular file")
    }
}

/// Returns whether an error of accessing a path means that nothing exists there. Other errors do not say whether
/// something exists.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(
        kind,
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
    ) || error.raw_os_error() == Some(Errno::ELOOP as i32)
}

fn check(kind: FileType) -> io::Result<()> {
    match not_a_file(kind) {
        None => Ok(()),
        Some(reason) if kind.is_dir() => Err(io::Error::new(io::ErrorKind::IsADirectory, reason)),
        Some(reason) => Err(io::Error::new(io::ErrorKind::InvalidInput, reason)),
    }
}

/// Copies a regular file with its permissions. The copy is made inside the kernel, as a reflink if the file system
/// supports that, and holes stay holes.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    copy_and(from, to, |_, _| ())
}

/// Copies a regular file like [`copy`], with its modification time if the file system can store that.
pub(crate) fn copy_with_time(from: &Path, to: &Path) -> io::Result<()> {
    copy_and(from, to, |metadata, target| {
        // The time is only a convenience, so errors are ignored.
        if let Ok(modified) = metadata.modified() {
            let _ = target.set_modified(modified);
        }
    })
}

fn copy_and(from: &Path, to: &Path, finish: impl FnOnce(&Metadata, &File)) -> io::Result<()> {
    let (mut source, metadata) = open_with_metadata(from)?;
    let mut target = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(to)?;
    copy_known(&mut source, &metadata, &mut target)?;
    target.set_permissions(metadata.permissions())?;
    finish(&metadata, &target);
    Ok(())
}

/// Copies the content of a file to an empty file. Holes stay holes.
pub(crate) fn copy_content(source: &mut File, target: &mut File) -> io::Result<()> {
    let metadata = source.metadata()?;
    copy_known(source, &metadata, target)
}

fn copy_known(source: &mut File, metadata: &Metadata, target: &mut File) -> io::Result<()> {
    let is_sparse = metadata.blocks().saturating_mul(512) < metadata.len();
    if !is_sparse {
        io::copy(source, target)?;
        return Ok(());
    }
    let size = metadata.len();
    let mut at = 0;
    while at < size {
        let Some(start) = seek(source, at, Whence::SeekData)? else {
            break;
        };
        let end = seek(source, start, Whence::SeekHole)?.unwrap_or(size);
        source.seek(SeekFrom::Start(start))?;
        target.seek(SeekFrom::Start(start))?;
        io::copy(&mut (&*source).take(end - start), target)?;
        at = end;
    }
    target.set_len(size)
}

/// Returns the offset at which the next data or hole begins, at or after an offset, or `None` if there is none.
fn seek(file: &File, offset: u64, whence: Whence) -> io::Result<Option<u64>> {
    let offset = i64::try_from(offset).map_err(io::Error::other)?;
    match nix::unistd::lseek(file, offset, whence) {
        Ok(found) => Ok(u64::try_from(found).ok()),
        Err(Errno::ENXIO) => Ok(None),
        // The file system does not report holes, so everything is data.
        Err(Errno::EINVAL) if matches!(whence, Whence::SeekData) => Ok(u64::try_from(offset).ok()),
        Err(Errno::EINVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_regular_files_are_opened_and_nothing_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("a"), "text").unwrap();
        std::os::unix::fs::symlink("a", path("link")).unwrap();
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("pipe", path("to-pipe")).unwrap();
        let _listener = UnixListener::bind(path("socket")).unwrap();
        assert_eq!(read_to_string(&path("link")).unwrap(), "text");
        for (name, reason) in [
            ("pipe", "named pipe"),
            ("to-pipe", "named pipe"),
            ("socket", "socket"),
            (".", "directory"),
        ] {
            let error = read(&path(name)).unwrap_err();
            assert!(error.to_string().contains(reason), "{name}: {error}");
        }
        let error = read(Path::new("/dev/zero")).unwrap_err();
        assert!(error.to_string().contains("device"), "{error}");
        assert!(copy(&path("pipe"), &path("copy")).is_err());
        assert!(open_or_create(&path("to-pipe")).is_err());
        assert!(open_dir(&path("to-pipe")).is_err());
        assert!(open_dir(dir.path()).is_ok());
        assert!(open_or_create(&path("lock")).is_ok());
        assert!(!path("copy").exists());
    }

    #[test]
    fn copies_keep_holes() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let size: u64 = 64 << 20;
        let mut file = File::create(path("sparse")).unwrap();
        file.write_all(b"begin").unwrap();
        file.seek(SeekFrom::Start(size / 2)).unwrap();
        file.write_all(b"middle").unwrap();
        file.set_len(size).unwrap();
        copy(&path("sparse"), &path("copy")).unwrap();
        let copied = std::fs::metadata(path("copy")).unwrap();
        assert_eq!(copied.len(), size);
        let blocks = file.metadata().unwrap().blocks();
        assert!(copied.blocks() <= blocks + 64, "{} blocks", copied.blocks());
        let bytes = read(&path("copy")).unwrap();
        assert!(bytes == read(&path("sparse")).unwrap());
        // A file that consists of a hole, and an empty file.
        File::create(path("hole")).unwrap().set_len(size).unwrap();
        copy(&path("hole"), &path("copy")).unwrap();
        assert_eq!(std::fs::metadata(path("copy")).unwrap().len(), size);
        File::create(path("empty")).unwrap();
        copy(&path("empty"), &path("copy")).unwrap();
        assert_eq!(std::fs::metadata(path("copy")).unwrap().len(), 0);
    }
}
