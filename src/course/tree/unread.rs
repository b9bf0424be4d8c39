//! Unreadable directories: their content is unknown, and so are the numbers of the decks that follow.

use std::collections::BTreeSet;

use crate::course::spec::{Section, TopicRef};
use crate::course::{Lang, RelPath};
use crate::diagnostic::Diagnostic;

use super::ignore::is_ignored_dir;
use super::modules::simplified;
use super::{Listing, Topic};

/// A directory that could not be read; `None` is the course root.
pub(crate) type Unread = Option<RelPath>;

impl Listing {
    /// Fills in the content of directories that cannot be read now, from an earlier listing in which they could be.
    pub(crate) fn fill(&mut self, last: &Self) {
        let is_known = |dir: &Unread| {
            let is_listed = |dir: &RelPath| last.dirs.contains(dir) || last.files.contains(dir);
            let is_near = |other: &Unread| holds(other, dir) || holds(dir, other);
            dir.as_ref().is_none_or(is_listed) && !last.unread.iter().any(is_near)
        };
        let all = std::mem::take(&mut self.unread).into_iter();
        let (known, unread): (BTreeSet<Unread>, _) = all.partition(is_known);
        self.unread = unread;
        for dir in known {
            let is_below = |path: &&RelPath| dir.as_ref().is_none_or(|dir| path.starts_with(dir));
            if let Some(link) = dir.as_ref().filter(|dir| last.files.contains(*dir)) {
                self.dirs.remove(link);
            }
            self.files
                .extend(last.files.iter().filter(is_below).cloned());
            self.dirs.extend(last.dirs.iter().filter(is_below).cloned());
        }
    }

    /// Returns an unreadable directory that may contain a topic which was not found.
    pub(super) fn unread_module(&self, reference: &TopicRef) -> Option<&Unread> {
        let may_hold = |dir: &&Unread| {
            let Some(dir) = dir else { return true };
            let mut components = dir.components();
            let (first, module, rest) = (components.next(), components.next(), components.next());
            let is_wanted = |module: &str| {
                let wanted = reference.module.as_deref();
                !is_ignored_dir(module) && wanted.is_none_or(|wanted| wanted == module)
            };
            first == Some("slides") && rest.is_none() && module.is_none_or(is_wanted)
        };
        self.unread.iter().find(may_hold)
    }

    /// Returns an unreadable directory that may contain decks or other files of a topic.
    pub(super) fn unread_of(&self, topic: &Topic, reference: &TopicRef) -> Option<&Unread> {
        let is_own = |dir: &RelPath| {
            let Some(below) = dir.strip_prefix(&topic.home) else {
                return *dir == topic.home;
            };
            let is_left_out = |part: &str| is_ignored_dir(part) && part != "voiceover";
            // A topic that is a file shares its directory with other topics of its module.
            let is_another = topic.path != topic.home
                && below.components().next().and_then(simplified).is_some();
            !is_another && !below.components().any(is_left_out)
        };
        let is_included = |dir: &RelPath| {
            let mut sources = reference.includes.iter().map(|include| &include.source);
            sources.any(|source| {
                let is_listed = || self.files.contains(source) || self.dirs.contains(source);
                dir.starts_with(source) || source.starts_with(dir) && !is_listed()
            })
        };
        let mut dirs = self.unread.iter();
        dirs.find(|dir| match dir {
            Some(dir) => is_own(dir) || is_included(dir),
            None => false,
        })
    }
}

fn holds(dir: &Unread, other: &Unread) -> bool {
    match (dir, other) {
        (None, _) => true,
        (Some(dir), Some(other)) => other.starts_with(dir),
        (Some(_), None) => false,
    }
}

/// Returns the error about decks that are not made, because the decks before them, and so their numbers, are unknown.
pub(super) fn not_made(section: &Section, from: &TopicRef, dir: &Unread) -> Diagnostic {
    let dir = dir.as_ref().map_or(".", RelPath::as_str);
    Diagnostic::error(format!(
        "the decks of the section \"{}\" from the topic `{}` on are not made: what is in this directory decides which \
         numbers they have",
        section.name.get(Lang::EN),
        from.id
    ))
    .at(dir, None)
    .hint("make it readable and build again; until then their outputs stay as they are")
}
