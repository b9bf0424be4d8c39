//! What a build leaves to the next one: its plan, and which actions were up to date with which results. With the seal,
//! which tells what changed since, a build after an edit goes on as a daemon would, and plans and decides only what the
//! edit touches.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::events::Diagnostic;
use crate::plan::{Memo, Names};

use super::load::Course;
use super::settled::Settled;

/// An action that was up to date.
#[derive(Serialize, Deserialize)]
struct Left<'a> {
    action: &'a str,
    #[serde(borrow)]
    results: Vec<(&'a str, Digest)>,
    /// The diagnostics as JSON; nothing where there are none.
    said: String,
}

/// Writes what is known of a course at rest. Gives the digest by which it is asked for; none when there is nothing to go
/// on with.
#[tracing::instrument(level = "debug", name = "leave", skip_all)]
pub(super) fn write(course: &Course, memo: &Memo, settled: &Settled) -> Option<Digest> {
    let memo = memo.to_bytes()?;
    let settled: Option<Vec<Left<'_>>> = settled
        .entries()
        .map(|(action, results, said)| {
            let said = match said {
                [] => String::new(),
                said => serde_json::to_string(said).ok()?,
            };
            Some(Left {
                action,
                results: results
                    .iter()
                    .map(|(name, digest)| (name.as_str(), *digest))
                    .collect(),
                said,
            })
        })
        .collect();
    let settled = postcard::to_allocvec(&settled?).ok()?;
    let mut bytes = (memo.len() as u64).to_le_bytes().to_vec();
    bytes.extend(memo);
    bytes.extend(settled);
    let file = file(course);
    let mut staged = tempfile::Builder::new()
        .prefix(".left-")
        .tempfile_in(file.parent()?)
        .ok()?;
    staged.write_all(&bytes).ok()?;
    staged.persist(file).ok()?;
    Some(Digest::of(bytes))
}

/// Reads what was left; none when it is not this.
#[tracing::instrument(level = "debug", name = "resume", skip_all)]
pub(super) fn read(course: &Course, digest: Digest, names: &Names) -> Option<(Memo, Settled)> {
    let bytes = std::fs::read(file(course)).ok()?;
    if Digest::of(&bytes) != digest {
        return None;
    }
    let (length, rest) = bytes.split_at_checked(size_of::<u64>())?;
    let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
    let (memo, left) = rest.split_at_checked(length)?;
    let memo = Memo::from_bytes(memo, names)?;
    let left: Vec<Left<'_>> = postcard::from_bytes(left).ok()?;
    let actions: HashMap<&str, _> = memo.actions().map(|action| (&*action.id, action)).collect();
    let mut settled = Settled::default();
    for entry in left {
        // Actions that belong to no source are planned anew every time.
        let Some(action) = actions.get(entry.action) else {
            continue;
        };
        let results = entry.results.into_iter();
        let said: Vec<Diagnostic> = match entry.said.as_str() {
            "" => Vec::new(),
            json => serde_json::from_str(json).ok()?,
        };
        let results = results.map(|(name, digest)| (name.to_owned(), digest));
        settled.settle(action, results.collect::<Arc<[_]>>(), said);
    }
    Some((memo, settled))
}

fn file(course: &Course) -> PathBuf {
    let name = format!("left-{}", Digest::of(course.scope()).short());
    course.place.state_dir().join(name)
}
