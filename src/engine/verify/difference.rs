//! What differs between two results of the same action, in the words of its author. Pure.

use serde_json::Value;

use crate::compare;
use crate::course::deck::ExecutionCell;
use crate::worker::request::Executed;

/// The number of cells of an execution whose differences are reported.
const REPORTED: usize = 10;
/// The number of characters of a line that are shown.
const SHOWN: usize = 160;

/// One place at which two results differ.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Difference {
    /// The file of the result, such as `completed.html`; `None` for the outputs of cells.
    pub result: Option<String>,
    /// The number of the cell in the deck, counted from 1.
    pub cell: Option<u32>,
    /// The line of the cell in the deck.
    pub line: Option<u32>,
    /// The number of the output among those of the cell, counted from 1.
    pub output: Option<usize>,
    /// What differs, such as `stdout` or `the page`.
    pub what: String,
    /// The known result there; `None` if it has nothing there, or nothing readable.
    pub before: Option<String>,
    /// The new result there.
    pub after: Option<String>,
}

impl Difference {
    /// Returns a difference that no place is known of.
    pub(super) fn of(result: Option<&str>, what: impl Into<String>) -> Self {
        Self {
            result: result.map(str::to_owned),
            cell: None,
            line: None,
            output: None,
            what: what.into(),
            before: None,
            after: None,
        }
    }

    fn between(mut self, before: Option<String>, after: Option<String>) -> Self {
        (self.before, self.after) = (before, after);
        self
    }

