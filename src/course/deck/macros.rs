//! The bundled templates: header macros and logos of each programming language. [`super::titles`] has the headers that
//! CLM does not have.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use minijinja::Value;

use crate::course::ProgLang;

/// The name under which decks import the macros. Files beside a deck cannot override it, but templates of the course
/// can.
pub(crate) const MACROS_NAME: &str = "macros.j2";

/// The macros of CLM.
const MACROS: &str = include_str!("templates/macros.j2");

/// What follows [`MACROS`] in the template that decks import: `header` also takes one title for all languages, or titles
/// by language.
///
/// It is no part of [`templates`], so that the results that clm had before it stay valid: they used none of it.
/// `WRITER_VERSION` must be changed whenever the text of such a header changes.
const HEADER: &str = "{%- set header = _header(header, _title, _package, lang) -%}\n";

/// Returns the text of [`MACROS_NAME`].
pub(super) fn text() -> String {
    format!("{MACROS}{HEADER}")
}

/// Returns the names of the macros for decks.
pub(super) fn names() -> Vec<&'static str> {
    let definitions = MACROS.split("{%- macro ").skip(1);
    definitions
        .filter_map(|text| text.split('(').next())
        .filter(|name| !name.starts_with('_'))
        .collect()
}

/// The line length of encoded logos.
const LINE_LENGTH: usize = 76;

/// Returns the bytes of the bundled templates, for the keys that depend on them.
pub(crate) fn templates() -> &'static [u8] {
    static ALL: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut all = vec![MACROS];
        for prog_lang in ProgLang::ALL {
            let Package {
                logo,
                attributes,
                author_style,
                indent_de,
                indent_en,
            } = Package::of(prog_lang);
            all.extend([logo, attributes, author_style, indent_de, indent_en]);
        }
        all.join("\0").into_bytes()
    });
    &ALL
}

/// The differences between the macros of the languages.
struct Package {
    logo: &'static str,
    attributes: &'static str,
    author_style: &'static str,
    indent_de: &'static str,
    indent_en: &'static str,
}

impl Package {
    fn of(prog_lang: ProgLang) -> Self {
        let base = Self {
            logo: include_str!("templates/python.svg"),
            attributes: r#"style="display:block;margin:auto;width:10%" alt="Python Logo""#,
            author_style: "text-align:center; font-size:120%;",
            indent_de: " ",
            indent_en: "  ",
        };
        match prog_lang {
            ProgLang::Python => Self {
                author_style: "text-align:center;",
                ..base
            },
            ProgLang::Cpp => Self {
                logo: include_str!("templates/cpp.svg"),
                attributes: r#"style="display:block;margin:auto;width:5%""#,
                ..base
            },
            ProgLang::CSharp => Self {
                logo: include_str!("templates/csharp.svg"),
                attributes: r#"alt="C# Logo" style="display:block;margin:auto;width:5%""#,
                ..base
            },
            ProgLang::Java => Self {
                logo: include_str!("templates/java.svg"),
                attributes: r#"alt="Java Logo" style="display:block;margin:auto;width:5%""#,
                ..base
            },
            ProgLang::TypeScript => Self {
                logo: include_str!("templates/typescript.svg"),
                attributes: r#"alt="TypeScript Logo" style="display:block;margin:auto;width:5%""#,
                indent_de: "  ",
                ..base
            },
        }
    }
}

/// Returns the value of the template variable `_package`.
pub(super) fn package(prog_lang: ProgLang) -> Value {
    let package = Package::of(prog_lang);
    let logo = encode(package.logo, prog_lang);
    let entries = [
        ("comment", prog_lang.comment()),
        ("mime", "image/svg+xml"),
        ("logo", &logo),
        ("attributes", package.attributes),
        ("author_style", package.author_style),
        ("indent_de", package.indent_de),
        ("indent_en", package.indent_en),
    ];
    let entries = entries.map(|(key, value)| (key, Value::from(value)));
    let mut entries = BTreeMap::from(entries);
    entries.insert("is_program", Value::from(prog_lang == ProgLang::Cpp));
    Value::from(entries)
}

/// Encodes a logo in base64: in lines of equal length, each with its end, or in one line without an end for C++.
fn encode(logo: &str, prog_lang: ProgLang) -> String {
    let encoded = BASE64.encode(logo);
    if prog_lang == ProgLang::Cpp {
        return encoded;
    }
    let mut text = String::with_capacity(encoded.len() + encoded.len() / LINE_LENGTH + 1);
    for (index, c) in encoded.chars().enumerate() {
        if index > 0 && index % LINE_LENGTH == 0 {
            text.push('\n');
        }
        text.push(c);
    }
    text.push('\n');
    text
}
