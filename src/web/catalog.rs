//! The index of a course, with the lookup tables of the preview.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::course::{Kind, Lang, RelPath};
use crate::events::{Index, IndexClass, IndexOutput};

use super::address;

/// An index and its lookup tables. Outputs are identified by their position in the index.
#[derive(Default)]
pub(super) struct Catalog {
    /// The index.
    pub index: Arc<Index>,
    /// All sources, without duplicates.
    pub sources: Vec<RelPath>,
    /// For every output, the position of its source.
    pub source_of: Vec<usize>,
    by_path: HashMap<Arc<str>, usize>,
    /// The languages of the outputs.
    languages: BTreeSet<Lang>,
    pages_of_deck: HashMap<Deck, Vec<usize>>,
}

/// Identifies the pages of a deck: section, topic, and the source without its language suffix.
type Deck = (Option<usize>, Option<Arc<str>>, String);

impl Catalog {
    /// Creates a catalog of an index.
    pub(super) fn new(index: Arc<Index>) -> Self {
        let mut catalog = Self {
            languages: index.outputs.iter().map(|output| output.lang).collect(),
            ..Self::default()
        };
        let mut known: HashMap<&str, usize> = HashMap::new();
        for (position, output) in index.outputs.iter().enumerate() {
            let source = *known.entry(output.source.as_str()).or_insert_with(|| {
                catalog.sources.push(output.source.clone());
                catalog.sources.len() - 1
            });
            catalog.source_of.push(source);
            catalog.by_path.insert(output.path.clone(), position);
            if output.class == IndexClass::Html {
                catalog
                    .pages_of_deck
                    .entry(deck(output, &catalog.languages))
                    .or_default()
                    .push(position);
            }
        }
        catalog.index = index;
        catalog
    }

    /// Returns the output with the path of an `output` event.
    pub(super) fn by_path(&self, path: &str) -> Option<usize> {
        self.by_path.get(path).copied()
    }

    /// Returns the output at an address.
    pub(super) fn by_address(&self, address: &str) -> Option<usize> {
        let (name, below) = address::parse(address)?;
        let mut targets = self.index.targets.iter();
        let target = targets.find(|target| target.name == name)?;
        self.by_path(&format!("{}/{below}", target.root))
    }

    /// Returns the address of an output.
    pub(super) fn address(&self, position: usize) -> String {
        let output = &self.index.outputs[position];
        let target = &self.index.targets[output.target];
        address::address(&target.name, self.below(position))
    }

    /// Returns the path of an output below its target's directory.
    pub(super) fn below(&self, position: usize) -> &str {
        let output = &self.index.outputs[position];
        below(&self.index, output).unwrap_or(&output.path)
    }

    /// Returns the file of an output, and the directory that it must not leave.
    pub(super) fn file(&self, course_root: &Path, position: usize) -> (PathBuf, PathBuf) {
        let output = &self.index.outputs[position];
        let root = course_root.join(&self.index.targets[output.target].root);
        (course_root.join(&*output.path), root)
    }

    /// Returns the languages of all outputs, in their order.
    pub(super) fn languages(&self) -> impl Iterator<Item = Lang> {
        self.languages.iter().copied()
    }

    /// Returns the language in the identity of an action. It is the last word, or the one before in the case of pages.
    pub(super) fn lang_of(&self, action: &str) -> Option<Lang> {
        let words = action.rsplit(' ').take(2);
        words
            .filter_map(Lang::parse)
            .find(|lang| self.languages.contains(lang))
    }

    /// Returns all pages of a page's deck, including itself: every language, audience and target.
    pub(super) fn pages_of_deck(&self, page: usize) -> &[usize] {
        self.pages_of_deck
            .get(&deck(&self.index.outputs[page], &self.languages))
            .map_or(&[], Vec::as_slice)
    }

    /// Returns the page of the same deck in a language and for an audience, from the same target if it has one.
    pub(super) fn sibling(&self, page: usize, lang: Lang, kind: Option<Kind>) -> Option<usize> {
        let target = self.index.outputs[page].target;
        let mut found: Vec<usize> = self.pages_of_deck(page).to_vec();
        found.retain(|other| {
            let other = &self.index.outputs[*other];
            other.lang == lang && other.kind == kind
        });
        found
            .into_iter()
            .min_by_key(|other| (self.index.outputs[*other].target != target, *other))
    }
}

fn below<'a>(index: &Index, output: &'a IndexOutput) -> Option<&'a str> {
    let root = &index.targets.get(output.target)?.root;
    output.path.strip_prefix(root)?.strip_prefix('/')
}

fn deck(output: &IndexOutput, languages: &BTreeSet<Lang>) -> Deck {
    let (dir, name) = output
        .source
        .as_str()
        .rsplit_once('/')
        .unwrap_or(("", output.source.as_str()));
    let name = match name.rsplit_once('.') {
        Some((stem, extension)) => {
            let is_mark = |mark: &str| {
                Lang::parse(mark).is_some_and(|lang| lang.is_usual() || languages.contains(&lang))
            };
            let bare = stem.rsplit_once('.').filter(|(_, mark)| is_mark(mark));
            format!("{}.{extension}", bare.map_or(stem, |(bare, _)| bare))
        }
        None => name.to_owned(),
    };
    (
        output.section,
        output.topic.clone(),
        format!("{dir}/{name}"),
    )
}
