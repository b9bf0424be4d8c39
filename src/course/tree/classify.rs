//! Classifies the files of a topic by their names.

use crate::course::RelPath;

use super::DiagramKind;

/// The class of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A notebook source.
    Deck,
    /// A diagram.
    Diagram(DiagramKind),
    /// An image.
    Image,
    /// Anything else.
    Data,
}

const DECK_PREFIXES: &[&str] = &["slides_", "topic_", "project_"];
const DECK_EXTENSIONS: &[&str] = &["c", "cpp", "cs", "java", "md", "py", "rs", "rust", "ts"];
const IMAGE_EXTENSIONS: &[&str] = &["png", "jpg", "jpeg", "gif", "svg"];

/// Returns the kind of a diagram, or `None` if the file is not one.
pub(crate) fn diagram_kind(path: &RelPath) -> Option<DiagramKind> {
    match classify(path) {
        Class::Diagram(kind) => Some(kind),
        _ => None,
    }
}

/// Returns whether a file begins like a deck. Such a file is data where another topic or deck names it.
pub(crate) fn is_called_like_deck(name: &str) -> bool {
    DECK_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns whether a file of a topic is a deck, by its name.
pub(crate) fn is_deck(path: &RelPath) -> bool {
    classify(path) == Class::Deck
}

/// Returns the class of a file.
pub(super) fn classify(path: &RelPath) -> Class {
    let extension = path.extension();
    let name = path.file_name();
    if matches!(extension, "pu" | "puml" | "plantuml") {
        Class::Diagram(DiagramKind::Plantuml)
    } else if extension == "drawio" {
        Class::Diagram(DiagramKind::Drawio)
    } else if DECK_EXTENSIONS.contains(&extension) && is_called_like_deck(name) {
        Class::Deck
    } else if IMAGE_EXTENSIONS.contains(&extension)
        && path.components().all(|component| component != "imgdata")
    {
        Class::Image
    } else {
        Class::Data
    }
}
