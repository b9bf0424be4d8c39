//! The specification of a course: the content of `course.xml`.

mod folder;
mod read;
mod targets;
mod topics;
mod xml;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::course::words::ImageKind;
use crate::course::{Format, Kind, Lang, Localized, ProgLang, RelPath};
use crate::diagnostic::Diagnostic;

pub(crate) use folder::{Execute, FOLDER_LANG, Folder, folder, has_folder_section};

/// A course specification.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Its title.
    pub name: Localized,
    /// The prefix of the names of its output directories, instead of the title.
    pub slug: Option<String>,
    /// The programming language after which the directory of code outputs is named.
    pub prog_lang: ProgLang,
    /// The author on title slides.
    pub author: String,
    /// The organization on title slides.
    pub organization: Localized,
    /// The enabled sections, in order.
    pub sections: Vec<Section>,
    /// Directories that are copied besides the sections.
    pub dir_groups: Vec<DirGroup>,
    /// The output targets.
    pub targets: Vec<Target>,
    /// How diagrams are rendered and shown.
    pub images: ImageOptions,
    /// The interpreter or virtual environment of Python kernels.
    pub kernel_python: Option<String>,
    /// What is particular to a folder without `course.xml`; `None` for a course.
    pub folder: Option<Folder>,
}

/// A section: one directory of outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Its title, which names the directory.
    pub name: Localized,
    /// A stable id by which it can be selected.
    pub id: Option<String>,
    /// Its number among all sections of the file, including disabled ones, from 1.
    pub number: usize,
    /// Its topics, in order.
    pub topics: Vec<TopicRef>,
    /// Its line in the file.
    pub line: u32,
}

/// A reference to a topic. Its serialized form is an input of plans, so it does not contain the place in the file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopicRef {
    /// The topic's id.
    pub id: String,
    /// The module directory in which it must lie.
    pub module: Option<String>,
    /// Whether pages are made.
    pub html: bool,
    /// Whether its decks are executed.
    pub evaluate: bool,
    /// Whether execution continues after an error.
    pub skip_errors: bool,
    /// Overrides the course's author.
    pub author: Option<String>,
    /// Overrides the language of its decks.
    pub prog_lang: Option<ProgLang>,
    /// Directories that are copied for this topic.
    pub dir_groups: Vec<DirGroup>,
    /// Files from other directories that are treated as the topic's own: first those of the section, then those of the
    /// topic.
    pub includes: Vec<Include>,
    /// Its line in the file.
    #[serde(skip)]
    pub line: u32,
    /// Its column in the line.
    #[serde(skip)]
    pub column: u32,
}

/// A file or directory of the course that is treated as part of a topic.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Include {
    /// Its path.
    pub source: RelPath,
    /// Its path in the topic.
    pub at: RelPath,
    /// Whether it may be missing.
    pub optional: bool,
    /// Its line in the file.
    #[serde(skip)]
    pub line: u32,
    /// Its column in the line.
    #[serde(skip)]
    pub column: u32,
}

/// Directories that are copied unchanged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DirGroup {
    /// The path of the copies below the course's output directory; may be empty.
    pub name: Localized,
    /// The source directory; `None` is the course root.
    pub path: Option<RelPath>,
    /// The subdirectories of `path` that are copied; an empty list means all of it.
    pub subdirs: Vec<Option<RelPath>>,
    /// Whether files directly in `path` are copied, too.
    pub include_root_files: bool,
    /// Whether directories are copied with everything below them.
    pub recursive: bool,
    /// The only language in which it is copied; `None` is all languages.
    pub lang: Option<Lang>,
    /// Its line in the file.
    #[serde(skip)]
    pub line: u32,
    /// Its column in the line.
    #[serde(skip)]
    pub column: u32,
}

/// An output directory and the outputs that it contains.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// The directory, relative to the course root.
    pub path: RelPath,
    /// The kinds of its outputs.
    pub kinds: Vec<Kind>,
    /// The formats of its outputs.
    pub formats: Vec<Format>,
    /// The languages of its outputs.
    pub languages: Vec<Lang>,
}

/// How diagrams are rendered and shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageOptions {
    /// The format of diagrams.
    pub format: ImageKind,
    /// Whether images are embedded in decks instead of being referenced.
    pub inline: bool,
    /// Whether a course has one directory of images for each language, instead of one beside the decks of every
    /// section, format and kind.
    pub shared: bool,
}

impl Spec {
    /// Returns the languages of the course in their order: those of all its targets.
    pub(crate) fn languages(&self) -> Vec<Lang> {
        languages_of(&self.targets)
    }

    /// Returns the language that a mark such as `de` stands for, in the name of a file for only one language. German
    /// and English are marks in every course, others only in a course that has these languages.
    pub(crate) fn marked(&self, mark: &str) -> Option<Lang> {
        let is_mark = |lang: &Lang| {
            let mut targets = self.targets.iter();
            lang.is_usual() || targets.any(|target| target.languages.contains(lang))
        };
        Lang::parse(mark).filter(is_mark)
    }
}

/// Returns the languages of targets, in their order.
pub(crate) fn languages_of(targets: &[Target]) -> Vec<Lang> {
    let languages = targets.iter().flat_map(|target| &target.languages);
    let languages: BTreeSet<Lang> = languages.copied().collect();
    languages.into_iter().collect()
}

/// Parses a specification; `file` is its name in diagnostics. The diagnostics of a success are warnings; a failure
/// returns all errors, not only the first.
#[cfg(test)]
pub(crate) fn parse(text: &str, file: &str) -> Result<(Spec, Vec<Diagnostic>), Vec<Diagnostic>> {
    match parse_leniently(text, file) {
        (Some(spec), diagnostics)
            if diagnostics
                .iter()
                .all(|d| d.severity != crate::diagnostic::Severity::Error) =>
        {
            Ok((spec, diagnostics))
        }
        (_, diagnostics) => Err(diagnostics),
    }
}

/// Parses as much of a specification as possible, so that errors in it and in the files it names can be reported
/// together. The specification is `None` if the text is not well-formed XML.
pub fn parse_leniently(text: &str, file: &str) -> (Option<Spec>, Vec<Diagnostic>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let options = roxmltree::ParsingOptions {
        // Without document types there are no entity definitions, which could expand to huge texts.
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

/// Sets the line and column of a diagnostic about the specification. The caller sets the file.
pub(crate) fn located(diagnostic: Diagnostic, line: u32, column: u32) -> Diagnostic {
    Diagnostic {
        line: Some(line),
        column: Some(column),
        ..diagnostic
    }
}

#[cfg(test)]
mod tests;
