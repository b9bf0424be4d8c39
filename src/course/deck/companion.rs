//! Narration in a separate file: the cells of a companion are inserted after the cells of the deck that they belong to.
//!
//! The course format defines this for the author's text before its template is rendered, and with a cell syntax that is
//! simpler than that of decks. So this module has a parser of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;
use sha2::{Digest as _, Sha256};

use super::text;
use crate::course::{ProgLang, RelPath};
use crate::diagnostic::Diagnostic;

/// The id of the slide that the header macro creates, for narration.
const TITLE: &str = "title";

/// How many hexadecimal digits of the hash of a cell's text are used in anchors.
const FINGERPRINT_LENGTH: usize = 12;

/// The narration of a deck.
#[derive(Clone, Copy, Debug)]
pub struct Companion<'a> {
    /// Its path.
    pub path: &'a RelPath,
    /// Its text.
    pub text: &'a str,
}

/// The origin of a line of the merged text: a line number, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Deck(u32),
    Companion(u32),
}

/// A deck with its narration.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) text: String,
    /// The origin of each line.
    pub(super) origins: Vec<Origin>,
    /// Narration that belongs to no cell of the deck.
    pub(super) lost: Vec<Diagnostic>,
}

/// A cell with its marker, unchanged from the file.
struct RawCell<'a> {
    lines: Vec<&'a str>,
    /// The line of its marker.
    first: u32,
    header: Header<'a>,
}

/// The relevant parts of a cell's marker.
#[derive(Default)]
struct Header<'a> {
    is_template: bool,
    is_markdown: bool,
    starts_slide: bool,
    is_narration: bool,
    lang: Option<&'a str>,
    slide_id: Option<&'a str>,
    for_slide: Option<&'a str>,
    anchor: Option<&'a str>,
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is constant")
}

