//! What may differ between the outputs of two builds and still be called the same: the rules of `contrib/parity/rules.py`
//! that concern any two builds. Each replaces one exactly known thing by a name, and none removes anything. Pure.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use regex::{Captures, Regex};

use crate::digest::Digest;

/// The names of the pictures of a build, by their bytes.
#[derive(Debug, Default)]
pub(super) struct Pictures(pub(super) HashMap<Digest, String>);

static ADDRESS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b0x[0-9a-fA-F]{6,16}\b"));
static KERNEL_FILE: LazyLock<Regex> = LazyLock::new(|| pattern(r"/\S*?/ipykernel_\d+/\d+\.py"));
static DATA_URL: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"data:image/[a-z+]+;base64,([A-Za-z0-9+/=\s]+)"));

/// The picture of a title slide, as the header macros of clm and of CLM write it.
static LOGO: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r#"(<img src=")data:image/[a-z+]+;base64,[A-Za-z0-9+/=\s]+("[^>]*\bstyle="{LOGO_STYLE}")"#
    ))
});
static LOGO_STYLES: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("^{LOGO_STYLE}$")));
const LOGO_STYLE: &str = "display:block;margin:auto;width:(?:5|10)%";

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is constant")
}

/// Replaces the picture of a title slide in the text of a cell: each tool has its own.
pub(super) fn logo(text: &str) -> Cow<'_, str> {
    LOGO.replace_all(text, "${1}logo$2")
}

/// Returns whether an element shows the picture of a title slide.
pub(super) fn is_logo(source: &str, style: Option<&String>) -> bool {
    source.starts_with("data:image/") && style.is_some_and(|style| LOGO_STYLES.is_match(style))
}

/// Replaces what differs from run to run in the text of an output: addresses of objects, and the names of temporary
/// files of cells.
pub(super) fn output(text: &str) -> Cow<'_, str> {
    match ADDRESS.replace_all(text, "0xADDRESS") {
        Cow::Borrowed(text) => KERNEL_FILE.replace_all(text, "/ipykernel/CELL.py"),
        Cow::Owned(text) => {
            let replaced = KERNEL_FILE.replace_all(&text, "/ipykernel/CELL.py");
            Cow::Owned(replaced.into_owned())
        }
    }
}

impl Pictures {
    /// Replaces embedded pictures that the build also has as files by their names: the files are compared themselves.
    pub(super) fn named<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.0.is_empty() {
            return Cow::Borrowed(text);
        }
        DATA_URL.replace_all(text, |found: &Captures<'_>| {
            let encoded: String = found[1].split_whitespace().collect();
            let bytes = BASE64.decode(encoded).ok();
            let name = bytes.and_then(|bytes| self.0.get(&Digest::of(bytes)));
            match name {
                Some(name) => format!("picture:{name}"),
                None => found[0].to_owned(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_of_cells_become_fixed_ones() {
        assert_eq!(
            output("<A at 0x7f12ab34cd56> in /tmp/x/ipykernel_12/34.py:1: W"),
            "<A at 0xADDRESS> in /ipykernel/CELL.py:1: W"
        );
    }

    #[test]
    fn short_numbers_and_words_stay() {
        for text in ["0x12", "0x", "a0x123456", "ipykernel_1/2.py", "no more"] {
            assert_eq!(output(text), text);
        }
    }

    #[test]
    fn pictures_of_title_slides_are_known_by_their_style() {
        let image = |bytes: &str, style: &str| {
            format!(
                "# <img src=\"data:image/svg+xml;base64,{bytes}\"\n  style=\"{style}\" alt=\"X\"/>"
            )
        };
        let title = "display:block;margin:auto;width:10%";
        assert_eq!(logo(&image("AA\nBB\n", title)), logo(&image("CCCC", title)));
        let other = image("AAAA", "width:10%");
        assert_eq!(logo(&other), other);
        let style = title.to_owned();
        assert!(is_logo("data:image/png;base64,AA", Some(&style)));
        assert!(!is_logo("img/a.png", Some(&style)) && !is_logo("data:image/png;base64,AA", None));
    }

    #[test]
    fn known_pictures_get_their_names_and_others_stay() {
        let url = |bytes: &[u8]| format!("data:image/png;base64,{}", BASE64.encode(bytes));
        let pictures = Pictures(HashMap::from([(Digest::of(b"one"), "flow".to_owned())]));
        let text = format!("<img src='{}'> <img src='{}'>", url(b"one"), url(b"two"));
        assert_eq!(
            pictures.named(&text),
            format!("<img src='picture:flow'> <img src='{}'>", url(b"two"))
        );
    }
}
