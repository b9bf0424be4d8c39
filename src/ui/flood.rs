//! Limits long output: the first diagnostics are shown in full, the next ones in one line each, and further warnings
//! are only counted.

use std::collections::{BTreeMap, HashSet};

use crate::diagnostic::Diagnostic;

/// How many errors, and how many warnings, are shown in full.
const WHOLE_ERRORS: usize = 20;
const WHOLE_WARNINGS: usize = 10;
/// How many warnings are shown at all. Errors are never omitted.
const WARNINGS: usize = 40;
/// How many files are listed whose warnings are only counted.
const FILES: usize = 3;

/// What has been shown so far.
#[derive(Debug, Default)]
pub(super) struct Flood {
    /// Whether everything is shown in full.
    is_unlimited: bool,
    errors: usize,
    warnings: usize,
    hints: HashSet<String>,
    /// How many warnings of each file were only counted.
    counted: BTreeMap<String, usize>,
}

impl Flood {
    /// Returns the state before the first diagnostic. If the output is `verbose`, everything is shown in full.
    pub(super) fn new(verbose: bool) -> Self {
        Self {
            is_unlimited: verbose,
            ..Self::default()
        }
    }

    /// Returns the diagnostic in the form to show, or `None` if it is only counted.
    pub(super) fn admit(&mut self, diagnostic: &Diagnostic) -> Option<Diagnostic> {
        if self.is_unlimited {
            return Some(diagnostic.clone());
        }
        let is_error = diagnostic.is_error();
        let (count, whole) = match is_error {
            true => (&mut self.errors, WHOLE_ERRORS),
            false => (&mut self.warnings, WHOLE_WARNINGS),
        };
        *count += 1;
        if !is_error && *count > WARNINGS {
            let file = diagnostic.file.clone().unwrap_or_default();
            *self.counted.entry(file).or_default() += 1;
            return None;
        }
        let is_whole = *count <= whole;
        let mut shown = diagnostic.clone();
        if !is_whole {
            shown.detail = None;
            shown.message = first_line(&shown.message);
        }
        // The hint of several warnings is shown once.
        let is_known = |hint: &String| !self.hints.insert(hint.clone());
        if !is_error && shown.hint.as_ref().is_some_and(is_known) || !is_whole {
            shown.hint = None;
        }
        Some(shown)
    }

    /// Returns a line about the warnings that were only counted since the last call.
    pub(super) fn rest(&mut self) -> Option<String> {
        let counted = std::mem::take(&mut self.counted);
        let total: usize = counted.values().sum();
        if total == 0 {
            return None;
        }
        let files = counted.iter().filter(|(file, _)| !file.is_empty());
        let mut files: Vec<(&String, &usize)> = files.collect();
        files.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let named: Vec<String> = files
            .iter()
            .take(FILES)
            .map(|(file, count)| format!("{count} in {file}"))
            .collect();
        let more = match files.len().saturating_sub(FILES) {
            0 => String::new(),
            1 => " and 1 more file".to_owned(),
            more => format!(" and {more} more files"),
        };
        let named = match named.is_empty() {
            true => String::new(),
            false => format!(" ({}{more})", named.join(", ")),
        };
        let what = if total == 1 { "warning" } else { "warnings" };
        Some(format!(
            "... {total} more {what}{named}; `--message-format short` shows all"
        ))
    }
}

fn first_line(text: &str) -> String {
    match text.split_once('\n') {
        Some((first, _)) => format!("{first} ..."),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_warnings_are_a_page_and_no_error_is_left_out() {
        let mut flood = Flood::default();
        let mut lines = 0;
        for number in 0..1600 {
            let file = format!("slides/{}.py", number % 4);
            let warning = Diagnostic::warning(format!("odd {number}"))
                .at(file, Some(number))
                .hint("do this");
            if let Some(shown) = flood.admit(&warning) {
                lines += 1 + usize::from(shown.hint.is_some());
            }
        }
        assert_eq!(lines, WARNINGS + 1);
        assert_eq!(
            flood.rest().unwrap(),
            "... 1560 more warnings (390 in slides/0.py, 390 in slides/1.py, 390 in slides/2.py and 1 more file); \
             `--message-format short` shows all"
        );
        assert_eq!(flood.rest(), None);
        for number in 0..6 {
            let warning = Diagnostic::warning(format!("odd {number}"));
            let named = warning.clone().at(format!("{}.py", number % 4), None);
            flood.admit(&named);
            flood.admit(&warning);
        }
        assert_eq!(
            flood.rest().unwrap(),
            "... 12 more warnings (2 in 0.py, 2 in 1.py, 1 in 2.py and 1 more file); `--message-format short` shows all"
        );
        let error = Diagnostic::error("NameError: x\nmore")
            .detail("Traceback")
            .hint("h");
        let shown: Vec<Diagnostic> = (0..100).filter_map(|_| flood.admit(&error)).collect();
        assert_eq!(shown.len(), 100);
        assert_eq!(shown[0], error);
        assert_eq!(
            (shown[99].detail.as_ref(), shown[99].hint.as_ref()),
            (None, None)
        );
        assert_eq!(shown[99].message, "NameError: x ...");
    }
}
