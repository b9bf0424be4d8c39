//! Annotations that GitHub shows at the lines of a pull request.

use crate::diagnostic::{Diagnostic, Severity};

/// Returns the workflow command for a diagnostic.
pub(super) fn annotation(diagnostic: &Diagnostic) -> String {
    let command = match diagnostic.severity {
        Severity::Note => "notice",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let mut properties = Vec::new();
    if let Some(file) = &diagnostic.file {
        properties.push(format!(
            "file={}",
            escape(file).replace(':', "%3A").replace(',', "%2C")
        ));
    }
    if let Some(line) = diagnostic.line {
        properties.push(format!("line={line}"));
    }
    if let Some(column) = diagnostic.column {
        properties.push(format!("col={column}"));
    }
    let mut message = console::strip_ansi_codes(&diagnostic.message).into_owned();
    if let Some(cell) = diagnostic.cell {
        message += &format!(" (cell {cell})");
    }
    if let Some(hint) = &diagnostic.hint {
        message += &format!("\nhint: {}", console::strip_ansi_codes(hint));
    }
    format!(
        "::{command} {}::{}\n",
        properties.join(","),
        escape(&message)
    )
}

/// Escapes what would end a command, and removes other control characters.
fn escape(text: &str) -> String {
    let is_shown = |char: &char| !char.is_control() || matches!(char, '\r' | '\n' | '\t');
    let shown: String = text.chars().filter(is_shown).collect();
    shown
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}
