//! Directories of finished downloads: what is in one of them is not downloaded again.
//!
//! What comes over HTTP is continued in the middle of a file; `pip` and `npm` cannot do that, so that their smallest unit is
//! the file of one package. Files enter the directory when they have an expected checksum, and are compared again before
//! they are used.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{Dir, Error, Result};

use super::http::PART as PARTIAL;
use super::install::Component;
use super::package::{Package, fits_python, fits_system};

/// The start of the names of directories in which a client works.
const PART: &str = "part-";
/// Deep enough for the directories that pip creates in its temporary directory.
const DEPTH: usize = 4;

/// A directory of finished downloads.
#[derive(Debug)]
pub(super) struct Downloads {
    dir: PathBuf,
    /// Whether the directory is clm's own, so that damaged files are removed.
    is_own: bool,
}

impl Downloads {
    /// Returns the downloads of a component that is not installed yet.
    pub(super) fn of(component: Component, tools_dir: &Path) -> Self {
        Self {
            dir: Self::all(tools_dir).join(component.name()),
            is_own: true,
        }
    }

    /// Returns a directory of the user for downloads.
    pub(super) fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            is_own: false,
        }
    }

    /// Returns the directory with the downloads of all components.
    pub(super) fn all(tools_dir: &Path) -> PathBuf {
        tools_dir.join("downloads")
    }

    /// Returns the directory of the files.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Creates the directory. Finished files from a client that was killed are kept, and the rest of its work is removed:
    /// the caller has the lock of the directory.
    pub(super) fn open(&self, packages: &[Package<'_>]) -> Result<()> {
        let io = |error: std::io::Error| Error::io_in(Dir::Tools, "write", &self.dir, &error);
        std::fs::create_dir_all(&self.dir).map_err(io)?;
        for entry in std::fs::read_dir(&self.dir).map_err(io)? {
            let entry = entry.map_err(io)?;
            let is_part = entry.file_name().to_string_lossy().starts_with(PART);
            if is_part && entry.file_type().map_err(io)?.is_dir() {
                for file in files_below(&entry.path()) {
                    self.keep(&file, packages)?;
                }
                std::fs::remove_dir_all(entry.path()).map_err(io)?;
            }
        }
        Ok(())
    }

    /// Returns the file of a package, if it is there and as expected. `python` is the minor version of a Python that must
    /// be able to use it.
    pub(super) fn find(
        &self,
        package: &Package<'_>,
        python: Option<u32>,
    ) -> Result<Option<PathBuf>> {
        for file in package.candidates(&self.dir) {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if !fits_system(&name) || python.is_some_and(|minor| !fits_python(&name, minor)) {
                continue;
            }
            if package.has_content(&file)? {
                return Ok(Some(file));
            }
            if !self.is_own {
                return Err(Error::usage(format!(
                    "`{}` has other bytes than expected",
                    file.display()
                ))
                .hint(
                    "it is damaged, or not what its name says: remove it and run the command again",
                ));
            }
            std::fs::remove_file(&file)
                .map_err(|error| Error::io_in(Dir::Tools, "remove", &file, &error))?;
        }
        Ok(None)
    }

    /// Returns a new directory in which a client works. It is removed when it is dropped.
    pub(super) fn part(&self) -> Result<tempfile::TempDir> {
        let dir = tempfile::Builder::new().prefix(PART).tempdir_in(&self.dir);
        dir.map_err(|error| Error::io_in(Dir::Tools, "write", &self.dir, &error))
    }

    /// Keeps a file that has the name and the content of one of the packages. Returns whether it has.
    pub(super) fn keep(&self, file: &Path, packages: &[Package<'_>]) -> Result<bool> {
        let Some(name) = file.file_name() else {
            return Ok(false);
        };
        let shown = name.to_string_lossy();
        let Some(package) = packages.iter().find(|package| package.has_name(&shown)) else {
            return Ok(false);
        };
        if !package.has_content(file)? {
            return Ok(false);
        }
        let place = self.dir.join(name);
        // A link, because the client still needs the file in its place.
        match std::fs::hard_link(file, &place) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(true),
            Err(_) => self.copy(file, &place).map(|()| true),
        }
    }

    /// Copies a file where there are no links, so that it never appears half-written.
    fn copy(&self, file: &Path, place: &Path) -> Result<()> {
        let io = |error: std::io::Error| Error::io_in(Dir::Tools, "write", place, &error);
        let part = tempfile::NamedTempFile::new_in(&self.dir).map_err(io)?;
        std::fs::copy(file, part.path()).map_err(io)?;
        part.persist(place).map_err(|error| io(error.error))?;
        Ok(())
    }

    /// Returns the bytes of the packages that have arrived so far, finished or not.
    pub(super) fn received(&self, packages: &[Package<'_>]) -> u64 {
        let mut sizes: BTreeMap<OsString, u64> = BTreeMap::new();
        for file in files_below(&self.dir) {
            let Some(name) = file.file_name() else {
                continue;
            };
            let shown = name.to_string_lossy();
            let shown = shown.strip_suffix(PARTIAL).unwrap_or(&shown);
            if packages.iter().any(|package| package.has_name(shown)) {
                let size = std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
                // pip has a file in two places for a moment.
                let known = sizes.entry(shown.into()).or_default();
                *known = (*known).max(size);
            }
        }
        sizes.values().sum()
    }

    /// Removes the directory, and that of all components if it was the last one.
    pub(super) fn clear(&self) {
        // What remains is used or removed by the next installation.
        let _ = std::fs::remove_dir_all(&self.dir);
        if let Some(all) = self.dir.parent() {
            let _ = std::fs::remove_dir(all);
        }
    }
}

/// Keeps finished files while a client is still downloading others, so that they survive its end.
pub(super) struct Keeper<'d> {
    downloads: &'d Downloads,
    part: &'d Path,
    packages: &'d [Package<'d>],
    /// The sizes of the files at the last look.
    sizes: BTreeMap<PathBuf, u64>,
    /// The sizes at which files were compared.
    compared: BTreeMap<PathBuf, u64>,
    /// The names of the files that are kept.
    kept: BTreeSet<OsString>,
}

