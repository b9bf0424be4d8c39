//! The tree of sources: the topics of a course and their files.

mod classify;
mod folder;
mod ignore;
mod includes;
mod lost;
mod modules;
mod pictures;
mod title;
mod topic;
mod unread;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::course::spec::{Spec, TopicRef};
use crate::course::{Lang, Localized, ProgLang, RelPath};
use crate::diagnostic::Diagnostic;

pub(crate) use classify::{diagram_kind, is_called_like_deck, is_deck};
pub(crate) use folder::{Content, NewUrl, beside, content_of, may_be_source, with_extension};
pub(crate) use ignore::{is_ignored_dir, is_never_output};
pub(crate) use modules::simplified;
pub use pictures::is_library;
pub(crate) use pictures::picture;
pub(crate) use unread::Unread;

/// All files and directories below the scan roots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listing {
    /// The files.
    pub files: BTreeSet<RelPath>,
    /// The directories.
    pub dirs: BTreeSet<RelPath>,
    /// Existing directories (or links) that could not be read, so that their content is unknown.
    pub unread: BTreeSet<Unread>,
}

impl Listing {
    /// Returns the files in a directory and its subdirectories, in order.
    pub(crate) fn below<'a>(&'a self, dir: &'a RelPath) -> impl Iterator<Item = &'a RelPath> {
        self.files
            .range(dir.clone()..)
            .skip_while(move |file| *file == dir)
            .take_while(move |file| file.as_str().starts_with(dir.as_str()))
            .filter(move |file| file.starts_with(dir))
    }
}

/// The sources of a course.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tree {
    /// The sections, in order.
    pub sections: Vec<TreeSection>,
    /// The ids of topics that lack some decks, because these could not be read.
    pub unread: BTreeSet<String>,
}

/// The sources of a section.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TreeSection {
    /// Its index in the specification.
    pub index: usize,
    /// Its topics that exist, in order.
    pub topics: Vec<Topic>,
}

/// The sources of a topic.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Topic {
    /// Its id.
    pub id: String,
    /// Its index in its section of the specification.
    pub topic: usize,
    /// Its directory, or its only deck.
    pub path: RelPath,
    /// The directory that paths in the topic are relative to.
    pub home: RelPath,
    /// Its decks, in the order of their numbers.
    pub decks: Vec<DeckFile>,
    /// Files that are copied.
    pub data: Vec<TopicFile>,
    /// Images that are copied.
    pub images: Vec<TopicFile>,
    /// Diagrams.
    pub diagrams: Vec<DiagramFile>,
}

/// A file of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct TopicFile {
    /// Its path.
    pub path: RelPath,
    /// Its apparent path, relative to the course root, which differs from `path` if the topic includes the file.
    pub at: RelPath,
}

/// A deck.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct DeckFile {
    /// Its file.
    pub path: RelPath,
    /// Its apparent path, as for [`TopicFile`].
    pub at: RelPath,
    /// The separate file with its narration.
    pub companion: Option<RelPath>,
    /// Its programming language.
    pub prog_lang: ProgLang,
    /// Its only language; `None` for a deck in all languages.
    pub lang: Option<Lang>,
    /// Its number in the section, from 1.
    pub number: u32,
    /// Its title, not sanitised.
    pub title: Localized,
    /// In a folder, the URLs in its texts that are other ones in its outputs.
    pub urls: Vec<NewUrl>,
}

/// The format of a diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) enum DiagramKind {
    /// PlantUML.
    Plantuml,
    /// draw.io.
    Drawio,
}

/// A diagram.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct DiagramFile {
    /// Its file.
    pub path: RelPath,
    /// Its apparent path, as for [`TopicFile`].
    pub at: RelPath,
    /// Its format.
    pub kind: DiagramKind,
    /// The place in the source tree to which its image is written. Outputs get a copy as if the image came from there.
    pub rendered: RelPath,
    /// The number of the picture, from 1, if it is one of several in its file.
    pub part: Option<usize>,
}

impl TopicFile {
    /// Returns a file that appears at its own path.
    pub(crate) fn own(path: &RelPath) -> Self {
        Self {
            path: path.clone(),
            at: path.clone(),
        }
    }
}

impl Topic {
    /// Returns the files in the working directory of a deck's kernel, as pairs of source and path in that directory.
    pub(crate) fn siblings(&self, deck: &DeckFile) -> Vec<(RelPath, RelPath)> {
        let decks = self.decks.iter().map(|other| (&other.path, &other.at));
        let data = self.data.iter().map(|file| (&file.path, &file.at));
        let mut found: Vec<(RelPath, RelPath)> = decks
            .chain(data)
            .filter(|(_, at)| **at != deck.at)
            .filter(|(_, at)| !matches!(at.extension(), "psd" | "xfc"))
            .filter(|(_, at)| !is_never_output(at))
            .filter_map(|(path, at)| Some((path.clone(), at.strip_prefix(&self.home)?)))
            .collect();
        found.sort();
        found
    }

    /// Returns the source of an included file by its apparent path.
    pub(crate) fn included_at(&self, at: &RelPath) -> Option<&RelPath> {
        let decks = self.decks.iter().map(|deck| (&deck.path, &deck.at));
        let files = self.data.iter().chain(&self.images);
        decks
            .chain(files.map(|file| (&file.path, &file.at)))
            .find(|(path, place)| *place == at && path != place)
            .map(|(path, _)| path)
    }
}

