//! The inputs of executions besides the declared ones, wherever they are, under names that are the same on every
//! machine.
//!
//! Such a name is a [`RelPath`], so that records, checkpoints and decisions treat it like any other discovered input:
//!
//! - `lib/a.py`: a file of the course.
//! - `{python3}/lib/python3.11/site-packages/a.py`: a file in the environment of the kernel `python3`. Other bases are
//!   `{python3.path0}` (the first directory of its `PYTHONPATH`), `{home}` and `{root}` (the file system).
//! - `lib/{names a b}`: which files or directories named `a` or `b` exist in a directory, as modules (`*`: the names of
//!   the standard library). Look-ups that fail, and those that an earlier directory could satisfy, depend on it.
//! - `DIR/{dists a-1.0 b-2.0}`: the contents of these installed distributions, according to their `RECORD`.
//! - `DIR/{pth}`: the `.pth` files of a directory, which extend the search path.
//! - `DIR/{all}`: all names in a directory. `DIR/{tree}`: all modules below it.
//! - `{python3}/{paths}`: the directories of `PYTHONPATH`.

mod content;
#[cfg(feature = "farm")]
mod sent;

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use crate::clock::TICK_NS;
use crate::course::RelPath;
use crate::digest::{Digest, Stamp};
use crate::worker::renderers::Kernels;

/// The directories on this machine that the names refer to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    root: PathBuf,
    /// Names with braces and their directories; the first directory that contains a path determines its name.
    bases: Vec<(String, PathBuf)>,
    /// The `PYTHONPATH` of each Python kernel.
    python_paths: Vec<(String, String)>,
}

/// The current state of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// As long as it is unchanged, so is the content.
    pub stamp: Stamp,
    /// When any part of it was last written, replaced or renamed, in nanoseconds since 1970.
    pub changed_ns: i64,
}

/// The kind of input that a name denotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    File,
    Names(&'a str),
    Dists(&'a str),
    Pth,
    All,
    Tree,
    Paths,
}

impl Kind<'_> {
    fn of(path: &RelPath) -> Kind<'_> {
        let name = path.file_name();
        let Some(text) = name
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'))
        else {
            return Kind::File;
        };
        match text.split_once(' ') {
            Some(("names", names)) => Kind::Names(names),
            Some(("dists", names)) => Kind::Dists(names),
            None if text == "pth" => Kind::Pth,
            None if text == "all" => Kind::All,
            None if text == "tree" => Kind::Tree,
            None if text == "paths" => Kind::Paths,
            _ => Kind::File,
        }
    }
}

/// Returns whether a name is not that of a file of the course: changes there cause no events, so its stamp has to be
/// checked.
pub(crate) fn is_elsewhere(path: &RelPath) -> bool {
    path.as_str().starts_with('{') || path.as_str().contains("/{") && Kind::of(path) != Kind::File
}

impl Places {
    /// Returns the places of a course without those of kernels.
    pub(crate) fn of_course(root: &Path) -> Self {
        Self::new(root, &Kernels::default())
    }

    /// Returns the places of a course with these kernels.
    pub(crate) fn new(root: &Path, kernels: &Kernels) -> Self {
        let mut bases = Vec::new();
        let mut python_paths = Vec::new();
        let mut entries = Vec::new();
        for (name, spec) in &kernels.specs {
            if !spec.argv.iter().any(|word| word.contains("ipykernel")) {
                continue;
            }
            let program = spec.argv.first().map(Path::new);
            let prefix = program
                .filter(|program| program.is_absolute())
                .and_then(|program| program.parent()?.parent());
            if let Some(prefix) = prefix {
                bases.push((format!("{{{name}}}"), prefix.to_owned()));
            }
            let value = match spec.env.get("PYTHONPATH") {
                Some(value) => value.clone(),
                None => std::env::var("PYTHONPATH").unwrap_or_default(),
            };
            for (number, entry) in std::env::split_paths(&value).enumerate() {
                if entry.is_absolute() && !entry.starts_with(root) {
                    entries.push((format!("{{{name}.path{number}}}"), entry));
                }
            }
            python_paths.push((name.clone(), value));
        }
        // The innermost directory decides: an environment may be in the course, and the course in an environment.
        let (inner, outer): (Vec<_>, Vec<_>) = bases
            .into_iter()
            .partition(|(_, base)| !root.starts_with(base));
        let mut bases = inner;
        bases.push((String::new(), root.to_owned()));
        if let Ok(real) = root.canonicalize()
            && real != root
        {
            bases.push((String::new(), real));
        }
        bases.extend(entries);
        bases.extend(outer);
        if let Some(home) = std::env::var_os("HOME").filter(|home| !home.is_empty()) {
            bases.push(("{home}".to_owned(), PathBuf::from(home)));
        }
        bases.push(("{root}".to_owned(), PathBuf::from("/")));
        Self {
            root: root.to_owned(),
            bases,
            python_paths,
        }
    }

