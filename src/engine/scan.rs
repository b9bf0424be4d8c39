//! Lists the files and directories of a course, and keeps the list up to date from one planning to the next.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::config::Bounds;
use crate::course::RelPath;
use crate::course::tree::{Listing, may_be_source};
use crate::diagnostic::Diagnostic;
use crate::error::{Dir, io_hint};
use crate::files;
use crate::watch::{is_rule_file, is_temporary};

/// What a scan leaves out.
pub(crate) struct Skip<'a> {
    skips: Box<dyn Fn(&Path) -> bool + Send + Sync + 'a>,
    /// Whether the notebooks and diagrams of a directory are listed once, although links give it several paths.
    is_once: bool,
}

impl<'a> Skip<'a> {
    /// Creates it of a function that returns whether a path is not a source: the records, the outputs.
    pub(super) fn new(skips: impl Fn(&Path) -> bool + Send + Sync + 'a) -> Self {
        Self {
            skips: Box::new(skips),
            is_once: false,
        }
    }

    /// Sets whether the notebooks and diagrams of a directory with several paths are listed once.
    pub(super) fn once(self, is_once: bool) -> Self {
        Self { is_once, ..self }
    }

    /// Returns whether a path is left out, with everything below it.
    pub(super) fn skips(&self, path: &Path) -> bool {
        (self.skips)(path)
    }
}

/// The files and directories below some roots, as they were when they were last scanned.
pub(crate) struct Scanned {
    /// The directories that were scanned; `None` for the course root.
    pub roots: Vec<Option<RelPath>>,
    listing: Listing,
    /// Diagnostics about some of them.
    pub diagnostics: Vec<Diagnostic>,
    /// Those diagnostics that are about directories which could not be read.
    pub unread: Vec<Diagnostic>,
    /// Whether there are symbolic links, so that one file may have several names.
    pub has_links: bool,
    /// Incremented whenever the listing changes.
    pub version: u64,
}

impl Scanned {
    /// Lists everything below `roots` (`None`: the course root itself).
    pub(crate) fn new(root: &Path, roots: Vec<Option<RelPath>>, skip: &Skip<'_>) -> Self {
        let scan = scan_all(root, &roots, skip);
        Self {
            roots,
            listing: scan.listing,
            diagnostics: scan.diagnostics,
            unread: scan.unread,
            has_links: scan.has_links,
            version: 0,
        }
    }

    /// Returns a listing that is known to be up to date, without links and diagnostics.
    pub(crate) fn known(roots: Vec<Option<RelPath>>, listing: Listing) -> Self {
        Self {
            roots,
            listing,
            diagnostics: Vec::new(),
            unread: Vec::new(),
            has_links: false,
            version: 0,
        }
    }

    /// Returns the files and directories.
    pub(crate) fn listing(&self) -> &Listing {
        &self.listing
    }

    /// Scans everything again.
    pub(crate) fn refresh(&mut self, root: &Path, roots: Vec<Option<RelPath>>, skip: &Skip<'_>) {
        let mut new = Self::new(root, roots, skip);
        new.listing.fill(&self.listing);
        if self.listing != new.listing || self.roots != new.roots {
            self.version += 1;
        }
        *self = Self {
            version: self.version,
            ..new
        };
    }

    /// Takes over what another listing contains of directories that cannot be read.
    pub(crate) fn fill(&mut self, last: &Listing) {
        let before = self.listing.unread.len();
        self.listing.fill(last);
        if self.listing.unread.len() != before {
            self.version += 1;
        }
    }

    /// Scans again what may have changed: these paths and everything below them.
    pub(crate) fn update(
        &mut self,
        root: &Path,
        roots: Vec<Option<RelPath>>,
        skip: &Skip<'_>,
        paths: &[RelPath],
    ) {
        let is_simple = self.roots == roots && self.diagnostics.is_empty() && !self.has_links;
        if !is_simple || !paths.iter().all(|path| self.look_again(root, skip, path)) {
            self.refresh(root, roots, skip);
        }
    }