/// Returns the directories and files that contain the sources of a course; `None` is the course root itself.
pub(crate) fn scan_roots(spec: &Spec) -> Vec<Option<RelPath>> {
    if spec.folder.is_some() {
        return vec![None];
    }
    let mut roots: BTreeSet<Option<RelPath>> =
        RelPath::new("slides").ok().map(Some).into_iter().collect();
    for group in dir_groups(spec) {
        if group.subdirs.is_empty() || group.include_root_files || group.path.is_none() {
            roots.insert(group.path.clone());
        } else if let Some(path) = &group.path {
            for subdir in &group.subdirs {
                let dir = subdir
                    .as_ref()
                    .map_or(Ok(path.clone()), |subdir| path.join(subdir.as_str()));
                roots.extend(dir.ok().map(Some));
            }
        }
    }
    let topics = spec.sections.iter().flat_map(|section| &section.topics);
    roots.extend(
        topics
            .flat_map(|topic| &topic.includes)
            .map(|include| Some(include.source.clone())),
    );
    if roots.contains(&None) {
        return vec![None];
    }
    let all: Vec<RelPath> = roots.into_iter().flatten().collect();
    all.iter()
        .filter(|root| {
            !all.iter()
                .any(|other| other != *root && root.starts_with(other))
        })
        .cloned()
        .map(Some)
        .collect()
}

/// Returns all dir-groups: those of topics in order, then the global ones.
pub(crate) fn dir_groups(spec: &Spec) -> impl Iterator<Item = &crate::course::spec::DirGroup> {
    spec.sections
        .iter()
        .flat_map(|section| &section.topics)
        .flat_map(|topic: &TopicRef| &topic.dir_groups)
        .chain(&spec.dir_groups)
}

/// Access to the content of files.
pub(crate) trait Texts {
    /// Returns the bytes of a file, or `None` if it cannot be read.
    fn read(&self, path: &RelPath) -> Option<Arc<[u8]>>;

    /// Returns the error of the system if a file cannot be read now.
    fn why_unreadable(&self, _path: &RelPath) -> Option<std::io::Error> {
        None
    }

    /// Returns the title of a deck, or `None` if it cannot be read.
    fn title(&self, path: &RelPath) -> Option<Titled> {
        Some(title_of(&self.read(path)?))
    }

    /// Returns what the content of a folder's file says about it, or `None` if it cannot be read.
    fn content(&self, path: &RelPath) -> Option<Content> {
        Some(content_of(path, &self.read(path)?))
    }

    /// Returns the error about a file that exists but could not be read.
    fn failure(&self, _path: &RelPath) -> Option<Diagnostic> {
        None
    }
}

impl<F: Fn(&RelPath) -> Option<Arc<[u8]>>> Texts for F {
    fn read(&self, path: &RelPath) -> Option<Arc<[u8]>> {
        self(path)
    }
}

/// The title of a deck, or `None` if it has no header.
pub(crate) type Titled = Result<Option<Localized>, NotText>;

/// The error that a file is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotText {
    /// The line of the first invalid byte, from 1.
    pub line: u32,
}

impl NotText {
    /// Returns the error about a source. `what` says what it is: a deck, for example.
    pub(crate) fn diagnostic(self, what: &str, path: &RelPath) -> Diagnostic {
        Diagnostic::error(format!("the {what} is not UTF-8 text"))
            .at(path.as_str(), Some(self.line))
            .hint("save it with the encoding UTF-8")
    }
}

/// Returns the text of a file with this content.
pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, NotText> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes[..error.valid_up_to()].iter();
        let lines = before.filter(|byte| **byte == b'\n').count();
        NotText {
            line: lines as u32 + 1,
        }
    })
}

/// Returns the title of a deck with this content.
pub fn title_of(bytes: &[u8]) -> Titled {
    text_of(bytes).map(title::title)
}

/// Finds the sources of all topics.
pub(crate) fn discover(
    spec: &Spec,
    listing: &Listing,
    texts: &dyn Texts,
) -> (Tree, Vec<Diagnostic>) {
    if spec.folder.is_some() {
        return folder::discover(spec, listing, texts);
    }
    let mut diagnostics = Vec::new();
    let modules = modules::Modules::find(listing);
    let mut tree = Tree::default();
    for (index, section) in spec.sections.iter().enumerate() {
        let mut numbers = topic::Numbers::default();
        let mut topics = Vec::new();
        // The first topic whose decks are not all known, and the unreadable directory.
        let mut unknown: Option<(&TopicRef, &Unread)> = None;
        for (position, reference) in section.topics.iter().enumerate() {
            let Some(path) = modules.resolve(reference) else {
                match listing.unread_module(reference) {
                    Some(dir) => {
                        unknown.get_or_insert((reference, dir));
                        tree.unread.insert(reference.id.clone());
                    }
                    None => diagnostics.push(modules.not_found(reference)),
                }
                continue;
            };
            diagnostics.extend(modules.ambiguous(reference));
            let given = numbers.given();
            let mut found = topic::Finder {
                spec,
                listing,
                texts,
                reference,
            }
            .find(position, path, &mut numbers, &mut diagnostics);
            let unread = || Some((reference, listing.unread_of(&found, reference)?));
            unknown = unknown.or_else(unread);
            if unknown.is_some() {
                found.decks.clear();
            }
            let numbered: BTreeSet<u32> = found.decks.iter().map(|deck| deck.number).collect();
            let is_whole = numbered.len() == (numbers.given() - given) as usize;
            if unknown.is_some() || !is_whole {
                tree.unread.insert(reference.id.clone());
            }
            topics.push(found);
        }
        if let Some((from, dir)) = unknown {
            diagnostics.push(unread::not_made(section, from, dir));
        }
        tree.sections.push(TreeSection { index, topics });
    }
    (tree, diagnostics)
}

#[cfg(test)]
mod tests;
