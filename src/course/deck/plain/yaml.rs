//! Reads YAML as the tools around notebooks do: front matter, and the options of cells. Everything becomes JSON.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};
use yaml_rust2::Event;
use yaml_rust2::parser::{Parser, Tag};
use yaml_rust2::scanner::{Marker, TScalarStyle};

/// How many values a text may have after its aliases were replaced, so that a small text cannot become a large one.
const MAX_VALUES: usize = 100_000;

/// The maximum nesting depth: that of JSON texts.
const MAX_DEPTH: usize = 100;

/// The error that a text is not YAML.
#[derive(Debug, PartialEq)]
pub(in crate::course::deck) struct YamlError {
    /// The line in the text, counted from 0.
    pub(in crate::course::deck) line: usize,
    /// What is wrong there.
    pub(in crate::course::deck) message: String,
}

/// Parses the first document of a text. An empty text is null.
pub(in crate::course::deck) fn parse(text: &str) -> Result<Value, YamlError> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        left: MAX_VALUES,
    };
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(Value::Null),
            (Event::Nothing | Event::StreamStart | Event::DocumentStart, _) => {}
            (event, place) => return reader.value(event, place, 0),
        }
    }
}

/// Parses a text that must be a mapping. An empty text is an empty one.
pub(in crate::course::deck) fn parse_map(text: &str) -> Result<Map<String, Value>, YamlError> {
    match parse(text)? {
        Value::Null => Ok(Map::new()),
        Value::Object(map) => Ok(map),
        _ => Err(YamlError {
            line: 0,
            message: "this is not a list of `key: value`".into(),
        }),
    }
}

struct Reader<'a> {
    parser: Parser<std::str::Chars<'a>>,
    anchors: HashMap<usize, Value>,
    left: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<(Event, Marker), YamlError> {
        self.parser.next_token().map_err(|error| YamlError {
            line: error.marker().line().saturating_sub(1),
            message: error.info().to_owned(),
        })
    }

    /// Counts values against the limit.
    fn count(&mut self, number: usize, place: Marker) -> Result<(), YamlError> {
        match self.left.checked_sub(number) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(wrong(place, "there are too many values")),
        }
    }

    fn value(&mut self, event: Event, place: Marker, depth: usize) -> Result<Value, YamlError> {
        if depth > MAX_DEPTH {
            return Err(wrong(place, "the values are nested too deeply"));
        }
        self.count(1, place)?;
        let (anchor, value) = match event {
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().unwrap_or(Value::Null);
                self.count(size(&value), place)?;
                return Ok(value);
            }
            Event::Scalar(text, style, anchor, tag) => (anchor, scalar(text, style, tag.as_ref())),
            Event::SequenceStart(anchor, _) => (anchor, self.sequence(depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.mapping(depth)?),
            _ => return Err(wrong(place, "a value is missing")),
        };
        if anchor > 0 {
            self.count(size(&value), place)?;
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Array(items)),
                (event, place) => items.push(self.value(event, place, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, YamlError> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, place) = self.next()?;
            let (key, is_plain) = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, _, _) => (text, style == TScalarStyle::Plain),
                other => match self.value(other, place, depth + 1)? {
                    Value::String(text) => (text, false),
                    Value::Array(_) | Value::Object(_) => {
                        return Err(wrong(place, "a key is not a text"));
                    }
                    other => (other.to_string(), false),
                },
            };
            let (event, place) = self.next()?;
            let value = self.value(event, place, depth + 1)?;
            if is_plain && key == "<<" {
                merged.push(value);
            } else {
                map.insert(key, value);
            }
        }
        for other in merged.into_iter().flat_map(|value| match value {
            Value::Array(items) => items,
            other => vec![other],
        }) {
            if let Value::Object(other) = other {
                for (key, value) in other {
                    map.entry(key).or_insert(value);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

fn wrong(place: Marker, message: &str) -> YamlError {
    YamlError {
        line: place.line().saturating_sub(1),
        message: message.to_owned(),
    }
}

/// Returns the number of values in a value.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

/// Returns the value of a scalar. Only plain ones are anything else than a text; the rules are those of YAML 1.1, which
/// the Python tools follow: `off` is false.
fn scalar(text: String, style: TScalarStyle, tag: Option<&Tag>) -> Value {
    let is_text = tag.is_some_and(|tag| tag.suffix == "str" || tag.handle == "!");
    if style != TScalarStyle::Plain || is_text {
        return text.into();
    }
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return true.into();
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return false.into();
        }
        _ => {}
    }
    number(&text).unwrap_or_else(|| text.into())
}

/// Parses a number of YAML 1.1. Times of day such as `12:30`, which are numbers there, stay texts.
fn number(text: &str) -> Option<Value> {
    let (is_negative, unsigned) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let digits = unsigned.replace('_', "");
    let radix = if let Some(rest) = digits.strip_prefix("0x") {
        Some((rest, 16))
    } else if let Some(rest) = digits.strip_prefix("0b") {
        Some((rest, 2))
    } else if digits.len() > 1 && digits.starts_with('0') {
        Some((&digits[1..], 8))
    } else {
        None
    };
    let integer = match radix {
        Some((digits, radix)) => i64::from_str_radix(digits, radix).ok(),
        None if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
        None => None,
    };
    if let Some(integer) = integer {
        return Some(if is_negative { -integer } else { integer }.into());
    }
    // Without a dot it is a text, and an exponent has a sign.
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (digits.as_str(), None),
    };
    let is_mantissa = mantissa.matches('.').count() == 1
        && mantissa.len() > 1
        && mantissa
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let is_exponent = exponent.is_none_or(|exponent| {
        exponent.strip_prefix(['+', '-']).is_some_and(|digits| {
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    });
    if !is_mantissa || !is_exponent {
        return None;
    }
    let float: f64 = digits.parse().ok()?;
    Number::from_f64(if is_negative { -float } else { float }).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_those_that_python_tools_read() {
        let text = "kernelspec:\n  display_name: Python 3\n  name: 'python3'\ntags: [a, \"b c\"]\nmore:\n- 1\n- 0o7\n- 010\n- 1.5\n- 1e5\n- 1.0e+5\n- .5\n- off\n- 'off'\n- ~\n- -3\n- 2020-01-02\n- 12:30\ntext: |\n  a\n   b\n";
        assert_eq!(
            parse(text).unwrap(),
            json!({
                "kernelspec": {"display_name": "Python 3", "name": "python3"},
                "tags": ["a", "b c"],
                "more": [1, "0o7", 8, 1.5, "1e5", 100000.0, 0.5, false, "off", null, -3, "2020-01-02", "12:30"],
                "text": "a\n b\n",
            })
        );
        assert_eq!(parse("").unwrap(), Value::Null);
        assert_eq!(
            parse("a: &x {b: 1}\nc:\n  <<: *x\n  d: *x\n").unwrap(),
            json!({"a": {"b": 1}, "c": {"b": 1, "d": {"b": 1}}})
        );
    }

    #[test]
    fn errors_have_a_line_and_absurd_texts_cost_nothing() {
        let error = parse("a: 1\nb: [1, 2\nc: 3: 4\n").unwrap_err();
        assert!(error.line >= 1, "{error:?}");
        assert!(parse_map("- 1\n").is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
        let mut laughs = String::from("a0: &a0 [x, x]\n");
        for n in 1..40 {
            laughs.push_str(&format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1));
        }
        assert!(parse(&laughs).is_err());
    }
}
