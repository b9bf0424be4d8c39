//! Which line of the author's file a line of the rendered text is.

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// For every line of `rendered` its line in `source`, from 1; none for lines that Jinja made.
pub fn align(rendered: &str, source: &str) -> Vec<Option<u32>> {
    let rendered: Vec<&str> = rendered.split('\n').collect();
    let source: Vec<&str> = source.split('\n').collect();
    let mut lines = vec![None; rendered.len()];
    for op in capture_diff_slices(Algorithm::Patience, &rendered, &source) {
        if let DiffOp::Equal {
            old_index,
            new_index,
            len,
        } = op
        {
            for step in 0..len {
                lines[old_index + step] = Some((new_index + step) as u32 + 1);
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_lines_have_no_place() {
        let source = "# j2 import\n# {{ header() }}\n\n# %%\n1 + 2\n# %%\n1 + 2\n";
        let rendered = "# %% [markdown]\n\n# T\n\n\n# %%\n1 + 2\n# %%\n1 + 2\n";
        let lines = align(rendered, source);
        assert_eq!(lines[0], None);
        assert_eq!(&lines[5..9], &[Some(4), Some(5), Some(6), Some(7)]);
    }
}
