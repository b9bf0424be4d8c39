//! Decides which directories and files are not sources, and which are never copied to outputs.

use std::sync::LazyLock;

use regex::Regex;

use crate::course::RelPath;

const IGNORED_DIRS: &[&str] = &[
    "__pycache__",
    ".cargo",
    ".clm",
    ".clm-cache",
    ".git",
    ".idea",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".pytest_cache",
    ".tox",
    ".venv",
    ".vs",
    ".vscode",
    "bin",
    "build",
    "chroma_db",
    "chroma_langchain_db",
    "chroma_rag_db",
    ".qdrant",
    "qdrant_data",
    "qdrant_db",
    "CMakeFiles",
    "data-local",
    "dist",
    "img-large",
    "img-local",
    "localdata",
    "obj",
    "out",
    "target",
    "voiceover",
];
const IGNORED_EXTENSIONS: &[&str] = &["keras", "bkp", "bin"];
const NEVER_OUTPUT_DIRS: &[&str] = &["pu", "drawio", "cassettes", "_cassettes"];

static IGNORED_DIR_PATTERNS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(?:.*\.egg-info.*|.*cmake-build-.*|.*\.bkp|.*\.bak|chroma_.*db.*|qdrant_.*)").ok()
});
static NEVER_OUTPUT_FILES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^(?:.*\.http-cassette\.yaml(?:\.staging-.*)?|voiceover_.*\.(?:py|cs|cpp|cxx|cc|java|ts|rs))$",
    )
    .ok()
});

fn matches(pattern: &LazyLock<Option<Regex>>, text: &str) -> bool {
    pattern
        .as_ref()
        .is_some_and(|pattern| pattern.is_match(text))
}

/// Returns whether directories of this name are not scanned for sources.
pub(crate) fn is_ignored_dir(name: &str) -> bool {
    IGNORED_DIRS.contains(&name) || matches(&IGNORED_DIR_PATTERNS, name)
}

/// Returns whether a file is not a source. Only components below the course root count, since the location of the
/// course does not matter.
pub(super) fn is_ignored(path: &RelPath) -> bool {
    let mut components = path.components().rev();
    let name = components.next().unwrap_or("");
    IGNORED_EXTENSIONS.contains(&path.extension())
        || name == ".clm-include"
        || components.any(is_ignored_dir)
}

/// Returns whether a file only serves other sources, and is never copied to outputs or shown to kernels.
pub(crate) fn is_never_output(path: &RelPath) -> bool {
    let mut components = path.components().rev();
    let name = components.next().unwrap_or("");
    matches(&NEVER_OUTPUT_FILES, name) || components.any(|dir| NEVER_OUTPUT_DIRS.contains(&dir))
}
