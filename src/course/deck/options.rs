//! What stands behind a cell marker: title, cell type, and metadata.

use serde_json::{Map, Value};

use super::CellKind;

/// What a cell marker says.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The type of the cell.
    pub kind: CellKind,
    /// Its metadata, the title included.
    pub metadata: Map<String, Value>,
    /// Whether the metadata is one JSON object.
    pub is_json: bool,
}

/// Key of option text that could not be read.
const INCORRECT: &str = "incorrectly_encoded_metadata";

/// Reads the text behind `%%`; `depth` is the number of further `%`.
pub fn parse(text: &str, depth: usize) -> Options {
    let text = text.trim();
    let (title, mut metadata, is_json) = split_title(text);
    let mut kind = CellKind::Code;
    let mut title = title.to_owned();
    for (word, meaning) in [
        ("[markdown]", CellKind::Markdown),
        ("[raw]", CellKind::Raw),
        ("[md]", CellKind::Markdown),
    ] {
        if title.contains(word) {
            title = title.replacen(word, "", 1);
            kind = meaning;
            if word == "[md]" {
                metadata.insert("region_name".to_owned(), Value::from("md"));
            }
            break;
        }
    }
    let title = title.trim();
    if !title.is_empty() {
        metadata.insert("title".to_owned(), Value::from(title));
    }
    if depth > 0 {
        metadata.insert("cell_depth".to_owned(), Value::from(depth));
    }
    Options {
        kind,
        metadata,
        is_json,
    }
}

/// The words before the first key, the metadata, and whether that is one JSON object.
fn split_title(text: &str) -> (&str, Map<String, Value>, bool) {
    let brace = text.find('{');
    let equals = text.find('=');
    if let Some(brace) = brace
        && equals.is_none_or(|equals| brace < equals)
    {
        return match value(&text[brace..]) {
            Some(Value::Object(metadata)) => (text[..brace].trim(), metadata, true),
            _ => (text[..brace].trim(), incorrect(&text[brace..]), false),
        };
    }
    let Some(equals) = equals else {
        return (text, Map::new(), false);
    };
    let key_start = text[..equals]
        .trim_end()
        .rfind(' ')
        .map_or(0, |space| space + 1);
    (&text[..key_start], key_values(&text[key_start..]), false)
}

fn incorrect(text: &str) -> Map<String, Value> {
    Map::from_iter([(INCORRECT.to_owned(), Value::from(text))])
}

/// Reads `key=value key=value`, from the right: a value may hold blanks and `=`.
fn key_values(text: &str) -> Map<String, Value> {
    read_from_right(text.trim()).unwrap_or_else(|| incorrect(text.trim()))
}

fn read_from_right(text: &str) -> Option<Map<String, Value>> {
    if text.is_empty() {
        return Some(Map::new());
    }
    let last_word = text.rfind(' ').map_or(0, |space| space + 1);
    if is_identifier(&text[last_word..]) {
        let mut metadata = read_from_right(text[..last_word].trim())?;
        metadata.insert(text[last_word..].to_owned(), Value::Null);
        return Some(metadata);
    }
    let mut end = text.len();
    loop {
        let equals = text[..end].rfind('=')?;
        end = equals;
        let key_start = text[..equals]
            .trim_end()
            .rfind(' ')
            .map_or(0, |space| space + 1);
        let key = text[key_start..equals].trim();
        if !is_key(key) {
            continue;
        }
        let Some(found) = value(&text[equals + 1..]) else {
            continue;
        };
        let mut metadata = read_from_right(text[..key_start].trim())?;
        metadata.insert(key.to_owned(), found);
        return Some(metadata);
    }
}

fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}

/// Identifiers, also with dots, hyphens and colons in them.
fn is_key(text: &str) -> bool {
    let mut chars = text.chars();
    chars
        .next()
        .is_some_and(|c| c.is_alphabetic() || c == '_' || c == '.')
        && chars.all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | ':'))
}

/// A JSON value, or else a Python literal.
fn value(text: &str) -> Option<Value> {
    let text = text.trim();
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let mut literal = Literal { rest: text };
    let value = literal.value(0)?;
    literal.rest.trim().is_empty().then_some(value)
}

