//! The watched directories, and the paths by which the course names the files in them.
//!
//! A directory is watched once, under its real path, however many symbolic links lead to it, since the system keeps
//! only one watch per directory. The names by which the course refers to it are stored with it. So are single files
//! that matter in directories which otherwise do not: the target of a link, a specification elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// Watches single directories, not recursively.
pub(super) trait Register {
    /// Starts to watch a directory; every change after this returns is reported.
    fn watch(&mut self, dir: &Path) -> Result<(), Refused>;
    /// Stops watching a directory.
    fn unwatch(&mut self, dir: &Path);
    /// Stops watching a directory that was found missing before its removal was reported.
    fn found_missing(&mut self, dir: &Path) {
        self.unwatch(dir);
    }
}

/// Why a directory cannot be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It does not exist or cannot be read.
    Directory,
    /// The system's limit of watched directories is reached.
    Limit,
}

/// The system's limit of watched directories is reached.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LimitReached;

/// The set of watched directories and files.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    /// The names of each directory, by real path; none if only some files in it matter.
    pub(super) dirs: BTreeMap<Box<Path>, DirNames>,
    /// The names that depend on single files, by real path.
    pub(super) files: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// Real paths whose creation makes a required path exist.
    pub(super) awaited: BTreeSet<PathBuf>,
    /// Real paths of symbolic links.
    pub(super) links: BTreeSet<PathBuf>,
    /// Real paths that are targets of symbolic links.
    pub(super) targets: BTreeSet<PathBuf>,
    /// Real paths of the watched trees, which are required whether or not they exist.
    pub(super) bases: BTreeSet<PathBuf>,
    /// All names in `dirs` that are not real paths.
    pub(super) others: HashSet<PathBuf>,
    /// All names in `files`.
    pub(super) single: HashSet<PathBuf>,
    /// All names that may come into existence with a path in `awaited`.
    pub(super) missing: HashSet<PathBuf>,
}

/// The names by which the course refers to a directory. Usually this is only the real path, which is not stored again.
#[derive(Debug, Default)]
pub(super) struct DirNames {
    is_itself: bool,
    others: Vec<PathBuf>,
}

impl DirNames {
    /// Returns the number of names.
    pub(super) fn len(&self) -> usize {
        usize::from(self.is_itself) + self.others.len()
    }

    /// Returns the names of the directory, whose real path is given.
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
    /// Adds a name to a watched directory.
    pub(super) fn call(&mut self, real: &Path, name: &Path) {
        if let Some(names) = self.dirs.get_mut(real) {
            names.add(real, name);
        }
        if name != real {
            self.others.insert(name.to_path_buf());
        }
    }

    /// Returns the names of a directory; none if it is not watched.
    pub(super) fn names_of_dir<'a>(&'a self, real: &'a Path) -> impl Iterator<Item = &'a Path> {
        let names = self.dirs.get(real).into_iter();
        names.flat_map(|names| names.of(real))
    }

    /// Returns the names of all directories.
    pub(super) fn names(&self) -> impl Iterator<Item = &Path> {
        self.dirs.iter().flat_map(|(real, names)| names.of(real))
    }

    /// Returns the course's names of a real path.
    pub(super) fn names_of(&self, real: &Path) -> BTreeSet<PathBuf> {
        let mut names = self.files.get(real).cloned().unwrap_or_default();
        if let (Some(dir), Some(name)) = (real.parent(), real.file_name()) {
            names.extend(self.names_of_dir(dir).map(|dir| dir.join(name)));
        }
        names
    }

    /// Returns the names that depend on single files below a real directory.
    pub(super) fn names_below(&self, real: &Path) -> BTreeSet<PathBuf> {
        self.files
            .range(real.to_path_buf()..)
            .take_while(|(file, _)| file.starts_with(real))
            .flat_map(|(_, names)| names.iter().cloned())
            .collect()
    }

    /// Returns whether a directory of the course is watched with all its files.
    pub(super) fn holds(&self, name: &Path) -> bool {
        let is_real = |names: &DirNames| names.is_itself;
        self.dirs.get(name).is_some_and(is_real) || self.others.contains(name)
    }

    /// Returns whether a file of the course is watched individually or awaited.
    pub(super) fn holds_file(&self, name: &Path) -> bool {
        self.single.contains(name) || self.missing.contains(name)
    }

    /// Returns whether a real directory is watched.
    pub(super) fn is_watched(&self, real: &Path) -> bool {
        self.dirs.contains_key(real)
    }

    /// Returns whether creating or removing a real path may change what is watched elsewhere.
    pub(super) fn is_decisive(&self, real: &Path) -> bool {
        holds_in(&self.awaited, real)
            // The targets of links below it are not themselves below it.
            || holds_in(&self.links, real)
            || self.bases.contains(real)
            || self.dirs.get(real).is_some_and(|names| names.len() == 0)
    }

    /// Returns whether a symbolic link leads to a real path or through it. This is decisive for directories and links,
    /// which lead further.
    pub(super) fn is_led_to(&self, real: &Path) -> bool {
        holds_in(&self.targets, real)
    }

    /// Returns the watched directories.
    pub(super) fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.dirs.keys().map(|dir| &**dir)
    }

    /// Stops watching a removed directory and all below it, and returns their names.
    pub(super) fn drop_tree(&mut self, real: &Path, register: &mut dyn Register) -> Vec<PathBuf> {
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

/// Returns whether a set contains a path or one below it.
fn holds_in(set: &BTreeSet<PathBuf>, path: &Path) -> bool {
    let next = set.range(path.to_path_buf()..).next();
    next.is_some_and(|next| next.starts_with(path))
}
