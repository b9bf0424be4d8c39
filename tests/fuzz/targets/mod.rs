//! What is fed with any bytes: everything that reads what others wrote. A target panics when something is wrong.
//!
//! Shared by the suite (`tests/fuzz`) and by `cargo fuzz` (`contrib/fuzz`).

pub mod apart;
mod decks;
mod diagrams;
mod files;
mod messages;
mod notebooks;
mod results;
mod words;

use clm::testing::events::{Diagnostic, Severity};

use words::*;

/// A name, what is called, and the inputs that are stored for it.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Words of the language that is read.
    pub words: &'static [&'static str],
    /// Whether one input takes milliseconds.
    pub is_slow: bool,
}

pub const TARGETS: &[Target] = &[
    Target {
        name: "percent",
        run: decks::percent,
        words: DECK_WORDS,
        is_slow: true,
    },
    Target {
        name: "light",
        run: decks::light,
        words: LIGHT_WORDS,
        is_slow: true,
    },
    Target {
        name: "markdown",
        run: decks::markdown,
        words: DECK_WORDS,
        is_slow: true,
    },
    Target {
        name: "languages",
        run: decks::languages,
        words: DECK_WORDS,
        is_slow: true,
    },
    Target {
        name: "companion",
        run: decks::companion,
        words: DECK_WORDS,
        is_slow: true,
    },
    Target {
        name: "jinja",
        run: decks::jinja,
        words: JINJA_WORDS,
        is_slow: true,
    },
    Target {
        name: "ipynb",
        run: decks::ipynb,
        words: IPYNB_WORDS,
        is_slow: false,
    },
    Target {
        name: "notebooks",
        run: notebooks::read,
        words: NOTEBOOK_WORDS,
        is_slow: true,
    },
    Target {
        name: "kernel",
        run: messages::kernel,
        words: KERNEL_WORDS,
        is_slow: false,
    },
    Target {
        name: "specification",
        run: files::specification,
        words: SPEC_WORDS,
        is_slow: false,
    },
    Target {
        name: "settings",
        run: files::settings,
        words: SETTINGS_WORDS,
        is_slow: false,
    },
    Target {
        name: "environment",
        run: files::environment,
        words: ENVIRONMENT_WORDS,
        is_slow: false,
    },
    Target {
        name: "archives",
        run: files::archives,
        words: ARCHIVE_WORDS,
        is_slow: true,
    },
    Target {
        name: "results",
        run: results::results,
        words: RESULT_WORDS,
        is_slow: true,
    },
    Target {
        name: "plantuml",
        run: diagrams::plantuml,
        words: PLANTUML_WORDS,
        is_slow: true,
    },
    Target {
        name: "drawio",
        run: diagrams::drawio,
        words: DRAWIO_WORDS,
        is_slow: false,
    },
    Target {
        name: "answer",
        run: diagrams::answer,
        words: ANSWER_WORDS,
        is_slow: false,
    },
    Target {
        name: "worker",
        run: messages::worker,
        words: JSON_WORDS,
        is_slow: false,
    },
    Target {
        name: "socket",
        run: messages::socket,
        words: JSON_WORDS,
        is_slow: false,
    },
    Target {
        name: "http",
        run: messages::http,
        words: HTTP_WORDS,
        is_slow: false,
    },
    Target {
        name: "page",
        run: messages::page,
        words: PAGE_WORDS,
        is_slow: false,
    },
    Target {
        name: "outputs",
        run: files::outputs,
        words: PAGE_WORDS,
        is_slow: false,
    },
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An error has a place in the text.
fn check_error(error: &Diagnostic, text: &str) {
    assert_eq!(error.severity, Severity::Error);
    let ends = text.matches([
        '\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}',
        '\u{2029}',
    ]);
    let lines = ends.count() as u32 + 1;
    let line = error.line.unwrap_or_else(|| panic!("no line: {error}"));
    assert!(
        (1..=lines + 1).contains(&line),
        "line {line} of {lines}: {error}"
    );
    assert!(!error.message.is_empty());
}
