//! The files of the course that a discovered input is about: what another machine needs to see the same.

use std::path::Path;

use crate::course::RelPath;

use super::{Kind, Places, content};

/// The largest number of files of one input.
const MOST: usize = 2000;

impl Places {
    /// Returns the files of the course, as they are now, that an input is about; none if it is outside the course or does not
    /// exist. `None` if there are too many.
    pub(crate) fn files_of(&self, path: &RelPath) -> Option<Vec<RelPath>> {
        let kind = Kind::of(path);
        let dir = match kind {
            Kind::File => path.as_str(),
            _ => path.as_str().rsplit_once('/').map_or("", |(dir, _)| dir),
        };
        if dir.starts_with('{') {
            return Some(Vec::new());
        }
        let real = self.real(path);
        let mut files = Vec::new();
        let is_whole = match kind {
            Kind::File => add(&mut files, &self.root, &real),
            Kind::Names(names) => {
                let names = content::names(&real, names);
                let mut names = names.lines();
                names.all(|name| add(&mut files, &self.root, &real.join(name)))
            }
            Kind::All | Kind::Tree | Kind::Pth => add(&mut files, &self.root, &real),
            // What is installed belongs to the worker.
            Kind::Dists(_) | Kind::Paths => true,
        };
        is_whole.then_some(files)
    }
}

/// Adds a file, or everything below a directory. Returns false if there are too many files.
fn add(files: &mut Vec<RelPath>, root: &Path, path: &Path) -> bool {
    if path.is_file() {
        files.extend(RelPath::below(root, path));
        return files.len() <= MOST;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let is_cache = name == "__pycache__" || name.to_string_lossy().starts_with('.');
        if !is_cache && !add(files, root, &entry.path()) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_and_what_is_below_them_are_found() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for file in [
            "lib/a.py",
            "lib/b/__init__.py",
            "lib/b/c/d.py",
            "lib/e.txt",
            "f.py",
        ] {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::fs::create_dir(root.join("lib/b/__pycache__")).unwrap();
        std::fs::write(root.join("lib/b/__pycache__/x.pyc"), "").unwrap();
        let places = Places::of_course(&root);
        let files = |path: &str| {
            let files = places.files_of(&RelPath::new(path).unwrap()).unwrap();
            let mut files: Vec<_> = files.iter().map(ToString::to_string).collect();
            files.sort();
            files.join(" ")
        };
        assert_eq!(files("lib/e.txt"), "lib/e.txt");
        assert_eq!(
            files("lib/{names a b z}"),
            "lib/a.py lib/b/__init__.py lib/b/c/d.py"
        );
        assert_eq!(files("{names f}"), "f.py");
        assert_eq!(files("lib/b/{all}"), "lib/b/__init__.py lib/b/c/d.py");
        assert_eq!(files("{python3}/lib/{names a}"), "");
        assert_eq!(files("{root}/etc/passwd"), "");
        assert_eq!(files("lib/gone.py"), "");
    }
}
