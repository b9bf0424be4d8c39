//! A scanner that knows whether a line of code begins inside of a multi-line string.

/// The state between lines.
#[derive(Clone, Debug)]
pub struct StringScanner<'a> {
    comment: &'a str,
    open: Option<char>,
}

impl<'a> StringScanner<'a> {
    /// A scanner at the top of a cell. The format takes triple quotes for strings in every language.
    pub fn new(comment: &'a str) -> Self {
        Self {
            comment,
            open: None,
        }
    }

    /// Whether the next line begins inside of a string.
    pub fn is_quoted(&self) -> bool {
        self.open.is_some()
    }

    /// Goes over a line. Comments are skipped; a string in single quotes ends with its line.
    pub fn read(&mut self, line: &str) {
        if !self.is_quoted() && line.trim_start().starts_with(self.comment) {
            return;
        }
        let chars: Vec<char> = line.chars().collect();
        let mut single = None;
        let mut at = 0;
        while at < chars.len() {
            let c = chars[at];
            let is_escaped = at > 0 && chars[at - 1] == '\\';
            if !matches!(c, '"' | '\'') || is_escaped {
                at += 1;
                continue;
            }
            let is_triple = chars.get(at + 1) == Some(&c) && chars.get(at + 2) == Some(&c);
            match (self.open, single) {
                (Some(open), _) if open == c && is_triple => {
                    self.open = None;
                    at += 3;
                    continue;
                }
                (Some(_), _) => {}
                (None, Some(open)) if open == c => single = None,
                (None, Some(_)) => {}
                (None, None) if is_triple => {
                    self.open = Some(c);
                    at += 3;
                    continue;
                }
                (None, None) => single = Some(c),
            }
            at += 1;
        }
    }
}
