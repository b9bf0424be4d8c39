//! Parses the text after `%%` in a cell marker: title, cell type and metadata.

use serde_json::{Map, Value};

use super::{CellKind, literal, text};

/// The key under which unreadable options are stored.
pub(super) const UNREADABLE: &str = "incorrectly_encoded_metadata";

/// Longer option texts are not parsed: human authors do not write them.
const MAX_LENGTH: usize = 20_000;

/// The parts of a cell marker.
#[derive(Debug, PartialEq)]
pub(super) struct Options {
    pub(super) kind: CellKind,
    pub(super) metadata: Map<String, Value>,
    /// Whether the metadata was written as one JSON object.
    pub(super) is_json: bool,
}

/// Parses the text after `%%` (and after further `%`).
pub(super) fn parse(option_text: &str) -> Options {
    let (title, mut metadata, is_json) = title_and_metadata(option_text);
    let mut kind = match metadata.remove("cell_type") {
        None => CellKind::Code,
        Some(Value::String(name)) if name == "code" => CellKind::Code,
        Some(Value::String(name)) if name == "markdown" => CellKind::Markdown,
        Some(_) => CellKind::Raw,
    };
    let mut title = title.to_owned();
    for (word, of_word) in [
        ("[markdown]", CellKind::Markdown),
        ("[raw]", CellKind::Raw),
        ("[md]", CellKind::Markdown),
    ] {
        if title.contains(word) {
            title = text::strip(&title.replace(word, "")).to_owned();
            kind = of_word;
            if word == "[md]" {
                metadata.insert("region_name".into(), "md".into());
            }
            break;
        }
    }
    if !title.is_empty() {
        metadata.insert("title".into(), title.into());
    }
    Options {
        kind,
        metadata,
        is_json,
    }
}

/// Parses a title and metadata that do not contain the type of the cell.
pub(super) fn parse_titled(option_text: &str) -> Options {
    let (title, mut metadata, is_json) = title_and_metadata(option_text);
    if !title.is_empty() {
        metadata.insert("title".into(), title.into());
    }
    Options {
        kind: CellKind::Markdown,
        metadata,
        is_json,
    }
}

/// Parses the metadata of a code cell without a title.
pub(super) fn parse_untitled(option_text: &str) -> Options {
    let option_text = text::strip(option_text);
    let is_json = option_text.starts_with('{');
    let metadata = if option_text.len() > MAX_LENGTH {
        unreadable(option_text)
    } else if is_json {
        object(option_text)
    } else {
        parse_pairs(option_text)
    };
    Options {
        kind: CellKind::Code,
        metadata,
        is_json,
    }
}

fn title_and_metadata(option_text: &str) -> (&str, Map<String, Value>, bool) {
    let option_text = text::strip(option_text);
    if option_text.len() > MAX_LENGTH {
        return ("", unreadable(option_text), false);
    }
    let equals = option_text.find('=');
    match option_text.find('{') {
        Some(brace) if equals.is_none_or(|equals| brace < equals) => {
            let (title, metadata) = option_text.split_at(brace);
            (text::strip(title), object(metadata), true)
        }
        _ => {
            let start = start_of_pairs(option_text, equals);
            let (title, pairs) = option_text.split_at(start);
            (text::strip(title), parse_pairs(pairs), false)
        }
    }
}

fn object(text: &str) -> Map<String, Value> {
    match literal::parse(text) {
        Some(Value::Object(metadata)) => metadata,
        _ => unreadable(text),
    }
}

fn unreadable(text: &str) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert(UNREADABLE.into(), text.into());
    metadata
}

/// Returns the start of the `key=value` pairs: the word before the first `=`, or the words with a leading dot before
/// it.
fn start_of_pairs(text: &str, equals: Option<usize>) -> usize {
    let mut start = match equals {
        Some(equals) => start_of_last_word(text[..equals].trim_end_matches(text::is_space)),
        None => text.len(),
    };
    loop {
        let before = text[..start].trim_end_matches(text::is_space);
        let word = start_of_last_word(before);
        if !before[word..].starts_with('.') {
            return start;
        }
        start = word;
    }
}

fn start_of_last_word(text: &str) -> usize {
    text.rfind(' ').map_or(0, |space| space + 1)
}

