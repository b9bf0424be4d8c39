//! The topic that a notebook becomes: a deck with its cells, and the pictures that they show.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::Value;

use crate::course::deck::Cell;
use crate::course::deck::plain::{self, Picture, Plain};
use crate::course::{ProgLang, RelPath};
use crate::diagnostic::Diagnostic;

use super::names::id_of;

/// The files of a topic, and what they do not have.
#[derive(Debug)]
pub(crate) struct AddedTopic {
    /// The files by their paths in the topic.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The name of the deck among them.
    pub deck: String,
    /// Attributes of its entry in the specification.
    pub attributes: Vec<(&'static str, &'static str)>,
    /// The number of cells.
    pub cells: usize,
    /// Warnings about what the topic does not have, or has otherwise than the notebook. They name the notebook.
    pub warnings: Vec<Diagnostic>,
}

/// Returns the topic of a notebook. Its language is `prog_lang`; `read` returns the content of a file by its path
/// relative to the notebook.
pub(crate) fn added_topic(
    mut plain: Plain,
    id: &str,
    prog_lang: ProgLang,
    read: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> AddedTopic {
    let path = plain.deck.path.clone();
    let mut pictures = Pictures {
        id,
        files: BTreeMap::new(),
        warnings: Vec::new(),
        notebook: &path,
    };
    plain::replace_pictures(&mut plain, &mut |cell, picture| match picture {
        Picture::Attachment { name, bundle } => pictures.attachment(cell, name, bundle),
        Picture::Local(path) => pictures.local(cell, path, read(path)),
    });
    let Pictures {
        mut files,
        mut warnings,
        ..
    } = pictures;
    let deck = plain::as_deck(&plain, prog_lang);
    warnings.extend(deck.lost);
    let directives = plain::directives(&plain);
    if !directives.is_empty() {
        let names: Vec<String> = directives
            .iter()
            .map(|name| format!("`{{{name}}}`"))
            .collect();
        let message = format!(
            "the text has directives of MyST that pages of courses show as they are: {}",
            names.join(", ")
        );
        warnings.push(
            Diagnostic::warning(message)
                .at(path.as_str(), None)
                .hint("write them as Markdown, for example figures as `![text](img/x.png)`"),
        );
    }
    let mut attributes = Vec::new();
    if plain.skip {
        attributes.push(("evaluate", "no"));
    }
    if plain.allow_errors {
        attributes.push(("skip-errors", "yes"));
    }
    let name = format!("slides_{id}.{}", prog_lang.extension());
    files.insert(name.clone(), deck.text.into_bytes());
    AddedTopic {
        files,
        deck: name,
        attributes,
        cells: plain.deck.cells.len(),
        warnings,
    }
}

/// Returns an id for the topic of a notebook with this name, without a number at the start that only sorts files.
pub(crate) fn id_of_notebook(stem: &str) -> Option<String> {
    let sorted = stem.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_number = sorted.len() < stem.len() && sorted.starts_with(['_', '-', '.', ' ']);
    let numbered = || id_of(stem);
    match is_number {
        true => id_of(sorted).or_else(numbered),
        false => numbered(),
    }
}

/// Pictures that are copied into the topic.
struct Pictures<'a> {
    id: &'a str,
    notebook: &'a RelPath,
    files: BTreeMap<String, Vec<u8>>,
    warnings: Vec<Diagnostic>,
}

