//! Directories of outputs: creates them, and removes them if they are in the place of an output.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::course::path::{is_within, name_of};
use crate::error::{Dir, Error, Result};
use crate::events::Event;

use super::there::{What, metadata};
use super::{Publisher, SourceDirs, aside};

impl Publisher {
    /// Creates a directory of outputs and checks that its real path is where outputs may be. A file in its place that
    /// is not an output any more is removed or moved aside.
    pub(super) fn make_dir(&mut self, dir: &Path) -> Result<()> {
        if self.checked_dirs.contains(dir) {
            return Ok(());
        }
        // Checked before anything is created: it would be created behind the link.
        if let Some(link) = self.leading_out(dir) {
            let real = link.canonicalize().unwrap_or_else(|_| link.to_path_buf());
            let path = name_of(&self.root, link);
            return Err(Error::usage(format!(
                "the output directory `{path}` leads out of the output root, to `{}`",
                real.display()
            ))
            .at(path, None)
            .hint("remove the symbolic link, or choose another `--output-dir`"));
        }
        if std::fs::create_dir_all(dir).is_err() {
            self.clear_files_above(dir)?;
            std::fs::create_dir_all(dir)
                .map_err(|error| Error::io_in(Dir::Output, "create", dir, &error))?;
        }
        self.checked_dirs.insert(dir.to_path_buf());
        Ok(())
    }

    /// Creates an empty directory of the course.
    pub(crate) fn publish_dir(&mut self, destination: &str) -> Result<()> {
        self.make_dir(&self.file(destination))
    }

