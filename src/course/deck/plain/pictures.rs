//! The pictures that text cells of a notebook show: attachments, and files beside the notebook.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::super::images::{SHOWN, decoded, without_code};
use super::super::{Cell, CellKind};
use super::Plain;

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
        let masked = without_code(&cell.source);
        let mut text = String::new();
        let mut copied = 0;
        for captures in SHOWN.captures_iter(&masked) {
            let Some(url) = (1..=4).find_map(|group| captures.get(group)) else {
                continue;
            };
            let new = match url.as_str().trim().strip_prefix("attachment:") {
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
                    local_path(url.as_str()).and_then(|path| place(cell, Picture::Local(&path)))
                }
            };
            if let Some(new) = new {
                text.push_str(&cell.source[copied..url.start()]);
                text.push_str(&new);
                copied = url.end();
            }
        }
        text.push_str(&cell.source[copied..]);
        cell.source = text;
    }
}

/// Returns the path of a URL, or `None` if the URL leads to another machine, to the root of a site or to nothing.
fn local_path(url: &str) -> Option<String> {
    let url = url.trim();
    let has_scheme = url.split_once(':').is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    if has_scheme || url.starts_with(['/', '#', '\\']) {
        return None;
    }
    let path = decoded(url.split(['?', '#']).next().unwrap_or_default());
    (!path.is_empty()).then_some(path)
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
