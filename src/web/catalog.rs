//! The index of a course with the look-ups that a preview needs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::course::{Kind, Lang, RelPath};
use crate::engine::index::{Index, IndexClass, IndexOutput};

use super::address;

/// An index and ways into it. Outputs are named by their position in it.
#[derive(Default)]
pub struct Catalog {
    /// What it was made from.
    pub index: Arc<Index>,
    /// Every source, once.
    pub sources: Vec<RelPath>,
    /// For every output the position of its source.
    pub source_of: Vec<usize>,
    by_path: HashMap<Arc<str>, usize>,
    pages_of_deck: HashMap<Deck, Vec<usize>>,
}

/// What the pages of a deck have in common: its section, its topic, and its source without the mark of a language.
type Deck = (Option<usize>, Option<Arc<str>>, String);

impl Catalog {
    /// A catalog of an index.
    pub fn new(index: Arc<Index>) -> Self {
        let mut catalog = Self::default();
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
                    .entry(deck(output))
                    .or_default()
                    .push(position);
            }
        }
        catalog.index = index;
        catalog
    }

    /// The output that an `output` event names.
    pub fn by_path(&self, path: &str) -> Option<usize> {
        self.by_path.get(path).copied()
    }

    /// The output that an address names.
    pub fn by_address(&self, address: &str) -> Option<usize> {
        let (name, below) = address::parse(address)?;
        let mut targets = self.index.targets.iter();
        let target = targets.find(|target| target.name == name)?;
        self.by_path(&format!("{}/{below}", target.root))
    }

    /// The address of an output.
    pub fn address(&self, position: usize) -> String {
        let output = &self.index.outputs[position];
        let target = &self.index.targets[output.target];
        address::address(&target.name, self.below(position))
    }

    /// The path of an output below its target's directory.
    pub fn below(&self, position: usize) -> &str {
        let output = &self.index.outputs[position];
        below(&self.index, output).unwrap_or(&output.path)
    }

    /// The file of an output, and the directory that it must not leave.
    pub fn file(&self, course_root: &Path, position: usize) -> (PathBuf, PathBuf) {
        let output = &self.index.outputs[position];
        let root = course_root.join(&self.index.targets[output.target].root);
        (course_root.join(&*output.path), root)
    }

    /// The pages of a page's deck in every language, for every audience and in every target, itself among them.
    pub fn pages_of_deck(&self, page: usize) -> &[usize] {
        self.pages_of_deck
            .get(&deck(&self.index.outputs[page]))
            .map_or(&[], Vec::as_slice)
    }

    /// The page of the same deck in a language and for an audience that lies nearest: in the same target if it is there.
    pub fn sibling(&self, page: usize, lang: Lang, kind: Option<Kind>) -> Option<usize> {
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

fn deck(output: &IndexOutput) -> Deck {
    let (dir, name) = output
        .source
        .as_str()
        .rsplit_once('/')
        .unwrap_or(("", output.source.as_str()));
    let name = match name.rsplit_once('.') {
        Some((stem, extension)) => {
            let marks = Lang::ALL.map(|lang| format!(".{lang}"));
            let bare = marks.iter().find_map(|mark| stem.strip_suffix(mark));
            format!("{}.{extension}", bare.unwrap_or(stem))
        }
        None => name.to_owned(),
    };
    (
        output.section,
        output.topic.clone(),
        format!("{dir}/{name}"),
    )
}