    /// Returns the name of an absolute path; `None` if it cannot have one.
    pub(crate) fn name_of(&self, path: &Path) -> Option<RelPath> {
        let path = normal(path);
        if path == self.root {
            return None;
        }
        self.bases.iter().find_map(|(name, base)| {
            let below = path.strip_prefix(base).ok()?.to_str()?;
            match (name.as_str(), below) {
                (_, "") => RelPath::new(name).ok(),
                ("", below) => RelPath::new(below).ok(),
                (name, below) => RelPath::new(&format!("{name}/{below}")).ok(),
            }
        })
    }

    /// Returns the names of a file: two if a link in the course leads out of it, so that replacing either the link or
    /// its target is noticed.
    pub(super) fn names_of_file(&self, file: &Path) -> Vec<RelPath> {
        let Some(name) = self.name_of(file) else {
            return Vec::new();
        };
        let mut names = vec![name];
        if !names[0].as_str().starts_with('{')
            && let Ok(real) = file.canonicalize()
            && !real.starts_with(&self.root)
        {
            names.extend(self.name_of(&real));
        }
        names
    }

    /// Returns the name of a property of a directory, such as `{pth}`.
    pub(super) fn name_in(&self, dir: &Path, what: &str) -> Option<RelPath> {
        match self.name_of(dir) {
            Some(dir) => dir.join(what).ok(),
            None if normal(dir) == self.root => RelPath::new(what).ok(),
            None => None,
        }
    }

    /// Returns the name of a kernel's search path variable.
    pub(super) fn paths_of(&self, kernel: &str) -> Option<RelPath> {
        RelPath::new(&format!("{{{kernel}}}/{{paths}}")).ok()
    }

    /// Returns the path that a name refers to. For a property of a directory, this is the directory.
    pub(crate) fn real(&self, path: &RelPath) -> PathBuf {
        let text = match Kind::of(path) {
            Kind::File => path.as_str(),
            _ => path.as_str().rsplit_once('/').map_or("", |(dir, _)| dir),
        };
        let (first, rest) = text.split_once('/').unwrap_or((text, ""));
        if first.starts_with('{')
            && let Some((_, base)) = self.bases.iter().find(|(name, _)| name == first)
        {
            return base.join(rest);
        }
        self.root.join(text)
    }

    /// Returns whether a name belongs to the environment of a kernel that is not installed here. Its identity, which is part
    /// of keys, stands for all files of the environment.
    pub(crate) fn is_absent(&self, path: &RelPath) -> bool {
        let first = path.as_str().split('/').next().unwrap_or_default();
        let name = first
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'));
        let Some(name) = name.filter(|_| path.as_str().len() > first.len()) else {
            return false;
        };
        let kernel = name.split('.').next().unwrap_or_default();
        let is_kernel = |(known, _): &(String, String)| known == kernel;
        !matches!(kernel, "home" | "root") && !self.python_paths.iter().any(is_kernel)
    }

    /// Returns its current state; `None` if it does not exist.
    pub(crate) fn look(&self, path: &RelPath) -> Option<Look> {
        let real = self.real(path);
        match Kind::of(path) {
            Kind::File => {
                let metadata = std::fs::metadata(&real).ok()?;
                metadata.is_file().then(|| Look::of(&metadata))
            }
            Kind::Names(names) => Some(content::look_at_names(&real, names)),
            Kind::All => Some(content::look_at_all(&real)),
            Kind::Dists(names) => Some(content::look_at_dists(&real, names)),
            Kind::Pth => Some(content::look_at_pth(&real)),
            Kind::Tree => Some(content::look_at_tree(&real)),
            Kind::Paths => Some(Look::at_value(&self.paths(path))),
        }
    }

    /// Returns when any part of it last changed, in nanoseconds since 1970. For a deleted file this is when its
    /// directory changed.
    pub(crate) fn changed_ns(&self, path: &RelPath) -> i64 {
        let real = self.real(path);
        let mut above = real.ancestors().skip(1);
        let look = self.look(path);
        let look = look.or_else(|| Some(Look::of(&above.find_map(|dir| dir.metadata().ok())?)));
        look.map_or(0, |look| look.changed_ns)
    }

    /// Returns the digest of its current content; `None` if it does not exist.
    pub(crate) fn digest(&self, path: &RelPath) -> Option<Digest> {
        let real = self.real(path);
        let text = match Kind::of(path) {
            Kind::File => return Digest::of_file(&real).ok(),
            Kind::Names(names) => content::names(&real, names),
            Kind::All => content::all(&real),
            Kind::Dists(names) => content::dists(&real, names),
            Kind::Pth => content::pth(&real, &|text| self.portable(text)),
            Kind::Tree => content::tree(&real),
            Kind::Paths => self.paths(path),
        };
        Some(Digest::of(text))
    }

