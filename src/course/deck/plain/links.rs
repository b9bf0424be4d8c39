//! The links and images in the text cells of a notebook.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag};
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::super::images::decoded;
use super::super::{CellKind, Deck};

/// A link of a text cell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Link {
    /// The URL as it is written.
    pub url: String,
    /// Whether it is shown as a picture.
    pub is_image: bool,
}

/// An attribute of HTML that names a file.
static ATTRIBUTE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"<\s*(img|a|source|video|audio|iframe|embed|object)\b[^>]*?\b(?:src|href|data|poster)\s*=\s*(?:"([^"]+)"|'([^']+)')"#)
        .expect("the pattern is constant")
});

/// Returns the links of a deck's text cells that may name files beside it: neither URLs of the network nor places in
/// the same page.
pub(crate) fn local_links(deck: &Deck) -> Vec<Link> {
    let texts = deck.cells.iter();
    let texts = texts.filter(|cell| cell.kind == CellKind::Markdown);
    let found = texts.flat_map(|cell| found(&cell.source));
    let mut links: Vec<Link> = found
        .map(|(_, link)| link)
        .filter(|link| is_local(&link.url))
        .collect();
    links.sort();
    links.dedup();
    links
}

/// Replaces the URLs of links in a text, by the URLs as they are written.
pub(crate) fn relinked(markdown: &str, urls: &BTreeMap<String, String>) -> String {
    let mut text = markdown.to_owned();
    if urls.is_empty() {
        return text;
    }
    let mut places = found(markdown);
    places.sort_by_key(|(range, _)| range.start);
    places.dedup_by_key(|(range, _)| range.start);
    for (range, link) in places.into_iter().rev() {
        if let Some(url) = urls.get(&link.url) {
            text.replace_range(range, url);
        }
    }
    text
}

/// Returns all links in a Markdown text, with the place of each URL.
fn found(markdown: &str) -> Vec<(Range<usize>, Link)> {
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
    for (event, range) in parser.into_offset_iter() {
        let (kind, url, is_image) = match event {
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
            Event::Html(_) | Event::InlineHtml(_) => {
                found.extend(in_html(markdown, range));
                continue;
            }
            _ => continue,
        };
        if kind == LinkType::Inline
            && let Some(at) = markdown
                .get(range.clone())
                .and_then(|text| text.rfind(&*url))
        {
            let start = range.start + at;
            let link = Link {
                url: url.to_string(),
                is_image,
            };
            found.push((start..start + url.len(), link));
        }
    }
    for (range, url) in definitions {
        let text = markdown.get(range.clone());
        if let Some(at) = text.and_then(|text| text.find(&url)) {
            let start = range.start + at;
            // It is not known how the definition is used, so nothing is said if the file is missing.
            let link = Link {
                url: url.clone(),
                is_image: false,
            };
            found.push((start..start + url.len(), link));
        }
    }
    found
}

fn in_html(markdown: &str, range: Range<usize>) -> Vec<(Range<usize>, Link)> {
    let text = markdown.get(range.clone()).unwrap_or_default();
    let attributes = ATTRIBUTE.captures_iter(text);
    let links = attributes.filter_map(|attribute| {
        let url = attribute.get(2).or(attribute.get(3))?;
        let link = Link {
            url: url.as_str().to_owned(),
            is_image: &attribute[1] == "img",
        };
        Some((range.start + url.start()..range.start + url.end(), link))
    });
    links.collect()
}

fn is_local(url: &str) -> bool {
    let has_scheme = url.split_once(':').is_some_and(|(scheme, _)| {
        let is_sign = |sign: char| sign.is_ascii_alphanumeric() || "+.-".contains(sign);
        scheme.len() > 1 && scheme.chars().all(is_sign)
    });
    !url.is_empty() && !has_scheme && !url.starts_with(['#', '/', '?'])
}

/// Returns the path that a local URL names, relative to the notebook, and the rest of the URL: `#part` or `?query`.
pub(crate) fn path_of(url: &str) -> (String, &str) {
    let end = url.find(['#', '?']).unwrap_or(url.len());
    let (path, rest) = url.split_at(end);
    (decoded(path), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_of_code_and_replaced_where_they_are() {
        let text = "See [a](other.ipynb#x), ![p](img/p%20q.png \"t\") and <img width=3 src='b.drawio'>.\n\n\
            `[no](no.md)`\n\n```\n[no](no.md)\n```\n\n[r]: ref.md\n\nA [word][r], [net](https://e.org/x.md), [here](#top).\n";
        let urls: Vec<String> = found(text).into_iter().map(|(_, link)| link.url).collect();
        assert_eq!(
            urls,
            [
                "other.ipynb#x",
                "img/p%20q.png",
                "b.drawio",
                "https://e.org/x.md",
                "#top",
                "ref.md"
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
        assert_eq!(path_of("img/p%20q.png"), ("img/p q.png".to_owned(), ""));
        assert_eq!(path_of("a%.md?x#y"), ("a%.md".to_owned(), "?x#y"));
        assert!(!is_local("mailto:a@b") && is_local("../x.md"));
    }
}
