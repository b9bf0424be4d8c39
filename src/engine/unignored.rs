//! Whether git ignores what clm writes into a working tree, which is said once.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::config::Ci;
use crate::course::spec::Spec;
use crate::diagnostic::{Diagnostic, Severity};
use crate::watch::GitDir;

use super::course::Course;
use super::git;
use super::sources::OutputPaths;

/// The file in the state directory that remembers that git was asked.
const MARK: &str = "git-was-asked";
/// The directory beside diagrams into which they are drawn.
const DRAWN: &str = "img-generated";
/// How many directories of outputs are looked at.
const MAX_LOOKS: usize = 8;

/// Returns the note that git does not ignore directories that clm writes to, if that is so and was not said yet. Git is
/// asked once in the life of the records: what people decide then is left to them.
pub(super) fn note(course: &Course, spec: &Spec, outputs: &OutputPaths) -> Option<Diagnostic> {
    let mark = course.place.state_dir().join(MARK);
    let root = &course.place.root;
    // In a pipeline nobody would see it in time.
    if mark.exists() || GitDir::find(root).is_none() || Ci::detect().is_some() {
        return None;
    }
    let dirs = without_others(root, course.output_dirs(spec));
    let dirs = dirs.into_iter().take(MAX_LOOKS);
    let mut found: Vec<(String, PathBuf)> = dirs.map(|dir| (shown(root, &dir), dir)).collect();
    found.extend(drawn(root, outputs).map(|dir| (format!("{DRAWN}/"), dir)));
    let mut named = Vec::new();
    for (name, dir) in found.into_iter().filter(|(_, dir)| dir.is_dir()) {
        if is_open(&dir)? {
            named.push(format!("`{name}`"));
        }
    }
    // Whether it could be written only decides whether it is said again.
    let _ = crate::private::write(&mark, b"");
    let first = named.first()?;
    let (lines, all) = match named.len() {
        1 => ("the line", first.clone()),
        _ => ("the lines", named.join(" and ")),
    };
    let message = format!("git does not ignore {all}, which clm writes");
    let hint =
        format!("add {lines} {all} to `.gitignore` in the root directory; this is said once");
    Some(Diagnostic::new(Severity::Note, message).hint(hint))
}

/// Returns the directory that all of these have in common instead of them, if it holds no sources.
fn without_others(root: &Path, dirs: Vec<PathBuf>) -> Vec<PathBuf> {
    let [first, others @ ..] = dirs.as_slice() else {
        return dirs;
    };
    let is_of_all = |dir: &&Path| others.iter().all(|other| other.starts_with(dir));
    match first.ancestors().find(is_of_all) {
        Some(common) if !root.starts_with(common) => vec![common.to_path_buf()],
        _ => dirs,
    }
}

/// Returns a directory as a line of a `.gitignore` at the course root, if it lies there.
fn shown(root: &Path, dir: &Path) -> String {
    match dir.strip_prefix(root) {
        Ok(below) => format!("{}/", below.display()),
        Err(_) => format!("{}/", dir.display()),
    }
}

/// Returns a directory into which a diagram is drawn.
fn drawn(root: &Path, outputs: &OutputPaths) -> Option<PathBuf> {
    let mut paths = outputs.iter().map(|path| Path::new(&**path));
    let dir = paths.find_map(|path| path.parent().filter(|dir| dir.ends_with(DRAWN)))?;
    Some(root.join(dir))
}

/// Returns whether git would add the files of a directory, and has none of them yet; `None` if git does not say.
fn is_open(dir: &Path) -> Option<bool> {
    let ask = |args: &[&str]| {
        let mut command = git::command(dir);
        command.args(args).stderr(Stdio::null()).output().ok()
    };
    match ask(&["check-ignore", "--quiet", "."])?.status.code()? {
        0 => return Some(false),
        1 => {}
        _ => return None,
    }
    let listed = ask(&["ls-files", "-z", "--", "."])?;
    let is_without = listed.status.success() && listed.stdout.is_empty();
    Some(is_without)
}