    /// Returns a description of a change.
    pub(crate) fn change(path: &RelPath, was_there: bool, is_there: bool) -> String {
        let dir = path.as_str().rsplit_once('/').map_or("", |(dir, _)| dir);
        match (Kind::of(path), was_there, is_there) {
            (Kind::File, false, _) => format!("`{path}`, which it looks for, appeared"),
            (Kind::File, _, false) => format!("`{path}`, which it reads, is gone"),
            (Kind::File, ..) => format!("`{path}`, which it reads, changed"),
            (Kind::Names(_), ..) => format!("modules in `{dir}` came or went that it looks for"),
            (Kind::Dists(_), ..) => {
                format!("packages in `{dir}` that it imports were installed anew")
            }
            (Kind::Pth, ..) => format!("the `.pth` files in `{dir}` changed"),
            (Kind::All, ..) => format!("files came to `{dir}` or went, which it lists"),
            (Kind::Tree, ..) => format!("modules below `{dir}` changed"),
            (Kind::Paths, ..) => "`PYTHONPATH` changed".to_owned(),
        }
    }

    /// Returns the paths whose changes may affect it, as far as they are worth watching.
    pub(crate) fn watched(&self, path: &RelPath) -> Vec<PathBuf> {
        let real = self.real(path);
        let is_installed = || path.as_str().contains("-packages/");
        match Kind::of(path) {
            Kind::File if path.as_str().starts_with('{') && is_installed() => Vec::new(),
            Kind::File => vec![real],
            // Those outside the course are checked when a build starts.
            Kind::Names(names) if !path.as_str().starts_with('{') => {
                let names = names.split(' ').filter(|name| *name != "*");
                names
                    .flat_map(|name| [real.join(name), real.join(format!("{name}.py"))])
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns the entries of a kernel's search path variable; entries outside the course are represented by their
    /// number.
    fn paths(&self, path: &RelPath) -> String {
        let kernel = path.as_str().split(['{', '}']).nth(1).unwrap_or_default();
        let value = self.python_paths.iter().find(|(name, _)| name == kernel);
        let value = value.map_or("", |(_, value)| value);
        let entries = std::env::split_paths(value).map(|entry| {
            let name = self.name_of(&entry).map(|name| name.to_string());
            name.unwrap_or_default()
        });
        entries.collect::<Vec<_>>().join("\n")
    }

    /// Returns a text in which directories of this machine are replaced by their names.
    fn portable(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, base) in &self.bases {
            if let Some(base) = base.to_str()
                && base.len() > 1
            {
                let name = if name.is_empty() { "{course}" } else { name };
                text = text.replace(base, name);
            }
        }
        text
    }
}

impl Look {
    /// Returns whether it may have changed in any way since a time, including by a rename, which keeps the modification
    /// time.
    pub(crate) fn changed_since(&self, since_ns: i64) -> bool {
        self.changed_ns >= since_ns - TICK_NS
    }

    fn of(metadata: &Metadata) -> Self {
        let stamp = Stamp::of(metadata);
        Self {
            stamp,
            changed_ns: stamp.ctime_ns,
        }
    }

    /// Returns the state of something that is not a file, from its value.
    fn at_value(value: &str) -> Self {
        let digest = Digest::of(value);
        let (bytes, _) = digest
            .as_bytes()
            .split_first_chunk()
            .unwrap_or((&[0; 8], &[]));
        Self {
            stamp: Stamp {
                inode: u64::from_le_bytes(*bytes),
                // An old time, so that the stamp is regarded as reliable.
                mtime_ns: 1,
                ctime_ns: 1,
                ..Stamp::NONE
            },
            changed_ns: 0,
        }
    }

    /// Combines the states of several files; the result changes when any of them changes.
    fn of_all(looks: &[(String, Option<Self>)]) -> Self {
        let known = || looks.iter().filter_map(|(_, look)| *look);
        let newest = |time: fn(&Stamp) -> i64| known().map(|look| time(&look.stamp)).max();
        let Self { stamp, .. } = Self::at_value(&format!("{looks:?}"));
        Self {
            stamp: Stamp {
                mtime_ns: newest(|stamp| stamp.mtime_ns).unwrap_or(1),
                ctime_ns: newest(|stamp| stamp.ctime_ns).unwrap_or(1),
                ..stamp
            },
            changed_ns: known()
                .map(|look| look.changed_ns)
                .max()
                .unwrap_or_default(),
        }
    }
}

/// Returns a path with `.` and `..` resolved lexically.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => {
                normal.pop();
            }
            std::path::Component::CurDir => {}
            component => normal.push(component),
        }
    }
    normal
}
