//! Line statements of templates as in Jinja2: the blank lines after them are removed, and they may end with a colon.
//! Also adds marks to lines, which show where the lines are in the rendered text.

use super::text;
use crate::course::ProgLang;

/// Finds line statements in the templates of a language.
pub(super) struct Statements {
    prefix: &'static str,
}

/// A template, with the number of each of its lines in the original text.
pub(super) struct Template {
    pub(super) text: String,
    pub(super) lines: Vec<u32>,
    /// Which lines end in plain text.
    plain: Vec<bool>,
}

/// The delimiter of line numbers in a marked template: a private-use character.
const MARK: char = '\u{f5e1d}';

/// The syntactic context at a place in a template.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Text,
    /// In a `{# comment #}`.
    Comment,
    /// Between `{% raw %}` and `{% endraw %}`.
    Raw,
    /// In a tag or expression with this closing delimiter.
    Tag(&'static str),
}

impl Statements {
    pub(super) fn new(prog_lang: ProgLang) -> Self {
        Self {
            prefix: match prog_lang {
                ProgLang::Python => "# j2",
                _ => "// j2",
            },
        }
    }

    /// Returns the template without the blank lines after line statements.
    pub(super) fn without_blanks_after(&self, template: &str) -> Template {
        let mut result = Template {
            text: String::with_capacity(template.len()),
            lines: Vec::new(),
            plain: Vec::new(),
        };
        let mut state = State::Text;
        let mut after_statement = false;
        // The number of open brackets of a statement, which continues in the next line as long as there are any.
        let mut open_brackets = 0;
        for (number, line) in (1..).zip(template.split_inclusive('\n')) {
            if after_statement && text::is_blank(line) {
                continue;
            }
            let body = line.trim_start_matches([' ', '\t', '\x0b']);
            let before = state;
            let is_statement =
                open_brackets > 0 || (state == State::Text && body.starts_with(self.prefix));
            if is_statement {
                open_brackets = (open_brackets + balance(line)).max(0);
            } else {
                state = state.after(line);
            }
            after_statement = is_statement && open_brackets == 0;
            if after_statement && let Some(statement) = line.trim_end().strip_suffix(':') {
                // As in Python, statements may end with a colon.
                result.text.push_str(statement);
                result.text.push('\n');
            } else {
                result.text.push_str(line);
            }
            result.lines.push(number);
            let is_text = |state| matches!(state, State::Text | State::Raw);
            result
                .plain
                .push(is_text(before) && is_text(state) && !is_statement);
        }
        result
    }
}

impl Template {
    /// Returns the template with a mark at the end of each line of plain text. In the rendered text, a mark shows the
    /// original line.
    pub(super) fn marked(&self) -> String {
        let lines: Vec<&str> = self.text.split_inclusive('\n').collect();
        // A mark beside a tag that removes white space would change the result.
        let mut trims_before = false;
        let mut is_marked = vec![false; lines.len()];
        for (index, line) in lines.iter().enumerate().rev() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let trims_after = ["-%}", "-}}", "-#}"].iter().any(|tag| line.ends_with(tag));
            is_marked[index] = self.plain[index] && !trims_before && !trims_after;
            trims_before = ["{%-", "{{-", "{#-"]
                .iter()
                .any(|tag| line.starts_with(tag));
        }
        let mut marked = String::with_capacity(self.text.len() + 10 * lines.len());
        for (index, line) in lines.into_iter().enumerate() {
            let content = line.strip_suffix('\n').unwrap_or(line);
            marked.push_str(content);
            if is_marked[index] {
                marked.push(MARK);
                marked.push_str(&self.lines[index].to_string());
                marked.push(MARK);
            }
            marked.push_str(&line[content.len()..]);
        }
        marked
    }
}

