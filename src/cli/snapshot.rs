//! `clm build --snapshot` and `--verify-against`: keep everything that was made, and compare it with another build.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use crate::compare::{self, Change, Comparison, Target};
use crate::engine::course::{Course, Specified};
use crate::engine::made::MadeTarget;
use crate::error::Result;
use crate::events::Events;
use crate::ui::{self, MessageFormat};

use super::session;

/// Options without a build, or with a part of one: what is kept or compared would not be of one state of the course.
const NOT_WHOLE: [&str; 13] = [
    "check",
    "dry_run",
    "saved",
    "verify",
    "languages",
    "kinds",
    "formats",
    "targets",
    "only_sections",
    "fast",
    "only",
    "shard",
    "affected_by",
];

#[derive(Debug, Clone, Default, Args)]
pub(super) struct SnapshotArgs {
    /// After the build copy everything that clm made, of all targets, to this directory: a new one, or an older snapshot
    #[arg(long, value_name = "DIR", conflicts_with_all = NOT_WHOLE)]
    snapshot: Option<PathBuf>,
    /// After the build compare everything that clm made with this snapshot or output root of another build; fail when
    /// something was added, removed or changed
    #[arg(long, value_name = "DIR", conflicts_with_all = NOT_WHOLE)]
    verify_against: Option<PathBuf>,
}

/// What is done after the build.
pub(super) struct Snapshots {
    course: Course,
    specified: Arc<Specified>,
    /// Where a snapshot is made (absolute).
    snapshot: Option<PathBuf>,
    /// What is compared (absolute).
    against: Option<PathBuf>,
}

impl SnapshotArgs {
    /// Returns the option that is given of those that are about the whole course.
    pub(super) fn option(&self) -> Option<&'static str> {
        let snapshot = self.snapshot.as_ref().map(|_| "--snapshot");
        snapshot.or(self.verify_against.as_ref().map(|_| "--verify-against"))
    }

    /// Checks the directories before the build. Returns `None` if nothing is wanted.
    pub(super) fn prepare(
        &self,
        course: &Course,
        specified: &Arc<Specified>,
    ) -> Result<Option<Snapshots>> {
        if self.snapshot.is_none() && self.verify_against.is_none() {
            return Ok(None);
        }
        let cwd = session::current_dir()?;
        let outputs = outputs(course, specified);
        let sources = course.source_dirs(specified);
        let place = |dir: &PathBuf| {
            let state_dir = course.place.state_dir();
            compare::refuse_place(&cwd.join(dir), &outputs, &sources, &state_dir)
        };
        let snapshot = self.snapshot.as_ref().map(place).transpose()?;
        let against = self.verify_against.as_ref().map(place).transpose()?;
        if let Some(dir) = &against {
            compare::check_other(dir)?;
        }
        if let Some(dir) = &snapshot {
            compare::check(dir)?;
        }
        Ok(Some(Snapshots {
            course: course.clone(),
            specified: Arc::clone(specified),
            snapshot,
            against,
        }))
    }
}

impl Snapshots {
    /// Compares and copies what was built. Returns the exit code.
    pub(super) fn finish(self, has_errors: bool, format: MessageFormat) -> Result<u8> {
        let targets = self.targets()?;
        let mut code = 0;
        if let Some(dir) = &self.against {
            let comparison = compare::with(dir, &targets)?;
            show(&comparison, dir, format);
            code = u8::from(comparison.differs());
        }
        match &self.snapshot {
            Some(_) if has_errors => {
                ui::print("no snapshot was made, since there are errors: it would not be complete");
            }
            Some(dir) => {
                let written = compare::write(dir, &targets)?;
                let line = json!({"event": "snapshot", "dir": dir, "files": written.files, "bytes": written.bytes});
                match format {
                    MessageFormat::Json => ui::data(&format!("{line}\n")),
                    _ => ui::print(&format!(
                        "Snapshot of {} files, {}, in {}",
                        written.files,
                        ui::size(written.bytes),
                        dir.display()
                    )),
                }
            }
            None => {}
        }
        Ok(code)
    }

