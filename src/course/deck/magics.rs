//! Kernel commands (magics) that are not valid code: they are comments in scripts, and uncommented in notebooks.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::LazyLock;

use regex::Regex;

use super::quotes::Quotes;
use crate::course::ProgLang;

/// Commands that IPython runs without a prefix.
const PYTHON_COMMANDS: &str = "cat|cd|cp|mv|rm|rmdir|mkdir|copy|ddir|echo|ls|ldir|ren";

struct Patterns {
    /// All patterns combined, so that each line is searched only once.
    magic: Regex,
    kept: Regex,
}

impl Patterns {
    fn new(magic: &[&str], comment: &str) -> Self {
        let compile = |pattern: &str| Regex::new(pattern).expect("the pattern is constant");
        Self {
            magic: compile(&format!("^(?:{})", magic.join("|"))),
            kept: compile(&format!(r"{comment}\s*no-?escape")),
        }
    }

    fn is_magic(&self, line: &str) -> bool {
        self.magic.is_match(line) && !self.kept.is_match(line)
    }
}

fn patterns(prog_lang: ProgLang) -> &'static Patterns {
    static PYTHON: LazyLock<Patterns> = LazyLock::new(|| {
        let command = format!(r"(# |#)*({PYTHON_COMMANDS})($|\s$|\s[^=,])");
        Patterns::new(
            &[
                r"\s*(# |#)*%{1,3}[a-zA-Z]",
                r"(# |#)*\s*[a-zA-Z_][a-zA-Z_$0-9]*\s*=\s*(%{1,3}|!)[a-zA-Z]",
                r"\s*(# |#)*\s*[?!]\s*[A-Za-z.~$\\/{}]",
                r"\s*(# )*\S*\?\s*$",
                &command,
            ],
            "#",
        )
    });
    static CSHARP: LazyLock<Patterns> =
        LazyLock::new(|| Patterns::new(&[r"(// |//)*#![a-zA-Z]"], "//"));
    static OTHER: LazyLock<Patterns> =
        LazyLock::new(|| Patterns::new(&[r"\s*(// |//)*%{1,3}[a-zA-Z]"], "//"));
    match prog_lang {
        ProgLang::Python => &PYTHON,
        ProgLang::CSharp => &CSHARP,
        _ => &OTHER,
    }
}

/// Removes the comment signs of magics and of the lines that continue them. Commands that install packages stay
/// comments: authors show them, but a build must not install anything.
pub(super) fn uncomment<'a>(lines: &[&'a str], prog_lang: ProgLang) -> Vec<Cow<'a, str>> {
    let comment = prog_lang.comment();
    let is_kept = Cell::new(false);
    translate(lines, prog_lang, |line, place| {
        let bare = uncomment_line(line, comment);
        if place == Place::First {
            is_kept.set(prog_lang == ProgLang::Python && installs(&bare));
        }
        if is_kept.get() { line.to_owned() } else { bare }
    })
}

/// Returns whether a line is a command of a package manager that changes the installed packages.
fn installs(line: &str) -> bool {
    static TOOL: LazyLock<Regex> = LazyLock::new(|| {
        let tools = "pip3?|pipx|py(?:thon)?(?:[0-9]+(?:\\.[0-9]+)?)?\\s+-m\\s+pip|uv|conda|mamba|micromamba|poetry|apt(?:-get)?|brew|npm|yarn|pnpm";
        Regex::new(&format!(r"^\s*[!%]\s*(?:sudo\s+)?(?:{tools})(?:\s+|$)"))
            .expect("the pattern is constant")
    });
    const VERBS: &[&str] = &["install", "uninstall", "add", "remove", "update", "upgrade"];
    /// How many words after the tool may precede and include the verb, as in `uv pip install`.
    const WORDS: usize = 4;
    TOOL.find(line).is_some_and(|tool| {
        let words = line[tool.end()..].split_whitespace();
        words.take(WORDS).any(|word| VERBS.contains(&word))
    })
}

