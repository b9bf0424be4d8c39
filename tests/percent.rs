//! Our reader and writer of decks against jupytext, which defined the format.

use std::process::Command;

use clm::course::deck::{self, CellKind, DeckSource, View};
use clm::course::{Format, Kind, Lang, ProgLang, RelPath};
use serde_json::{Value, json};

use crate::support::renderers;

/// Pieces that decks are put together from; `C` stands for the comment sign.
const PIECES: &[&str] = &[
    "C %%\n",
    "C %% [markdown]\n",
    "C%% [markdown] lang=\"de\" tags=[\"slide\"]\n",
    "C %% tags=[\"keep\"] slide_id=\"x\"\n",
    "C %% [raw]\n",
    "C %% some title\n",
    "C %% title [markdown] lang=\"en\"\n",
    "C %% tags=[slide]\n",
    "C %% a=1 b='two' c\n",
    "C %%% deeper\n",
    "C %% {\"tags\": [\"alt\"]}\n",
    "C %% [md]\n",
    "x = 1\n",
    "def f():\n    return 1\n",
    "class A:\n    x = 1\n",
    "@decorator\n",
    "C a comment\n",
    "C\n",
    "C - a\nC - b\n",
    "Ctight\n",
    "\n",
    "\n\n",
    "\n\n\n",
    "print('a')\n",
    "text = \"\"\"\nC %% inside\n\"\"\"\n",
    "'''\nC %% inside\n'''\n",
    "s = \"'''\"\n",
    "%matplotlib inline\n",
    "C %matplotlib inline\n",
    "C !ls\n",
    "!ls -l\n",
    "ls\n",
    "cd x\n",
    "cat = 1\n",
    "C ```python\nC C %% fenced\nC ```\n",
    "C ```\n",
    "for i in range(3):\n    print(i)\n",
    "\"\"\"\nprose in quotes\n\"\"\"\n",
    "    indented\n",
    "C   two blanks\n",
    "y = 2  C trailing\n",
    "C ä ö ü\n",
    "async def g():\n    pass\n",
    "x\n\n\ny\n",
    "C %%time\n",
    "%%time\n",
    "C ?print\n",
];

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

fn random_deck(seed: u64, comment: &str) -> String {
    let mut random = Random(seed.wrapping_mul(7919) + 1);
    let count = 1 + random.below(12);
    let mut text = String::new();
    if random.below(3) > 0 {
        text += "C %%\n";
    }
    for _ in 0..count {
        text += PIECES[random.below(PIECES.len())];
    }
    if random.below(5) == 0 {
        text.truncate(text.trim_end().len());
    }
    text.replace('C', comment)
}

/// What we read, as jupytext's cells, and what we write.
fn ours(text: &str, prog_lang: ProgLang) -> (Vec<Value>, String) {
    let path = RelPath::new("slides_a.py").unwrap();
    let source = DeckSource {
        path: &path,
        text,
        prog_lang,
        companion: None,
        has_templates: false,
    };
    let view = View {
        lang: Lang::En,
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
    for cell in &mut deck.cells {
        cell.metadata.retain(|key, _| key == "cell_marker");
        // Kinds drop cells by tags and languages, which are gone now: everything is written.
        assert!(matches!(
            cell.kind,
            CellKind::Code | CellKind::Markdown | CellKind::Raw
        ));
    }
    let (notebook, _) = deck::notebook(&deck, Kind::Completed, Lang::En, prog_lang);
    let written = deck::code(&notebook, &deck, prog_lang);
    (cells, written)
}

fn compare(extension: &str, prog_lang: ProgLang, count: u64) {
    let dir = tempfile::tempdir().unwrap();
    let decks: Vec<String> = (0..count)
        .map(|seed| random_deck(seed, prog_lang.comment()))
        .collect();
    for (number, text) in decks.iter().enumerate() {
        std::fs::write(dir.path().join(format!("{number}.{extension}")), text).unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/jupytext_cells.py");
    let python = &renderers().html.as_ref().unwrap().python;
    let output = Command::new(python)
        .arg(script)
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let references: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(references.len(), decks.len());
    let mut wrong = Vec::new();
    for (seed, (text, reference)) in decks.iter().zip(&references).enumerate() {
        let (cells, written) = ours(text, prog_lang);
        if json!(cells) != reference["cells"] {
            wrong.push(format!(
                "seed {seed} reads differently\n{text}\nours:   {}\ntheirs: {}",
                json!(cells),
                reference["cells"]
            ));
        } else if written != reference["written"].as_str().unwrap() {
            wrong.push(format!(
                "seed {seed} writes differently\n{text}\nours:   {written:?}\ntheirs: {}",
                reference["written"]
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} decks differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(6)].join("\n\n")
    );
}

#[test]
fn python_decks_are_read_and_written_as_jupytext_does() {
    compare("py", ProgLang::Python, 2000);
}

#[test]
fn java_decks_are_read_and_written_as_jupytext_does() {
    compare("java", ProgLang::Java, 1000);
}
