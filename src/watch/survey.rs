//! Scans the file system to find what has to be watched.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::coverage::{Coverage, DirNames, LimitReached, Refused, Register};
use super::filter::Filter;

/// The maximum number of links in a chain.
const MAX_HOPS: usize = 40;
/// The maximum number of names of one directory: many links to each other must not exhaust the memory.
const MAX_NAMES: usize = 64;

/// Extends a coverage by scanning the file system. Each directory is watched first and then read, so that no change
/// between the two is missed.
pub(super) struct Survey<'a> {
    /// Decides what is relevant.
    pub filter: &'a Filter,
    /// The course root with symbolic links resolved. Links to directories outside it are not followed, and the build
    /// does not follow them either.
    pub real_root: &'a Path,
    /// Adds and removes the watches.
    pub register: &'a mut dyn Register,
    /// What is watched so far.
    pub coverage: Coverage,
    /// What was watched before a survey of everything: these watches are reused.
    pub before: Coverage,
    /// Everything found that was not watched before: it may have changed before its watch began.
    pub found: BTreeSet<PathBuf>,
    /// Everything that was watched before and no longer exists or is no longer relevant.
    pub gone: BTreeSet<PathBuf>,
    /// Something was created just before its watch began: a survey of everything is needed again.
    pub is_overtaken: bool,
    parents: HashMap<PathBuf, Option<PathBuf>>,
}

impl<'a> Survey<'a> {
    /// Creates a survey that extends `coverage`.
    pub(super) fn new(
        filter: &'a Filter,
        real_root: &'a Path,
        register: &'a mut dyn Register,
        coverage: Coverage,
    ) -> Self {
        Self {
            filter,
            real_root,
            register,
            coverage,
            before: Coverage::default(),
            found: BTreeSet::new(),
            gone: BTreeSet::new(),
            is_overtaken: false,
            parents: HashMap::new(),
        }
    }

    /// Scans everything that is relevant, and watches the directories in `plain`, whose files the caller handles.
    /// Watches in `before` that are no longer needed are removed.
    pub(super) fn everything(&mut self, plain: &[PathBuf]) -> Result<(), LimitReached> {
        for dir in plain {
            self.plain(dir)?;
        }
        let filter = self.filter;
        let special = filter.special_files();
        for file in &special {
            self.file(file)?;
        }
        for tree in filter.trees() {
            match tree.canonicalize() {
                Ok(real) if real.is_dir() => {
                    if real != self.real_root {
                        self.file(tree)?;
                    }
                    self.coverage.bases.insert(real.clone());
                    self.tree(tree, &real, &mut Vec::new())?;
                }
                Ok(_) => self.file(tree)?,
                Err(_) => self.awaits(tree)?,
            }
        }
        for file in &filter.inputs().files {
            if file.parent().is_none_or(|dir| !self.coverage.holds(dir)) {
                self.file(file)?;
            }
        }
        let gone = self
            .before
            .dirs()
            .filter(|dir| !self.coverage.is_watched(dir));
        for dir in gone {
            self.register.found_missing(dir);
        }
        let single = self.before.single.iter().map(|name| &**name);
        let known = self.before.names().chain(single);
        self.gone = known
            .filter(|name| !self.coverage.holds(name) && !self.coverage.single.contains(*name))
            .map(Path::to_path_buf)
            .collect();
        Ok(())
    }

    /// Scans something that appeared in a watched directory.
    pub(super) fn appeared(&mut self, real: &Path) -> Result<(), LimitReached> {
        let Ok(metadata) = real.symlink_metadata() else {
            return Ok(());
        };
        let names: Vec<PathBuf> = match (real.parent(), real.file_name()) {
            (Some(dir), Some(name)) => self
                .coverage
                .names_of_dir(dir)
                .map(|dir| dir.join(name))
                .collect(),
            _ => return Ok(()),
        };
        for name in names {
            if metadata.is_dir() {
                self.tree(&name, real, &mut Vec::new())?;
            } else if metadata.is_symlink() {
                self.link(&name, real, &mut Vec::new())?;
            }
        }
        Ok(())
    }

