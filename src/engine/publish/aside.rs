//! Files of others that are in the places of outputs: they are moved to `.clm/replaced/DATE/..` and stored there for
//! some time.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;

use chrono::{Local, NaiveDate};

use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::error::{Dir, Error, Result};
use crate::files;
use crate::parallel::lock;

/// The name of the directory in the state directory.
const NAME: &str = "replaced";
/// The number of days for which moved files are stored.
const DAYS: i64 = 30;
/// The maximum size of files that were moved before today, in bytes.
const MAX_SIZE: u64 = 2 << 30;
/// The maximum number of files that the warning names.
const NAMED: usize = 20;

/// The place for such files.
pub(super) struct Aside {
    root: PathBuf,
    all: PathBuf,
    moved: Mutex<Moved>,
}

#[derive(Default)]
struct Moved {
    /// Files that were moved since the last warning: the old path and the new one.
    paths: Vec<(PathBuf, PathBuf)>,
    /// Whether this process has removed old ones.
    is_swept: bool,
}

impl Aside {
    pub(super) fn new(root: &Path, state_dir: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            all: state_dir.join(NAME),
            moved: Mutex::default(),
        }
    }

    /// Moves a file, a link, or a directory with its content aside.
    pub(super) fn take(&self, file: &Path) -> Result<()> {
        self.take_and(file, false)
    }

    /// The same for something that is about to be replaced: if the file system has hard links it stays in its place
    /// until then, so that the path is never without a file.
    pub(super) fn take_replaced(&self, file: &Path) -> Result<()> {
        self.take_and(file, true)
    }

    fn take_and(&self, file: &Path, stays: bool) -> Result<()> {
        let mut moved = lock(&self.moved);
        if !std::mem::replace(&mut moved.is_swept, true) {
            sweep(&self.all, Local::now().date_naive(), MAX_SIZE);
        }
        let place = self
            .put(file, stays)
            .map_err(|error| Error::io_in(Dir::State, "move aside", file, &error))?;
        moved.paths.push((file.to_path_buf(), place));
        Ok(())
    }

    /// Returns a warning about files that were moved since the last call, if there are any.
    pub(super) fn take_warning(&self) -> Option<Diagnostic> {
        let mut moved = std::mem::take(&mut lock(&self.moved).paths);
        moved.sort();
        if moved.is_empty() {
            return None;
        }
        let shown = |path: &Path| {
            let path = path.strip_prefix(&self.root).unwrap_or(path);
            path.display().to_string()
        };
        let day_of = |place: &Path| {
            let below = place.strip_prefix(&self.all).ok()?;
            Some(self.all.join(below.components().next()?))
        };
        let days: BTreeSet<PathBuf> = moved.iter().filter_map(|(_, at)| day_of(at)).collect();
        let days: Vec<String> = days.iter().map(|day| format!("`{}`", shown(day))).collect();
        let mut names: Vec<String> = moved
            .iter()
            .take(NAMED)
            .map(|(from, _)| format!("`{}`", shown(from)))
            .collect();
        if moved.len() > NAMED {
            names.push(format!("and {} more", moved.len() - NAMED));
        }
        let what = match moved.len() {
            1 => "a file that clm did not make was in the place of an output".to_owned(),
            count => format!("{count} files that clm did not make were in the places of outputs"),
        };
        let message = format!(
            "{what}, moved to {}: {}",
            days.join(" and "),
            names.join(", ")
        );
        Some(Diagnostic::warning(message).hint(format!(
            "take back what you need: it is kept for {DAYS} days, if all of it has less than {} GB; with `--no-replace` such outputs \
             are not made instead",
            MAX_SIZE >> 30
        )))
    }

    /// Moves a file aside and returns its new path. If it `stays`, it gets a hard link there instead, if that is
    /// possible.
    fn put(&self, file: &Path, stays: bool) -> io::Result<PathBuf> {
        let below = self.name_of(file);
        let date = Local::now().date_naive().to_string();
        let mut number = 1;
        loop {
            let day = match number {
                1 => self.all.join(&date),
                number => self.all.join(format!("{date}.{number}")),
            };
            let place = day.join(&below);
            number += 1;
            let is_free = match std::fs::symlink_metadata(&place) {
                Ok(_) if is_copy(file, &place) => {
                    if !stays {
                        std::fs::remove_file(file)?;
                    }
                    return Ok(place);
                }
                Ok(_) => false,
                // The path of a directory may have been a file earlier that day.
                Err(_) => match place.parent().map(std::fs::create_dir_all) {
                    Some(Err(error)) if is_in_the_way(&error) => false,
                    Some(result) => result.map(|()| true)?,
                    None => false,
                },
            };
            if is_free {
                let linked = match stays {
                    true => std::fs::hard_link(file, &place),
                    false => Err(io::ErrorKind::Unsupported.into()),
                };
                let put = linked.or_else(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => Err(error),
                    _ => relocate(file, &place),
                });
                match put {
                    // Another process was quicker: what it put there must not be replaced.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                    put => return put.map(|()| place),
                }
            }
            if number > 1000 {
                return Err(io::Error::other(format!(
                    "nothing can be put into `{}`",
                    self.all.display()
                )));
            }
        }
    }

    /// Returns the path of a file below a day: relative to the course root, or to the root of all paths.
    fn name_of(&self, file: &Path) -> PathBuf {
        let below = file.strip_prefix(&self.root).unwrap_or(file);
        below
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect()
    }
}

