//! The layout of the output tree: all outputs and their destinations.

mod claims;
mod destination;
mod folder;
mod groups;
mod names;
mod references;
mod selection;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::course::spec::{Spec, Target, languages_of};
use crate::course::tree::{DeckFile, DiagramFile, Listing, Topic, Tree};
use crate::course::{Format, Kind, Lang, Names, RelPath};
use crate::diagnostic::Diagnostic;

use claims::{Claims, Making};
pub(crate) use destination::Destination;
pub(crate) use names::{SHARED_IMAGE_DIR, shown_path};
pub(crate) use references::{Reference, References, encoded};
pub(crate) use selection::Selection;

/// All outputs of a course, with their destinations.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Layout {
    /// The selected output targets.
    pub targets: Vec<TargetRoot>,
    /// Outputs of decks, in course order.
    pub decks: Vec<DeckOutputs>,
    /// Rendered diagrams.
    pub diagrams: Vec<DiagramOutputs>,
    /// Copied files.
    pub copies: Vec<CopyOutput>,
    /// Directories that are created although they are empty.
    pub empty_dirs: Vec<Destination>,
    /// The topics with outputs: the index of the section in the specification, and the id of the topic.
    topics: Vec<(usize, Arc<str>)>,
    /// Whether the outputs of all sections are included. Only then are the outputs of a directory complete.
    pub has_all_sections: bool,
}

/// An output with its properties.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Placed<'a> {
    /// Its destination.
    pub destination: &'a Destination,
    /// Its source.
    pub source: &'a RelPath,
    /// The index of the section in the specification and the id of the topic, or `None` for files outside of the
    /// sections.
    pub topic: Option<(usize, &'a str)>,
    /// Its language.
    pub lang: Lang,
    /// Its class.
    pub class: OutputClass,
}

/// The class of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OutputClass {
    /// A deck in a format and for an audience.
    Deck(Format, Kind),
    /// An image.
    Image,
    /// A file beside the decks.
    Data,
    /// A file of a dir-group.
    DirGroup,
}

/// The directory of a target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TargetRoot {
    /// The target's name.
    pub name: String,
    /// Its directory: relative to the course root, or absolute if it lies outside.
    pub root: String,
}

/// A destination of an output, with the properties of the output there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Place {
    /// The destination.
    pub at: Destination,
    lang: Lang,
    class: OutputClass,
    /// Index in [`Layout::topics`]. Not serialized, as it adds nothing to what else is serialized about the source.
    #[serde(skip)]
    topic: Option<u32>,
}

/// The outputs of a deck, whose indices refer to the [`Tree`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct DeckOutputs {
    /// The section.
    pub section: usize,
    /// The topic in the section.
    pub topic: usize,
    /// The deck in the topic.
    pub deck: usize,
    /// Its outputs.
    pub outputs: Vec<DeckOutput>,
}

/// One output of a deck, with all its destinations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct DeckOutput {
    /// Its language.
    pub lang: Lang,
    /// Its format.
    pub format: Format,
    /// Its audience.
    pub kind: Kind,
    /// Its destinations: several targets may contain it.
    pub destinations: Box<[Place]>,
}

/// A diagram and the destinations of its image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct DiagramOutputs {
    /// The diagram.
    pub diagram: DiagramFile,
    /// The destinations of its image.
    pub destinations: Box<[Place]>,
    /// Whether its image is written to `rendered` in the source tree. Of several diagrams with the same place, that is
    /// the first one of the course.
    pub is_written_back: bool,
}

/// A file that is copied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct CopyOutput {
    /// The file.
    pub source: RelPath,
    /// The destinations of its copies.
    pub destinations: Box<[Place]>,
}

/// The names of outputs.
pub(crate) struct Naming<'a> {
    /// Returns the directory of a target: relative to the course root, or absolute if it lies outside.
    pub root_of: &'a dyn Fn(&Target) -> String,
    /// The shared strings of output paths.
    pub names: &'a Names,
}

