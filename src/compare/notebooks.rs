//! The first difference of two notebooks, cell by cell. Pure.

use serde_json::Value;

use super::normal::{self, Pictures};
use super::texts::{self, Found};

/// What differs if nothing but the id of a cell does.
const ID: &str = "the id of the cell";

/// Returns the first difference of two notebooks that do not have the same bytes, or `None` if they show the same.
pub(super) fn first_difference(
    (before, after): (&str, &str),
    pictures: (&Pictures, &Pictures),
) -> Option<Found> {
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    let (Some(mut one), Some(mut other)) = (parse(before), parse(after)) else {
        return Some(texts::first_difference(before, after));
    };
    if one == other {
        return Some(Found::of("the same notebook, but written differently"));
    }
    normalise(&mut one, pictures.0);
    normalise(&mut other, pictures.1);
    if one == other {
        return None;
    }
    let none = Vec::new();
    let (first, second) = (
        one["cells"].as_array().unwrap_or(&none),
        other["cells"].as_array().unwrap_or(&none),
    );
    let number = |index: usize| Some(u32::try_from(index + 1).unwrap_or(u32::MAX));
    let pairs = first.iter().zip(second).enumerate();
    let mut differing = pairs.filter(|(_, (one, other))| one != other);
    // An id is a digest of the source, which may be hidden: what differs elsewhere says more.
    let of_id = |(_, (one, other)): &(usize, (&Value, &Value))| {
        of_cells(one, other).what.as_deref() == Some(ID)
    };
    let of_ids = differing.clone().next().filter(of_id);
    let more = differing.find(|pair| !of_id(pair));
    let is_longer = first.len() != second.len();
    if let Some((index, (one, other))) = more.or(of_ids.filter(|_| !is_longer)) {
        return Some(Found {
            cell: number(index),
            ..of_cells(one, other)
        });
    }
    if first.len() != second.len() {
        let shown = |cells: &[Value], index: usize| {
            let source = lines(&cells.get(index)?["source"]);
            Some(source.lines().next().unwrap_or_default().to_owned())
        };
        let index = first.len().min(second.len());
        return Some(Found {
            cell: number(index),
            ..Found::of_lines(
                shown(first, index).as_deref(),
                shown(second, index).as_deref(),
            )
        });
    }
    Some(of_values("the metadata of the notebook", &one, &other))
}

fn of_cells(before: &Value, after: &Value) -> Found {
    if before["cell_type"] != after["cell_type"] {
        return of_values(
            "the type of the cell",
            &before["cell_type"],
            &after["cell_type"],
        );
    }
    let (one, other) = (lines(&before["source"]), lines(&after["source"]));
    if one != other {
        return texts::first_difference(&one, &other);
    }
    for (field, what) in [
        ("outputs", "the outputs of the cell"),
        ("metadata", "the metadata of the cell"),
        ("id", ID),
    ] {
        if before[field] != after[field] {
            return of_values(what, &before[field], &after[field]);
        }
    }
    of_values("the cell", before, after)
}

/// Shows two values that differ by their first lines that do.
fn of_values(what: &str, before: &Value, after: &Value) -> Found {
    let text = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
    let found = texts::first_difference(&text(before), &text(after));
    let trimmed = |line: Option<String>| line.map(|line| line.trim().to_owned());
    Found::between(what, trimmed(found.before), trimmed(found.after))
}

/// Returns a text, which may be a list of lines.
fn lines(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        _ => String::new(),
    }
}

/// Replaces what may differ: logos and pictures in the text of cells, and addresses in outputs.
fn normalise(notebook: &mut Value, pictures: &Pictures) {
    let Some(cells) = notebook["cells"].as_array_mut() else {
        return;
    };
    for cell in cells {
        if let Some(source) = cell.get_mut("source") {
            let text = lines(source);
            let named = normal::logo(&text);
            let has_logo = named != text;
            *source = Value::String(pictures.named(&named).into_owned());
            if has_logo {
                // The id is a digest of the source.
                cell["id"] = "title".into();
            }
        }
        if let Some(outputs) = cell.get_mut("outputs") {
            in_texts(outputs);
        }
    }
}

