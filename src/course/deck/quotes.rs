//! Finds the lines of a script inside triple-quoted strings, where cell markers and magics are ordinary text.

/// Tracks the quotes of a script line by line.
///
/// It recognizes single and double quotes, triple quotes, backslashes and line comments, but no other syntax of the
/// language. A string in single quotes that is still open at the end of its line is ignored.
pub(super) struct Quotes {
    comment: &'static str,
    triple: Option<u8>,
}

impl Quotes {
    /// Creates the state at the start of a text whose comments begin with `comment`.
    pub(super) fn new(comment: &'static str) -> Self {
        Self {
            comment,
            triple: None,
        }
    }

    /// Returns whether the next line starts inside a triple-quoted string.
    pub(super) fn inside(&self) -> bool {
        self.triple.is_some()
    }

    /// Reads one line.
    pub(super) fn read(&mut self, line: &str) {
        if self.triple.is_none()
            && line
                .trim_start_matches(super::text::is_space)
                .starts_with(self.comment)
        {
            return;
        }
        let bytes = line.as_bytes();
        let mut single = None;
        // Quotes before this index are part of the last triple quote.
        let mut free = 2;
        for (at, &byte) in bytes.iter().enumerate() {
            if single.is_none()
                && self.triple.is_none()
                && bytes[at..].starts_with(self.comment.as_bytes())
            {
                break;
            }
            if !matches!(byte, b'"' | b'\'') || (at > 0 && bytes[at - 1] == b'\\') {
                continue;
            }
            if single == Some(byte) {
                single = None;
            } else if single.is_none() {
                let is_third = at >= 2 && bytes[at - 1] == byte && bytes[at - 2] == byte;
                if is_third && at >= free {
                    if self.triple == Some(byte) {
                        self.triple = None;
                        free = at + 3;
                    } else if self.triple.is_none() {
                        self.triple = Some(byte);
                        free = at + 3;
                    }
                } else if self.triple.is_none() {
                    single = Some(byte);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triple_quotes_are_followed() {
        let cases = [
            ("x = \"\"\"", true),
            ("x = '''", true),
            ("x = \"\"\"a\"\"\"", false),
            ("x = \"\"\"\"\"\"", false),
            ("x = \"\"\"a\"\"\"\"", false),
            ("# \"\"\"", false),
            ("x = 1 # \"\"\"", false),
            ("x = \"#\" \"\"\"", true),
            ("x = \"a", false),
            ("x = '''\"\"\"", true),
            ("x = \"\\\"\"\"\"", true),
        ];
        for (line, inside) in cases {
            let mut quotes = Quotes::new("#");
            quotes.read(line);
            assert_eq!(quotes.inside(), inside, "{line}");
        }
    }

    #[test]
    fn a_hash_is_no_comment_in_other_languages() {
        let mut quotes = Quotes::new("//");
        quotes.read("# \"\"\"");
        assert!(quotes.inside());
    }
}
