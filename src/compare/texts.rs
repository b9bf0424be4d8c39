//! The first difference of two texts. Pure.

/// The number of characters of a line that are shown.
const SHOWN: usize = 160;

/// The first difference of two outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Found {
    /// The number of the cell, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell: Option<u32>,
    /// The line, counted from 1: of the cell if there is one and it has lines, else of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What differs, if that is not a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// What the old build has there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What the new build has there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Found {
    /// Returns a difference that is no line.
    pub(super) fn of(what: impl Into<String>) -> Self {
        Self {
            what: Some(what.into()),
            ..Self::default()
        }
    }

    /// Returns a difference that is no line, with both values.
    pub(super) fn between(
        what: impl Into<String>,
        before: Option<String>,
        after: Option<String>,
    ) -> Self {
        Self {
            before,
            after,
            ..Self::of(what)
        }
    }

    /// Returns the difference of two lines, cut around the first character that differs.
    pub(super) fn of_lines(before: Option<&str>, after: Option<&str>) -> Self {
        let (before, after) = shortened(before, after);
        Self {
            before,
            after,
            ..Self::default()
        }
    }
}

/// Returns the first difference of two texts that are not the same.
pub(crate) fn first_difference(before: &str, after: &str) -> Found {
    let (mut one, mut other) = (before.lines(), after.lines());
    for number in 1.. {
        match (one.next(), other.next()) {
            (None, None) => break,
            (before, after) if before == after => {}
            (before, after) => {
                return Found {
                    line: Some(number),
                    ..Found::of_lines(before, after)
                };
            }
        }
    }
    Found::of("the ends of lines")
}

/// Returns the difference of files that nobody can read.
pub(super) fn of_sizes(before: u64, after: u64) -> Found {
    let size = |size: u64| Some(format!("{size} bytes"));
    match before == after {
        true => Found::of("the bytes"),
        false => Found::between("the bytes", size(before), size(after)),
    }
}

fn shortened(before: Option<&str>, after: Option<&str>) -> (Option<String>, Option<String>) {
    let same = match (before, after) {
        (Some(before), Some(after)) => {
            let pairs = before.chars().zip(after.chars());
            pairs.take_while(|(one, other)| one == other).count()
        }
        _ => 0,
    };
    let skipped = same.saturating_sub(SHOWN / 2);
    let part = |line: &str| {
        let mut part: String = line.chars().skip(skipped).take(SHOWN).collect();
        if skipped > 0 {
            part.insert_str(0, "..");
        }
        if line.chars().count() > skipped + SHOWN {
            part.push_str("..");
        }
        part
    };
    (before.map(part), after.map(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_found() {
        let found = first_difference("a\nb\nc", "a\nB\nC");
        assert_eq!(
            (found.line, found.before.as_deref(), found.after.as_deref()),
            (Some(2), Some("b"), Some("B"))
        );
        let found = first_difference("a\n", "a\nnew\n");
        assert_eq!(
            (found.line, found.before, found.after.as_deref()),
            (Some(2), None, Some("new"))
        );
        assert_eq!(
            first_difference("a\r\n", "a\n").what.as_deref(),
            Some("the ends of lines")
        );
    }

    #[test]
    fn long_lines_are_cut_around_the_first_difference() {
        let line = |end: &str| format!("{}{end}{}", "x".repeat(500), "y".repeat(500));
        let found = first_difference(&line("1"), &line("2"));
        let before = found.before.unwrap();
        assert!(
            before.len() < SHOWN + 10 && before.contains("x1y"),
            "{before}"
        );
    }

    #[test]
    fn sizes_are_shown_if_they_differ() {
        assert_eq!(of_sizes(1, 1), Found::of("the bytes"));
        assert_eq!(of_sizes(1, 2).after.as_deref(), Some("2 bytes"));
    }
}
