//! Processes messages as a kernel sends them, without a kernel: for tests.

use serde_json::Value;

use super::connection::Message;
use super::diagnose::{Exception, Place};
use super::outputs::Outputs;
use super::renaming::Renaming;
use crate::diagnostic::Diagnostic;
use crate::worker::request::{CodeCell, Executed};

/// Returns the results of cells for these messages, and the diagnostics for exceptions among them. A message is an
/// object with `cell` (an index), `kind`, `parent`, `content` and `buffers`.
#[doc(hidden)]
pub fn replay(cells: &[CodeCell], messages: &[Value]) -> (Executed, Vec<Diagnostic>) {
    let mut outputs = Outputs::new(cells.len());
    let mut diagnostics = Vec::new();
    let mut running = 0;
    for message in messages {
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let wanted = message["cell"].as_u64().unwrap_or_default();
        let cell = usize::try_from(wanted).unwrap_or_default() % cells.len().max(1);
        let Some(code) = cells.get(cell) else {
            continue;
        };
        if cell != running {
            outputs.set_default_count(running, 1);
            outputs.take_unsynced();
            outputs.begin_cell();
            running = cell;
        }
        let message = Message {
            kind: text("kind"),
            parent: text("parent"),
            content: message["content"].clone(),
            buffers: (message["buffers"].as_array().into_iter().flatten())
                .filter_map(|bytes| Some(bytes.as_str()?.as_bytes().to_vec()))
                .collect(),
        };
        if message.kind == "error" {
            let place = Place {
                file: "slides/a.py",
                cell: code,
                kernel: "python3",
                program: "python",
                is_in_folder: false,
            };
            diagnostics.push(place.diagnostic(&Exception {
                count: outputs.count(cell),
                reply: message.content.clone(),
                printed: outputs.printed(cell),
            }));
        }
        outputs.take_message(cell, message);
    }
    let renaming = Renaming(vec![("/run/kernel".to_owned(), "/tmp/clm".to_owned())]);
    (outputs.finish(&renaming), diagnostics)
}
