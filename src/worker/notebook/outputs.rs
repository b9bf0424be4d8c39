//! Converts the messages that a kernel publishes to the outputs of cells, as `nbclient` does.
//!
//! Pure: messages in, [`Executed`] out. Consecutive pieces of the same stream become one output: their boundaries may
//! differ from run to run, their order does not (see `kernel_prelude.py`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::bundle::{output_of, size_of};
use super::connection::Message;
use super::renaming::Renaming;
use super::widgets::Widgets;
use crate::worker::request::{Executed, ExecutedCell};

/// The maximum text on `stdout` and `stderr` of one cell, in bytes. Further text is dropped with a notice.
pub const MAX_STREAM_BYTES: usize = 10 << 20;

/// The maximum size of all other outputs of one cell (images, tables), in bytes of JSON.
pub(super) const MAX_DISPLAY_BYTES: usize = 256 << 20;

/// The outputs of the cells while they run.
pub(super) struct Outputs {
    executed: Executed,
    widgets: Widgets,
    /// The outputs of each display id: (cell, output). Later cells may update them.
    displays: BTreeMap<String, Vec<(usize, usize)>>,
    /// `clear_output(wait=True)` was called: the next output replaces all previous ones.
    clear_at_next: bool,
    stream_bytes: usize,
    display_bytes: usize,
    /// Cells whose output exceeded a limit.
    cut: BTreeSet<usize>,
}

impl Outputs {
    /// Creates the state for this number of cells.
    pub(super) fn new(cells: usize) -> Self {
        Self {
            executed: Executed {
                cells: vec![ExecutedCell::default(); cells],
                widgets: None,
            },
            widgets: Widgets::default(),
            displays: BTreeMap::new(),
            clear_at_next: false,
            stream_bytes: 0,
            display_bytes: 0,
            cut: BTreeSet::new(),
        }
    }

    /// Starts a cell: clears the pending state and the counters of the previous one.
    pub(super) fn begin_cell(&mut self) {
        self.clear_at_next = false;
        self.stream_bytes = 0;
        self.display_bytes = 0;
    }

    /// Handles a published message of the running cell: for the cell, or for a widget.
    pub(super) fn take_message(&mut self, cell: usize, message: Message) {
        if message.kind.starts_with("comm_") {
            self.widgets.hear(&message);
            return;
        }
        // The limits of a cell apply to its widgets as well.
        let text = message.content.get("text").and_then(Value::as_str);
        let (used, bytes, limit) = match (message.kind.as_str(), text) {
            ("stream", text) => {
                let bytes = text.map_or(0, str::len);
                (&mut self.stream_bytes, bytes, MAX_STREAM_BYTES)
            }
            _ => {
                let bytes = size_of(&message.content);
                (&mut self.display_bytes, bytes, MAX_DISPLAY_BYTES)
            }
        };
        if *used + bytes <= limit && self.widgets.captures(&message) {
            *used += bytes;
            return;
        }
        self.take(cell, &message.kind, message.content);
    }

    /// Returns the widget updates to send to the kernel before the next cell: ids of comms and their data.
    pub(super) fn take_unsynced(&mut self) -> Vec<(String, serde_json::Map<String, Value>)> {
        self.widgets.take_unsynced()
    }

    /// Handles the content of a message for the running cell.
    pub(super) fn take(&mut self, cell: usize, kind: &str, content: Value) {
        let display_id = content
            .pointer("/transient/display_id")
            .and_then(Value::as_str)
            .map(str::to_owned);
        if let Some(count) = content.get("execution_count").and_then(Value::as_i64) {
            self.executed.cells[cell].execution_count = Some(count);
        }
        if let Some(id) = &display_id {
            self.update(id, &content);
        }
        match kind {
            "clear_output" if content.get("wait").and_then(Value::as_bool) == Some(true) => {
                self.clear_at_next = true;
            }
            "clear_output" => self.clear(cell),
            "stream" => self.stream(cell, content),
            "display_data" | "execute_result" | "error" => {
                self.display_bytes += size_of(&content);
                if self.display_bytes > MAX_DISPLAY_BYTES {
                    self.cut_off(cell);
                    return;
                }
                let Some(output) = output_of(kind, content) else {
                    return;
                };
                self.clear_if_pending(cell);
                let outputs = &mut self.executed.cells[cell].outputs;
                if let Some(id) = display_id {
                    let places = self.displays.entry(id).or_default();
                    places.push((cell, outputs.len()));
                }
                outputs.push(output);
            }
            _ => {}
        }
    }

