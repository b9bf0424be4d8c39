//! The specification of a folder without `course.xml`, which is derived from a few settings.

use serde::Deserialize;

use crate::course::words::ImageKind;
use crate::course::{Format, Kind, Lang, Localized, ProgLang, RelPath};

use super::{ImageOptions, Section, Spec, Target, TopicRef};

/// What is particular to a folder, in comparison with a course.
#[derive(Clone, Debug, PartialEq)]
pub struct Folder {
    /// Whether notebooks are executed.
    pub execute: Execute,
    /// The kernel of notebooks that name none, or none that is known.
    pub kernel: Option<String>,
    /// Whether results that are stored in a notebook count as those of its code.
    pub trust_outputs: bool,
    /// Whether pictures and executed notebooks are also written beside their sources.
    pub beside: bool,
    /// The only files that are sources; empty for all.
    pub include: Vec<String>,
    /// Files that are no sources.
    pub exclude: Vec<String>,
}

/// When the notebooks of a folder are executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Execute {
    /// When their code or their inputs changed since they were last executed.
    #[default]
    Auto,
    /// Never: pages show the results that are stored in notebooks.
    Never,
    /// In every build, whether or not anything changed.
    Always,
}

/// Returns whether a settings file makes its directory a folder. It need not be valid otherwise.
pub(crate) fn has_folder_section(text: &str) -> bool {
    text.lines().any(|line| line.trim() == "[folder]")
}

/// The language under which texts and outputs of a folder are stored. Nothing depends on it.
pub(crate) const FOLDER_LANG: Lang = Lang::EN;
/// The name of the only output target of a folder.
const TARGET: &str = "pages";
/// The directory of outputs in a folder.
const OUTPUT_DIR: &str = "_build";

/// Returns the specification of a folder. `formats` are those of its notebooks.
pub(crate) fn folder(title: &str, folder: Folder, formats: &[Format]) -> Spec {
    let evaluate = folder.execute != Execute::Never;
    let target = RelPath::new(OUTPUT_DIR).map(|path| Target {
        name: TARGET.to_owned(),
        path,
        kinds: vec![Kind::Completed],
        formats: formats.to_vec(),
        languages: vec![FOLDER_LANG],
    });
    let topic = TopicRef {
        id: title.to_owned(),
        module: None,
        html: true,
        evaluate,
        skip_errors: false,
        author: None,
        prog_lang: None,
        dir_groups: Vec::new(),
        includes: Vec::new(),
        line: 1,
        column: 1,
    };
    Spec {
        name: Localized::same(title),
        slug: None,
        prog_lang: ProgLang::Python,
        author: String::new(),
        organization: Localized::default(),
        sections: vec![Section {
            name: Localized::same(title),
            id: None,
            number: 1,
            topics: vec![topic],
            line: 1,
        }],
        dir_groups: Vec::new(),
        targets: target.into_iter().collect(),
        images: ImageOptions {
            format: ImageKind::Svg,
            ..ImageOptions::default()
        },
        kernel_python: None,
        folder: Some(folder),
    }
}
