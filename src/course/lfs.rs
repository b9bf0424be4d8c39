//! Detection of Git LFS pointers in place of files.

use std::ops::RangeInclusive;

use crate::diagnostic::Diagnostic;

/// The possible sizes of a pointer in bytes.
pub(crate) const SIZES: RangeInclusive<u64> = 60..=1024;

/// Returns the error about a file of any kind if these bytes are a Git LFS pointer instead of its content. Without this
/// check, the parser of its format would report a misleading error.
pub(crate) fn pointer(path: &str, bytes: &[u8]) -> Option<Diagnostic> {
    let is_pointer = bytes.len() as u64 <= *SIZES.end()
        && bytes.starts_with(b"version https://git-lfs")
        && bytes.windows(4).any(|part| part == b"oid ");
    is_pointer.then(|| {
        Diagnostic::error("this is a pointer of Git LFS, not the file itself")
            .at(path, Some(1))
            .hint("run `git lfs pull` (after `git lfs install`, if Git LFS is new here)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_told_from_files() {
        let pointer_text =
            "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        let diagnostic = pointer("slides/a.drawio", pointer_text.as_bytes()).unwrap();
        assert_eq!(diagnostic.file.as_deref(), Some("slides/a.drawio"));
        assert!(
            diagnostic.message.contains("Git LFS")
                && diagnostic.hint.unwrap().contains("git lfs pull")
        );
        assert!(SIZES.contains(&(pointer_text.len() as u64)));
        let about = format!("{pointer_text}{}", "a text about pointers\n".repeat(60));
        for text in [
            "",
            "version https://git-lfs",
            "# version https://git-lfs\noid x\n",
            &about,
        ] {
            assert_eq!(pointer("a", text.as_bytes()), None, "{text}");
        }
    }
}