/// Returns the author's line of each line of a text, from the rendered text of the marked template. Returns `None` if
/// the marks changed anything else.
pub(super) fn origins(rendered: &str, marked: &str) -> Option<Vec<Option<u32>>> {
    let with_ends = text::split_lines_with_ends(rendered);
    let rendered = text::split_lines(rendered);
    let marked = text::split_lines(marked);
    if rendered.len() != marked.len() {
        return None;
    }
    let mut origins = Vec::with_capacity(rendered.len());
    for (line, marked) in rendered.into_iter().zip(marked) {
        let mut origin = None;
        let mut plain = String::with_capacity(line.len());
        for (index, part) in marked.split(MARK).enumerate() {
            if index % 2 == 0 {
                plain.push_str(part);
            } else {
                origin = Some(part.parse().ok()?);
            }
        }
        if plain != line {
            return None;
        }
        origins.push(origin);
    }
    // Notebook tools have line ends that editors do not have: the text before such a line end is in the same line of
    // the file.
    for index in (0..origins.len().saturating_sub(1)).rev() {
        if origins[index].is_none() && !with_ends[index].ends_with('\n') {
            origins[index] = origins[index + 1];
        }
    }
    Some(origins)
}

impl State {
    fn after(mut self, line: &str) -> Self {
        let mut rest = line;
        loop {
            let (next, state) = match self {
                State::Text => {
                    let Some(at) = rest.find('{') else {
                        return self;
                    };
                    rest = &rest[at..];
                    if rest.starts_with("{#") {
                        (2, State::Comment)
                    } else if rest.starts_with("{{") {
                        (2, State::Tag("}}"))
                    } else if let Some(end) = tag_end(rest, "raw") {
                        (end, State::Raw)
                    } else if rest.starts_with("{%") {
                        (2, State::Tag("%}"))
                    } else {
                        (1, State::Text)
                    }
                }
                State::Comment => match rest.find("#}") {
                    Some(at) => (at + 2, State::Text),
                    None => return self,
                },
                State::Tag(close) => match rest.find(close) {
                    Some(at) => (at + 2, State::Text),
                    None => return self,
                },
                State::Raw => match rest.find("{%") {
                    Some(at) => match tag_end(&rest[at..], "endraw") {
                        Some(end) => (at + end, State::Text),
                        None => (at + 2, State::Raw),
                    },
                    None => return self,
                },
            };
            rest = &rest[next..];
            self = state;
        }
    }
}

/// Returns how many more brackets a line opens than it closes, without those in quotes.
fn balance(line: &str) -> i32 {
    let mut quote = None;
    let mut balance = 0;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => balance += 1,
            (None, ')' | ']' | '}') => balance -= 1,
            _ => {}
        }
    }
    balance
}

/// Returns the length of a tag that consists of one word at the start of the text.
fn tag_end(text: &str, word: &str) -> Option<usize> {
    let rest = text.strip_prefix("{%")?;
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest).trim_start();
    let rest = rest.strip_prefix(word)?.trim_start();
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    Some(text.len() - rest.strip_prefix("%}")?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_after_statements_vanish() {
        let statements = Statements::new(ProgLang::Python);
        let template = statements
            .without_blanks_after("# j2 set x = 1\n\n  \n# a\n\n  # j2 x\n\nb\n#j2 y\n\nc");
        assert_eq!(
            template.text,
            "# j2 set x = 1\n# a\n\n  # j2 x\nb\n#j2 y\n\nc"
        );
        assert_eq!(template.lines, [1, 4, 5, 6, 8, 9, 10, 11]);
    }

    #[test]
    fn raw_blocks_and_comments_hold_no_statements() {
        for text in [
            "{% raw %}\n# j2 x\n\na\n{% endraw %}",
            "{#\n# j2 x\n\n#}",
            "{% if x %}{%- raw -%}\n# j2 x\n\n{% endraw %}",
        ] {
            let statements = Statements::new(ProgLang::Python);
            assert_eq!(statements.without_blanks_after(text).text, text);
        }
    }
}
