//! Extracts the title of a deck from the arguments of its header macro.

use std::sync::LazyLock;

use regex::Regex;

use crate::course::Localized;

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

/// Returns the title in a deck's text, or `None` if it has no header.
pub(super) fn title(text: &str) -> Option<Localized> {
    let capture = |pattern: &LazyLock<Option<Regex>>| {
        let pattern = pattern.as_ref()?;
        pattern.captures(text)
    };
    if let Some(found) = capture(&BOTH) {
        return Some(Localized {
            de: found[1].to_owned(),
            en: found[2].to_owned(),
        });
    }
    let de = capture(&GERMAN).map(|found| found[1].to_owned());
    let en = capture(&ENGLISH).map(|found| found[1].to_owned());
    match (de, en) {
        (Some(de), Some(en)) => Some(Localized { de, en }),
        (only, None) | (None, only) => only.map(Localized::same),
    }
}