/// Computes the layout of everything that is selected. `is_same` returns whether two sources have the same bytes, so
/// that both may have the same destination. Fails if the selection names something that does not exist.
pub(crate) fn layout(
    spec: &Spec,
    tree: &Tree,
    listing: &Listing,
    selection: &Selection,
    naming: &Naming<'_>,
    is_same: &dyn Fn(&RelPath, &RelPath) -> bool,
) -> Result<(Layout, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (targets, sections) = selection.apply(spec)?;
    let has_same_surroundings =
        |one: &RelPath, other: &RelPath| same_surroundings(listing, is_same, one, other);
    let mut maker = Maker {
        spec,
        targets: &targets,
        languages: &languages_of(&targets),
        names: naming.names,
        claims: Claims::new(is_same, &has_same_surroundings),
        topic: None,
        section_dirs: HashMap::new(),
        copy_of: HashMap::new(),
        written_back: HashMap::new(),
        layout: Layout {
            targets: targets
                .iter()
                .map(|target| TargetRoot {
                    name: target.name.clone(),
                    root: (naming.root_of)(target),
                })
                .collect(),
            has_all_sections: sections.is_none(),
            ..Layout::default()
        },
    };
    for (index, section) in tree.sections.iter().enumerate() {
        if sections
            .as_ref()
            .is_some_and(|wanted| !wanted.contains(&section.index))
        {
            continue;
        }
        if spec.folder.is_some() {
            // The selection may exclude the only target.
            if !maker.targets.is_empty() {
                folder::add(&mut maker, index, section);
            }
            continue;
        }
        for (position, topic) in section.topics.iter().enumerate() {
            maker.add_topic(index, section.index, position, topic);
        }
    }
    if sections.is_none() && spec.folder.is_none() {
        groups::add(&mut maker, listing);
    }
    let (mut layout, diagnostics) = (maker.layout, maker.claims.diagnostics);
    // The layout is kept in memory as long as the course does not change.
    layout.decks.shrink_to_fit();
    layout.diagrams.shrink_to_fit();
    layout.copies.shrink_to_fit();
    layout.topics.shrink_to_fit();
    Ok((layout, diagnostics))
}

struct Maker<'a> {
    spec: &'a Spec,
    targets: &'a [Target],
    /// The languages of the targets.
    languages: &'a [Lang],
    names: &'a Names,
    claims: Claims<'a>,
    /// The index of the current topic.
    topic: Option<u32>,
    section_dirs: HashMap<(usize, Lang, Format, Kind), Rc<str>>,
    /// The position of a source's copy in the layout.
    copy_of: HashMap<RelPath, usize>,
    /// The diagram that is written to a place in the source tree.
    written_back: HashMap<RelPath, RelPath>,
    layout: Layout,
}

impl<'a> Maker<'a> {
    fn add_topic(&mut self, section: usize, spec_section: usize, position: usize, topic: &Topic) {
        let has_pages = self.spec.sections[spec_section].topics[topic.topic].html;
        self.enter_topic(spec_section, &topic.id);
        for (index, deck) in topic.decks.iter().enumerate() {
            let outputs = self.deck_outputs(spec_section, deck, has_pages);
            if !outputs.is_empty() {
                self.layout.decks.push(DeckOutputs {
                    section,
                    topic: position,
                    deck: index,
                    outputs,
                });
            }
        }
        for diagram in &topic.diagrams {
            self.add_diagram(spec_section, topic, diagram);
        }
        for file in &topic.data {
            if let Some(below) = file.at.strip_prefix(&topic.home) {
                let class = (OutputClass::Data, Making::Copied);
                let destinations = self.everywhere(spec_section, &below, &file.path, class);
                self.add_copy(file.path.clone(), destinations);
            }
        }
        for file in &topic.images {
            if let Some(below) = file.at.strip_prefix(&topic.home) {
                let destinations = self.image(spec_section, &below, &file.path, Making::Copied);
                self.add_copy(file.path.clone(), destinations);
            }
        }
    }

