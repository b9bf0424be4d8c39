//! Files from other directories of the course that a topic includes.

use serde_json::Value;

use crate::course::RelPath;
use crate::course::spec::{Include, TopicRef, located};
use crate::diagnostic::Diagnostic;

use super::ignore::{is_ignored, is_ignored_dir};
use super::{DiagramKind, Listing, Texts, Topic, TopicFile, diagram_kind};

/// The file in which CLM lists the files of a topic that are copies of included files.
const LEDGER: &str = ".clm-include";

/// Returns the files that a topic includes, with their places in it. Files that exist in the topic take precedence.
pub(super) fn included(
    reference: &TopicRef,
    topic: &Topic,
    listing: &Listing,
    texts: &dyn Texts,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<TopicFile> {
    let mut found = Vec::new();
    for include in &reference.includes {
        let files = files(include, listing);
        if files.is_empty() && !include.optional && !listing.dirs.contains(&include.source) {
            let error = Diagnostic::error(format!(
                "`{}`, which the topic `{}` includes, is not there",
                include.source, topic.id
            ))
            .hint("check the `source`: it is relative to the course root");
            diagnostics.push(located(error, include.line, include.column));
        }
        let mut shadowed = 0;
        for (path, below) in files {
            let Ok(at) = topic.home.join(&below) else {
                continue;
            };
            if listing.files.contains(&at) && at != path {
                shadowed += 1;
            } else if let (Some(kind), true) =
                (diagram_kind(&at), at.parent().as_ref() == Some(&topic.home))
            {
                diagnostics.push(outside(include, &at, kind));
            } else {
                found.push(TopicFile { path, at });
            }
        }
        if shadowed > 0 && !is_copied_on_purpose(include, topic, texts) {
            let warning = Diagnostic::warning(format!(
                "the topic `{}` has files of its own in the place of {shadowed} of those that it includes as `{}`",
                topic.id, include.at
            ))
            .hint("its own files count; remove them, or the `<include>`");
            diagnostics.push(located(warning, include.line, include.column));
        }
    }
    found
}

/// Returns the error about a diagram directly in its topic. Images are written beside the directory of their diagrams,
/// which is outside of the topic in this case.
fn outside(include: &Include, at: &RelPath, kind: DiagramKind) -> Diagnostic {
    let dir = match kind {
        DiagramKind::Plantuml => "pu",
        DiagramKind::Drawio => "drawio",
    };
    let name = at.file_name();
    let error = Diagnostic::error(format!(
        "the diagram `{}` is included directly in the topic, where its image would lie outside of it",
        include.source
    ))
    .hint(format!("write `as=\"{dir}/{name}\"`: a diagram lies in a directory of its topic"));
    located(error, include.line, include.column)
}

/// Returns the files of an include, each with its path below the topic.
fn files(include: &Include, listing: &Listing) -> Vec<(RelPath, String)> {
    if listing.files.contains(&include.source) {
        return vec![(include.source.clone(), include.at.to_string())];
    }
    let is_left_out = |below: &RelPath| {
        is_ignored(below)
            || below.parent().is_some_and(|dir| {
                dir.components()
                    .any(|part| part == "node_modules" || is_ignored_dir(part))
            })
    };
    listing
        .below(&include.source)
        .filter_map(|path| Some((path, path.strip_prefix(&include.source)?)))
        .filter(|(_, below)| !is_left_out(below))
        .map(|(path, below)| (path.clone(), format!("{}/{below}", include.at)))
        .collect()
}

/// Returns whether the topic's ledger says that its files are copies of the included ones.
fn is_copied_on_purpose(include: &Include, topic: &Topic, texts: &dyn Texts) -> bool {
    let ledger = topic
        .home
        .join(LEDGER)
        .ok()
        .and_then(|path| texts.read(&path));
    let ledger: Option<Value> = ledger.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let entries = ledger
        .as_ref()
        .and_then(|ledger| ledger.get("entries")?.as_array());
    entries.is_some_and(|entries| {
        entries.iter().any(|entry| {
            entry.get("as_path").and_then(Value::as_str) == Some(include.at.as_str())
                && entry.get("source").and_then(Value::as_str) == Some(include.source.as_str())
        })
    })
}
