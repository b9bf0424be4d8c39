//! Fenced code blocks in text cells: cell markers between two fences are ordinary text.

use super::{body, text};

/// The fences of a script.
pub(super) struct Fences {
    lines: Vec<Option<Fence>>,
}

/// A line that can open or close a fenced block.
#[derive(Clone, Copy)]
pub(super) struct Fence {
    sign: u8,
    length: usize,
    /// Whether nothing follows its signs, so that it can close a block.
    closes: bool,
    /// Whether it can open a block: some line below must be able to close it.
    opens: bool,
}

impl Fences {
    /// Finds the fences in the lines of a script.
    pub(super) fn new(lines: &[&str], comment: &str) -> Self {
        let mut lines: Vec<Option<Fence>> = lines
            .iter()
            .map(|line| fence(body::without_comment(line, comment)))
            .collect();
        // For each sign, the length of the longest closing fence below the current line.
        let mut longest = [0, 0];
        for fence in lines.iter_mut().rev().flatten() {
            let longest = &mut longest[usize::from(fence.sign == b'~')];
            fence.opens &= fence.length <= *longest;
            if fence.closes {
                *longest = fence.length.max(*longest);
            }
        }
        Self { lines }
    }

    /// Returns the open block after a line, given the open block before it.
    pub(super) fn after(&self, line: usize, open: Option<Fence>) -> Option<Fence> {
        match (open, self.lines[line]) {
            (Some(open), Some(fence)) if fence.closes && open.is_closed_by(fence) => None,
            (None, Some(fence)) if fence.opens => Some(fence),
            _ => open,
        }
    }
}

impl Fence {
    fn is_closed_by(self, other: Fence) -> bool {
        other.sign == self.sign && other.length >= self.length
    }
}

fn fence(line: &str) -> Option<Fence> {
    let body = line.trim_start_matches(' ');
    if line.len() - body.len() > 3 {
        return None;
    }
    let sign = *body.as_bytes().first()?;
    if !matches!(sign, b'`' | b'~') {
        return None;
    }
    let length = body.bytes().take_while(|byte| *byte == sign).count();
    if length < 3 {
        return None;
    }
    let after = &body[length..];
    Some(Fence {
        sign,
        length,
        closes: text::is_blank(after),
        opens: sign == b'~' || !after.contains('`'),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns for each line whether a block is open after it.
    fn open_after(lines: &[&str]) -> Vec<bool> {
        let fences = Fences::new(lines, "#");
        let mut open = None;
        (0..lines.len())
            .map(|line| {
                open = fences.after(line, open);
                open.is_some()
            })
            .collect()
    }

    #[test]
    fn blocks_end_at_a_fence_that_is_long_enough() {
        let lines = [
            "# ````", "# ```", "x", "# ~~~", "# ````` ", "# ~~~ x", "```py",
        ];
        assert_eq!(
            open_after(&lines),
            [true, true, true, true, false, false, false]
        );
        assert_eq!(open_after(&["#     ```", "# ```"]), [false, false]);
        assert_eq!(
            open_after(&["# ``` `", "# ~~~ `", "~~~"]),
            [false, true, false]
        );
    }
}