static LANG: LazyLock<Regex> = LazyLock::new(|| pattern(r#"lang="(\w+)""#));
static TAGS: LazyLock<Regex> = LazyLock::new(|| pattern(r"tags=\[([^\]]*)\]"));
static SLIDE_ID: LazyLock<Regex> = LazyLock::new(|| pattern(r#"slide_id="([^"]*)""#));
static FOR_SLIDE: LazyLock<Regex> = LazyLock::new(|| pattern(r#"for_slide="([^"]*)""#));
static ANCHOR: LazyLock<Regex> = LazyLock::new(|| pattern(r#"\s*vo_anchor="([^"]*)""#));
static TITLE_MACRO: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"\{\{\s*(?:header\s*\(\s*"[^"]*"\s*,\s*"[^"]*"\s*\)|header_(?:de|en)\s*\(\s*"[^"]*"\s*\)|header\s*\(\s*"[^"]*"\s*\)|header\s*\(\s*[a-z]{2,3}\s*=\s*"[^)]*\))"#,
    )
});

impl<'a> Header<'a> {
    fn read(line: &'a str, comment: &str) -> Self {
        let follows = |rest: &str| {
            line.strip_prefix(comment)
                .is_some_and(|after| after.starts_with(rest))
        };
        if follows(" j2 ") || follows(" {{ ") {
            return Self {
                is_template: true,
                ..Self::default()
            };
        }
        let value = |pattern: &Regex| {
            let found = pattern.captures(line)?.get(1)?;
            Some(found.as_str())
        };
        let tags: Vec<&str> = value(&TAGS)
            .unwrap_or("")
            .split('"')
            .skip(1)
            .step_by(2)
            .collect();
        let has = |tag: &str| tags.contains(&tag);
        let named = |pattern: &Regex| value(pattern).filter(|id| !id.is_empty());
        Self {
            is_template: false,
            is_markdown: line.contains("[markdown]"),
            starts_slide: has("slide") || has("subslide"),
            is_narration: has("notes") || has("voiceover"),
            lang: value(&LANG),
            slide_id: named(&SLIDE_ID),
            for_slide: named(&FOR_SLIDE),
            anchor: named(&ANCHOR),
        }
    }

    /// Returns whether its language differs from that of narration in `lang`.
    fn is_foreign(&self, lang: Option<&str>) -> bool {
        matches!((self.lang, lang), (Some(own), Some(lang)) if own != lang)
    }
}

impl RawCell<'_> {
    fn makes_title(&self) -> bool {
        self.header.is_template && TITLE_MACRO.is_match(self.lines[0])
    }

    /// Returns a short hash of the cell's text, without its marker and blank lines.
    fn fingerprint(&self) -> String {
        let (kind, body) = match &self.header {
            header if header.is_template => ("j2", &self.lines[..]),
            header if header.is_markdown => ("markdown", &self.lines[1..]),
            _ => ("code", &self.lines[1..]),
        };
        let lines: Vec<&str> = body
            .iter()
            .map(|line| line.trim_end_matches(text::is_space))
            .filter(|line| !line.is_empty())
            .collect();
        let hash = Sha256::digest(format!("{kind}\0{}", lines.join("\n")));
        let mut digits = String::new();
        for byte in hash {
            // Writing to a `String` cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
        digits.truncate(FINGERPRINT_LENGTH);
        digits
    }
}

/// Inserts narration into a deck; both texts have `\n` between lines.
pub(super) fn merge(
    path: &RelPath,
    deck: &str,
    companion: &Companion,
    narration: &str,
    prog_lang: ProgLang,
) -> Merged {
    let comment = prog_lang.comment();
    let (preamble, cells) = split(deck, comment);
    let (_, narrations) = split(narration, comment);
    let mut after: BTreeMap<usize, Vec<(String, &RawCell)>> = BTreeMap::new();
    let mut lost = Vec::new();
    for narration in &narrations {
        match place(&cells, &narration.header) {
            Some(index) => {
                let marker = ANCHOR.replace_all(narration.lines[0], "").into_owned();
                after.entry(index).or_default().push((marker, narration));
            }
            None => lost.push(unplaced(path, companion, narration)),
        }
    }
    let mut lines: Vec<(&str, Origin)> = Vec::new();
    // An empty preamble has no line.
    if preamble != [""] {
        lines.extend((1..).zip(preamble).map(|(n, line)| (line, Origin::Deck(n))));
    }
    for (index, cell) in cells.iter().enumerate() {
        lines.extend(
            (cell.first..)
                .zip(&cell.lines)
                .map(|(n, line)| (*line, Origin::Deck(n))),
        );
        for (marker, narration) in after.get(&index).into_iter().flatten() {
            lines.push((marker, Origin::Companion(narration.first)));
            lines.extend(
                (narration.first + 1..)
                    .zip(&narration.lines[1..])
                    .map(|(n, line)| (*line, Origin::Companion(n))),
            );
        }
    }
    let (texts, origins): (Vec<&str>, Vec<Origin>) = lines.into_iter().unzip();
    Merged {
        text: texts.join("\n"),
        origins,
        lost,
    }
}

fn unplaced(deck: &RelPath, companion: &Companion, narration: &RawCell) -> Diagnostic {
    let message = match narration.header.for_slide {
        Some(id) => format!(
            "no slide of `{}` has the id `{id}`: its narration is lost",
            deck.file_name()
        ),
        None => "the narration names no slide, and is lost".to_owned(),
    };
    Diagnostic::error(message)
        .at(companion.path.as_str(), Some(narration.first))
        .hint("`for_slide` must be the `slide_id` of a cell in the deck, or `title`")
}

/// Splits a text into the lines before the first cell, and the cells.
fn split<'a>(text: &'a str, comment: &str) -> (Vec<&'a str>, Vec<RawCell<'a>>) {
    let starts = |line: &str| {
        line.strip_prefix(comment).is_some_and(|rest| {
            rest.starts_with(" %%") || rest.starts_with(" j2 ") || rest.starts_with(" {{ ")
        })
    };
    let mut preamble = Vec::new();
    let mut cells: Vec<RawCell> = Vec::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        if starts(line) {
            cells.push(RawCell {
                lines: vec![line],
                first: number,
                header: Header::read(line, comment),
            });
        } else if let Some(cell) = cells.last_mut() {
            cell.lines.push(line);
        } else {
            preamble.push(line);
        }
    }
    if preamble.is_empty() {
        preamble.push("");
    }
    (preamble, cells)
}