/// Returns whether a directory cannot be created because a file is in its place, or in that of a directory above.
fn is_in_the_way(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists
    )
}

/// Returns whether two regular files have the same bytes.
fn is_copy(file: &Path, other: &Path) -> bool {
    let is_file = |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    is_file(file)
        && is_file(other)
        && Digest::of_file(file).is_ok_and(|digest| digest.is_of_file(other))
}

/// Renames a file or a directory to a path where nothing is. To another file system it is copied, and the original is removed when the copy is
/// complete.
fn relocate(from: &Path, to: &Path) -> io::Result<()> {
    match files::rename_new(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
        result => return result,
    }
    let metadata = std::fs::symlink_metadata(from)?;
    if metadata.is_dir() {
        std::fs::create_dir(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            relocate(&entry.path(), &to.join(entry.file_name()))?;
        }
        return std::fs::remove_dir(from);
    }
    if metadata.is_symlink() {
        std::os::unix::fs::symlink(std::fs::read_link(from)?, to)?;
    } else if let Some(reason) = files::not_a_file(metadata.file_type()) {
        return Err(io::Error::new(io::ErrorKind::CrossesDevices, reason));
    } else {
        files::copy(from, to)?;
        let modified = metadata.modified()?;
        let copied = std::fs::File::options().append(true).open(to);
        // Without write permission the copy is complete, too, but may not survive a power failure.
        if let Ok(copied) = copied {
            let _ = copied.set_modified(modified);
            copied.sync_all()?;
        }
    }
    std::fs::remove_file(from)
}

