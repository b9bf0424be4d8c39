//! What a build leaves to the next one: its plan, and which actions were up to date with which results. With the seal,
//! which tells what changed since, a build after an edit goes on as a daemon would, and plans and decides only what the
//! edit touches.

use std::collections::{BTreeSet, HashMap};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::course::tree::Listing;
use crate::course::{Localized, RelPath};
use crate::digest::Digest;
use crate::events::Diagnostic;
use crate::plan::{Memo, Names};

use super::load::Course;
use super::scan::Scanned;
use super::settled::Settled;
use super::sources::{Sources, Titles};

/// An action that was up to date.
#[derive(Serialize, Deserialize)]
struct Left<'a> {
    action: &'a str,
    #[serde(borrow)]
    results: Vec<(&'a str, Digest)>,
    /// The diagnostics as JSON; nothing where there are none.
    said: String,
}

/// What was found out about the sources, besides the plan.
#[derive(Serialize, Deserialize)]
struct LeftSources {
    titles: Vec<(RelPath, Digest, Option<Localized>)>,
    roots: Vec<Option<RelPath>>,
    files: BTreeSet<RelPath>,
    dirs: BTreeSet<RelPath>,
}

/// What a build goes on with.
pub(super) struct Resumed {
    /// Plans.
    pub(super) memo: Memo,
    /// Titles of decks.
    pub(super) titles: Titles,
    /// The files and directories as they were.
    pub(super) scanned: Scanned,
    /// What was up to date.
    pub(super) settled: Settled,
}

/// Writes what is known of a course at rest. Gives the digest by which it is asked for; none when there is nothing to go
/// on with.
#[tracing::instrument(level = "debug", name = "leave", skip_all)]
pub(super) fn write(course: &Course, sources: &Sources, settled: &Settled) -> Option<Digest> {
    let listed = sources.listed()?;
    let left_sources = LeftSources {
        titles: sources.titles.all(),
        roots: listed.roots.clone(),
        files: listed.listing().files.clone(),
        dirs: listed.listing().dirs.clone(),
    };
    let settled: Option<Vec<Left<'_>>> = settled
        .entries()
        .map(|(action, results, said)| {
            let said = match said {
                [] => String::new(),
                said => serde_json::to_string(said).ok()?,
            };
            let results = results.iter();
            Some(Left {
                action,
                results: results
                    .map(|(name, digest)| (name.as_str(), *digest))
                    .collect(),
                said,
            })
        })
        .collect();
    let parts = [
        sources.memo.to_bytes()?,
        postcard::to_allocvec(&left_sources).ok()?,
        postcard::to_allocvec(&settled?).ok()?,
    ];
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part);
    }
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
pub(super) fn read(course: &Course, digest: Digest, names: &Names) -> Option<Resumed> {
    let bytes = std::fs::read(file(course)).ok()?;
    if Digest::of(&bytes) != digest {
        return None;
    }
    let mut bytes = &bytes[..];
    let memo = Memo::from_bytes(part(&mut bytes)?, names)?;
    let sources: LeftSources = postcard::from_bytes(part(&mut bytes)?).ok()?;
    let left: Vec<Left<'_>> = postcard::from_bytes(part(&mut bytes)?).ok()?;
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
    let listing = Listing {
        files: sources.files,
        dirs: sources.dirs,
    };
    Some(Resumed {
        memo,
        titles: Titles::of(sources.titles),
        scanned: Scanned::known(sources.roots, listing),
        settled,
    })
}

/// The next part, which its length stands before.
fn part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_at_checked(size_of::<u64>())?;
    let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
    let (part, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(part)
}

fn file(course: &Course) -> PathBuf {
    let name = format!("left-{}", Digest::of(course.scope()).short());
    course.place.state_dir().join(name)
}