/// Returns the cell that narration is inserted after.
fn place(cells: &[RawCell], narration: &Header) -> Option<usize> {
    let anchored = narration
        .anchor
        .and_then(|anchor| anchored(cells, narration, anchor));
    let by_slide = || {
        let id = narration.for_slide?;
        let last = last_of_slide(cells, id, narration.lang)?;
        Some(end_of_slide(cells, last, narration.lang, |other| {
            other == id
        }))
    };
    let by_title = || {
        let is_meant = match narration.for_slide {
            Some(id) => id == TITLE,
            None => narration.slide_id == Some(TITLE),
        };
        let title = cells
            .iter()
            .position(RawCell::makes_title)
            .filter(|_| is_meant)?;
        Some(end_of_slide(cells, title, narration.lang, |_| false))
    };
    anchored.or_else(by_slide).or_else(by_title)
}

/// Returns the last cell with a slide's id, preferably one in the narration's language.
fn last_of_slide(cells: &[RawCell], id: &str, lang: Option<&str>) -> Option<usize> {
    let all = || {
        let of_slide = |(_, cell): &(usize, &RawCell)| {
            cell.header.slide_id == Some(id) && !cell.header.is_narration
        };
        cells.iter().enumerate().rev().filter(of_slide)
    };
    all()
        .find(|(_, cell)| !cell.header.is_foreign(lang))
        .or_else(|| all().next())
        .map(|(index, _)| index)
}

/// Returns the last cell of the slide that contains `start`.
fn end_of_slide(
    cells: &[RawCell],
    start: usize,
    lang: Option<&str>,
    is_same_slide: impl Fn(&str) -> bool,
) -> usize {
    let goes_on = |cell: &&RawCell| {
        let header = &cell.header;
        !header.is_narration
            && !header.starts_slide
            && header.slide_id.is_none_or(&is_same_slide)
            && !header.is_foreign(lang)
    };
    start + cells[start + 1..].iter().take_while(goes_on).count()
}

/// Returns the cell of an anchor: `id:<slide_id>#<n>`, `fp:<fingerprint>#<n>` or `tm:` (the title macro).
fn anchored(cells: &[RawCell], narration: &Header, anchor: &str) -> Option<usize> {
    let (kind, rest) = anchor.split_once(':').unwrap_or((anchor, ""));
    if kind == "tm" {
        return cells.iter().position(RawCell::makes_title);
    }
    let (value, occurrence) = rest.split_once('#').unwrap_or((rest, "0"));
    let occurrence = occurrence.parse().unwrap_or(0);
    let (start, end) = match narration.for_slide {
        None => (0, cells.len()),
        Some(id) => slide_range(cells, id, narration.lang)?,
    };
    (start..end)
        .filter(|index| {
            let cell = &cells[*index];
            !cell.header.is_narration
                && !cell.header.is_foreign(narration.lang)
                && match kind {
                    "id" => cell.header.slide_id == Some(value),
                    "fp" => cell.fingerprint() == value,
                    _ => false,
                }
        })
        .nth(occurrence)
}

/// Returns the range of cells of a slide: from the one that starts it to the next that starts one.
fn slide_range(cells: &[RawCell], id: &str, lang: Option<&str>) -> Option<(usize, usize)> {
    let of_slide: Vec<usize> = (0..cells.len())
        .filter(|index| {
            let header = &cells[*index].header;
            header.slide_id == Some(id) && !header.is_narration
        })
        .collect();
    let start = of_slide
        .iter()
        .copied()
        .rfind(|index| {
            let header = &cells[*index].header;
            header.starts_slide && !header.is_foreign(lang)
        })
        .or_else(|| of_slide.first().copied())
        .or_else(|| {
            cells
                .iter()
                .position(RawCell::makes_title)
                .filter(|_| id == TITLE)
        })?;
    let end = cells[start + 1..]
        .iter()
        .position(|cell| cell.header.starts_slide && !cell.header.is_foreign(lang))
        .map_or(cells.len(), |offset| start + 1 + offset);
    Some((start, end))
}

