//! Notebooks and their JSON serialization.

use serde_json::{Map, Value, json};

use super::{CellKind, text};

/// A notebook of one output.
#[derive(Clone, Debug, PartialEq)]
pub struct Notebook {
    /// The cells in order.
    pub cells: Vec<NotebookCell>,
    /// Metadata of the notebook.
    pub metadata: Map<String, Value>,
}

/// A cell of a notebook.
#[derive(Clone, Debug, PartialEq)]
pub struct NotebookCell {
    /// Its type.
    pub kind: CellKind,
    /// Its id, unique in the notebook.
    pub id: String,
    /// Its text.
    pub source: String,
    /// Its metadata.
    pub metadata: Map<String, Value>,
    /// Index of the cell in [`Deck::cells`](super::Deck::cells).
    pub origin: usize,
    /// Its results; empty if there are none.
    pub outputs: Vec<Value>,
    /// The number in the prompt.
    pub execution_count: Option<i64>,
    /// Whether its results are never shown.
    pub clear_outputs: bool,
    /// Files in the cell: for each name, the content by its type. Cells of decks have none.
    pub attachments: Map<String, Value>,
}

/// The form of texts with several lines.
#[derive(Clone, Copy, PartialEq)]
enum Texts {
    Lines,
    Whole,
}

impl Notebook {
    /// Returns the content of an `.ipynb` file: sorted keys, an indentation of one blank, texts as lists of lines.
    pub fn to_ipynb(&self) -> String {
        let mut out = String::new();
        write(&self.value(Texts::Lines), Some(0), &mut out);
        out.push('\n');
        out
    }

    /// Returns the notebook as JSON in one line, with sorted keys and texts as single strings.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        write(&self.value(Texts::Whole), None, &mut out);
        out
    }

    fn value(&self, texts: Texts) -> Value {
        let cells: Vec<Value> = self.cells.iter().map(|cell| cell.value(texts)).collect();
        json!({
            "cells": cells,
            "metadata": self.metadata,
            "nbformat": 4,
            "nbformat_minor": 5,
        })
    }
}

impl NotebookCell {
    fn value(&self, texts: Texts) -> Value {
        let mut metadata = self.metadata.clone();
        metadata.remove("trusted");
        let mut value = json!({
            "cell_type": self.kind.name(),
            "id": self.id,
            "metadata": metadata,
            "source": text_value(&self.source, texts),
        });
        if !self.attachments.is_empty() {
            value["attachments"] = attachments_value(&self.attachments, texts);
        }
        if self.kind == CellKind::Code {
            value["execution_count"] = json!(self.execution_count);
            let outputs = self
                .outputs
                .iter()
                .map(|output| output_value(output, texts));
            value["outputs"] = outputs.collect();
        }
        value
    }
}

fn text_value(text: &str, texts: Texts) -> Value {
    match texts {
        Texts::Whole => text.into(),
        Texts::Lines => text::split_lines_with_ends(text).into(),
    }
}

fn output_value(output: &Value, texts: Texts) -> Value {
    let mut output = output.clone();
    if texts == Texts::Whole {
        return output;
    }
    if let Some(text) = output.get_mut("text") {
        split(text);
    }
    if let Some(data) = output.get_mut("data") {
        split_bundle(data);
    }
    output
}

fn attachments_value(attachments: &Map<String, Value>, texts: Texts) -> Value {
    let mut attachments = attachments.clone();
    if texts == Texts::Lines {
        attachments.values_mut().for_each(split_bundle);
    }
    attachments.into()
}

/// Splits the texts of content by its type; JSON is left as it is.
fn split_bundle(bundle: &mut Value) {
    for (mime, data) in bundle.as_object_mut().into_iter().flatten() {
        let is_json = mime == "application/json" || mime.ends_with("+json");
        if !is_json {
            split(data);
        }
    }
}

fn split(value: &mut Value) {
    if let Value::String(text) = value {
        *value = text_value(text, Texts::Lines);
    }
}

/// Writes JSON in the format of Python's `json` module; `indent` is the depth if lines are indented.
fn write(value: &Value, indent: Option<usize>, out: &mut String) {
    let inner = indent.map(|depth| depth + 1);
    match value {
        Value::Array(items) if items.is_empty() => out.push_str("[]"),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(index, inner, out);
                write(item, inner, out);
            }
            new_line(indent, out);
            out.push(']');
        }
        Value::Object(map) if map.is_empty() => out.push_str("{}"),
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (index, (key, item)) in entries.into_iter().enumerate() {
                separate(index, inner, out);
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push_str(if indent.is_some() { ": " } else { ":" });
                write(item, inner, out);
            }
            new_line(indent, out);
            out.push('}');
        }
        Value::Number(number) if number.is_f64() => {
            out.push_str(&text::float_text(number.as_f64().unwrap_or_default()));
        }
        other => out.push_str(&other.to_string()),
    }
}

fn separate(index: usize, indent: Option<usize>, out: &mut String) {
    if index > 0 {
        out.push(',');
    }
    new_line(indent, out);
}

fn new_line(indent: Option<usize>, out: &mut String) {
    if let Some(depth) = indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', depth));
    }
}
