//! Notebook sources in all their forms, and the results that are put into notebooks.

use std::sync::LazyLock;

use clm::testing::course::deck::{self, CellKind, Companion, Deck, DeckSource, View, cpp};
use clm::testing::course::tree::title_of;
use clm::testing::course::{Format, Kind, Lang, ProgLang, RelPath};
use clm::testing::worker::request::Executed;

use super::{apart, check_error, text};

/// Files that a deck can include.
fn beside_the_deck(name: &str) -> Option<&'static str> {
    match name {
        "a" => Some("{{ lang }} {{ a }}\n"),
        "m" => Some("{% macro k(a) %}{{ a }}{{ k(a) }}{% endmacro %}"),
        "r" => Some("{% include 'r' %}"),
        _ => None,
    }
}

fn read(text: &str, extension: &str, prog_lang: ProgLang, format: Format, beside: Option<&str>) {
    let path = RelPath::new(&format!("slides/m/t/slides_x.{extension}")).unwrap();
    let beside_path = RelPath::new(&format!("slides/m/t/voiceover_x.{extension}")).unwrap();
    let mut source = DeckSource::new(&path, text, prog_lang);
    source.companion = beside.map(|text| Companion {
        path: &beside_path,
        text,
    });
    let view = View {
        lang: Lang::DE,
        format,
        author: "A",
        organization: "O",
    };
    assert!(title_of(text.as_bytes()).is_ok());
    let deck = match deck::read(&source, &view, &|name| {
        beside_the_deck(name).map(str::to_owned)
    }) {
        Ok(deck) => deck,
        Err(error) => {
            let about = match (&error.file, beside) {
                (Some(file), Some(beside)) if *file == beside_path.as_str() => beside,
                _ => text,
            };
            return check_error(&error, about);
        }
    };
    if let [cell] = deck.cells.as_slice() {
        // Never one code cell in silence: it may be a deck of another format.
        let has_markers = ["%%", "codecell", "In["]
            .iter()
            .any(|mark| text.contains(mark));
        let is_blank = |c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c);
        let is_code = cell.kind == CellKind::Code && !cell.source.chars().all(is_blank);
        assert!(extension == "md" || has_markers || !is_code || !deck.lost.is_empty());
    }
    let kind = Kind::ALL[text.len() % Kind::ALL.len()];
    let (notebook, warnings) = deck::notebook(&deck, kind, Lang::DE, prog_lang);
    assert!(warnings.iter().all(|warning| warning.file.is_some()));
    let json: serde_json::Value = serde_json::from_str(&notebook.to_ipynb()).unwrap();
    assert_eq!(
        json["cells"].as_array().map(Vec::len),
        Some(notebook.cells.len())
    );
    deck::script(&notebook, &deck, prog_lang);
    deck::references(&deck);
    deck::image_urls(&notebook);
    deck::execution_cells(&deck, Lang::DE, prog_lang);
    if prog_lang == ProgLang::Cpp {
        cpp::program(&deck, &notebook, kind, Lang::DE, "deck");
    }
}

pub fn percent(bytes: &[u8]) {
    read(&text(bytes), "py", ProgLang::Python, Format::Notebook, None);
}

/// Decks in the other formats of jupytext.
pub fn light(bytes: &[u8]) {
    read(&text(bytes), "py", ProgLang::Python, Format::Code, None);
}

pub fn markdown(bytes: &[u8]) {
    read(&text(bytes), "md", ProgLang::Python, Format::Html, None);
}

/// The first byte chooses the language.
pub fn languages(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let all = ProgLang::ALL;
    let prog_lang = all[usize::from(*first) % all.len()];
    read(
        &text(rest),
        prog_lang.extension(),
        prog_lang,
        Format::Code,
        None,
    );
}

/// A deck and the voiceover beside it, with a line of `=====` between them.
pub fn companion(bytes: &[u8]) {
    let text = text(bytes);
    let (deck, beside) = text.split_once("\n=====\n").unwrap_or((&text, ""));
    read(deck, "py", ProgLang::Python, Format::Notebook, Some(beside));
}

pub fn jinja(bytes: &[u8]) {
    apart::render_apart();
    let text = text(bytes);
    read(
        &format!("# %%\n{text}\n"),
        "py",
        ProgLang::Python,
        Format::Notebook,
        None,
    );
}

/// Results of an execution, which become the outputs of a notebook.
pub fn ipynb(bytes: &[u8]) {
    static DECK: LazyLock<Deck> = LazyLock::new(|| {
        let path = RelPath::new("slides/m/t/slides_x.py").unwrap();
        let text = "# %%\na = 1\n\n# %% [markdown]\n# b\n\n# %%\nprint(a)\n";
        let source = DeckSource::new(&path, text, ProgLang::Python);
        let view = View {
            lang: Lang::DE,
            format: Format::Html,
            author: "A",
            organization: "O",
        };
        deck::read(&source, &view, &|_| None).unwrap()
    });
    let Ok(executed) = serde_json::from_slice::<Executed>(bytes) else {
        return;
    };
    let cells = deck::execution_cells(&DECK, Lang::DE, ProgLang::Python);
    let results: Vec<_> = executed
        .cells
        .into_iter()
        .map(|cell| (cell.outputs, cell.execution_count))
        .collect();
    let (mut notebook, _) = deck::notebook(&DECK, Kind::Completed, Lang::DE, ProgLang::Python);
    deck::attach(&mut notebook, &cells, &results);
    if let Some(widgets) = executed.widgets {
        notebook.metadata.insert("widgets".to_owned(), widgets);
    }
    let shown: Vec<usize> = notebook
        .cells
        .iter()
        .map(|cell| cell.outputs.len())
        .collect();
    for text in [notebook.to_ipynb(), notebook.to_json()] {
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (cell, shown) in json["cells"].as_array().unwrap().iter().zip(&shown) {
            let outputs = cell.get("outputs").and_then(|outputs| outputs.as_array());
            assert_eq!(outputs.map_or(0, Vec::len), *shown);
        }
    }
}
