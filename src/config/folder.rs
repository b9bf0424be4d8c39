//! `[folder]`: settings of a folder without `course.xml`.

use serde::Deserialize;

use crate::course::Format;
use crate::course::spec::{Execute, Folder};

/// `[folder]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FolderSettings {
    /// The title of the index. The default is the name of the folder.
    pub title: Option<String>,
    /// The only files that are sources, as patterns of `.gitignore`; empty for all.
    pub include: Vec<String>,
    /// Files and directories that are no sources, as patterns of `.gitignore`.
    pub exclude: Vec<String>,
    /// What is made of notebooks. The default is pages.
    pub formats: Vec<NotebookFormat>,
    /// When notebooks are executed.
    pub execute: Execute,
    /// The kernel of notebooks that name none, or none that is known.
    pub kernel: Option<String>,
    /// Whether results that are stored in a notebook are shown as long as its code is the same, without executing it.
    pub trust_outputs: bool,
    /// Whether pictures and executed notebooks are also written beside their sources.
    pub beside: bool,
}

/// What is made of a notebook in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotebookFormat {
    /// A page.
    Html,
    /// A notebook with results.
    Notebook,
}

impl FolderSettings {
    /// Returns the formats of notebooks.
    pub(crate) fn formats(&self) -> Vec<Format> {
        let is_wanted = |format: NotebookFormat| {
            self.formats.contains(&format)
                || (self.formats.is_empty() && format == NotebookFormat::Html)
        };
        let all = [
            (NotebookFormat::Html, Format::Html),
            (NotebookFormat::Notebook, Format::Notebook),
        ];
        let wanted = all.into_iter().filter(|(format, _)| is_wanted(*format));
        wanted.map(|(_, format)| format).collect()
    }

    /// Sets the formats of notebooks. Scripts are not made of them.
    pub(crate) fn set_formats(&mut self, formats: &[Format]) {
        let of = |format: &Format| match format {
            Format::Html => Some(NotebookFormat::Html),
            Format::Notebook => Some(NotebookFormat::Notebook),
            Format::Code => None,
        };
        self.formats = formats.iter().filter_map(of).collect();
    }

    /// Returns what these settings mean for planning.
    pub(crate) fn folder(&self) -> Folder {
        Folder {
            execute: self.execute,
            kernel: self.kernel.clone(),
            trust_outputs: self.trust_outputs,
            beside: self.beside,
            include: self.include.clone(),
            exclude: self.exclude.clone(),
        }
    }
}
