//! Reads `.ipynb` files.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::super::CellKind;
use super::super::percent::{Script, ScriptCell};
use super::{Found, Stored};
use crate::course::{RelPath, lfs};
use crate::diagnostic::Diagnostic;

/// Reads a notebook. All errors name the file.
pub(super) fn read(path: &RelPath, text: &str) -> Result<Found, Diagnostic> {
    let mut notebook = parse(path, text)?;
    let error = |message: String| Diagnostic::error(message).at(path.as_str(), Some(1));
    let version = notebook.get("nbformat").and_then(Value::as_i64);
    match version {
        Some(4) => {}
        Some(old @ 1..=3) => {
            return Err(error(format!(
                "the notebook has the old format {old}, and clm reads format 4"
            ))
            .hint("convert it with `jupyter nbconvert --to notebook --inplace FILE`"));
        }
        Some(other) => {
            return Err(error(format!(
                "the notebook has the format {other}, and clm reads format 4"
            )));
        }
        None => {
            return Err(error(
                "this is JSON, but not a notebook: it has no `nbformat`".into(),
            ));
        }
    }
    let Some(Value::Array(cells)) = notebook.remove("cells") else {
        return Err(error("the notebook has no list of cells".into()));
    };
    let mut metadata = match notebook.remove("metadata") {
        Some(Value::Object(metadata)) => metadata,
        _ => Map::new(),
    };
    // They describe another file than the one that is written from this notebook.
    for transient in ["orig_nbformat", "orig_nbformat_minor", "signature"] {
        metadata.remove(transient);
    }
    let mut found = Found {
        script: Script {
            cells: Vec::with_capacity(cells.len()),
            metadata,
        },
        stored: Vec::with_capacity(cells.len()),
        prog_lang: None,
    };
    for (number, value) in (1..).zip(cells) {
        let (cell, stored) = cell(value).map_err(|message| error(message).cell(number))?;
        found.script.cells.push(cell);
        found.stored.push(stored);
    }
    Ok(found)
}

/// Parses the JSON of a notebook.
fn parse(path: &RelPath, text: &str) -> Result<Map<String, Value>, Diagnostic> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(pointer) = lfs::pointer(path.as_str(), text.as_bytes()) {
        return Err(pointer);
    }
    let wrong = |message: &str| Diagnostic::error(message).at(path.as_str(), Some(1));
    if text.trim().is_empty() {
        return Err(wrong("the file is empty, so it is not a notebook")
            .hint("open it in Jupyter and save it, or delete it"));
    }
    let parsed = serde_json::from_str::<Value>(text).or_else(|error| match tolerant(text) {
        Cow::Borrowed(_) => Err(error),
        Cow::Owned(text) => serde_json::from_str(&text).map_err(|_| error),
    });
    match parsed {
        Ok(Value::Object(notebook)) => Ok(notebook),
        Ok(_) => Err(wrong("this is JSON, but not a notebook")),
        Err(error) => Err(invalid(path, text, &error)),
    }
}

/// Returns the error about a text that is not JSON.
fn invalid(path: &RelPath, text: &str, error: &serde_json::Error) -> Diagnostic {
    // Line 0 stands for an empty text.
    let line = u32::try_from(error.line().max(1)).ok();
    if let Some(conflict) = conflict(text) {
        return Diagnostic::error("the notebook has conflict markers of a merge")
            .at(path.as_str(), Some(conflict))
            .hint("resolve the conflict, for example with `nbdime mergetool`, or take one side with `git checkout --ours FILE`");
    }
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let mut diagnostic = Diagnostic::error(format!("the notebook is not valid JSON: {message}"))
        .at(path.as_str(), line)
        .hint(if error.is_eof() {
            "the file ends too early: was it saved or downloaded completely?"
        } else {
            "open it in an editor at this line, or restore it from version control"
        });
    if let Some(column) = u32::try_from(error.column())
        .ok()
        .filter(|column| *column > 0)
    {
        diagnostic = diagnostic.column(column);
    }
    diagnostic
}

/// Returns the line of the first conflict marker, counted from 1.
fn conflict(text: &str) -> Option<u32> {
    let is_marker = |line: &str| {
        ["<<<<<<< ", "=======", ">>>>>>> "]
            .iter()
            .any(|marker| line.starts_with(marker))
    };
    let line = text.lines().position(is_marker)?;
    u32::try_from(line + 1).ok()
}

