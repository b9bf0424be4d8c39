//! Which directories are watched, and what the files in them are called in the course.
//!
//! A directory is watched under its real path, once, however many symbolic links lead to it: the system knows only one
//! watch for a directory. The names under which the course sees it are kept beside it, and so are single files that
//! matter in directories which otherwise do not: the target of a link, a specification elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::filter::Filter;

/// Links that lead to links, at most.
const MAX_HOPS: usize = 40;
/// Names of one directory, at most: a farm of links must not exhaust the memory.
const MAX_NAMES: usize = 64;

/// Watches single directories, without those in them.
pub trait Register {
    /// Begins to watch a directory; every change after this returns is told.
    fn watch(&mut self, dir: &Path) -> Result<(), Refused>;
    /// Ends to watch a directory.
    fn unwatch(&mut self, dir: &Path);
    /// Ends to watch a directory that was found to be gone before its going was told.
    fn found_missing(&mut self, dir: &Path) {
        self.unwatch(dir);
    }
}

/// Why a directory cannot be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not there, or may not be read.
    Directory,
    /// The system watches no more directories.
    Limit,
}

/// The system watches no more directories.
#[derive(Debug, PartialEq, Eq)]
pub struct LimitReached;

/// What is watched.
#[derive(Debug, Default)]
pub struct Coverage {
    /// By real path, the names of each directory; none when only some files in it matter.
    dirs: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// Single files by real path, with the names that depend on them.
    files: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// Real paths whose coming lets something wanted exist.
    awaited: BTreeSet<PathBuf>,
    /// Real paths of symbolic links.
    links: BTreeSet<PathBuf>,
    /// Real paths that symbolic links lead to.
    targets: BTreeSet<PathBuf>,
    /// Real paths of trees, which are wanted whether or not they exist.
    bases: BTreeSet<PathBuf>,
    /// All names in `dirs`.
    names: HashSet<PathBuf>,
    /// All names in `files`.
    single: HashSet<PathBuf>,
    /// All names that something in `awaited` could let exist.
    missing: HashSet<PathBuf>,
}

impl Coverage {
    /// The paths in the course that a real path stands for.
    pub fn names_of(&self, real: &Path) -> BTreeSet<PathBuf> {
        let mut names = self.files.get(real).cloned().unwrap_or_default();
        if let (Some(dir), Some(name)) = (real.parent(), real.file_name())
            && let Some(dirs) = self.dirs.get(dir)
        {
            names.extend(dirs.iter().map(|dir| dir.join(name)));
        }
        names
    }

    /// The paths that depend on single files below a real directory.
    pub fn names_below(&self, real: &Path) -> BTreeSet<PathBuf> {
        self.files
            .range(real.to_path_buf()..)
            .take_while(|(file, _)| file.starts_with(real))
            .flat_map(|(_, names)| names.iter().cloned())
            .collect()
    }

    /// Whether a directory of the course is watched whole.
    pub fn holds(&self, name: &Path) -> bool {
        self.names.contains(name)
    }

    /// Whether a file of the course is watched by itself, or awaited.
    pub fn holds_file(&self, name: &Path) -> bool {
        self.single.contains(name) || self.missing.contains(name)
    }

    /// Whether a real directory is watched.
    pub fn is_watched(&self, real: &Path) -> bool {
        self.dirs.contains_key(real)
    }

    /// Whether the coming or going of a real path may change what is watched elsewhere.
    pub fn is_decisive(&self, real: &Path) -> bool {
        self.awaited.contains(real)
            // What a link in it led to is not below it.
            || holds_in(&self.links, real)
            || self.bases.contains(real)
            || self.dirs.get(real).is_some_and(BTreeSet::is_empty)
    }

    /// Whether symbolic links lead to a real path or through it. That is decisive for directories.
    pub fn is_led_to(&self, real: &Path) -> bool {
        holds_in(&self.targets, real)
    }

    /// The watched directories.
    pub fn dirs(&self) -> impl Iterator<Item = &PathBuf> {
        self.dirs.keys()
    }

    /// Drops a directory that went, with all below it. Returns what it and they were called.
    pub fn drop_tree(&mut self, real: &Path, register: &mut dyn Register) -> Vec<PathBuf> {
        let gone: Vec<PathBuf> = self
            .dirs
            .range(real.to_path_buf()..)
            .map(|(dir, _)| dir)
            .take_while(|dir| dir.starts_with(real))
            .cloned()
            .collect();
        let mut names = Vec::new();
        for dir in gone {
            register.unwatch(&dir);
            names.extend(self.dirs.remove(&dir).into_iter().flatten());
        }
        for name in &names {
            self.names.remove(name);
        }
        self.links.retain(|link| !link.starts_with(real));
        names
    }
}

