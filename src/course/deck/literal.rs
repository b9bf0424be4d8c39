//! Parses values in cell options: JSON, or else a Python literal.

use serde_json::{Map, Number, Value};

/// The maximum nesting depth of literals.
const MAX_DEPTH: usize = 64;

/// Parses a value. Returns `None` if it is neither JSON nor a literal that can be stored in a notebook.
pub(super) fn parse(text: &str) -> Option<Value> {
    let text = super::text::strip(text);
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let mut reader = Reader { rest: text };
    let value = reader.items(None, MAX_DEPTH)?;
    reader.space();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// Skips white space, and a comment up to the end.
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\x0c']);
        if self.rest.starts_with('#') {
            self.rest = "";
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Parses values separated by commas up to `close` (or the end). A single value is returned itself, unless a comma
    /// follows.
    fn items(&mut self, close: Option<&str>, depth: usize) -> Option<Value> {
        let mut values = Vec::new();
        let mut comma = false;
        loop {
            self.space();
            let at_end = match close {
                Some(close) => self.eat(close),
                None => self.rest.is_empty(),
            };
            if at_end {
                break;
            }
            if !values.is_empty() && !comma {
                return None;
            }
            values.push(self.value(depth)?);
            comma = self.eat(",");
        }
        match values.len() {
            0 if close.is_none() => None,
            1 if !comma => values.pop(),
            _ => Some(Value::Array(values)),
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        self.space();
        match self.rest.chars().next()? {
            '(' => {
                self.eat("(");
                self.items(Some(")"), depth)
            }
            '[' => {
                self.eat("[");
                let mut values = Vec::new();
                while !self.eat("]") {
                    values.push(self.value(depth)?);
                    if !self.eat(",") && !self.rest.starts_with(']') {
                        return None;
                    }
                }
                Some(Value::Array(values))
            }
            '{' => self.dictionary(depth),
            '+' | '-' | '0'..='9' | '.' => self.number(),
            _ => {
                for (word, value) in [
                    ("True", Value::Bool(true)),
                    ("False", Value::Bool(false)),
                    ("None", Value::Null),
                ] {
                    if let Some(rest) = self.rest.strip_prefix(word) {
                        if rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                            return None;
                        }
                        self.rest = rest;
                        return Some(value);
                    }
                }
                self.strings()
            }
        }
    }

    fn dictionary(&mut self, depth: usize) -> Option<Value> {
        self.eat("{");
        let mut map = Map::new();
        while !self.eat("}") {
            let key = match self.value(depth)? {
                Value::String(key) => key,
                key @ (Value::Number(_) | Value::Bool(_) | Value::Null) => key.to_string(),
                _ => return None,
            };
            if !self.eat(":") {
                return None;
            }
            let value = self.value(depth)?;
            map.insert(key, value);
            if !self.eat(",") && !self.rest.starts_with('}') {
                return None;
            }
        }
        Some(Value::Object(map))
    }

    fn number(&mut self) -> Option<Value> {
        let mut negative = false;
        loop {
            if self.eat("-") {
                negative = !negative;
            } else if !self.eat("+") {
                break;
            }
        }
        let mut end = 0;
        let bytes = self.rest.as_bytes();
        while let Some(&byte) = bytes.get(end) {
            let is_exponent_sign =
                matches!(byte, b'+' | b'-') && end > 0 && matches!(bytes[end - 1], b'e' | b'E');
            if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.') || is_exponent_sign {
                end += 1;
            } else {
                break;
            }
        }
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let bad_underscore = text.contains("__") || text.starts_with('_') || text.ends_with('_');
        if bad_underscore {
            return None;
        }
        let digits = text.replace('_', "").to_ascii_lowercase();
        let radix = [("0x", 16), ("0o", 8), ("0b", 2)]
            .into_iter()
            .find_map(|(prefix, radix)| Some((digits.strip_prefix(prefix)?, radix)));
        let integer = match radix {
            Some((digits, radix)) => Some(i64::from_str_radix(digits, radix).ok()?),
            None if digits.len() > 1
                && digits.starts_with('0')
                && digits.bytes().all(|b| b.is_ascii_digit()) =>
            {
                // `00` is zero, but `01` is an error.
                if digits.bytes().any(|b| b != b'0') {
                    return None;
                }
                Some(0)
            }
            None => digits.parse::<i64>().ok(),
        };
        if let Some(integer) = integer {
            return Some(Value::from(if negative { -integer } else { integer }));
        }
        if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        let float: f64 = digits.parse().ok()?;
        Number::from_f64(if negative { -float } else { float }).map(Value::Number)
    }

    /// Parses one or more adjacent strings, which are concatenated.
    fn strings(&mut self) -> Option<Value> {
        let mut text = String::new();
        let mut count = 0;
        loop {
            self.space();
            let letters = self
                .rest
                .bytes()
                .take_while(|b| matches!(b, b'r' | b'R' | b'u' | b'U'))
                .count();
            if !self.rest[letters..].starts_with(['"', '\'']) {
                break;
            }
            if letters > 1 {
                return None;
            }
            let raw = matches!(self.rest.as_bytes()[0], b'r' | b'R');
            self.rest = &self.rest[letters..];
            self.string(raw, &mut text)?;
            count += 1;
        }
        (count > 0).then_some(Value::String(text))
    }

    fn string(&mut self, raw: bool, text: &mut String) -> Option<()> {
        let quote = self.rest.get(..1)?;
        let triple = quote.repeat(3);
        let close = if self.rest.starts_with(&triple) {
            triple.as_str()
        } else {
            quote
        };
        self.rest = &self.rest[close.len()..];
        loop {
            if let Some(rest) = self.rest.strip_prefix(close) {
                self.rest = rest;
                return Some(());
            }
            let c = self.next()?;
            if c != '\\' {
                text.push(c);
            } else if raw {
                text.push('\\');
                text.push(self.next()?);
            } else {
                self.escape(text)?;
            }
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn escape(&mut self, text: &mut String) -> Option<()> {
        let c = self.next()?;
        let simple = match c {
            '\\' | '\'' | '"' => Some(c),
            'n' => Some('\n'),
            't' => Some('\t'),
            'r' => Some('\r'),
            'a' => Some('\x07'),
            'b' => Some('\x08'),
            'f' => Some('\x0c'),
            'v' => Some('\x0b'),
            _ => None,
        };
        if let Some(simple) = simple {
            text.push(simple);
            return Some(());
        }
        let code = match c {
            'x' => self.hexadecimal(2)?,
            'u' => self.hexadecimal(4)?,
            'U' => self.hexadecimal(8)?,
            '0'..='7' => {
                let mut code = c.to_digit(8)?;
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    code = code * 8 + digit;
                    self.rest = &self.rest[1..];
                }
                code
            }
            _ => {
                text.push('\\');
                text.push(c);
                return Some(());
            }
        };
        text.push(char::from_u32(code)?);
        Some(())
    }

    fn hexadecimal(&mut self, count: usize) -> Option<u32> {
        let digits = self.rest.get(..count)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        self.rest = &self.rest[count..];
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_and_python_literals_are_read() {
        let cases = [
            (r#"["a", "b"]"#, json!(["a", "b"])),
            ("['a', 'b']", json!(["a", "b"])),
            ("(1, 2)", json!([1, 2])),
            ("(1)", json!(1)),
            ("()", json!([])),
            ("\"a\",", json!(["a"])),
            ("True", json!(true)),
            ("None", json!(null)),
            ("0x10", json!(16)),
            ("1_0", json!(10)),
            ("-1.5", json!(-1.5)),
            (".5", json!(0.5)),
            ("1e5", json!(100000.0)),
            ("{'a': (1, 'b'),}", json!({"a": [1, "b"]})),
            ("r'a\\n' 'b'", json!("a\\nb")),
            ("'\\x41\\u00e4\\101\\q'", json!("A\u{e4}A\\q")),
            ("['a'] # comment", json!(["a"])),
        ];
        for (text, value) in cases {
            assert_eq!(parse(text), Some(value), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "", "[a]", "en", "[1", "'a", "1 + 1", "007", "1__0", "{1", "f'a'", "b'a'", "[,]",
            "'\\x4'", "..", "1 2",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&"[".repeat(100_000)), None);
        assert_eq!(parse(&"-".repeat(100_000)), None);
    }
}