    /// Returns the lines that show both results, or `None` if they cannot be read.
    pub(super) fn detail(&self) -> Option<String> {
        let line =
            |mark: char, text: &Option<String>| text.as_ref().map(|text| format!("{mark} {text}"));
        let lines = [line('-', &self.before), line('+', &self.after)];
        let lines: Vec<String> = lines.into_iter().flatten().collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

/// Compares the outputs of the cells of a deck. Returns one difference for each cell with other outputs, and at least
/// one if the bytes differ at all.
pub(super) fn of_executions(
    cells: &[ExecutionCell],
    before: &[u8],
    after: &[u8],
) -> Vec<Difference> {
    if before == after {
        return Vec::new();
    }
    let parse = |bytes: &[u8]| serde_json::from_slice::<Executed>(bytes).ok();
    let (Some(before), Some(after)) = (parse(before), parse(after)) else {
        return vec![Difference::of(None, "the outputs of the cells")];
    };
    let mut found = Vec::new();
    for (index, cell) in cells.iter().enumerate() {
        let (Some(one), Some(other)) = (before.cells.get(index), after.cells.get(index)) else {
            break;
        };
        let difference = of_outputs(&one.outputs, &other.outputs).or_else(|| {
            let counts = (one.execution_count, other.execution_count);
            let text = |count: Option<i64>| count.map(|count| count.to_string());
            (counts.0 != counts.1).then(|| {
                Difference::of(None, "the number of the prompt")
                    .between(text(counts.0), text(counts.1))
            })
        });
        found.extend(difference.map(|difference| Difference {
            cell: Some(cell.number),
            line: cell.line,
            ..difference
        }));
    }
    let more = found.len().saturating_sub(REPORTED);
    found.truncate(REPORTED);
    if more > 0 {
        found.push(Difference::of(
            None,
            format!("the outputs of {more} more cells"),
        ));
    }
    if found.is_empty() {
        let what = match before.widgets == after.widgets {
            true => "the outputs of the cells",
            false => "the state of the widgets",
        };
        found.push(Difference::of(None, what));
    }
    found
}

/// Returns the first difference between the outputs of a cell.
fn of_outputs(before: &[Value], after: &[Value]) -> Option<Difference> {
    let mut pairs = before.iter().zip(after).enumerate();
    if let Some((index, (one, other))) = pairs.find(|(_, (one, other))| one != other) {
        return Some(Difference {
            output: Some(index + 1),
            ..of_output(one, other)
        });
    }
    let (index, difference) = match (before.get(after.len()), after.get(before.len())) {
        (Some(gone), _) => (
            after.len(),
            Difference::of(None, name(gone)).between(Some(first_line(gone)), None),
        ),
        (None, Some(new)) => (
            before.len(),
            Difference::of(None, name(new)).between(None, Some(first_line(new))),
        ),
        (None, None) => return None,
    };
    Some(Difference {
        output: Some(index + 1),
        ..difference
    })
}

fn of_output(before: &Value, after: &Value) -> Difference {
    let (names, kinds) = (
        (name(before), name(after)),
        (&before["output_type"], &after["output_type"]),
    );
    if names.0 != names.1 || kinds.0 != kinds.1 {
        return Difference::of(None, "the kind of the output")
            .between(Some(names.0), Some(names.1));
    }
    for field in ["text", "evalue", "traceback"] {
        if before[field] != after[field] {
            return of_texts(None, &names.0, &text(&before[field]), &text(&after[field]));
        }
    }
    let (Some(one), Some(other)) = (before["data"].as_object(), after["data"].as_object()) else {
        return Difference::of(None, names.0);
    };
    // The text is what people can read: it is compared before pictures.
    let mut formats: Vec<&String> = one.keys().chain(other.keys()).collect();
    formats.sort_by_key(|format| (!format.starts_with("text/"), *format));
    formats.dedup();
    for format in formats {
        match (one.get(format), other.get(format)) {
            (Some(one), Some(other)) if one == other => {}
            (Some(one), Some(other)) if format.starts_with("text/") => {
                return of_texts(None, format, &text(one), &text(other));
            }
            (Some(one), Some(other)) => {
                return of_sizes(None, format, text(one).len(), text(other).len());
            }
            (one, other) => {
                let there = |value: Option<&Value>| value.map(|_| format.clone());
                return Difference::of(None, "the formats of the output")
                    .between(there(one), there(other));
            }
        }
    }
    Difference::of(None, format!("the metadata of {}", names.0))
}

/// Compares two texts that differ, and shows the first line that does.
pub(super) fn of_texts(
    result: Option<&str>,
    what_differs: &str,
    before: &str,
    after: &str,
) -> Difference {
    let found = compare::first_difference(before, after);
    let what = match found.what {
        Some(what) => format!("{what} of {what_differs}"),
        None => what_differs.to_owned(),
    };
    Difference::of(result, what).between(found.before, found.after)
}

/// Describes bytes that differ and that nobody can read.
pub(super) fn of_sizes(
    result: Option<&str>,
    what: &str,
    before: usize,
    after: usize,
) -> Difference {
    let sizes = match before == after {
        true => (None, None),
        false => (
            Some(format!("{before} bytes")),
            Some(format!("{after} bytes")),
        ),
    };
    Difference::of(result, format!("the bytes of {what}")).between(sizes.0, sizes.1)
}

/// Returns what people call an output.
fn name(output: &Value) -> String {
    let text = |field: &str| output[field].as_str().map(str::to_owned);
    match output["output_type"].as_str() {
        Some("stream") => text("name").unwrap_or_else(|| "the stream".to_owned()),
        Some("error") => format!("the error {}", text("ename").unwrap_or_default()),
        Some("execute_result") => "the result".to_owned(),
        _ => "the displayed output".to_owned(),
    }
}

fn first_line(output: &Value) -> String {
    let shown = match &output["text"] {
        Value::Null => text(&output["data"]["text/plain"]),
        found => text(found),
    };
    let line = shown.lines().next().unwrap_or_default();
    line.chars().take(SHOWN).collect()
}

/// Returns the text of a value of `nbformat`, in which long texts may be lists of lines.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(lines) => lines.iter().map(text).collect::<Vec<_>>().join("\n"),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::request::ExecutedCell;
    use serde_json::json;

    fn cell(number: u32) -> ExecutionCell {
        ExecutionCell {
            origin: number as usize,
            source: "x".to_owned(),
            number,
            line: Some(10 * number),
            jumps: Box::default(),
            may_fail: false,
        }
    }

    fn bytes(cells: &[Value]) -> Vec<u8> {
        let cells = cells.iter().map(|outputs| ExecutedCell {
            outputs: outputs.as_array().unwrap().clone(),
            execution_count: Some(1),
        });
        let executed = Executed {
            cells: cells.collect(),
            widgets: None,
        };
        serde_json::to_vec(&executed).unwrap()
    }

    fn compared(before: &[Value], after: &[Value]) -> Vec<Difference> {
        let cells: Vec<_> = (0..before.len())
            .map(|index| cell(2 + index as u32))
            .collect();
        of_executions(&cells, &bytes(before), &bytes(after))
    }

    fn stream(text: &str) -> Value {
        json!({"output_type": "stream", "name": "stdout", "text": text})
    }

    fn shown(difference: &Difference) -> (Option<u32>, Option<usize>, &str, Option<String>) {
        let Difference {
            cell, output, what, ..
        } = difference;
        (*cell, *output, what, difference.detail())
    }

    #[test]
    fn equal_results_have_no_difference() {
        assert_eq!(
            compared(&[json!([stream("a")])], &[json!([stream("a")])]),
            []
        );
    }

    #[test]
    fn the_first_line_that_differs_is_shown_with_cell_and_output() {
        let found = compared(
            &[
                json!([stream("same")]),
                json!([stream("x"), stream("a\nb\nc")]),
            ],
            &[
                json!([stream("same")]),
                json!([stream("x"), stream("a\nB\nc")]),
            ],
        );
        assert_eq!(found.len(), 1);
        assert_eq!(
            shown(&found[0]),
            (Some(3), Some(2), "stdout", Some("- b\n+ B".to_owned()))
        );
        assert_eq!(found[0].line, Some(30));
    }

    #[test]
    fn outputs_that_come_and_go_are_named() {
        let one = json!([stream("a")]);
        let none = json!([]);
        let gone = compared(std::slice::from_ref(&one), std::slice::from_ref(&none));
        assert_eq!(
            shown(&gone[0]),
            (Some(2), Some(1), "stdout", Some("- a".to_owned()))
        );
        let new = compared(&[none], &[one]);
        assert_eq!(
            shown(&new[0]),
            (Some(2), Some(1), "stdout", Some("+ a".to_owned()))
        );
    }

    #[test]
    fn text_counts_before_pictures_and_pictures_show_no_bytes() {
        let result = |text: &str, image: &str| {
            json!([{"output_type": "execute_result", "metadata": {}, "execution_count": 1,
                    "data": {"image/png": image, "text/plain": text}}])
        };
        let found = compared(
            &[result("<A at 0x1>", "AAAA")],
            &[result("<A at 0x2>", "AAAABBBB")],
        );
        assert_eq!(
            shown(&found[0]).3.as_deref(),
            Some("- <A at 0x1>\n+ <A at 0x2>")
        );
        let found = compared(&[result("same", "AAAA")], &[result("same", "AAAABBBB")]);
        assert_eq!(
            shown(&found[0]),
            (
                Some(2),
                Some(1),
                "the bytes of image/png",
                Some("- 4 bytes\n+ 8 bytes".to_owned())
            )
        );
    }

    #[test]
    fn an_error_instead_of_a_text_is_another_kind_of_output() {
        let error =
            json!([{"output_type": "error", "ename": "KeyError", "evalue": "1", "traceback": []}]);
        let found = compared(&[json!([stream("a")])], &[error]);
        assert_eq!(
            shown(&found[0]).3.as_deref(),
            Some("- stdout\n+ the error KeyError")
        );
    }

    #[test]
    fn many_cells_are_cut_and_counted() {
        let before: Vec<Value> = (0..14).map(|_| json!([stream("a")])).collect();
        let after: Vec<Value> = (0..14).map(|_| json!([stream("b")])).collect();
        let found = compared(&before, &after);
        assert_eq!(found.len(), REPORTED + 1);
        assert_eq!(found[REPORTED].what, "the outputs of 4 more cells");
    }

    #[test]
    fn long_lines_are_cut_around_the_first_difference() {
        let line = |end: &str| format!("{}{end}{}", "x".repeat(500), "y".repeat(500));
        let found = of_texts(Some("completed.html"), "the page", &line("1"), &line("2"));
        let before = found.before.unwrap();
        assert!(
            before.len() < SHOWN + 10 && before.contains("x1y"),
            "{before}"
        );
        assert!(found.after.unwrap().contains("x2y"));
        assert_eq!(found.result.as_deref(), Some("completed.html"));
    }

    #[test]
    fn bytes_that_are_no_execution_differ_as_a_whole() {
        let found = of_executions(&[cell(1)], b"{", b"[");
        assert_eq!(found[0].what, "the outputs of the cells");
    }
}
