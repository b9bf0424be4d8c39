//! Rules for text in notebook tools that differ from Rust's: line ends, white space, numbers.

/// Returns whether a character is white space for the notebook tools.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Returns whether a line consists of white space.
pub(super) fn is_blank(line: &str) -> bool {
    line.chars().all(is_space)
}

/// Returns the text without white space at both ends.
pub(super) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

fn is_line_end(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// Returns the position of the first line end. Bytes are checked first, since nearly all of them cannot begin one.
fn find_line_end(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let bytes = text.as_bytes()[from..].iter();
        let at = from + bytes.copied().position(may_begin_line_end)?;
        if text[at..].starts_with(is_line_end) {
            return Some(at);
        }
        from = at + text[at..].chars().next().map_or(1, char::len_utf8);
    }
}

/// Returns whether a line end in UTF-8 can begin with this byte.
fn may_begin_line_end(byte: u8) -> bool {
    byte < b' ' && byte != b'\t' || byte == 0xc2 || byte == 0xe2
}

/// Splits a text into lines. Notebook tools have more line ends than `\n`; nothing follows one at the end of the text.
pub(super) fn split_lines(text: &str) -> Vec<&str> {
    Lines(text)
        .map(|line| line.trim_end_matches(is_line_end))
        .collect()
}

/// Splits a text into lines, each with its line end.
pub(super) fn split_lines_with_ends(text: &str) -> Vec<&str> {
    Lines(text).collect()
}

struct Lines<'a>(&'a str);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.0.is_empty() {
            return None;
        }
        let end = match find_line_end(self.0) {
            Some(at) if self.0[at..].starts_with("\r\n") => at + 2,
            Some(at) => at + self.0[at..].chars().next().map_or(1, char::len_utf8),
            None => self.0.len(),
        };
        let (line, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(line)
    }
}

/// Replaces every line end by `\n`, as in templates, and removes a byte order mark.
pub(super) fn normalize_newlines(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// Formats a floating point number as Python does.
pub(super) fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        return format!("{value:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_python_ends_them() {
        assert_eq!(
            split_lines("a\r\nb\rc\n\nd\u{2028}e\x0c"),
            ["a", "b", "c", "", "d", "e"]
        );
        assert_eq!(split_lines_with_ends("a\r\nb\n"), ["a\r\n", "b\n"]);
        assert_eq!(split_lines("\n"), [""]);
        assert!(split_lines("").is_empty());
    }

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        let cases = [
            (1.0, "1.0"),
            (100000.0, "100000.0"),
            (1e16, "1e+16"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (1e100, "1e+100"),
            (-0.0, "-0.0"),
            (123456789012345.6, "123456789012345.6"),
        ];
        for (value, text) in cases {
            assert_eq!(float_text(value), text);
        }
    }
}
