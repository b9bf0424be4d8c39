//! Decks as jupytext reads and writes them, and as we do.

use std::process::Command;

use clm::testing::course::deck::{self, DeckSource, View};
use clm::testing::course::{Format, Kind, Lang, ProgLang, RelPath};
use serde_json::{Value, json};

use super::renderers::{PYTHON, renderers};

/// Numbers that look random and are the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(7919) + 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// A deck as a reader and a writer of notebooks see it.
#[derive(PartialEq)]
pub struct Described {
    /// Type, source and metadata of each cell.
    pub cells: Value,
    /// Metadata of the notebook, without kernels.
    pub metadata: Value,
    /// The script without cell metadata.
    pub written: String,
}

/// What we make of a deck, which is a Jinja template no longer.
pub fn ours(text: &str, extension: &str, prog_lang: ProgLang) -> Described {
    let path = RelPath::new(&format!("slides_a.{extension}")).unwrap();
    // Braces are text here.
    let text = format!("{{% raw %}}{text}{{% endraw %}}");
    let source = DeckSource::new(&path, &text, prog_lang);
    let view = View {
        lang: Lang::EN,
        format: Format::Code,
        author: "",
        organization: "",
    };
    let mut deck =
        deck::read(&source, &view, &|_| None).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let cells = deck
        .cells
        .iter()
        .map(|cell| json!([cell.kind.name(), cell.source, cell.metadata]))
        .collect();
    // Kinds drop cells by tags and languages: without them, everything is written.
    for cell in &mut deck.cells {
        cell.metadata.retain(|key, _| key == "cell_marker");
    }
    let (notebook, _) = deck::notebook(&deck, Kind::Completed, Lang::EN, prog_lang);
    Described {
        cells,
        metadata: json!(deck.metadata),
        written: deck::script(&notebook, &deck, prog_lang),
    }
}

/// What jupytext makes of decks; none for one that it cannot read.
pub fn theirs(decks: &[String], extension: &str, prog_lang: ProgLang) -> Vec<Option<Described>> {
    let dir = tempfile::tempdir().unwrap();
    for (number, text) in decks.iter().enumerate() {
        std::fs::write(dir.path().join(format!("{number}.{extension}")), text).unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/jupytext_cells.py");
    let python = renderers(PYTHON).html.unwrap().python;
    let output = Command::new(python)
        .arg(script)
        .arg(dir.path())
        .arg(format!(".{}", prog_lang.extension()))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let described = |line: &str| {
        let mut found: Value = serde_json::from_str(line).unwrap();
        found.get("error").is_none().then(|| Described {
            cells: found["cells"].take(),
            metadata: found["metadata"].take(),
            written: found["written"].as_str().unwrap().to_owned(),
        })
    };
    let found: Vec<Option<Described>> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(described)
        .collect();
    assert_eq!(found.len(), decks.len());
    found
}

/// Asserts that we make the same of every deck as jupytext.
pub fn compare(extension: &str, prog_lang: ProgLang, decks: Vec<String>) {
    let mut wrong = Vec::new();
    let mut compared = 0;
    let references = theirs(&decks, extension, prog_lang);
    for (seed, (text, reference)) in decks.iter().zip(&references).enumerate() {
        let Some(theirs) = reference else {
            continue;
        };
        compared += 1;
        let ours = ours(text, extension, prog_lang);
        if ours.cells != theirs.cells {
            wrong.push(format!(
                "seed {seed} reads differently\n{text}\nours:   {}\ntheirs: {}",
                ours.cells, theirs.cells
            ));
        } else if ours.metadata != theirs.metadata {
            wrong.push(format!(
                "seed {seed} has other metadata\n{text}\nours:   {}\ntheirs: {}",
                ours.metadata, theirs.metadata
            ));
        // A script of no cells is an empty line in a course, and nothing at all for jupytext.
        } else if ours.written != theirs.written
            && (ours.written.as_str(), theirs.written.as_str()) != ("\n", "")
        {
            wrong.push(format!(
                "seed {seed} writes differently\n{text}\nours:   {:?}\ntheirs: {:?}",
                ours.written, theirs.written
            ));
        }
    }
    assert!(
        compared * 10 >= decks.len() * 9,
        "only {compared} decks were compared"
    );
    assert!(
        wrong.is_empty(),
        "{} of {} decks differ:\n{}",
        wrong.len(),
        decks.len(),
        wrong[..wrong.len().min(6)].join("\n\n")
    );
}