    /// Scans one path again. Returns false if that is not enough, so that everything must be scanned.
    fn look_again(&mut self, root: &Path, skip: &Skip<'_>, path: &RelPath) -> bool {
        let is_above = |start: &Option<RelPath>| match start {
            Some(start) => start != path && start.starts_with(path),
            None => false,
        };
        if self.roots.iter().any(is_above) {
            return false;
        }
        let start = self.roots.iter().find(|start| match start {
            Some(start) => path.starts_with(start),
            None => true,
        });
        let Some(start) = start else {
            return true;
        };
        let file = path.under(root);
        if is_rule_file(&file) && self.roots.contains(&None) {
            // In a folder, it decides about other files.
            return false;
        }
        if is_temporary_name(file.file_name().unwrap_or_default()) && !file.is_dir() {
            return true;
        }
        let mut above = file.ancestors().take_while(|dir| *dir != root);
        if above.any(|path| skip.skips(path)) {
            return true;
        }
        let metadata = std::fs::symlink_metadata(&file);
        match &metadata {
            Ok(metadata) if metadata.is_symlink() => return false,
            Ok(metadata) if metadata.is_file() && self.listing.files.contains(path) => return true,
            Ok(_) => {}
            Err(error) if files::is_gone(error) => {}
            Err(_) => return false,
        }
        let mut scan = Scan::new(root, skip);
        match metadata {
            Ok(metadata) if metadata.is_dir() => {
                scan.listing.dirs.insert(path.clone());
                scan.directory(&file, &mut Vec::new());
            }
            Ok(metadata) if metadata.is_file() => {
                scan.listing.files.insert(path.clone());
            }
            _ => {}
        }
        if scan.has_links || !scan.diagnostics.is_empty() {
            return false;
        }
        let old_files: Vec<RelPath> = self.listing.below(path).cloned().collect();
        let old_dirs: Vec<RelPath> = below(&self.listing.dirs, path);
        let was_file = self.listing.files.remove(path);
        for file in &old_files {
            self.listing.files.remove(file);
        }
        for dir in &old_dirs {
            self.listing.dirs.remove(dir);
        }
        let scan = scan.listing;
        let is_same =
            !was_file && scan.files.iter().eq(&old_files) && scan.dirs.iter().eq(&old_dirs);
        if !is_same {
            self.version += 1;
        }
        if !(scan.files.is_empty() && scan.dirs.is_empty()) {
            let mut above = path.parent();
            while let Some(dir) = above {
                let is_inside = start.as_ref().is_none_or(|start| dir.starts_with(start));
                if !is_inside || !self.listing.dirs.insert(dir.clone()) {
                    break;
                }
                above = dir.parent();
            }
        }
        self.listing.files.extend(scan.files);
        self.listing.dirs.extend(scan.dirs);
        true
    }
}

/// Returns whether a file belongs to an editor: such a file is not part of a course, or else an open editor would
/// change the course.
pub(super) fn is_temporary_name(name: &std::ffi::OsStr) -> bool {
    is_temporary(&name.to_string_lossy())
}

/// Returns the reason why the target of a link is neither a file nor a directory.
fn not_a_source(real: &Path) -> Option<&'static str> {
    let kind = std::fs::metadata(real).ok()?.file_type();
    files::not_a_file(kind).filter(|_| !kind.is_dir())
}

/// Returns a directory and those below it.
fn below(dirs: &BTreeSet<RelPath>, dir: &RelPath) -> Vec<RelPath> {
    let from = dirs.range(dir.clone()..);
    from.take_while(|other| other.as_str().starts_with(dir.as_str()))
        .filter(|other| other.starts_with(dir))
        .cloned()
        .collect()
}

/// Lists all files and directories below `roots`. Symbolic links are followed as long as they stay inside the course;
/// the result says whether there are any.
fn scan_all<'a>(root: &'a Path, roots: &[Option<RelPath>], skip: &'a Skip<'_>) -> Scan<'a> {
    let mut scan = Scan::new(root, skip);
    for start in roots {
        let dir = start
            .as_ref()
            .map_or_else(|| root.to_path_buf(), |start| start.under(root));
        if scan.bounds.leaves(&dir).is_some() {
            // The specification names it, and its error is reported there.
            scan.has_links = true;
            continue;
        }
        if let Some(start) = start {
            let is_dir = match std::fs::metadata(&dir) {
                Ok(found) if found.is_dir() || found.is_file() => found.is_dir(),
                Ok(_) => continue,
                Err(error) if files::is_gone(&error) => continue,
                Err(error) => {
                    scan.unreadable(&dir, &error);
                    continue;
                }
            };
            if !is_dir {
                scan.listing.files.insert(start.clone());
            }
            if !is_dir || !scan.listing.dirs.insert(start.clone()) {
                continue;
            }
        }
        scan.directory(&dir, &mut Vec::new());
    }
    scan.follow_links();
    scan
}

struct Scan<'a> {
    root: &'a Path,
    bounds: Bounds,
    skip: &'a Skip<'a>,
    listing: Listing,
    diagnostics: Vec<Diagnostic>,
    unread: Vec<Diagnostic>,
    has_links: bool,
    /// Links to directories that are followed when all real directories were listed, with the links that led to each.
    links: BTreeMap<RelPath, (PathBuf, Vec<PathBuf>)>,
    /// The real paths of the directories that were listed, if each is listed once.
    listed: HashSet<PathBuf>,
    is_in_link: bool,
}