fn in_texts(value: &mut Value) {
    match value {
        Value::String(text) => *text = normal::output(text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(in_texts),
        Value::Object(fields) => fields.values_mut().for_each(in_texts),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn compared(before: &Value, after: &Value) -> Option<Found> {
        let none = Pictures::default();
        let texts = (before.to_string(), after.to_string());
        first_difference((&texts.0, &texts.1), (&none, &none))
    }

    fn cell(source: &str, output: &str) -> Value {
        json!({"cell_type": "code", "id": "a", "metadata": {}, "source": [source],
               "outputs": [{"output_type": "stream", "name": "stdout", "text": output}]})
    }

    fn notebook(cells: &[Value]) -> Value {
        json!({"cells": cells, "metadata": {}, "nbformat": 4})
    }

    #[test]
    fn the_first_cell_that_differs_is_found_with_its_line() {
        let found = compared(
            &notebook(&[cell("a", ""), cell("x\ny", "")]),
            &notebook(&[cell("a", ""), cell("x\nz", "")]),
        )
        .unwrap();
        assert_eq!((found.cell, found.line), (Some(2), Some(2)));
        assert_eq!(
            (found.before.as_deref(), found.after.as_deref()),
            (Some("y"), Some("z"))
        );
    }

    #[test]
    fn ids_are_named_if_nothing_else_differs() {
        let with_id = |id: &str| {
            let mut cell = cell("", "");
            cell["id"] = id.into();
            cell
        };
        let one = notebook(&[with_id("1"), cell("a", "")]);
        let found = compared(&one, &notebook(&[with_id("2"), cell("b", "")])).unwrap();
        assert_eq!((found.cell, found.after.as_deref()), (Some(2), Some("b")));
        let found = compared(&one, &notebook(&[with_id("2")])).unwrap();
        assert_eq!((found.cell, found.before.as_deref()), (Some(2), Some("a")));
        let found = compared(&one, &notebook(&[with_id("2"), cell("a", "")])).unwrap();
        assert_eq!((found.cell, found.what.as_deref()), (Some(1), Some(ID)));
    }

    #[test]
    fn cells_that_come_and_go_are_found() {
        let found = compared(&notebook(&[cell("a", "")]), &notebook(&[])).unwrap();
        assert_eq!(
            (found.cell, found.before.as_deref(), found.after),
            (Some(1), Some("a"), None)
        );
    }

    #[test]
    fn outputs_may_differ_in_addresses_only() {
        let of = |output: &str| notebook(&[cell("a", output)]);
        assert_eq!(
            compared(&of("<A at 0x7f0001>"), &of("<A at 0x7f0002>")),
            None
        );
        let found = compared(&of("1"), &of("2")).unwrap();
        assert_eq!(found.what.as_deref(), Some("the outputs of the cell"));
        assert_eq!(found.after.as_deref(), Some("\"text\": \"2\""));
        let source = |text: &str| notebook(&[cell(text, "")]);
        assert!(compared(&source("0x7f0001"), &source("0x7f0002")).is_some());
    }

    #[test]
    fn metadata_and_other_files_are_compared() {
        let mut other = notebook(&[]);
        other["metadata"]["language"] = "de".into();
        let found = compared(&notebook(&[]), &other).unwrap();
        assert_eq!(found.what.as_deref(), Some("the metadata of the notebook"));
        let none = Pictures::default();
        let found = first_difference(("{}", "{} "), (&none, &none)).unwrap();
        assert_eq!(
            found.what.as_deref(),
            Some("the same notebook, but written differently")
        );
        let found = first_difference(("no", "JSON"), (&none, &none)).unwrap();
        assert_eq!(found.line, Some(1));
    }
}
