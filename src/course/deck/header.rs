//! Parses the lines before the first cell: an interpreter line, an encoding, a metadata block.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::percent::ScriptError;
use super::text;

/// Parses the section `jupyter:` of a block from its lines without comment signs. The number is the index of the first
/// line in the script.
pub(super) type ReadYaml = fn(&[String], usize) -> Result<Map<String, Value>, ScriptError>;

/// Parses the section as courses always did: what is not plain is ignored.
pub(super) fn leniently(lines: &[String], _: usize) -> Result<Map<String, Value>, ScriptError> {
    Ok(super::yaml::parse(lines))
}

/// The lines before the first cell.
#[derive(Default)]
pub(super) struct Header {
    /// The number of lines.
    pub(super) lines: usize,
    /// The text after `#!` in the first line.
    pub(super) executable: Option<String>,
    /// The line that declares UTF-8.
    pub(super) encoding: Option<String>,
    /// Metadata of the notebook, if the block has a `jupyter:` section.
    pub(super) metadata: Option<Map<String, Value>>,
    /// The rest of the block, which becomes a raw cell.
    pub(super) raw: Option<String>,
}

impl Header {
    /// Returns the format of the script according to the block.
    pub(super) fn format_name(&self) -> Option<&str> {
        let jupytext = self.metadata.as_ref()?.get("jupytext")?;
        jupytext
            .get("text_representation")?
            .get("format_name")?
            .as_str()
    }
}

static ENCODING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^[ \t\x0c]*(?:#|//).*?coding[:=][ \t]*([-\w.]+)").expect("the pattern is constant")
});

/// Parses the header of a script.
pub(super) fn read(lines: &[&str], comment: &str, yaml: ReadYaml) -> Result<Header, ScriptError> {
    let mut header = read_first_lines(lines, &ENCODING)?;
    read_block(lines, comment, yaml, &mut header)?;
    Ok(header)
}

/// Parses the header of a Markdown text, whose block may be in an HTML comment.
pub(super) fn read_markdown(lines: &[&str], yaml: ReadYaml) -> Result<Header, ScriptError> {
    static IN_COMMENT: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^[ \t\x0c]*(?:#|<!--).*?coding[:=][ \t]*([-\w.]+)")
            .expect("the pattern is constant")
    });
    let mut header = read_first_lines(lines, &IN_COMMENT)?;
    let start = header.lines;
    let has_comment = lines
        .get(start)
        .is_some_and(|line| text::strip(line) == "<!--");
    if has_comment {
        header.lines += 1;
    }
    let before = header.lines;
    read_block(lines, "", yaml, &mut header)?;
    if header.lines == before {
        header.lines = start;
    } else if has_comment {
        let ends = |line: &&str| text::strip(line) == "-->";
        header.lines += usize::from(lines.get(header.lines).is_some_and(ends));
    }
    Ok(header)
}

fn read_first_lines(lines: &[&str], encoding: &Regex) -> Result<Header, ScriptError> {
    let mut header = Header::default();
    if let Some(rest) = lines.first().and_then(|line| line.strip_prefix("#!")) {
        header.executable = Some(rest.to_owned());
        header.lines = 1;
    }
    if let Some(line) = lines.get(header.lines)
        && let Some(found) = encoding.captures(line)
    {
        // Python accepts all of these names.
        let name = found[1].to_ascii_lowercase().replace('_', "-");
        if !matches!(name.as_str(), "utf-8" | "utf8") {
            return Err(wrong_encoding(header.lines));
        }
        header.encoding = Some((*line).to_owned());
        header.lines += 1;
    }
    Ok(header)
}

/// Returns the error about an encoding in the line with this index.
fn wrong_encoding(line: usize) -> ScriptError {
    ScriptError {
        line,
        message: "the deck declares an encoding other than UTF-8".into(),
        hint: "save the deck as UTF-8 and remove the encoding line",
    }
}

/// Parses a block between two lines `# ---`, all of whose lines are comments.
fn read_block(
    lines: &[&str],
    comment: &str,
    yaml: ReadYaml,
    header: &mut Header,
) -> Result<(), ScriptError> {
    let body = |line: &str| -> Option<String> {
        let rest = line.strip_prefix(comment)?;
        let without_blank = rest.strip_prefix(' ').filter(|_| !comment.is_empty());
        Some(without_blank.unwrap_or(rest).to_owned())
    };
    let is_rule = |line: &str| body(line).is_some_and(|body| body.trim_end() == "---");
    let start = header.lines;
    if !lines.get(start).is_some_and(|line| is_rule(line)) {
        return Ok(());
    }
    let Some(end) = lines[start + 1..].iter().position(|line| is_rule(line)) else {
        return Ok(());
    };
    let end = start + 1 + end;
    let Some(block) = lines[start + 1..end]
        .iter()
        .map(|line| body(line))
        .collect::<Option<Vec<_>>>()
    else {
        return Ok(());
    };
    header.lines = end + 1;
    if lines
        .get(header.lines)
        .is_some_and(|line| text::is_blank(line))
    {
        header.lines += 1;
    }

    let is_section = |line: &String| line.starts_with(|c: char| !c.is_whitespace());
    let mut other = Vec::new();
    let mut rest = block.as_slice();
    while let Some((line, following)) = rest.split_first() {
        let length = following
            .iter()
            .take_while(|line| !is_section(line))
            .count();
        if line.trim_end() == "jupyter:" {
            let first = end - rest.len() + 1;
            header.metadata = Some(yaml(&following[..length], first)?);
        } else {
            other.push(line.as_str());
            other.extend(following[..length].iter().map(String::as_str));
        }
        rest = &following[length..];
    }
    if !other.is_empty() {
        header.raw = Some(format!("---\n{}\n---", other.join("\n")));
    }
    Ok(())
}
