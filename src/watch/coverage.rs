//! Which directories are watched, and what the files in them are called in the course.
//!
//! A directory is watched under its real path, once, however many symbolic links lead to it: the system knows only one
//! watch for a directory. The names under which the course sees it are kept beside it, and so are single files that
//! matter in directories which otherwise do not: the target of a link, a specification elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

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
    pub(super) dirs: BTreeMap<Box<Path>, DirNames>,
    /// Single files by real path, with the names that depend on them.
    pub(super) files: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// Real paths whose coming lets something wanted exist.
    pub(super) awaited: BTreeSet<PathBuf>,
    /// Real paths of symbolic links.
    pub(super) links: BTreeSet<PathBuf>,
    /// Real paths that symbolic links lead to.
    pub(super) targets: BTreeSet<PathBuf>,
    /// Real paths of trees, which are wanted whether or not they exist.
    pub(super) bases: BTreeSet<PathBuf>,
    /// All names in `dirs` that are not real paths.
    pub(super) others: HashSet<PathBuf>,
    /// All names in `files`.
    pub(super) single: HashSet<PathBuf>,
    /// All names that something in `awaited` could let exist.
    pub(super) missing: HashSet<PathBuf>,
}

/// What the course calls a directory: hardly ever anything but its real path, which is not kept twice.
#[derive(Debug, Default)]
pub(super) struct DirNames {
    is_itself: bool,
    others: Vec<PathBuf>,
}

impl DirNames {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        usize::from(self.is_itself) + self.others.len()
    }

    /// The names of the directory with this real path.
    pub(super) fn of<'a>(&'a self, real: &'a Path) -> impl Iterator<Item = &'a Path> {
        let itself = self.is_itself.then_some(real);
        itself
            .into_iter()
            .chain(self.others.iter().map(|name| &**name))
    }

    fn add(&mut self, real: &Path, name: &Path) {
        if name == real {
            self.is_itself = true;
        } else if !self.others.iter().any(|known| known == name) {
            self.others.push(name.to_path_buf());
        }
    }
}

impl Coverage {
    /// A watched directory is called this, too.
    pub(super) fn call(&mut self, real: &Path, name: &Path) {
        if let Some(names) = self.dirs.get_mut(real) {
            names.add(real, name);
        }
        if name != real {
            self.others.insert(name.to_path_buf());
        }
    }

    /// What a directory is called; nothing when it is not watched.
    pub(super) fn names_of_dir<'a>(&'a self, real: &'a Path) -> impl Iterator<Item = &'a Path> {
        let names = self.dirs.get(real).into_iter();
        names.flat_map(|names| names.of(real))
    }

    /// All names of directories.
    pub(super) fn names(&self) -> impl Iterator<Item = &Path> {
        self.dirs.iter().flat_map(|(real, names)| names.of(real))
    }

    /// The paths in the course that a real path stands for.
    pub fn names_of(&self, real: &Path) -> BTreeSet<PathBuf> {
        let mut names = self.files.get(real).cloned().unwrap_or_default();
        if let (Some(dir), Some(name)) = (real.parent(), real.file_name()) {
            names.extend(self.names_of_dir(dir).map(|dir| dir.join(name)));
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
        let is_real = |names: &DirNames| names.is_itself;
        self.dirs.get(name).is_some_and(is_real) || self.others.contains(name)
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
        holds_in(&self.awaited, real)
            // What a link in it led to is not below it.
            || holds_in(&self.links, real)
            || self.bases.contains(real)
            || self.dirs.get(real).is_some_and(|names| names.len() == 0)
    }

    /// Whether symbolic links lead to a real path or through it. That is decisive for directories and links, which lead on.
    pub fn is_led_to(&self, real: &Path) -> bool {
        holds_in(&self.targets, real)
    }

    /// The watched directories.
    pub fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.dirs.keys().map(|dir| &**dir)
    }

    /// Drops a directory that went, with all below it. Returns what it and they were called.
    pub fn drop_tree(&mut self, real: &Path, register: &mut dyn Register) -> Vec<PathBuf> {
        let gone: Vec<Box<Path>> = self
            .dirs
            .range(Box::from(real)..)
            .map(|(dir, _)| dir)
            .take_while(|dir| dir.starts_with(real))
            .cloned()
            .collect();
        let mut names = Vec::new();
        for dir in gone {
            register.unwatch(&dir);
            let of_dir = self.dirs.remove(&dir).unwrap_or_default();
            names.extend(of_dir.of(&dir).map(Path::to_path_buf));
        }
        for name in &names {
            self.others.remove(name);
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
