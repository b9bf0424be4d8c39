//! What a build leaves to the next one: its plan, and which actions were up to date with which results. With the seal,
//! which tells what changed since, a build after an edit goes on as a daemon would, and plans and decides only what the
//! edit touches.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::course::tree::Listing;
use crate::course::{Names, RelPath};
use crate::digest::Digest;
use crate::events::{Diagnostic, as_json};
use crate::files;
use crate::plan::Memo;

use super::course::Course;
use super::decide::results_of;
use super::kept;
use super::scan::Scanned;
use super::settled::{Found, Settled};
use super::sources::{Sources, Titles};

/// An action that was up to date.
#[derive(Serialize, Deserialize)]
struct Left<'a> {
    action: &'a str,
    #[serde(borrow)]
    results: Vec<(&'a str, Digest)>,
    #[serde(with = "as_json")]
    said: Cow<'a, [Diagnostic]>,
    #[serde(borrow)]
    discovered: Vec<&'a str>,
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
    sources.titles.keep(listed.listing());
    let settled: Vec<Left<'_>> = settled
        .entries()
        .map(|(action, results, said, discovered)| {
            let results = results.iter();
            Left {
                action,
                results: results.map(|(name, digest)| (&**name, *digest)).collect(),
                said: Cow::Borrowed(said),
                discovered: discovered.iter().map(String::as_str).collect(),
            }
        })
        .collect();
    let bytes = [
        sources.memo.to_bytes()?,
        postcard::to_allocvec(&(&sources.titles, &listed.roots, listed.listing())).ok()?,
        postcard::to_allocvec(&settled).ok()?,
    ]
    .concat();
    kept::replace(&file(course), &[&bytes])?;
    Some(Digest::of(bytes))
}

/// Reads what was left; none when it is not this.
#[tracing::instrument(level = "debug", name = "resume", skip_all)]
pub(super) fn read(course: &Course, digest: Digest, names: &Names) -> Option<Resumed> {
    let bytes = files::read(&file(course)).ok()?;
    if Digest::of(&bytes) != digest {
        return None;
    }
    let (memo, bytes) = Memo::from_bytes(&bytes, names)?;
    type OfSources = (Titles, Vec<Option<RelPath>>, Listing);
    let ((titles, roots, listing), bytes): (OfSources, _) =
        postcard::take_from_bytes(bytes).ok()?;
    let left: Vec<Left<'_>> = postcard::from_bytes(bytes).ok()?;
    let actions: HashMap<&str, _> = memo.actions().map(|action| (&*action.id, action)).collect();
    let mut settled = Settled::default();
    for entry in left {
        // Actions that belong to no source are planned anew every time.
        let Some(action) = actions.get(entry.action) else {
            continue;
        };
        let results = results_of(action, entry.results.into_iter());
        let discovered = entry.discovered.into_iter();
        let found = Found {
            said: entry.said.into_owned(),
            discovered: discovered.map(str::to_owned).collect(),
        };
        settled.settle(action, results, found);
    }
    Some(Resumed {
        memo,
        titles,
        scanned: Scanned::known(roots, listing),
        settled,
    })
}

/// The files and directories of what was left; none when it is not this.
pub(super) fn listing(course: &Course, digest: Digest) -> Option<Listing> {
    Some(
        read(course, digest, &Names::default())?
            .scanned
            .listing()
            .clone(),
    )
}

fn file(course: &Course) -> PathBuf {
    kept::file(course, "left")
}
