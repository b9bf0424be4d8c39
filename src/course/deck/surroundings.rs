//! References of text cells to files outside of their deck: images and other decks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{CellKind, Deck, Notebook};

/// The forms of references in one output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// Names without suffix of images in `img/` that are SVG files, although decks refer to PNG files.
    pub svg_images: BTreeSet<String>,
    /// The replacement for `img/` in this output.
    pub image_dir: Option<String>,
    /// The targets of `clm:` references; `None` for a link that is replaced by its text.
    pub links: BTreeMap<String, Option<String>>,
    /// The replacements for the URLs of images.
    pub data_urls: BTreeMap<String, String>,
}

/// The `src` of an image or video in `img/`: the text before the path, the file, and the text after it.
static MEDIA: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(<(?:img|video)\s+[^>]*src=["'])img/([^"']+)(["'][^>]*>)"#));
static IMAGE: LazyLock<Regex> = LazyLock::new(|| pattern(r#"<img\s+[^>]*src="([^"]+)""#));
/// A link with the scheme `clm`: its text and its target.
static LINK: LazyLock<Regex> = LazyLock::new(|| pattern(r"\[([^\]]*)\]\(\s*clm:\s*([^)\s]+)\s*\)"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is constant")
}

impl Surroundings {
    /// Returns the text of a cell in the output. `may_inline` is whether images may be embedded.
    pub(super) fn shown(&self, source: String, may_inline: bool) -> String {
        let mut source = source;
        if !self.svg_images.is_empty() {
            source = replace(&MEDIA, source, |found| {
                let stem = found[2].strip_suffix(".png")?;
                let is_svg = self.svg_images.contains(stem);
                is_svg.then(|| format!("{}img/{stem}.svg{}", &found[1], &found[3]))
            });
        }
        if may_inline && !self.data_urls.is_empty() {
            source = replace(&IMAGE, source, |found| {
                let url = self.data_urls.get(&found[1])?;
                Some(found[0].replace(&found[1], url))
            });
        }
        if let Some(dir) = &self.image_dir {
            source = replace(&MEDIA, source, |found| {
                Some(format!("{}{dir}{}{}", &found[1], &found[2], &found[3]))
            });
        }
        if !self.links.is_empty() {
            source = replace(&LINK, source, |found| {
                Some(match self.links.get(&found[2])? {
                    Some(href) => format!("[{}]({href})", &found[1]),
                    None => found[1].to_owned(),
                })
            });
        }
        source
    }
}

/// Replaces each match by the result of `by`; `None` leaves it unchanged.
fn replace(
    pattern: &Regex,
    source: String,
    by: impl Fn(&Captures<'_>) -> Option<String>,
) -> String {
    if !pattern.is_match(&source) {
        return source;
    }
    pattern
        .replace_all(&source, |found: &Captures<'_>| {
            by(found).unwrap_or_else(|| found[0].to_owned())
        })
        .into_owned()
}

/// Returns the `clm:` references in the text cells of a deck.
pub fn references(deck: &Deck) -> BTreeSet<String> {
    let texts = deck
        .cells
        .iter()
        .filter(|cell| cell.kind == CellKind::Markdown);
    texts
        .flat_map(|cell| LINK.captures_iter(&cell.source))
        .map(|found| found[2].to_owned())
        .collect()
}

/// Splits a reference into the topic and the deck in it. The part after `#` is ignored.
pub(crate) fn reference_parts(reference: &str) -> (&str, Option<&str>) {
    let reference = reference.split('#').next().unwrap_or(reference);
    match reference.split_once('/') {
        Some((topic, deck)) => (topic, Some(deck).filter(|deck| !deck.is_empty())),
        None => (reference, None),
    }
}

/// Returns the URLs of images in a notebook that may be embedded, because they are files.
pub fn image_urls(notebook: &Notebook) -> BTreeSet<String> {
    let may_embed = |cell: &&super::NotebookCell| {
        cell.kind == CellKind::Markdown
            && !super::percent::tags(&cell.metadata).any(|tag| tag == "nodataurl")
    };
    let texts = notebook.cells.iter().filter(may_embed);
    texts
        .flat_map(|cell| IMAGE.captures_iter(&cell.source))
        .map(|found| found[1].to_owned())
        .filter(|url| {
            !["data:", "http:", "https:"]
                .iter()
                .any(|scheme| url.starts_with(scheme))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(surroundings: &Surroundings, source: &str) -> String {
        surroundings.shown(source.to_owned(), true)
    }

    #[test]
    fn without_surroundings_nothing_changes() {
        let source = r#"<img src="img/a.png"> [x](clm:y) text"#;
        assert_eq!(shown(&Surroundings::default(), source), source);
    }

    #[test]
    fn only_rendered_diagrams_become_svg() {
        let surroundings = Surroundings {
            svg_images: BTreeSet::from(["a".to_owned(), "b.de".to_owned()]),
            ..Surroundings::default()
        };
        assert_eq!(
            shown(
                &surroundings,
                r#"<img src="img/a.png" width="3"> <img alt='x' src='img/b.de.png'> <img src="img/c.png">"#
            ),
            r#"<img src="img/a.svg" width="3"> <img alt='x' src='img/b.de.svg'> <img src="img/c.png">"#
        );
    }

    #[test]
    fn shared_images_are_found_from_everywhere() {
        let surroundings = Surroundings {
            image_dir: Some("../../img/".to_owned()),
            ..Surroundings::default()
        };
        assert_eq!(
            shown(
                &surroundings,
                r#"<video controls src="img/a.mp4"></video><img src="other/a.png">"#
            ),
            r#"<video controls src="../../img/a.mp4"></video><img src="other/a.png">"#
        );
    }

    #[test]
    fn links_lead_to_decks_or_leave_their_text() {
        let surroundings = Surroundings {
            links: BTreeMap::from([
                (
                    "loops".to_owned(),
                    Some("../Week%202/01%20Loops.html".to_owned()),
                ),
                ("gone".to_owned(), None),
            ]),
            ..Surroundings::default()
        };
        assert_eq!(
            shown(
                &surroundings,
                "See [the loops](clm:loops), [it](clm: gone ) and [that](clm:other)."
            ),
            "See [the loops](../Week%202/01%20Loops.html), it and [that](clm:other)."
        );
        assert_eq!(reference_parts("a/slides_x#top"), ("a", Some("slides_x")));
        assert_eq!(reference_parts("a#top"), ("a", None));
    }

    #[test]
    fn images_become_a_part_of_the_text_where_they_may() {
        let surroundings = Surroundings {
            data_urls: BTreeMap::from([(
                "img/a.png".to_owned(),
                "data:image/png;base64,AA==".to_owned(),
            )]),
            ..Surroundings::default()
        };
        let source = r#"<img width="3" src="img/a.png"> <img src="img/b.png">"#;
        assert_eq!(
            shown(&surroundings, source),
            r#"<img width="3" src="data:image/png;base64,AA=="> <img src="img/b.png">"#
        );
        assert_eq!(surroundings.shown(source.to_owned(), false), source);
    }
}
