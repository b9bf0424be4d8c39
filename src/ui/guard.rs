//! Keeps text that others wrote from being a command of the system whose log it is printed to.
//!
//! GitHub, Azure and TeamCity execute lines of a log that begin with `::name` or contain `##[name]`, `##vso[..]` and
//! the like. GitLab takes some control characters for the begin and end of sections. Names of files, messages and what
//! decks print may contain all of them.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process writes to the log of a pipeline.
static IN_PIPELINE: AtomicBool = AtomicBool::new(false);

/// Declares that what this process prints is the log of a pipeline.
pub(crate) fn in_pipeline() {
    IN_PIPELINE.store(true, Ordering::Relaxed);
}

/// Returns the text as it may be printed in this process.
pub(super) fn guarded(text: &str) -> Cow<'_, str> {
    match IN_PIPELINE.load(Ordering::Relaxed) {
        true => harmless(text),
        false => Cow::Borrowed(text),
    }
}

/// Returns a text without commands: a backslash is put into whatever would be one. JSON gets an escape that its
/// readers undo.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    let is_suspect = text.contains("::")
        || text.contains("##")
        || text.contains(|char: char| char.is_control() && !matches!(char, '\n' | '\t'));
    if !is_suspect {
        return Cow::Borrowed(text);
    }
    let bracket = match text.starts_with(['{', '[']) {
        true => "\\u005b",
        false => "\\[",
    };
    // A carriage return ends a line as well.
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines = lines
        .split('\n')
        .map(|line| line_without_commands(line, bracket));
    Cow::Owned(lines.collect::<Vec<String>>().join("\n"))
}

fn line_without_commands(line: &str, bracket: &str) -> String {
    let line = without_controls(line);
    let start = line.trim_start();
    let mut result = String::with_capacity(line.len() + 8);
    result.push_str(&line[..line.len() - start.len()]);
    if start.starts_with("::") {
        result.push('\\');
    }
    let mut rest = start;
    while let Some(place) = rest.find("##") {
        let (before, after) = rest.split_at(place + 2);
        let name = after.len()
            - after
                .trim_start_matches(|char: char| char.is_ascii_alphabetic())
                .len();
        match after[name..].strip_prefix('[') {
            Some(tail) => {
                result += before;
                result += &after[..name];
                result += bracket;
                rest = tail;
            }
            // The second `#` may be the first one of a command.
            None => {
                result += &rest[..=place];
                rest = &rest[place + 1..];
            }
        }
    }
    result + rest
}

/// Removes control characters but for tabs and the sequences that set colours.
fn without_controls(line: &str) -> String {
    let mut result = String::with_capacity(line.len());
    for (place, char) in line.char_indices() {
        let is_colour = || {
            let sequence = line[place..].strip_prefix("\u{1b}[");
            sequence.is_some_and(|sequence| {
                let end =
                    sequence.trim_start_matches(|char: char| char.is_ascii_digit() || char == ';');
                end.starts_with('m')
            })
        };
        if !char.is_control() || char == '\t' || is_colour() {
            result.push(char);
        }
    }
    result
}

/// A writer that lets only whole lines without commands pass.
pub(super) struct Guarded<W: Write> {
    out: W,
    line: Vec<u8>,
    is_on: bool,
}

impl<W: Write> Guarded<W> {
    /// Creates a writer that guards always.
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            line: Vec::new(),
            is_on: true,
        }
    }

    /// Creates a writer that guards where this process writes to the log of a pipeline.
    pub(super) fn of_process(out: W) -> Self {
        Self {
            is_on: IN_PIPELINE.load(Ordering::Relaxed),
            ..Self::new(out)
        }
    }

    /// Writes a line of clm's own that is a command.
    pub(super) fn command(&mut self, line: &str) -> io::Result<()> {
        self.pass()?;
        self.out.write_all(line.as_bytes())
    }

    fn pass(&mut self) -> io::Result<()> {
        if self.line.is_empty() {
            return Ok(());
        }
        let line = std::mem::take(&mut self.line);
        self.out
            .write_all(harmless(&String::from_utf8_lossy(&line)).as_bytes())
    }
}

impl<W: Write> Write for Guarded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_on {
            return self.out.write(bytes);
        }
        self.line.extend_from_slice(bytes);
        if bytes.contains(&b'\n') {
            self.pass()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass()?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_no_commands_any_more() {
        for (text, expected) in [
            ("::set-env name=A::b\n", "\\::set-env name=A::b\n"),
            ("  \t::error::x", "  \t\\::error::x"),
            ("\u{a0}\u{2003}::error::x", "\u{a0}\u{2003}\\::error::x"),
            ("x\r::error::y", "x\n\\::error::y"),
            ("x\r\n::endgroup::", "x\n\\::endgroup::"),
            ("\u{0}::error::y", "\\::error::y"),
            ("text ##[group]x", "text ##\\[group]x"),
            ("###[error]", "###\\[error]"),
            (
                "##vso[task.setvariable variable=a]b",
                "##vso\\[task.setvariable variable=a]b",
            ),
            ("##teamcity[x] ##[y]", "##teamcity\\[x] ##\\[y]"),
            ("section_end:1:a\r\u{1b}[0Kx", "section_end:1:a\n[0Kx"),
            (
                "{\"a\":\"##[error]x\"}\n",
                "{\"a\":\"##\\u005b[error]x\"}\n",
            ),
        ] {
            let expected = expected.replace("\\u005b[", "\\u005b");
            assert_eq!(harmless(text), expected, "{text:?}");
        }
    }

    #[test]
    fn other_text_stays_as_it_is() {
        for text in [
            "std::vector<int> x;\n",
            "## A heading\n# [link]\n",
            "\u{1b}[1;31mred\u{1b}[0m\ttab\n",
            "a.py:1: error: x\n    ^\n",
            "",
        ] {
            assert_eq!(harmless(text), text);
        }
    }

    #[test]
    fn a_command_that_is_written_in_pieces_is_found() {
        let mut out = Vec::new();
        let mut guarded = Guarded::new(&mut out);
        for piece in [":", ":", "error::x", "\n", "y", "\n::a"] {
            guarded.write_all(piece.as_bytes()).unwrap();
        }
        guarded.command("\n::endgroup::\n").unwrap();
        guarded.flush().unwrap();
        drop(guarded);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\\::error::x\ny\n\\::a\n::endgroup::\n"
        );
    }
}
