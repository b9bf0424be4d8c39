//! Splits C++ code into tokens, in enough detail to find the ends of statements and their declarations.

use std::ops::Range;

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// An identifier or keyword.
    Word,
    /// A number.
    Number,
    /// A string or character literal.
    Literal,
    /// Operators and brackets: one character, or one of `::`, `->`, `...`.
    Sign,
    /// A preprocessor line, including its continuation lines.
    Directive,
}

/// A token and its position in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    pub(super) text: &'a str,
    pub(super) start: usize,
    /// Whether there is a line end between the previous token and this one.
    pub(super) on_new_line: bool,
}

impl Token<'_> {
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    pub(super) fn is(&self, text: &str) -> bool {
        self.kind != TokenKind::Literal && self.text == text
    }

    pub(super) fn is_word(&self) -> bool {
        self.kind == TokenKind::Word
    }

    pub(super) fn is_one_of(&self, texts: &[&str]) -> bool {
        self.kind != TokenKind::Literal && texts.contains(&self.text)
    }
}

/// Signs of several characters whose meaning differs from that of the characters.
const LONG_SIGNS: [&str; 3] = ["...", "::", "->"];

/// Returns the tokens of some code, without comments and white space.
pub(super) fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut on_new_line = true;
    while at < code.len() {
        let rest = &code[at..];
        let Some(first) = rest.chars().next() else {
            break;
        };
        let blank = blank_length(rest, first);
        if blank > 0 {
            on_new_line |= rest[..blank].contains('\n');
            at += blank;
            continue;
        }
        let (kind, length) = if first == '#' && on_new_line {
            (TokenKind::Directive, directive_length(rest))
        } else if first == '"' || first == '\'' {
            (TokenKind::Literal, literal_length(rest, first))
        } else if first.is_ascii_digit() || (first == '.' && starts_with_digit(&rest[1..])) {
            (TokenKind::Number, number_length(rest))
        } else if is_word_part(first) {
            word(rest)
        } else {
            let long = LONG_SIGNS.iter().find(|sign| rest.starts_with(**sign));
            (
                TokenKind::Sign,
                long.map_or(first.len_utf8(), |sign| sign.len()),
            )
        };
        tokens.push(Token {
            kind,
            text: &rest[..length],
            start: at,
            on_new_line,
        });
        on_new_line = false;
        at += length;
    }
    tokens
}

/// Returns the byte ranges of all comments.
pub(super) fn comments(code: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut end = 0;
    let gaps = tokens(code)
        .iter()
        .map(|token| {
            let gap = end..token.start;
            end = token.end();
            gap
        })
        .collect::<Vec<_>>();
    for gap in gaps.into_iter().chain(std::iter::once(end..code.len())) {
        let mut at = gap.start;
        while at < gap.end {
            let rest = &code[at..gap.end];
            let length = comment_length(rest);
            if length > 0 {
                found.push(at..at + length);
            }
            at += length.max(rest.chars().next().map_or(1, char::len_utf8));
        }
    }
    found
}

fn blank_length(rest: &str, first: char) -> usize {
    if first.is_whitespace() {
        return first.len_utf8();
    }
    // A line continuation.
    if rest.starts_with("\\\n") {
        return 1;
    }
    comment_length(rest)
}

fn comment_length(rest: &str) -> usize {
    if rest.starts_with("//") {
        return line_length(rest);
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    0
}

/// Returns the length up to the end of the line, including continuation lines.
fn line_length(rest: &str) -> usize {
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        end += line.len();
        let content = line.trim_end_matches(['\n', '\r']);
        if !content.ends_with('\\') {
            return end - (line.len() - content.len());
        }
    }
    rest.len()
}

/// Returns the length of a directive without a comment at its end.
fn directive_length(rest: &str) -> usize {
    let line = &rest[..line_length(rest)];
    let mut quoted = false;
    let mut end = line.len();
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '/' if !quoted && line[at..].starts_with("/*") && !line[at..].contains("*/") => {
                // A comment that continues in the next lines is not part of the directive.
                end = at;
                break;
            }
            _ => {}
        }
    }
    line[..end].trim_end().len()
}

fn literal_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            // The literal is not closed.
            '\n' => return at,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn number_length(rest: &str) -> usize {
    let mut end = 0;
    let mut before = ' ';
    for (at, c) in rest.char_indices() {
        let after = rest[at + c.len_utf8()..].chars().next();
        let is_part = c.is_ascii_alphanumeric()
            || c == '.'
            || c == '_'
            || (c == '\'' && after.is_some_and(|c| c.is_ascii_alphanumeric()))
            || (matches!(c, '+' | '-')
                && matches!(before, 'e' | 'E' | 'p' | 'P')
                && !rest.starts_with("0x"));
        if !is_part {
            break;
        }
        before = c;
        end = at + c.len_utf8();
    }
    end
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

fn is_word_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Parses a word, or a literal with a prefix of letters.
fn word(rest: &str) -> (TokenKind, usize) {
    let length = rest.find(|c| !is_word_part(c)).unwrap_or(rest.len());
    let (name, after) = rest.split_at(length);
    let is_prefix = matches!(name, "u8" | "u" | "U" | "L");
    if matches!(name, "R" | "u8R" | "uR" | "UR" | "LR") && after.starts_with('"') {
        let raw = raw_length(after);
        return (TokenKind::Literal, length + raw);
    }
    match after.chars().next() {
        Some(quote @ ('"' | '\'')) if is_prefix => {
            (TokenKind::Literal, length + literal_length(after, quote))
        }
        _ => (TokenKind::Word, length),
    }
}

/// Returns the length of `"delimiter(text)delimiter"`.
fn raw_length(rest: &str) -> usize {
    let Some(open) = rest.find('(') else {
        return literal_length(rest, '"');
    };
    let close = format!("){}\"", &rest[1..open]);
    rest.find(&close).map_or(rest.len(), |at| at + close.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(code: &str) -> Vec<&str> {
        tokens(code).iter().map(|token| token.text).collect()
    }

    #[test]
    fn code_is_split_into_tokens() {
        assert_eq!(
            texts("a::b->c /* x; */ + 1'000.5e-3; // end\nu8\"q;\\\"\" R\"d(;)\")d\" 'c'"),
            [
                "a",
                "::",
                "b",
                "->",
                "c",
                "+",
                "1'000.5e-3",
                ";",
                "u8\"q;\\\"\"",
                "R\"d(;)\")d\"",
                "'c'"
            ]
        );
        assert_eq!(
            texts("#define A \\\n  1\n x#y"),
            ["#define A \\\n  1", "x", "#", "y"]
        );
        assert_eq!(texts("\"open\nx"), ["\"open", "x"]);
    }

    #[test]
    fn comments_are_found() {
        let code = "a // b\n\"// no\" /* c\n */ d";
        let found: Vec<&str> = comments(code).into_iter().map(|at| &code[at]).collect();
        assert_eq!(found, ["// b", "/* c\n */"]);
    }
}
