//! The outputs of a folder without `course.xml`: the tree of its sources once more, with pages and pictures.

use crate::course::spec::FOLDER_LANG;
use crate::course::tree::{Topic, TreeSection, with_extension};
use crate::course::{Format, Kind};

use super::claims::Making;
use super::{DeckOutput, DeckOutputs, DiagramOutputs, Maker, OutputClass};

/// The only kind of outputs: notebooks of a folder have no cells for some readers only.
const KIND: Kind = Kind::Completed;

/// Adds all sources.
pub(super) fn add(maker: &mut Maker<'_>, section: usize, found: &TreeSection) {
    for (position, topic) in found.topics.iter().enumerate() {
        maker.enter_topic(found.index, &topic.id);
        add_notebooks(maker, section, position, topic);
        for diagram in &topic.diagrams {
            let class = (OutputClass::Image, Making::Built);
            let is_library = diagram.part == Some(0);
            let place = diagram.rendered.as_str();
            let destination = match is_library {
                true => None,
                false => maker.claim(0, place, &diagram.path, FOLDER_LANG, class),
            };
            maker.layout.diagrams.push(DiagramOutputs {
                diagram: diagram.clone(),
                // Of two diagrams that would make the same picture, only the one that has it in the outputs.
                is_written_back: destination.is_some(),
                destinations: destination.into_iter().collect(),
            });
        }
        for file in &topic.data {
            let class = (OutputClass::Data, Making::Copied);
            let destination = maker.claim(0, file.path.as_str(), &file.path, FOLDER_LANG, class);
            maker.add_copy(file.path.clone(), destination.into_iter().collect());
        }
    }
}

fn add_notebooks(maker: &mut Maker<'_>, section: usize, position: usize, topic: &Topic) {
    for (index, notebook) in topic.decks.iter().enumerate() {
        let formats = [(Format::Html, "html"), (Format::Notebook, "ipynb")];
        let mut outputs = Vec::new();
        for (format, extension) in formats {
            if !maker.targets[0].formats.contains(&format) {
                continue;
            }
            let class = (OutputClass::Deck(format, KIND), Making::Built);
            let path = with_extension(&notebook.path, extension);
            let destination = maker.claim(0, &path, &notebook.path, FOLDER_LANG, class);
            outputs.extend(destination.map(|place| DeckOutput {
                lang: FOLDER_LANG,
                format,
                kind: KIND,
                destinations: [place].into(),
            }));
        }
        if !outputs.is_empty() {
            maker.layout.decks.push(DeckOutputs {
                section,
                topic: position,
                deck: index,
                outputs,
            });
        }
    }
}