    /// Sets the number in the prompt, if the kernel has not sent one.
    pub(super) fn set_default_count(&mut self, cell: usize, count: i64) {
        let known = &mut self.executed.cells[cell].execution_count;
        *known = known.or(Some(count));
    }

    /// Returns the exception in the cell's outputs, if any.
    pub(super) fn error(&self, cell: usize) -> Option<String> {
        let outputs = &self.executed.cells[cell].outputs;
        let error = outputs
            .iter()
            .find(|output| output["output_type"] == "error")?;
        let text = |name: &str| error[name].as_str().unwrap_or_default();
        Some(format!("{}: {}", text("ename"), text("evalue")))
    }

    /// Returns what the cell printed.
    pub(super) fn printed(&self, cell: usize) -> String {
        let outputs = self.executed.cells[cell].outputs.iter();
        let texts = outputs.filter_map(|output| output.get("text")?.as_str());
        texts.collect()
    }

    /// Returns the cells whose further outputs were dropped.
    pub(super) fn cut(&self) -> Vec<usize> {
        self.cut.iter().copied().collect()
    }

    /// Resets the cell to the state before it ran.
    pub(super) fn reset(&mut self, cell: usize) {
        self.executed.cells[cell] = ExecutedCell::default();
    }

    /// Returns the number in the prompt of a cell.
    pub(super) fn count(&self, cell: usize) -> Option<i64> {
        self.executed.cells[cell].execution_count
    }

    /// Returns the results of all cells, with names that differ in every run replaced (see [`Renaming`]).
    pub(super) fn finish(mut self, renaming: &Renaming) -> Executed {
        let mut renaming = renaming.clone();
        renaming.0.extend(self.widgets.accidental_names());
        for cell in &mut self.executed.cells {
            for output in &mut cell.outputs {
                renaming.apply(output);
            }
        }
        self.executed.widgets = self.widgets.finish(&renaming);
        self.executed
    }

    /// Replaces data and metadata of every output with this display id.
    fn update(&mut self, id: &str, content: &Value) {
        let Some(places) = self.displays.get(id) else {
            return;
        };
        let Some(new) = output_of("display_data", content.clone()) else {
            return;
        };
        for &(cell, output) in places {
            if let Some(old) = self.executed.cells[cell].outputs.get_mut(output) {
                old["data"] = new["data"].clone();
                old["metadata"] = new["metadata"].clone();
            }
        }
    }

    fn stream(&mut self, cell: usize, content: Value) {
        let name = content.get("name").and_then(Value::as_str);
        let (Some(name), Some(text)) = (name, content.get("text").and_then(Value::as_str)) else {
            return;
        };
        if self.cut.contains(&cell) {
            return;
        }
        self.clear_if_pending(cell);
        let room = MAX_STREAM_BYTES.saturating_sub(self.stream_bytes);
        let kept = beginning(text, room);
        self.stream_bytes += kept.len();
        self.append_stream(cell, name, kept);
        if kept.len() < text.len() {
            self.cut_off(cell);
        }
    }

    fn append_stream(&mut self, cell: usize, name: &str, text: &str) {
        let outputs = &mut self.executed.cells[cell].outputs;
        let same = outputs
            .last_mut()
            .filter(|last| last["output_type"] == "stream" && last["name"] == name);
        if let Some(Value::String(old)) = same.and_then(|output| output.get_mut("text")) {
            old.push_str(text);
            return;
        }
        outputs.push(json!({"output_type": "stream", "name": name, "text": text}));
    }

    /// Adds the notice, once, that further output of the cell is dropped.
    fn cut_off(&mut self, cell: usize) {
        if self.cut.insert(cell) {
            let notice = "\n[The rest of the output was dropped: there is too much of it.]\n";
            self.append_stream(cell, "stderr", notice);
        }
    }

    fn clear_if_pending(&mut self, cell: usize) {
        if self.clear_at_next {
            self.clear(cell);
        }
    }