impl<'a> Scan<'a> {
    fn new(root: &'a Path, skip: &'a Skip<'a>) -> Self {
        Self {
            root,
            bounds: Bounds::of(root),
            skip,
            listing: Listing::default(),
            diagnostics: Vec::new(),
            unread: Vec::new(),
            has_links: false,
            links: BTreeMap::new(),
            listed: HashSet::new(),
            is_in_link: false,
        }
    }

    /// Lists the directories to which links lead, in the order of the links' paths.
    fn follow_links(&mut self) {
        self.is_in_link = true;
        while let Some((_, (path, mut links))) = self.links.pop_first() {
            self.directory(&path, &mut links);
        }
    }

    /// Returns whether a directory was listed under another path, so that its notebooks and diagrams are known.
    fn is_listed(&mut self, dir: &Path) -> bool {
        if !self.skip.is_once {
            return false;
        }
        let real = match self.is_in_link {
            true => dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf()),
            false => dir.to_path_buf(),
        };
        !self.listed.insert(real)
    }

    /// Reports a directory, or a link, that cannot be read. Its content is unknown and must not be taken for removed.
    fn unreadable(&mut self, dir: &Path, error: &io::Error) {
        let relative = RelPath::below(self.root, dir);
        let shown = relative.as_ref().map_or(".", RelPath::as_str);
        let mut found =
            Diagnostic::error(format!("the directory cannot be read: {error}")).at(shown, None);
        found.hint = io_hint(Dir::Other, "list", error);
        self.diagnostics.push(found.clone());
        self.unread.push(found);
        self.listing.dirs.extend(relative.clone());
        self.listing.unread.insert(relative);
    }

    fn directory(&mut self, dir: &Path, links: &mut Vec<PathBuf>) {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            // It was removed after it was found.
            Err(error) if files::is_gone(&error) && dir != self.root => {
                if let Some(relative) = RelPath::below(self.root, dir) {
                    self.listing.dirs.remove(&relative);
                }
                return;
            }
            Err(error) => return self.unreadable(dir, &error),
        };
        let is_listed = self.is_listed(dir);
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.unreadable(dir, &error),
            };
            let path = entry.path();
            if self.skip.skips(&path) {
                continue;
            }
            let is_dir = || entry.file_type().is_ok_and(|kind| kind.is_dir());
            if path.file_name().is_some_and(is_temporary_name) && !is_dir() {
                continue;
            }
            let Some(relative) = RelPath::below(self.root, &path) else {
                self.diagnostics.push(
                    Diagnostic::warning("the file name is not UTF-8; the file is ignored")
                        .at(path.display().to_string(), None)
                        .hint("rename it"),
                );
                continue;
            };
            if is_listed && may_be_source(&relative) && !is_dir() {
                continue;
            }
            let kind = match entry.file_type() {
                Ok(kind) => kind,
                Err(error) if files::is_gone(&error) => continue,
                Err(error) => {
                    self.unreadable(&path, &error);
                    continue;
                }
            };
            if kind.is_symlink() {
                self.link(&path, relative, links);
            } else if kind.is_dir() {
                if self.listing.dirs.insert(relative) {
                    self.directory(&path, links);
                }
            } else if kind.is_file() {
                self.listing.files.insert(relative);
            } else if let Some(reason) = files::not_a_file(kind) {
                self.diagnostics.push(
                    Diagnostic::warning(format!("{reason}; it is ignored"))
                        .at(relative.as_str(), None),
                );
            }
        }
    }

    fn link(&mut self, path: &Path, relative: RelPath, links: &mut Vec<PathBuf>) {
        self.has_links = true;
        let found = path.canonicalize();
        let found = found.and_then(|real| Ok((std::fs::metadata(&real)?.is_dir(), real)));
        let (is_dir, real) = match found {
            Ok(found) => found,
            Err(error) if files::is_gone(&error) => {
                self.diagnostics.push(
                    Diagnostic::warning("the symbolic link leads nowhere; it is ignored")
                        .at(relative.as_str(), None)
                        .hint("remove it, or let it lead to a file that exists"),
                );
                return;
            }
            Err(error) => return self.unreadable(path, &error),
        };
        if !self.bounds.hold(&real) {
            let error = Bounds::error("the symbolic link", &real);
            self.diagnostics.push(error.at(relative.as_str(), None));
            return;
        }
        if let Some(reason) = not_a_source(&real) {
            self.diagnostics.push(
                Diagnostic::warning(format!("{reason}; it is ignored")).at(relative.as_str(), None),
            );
            return;
        }
        if !is_dir {
            self.listing.files.insert(relative);
        } else if links.contains(&real) || path.starts_with(&real) {
            self.diagnostics.push(
                Diagnostic::warning(
                    "the symbolic link leads back to a directory that holds it; it is ignored",
                )
                .at(relative.as_str(), None)
                .hint("remove it, or let it lead to another directory"),
            );
        } else if self.listing.dirs.insert(relative.clone()) {
            links.push(real);
            if self.skip.is_once {
                let place = (path.to_path_buf(), links.clone());
                self.links.insert(relative, place);
            } else {
                self.directory(path, links);
            }
            links.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_out_of_the_course_and_loops_are_reported() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("course");
        std::fs::create_dir_all(root.join("slides/m")).unwrap();
        std::fs::write(root.join("slides/m/a.py"), "1").unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), root.join("slides/m/out.txt"))
            .unwrap();
        std::os::unix::fs::symlink(&root, root.join("slides/loop")).unwrap();
        std::os::unix::fs::symlink("a.py", root.join("slides/m/b.py")).unwrap();
        let roots = [Some(RelPath::new("slides").unwrap())];
        let skip = Skip::new(|_: &Path| false);
        let Scan {
            listing,
            diagnostics,
            has_links,
            ..
        } = scan_all(&root, &roots, &skip);
        assert!(has_links);
        let files: Vec<&str> = listing.files.iter().map(RelPath::as_str).collect();
        assert_eq!(files, ["slides/m/a.py", "slides/m/b.py"]);
        let messages: Vec<&str> = diagnostics.iter().map(|d| d.message.as_str()).collect();
        assert!(
            messages
                .iter()
                .any(|m| m.contains("out of the root directory")),
            "{messages:?}"
        );
        assert!(
            messages.iter().any(|m| m.contains("leads back")),
            "{messages:?}"
        );
    }

    /// Checks that an update of changed paths gives the same listing as a new scan, for any changes of a tree.
    #[test]
    fn updates_equal_a_new_scan() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("slides/m/t")).unwrap();
        std::fs::create_dir_all(root.join("output")).unwrap();
        let roots = || vec![Some(RelPath::new("slides").unwrap())];
        let skip = Skip::new(|path: &Path| path.ends_with("skipped"));
        let mut scanned = Scanned::new(&root, roots(), &skip);
        let write = |path: &str| {
            let file = root.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "x").unwrap();
        };
        let steps: &[(&dyn Fn(), &[&str])] = &[
            (&|| write("slides/m/t/a.py"), &["slides/m/t/a.py"]),
            (&|| write("slides/m/t/a.py"), &["slides/m/t/a.py"]),
            (
                &|| write("slides/m/new/deep/b.py"),
                &["slides/m/new/deep/b.py"],
            ),
            (
                &|| write("slides/m/skipped/b.py"),
                &["slides/m/skipped/b.py"],
            ),
            (&|| write("output/x"), &["output/x"]),
            (&|| write("slides/m/t/.a.py.swp"), &["slides/m/t/.a.py.swp"]),
            (
                &|| std::fs::rename(root.join("slides/m/new"), root.join("slides/m/old")).unwrap(),
                &["slides/m/new", "slides/m/old"],
            ),
            (
                &|| {
                    std::fs::remove_file(root.join("slides/m/t/a.py")).unwrap();
                    write("slides/m/t/a.py/inner");
                },
                &["slides/m/t/a.py"],
            ),
            (
                &|| std::fs::remove_dir_all(root.join("slides/m/old")).unwrap(),
                &["slides/m/old/deep/b.py", "slides/m/old"],
            ),
            (
                &|| std::fs::rename(root.join("slides"), root.join("away")).unwrap(),
                &["slides", "away"],
            ),
            (
                &|| std::fs::rename(root.join("away"), root.join("slides")).unwrap(),
                &["slides", "away"],
            ),
        ];
        for (number, (step, paths)) in steps.iter().enumerate() {
            let before = scanned.listing().clone();
            let version = scanned.version;
            step();
            let paths: Vec<RelPath> = paths.iter().map(|p| RelPath::new(p).unwrap()).collect();
            scanned.update(&root, roots(), &skip, &paths);
            let expected = scan_all(&root, &roots(), &skip).listing;
            assert_eq!(scanned.listing(), &expected, "step {number}");
            assert_eq!(
                version != scanned.version,
                before != expected,
                "step {number}"
            );
        }
    }
}
