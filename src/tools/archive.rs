//! Unpacks downloaded archives: only the selected paths, never outside of the target directory, and only up to a size
//! limit.

use std::io::{self, Read, Seek};
use std::path::{Component, Path, PathBuf};

use crate::error::{Dir, Error, Result, hint_in_text};

/// The maximum unpacked size of one archive, in bytes: far more than any package that clm installs.
const LIMIT: u64 = 4 << 30;

/// Unpacks the files of a wheel (a zip archive) below `prefix` into `to`.
pub(crate) fn unzip(wheel: &Path, prefix: &str, to: &Path) -> Result<()> {
    let count = unzip_from(open(wheel)?, prefix, to, LIMIT);
    require(
        count.map_err(|error| damaged(wheel, &error))?,
        wheel,
        prefix,
    )
}

/// Unpacks the files of a gzip-compressed tar archive below `prefix` into `to`.
pub(crate) fn untar_gz(archive: &Path, prefix: &str, to: &Path) -> Result<()> {
    let count = untar_gz_from(open(archive)?, prefix, to, LIMIT);
    require(
        count.map_err(|error| damaged(archive, &error))?,
        archive,
        prefix,
    )
}

/// Unpacks a brotli-compressed tar archive.
pub(crate) fn untar_brotli(archive: &Path, to: &Path) -> Result<()> {
    let count = untar_brotli_from(open(archive)?, to, LIMIT);
    require(
        count.map_err(|error| damaged(archive, &error))?,
        archive,
        "",
    )
}

/// Unpacks a brotli-compressed program.
pub(crate) fn unbrotli(compressed: &Path, to: &Path) -> Result<()> {
    unbrotli_from(open(compressed)?, to, LIMIT).map_err(|error| damaged(compressed, &error))?;
    make_executable(to).map_err(|error| Error::io_in(Dir::Tools, "change", to, &error))
}

fn open(archive: &Path) -> Result<std::fs::File> {
    std::fs::File::open(archive).map_err(|error| Error::io_in(Dir::Tools, "open", archive, &error))
}

fn damaged(archive: &Path, error: &io::Error) -> Error {
    let reason = error.to_string();
    let hint =
        hint_in_text(&reason).unwrap_or("run `clm setup` again: it downloads the package anew");
    Error::internal(format!(
        "`{}` cannot be unpacked: {reason}",
        archive.display()
    ))
    .hint(hint)
}

/// Unpacks the files of a zip archive below `prefix`, up to `limit` bytes, and returns the number of files.
pub fn unzip_from(
    archive: impl Read + Seek,
    prefix: &str,
    to: &Path,
    limit: u64,
) -> io::Result<usize> {
    let mut archive = zip::ZipArchive::new(archive)?;
    let mut left = limit;
    let mut count = 0;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| {
            // The name of the entry cannot be read either.
            io::Error::other(format!("entry {}: {error}", index + 1))
        })?;
        if entry.is_dir() {
            continue;
        }
        let Some(below) = entry.enclosed_name().and_then(|name| below(&name, prefix)) else {
            continue;
        };
        let is_executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
        let target = to.join(&below);
        let written = write(
            Bounded {
                inner: &mut entry,
                left: &mut left,
            },
            &target,
        );
        written
            .and_then(|()| match is_executable {
                true => make_executable(&target),
                false => Ok(()),
            })
            .map_err(|error| in_entry(&below, &error))?;
        count += 1;
    }
    Ok(count)
}

/// Unpacks the files of a gzip-compressed tar archive below `prefix`, up to `limit` bytes of the archive, and returns
/// the number of files.
pub fn untar_gz_from(archive: impl Read, prefix: &str, to: &Path, limit: u64) -> io::Result<usize> {
    untar_from(flate2::read::GzDecoder::new(archive), prefix, to, limit)
}

/// Unpacks a brotli-compressed tar archive like [`untar_gz_from`].
pub fn untar_brotli_from(archive: impl Read, to: &Path, limit: u64) -> io::Result<usize> {
    let archive = brotli_decompressor::Decompressor::new(archive, 1 << 16);
    untar_from(archive, "", to, limit)
}

