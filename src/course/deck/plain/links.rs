//! The links and images in the text cells of a notebook.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::LazyLock;

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag};
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::super::url::local;
use super::super::{CellKind, Deck};

/// A link of a text cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// The URL as it is written.
    pub url: String,
    /// Whether it is shown in the page: a picture, a video or a sound.
    pub is_shown: bool,
    /// The number of the first cell that has it.
    pub cell: u32,
    /// Its line in the file, if the format has lines.
    pub line: Option<u32>,
}

/// A URL in a text.
#[derive(Debug)]
pub(super) struct Found {
    /// Its place in the text.
    pub range: Range<usize>,
    /// As it is written.
    pub url: String,
    /// Whether it is shown in the page: a picture, a video or a sound.
    pub is_shown: bool,
}

/// A tag of HTML that may name files, with its attributes.
static TAG: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?i)<(img|a|source|video|audio|iframe|embed|object)\b((?:[^>"']|"[^"]*"|'[^']*')*)>"#,
    )
    .expect("the pattern is constant")
});

/// An attribute that names a file.
static ATTRIBUTE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)\s(src|href|data|poster)\s*=\s*(?:"([^"]+)"|'([^']+)')"#)
        .expect("the pattern is constant")
});

static COMMENT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("(?s)<!--.*?-->").expect("the pattern is constant"));

/// Returns the links of a deck's text cells that may name files beside it, each once, in the order of their URLs.
pub(crate) fn local_links(deck: &Deck) -> Vec<Link> {
    let mut links: BTreeMap<String, Link> = BTreeMap::new();
    let texts = deck.cells.iter();
    for cell in texts.filter(|cell| cell.kind == CellKind::Markdown) {
        for found in found(&cell.source) {
            if local(&found.url).is_none() {
                continue;
            }
            match links.entry(found.url.clone()) {
                Entry::Occupied(mut known) => known.get_mut().is_shown |= found.is_shown,
                Entry::Vacant(new) => {
                    let before = &cell.source[..found.range.start];
                    let line = u32::try_from(before.matches('\n').count()).ok();
                    new.insert(Link {
                        url: found.url,
                        is_shown: found.is_shown,
                        cell: cell.number,
                        line: line.and_then(|line| cell.line_at(line)),
                    });
                }
            }
        }
    }
    links.into_values().collect()
}

/// Replaces the URLs of links in a text, by the URLs as they are written.
pub(crate) fn relinked(markdown: &str, urls: &BTreeMap<String, String>) -> String {
    if urls.is_empty() {
        return markdown.to_owned();
    }
    replaced(markdown, &mut |found| urls.get(&found.url).cloned())
}

/// Replaces URLs in a text by those that `new` returns.
pub(super) fn replaced(markdown: &str, new: &mut dyn FnMut(&Found) -> Option<String>) -> String {
    let mut text = String::with_capacity(markdown.len());
    let mut copied = 0;
    for found in found(markdown) {
        if let Some(url) = new(&found) {
            text.push_str(&markdown[copied..found.range.start]);
            text.push_str(&url);
            copied = found.range.end;
        }
    }
    text.push_str(&markdown[copied..]);
    text
}

/// Returns all links in a Markdown text, in their order.
fn found(markdown: &str) -> Vec<Found> {
    // Nearly all cells without these signs have no links.
    if !markdown.contains("](") && !markdown.contains('<') && !markdown.contains("]:") {
        return Vec::new();
    }
    let mut found = Vec::new();
    let parser = Parser::new_ext(markdown, Options::ENABLE_TABLES);
    let definitions = parser.reference_definitions().iter();
    let definitions: Vec<(Range<usize>, String)> = definitions
        .map(|(_, definition)| (definition.span.clone(), definition.dest.to_string()))
        .collect();
    let mut shown_by_reference = Vec::new();
    for (event, range) in parser.into_offset_iter() {
        let (kind, url, is_shown) = match event {
            Event::Start(Tag::Link {
                link_type,
                dest_url,
                ..
            }) => (link_type, dest_url, false),
            Event::Start(Tag::Image {
                link_type,
                dest_url,
                ..
            }) => (link_type, dest_url, true),
            Event::Start(Tag::HtmlBlock) | Event::InlineHtml(_) => {
                found.extend(in_html(markdown, range));
                continue;
            }
            _ => continue,
        };
        if kind == LinkType::Inline {
            let text = markdown.get(range.clone()).unwrap_or_default();
            found.extend(destination(text, &url).map(|at| Found {
                range: range.start + at..range.start + at + url.len(),
                url: url.to_string(),
                is_shown,
            }));
        } else if is_shown {
            shown_by_reference.push(url.to_string());
        }
    }
    for (range, url) in definitions {
        let text = markdown.get(range.clone()).unwrap_or_default();
        // The label may contain the same words.
        let label = text.find("]:").unwrap_or(text.len());
        if let Some(at) = text[label..].find(&url) {
            let start = range.start + label + at;
            found.push(Found {
                range: start..start + url.len(),
                is_shown: shown_by_reference.contains(&url),
                url,
            });
        }
    }
    found.sort_by_key(|found| found.range.start);
    found.dedup_by_key(|found| found.range.start);
    found
}