/// Removes the days that are too old, and the oldest of the others while all together are larger than `max_size`. Files
/// that were moved today are never removed.
fn sweep(all: &Path, today: NaiveDate, max_size: u64) {
    let Ok(entries) = std::fs::read_dir(all) else {
        return;
    };
    let date_of = |dir: &Path| {
        let name = dir.file_name()?.to_str()?;
        let date = name.split('.').next().unwrap_or(name);
        NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()
    };
    let mut days: Vec<(NaiveDate, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((date_of(&entry.path())?, entry.path())))
        .filter(|(date, _)| *date < today)
        .collect();
    days.sort();
    days.reverse();
    let mut size: u64 = 0;
    for (date, dir) in days {
        size = size.saturating_add(size_of(&dir));
        if (today - date).num_days() > DAYS || size > max_size {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

fn size_of(path: &Path) -> u64 {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return 0;
    };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size_of(&entry.path())).sum()
}

/// Returns whether a directory contains a repository, whose content matters to its owner even if clm made everything
/// around it.
pub(super) fn holds_repository(dir: &Path) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut dirs = Vec::new();
    for entry in entries {
        if entry.file_name() == ".git" {
            return true;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            dirs.push(entry.path());
        }
    }
    dirs.iter().any(|dir| holds_repository(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course() -> (tempfile::TempDir, Aside) {
        let dir = tempfile::tempdir().unwrap();
        let aside = Aside::new(dir.path(), &dir.path().join(".clm"));
        (dir, aside)
    }

    #[test]
    fn what_is_about_to_be_replaced_stays_until_then() {
        let (dir, aside) = course();
        let file = dir.path().join("output/a.txt");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let today = Local::now().date_naive().to_string();
        let kept = |day: &str| {
            dir.path()
                .join(".clm/replaced")
                .join(day)
                .join("output/a.txt")
        };
        std::fs::write(&file, "one").unwrap();
        // This also works if clm was killed before it replaced the file.
        for _ in 0..2 {
            aside.take_replaced(&file).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "one");
        }
        let new = dir.path().join("new");
        std::fs::write(&new, "made").unwrap();
        std::fs::rename(&new, &file).unwrap();
        assert_eq!(std::fs::read_to_string(kept(&today)).unwrap(), "one");
        assert!(!kept(&format!("{today}.2")).exists());
        // A link is moved as a link, and a directory is moved.
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("elsewhere", &file).unwrap();
        aside.take_replaced(&file).unwrap();
        assert!(kept(&format!("{today}.2")).is_symlink() && file.is_symlink());
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        aside.take_replaced(&file).unwrap();
        assert!(kept(&format!("{today}.3")).is_dir() && !file.exists());
    }

    #[test]
    fn of_many_that_move_one_file_none_replaces_what_another_one_moved() {
        let (dir, _) = course();
        let file = dir.path().join("output/a.txt");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        for round in 0..200 {
            // As two processes that find the same file, and put their output in its place.
            std::fs::write(&file, format!("author {round}")).unwrap();
            std::thread::scope(|scope| {
                for number in 0..2 {
                    let (dir, file) = (dir.path(), &file);
                    scope.spawn(move || {
                        let aside = Aside::new(dir, &dir.join(".clm"));
                        let new = dir.join(format!("new{number}"));
                        std::fs::write(&new, format!("made {round}")).unwrap();
                        aside.take_replaced(file).unwrap();
                        std::fs::rename(new, file).unwrap();
                    });
                }
            });
            let days = std::fs::read_dir(dir.path().join(".clm/replaced")).unwrap();
            let kept = days.map(|day| day.unwrap().path().join("output/a.txt"));
            let mut texts = kept.filter_map(|file| std::fs::read_to_string(file).ok());
            assert!(
                texts.any(|text| text == format!("author {round}")),
                "{round}"
            );
            std::fs::remove_dir_all(dir.path().join(".clm/replaced")).unwrap();
        }
    }

    #[test]
    fn everything_that_is_moved_is_kept_and_named() {
        let (dir, aside) = course();
        let file = dir.path().join("output/a.txt");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        for text in ["one", "two", "one", "two"] {
            std::fs::write(&file, text).unwrap();
            aside.take(&file).unwrap();
            assert!(!file.exists());
        }
        std::fs::create_dir_all(file.join("deep")).unwrap();
        std::fs::write(file.join("deep/b.txt"), "three").unwrap();
        aside.take(&file).unwrap();
        let today = Local::now().date_naive().to_string();
        let kept = |day: &str, name: &str| {
            std::fs::read_to_string(dir.path().join(".clm/replaced").join(day).join(name)).unwrap()
        };
        assert_eq!(kept(&today, "output/a.txt"), "one");
        assert_eq!(kept(&format!("{today}.2"), "output/a.txt"), "two");
        let third = format!("{today}.3");
        assert_eq!(kept(&third, "output/a.txt/deep/b.txt"), "three");
        let days = std::fs::read_dir(dir.path().join(".clm/replaced")).unwrap();
        assert_eq!(days.count(), 3, "equal bytes are kept once");
        let warning = aside.take_warning().unwrap();
        assert!(
            warning.message.contains("output/a.txt"),
            "{}",
            warning.message
        );
        assert!(
            warning.message.contains(&format!(".clm/replaced/{today}")),
            "{}",
            warning.message
        );
        assert!(aside.take_warning().is_none());
    }

    #[test]
    fn old_days_go_and_today_stays() {
        let dir = tempfile::tempdir().unwrap();
        let today = NaiveDate::from_ymd_opt(2026, 12, 31).unwrap();
        let day = |name: &str| dir.path().join(name);
        for name in [
            "2026-11-30",
            "2026-12-02",
            "2026-12-30.2",
            "2026-12-31",
            "notes",
        ] {
            std::fs::create_dir(day(name)).unwrap();
            std::fs::write(day(name).join("a"), [0; 100]).unwrap();
        }
        sweep(dir.path(), today, 1000);
        assert!(!day("2026-11-30").exists());
        assert!(day("2026-12-02").exists());
        sweep(dir.path(), today, 150);
        assert!(!day("2026-12-02").exists());
        assert!(day("2026-12-30.2").exists());
        sweep(dir.path(), today, 0);
        assert!(!day("2026-12-30.2").exists());
        assert!(day("2026-12-31").exists());
        assert!(day("notes").exists(), "what is no day is not touched");
    }
}
