//! Magic commands: commented out in scripts, live in notebooks.

use std::sync::LazyLock;

use regex::Regex;

use crate::course::ProgLang;

use super::strings::StringScanner;

/// Words that a Python notebook passes to the shell.
const SHELL: &str = "cat|cd|copy|cp|ddir|echo|ldir|ls|mkdir|mv|ren|rm|rmdir";

struct Patterns {
    /// A magic line, commented out or not.
    magic: Option<Regex>,
    /// A line that only looks like one.
    not_magic: Option<Regex>,
}

static PYTHON: LazyLock<Patterns> = LazyLock::new(|| {
    Patterns {
    magic: Regex::new(&format!(
        r"^\s*(?:# |#)*(?:%{{1,3}}[a-zA-Z]|\s*[?!]\s*[A-Za-z.~$\\/{{}}])|^(?:# |#)*(?:{SHELL})(?:\s|$|\\)|^\s*(?:# |#)*\s*[a-zA-Z_][a-zA-Z_$0-9]*\s*=\s*(?:%{{1,3}}|!)[a-zA-Z]"
    ))
    .ok(),
    not_magic: Regex::new(&format!(r"^(?:# |#)*(?:{SHELL})\s*[=,(]")).ok(),
}
});
static C_LIKE: LazyLock<Patterns> = LazyLock::new(|| Patterns {
    magic: Regex::new(r"^(?:// |//)*%{1,3}[a-zA-Z]").ok(),
    not_magic: None,
});
static CSHARP: LazyLock<Patterns> = LazyLock::new(|| Patterns {
    magic: Regex::new(r"^(?:// |//)*#![a-zA-Z]").ok(),
    not_magic: None,
});

fn is_magic(line: &str, prog_lang: ProgLang) -> bool {
    let patterns = match prog_lang {
        ProgLang::Python => &*PYTHON,
        ProgLang::CSharp => &*CSHARP,
        _ => &*C_LIKE,
    };
    let matches = |pattern: &Option<Regex>| pattern.as_ref().is_some_and(|p| p.is_match(line));
    matches(&patterns.magic) && !matches(&patterns.not_magic)
}

/// Code cells as a notebook has them: magic lines lose their comment sign.
pub fn uncomment(lines: &[&str], prog_lang: ProgLang) -> Vec<String> {
    let comment = prog_lang.comment();
    convert(lines, prog_lang, |line| {
        let indent = line.len() - line.trim_start().len();
        let (indent, rest) = line.split_at(indent);
        match rest.strip_prefix(comment) {
            Some(rest) => format!("{indent}{}", rest.strip_prefix(' ').unwrap_or(rest)),
            None => line.to_owned(),
        }
    })
}

/// Code cells as a script has them: magic lines get a comment sign.
pub fn comment_out(lines: &[&str], prog_lang: ProgLang) -> Vec<String> {
    let comment = prog_lang.comment();
    convert(lines, prog_lang, |line| format!("{comment} {line}"))
}

/// Converts magic lines, and those that continue one after a backslash, outside of strings.
fn convert(lines: &[&str], prog_lang: ProgLang, change: impl Fn(&str) -> String) -> Vec<String> {
    let mut scanner = StringScanner::new(prog_lang.comment());
    let mut continues = false;
    lines
        .iter()
        .map(|line| {
            let is_live = !scanner.is_quoted() && (continues || is_magic(line, prog_lang));
            scanner.read(line);
            continues = is_live && line.ends_with('\\');
            if is_live {
                change(line)
            } else {
                (*line).to_owned()
            }
        })
        .collect()
}