/// Adds comment signs to magics and to the lines that continue them.
pub(super) fn comment<'a>(lines: &[&'a str], prog_lang: ProgLang) -> Vec<Cow<'a, str>> {
    let comment = prog_lang.comment();
    translate(lines, prog_lang, |line, place| match place {
        Place::First => comment_line(line, comment),
        Place::Continued => format!("{comment} {line}"),
    })
}

/// The position of a line within a magic.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    First,
    Continued,
}

fn translate<'a>(
    lines: &[&'a str],
    prog_lang: ProgLang,
    change: impl Fn(&str, Place) -> String,
) -> Vec<Cow<'a, str>> {
    let patterns = patterns(prog_lang);
    let mut quotes = Quotes::new(prog_lang.comment());
    let mut place = Place::First;
    lines
        .iter()
        .map(|line| {
            let is_text = quotes.inside();
            quotes.read(line);
            if is_text || (place == Place::First && !patterns.is_magic(line)) {
                return Cow::Borrowed(*line);
            }
            let changed = change(line, place);
            place = if line.ends_with('\\') {
                Place::Continued
            } else {
                Place::First
            };
            Cow::Owned(changed)
        })
        .collect()
}

/// Removes the first comment sign of a line and the blank after it. Returns other lines unchanged.
fn uncomment_line(line: &str, comment: &str) -> String {
    let body = line.trim_start();
    let indent = &line[..line.len() - body.len()];
    match body.strip_prefix(comment) {
        Some(rest) => format!("{indent}{}", rest.strip_prefix(' ').unwrap_or(rest)),
        None => line.to_owned(),
    }
}

/// Converts a line to a comment with the same indentation.
fn comment_line(line: &str, comment: &str) -> String {
    let body = line.trim_start();
    let indent = &line[..line.len() - body.len()];
    format!("{indent}{comment} {body}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magics_are_bare_in_notebooks() {
        let python = [
            ("# %matplotlib inline", "%matplotlib inline"),
            ("#%matplotlib", "%matplotlib"),
            ("  # %x", "  %x"),
            ("# !ls", "!ls"),
            ("# x?", "x?"),
            ("# ls -l", "ls -l"),
            ("# x = !ls", "x = !ls"),
            ("# # %x", "# %x"),
            ("# cd = 1", "# cd = 1"),
            ("# cats", "# cats"),
            ("# % x", "# % x"),
            ("# %x # noescape", "# %x # noescape"),
            ("# What is this?", "# What is this?"),
        ];
        for (script, notebook) in python {
            assert_eq!(
                uncomment(&[script], ProgLang::Python),
                [notebook],
                "{script}"
            );
        }
        assert_eq!(
            uncomment(&["// #!share x"], ProgLang::CSharp),
            ["#!share x"]
        );
        assert_eq!(uncomment(&["//%loadjava"], ProgLang::Java), ["%loadjava"]);
    }

    #[test]
    fn commands_that_install_stay_comments() {
        for line in [
            "# !pip install x",
            "# %pip install -q x",
            "#!uv pip install x",
            "# !sudo apt-get -y install x",
            "# !python3.12 -m pip install x",
            "# !npm add x",
        ] {
            assert_eq!(uncomment(&[line], ProgLang::Python), [line]);
        }
        let shown = [
            ("# !pip list", "!pip list"),
            ("# !echo pip install", "!echo pip install"),
            ("!pip install x", "!pip install x"),
            ("# !pipenv install x", "!pipenv install x"),
        ];
        for (script, notebook) in shown {
            assert_eq!(uncomment(&[script], ProgLang::Python), [notebook]);
        }
        let continued = ["# !pip install a \\", "# b", "# %time"];
        assert_eq!(
            uncomment(&continued, ProgLang::Python),
            ["# !pip install a \\", "# b", "%time"]
        );
    }

    #[test]
    fn continued_lines_follow_and_strings_do_not() {
        assert_eq!(
            uncomment(&["# %x \\", "# a \\", "# b", "# c"], ProgLang::Python),
            ["%x \\", "a \\", "b", "# c"]
        );
        let text = ["x = '''", "# %x", "'''"];
        assert_eq!(uncomment(&text, ProgLang::Python), text);
    }
}