/// Unpacks a tar archive like [`untar_gz_from`].
pub fn untar_from(archive: impl Read, prefix: &str, to: &Path, limit: u64) -> io::Result<usize> {
    let mut left = limit;
    let mut archive = tar::Archive::new(Bounded {
        inner: archive,
        left: &mut left,
    });
    let mut count = 0;
    for (index, entry) in archive.entries()?.enumerate() {
        let at = |error: io::Error| {
            io::Error::new(error.kind(), format!("entry {}: {error}", index + 1))
        };
        let mut entry = entry.map_err(at)?;
        let path: PathBuf = entry.path().map_err(at)?.into_owned();
        // Only ordinary files: a sparse file could have any size.
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let Some(below) = below(&path, prefix) else {
            continue;
        };
        let target = to.join(&below);
        make_parent(&target)
            .and_then(|()| entry.unpack(&target))
            .map_err(|error| in_entry(&below, &error))?;
        count += 1;
    }
    Ok(count)
}

/// Unpacks a brotli-compressed file of up to `limit` bytes.
pub fn unbrotli_from(compressed: impl Read, to: &Path, limit: u64) -> io::Result<()> {
    let mut left = limit;
    let inner = brotli_decompressor::Decompressor::new(compressed, 1 << 16);
    write(
        Bounded {
            inner,
            left: &mut left,
        },
        to,
    )
}

/// Returns the part of an entry's name after `prefix`; `None` if the entry is elsewhere or its name leads out of the
/// directory.
fn below(name: &Path, prefix: &str) -> Option<PathBuf> {
    let below = name.strip_prefix(prefix).ok()?;
    let is_inside = below
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (is_inside && below.file_name().is_some()).then(|| below.to_path_buf())
}

fn in_entry(name: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}`: {error}", name.display()))
}

/// Reads from another reader, up to a limit that several readers may share.
struct Bounded<'l, R> {
    inner: R,
    left: &'l mut u64,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        *self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other("it becomes larger than any package that clm knows"))?;
        Ok(read)
    }
}

fn write(mut reader: impl Read, to: &Path) -> io::Result<()> {
    make_parent(to)?;
    let mut file = std::fs::File::create(to)?;
    io::copy(&mut reader, &mut file)?;
    Ok(())
}

fn make_parent(of: &Path) -> io::Result<()> {
    of.parent().map_or(Ok(()), std::fs::create_dir_all)
}

fn make_executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

fn require(count: usize, archive: &Path, prefix: &str) -> Result<()> {
    if count == 0 {
        return Err(Error::bug(format!(
            "`{}` has nothing below `{prefix}`",
            archive.display()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(entries: &[(&str, tar::EntryType, u64, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, kind, size, data) in entries {
            let mut header = tar::Header::new_gnu();
            let bytes = name.as_bytes();
            // Written directly, because the library refuses some names that other programs may write.
            header.as_old_mut().name[..bytes.len()].copy_from_slice(bytes);
            header.set_entry_type(*kind);
            header.set_size(*size);
            header.set_mode(0o644);
            header.set_cksum();
            archive.append(&header, *data).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn nothing_is_written_outside_and_nothing_but_files() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to");
        let file = tar::EntryType::Regular;
        let archive = tar_of(&[
            ("package/a/b.txt", file, 1, b"b"),
            ("package/../../out", file, 1, b"x"),
            ("/etc/out", file, 1, b"x"),
            ("package", file, 1, b"x"),
            ("package/link", tar::EntryType::Symlink, 0, b""),
            ("package/pipe", tar::EntryType::Fifo, 0, b""),
            ("elsewhere/c", file, 1, b"x"),
        ]);
        assert_eq!(
            untar_from(archive.as_slice(), "package", &to, 1 << 20).unwrap(),
            1
        );
        assert_eq!(std::fs::read(to.join("a/b.txt")).unwrap(), b"b");
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_archive_that_becomes_too_large_is_an_error_that_names_the_entry() {
        let dir = tempfile::tempdir().unwrap();
        let zeros = vec![0; 1 << 20];
        let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for name in ["p/first", "p/second"] {
            let options = zip::write::SimpleFileOptions::default();
            zip.start_file(name, options).unwrap();
            io::Write::write_all(&mut zip, &zeros).unwrap();
        }
        let zip = zip.finish().unwrap();
        assert!(zip.get_ref().len() < 10_000);
        let error = unzip_from(zip, "p", dir.path(), 3 << 19).unwrap_err();
        assert!(error.to_string().starts_with("`second`: "), "{error}");

        let size = zeros.len() as u64;
        let archive = tar_of(&[("p/first", tar::EntryType::Regular, size, &zeros)]);
        let error = untar_from(archive.as_slice(), "p", dir.path(), 1 << 19).unwrap_err();
        assert!(error.to_string().starts_with("`first`: "), "{error}");
        let error = untar_from(&archive[..700], "p", dir.path(), 1 << 30).unwrap_err();
        assert!(error.to_string().starts_with("`first`: "), "{error}");
    }
}
