//! Copies the topic's files into the working directory of the cells.

use std::path::{Path, PathBuf};

use crate::config::Bounds;
use crate::course::RelPath;
use crate::diagnostic::Diagnostic;
use crate::error::{Dir, io_hint};
use crate::files;
use crate::worker::WorkerError;

/// Copies files given as `(source relative to the root, path in the directory)`. Returns a diagnostic for an unusable
/// source.
pub(super) async fn fill(
    root: PathBuf,
    directory: PathBuf,
    files: Vec<(RelPath, RelPath)>,
) -> Result<Option<Diagnostic>, WorkerError> {
    if files.is_empty() {
        return Ok(None);
    }
    let copying = tokio::task::spawn_blocking(move || copy_all(&root, &directory, &files));
    copying.await.map_err(|error| {
        WorkerError::Io(format!(
            "the files of the topic could not be copied: {error}"
        ))
    })?
}

fn copy_all(
    root: &Path,
    directory: &Path,
    files: &[(RelPath, RelPath)],
) -> Result<Option<Diagnostic>, WorkerError> {
    let root = root
        .canonicalize()
        .map_err(|error| WorkerError::Io(format!("cannot read `{}`: {error}", root.display())))?;
    let bounds = Bounds::of(&root);
    for (source, target) in files {
        // Links are followed, but not out of the course: a deck may read only what its key was computed from.
        let real = match source.under(&root).canonicalize() {
            Ok(real) if bounds.hold(&real) => real,
            Ok(_) => {
                let message = format!("`{source}` is a link to a place outside the root directory");
                let hint = "put the file itself there";
                return Ok(Some(
                    Diagnostic::error(message)
                        .at(source.as_str(), None)
                        .hint(hint),
                ));
            }
            Err(error) => return Ok(Some(unreadable(source, &error))),
        };
        let target = target.under(directory);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(|error| {
                WorkerError::Io(format!("cannot create `{}`: {error}", parent.display()))
            })?;
        }
        let mut opened = match bounds.open(&real) {
            Ok(opened) => opened,
            Err(error) => return Ok(Some(unreadable(source, &error))),
        };
        std::fs::File::create(&target)
            .and_then(|mut copy| files::copy_content(&mut opened, &mut copy))
            .and_then(|_| keep_executable(&real, &target))
            .map_err(|error| {
                WorkerError::Io(format!("cannot write `{}`: {error}", target.display()))
            })?;
    }
    Ok(None)
}

fn unreadable(source: &RelPath, error: &std::io::Error) -> Diagnostic {
    let mut found = Diagnostic::error(format!(
        "cannot read `{source}`, which the deck may use: {error}"
    ));
    found.hint = io_hint(Dir::Other, "read", error);
    found.at(source.as_str(), None)
}

/// Makes the copy executable if the source is; the cells may also write to it.
#[cfg(unix)]
fn keep_executable(source: &Path, target: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(source)?.permissions().mode();
    if mode & 0o111 == 0 {
        return Ok(());
    }
    std::fs::set_permissions(target, std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn keep_executable(_source: &Path, _target: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn files_arrive_at_their_paths_and_links_do_not_leave_the_course() {
        let root = tempfile::tempdir().unwrap();
        let work = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("t/data")).unwrap();
        std::fs::write(root.path().join("t/data/a.csv"), "1").unwrap();
        let files = [(path("t/data/a.csv"), path("data/a.csv"))];
        assert_eq!(copy_all(root.path(), work.path(), &files).unwrap(), None);
        assert_eq!(std::fs::read(work.path().join("data/a.csv")).unwrap(), b"1");

        let gone = [(path("t/gone"), path("gone"))];
        let diagnostic = copy_all(root.path(), work.path(), &gone).unwrap().unwrap();
        assert_eq!(diagnostic.file.as_deref(), Some("t/gone"));

        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/etc/passwd", root.path().join("t/link")).unwrap();
            let link = [(path("t/link"), path("link"))];
            let diagnostic = copy_all(root.path(), work.path(), &link).unwrap().unwrap();
            assert!(diagnostic.message.contains("outside the root directory"));
            assert!(!work.path().join("link").exists());
        }
    }
}
