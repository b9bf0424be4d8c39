//! Where a snapshot may be: neither among the sources nor among the outputs of the course.

use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};

/// Returns the real path of a directory, or an error if it is, holds or lies in one of these. `dir` is absolute and need
/// not exist.
pub(crate) fn refuse_place(
    dir: &Path,
    outputs: &[PathBuf],
    sources: &[PathBuf],
    state_dir: &Path,
) -> Result<PathBuf> {
    let real = real_path(dir);
    let refuse = |problem: &str| {
        Err(
            Error::usage(format!("the directory `{}` {problem}", dir.display()))
                .hint("choose a directory of its own, for example beside the course"),
        )
    };
    if real.components().any(|part| part.as_os_str() == ".git") {
        return refuse("lies in a repository's own directory");
    }
    for (dirs, lies, holds) in [
        (
            outputs,
            "lies among the outputs of the course",
            "holds outputs of the course",
        ),
        (
            sources,
            "lies among the sources of the course",
            "holds sources of the course",
        ),
        (
            &[state_dir.to_path_buf()],
            "lies among the records of the course",
            "holds the records of the course",
        ),
    ] {
        for other in dirs {
            let other = real_path(other);
            if real.starts_with(&other) {
                return refuse(lies);
            }
            if other.starts_with(&real) {
                return refuse(holds);
            }
        }
    }
    Ok(real)
}

/// Returns a path with the symbolic links of its existing part resolved.
fn real_path(path: &Path) -> PathBuf {
    let mut real = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                real.pop();
            }
            Component::CurDir => {}
            other => real.push(other),
        }
        if let Ok(resolved) = real.canonicalize() {
            real = resolved;
        }
    }
    real
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_lies_beside_sources_and_outputs() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for made in ["course/slides", "course/output/shared", "course/.clm"] {
            std::fs::create_dir_all(root.join(made)).unwrap();
        }
        std::os::unix::fs::symlink("course/output", root.join("link")).unwrap();
        let refused = |path: &str| {
            let found = refuse_place(
                &root.join(path),
                &[root.join("course/output")],
                &[root.join("course/slides"), root.join("course/more")],
                &root.join("course/.clm"),
            );
            found.map_err(|error| error.message().to_owned())
        };
        for (path, problem) in [
            ("course/output", "lies among the outputs"),
            ("course/output/new/dir", "lies among the outputs"),
            ("link/new", "lies among the outputs"),
            ("new/../course/output/x", "lies among the outputs"),
            ("course/slides/new", "lies among the sources"),
            ("course/more/new", "lies among the sources"),
            ("course/.clm/new", "lies among the records"),
            (".git", "lies in a repository"),
            ("course/.git/new", "lies in a repository"),
            ("course", "holds outputs"),
            (".", "holds outputs"),
        ] {
            let error = refused(path).unwrap_err();
            assert!(error.contains(problem), "{path}: {error}");
        }
        assert_eq!(refused("new").unwrap(), root.join("new"));
        assert_eq!(refused("course/new/x").unwrap(), root.join("course/new/x"));
        assert_eq!(
            refused("course/outputs").unwrap(),
            root.join("course/outputs")
        );
    }
}