    /// Returns the first existing directory on the path of another one whose real path is not where outputs may be.
    /// Directories that were found to be right are not checked again.
    fn leading_out<'d>(&mut self, dir: &'d Path) -> Option<&'d Path> {
        let is_known =
            |dir: &Path| self.checked_dirs.contains(dir) || self.allowed.iter().any(|it| it == dir);
        let mut above: Vec<&Path> = dir.ancestors().take_while(|dir| !is_known(dir)).collect();
        above.reverse();
        for dir in above {
            if !dir.is_dir() {
                return None;
            }
            if !self.is_inside_dir(dir).unwrap_or(false) {
                return Some(dir);
            }
            self.checked_dirs.insert(dir.to_path_buf());
        }
        None
    }

    /// Returns whether the real path of a directory is in one of those that outputs may be in.
    fn is_inside_dir(&self, dir: &Path) -> io::Result<bool> {
        let real = dir.canonicalize()?;
        if self.allowed.iter().any(|allowed| real.starts_with(allowed)) {
            return Ok(true);
        }
        for allowed in &self.allowed {
            match allowed.canonicalize() {
                Ok(allowed) if real.starts_with(&allowed) => return Ok(true),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Returns whether the real path of a file's directory is where outputs may be. An error means that it is unknown.
    pub(super) fn is_inside(&self, file: &Path) -> io::Result<bool> {
        file.parent()
            .map_or(Ok(false), |dir| self.is_inside_dir(dir))
    }

    /// Makes room for a directory: removes or moves aside a file in the place of one of the directories above.
    fn clear_files_above(&mut self, dir: &Path) -> Result<()> {
        let root_of = |allowed: &&PathBuf| dir.starts_with(allowed);
        let roots: Vec<PathBuf> = self.allowed.iter().filter(root_of).cloned().collect();
        let is_below = |file: &&Path| {
            let mut roots = roots.iter();
            roots.any(|root| file.starts_with(root) && *file != root.as_path())
        };
        let above: Vec<&Path> = dir.ancestors().take_while(is_below).collect();
        for file in above.into_iter().rev() {
            match metadata(file) {
                // A link to a directory, inside or outside of the root, is checked when the directory exists.
                Ok(Some(found)) if found.is_dir() || file.is_dir() => continue,
                Ok(Some(_)) => return self.clear_file(file),
                // Something above is not a directory, or nothing exists there.
                Ok(None) | Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn clear_file(&mut self, file: &Path) -> Result<()> {
        let path = name_of(&self.root, file);
        if self.is_wanted(&path) {
            return Err(Error::usage(format!(
                "`{path}` is an output of the course itself, so nothing can be put below it"
            ))
            .hint("rename one of the two sources"));
        }
        let there = self.look(&path)?;
        if there.is_foreign() {
            return self.set_aside(file);
        }
        std::fs::remove_file(file)
            .map_err(|error| Error::io_in(Dir::Output, "remove", file, &error))?;
        self.forget(vec![path.into()])
    }

    /// Makes room for an output where a directory is: removes outputs in it that are not planned any more, and moves
    /// aside what else is in it.
    pub(super) fn clear_dir(&mut self, destination: &str) -> Result<()> {
        let dir = self.file(destination);
        self.load_all()?;
        let inside: Vec<Arc<str>> = self
            .ledger
            .known()
            .keys()
            .filter(|path| ***path != *destination && is_within(path, destination))
            .cloned()
            .collect();
        let in_the_way = |reason: &str| {
            Error::usage(format!(
                "there is a directory where the output `{destination}` belongs{reason}"
            ))
            .hint("move it away and build again")
        };
        if let Some(wanted) = inside.iter().find(|path| self.is_wanted(path)) {
            return Err(in_the_way(&format!(", with the output `{wanted}` in it")));
        }
        let holds_root = self.allowed.iter().any(|root| root.starts_with(&dir));
        if holds_root || aside::holds_repository(&dir) {
            return Err(in_the_way(""));
        }
        let mut removed = Vec::new();
        for path in inside {
            let file = self.file(&path);
            let there = self.look(&path)?;
            if there.ours().is_some() && self.is_inside(&file).unwrap_or(false) {
                std::fs::remove_file(&file)
                    .map_err(|error| Error::io_in(Dir::Output, "remove", &file, &error))?;
                removed.push(path);
            } else if there.what == What::Nothing {
                removed.push(path);
            }
        }
        self.forget(removed)?;
        remove_empty_dirs_in(&dir);
        match metadata(&dir) {
            Ok(Some(_)) => self.set_aside(&dir),
            _ => Ok(()),
        }
    }

    /// Moves something aside that clm did not make, unless it has to stay.
    pub(super) fn set_aside(&self, file: &Path) -> Result<()> {
        self.may_set_aside(file)?;
        self.aside.take(file)
    }

    /// The same for something that is about to be replaced.
    pub(super) fn set_aside_replaced(&self, file: &Path) -> Result<()> {
        self.may_set_aside(file)?;
        self.aside.take_replaced(file)
    }

    fn may_set_aside(&self, file: &Path) -> Result<()> {
        if self.keeps_foreign {
            let path = name_of(&self.root, file);
            return Err(Error::usage(format!(
                "`{path}` is in the place of an output, and clm did not make it"
            ))
            .hint(match self.sources {
                SourceDirs::Slides => {
                    "move it away; without `--no-replace` clm moves it to `.clm/replaced`"
                }
                SourceDirs::AllBut(_) => "move it away, or rename the source",
            }));
        }
        Ok(())
    }

    /// Removes outputs from the ledger whose files were removed.
    fn forget(&mut self, paths: Vec<Arc<str>>) -> Result<()> {
        for path in &paths {
            self.ledger.remove(path);
            self.among_sources.remove(path);
            self.events.emit(Event::Output {
                path: path.to_string(),
                digest: None,
            });
        }
        Ok(self.store.forget_outputs(paths)?)
    }

    /// Returns whether a path is an output of the course as it is planned now.
    fn is_wanted(&self, path: &str) -> bool {
        let wanted = self.wanted.as_ref();
        wanted.is_some_and(|wanted| wanted.contains(path))
    }

    /// Removes the directories above a file that became empty, up to the output root.
    pub(crate) fn remove_empty_dirs(&self, file: &Path) {
        for dir in file.ancestors().skip(1) {
            let is_root = self.allowed.iter().any(|allowed| allowed == dir);
            if is_root || std::fs::remove_dir(dir).is_err() {
                return;
            }
        }
    }
}

/// Removes a directory and those in it, as far as they contain nothing but directories.
fn remove_empty_dirs_in(dir: &Path) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty_dirs_in(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(dir);
}
