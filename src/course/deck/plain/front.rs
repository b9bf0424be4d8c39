//! Front matter and notebook metadata: what they say about the format, the language and the execution.

use serde_json::{Map, Value};

use super::super::percent::ScriptError;
use super::super::{Cell, CellKind, text};
use super::yaml::{self, YamlError};
use crate::course::ProgLang;

const HINT: &str = "correct the YAML, or remove the key";

/// Front matter that declares a notebook.
pub(super) struct Declared {
    /// The name of jupytext's format, if it is written.
    pub(super) format: Option<String>,
    /// Whether there is a section `jupyter`, as in jupytext's own formats.
    pub(super) is_jupyter: bool,
}

/// Parses the section `jupyter:` of a block between `---`, from its lines without comment signs.
pub(super) fn section(lines: &[String], first: usize) -> Result<Map<String, Value>, ScriptError> {
    yaml::parse_map(&lines.join("\n")).map_err(|error| at(first, error))
}

/// Returns the error about YAML that begins at a line.
pub(super) fn at(first: usize, error: YamlError) -> ScriptError {
    ScriptError {
        line: first + error.line,
        message: format!("the metadata is not valid YAML: {}", error.message),
        hint: HINT,
    }
}

/// Returns the block at the start of a text, and the index of the line after it.
pub(super) fn block(text: &str) -> Option<(&str, usize)> {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next()?;
    let opening = first.trim_end();
    if opening.len() < 3 || opening.bytes().any(|byte| byte != b'-') {
        return None;
    }
    let start = first.len();
    let mut at = start;
    for (index, line) in lines.enumerate() {
        let content = line.trim_end();
        let is_rule = content.len() >= opening.len() && content.bytes().all(|byte| byte == b'-');
        if is_rule || content == "..." {
            return Some((&text[start..at], index + 2));
        }
        at += line.len();
    }
    None
}

/// Returns what the front matter of a Markdown text declares. `None` if it does not make the text a notebook.
pub(super) fn declared(text: &str) -> Result<Option<Declared>, ScriptError> {
    const WORDS: [&str; 4] = ["jupytext", "kernelspec", "mystnb", "jupyter"];
    let has_words = |block: &str| WORDS.iter().any(|word| block.contains(word));
    let header = || -> Result<Option<Declared>, ScriptError> {
        let lines = text::split_lines(text);
        let header = super::header::read_markdown(&lines, section)?;
        Ok(header.metadata.map(|metadata| Declared {
            format: format_name(&metadata),
            is_jupyter: true,
        }))
    };
    let Some((block, _)) = block(text) else {
        // jupytext can hide its metadata in a comment, after an interpreter line.
        return match has_words(super::head(text)) {
            true => header(),
            false => Ok(None),
        };
    };
    if !has_words(block) {
        return Ok(None);
    }
    let front = match yaml::parse_map(block) {
        Ok(front) => front,
        // jupytext parses its own section alone. Other front matter with errors counts if there are code cells.
        Err(error) => {
            return match header()? {
                None if super::myst::has_cells(text) => Err(at(1, error)),
                found => Ok(found),
            };
        }
    };
    let inner = front.get("jupyter").and_then(Value::as_object);
    let is_declared = inner.is_some()
        || front.contains_key("jupytext")
        || front.contains_key("kernelspec")
        || front.get("file_format").and_then(Value::as_str) == Some("mystnb");
    // The tool that gives its name to this format declares it only so.
    let by_pandoc = inner.filter(|inner| inner.contains_key("nbformat"));
    let by_pandoc = by_pandoc.map(|_| "pandoc".to_owned());
    Ok(is_declared.then(|| Declared {
        format: format_name(inner.unwrap_or(&front)).or(by_pandoc),
        is_jupyter: inner.is_some(),
    }))
}

fn format_name(metadata: &Map<String, Value>) -> Option<String> {
    let format = metadata.get("jupytext")?.get("text_representation")?;
    format.get("format_name")?.as_str().map(str::to_owned)
}

/// Returns the front matter in the first cell of a notebook, where tools for documents expect it.
pub(super) fn of_cell(cell: &Cell) -> Option<Map<String, Value>> {
    if cell.kind == CellKind::Code {
        return None;
    }
    let (block, _) = block(cell.source.trim_start())?;
    yaml::parse_map(block).ok()
}

/// Returns whether metadata ask that the notebook is not executed, in the words of MyST-NB, mystmd, nbsphinx and
/// Quarto.
pub(super) fn asks_to_skip(metadata: &Map<String, Value>) -> bool {
    let of = |section: &str, key: &str| metadata.get(section)?.get(key);
    is_true(metadata.get("skip_execution"))
        || is_true(of("execute", "skip"))
        || is_false(of("execute", "enabled"))
        || is_false(of("execute", "eval"))
        || is_false(of("mystnb", "execution_mode"))
        || of("nbsphinx", "execute").and_then(Value::as_str) == Some("never")
}

/// Returns whether metadata declare that any cell may fail, in the words of MyST-NB and nbsphinx.
pub(super) fn allows_errors(metadata: &Map<String, Value>) -> bool {
    let of = |section: &str, key: &str| metadata.get(section)?.get(key);
    is_true(of("mystnb", "execution_allow_errors"))
        || is_true(of("execution", "allow_errors"))
        || is_true(of("nbsphinx", "allow_errors"))
}

fn is_true(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(value)) => *value,
        Some(Value::String(text)) => matches!(text.as_str(), "true" | "yes" | "on"),
        _ => false,
    }
}

fn is_false(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(value)) => !value,
        Some(Value::String(text)) => matches!(text.as_str(), "false" | "no" | "off"),
        _ => false,
    }
}

/// Returns the name that cells use for the language of a kernel: `c++` for `C++17`.
pub(super) fn cell_language(name: &str) -> String {
    if name.starts_with("C++") {
        return "c++".into();
    }
    match name {
        "R" | "sas" => name.to_owned(),
        other => other.to_lowercase().replace('#', "sharp"),
    }
}

/// Returns the programming language according to the metadata of a notebook.
pub(super) fn prog_lang(metadata: &Map<String, Value>) -> Option<ProgLang> {
    let of = |section: &str, key: &str| metadata.get(section)?.get(key)?.as_str();
    let known = [
        of("kernelspec", "language"),
        of("language_info", "name"),
        of("kernelspec", "name"),
        of("jupytext", "main_language"),
        of("jupytext", "default_lexer"),
    ];
    // The first name counts, also if it is that of an unknown language.
    let name = known.into_iter().flatten().find(|name| !name.is_empty())?;
    language(name)
}

/// Returns the language by one of the names that notebooks and kernels have for it.
fn language(name: &str) -> Option<ProgLang> {
    let name = name.to_lowercase();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if starts(&["python", "ipython", "xpython", "conda-env", "conda-base"]) {
        return Some(ProgLang::Python);
    }
    if starts(&["c++", "cpp", "xcpp", "cling"]) {
        return Some(ProgLang::Cpp);
    }
    match name.as_str() {
        "csharp" | "c#" | "cs" | ".net-csharp" => Some(ProgLang::CSharp),
        "java" | "ijava" | "jjava" | "jbang" => Some(ProgLang::Java),
        "typescript" | "ts" | "deno" | "tslab" => Some(ProgLang::TypeScript),
        _ => None,
    }
}