    fn deck_outputs(
        &mut self,
        section: usize,
        deck: &DeckFile,
        has_pages: bool,
    ) -> Vec<DeckOutput> {
        let mut outputs = Vec::new();
        for lang in self.languages.iter().copied() {
            if deck.lang.is_some_and(|only| only != lang) {
                continue;
            }
            for format in Format::ALL {
                if format == Format::Html && !has_pages {
                    continue;
                }
                let name = names::deck_file(deck, lang, format);
                for kind in Kind::ALL {
                    let place = self.section_dir(section, lang, format, kind);
                    let destinations = self.destinations(
                        lang,
                        format,
                        kind,
                        &format!("{place}/{name}"),
                        &deck.path,
                        (OutputClass::Deck(format, kind), Making::Built),
                    );
                    if !destinations.is_empty() {
                        outputs.push(DeckOutput {
                            lang,
                            format,
                            kind,
                            destinations: destinations.into(),
                        });
                    }
                }
            }
        }
        outputs.shrink_to_fit();
        outputs
    }

    fn add_diagram(&mut self, section: usize, topic: &Topic, diagram: &DiagramFile) {
        let destinations = match diagram.rendered.strip_prefix(&topic.home) {
            Some(below) => self.image(section, &below, &diagram.path, Making::Drawn),
            // The image of a diagram directly in its topic lies outside of the topic, and is not copied to outputs.
            None => Vec::new(),
        };
        let first = self.written_back.entry(diagram.rendered.clone());
        let is_written_back = *first.or_insert_with(|| diagram.at.clone()) == diagram.at;
        self.layout.diagrams.push(DiagramOutputs {
            diagram: diagram.clone(),
            destinations: destinations.into(),
            is_written_back,
        });
    }

    fn enter_topic(&mut self, section: usize, id: &str) {
        let topics = &mut self.layout.topics;
        self.topic = u32::try_from(topics.len()).ok();
        topics.push((section, id.into()));
    }

    fn add_copy(&mut self, source: RelPath, destinations: Vec<Place>) {
        if destinations.is_empty() {
            return;
        }
        // A file may be copied for several reasons, but has only one action.
        let copies = &mut self.layout.copies;
        match self.copy_of.entry(source) {
            Entry::Occupied(known) => {
                let copy = &mut copies[*known.get()];
                let before = std::mem::take(&mut copy.destinations).into_iter();
                copy.destinations = before.chain(destinations).collect();
            }
            Entry::Vacant(new) => {
                copies.push(CopyOutput {
                    source: new.key().clone(),
                    destinations: destinations.into(),
                });
                new.insert(copies.len() - 1);
            }
        }
    }

    /// Returns the directory of a section's outputs below its target.
    fn section_dir(&mut self, section: usize, lang: Lang, format: Format, kind: Kind) -> Rc<str> {
        let name = || names::section_dir(self.spec, section, lang, format, kind).into();
        let dirs = &mut self.section_dirs;
        let dir = dirs.entry((section, lang, format, kind));
        Rc::clone(dir.or_insert_with(name))
    }

    /// Returns the destinations of an image: beside the decks, or in the shared directory of images.
    fn image(
        &mut self,
        section: usize,
        below: &RelPath,
        source: &RelPath,
        making: Making,
    ) -> Vec<Place> {
        let class = (OutputClass::Image, making);
        if !self.spec.images.shared {
            return self.everywhere(section, below, source, class);
        }
        let mut found = Vec::new();
        for lang in self.languages_of_file(below) {
            let path = names::shared_image(self.spec, lang, below);
            for index in 0..self.targets.len() {
                if self.targets[index].languages.contains(&lang) {
                    found.extend(self.claim(index, &path, source, lang, class));
                }
            }
        }
        found
    }