    fn targets(&self) -> Result<Vec<Target>> {
        let (events, receiver) = Events::channel();
        let store = session::open_store(&self.course, &events);
        drop(events);
        session::print_all(receiver);
        let made = self.course.made(&self.specified, &store?)?;
        let above = common(made.iter().map(|target| &*target.dir));
        let specified_above = common(made.iter().map(|target| &*target.specified_dir));
        let below = |dir: &Path, above: &Path| {
            let below = dir.strip_prefix(above).unwrap_or(dir);
            below.to_string_lossy().into_owned()
        };
        let targets = made.into_iter().map(|target| {
            let MadeTarget {
                name,
                dir,
                specified_dir,
                files,
                empty_dirs,
                ..
            } = target;
            Target {
                prefix: below(&dir, &above),
                others: vec![below(&specified_dir, &specified_above), name.clone()],
                name,
                dir,
                files,
                empty_dirs,
            }
        });
        Ok(targets.collect())
    }
}

/// Returns the directories of outputs (absolute), with the one that all targets share.
fn outputs(course: &Course, specified: &Specified) -> Vec<PathBuf> {
    let root = &course.place.root;
    let targets = &specified.spec.targets;
    let targets: Vec<PathBuf> = targets
        .iter()
        .map(|target| root.join(course.root_of(target)))
        .collect();
    let above = common(targets.iter().map(PathBuf::as_path));
    let mut all = course.output_dirs(&specified.spec);
    if !root.starts_with(&above) {
        all.push(above);
    }
    all.extend(targets);
    all
}

/// Returns the innermost directory that is each of these or above it.
fn common<'p>(mut dirs: impl Iterator<Item = &'p Path>) -> PathBuf {
    let first = dirs.next().map_or_else(PathBuf::new, Path::to_path_buf);
    dirs.fold(first, |common, dir| {
        let mut above = common.ancestors();
        let found = above.find(|above| dir.starts_with(above));
        found.map_or_else(PathBuf::new, Path::to_path_buf)
    })
}

fn show(comparison: &Comparison, dir: &Path, format: MessageFormat) {
    let Comparison {
        added,
        removed,
        changed,
        same,
        similar,
    } = comparison;
    let is_json = format == MessageFormat::Json;
    for (change, paths) in [("added", added), ("removed", removed)] {
        for path in paths {
            ui::data(&match is_json {
                true => format!(
                    "{}\n",
                    json!({"event": "difference", "change": change, "path": path})
                ),
                false => format!("{change:>7} {path}\n"),
            });
        }
    }
    for change in changed {
        let Change { path, first } = change;
        let line =
            json!({"event": "difference", "change": "changed", "path": path, "first": first});
        ui::data(&match is_json {
            true => format!("{line}\n"),
            false => format!("changed {path}: {}\n", sentence(change)),
        });
    }
    let (added, removed, changed) = (added.len(), removed.len(), changed.len());
    if is_json {
        let line = json!({
            "event": "comparison", "dir": dir, "added": added, "removed": removed, "changed": changed,
            "same": same, "similar": similar,
        });
        ui::data(&format!("{line}\n"));
    } else {
        ui::print(&format!(
            "Compared with {}: {added} added, {removed} removed, {changed} changed, {} the same",
            dir.display(),
            same + similar
        ));
    }
}

/// Returns the first difference of an output in words.
fn sentence(change: &Change) -> String {
    let first = &change.first;
    let cell = first.cell.map(|cell| format!("cell {cell}"));
    let line = first.line.map(|line| format!("line {line}"));
    let places: Vec<String> = [cell, line].into_iter().flatten().collect();
    let values = match (&first.before, &first.after) {
        (Some(before), Some(after)) => Some(format!("`{before}` is now `{after}`")),
        (None, Some(after)) => Some(format!("`{after}` is new")),
        (Some(before), None) => Some(format!("`{before}` is gone")),
        (None, None) => None,
    };
    let what = first.what.clone();
    let place = (!places.is_empty()).then(|| places.join(", "));
    let parts: Vec<String> = [place, what, values].into_iter().flatten().collect();
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_that_targets_share_is_the_innermost() {
        let common = |dirs: &[&str]| common(dirs.iter().map(Path::new));
        assert_eq!(common(&["/c/output"]), Path::new("/c/output"));
        assert_eq!(
            common(&["/c/output/a", "/c/output/b"]),
            Path::new("/c/output")
        );
        assert_eq!(
            common(&["/c/output", "/c/output/b"]),
            Path::new("/c/output")
        );
        assert_eq!(common(&["/c/out", "/c/output"]), Path::new("/c"));
        assert_eq!(common(&["/a", "/b"]), Path::new("/"));
    }
}
