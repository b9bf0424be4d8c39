//! Decides which paths are relevant, and which directories are watched.
//!
//! In order of precedence: paths that the last plan read; the specification, the settings and the ignore files; outputs
//! and the state directory (nothing in them is relevant); editors' temporary names; directories that the plan lists.
//! Ignore rules come last and apply only where the plan lists nothing: the build ignores no files, so every file that
//! it would read must trigger.

use std::path::{Path, PathBuf};

use crate::config::SETTINGS_FILE;
use crate::course::tree::is_ignored_dir;

use super::Inputs;
use super::folder::{is_no_source_dir, is_rule_file};
use super::rules::{RULE_FILES, Rules};
use super::temporary::is_temporary;

/// The directory of narrations: it contains sources although the rules ignore it.
const NARRATIONS: &str = "voiceover";
const VARIABLES: &str = ".env";

/// Decides by names alone, without access to the file (except for ignore rules).
#[derive(Debug)]
pub(super) struct Filter {
    root: PathBuf,
    spec: PathBuf,
    inputs: Inputs,
    /// Directories in which nothing is relevant.
    excluded: Vec<PathBuf>,
    rules: Rules,
}

impl Filter {
    /// Creates the filter of a course. Relative paths in `inputs` are relative to `root`.
    pub(super) fn new(root: &Path, spec: &Path, state_dir: &Path, inputs: Inputs) -> Self {
        let absolute = |path: PathBuf| normal(&root.join(path));
        let inputs = Inputs {
            scanned: inputs.scanned.into_iter().map(absolute).collect(),
            also: inputs.also.into_iter().map(absolute).collect(),
            files: inputs.files.into_iter().map(absolute).collect(),
            output_dirs: inputs.output_dirs.into_iter().map(absolute).collect(),
        };
        let excluded = std::iter::once(normal(&root.join(state_dir)))
            .chain(inputs.output_dirs.iter().cloned())
            .collect();
        Self {
            root: root.to_path_buf(),
            spec: root.join(spec),
            inputs,
            excluded,
            rules: Rules::new(root),
        }
    }

    /// Returns the inputs, with absolute paths.
    pub(super) fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// Returns a path relative to the course root, if it is below the root.
    pub(super) fn below_root<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        path.strip_prefix(&self.root).ok()
    }

    /// Returns the directories that are watched with all their files.
    pub(super) fn trees(&self) -> impl Iterator<Item = &PathBuf> {
        self.inputs.scanned.iter().chain(&self.inputs.also)
    }

    /// Returns the single files that are relevant wherever they are and whether or not they exist, besides those that
    /// the plan read.
    pub(super) fn special_files(&self) -> Vec<PathBuf> {
        let spec_dir = self.spec.parent().unwrap_or(&self.root);
        let mut files = vec![
            self.spec.clone(),
            self.root.join(SETTINGS_FILE),
            self.root.join(VARIABLES),
            spec_dir.join(VARIABLES),
        ];
        files.extend(RULE_FILES.iter().map(|name| self.root.join(name)));
        files
    }

    /// Returns whether a directory is watched with all its files, given that its parent is.
    pub(super) fn enters(&self, dir: &Path) -> bool {
        if self.trees().any(|tree| tree == dir) {
            return true;
        }
        let Some(name) = dir.file_name().map(|name| name.to_string_lossy()) else {
            return true;
        };
        if name == ".git" || self.is_excluded(dir) {
            return false;
        }
        let is_listed = match self.is_scanned(dir) {
            true => !is_ignored_dir(&name) || name == NARRATIONS || self.is_topic_place(dir),
            false => !is_no_source_dir(&name),
        };
        let is_wanted = self.is_scanned(dir) || !self.rules.ignores(dir, true);
        (is_listed && is_wanted) || self.inputs_below(dir).next().is_some()
    }

    /// Returns whether a change to a path is relevant. `is_dir` is used for ignore rules only.
    pub(super) fn is_relevant(&self, path: &Path, is_dir: bool) -> bool {
        // Creating or removing a directory that contains an input is relevant as well.
        if self.inputs_below(path).next().is_some() || self.is_special(path) {
            return true;
        }
        let name = path.file_name().map(|name| name.to_string_lossy());
        if self.is_excluded(path) || name.is_some_and(|name| is_temporary(&name)) {
            return false;
        }
        let Some(tree) = self
            .trees()
            .filter(|tree| path.starts_with(tree))
            .max_by_key(|tree| tree.as_os_str().len())
        else {
            return self.trees().any(|tree| tree.starts_with(path));
        };
        let is_entered = path
            .ancestors()
            .skip(1)
            .take_while(|dir| dir.starts_with(tree))
            .all(|dir| self.enters(dir));
        let holds_nothing = is_dir && !self.enters(path);
        is_entered && !holds_nothing && (self.is_scanned(path) || !self.rules.ignores(path, is_dir))
    }

    /// Returns the paths in or below a directory that the last plan read.
    pub(super) fn inputs_below<'a>(&'a self, dir: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
        self.inputs
            .files
            .range(dir.to_path_buf()..)
            .take_while(move |file| file.starts_with(dir))
    }

    /// Discards the ignore rules, so that they are read again.
    pub(super) fn forget_rules(&self) {
        self.rules.forget();
    }

    fn is_special(&self, path: &Path) -> bool {
        path == self.spec
            || path.parent() == Some(&self.root)
                && (path.ends_with(SETTINGS_FILE)
                    || path.ends_with(VARIABLES)
                    || is_rule_file(path))
            || path.parent() == self.spec.parent() && path.ends_with(VARIABLES)
    }

    /// Returns whether a path is in an excluded directory. If an output directory contains a scanned directory, the
    /// inner one decides.
    fn is_excluded(&self, path: &Path) -> bool {
        let deepest = |dirs: &[PathBuf]| {
            dirs.iter()
                .filter(|dir| path.starts_with(dir))
                .map(|dir| dir.components().count())
                .max()
        };
        let scanned = deepest(&self.inputs.scanned);
        if let Some(excluded) = deepest(&self.excluded)
            && scanned.is_none_or(|scanned| excluded > scanned)
        {
            return true;
        }
        let below = scanned.unwrap_or_else(|| self.root.components().count());
        path.components()
            .skip(below)
            .any(|component| component.as_os_str() == ".git")
    }

    fn is_scanned(&self, path: &Path) -> bool {
        self.inputs.scanned.iter().any(|dir| path.starts_with(dir))
    }

    /// Returns whether it is `slides/<module>/<entry>`: a topic may have any name that is not hidden.
    fn is_topic_place(&self, dir: &Path) -> bool {
        dir.strip_prefix(&self.root).is_ok_and(|below| {
            let names: Vec<_> = below.iter().map(|name| name.to_string_lossy()).collect();
            matches!(&names[..], [first, _, entry]
                if first == "slides" && !entry.starts_with(['_', '.']))
        })
    }
}

/// Returns a path with `.` and `..` resolved lexically.
fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => {
                result.pop();
            }
            std::path::Component::CurDir => {}
            other => result.push(other),
        }
    }
    // Very many of them are stored.
    result.shrink_to_fit();
    result
}

#[cfg(test)]
mod tests;