/// Parses `key=value` pairs and bare keys, from the right, since only the syntax of the values shows where they end.
fn parse_pairs(pairs: &str) -> Map<String, Value> {
    let mut metadata = Map::new();
    let mut bare_keys = Vec::new();
    let mut rest = text::strip(pairs);
    while !rest.is_empty() {
        let last_word = start_of_last_word(rest);
        if is_bare_key(&rest[last_word..]) {
            bare_keys.push(&rest[last_word..]);
            rest = text::strip(&rest[..last_word]);
            continue;
        }
        let Some((start, key, value)) = last_pair(rest) else {
            metadata.entry(UNREADABLE).or_insert_with(|| rest.into());
            break;
        };
        // The last one of equal keys counts.
        metadata.entry(key).or_insert(value);
        rest = text::strip(&rest[..start]);
    }
    for key in bare_keys {
        metadata.entry(key).or_insert(Value::Null);
    }
    metadata
}

/// Returns the shortest suffix of the text that is a key, `=` and a value.
fn last_pair(text: &str) -> Option<(usize, &str, Value)> {
    let mut end = text.len();
    while let Some(equals) = text[..end].rfind('=') {
        end = equals;
        let before = text[..equals].trim_end_matches(text::is_space);
        let start = start_of_last_word(before);
        let key = text::strip(&text[start..equals]);
        if is_key(key)
            && let Some(value) = literal::parse(&text[equals + 1..])
        {
            return Some((start, key, value));
        }
    }
    None
}

/// Returns whether a word can be a key before `=`.
pub(super) fn is_key(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_bare_key(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '.'))
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_are_title_type_and_metadata() {
        use CellKind::{Code, Markdown, Raw};
        let cases = [
            ("", Code, json!({})),
            (" a b c", Code, json!({"title": "a b c"})),
            (
                " [markdown] lang=\"de\" tags=[\"slide\"]",
                Markdown,
                json!({"lang": "de", "tags": ["slide"]}),
            ),
            (" [md]", Markdown, json!({"region_name": "md"})),
            (" t [raw] x", Raw, json!({"title": "t  x"})),
            (" [raw] [markdown]", Markdown, json!({"title": "[raw]"})),
            (" [code]", Code, json!({"title": "[code]"})),
            (
                " tags=['slide','keep']",
                Code,
                json!({"tags": ["slide", "keep"]}),
            ),
            (" tags=[slide]", Code, json!({UNREADABLE: "tags=[slide]"})),
            (
                " [markdown] lang=en",
                Markdown,
                json!({UNREADABLE: "lang=en"}),
            ),
            (
                " [markdown]lang=\"de\"",
                Code,
                json!({UNREADABLE: "[markdown]lang=\"de\""}),
            ),
            (" x=\"1\" y", Code, json!({"x": "1", "y": null})),
            (" x=\"1\" x=\"2\"", Code, json!({"x": "2"})),
            (" x=\"1\" x", Code, json!({"x": "1"})),
            (" a= b=\"1\"", Code, json!({UNREADABLE: "a=", "b": "1"})),
            (
                " t .c x=\"1\"",
                Code,
                json!({"title": "t", ".c": null, "x": "1"}),
            ),
            (" x = \"a b=c\"", Code, json!({"x": "a b=c"})),
            (" foo title=\"T\"", Code, json!({"title": "foo"})),
            (" a=\"1\" 2", Code, json!({UNREADABLE: "a=\"1\" 2"})),
        ];
        for (text, kind, metadata) in cases {
            let options = parse(text);
            assert_eq!(options.kind, kind, "{text}");
            assert_eq!(Value::Object(options.metadata), metadata, "{text}");
            assert!(!options.is_json);
        }
    }

    #[test]
    fn a_json_object_may_stand_for_the_pairs() {
        let options = parse("t {\"tags\": [\"a\"], \"b\": \"c=d\"}");
        assert!(options.is_json);
        assert_eq!(
            Value::Object(options.metadata),
            json!({"title": "t", "tags": ["a"], "b": "c=d"})
        );
        assert_eq!(parse("{bad").metadata[UNREADABLE], "{bad");
    }

    #[test]
    fn absurd_options_cost_nothing() {
        let options = parse(&"a=[".repeat(50_000));
        assert!(options.metadata.contains_key(UNREADABLE));
    }
}