    /// Returns the languages whose outputs have a topic's file.
    fn languages_of_file(&self, below: &RelPath) -> impl Iterator<Item = Lang> + use<'a> {
        let only = names::file_lang(self.spec, below);
        let languages = self.languages.iter().copied();
        languages.filter(move |lang| only.is_none_or(|only| only == *lang))
    }

    /// Returns the destinations of a topic's file: beside the decks of every language, format and kind.
    fn everywhere(
        &mut self,
        section: usize,
        below: &RelPath,
        source: &RelPath,
        class: (OutputClass, Making),
    ) -> Vec<Place> {
        let is_for_scripts = !names::is_shown_media(below);
        let shown = match class.0 {
            OutputClass::Image => names::shown_image_path(below),
            _ => below.to_string(),
        };
        let mut found = Vec::new();
        for lang in self.languages_of_file(below) {
            for format in Format::ALL {
                if format == Format::Code && !is_for_scripts {
                    continue;
                }
                for kind in Kind::ALL {
                    let place = self.section_dir(section, lang, format, kind);
                    found.extend(self.destinations(
                        lang,
                        format,
                        kind,
                        &format!("{place}/{shown}"),
                        source,
                        class,
                    ));
                }
            }
        }
        found
    }

    /// Returns the destinations with this path in all targets that contain the language, format and kind.
    fn destinations(
        &mut self,
        lang: Lang,
        format: Format,
        kind: Kind,
        path: &str,
        source: &RelPath,
        class: (OutputClass, Making),
    ) -> Vec<Place> {
        let mut found = Vec::new();
        for (index, target) in self.targets.iter().enumerate() {
            let is_wanted = target.languages.contains(&lang)
                && target.formats.contains(&format)
                && target.kinds.contains(&kind);
            if is_wanted {
                found.extend(self.claim(index, path, source, lang, class));
            }
        }
        found
    }

    /// Returns the destination, unless another source has it already.
    fn claim(
        &mut self,
        target: usize,
        path: &str,
        source: &RelPath,
        lang: Lang,
        (class, making): (OutputClass, Making),
    ) -> Option<Place> {
        let at = self.destination(target, path)?;
        let name = &self.targets[target].name;
        if !self.claims.claim(&at, name, source, making) {
            return None;
        }
        Some(Place {
            at,
            lang,
            class,
            topic: self.topic,
        })
    }

    fn destination(&self, target: usize, path: &str) -> Option<Destination> {
        let root = &self.layout.targets[target].root;
        Destination::new(target, root, path, self.names)
    }
}

impl Layout {
    /// Returns the directories of the targets: relative to the course root, or absolute.
    pub(crate) fn target_roots(&self) -> Vec<String> {
        let targets = self.targets.iter();
        targets.map(|target| target.root.clone()).collect()
    }

    /// Returns all outputs with their properties, in no particular order. The layout must be that of `tree`.
    pub(crate) fn placed<'a>(&'a self, tree: &'a Tree) -> impl Iterator<Item = Placed<'a>> {
        let decks = self.decks.iter().flat_map(move |deck| {
            let topic = &tree.sections[deck.section].topics[deck.topic];
            let source = &topic.decks[deck.deck].path;
            let places = deck.outputs.iter().flat_map(|output| &output.destinations);
            places.map(move |place| (source, place))
        });
        let diagrams = self.diagrams.iter().flat_map(|diagram| {
            let places = diagram.destinations.iter();
            places.map(|place| (&diagram.diagram.path, place))
        });
        let copies = self.copies.iter().flat_map(|copy| {
            let places = copy.destinations.iter();
            places.map(|place| (&copy.source, place))
        });
        let all = decks.chain(diagrams).chain(copies);
        all.map(|(source, place)| {
            let topic = place
                .topic
                .and_then(|topic| self.topics.get(topic as usize));
            Placed {
                destination: &place.at,
                source,
                topic: topic.map(|(section, id)| (*section, &**id)),
                lang: place.lang,
                class: place.class,
            }
        })
    }
}

/// Returns whether the files that exist around both diagrams have equal content: otherwise the diagrams could include
/// different files. These are the files in the parents of their directories.
fn same_surroundings(
    listing: &Listing,
    is_same: &dyn Fn(&RelPath, &RelPath) -> bool,
    one: &RelPath,
    other: &RelPath,
) -> bool {
    let around = |path: &RelPath| {
        let dir = path.parent()?;
        Some(dir.parent().unwrap_or(dir))
    };
    let (Some(here), Some(there)) = (around(one), around(other)) else {
        return true;
    };
    let is_of_diagrams = |file: &RelPath| {
        let is_deck_or_picture = ["py", "md", "cpp", "cs", "java", "ts", "png", "svg", "ipynb"];
        !is_deck_or_picture.contains(&file.extension())
    };
    listing
        .below(&here)
        .filter(|file| is_of_diagrams(file))
        .filter_map(|file| Some((file, there.join(file.strip_prefix(&here)?.as_str()).ok()?)))
        .filter(|(_, twin)| listing.files.contains(twin))
        .all(|(file, twin)| is_same(file, &twin))
}

#[cfg(test)]
mod tests;