    fn clear(&mut self, cell: usize) {
        self.clear_at_next = false;
        self.executed.cells[cell].outputs.clear();
        for places in self.displays.values_mut() {
            places.retain(|&(of, _)| of != cell);
        }
    }
}

/// Returns the beginning of a text, up to the given number of bytes and cut at a character boundary.
fn beginning(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(messages: &[(usize, &str, Value)]) -> Vec<Vec<Value>> {
        let mut outputs = Outputs::new(2);
        let mut running = None;
        for (cell, kind, content) in messages {
            if running != Some(*cell) {
                outputs.begin_cell();
                running = Some(*cell);
            }
            outputs.take(*cell, kind, content.clone());
        }
        let cells = outputs.finish(&Renaming::default()).cells.into_iter();
        cells.map(|cell| cell.outputs).collect()
    }

    fn stream(name: &str, text: &str) -> Value {
        json!({"name": name, "text": text})
    }

    fn display(id: Option<&str>, text: &str) -> Value {
        json!({"data": {"text/plain": text}, "metadata": {}, "transient": {"display_id": id}})
    }

    #[test]
    fn pieces_of_a_stream_become_one_output_in_their_order() {
        let seen = outputs(&[
            (0, "stream", stream("stdout", "a")),
            (0, "stream", stream("stdout", "b\n")),
            (0, "stream", stream("stderr", "e")),
            (0, "stream", stream("stdout", "c")),
        ]);
        let texts: Vec<_> = seen[0].iter().map(|output| &output["text"]).collect();
        assert_eq!(texts, ["ab\n", "e", "c"]);
    }

    #[test]
    fn a_later_cell_updates_what_an_earlier_one_displayed() {
        let seen = outputs(&[
            (0, "display_data", display(Some("d"), "old")),
            (1, "update_display_data", display(Some("d"), "new")),
        ]);
        assert_eq!(seen[0][0]["data"]["text/plain"], "new");
        assert!(seen[1].is_empty(), "an update is no output of its own");
    }

    #[test]
    fn clearing_is_immediate_or_waits_for_the_next_output() {
        let wait = |wait: bool| json!({"wait": wait});
        let seen = outputs(&[
            (0, "stream", stream("stdout", "a")),
            (0, "clear_output", wait(false)),
            (1, "stream", stream("stdout", "a")),
            (1, "clear_output", wait(true)),
        ]);
        assert!(seen[0].is_empty());
        assert_eq!(seen[1].len(), 1, "nothing came after the clearing");
        let seen = outputs(&[
            (0, "stream", stream("stdout", "a")),
            (0, "clear_output", wait(true)),
            (0, "stream", stream("stdout", "b")),
        ]);
        assert_eq!(
            seen[0],
            [json!({"output_type": "stream", "name": "stdout", "text": "b"})]
        );
    }

    #[test]
    fn a_cleared_display_is_not_updated() {
        let seen = outputs(&[
            (0, "display_data", display(Some("d"), "old")),
            (0, "clear_output", json!({})),
            (0, "display_data", display(None, "other")),
            (0, "update_display_data", display(Some("d"), "new")),
        ]);
        assert_eq!(seen[0][0]["data"]["text/plain"], "other");
    }

    #[test]
    fn endless_printing_is_cut_with_a_notice() {
        let piece = "é".repeat(1 << 20);
        let mut all = Outputs::new(1);
        for _ in 0..20 {
            all.take(0, "stream", stream("stdout", &piece));
        }
        let cells = all.finish(&Renaming::default()).cells;
        let [text, notice] = cells[0].outputs.as_slice() else {
            panic!("{} outputs", cells[0].outputs.len());
        };
        assert_eq!(text["text"].as_str().map(str::len), Some(MAX_STREAM_BYTES));
        assert!(
            notice["text"]
                .as_str()
                .is_some_and(|text| text.contains("dropped"))
        );
    }

    #[test]
    fn strange_messages_are_ignored() {
        let seen = outputs(&[
            (0, "stream", json!({"name": 3})),
            (0, "error", json!({})),
            (0, "display_data", json!(null)),
            (0, "display_data", json!({"data": "no bundle"})),
            (0, "unheard_of", json!([1])),
        ]);
        assert_eq!(seen[0].len(), 1);
        assert_eq!(seen[0][0]["data"], json!({}));
    }
}
