//! Resolves `clm:` references from the pages of one deck to those of another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::course::deck;
use crate::course::file_name::sanitize;
use crate::course::spec::Spec;
use crate::course::tree::{DeckFile, Tree, simplified};
use crate::course::{Format, Lang};
use crate::digest::Digest;

use super::names;

/// The possible targets of references, by topic.
pub(crate) struct References<'a> {
    decks: Arc<Decks<'a>>,
    followed: AtomicBool,
}

struct Decks<'a> {
    spec: &'a Spec,
    by_topic: BTreeMap<&'a str, Vec<Entry<'a>>>,
    /// Topics some of whose decks could not be read.
    unread: &'a BTreeSet<String>,
    digest: OnceLock<Digest>,
}

struct Entry<'a> {
    deck: &'a DeckFile,
    /// Index of its section in the specification.
    section: usize,
}

/// The target of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// This file, relative to the directory of the page.
    To(String),
    /// This file, which is the first of several decks of its topic.
    ToFirst(String),
    /// There is no such deck.
    Unknown,
    /// The deck may be one that could not be read.
    Unread,
}

impl<'a> References<'a> {
    /// Collects all decks of a course.
    pub(crate) fn new(spec: &'a Spec, tree: &'a Tree) -> Self {
        let mut by_topic: BTreeMap<&str, Vec<Entry>> = BTreeMap::new();
        for section in &tree.sections {
            for topic in &section.topics {
                let entries = topic.decks.iter().map(|deck| Entry {
                    deck,
                    section: section.index,
                });
                by_topic.entry(&topic.id).or_default().extend(entries);
            }
        }
        let decks = Decks {
            spec,
            by_topic,
            unread: &tree.unread,
            digest: OnceLock::new(),
        };
        Self {
            decks: Arc::new(decks),
            followed: AtomicBool::new(false),
        }
    }

    /// Returns whether any reference was followed.
    pub(crate) fn are_followed(&self) -> bool {
        self.followed.load(Ordering::Relaxed)
    }

    /// Computes a digest of everything that the targets of references depend on.
    pub(crate) fn digest(&self) -> Digest {
        let description = || Digest::of(self.description());
        *self.decks.digest.get_or_init(description)
    }

    fn description(&self) -> String {
        let mut text = String::new();
        for topic in self.decks.unread {
            text += &format!("unread {topic:?}\n");
        }
        for (topic, entries) in &self.decks.by_topic {
            for entry in entries {
                let deck = entry.deck;
                let section = &self.decks.spec.sections[entry.section].name;
                text += &format!(
                    "{topic:?} {} {:?} {} {} {:?} {section:?}\n",
                    deck.at, deck.lang, deck.number, deck.prog_lang, deck.title
                );
            }
        }
        text
    }

    /// Follows a reference from a deck for one output. `section` is the index of the deck's section in the
    /// specification.
    pub(crate) fn follow(
        &self,
        reference: &str,
        section: usize,
        lang: Lang,
        format: Format,
    ) -> Reference {
        self.followed.store(true, Ordering::Relaxed);
        let (topic, name) = deck::reference_parts(reference);
        let decks = &self.decks;
        let entries = decks.by_topic.get(topic).map_or(&[][..], Vec::as_slice);
        // A deck for only one language has no page in another one.
        let is_there = |entry: &&Entry| entry.deck.lang.is_none_or(|only| only == lang);
        let is_named = |entry: &&Entry| match name {
            None => true,
            Some(name) => {
                let stem = entry.deck.at.stem();
                let stem = stem
                    .strip_suffix(&format!(".{lang}"))
                    .filter(|_| entry.deck.lang.is_some())
                    .unwrap_or(stem);
                stem == name
                    || entry.deck.at.stem() == name
                    || simplified(entry.deck.at.stem()).as_deref() == Some(name)
            }
        };
        let mut found: Vec<&Entry> = entries.iter().filter(is_there).filter(is_named).collect();
        found.sort_by_key(|entry| (entry.deck.number, entry.deck.at.file_name()));
        if decks.unread.contains(topic) && (name.is_none() || found.is_empty()) {
            return Reference::Unread;
        }
        let Some(first) = found.first() else {
            return Reference::Unknown;
        };
        let file = names::deck_file(first.deck, lang, format);
        let dir = |section: usize| sanitize(decks.spec.sections[section].name.get(lang));
        let (from, to) = (dir(section), dir(first.section));
        let path = if from == to {
            encoded(&file)
        } else {
            format!("../{}/{}", encoded(&to), encoded(&file))
        };
        if found.len() > 1 && name.is_none() {
            Reference::ToFirst(path)
        } else {
            Reference::To(path)
        }
    }
}

/// A clone shares the decks, but starts with no reference followed.
impl Clone for References<'_> {
    fn clone(&self) -> Self {
        Self {
            decks: Arc::clone(&self.decks),
            followed: AtomicBool::new(false),
        }
    }
}

/// Encodes a file name for a URL: everything but letters, digits and `_.-~` is percent-encoded.
pub(crate) fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
