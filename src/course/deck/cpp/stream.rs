//! Joins the parts of a program with blank lines between them.

/// The kind of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A comment, which belongs to the code below it.
    Comment,
    /// Code, or a comment in its place.
    Code,
    /// Code with its own note above it.
    Noted,
}

/// The parts of a text. Code of one cell stays together, and a comment is directly above the code that follows it; all
/// other parts are separated by blank lines.
#[derive(Debug, Default)]
pub(super) struct Stream {
    chunks: Vec<(Kind, usize, String)>,
}

impl Stream {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Returns whether it ends with a comment.
    pub(super) fn ends_with_comment(&self) -> bool {
        matches!(self.chunks.last(), Some((Kind::Comment, ..)))
    }

    pub(super) fn comment(&mut self, cell: usize, text: String) {
        self.chunks.push((Kind::Comment, cell, text));
    }

    pub(super) fn code(&mut self, cell: usize, text: &str) {
        match self.chunks.last_mut() {
            Some((Kind::Code | Kind::Noted, of, last)) if *of == cell => {
                last.push('\n');
                last.push_str(text);
            }
            _ => self.chunks.push((Kind::Code, cell, text.to_owned())),
        }
    }

    /// Adds code with a note, which is written above the first such code of a cell.
    pub(super) fn noted(&mut self, cell: usize, note: &str, text: &str) {
        let is_first = !matches!(self.chunks.last(), Some((Kind::Noted, of, _)) if *of == cell);
        if is_first {
            self.chunks.push((Kind::Noted, cell, note.to_owned()));
        }
        self.code(cell, text);
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut before = None;
        for (kind, _, chunk) in &self.chunks {
            match (before, kind) {
                (None, _) => {}
                (Some(Kind::Comment), Kind::Code) => text.push('\n'),
                _ => text.push_str("\n\n"),
            }
            text.push_str(chunk);
            before = Some(*kind);
        }
        text
    }
}

/// Indents all lines that are not empty by four blanks.
pub(super) fn indented(text: &str) -> String {
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| match line {
            "" => String::new(),
            line => format!("    {line}"),
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_stand_between_cells() {
        let mut stream = Stream::default();
        stream.comment(0, "// a".into());
        stream.comment(1, "// b".into());
        stream.code(2, "f();");
        stream.code(2, "g();");
        stream.code(3, "h();");
        stream.comment(4, "// c".into());
        stream.noted(5, "// later", "// x;");
        stream.noted(5, "// later", "// y;");
        assert_eq!(
            stream.text(),
            "// a\n\n// b\nf();\ng();\n\nh();\n\n// c\n\n// later\n// x;\n// y;"
        );
        assert_eq!(indented("a\n\n b"), "    a\n\n     b");
    }
}
