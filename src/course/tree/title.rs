//! Extracts the title of a deck from the arguments of its header macro.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::course::{Lang, Localized};

/// A text in quotes.
const QUOTED: &str = r#"(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')"#;

static BOTH: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"\{\{[ \t]*header[ \t]*\([ \t]*["'](.*)["'][ \t]*,[ \t]*["'](.*)["'][ \t]*\)[ \t]*\}\}"#,
    )
    .ok()
});
static GERMAN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"\{\{[ \t]*header_de[ \t]*\([ \t]*["'](.*)["'][ \t]*\)[ \t]*\}\}"#).ok()
});
static ENGLISH: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"\{\{[ \t]*header_en[ \t]*\([ \t]*["'](.*)["'][ \t]*\)[ \t]*\}\}"#).ok()
});
/// A header with one title for all languages.
static ONE: LazyLock<Option<Regex>> = LazyLock::new(|| of_header(QUOTED));
/// A header with titles by language.
static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let argument = format!(r"[a-z]{{2,3}}[ \t]*=[ \t]*{QUOTED}[ \t]*");
    of_header(&format!(r"({argument}(?:,[ \t]*{argument})*)"))
});
static ARGUMENT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(&format!(r"([a-z]{{2,3}})[ \t]*=[ \t]*{QUOTED}")).ok());

/// Returns the pattern of a call of the macro with these arguments.
fn of_header(arguments: &str) -> Option<Regex> {
    let call = format!(r"\{{\{{[ \t]*header[ \t]*\([ \t]*{arguments}[ \t]*\)[ \t]*\}}\}}");
    Regex::new(&call).ok()
}

/// Returns the title in a deck's text, or `None` if it has no header.
pub(super) fn title(text: &str) -> Option<Localized> {
    let capture = |pattern: &'static LazyLock<Option<Regex>>| pattern.as_ref()?.captures(text);
    let start = |found: &Captures<'_>| found.get(0).map(|found| found.start());
    let one = capture(&ONE);
    // One title may contain what looks like the end of it and the beginning of another one.
    let both =
        capture(&BOTH).filter(|both| one.as_ref().is_none_or(|one| start(one) != start(both)));
    if let Some(found) = both {
        return Some(Localized::of([
            (Lang::DE, found[1].to_owned()),
            (Lang::EN, found[2].to_owned()),
        ]));
    }
    let de = capture(&GERMAN).map(|found| found[1].to_owned());
    let en = capture(&ENGLISH).map(|found| found[1].to_owned());
    match (de, en) {
        (Some(de), Some(en)) => return Some(Localized::of([(Lang::DE, de), (Lang::EN, en)])),
        (Some(only), None) | (None, Some(only)) => return Some(Localized::same(only)),
        (None, None) => {}
    }
    if let Some(found) = one {
        return Some(Localized::same(quoted(&found, 1)));
    }
    let found = capture(&NAMED)?;
    let titles = ARGUMENT.as_ref()?.captures_iter(found.get(1)?.as_str());
    let titles = titles.filter_map(|found| Some((Lang::parse(&found[1])?, quoted(&found, 2))));
    Some(Localized::of(titles))
}

/// Returns the value of a text in quotes, whose groups begin with the number `first`.
fn quoted(found: &Captures<'_>, first: usize) -> String {
    let text = found.get(first).or_else(|| found.get(first + 1));
    let mut rest = text.map_or("", |text| text.as_str()).chars();
    let mut value = String::new();
    while let Some(c) = rest.next() {
        match c {
            '\\' => value.extend(rest.next()),
            c => value.push(c),
        }
    }
    value
}