    fn tree(
        &mut self,
        name: &Path,
        real: &Path,
        links: &mut Vec<PathBuf>,
    ) -> Result<(), LimitReached> {
        if !self.filter.enters(name) || self.coverage.holds(name) {
            return Ok(());
        }
        if self
            .coverage
            .dirs
            .get(real)
            .is_some_and(|names| names.len() >= MAX_NAMES)
        {
            return Ok(());
        }
        if !self.plain(real)? {
            return Ok(());
        }
        self.coverage.call(real, name);
        let was_known = self.before.names_of_dir(real).any(|known| known == name);
        if !was_known {
            self.found.insert(name.to_path_buf());
        }
        // If the directory is removed meanwhile, the watch of its parent reports that.
        for entry in std::fs::read_dir(real).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            let (name, real) = (name.join(entry.file_name()), entry.path());
            if kind.is_dir() {
                self.tree(&name, &real, links)?;
            } else {
                if !was_known {
                    self.found.insert(name.clone());
                }
                if kind.is_symlink() {
                    self.link(&name, &real, links)?;
                }
            }
        }
        Ok(())
    }

    fn link(
        &mut self,
        name: &Path,
        real: &Path,
        links: &mut Vec<PathBuf>,
    ) -> Result<(), LimitReached> {
        self.hops(name, real)?;
        let Ok(target) = real.canonicalize() else {
            return Ok(());
        };
        self.coverage.targets.insert(target.clone());
        // Under the name by which the course refers to it, as in the build.
        let seen = self
            .filter
            .below_root(name)
            .map(|below| self.real_root.join(below));
        let leads_back =
            links.contains(&target) || seen.is_some_and(|seen| seen.starts_with(&target));
        if leads_back || !target.is_dir() || !target.starts_with(self.real_root) {
            return Ok(());
        }
        links.push(target.clone());
        let result = self.tree(name, &target, links);
        links.pop();
        result
    }

    /// Watches every link and directory of a chain of links: each can be replaced, and the last target can be written
    /// to.
    fn hops(&mut self, name: &Path, link: &Path) -> Result<(), LimitReached> {
        let mut link = link.to_path_buf();
        for _ in 0..MAX_HOPS {
            let Ok(target) = std::fs::read_link(&link) else {
                return Ok(());
            };
            self.coverage.links.insert(link.clone());
            let target = link.parent().unwrap_or(Path::new("/")).join(target);
            let (Some(dir), Some(file)) = (target.parent(), target.file_name()) else {
                return Ok(());
            };
            let Some(dir) = self.real_dir(dir) else {
                return self.awaits_anyhow(&target);
            };
            link = dir.join(file);
            if !self.plain(&dir)? {
                return self.went(&dir);
            }
            self.depends(name, &link);
            self.coverage.targets.insert(link.clone());
        }
        Ok(())
    }

    /// Watches a single file, which may not exist.
    fn file(&mut self, name: &Path) -> Result<(), LimitReached> {
        let (Some(dir), Some(file)) = (name.parent(), name.file_name()) else {
            return Ok(());
        };
        let Some(dir) = self.real_dir(dir) else {
            return self.awaits(name);
        };
        if !self.plain(&dir)? {
            return self.went(&dir);
        }
        let real = dir.join(file);
        self.depends(name, &real);
        self.hops(name, &real)
    }

    /// Handles a directory that could not be watched: one that was removed may be created again, one that cannot be
    /// read is skipped.
    fn went(&mut self, dir: &Path) -> Result<(), LimitReached> {
        self.is_overtaken |= !dir.is_dir();
        Ok(())
    }

    /// Watches for the creation of a path, unless a watched directory will report it.
    fn awaits(&mut self, path: &Path) -> Result<(), LimitReached> {
        self.coverage.missing.insert(path.to_path_buf());
        let nearest = path.ancestors().skip(1).find(|dir| dir.is_dir());
        if nearest.is_some_and(|dir| self.coverage.holds(dir)) {
            return Ok(());
        }
        self.awaits_anyhow(path)
    }

    /// Watches for the creation of the nearest missing parent of a path, or of the path itself.
    fn awaits_anyhow(&mut self, path: &Path) -> Result<(), LimitReached> {
        let mut missing = path;
        for dir in path.ancestors().skip(1) {
            if let (Some(real), Some(name)) = (self.real_dir(dir), missing.file_name()) {
                if !self.plain(&real)? {
                    return self.went(&real);
                }
                let awaited = real.join(name);
                self.is_overtaken |= awaited.is_dir() || (missing == path && awaited.exists());
                self.coverage.awaited.insert(awaited);
                return Ok(());
            }
            missing = dir;
        }
        Ok(())
    }

    /// Watches a directory for single files; returns false if it cannot be watched.
    fn plain(&mut self, real: &Path) -> Result<bool, LimitReached> {
        if self.coverage.is_watched(real) {
            return Ok(true);
        }
        if !self.before.is_watched(real) {
            match self.register.watch(real) {
                Ok(()) => {}
                Err(Refused::Directory) => return Ok(false),
                Err(Refused::Limit) => return Err(LimitReached),
            }
        }
        self.coverage.dirs.insert(real.into(), DirNames::default());
        Ok(true)
    }

    fn depends(&mut self, name: &Path, real: &Path) {
        let names = self.coverage.files.entry(real.to_path_buf()).or_default();
        names.insert(name.to_path_buf());
        self.coverage.single.insert(name.to_path_buf());
        let was_known = self
            .before
            .files
            .get(real)
            .is_some_and(|names| names.contains(name));
        if !was_known {
            self.found.insert(name.to_path_buf());
        }
    }

    fn real_dir(&mut self, dir: &Path) -> Option<PathBuf> {
        self.parents
            .entry(dir.to_path_buf())
            .or_insert_with(|| dir.canonicalize().ok().filter(|real| real.is_dir()))
            .clone()
    }
}
