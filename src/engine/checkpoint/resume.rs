//! The second section of a checkpoint: the plan, and the results of actions that were up to date. Together with the
//! changes that the first section shows, a build after an edit proceeds like a daemon: it plans and checks only what
//! the edit concerns.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::course::tree::Listing;
use crate::course::{Names, RelPath};
use crate::diagnostic::{Diagnostic, as_json};
use crate::digest::Digest;
use crate::plan::Memo;

use super::super::decide::results_of;
use super::super::scan::Scanned;
use super::super::sources::{Sources, Titles};
use super::super::up_to_date::{Found, UpToDateActions};
use super::Sections;

/// An action that was up to date.
#[derive(Serialize, Deserialize)]
struct SavedResults<'a> {
    action: &'a str,
    #[serde(borrow)]
    results: Vec<(&'a str, Digest)>,
    #[serde(with = "as_json")]
    diagnostics: Cow<'a, [Diagnostic]>,
    #[serde(borrow)]
    discovered: Vec<&'a str>,
}

/// The state that a build starts with.
pub(in super::super) struct Resumed {
    /// Plans.
    pub(in super::super) memo: Memo,
    /// Titles of decks.
    pub(in super::super) titles: Titles,
    /// The files and directories as they were listed.
    pub(in super::super) scanned: Scanned,
    /// The actions that were up to date.
    pub(in super::super) up_to_date: UpToDateActions,
}

/// Serializes the state of a course that is up to date. Returns `None` if a later process cannot start from it.
#[tracing::instrument(level = "debug", name = "save", skip_all)]
pub(in super::super) fn to_bytes(
    sources: &Sources,
    up_to_date: &UpToDateActions,
) -> Option<Vec<u8>> {
    let listed = sources.listed()?;
    sources.titles.keep(listed.listing());
    let up_to_date: Vec<SavedResults<'_>> = up_to_date
        .entries()
        .map(|(action, results, diagnostics, discovered)| {
            let results = results.iter();
            SavedResults {
                action,
                results: results.map(|(name, digest)| (&**name, *digest)).collect(),
                diagnostics: Cow::Borrowed(diagnostics),
                discovered: discovered.iter().map(String::as_str).collect(),
            }
        })
        .collect();
    let sections = [
        sources.memo.to_bytes()?,
        postcard::to_allocvec(&(&sources.titles, &listed.roots, listed.listing())).ok()?,
        postcard::to_allocvec(&up_to_date).ok()?,
    ];
    Some(sections.concat())
}

impl Resumed {
    /// Reads the second section. Returns `None` if it is damaged.
    #[tracing::instrument(level = "debug", name = "resume", skip_all)]
    pub(in super::super) fn read(sections: &mut Sections, names: &Names) -> Option<Self> {
        from_bytes(&sections.second()?, names)
    }
}

fn from_bytes(bytes: &[u8], names: &Names) -> Option<Resumed> {
    let (memo, bytes) = Memo::from_bytes(bytes, names)?;
    type OfSources = (Titles, Vec<Option<RelPath>>, Listing);
    let ((titles, roots, listing), bytes): (OfSources, _) =
        postcard::take_from_bytes(bytes).ok()?;
    let saved: Vec<SavedResults<'_>> = postcard::from_bytes(bytes).ok()?;
    let actions: HashMap<&str, _> = memo.actions().map(|action| (&*action.id, action)).collect();
    let mut up_to_date = UpToDateActions::default();
    for entry in saved {
        // Actions without a source are not in the memo: they are planned again every time.
        let Some(action) = actions.get(entry.action) else {
            continue;
        };
        let results = results_of(action, entry.results.into_iter());
        let discovered = entry.discovered.into_iter();
        let found = Found {
            diagnostics: entry.diagnostics.into_owned(),
            discovered: discovered.map(str::to_owned).collect(),
        };
        up_to_date.insert(action, results, found);
    }
    Some(Resumed {
        memo,
        titles,
        scanned: Scanned::known(roots, listing),
        up_to_date,
    })
}

/// Returns the files and directories of a second section.
pub(super) fn listing(bytes: &[u8]) -> Option<Listing> {
    let resumed = from_bytes(bytes, &Names::default())?;
    Some(resumed.scanned.listing().clone())
}
