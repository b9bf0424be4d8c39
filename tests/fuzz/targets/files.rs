//! Files besides decks and diagrams: the specification, settings, variables, archives.

use std::io::Cursor;
use std::path::Path;

use clm::testing::compare;
use clm::testing::config::{Settings, env_file};
use clm::testing::course::spec;
use clm::testing::events::{Diagnostic, Severity};
use clm::testing::tools::archive;

use super::{check_error, text};

pub fn specification(bytes: &[u8]) {
    let text = text(bytes);
    let (spec, diagnostics) = spec::parse_leniently(&text, "course.xml");
    let is_error = |found: &&Diagnostic| found.severity == Severity::Error;
    assert!(spec.is_some() || diagnostics.iter().any(|found| is_error(&found)));
    for error in diagnostics.iter().filter(is_error) {
        check_error(error, &text);
        assert!(
            error.column.is_some_and(|column| column >= 1),
            "no column: {error}"
        );
    }
}

pub fn settings(bytes: &[u8]) {
    let text = text(bytes);
    if let Err(error) = Settings::parse(&text) {
        for diagnostic in &error.diagnostics {
            check_error(diagnostic, &text);
        }
    }
}

/// The file `.env`.
pub fn environment(bytes: &[u8]) {
    let text = text(bytes);
    if let Err(error) = env_file::parse(bytes, ".env") {
        for diagnostic in &error.diagnostics {
            check_error(diagnostic, &text);
        }
    }
}

/// What an archive may become here.
const LIMIT: u64 = 1 << 20;

/// The first byte chooses the kind of archive; the rest is unpacked, and nothing may come to lie elsewhere.
pub fn archives(bytes: &[u8]) {
    let Some((kind, archive)) = bytes.split_first() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("a/b/to");
    let result = match kind {
        b'z' => archive::unzip_from(Cursor::new(archive), "package", &to, LIMIT).map(drop),
        b'g' => archive::untar_gz_from(archive, "package", &to, LIMIT).map(drop),
        b'b' => archive::untar_brotli_from(archive, &to, LIMIT).map(drop),
        b'p' => archive::unbrotli_from(archive, &to, LIMIT),
        _ => archive::untar_from(archive, "package", &to, LIMIT).map(drop),
    };
    if let Err(error) = result {
        assert!(!error.to_string().is_empty());
    }
    let bytes = unpacked(dir.path(), Path::new(""));
    assert!(bytes <= LIMIT, "{bytes} bytes were unpacked");
}

/// How many bytes lie below a directory, where nothing may lie but what is at or below `a/b/to`.
fn unpacked(root: &Path, below: &Path) -> u64 {
    let to = Path::new("a/b/to");
    let mut bytes = 0;
    for entry in std::fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        let metadata = entry.metadata().unwrap();
        let is_inside = path.starts_with(to) && (metadata.is_dir() || metadata.is_file());
        let is_above = to.starts_with(&path) && metadata.is_dir();
        assert!(is_inside || is_above, "{} lies there", path.display());
        bytes += match metadata.is_dir() {
            true => unpacked(root, &path),
            false => metadata.len(),
        };
    }
    bytes
}

/// Two outputs: the first line is their name, and the rest is cut in two. A page is never different from itself.
pub fn outputs(bytes: &[u8]) {
    let text = text(bytes);
    let Some((name, rest)) = text.split_once('\n') else {
        return;
    };
    let middle = (rest.len() / 2..=rest.len()).find(|at| rest.is_char_boundary(*at));
    let (before, after) = rest.split_at(middle.unwrap_or(rest.len()));
    let page = |text: &str| format!("<div id='cell-id=1'>{text}");
    for (one, other) in [(before, after), (before, rest)] {
        for kind in [name, "a.ipynb", ".clm-manifest.json"] {
            let _ = compare::difference(kind, one, other);
        }
        let _ = compare::difference("a.html", &page(one), &page(other));
    }
    assert_eq!(
        compare::difference("a.html", &page(rest), &page(rest)),
        None
    );
}
