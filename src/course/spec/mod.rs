//! The specification of a course: the content of `course.xml`.

mod read;
mod targets;
mod topics;
mod xml;

use serde::Serialize;

use crate::course::words::ImageKind;
use crate::course::{Format, Kind, Lang, Localized, ProgLang, RelPath};
use crate::events::{Diagnostic, Severity};

/// A course as its author specified it.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Its title.
    pub name: Localized,
    /// The first part of its output directories; without it they are made of the title.
    pub slug: Option<String>,
    /// The language that names the directory of code outputs.
    pub prog_lang: ProgLang,
    /// Named on title slides.
    pub author: String,
    /// Named on title slides.
    pub organization: Localized,
    /// The enabled sections, in order.
    pub sections: Vec<Section>,
    /// Directories that are copied besides the sections.
    pub dir_groups: Vec<DirGroup>,
    /// What is written where.
    pub targets: Vec<Target>,
    /// How diagrams are rendered and shown.
    pub images: ImageOptions,
    /// The interpreter or virtual environment of Python kernels.
    pub kernel_python: Option<String>,
}

/// A section: one directory of outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Its title, which names the directory.
    pub name: Localized,
    /// A stable id for selecting it.
    pub id: Option<String>,
    /// Its number among all sections of the file, disabled ones included, from 1.
    pub number: usize,
    /// Its topics, in order.
    pub topics: Vec<TopicRef>,
    /// Its line in the file.
    pub line: u32,
}

/// A reference to a topic. As bytes it is what plans depend on, so without its place in the file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopicRef {
    /// The topic's id.
    pub id: String,
    /// The module directory it must lie in.
    pub module: Option<String>,
    /// Whether pages are made.
    pub html: bool,
    /// Whether its decks are executed.
    pub evaluate: bool,
    /// Whether execution goes on after an error.
    pub skip_errors: bool,
    /// Overrides the course's author.
    pub author: Option<String>,
    /// Overrides the language of its decks.
    pub prog_lang: Option<ProgLang>,
    /// Directories that are copied because of this topic.
    pub dir_groups: Vec<DirGroup>,
    /// Files from elsewhere that count as the topic's own: those of the section, then its own.
    pub includes: Vec<Include>,
    /// Where it stands in the file.
    #[serde(skip)]
    pub line: u32,
    /// Where it stands in the line.
    #[serde(skip)]
    pub column: u32,
}

/// A file or directory of the course that a topic shows as its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Include {
    /// Where it lies.
    pub source: RelPath,
    /// Where it appears in the topic.
    pub at: RelPath,
    /// Whether it may be missing.
    pub optional: bool,
    /// Where it stands in the file.
    #[serde(skip)]
    pub line: u32,
    /// Where it stands in the line.
    #[serde(skip)]
    pub column: u32,
}

/// Directories that are copied as they are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DirGroup {
    /// Where they go below the course's output directory; may be empty.
    pub name: Localized,
    /// Where they come from; none is the course root.
    pub path: Option<RelPath>,
    /// Only these directories of `path`; an empty list means all of it.
    pub subdirs: Vec<Option<RelPath>>,
    /// Whether plain files directly in `path` are copied too.
    pub include_root_files: bool,
    /// Whether directories are copied with everything below them.
    pub recursive: bool,
    /// The only language it is for.
    pub lang: Option<Lang>,
    /// Where it stands in the file.
    #[serde(skip)]
    pub line: u32,
    /// Where it stands in the line.
    #[serde(skip)]
    pub column: u32,
}

/// An output directory and what goes there.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// The directory, relative to the course root.
    pub path: RelPath,
    /// For whom.
    pub kinds: Vec<Kind>,
    /// In which formats.
    pub formats: Vec<Format>,
    /// In which languages.
    pub languages: Vec<Lang>,
}

/// How diagrams are rendered and shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageOptions {
    /// The format of diagrams.
    pub format: ImageKind,
    /// Whether decks contain their images instead of referring to files.
    pub inline: bool,
    /// Whether a course has one directory of images for each language, instead of one beside the decks of every
    /// section, format and kind.
    pub shared: bool,
}

/// Reads a specification; `file` is its name in diagnostics. On success there may be warnings, on failure all
/// errors are listed, not only the first.
pub fn parse(text: &str, file: &str) -> Result<(Spec, Vec<Diagnostic>), Vec<Diagnostic>> {
    match parse_leniently(text, file) {
        (Some(spec), diagnostics) if diagnostics.iter().all(|d| d.severity != Severity::Error) => {
            Ok((spec, diagnostics))
        }
        (_, diagnostics) => Err(diagnostics),
    }
}

/// Reads as much of a specification as can be understood, for telling at once what is wrong in it and in what it
/// names. None when nothing can be.
pub fn parse_leniently(text: &str, file: &str) -> (Option<Spec>, Vec<Diagnostic>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let options = roxmltree::ParsingOptions {
        // Without document types there are no entities, and so no entity bombs.
        allow_dtd: false,
        nodes_limit: 1_000_000,
        ..Default::default()
    };
    match roxmltree::Document::parse_with_options(text, options) {
        Ok(document) => {
            let mut reader = xml::Reader::new(&document, file);
            let spec = read::course(&mut reader);
            (Some(spec), reader.diagnostics)
        }
        Err(error) => (None, vec![malformed(&error, text, file)]),
    }
}

fn malformed(error: &roxmltree::Error, text: &str, file: &str) -> Diagnostic {
    let (line, column) = crate::course::xml::place(error, text);
    let message = crate::course::xml::message(error);
    let hint = match error {
        roxmltree::Error::NoRootNode => {
            "the file holds no course: take an older version of it, or write a `<course>`"
        }
        roxmltree::Error::DtdDetected => "remove the `<!DOCTYPE …>`: a specification needs none",
        roxmltree::Error::UnexpectedCloseTag(..) => {
            "every opened element must be closed, innermost first"
        }
        roxmltree::Error::MalformedEntityReference(_)
        | roxmltree::Error::UnknownEntityReference(..) => {
            "write `&amp;` for `&` and `&lt;` for `<`"
        }
        _ => {
            "the place may be just after the actual mistake: look for an unclosed element or quote above it"
        }
    };
    Diagnostic::error(format!(
        "the specification is not well-formed XML: {message}"
    ))
    .at(file, Some(line))
    .column(column)
    .hint(hint)
}

#[cfg(test)]
mod tests;