/// Returns the place of a URL in the text of an inline link, in which the label, the title, and pictures in the label may
/// contain the same words.
fn destination(link: &str, url: &str) -> Option<usize> {
    if url.is_empty() {
        return None;
    }
    let places = link.match_indices(url).map(|(at, _)| at);
    let follows = |at: &usize| {
        let before = &link[..*at];
        let before = before.strip_suffix('<').unwrap_or(before);
        before.trim_end().ends_with("](")
    };
    places.filter(follows).last()
}

fn in_html(markdown: &str, range: Range<usize>) -> Vec<Found> {
    let text = markdown.get(range.clone()).unwrap_or_default();
    let comments: Vec<_> = COMMENT.find_iter(text).map(|found| found.range()).collect();
    let mut found = Vec::new();
    for tag in TAG.captures_iter(text) {
        let (Some(whole), Some(attributes)) = (tag.get(0), tag.get(2)) else {
            continue;
        };
        if comments
            .iter()
            .any(|hidden| hidden.contains(&whole.start()))
        {
            continue;
        }
        let is_media = ["img", "video", "audio", "source"]
            .iter()
            .any(|name| tag[1].eq_ignore_ascii_case(name));
        for attribute in ATTRIBUTE.captures_iter(attributes.as_str()) {
            let Some(url) = attribute.get(2).or(attribute.get(3)) else {
                continue;
            };
            let start = range.start + attributes.start() + url.start();
            found.push(Found {
                range: start..start + url.len(),
                url: url.as_str().to_owned(),
                is_shown: is_media && !attribute[1].eq_ignore_ascii_case("href"),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_of_code_and_replaced_where_they_are() {
        let text = "See [a](other.ipynb#x), ![p](img/p%20q.png \"t\") and <img width=3 src='b.drawio'>.\n\n\
            `[no](no.md)`\n\n```\n[no](no.md)\n```\n\n[r]: ref.md\n\nA [word][r], [net](https://e.org/x.md), [here](#top).\n";
        let urls: Vec<String> = found(text).into_iter().map(|link| link.url).collect();
        assert_eq!(
            urls,
            [
                "other.ipynb#x",
                "img/p%20q.png",
                "b.drawio",
                "ref.md",
                "https://e.org/x.md",
                "#top"
            ]
        );
        let new = BTreeMap::from([
            ("other.ipynb#x".to_owned(), "other.html#x".to_owned()),
            ("b.drawio".to_owned(), "b.svg".to_owned()),
            ("ref.md".to_owned(), "ref.html".to_owned()),
            ("no.md".to_owned(), "wrong".to_owned()),
        ]);
        let shown = relinked(text, &new);
        for part in [
            "(other.html#x)",
            "src='b.svg'",
            "[r]: ref.html",
            "`[no](no.md)`",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!shown.contains("wrong"), "{shown}");
    }

    #[test]
    fn the_place_of_a_url_is_neither_its_label_nor_its_title() {
        let text = "[x.md](x.md \"see x.md\") ![a.png]( <a.png> 'a.png') [![b.png](b.png)](b.png)\n\n\
            ![r][r] <!-- <img src=\"no.png\"> --> <VIDEO controls\nposter=\"p.png\" SRC='f.mp4'></VIDEO>\n\n\
            <div data-src=\"no.png\">\n<img width=\"3\"\n  src=\"i.png\">\n</div>\n\n[r]: r.png \"r.png\"\n";
        let new = replaced(text, &mut |found| {
            Some(if found.is_shown { "SHOWN" } else { "LINK" }.to_owned())
        });
        let expected = "[x.md](LINK \"see x.md\") ![a.png]( <SHOWN> 'a.png') [![b.png](SHOWN)](LINK)\n\n\
            ![r][r] <!-- <img src=\"no.png\"> --> <VIDEO controls\nposter=\"SHOWN\" SRC='SHOWN'></VIDEO>\n\n\
            <div data-src=\"no.png\">\n<img width=\"3\"\n  src=\"SHOWN\">\n</div>\n\n[r]: SHOWN \"r.png\"\n";
        assert_eq!(new, expected);
    }
}