/// Whether a path, or one below it, is in a set.
fn holds_in(set: &BTreeSet<PathBuf>, path: &Path) -> bool {
    let next = set.range(path.to_path_buf()..).next();
    next.is_some_and(|next| next.starts_with(path))
}

/// Extends a coverage by looking at the file system: first a directory is watched and then it is read, so that
/// nothing happens between the two.
pub struct Survey<'a> {
    /// What matters.
    pub filter: &'a Filter,
    /// The course root, symbolic links resolved. Links to directories outside it are not followed: neither does
    /// the build.
    pub real_root: &'a Path,
    /// Who watches.
    pub register: &'a mut dyn Register,
    /// What is watched so far.
    pub coverage: Coverage,
    /// What was watched before a survey of everything: it needs not be watched again.
    pub before: Coverage,
    /// Everything found that was not watched before: it may have changed before that.
    pub found: BTreeSet<PathBuf>,
    /// Everything that was watched before and is not there any more, or not wanted.
    pub gone: BTreeSet<PathBuf>,
    parents: HashMap<PathBuf, Option<PathBuf>>,
}

impl<'a> Survey<'a> {
    /// A survey that extends `coverage`.
    pub fn new(
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
            parents: HashMap::new(),
        }
    }

    /// Looks at everything that is wanted, and at the directories in `plain`, of which the caller knows the files.
    /// What was watched `before` and is wanted no more is let go.
    pub fn everything(&mut self, plain: &[PathBuf]) -> Result<(), LimitReached> {
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
        let known = self.before.names.iter().chain(&self.before.single);
        self.gone = known
            .filter(|name| !self.coverage.holds(name) && !self.coverage.single.contains(*name))
            .cloned()
            .collect();
        Ok(())
    }

    /// Looks at something that appeared in a watched directory.
    pub fn appeared(&mut self, real: &Path) -> Result<(), LimitReached> {
        let Ok(metadata) = real.symlink_metadata() else {
            return Ok(());
        };
        let names: Vec<PathBuf> = match (real.parent(), real.file_name()) {
            (Some(dir), Some(name)) => self
                .coverage
                .dirs
                .get(dir)
                .into_iter()
                .flatten()
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
        if let Some(names) = self.coverage.dirs.get_mut(real) {
            names.insert(name.to_path_buf());
        }
        self.coverage.names.insert(name.to_path_buf());
        let was_known = self
            .before
            .dirs
            .get(real)
            .is_some_and(|names| names.contains(name));
        if !was_known {
            self.found.insert(name.to_path_buf());
        }
        // A directory that goes meanwhile is told of by the one that holds it.
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
        // As the build does: by the name under which the course sees it.
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

    /// Watches every place that a link leads through: each can be replaced, and the last one written to.
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
                return Ok(());
            }
            self.depends(name, &link);
            self.coverage.targets.insert(link.clone());
        }
        Ok(())
    }

    /// Watches for one file, which may not exist.
    fn file(&mut self, name: &Path) -> Result<(), LimitReached> {
        let (Some(dir), Some(file)) = (name.parent(), name.file_name()) else {
            return Ok(());
        };
        let Some(dir) = self.real_dir(dir) else {
            return self.awaits(name);
        };
        if self.plain(&dir)? {
            let real = dir.join(file);
            self.depends(name, &real);
            self.hops(name, &real)?;
        }
        Ok(())
    }

    /// Watches for a file or directory to come, where no watched directory will tell of it.
    fn awaits(&mut self, path: &Path) -> Result<(), LimitReached> {
        self.coverage.missing.insert(path.to_path_buf());
        let nearest = path.ancestors().skip(1).find(|dir| dir.is_dir());
        if nearest.is_some_and(|dir| self.coverage.holds(dir)) {
            return Ok(());
        }
        self.awaits_anyhow(path)
    }

    /// Watches for the nearest thing whose coming could let a path exist.
    fn awaits_anyhow(&mut self, path: &Path) -> Result<(), LimitReached> {
        let mut missing = path;
        for dir in path.ancestors().skip(1) {
            if let (Some(real), Some(name)) = (self.real_dir(dir), missing.file_name()) {
                self.plain(&real)?;
                self.coverage.awaited.insert(real.join(name));
                return Ok(());
            }
            missing = dir;
        }
        Ok(())
    }

    /// Watches a directory for single files; says whether that can be.
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
        self.coverage
            .dirs
            .insert(real.to_path_buf(), BTreeSet::new());
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
