//! Comment prefixes of lines that are not code.

/// A line of Markdown without its comment sign; lines that have none are kept.
pub fn uncomment<'a>(line: &'a str, comment: &str) -> &'a str {
    match line.strip_prefix(comment) {
        Some(rest) => rest.strip_prefix(' ').unwrap_or(rest),
        None => line,
    }
}

/// A line of Markdown behind a comment sign.
pub fn comment_out(line: &str, comment: &str) -> String {
    if line.is_empty() {
        comment.to_owned()
    } else {
        format!("{comment} {line}")
    }
}

/// The lines of a text as Python's `splitlines` finds them.
pub fn split_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(is_line_end);
        match end {
            None => {
                lines.push(rest);
                break;
            }
            Some(at) => {
                lines.push(&rest[..at]);
                let width = if rest[at..].starts_with("\r\n") {
                    2
                } else {
                    rest[at..].chars().next().map_or(1, char::len_utf8)
                };
                rest = &rest[at + width..];
            }
        }
    }
    lines
}

/// Whether a character ends a line for Python.
pub fn is_line_end(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r'
            | '\u{b}'
            | '\u{c}'
            | '\u{1c}'
            | '\u{1d}'
            | '\u{1e}'
            | '\u{85}'
            | '\u{2028}'
            | '\u{2029}'
    )
}
