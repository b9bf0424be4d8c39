//! The pictures that text cells of a notebook show: attachments, and files beside the notebook.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::super::url::{decoded, local};
use super::super::{Cell, CellKind};
use super::Plain;
use super::links::replaced;

/// What a text cell shows.
#[derive(Debug)]
pub(crate) enum Picture<'a> {
    /// A file in the notebook, with its contents by their types.
    Attachment {
        /// Its name.
        name: &'a str,
        /// Its contents; `None` if the notebook does not have it.
        bundle: Option<&'a Value>,
    },
    /// A file with this path relative to the notebook, which may begin with `..`.
    Local(&'a str),
}

/// Calls `place` for each picture in the text cells, and replaces its address by the one that is returned. Attachments
/// that nobody shows are left out.
pub(crate) fn replace_pictures(
    plain: &mut Plain,
    place: &mut dyn FnMut(&Cell, Picture<'_>) -> Option<String>,
) {
    for (cell, stored) in plain.deck.cells.iter_mut().zip(&mut plain.stored) {
        if cell.kind != CellKind::Markdown {
            continue;
        }
        let attachments = std::mem::take(&mut stored.attachments);
        cell.source = replaced(&cell.source, &mut |found| {
            if !found.is_shown {
                return None;
            }
            match found.url.trim().strip_prefix("attachment:") {
                Some(name) => {
                    let name = decoded(name);
                    let bundle = attachments.get(&name);
                    place(
                        cell,
                        Picture::Attachment {
                            name: &name,
                            bundle,
                        },
                    )
                }
                None => {
                    let (path, _) = local(&found.url)?;
                    place(cell, Picture::Local(&path))
                }
            }
        });
    }
}

/// Returns the directives of MyST in the text cells, which are nothing but text in other Markdown.
pub(crate) fn directives(plain: &Plain) -> Vec<String> {
    static DIRECTIVE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?m)^ {0,3}(?:`{3,}|~{3,}|:{3,})\{([a-zA-Z0-9_:-]+)\}")
            .expect("the pattern is constant")
    });
    let mut found: Vec<String> = Vec::new();
    let texts = plain.deck.cells.iter();
    for cell in texts.filter(|cell| cell.kind == CellKind::Markdown) {
        for captures in DIRECTIVE.captures_iter(&cell.source) {
            let name = captures[1].to_owned();
            if !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found
}
