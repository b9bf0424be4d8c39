//! Names of files and directories in the output tree.

use crate::course::file_name::sanitize;
use crate::course::spec::Spec;
use crate::course::tree::DeckFile;
use crate::course::{Format, Kind, Lang, ProgLang, RelPath};

/// Returns the course's directory in a language.
pub(crate) fn course_dir(spec: &Spec, lang: Lang) -> String {
    match &spec.slug {
        Some(slug) => format!("{slug}-{lang}"),
        None => format!("{}-{lang}", sanitize(spec.name.get(lang))),
    }
}

/// Returns the directory of a section's outputs below its target.
pub(super) fn section_dir(
    spec: &Spec,
    section: usize,
    lang: Lang,
    format: Format,
    kind: Kind,
) -> String {
    let slides = lang.words().slides;
    let format = match format {
        Format::Html => "Html",
        Format::Notebook => "Notebooks",
        Format::Code => match spec.prog_lang {
            ProgLang::Python => "Python",
            ProgLang::Cpp => "Cpp",
            ProgLang::CSharp => "CSharp",
            ProgLang::Java => "Java",
            ProgLang::TypeScript => "TypeScript",
        },
    };
    let kind = match kind {
        Kind::CodeAlong => "Code-Along",
        Kind::Completed => "Completed",
        Kind::Trainer => "Trainer",
        Kind::Recording => "Recording",
        Kind::Partial => "Partial",
    };
    let section = sanitize(spec.sections[section].name.get(lang));
    format!(
        "{}/{slides}/{format}/{kind}/{section}",
        course_dir(spec, lang)
    )
}

/// Returns the file name of a deck's output.
pub(super) fn deck_file(deck: &DeckFile, lang: Lang, format: Format) -> String {
    let extension = match format {
        Format::Html => "html",
        Format::Notebook => "ipynb",
        Format::Code => deck.prog_lang.extension(),
    };
    format!(
        "{:02} {}.{extension}",
        deck.number,
        sanitize(deck.title.get(lang))
    )
}

/// Returns the only language of an image or data file: `map.de.png` is for German outputs.
pub(super) fn file_lang(spec: &Spec, path: &RelPath) -> Option<Lang> {
    let (stem, mark) = path.stem().rsplit_once('.')?;
    spec.marked(mark).filter(|_| !stem.is_empty())
}

const MEDIA_EXTENSIONS: &[&str] = &[
    "mp4", "webm", "ogv", "mov", "m4v", "mkv", "avi", "mp3", "wav", "ogg", "oga", "m4a", "aac",
    "flac", "opus",
];

/// Returns whether a file, by its path in its topic, is a video or audio file that pages show and scripts cannot.
pub(super) fn is_shown_media(below: &RelPath) -> bool {
    let dir = below.components().next();
    matches!(dir, Some("img" | "img-generated"))
        && MEDIA_EXTENSIONS.contains(&below.extension().to_lowercase().as_str())
}

/// Returns the path of an image in outputs: rendered diagrams have the directory `img`.
pub(super) fn shown_image_path(below: &RelPath) -> String {
    match below.as_str().strip_prefix("img-generated/") {
        Some(rest) => format!("img/{rest}"),
        None => below.to_string(),
    }
}

/// Returns the path by which decks show a file of their topic (`below` the topic), and the only language of the file.
pub(crate) fn shown_path(spec: &Spec, below: &RelPath) -> (String, Option<Lang>) {
    let path = match spec.images.shared {
        true => format!("img/{}", shared_name(below)),
        false => shown_image_path(below),
    };
    (path, file_lang(spec, below))
}

/// The prefix in decks instead of `img/`, for courses with a shared directory of images. It lies above the directories
/// of slides, format, kind and section.
pub(crate) const SHARED_IMAGE_DIR: &str = "../../../../img/";

/// Returns the path of an image in the shared directory of a language.
pub(super) fn shared_image(spec: &Spec, lang: Lang, below: &RelPath) -> String {
    format!("{}/img/{}", course_dir(spec, lang), shared_name(below))
}

fn shared_name(below: &RelPath) -> String {
    let parts: Vec<&str> = below.components().collect();
    let dir = parts
        .iter()
        .rposition(|part| matches!(*part, "img" | "img-generated"));
    match dir {
        Some(dir) => parts[dir + 1..].join("/"),
        None => below.file_name().to_owned(),
    }
}
