//! `[folder]`: settings of a folder without `course.xml`.

use ignore::gitignore::GitignoreBuilder;
use serde::Deserialize;

use crate::course::Format;
use crate::course::spec::{Execute, Folder};
use crate::error::{Error, Result};

use super::SETTINGS_FILE;

/// `[folder]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FolderSettings {
    /// The title of the index. The default is the name of the folder.
    pub title: Option<String>,
    /// The only files that are sources, as patterns of `.gitignore`; empty for all.
    pub include: Vec<String>,
    /// Files and directories that are no sources, as patterns of `.gitignore`.
    pub exclude: Vec<String>,
    /// What is made of notebooks.
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

impl Default for FolderSettings {
    fn default() -> Self {
        Self {
            title: None,
            include: Vec::new(),
            exclude: Vec::new(),
            formats: vec![NotebookFormat::Html],
            execute: Execute::default(),
            kernel: None,
            trust_outputs: false,
            beside: false,
        }
    }
}

impl FolderSettings {
    /// Checks the patterns; `text` is that of the settings file.
    pub(super) fn check(&self, text: &str) -> Result<()> {
        for pattern in self.include.iter().chain(&self.exclude) {
            let found = GitignoreBuilder::new("/")
                .add_line(None, pattern)
                .map(|_| ());
            if let Err(error) = found {
                let line = (1..).zip(text.lines());
                let line = line
                    .into_iter()
                    .find(|(_, line)| line.contains(pattern.as_str()));
                let message = format!("`{pattern}` is no pattern of files: {error}");
                return Err(Error::usage(message)
                    .at(SETTINGS_FILE, line.map(|(number, _)| number))
                    .hint("patterns are those of `.gitignore`, such as `old/` or `*.draft.md`"));
            }
        }
        Ok(())
    }

    /// Returns the formats of notebooks.
    pub(crate) fn formats(&self) -> Vec<Format> {
        let all = [
            (NotebookFormat::Html, Format::Html),
            (NotebookFormat::Notebook, Format::Notebook),
        ];
        let wanted = all
            .into_iter()
            .filter(|(format, _)| self.formats.contains(format));
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
