//! The files of a folder without `course.xml` that are no sources.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::config::{SETTINGS_FILE, has_folder_settings};
use crate::course::RelPath;
use crate::course::spec::Folder;
use crate::course::tree::{is_ignored_dir, may_be_source};
use crate::parallel::lock;

use super::rules::{RULE_FILES, Rules};

/// Directories that hold no sources of an author, besides those that courses ignore and hidden ones.
const IGNORED_DIRS: [&str; 7] = [
    "node_modules",
    "_build",
    "_site",
    "site",
    "site-packages",
    "venv",
    "env",
];

/// Decides which files and directories of a folder are no sources.
#[derive(Debug)]
pub(crate) struct FolderFilter {
    root: PathBuf,
    rules: Mutex<Rules>,
    include: Gitignore,
    exclude: Gitignore,
    /// Whether a directory has settings of its own, as far as it is known.
    own: Mutex<HashMap<PathBuf, bool>>,
}

/// Returns whether a directory of a folder holds no sources, by its name.
pub(super) fn is_no_source_dir(name: &str) -> bool {
    name.starts_with('.') || IGNORED_DIRS.contains(&name) || is_ignored_dir(name)
}

/// Returns whether a file decides which others are sources: ignore rules, and the settings of a folder.
pub(crate) fn is_rule_file(path: &Path) -> bool {
    let name = path.file_name();
    name.is_some_and(|name| name == SETTINGS_FILE || RULE_FILES.iter().any(|known| name == *known))
}

/// Returns the files of ignore rules above a folder that apply to it, existing or not.
pub(crate) fn rule_files_above(root: &Path) -> Vec<PathBuf> {
    let top = top_of(root);
    let above = root
        .ancestors()
        .skip(1)
        .take_while(|dir| dir.starts_with(top));
    let files = above.flat_map(|dir| RULE_FILES.iter().map(move |name| dir.join(name)));
    files.collect()
}

/// Returns the nearest directory in or above a folder that has a repository, or else the folder.
fn top_of(root: &Path) -> &Path {
    let mut dirs = root.ancestors();
    dirs.find(|dir| dir.join(".git").exists()).unwrap_or(root)
}

impl FolderFilter {
    /// Creates the filter of a folder. Ignore files are read now, so a filter must not outlive a change of them.
    pub(crate) fn new(root: &Path, folder: &Folder) -> Self {
        Self {
            root: root.to_path_buf(),
            rules: Mutex::new(Rules::new(top_of(root))),
            include: patterns(root, &folder.include),
            exclude: patterns(root, &folder.exclude),
            own: Mutex::default(),
        }
    }

    /// Returns whether a file or a directory below the folder is skipped, with all that is in it. The directories above
    /// it must not be skipped.
    pub(crate) fn skips(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else {
            return false;
        };
        let is_of_other = path.parent().is_some_and(|dir| self.is_own_folder(dir));
        if name == SETTINGS_FILE || (is_rule_file(path) && !is_of_other) {
            return false;
        }
        if is_of_other {
            return true;
        }
        let is_dir = path.is_dir();
        let by_name = match is_dir {
            true => is_no_source_dir(&name) || path.join("pyvenv.cfg").exists(),
            false => name.starts_with('.') || name.ends_with(".executed.ipynb"),
        };
        if by_name || self.exclude.matched(path, is_dir).is_ignore() {
            return true;
        }
        let is_unwanted = || {
            let relative = RelPath::below(&self.root, path);
            let is_source = relative.is_some_and(|path| may_be_source(&path));
            let is_included = || {
                let found = self.include.matched_path_or_any_parents(path, false);
                found.is_ignore()
            };
            is_source && !is_included()
        };
        if !is_dir && !self.include.is_empty() && is_unwanted() {
            return true;
        }
        lock(&self.rules).ignores(path, is_dir)
    }

    /// Returns whether a directory below the folder is another one, by its settings.
    fn is_own_folder(&self, dir: &Path) -> bool {
        if dir == self.root || !dir.starts_with(&self.root) {
            return false;
        }
        if let Some(known) = lock(&self.own).get(dir) {
            return *known;
        }
        let is_own = has_folder_settings(dir);
        lock(&self.own).insert(dir.to_path_buf(), is_own);
        is_own
    }
}

/// Returns patterns of a folder; wrong ones were reported when the settings were read.
fn patterns(root: &Path, patterns: &[String]) -> Gitignore {
    let mut builder = GitignoreBuilder::new(root);
    for pattern in patterns {
        let _ = builder.add_line(None, pattern);
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::spec::Execute;

    #[test]
    fn what_git_ignores_and_what_tools_make_are_no_sources() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        let root = top.join("docs");
        for file in [
            ".git/HEAD",
            "docs/a.md",
            "docs/drafts/b.ipynb",
            "docs/data/x.csv",
            "docs/old/c.ipynb",
            "docs/node_modules/d.md",
            "docs/.hidden/e.md",
        ] {
            let file = top.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        std::fs::write(top.join(".gitignore"), "drafts/\n").unwrap();
        let folder = |include: &[&str], exclude: &[&str]| Folder {
            execute: Execute::Auto,
            kernel: None,
            trust_outputs: false,
            beside: false,
            include: include.iter().map(|text| (*text).to_owned()).collect(),
            exclude: exclude.iter().map(|text| (*text).to_owned()).collect(),
        };
        let filter = FolderFilter::new(&root, &folder(&[], &["old"]));
        let skipped = ["drafts", "old", "node_modules", ".hidden", ".x.md.swp"];
        for name in skipped {
            assert!(filter.skips(&root.join(name)), "{name}");
        }
        for name in ["a.md", "data", "data/x.csv", "clm.toml", ".gitignore"] {
            assert!(!filter.skips(&root.join(name)), "{name}");
        }
        let filter = FolderFilter::new(&root, &folder(&["/old/*.ipynb"], &[]));
        assert!(filter.skips(&root.join("a.md")));
        assert!(!filter.skips(&root.join("old/c.ipynb")));
        assert!(!filter.skips(&root.join("data/x.csv")), "data is no source");
        assert_eq!(
            rule_files_above(&root),
            [top.join(".gitignore"), top.join(".clmignore")]
        );
    }
}