/// Reads Python literals: texts in either quotes, numbers, lists, tuples, dictionaries, `True`, `False`, `None`.
struct Literal<'a> {
    rest: &'a str,
}

impl Literal<'_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > 50 {
            return None;
        }
        self.rest = self.rest.trim_start();
        for (word, value) in [
            ("True", Value::Bool(true)),
            ("False", Value::Bool(false)),
            ("None", Value::Null),
        ] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Some(value);
            }
        }
        match self.rest.chars().next()? {
            quote @ ('"' | '\'') => self.text(quote).map(Value::from),
            '[' => self.items(']', depth).map(Value::from),
            '(' => self.items(')', depth).map(Value::from),
            '{' => self.dictionary(depth),
            _ => self.number(),
        }
    }

    fn text(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.rest = &self.rest[at + c.len_utf8()..];
                return Some(text);
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next()?.1 {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                c @ ('\\' | '\'' | '"') => text.push(c),
                other => text.extend(['\\', other]),
            }
        }
        None
    }

    fn items(&mut self, close: char, depth: usize) -> Option<Vec<Value>> {
        self.rest = &self.rest[1..];
        let mut items = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            if let Some(rest) = self.rest.strip_prefix(close) {
                self.rest = rest;
                return Some(items);
            }
            items.push(self.value(depth + 1)?);
            self.separator(close)?;
        }
    }

    fn dictionary(&mut self, depth: usize) -> Option<Value> {
        self.rest = &self.rest[1..];
        let mut entries = Map::new();
        loop {
            self.rest = self.rest.trim_start();
            if let Some(rest) = self.rest.strip_prefix('}') {
                self.rest = rest;
                return Some(Value::Object(entries));
            }
            let quote = self
                .rest
                .chars()
                .next()
                .filter(|c| matches!(c, '"' | '\''))?;
            let key = self.text(quote)?;
            self.rest = self.rest.trim_start().strip_prefix(':')?;
            entries.insert(key, self.value(depth + 1)?);
            self.separator('}')?;
        }
    }

    fn separator(&mut self, close: char) -> Option<()> {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(',') {
            Some(rest) => self.rest = rest,
            None if self.rest.starts_with(close) => {}
            None => return None,
        }
        Some(())
    }

    fn number(&mut self) -> Option<Value> {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
            .unwrap_or(self.rest.len());
        let value = serde_json::from_str(&self.rest[..end])
            .ok()
            .filter(Value::is_number)?;
        self.rest = &self.rest[end..];
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_are_read() {
        for (text, kind, metadata) in [
            ("", CellKind::Code, json!({})),
            (
                "[markdown] lang=\"de\" tags=[\"slide\"]",
                CellKind::Markdown,
                json!({"lang": "de", "tags": ["slide"]}),
            ),
            (
                "hello world [markdown] foo",
                CellKind::Markdown,
                json!({"title": "hello world  foo"}),
            ),
            (
                "tags=['slide', 'keep']",
                CellKind::Code,
                json!({"tags": ["slide", "keep"]}),
            ),
            (
                "tags=[slide]",
                CellKind::Code,
                json!({"incorrectly_encoded_metadata": "tags=[slide]"}),
            ),
            (
                "bare lang=\"en\"",
                CellKind::Code,
                json!({"title": "bare", "lang": "en"}),
            ),
            (
                "lang=\"en\" bare",
                CellKind::Code,
                json!({"bare": null, "lang": "en"}),
            ),
            ("[raw] x={\"a\":1}", CellKind::Raw, json!({"x": {"a": 1}})),
            (
                "{\"tags\": [\"a\"], \"x\": true}",
                CellKind::Code,
                json!({"tags": ["a"], "x": true}),
            ),
            (
                "[md] a=1",
                CellKind::Markdown,
                json!({"a": 1, "region_name": "md"}),
            ),
            (
                "[code] a=True",
                CellKind::Code,
                json!({"a": true, "title": "[code]"}),
            ),
            (
                "a=\"b=c d\" e=2",
                CellKind::Code,
                json!({"a": "b=c d", "e": 2}),
            ),
        ] {
            let options = parse(text, 0);
            assert_eq!(options.kind, kind, "{text}");
            assert_eq!(Value::Object(options.metadata), metadata, "{text}");
        }
    }
}