/// Returns the name of the companion of a deck: `slides_intro.de.py` has `voiceover_intro.de.py`.
pub(crate) fn companion_name(deck: &str) -> String {
    let rest = ["slides_", "topic_", "project_"]
        .into_iter()
        .find_map(|prefix| deck.strip_prefix(prefix));
    format!("voiceover_{}", rest.unwrap_or(deck))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECK: &str = r#"# j2 from 'macros.j2' import header
# {{ header("T", "T") }}

# %% [markdown] lang="de" tags=["slide"] slide_id="a"
# A de

# %% [markdown] lang="en" tags=["slide"] slide_id="a"
# A en

# %% tags=["keep"]
1 + 1

# %% [markdown] lang="en" tags=["subslide"] slide_id="b"
# B en
"#;

    fn merged(narration: &str) -> Merged {
        let path = RelPath::new("s/slides_x.py").unwrap();
        let companion = RelPath::new("s/voiceover/voiceover_x.py").unwrap();
        let companion = Companion {
            path: &companion,
            text: narration,
        };
        merge(&path, DECK, &companion, narration, ProgLang::Python)
    }

    /// Returns the text of the line before the narration.
    fn follows(narration: &str) -> String {
        let merged = merged(narration);
        assert!(merged.lost.is_empty(), "{:?}", merged.lost);
        let first = merged
            .origins
            .iter()
            .position(|origin| matches!(origin, Origin::Companion(_)))
            .unwrap();
        let lines: Vec<&str> = merged.text.split('\n').collect();
        let before = lines[..first].iter().rfind(|line| !line.is_empty());
        before.unwrap().to_string()
    }

    #[test]
    fn narration_follows_the_last_cell_of_its_slide_in_its_language() {
        let of = |options: &str| {
            follows(&format!(
                "# %% [markdown] {options} tags=[\"voiceover\"]\n# Hear\n"
            ))
        };
        assert_eq!(of(r#"lang="de" for_slide="a""#), "# A de");
        assert_eq!(of(r#"lang="en" for_slide="a""#), "1 + 1");
        assert_eq!(of(r#"for_slide="b""#), "# B en");
        assert_eq!(
            of(r#"lang="en" for_slide="title""#),
            r#"# {{ header("T", "T") }}"#
        );
        assert_eq!(
            of(r#"lang="en" slide_id="title""#),
            r#"# {{ header("T", "T") }}"#
        );
        assert_eq!(
            of(r#"lang="en" for_slide="a" vo_anchor="id:a#0""#),
            "# A en"
        );
        assert_eq!(
            of(r#"lang="en" for_slide="zz" vo_anchor="tm:title#0""#),
            r#"# {{ header("T", "T") }}"#
        );
    }

    #[test]
    fn anchors_name_cells_by_their_text() {
        let (_, cells) = split(DECK, "#");
        let print = cells[4].fingerprint();
        let text = format!(
            "# %% [markdown] lang=\"en\" for_slide=\"a\" vo_anchor=\"fp:{print}#0\" tags=[\"voiceover\"]\n# Hear"
        );
        let merged = merged(&text);
        assert!(merged.text.contains("1 + 1\n\n# %% [markdown] lang=\"en\" for_slide=\"a\" tags=[\"voiceover\"]\n# Hear\n# %%"));
    }

    #[test]
    fn every_line_knows_where_it_comes_from() {
        let merged = merged("\n# %% [markdown] for_slide=\"a\" tags=[\"notes\"]\n# N\n");
        let deck: Vec<&str> = DECK.split('\n').collect();
        for (line, origin) in merged.text.split('\n').zip(&merged.origins) {
            if let Origin::Deck(number) = origin {
                assert_eq!(line, deck[*number as usize - 1]);
            }
        }
        assert!(merged.origins.contains(&Origin::Companion(3)));
        assert_eq!(merged.text.split('\n').count(), merged.origins.len());
    }

    #[test]
    fn narration_without_a_slide_is_told() {
        let lost = merged("# %% [markdown] for_slide=\"zz\" tags=[\"voiceover\"]\n# Hear\n").lost;
        assert_eq!(lost.len(), 1);
        assert_eq!(lost[0].line, Some(1));
        assert!(lost[0].message.contains("`zz`"), "{}", lost[0].message);
    }

    #[test]
    fn companions_are_named_after_their_decks() {
        assert_eq!(
            companion_name("slides_intro.de.py"),
            "voiceover_intro.de.py"
        );
        assert_eq!(companion_name("project_x.cs"), "voiceover_x.cs");
    }
}
