//! The results of the steps of a check.

use std::time::Duration;

use crate::ui;

/// Prints that a step worked, and how long it took.
pub(super) fn good(what: &str, took: Duration) {
    let ms = took.as_secs_f64() * 1000.0;
    ui::data(&format!("ok: {what} ({ms:.1} ms)\n"));
}

/// Prints that a step did not work, and what may help.
pub(super) fn bad(problem: &str, hint: Option<&str>) {
    ui::data(&format!("error: {problem}\n"));
    if let Some(hint) = hint {
        ui::data(&format!("hint: {hint}\n"));
    }
}
