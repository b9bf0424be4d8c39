//! Notebooks as JSON text.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::comments::is_line_end;
use super::{CellKind, Notebook, NotebookCell};

impl Notebook {
    /// The text of an `.ipynb` file: keys sorted, one blank for each level, sources as lists of lines.
    pub fn to_ipynb(&self) -> String {
        let value = self.value(&|text| Value::from(lines(text)));
        let mut bytes = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
        // Writing a value to memory cannot fail.
        let written = value.serialize(&mut serializer);
        debug_assert!(written.is_ok());
        bytes.push(b'\n');
        String::from_utf8(bytes).unwrap_or_default()
    }

    /// Compact JSON with results and whole texts, for programs.
    pub fn to_json(&self) -> String {
        self.value(&|text| Value::from(text)).to_string()
    }

    fn value(&self, text: &dyn Fn(&str) -> Value) -> Value {
        let cells: Vec<Value> = self
            .cells
            .iter()
            .map(|cell| cell_value(cell, text))
            .collect();
        json!({
            "cells": cells,
            "metadata": self.metadata,
            "nbformat": 4,
            "nbformat_minor": 5,
        })
    }
}

fn cell_value(cell: &NotebookCell, text: &dyn Fn(&str) -> Value) -> Value {
    let mut value = Map::from_iter([
        ("cell_type".to_owned(), Value::from(cell.kind.name())),
        ("id".to_owned(), Value::from(cell.id.as_str())),
        ("metadata".to_owned(), Value::Object(cell.metadata.clone())),
        ("source".to_owned(), text(&cell.source)),
    ]);
    if cell.kind == CellKind::Code {
        value.insert("execution_count".to_owned(), cell.execution_count.into());
        value.insert("outputs".to_owned(), Value::from(cell.outputs.clone()));
    }
    Value::Object(value)
}

/// A text as a list of lines with their ends.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = match rest.find(is_line_end) {
            None => rest.len(),
            Some(at) if rest[at..].starts_with("\r\n") => at + 2,
            Some(at) => at + rest[at..].chars().next().map_or(1, char::len_utf8),
        };
        let (line, next) = rest.split_at(end);
        lines.push(line);
        rest = next;
    }
    lines
}