impl<'d> Keeper<'d> {
    /// Returns a keeper for a client that works in `part`.
    pub(super) fn new(
        downloads: &'d Downloads,
        part: &'d Path,
        packages: &'d [Package<'d>],
    ) -> Self {
        Self {
            downloads,
            part,
            packages,
            sizes: BTreeMap::new(),
            compared: BTreeMap::new(),
            kept: BTreeSet::new(),
        }
    }

    /// Keeps the files that have not grown since the last look and are as expected. Each file is compared once.
    pub(super) fn look(&mut self) {
        for file in files_below(self.part) {
            let size = std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
            let before = self.sizes.insert(file.clone(), size);
            let name = file.file_name().unwrap_or_default();
            if before != Some(size)
                || self.kept.contains(name)
                || self.compared.insert(file.clone(), size) == Some(size)
            {
                continue;
            }
            // The file may vanish meanwhile: what is not kept now is kept in the end.
            if let Ok(true) = self.downloads.keep(&file, self.packages) {
                self.kept.insert(name.to_owned());
            }
        }
    }

    /// Keeps all files of a client that has ended, and returns them in the order of the packages.
    pub(super) fn finish(mut self) -> Result<Vec<PathBuf>> {
        let files = files_below(self.part);
        for file in &files {
            let name = file.file_name().unwrap_or_default();
            if !self.kept.contains(name) && self.downloads.keep(file, self.packages)? {
                self.kept.insert(name.to_owned());
            }
        }
        let file_of = |package: &Package<'_>| {
            let has_name = |name: &OsString| package.has_name(&name.to_string_lossy());
            let kept = self.kept.iter().find(|name| has_name(name));
            if let Some(name) = kept {
                return Ok(self.downloads.dir.join(name));
            }
            let (name, version) = (package.name, package.version);
            let is_there = files.iter().filter_map(|file| file.file_name());
            Err(match is_there.map(OsString::from).any(|name| has_name(&name)) {
                true => Error::internal(format!(
                    "what was downloaded as {name} {version} does not have the expected checksum"
                ))
                .hint("the mirror may be damaged or tampered with; nothing was installed"),
                false => Error::internal(format!("{name} {version} was not downloaded")).hint(
                    "pip or npm ended without an error and without a file: look at their settings",
                ),
            })
        };
        self.packages.iter().map(file_of).collect()
    }
}

