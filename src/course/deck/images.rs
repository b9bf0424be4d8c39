//! Finds the images, videos and sounds in the text cells of a deck.

use std::sync::LazyLock;

use regex::Regex;

use super::url::local;
use super::{Cell, CellKind, Deck, tags};
use crate::course::{Lang, RelPath};
use crate::diagnostic::Diagnostic;

/// A file in a text cell.
#[derive(Debug)]
pub(crate) struct ImageReference<'a> {
    cell: &'a Cell,
    /// The path in the file system: the URL without a query, percent-decoded.
    pub path: String,
    /// The line in the cell, counted from 0.
    line: u32,
}

/// The addresses of images, videos and sounds, each in one of four groups.
static SHOWN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?i)<(?:img|video|audio|source)\b[^>]*?\ssrc\s*=\s*(?:"([^"]*)"|'([^']*)')|!\[[^\]]*\]\(\s*(?:<([^>]*)>|([^)\s]+))"#,
    )
    .expect("the pattern is constant")
});
/// Inline code and comments, in which nothing is an image.
static HIDDEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?s)<!--.*?-->|``.+?``|`[^`\n]+`").expect("the pattern is constant")
});

/// Returns the relative paths of files in the text cells of a deck. URLs and paths that leave the output's directory
/// are omitted.
pub(crate) fn image_references(deck: &Deck) -> Vec<ImageReference<'_>> {
    let mut found = Vec::new();
    let shown = |cell: &&Cell| cell.kind == CellKind::Markdown && !cell.has_tag("del");
    for cell in deck.cells.iter().filter(shown) {
        // A fast check that excludes nearly all cells.
        if !cell.source.contains("src") && !cell.source.contains("![") {
            continue;
        }
        let text = without_code(&cell.source);
        for captures in SHOWN.captures_iter(&text) {
            let Some(url) = (1..=4).find_map(|group| captures.get(group)) else {
                continue;
            };
            let Some(path) = path_of(url.as_str()) else {
                continue;
            };
            let line = text[..url.start()].matches('\n').count() as u32;
            found.push(ImageReference { cell, path, line });
        }
    }
    found
}

impl ImageReference<'_> {
    /// Returns whether outputs in a language show it.
    pub(crate) fn is_shown_in(&self, lang: Lang) -> bool {
        tags::language(self.cell).is_none_or(|only| only == lang.name())
    }

    /// Sets the place of a diagnostic to this reference.
    pub(crate) fn at(&self, deck: &Deck, diagnostic: Diagnostic) -> Diagnostic {
        let line = self.cell.line_at(self.line);
        diagnostic
            .at(deck.path.as_str(), line)
            .cell(self.cell.number)
    }
}

/// Returns a text in which code and comments are blanks, so that all positions are those of the text.
fn without_code(source: &str) -> String {
    let blank = |text: &str| -> String {
        let byte = |byte: u8| if byte == b'\n' { '\n' } else { ' ' };
        text.bytes().map(byte).collect()
    };
    let mut text = String::with_capacity(source.len());
    let mut fence: Option<&str> = None;
    for line in source.split_inclusive('\n') {
        let start = line.trim_start();
        let mark = ["```", "~~~"]
            .into_iter()
            .find(|mark| start.starts_with(mark));
        let is_code = fence.is_some() || mark.is_some();
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            _ => {}
        }
        match is_code {
            true => text.push_str(&blank(line)),
            false => text.push_str(line),
        }
    }
    let blanks = |hidden: &regex::Captures<'_>| blank(&hidden[0]);
    HIDDEN.replace_all(&text, blanks).into_owned()
}

/// Returns the path of a URL below the directory of the output, or `None` if the URL leads elsewhere.
fn path_of(url: &str) -> Option<String> {
    let (path, _) = local(url)?;
    RelPath::normal(&path).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::ProgLang;
    use crate::course::deck::{DeckSource, View, read};

    #[test]
    fn what_cells_show_is_found_with_its_line_and_code_is_not_shown() {
        let text = "# %% [markdown]\n# ![a](img/a.png \"t\") <img width=\"3\"\n# src='./img/b%20c.png?x'>\n\
                    # ```\n# ![no](no.png)\n# ```\n# `![no](no.png)` <!-- <img src=\"no.png\"> -->\n\
                    # ![u](https://x.org/u.png) <img src=\"data:image/png;base64,AA\"> ![o](../o.png)\n\
                    # <video controls src=\"img/f.mp4\"></video>\n# %%\nx = '<img src=\"no.png\">'\n\
                    # %% [markdown]\n# one {# two\n# three #}\n# ![a](img/g.png)\n";
        let path = RelPath::new("slides/m/t/slides_x.py").unwrap();
        let view = View {
            lang: Lang::EN,
            format: crate::course::Format::Code,
            author: "",
            organization: "",
        };
        let deck = read(
            &DeckSource::new(&path, text, ProgLang::Python),
            &view,
            &|_| None,
        )
        .unwrap();
        let found: Vec<(String, Option<u32>)> = image_references(&deck)
            .into_iter()
            .map(|found| {
                let line = found.at(&deck, Diagnostic::warning("x")).line;
                (found.path, line)
            })
            .collect();
        // The last one has a line less before it than in the file: a comment of the template is removed.
        let expected = [
            ("img/a.png", 2),
            ("img/b c.png", 3),
            ("img/f.mp4", 9),
            ("img/g.png", 15),
        ];
        let expected = expected.map(|(path, line)| (path.to_owned(), Some(line)));
        assert_eq!(found, expected);
    }
}