impl Pictures<'_> {
    fn warn(&mut self, cell: &Cell, message: String, hint: &str) {
        let warning = Diagnostic::warning(message)
            .at(self.notebook.as_str(), cell.line)
            .cell(cell.number)
            .hint(hint);
        self.warnings.push(warning);
    }

    /// Takes a file of the notebook itself. Returns its address.
    fn attachment(&mut self, cell: &Cell, name: &str, bundle: Option<&Value>) -> Option<String> {
        let content = bundle.and_then(Value::as_object).and_then(|bundle| {
            let known = bundle.iter().find(|(mime, _)| mime.starts_with("image/"));
            let (_, content) = known.or_else(|| bundle.iter().next())?;
            bytes(content.as_str()?)
        });
        match content {
            Some(content) => Some(self.put(name, content)),
            None => {
                let message =
                    format!("the cell shows the attachment `{name}`, which it does not have");
                self.warn(
                    cell,
                    message,
                    "attach it again, or put an image into `img` of the topic",
                );
                None
            }
        }
    }

    /// Takes a file beside the notebook. Returns its address.
    fn local(&mut self, cell: &Cell, path: &str, content: Option<Vec<u8>>) -> Option<String> {
        match content {
            Some(content) => {
                let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
                Some(self.put(name, content))
            }
            None => {
                let message =
                    format!("the cell shows `{path}`, which is no picture beside the notebook");
                self.warn(
                    cell,
                    message,
                    "copy it into `img` of the topic, and correct its path in the deck",
                );
                None
            }
        }
    }

    /// Adds a file under a name that no other content has. The topics of a section share their outputs, so that each
    /// topic has a directory of its own in `img`.
    fn put(&mut self, name: &str, content: Vec<u8>) -> String {
        let name: String = name
            .chars()
            .map(|c| match c {
                _ if c.is_ascii_alphanumeric() => c,
                '.' | '-' | '_' => c,
                _ => '_',
            })
            .collect();
        let name = name.trim_start_matches('.');
        let (stem, extension) = match name.rfind('.') {
            Some(dot) if dot > 0 => name.split_at(dot),
            _ => (name, ""),
        };
        let stem = if stem.is_empty() { "picture" } else { stem };
        let mut path = format!("img/{}/{stem}{extension}", self.id);
        let mut number = 1;
        while self.files.get(&path).is_some_and(|other| *other != content) {
            number += 1;
            path = format!("img/{}/{stem}-{number}{extension}", self.id);
        }
        self.files.insert(path.clone(), content);
        path
    }
}

/// Returns the bytes of an attachment: they are in base64, but for images that are text.
fn bytes(content: &str) -> Option<Vec<u8>> {
    if content.trim_start().starts_with('<') {
        return Some(content.as_bytes().to_vec());
    }
    let compact: String = content.split_whitespace().collect();
    let engine = base64::engine::general_purpose::STANDARD;
    engine.decode(compact).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_are_made_of_names() {
        for (stem, id) in [
            ("01-Intro to X", Some("intro_to_x")),
            ("02_numpy.tutorial", Some("numpy_tutorial")),
            ("3d", Some("3d")),
            ("Übung", Some("uebung")),
            ("42", Some("42")),
            ("42-", Some("42")),
            ("--", None),
        ] {
            assert_eq!(id_of_notebook(stem).as_deref(), id, "{stem}");
        }
    }

    #[test]
    fn pictures_become_files_of_the_topic() {
        let notebook = json!({"nbformat": 4, "metadata": {"nbsphinx": {"execute": "never"}}, "cells": [
            {"cell_type": "markdown", "metadata": {}, "attachments": {"a b.png": {"image/png": "AAEC"}},
             "source": "![x](attachment:a%20b.png) `![y](no.png)` <img src='../figs/c.svg?1'> ![z](https://x.org/z.png)"},
            {"cell_type": "markdown", "metadata": {}, "attachments": {"a b.png": {"image/png": ["AAED"]}},
             "source": "![x](attachment:a%20b.png) ![z](attachment:none.png)\n![gone](gone.png)\n```{note}\n```"},
        ]});
        let path = RelPath::new("nb/x.ipynb").unwrap();
        let plain = plain::read(&path, &notebook.to_string()).unwrap().unwrap();
        let topic = added_topic(plain, "x", ProgLang::Python, &|path| {
            (path == "../figs/c.svg").then(|| b"<svg/>".to_vec())
        });
        let names: Vec<&str> = topic.files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "img/x/a_b-2.png",
                "img/x/a_b.png",
                "img/x/c.svg",
                "slides_x.py"
            ]
        );
        assert_eq!(topic.files["img/x/a_b.png"], [0, 1, 2]);
        assert_eq!(topic.attributes, [("evaluate", "no")]);
        let deck = String::from_utf8(topic.files["slides_x.py"].clone()).unwrap();
        assert_eq!(
            deck,
            "# %% [markdown]\n# ![x](img/x/a_b.png) `![y](no.png)` <img src='img/x/c.svg'> ![z](https://x.org/z.png)\n\n\
             # %% [markdown]\n# ![x](img/x/a_b-2.png) ![z](attachment:none.png)\n# ![gone](gone.png)\n# ```{note}\n# ```\n"
        );
        let warnings: Vec<&str> = topic.warnings.iter().map(|w| w.message.as_str()).collect();
        assert_eq!(
            warnings,
            [
                "the cell shows the attachment `none.png`, which it does not have",
                "the cell shows `gone.png`, which is no picture beside the notebook",
                "the text has directives of MyST that pages of courses show as they are: `{note}`",
            ]
        );
    }
}