/// Returns the packages' files below a directory, also incomplete ones.
pub(super) fn files_below(dir: &Path) -> Vec<PathBuf> {
    fn collect(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            let path = entry.path();
            if kind.is_dir() && depth > 0 {
                collect(&path, depth - 1, files);
            } else if kind.is_file()
                && path
                    .extension()
                    .is_some_and(|end| end == "whl" || end == "tgz" || end == "part")
            {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    collect(dir, DEPTH, &mut files);
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::pins::Registry;

    /// The checksum of `abc`.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const PACKAGE: Package<'static> = Package {
        registry: Registry::Node,
        name: "@x/a",
        version: "1",
        sha256: &[ABC],
    };

    #[test]
    fn what_a_killed_client_had_finished_is_kept() {
        let tools = tempfile::tempdir().unwrap();
        let downloads = Downloads::of(Component::Plantuml, tools.path());
        let part = downloads.dir().join("part-1/tmp/pip-unpack-1");
        std::fs::create_dir_all(&part).unwrap();
        std::fs::write(part.join("x-a-1.tgz"), "abc").unwrap();
        let half = downloads.dir().join("part-2");
        std::fs::create_dir_all(&half).unwrap();
        std::fs::write(half.join("x-a-1.tgz"), "ab").unwrap();
        assert!(downloads.find(&PACKAGE, None).unwrap().is_none());
        assert_eq!(downloads.received(&[PACKAGE]), 3);

        downloads.open(&[PACKAGE]).unwrap();
        let kept = downloads.find(&PACKAGE, None).unwrap().unwrap();
        assert_eq!(std::fs::read(&kept).unwrap(), b"abc");
        assert_eq!(std::fs::read_dir(downloads.dir()).unwrap().count(), 1);
        downloads.clear();
        assert_eq!(std::fs::read_dir(tools.path()).unwrap().count(), 0);
    }

    #[test]
    fn finished_files_are_kept_while_others_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let downloads = Downloads::at(dir.path());
        let part = downloads.part().unwrap();
        let packages = [PACKAGE];
        let mut keeper = Keeper::new(&downloads, part.path(), &packages);
        let file = part.path().join("x-a-1.tgz");
        let kept = dir.path().join("x-a-1.tgz");
        std::fs::write(&file, "ab").unwrap();
        keeper.look();
        std::fs::write(&file, "abc").unwrap();
        keeper.look();
        assert!(!kept.exists());
        keeper.look();
        assert_eq!(std::fs::read(&kept).unwrap(), b"abc");
    }

    #[test]
    fn damaged_downloads_are_removed_and_damaged_files_of_the_user_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x-a-1.tgz");
        std::fs::write(&file, "other").unwrap();
        let error = Downloads::at(dir.path()).find(&PACKAGE, None).unwrap_err();
        assert!(error.to_string().contains("other bytes"), "{error}");
        assert!(file.exists());
        let own = Downloads {
            dir: dir.path().to_path_buf(),
            is_own: true,
        };
        assert_eq!(own.find(&PACKAGE, None).unwrap(), None);
        assert!(!file.exists());
    }
}