/// Replaces what Python writes into JSON, and JSON does not have: `NaN` and `Infinity` become null, halves of
/// characters the replacement character.
fn tolerant(text: &str) -> Cow<'_, str> {
    const WORDS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];
    const ESCAPE: usize = "\\uXXXX".len();
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut copied, mut at, mut in_string) = (0, 0, false);
    let surrogate = |at: usize| {
        let digits = text.get(at..at + ESCAPE)?.strip_prefix("\\u")?;
        let code = u32::from_str_radix(digits, 16).ok()?;
        (0xd800..0xe000).contains(&code).then_some(code)
    };
    while let Some(byte) = bytes.get(at) {
        let mut replace = |length: usize, by: &str, at: usize| {
            out.push_str(&text[copied..at]);
            out.push_str(by);
            copied = at + length;
            copied
        };
        match byte {
            b'"' => {
                in_string = !in_string;
                at += 1;
            }
            b'\\' if in_string => {
                at = match surrogate(at) {
                    None => at + 2,
                    Some(0xd800..0xdc00)
                        if surrogate(at + ESCAPE).is_some_and(|code| code >= 0xdc00) =>
                    {
                        at + 2 * ESCAPE
                    }
                    Some(_) => replace(ESCAPE, "\\ufffd", at),
                };
            }
            b'N' | b'I' | b'-' if !in_string => {
                let word = WORDS
                    .iter()
                    .find(|word| bytes[at..].starts_with(word.as_bytes()));
                at = match word {
                    Some(word) => replace(word.len(), "null", at),
                    None => at + 1,
                };
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Converts a cell. The error says what is wrong with it.
fn cell(value: Value) -> Result<(ScriptCell, Stored), String> {
    let Value::Object(mut cell) = value else {
        return Err("the cell is not an object".into());
    };
    let kind = match cell.get("cell_type") {
        Some(Value::String(name)) => match name.as_str() {
            "code" => CellKind::Code,
            "markdown" => CellKind::Markdown,
            "raw" => CellKind::Raw,
            other => {
                return Err(format!(
                    "the cell has the unknown type `{other}`: notebooks have `code`, `markdown` and `raw`"
                ));
            }
        },
        _ => return Err("the cell has no type".into()),
    };
    let source = match cell.remove("source") {
        None => String::new(),
        Some(source) => match joined(source) {
            Value::String(text) => text,
            _ => return Err("the source of the cell is not a text".into()),
        },
    };
    let mut metadata = match cell.remove("metadata") {
        Some(Value::Object(metadata)) => metadata,
        _ => Map::new(),
    };
    metadata.remove("trusted");
    let mut stored = Stored::default();
    if let Some(Value::String(id)) = cell.remove("id") {
        stored.id = id;
    }
    if let Some(Value::Object(mut files)) = cell.remove("attachments") {
        for bundle in files.values_mut() {
            join_bundle(bundle);
        }
        stored.attachments = files;
    }
    if kind == CellKind::Code {
        stored.execution_count = cell.get("execution_count").and_then(Value::as_i64);
        if let Some(Value::Array(outputs)) = cell.remove("outputs") {
            stored.outputs = outputs.into_iter().map(output).collect::<Result<_, _>>()?;
        }
    }
    let cell = ScriptCell {
        kind,
        source: source.replace("\r\n", "\n").replace('\r', "\n"),
        metadata,
        marker: None,
        first: 0,
    };
    Ok((cell, stored))
}

/// Returns an output with its texts as single strings.
fn output(mut output: Value) -> Result<Value, String> {
    let fields = output
        .as_object_mut()
        .filter(|fields| fields.get("output_type").is_some_and(Value::is_string));
    let Some(fields) = fields else {
        return Err("an output of the cell has no type".into());
    };
    if let Some(text) = fields.get_mut("text") {
        *text = joined(text.take());
    }
    if let Some(data) = fields.get_mut("data") {
        join_bundle(data);
    }
    Ok(output)
}

/// Joins the texts of content by its type; JSON is left as it is.
fn join_bundle(bundle: &mut Value) {
    for (mime, data) in bundle.as_object_mut().into_iter().flatten() {
        let is_json = mime == "application/json"
            || (mime.starts_with("application/") && mime.ends_with("+json"));
        if !is_json {
            *data = joined(data.take());
        }
    }
}

/// Joins a list of texts.
fn joined(value: Value) -> Value {
    match value {
        Value::Array(lines) if lines.iter().all(Value::is_string) => {
            let lines = lines.iter().filter_map(Value::as_str);
            lines.collect::<String>().into()
        }
        other => other,
    }
}
